//! The plan for Workers KV: which keys are written and deleted, most important first, and which ranges
//! change in the one key that holds them.
//!
//! Every write is billed, and the free plan has 1,000 a day (facts cloudflare 2.6), so a key is
//! touched only if what a visitor meets would otherwise be wrong. LAPI's remaining time shrinks and
//! jitters from run to run; a key's expiry therefore has a tolerance, and a decision that runs out
//! needs no delete, because its key expires by itself.

mod ranges;
mod render;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::address::Address;
use crate::decision::Remediation;
use crate::desired::Desired;
use crate::log::thousands;
use crate::observed::kv::{Entry, ObservedKeys};
use crate::settings::protected::Protected;

use ranges::RangesPlan;
pub use ranges::{RangeRemoval, RangesWrite};

/// What a key lives on after its decision. LAPI of 1.6.3 and later rounds to seconds and clocks
/// differ, and without this every key would expire a moment early and be written once more; 60 s is
/// also what Cloudflare's caches hold a value anyway.
const SLACK_SECS: u64 = 60;
/// Cloudflare's shortest time to live. A decision with less is raised to it, as the program before
/// this one did: the ban has been asked for, and the next run comes only after it would be over.
const TTL_MIN_SECS: u64 = 60;
/// A key that expires sooner than its decision ends is written again when it has this long left. A run
/// that finds a moment more than that leaves the key alone; of the three that come two minutes apart
/// after it, two may fail, and the third still begins two minutes before the key expires.
const LEAD_SECS: u64 = 480;
/// A decision may end this much later than it seems: both our time and its remaining time are whole
/// seconds, rounded down or by LAPI, and clocks differ a little.
const ROUNDING_SECS: u64 = 5;
/// A key that was written later than this long before the run began is not deleted. The decision may
/// be newer than what LAPI had told us: another run, started later, may have written it while this one
/// was reading. Less than the time between two runs, so that the next one does delete it.
const FRESH_SECS: u64 = 90;

/// Why a key changes; also the order in which a short budget is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The address is never to be blocked, and has a key.
    Protected,
    /// A banned address has no key.
    NewBan,
    /// A banned address has the key of a challenge.
    BanOverCaptcha,
    /// The decision was lifted before its time.
    Lifted,
    /// A challenged address has no key, or that of a ban.
    Captcha,
    /// Somebody else wrote the key, so its value is not known: the program before this one.
    Adopted,
    /// The key expires too early or too late.
    Refresh,
    /// The key's name is an address in a spelling that nobody looks up.
    Misspelt,
}

impl Why {
    const ALL: [Self; 8] = [
        Self::Protected,
        Self::NewBan,
        Self::BanOverCaptcha,
        Self::Lifted,
        Self::Captcha,
        Self::Adopted,
        Self::Refresh,
        Self::Misspelt,
    ];

    /// Its name in logs, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::NewBan => "new_ban",
            Self::BanOverCaptcha => "ban_over_captcha",
            Self::Lifted => "lifted",
            Self::Captcha => "captcha",
            Self::Adopted => "adopted",
            Self::Refresh => "refresh",
            Self::Misspelt => "misspelt",
        }
    }
}

/// A key to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// Why.
    pub why: Why,
    /// Whose key.
    pub address: Address,
    /// Its value.
    pub value: Remediation,
    /// Seconds until it expires.
    pub ttl_secs: u64,
}

/// A key to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// Why.
    pub why: Why,
    /// The key, prefix included.
    pub key: String,
}

/// What a run would do in the namespace.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KvPlan {
    puts: Vec<Put>,
    deletes: Vec<Delete>,
    ranges: RangesPlan,
    waiting: BTreeMap<Why, u64>,
    keep: u64,
    running_out: u64,
    observed: u64,
}

/// How a plan may spend.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// What our keys begin with.
    pub prefix: &'a str,
    /// How far an expiry may be off.
    pub tolerance: Duration,
    /// What is never to be blocked.
    pub protected: &'a Protected,
    /// Now, in Unix seconds.
    pub now: u64,
    /// When the run began, in Unix seconds: before LAPI and the namespace were read.
    pub began: u64,
}

/// Compares what should be with what is.
///
/// | key | decision | |
/// |---|---|---|
/// | none | yes | write |
/// | other value, or not ours | yes | write |
/// | expires more than the tolerance early or late, or early and soon | yes | write |
/// | else | yes | keep |
/// | of a protected address | none | delete |
/// | expires within two minutes | none | leave: it ran out |
/// | written just now | none | leave until the next run |
/// | else | none | delete |
pub fn diff(desired: &Desired, observed: &ObservedKeys, rules: Rules<'_>) -> KvPlan {
    let mut plan = KvPlan { observed: observed.entries().len() as u64, ..KvPlan::default() };
    for (address, value, remaining) in desired.keys() {
        let ttl_secs = ttl_secs(remaining);
        match why_put(observed.entries().get(&address), value, remaining.as_secs(), rules) {
            Some(why) => plan.puts.push(Put { why, address, value, ttl_secs }),
            None => plan.keep += 1,
        }
    }
    for (address, entry) in observed.entries() {
        if desired.has_key(address) {
            continue;
        }
        match Undesired::of(address, entry, rules) {
            Undesired::RunsOut => plan.running_out += 1,
            Undesired::Fresh => plan.wait(Why::Lifted),
            Undesired::Goes(why) => {
                plan.deletes.push(Delete { why, key: format!("{}{address}", rules.prefix) });
            }
        }
    }
    plan.add_ranges(desired, observed.ranges(), rules);
    plan.deletes.sort_by_key(|delete| delete.why);
    let misspelt = observed.misspelt().iter();
    plan.deletes.extend(misspelt.map(|key| Delete { why: Why::Misspelt, key: key.clone() }));
    // Bans first: they are what must not wait if the run is cut short.
    plan.puts.sort_unstable_by_key(|put| (put.value != Remediation::Ban, put.why, put.address));
    plan
}

fn ttl_secs(remaining: Duration) -> u64 {
    (remaining.as_secs() + SLACK_SECS).max(TTL_MIN_SECS)
}

/// What becomes of what is there and is not desired.
enum Undesired {
    RunsOut,
    Fresh,
    Goes(Why),
}

impl Undesired {
    fn of(address: &Address, entry: &Entry, rules: Rules<'_>) -> Self {
        let runs_out = entry.expires.is_some_and(|at| at <= rules.now + 2 * SLACK_SECS);
        let fresh = entry.metadata.is_some_and(|m| rules.began < m.written + FRESH_SECS);
        match rules.protected.rule(address) {
            Some(_) => Self::Goes(Why::Protected),
            None if runs_out => Self::RunsOut,
            None if fresh => Self::Fresh,
            None => Self::Goes(Why::Lifted),
        }
    }
}

fn why_put(
    entry: Option<&Entry>,
    value: Remediation,
    remaining: u64,
    rules: Rules<'_>,
) -> Option<Why> {
    let Some(entry) = entry else {
        return Some(match value {
            Remediation::Ban => Why::NewBan,
            Remediation::Captcha => Why::Captcha,
        });
    };
    let Some(metadata) = entry.metadata else { return Some(Why::Adopted) };
    match (metadata.value, value) {
        (Remediation::Captcha, Remediation::Ban) => return Some(Why::BanOverCaptcha),
        (Remediation::Ban, Remediation::Captcha) => return Some(Why::Captcha),
        _ => {}
    }
    // Eternal: it would outlive its decision for ever.
    let Some(expires) = entry.expires else { return Some(Why::Refresh) };
    let tolerance = rules.tolerance.as_secs();
    let ends = rules.now + remaining;
    let too_late = expires > ends.max(rules.now + TTL_MIN_SECS) + SLACK_SECS + tolerance;
    let early = ends.saturating_sub(expires);
    let is_soon = expires <= rules.now + LEAD_SECS;
    let too_early = early > tolerance || (is_soon && expires < ends + ROUNDING_SECS);
    (too_late || too_early).then_some(Why::Refresh)
}

impl KvPlan {
    /// The keys to write: bans, then captchas, each most important first.
    pub fn puts(&self) -> &[Put] {
        &self.puts
    }

    /// The keys to delete, most important first.
    pub fn deletes(&self) -> &[Delete] {
        &self.deletes
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.deletes.is_empty() && self.ranges.is_empty()
    }

    fn wait(&mut self, why: Why) {
        *self.waiting.entry(why).or_default() += 1;
    }

    /// Changes that are needed and are not in the plan: no budget, too fresh, or ranges whose key is
    /// not ours.
    pub fn waiting(&self) -> u64 {
        self.waiting.values().sum()
    }

    /// What waits, as words: `lifted 3, refresh 10`.
    pub fn describe_waiting(&self) -> String {
        let parts =
            self.waiting.iter().map(|(why, n)| format!("{} {}", why.as_str(), thousands(*n)));
        parts.collect::<Vec<_>>().join(", ")
    }

    /// Keys and ranges that differ from what is desired.
    pub fn drift(&self) -> u64 {
        let changes = self.puts.len() + self.deletes.len() + self.ranges.len();
        changes as u64 + self.waiting()
    }

    /// Changes of one kind.
    pub fn count(&self, why: Why) -> u64 {
        let puts = self.puts.iter().map(|put| put.why);
        let reasons = puts.chain(self.deletes.iter().map(|delete| delete.why));
        reasons.chain(self.ranges.reasons()).filter(|of| *of == why).count() as u64
    }

    /// The keys and ranges that go because no decision asks for them any more.
    pub fn lifted(&self) -> impl Iterator<Item = String> {
        let keys = self.deletes.iter().filter(|delete| delete.why == Why::Lifted);
        let ranges = self.range_removals().filter(|removal| removal.why == Why::Lifted);
        keys.map(|delete| delete.key.clone()).chain(ranges.map(|gone| gone.range.to_string()))
    }

    /// How many keys are named after an address, and ranges in force.
    pub fn observed(&self) -> u64 {
        self.observed
    }

    /// The same, with those that no decision asks for any more left where they are: the guard has
    /// refused their removal.
    pub(crate) fn holding_lifted(mut self) -> Self {
        let held = self.count(Why::Lifted);
        if held > 0 {
            self.deletes.retain(|delete| delete.why != Why::Lifted);
            self.ranges.hold_lifted();
            *self.waiting.entry(Why::Lifted).or_default() += held;
        }
        self
    }

    /// Keeps the most important changes: as many keys as `budget` allows to write and delete, all if
    /// there is none. The ranges go together, for one write, and as early as the most important of them.
    pub fn within(mut self, budget: Option<u64>) -> Self {
        let Some(mut left) = budget else { return self };
        for why in Why::ALL {
            let mut over = 0;
            let mut take = |this: Why| {
                let wants = this == why;
                let is_over = wants && left == 0;
                left -= u64::from(wants && !is_over);
                over += u64::from(is_over);
                !is_over
            };
            let ranges_go = self.ranges.why().is_none_or(&mut take);
            self.puts.retain(|put| take(put.why));
            self.deletes.retain(|delete| take(delete.why));
            if !ranges_go {
                // Counted one by one below, not as the one write that they are.
                over -= 1;
                let ranges = self.ranges.give_up();
                ranges.reasons().for_each(|why| self.wait(why));
            }
            if over > 0 {
                *self.waiting.entry(why).or_default() += over;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests;

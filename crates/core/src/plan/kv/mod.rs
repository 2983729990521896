//! The plan for Workers KV: which keys are written and deleted, and which ranges change in the one key that
//! holds them.
//!
//! Every write is billed, and the free plan has 1,000 a day (facts cloudflare 2.6), so a key is touched
//! only if what a visitor meets would otherwise be wrong. LAPI's remaining time shrinks and jitters from
//! run to run; a key's expiry therefore has a tolerance, and a decision that runs out needs no delete,
//! because its key expires by itself.

pub mod layout;
mod ranges;
mod regions;
mod render;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::address::Address;
use crate::decision::Remediation;
use crate::desired::{Desired, KeyWanted};
use crate::observed::kv::{Entry, ObservedKeys};
use crate::order::{Gather, Order};
use crate::settings::protected::Protected;
use crate::small::SmallMap;
use crate::state::{Ends, is_just_written};

use super::{Class, Why};

pub use ranges::{RangeRemoval, RangesPlan, RangesWrite};
pub use regions::RegionChange;

/// What a key lives on after its decision. LAPI of 1.6.3 and later rounds to seconds and clocks differ, and
/// without this every key would expire a moment early and be written once more; 60 s is also what
/// Cloudflare's caches hold a value anyway.
const SLACK_SECS: u64 = 60;
/// Cloudflare's shortest time to live. A decision with less is raised to it, as the program before this one
/// did: the ban has been asked for, and the next run comes only after it would be over.
const TTL_MIN_SECS: u64 = 60;
/// A key that expires sooner than its decision ends is written again when it has this long left. A run
/// that finds a moment more than that leaves the key alone; of the three that come two minutes apart after
/// it, two may fail, and the third still begins two minutes before the key expires.
const LEAD_SECS: u64 = 480;
/// A decision may end this much later than it seems: both our time and its remaining time are whole
/// seconds, rounded down or by LAPI, and clocks differ a little.
const ROUNDING_SECS: u64 = 5;
/// A key that was written later than this long before the run began is not deleted. The decision may be
/// newer than what LAPI had told us: another run, started later, may have written it while this one was
/// reading. Less than the time between two runs, so that the next one does delete it.
const FRESH_SECS: u64 = 90;

/// A key to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// Why.
    pub why: Why,
    /// How urgent it is.
    pub class: Class,
    /// Whether it is of a ban that was decided here and is not in force, or would soon be no more: part of the
    /// day's budget is kept for these.
    pub own: bool,
    /// Whose key.
    pub address: Address,
    /// Its value.
    pub value: Remediation,
    /// Seconds until it expires.
    pub ttl_secs: u64,
    /// The key was written within the last second: Cloudflare takes one write of a key a second.
    pub is_early: bool,
}

/// A key to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// Why.
    pub why: Why,
    /// How urgent it is.
    pub class: Class,
    /// The key, prefix included.
    pub key: String,
    /// Whose key; `None` = in a spelling that nobody looks up.
    pub address: Option<Address>,
    /// The range that takes its place, and is not in force yet: the key goes after it.
    pub after: Option<Address>,
}

impl Delete {
    /// Whether a range takes its place.
    pub fn is_replaced(&self) -> bool {
        matches!(self.why, Why::Covered | Why::Moved)
    }
}

/// What differs in the namespace.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KvPlan {
    puts: Vec<Put>,
    deletes: Vec<Delete>,
    /// Keys that would go and stay for now: the guard holds them back.
    held: Vec<Delete>,
    ranges: RangesPlan,
    waiting: SmallMap<Why, u64>,
    /// Of those that wait, the keys and ranges that were written just now.
    fresh: BTreeSet<Address>,
    /// Keys and ranges that are as desired.
    keep: u64,
    running_out: u64,
    /// Keys and ranges that are there, and how many of those are desired.
    observed: u64,
    still_desired: u64,
    nothing_desired: bool,
    sees_ahead: bool,
}

/// What a plan depends on besides the two states.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// What our keys begin with.
    pub prefix: &'a str,
    /// How far an expiry may be off.
    pub tolerance: Duration,
    /// What is never to be blocked.
    pub protected: &'a Protected,
    /// What was desired last: whether it was decided here.
    pub ends: &'a Ends,
    /// Now, in Unix seconds.
    pub now: u64,
    /// When the run began, in Unix seconds: before LAPI and the namespace were read.
    pub began: u64,
    /// Since when keys have been seen that were written in the future.
    pub ahead_since: Option<u64>,
}

/// Compares what should be with what is.
///
/// | key | decision | |
/// |---|---|---|
/// | none | yes | write |
/// | other value, or not ours | yes | write |
/// | expires more than the tolerance late | yes | write |
/// | expires more than the tolerance early, and has less than half of its time left | yes | write |
/// | expires early, and within eight minutes | yes | write |
/// | else | yes | keep |
/// | of a protected address | none | delete |
/// | expires within two minutes | none | leave: it runs out |
/// | written just now | none | leave until the next run |
/// | else | none | delete, for it has run out or was lifted; after the range that takes its place |
pub fn diff(desired: &Desired, observed: &ObservedKeys, rules: Rules<'_>) -> KvPlan {
    let mut plan = KvPlan {
        observed: observed.entries().len() as u64,
        nothing_desired: desired.is_without_keys(),
        ..KvPlan::default()
    };
    for wanted in desired.keys() {
        let entry = observed.entries().get(&wanted.address);
        plan.still_desired += u64::from(entry.is_some());
        match why_put(entry, &wanted, rules) {
            Some(why) => plan.puts.push(Put::new(why, entry, &wanted, rules)),
            None => plan.keep += 1,
        }
    }
    plan.add_ranges(desired, observed.ranges(), rules);
    for (address, entry) in observed.entries() {
        if desired.has_key(address) {
            continue;
        }
        plan.sees_ahead |= entry.metadata.is_some_and(|metadata| metadata.written > rules.now);
        match Undesired::of(address, entry, rules) {
            Undesired::RunsOut => plan.running_out += 1,
            Undesired::Fresh => plan.wait_fresh(*address),
            Undesired::Goes(why, class) => {
                plan.delete_key(address, why, class, desired, observed, rules)
            }
        }
    }
    let misspelt = observed.misspelt().iter().map(|key| Delete {
        why: Why::Misspelt,
        class: Class::Rest,
        key: key.clone(),
        address: None,
        after: None,
    });
    plan.deletes.extend(misspelt);
    // Of equals those that hold longest, so that a long list that takes days is worth it.
    plan.puts.order_by_key(|put| {
        (put.class, put.why == Why::Refresh, std::cmp::Reverse(put.ttl_secs), put.address)
    });
    plan.deletes.order_by_key(|delete| delete.class);
    plan
}

/// How long a key lives whose decision has so much left.
pub(crate) fn ttl_secs(remaining: Duration) -> u64 {
    (remaining.as_secs() + SLACK_SECS).max(TTL_MIN_SECS)
}

impl Put {
    fn new(why: Why, entry: Option<&Entry>, wanted: &KeyWanted, rules: Rules<'_>) -> Self {
        let class = match (why, wanted.value) {
            (Why::NewBan | Why::BanOverCaptcha, _) if wanted.own => Class::OwnBan,
            (Why::NewBan | Why::BanOverCaptcha, _) => Class::CommunityBan,
            (Why::Captcha, _) => Class::Captcha,
            (Why::Adopted, Remediation::Ban) if wanted.own => Class::OwnBan,
            _ => Class::Rest,
        };
        let lapses = entry.is_some_and(|entry| is_soon(entry, wanted, rules));
        let own = class <= Class::OwnBan
            || why == Why::Refresh && lapses && wanted.own && wanted.value == Remediation::Ban;
        let ttl_secs = ttl_secs(wanted.remaining);
        let written = entry.and_then(|entry| entry.metadata).map(|metadata| metadata.written);
        let is_early = written.is_some_and(|at| is_just_written(at, rules.now));
        let (address, value) = (wanted.address, wanted.value);
        Self { why, class, own, address, value, ttl_secs, is_early }
    }

    /// Whether somebody is met by it who was not, or not so, before.
    fn comes(&self) -> bool {
        self.why != Why::Refresh
    }
}

/// What becomes of what is there and is not desired.
enum Undesired {
    RunsOut,
    Fresh,
    Goes(Why, Class),
}

impl Undesired {
    fn of(address: &Address, entry: &Entry, rules: Rules<'_>) -> Self {
        match rules.protected.rule(address) {
            Some(_) => Self::Goes(Why::Protected, Class::Owner),
            None if runs_out(entry, rules.now) => Self::RunsOut,
            None if is_fresh(entry, rules) => Self::Fresh,
            None => match rules.ends.get(address) {
                Some(known) if known.is_over(rules.now) => Self::Goes(Why::RanOut, Class::Rest),
                Some(known) if !known.own => Self::Goes(Why::Lifted, Class::Rest),
                _ => Self::Goes(Why::Lifted, Class::Lift),
            },
        }
    }
}

/// Whether it is over in a moment, so that nobody has to take it away.
pub(crate) fn runs_out(entry: &Entry, now: u64) -> bool {
    entry.expires.is_some_and(|at| at <= now + 2 * SLACK_SECS)
}

/// Written just now, perhaps by another run. One that was written in the future counts as written when it
/// was first seen so: a clock that was put back must not keep it for ever.
fn is_fresh(entry: &Entry, rules: Rules<'_>) -> bool {
    let Some(metadata) = entry.metadata else { return false };
    let written = if metadata.written > rules.now {
        rules.ahead_since.unwrap_or(rules.now)
    } else {
        metadata.written
    };
    rules.began < written.saturating_add(FRESH_SECS)
}

fn why_put(entry: Option<&Entry>, wanted: &KeyWanted, rules: Rules<'_>) -> Option<Why> {
    // A listing may show for a minute what has run out.
    let is_there = |entry: &&Entry| entry.expires.is_none_or(|expires| expires > rules.now);
    let Some(entry) = entry.filter(is_there) else {
        return Some(match wanted.value {
            Remediation::Ban => Why::NewBan,
            Remediation::Captcha => Why::Captcha,
        });
    };
    let Some(metadata) = entry.metadata else { return Some(Why::Adopted) };
    match (metadata.value, wanted.value) {
        (Remediation::Captcha, Remediation::Ban) => return Some(Why::BanOverCaptcha),
        (Remediation::Ban, Remediation::Captcha) => return Some(Why::Captcha),
        _ => {}
    }
    // Eternal: it would outlive its decision for ever.
    let Some(expires) = entry.expires else { return Some(Why::Refresh) };
    let tolerance = rules.tolerance.as_secs();
    let ends = rules.now + wanted.remaining.as_secs();
    let too_late = expires > ends.max(rules.now + TTL_MIN_SECS) + SLACK_SECS + tolerance;
    let left = expires.saturating_sub(rules.now);
    // Lists that are inserted anew at every pull get a little more time at each, and a write for each of
    // those is a write of the whole list.
    let has_less_than_half = left.saturating_mul(2) < ttl_secs(wanted.remaining);
    let is_early = ends.saturating_sub(expires) > tolerance && has_less_than_half;
    let is_soon = is_soon(entry, wanted, rules);
    (too_late || is_early || is_soon).then_some(Why::Refresh)
}

/// Whether it expires before its decision ends, and in a moment.
fn is_soon(entry: &Entry, wanted: &KeyWanted, rules: Rules<'_>) -> bool {
    let ends = rules.now + wanted.remaining.as_secs();
    entry.expires.is_some_and(|expires| {
        expires.saturating_sub(rules.now) <= LEAD_SECS && expires < ends + ROUNDING_SECS
    })
}

impl KvPlan {
    /// The keys to write, the most urgent first.
    pub fn puts(&self) -> &[Put] {
        &self.puts
    }

    /// The keys to delete, the most urgent first.
    pub fn deletes(&self) -> &[Delete] {
        &self.deletes
    }

    /// What changes in the key of all ranges.
    pub fn ranges(&self) -> &RangesPlan {
        &self.ranges
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.deletes.is_empty() && self.ranges.is_empty()
    }

    fn wait(&mut self, why: Why) {
        *self.waiting.or_default(why) += 1;
    }

    fn wait_fresh(&mut self, address: Address) {
        self.wait(Why::Lifted);
        self.fresh.insert(address);
    }

    /// Keys and ranges that nobody desires, and that are too fresh to go: they were written within the last 90 seconds,
    /// perhaps by a run beside this one.
    pub fn fresh(&self) -> &BTreeSet<Address> {
        &self.fresh
    }

    /// Changes that are needed and cannot be made now: too fresh, or ranges whose key is not ours.
    pub fn waiting(&self) -> &SmallMap<Why, u64> {
        &self.waiting
    }

    /// Keys and ranges that are as desired.
    pub fn keep(&self) -> u64 {
        self.keep
    }

    /// Keys and ranges that no decision asks for and that expire by themselves in a moment.
    pub fn running_out(&self) -> u64 {
        self.running_out
    }

    /// Keys and ranges that differ from what is desired.
    pub fn drift(&self) -> u64 {
        let changes = self.puts.len() + self.deletes.len() + self.ranges.len();
        changes as u64 + self.held() + self.waiting.values().sum::<u64>()
    }

    /// Changes of one kind.
    pub fn count(&self, why: Why) -> u64 {
        let puts = self.puts.iter().map(|put| put.why);
        let reasons = puts.chain(self.deletes.iter().map(|delete| delete.why));
        reasons.chain(self.ranges.reasons()).filter(|of| *of == why).count() as u64
    }

    /// How many keys are named after an address, and ranges in force.
    pub fn observed(&self) -> u64 {
        self.observed
    }

    /// Keys and ranges that are there, but for those whose time is over: that they go opens nothing.
    pub(crate) fn lasting(&self) -> u64 {
        self.observed.saturating_sub(self.running_out + self.count(Why::RanOut))
    }

    /// Whether nothing of what is there is desired any more.
    pub(crate) fn keeps_nothing(&self) -> bool {
        self.still_desired == 0
    }

    /// Whether nothing is desired in KV at all.
    pub(crate) fn is_nothing_desired(&self) -> bool {
        self.nothing_desired
    }

    /// Whether keys were seen that were written in the future.
    pub fn sees_ahead(&self) -> bool {
        self.sees_ahead
    }

    /// Keys and ranges that would go and are held back.
    pub fn held(&self) -> u64 {
        (self.held.len() + self.ranges.held().len()) as u64
    }

    /// The keys that would go and are held back.
    pub fn held_keys(&self) -> &[Delete] {
        &self.held
    }

    /// The same, with the removals of addresses that `stays` held back.
    pub(crate) fn holding(mut self, stays: impl Fn(&Address, Why) -> bool) -> Self {
        let (held, goes) = std::mem::take(&mut self.deletes).into_iter().partition(|delete| {
            delete.address.as_ref().is_some_and(|address| stays(address, delete.why))
        });
        (self.held, self.deletes) = (held, goes);
        self.ranges.hold(!self.held.is_empty(), |range, why| stays(range, why));
        self
    }

    /// The same where nobody is met by what is there: whoever is not desired goes at once, also if he was written just
    /// now, and waits for no range.
    pub(crate) fn unserved(mut self) -> Self {
        for address in std::mem::take(&mut self.fresh).into_iter().filter(Address::is_single) {
            *self.waiting.or_default(Why::Lifted) -= 1;
            let (why, class, key) = (Why::Lifted, Class::Lift, String::new());
            self.deletes.push(Delete { why, class, key, address: Some(address), after: None });
        }
        self.waiting.retain(|_, count| *count > 0);
        for delete in &mut self.deletes {
            (delete.class, delete.after) = (delete.class.min(Class::Lift), None);
        }
        self
    }

    /// A key goes, after the range that takes its place; if such a range is to be written and is not, it stays.
    fn delete_key(
        &mut self,
        address: &Address,
        why: Why,
        class: Class,
        desired: &Desired,
        observed: &ObservedKeys,
        rules: Rules<'_>,
    ) {
        let delete = |why, class, after| {
            let key = format!("{}{address}", rules.prefix);
            Delete { why, class, key, address: Some(*address), after }
        };
        let around: Vec<_> = match why {
            Why::Lifted | Why::RanOut => desired.kv_ranges_around(address).collect(),
            _ => Vec::new(),
        };
        if around.is_empty() {
            self.deletes.push(delete(why, class, None));
            return;
        }
        let value =
            observed.entries().get(address).and_then(|entry| entry.metadata).map(|m| m.value);
        let in_force: BTreeMap<_, _> = observed.ranges().in_force(rules.now).gather();
        // One that is written again may be about to run out.
        let is_written =
            |range: &Address| self.ranges.puts().iter().any(|put| put.address == *range);
        let is_there = |range: &Address, wanted: Remediation| {
            in_force.get(range).is_some_and(|entry| entry.value == wanted) && !is_written(range)
        };
        // What is not ours may ban: it waits for the strongest.
        let covers = |wanted: &Remediation| *wanted >= value.unwrap_or(Remediation::Ban);
        // The strongest first, and of those what is in force already.
        let best = around
            .iter()
            .map(|(range, wanted)| (covers(wanted), is_there(range, *wanted), *range))
            .max();
        if let Some((covers, there, range)) = best {
            let why = if covers || value.is_none() { Why::Covered } else { Why::Moved };
            self.deletes.push(delete(why, Class::Rest, (!there).then_some(range)));
        }
    }
}

#[cfg(test)]
mod tests;

//! The plan for Workers KV: which keys are written and deleted, most important first.
//!
//! Every write is billed, and the free plan has 1,000 a day (facts cloudflare 2.6), so a key is
//! touched only if what a visitor meets would otherwise be wrong. LAPI's remaining time shrinks and
//! jitters from run to run; a key's expiry therefore has a tolerance, and a decision that runs out
//! needs no delete, because its key expires by itself.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::address::Address;
use crate::decision::Remediation;
use crate::desired::Desired;
use crate::log::thousands;
use crate::observed::kv::{Entry, ObservedKeys};
use crate::protected::Protected;

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
        let ttl_secs = (remaining.as_secs() + SLACK_SECS).max(TTL_MIN_SECS);
        match why_put(observed.entries().get(&address), value, remaining.as_secs(), rules) {
            Some(why) => plan.puts.push(Put { why, address, value, ttl_secs }),
            None => plan.keep += 1,
        }
    }
    for (address, entry) in observed.entries() {
        if desired.has_key(address) {
            continue;
        }
        let runs_out = entry.expires.is_some_and(|at| at <= rules.now + 2 * SLACK_SECS);
        let fresh = entry.metadata.is_some_and(|m| rules.began < m.written + FRESH_SECS);
        let why = match rules.protected.rule(address) {
            Some(_) => Why::Protected,
            None => Why::Lifted,
        };
        if why == Why::Lifted && runs_out {
            plan.running_out += 1;
        } else if why == Why::Lifted && fresh {
            *plan.waiting.entry(why).or_default() += 1;
        } else {
            plan.deletes.push(Delete { why, key: format!("{}{address}", rules.prefix) });
        }
    }
    plan.deletes.sort_by_key(|delete| delete.why);
    let misspelt = observed.misspelt().iter();
    plan.deletes.extend(misspelt.map(|key| Delete { why: Why::Misspelt, key: key.clone() }));
    // Bans first: they are what must not wait if the run is cut short.
    plan.puts.sort_unstable_by_key(|put| (put.value != Remediation::Ban, put.why, put.address));
    plan
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
        self.puts.is_empty() && self.deletes.is_empty()
    }

    /// Changes that are needed and are not in the plan: no budget, or too fresh.
    pub fn waiting(&self) -> u64 {
        self.waiting.values().sum()
    }

    /// What waits, as words: `lifted 3, refresh 10`.
    pub fn describe_waiting(&self) -> String {
        let parts =
            self.waiting.iter().map(|(why, n)| format!("{} {}", why.as_str(), thousands(*n)));
        parts.collect::<Vec<_>>().join(", ")
    }

    /// Keys that differ from what is desired.
    pub fn drift(&self) -> u64 {
        (self.puts.len() + self.deletes.len()) as u64 + self.waiting()
    }

    /// Changes of one kind.
    pub fn count(&self, why: Why) -> u64 {
        let puts = self.puts.iter().filter(|put| put.why == why).count();
        (puts + self.deletes.iter().filter(|delete| delete.why == why).count()) as u64
    }

    /// The keys that go because no decision asks for them any more.
    pub fn lifted(&self) -> impl Iterator<Item = &str> {
        let lifted = self.deletes.iter().filter(|delete| delete.why == Why::Lifted);
        lifted.map(|delete| delete.key.as_str())
    }

    /// How many keys are named after an address.
    pub fn observed(&self) -> u64 {
        self.observed
    }

    /// The same, with those that no decision asks for any more left where they are: the guard has
    /// refused their removal.
    pub(crate) fn holding_lifted(mut self) -> Self {
        let held = self.count(Why::Lifted);
        if held > 0 {
            self.deletes.retain(|delete| delete.why != Why::Lifted);
            *self.waiting.entry(Why::Lifted).or_default() += held;
        }
        self
    }

    /// Keeps the most important changes: as many keys as `budget` allows to write and delete, all if
    /// there is none.
    pub fn within(mut self, budget: Option<u64>) -> Self {
        let Some(mut left) = budget else { return self };
        for why in Why::ALL {
            let mut allowed = left.min(self.count(why));
            left -= allowed;
            let over = self.count(why) - allowed;
            if over == 0 {
                continue;
            }
            // Puts and deletes never share a reason, so either loop below does nothing.
            let mut take = |this: Why| {
                this != why || {
                    let take = allowed > 0;
                    allowed -= u64::from(take);
                    take
                }
            };
            self.puts.retain(|put| take(put.why));
            self.deletes.retain(|delete| take(delete.why));
            *self.waiting.entry(why).or_default() += over;
        }
        self
    }
}

/// One line: `new_ban 3, lifted 1 =4,996; 2 left to expire; waiting: refresh 10`.
impl fmt::Display for KvPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = Why::ALL
            .into_iter()
            .filter(|why| self.count(*why) > 0)
            .map(|why| format!("{} {}", why.as_str(), thousands(self.count(why))))
            .collect();
        let parts = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
        write!(f, "{parts} ={}", thousands(self.keep))?;
        if self.running_out > 0 {
            write!(f, "; {} left to expire", thousands(self.running_out))?;
        }
        if self.waiting() > 0 {
            write!(f, "; waiting: {}", self.describe_waiting())?;
        }
        Ok(())
    }
}

impl Serialize for KvPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let puts: Vec<_> = self
            .puts
            .iter()
            .map(|put| (put.address, put.value, put.ttl_secs, put.why.as_str()))
            .collect();
        let deletes: Vec<_> = self.deletes.iter().map(|d| (&d.key, d.why.as_str())).collect();
        let waiting: BTreeMap<_, _> = self.waiting.iter().map(|(w, n)| (w.as_str(), n)).collect();
        let mut out = serializer.serialize_struct("KvPlan", 5)?;
        out.serialize_field("drift", &self.drift())?;
        out.serialize_field("keep", &self.keep)?;
        out.serialize_field("put", &puts)?;
        out.serialize_field("delete", &deletes)?;
        out.serialize_field("waiting", &waiting)?;
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::cloudflare::kv::{Key, Metadata};
    use Remediation::{Ban, Captcha};

    use std::sync::LazyLock;

    const NOW: u64 = 1_793_000_000;

    fn rules() -> Rules<'static> {
        static NOBODY: LazyLock<Protected> = LazyLock::new(Protected::default);
        let tolerance = Duration::from_secs(600);
        Rules { prefix: "ip:", tolerance, protected: &NOBODY, now: NOW, began: NOW }
    }

    /// A key of ours: address, value, seconds until it expires.
    fn ours(address: &str, value: Remediation, left: u64) -> Key {
        let metadata = Some(Metadata { value, written: NOW - 3_600 });
        Key { name: format!("ip:{address}"), expires: Some(NOW + left), metadata }
    }

    fn observed(keys: Vec<Key>) -> ObservedKeys {
        let mut observed = ObservedKeys::default();
        keys.into_iter().for_each(|key| observed.add(key, "ip:"));
        observed
    }

    fn plan(desired: &[(&str, Remediation, u32)], keys: Vec<Key>) -> KvPlan {
        diff(&Desired::of_keys(desired), &observed(keys), rules())
    }

    fn reasons(plan: &KvPlan) -> Vec<Why> {
        let puts = plan.puts().iter().map(|put| put.why);
        puts.chain(plan.deletes().iter().map(|delete| delete.why)).collect()
    }

    #[test]
    fn key_that_says_what_it_should_is_kept_within_the_tolerance() {
        for left in [3_600, 3_660, 3_600 + 60 + 600, 3_600 - 600] {
            let plan = plan(&[("1.1.1.1", Ban, 3_600)], vec![ours("1.1.1.1", Ban, left)]);
            assert!(plan.is_empty(), "{left}: {plan}");
        }
    }

    #[test]
    fn key_outside_the_tolerance_is_refreshed() {
        for left in [3_600 + 60 + 601, 3_600 - 601] {
            let plan = plan(&[("1.1.1.1", Ban, 3_600)], vec![ours("1.1.1.1", Ban, left)]);
            assert_eq!(reasons(&plan), [Why::Refresh], "{left}");
            assert_eq!(plan.puts()[0].ttl_secs, 3_660);
        }
    }

    #[test]
    fn key_that_would_expire_before_its_decision_is_refreshed_in_time() {
        // Early by less than the tolerance: nothing to do yet ...
        assert!(plan(&[("1.1.1.1", Ban, 800)], vec![ours("1.1.1.1", Ban, 481)]).is_empty());
        // ... and then not later than two failed runs would allow.
        let late = plan(&[("1.1.1.1", Ban, 799)], vec![ours("1.1.1.1", Ban, 480)]);
        assert_eq!(reasons(&late), [Why::Refresh]);
    }

    #[test]
    fn decision_in_its_last_seconds_jitters_without_a_write() {
        for (remaining, left) in [(0, 5), (0, 60), (1, 58), (59, 119), (30, 90)] {
            let plan = plan(&[("1.1.1.1", Ban, remaining)], vec![ours("1.1.1.1", Ban, left)]);
            assert!(plan.is_empty(), "{remaining} {left}: {plan}");
        }
    }

    #[test]
    fn short_decision_without_a_key_is_raised_to_the_shortest_life() {
        let plan = plan(&[("1.1.1.1", Ban, 0)], vec![]);
        assert_eq!(plan.puts()[0].ttl_secs, 60);
    }

    #[test]
    fn decision_that_ran_out_needs_no_delete_and_a_lifted_one_does() {
        let plan = plan(&[], vec![ours("1.1.1.1", Ban, 119), ours("2.2.2.2", Ban, 3_600)]);
        assert_eq!(plan.deletes(), [Delete { why: Why::Lifted, key: "ip:2.2.2.2".into() }]);
        assert_eq!(plan.running_out, 1);
    }

    #[test]
    fn key_of_a_protected_address_is_deleted_first_and_at_once() {
        let mut protected = Protected::default();
        protected.add("2.2.2.2".parse().unwrap());
        let mut fresh = ours("2.2.2.2", Ban, 100);
        fresh.metadata = Some(Metadata { value: Ban, written: NOW - 1 });
        let keys = observed(vec![ours("1.1.1.1", Ban, 3_600), fresh]);
        let rules = Rules { protected: &protected, ..rules() };
        let plan = diff(&Desired::of_keys(&[("3.3.3.3", Ban, 60)]), &keys, rules).within(Some(1));
        assert_eq!(plan.deletes(), [Delete { why: Why::Protected, key: "ip:2.2.2.2".into() }]);
        assert_eq!((plan.puts().len(), plan.waiting()), (0, 2));
    }

    #[test]
    fn key_written_a_moment_ago_is_never_deleted() {
        let mut key = ours("1.1.1.1", Ban, 3_600);
        key.metadata = Some(Metadata { value: Ban, written: NOW - 30 });
        let plan = plan(&[], vec![key]);
        assert!(plan.is_empty());
        assert_eq!((plan.waiting(), plan.drift()), (1, 1));
    }

    #[test]
    fn key_written_while_a_slow_run_was_reading_is_never_deleted() {
        let mut key = ours("1.1.1.1", Ban, 3_600);
        key.metadata = Some(Metadata { value: Ban, written: NOW - 300 });
        let slow = Rules { began: NOW - 301, ..rules() };
        let plan = diff(&Desired::default(), &observed(vec![key]), slow);
        assert_eq!((plan.deletes().len(), plan.waiting()), (0, 1));
    }

    #[test]
    fn changed_unknown_eternal_and_misspelt_keys_are_put_right() {
        let eternal = Key { expires: None, ..ours("3.3.3.3", Ban, 0) };
        let unknown = Key { metadata: None, ..ours("4.4.4.4", Ban, 3_660) };
        let plan = plan(
            &[
                ("1.1.1.1", Ban, 3_600),
                ("2.2.2.2", Captcha, 3_600),
                ("3.3.3.3", Ban, 3_600),
                ("4.4.4.4", Ban, 3_600),
            ],
            vec![
                ours("1.1.1.1", Captcha, 3_660),
                ours("2.2.2.2", Ban, 3_660),
                eternal,
                unknown,
                ours("2001:DB8::1", Ban, 3_660),
            ],
        );
        assert_eq!(
            reasons(&plan),
            [Why::BanOverCaptcha, Why::Adopted, Why::Refresh, Why::Captcha, Why::Misspelt]
        );
    }

    #[test]
    fn short_budget_is_spent_on_the_most_important_changes() {
        let desired = [
            ("1.1.1.1", Ban, 3_600),
            ("1.1.1.2", Ban, 3_600),
            ("2.2.2.2", Captcha, 3_600),
            ("3.3.3.3", Ban, 3_600),
            ("4.4.4.4", Ban, 3_600),
        ];
        let keys = || {
            vec![
                ours("3.3.3.3", Captcha, 3_660),
                ours("4.4.4.4", Ban, 9_999),
                ours("5.5.5.5", Ban, 3_600),
            ]
        };
        let spent = |budget| {
            let plan =
                diff(&Desired::of_keys(&desired), &observed(keys()), rules()).within(Some(budget));
            (reasons(&plan), plan.waiting())
        };
        assert_eq!(spent(0), (vec![], 6));
        assert_eq!(spent(1), (vec![Why::NewBan], 5));
        assert_eq!(spent(3), (vec![Why::NewBan, Why::NewBan, Why::BanOverCaptcha], 3));
        assert_eq!(
            spent(5).0,
            [Why::NewBan, Why::NewBan, Why::BanOverCaptcha, Why::Captcha, Why::Lifted]
        );
        assert_eq!(spent(6).1, 0);
    }

    #[test]
    fn plan_shown_says_what_is_done_and_what_waits() {
        let desired = Desired::of_keys(&[("1.1.1.1", Ban, 3_600), ("2.2.2.2", Captcha, 3_600)]);
        let plan =
            diff(&desired, &observed(vec![ours("9.9.9.9", Ban, 5)]), rules()).within(Some(1));
        assert_eq!(plan.to_string(), "new_ban 1 =0; 1 left to expire; waiting: captcha 1");
    }
}

//! The plan for the one key that holds all ranges: which of them differ, and what the key shall hold.
//!
//! Ranges are compared, counted and guarded one by one, by the rules of keys. But their key is written
//! whole, for one write of the day's budget, and only if one of them has a reason.

use std::collections::BTreeMap;

use crate::address::Address;
use crate::api::cloudflare::kv::{Content, Metadata, RangeEntry, Ranges};
use crate::decision::Remediation;
use crate::desired::Desired;
use crate::observed::kv::Entry;
use crate::order::Gather;
use crate::plan::{Class, Why};
use crate::skipped::Left;
use crate::state::STALE_SECS;

use super::regions::RegionChange;
use super::{KvPlan, Put, Rules, Undesired, ttl_secs, why_put};

/// What changes in the key of all ranges.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RangesPlan {
    puts: Vec<Put>,
    removals: Vec<RangeRemoval>,
    /// Ranges that would go and stay for now: the guard holds them back.
    held: Vec<RangeRemoval>,
    /// Of those that change, the ones that ban now and are to challenge; as they are now.
    weaker: Vec<RangeRemoval>,
    /// The regions that come, change or go.
    pub(super) regions: Vec<RegionChange>,
    /// Whom no region meets is not as it should be; how urgent that is.
    pub(super) exceptions: Option<Class>,
    /// What the key holds when it is written: what is desired, and what stays although it is not.
    pub(super) content: Content,
    now: u64,
    /// Those that cannot be written, because their key holds what is not ours.
    blocked: Left,
}

/// A range that goes, or is to be weaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeRemoval {
    /// Why.
    pub why: Why,
    /// How urgent it is.
    pub class: Class,
    /// Which.
    pub range: Address,
    entry: RangeEntry,
}

/// What is done with the key of all ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangesWrite<'a> {
    /// It is written.
    Put {
        /// Its content.
        content: &'a Content,
        /// Seconds until the last of them has run out, or longer.
        ttl_secs: u64,
    },
    /// It is deleted, for nothing is left.
    Delete,
}

impl RangesPlan {
    /// Whether the key is left as it is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ranges that change.
    pub fn len(&self) -> usize {
        let others = self.regions.len() + usize::from(self.exceptions_differ());
        self.puts.len() + self.removals.len() + others
    }

    /// Why each range changes.
    pub fn reasons(&self) -> impl Iterator<Item = Why> {
        let puts = self.puts.iter().map(|put| put.why);
        let regions = self.regions.iter().map(|change| change.why);
        let exceptions = self.exceptions.map(|_| Why::Protected);
        puts.chain(self.removals.iter().map(|removal| removal.why)).chain(regions).chain(exceptions)
    }

    /// The most urgent change, if there is any.
    pub fn class(&self) -> Option<Class> {
        let puts = self.puts.iter().map(|put| put.class);
        let regions = self.regions.iter().map(|change| change.class);
        let removals = self.removals.iter().map(|removal| removal.class);
        puts.chain(removals).chain(regions).chain(self.exceptions).min()
    }

    /// The regions that come, change or go.
    pub fn regions(&self) -> &[RegionChange] {
        &self.regions
    }

    /// Whether those whom no region meets differ.
    pub fn exceptions_differ(&self) -> bool {
        self.exceptions.is_some()
    }

    /// Whether something that comes is of a ban that was decided here.
    pub fn is_own(&self) -> bool {
        self.puts.iter().any(|put| put.own) || self.regions.iter().any(|change| change.own)
    }

    /// What the key holds if it is written.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The ranges that come or change.
    pub fn puts(&self) -> &[Put] {
        &self.puts
    }

    /// The ranges that go.
    pub fn removals(&self) -> &[RangeRemoval] {
        &self.removals
    }

    /// The ranges that wait because their key holds what is not ours.
    pub fn blocked(&self) -> &Left {
        &self.blocked
    }

    /// What is done with the key of all ranges, if anything.
    pub fn write(&self) -> Option<RangesWrite<'_>> {
        let Self { content, now, .. } = self;
        (!self.is_empty()).then(|| match content.last() {
            None => RangesWrite::Delete,
            Some(last) => {
                RangesWrite::Put { content, ttl_secs: last.saturating_sub(*now).max(STALE_SECS) }
            }
        })
    }

    /// The ranges that would go and are held back.
    pub fn held(&self) -> &[RangeRemoval] {
        &self.held
    }

    /// Leaves in the key what is not desired and `stays`.
    pub(super) fn hold(&mut self, holds_keys: bool, stays: impl Fn(&Address, Why) -> bool) {
        let removals = std::mem::take(&mut self.removals).into_iter();
        (self.held, self.removals) =
            removals.partition(|removal| stays(&removal.range, removal.why));
        self.content.ranges.extend(self.held.iter().map(|removal| (removal.range, removal.entry)));
        if holds_keys || !self.held.is_empty() {
            let (comes, goes): (Vec<_>, Vec<_>) = std::mem::take(&mut self.regions)
                .into_iter()
                .partition(|change| change.value.is_some());
            self.regions = comes;
            let goes = goes.into_iter().map(|gone| (gone.region, gone.entry));
            self.content.regions.entries.extend(goes);
        }
    }
}

impl RangeEntry {
    /// As if it were a key: what a key's metadata says of one key, the value says of all that stand in it.
    pub(super) fn as_key(&self, written: u64) -> Entry {
        let metadata = Some(Metadata { value: self.value, written });
        Entry { expires: Some(self.expires), metadata }
    }
}

impl KvPlan {
    /// Compares the ranges that should be in KV with those that are.
    ///
    /// | range in the key | decision | |
    /// |---|---|---|
    /// | as a key that would be written | yes | changes; the key is written |
    /// | else | yes | kept |
    /// | of a protected address, also if it has run out | none | goes; the key is written |
    /// | run out, or runs out within two minutes | none | left, until the key is written anyway |
    /// | else, as a key that would be deleted | none | goes; the key is written |
    ///
    /// With every write each desired range gets its whole time again, so that the next write is far.
    pub(super) fn add_ranges(&mut self, desired: &Desired, observed: &Ranges, rules: Rules<'_>) {
        self.ranges.now = rules.now;
        // An owner's also if it has run out: our clock may be ahead, and the Worker's is right.
        let is_there = |(range, entry): &(Address, RangeEntry)| {
            entry.expires > rules.now || rules.protected.rule(range).is_some()
        };
        let there: BTreeMap<_, _> = observed.in_force(0).filter(is_there).gather();
        let written = match observed {
            Ranges::Ours { written, .. } => *written,
            Ranges::Absent | Ranges::Foreign => 0,
        };
        for wanted in desired.ranges() {
            let entry = there.get(&wanted.address).map(|entry| entry.as_key(written));
            self.still_desired += u64::from(entry.is_some());
            match why_put(entry.as_ref(), &wanted, rules) {
                Some(why) => {
                    let put = Put::new(why, entry.as_ref(), &wanted, rules);
                    let (class, range) = (put.class, put.address);
                    self.ranges.puts.push(put);
                    let now = there.get(&range).filter(|entry| entry.value > wanted.value);
                    let weaker = now.map(|entry| RangeRemoval { why, class, range, entry: *entry });
                    self.ranges.weaker.extend(weaker);
                }
                None => self.keep += 1,
            }
            let expires = rules.now + ttl_secs(wanted.remaining);
            self.ranges
                .content
                .ranges
                .insert(wanted.address, RangeEntry { value: wanted.value, expires });
        }
        self.observed += there.len() as u64;
        for (range, entry) in there {
            if self.ranges.content.ranges.contains_key(&range) {
                continue;
            }
            self.sees_ahead |= written > rules.now;
            match Undesired::of(&range, &entry.as_key(written), rules) {
                Undesired::RunsOut => self.running_out += 1,
                Undesired::Fresh => {
                    self.wait_fresh(range);
                    self.ranges.content.ranges.insert(range, entry);
                }
                Undesired::Goes(why, class) => {
                    let (why, class) = replaced(&range, entry.value, desired)
                        .filter(|_| why != Why::Protected)
                        .map_or((why, class), |why| (why, Class::Rest));
                    self.ranges.removals.push(RangeRemoval { why, class, range, entry });
                }
            }
        }
        self.add_regions(desired, observed, rules);
        if *observed == Ranges::Foreign {
            let RangesPlan { puts, regions, .. } = std::mem::take(&mut self.ranges);
            let puts = puts.into_iter().map(|put| (put.address.to_string(), put.why));
            for (name, why) in puts.chain(regions.into_iter().map(|of| (of.region, of.why))) {
                self.ranges.blocked.add(&name);
                self.wait(why);
            }
        }
    }
}

impl KvPlan {
    /// The ranges that must not go, nor become weaker, before the key of somebody inside is there, who is desired by
    /// himself and of whom `is_meant`: he would be let through. Where keys may be listed that are gone, `unsure` says
    /// who is desired: for each of those.
    pub(crate) fn needed(
        &self,
        is_meant: &dyn Fn(&Address) -> bool,
        unsure: Option<&Desired>,
    ) -> Vec<RangeRemoval> {
        let RangesPlan { removals, weaker, .. } = &self.ranges;
        let mut needed = removals.clone();
        needed.extend_from_slice(weaker);
        needed.retain(|of| {
            // One that becomes weaker still challenges.
            let least = match of.why {
                Why::Protected | Why::Covered => return false,
                Why::Captcha => Remediation::Ban,
                _ => Remediation::Captcha,
            };
            let is_inside = |address: &Address, value| value >= least && of.range.contains(address);
            let mut unsure = unsure.into_iter().flat_map(Desired::keys);
            unsure.any(|wanted| is_inside(&wanted.address, wanted.value))
                || self.puts.iter().any(|put| {
                    is_inside(&put.address, put.value) && put.comes() && is_meant(&put.address)
                })
        });
        needed
    }

    /// Those who come inside of these ranges.
    pub(crate) fn inside(&self, ranges: &[RangeRemoval]) -> impl Iterator<Item = Address> {
        let comes = self.puts.iter().filter(|put| put.comes()).map(|put| put.address);
        comes.filter(|address| ranges.iter().any(|gone| gone.range.contains(address)))
    }

    /// The same, with these ranges in their key as they are.
    pub(crate) fn keeping(mut self, needed: &[RangeRemoval]) -> Self {
        let RangesPlan { removals, weaker, puts, content, .. } = &mut self.ranges;
        removals.retain(|gone| !needed.contains(gone));
        weaker.retain(|to| !needed.contains(to));
        puts.retain(|put| !needed.iter().any(|of| of.range == put.address));
        content.ranges.extend(needed.iter().map(|gone| (gone.range, gone.entry)));
        self
    }
}

/// Why a range goes that lies in desired ones, which are written with the same write at the latest.
fn replaced(range: &Address, value: Remediation, desired: &Desired) -> Option<Why> {
    let strongest = desired.kv_ranges_around(range).map(|(_, wanted)| wanted).max()?;
    Some(if strongest >= value { Why::Covered } else { Why::Moved })
}

#[cfg(test)]
mod tests {
    use super::super::diff;
    use super::*;
    use crate::api::cloudflare::kv::Key;
    use crate::decision::Remediation::{Ban, Captcha};
    use crate::observed::kv::ObservedKeys;
    use crate::settings::protected::Protected;
    use crate::state::Ends;

    use std::sync::LazyLock;
    use std::time::Duration;

    const NOW: u64 = 1_793_000_000;

    fn rules() -> Rules<'static> {
        static NOBODY: LazyLock<Protected> = LazyLock::new(Protected::default);
        let tolerance = Duration::from_secs(600);
        static UNKNOWN: LazyLock<Ends> = LazyLock::new(Ends::default);
        Rules {
            prefix: "ip:",
            tolerance,
            protected: &NOBODY,
            ends: &UNKNOWN,
            now: NOW,
            began: NOW,
            ahead_since: None,
        }
    }

    /// What we wrote an hour ago: range, value, seconds until it expires.
    fn ours(ranges: &[(&str, Remediation, u64)]) -> Ranges {
        let entry = |&(range, value, left): &(&str, _, u64)| {
            (range.parse().unwrap(), RangeEntry { value, expires: NOW + left })
        };
        of_entries(NOW - 3_600, ranges.iter().map(entry).collect())
    }

    fn of_entries(written: u64, entries: BTreeMap<Address, RangeEntry>) -> Ranges {
        Ranges::Ours { written, entries, regions: Default::default() }
    }

    fn plan_by(desired: &[(&str, Remediation, u32)], observed: Ranges, rules: Rules<'_>) -> KvPlan {
        let mut keys = ObservedKeys::default();
        keys.set_ranges(observed);
        diff(&Desired::of_keys(desired), &keys, rules)
    }

    fn plan(desired: &[(&str, Remediation, u32)], observed: Ranges) -> KvPlan {
        plan_by(desired, observed, rules())
    }

    /// Range, value, seconds until it expires.
    type Held = (String, Remediation, u64);

    /// What the key would hold, and its own time to live. Nothing: no write.
    fn written(plan: &KvPlan) -> Option<(Vec<Held>, u64)> {
        match plan.ranges().write()? {
            RangesWrite::Delete => Some((vec![], 0)),
            RangesWrite::Put { content, ttl_secs } => {
                let entry = |(range, entry): (&Address, &RangeEntry)| {
                    (range.to_string(), entry.value, entry.expires - NOW)
                };
                Some((content.ranges.iter().map(entry).collect(), ttl_secs))
            }
        }
    }

    const NET: &str = "203.0.113.0/24";
    const NET6: &str = "2001:db8::/32";

    #[test]
    fn first_ranges_are_written_whole_and_live_as_long_as_the_longest() {
        let plan = plan(&[(NET6, Captcha, 7_200), (NET, Ban, 3_600)], Ranges::Absent);
        let content = vec![(NET.to_owned(), Ban, 3_660), (NET6.to_owned(), Captcha, 7_260)];
        assert_eq!(written(&plan), Some((content, 7_260)));
        assert_eq!(plan.to_string(), "new_ban 1, captcha 1 =0");
        assert_eq!(plan.drift(), 2);
    }

    #[test]
    fn ranges_within_the_tolerance_are_kept_without_a_write() {
        for left in [3_600, 3_660, 4_260, 3_000, 1_830] {
            let plan = plan(&[(NET, Ban, 3_600)], ours(&[(NET, Ban, left)]));
            assert_eq!((written(&plan), plan.drift()), (None, 0), "{left}: {plan}");
        }
    }

    #[test]
    fn one_reason_rewrites_the_key_and_gives_every_range_its_whole_time() {
        for (value, left, why) in [
            (Ban, 1_829, Why::Refresh),
            (Ban, 4_261, Why::Refresh),
            (Captcha, 3_660, Why::BanOverCaptcha),
        ] {
            let there = ours(&[(NET, value, left), (NET6, Ban, 3_100)]);
            let plan = plan(&[(NET, Ban, 3_600), (NET6, Ban, 3_600)], there);
            let content = vec![(NET.to_owned(), Ban, 3_660), (NET6.to_owned(), Ban, 3_660)];
            assert_eq!(written(&plan), Some((content, 3_660)), "{why:?}");
            assert_eq!((plan.drift(), plan.count(why)), (1, 1));
        }
    }

    #[test]
    fn range_that_has_run_out_in_a_key_that_has_not_is_absent() {
        let plan = plan(&[(NET, Ban, 3_600)], ours(&[(NET, Ban, 0)]));
        assert_eq!((plan.count(Why::NewBan), plan.observed()), (1, 0));
    }

    #[test]
    fn range_that_runs_out_goes_with_the_next_write_and_causes_none() {
        let there = || ours(&[(NET, Ban, 120), (NET6, Ban, 3_660)]);
        let idle = plan(&[(NET6, Ban, 3_600)], there());
        assert_eq!(
            (written(&idle), idle.to_string()),
            (None, "nothing =1; 1 left to expire".into())
        );
        let busy = plan(&[(NET6, Captcha, 3_600)], there());
        assert_eq!(written(&busy), Some((vec![(NET6.to_owned(), Captcha, 3_660)], 3_660)));
    }

    #[test]
    fn last_range_that_is_lifted_takes_the_key_with_it() {
        let plan = plan(&[], ours(&[(NET, Ban, 3_660), (NET6, Ban, 60)]));
        assert_eq!(plan.ranges().write(), Some(RangesWrite::Delete));
        assert_eq!(plan.ranges().removals().len(), 1);
        assert_eq!((plan.observed(), plan.lasting()), (2, 1));
    }

    #[test]
    fn lifted_range_that_is_held_stays_as_it_was_while_a_new_one_comes() {
        let there = || ours(&[(NET, Captcha, 900)]);
        let plan_with_new =
            plan(&[(NET6, Ban, 3_600)], there()).holding(|_, why| why == Why::Lifted);
        let content = vec![(NET.to_owned(), Captcha, 900), (NET6.to_owned(), Ban, 3_660)];
        assert_eq!(written(&plan_with_new), Some((content, 3_660)));
        assert_eq!((plan_with_new.held(), plan_with_new.drift()), (1, 2));
        let alone = plan(&[], there()).holding(|_, why| why == Why::Lifted);
        assert_eq!((written(&alone), alone.drift()), (None, 1));
    }

    #[test]
    fn plan_keeps_something_while_one_range_that_is_there_is_desired() {
        let there = || ours(&[(NET, Ban, 3_660), (NET6, Ban, 3_660)]);
        assert!(!plan(&[(NET, Ban, 3_600)], there()).keeps_nothing());
        assert!(plan(&[("198.51.100.0/24", Ban, 3_600)], there()).keeps_nothing());
    }

    #[test]
    fn range_inside_of_a_desired_one_is_no_lift_for_it_goes_with_the_write_that_brings_it() {
        for (wanted, why) in [(Ban, Why::Covered), (Captcha, Why::Moved)] {
            let plan = plan(&[("203.0.0.0/16", wanted, 3_600)], ours(&[(NET, Ban, 3_600)]));
            let removals = plan.ranges().removals();
            assert_eq!((removals[0].why, removals[0].class), (why, Class::Rest));
            let content = vec![("203.0.0.0/16".to_owned(), wanted, 3_660)];
            assert_eq!(written(&plan), Some((content, 3_660)));
        }
    }

    #[test]
    fn lifted_range_is_needed_while_the_key_of_somebody_inside_waits() {
        let inside: Address = "203.0.113.7".parse().unwrap();
        let desired = [("203.0.113.7", Captcha, 3_600), (NET6, Captcha, 3_600)];
        let plan = plan(&desired, ours(&[(NET, Ban, 3_660), (NET6, Ban, 3_660)]));
        assert_eq!(plan.needed(&|_| false, None), []);
        let needed = plan.needed(&|address| *address == inside, None);
        assert_eq!(needed, plan.ranges().removals());
        let content = |captcha| vec![captcha, (NET6.to_owned(), Captcha, 3_660)];
        assert_eq!(written(&plan).unwrap().0.len(), 1);
        let keeping = plan.keeping(&needed);
        assert_eq!(written(&keeping).unwrap().0, content((NET.to_owned(), Ban, 3_660)));
    }

    #[test]
    fn lifted_range_is_needed_by_everybody_inside_while_keys_may_be_listed_that_are_gone() {
        let mut keys = ObservedKeys::default();
        keys.set_ranges(ours(&[(NET, Ban, 3_660), (NET6, Ban, 3_660)]));
        let metadata = Some(Metadata { value: Ban, written: NOW - 3_600 });
        for name in ["203.0.113.7", "2001:db8::1"] {
            keys.add(
                Key { name: format!("ip:{name}"), expires: Some(NOW + 3_660), metadata },
                "ip:",
            );
        }
        let desired =
            [("203.0.113.7", Ban, 3_600), (NET6, Captcha, 3_600), ("2001:db8::1", Captcha, 3_600)];
        let desired = Desired::of_keys(&desired);
        let plan = diff(&desired, &keys, rules());
        assert_eq!(plan.needed(&|_| false, None), []);
        let needed: Vec<_> =
            plan.needed(&|_| false, Some(&desired)).iter().map(|of| of.range.to_string()).collect();
        assert_eq!(needed, [NET], "and who is to be challenged is so by what becomes weaker");
    }

    #[test]
    fn range_that_becomes_weaker_is_needed_by_who_is_to_be_banned_inside() {
        let to = [(NET, Captcha, 3_600), (NET6, Captcha, 3_600)];
        let there = || ours(&[(NET, Ban, 3_660), (NET6, Captcha, 300)]);
        // The first and the last address of it, one beside it, and one inside of a range that bans nobody now.
        for (inside, value, is_needed) in [
            ("203.0.113.0", Ban, true),
            ("203.0.113.255", Ban, true),
            ("203.0.113.7", Captcha, false),
            ("203.0.112.255", Ban, false),
            ("203.0.114.0", Ban, false),
            ("2001:db8::1", Ban, false),
        ] {
            let plan = plan(&[to[0], to[1], (inside, value, 3_600)], there());
            let needed = plan.needed(&|_| true, None);
            let ranges: Vec<_> = needed.iter().map(|of| of.range.to_string()).collect();
            assert_eq!(ranges, if is_needed { vec![NET] } else { vec![] }, "{inside} {value:?}");
            let comes: Vec<_> = plan.inside(&needed).map(|address| address.to_string()).collect();
            assert_eq!(comes, if is_needed { vec![inside] } else { vec![] });
            let (content, _) = written(&plan.keeping(&needed)).unwrap();
            let now = if is_needed { Ban } else { Captcha };
            let entry = (NET.to_owned(), now, 3_660);
            assert_eq!(content, [entry, (NET6.to_owned(), Captcha, 3_660)]);
        }
    }

    #[test]
    fn range_that_becomes_weaker_alone_is_no_change_while_it_is_kept() {
        let plan =
            plan(&[(NET, Captcha, 3_600), ("203.0.113.7", Ban, 9)], ours(&[(NET, Ban, 9_000)]));
        assert_eq!(plan.drift(), 2);
        let keeping = plan.clone().keeping(&plan.needed(&|_| true, None));
        assert_eq!((written(&keeping), keeping.needed(&|_| true, None)), (None, vec![]));
    }

    #[test]
    fn lifted_range_is_not_needed_by_whose_key_is_there_already() {
        let mut keys = ObservedKeys::default();
        keys.set_ranges(ours(&[(NET, Ban, 3_660)]));
        let metadata = Some(Metadata { value: Ban, written: NOW - 3_600 });
        let name = "ip:203.0.113.7".to_owned();
        // It is written again, for it is about to run out.
        keys.add(Key { name, expires: Some(NOW + 300), metadata }, "ip:");
        let plan = diff(&Desired::of_keys(&[("203.0.113.7", Ban, 3_600)]), &keys, rules());
        assert_eq!((plan.puts().len(), plan.needed(&|_| true, None)), (1, vec![]));
        assert_eq!(plan.inside(plan.ranges().removals()).count(), 0);
    }

    #[test]
    fn range_of_an_owner_or_inside_of_another_is_not_needed() {
        let mut protected = Protected::default();
        protected.add("203.0.113.9".parse().unwrap());
        let rules = Rules { protected: &protected, ..rules() };
        let inside = ("203.0.113.7", Captcha, 3_600);
        let owner = plan_by(&[inside], ours(&[(NET, Ban, 3_660)]), rules);
        let covered = [inside, ("203.0.0.0/16", Ban, 3_600)];
        for plan in [owner, plan(&covered, ours(&[(NET, Ban, 3_660)]))] {
            assert_eq!((plan.ranges().removals().len(), plan.needed(&|_| true, None)), (1, vec![]));
        }
    }

    #[test]
    fn ranges_written_a_moment_ago_are_taken_out_only_if_protected() {
        let Ranges::Ours { entries, .. } = ours(&[(NET, Ban, 3_600), (NET6, Ban, 3_600)]) else {
            unreachable!()
        };
        let there = of_entries(NOW - 30, entries);
        let mut protected = Protected::default();
        protected.add("2001:db8::7".parse().unwrap());
        let plan = plan_by(&[], there, Rules { protected: &protected, ..rules() });
        assert_eq!(written(&plan), Some((vec![(NET.to_owned(), Ban, 3_600)], 3_600)));
        assert_eq!(plan.count(Why::Protected), 1);
        assert_eq!(plan.waiting(), &[(Why::Lifted, 1)].into());
    }

    /// Our clock is ahead: the Worker still meets the owner by it.
    #[test]
    fn range_that_has_run_out_goes_with_a_write_of_its_own_only_if_protected() {
        let mut protected = Protected::default();
        protected.add("2001:db8::7".parse().unwrap());
        let there = || ours(&[(NET, Ban, 0), (NET6, Ban, 0), ("192.0.2.0/24", Ban, 3_660)]);
        let desired = [("192.0.2.0/24", Ban, 3_600)];
        let plan = plan_by(&desired, there(), Rules { protected: &protected, ..rules() });
        let removals = plan.ranges().removals();
        assert_eq!(removals.len(), 1);
        assert_eq!((removals[0].why, removals[0].class), (Why::Protected, Class::Owner));
        assert_eq!(removals[0].range.to_string(), NET6);
        let content = vec![("192.0.2.0/24".to_owned(), Ban, 3_660)];
        assert_eq!(written(&plan), Some((content, 3_660)));
        assert_eq!(written(&self::plan(&desired, there())), None);
    }

    #[test]
    fn ranges_written_in_the_future_are_seen_and_those_of_this_second_are_not_of_the_future() {
        for (written, sees_ahead) in [(NOW - 1, false), (NOW, false), (NOW + 1, true)] {
            let Ranges::Ours { entries, .. } = ours(&[(NET, Ban, 3_600)]) else { unreachable!() };
            assert_eq!(plan(&[], of_entries(written, entries)).sees_ahead(), sees_ahead);
        }
    }

    #[test]
    fn key_that_is_not_ours_is_left_alone_and_the_ranges_wait() {
        let plan = plan(&[("1.1.1.1", Ban, 3_600), (NET, Ban, 3_600)], Ranges::Foreign);
        assert_eq!((plan.puts().len(), plan.ranges().write()), (1, None));
        assert_eq!(plan.waiting(), &[(Why::NewBan, 1)].into());
        assert_eq!(plan.ranges().blocked().describe(), format!("{NET:?}"));
        assert_eq!(self::plan(&[], Ranges::Foreign).drift(), 0);
    }

    #[test]
    fn plan_as_json_shows_ranges_by_themselves() {
        let there = ours(&[(NET, Ban, 3_660)]);
        let plan = plan(&[(NET6, Ban, 3_600)], there);
        insta::assert_snapshot!(serde_json::to_string(&plan).unwrap(), @r#"{"drift":2,"keep":0,"put":[],"delete":[],"put_ranges":[["2001:db8::/32","ban",3660,"new_ban"]],"delete_ranges":[["203.0.113.0/24","lifted"]],"held":[]}"#);
    }

    #[test]
    fn key_of_one_address_beside_a_range_of_the_same_network_is_its_own() {
        let mut keys = ObservedKeys::default();
        keys.set_ranges(ours(&[(NET, Ban, 3_660)]));
        let metadata = Some(Metadata { value: Ban, written: NOW - 3_600 });
        let name = "ip:203.0.113.7".to_owned();
        keys.add(Key { name, expires: Some(NOW + 3_660), metadata }, "ip:");
        let plan = diff(&Desired::of_keys(&[(NET, Ban, 3_600)]), &keys, rules());
        let delete = &plan.deletes()[0];
        assert_eq!((delete.key.as_str(), delete.why), ("ip:203.0.113.7", Why::Covered));
        assert_eq!(delete.after, None, "the range is in force");
    }
}

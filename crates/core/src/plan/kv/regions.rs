//! Countries and autonomous systems, which stand beside the ranges in the same value: which of them differ.
//!
//! They are compared by the rules of keys. The guard does not count them, for they are few and each is
//! somebody's decision; but while it holds anything back, none of them leaves.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use crate::address::Address;
use crate::api::cloudflare::kv::{RangeEntry, Ranges, Regions};
use crate::decision::{Remediation, Source};
use crate::desired::{Desired, KeyWanted, Region};
use crate::order::Gather;
use crate::plan::{Class, Why};
use crate::settings::protected::NEVER_BLOCK;

use super::{KvPlan, Put, Rules, SLACK_SECS, is_fresh, ttl_secs, why_put};

/// A region that comes, changes or goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionChange {
    /// Why.
    pub why: Why,
    /// How urgent it is.
    pub class: Class,
    /// Whether it is of a ban that was decided here.
    pub own: bool,
    /// Which: `country:CN`, `as:64496`.
    pub region: String,
    /// Its value; `None` = it goes.
    pub value: Option<Remediation>,
    pub(super) entry: RangeEntry,
}

/// Its name in the values.
fn name(region: &Region) -> String {
    match region {
        Region::Country(country) => format!("country:{country}"),
        Region::As(asn) => format!("as:{asn}"),
    }
}

impl KvPlan {
    pub(super) fn add_regions(&mut self, desired: &Desired, observed: &Ranges, rules: Rules<'_>) {
        let nothing = Regions::default();
        let (there, written) = match observed {
            Ranges::Ours { regions, written, .. } => (regions, *written),
            Ranges::Absent | Ranges::Foreign => (&nothing, 0),
        };
        let is_in_force = |entry: &&RangeEntry| entry.expires > rules.now;
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED).into();
        // What is decided here first: where there is no room for all, the last go without.
        let of = |own: bool| {
            desired
                .regions()
                .iter()
                .filter(move |(_, wanted)| (wanted.source == Source::Own) == own)
        };
        let mut from = 0;
        for (region, wanted) in of(true).chain(of(false)) {
            let region = name(region);
            let of = there
                .get(&region, &mut from)
                .filter(is_in_force)
                .map(|entry| entry.as_key(written));
            // The rules of keys look at value and time, and not at whose key it is.
            let wanted = KeyWanted {
                address: nowhere,
                value: wanted.remediation,
                remaining: wanted.remaining,
                own: wanted.source == Source::Own,
            };
            let expires = rules.now + ttl_secs(wanted.remaining);
            let entry = RangeEntry { value: wanted.value, expires };
            match why_put(of.as_ref(), &wanted, rules) {
                Some(why) => {
                    let Put { class, own, .. } = Put::new(why, of.as_ref(), &wanted, rules);
                    let value = Some(entry.value);
                    let region = region.clone();
                    let change = RegionChange { why, class, own, region, value, entry };
                    self.ranges.regions.push(change);
                }
                None => self.keep += 1,
            }
            self.ranges.content.regions.entries.push((region, entry));
        }
        from = 0;
        for (region, entry) in there.entries.iter().filter(|(_, entry)| is_in_force(&entry)) {
            let content = &mut self.ranges.content.regions;
            if content.get(region, &mut from).is_some() {
                continue;
            }
            let (region, entry) = (region.clone(), *entry);
            if entry.expires <= rules.now + 2 * SLACK_SECS {
                self.running_out += 1;
            } else if is_fresh(&entry.as_key(written), rules) {
                content.entries.push((region, entry));
                self.wait(Why::Lifted);
            } else {
                let (why, class) = (Why::Lifted, Class::Lift);
                let gone = RegionChange { why, class, own: false, region, value: None, entry };
                self.ranges.regions.push(gone);
            }
        }
        let content = &mut self.ranges.content.regions;
        let is_in_force = there.entries.iter().any(|(_, entry)| is_in_force(&entry));
        let own = rules.protected.addresses().iter().filter(|(_, rule)| *rule == NEVER_BLOCK);
        let own: BTreeSet<Address> = own.map(|(address, _)| *address).gather();
        // An owner who is new among them must not be caught in a country, nor in one that has run out by our clock,
        // which may be ahead: then the value is written without it. One who goes may wait.
        let is_new = own.iter().any(|own| !there.never.contains(own));
        let differ = is_in_force && !own.iter().eq(&there.never);
        let class = if is_new { Class::Owner } else { Class::Rest };
        let is_caught = is_new && !there.entries.is_empty();
        self.ranges.exceptions = (differ || is_caught).then_some(class);
        // Also if no region is desired: the guard may hold one, and whoever is the owner's is not met by it.
        if is_in_force || !content.entries.is_empty() {
            content.never.extend(own);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::LazyLock;
    use std::time::Duration;

    use super::super::diff;
    use super::*;
    use crate::api::cloudflare::kv::{Key, Metadata};
    use crate::observed::kv::ObservedKeys;
    use crate::settings::protected::Protected;
    use crate::state::Ends;

    const NOW: u64 = 1_793_000_000;
    const HOUR: u64 = 3_600;
    const OWNER: &str = "198.51.100.7";

    /// Desired countries, each for an hour; countries in the value, with the seconds that they have left and whom
    /// none of them meets.
    #[derive(Default)]
    struct Case {
        wanted: Vec<&'static str>,
        there: Vec<(&'static str, u64)>,
        never: Vec<&'static str>,
        keys: ObservedKeys,
        written: u64,
        protected: Protected,
    }

    impl Case {
        fn of(wanted: &[&'static str], there: &[(&'static str, u64)]) -> Self {
            let (wanted, there) = (wanted.to_vec(), there.to_vec());
            Self { wanted, there, written: NOW - HOUR, ..Self::default() }
        }

        fn owned(mut self, never: &[&'static str]) -> Self {
            self.protected.add(OWNER.parse().unwrap());
            self.protected.add_group("private");
            self.never = never.to_vec();
            self
        }

        fn plan(&self) -> KvPlan {
            let mut desired = Desired::default();
            self.wanted.iter().for_each(|letters| desired.put_country(letters, HOUR));
            let entry = |left| RangeEntry { value: Remediation::Ban, expires: NOW + left };
            let there = self.there.iter();
            let entries =
                there.map(|(name, left)| (format!("country:{name}"), entry(*left))).collect();
            let never = self.never.iter().map(|one| one.parse().unwrap()).collect();
            let regions = Regions { entries, never };
            let mut keys = self.keys.clone();
            if !self.there.is_empty() {
                let (written, entries) = (self.written, BTreeMap::new());
                keys.set_ranges(Ranges::Ours { written, entries, regions });
            }
            diff(&desired, &keys, rules(&self.protected))
        }
    }

    fn rules(protected: &Protected) -> Rules<'_> {
        static UNKNOWN: LazyLock<Ends> = LazyLock::new(Ends::default);
        Rules {
            prefix: "ip:",
            tolerance: Duration::from_secs(600),
            protected,
            ends: &UNKNOWN,
            now: NOW,
            began: NOW,
            ahead_since: None,
        }
    }

    /// `country:CN new_ban`, and what the value holds when it is written.
    fn says(plan: &KvPlan) -> (Vec<String>, Vec<&str>) {
        let says = |change: &RegionChange| format!("{} {}", change.region, change.why.as_str());
        let content = &plan.ranges().content().regions;
        let holds = content.entries.iter().map(|(name, _)| name.as_str());
        (plan.ranges().regions().iter().map(says).collect(), holds.collect())
    }

    #[test]
    fn country_that_is_not_in_force_comes_and_one_that_is_counts_as_kept() {
        let plan = Case::of(&["CN", "DE", "FR"], &[("CN", 3_660), ("DE", 0)]).plan();
        let comes = ["country:DE new_ban", "country:FR new_ban"].map(String::from).to_vec();
        assert_eq!(says(&plan), (comes, vec!["country:CN", "country:DE", "country:FR"]));
        assert_eq!((plan.keep(), plan.ranges().len(), plan.drift()), (1, 2, 2));
        let first = Case::of(&["CN"], &[]).plan();
        assert_eq!((first.ranges().len(), first.keep()), (1, 0));
        let [(_, entry)] = &first.ranges().content().regions.entries[..] else { panic!("{first}") };
        assert_eq!(entry.expires, NOW + HOUR + 60, "with the slack of keys");
        assert!(first.ranges().write().is_some());
    }

    /// Where there is no room for all, the last go without.
    #[test]
    fn countries_decided_here_come_before_those_of_the_community() {
        let mut desired = Desired::default();
        desired.put_country_by(Source::Community, "CN", HOUR);
        desired.put_country_by(Source::Own, "DE", HOUR);
        let case = Case::default();
        let plan = diff(&desired, &case.keys, rules(&case.protected));
        assert_eq!(says(&plan).1, ["country:DE", "country:CN"]);
        let comes: Vec<_> = plan.ranges().regions().iter().map(|of| (of.own, of.class)).collect();
        assert_eq!(comes, [(true, Class::OwnBan), (false, Class::CommunityBan)]);
    }

    #[test]
    fn country_that_was_lifted_goes_unless_it_runs_out_within_two_minutes_or_is_fresh() {
        let mut case = Case::of(&[], &[("CN", 121), ("DE", 120), ("FR", 0)]);
        let gone = vec!["country:CN lifted".to_owned()];
        let plan = case.plan();
        assert_eq!((says(&plan), plan.running_out()), ((gone, vec![]), 1));
        case.written = NOW - 30;
        let plan = case.plan();
        assert_eq!((says(&plan), plan.running_out()), ((vec![], vec!["country:CN"]), 1));
        assert_eq!(plan.waiting(), &[(Why::Lifted, 1)].into());
    }

    #[test]
    fn country_that_was_lifted_stays_only_while_the_guard_holds_a_key_or_a_range_back() {
        let mut case = Case::of(&[], &[("CN", HOUR)]);
        let gone = (vec!["country:CN lifted".to_owned()], vec![]);
        let stays = (vec![], vec!["country:CN"]);
        let hold = |plan: KvPlan| plan.holding(|_, why| why == Why::Lifted);
        assert_eq!(says(&hold(case.plan())), gone, "nothing else goes");
        let metadata = Some(Metadata { value: Remediation::Ban, written: NOW - HOUR });
        let (name, expires) = ("ip:192.0.2.1".to_owned(), Some(NOW + HOUR));
        case.keys.add(Key { name, expires, metadata }, "ip:");
        assert_eq!(says(&case.plan()), gone, "the guard is content");
        assert_eq!(says(&hold(case.plan())), stays);
    }

    /// Built-in groups are not among them: a country has no address of theirs.
    #[test]
    fn owner_is_excepted_from_the_first_country_on() {
        let never = |plan: &KvPlan| -> Vec<String> {
            plan.ranges().content().regions.never.iter().map(Address::to_string).collect()
        };
        let first = Case::of(&["CN"], &[]).owned(&[]).plan();
        assert_eq!(
            (never(&first), first.ranges().exceptions_differ()),
            (vec![OWNER.into()], false)
        );
        assert_eq!(
            first.ranges().class(),
            Some(Class::OwnBan),
            "he is in the value that brings it"
        );
        let nothing = Case::of(&[], &[]).owned(&[]).plan();
        assert!(never(&nothing).is_empty() && nothing.is_empty());
        let held = Case::of(&[], &[("CN", HOUR)]).owned(&[OWNER]).plan();
        assert_eq!(never(&held), [OWNER], "also in what stays");
    }

    #[test]
    fn owner_who_is_new_is_the_most_urgent_and_one_who_goes_may_wait() {
        let with = |there: &[&'static str]| {
            let plan = Case::of(&["CN"], &[("CN", 3_660)]).owned(there).plan();
            (plan.ranges().class(), plan.ranges().len(), plan.count(Why::Protected))
        };
        assert_eq!(with(&[]), (Some(Class::Owner), 1, 1));
        assert_eq!(with(&["203.0.113.9"]), (Some(Class::Owner), 1, 1), "another one");
        assert_eq!(with(&[OWNER, "203.0.113.9"]), (Some(Class::Rest), 1, 1));
        assert_eq!(with(&[OWNER]), (None, 0, 0));
    }

    /// Our clock is ahead: the Worker still meets the owner by it.
    #[test]
    fn country_that_has_run_out_goes_with_a_write_of_its_own_only_for_an_owner_who_is_new() {
        let with = |wanted: &[&'static str], there: &[&'static str]| {
            let plan = Case::of(wanted, &[("CN", 0)]).owned(there).plan();
            let never = plan.ranges().content().regions.never.len();
            (plan.ranges().class(), plan.ranges().len(), says(&plan).1.len(), never)
        };
        assert_eq!(with(&[], &[]), (Some(Class::Owner), 1, 0, 0));
        assert_eq!(with(&[], &[OWNER]), (None, 0, 0, 0));
        assert_eq!(with(&[], &[OWNER, "203.0.113.9"]), (None, 0, 0, 0), "one who goes waits");
        assert_eq!(with(&["DE"], &[]), (Some(Class::Owner), 2, 1, 1));
        let nobodys = Case::of(&[], &[("CN", 0)]).plan();
        assert!(nobodys.is_empty());
    }
}

use super::*;
use crate::api::cloudflare::kv::{Key, Metadata, RangeEntry, Ranges, Regions};
use crate::decision::Remediation::{self, Ban, Captcha};
use crate::desired::Desired;
use crate::observed::kv::ObservedKeys;
use crate::plan::kv::{Rules, diff};
use crate::review::review;
use crate::settings::GuardLimits;
use crate::settings::protected::Protected;
use crate::state::Ends;

use std::time::Duration;

const DAY: u64 = 86_400;
const NOON: u64 = 20_000 * DAY + DAY / 2;

/// What is desired, what is there, and what is never to be blocked.
#[derive(Default)]
struct Case {
    desired: Desired,
    keys: ObservedKeys,
    protected: Protected,
}

impl Case {
    fn want(&mut self, address: &str, value: Remediation, origin: &str, secs: u32) {
        self.desired.put(address, None, Some(value), origin, secs);
    }

    /// A key of ours, from an hour ago.
    fn key(&mut self, address: &str, value: Remediation, left: u64) {
        let metadata = Some(Metadata { value, written: NOON - 3_600 });
        let name = format!("ip:{address}");
        self.keys.add(Key { name, expires: Some(NOON + left), metadata }, "ip:");
    }

    /// A range that is in force, from an hour ago.
    fn range(&mut self, range: &str) {
        let entry = RangeEntry { value: Ban, expires: NOON + 3_600 };
        let entries = [(range.parse().unwrap(), entry)].into();
        self.keys.set_ranges(Ranges::Ours {
            written: NOON - 3_600,
            entries,
            regions: Default::default(),
        });
    }

    /// The schedule, with the guard off.
    fn schedule(&self, quota: &Quota, max: u64) -> Schedule {
        self.schedule_of(quota, max, false)
    }

    /// The same, where the key of all ranges was written within the last second, or not.
    fn schedule_early(&self, is_early: bool) -> Schedule {
        self.schedule_of(&fresh(), 0, is_early)
    }

    fn schedule_of(&self, quota: &Quota, max: u64, is_early: bool) -> Schedule {
        let rules = Rules {
            prefix: "ip:",
            tolerance: Duration::from_secs(600),
            protected: &self.protected,
            ends: &Ends::default(),
            now: NOON,
            began: NOON,
            ahead_since: None,
        };
        let limits =
            GuardLimits { percent: 50, count: 10, runs: 1, seconds: 0, approved_until: None };
        let plan = diff(&self.desired, &self.keys, rules);
        let review = review(plan, None, |_| false, &limits, NOON);
        schedule(
            &review.approved,
            "ip:",
            is_early,
            &mut Budget::new(quota, NonZeroU64::new(max), NOON),
        )
    }

    /// Its requests, as words.
    fn bulks(&self, quota: &Quota, max: u64) -> Vec<String> {
        self.schedule(quota, max).bulks().iter().map(words).collect()
    }
}

fn words(bulk: &Bulk) -> String {
    let (verb, keys): (_, Vec<&str>) = match bulk {
        Bulk::Put(pairs) => {
            ("put", pairs.as_slice().iter().map(|(_, pair)| pair.key.as_str()).collect())
        }
        Bulk::Delete(keys) => {
            ("delete", keys.as_slice().iter().map(|(_, key)| key.as_str()).collect())
        }
    };
    let keys = keys.iter().map(|key| key.trim_start_matches("ip:"));
    format!("{verb} {}", keys.collect::<Vec<_>>().join(" "))
}

fn fresh() -> Quota {
    Quota::default().at(NOON)
}

#[test]
fn owners_keys_go_before_everything_then_each_request_by_its_most_urgent_change() {
    let mut case = Case::default();
    case.protected.add("192.0.2.1".parse().unwrap());
    case.key("192.0.2.1", Ban, 3_600);
    case.key("192.0.2.2", Ban, 3_600);
    case.want("198.51.100.1", Ban, "CAPI", 3_600);
    assert_eq!(
        case.bulks(&fresh(), 0),
        ["delete 192.0.2.1", "delete 192.0.2.2", "put 198.51.100.1"],
        "a false positive before the community"
    );
    case.want("198.51.100.2", Ban, "cscli", 60);
    assert_eq!(
        case.bulks(&fresh(), 0),
        ["delete 192.0.2.1", "put 198.51.100.2 198.51.100.1", "delete 192.0.2.2"]
    );
}

#[test]
fn urgent_keys_beyond_the_first_request_go_before_what_is_less_urgent() {
    let mut case = Case::default();
    for n in 0..BATCH_ITEMS_MAX as u32 + 1 {
        let address = std::net::Ipv4Addr::from_bits(0x0b00_0000 + n).to_string();
        case.want(&address, Ban, "cscli", 3_600);
    }
    case.key("192.0.2.2", Ban, 3_600);
    let verbs: Vec<_> = (case.schedule(&fresh(), 0).bulks().iter())
        .map(|bulk| (matches!(bulk, Bulk::Put(_)), bulk.len()))
        .collect();
    assert_eq!(verbs, [(true, 10_000), (true, 1), (false, 1)]);
}

#[test]
fn community_list_leaves_a_quarter_of_the_day_to_own_bans_less_what_they_used() {
    let mut case = Case::default();
    (1..=200).for_each(|n| case.want(&format!("198.51.100.{n}"), Ban, "CAPI", 3_600 + n));
    let schedule = case.schedule(&fresh(), 100);
    assert_eq!((schedule.bulks()[0].len(), schedule.waiting()), (75, 125));
    let Bulk::Put(pairs) = &schedule.bulks()[0] else { panic!() };
    let ttls: Vec<_> = pairs.as_slice().iter().map(|(_, pair)| pair.ttl_secs).collect();
    assert_eq!((ttls[0], ttls[74]), (3_860, 3_786), "those that hold longest");

    let mut quota = fresh();
    quota.spend(Spending::Writes, 20, 20, NOON);
    assert_eq!(case.schedule(&quota, 100).bulks()[0].len(), 75, "of 80, and 5 are still kept");
    quota.spend(Spending::Writes, 75, 0, NOON);
    assert!(case.schedule(&quota, 100).bulks().is_empty());
    (1..=6).for_each(|n| case.want(&format!("203.0.113.{n}"), Ban, "crowdsec", 60));
    let schedule = case.schedule(&quota, 100);
    assert_eq!((schedule.bulks()[0].len(), schedule.bulks()[0].effect().own), (5, 5));
    assert!(schedule.is_over_budget());
}

#[test]
fn effects_of_several_keys_together_are_their_sums() {
    let some = Effect { written: 1, refreshed: 2, deleted: 3, own: 4, ..Effect::default() };
    let more = Effect { written: 50, refreshed: 60, deleted: 70, own: 80, ..Effect::default() };
    let sum = Effect { written: 51, refreshed: 62, deleted: 73, own: 84, ..Effect::default() };
    let last = Effect { after_ranges: true, ..Effect::default() };
    let ranges = Effect { ranges: true, ..Effect::default() };
    assert_eq!((some.and(more), more.and(some)), (sum, sum));
    assert_eq!((some.and(last), last.and(some)).0, Effect { after_ranges: true, ..some });
    assert_eq!(some.and(last), last.and(some));
    assert_eq!(some.and(ranges), Effect { ranges: true, ..some });
    assert_eq!(some.and(ranges), ranges.and(some));
    let replaced = Effect { replaced: true, ..Effect::default() };
    assert_eq!(some.and(replaced), Effect { replaced: true, ..some });
    assert_eq!(some.and(replaced), replaced.and(some));
}

#[test]
fn request_that_deletes_a_key_whose_place_a_range_takes_says_so() {
    let mut case = Case::default();
    case.range("198.51.100.0/24");
    case.want("198.51.100.0/24", Ban, "cscli", 3_600);
    case.key("198.51.100.7", Ban, 3_600);
    let schedule = case.schedule(&fresh(), 0);
    let deleted = Effect { deleted: 1, replaced: true, ..Effect::default() };
    assert_eq!(schedule.bulks().iter().map(Bulk::effect).collect::<Vec<_>>(), [deleted]);
}

#[test]
fn request_says_what_it_puts_right_by_kind() {
    let mut case = Case::default();
    case.want("203.0.113.1", Ban, "cscli", 7_200);
    case.key("203.0.113.1", Ban, 300);
    case.want("203.0.113.2", Ban, "cscli", 7_200);
    case.key("192.0.2.2", Ban, 3_600);
    let effects = |case: &Case| -> Vec<Effect> {
        case.schedule(&fresh(), 0).bulks().iter().map(Bulk::effect).collect()
    };
    let written = Effect { written: 1, refreshed: 1, own: 2, ..Effect::default() };
    let deleted = Effect { deleted: 1, ..Effect::default() };
    assert_eq!(effects(&case), [written, deleted]);
    assert!(!case.schedule(&fresh(), 0).bulks()[0].has_ranges());
    // The ranges are one key more, in which one comes and one goes.
    case.want("198.51.100.0/24", Ban, "cscli", 7_200);
    case.range("203.0.113.128/25");
    let with_ranges = Effect { written: 2, deleted: 1, own: 3, ranges: true, ..written };
    assert_eq!(effects(&case), [with_ranges, deleted]);
    assert!(case.schedule(&fresh(), 0).bulks()[0].has_ranges());
}

#[test]
fn ranges_and_countries_say_what_they_put_right_by_kind() {
    let mut case = Case::default();
    let entry = |left| RangeEntry { value: Ban, expires: NOON + left };
    let range = |text: &str, left| (text.parse().unwrap(), entry(left));
    let countries = [("country:CN", 900), ("country:RU", 3_600)];
    case.keys.set_ranges(Ranges::Ours {
        written: NOON - 3_600,
        entries: [range("203.0.113.0/25", 3_600), range("198.51.100.0/24", 300)].into(),
        regions: Regions {
            entries: countries.map(|(name, left)| (name.to_owned(), entry(left))).to_vec(),
            never: Vec::new(),
        },
    });
    // One each comes, holds longer, and goes; and an owner is new among the countries.
    case.want("198.51.100.0/24", Ban, "cscli", 7_200);
    case.want("192.0.2.0/25", Ban, "cscli", 7_200);
    case.desired.put_country("CN", 7_200);
    case.desired.put_country("US", 7_200);
    let protected = "203.0.113.200".parse().unwrap();
    case.protected.add(protected);
    let effects: Vec<Effect> =
        case.schedule(&fresh(), 0).bulks().iter().map(Bulk::effect).collect();
    let effect = Effect { written: 3, refreshed: 2, deleted: 2, own: 1, ..Effect::default() };
    assert_eq!(effects, [Effect { ranges: true, ..effect }]);
}

#[test]
fn key_that_was_written_a_moment_ago_waits() {
    let mut case = Case::default();
    let metadata = Some(Metadata { value: Ban, written: NOON - 30 });
    let key = Key { name: "ip:192.0.2.1".to_owned(), expires: Some(NOON + 3_600), metadata };
    case.keys.add(key, "ip:");
    let schedule = case.schedule(&fresh(), 0);
    assert_eq!((schedule.bulks().len(), schedule.describe_waiting()), (0, "lifted 1".to_owned()));
}

#[test]
fn own_ban_that_would_lapse_is_refreshed_from_what_is_kept_and_others_are_not() {
    let mut case = Case::default();
    for (address, origin, left) in
        [("203.0.113.1", "cscli", 300), ("203.0.113.2", "CAPI", 300), ("203.0.113.3", "cscli", 900)]
    {
        case.want(address, Ban, origin, 7_200);
        case.key(address, Ban, left);
    }
    let mut quota = fresh();
    quota.spend(Spending::Writes, 75, 0, NOON);
    assert_eq!(case.bulks(&quota, 100), ["put 203.0.113.1"]);
}

#[test]
fn writes_that_are_used_up_do_not_stop_deletes_nor_the_reverse() {
    let mut case = Case::default();
    case.want("203.0.113.1", Ban, "cscli", 3_600);
    case.key("192.0.2.1", Ban, 3_600);
    let (put, delete) = ("put 203.0.113.1".to_owned(), "delete 192.0.2.1".to_owned());
    for (spending, left) in [(Spending::Writes, &delete), (Spending::Deletes, &put)] {
        let mut quota = fresh();
        quota.exhaust(spending, NOON);
        assert_eq!(case.bulks(&quota, 0), *std::slice::from_ref(left));
        let mut quota = fresh();
        quota.spend(spending, 10, 0, NOON);
        assert_eq!(case.bulks(&quota, 10), *std::slice::from_ref(left));
    }
}

#[test]
fn owners_key_ignores_our_budget_but_not_cloudflares_word() {
    let mut case = Case::default();
    case.protected.add("192.0.2.1".parse().unwrap());
    case.key("192.0.2.1", Ban, 3_600);
    case.key("192.0.2.2", Ban, 3_600);
    let mut quota = fresh();
    quota.spend(Spending::Deletes, 10, 0, NOON);
    assert_eq!(case.bulks(&quota, 10), ["delete 192.0.2.1"]);
    assert_eq!(case.bulks(&fresh(), 1), ["delete 192.0.2.1"], "and it is counted");
    quota.exhaust(Spending::Deletes, NOON);
    assert!(case.bulks(&quota, 10).is_empty());
}

#[test]
fn range_around_an_owner_goes_although_the_budget_is_used_up() {
    let mut case = Case::default();
    case.protected.add("203.0.113.9".parse().unwrap());
    case.range("203.0.113.0/24");
    case.want("198.51.100.0/24", Ban, "CAPI", 3_600);
    let mut quota = fresh();
    quota.spend(Spending::Writes, 10, 0, NOON);
    assert_eq!(case.bulks(&quota, 10), ["put ranges"]);
}

#[test]
fn owners_key_goes_before_the_write_of_the_ranges_around_an_owner() {
    let mut case = Case::default();
    case.protected.add("203.0.113.9".parse().unwrap());
    case.key("203.0.113.9", Ban, 3_600);
    case.range("203.0.113.0/24");
    case.want("198.51.100.0/24", Ban, "CAPI", 3_600);
    assert_eq!(case.bulks(&fresh(), 0), ["delete 203.0.113.9", "put ranges"]);
}

#[test]
fn layout_that_nobody_is_served_from_leaves_half_of_the_day_to_the_other() {
    let spare = |max| {
        let max = NonZeroU64::new(max);
        Budget::new(&fresh(), max, NOON).spare(max)
    };
    assert_eq!((spare(101).writes, spare(101).kept), (Some(51), 0));
    assert_eq!((spare(0).writes, spare(101).deletes), (None, Some(101)), "no budget, and deletes");
}

#[test]
fn all_ranges_are_one_write_as_early_as_the_most_urgent_of_them() {
    let mut case = Case::default();
    case.want("203.0.113.1", Ban, "cscli", 3_600);
    case.want("203.0.113.2", Captcha, "cscli", 3_600);
    for n in 0..30 {
        case.want(&format!("10.{n}.0.0/16"), Ban, "cscli", 3_600);
    }
    let schedule = case.schedule(&fresh(), 2);
    assert_eq!(schedule.bulks().iter().map(words).collect::<Vec<_>>(), ["put ranges 203.0.113.1"]);
    assert_eq!(schedule.bulks()[0].effect().own, 2, "one write, however many ranges");
    assert_eq!(schedule.waiting(), 1);
    let mut quota = fresh();
    quota.spend(Spending::Writes, 2, 0, NOON);
    assert_eq!(case.schedule(&quota, 2).waiting(), 32, "each range waits by itself");
}

#[test]
fn last_ranges_go_with_the_other_deletes_of_their_urgency() {
    let mut case = Case::default();
    case.range("203.0.113.0/24");
    case.key("192.0.2.2", Ban, 3_600);
    assert_eq!(case.bulks(&fresh(), 0), ["delete ranges 192.0.2.2"]);
    case.protected.add("203.0.113.9".parse().unwrap());
    assert_eq!(case.bulks(&fresh(), 0), ["delete ranges", "delete 192.0.2.2"]);
}

#[test]
fn ranges_and_keys_written_in_the_second_before_wait_whatever_the_budget() {
    let mut case = Case::default();
    case.range("203.0.113.0/24");
    case.want("198.51.100.0/24", Ban, "cscli", 3_600);
    case.want("192.0.2.2", Ban, "cscli", 3_600);
    case.want("192.0.2.3", Ban, "cscli", 3_600);
    for (address, ago) in [("192.0.2.2", 1), ("192.0.2.3", 2)] {
        let metadata = Some(Metadata { value: Captcha, written: NOON - ago });
        let name = format!("ip:{address}");
        case.keys.add(Key { name, expires: Some(NOON + 3_600), metadata }, "ip:");
    }
    let schedule = case.schedule_early(true);
    assert_eq!(schedule.bulks().iter().map(words).collect::<Vec<_>>(), ["put 192.0.2.3"]);
    assert_eq!(schedule.describe_waiting(), "new_ban 1, ban_over_captcha 1, lifted 1");
    assert!(!schedule.is_over_budget());
    assert_eq!(case.schedule_early(false).bulks()[0].len(), 2);
}

#[test]
fn value_of_ranges_that_leans_is_taken_out_of_its_request_and_goes_before_what_goes_after_it() {
    let mut case = Case::default();
    case.range("203.0.113.0/24");
    case.want("203.0.113.7", Ban, "CAPI", 3_600);
    case.want("198.51.100.0/24", Ban, "CAPI", 3_600);
    case.key("198.51.100.7", Ban, 3_600);
    case.key("192.0.2.2", Ban, 3_600);
    let bulks = ["put ranges 203.0.113.7", "delete 192.0.2.2", "delete 198.51.100.7"];
    assert_eq!(case.bulks(&fresh(), 0), bulks);
    let mut schedule = case.schedule(&fresh(), 0);
    let on: BTreeSet<String> = ["ip:203.0.113.7".to_owned()].into();
    let kept = case.schedule(&fresh(), 0);
    schedule.lean(on.clone(), kept.clone());
    // And once more: what it is instead is what that would have been instead.
    let mut again = case.schedule(&fresh(), 0);
    again.lean(on.clone(), schedule.clone());
    assert_eq!(again, schedule);
    let (bulks, leans) = schedule.take_bulks();
    let leans = leans.unwrap();
    let all: Vec<_> = bulks.iter().map(words).collect();
    assert_eq!(all, ["put 203.0.113.7", "delete 192.0.2.2", "put ranges", "delete 198.51.100.7"]);
    assert_eq!((leans.on, leans.instead.as_ref().map(words)), (on, Some("put ranges".to_owned())));
    let mut nothing = Schedule::default();
    nothing.lean(BTreeSet::new(), kept);
    assert_eq!(nothing, Schedule::default(), "without ranges nothing leans");
}

#[test]
fn last_ranges_that_lean_are_deleted_after_the_keys_and_beside_no_other() {
    let mut case = Case::default();
    case.range("203.0.113.0/24");
    case.key("192.0.2.2", Ban, 3_600);
    case.want("203.0.113.7", Ban, "CAPI", 3_600);
    let mut schedule = case.schedule(&fresh(), 0);
    schedule.lean(["ip:203.0.113.7".to_owned()].into(), Schedule::default());
    let (bulks, leans) = schedule.take_bulks();
    let leans = leans.unwrap();
    let all: Vec<_> = bulks.iter().map(words).collect();
    assert_eq!(all, ["delete 192.0.2.2", "put 203.0.113.7", "delete ranges"]);
    assert_eq!(leans.instead, None);
    assert!(leans.is_on(&bulks[1]) && !leans.is_on(&bulks[0]));
    assert!(Leans { on: BTreeSet::new(), instead: None }.is_on(&bulks[0]), "on all");
}

#[test]
fn covered_key_goes_last_and_waits_when_the_range_has_no_budget() {
    let mut case = Case::default();
    case.key("203.0.113.7", Ban, 3_600);
    case.key("192.0.2.2", Ban, 3_600);
    case.want("203.0.113.0/24", Ban, "CAPI", 3_600);
    assert_eq!(case.bulks(&fresh(), 0), ["delete 192.0.2.2", "put ranges", "delete 203.0.113.7"]);
    let mut quota = fresh();
    quota.spend(Spending::Writes, 8, 0, NOON);
    let schedule = case.schedule(&quota, 10);
    assert_eq!(schedule.bulks().iter().map(words).collect::<Vec<_>>(), ["delete 192.0.2.2"]);
    assert_eq!(schedule.describe_waiting(), "new_ban 1, covered 1");
}

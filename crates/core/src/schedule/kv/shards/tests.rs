//! Which values are written, what rides, and what they then say of themselves.

use std::num::NonZeroU64;
use std::time::Duration;

use super::*;
use crate::api::cloudflare::kv::{Key, Metadata};
use crate::plan::kv::{Rules, diff};
use crate::review::review;
use crate::settings::GuardLimits;
use crate::settings::protected::Protected;
use crate::state::quota::Quota;
use crate::state::{Ends, Known};

const NOW: u64 = 1_793_000_000;
const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

struct Site {
    desired: Desired,
    observed: ObservedShards,
    ends: Ends,
    marker: Marker,
    max: u64,
    history: ShardsHistory,
}

impl Site {
    /// All values were written an hour ago, and Workers read them.
    fn served() -> Self {
        let marker = Marker::default();
        let observed = ObservedShards {
            units: std::array::from_fn(|_| Unit::Ours(NOW - HOUR)),
            marker: Some(marker),
            ..ObservedShards::default()
        };
        let history = ShardsHistory::default();
        Self {
            desired: Desired::default(),
            observed,
            ends: Ends::default(),
            marker,
            max: 0,
            history,
        }
    }

    fn wants(mut self, address: &str, origin: &str) -> Self {
        self.desired.put(address, None, Some(Remediation::Ban), origin, 7_200);
        self
    }

    /// An entry of the community, that nobody asks for any more.
    fn lifted(self, address: &str) -> Self {
        self.lifted_of(address, HOUR)
    }

    fn lifted_of(mut self, address: &str, secs_ago: u64) -> Self {
        let metadata = Some(Metadata { value: Remediation::Ban, written: NOW - secs_ago });
        let name = format!("ip:{address}");
        self.observed.keys.add(Key { name, expires: Some(NOW + HOUR), metadata }, "ip:");
        let known = [(address.parse().unwrap(), Known::new(false, NOW + HOUR))];
        self.ends = self.ends.next(known.into_iter(), |_| true);
        self
    }

    fn written(mut self, unit: usize, secs_ago: u64) -> Self {
        self.observed.units[unit] = Unit::Ours(NOW - secs_ago);
        self
    }

    fn with<T>(&self, of: impl FnOnce(&Approved<KvPlan>, Shards<'_>, &mut Budget) -> T) -> T {
        let protected = Protected::default();
        let rules = Rules {
            prefix: "ip:",
            tolerance: Duration::from_secs(600),
            protected: &protected,
            ends: &self.ends,
            now: NOW,
            began: NOW,
            ahead_since: None,
        };
        let off = GuardLimits { percent: 0, count: 0, runs: 1, seconds: 0, approved_until: None };
        let plan = diff(&self.desired, &self.observed.keys, rules);
        let approved = review(plan, None, |_| false, &off, NOW).approved;
        let input = Shards {
            desired: &self.desired,
            observed: &self.observed,
            history: &self.history,
            marker: self.marker,
            is_served: true,
            prefix: "ip:",
            now: NOW,
        };
        let quota = Quota::default().at(NOW);
        of(&approved, input, &mut Budget::new(&quota, NonZeroU64::new(self.max), NOW))
    }

    fn schedule(&self) -> Schedule {
        self.with(shards)
    }
}

/// Two addresses in one value.
fn neighbours() -> [String; 2] {
    let of = |text: &String| shard(&text.parse().unwrap());
    let first = "192.0.2.1".to_owned();
    let second = (2..255).map(|n| format!("192.0.2.{n}")).find(|one| of(one) == of(&first));
    [first, second.unwrap()]
}

fn unit(address: &str) -> usize {
    shard(&address.parse().unwrap())
}

#[test]
fn value_of_several_entries_is_one_write_that_says_what_it_puts_right() {
    let [one, two] = neighbours();
    let schedule = Site::served().wants(&one, "cscli").wants(&two, "cscli").schedule();
    let effect = Effect { written: 2, own: 1, ..Effect::default() };
    assert_eq!(schedule.bulks().iter().map(Bulk::effect).collect::<Vec<_>>(), [effect]);
    assert_eq!((schedule.bulks()[0].len(), schedule.waiting(), schedule.riding()), (1, 0, 0));
}

#[test]
fn range_is_written_into_the_value_beside_the_shards() {
    let site = Site::served().wants("198.51.100.0/24", "cscli");
    let schedule = site.schedule();
    let [Bulk::Put(pairs)] = schedule.bulks() else { panic!("{schedule:?}") };
    let (effect, pair) = &pairs.as_slice()[0];
    assert_eq!((pair.key.as_str(), pair.ttl_secs), ("ip:wide", 400 * DAY));
    assert_eq!(*effect, Effect { written: 1, own: 1, ranges: true, ..Effect::default() });
    // If it finds no room there, nothing changes in it.
    let addresses = ["198.51.100.0/24".parse().unwrap()].into();
    let left_out = LeftOut { addresses, ..LeftOut::default() };
    let class = |left_out| site.with(|plan, input, _| changes(plan, input, left_out)[WIDE].class);
    assert_eq!((class(&left_out), class(&LeftOut::default())), (None, Some(Class::OwnBan)));
}

#[test]
fn write_that_finds_no_budget_is_said_to_wait_for_it() {
    let mut site = Site::served().wants("192.0.2.1", "CAPI").wants("192.0.2.2", "CAPI");
    site = site.wants("192.0.2.3", "CAPI").wants("192.0.2.4", "CAPI");
    let units: BTreeSet<usize> = (1..5).map(|n| unit(&format!("192.0.2.{n}"))).collect();
    site.max = 2;
    let schedule = site.schedule();
    assert!(units.len() > 1 && schedule.is_over_budget() && schedule.waiting() > 0);
    assert_eq!(schedule.bulks().len(), 1);
    site.max = 100;
    assert_eq!((site.schedule().is_over_budget(), site.schedule().waiting()), (false, 0));
}

#[test]
fn marker_that_cannot_be_written_waits_and_one_that_stands_does_not() {
    let with = |wide: Unit, marker: Option<Marker>| {
        let mut site = Site::served();
        site.observed.units[WIDE] = wide;
        site.observed.marker = marker;
        let schedule = site.schedule();
        (schedule.bulks().len(), schedule.waiting())
    };
    let stands = Some(Marker::default());
    assert_eq!(with(Unit::Foreign, None), (0, 1));
    assert_eq!(with(Unit::Foreign, stands), (0, 0));
    assert_eq!(with(Unit::Ours(NOW - HOUR), None), (1, 0));
    assert_eq!(with(Unit::Ours(NOW - HOUR), stands), (0, 0));
    let mut alone = Site::served();
    alone.observed.marker = None;
    assert!(alone.schedule().bulks()[0].has_ranges(), "the value beside the shards");
    let spent = |site: &Site| {
        site.with(|plan, input, budget| {
            budget.writes = Some(0);
            let schedule = shards(plan, input, budget);
            (schedule.bulks().len(), schedule.waiting(), schedule.is_over_budget())
        })
    };
    assert_eq!((spent(&alone), spent(&Site::served())), ((0, 1, true), (0, 0, false)));
}

#[test]
fn lift_of_the_community_rides_on_the_next_write_of_its_value_and_goes_after_six_hours() {
    let [one, two] = neighbours();
    let lifted = |secs_ago| Site::served().lifted(&one).written(unit(&one), secs_ago);
    let rides = lifted(6 * HOUR - 1).schedule();
    assert_eq!((rides.bulks().len(), rides.riding(), rides.waiting()), (0, 1, 0));
    let goes = lifted(6 * HOUR).schedule();
    let effect = Effect { deleted: 1, ..Effect::default() };
    assert_eq!((goes.bulks()[0].effect(), goes.riding()), (effect, 0));
    let taken_along = lifted(HOUR).wants(&two, "cscli").schedule();
    let effect = Effect { written: 1, own: 1, ..effect };
    assert_eq!((taken_along.bulks()[0].effect(), taken_along.riding()), (effect, 0));
}

#[test]
fn entry_that_was_written_a_moment_ago_waits() {
    let schedule = Site::served().lifted_of("192.0.2.1", 30).schedule();
    assert_eq!((schedule.bulks().len(), schedule.waiting(), schedule.riding()), (0, 1, 0));
}

#[test]
fn value_that_a_run_of_a_second_ago_wrote_waits() {
    let with = |secs_ago| {
        let mut site = Site::served().wants("192.0.2.1", "cscli");
        site = site.written(unit("192.0.2.1"), secs_ago);
        site.history.wrote(unit("192.0.2.1"), NOW - secs_ago);
        let schedule = site.schedule();
        (schedule.bulks().len(), schedule.waiting())
    };
    assert_eq!([0, 1, 2].map(with), [(0, 1), (0, 1), (1, 0)]);
    // Also where only the value says so, or only what is remembered, beside a clock that is ahead.
    let with = |written: u64, remembered: u64| {
        let mut site = Site::served().wants("192.0.2.1", "cscli");
        site.observed.units[unit("192.0.2.1")] = Unit::Ours(written);
        site.history.wrote(unit("192.0.2.1"), remembered);
        site.schedule().bulks().len()
    };
    assert_eq!((with(NOW, 0), with(NOW + HOUR, NOW), with(NOW + HOUR, NOW - 2)), (0, 0, 1));
}

#[test]
fn value_beside_the_shards_is_written_again_after_thirty_days() {
    let writes = |secs_ago| Site::served().written(WIDE, secs_ago).schedule().bulks().len();
    assert_eq!((writes(30 * DAY - 1), writes(30 * DAY)), (0, 1));
}

#[test]
fn line_that_fills_a_value_to_its_last_byte_has_room_and_one_byte_more_has_none() {
    let address: Address = "192.0.2.1".parse().unwrap();
    let mut line = String::new();
    push_line(&mut line, "192.0.2.1", Remediation::Ban, NOW);
    let left_out = |more: usize| {
        let mut values = Values { bodies: Default::default(), left_out: LeftOut::default() };
        let room = SHARD_BYTES_MAX - HEAD_BYTES_MAX - line.len();
        values.bodies[shard(&address)].0 = " ".repeat(room + more);
        values.push(&[true; UNITS], address, Remediation::Ban, NOW);
        values.left_out.addresses.contains(&address)
    };
    assert_eq!((left_out(0), left_out(1)), (false, true));
}

#[test]
fn country_that_fills_the_value_to_its_last_byte_has_room_and_one_byte_more_has_none() {
    let mut site = Site::served();
    site.desired.put_country("CN", 7_200);
    let left_out = |more: usize| {
        site.with(|plan, _, _| {
            let mut line = String::new();
            push_regions(&mut line, &plan.ranges().content().regions);
            let mut values = Values { bodies: Default::default(), left_out: LeftOut::default() };
            values.bodies[WIDE].0 = " ".repeat(BODY_BYTES_MAX - line.len() + more);
            values.push_wide(plan);
            values.left_out.regions.len()
        })
    };
    assert_eq!((left_out(0), left_out(1)), (0, 1));
}

#[test]
fn values_that_nobody_is_served_from_are_deleted_each_for_itself() {
    let site = Site::served();
    let schedule = site.with(|_, input, budget| clear_shards(input.observed, "ip:", budget));
    let effect = schedule.bulks()[0].effect();
    assert_eq!(effect, Effect { deleted: UNITS as u32, ..Effect::default() });
}

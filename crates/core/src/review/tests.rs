//! The guard over several runs, on a site of one part that does at once what is approved.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::*;

const T: u64 = 1_793_000_000;
const LIMITS: GuardLimits =
    GuardLimits { percent: 50, count: 10, runs: 5, seconds: 1_800, approved_until: None };

/// One part of a target: what is there, what is desired, and why the rest goes.
#[derive(Debug, Clone, Default, PartialEq)]
struct Plan {
    there: BTreeSet<Address>,
    desired: BTreeSet<Address>,
    why: BTreeMap<Address, Why>,
    room_for_own: u64,
}

impl Reviewable for Plan {
    fn removals(&self) -> Vec<Removal> {
        let removal = |address: &Address| {
            let why = self.why.get(address).copied().unwrap_or(Why::Lifted);
            let class = if why == Why::Lifted { Class::Lift } else { Class::Rest };
            Removal { part: "ban", address: *address, why, class }
        };
        self.there.difference(&self.desired).map(removal).collect()
    }

    fn there(&self) -> crate::small::SmallMap<&'static str, u64> {
        [("ban", self.there.len() as u64)].into()
    }

    fn is_nothing_desired(&self) -> bool {
        self.desired.is_empty()
    }

    fn keeps_nothing(&self, _: &'static str) -> bool {
        self.there.intersection(&self.desired).next().is_none()
    }

    fn room_for_own(&self, held: u64) -> u64 {
        self.room_for_own.min(held)
    }

    fn without(mut self, held: &BTreeSet<Address>) -> Self {
        self.desired.extend(held);
        self
    }
}

/// The `n`th address.
fn address(n: u32) -> Address {
    Ipv4Addr::from_bits(0x0100_0000 + n).to_string().parse().unwrap()
}

fn addresses(range: std::ops::Range<u32>) -> BTreeSet<Address> {
    range.map(address).collect()
}

struct Site {
    plan: Plan,
    history: Option<Held>,
    limits: GuardLimits,
    now: u64,
}

impl Site {
    /// In step, with these.
    fn with(there: std::ops::Range<u32>) -> Self {
        let there = addresses(there);
        let plan = Plan { desired: there.clone(), there, ..Plan::default() };
        Self { plan, history: None, limits: LIMITS, now: T }
    }

    fn desires(&mut self, range: std::ops::Range<u32>) -> &mut Self {
        self.plan.desired = addresses(range);
        self
    }

    fn because(&mut self, why: Why, range: std::ops::Range<u32>) -> &mut Self {
        self.plan.why.extend(range.map(|n| (address(n), why)));
        self
    }

    /// A run, two minutes after the last; how many are held back.
    fn run(&mut self) -> usize {
        self.run_after(120)
    }

    fn run_after(&mut self, secs: u64) -> usize {
        self.now += secs;
        let review = self.review();
        let stays = review.approved.desired.clone();
        self.plan.there = self.plan.there.intersection(&stays).copied().collect();
        self.plan.there.extend(&self.plan.desired);
        self.history = review.remember;
        review.held.len()
    }

    fn review(&self) -> Review<Plan> {
        let is_desired = |address: &Address| self.plan.desired.contains(address);
        review(self.plan.clone(), self.history.clone(), is_desired, &self.limits, self.now)
    }

    /// Runs every two minutes until nothing is held; how many those were.
    fn runs_until_free(&mut self) -> usize {
        (1..100).find(|_| self.run() == 0).expect("what is held goes some day")
    }
}

#[test]
fn removals_that_are_too_many_are_held_and_few_go() {
    for (what, there, desired, held) in [
        ("nothing differs", 0..100, 0..100, 0),
        ("ten of ten lifted, others come", 0..10, 10..20, 10),
        ("eleven of twenty-one", 0..21, 11..21, 11),
        ("ten of nineteen", 0..19, 10..19, 0),
        ("fifty of a hundred", 0..100, 50..100, 0),
        ("fifty-one of a hundred", 0..100, 51..100, 51),
        ("three of three replaced", 0..3, 3..6, 3),
        ("two of two replaced", 0..2, 2..4, 0),
        ("all of one, and nothing is desired", 0..1, 0..0, 1),
        ("nothing is there and nothing desired", 0..0, 0..0, 0),
    ] {
        let mut site = Site::with(there);
        assert_eq!(site.desires(desired).run(), held, "{what}");
        assert_eq!(site.history.is_some(), held > 0, "{what}");
    }
}

#[test]
fn what_opens_nothing_is_not_counted() {
    for (why, held) in [
        (Why::RanOut, 0),
        (Why::Moved, 0),
        (Why::Covered, 0),
        (Why::Surplus, 0),
        (Why::Lifted, 90),
        (Why::Displaced, 90),
    ] {
        let mut site = Site::with(0..100);
        site.desires(90..100).because(why, 0..90);
        assert_eq!(site.run(), held, "{}", why.as_str());
    }
    let mut site = Site::with(0..4);
    site.desires(4..9).because(Why::RanOut, 0..2);
    assert_eq!(site.run(), 0, "two of what was there are lifted, and two ran out");
}

#[test]
fn guard_that_is_off_holds_nothing() {
    let mut site = Site::with(0..100);
    site.limits.runs = 1;
    assert_eq!(site.desires(0..0).run(), 0);
}

#[test]
fn what_is_held_goes_after_enough_runs_and_enough_time() {
    let mut site = Site::with(0..100);
    site.desires(0..10);
    assert_eq!(site.runs_until_free(), 16, "half an hour, two minutes apart");
    let mut rare = Site::with(0..100);
    rare.desires(0..10);
    let held: Vec<usize> = (0..5).map(|_| rare.run_after(3_600)).collect();
    assert_eq!(held, [90, 90, 90, 90, 0], "five runs, an hour apart");
}

#[test]
fn runs_by_hand_within_seconds_confirm_nothing() {
    let mut site = Site::with(0..100);
    site.desires(0..10);
    assert!((0..10).all(|_| site.run_after(1) == 90));
}

#[test]
fn small_site_whose_items_were_all_replaced_keeps_them_over_several_runs() {
    let mut site = Site::with(0..3);
    site.desires(3..6);
    for run in 0..10 {
        assert_eq!(site.run(), 3, "run {run}");
    }
    assert!(site.plan.there.is_superset(&addresses(0..6)), "what is new has come");
}

#[test]
fn list_whose_items_were_all_replaced_is_not_emptied_of_them_by_the_second_run() {
    let mut site = Site::with(0..1_500);
    site.desires(1_500..3_000);
    assert_eq!((site.run(), site.run(), site.run()), (1_500, 1_500, 1_500));
    site.desires(1_400..2_900);
    assert_eq!(site.run(), 1_500, "a hundred are desired again, a hundred of the new ones not");
}

#[test]
fn newcomers_begin_their_own_count() {
    let mut site = Site::with(0..100);
    site.desires(0..40);
    (0..10).for_each(|_| assert_eq!(site.run(), 60));
    site.desires(0..35);
    let held: Vec<usize> = (0..6).map(|_| site.run()).collect();
    assert_eq!(held, [65, 65, 65, 65, 65, 5], "the first are confirmed, the newcomers are not");
    let more = site.runs_until_free();
    assert_eq!(more, 10, "half an hour after they came up");
}

#[test]
fn newcomer_after_the_first_are_gone_is_judged_for_itself() {
    let mut site = Site::with(0..100);
    site.desires(0..40);
    site.runs_until_free();
    assert_eq!(site.desires(0..39).run(), 0, "one of forty");
}

#[test]
fn who_is_desired_again_in_between_waits_from_the_beginning() {
    let mut site = Site::with(0..100);
    site.desires(0..40);
    (0..10).for_each(|_| assert_eq!(site.run(), 60));
    site.desires(0..41);
    assert_eq!(site.run(), 59);
    site.desires(0..40);
    let held: Vec<usize> = (0..5).map(|_| site.run()).collect();
    assert_eq!(held, [60, 60, 60, 60, 1]);
    assert!(site.plan.there.contains(&address(40)));
}

/// An owner, who went at once, is counted for that once.
#[test]
fn who_is_desired_again_in_a_run_that_could_not_look_is_forgotten_and_an_owner_is_not() {
    let mut site = Site::with(0..100);
    site.desires(60..100).because(Why::Protected, 0..10);
    site.run();
    let is_desired = |one: &Address| [address(0), address(20)].contains(one);
    let held = forget(site.history.unwrap(), is_desired).unwrap();
    let group = |n| held.groups.get(&address(n));
    assert_eq!((group(0), group(20)), (Some(GroupId::OWNER), None));
    assert!(group(1).is_some() && group(21).is_some());
}

#[test]
fn streak_starts_again_when_more_than_a_tenth_is_desired_again_also_bit_by_bit() {
    let mut at_once = Site::with(0..100);
    at_once.desires(0..0);
    (0..14).for_each(|_| assert_eq!(at_once.run(), 100));
    at_once.desires(0..10);
    assert_eq!(at_once.run(), 90, "a tenth is not more than that");
    assert_eq!(at_once.run(), 0, "and the rest was confirmed");
    let mut bit_by_bit = Site::with(0..100);
    bit_by_bit.desires(0..0);
    for run in 0..20 {
        let held = bit_by_bit.desires(0..2 * run).run();
        assert_eq!(held, 100 - 2 * run as usize, "run {run}");
    }
}

#[test]
fn who_loses_his_place_is_confirmed_although_he_is_desired() {
    let mut site = Site::with(0..100);
    site.desires(60..100).because(Why::Displaced, 0..60);
    let held: Vec<usize> = (0..17)
        .map(|_| {
            site.now += 120;
            let review =
                review(site.plan.clone(), site.history.take(), |_| true, &LIMITS, site.now);
            site.history = review.remember;
            review.held.len()
        })
        .collect();
    assert_eq!((held[14], held[15]), (60, 0));
}

#[test]
fn first_owners_addresses_of_a_streak_go_at_once_and_more_are_a_typing_error() {
    let mut site = Site::with(0..100);
    site.desires(80..100).because(Why::Protected, 0..60);
    assert_eq!(site.run(), 70, "sixty owner's addresses, of which ten go, and twenty lifted");
    assert_eq!(site.plan.there.len(), 90);
    assert_eq!(site.run(), 70, "ten of a streak, not of a run");
}

#[test]
fn owners_addresses_whose_write_was_refused_go_again_and_count_once() {
    let mut site = Site::with(0..100);
    site.desires(60..100).because(Why::Protected, 0..20);
    for _ in 0..3 {
        site.now += 120;
        let review = site.review();
        assert_eq!(review.held.len(), 50);
        assert!(!review.held.contains(&address(0)) && review.held.contains(&address(10)));
        site.history = review.remember;
    }
}

#[test]
fn owner_who_is_put_back_by_others_goes_again_at_once_and_counts_once() {
    let mut site = Site::with(0..100);
    site.desires(80..100).because(Why::Protected, 0..60);
    assert_eq!(site.run(), 70);
    site.run();
    site.plan.there.insert(address(0));
    assert_eq!(site.run(), 70);
    // Also in the run that finds a newcomer, and after it.
    site.plan.there.insert(address(1));
    assert_eq!(site.desires(81..100).run(), 71);
    site.plan.there.insert(address(2));
    assert_eq!(site.run(), 71);
    site.runs_until_free();
    site.run();
    assert_eq!(site.history, None, "nothing is held any more");
}

/// Their write was refused in run after run, and each of those counted them; then LAPI lost its database.
#[test]
fn owners_who_go_without_the_guard_in_many_runs_do_not_count_as_let_go() {
    let mut site = Site::with(0..20);
    site.limits.count = 3;
    // A streak of which only a newcomer is left, who waits.
    let streak = Streak { groups: vec![Group { since: T, runs: 1 }; 2], ..Streak::default() };
    let groups = Table::from_sorted([(address(3), GroupId(1))].into_iter());
    site.history = Some(Held { streak, groups });
    site.desires(4..20).because(Why::Protected, 0..3);
    for _ in 0..9 {
        site.now += 120;
        let review = site.review();
        assert_eq!(review.held, addresses(3..4));
        site.history = review.remember;
    }
    site.desires(0..0);
    assert_eq!(site.review().held, addresses(3..20));
}

#[test]
fn owners_whose_wait_is_over_do_not_count_as_let_go() {
    let mut site = Site::with(0..100);
    site.limits.count = 2;
    site.desires(60..100);
    (0..15).for_each(|_| assert_eq!(site.run(), 60));
    site.because(Why::Protected, 0..2);
    site.now += 120;
    let review = site.review();
    assert_eq!((review.held.len(), review.remember.unwrap().streak.owners), (0, 0));
}

#[test]
fn owner_of_before_who_is_lifted_waits_like_all_others() {
    let mut site = Site::with(0..1);
    site.desires(0..0).because(Why::Protected, 0..1);
    assert_eq!(site.run(), 0);
    // He is no owner any more and is banned, in a run whose store forgot; then LAPI loses its database.
    site.plan.there = addresses(0..1);
    site.because(Why::Lifted, 0..1);
    assert_eq!(site.run(), 1);
    assert_eq!(site.run(), 1);
    site.because(Why::Protected, 0..1);
    assert_eq!(site.run(), 0, "an owner again");
}

#[test]
fn owner_is_let_out_of_a_database_that_was_lost() {
    let mut site = Site::with(0..5);
    site.desires(0..0).because(Why::Protected, 0..1);
    assert_eq!(site.run(), 4);
}

#[test]
fn own_bans_make_room_on_a_full_list_the_least_important_first() {
    let mut site = Site::with(0..100);
    site.desires(0..10).because(Why::Displaced, 50..60);
    site.plan.room_for_own = 3;
    let review = site.review();
    assert_eq!(review.held.len(), 87);
    assert!((50..53).all(|n| !review.held.contains(&address(n))));
}

#[test]
fn person_who_approves_lets_everything_go_until_then_and_not_longer() {
    let mut site = Site::with(0..100);
    site.limits.approved_until = Some(T + 60);
    site.desires(0..10);
    let review = site.review();
    assert_eq!((review.held.len(), review.yielded), (0, Some(Yielded::ByPerson)));
    site.now = T + 60;
    assert_eq!(site.review().held.len(), 90, "at that moment it is over");
    assert_eq!(site.run(), 90, "that was two minutes ago");
}

#[test]
fn approval_that_nothing_needs_is_not_mentioned() {
    let mut site = Site::with(0..100);
    site.limits.approved_until = Some(T + 60);
    assert_eq!(site.desires(0..99).review().yielded, None);
}

#[test]
fn more_groups_than_are_told_apart_wait_as_long_as_the_newest() {
    let mut site = Site::with(0..600);
    site.limits.seconds = 86_400;
    for run in 0..260 {
        site.desires(0..290 - run).run();
    }
    let held = site.history.as_ref().unwrap();
    assert_eq!(held.streak.groups.len(), GroupId::MAX);
    assert_eq!(held.groups.len(), site.plan.there.len() - 31);
}

#[test]
fn refusal_says_rule_numbers_and_the_way_out() {
    let mut site = Site::with(0..1_500);
    site.desires(0..10);
    site.run();
    let says = site.review().refusal.unwrap();
    assert_eq!(
        says.to_string(),
        "ban: 1,490 of 1,500 would be removed, more than 50 % and more than 10; held back, while additions go. They go by themselves when 5 runs have found the same (this is run 2) and 30 min have passed, or at once with removals_approved_until set to a time up to a day ahead"
    );
    assert_eq!((says.runs_left(), says.seconds_left()), (3, 1_800));
}

#[test]
fn what_was_wrong_last_is_what_is_said_while_it_waits() {
    let mut site = Site::with(0..30);
    site.desires(0..0).run();
    let said = |site: &Site| site.history.as_ref().unwrap().streak.rule;
    assert_eq!(said(&site), Rule::Empty);
    // Others are desired by now: LAPI did not lose everything.
    site.desires(100..105).run();
    assert_eq!(said(&site), Rule::Replaced);
    // And with so many that nothing would be wrong any more.
    site.desires(100..300).run();
    site.desires(100..300).run();
    assert_ne!(said(&site), Rule::Empty);
}

#[test]
fn many_removals_that_go_all_the_same_say_why() {
    let mut site = Site::with(0..4);
    site.desires(4..8);
    let said = |site: &Site| site.review().yielded.map(|yielded| yielded.to_string());
    for run in 1..=15 {
        assert_eq!((said(&site), site.run()), (None, 4), "run {run}");
    }
    site.now += 120;
    let confirmed = "4 removals, and they go: the same was found in 16 runs";
    assert_eq!(said(&site).as_deref(), Some(confirmed));

    let mut site = Site::with(0..100);
    site.limits.approved_until = Some(T + 60);
    site.desires(0..10);
    let approved = "many removals, and they go: removals_approved_until has not passed";
    assert_eq!(said(&site).as_deref(), Some(approved));
}

//! Who comes, and in which order, where places are few.

use super::*;
use crate::plan::BATCH_ITEMS_MAX;
use crate::plan::lists::{Addition, ListPlan, Removal, Room};
use crate::schedule::lists::steps::{List, in_steps};

/// Removals that are many at once are held, whatever the lists.
fn held(case: &Case) -> Schedule {
    case.schedule_with(GuardLimits {
        percent: 0,
        count: 1,
        runs: 5,
        seconds: 60,
        approved_until: None,
    })
}

fn adds(schedule: &Schedule, address: &str) -> bool {
    let address = address.parse().unwrap();
    schedule.operations().iter().any(|operation| operation.adds(&address))
}

#[test]
fn additions_that_find_no_room_beside_what_is_held_are_counted_and_the_least_important_stay_out() {
    let three: &[&str] = &["1.1.1.1", "1.1.1.2", "1.1.1.3"];
    let mut full = case((&[], three), NONE).community(Ban, &["2.2.2.2"]);
    full = full.community(Captcha, &["2.2.2.1"]);
    for (items_max, without_room, comes) in
        [(3, 2, [false, false]), (4, 1, [true, false]), (5, 0, [true, true])]
    {
        full.items_max = items_max;
        let schedule = held(&full);
        assert_eq!(schedule.without_room(), without_room, "{items_max}");
        assert_eq!(["2.2.2.2", "2.2.2.1"].map(|one| adds(&schedule, one)), comes, "{items_max}");
    }
}

/// By himself he would come second; but the range that ran out stands for him until he is there.
#[test]
fn beside_what_is_held_one_inside_of_a_range_that_goes_comes_before_his_equals() {
    let held_back: &[&str] = &["1.1.1.1", "1.1.1.2", "1.1.1.3"];
    let equals: &[&str] = &["2.2.2.1", "3.3.3.3"];
    let mut full = case((&[], &["3.3.3.0/24"]), (&[], held_back)).community(Ban, equals);
    full = full.known("3.3.3.0/24", false, T - 1);
    full.items_max = 4;
    let schedule = held(&full);
    assert_eq!(schedule.without_room(), 1);
    assert_eq!(["2.2.2.1", "3.3.3.3"].map(|one| adds(&schedule, one)), [false, true]);
    let beside = case(NONE, (&[], held_back)).community(Ban, equals);
    let schedule = held(&Case { items_max: 4, ..beside });
    assert_eq!(["2.2.2.1", "3.3.3.3"].map(|one| adds(&schedule, one)), [true, false]);
}

#[test]
fn who_moves_beside_what_is_held_takes_no_place_from_anybody() {
    let three: &[&str] = &["1.1.1.1", "1.1.1.2", "1.1.1.3"];
    let mut full = case((&[], three), (&[], &["3.3.3.3"]));
    full = full.community(Ban, &["2.2.2.2", "3.3.3.3"]).community(Captcha, &["2.2.2.1"]);
    full.items_max = 5;
    let schedule = held(&full);
    assert_eq!(schedule.without_room(), 1);
    let come = ["2.2.2.2", "3.3.3.3", "2.2.2.1"].map(|one| adds(&schedule, one));
    assert_eq!(come, [true, true, false]);
}

#[test]
fn place_of_who_moves_in_the_half_that_is_not_sent_is_free_for_others() {
    let mut half = case((&["1.1.1.1"], &[]), (&[], &["2.2.2.2"])).community(Ban, &["2.2.2.2"]);
    half.items_max = 2;
    half = half.refused();
    assert_eq!(half.says(), ["POST ban +1 -0"]);
    assert!(adds(&half.schedule(), "1.1.1.1"));
}

#[test]
fn last_place_is_for_who_is_waited_for_and_gives_one_back() {
    // 2.2.2.2 leaves the ban list once it is on the other.
    let mut last = case((&["1.1.1.1"], &["2.2.2.2"]), (&["2.2.2.2"], &[]));
    last.items_max = 2;
    assert_eq!(last.says(), ["POST captcha +1 -0", "PUT ban +1 -1"]);
    last.items_max = 3;
    assert_eq!(last.says(), ["POST ban +1 -0", "POST captcha +1 -0", "DELETE ban +0 -1"]);
}

#[test]
fn place_of_what_comes_inside_a_range_is_taken_once() {
    let mut inside = case((&[], &["1.1.0.0/16"]), NONE);
    inside = inside.community(Captcha, &["1.1.1.1", "2.2.2.2"]);
    inside.items_max = 3;
    assert_eq!(inside.says(), ["POST captcha +2 -0", "DELETE ban +0 -1"]);
}

#[test]
fn owners_range_goes_also_where_a_rule_lifts_who_is_inside() {
    let owner = case((&[], &["1.1.1.0/24"]), (&["1.1.1.1"], &["1.1.1.1"]));
    let mut owner = owner.protecting("1.1.1.5/32");
    owner.rules = lifting(Captcha, &["1.1.1.1"]);
    assert_eq!(
        (owner.says(), owner.schedule().rest()),
        (vec!["DELETE ban +0 -1".to_owned()], None)
    );
}

#[test]
fn range_stays_while_a_rule_lifts_who_comes_inside_and_not_for_who_leaves() {
    let mut comes = case((&[], &["1.1.1.0/24"]), (&["1.1.1.1"], &[]));
    comes.rules = lifting(Captcha, &["1.1.1.1"]);
    assert_eq!(comes.says(), ["POST captcha +1 -0"]);
    assert_eq!(comes.schedule().rest(), Some(Rest::Rule));
    let mut leaves = case((&[], &["1.1.1.0/24"]), (&[], &["1.1.1.1"]));
    leaves.rules = lifting(Captcha, &["1.1.1.1"]);
    assert_eq!(leaves.says(), ["DELETE ban +0 -1", "DELETE captcha +0 -1"]);
}

#[test]
fn second_spelling_of_a_range_goes_whatever_a_rule_lifts_inside_of_it() {
    let twice: &[&str] = &["2001:db8::/64", "2001:db8::1/64", "9.9.9.9", "1.1.1.1"];
    let mut twice = case(
        (&["2001:db8::/64"], twice),
        (&["2001:db8::5", "1.1.1.1"], &["2001:db8::5", "1.1.1.1"]),
    );
    twice.rules = lifting(Captcha, &["2001:db8::5"]);
    assert_eq!(twice.says(), ["DELETE ban +0 -3"]);
    assert_eq!(twice.schedule().rest(), None);
    // One that moves to where a rule lifts it stays, and the others go.
    twice.rules = lifting(Captcha, &["1.1.1.1"]);
    assert_eq!(twice.says(), ["DELETE ban +0 -2"]);
    assert_eq!(twice.schedule().rest(), Some(Rest::Rule));
}

#[test]
fn list_that_cannot_be_rewritten_adds_before_another_of_less_urgency() {
    let two = case((&[], &["9.9.9.9"]), NONE).known("9.9.9.9", true, T - HOUR).costly();
    let two = two.community(Ban, &["1.1.1.1"]).community(Captcha, &["2.2.2.2"]);
    assert_eq!(two.says(), ["POST ban +1 -0", "POST captcha +1 -0", "DELETE ban +0 -1"]);
}

#[test]
fn delete_that_carries_all_of_its_list_goes_before_one_that_does_not() {
    let mut full = case((&[], &["8.8.8.8", "1.1.1.1"]), (&[], &["9.9.9.9"])).costly();
    full = full.known("8.8.8.8", true, T - HOUR).known("9.9.9.9", true, T - HOUR);
    full = full.community(Captcha, &["1.1.1.1"]);
    full.items_max = 3;
    assert_eq!(full.says(), ["DELETE captcha +0 -1", "POST captcha +1 -0", "DELETE ban +0 -2"]);
}

#[test]
fn delete_that_makes_room_for_its_own_list_goes_before_the_others() {
    let mut full = case((&[], &["8.8.8.8"]), (&[], &["9.9.9.9"])).costly();
    full = full.known("8.8.8.8", true, T - HOUR).known("9.9.9.9", true, T - HOUR);
    full = full.community(Ban, &["1.1.1.1"]);
    full.items_max = 2;
    assert_eq!(full.says(), ["DELETE ban +0 -1", "POST ban +1 -0", "DELETE captcha +0 -1"]);
}

#[test]
fn full_list_is_rewritten_at_any_cost_only_for_a_range_and_what_comes_inside_it_there() {
    // 1,400 items before and after are more than what two minutes earn.
    let all = many(0, 1_400);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let with = |more: &'static str| all.iter().copied().chain([more]).collect::<Vec<_>>();
    let full = |desired: &[&str], there: &[&str], captcha: &[&str], items_max| {
        let mut full = case((desired, there), (captcha, &[]));
        full.items_max = items_max;
        full.says()
    };
    let (range, inside, beside) = (with("1.1.1.0/24"), with("1.1.1.1"), with("2.2.2.2"));
    assert_eq!(full(&inside, &range, &[], 1_401), ["PUT ban +1 -1"]);
    assert_eq!(full(&inside, &range, &[], 1_402), ["POST ban +1 -0", "DELETE ban +0 -1"]);
    assert_eq!(full(&beside, &range, &[], 1_401), ["DELETE ban +0 -1", "POST ban +1 -0"]);
    assert_eq!(
        full(&beside, &range, &["1.1.1.1"], 1_403),
        ["POST ban +1 -0", "POST captcha +1 -0", "DELETE ban +0 -1"],
        "what comes inside comes on the other list"
    );
}

#[test]
fn more_than_one_request_takes_is_sent_with_the_most_urgent_in_the_first() {
    let ours = case((&["1.1.1.1", "1.1.1.2"], &[]), NONE);
    let [mut comes, mut goes] = [&[][..], &["1.1.1.3"]].map(|there| {
        let observed = Observed::of(ObservedList::of(there), ObservedList::default());
        let rules = Rules {
            now: T,
            items_max: 500_000,
            protected: &ours.protected,
            ends: &ours.ends,
            set_aside: &SmallMap::default(),
        };
        diff(&ours.desired, &observed, rules).lists()[0].clone()
    });
    let many = many(0, BATCH_ITEMS_MAX as u32 + 1);
    let many: Vec<Address> = many.iter().map(|one| one.parse().unwrap()).collect();
    let class = |last: bool, urgent| if last { urgent } else { Class::Rest };
    let is_last = |address: &Address| many.last() == Some(address);
    let addition = comes.additions[0];
    comes.additions = (many.iter())
        .map(|address| Addition {
            address: *address,
            class: class(is_last(address), Class::OwnBan),
            ..addition
        })
        .collect();
    let removal = goes.removals.remove(0);
    goes.additions.clear();
    goes.removals = (many.iter())
        .map(|address| Removal {
            address: *address,
            class: class(is_last(address), Class::Lift),
            ..removal.clone()
        })
        .collect();
    let observed = ObservedList::default();
    let classes = |plan: &ListPlan| -> Vec<Class> {
        let room = Room { items: 20_000, items_max: 500_000 };
        let operations = in_steps(&mut [List::new(plan, &observed)], room, false);
        operations.into_iter().map(|(class, _)| class).collect()
    };
    assert_eq!(classes(&comes), [Class::OwnBan, Class::Rest]);
    assert_eq!(classes(&goes)[0], Class::Lift);
}

#[test]
fn rewrite_costs_what_is_there_before_and_after_it() {
    // 2,777 items are what two minutes earn.
    let there = many(0, 1_389);
    let there: Vec<&str> = there.iter().map(String::as_str).collect();
    let desired = |stays: usize| [&there[..stays], &["2.2.2.1", "2.2.2.2"]].concat();
    assert_eq!(case((&desired(1_386), &there), NONE).says(), ["PUT ban +2 -3"]);
    let more = case((&desired(1_387), &there), NONE);
    assert_eq!(more.says(), ["POST ban +2 -0", "DELETE ban +0 -2"]);
}

#[test]
fn list_that_is_only_added_to_takes_nothing_from_what_pays_for_a_rewrite() {
    let all = many(0, 1_500);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let (ban, captcha) = all.split_at(900);
    let on_ban: Vec<&str> = ban[1..].iter().copied().chain(["2.2.2.2"]).collect();
    let both = case((ban, &on_ban), (captcha, &captcha[1..]));
    assert_eq!(both.says(), ["PUT ban +1 -1", "POST captcha +1 -0"]);
}

#[test]
fn ban_inside_a_range_that_becomes_a_challenge_takes_the_last_place() {
    let mut last = case((&[], &["1.1.1.0/24"]), NONE).community(Ban, &["1.1.1.1"]);
    last = last.community(Captcha, &["1.1.1.0/24"]);
    last.items_max = 2;
    assert_eq!(last.says(), ["POST ban +1 -0"]);
}

#[test]
fn last_place_is_for_what_comes_inside_a_range_and_not_for_the_more_urgent() {
    let mut last = case((&[], &["1.1.1.0/24"]), NONE).community(Ban, &["2.2.2.2"]);
    last = last.community(Captcha, &["1.1.1.1"]);
    last.items_max = 2;
    assert_eq!(last.says(), ["POST captcha +1 -0", "PUT ban +1 -1"]);
}

#[test]
fn owners_on_both_lists_go_in_the_fewest_operations() {
    let owners = case((&[], &["7.7.7.7", "1.1.1.1"]), (&["1.1.1.1"], &["8.8.8.8"]));
    let owners = owners.protecting("7.7.7.7/32").protecting("8.8.8.8/32");
    assert_eq!(owners.says(), ["PUT captcha +1 -1", "DELETE ban +0 -2"]);
}

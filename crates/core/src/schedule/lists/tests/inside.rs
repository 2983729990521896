//! Ranges that go, and who is inside of them.

use super::*;
use crate::decision::Each;

const RANGE: &str = "2.2.2.0/24";

/// What rules let through of a list.
fn lifting(list: Remediation, what: &str) -> ByRules {
    let lifted: Each<_> = [(list, [address(what)].into_iter().collect())].into_iter().collect();
    ByRules { lifted, ..ByRules::default() }
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

#[test]
fn range_on_both_lists_leaves_the_full_challenges_before_who_is_banned_inside_has_come() {
    let mut both = case((&["2.2.2.2"], &[RANGE]), (&[], &[RANGE])).costly();
    both.items_max = 2;
    assert_eq!(both.says(), ["DELETE captcha +0 -1", "POST ban +1 -0", "DELETE ban +0 -1"]);
    // Where the ban list's rule lets it through, the challenge alone holds.
    let mut lifted = case((&[], &[RANGE]), (&["2.2.2.2"], &[RANGE])).costly();
    assert_eq!(lifted.says()[0], "DELETE captcha +0 -1");
    lifted.rules = lifting(Ban, RANGE);
    let captcha: Vec<_> = lifted.says().into_iter().filter(|of| of.contains("captcha")).collect();
    assert_eq!(captcha, ["POST captcha +1 -0", "DELETE captcha +0 -1"]);
}

#[test]
fn range_goes_after_one_inside_whom_a_rule_lets_through_where_he_is_now() {
    let place = |case: &Case, says: &str| case.says().iter().position(|of| of == says).unwrap();
    let mut moves = case((&[], &["2.2.2.2"]), (&["2.2.2.2"], &[RANGE])).costly();
    let order =
        |case: &Case| [place(case, "DELETE captcha +0 -1"), place(case, "POST captcha +1 -0")];
    assert_eq!(order(&moves), [0, 1], "he is banned by himself");
    moves.rules = lifting(Ban, "2.2.2.2");
    assert_eq!(order(&moves), [1, 0]);
}

#[test]
fn ranges_of_one_list_that_have_to_go_first_leave_those_of_the_other_waiting() {
    let mut full = case((&["2.2.2.2"], &[RANGE]), (&["3.3.3.3"], &["3.3.3.0/24"])).costly();
    full.items_max = 2;
    let order =
        ["DELETE ban +0 -1", "POST captcha +1 -0", "DELETE captcha +0 -1", "POST ban +1 -0"];
    assert_eq!(full.says(), order);
}

/// Whoever moves stands there twice for a moment, beside the range or beside what has replaced it.
#[test]
fn own_ban_that_moves_beside_a_range_which_is_replaced_has_a_place_and_an_equal_makes_it() {
    let mut full = case((&["1.1.1.1"], &[RANGE, "3.3.3.3"]), (&[], &["1.1.1.1"]));
    full = full.community(Ban, &["2.2.2.2", "3.3.3.3"]);
    full.items_max = 3;
    let schedule = full.schedule();
    assert!(schedule.operations().iter().any(|operation| operation.adds(&address("1.1.1.1"))));
}

/// He comes in the request that takes the range, and gives his place back with the next.
#[test]
fn who_moves_and_is_inside_of_the_range_that_is_replaced_by_him_puts_nobody_out() {
    let mut full = case((&["2.2.2.2"], &[RANGE]), (&["3.3.3.3"], &["2.2.2.2", "3.3.3.3"]));
    full.items_max = 3;
    assert_eq!(full.says(), ["PUT ban +1 -1", "DELETE captcha +0 -1"]);
}

#[test]
fn what_a_range_is_to_ban_goes_before_it_where_the_range_would_be_put_out_for_that() {
    let mut full = case((&[RANGE], &["2.2.2.2", "2.2.2.3"]), (&[], &[RANGE]));
    full.ban = with_foreign_item(full.ban);
    full.items_max = 5;
    let waits = ["POST ban +1 -0", "DELETE ban +0 -2", "DELETE captcha +0 -1"];
    assert_eq!(full.says(), waits);
    full.items_max = 4;
    let goes = ["DELETE ban +0 -2", "POST ban +1 -0", "DELETE captcha +0 -1"];
    assert_eq!(full.says(), goes);
}

/// As long as there is a place for him, the range waits; where there is none he cannot come first, whoever decided it.
#[test]
fn range_that_goes_from_full_lists_goes_before_one_of_the_community_inside_comes_in_the_same_run() {
    let mut full = case((&[], &[]), (&[], &[RANGE])).community(Ban, &["2.2.2.2"]).costly();
    full.items_max = 2;
    assert_eq!(full.says(), ["POST ban +1 -0", "DELETE captcha +0 -1"]);
    full.items_max = 1;
    assert_eq!(full.says(), ["DELETE captcha +0 -1", "POST ban +1 -0"]);
}

/// Two ranges go from nearly full lists, and together they leave no place for 2.2.2.7, who has one with the next run.
fn two_ranges_on_nearly_full_lists() -> Case {
    let there = [RANGE, "1.1.1.0/24"];
    let mut full = case((&[], &there), (&["2.2.2.2"], &[])).known(there[1], false, T + 9);
    full = full.community(Captcha, &["2.2.2.7", "1.1.1.3"]);
    full.items_max = 4;
    full.costly()
}

#[test]
fn range_waits_for_one_inside_of_it_who_has_a_place_with_the_next_run() {
    let mut full = two_ranges_on_nearly_full_lists();
    assert_eq!(full.says(), ["POST captcha +2 -0", "DELETE ban +0 -1"]);
    let schedule = full.schedule();
    assert!(schedule.operations()[0].adds(&address("1.1.1.3")));
    assert_eq!(schedule.rest(), Some(Rest::Later));
    (full.ban, full.captcha) =
        (ObservedList::of(&[RANGE]), ObservedList::of(&["2.2.2.2", "1.1.1.3"]));
    assert_eq!(full.says(), ["POST captcha +1 -0", "DELETE ban +0 -1"]);
    // Beside what others put there he has none until the range has gone.
    let mut less = two_ranges_on_nearly_full_lists();
    less.captcha = with_foreign_item(less.captcha);
    less.items_max = 5;
    assert_eq!(less.says(), ["POST captcha +2 -0", "DELETE ban +0 -1"]);
    less.ban = with_foreign_item(less.ban);
    assert_eq!(less.says().last().map(String::as_str), Some("DELETE ban +0 -2"));
}

#[test]
fn lifted_range_that_waits_for_one_inside_of_it_is_urgent_for_what_makes_his_place() {
    let mut full = two_ranges_on_nearly_full_lists();
    full.interval = 600;
    full.history.accepted("op", &pace(600), T - 300);
    full.history.completed(T - 300);
    assert_eq!(full.says(), ["POST captcha +2 -0", "DELETE ban +0 -1"]);
    full = full.known(RANGE, false, T + 9);
    assert_eq!(full.says(), ["waits: interval"]);
}

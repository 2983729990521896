//! Lists that may be shown as they were before an operation.

use super::*;

const RANGE: &str = "2.2.2.0/24";

/// An operation that took something was seen to complete so long ago.
fn took(mut case: Case, seconds_ago: u64) -> Case {
    let at = case.now - seconds_ago;
    case.history.accepted("op", &pace(0), at);
    case.history.takes(true);
    case.history.completed(at);
    case
}

#[test]
fn lists_that_may_be_shown_as_before_an_operation_lose_only_an_owners_address() {
    let mut stale =
        case((&["1.1.1.1", "1.1.1.2"], &["1.1.1.2", "4.4.4.4"]), (&[], &["1.1.1.2", "5.5.5.5"]));
    stale = stale.protecting("5.5.5.5");
    assert_eq!(stale.schedule().rest(), None);
    stale.history.completed_since(T);
    assert_eq!(stale.says(), ["DELETE captcha +0 -1", "POST ban +1 -0"], "and no PUT");
    assert_eq!(stale.schedule().rest(), Some(Rest::Stale));
    let nothing_goes = Case { history: stale.history.clone(), ..case((&["1.1.1.1"], &[]), NONE) };
    assert_eq!(nothing_goes.schedule().rest(), None);
}

#[test]
fn range_goes_a_minute_after_the_last_removal_where_one_inside_may_only_seem_to_be_there() {
    for (ban, captcha) in [
        ((&[][..], &[][..]), (&["2.2.2.2"][..], &[RANGE, "2.2.2.2"][..])),
        ((&["2.2.2.2"], &[RANGE, "2.2.2.2"]), NONE),
        ((&[], &[RANGE]), (&["2.2.2.2"], &["2.2.2.2"])),
        ((&["2.2.2.2"], &["2.2.2.2"]), (&[], &[RANGE])),
    ] {
        let at = |seconds| took(case(ban, captcha), seconds).schedule();
        assert_eq!((at(59).operations(), at(59).rest()), (&[][..], Some(Rest::Stale)));
        assert_eq!((at(60).operations().len(), at(60).rest()), (1, None));
    }
}

#[test]
fn what_leaves_for_something_that_is_there_waits_and_what_leaves_for_what_comes_does_not() {
    let moved = (case((&["1.1.1.1"], &["1.1.1.1"]), (&[], &["1.1.1.1"])), 0);
    let covered = (case((&[RANGE], &[RANGE, "2.2.2.2"]), NONE), 0);
    let moves = (case((&["1.1.1.1"], &[]), (&[], &["1.1.1.1"])), 2);
    let lifted = (case((&[], &["1.1.1.1"]), NONE), 1);
    let empty = (case((&[], &[RANGE]), (&["3.3.3.3"], &["3.3.3.3"])), 1);
    for (case, operations) in [moved, covered, moves, lifted, empty] {
        assert_eq!(took(case, 1).schedule().operations().len(), operations);
    }
}

/// A run a minute, each of which takes something: the range would never go.
#[test]
fn others_wait_with_a_range_that_has_to_so_that_the_next_run_finds_nothing_taken() {
    let busy = || case((&["2.2.2.2"], &[RANGE, "2.2.2.2", "4.4.4.4"]), NONE);
    let [at_first, then] = [50, 110].map(|seconds| took(busy(), seconds).schedule());
    assert_eq!((at_first.operations(), at_first.rest()), (&[][..], Some(Rest::Stale)));
    assert_eq!(then.operations()[0].effect().removed, 2);
}

#[test]
fn owners_range_goes_at_once_whoever_seems_to_be_inside() {
    let owner = case((&["2.2.2.2"], &[RANGE, "2.2.2.2"]), NONE).protecting("2.2.2.7");
    assert_eq!(took(owner, 1).says(), ["DELETE ban +0 -1"]);
}

#[test]
fn additions_alone_leave_nothing_in_doubt() {
    let mut added = case((&["2.2.2.2"], &[RANGE, "2.2.2.2"]), NONE);
    added.history.accepted("op", &pace(0), T);
    added.history.takes(false);
    added.history.completed(T);
    assert_eq!(added.says(), ["DELETE ban +0 -1"]);
}

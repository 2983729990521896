//! What a schedule and its operations say of themselves.

use super::*;

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

#[test]
fn operation_of_each_kind_says_what_it_carries() {
    let post = case((&["1.1.1.1", "1.1.1.2"], &[]), NONE).schedule();
    let put = case((&["1.1.1.1", "1.1.1.2"], &["1.1.1.2", "1.1.1.9"]), NONE).schedule();
    let delete = case((&["1.1.1.1"], &["1.1.1.1", "1.1.1.9"]), NONE).schedule();
    for (schedule, says, carries, adds) in [
        (&post, "POST ban: 2 items", 2, [true, true]),
        (&put, "PUT ban: 2 items (+1 -1)", 2, [true, false]),
        (&delete, "DELETE ban: 1 item", 0, [false, false]),
    ] {
        let operation = &schedule.operations()[0];
        assert_eq!(operation.to_string(), says);
        assert_eq!(operation.addresses().len(), carries, "{says}");
        let both = ["1.1.1.1", "1.1.1.2"].map(|one| operation.adds(&address(one)));
        assert_eq!((both, schedule.only_addition(operation)), (adds, None), "{says}");
        assert!(!operation.is_empty(), "{says}");
    }
    let one = case((&["1.1.1.1"], &[]), NONE).schedule();
    assert_eq!(one.only_addition(&one.operations()[0]), Some(address("1.1.1.1")));
}

#[test]
fn refused_value_is_among_all_before_the_last_of_its_operation_that_were_not_added() {
    let mut both = case((&["1.1.1.1", "1.1.1.4"], &[]), (&["1.1.1.2"], &[]));
    both = both.community(Captcha, &["1.1.1.3"]);
    let schedule = both.schedule();
    assert_eq!(both.says(), ["POST ban +2 -0", "POST captcha +2 -0"]);
    let [ban, captcha] = schedule.operations() else { panic!() };
    let suspects = |count, last| Suspects { count, last: Some(address(last)) };
    assert_eq!(schedule.suspects_in(ban, 0), suspects(4, "1.1.1.4"));
    assert_eq!(schedule.suspects_in(captcha, 2), suspects(2, "1.1.1.3"));
    assert_eq!(schedule.suspects_left(2).count, 0, "nothing was searched for");
    both.history.narrow(suspects(4, "1.1.1.3"));
    let schedule = both.schedule();
    assert_eq!(both.says(), ["POST ban +2 -0"]);
    assert_eq!(schedule.suspects_in(&schedule.operations()[0], 0), suspects(2, "1.1.1.4"));
    assert_eq!(schedule.suspects_left(2), suspects(2, "1.1.1.3"));
    let gone = case((&["1.1.1.1"], &["1.1.1.1"]), (&[], &["1.1.1.9"])).schedule();
    assert_eq!(gone.suspects_in(&gone.operations()[0], 0), Suspects::default(), "adds nothing");
}

#[test]
fn only_suspect_that_is_left_goes_by_itself_behind_who_came_up_meanwhile() {
    let mut one = case((&["1.1.1.9"], &[]), NONE);
    one = one.community(Ban, &["1.1.1.1", "1.1.1.2"]);
    one.history.narrow(Suspects { count: 1, last: Some(address("1.1.1.1")) });
    assert_eq!(one.says(), ["POST ban +1 -0", "POST ban +1 -0"]);
    let schedule = one.schedule();
    let only = |at: usize| schedule.only_addition(&schedule.operations()[at]);
    assert_eq!(only(0), Some(address("1.1.1.9")));
    assert_eq!(only(1), Some(address("1.1.1.1")));
    assert_eq!(schedule.rest(), Some(Rest::Later));
    let mut lifted = case((&["1.1.1.9"], &[]), NONE).community(Ban, &["1.1.1.2"]);
    lifted.history.narrow(Suspects { count: 2, last: Some(address("1.1.1.1")) });
    assert_eq!(lifted.says(), ["POST ban +2 -0"], "nothing is searched for any more");
}

#[test]
fn operations_that_completed_are_the_first_of_them() {
    let schedule = case((&["1.1.1.1"], &[]), (&[], &["2.2.2.2"])).schedule();
    let first = schedule.operations()[0].clone();
    assert_eq!(schedule.operations().len(), 2);
    assert_eq!(schedule.into_first(1), [first]);
}

#[test]
fn write_that_is_urgent_waits_for_nothing_and_is_not_beside_the_ladder() {
    for case in [case((&["1.1.1.1"], &[]), NONE), case((&["1.1.1.1"], &[]), NONE).scarce()] {
        let schedule = case.schedule();
        assert!(!schedule.is_beside_the_ladder() && !schedule.has_lone_removals());
        assert_eq!((schedule.company(), schedule.wait(), schedule.rest()), (None, None, None));
        assert_eq!(schedule.without_room(), 0);
    }
}

#[test]
fn nothing_to_do_waits_for_nothing_but_tells_of_a_refusal() {
    let nothing = || case((&["1.1.1.1"], &["1.1.1.1"]), NONE);
    let mut unfinished = nothing();
    unfinished.history.accepted("op", &pace(0), T - 60);
    assert_eq!(unfinished.schedule().wait(), None);
    let mut refused = nothing();
    (0..2).for_each(|_| refused.history.throttled(false, &pace(0), T - 60));
    assert!(matches!(refused.schedule().wait(), Some(Wait::Backoff(..))));
}

#[test]
fn half_that_is_sent_leaves_the_rest_to_the_next_run() {
    let mut half = case((&["1.1.1.1"], &[]), NONE).community(Ban, &["1.1.1.2"]);
    half = half.refused();
    assert_eq!(half.says(), ["POST ban +1 -0"]);
    assert_eq!(half.schedule().rest(), Some(Rest::Later));
}

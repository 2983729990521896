//! What the guard sees of a plan for the lists.

use super::*;
use crate::decision::Remediation;
use crate::desired::Desired;
use crate::observed::lists::{Observed, ObservedList};
use crate::plan::Why;
use crate::plan::lists::{Rules, diff};
use crate::settings::protected::Protected;
use crate::state::{Ends, Known};

const NOW: u64 = 1_793_000_000;

/// What is desired and what is there.
struct Case {
    desired: Desired,
    ban: Vec<String>,
    captcha: Vec<String>,
    ends: Ends,
    items_max: u64,
}

fn case(ban: (&[&str], &[&str]), captcha: (&[&str], &[&str])) -> Case {
    let texts = |of: &[&str]| of.iter().map(|text| (*text).to_owned()).collect();
    Case {
        desired: Desired::of(ban.0, captcha.0),
        ban: texts(ban.1),
        captcha: texts(captcha.1),
        ends: Ends::default(),
        items_max: 500_000,
    }
}

impl Case {
    fn plan(&self) -> Plan {
        let list =
            |of: &[String]| ObservedList::of(&of.iter().map(String::as_str).collect::<Vec<_>>());
        let observed = Observed::of(list(&self.ban), list(&self.captcha));
        let rules = Rules {
            now: NOW,
            items_max: self.items_max,
            protected: &Protected::default(),
            ends: &self.ends,
            set_aside: &SmallMap::default(),
        };
        diff(&self.desired, &observed, rules)
    }

    fn known(mut self, address: &str, own: bool, ends: u64) -> Self {
        let known = [(address.parse().unwrap(), Known::new(own, ends))];
        self.ends = self.ends.next(known.into_iter(), |_| true);
        self
    }
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

#[test]
fn lists_are_two_parts_each_with_its_removals_and_what_is_there() {
    let plan = case((&["1.1.1.1"], &["1.1.1.1", "1.1.1.2"]), (&[], &["2.2.2.2"])).plan();
    let removals: Vec<_> =
        plan.removals().into_iter().map(|gone| (gone.part, gone.address, gone.why)).collect();
    assert_eq!(
        removals,
        [("ban", address("1.1.1.2"), Why::Lifted), ("captcha", address("2.2.2.2"), Why::Lifted),]
    );
    assert_eq!(plan.there(), [("ban", 2), ("captcha", 1)].into());
}

#[test]
fn database_without_a_decision_is_told_from_one_that_asks_for_something_else() {
    let there: &[&str] = &["1.1.1.1"];
    assert!(case((&[], there), (&[], &[])).plan().is_nothing_desired());
    assert!(!case((&["2.2.2.2"], there), (&[], &[])).plan().is_nothing_desired());
}

#[test]
fn list_that_keeps_nothing_is_told_beside_one_that_keeps_something() {
    let plan = case((&["1.1.1.9"], &["1.1.1.1"]), (&["2.2.2.2"], &["2.2.2.2"])).plan();
    assert_eq!(["ban", "captcha"].map(|part| plan.keeps_nothing(part)), [true, false]);
}

#[test]
fn what_is_held_makes_as_much_room_as_own_bans_lack_on_full_lists() {
    let ten: Vec<String> = (1..=10).map(|n| format!("1.1.1.{n}")).collect();
    let ten: Vec<&str> = ten.iter().map(String::as_str).collect();
    for (what, own, items_max, held, room) in [
        ("a place is free", &["2.2.2.1"][..], 11, 10, 0),
        ("full", &["2.2.2.1"], 10, 10, 1),
        ("two come, and one place is free", &["2.2.2.1", "2.2.2.2"], 11, 10, 1),
        ("more is there than fits, as many as come", &["2.2.2.1"], 9, 10, 0),
        ("more is there than fits, fewer than come", &["2.2.2.1", "2.2.2.2"], 9, 10, 3),
        ("what goes makes the room", &["2.2.2.1"], 10, 5, 0),
        ("nobody comes", &[], 10, 10, 0),
    ] {
        let mut full = case((own, &ten), (&[], &[]));
        full.items_max = items_max;
        assert_eq!(full.plan().room_for_own(held), room, "{what}");
    }
    let community = |items_max| {
        let mut full = case((&[], &ten), (&[], &[]));
        full.desired.put("2.2.2.1", Some(Remediation::Ban), None, "CAPI", 86_400);
        full.items_max = items_max;
        full.plan().room_for_own(10)
    };
    assert_eq!((community(10), community(9)), (0, 0), "the community waits");
}

#[test]
fn own_bans_that_move_need_one_place_however_many_they_are() {
    let ten: Vec<String> = (1..=10).map(|n| format!("1.1.1.{n}")).collect();
    let ten: Vec<&str> = ten.iter().map(String::as_str).collect();
    // Three become bans; each leaves the captcha list once it is on the other.
    let moves: &[&str] = &["3.3.3.1", "3.3.3.2", "3.3.3.3"];
    let mut full = case((moves, &ten), (&[], moves));
    full.items_max = 13;
    assert_eq!(full.plan().room_for_own(10), 1);
    full.items_max = 14;
    assert_eq!(full.plan().room_for_own(10), 0);
}

#[test]
fn plan_without_what_is_held_keeps_the_other_removals() {
    let case = case((&["9.9.9.9"], &["1.1.1.1", "1.1.1.2", "1.1.1.3", "9.9.9.9"]), (&[], &[]));
    let case = case.known("1.1.1.3", true, NOW - 3_600);
    let held = [address("1.1.1.1"), address("1.1.1.3")].into();
    let left: Vec<_> =
        case.plan().without(&held).removals().into_iter().map(|gone| gone.address).collect();
    assert_eq!(left, [address("1.1.1.2"), address("1.1.1.3")], "what ran out is not held");
}

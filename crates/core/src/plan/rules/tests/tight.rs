//! Texts that are full to the last character.

use super::*;

/// The length of a text that says this.
fn room_for(says: &str) -> usize {
    expression(says).characters()
}

#[test]
fn text_of_three_quarters_is_not_nearly_full_and_one_character_less_of_room_makes_it_so() {
    let mut rule = rule("192.0.2.1", "", ")");
    let quarter = room_for(") or ip.src in {192.0.2.1}") / 3;
    rule.characters_max = 4 * quarter;
    assert!(!rule.decide().is_nearly_full);
    rule.characters_max -= 1;
    assert!(rule.decide().is_nearly_full);
}

#[test]
fn range_desired_inside_of_a_lifted_one_without_room_leaves_what_is_in_force_of_it() {
    let says = " and not ip.src in {203.0.113.0/24}) or ip.src in {203.0.113.130}";
    let mut rule = rule("203.0.113.128/25", "203.0.113.0/24", says);
    rule.characters_max = room_for(says);
    let decided = rule.decide();
    assert!(!decided.is_due, "{}", decided.desired);
    let waits = Waiting::Fresh("203.0.113.128/25".parse().unwrap(), Class::OwnBan);
    assert_eq!(decided.waiting, [waits]);
}

#[test]
fn range_in_force_by_two_parts_with_an_owner_in_one_makes_room_for_another_lifted() {
    let mut rule = rule(
        "203.0.113.128/25",
        "192.0.2.1 203.0.113.0/24",
        " and not ip.src in {203.0.113.0/24}) or (ip.src in {203.0.113.128/26 203.0.113.192/26} and not ip.src in {203.0.113.130})",
    );
    rule.never_block = set("203.0.113.130");
    let says = " and not ip.src in {192.0.2.1 203.0.113.0/24}) or (ip.src in {203.0.113.128/25} and not ip.src in {203.0.113.130})";
    rule.characters_max = room_for(says);
    assert_eq!(decided(&rule), says);
}

#[test]
fn range_in_force_by_two_parts_makes_room_for_another_lifted() {
    let parts =
        " and not ip.src in {203.0.113.0/24}) or ip.src in {203.0.113.128/26 203.0.113.192/26}";
    let mut rule = rule("203.0.113.128/25", "192.0.2.1 203.0.113.0/24", parts);
    let says = " and not ip.src in {192.0.2.1 203.0.113.0/24}) or ip.src in {203.0.113.128/25}";
    rule.characters_max = room_for(says);
    assert_eq!(decided(&rule), says);
}

#[test]
fn range_in_force_by_two_parts_without_the_owner_beside_them_stays_in_parts_where_it_has_no_room() {
    let says =
        " and not ip.src in {203.0.113.0/24}) or ip.src in {203.0.113.160/27 203.0.113.192/26}";
    let mut rule = rule("203.0.113.128/25", "203.0.113.0/24", says);
    rule.never_block = set("203.0.113.130");
    rule.characters_max = room_for(says);
    let decided = rule.decide();
    assert!(!decided.is_due, "{}", decided.desired);
    let waits = Waiting::Fresh("203.0.113.128/25".parse().unwrap(), Class::OwnBan);
    assert_eq!(decided.waiting, [waits]);
}

#[test]
fn range_that_leaves_stands_in_for_the_less_urgent_inside_of_it_while_nobody_comes_for_him() {
    let says = ") or ip.src in {203.0.113.0/24}";
    let mut rule = rule("203.0.113.6", "", says);
    rule.shall_match.extend(items(Class::CommunityBan, "203.0.113.7"));
    rule.characters_max = room_for(says);
    let decided = rule.decide();
    assert!(!decided.is_due, "{}", decided.desired);
    assert_eq!(decided.waiting, [Waiting::StandIn("203.0.113.0/24".parse().unwrap())]);
    // For a more urgent one who is new he goes without.
    rule.shall_match.extend(items(Class::OwnBan, "100.0.0.1"));
    rule.characters_max = room_for(") or ip.src in {100.0.0.1 203.0.113.6}");
    assert_eq!(rule.decide().desired, expression(") or ip.src in {100.0.0.1 203.0.113.6}"));
}

#[test]
fn range_that_leaves_does_not_stand_in_for_the_room_that_a_new_one_finds_beside_it() {
    let mut rule = rule("203.0.113.6 203.0.113.7", "", ") or ip.src in {203.0.113.0/24}");
    rule.shall_match.extend(items(Class::CommunityBan, "100.0.0.1"));
    // Room for both who are inside, or for the range and the new one.
    rule.characters_max = room_for(") or ip.src in {100.0.0.1 203.0.113.0/24}");
    let decided = rule.decide();
    assert_eq!(decided.desired, expression(") or ip.src in {203.0.113.6 203.0.113.7}"));
    let waits = Waiting::Fresh("100.0.0.1".parse().unwrap(), Class::CommunityBan);
    assert_eq!(decided.waiting, [waits]);
}

#[test]
fn owner_off_the_list_that_was_read_stays_lifted_before_others_while_the_edge_may_have_him() {
    let says = " and not ip.src in {192.0.2.9})";
    let mut rule = rule("", "192.0.2.1", says);
    rule.never_block = set("192.0.2.9");
    rule.may_drain = false;
    rule.characters_max = room_for(says);
    let decided = rule.decide();
    assert!(!decided.is_due, "{}", decided.desired);
    let waits = Waiting::Lifted("192.0.2.1".parse().unwrap(), Class::Lift);
    assert_eq!(decided.waiting, [waits]);
}

#[test]
fn range_to_be_lifted_finds_room_in_place_of_its_parts_that_are() {
    let says = " and not ip.src in {192.0.2.1 192.0.2.2})";
    let mut rule = rule("", "192.0.2.0/24 192.0.2.1 192.0.2.2", says);
    rule.characters_max = room_for(says);
    assert_eq!(decided(&rule), " and not ip.src in {192.0.2.0/24})");
}

#[test]
fn lifted_address_kept_for_the_edge_alone_goes_without_room_and_waits_for_no_list() {
    let mut rule = rule("", "192.0.2.1", " and not ip.src in {192.0.2.9})");
    rule.may_drain = false;
    let says = " and not ip.src in {192.0.2.1})";
    rule.characters_max = room_for(says);
    assert_eq!(decided(&rule), says);
}

#[test]
fn part_of_a_range_without_room_goes_for_the_more_urgent_and_only_the_range_is_said_to_wait() {
    let mut rule = rule("100.0.0.1", "", ") or ip.src in {203.0.113.6}");
    rule.shall_match.extend(items(Class::CommunityBan, "203.0.113.0/24"));
    rule.characters_max = rule.observed.characters();
    let decided = rule.decide();
    assert_eq!(decided.desired, expression(") or ip.src in {100.0.0.1}"));
    let waits = Waiting::Fresh("203.0.113.0/24".parse().unwrap(), Class::CommunityBan);
    assert_eq!(decided.waiting, [waits]);
}

#[test]
fn room_of_parts_that_a_new_range_replaces_goes_to_the_next_in_order_who_found_none_before() {
    let mut rule = rule("203.0.113.6 203.0.113.7", "", ") or ip.src in {203.0.113.6 203.0.113.7}");
    rule.shall_match.extend(items(Class::CommunityBan, "100.0.0.1 203.0.113.0/29 100.0.0.2"));
    // While the parts are there, nobody but the range has room; then there is room for one more.
    let says = ") or ip.src in {100.0.0.1 203.0.113.0/29}";
    rule.characters_max = room_for(says);
    let decided = rule.decide();
    assert_eq!(decided.desired, expression(says));
    let waits = Waiting::Fresh("100.0.0.2".parse().unwrap(), Class::CommunityBan);
    assert_eq!(decided.waiting, [waits]);
}

#[test]
fn who_an_operation_may_take_from_the_list_that_was_read_goes_for_no_less_urgent() {
    let fresh = ") or ip.src in {192.0.2.1}";
    for observed in [fresh, " and not ip.src in {192.0.2.1})"] {
        let mut rule = rule("192.0.2.1", "192.0.2.1", observed);
        rule.shall_match.extend(items(Class::CommunityBan, "100.0.0.1"));
        rule.characters_max = room_for(fresh);
        rule.may_drain = false;
        assert_eq!(rule.decide().desired, expression(") or ip.src in {100.0.0.1}"), "{observed}");
        rule.may_lose = true;
        let decided = rule.decide();
        assert_eq!(decided.desired, expression(fresh), "{observed}");
        let waits = Waiting::Fresh("100.0.0.1".parse().unwrap(), Class::CommunityBan);
        assert_eq!(decided.waiting, [waits]);
    }
    // Who moves here and is on both lists keeps nobody out, and waits.
    let mut rule = rule("192.0.2.1", "192.0.2.1", ")");
    rule.shall_match.extend(items(Class::CommunityBan, "100.0.0.1"));
    (rule.moves_here, rule.characters_max) = (set("192.0.2.1"), room_for(fresh));
    (rule.may_drain, rule.may_lose) = (false, true);
    let decided = rule.decide();
    assert_eq!(decided.desired, expression(") or ip.src in {100.0.0.1}"));
    let waits = Waiting::Fresh("192.0.2.1".parse().unwrap(), Class::Rest);
    assert_eq!(decided.waiting, [waits]);
}

#[test]
fn range_that_stands_in_for_less_than_what_is_reserved_inside_of_it_leaves_the_room_to_the_most_urgent()
 {
    let lifted = " and not ip.src in {203.0.113.0/27})";
    let mut rule = rule(
        "203.0.113.0 203.0.113.1 2001:db8::/125",
        "203.0.113.0/27",
        ") or ip.src in {203.0.113.0/26}",
    );
    rule.shall_match.extend(items(Class::CommunityBan, "100.0.0.1 203.0.113.32"));
    let says = format!("{lifted} or ip.src in {{203.0.113.0/26 2001:db8::/125}}");
    rule.characters_max = room_for(&says);
    let decided = rule.decide();
    assert_eq!(decided.desired, expression(&says));
    let waits = [
        Waiting::Fresh("100.0.0.1".parse().unwrap(), Class::CommunityBan),
        Waiting::StandIn("203.0.113.0/26".parse().unwrap()),
    ];
    assert_eq!(decided.waiting, waits);
    rule.observed = decided.desired;
    assert!(!rule.decide().is_due);
}

#[test]
fn who_found_the_room_that_a_range_gave_back_is_not_in_its_way_the_next_time() {
    let mut rule =
        rule("203.0.113.32/30 203.0.113.37", "203.0.113.32/28", ") or ip.src in {203.0.113.32/27}");
    rule.shall_match.extend(items(Class::CommunityBan, "203.0.113.2 203.0.113.48"));
    let says = " and not ip.src in {203.0.113.32/28}) or ip.src in {203.0.113.2 203.0.113.32/27}";
    // Lifted with room for the two inside of it, though in the end the range is said for them.
    rule.characters_max = room_for(
        " and not ip.src in {203.0.113.32/28}) or ip.src in {203.0.113.32/30 203.0.113.37}",
    );
    rule.observed = rule.decide().desired;
    assert_eq!(rule.observed, expression(says));
    assert!(!rule.decide().is_due);
}

#[test]
fn range_lifted_beside_a_part_that_found_room_is_the_last_that_is_written() {
    // Until the half beside the owner is in FRESH, the whole range would have to be, with the exception.
    let mut rule = rule("2001:db8::4/126 2001:db8::4/127", "2001:db8::/125", ")");
    rule.never_block = set("2001:db8::6/127");
    let says = " and not ip.src in {2001:db8::/125}) or ip.src in {2001:db8::4/127}";
    let part = " and not ip.src in {2001:db8::6/127}) or ip.src in {2001:db8::4/127}";
    rule.characters_max = room_for(part);
    rule.observed = rule.decide().desired;
    assert_eq!(rule.observed, expression(part));
    rule.observed = rule.decide().desired;
    assert_eq!(rule.observed, expression(says));
    assert!(!rule.decide().is_due);
}

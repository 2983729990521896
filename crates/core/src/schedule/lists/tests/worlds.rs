//! Small full lists that a mistake in giving places once told apart, and nothing else.

use super::*;

fn says(mut world: Case, items_max: u64) -> Vec<String> {
    world.items_max = items_max;
    world.says()
}

#[test]
fn who_moves_has_a_place_kept_beside_those_who_come_inside_of_a_range() {
    let mut world =
        case((&["2.2.2.3"], &["2.2.2.3", "3.3.3.0/29", "9.0.0.3"]), (&[], &["2.2.2.7", "3.3.3.3"]));
    world = world.community(Captcha, &["2.2.2.0/28"]).community(Ban, &["3.3.3.3", "9.0.0.2"]);
    let order = ["PUT ban +1 -2", "DELETE captcha +0 -1", "POST ban +1 -0"];
    assert_eq!(says(world, 4), order);
}

#[test]
fn range_that_stands_for_nobody_new_leaves_at_once_and_its_place_is_for_a_ban() {
    let mut world =
        case((&["3.3.3.0/29"], &[]), (&[], &["2.2.2.0/28", "2.2.2.7", "3.3.3.3"])).scarce();
    world = world.community(Captcha, &["2.2.2.2/31"]);
    assert_eq!(says(world, 2), ["DELETE captcha +0 -2", "POST ban +1 -0"]);
}

#[test]
fn range_on_both_lists_goes_with_one_rewrite_that_brings_all_inside_of_it() {
    let mut world = case((&[], &["2.2.2.0/28"]), (&[], &["2.2.2.0/28", "3.3.3.3"])).scarce();
    world = world.community(Captcha, &["2.2.2.3", "2.2.2.7"]);
    assert_eq!(says(world, 3), ["PUT captcha +2 -2", "DELETE ban +0 -1"]);
}

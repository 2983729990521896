//! Lists without room for all: who has a place, who stays for whom, and what is counted.

use super::*;

#[test]
fn list_desires_as_many_as_have_a_place_on_it() {
    let mut case = case(&["1.1.1.1", "1.1.1.2", "1.1.1.3"], &["1.1.1.4"], &["1.1.1.1"], &[]);
    let desired =
        |case: &Case| -> Vec<u64> { case.plan().lists().iter().map(|list| list.desired).collect() };
    assert_eq!(desired(&case), [3, 1]);
    case.items_max = 2;
    assert_eq!(desired(&case), [2, 0]);
}

#[test]
fn items_that_share_an_id_stay_and_are_counted_among_what_is_kept() {
    let on_ban = listed(&[
        r#"{"id":"a","ip":"1.1.1.1"}"#,
        r#"{"id":"a","ip":"1.1.1.2"}"#,
        r#"{"id":"b","ip":"1.1.1.3"}"#,
    ]);
    let observed = Observed::of(on_ban, ObservedList::default());
    let case = Case { observed, ..case(&["1.1.1.1"], &[], &[], &[]) };
    assert_eq!(case.says(), ["-1.1.1.3 ban lifted Lift"]);
    let plan = case.plan();
    let list = &plan.lists()[0];
    assert_eq!((list.keep, list.observed()), (2, 3));
}

#[test]
fn what_stays_for_a_range_of_the_community_goes_for_a_ban_decided_here_and_for_no_other() {
    let full = |origin| {
        let full = case(&[], &[], &["9.0.0.1", "9.0.0.2"], &["1.1.1.1"])
            .wants("9.0.0.1", Ban, origin, 60)
            .wants("9.0.0.2", Ban, origin, 60)
            .wants("9.0.0.3", Ban, origin, 60)
            .wants("1.1.1.0/24", Ban, "CAPI", 60);
        Case { items_max: 3, ..full }
    };
    let displaced = "-1.1.1.1 captcha displaced Rest";
    assert_eq!(full("cscli").says(), ["+9.0.0.3 ban new_ban OwnBan", displaced]);
    // The range is not the first in order of those without a place.
    let equals = full("CAPI").wants("9.0.0.3", Ban, "CAPI", 8_000_000);
    assert_eq!(equals.says(), [""; 0]);
    assert_eq!(equals.plan().dropped(), 2);
}

#[test]
fn what_waits_for_a_range_without_a_place_goes_and_not_what_waits_for_one_that_comes_first() {
    let full = case(&[], &[], &[], &["1.1.1.1", "2.2.2.2"])
        .wants("1.1.1.0/24", Captcha, "cscli", 8_000_000)
        .wants("9.9.9.9", Captcha, "cscli", 60)
        .wants("2.2.2.0/24", Captcha, "CAPI", 60);
    let says = Case { items_max: 2, ..full }.says();
    let waits = "-1.1.1.1 captcha covered Rest after 1.1.1.0/24 captcha".to_owned();
    assert!(says.contains(&waits), "{says:?}");
    assert!(says.contains(&"-2.2.2.2 captcha displaced Rest".to_owned()), "{says:?}");
}

#[test]
fn nine_who_move_on_full_lists_take_the_places_of_two_until_they_have() {
    let own: Vec<String> = (1..=9).map(|i| format!("1.1.1.{i}")).collect();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let mut full = case(&own, &[], &["2.2.2.1", "2.2.2.2"], &own)
        .wants("2.2.2.1", Ban, "CAPI", 60)
        .wants("2.2.2.2", Ban, "CAPI", 60);
    for (items_max, displaced) in [(13, 0), (12, 1), (11, 2)] {
        full.items_max = items_max;
        let plan = full.plan();
        assert_eq!((plan.dropped(), plan.keeps_places()), (displaced, displaced > 0));
        assert_eq!(plan.lists()[0].added(), 9, "{items_max}");
    }
}

#[test]
fn own_bans_that_move_inside_of_a_range_that_goes_keep_their_places_and_the_range_goes_first() {
    let on_ban = listed(&[r#"{"id":"x"}"#, r#"{"id":"a","ip":"1.1.1.0/29"}"#]);
    let observed = Observed::of(on_ban, ObservedList::of(&["1.1.1.1", "1.1.1.2"]));
    let full = Case { observed, items_max: 4, ..case(&["1.1.1.1", "1.1.1.2"], &[], &[], &[]) };
    assert_eq!((full.plan().dropped(), full.plan().lists()[0].added()), (0, 2));
}

#[test]
fn own_ban_waits_for_its_range_that_still_challenges_it_whatever_other_range_is_put_out() {
    let on_ban: &[&str] = &["9.9.9.9", "1.1.1.1", "3.3.3.0/28"];
    let full = case(&["9.9.9.9", "1.1.1.0/24"], &[], on_ban, &["1.1.1.0/24", "2.2.2.0/24"])
        .wants("2.2.2.0/24", Captcha, "CAPI", 60)
        .wants("3.3.3.9", Captcha, "lists", 60);
    let says = Case { items_max: 5, ..full }.says();
    assert!(
        says.contains(&"-1.1.1.1 ban covered Rest after 1.1.1.0/24 ban".to_owned()),
        "{says:?}"
    );
}

/// Challenged for a moment is more than let through, and both bans are as important.
#[test]
fn what_an_own_range_still_challenges_goes_before_that_where_an_own_ban_that_moves_would_be_put_out()
 {
    let there = [
        r#"{"id":"x"}"#,
        r#"{"id":"a","ip":"1.1.1.2"}"#,
        r#"{"id":"b","ip":"1.1.1.3"}"#,
        r#"{"id":"c","ip":"3.3.3.3"}"#,
    ];
    let on_captcha = ObservedList::of(&["1.1.1.2/31", "2.2.2.2"]);
    let observed = Observed::of(listed(&there), on_captcha);
    let full = Case { observed, items_max: 6, ..case(&[], &[], &[], &[]) };
    let says = full
        .wants("1.1.1.2/31", Ban, "crowdsec", 8_000_000)
        .wants("3.3.3.3", Ban, "crowdsec", 100_000)
        .wants("2.2.2.2", Ban, "cscli", 400)
        .says();
    assert!(!says.iter().any(|one| one.contains("displaced")), "{says:?}");
    for covered in ["-1.1.1.2 ban covered Rest", "-1.1.1.3 ban covered Rest"] {
        assert!(says.contains(&covered.to_owned()), "{says:?}");
    }
}

#[test]
fn ban_of_the_community_goes_before_its_range_that_challenges_it_and_no_own_one_does() {
    // No request can add to the ban list and remove from it.
    let there = [r#"{"id":"x"}"#, r#"{"id":"a","ip":"1.1.1.1"}"#, r#"{"id":"b","ip":"2.2.2.2"}"#];
    let observed = Observed::of(listed(&there), ObservedList::of(&["1.1.1.0/24", "2.2.2.0/24"]));
    let full = Case { observed, items_max: 5, ..case(&["1.1.1.0/24"], &[], &[], &[]) };
    let says = full.wants("2.2.2.0/24", Ban, "CAPI", 60).says();
    assert!(says.contains(&"-2.2.2.2 ban covered Rest".to_owned()), "{says:?}");
    assert!(
        says.contains(&"-1.1.1.1 ban covered Rest after 1.1.1.0/24 ban".to_owned()),
        "{says:?}"
    );
}

/// Whether the range waits for him or goes first is a matter of room (`schedule`); he has his place with either.
#[test]
fn one_of_the_community_inside_of_a_range_lifted_on_full_lists_has_a_place() {
    let mut full =
        case(&["9.9.9.9"], &[], &["9.9.9.9"], &["1.1.1.0/24"]).wants("1.1.1.5", Ban, "lists", 60);
    for items_max in [2, 3] {
        full.items_max = items_max;
        let both = ["+1.1.1.5 ban new_ban CommunityBan", "-1.1.1.0/24 captcha lifted Lift"];
        assert_eq!(full.says(), both);
        assert_eq!((full.plan().dropped(), full.plan().keeps_places()), (0, false));
    }
}

#[test]
fn one_inside_of_two_ranges_that_go_from_full_lists_has_a_place() {
    let two = case(&[], &[], &[], &["2.2.2.0/28", "2.2.2.2/31"]).wants("2.2.2.2", Ban, "CAPI", 60);
    let full = Case { items_max: 2, ..two };
    assert_eq!(full.says()[0], "+2.2.2.2 ban new_ban CommunityBan");
}

/// One that it covers goes before it comes, as displaced, which the guard counts: for a moment nothing is there for it.
#[test]
fn own_range_that_comes_last_has_the_place_of_what_it_covers_on_full_lists() {
    let there = [
        r#"{"id":"x"}"#,
        r#"{"id":"a","ip":"9.0.0.1"}"#,
        r#"{"id":"b","ip":"2.2.2.3"}"#,
        r#"{"id":"c","ip":"2.2.2.6/31"}"#,
    ];
    let mut full = Case {
        observed: Observed::of(listed(&there), ObservedList::default()),
        items_max: 5,
        ..case(&["9.0.0.1", "9.0.0.2"], &[], &[], &[])
    };
    full = full.wants("9.0.0.1", Ban, "cscli", 9_000_000).wants("9.0.0.2", Ban, "cscli", 9_000_000);
    full = full.wants("2.2.2.0/28", Ban, "crowdsec", 60);
    let covered = "covered Rest after 2.2.2.0/28 ban";
    for (items_max, how) in [(5, covered), (4, "displaced Rest")] {
        full.items_max = items_max;
        let goes = [("2.2.2.3", how), ("2.2.2.6/31", covered)];
        let goes = goes.map(|(address, how)| format!("-{address} ban {how}"));
        let comes = ["2.2.2.0/28", "9.0.0.2"].map(|of| format!("+{of} ban new_ban OwnBan"));
        assert_eq!(full.says(), [comes, goes].concat());
        assert_eq!((full.plan().dropped(), full.plan().keeps_places()), (0, false));
    }
}

#[test]
fn one_challenge_goes_before_an_own_range_that_bans_it_and_bans_too_on_full_lists() {
    let there = [r#"{"id":"x"}"#, r#"{"id":"a","ip":"9.0.0.1"}"#, r#"{"id":"b","ip":"2.2.2.3"}"#];
    let observed = Observed::of(listed(&there), ObservedList::of(&["2.2.2.2/31", "2.2.2.7"]));
    let full = Case { observed, items_max: 5, ..case(&["9.0.0.1", "2.2.2.0/28"], &[], &[], &[]) };
    assert_eq!(
        full.says(),
        [
            "+2.2.2.0/28 ban new_ban OwnBan",
            "-2.2.2.3 ban covered Rest after 2.2.2.0/28 ban",
            "-2.2.2.2/31 captcha covered Rest after 2.2.2.0/28 ban",
            "-2.2.2.7 captcha displaced Rest",
        ]
    );
}

/// Somebody else's item and three that a range is to ban: there is no place for the range before one of them has gone.
#[test]
fn who_was_decided_here_goes_last_of_those_whose_range_finds_no_place_and_no_more_go_than_must() {
    let challenged = ObservedList::of(&["2.2.2.1", "2.2.2.4/31", "2.2.2.9"]);
    let observed = Observed::of(listed(&[r#"{"id":"x"}"#]), challenged);
    let goes_at_once = |covered: &[(&str, &str)]| -> Vec<String> {
        let observed = observed.clone();
        let mut full = Case { observed, items_max: 4, ..case(&["2.2.2.0/28"], &[], &[], &[]) };
        for (address, origin) in covered.iter().chain(&[("2.2.2.9", "cscli")]) {
            full.desired.put(address, None, Some(Ban), origin, 60);
        }
        full.says().into_iter().filter(|line| line.contains("displaced")).collect()
    };
    let (one, many) = ("-2.2.2.1 captcha displaced Rest", "-2.2.2.4/31 captcha displaced Rest");
    assert_eq!(goes_at_once(&[]), [one]);
    assert_eq!(goes_at_once(&[("2.2.2.1", "CAPI")]), [many]);
    assert_eq!(goes_at_once(&[("2.2.2.1", "cscli"), ("2.2.2.4/31", "CAPI")]), [many]);
    assert_eq!(goes_at_once(&[("2.2.2.1", "CAPI"), ("2.2.2.4/31", "CAPI")]), [one]);
}

#[test]
fn what_stays_for_a_range_displaces_others_where_more_is_there_than_fits() {
    let mut full = case(&[], &[], &["9.9.9.9"], &["1.1.1.1", "1.1.1.2"])
        .wants("9.9.9.9", Ban, "CAPI", 60)
        .wants("1.1.1.0/24", Ban, "CAPI", 60);
    full.items_max = 2;
    assert_eq!(full.says(), ["-9.9.9.9 ban displaced Rest"]);
    full.items_max = 3;
    assert_eq!(full.says(), [""; 0]);
}

#[test]
fn range_that_takes_the_place_of_its_own_leaves_none_to_who_comes_inside_of_another() {
    let mut full =
        case(&["1.1.1.0/24"], &[], &["1.1.1.1"], &["2.2.2.0/24"]).wants("2.2.2.2", Ban, "CAPI", 60);
    let (comes, covered) =
        ("+1.1.1.0/24 ban new_ban OwnBan", "-1.1.1.1 ban covered Rest after 1.1.1.0/24 ban");
    let (inside, lifted) = ("+2.2.2.2 ban new_ban CommunityBan", "-2.2.2.0/24 captcha lifted Lift");
    full.items_max = 3;
    assert_eq!(full.says(), [comes, inside, covered, lifted]);
    full.items_max = 2;
    assert_eq!(full.says(), [comes, covered, lifted]);
}

#[test]
fn range_that_goes_from_full_lists_waits_for_nobody_inside_of_it_who_stands_alone() {
    // Challenged by itself, it is as strong as by the range, until it is banned.
    let mut banned =
        case(&[], &[], &[], &["2.2.2.0/24", "2.2.2.2"]).wants("2.2.2.2", Ban, "CAPI", 60);
    banned.items_max = 2;
    assert_eq!(
        banned.says(),
        [
            "+2.2.2.2 ban ban_over_captcha CommunityBan",
            "-2.2.2.0/24 captcha lifted Lift",
            "-2.2.2.2 captcha moved Rest after 2.2.2.2 ban",
        ]
    );
    // What is to be challenged is, and no stronger will come.
    let mut challenged =
        case(&[], &[], &["2.2.2.0/24"], &["2.2.2.2"]).wants("2.2.2.2", Captcha, "CAPI", 60);
    challenged.items_max = 2;
    assert_eq!(challenged.says(), ["-2.2.2.0/24 ban lifted Lift"]);
}

#[test]
fn own_range_without_a_place_takes_that_of_what_stays_for_another_range_around_it() {
    // Two items are not understood, and the ban stays for the range of the community that has no place.
    let foreign = [r#"{"id":"x"}"#, r#"{"id":"y"}"#, r#"{"id":"a","ip":"1.1.1.0/25"}"#];
    let observed = Observed::of(ObservedList::of(&["1.1.1.1"]), listed(&foreign));
    let full = Case { observed, items_max: 4, ..case(&[], &[], &[], &[]) }
        .wants("1.1.1.0/24", Captcha, "cscli", 9_000_000)
        .wants("1.1.1.0/29", Captcha, "cscli", 60)
        .wants("1.1.1.0/27", Ban, "CAPI", 60);
    assert_eq!(
        full.says(),
        [
            "-1.1.1.1 ban displaced Rest",
            "+1.1.1.0/24 captcha captcha Captcha",
            "+1.1.1.0/29 captcha captcha Captcha",
            "-1.1.1.0/25 captcha covered Rest after 1.1.1.0/24 captcha",
        ]
    );
}

#[test]
fn who_stays_for_a_range_of_the_community_inside_an_own_one_that_has_its_place_goes_for_an_own_one()
{
    let there = [r#"{"id":"x"}"#, r#"{"id":"y"}"#, r#"{"id":"a","ip":"1.1.1.1"}"#];
    let observed = Observed::of(listed(&there), ObservedList::default());
    let full = Case { observed, items_max: 4, ..case(&[], &[], &[], &[]) }
        .wants("1.1.1.0/24", Captcha, "cscli", 9_000_000)
        .wants("9.9.9.9", Captcha, "cscli", 60)
        .wants("1.1.1.0/26", Ban, "lists", 60);
    let comes = "+9.9.9.9 captcha captcha Captcha".to_owned();
    assert!(full.says().contains(&comes), "{:?}", full.says());
}

#[test]
fn lists_with_more_items_that_are_not_understood_than_fit_keep_no_place_for_anybody() {
    let foreign = listed(&[r#"{"id":"x"}"#, r#"{"id":"y"}"#]);
    let observed = Observed::of(foreign, ObservedList::default());
    let full = Case { observed, items_max: 1, ..case(&[], &[], &[], &[]) };
    assert_eq!((full.says(), full.plan().keeps_places()), (Vec::new(), false));
}

/// On a list that cannot be rewritten, beside so many items that nobody understands.
fn with_foreign(mut case: Case, on_ban: &[&str], on_captcha: &[&str], foreign: u64) -> Case {
    let mut ban = ObservedList::of(on_ban);
    (0..foreign).for_each(|n| ban.put(&format!(r#"{{"id":"foreign-{n}"}}"#)));
    case.observed = Observed::of(ban, ObservedList::of(on_captcha));
    // Decided here, and covered by the range.
    case.desired.put("1.1.1.1", None, None, "cscli", 60);
    case
}

#[test]
fn who_was_decided_here_goes_last_for_a_range_that_challenges_him_and_is_to_ban() {
    let range = ["1.1.1.0/24"];
    let case = || case(&range, &[], &[], &[]);
    let mut full = with_foreign(case(), &["1.1.1.1", "1.1.1.2"], &range, 1);
    full.items_max = 4;
    let says = [
        "+1.1.1.0/24 ban ban_over_captcha OwnBan",
        "-1.1.1.1 ban covered Rest after 1.1.1.0/24 ban",
        "-1.1.1.2 ban covered Rest",
        "-1.1.1.0/24 captcha moved Rest after 1.1.1.0/24 ban",
    ];
    assert_eq!(full.says(), says);
    // Where nobody else makes the place, he does: else all of the range would be let through.
    full = with_foreign(case(), &["1.1.1.1"], &range, 2);
    full.items_max = 4;
    assert_eq!(full.says(), [says[0], "-1.1.1.1 ban covered Rest", says[3]]);
}

#[test]
fn who_was_decided_here_goes_last_for_a_range_that_is_not_there_and_is_to_ban() {
    let case = case(&["1.1.1.0/24"], &[], &[], &[]);
    let mut full = with_foreign(case, &["1.1.1.2", "1.1.1.3"], &["1.1.1.1"], 1);
    full.items_max = 4;
    let says = [
        "+1.1.1.0/24 ban new_ban OwnBan",
        "-1.1.1.2 ban displaced Rest",
        "-1.1.1.3 ban covered Rest after 1.1.1.0/24 ban",
        "-1.1.1.1 captcha covered Rest after 1.1.1.0/24 ban",
    ];
    assert_eq!(full.says(), says);
}

/// It never comes, so nobody is put out for the place that it would need beside what waits for it.
#[test]
fn what_is_inside_of_a_range_that_is_refused_as_a_value_stays_and_puts_nobody_out() {
    let case = case(&["1.1.1.0/30", "2.2.2.2"], &[], &[], &[]);
    let mut full = with_foreign(case, &["1.1.1.1", "2.2.2.2"], &["1.1.1.0/30"], 1);
    full.items_max = 4;
    full.set_aside = [("1.1.1.0/30".parse().unwrap(), T + 1)].into_iter().collect();
    assert!(!full.says().iter().any(|says| says.contains("2.2.2.2")), "{:?}", full.says());
    assert!(!full.says().iter().any(|says| says.starts_with("-1.1.1.1")), "{:?}", full.says());
    // Others have put it there, and then it covers.
    full = with_foreign(full, &["1.1.1.0/30", "1.1.1.1", "2.2.2.2"], &[], 0);
    assert_eq!(full.says(), ["-1.1.1.1 ban covered Rest"]);
}

//! Why something comes or goes, how urgent it is, and after what.

mod full;

use crate::small::SmallMap;

use super::*;
use crate::desired::Desired;
use crate::observed::lists::{Observed, ObservedList};
use crate::settings::protected::Protected;
use crate::state::{Ends, Known};
use Remediation::{Ban, Captcha};

const T: u64 = 1_793_000_000;

struct Case {
    desired: Desired,
    observed: Observed,
    ends: Ends,
    protected: Protected,
    set_aside: SmallMap<Address, u64>,
    items_max: u64,
}

/// Desired bans and captchas, and what is on the two lists.
fn case(ban: &[&str], captcha: &[&str], on_ban: &[&str], on_captcha: &[&str]) -> Case {
    Case {
        desired: Desired::of(ban, captcha),
        observed: Observed::of(ObservedList::of(on_ban), ObservedList::of(on_captcha)),
        ends: Ends::default(),
        protected: Protected::default(),
        set_aside: SmallMap::default(),
        items_max: 10_000,
    }
}

impl Case {
    fn plan(&self) -> Plan {
        let Self { desired, observed, ends, protected, set_aside, items_max } = self;
        diff(desired, observed, Rules { now: T, items_max: *items_max, protected, ends, set_aside })
    }

    /// `+1.1.1.1 ban new_ban OwnBan`, `-…` with what has to come first.
    fn says(&self) -> Vec<String> {
        let plan = self.plan();
        let mut says = Vec::new();
        for list in plan.lists() {
            for Addition { address, why, class, .. } in &list.additions {
                says.push(format!("+{address} {} {} {class:?}", list.list, why.as_str()));
            }
            for Removal { address, why, class, after, .. } in &list.removals {
                let after = after.map(|(on, what)| format!(" after {what} {on}"));
                let after = after.unwrap_or_default();
                says.push(format!("-{address} {} {} {class:?}{after}", list.list, why.as_str()));
            }
        }
        says
    }

    fn wants(mut self, address: &str, list: Remediation, origin: &str, secs: u32) -> Self {
        self.desired.put(address, Some(list), None, origin, secs);
        self
    }

    fn known(mut self, address: &str, own: bool, ends: u64) -> Self {
        let known = [(address.parse().unwrap(), Known::new(own, ends))];
        self.ends = self.ends.next(known.into_iter(), |_| true);
        self
    }
}

#[test]
fn item_whose_address_ran_out_in_kv_alone_is_lifted_and_counts() {
    let address = "1.1.1.1".parse().unwrap();
    let mut case = case(&[], &[], &["1.1.1.1"], &[]).known("1.1.1.1", false, T);
    assert_eq!(case.says(), ["-1.1.1.1 ban ran_out Rest"]);
    let in_kv = Known { on_list: false, ..Known::new(false, T) };
    case.ends = case.ends.next([(address, in_kv)].into_iter(), |_| true);
    assert_eq!(case.says(), ["-1.1.1.1 ban lifted Lift"]);
}

#[test]
fn addition_is_as_urgent_as_who_decided_it_and_what_it_is() {
    for (origin, class) in [
        ("crowdsec", "OwnBan"),
        ("cscli", "OwnBan"),
        ("console", "OwnBan"),
        ("CAPI", "CommunityBan"),
        ("lists", "CommunityBan"),
        ("cscli-import", "CommunityBan"),
    ] {
        let says = case(&[], &[], &[], &[]).wants("1.1.1.1", Ban, origin, 60).says();
        assert_eq!(says, [format!("+1.1.1.1 ban new_ban {class}")]);
        let says = case(&[], &[], &[], &[]).wants("1.1.1.1", Captcha, origin, 60).says();
        assert_eq!(says, ["+1.1.1.1 captcha captcha Captcha"]);
    }
}

#[test]
fn removal_is_as_urgent_as_why_it_goes() {
    let gone = || case(&[], &[], &["1.1.1.1"], &[]);
    assert_eq!(gone().says(), ["-1.1.1.1 ban lifted Lift"], "not known");
    let later = T + 3_600;
    assert_eq!(gone().known("1.1.1.1", true, later).says(), ["-1.1.1.1 ban lifted Lift"]);
    assert_eq!(gone().known("1.1.1.1", false, later).says(), ["-1.1.1.1 ban lifted Rest"]);
    assert_eq!(gone().known("1.1.1.1", true, T).says(), ["-1.1.1.1 ban ran_out Rest"]);
    assert_eq!(gone().known("1.1.1.2", true, T).says(), ["-1.1.1.1 ban lifted Lift"]);
    let mut owner = gone().known("1.1.1.1", true, T);
    owner.protected.add("1.1.1.0/24".parse().unwrap());
    assert_eq!(owner.says(), ["-1.1.1.1 ban protected Owner"]);
    let twice = case(&["9.9.9.9"], &[], &["9.9.9.9", "::ffff:9.9.9.9"], &[]);
    assert_eq!(twice.says(), ["-9.9.9.9 ban surplus Rest"]);
}

#[test]
fn second_spelling_of_what_goes_is_as_urgent_as_the_first() {
    let both = ["2001:db8::/64", "2001:db8::1/64"];
    let twice = |line: &str| [line.to_owned(), line.to_owned()];
    let mut owners = case(&[], &[], &[], &both);
    owners.protected.add("2001:db8::5/128".parse().unwrap());
    assert_eq!(owners.says(), twice("-2001:db8::/64 captcha protected Owner"));
    assert_eq!(case(&[], &[], &both, &[]).says(), twice("-2001:db8::/64 ban lifted Lift"));
    let moves = case(&["2001:db8::/64"], &[], &[], &both).says();
    let moved = "-2001:db8::/64 captcha moved Rest after 2001:db8::/64 ban";
    assert_eq!(moves[1..], [moved, "-2001:db8::/64 captcha surplus Rest"]);
}

#[test]
fn what_moves_goes_after_it_has_come_and_at_once_when_it_is_there() {
    let up = case(&["1.1.1.1"], &[], &[], &["1.1.1.1"]);
    let comes = "+1.1.1.1 ban ban_over_captcha OwnBan";
    assert_eq!(up.says(), [comes, "-1.1.1.1 captcha moved Rest after 1.1.1.1 ban"]);
    let there = case(&["1.1.1.1"], &[], &["1.1.1.1"], &["1.1.1.1"]);
    assert_eq!(there.says(), ["-1.1.1.1 captcha moved Rest"]);
    let mut refused = case(&["1.1.1.1"], &[], &[], &["1.1.1.1"]);
    refused.set_aside.insert("1.1.1.1".parse().unwrap(), T + 1);
    assert_eq!(refused.says(), ["-1.1.1.1 captcha moved Rest after 1.1.1.1 ban"]);
}

#[test]
fn what_a_range_covers_goes_after_the_range_has_come_also_across_lists() {
    let same = case(&["1.1.1.0/24"], &[], &["1.1.1.1"], &[]);
    let comes = "+1.1.1.0/24 ban new_ban OwnBan";
    assert_eq!(same.says(), [comes, "-1.1.1.1 ban covered Rest after 1.1.1.0/24 ban"]);
    let across = case(&["1.1.1.0/24"], &[], &[], &["1.1.1.1"]);
    assert_eq!(across.says(), [comes, "-1.1.1.1 captcha covered Rest after 1.1.1.0/24 ban"]);
    let there = case(&["1.1.1.0/24"], &[], &["1.1.1.0/24", "1.1.1.1"], &[]);
    assert_eq!(there.says(), ["-1.1.1.1 ban covered Rest"]);
    let wider = case(&["1.1.0.0/16", "1.1.1.0/24"], &[], &["1.1.1.1", "1.1.1.0/24"], &[]);
    let comes = "+1.1.0.0/16 ban new_ban OwnBan";
    assert_eq!(wider.says(), [comes, "-1.1.1.1 ban covered Rest"], "the one that is there");
}

#[test]
fn weaker_range_around_a_ban_is_a_move_and_no_lift() {
    let weaker = case(&[], &["1.1.1.0/24"], &["1.1.1.1"], &[]);
    let moved = "-1.1.1.1 ban moved Rest after 1.1.1.0/24 captcha";
    assert_eq!(weaker.says(), [moved, "+1.1.1.0/24 captcha captcha Captcha"]);
}

#[test]
fn covered_address_keeps_its_place_until_the_range_has_one() {
    let mut scarce = case(&["9.9.9.1", "9.9.9.2"], &[], &["9.9.9.1", "9.9.9.2"], &["1.1.1.1"]);
    scarce.items_max = 3;
    let mut scarce = scarce.wants("1.1.1.0/24", Ban, "CAPI", 60);
    assert_eq!(scarce.says(), [""; 0], "no room for range and address at a time");
    scarce.items_max = 2;
    let goes = ["-1.1.1.1 captcha displaced Rest"];
    assert_eq!(scarce.says(), goes, "the range has no place at all, and own bans come before it");
}

#[test]
fn full_lists_displace_the_least_important_for_an_own_ban() {
    let mut full = case(&["2.2.2.2"], &[], &["1.1.1.1"], &["3.3.3.3"]);
    full.items_max = 2;
    let full = full.wants("1.1.1.1", Ban, "CAPI", 60).wants("3.3.3.3", Captcha, "CAPI", 60);
    let says = full.says();
    assert_eq!(says, ["+2.2.2.2 ban new_ban OwnBan", "-3.3.3.3 captcha displaced Rest"]);
    assert_eq!(full.plan().dropped(), 1);
}

#[test]
fn empty_lists_take_no_more_than_there_are_places_for() {
    let mut empty = case(&["1.1.1.1", "1.1.1.2", "1.1.1.3"], &[], &[], &[]);
    for (items_max, comes) in [(2, 2), (3, 3), (0, 0)] {
        empty.items_max = items_max;
        assert_eq!((empty.says().len(), empty.plan().dropped()), (comes, 3 - comes as u64));
    }
}

#[test]
fn item_not_understood_takes_one_place_from_those_who_move_and_come_and_no_more() {
    let observed =
        Observed::of(listed(&[r#"{"id":"x"}"#, r#"{"id":"y"}"#]), ObservedList::of(&["1.1.1.1"]));
    let bans = ["1.1.1.1", "2.0.0.1", "2.0.0.2", "2.0.0.3", "2.0.0.4", "2.0.0.5", "2.0.0.6"];
    for (items_max, dropped) in [(9, 0), (8, 1), (7, 2)] {
        let full = Case { observed: observed.clone(), items_max, ..case(&bans, &[], &[], &[]) };
        assert_eq!(full.plan().dropped(), dropped, "{items_max}");
        assert!(full.says()[0].starts_with("+1.1.1.1 ban"), "{items_max}: he is there already");
    }
}

/// A range that comes later takes the address off both; until then one list is enough.
#[test]
fn covered_address_on_both_lists_stays_on_the_ban_list_until_the_range_has_a_place() {
    // No request can do both on the ban list: it has an item that is not understood.
    let on_ban =
        listed(&[r#"{"id":"x"}"#, r#"{"id":"a","ip":"1.1.1.1"}"#, r#"{"id":"b","ip":"9.9.9.9"}"#]);
    let observed = Observed::of(on_ban, ObservedList::of(&["1.1.1.1"]));
    let scarce = Case { observed, items_max: 3, ..case(&["9.9.9.9"], &[], &[], &[]) };
    let scarce = scarce.wants("1.1.1.0/24", Ban, "CAPI", 60);
    assert_eq!(scarce.says(), ["-1.1.1.1 captcha moved Rest"]);
}

#[test]
fn value_that_was_refused_is_not_sent_until_its_time_is_over() {
    let mut refused = case(&["1.1.1.1", "1.1.1.2"], &[], &[], &[]);
    refused.set_aside.insert("1.1.1.1".parse().unwrap(), T + 1);
    assert_eq!(refused.says(), ["+1.1.1.2 ban new_ban OwnBan"]);
    assert_eq!(refused.plan().set_aside().describe(), "\"1.1.1.1\"");
    refused.set_aside.insert("1.1.1.1".parse().unwrap(), T);
    assert_eq!(refused.says().len(), 2);
}

fn listed(json: &[&str]) -> ObservedList {
    let mut list = ObservedList::default();
    for item in json {
        list.put(item);
    }
    list
}

#[test]
fn id_that_two_items_share_never_takes_the_one_along_that_stays() {
    let on_ban = listed(&[r#"{"id":"a","ip":"1.1.1.1"}"#, r#"{"id":"a","ip":"1.1.1.2"}"#]);
    let case = Case {
        observed: Observed::of(on_ban, ObservedList::default()),
        ..case(&["1.1.1.1"], &[], &[], &[])
    };
    assert_eq!(case.says(), [""; 0]);
}

#[test]
fn item_that_comes_twice_is_known_by_its_id_and_stays() {
    let again = r#"{"id":"a","ip":"1.1.1.1"}"#;
    let on_ban = listed(&[again, r#"{"id":"b","ip":"1.1.1.2"}"#, again]);
    let case = Case {
        observed: Observed::of(on_ban, ObservedList::default()),
        ..case(&["1.1.1.1", "1.1.1.2"], &[], &[], &[])
    };
    assert_eq!(case.says(), [""; 0]);
}

#[test]
fn address_inside_a_range_that_moves_is_covered_by_it_meanwhile() {
    let moving = case(&[], &["1.1.1.0/24"], &["1.1.1.0/24", "1.1.1.1"], &["1.1.1.1"]);
    let says = [
        "-1.1.1.0/24 ban moved Rest after 1.1.1.0/24 captcha",
        "-1.1.1.1 ban moved Rest",
        "+1.1.1.0/24 captcha captcha Captcha",
        "-1.1.1.1 captcha covered Rest",
    ];
    assert_eq!(moving.says(), says);
}

#[test]
fn foreign_item_told_twice_takes_one_place() {
    let foreign = r#"{"id":"x","ip":"198.51.100.5/33"}"#;
    let on_captcha = listed(&[foreign, foreign]);
    let on_ban = ObservedList::of(&["2001:db8::/64"]);
    let case = Case {
        observed: Observed::of(on_ban, on_captcha),
        items_max: 2,
        ..case(&["2001:db8::/64"], &[], &[], &[])
    };
    assert_eq!(case.says(), [""; 0]);
}

#[test]
fn item_put_back_while_pages_are_read_stays_and_is_no_surplus() {
    let on_ban = listed(&[r#"{"id":"a","ip":"1.1.1.1"}"#, r#"{"id":"b","ip":"1.1.1.1"}"#]);
    let observed = Observed::of(on_ban, ObservedList::default());
    let case = Case { observed, ..case(&["1.1.1.1"], &[], &[], &[]) };
    assert_eq!(case.says(), [""; 0]);
}

#[test]
fn range_lifted_around_one_who_has_no_place_does_not_take_the_place_of_another() {
    let mut full = case(&["9.9.9.9"], &[], &["9.9.9.9"], &["1.1.1.0/24"]);
    full.items_max = 1;
    let full = full.wants("1.1.1.5", Ban, "lists", 60);
    assert_eq!(full.says(), ["-1.1.1.0/24 captcha lifted Lift"]);
}

#[test]
fn own_ban_that_moves_on_full_lists_is_not_put_out_for_nobody() {
    let on_ban = listed(&[r#"{"id":"x"}"#, r#"{"id":"y"}"#, r#"{"id":"a","ip":"3.3.3.7"}"#]);
    let on_captcha = ObservedList::of(&["1.1.1.1", "3.3.3.0/29"]);
    let observed = Observed::of(on_ban, on_captcha);
    let full = Case { observed, items_max: 5, ..case(&["1.1.1.1"], &[], &[], &[]) };
    let full = full.wants("3.3.3.0/24", Captcha, "CAPI", 60);
    let comes = "+1.1.1.1 ban ban_over_captcha OwnBan";
    assert_eq!(full.says(), [comes, "-1.1.1.1 captcha moved Rest after 1.1.1.1 ban"]);
}

#[test]
fn somebody_without_a_place_only_until_another_has_moved_is_told_from_one_without_any() {
    let mut moving = case(&["1.1.1.1"], &[], &[], &["1.1.1.1", "2.2.2.2"]);
    moving.items_max = 2;
    let moving = moving.wants("2.2.2.2", Captcha, "CAPI", 60);
    assert_eq!((moving.plan().dropped(), moving.plan().keeps_places()), (1, true));
    let scarce = moving.wants("3.3.3.3", Captcha, "CAPI", 60);
    assert_eq!((scarce.plan().dropped(), scarce.plan().keeps_places()), (2, false));
}

#[test]
fn own_ban_inside_a_range_that_goes_from_full_lists_keeps_its_place_and_the_range_goes_first() {
    let on_ban = listed(&[r#"{"id":"x"}"#, r#"{"id":"y"}"#, r#"{"id":"a","ip":"1.1.1.0/29"}"#]);
    let observed = Observed::of(on_ban, ObservedList::of(&["1.1.1.1"]));
    let full = Case { observed, items_max: 4, ..case(&["1.1.1.1"], &[], &[], &[]) };
    let says = [
        "+1.1.1.1 ban ban_over_captcha OwnBan",
        "-1.1.1.0/29 ban lifted Lift",
        "-1.1.1.1 captcha moved Rest after 1.1.1.1 ban",
    ];
    assert_eq!(full.says(), says);
}

#[test]
fn range_takes_the_place_of_one_that_it_covers_where_all_places_are_taken_by_those() {
    let mut full = case(&["1.1.1.0/24"], &[], &["1.1.1.1"], &["1.1.1.2"]);
    full.items_max = 2;
    let says = [
        "+1.1.1.0/24 ban new_ban OwnBan",
        "-1.1.1.1 ban covered Rest after 1.1.1.0/24 ban",
        "-1.1.1.2 captcha covered Rest after 1.1.1.0/24 ban",
    ];
    assert_eq!(full.says(), says);
    // No request can do both at the same moment: whoever is there keeps his place, but for an own ban that he is in, and
    // then one of them goes.
    let challenged = ["1.1.1.1", "1.1.1.2"];
    full.observed = Observed::of(ObservedList::default(), ObservedList::of(&challenged));
    assert_eq!(full.says(), [says[0], "-1.1.1.1 captcha displaced Rest", says[2]]);
    for (range, on_ban, on_captcha) in
        [(Ban, &[][..], &challenged[..]), (Captcha, &challenged, &[])]
    {
        let origin = if range == Ban { "CAPI" } else { "cscli" };
        let mut stays = case(&[], &[], on_ban, on_captcha).wants("1.1.1.0/24", range, origin, 60);
        stays.items_max = 2;
        assert_eq!(stays.says(), [""; 0], "{range} {origin}");
    }
}

#[test]
fn one_of_two_own_ranges_that_take_the_places_of_what_they_cover_makes_one_for_the_other() {
    let mut full = case(&["1.1.1.0/24", "2.2.2.0/24"], &[], &["2.2.2.2"], &["1.1.1.1"]);
    full.items_max = 2;
    assert_eq!(
        full.says(),
        [
            "+1.1.1.0/24 ban new_ban OwnBan",
            "+2.2.2.0/24 ban new_ban OwnBan",
            "-2.2.2.2 ban covered Rest after 2.2.2.0/24 ban",
            "-1.1.1.1 captcha displaced Rest",
        ]
    );
}

#[test]
fn list_has_what_stays_what_goes_and_what_is_held() {
    let there = ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5", "1.1.1.6", "1.1.1.7"];
    let plan = case(&there[..2], &[], &there, &[]).plan();
    assert_eq!(plan.lists()[0].observed(), 7);
    let held = there[2..5].iter().map(|text| text.parse().unwrap()).collect::<Vec<Address>>();
    let plan = plan.holding(|removal| held.contains(&removal.address));
    let list = &plan.lists()[0];
    assert_eq!((list.keep, list.removed(), list.held.len(), list.observed()), (2, 2, 3, 7));
}

#[test]
fn range_that_moves_on_full_lists_takes_the_place_of_what_comes_inside_of_it() {
    // One PUT brings the range to the ban list and takes off what it covers; then the challenge goes.
    let mut full = case(&["203.0.113.4/30"], &[], &["203.0.113.6"], &["203.0.113.4/30"]);
    full.items_max = 2;
    assert_eq!(
        full.says(),
        [
            "+203.0.113.4/30 ban ban_over_captcha OwnBan",
            "-203.0.113.6 ban covered Rest after 203.0.113.4/30 ban",
            "-203.0.113.4/30 captcha moved Rest after 203.0.113.4/30 ban",
        ]
    );
    // Also if there is more than fits: that one request leaves less than there was.
    let mut less =
        case(&["203.0.113.4/30"], &[], &["203.0.113.4", "203.0.113.6"], &["203.0.113.4/30"]);
    less.items_max = 2;
    assert_eq!(less.says()[0], "+203.0.113.4/30 ban ban_over_captcha OwnBan");
}

#[test]
fn own_ban_keeps_its_place_before_what_stays_for_a_range_of_the_community() {
    let on_ban = ["198.51.100.11", "198.51.100.15", "198.51.100.22"];
    let mut full = case(&[], &[], &on_ban, &["198.51.100.14", "198.51.100.22"])
        .wants("198.51.100.15", Ban, "cscli", 28_080_000)
        .wants("198.51.100.22", Captcha, "crowdsec", 1_814_400)
        .wants("198.51.100.0/28", Ban, "CAPI", 4_579_200);
    full.items_max = 2;
    assert_eq!(
        full.says(),
        [
            "-198.51.100.11 ban displaced Rest",
            "-198.51.100.22 ban moved Rest",
            "-198.51.100.14 captcha displaced Rest",
        ]
    );
    // An own range is worth it to keep what is in it, if only others go without.
    let mut range = case(&[], &[], &["198.51.100.11"], &[])
        .wants("198.51.100.22", Ban, "CAPI", 28_080_000)
        .wants("198.51.100.0/28", Ban, "cscli", 4_579_200);
    range.items_max = 1;
    assert_eq!(
        range.says(),
        [
            "+198.51.100.0/28 ban new_ban OwnBan",
            "-198.51.100.11 ban covered Rest after 198.51.100.0/28 ban",
        ]
    );
}

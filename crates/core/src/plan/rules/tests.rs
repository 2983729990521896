mod edge;
mod laws;
mod moves;
mod tight;
mod time;

use super::*;

/// A rule and all that is decided about it, for tests that name only what they are about.
#[derive(Debug, Clone)]
struct Rule {
    shall_match: Vec<Item>,
    on_list: Vec<Item>,
    moves_here: AddressSet,
    observed: Expression,
    may_drain: bool,
    may_lose: bool,
    protected: AddressSet,
    never_block: AddressSet,
    regions: Vec<Region>,
    characters_max: usize,
}

impl Rule {
    fn decide(&self) -> Decided {
        decide(&Situation {
            shall_match: &self.shall_match,
            on_list: &self.on_list,
            moves_here: &self.moves_here,
            observed: &self.observed,
            may_drain: self.may_drain,
            may_lose: self.may_lose,
            protected: &self.protected,
            never_block: &self.never_block,
            regions: &self.regions,
            characters_max: self.characters_max,
        })
    }

    /// Whether the rule with this expression applies to a client, while the list is as it was read.
    fn applies(&self, expression: &Expression, client: edge::Client) -> bool {
        let list = edge::Prefix::all(self.on_list.iter().map(|item| item.address));
        edge::applies(&expression.to_string(), (expression.list().as_str(), &list), client)
    }
}

fn set(text: &str) -> AddressSet {
    text.split_whitespace().map(|address| address.parse::<Address>().unwrap()).collect()
}

/// Items of one class, in the order in which they are named.
fn items(class: Class, text: &str) -> Vec<Item> {
    let addresses = text.split_whitespace().map(|address| address.parse().unwrap());
    addresses.zip(0..).map(|(address, order)| Item { address, class, order }).collect()
}

fn expression(text: &str) -> Expression {
    let text = format!("(ip.src in $l{text}");
    Expression::parse(&text, &"l".parse().unwrap())
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A rule that shall match some of what is on its list, and that says what it should not say.
fn rule(shall_match: &str, on_list: &str, observed: &str) -> Rule {
    Rule {
        shall_match: items(Class::OwnBan, shall_match),
        on_list: items(Class::Lift, on_list),
        moves_here: AddressSet::default(),
        observed: expression(observed),
        may_drain: true,
        may_lose: false,
        protected: AddressSet::default(),
        never_block: AddressSet::default(),
        regions: Vec::new(),
        characters_max: 4_000,
    }
}

/// What the rule should say, without what every text begins with.
#[track_caller]
fn decided(rule: &Rule) -> String {
    let decided = rule.decide();
    assert!(decided.waiting.is_empty() && !decided.waits_for_list(), "{decided:?}");
    assert_eq!(decided.is_due, decided.desired != rule.observed);
    let text = decided.desired.to_string();
    assert_eq!(decided.characters, text.len());
    text["(ip.src in $l".len()..].to_owned()
}

#[test]
fn list_that_lacks_or_has_too_much_is_mended_by_the_text() {
    for (shall_match, on_list, says) in [
        ("", "", ")"),
        ("192.0.2.1", "192.0.2.1", ")"),
        ("192.0.2.2 192.0.2.1", "", ") or ip.src in {192.0.2.1 192.0.2.2}"),
        ("", "192.0.2.1", " and not ip.src in {192.0.2.1})"),
        // Inside a range that shall match nothing is lifted, also while the range is not on the list.
        ("192.0.2.0/24", "192.0.2.1", ") or ip.src in {192.0.2.0/24}"),
        ("192.0.2.0/24", "192.0.2.0/24 192.0.2.1", ")"),
        // A desired address inside a lifted range.
        (
            "192.0.2.1",
            "192.0.2.0/24 192.0.2.1",
            " and not ip.src in {192.0.2.0/24}) or ip.src in {192.0.2.1}",
        ),
    ] {
        assert_eq!(decided(&rule(shall_match, on_list, ")")), says, "{shall_match} / {on_list}");
    }
}

#[test]
fn fresh_address_read_on_the_list_leaves_when_the_rule_may_drain() {
    let mut rule = rule("192.0.2.1", "192.0.2.1", ") or ip.src in {192.0.2.1}");
    rule.may_drain = false;
    assert_eq!(decided(&rule), ") or ip.src in {192.0.2.1}");
    rule.may_drain = true;
    assert_eq!(decided(&rule), ")");
    rule.may_drain = false;
    rule.shall_match.clear();
    assert_eq!(decided(&rule), " and not ip.src in {192.0.2.1})");
    rule.on_list.clear();
    assert_eq!(decided(&rule), ")");
}

#[test]
fn address_that_moves_here_and_is_on_both_lists_is_said_until_the_rule_may_drain() {
    let mut rule = rule("192.0.2.1 192.0.2.2", "192.0.2.1 192.0.2.2", ")");
    rule.moves_here = AddressSet::from_iter(["192.0.2.1".parse().unwrap()]);
    assert_eq!(decided(&rule), ")");
    rule.may_drain = false;
    assert_eq!(decided(&rule), ") or ip.src in {192.0.2.1}");
}

#[test]
fn lifted_address_read_off_the_list_leaves_when_the_rule_may_drain() {
    let mut rule = rule("", "", " and not ip.src in {192.0.2.1})");
    rule.may_drain = false;
    assert_eq!(decided(&rule), " and not ip.src in {192.0.2.1})");
    rule.may_drain = true;
    assert_eq!(decided(&rule), ")");
    rule.may_drain = false;
    rule.shall_match = items(Class::OwnBan, "192.0.2.1");
    assert_eq!(decided(&rule), ") or ip.src in {192.0.2.1}");
}

#[test]
fn part_of_a_fresh_range_still_desired_and_just_read_on_the_list_stays_in_fresh() {
    let mut rule = rule("192.0.2.1", "192.0.2.1", ") or ip.src in {192.0.2.0/24}");
    rule.may_drain = false;
    assert_eq!(decided(&rule), ") or ip.src in {192.0.2.1}");
}

#[test]
fn protected_addresses_never_match_however_they_are_wanted() {
    for (shall_match, on_list, says) in [
        ("192.0.2.9", "", ")"),
        ("192.0.2.9", "192.0.2.9", " and not ip.src in {192.0.2.9})"),
        ("192.0.2.0/24", "", ") or (ip.src in {192.0.2.0/24} and not ip.src in {192.0.2.9})"),
        ("192.0.2.0/24", "192.0.2.0/24", " and not ip.src in {192.0.2.9})"),
        (
            "192.0.2.0/24",
            "192.0.2.9",
            " and not ip.src in {192.0.2.9}) or (ip.src in {192.0.2.0/24} and not ip.src in {192.0.2.9})",
        ),
        ("", "192.0.2.0/24", " and not ip.src in {192.0.2.0/24})"),
        // One entry for all that is in a protected prefix.
        ("10.1.1.1", "10.1.1.1 10.2.2.2 10.3.0.0/16", " and not ip.src in {10.0.0.0/8})"),
        // But none that is wider than we may write.
        ("fd00::1", "fd00::1 fd00::2", " and not ip.src in {fd00::1 fd00::2})"),
    ] {
        let mut rule = rule(shall_match, on_list, ")");
        rule.protected = set("10.0.0.0/8 fc00::/7");
        rule.never_block = set("192.0.2.9");
        assert_eq!(decided(&rule), says, "{shall_match} / {on_list}");
    }
}

#[test]
fn regions_carry_the_exception_and_take_half_of_the_text() {
    let country = |code: &str| Region::Country(code.parse().unwrap());
    let asn = |number: &str| Region::As(number.parse().unwrap());
    let mut rule = rule("192.0.2.1", "", ")");
    rule.regions = vec![asn("AS64496"), country("T1"), country("CN"), country("T1")];
    let says =
        r#") or ip.src in {192.0.2.1} or ip.src.country in {"CN" "T1"} or ip.src.asnum in {64496}"#;
    assert_eq!(decided(&rule), says);

    rule.never_block = set("203.0.113.7");
    let says = r#") or ip.src in {192.0.2.1} or (ip.src.country in {"CN" "T1"} and not ip.src in {203.0.113.7}) or (ip.src.asnum in {64496} and not ip.src in {203.0.113.7})"#;
    assert_eq!(decided(&rule), says);

    // Room for the first two and not for the exception of a second clause.
    rule.regions = vec![country("CN"), country("T1"), asn("1"), country("DE")];
    rule.characters_max = 160;
    let decided = rule.decide();
    let says = r#"(ip.src in $l) or ip.src in {192.0.2.1} or (ip.src.country in {"CN" "DE" "T1"} and not ip.src in {203.0.113.7})"#;
    assert_eq!(decided.desired.to_string(), says);
    assert_eq!(decided.waiting, [Waiting::Region(asn("1"))]);

    // None for the exception at all: the clause is not sent without it.
    rule.never_block = (0..9).map(|i| format!("203.0.113.{}", 2 * i).parse().unwrap()).collect();
    let decided = rule.decide();
    assert_eq!(decided.desired.to_string(), "(ip.src in $l) or ip.src in {192.0.2.1}");
    assert_eq!(decided.waiting.len(), 4);
}

#[test]
fn full_text_has_the_lifted_then_the_most_urgent_and_says_who_waits() {
    let mut rule = rule("", "", ")");
    rule.on_list = [
        items(Class::Rest, "192.0.2.1"),
        items(Class::Lift, "192.0.2.2"),
        items(Class::Rest, "192.0.2.3"),
    ]
    .concat();
    rule.never_block = set("192.0.2.3");
    rule.shall_match = [
        items(Class::Captcha, "198.51.100.1"),
        items(Class::CommunityBan, "198.51.100.2"),
        items(Class::OwnBan, "198.51.100.4 198.51.100.3"),
    ]
    .concat();
    let lift = |address: &str, class| Waiting::Lifted(address.parse().unwrap(), class);
    let fresh = |address: &str, class| Waiting::Fresh(address.parse().unwrap(), class);
    let mut all_waiting = vec![
        lift("192.0.2.3", Class::Owner),
        lift("192.0.2.2", Class::Lift),
        lift("192.0.2.1", Class::Rest),
        fresh("198.51.100.4", Class::OwnBan),
        fresh("198.51.100.3", Class::OwnBan),
        fresh("198.51.100.2", Class::CommunityBan),
        fresh("198.51.100.1", Class::Captcha),
    ];
    // Each needs more room than what there was for the one before.
    for characters_max in [0, 44, 54, 64, 92, 105, 118, 131] {
        rule.characters_max = characters_max;
        let decided = rule.decide();
        assert_eq!(decided.waiting, all_waiting, "{characters_max}: {}", decided.desired);
        assert!(decided.characters <= characters_max.max(14));
        assert!(decided.is_nearly_full);
        all_waiting.drain(..all_waiting.len().min(1));
    }
    rule.characters_max = 131 * 4 / 3 + 1;
    assert!(!rule.decide().is_nearly_full);
}

#[test]
fn full_text_keeps_who_is_in_it_before_his_equals() {
    let mut rule = rule("", "", ") or ip.src in {198.51.100.2}");
    rule.shall_match = items(Class::OwnBan, "198.51.100.1 198.51.100.2");
    rule.shall_match.iter_mut().for_each(|item| item.order = 0);
    rule.characters_max = 45;
    assert!(!rule.decide().is_due);
    // Also before one of his class who goes before him among those who are not in it.
    rule.shall_match[1].order = 1;
    assert!(!rule.decide().is_due);
    // One of a more urgent class takes the place.
    rule.shall_match[1].class = Class::CommunityBan;
    assert_eq!(rule.decide().desired, expression(") or ip.src in {198.51.100.1}"));
}

#[test]
fn full_text_keeps_who_was_in_force_by_a_range_that_goes_before_his_equals() {
    let mut rule = rule("192.0.2.1 198.51.100.2", "", ") or ip.src in {198.51.100.0/29}");
    rule.characters_max = rule.observed.characters();
    let decided = rule.decide();
    assert_eq!(decided.desired, expression(") or ip.src in {198.51.100.2}"));
    rule.observed = decided.desired;
    assert!(!rule.decide().is_due);
    // Of a range inside of it as well.
    rule.observed = expression(") or ip.src in {198.51.100.0/24}");
    rule.shall_match = items(Class::OwnBan, "192.0.2.1 198.51.100.2/31");
    rule.characters_max = rule.observed.characters();
    assert_eq!(rule.decide().desired, expression(") or ip.src in {198.51.100.2/31}"));
    // Not before one of a more urgent class.
    rule.shall_match[1].class = Class::CommunityBan;
    assert_eq!(rule.decide().desired, expression(") or ip.src in {192.0.2.1}"));
}

#[test]
fn full_text_keeps_free_who_was_lifted_with_a_range_that_goes_before_his_equals() {
    let says = " and not ip.src in {198.51.100.0/29})";
    let mut rule = rule("", "192.0.2.1 198.51.100.2", says);
    rule.characters_max = rule.observed.characters();
    let decided = rule.decide();
    assert_eq!(decided.desired, expression(" and not ip.src in {198.51.100.2})"));
    rule.observed = decided.desired;
    assert!(!rule.decide().is_due);
}

#[test]
fn range_too_wide_for_a_text_waits() {
    let mut rule = rule("64.0.0.0/7 192.0.2.1", "2000::/11", ")");
    rule.shall_match[0].class = Class::CommunityBan;
    let decided = rule.decide();
    assert_eq!(decided.desired, expression(") or ip.src in {192.0.2.1}"));
    assert_eq!(
        decided.waiting,
        [
            Waiting::Lifted("2000::/11".parse().unwrap(), Class::Lift),
            Waiting::Fresh("64.0.0.0/7".parse().unwrap(), Class::CommunityBan),
        ]
    );
}

#[test]
fn range_without_room_leaves_what_is_in_force_of_it() {
    let mut rule = rule("198.51.100.0/24", "", ") or ip.src in {198.51.100.2}");
    rule.never_block = set("198.51.100.9");
    rule.characters_max = 60;
    let decided = rule.decide();
    assert!(!decided.is_due);
    assert_eq!(decided.waiting.len(), 1);
}

#[test]
fn range_that_fits_takes_the_place_of_its_part() {
    let mut rule = rule("203.0.113.0/28", "", ") or ip.src in {203.0.113.8/30}");
    let says = ") or ip.src in {203.0.113.0/28}";
    rule.characters_max = "(ip.src in $l".len() + says.len();
    assert_eq!(decided(&rule), says);

    // Also if it is part of a more urgent one that does not fit.
    rule.shall_match[0].class = Class::CommunityBan;
    rule.shall_match.extend(items(Class::OwnBan, "203.0.113.0/24"));
    rule.never_block = set("203.0.113.99");
    assert_eq!(rule.decide().desired, expression(says));
}

#[test]
fn part_of_a_range_written_is_worth_no_more_than_before() {
    // No room for the widest, nor for both of the narrower with what is to be excepted.
    let mut rule = rule("", "", ")");
    rule.shall_match = [
        items(Class::OwnBan, "203.0.113.0/26"),
        items(Class::OwnBan, "203.0.113.48/28"),
        items(Class::Lift, "203.0.113.32"),
        items(Class::OwnBan, "198.51.100.1 203.0.113.32/28").split_off(1),
    ]
    .concat();
    rule.never_block = set("203.0.113.0 203.0.113.1 203.0.113.40/29");
    rule.characters_max = 90;
    rule.observed = rule.decide().desired;
    assert_eq!(rule.observed, expression(") or ip.src in {203.0.113.32 203.0.113.48/28}"));
    assert!(!rule.decide().is_due);
}

#[test]
fn part_written_without_its_range_does_not_make_the_range_come_earlier() {
    let mut rule = rule("", "", ") or ip.src in {203.0.113.32/30}");
    rule.shall_match = items(Class::OwnBan, "203.0.113.8 203.0.113.0/27 203.0.113.32/30");
    rule.shall_match.iter_mut().for_each(|item| item.order = 0);
    rule.never_block = set("203.0.113.0/29");
    // Room for the range with its exception, or for the other two.
    rule.characters_max = 86;
    rule.observed = rule.decide().desired;
    assert_eq!(rule.observed, expression(") or ip.src in {203.0.113.8 203.0.113.32/30}"));
    assert!(!rule.decide().is_due);
}

#[test]
fn range_is_lifted_only_with_room_for_who_shall_match_inside_of_it() {
    let mut rule = rule("198.51.100.7", "198.51.100.0/24 198.51.100.7", ")");
    let says = " and not ip.src in {198.51.100.0/24}) or ip.src in {198.51.100.7}";
    let needs = "(ip.src in $l".len() + says.len();
    rule.characters_max = needs;
    assert_eq!(decided(&rule), says);
    rule.characters_max = needs - 1;
    let without_room = rule.decide();
    assert!(!without_room.is_due, "{}", without_room.desired);
    let waits = Waiting::Lifted("198.51.100.0/24".parse().unwrap(), Class::Lift);
    assert_eq!(without_room.waiting, [waits]);
    // Before others who shall match, of whatever class.
    rule.characters_max = needs;
    rule.shall_match[0].class = Class::Captcha;
    rule.shall_match.extend(items(Class::OwnBan, "203.0.113.1"));
    assert_eq!(rule.decide().desired, expression(says));
}

#[test]
fn range_in_force_keeps_its_place_for_who_is_in_it_before_his_equals() {
    // The range is the community's, and an own ban is in it: in force by the range alone.
    let mut rule = rule("", "", ") or ip.src in {2001:db8::/48}");
    rule.shall_match = [
        items(Class::CommunityBan, "2001:db8::/48"),
        items(Class::OwnBan, "100.0.0.1 100.0.0.2 2001:db8::11"),
    ]
    .concat();
    rule.characters_max = rule.observed.characters() + "100.0.0.1 ".len();
    let decided = rule.decide();
    assert_eq!(decided.desired, expression(") or ip.src in {100.0.0.1 2001:db8::/48}"));
    assert_eq!(
        decided.waiting,
        [Waiting::Fresh("100.0.0.2".parse().unwrap(), Class::OwnBan)],
        "who is in the range is in force"
    );
}

#[test]
fn part_in_force_of_a_new_range_without_room_does_not_go_for_an_equal() {
    let mut rule = rule("", "", ") or ip.src in {203.0.113.6}");
    rule.shall_match = [
        items(Class::OwnBan, "100.0.0.1 203.0.113.6"),
        items(Class::CommunityBan, "203.0.113.0/24"),
    ]
    .concat();
    rule.never_block = set("203.0.113.128/25");
    rule.characters_max = rule.observed.characters();
    assert!(!rule.decide().is_due);
    // Nor does the range take the room of who is in force because something in it is.
    rule.observed = expression(") or ip.src in {100.0.0.1 203.0.113.6}");
    rule.characters_max = rule.observed.characters() + 5;
    assert!(!rule.decide().is_due);
}

#[test]
fn new_range_in_place_of_its_parts_leaves_their_room_to_others_at_once() {
    let mut rule = rule("", "", ") or ip.src in {203.0.113.6 203.0.113.7}");
    rule.shall_match = [
        items(Class::OwnBan, "203.0.113.6 203.0.113.7"),
        items(Class::CommunityBan, "100.0.0.1 203.0.113.0/29"),
    ]
    .concat();
    rule.characters_max = rule.observed.characters() + 3;
    assert_eq!(decided(&rule), ") or ip.src in {100.0.0.1 203.0.113.0/29}");
}

#[test]
fn fresh_range_that_was_lifted_stays_while_not_all_inside_of_it_have_room() {
    let mut rule = rule("203.0.113.6 203.0.113.7", "", ") or ip.src in {203.0.113.0/24}");
    rule.never_block = set("203.0.113.9");
    let both = expression(") or ip.src in {203.0.113.6 203.0.113.7}");
    rule.characters_max = both.characters() - 1;
    // No room for its exception: then for as many as there is room.
    assert_eq!(rule.decide().desired, expression(") or ip.src in {203.0.113.6}"));

    rule.never_block = AddressSet::default();
    let decided = rule.decide();
    assert!(!decided.is_due, "{}", decided.desired);
    let range = "203.0.113.0/24".parse().unwrap();
    assert_eq!(decided.waiting, [Waiting::StandIn(range)]);
    assert!(decided.waits_for_list());
    // For an equal that is new it does not stay: he waits.
    rule.characters_max = both.characters();
    rule.shall_match.extend(items(Class::OwnBan, "100.0.0.1"));
    rule.shall_match[2].order = 2;
    assert_eq!(rule.decide().desired, both);
    // What is on the list needs nobody to stand in for it.
    rule.characters_max = both.characters() - 1;
    rule.shall_match.pop();
    rule.on_list = items(Class::Rest, "203.0.113.7");
    assert_eq!(rule.decide().desired, expression(") or ip.src in {203.0.113.6}"));
}

#[test]
fn who_shall_match_inside_of_a_range_that_leaves_and_cannot_be_lifted_is_said() {
    let mut rule = rule("198.51.100.7", "0.0.0.0/0", ")");
    let decided = rule.decide();
    assert_eq!(decided.desired, expression(") or ip.src in {198.51.100.7}"));
    assert_eq!(decided.waiting, [Waiting::Lifted("0.0.0.0/0".parse().unwrap(), Class::Lift)]);
    rule.observed = decided.desired;
    assert!(!rule.decide().is_due);
}

//! The order of the two rules' PATCHes.

use std::net::IpAddr;

use proptest::prelude::*;

use super::edge::{Client, Prefix, applies};
use super::laws::{pool, some_expression, some_set};
use super::*;
use crate::decision::Remediation::{self, Ban, Captcha};

/// What both rules say.
#[derive(Debug, Clone)]
struct Zone {
    ban: Expression,
    captcha: Expression,
}

impl Zone {
    fn write(&mut self, patch: &Patch) {
        match patch.rule {
            Ban => self.ban = patch.to.clone(),
            Captcha => self.captcha = patch.to.clone(),
        }
    }

    fn order(&self, desired: &Self, lists: &Lists, characters_max: usize) -> Patches {
        let ban = change(&self.ban, &desired.ban, &lists.ban);
        let captcha = change(&self.captcha, &desired.captcha, &lists.captcha);
        let (on_ban, on_captcha) = (ban, captcha);
        order(Some(ban), Some(captcha), &mut |rule, movers| {
            let change = if rule == Ban { &on_ban } else { &on_captcha };
            Some(kept(change, movers, characters_max))
        })
    }
}

/// What `change` decides if the movers shall match too, under the exceptions of all regions that come.
fn kept(change: &RuleChange<'_>, movers: &Movers, characters_max: usize) -> Expression {
    let parts = change.desired.parts();
    let wanted = change.desired.matched(change.on_list);
    let addresses = |class, all: &AddressSet| {
        all.iter().flat_map(|one| items(class, &one.to_string())).collect()
    };
    let mut rule = rule("", "", ")");
    rule.observed = change.observed.clone();
    rule.shall_match = addresses(Class::OwnBan, &wanted);
    let more: Vec<Item> = addresses(Class::Captcha, &movers.addresses);
    rule.shall_match.extend(more);
    rule.on_list = addresses(Class::Rest, change.on_list);
    rule.never_block = parts.countries.except.clone();
    rule.regions.extend(parts.countries.of.iter().map(|one| Region::Country(*one)));
    rule.regions.extend(parts.asns.of.iter().map(|one| Region::As(*one)));
    rule.regions.extend(movers.regions.iter());
    rule.characters_max = characters_max;
    rule.decide().desired
}

/// Of a list that nothing is under way to.
fn change<'a>(
    observed: &'a Expression,
    desired: &'a Expression,
    on_list: &'a AddressSet,
) -> RuleChange<'a> {
    RuleChange { observed, desired, on_list, stays: on_list }
}

#[derive(Debug, Clone)]
struct Lists {
    ban: AddressSet,
    captcha: AddressSet,
}

impl Lists {
    fn prefixes(&self) -> [Vec<Prefix>; 2] {
        [&self.ban, &self.captcha].map(Prefix::all)
    }
}

/// Whether the client is banned, and whether he is challenged.
fn seen(zone: &Zone, lists: &[Vec<Prefix>; 2], address: IpAddr) -> [bool; 2] {
    let client = Client::at(address);
    let [ban, captcha] = lists;
    [
        applies(&zone.ban.to_string(), ("l", ban), client),
        applies(&zone.captcha.to_string(), ("l", captcha), client),
    ]
}

fn shown(patches: &Patches) -> Vec<(Remediation, String)> {
    let steps = patches.steps.iter();
    steps
        .map(|patch| (patch.rule, patch.to.to_string()["(ip.src in $l".len()..].to_owned()))
        .collect()
}

fn zone(ban: &str, captcha: &str) -> Zone {
    Zone { ban: expression(ban), captcha: expression(captcha) }
}

fn nothing() -> Lists {
    Lists { ban: set(""), captcha: set("") }
}

#[test]
fn challenge_made_a_ban_is_added_before_it_is_removed() {
    let lists = Lists { ban: set(""), captcha: set("192.0.2.1") };
    let desired = zone(") or ip.src in {192.0.2.1}", " and not ip.src in {192.0.2.1})");
    let patches = zone(")", ")").order(&desired, &lists, 4_000);
    let order: Vec<_> = patches.steps.iter().map(|patch| patch.rule).collect();
    assert_eq!(order, [Ban, Captcha]);
    assert!(patches.second_needs_first && !patches.is_unfinished && !patches.has_gap);
}

#[test]
fn ban_made_a_challenge_is_added_before_it_is_removed() {
    let lists = Lists { ban: set("192.0.2.1"), captcha: set("") };
    let desired = zone(" and not ip.src in {192.0.2.1})", ") or ip.src in {192.0.2.1}");
    let patches = zone(")", ")").order(&desired, &lists, 4_000);
    let order: Vec<_> = patches.steps.iter().map(|patch| patch.rule).collect();
    assert_eq!(order, [Captcha, Ban]);
    assert!(patches.second_needs_first && !patches.is_unfinished);
}

#[test]
fn nobody_moves_the_ban_is_first_and_the_second_needs_it_not() {
    let desired = zone(") or ip.src in {192.0.2.1}", ") or ip.src in {192.0.2.2}");
    let patches = zone(")", ")").order(&desired, &nothing(), 4_000);
    let order: Vec<_> = patches.steps.iter().map(|patch| patch.rule).collect();
    assert_eq!(order, [Ban, Captcha]);
    assert!(!patches.second_needs_first);
    assert_eq!(desired.order(&desired, &nothing(), 4_000), Patches::default());
}

#[test]
fn addresses_that_swap_stay_banned_for_one_more_run() {
    let lists = Lists { ban: set("192.0.2.1"), captcha: set("192.0.2.2") };
    let desired = zone(
        " and not ip.src in {192.0.2.1}) or ip.src in {192.0.2.2}",
        " and not ip.src in {192.0.2.2}) or ip.src in {192.0.2.1}",
    );
    let mut now = zone(")", ")");
    let patches = now.order(&desired, &lists, 4_000);
    assert_eq!(
        shown(&patches),
        [
            // The other one is on the list, and need not be in the text.
            (Ban, ") or ip.src in {192.0.2.2}".to_owned()),
            (Captcha, " and not ip.src in {192.0.2.2}) or ip.src in {192.0.2.1}".to_owned()),
        ]
    );
    assert!(patches.is_unfinished && patches.second_needs_first);
    patches.steps.iter().for_each(|patch| now.write(patch));
    let patches = now.order(&desired, &lists, 4_000);
    assert_eq!(patches.steps, [Patch { rule: Ban, to: desired.ban }]);
    assert!(!patches.is_unfinished);
}

#[test]
fn addresses_that_swap_without_room_in_the_ban_stay_challenged_and_without_any_have_a_gap() {
    let now = zone(") or ip.src in {192.0.2.1}", ") or ip.src in {192.0.2.2}");
    let desired =
        zone(") or ip.src in {192.0.2.2 198.51.100.1 198.51.100.2}", ") or ip.src in {192.0.2.1}");
    let patches = now.order(&desired, &nothing(), desired.ban.characters());
    let order: Vec<_> = patches.steps.iter().map(|patch| patch.rule).collect();
    assert_eq!(order, [Captcha, Ban]);
    assert!(patches.is_unfinished && !patches.has_gap);
    let patches = now.order(&desired, &nothing(), 40);
    assert!(!patches.is_unfinished && patches.has_gap);
}

/// Who leaves the ban needs the room of who comes to it, for he has more of it than he takes.
#[test]
fn one_who_leaves_is_not_kept_in_the_room_of_one_who_comes() {
    let now = zone(") or ip.src in {192.0.2.1}", ") or ip.src in {192.0.2.2}");
    let desired = zone(") or ip.src in {192.0.2.2}", ") or ip.src in {192.0.2.1}");
    let (nothing, alone, both) =
        (set(""), now.ban.clone(), expression(") or ip.src in {192.0.2.1 192.0.2.2}"));
    let ban = change(&now.ban, &desired.ban, &nothing);
    let captcha = change(&now.captcha, &desired.captcha, &nothing);
    let says = |on_ban: &Expression, on_captcha: &Expression| {
        order(Some(ban), Some(captcha), &mut |rule, _| {
            Some(if rule == Ban { on_ban.clone() } else { on_captcha.clone() })
        })
    };
    let first = |patches: &Patches| (patches.steps[0].rule, patches.has_gap);
    assert_eq!(first(&says(&both, &both)), (Ban, false));
    assert_eq!(first(&says(&alone, &both)), (Captcha, false));
    assert_eq!(first(&says(&alone, &now.captcha)), (Ban, true));
}

#[test]
fn regions_that_swap_stay_with_the_exception_of_where_they_go() {
    let now = zone(
        r#") or ip.src.country in {"CN"} or ip.src.asnum in {1}"#,
        r#") or ip.src.country in {"DE"}"#,
    );
    let desired = zone(
        r#") or (ip.src.country in {"DE"} and not ip.src in {192.0.2.9})"#,
        r#") or (ip.src.country in {"CN"} and not ip.src in {192.0.2.9}) or (ip.src.asnum in {1} and not ip.src in {192.0.2.9})"#,
    );
    let patches = now.order(&desired, &nothing(), 4_000);
    let kept = r#") or (ip.src.country in {"CN" "DE"} and not ip.src in {192.0.2.9}) or (ip.src.asnum in {1} and not ip.src in {192.0.2.9})"#;
    assert_eq!(shown(&patches)[0], (Ban, kept.to_owned()));
    assert_eq!(patches.steps[1].to, desired.captcha);
}

#[test]
fn zone_with_one_rule_has_its_one_change() {
    let desired = expression(") or ip.src in {192.0.2.1}");
    let on_list = set("");
    let observed = expression(")");
    let change = change(&observed, &desired, &on_list);
    let only = |rule| vec![Patch { rule, to: desired.clone() }];
    let nobody = &mut |_, _: &Movers| unreachable!("there is no other rule");
    assert_eq!(order(Some(change), None, nobody).steps, only(Ban));
    assert_eq!(order(None, Some(change), nobody).steps, only(Captcha));
}

/// The captcha list has the range, and an operation is taking it off.
#[test]
fn who_comes_to_a_list_that_an_operation_takes_from_comes_before_he_goes() {
    let [ban, captcha] = [")", ")"].map(expression);
    let lifted = expression(" and not ip.src in {192.0.2.0/28})");
    let fresh = expression(" and not ip.src in {192.0.2.0/28}) or ip.src in {192.0.2.1}");
    let (range, nothing) = (set("192.0.2.0/28"), set(""));
    for (stays, first) in [(&range, Ban), (&nothing, Captcha)] {
        let from = change(&ban, &lifted, &range);
        let to = RuleChange { stays, ..change(&captcha, &fresh, &range) };
        let patches = order(Some(from), Some(to), &mut |_, _| None);
        assert_eq!(patches.steps[0].rule, first);
        assert_eq!(patches.second_needs_first, first == Captcha);
    }
}

/// The ban list has the range, which a write to the other list may have been lost for; the ban rule lets it through.
#[test]
fn who_comes_to_a_list_that_may_have_lost_him_comes_before_he_goes() {
    let lifted = expression(" and not ip.src in {192.0.2.0/28})");
    let [ban, captcha] = [")", ")"].map(expression);
    let fresh = expression(") or ip.src in {192.0.2.1}");
    let (range, nothing) = (set("192.0.2.0/28"), set(""));
    for stays in [&range, &nothing] {
        let to = RuleChange { stays, ..change(&lifted, &ban, &range) };
        let from = change(&fresh, &captcha, &nothing);
        let patches = order(Some(to), Some(from), &mut |_, _| None);
        assert_eq!(patches.steps[0].rule, Ban);
        assert!(patches.second_needs_first);
    }
}

prop_compose! {
    fn some_zone()(ban in some_expression(), captcha in some_expression()) -> Zone {
        Zone { ban, captcha }
    }
}

proptest! {
    #[test]
    fn nobody_is_for_a_moment_on_neither_rule(
        now in some_zone(),
        desired in some_zone(),
        (ban, captcha) in (some_set(8), some_set(8)),
    ) {
        let on_lists = Lists { ban, captcha };
        let patches = now.order(&desired, &on_lists, 4_000);
        prop_assert!(!patches.has_gap);
        let lists = on_lists.prefixes();
        let mut moments = vec![now.clone()];
        for patch in &patches.steps {
            let mut next = moments.last().unwrap().clone();
            next.write(patch);
            moments.push(next);
        }
        let written: Vec<_> = patches.steps.iter().map(|patch| patch.rule).collect();
        let is_once = written.len() < 2 || written[0] != written[1];
        prop_assert!(is_once, "{:?}", written);
        let mut reached = moments.last().unwrap().clone();
        if patches.is_unfinished {
            // One more, in the next run, and nobody falls between there either.
            let more = reached.order(&desired, &on_lists, 4_000);
            prop_assert_eq!(more.steps.len(), 1);
            prop_assert!(!more.is_unfinished);
            reached.write(&more.steps[0]);
            moments.push(reached.clone());
        }
        prop_assert_eq!(&reached.ban, &desired.ban);
        prop_assert_eq!(&reached.captcha, &desired.captcha);
        for address in pool() {
            let [before, after] = [&now, &desired].map(|zone| seen(zone, &lists, address));
            for moment in &moments {
                let at_that_moment = seen(moment, &lists, address);
                for rule in 0..2 {
                    // Neither less nor more than before or after.
                    let least = before[rule] && after[rule];
                    let most = before[rule] || after[rule];
                    let is = at_that_moment[rule];
                    prop_assert!((!least || is) && (!is || most), "{} {:?}", address, moments);
                }
                let is_on_one = |seen: [bool; 2]| seen[0] || seen[1];
                if is_on_one(before) && is_on_one(after) {
                    prop_assert!(is_on_one(at_that_moment), "{} {:?}", address, moments);
                }
            }
            // The second without the first, if that is said to harm nobody.
            if let ([_, second], false) = (&patches.steps[..], patches.second_needs_first) {
                let mut alone = now.clone();
                alone.write(second);
                let is = seen(&alone, &lists, address);
                let is_gap = before.contains(&true) && after.contains(&true) && !is.contains(&true);
                prop_assert!(!is_gap, "{} {:?}", address, alone);
            }
        }
    }

    #[test]
    fn order_without_room_writes_each_rule_once_and_nothing_longer_than_it_may(
        now in some_zone(),
        desired in some_zone(),
        (ban, captcha) in (some_set(8), some_set(8)),
        more in 0usize..60,
    ) {
        let lists = Lists { ban, captcha };
        let most = desired.ban.characters().max(desired.captcha.characters());
        let patches = now.order(&desired, &lists, most + more);
        prop_assert!(patches.steps.iter().all(|patch| patch.to.characters() <= most + more));
        prop_assert!(!(patches.has_gap && patches.is_unfinished));
    }
}

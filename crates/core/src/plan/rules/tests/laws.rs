//! What holds in every situation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::edge::{Client, Prefix};
use super::*;

const BASE_V4: u32 = 0xCB00_7100;
const BASE_V6: u128 = 0x2001_0db8 << 96;
const POOL_V4: u32 = 64;
const POOL_V6: u128 = 8;

/// Every address that anything generated can be about, and some that nothing is.
pub(super) fn pool() -> impl Iterator<Item = IpAddr> {
    let v4 = (0..POOL_V4 + 4).map(|i| IpAddr::V4(Ipv4Addr::from_bits(BASE_V4 + i)));
    v4.chain((0..POOL_V6 + 2).map(|i| IpAddr::V6(Ipv6Addr::from_bits(BASE_V6 + i))))
}

/// Few of them, so that they nest and meet.
pub(super) fn some_address() -> impl Strategy<Value = Address> {
    let v4 = (0..POOL_V4, 26u8..=32).prop_map(|(i, prefix_len)| {
        Address::from(IpAddr::V4(Ipv4Addr::from_bits(BASE_V4 + i))).within(prefix_len)
    });
    let single =
        (0..POOL_V4).prop_map(|i| Address::from(IpAddr::V4(Ipv4Addr::from_bits(BASE_V4 + i))));
    let v6 = (0..POOL_V6, 125u8..=128).prop_map(|(i, prefix_len)| {
        Address::from(IpAddr::V6(Ipv6Addr::from_bits(BASE_V6 + i))).within(prefix_len)
    });
    prop_oneof![3 => single, 3 => v4, 1 => v6]
}

pub(super) fn some_set(up_to: usize) -> impl Strategy<Value = AddressSet> {
    vec(some_address(), 0..=up_to).prop_map(|entries| entries.into_iter().collect())
}

fn some_items() -> impl Strategy<Value = Vec<Item>> {
    use Class::*;
    let item = (some_address(), select(vec![OwnBan, Lift, CommunityBan, Captcha, Rest]), 0u64..3)
        .prop_map(|(address, class, order)| Item { address, class, order });
    vec(item, 0..12)
}

fn some_region() -> impl Strategy<Value = Region> {
    let country =
        select(vec!["CN", "T1", "DE"]).prop_map(|code| Region::Country(code.parse().unwrap()));
    let asn = select(vec!["64496", "64497"]).prop_map(|number| Region::As(number.parse().unwrap()));
    prop_oneof![country, asn]
}

prop_compose! {
    pub(super) fn some_expression()(
        lifted in some_set(6),
        of in some_set(6),
        except in some_set(2),
    ) -> Expression {
        let parts = Parts { lifted, fresh: Clause { of, except }, ..Parts::default() };
        Expression::new("l".parse().unwrap(), parts).unwrap()
    }
}

prop_compose! {
    fn some_rule(characters_max: std::ops::Range<usize>)(
        shall_match in some_items(),
        on_list in some_items(),
        observed in some_expression(),
        may_drain: bool,
        may_lose: bool,
        protected in some_set(2),
        never_block in some_set(2),
        regions in vec(some_region(), 0..4),
        characters_max in characters_max,
    ) -> Rule {
        let moves_here = AddressSet::default();
        Rule { shall_match, on_list, moves_here, observed, may_drain, may_lose, protected, never_block, regions, characters_max }
    }
}

/// By looking at every text, and at no set of ours.
fn any_holds<'a>(prefixes: impl IntoIterator<Item = &'a Address>, address: IpAddr) -> bool {
    Prefix::all(prefixes).iter().any(|prefix| prefix.holds(address))
}

impl Rule {
    fn is_protected(&self, address: IpAddr) -> bool {
        any_holds(self.protected.iter().chain(&self.never_block), address)
    }

    fn shall_match(&self, address: IpAddr) -> bool {
        any_holds(self.shall_match.iter().map(|item| &item.address), address)
            && !self.is_protected(address)
    }

    fn is_on_list(&self, address: IpAddr) -> bool {
        any_holds(self.on_list.iter().map(|item| &item.address), address)
    }
}

fn is_fresh(expression: &Expression, address: IpAddr) -> bool {
    let Clause { of, except } = &expression.parts().fresh;
    any_holds(of, address) && !any_holds(except, address)
}

fn is_lifted(expression: &Expression, address: IpAddr) -> bool {
    any_holds(&expression.parts().lifted, address)
}

/// What the text may be whatever the situation.
fn is_legal(rule: &Rule, decided: &Decided) -> Result<(), TestCaseError> {
    let text = decided.desired.to_string();
    let least = Expression::of_list(rule.observed.list().clone()).characters();
    prop_assert!(text.len() <= rule.characters_max.max(least), "{}", text);
    prop_assert_eq!(decided.characters, text.len());
    prop_assert_eq!(decided.is_due, decided.desired != rule.observed);
    let read = Expression::parse(&text, rule.observed.list());
    prop_assert_eq!(read.as_ref(), Ok(&decided.desired));
    let is_tidy = !text.contains("{}") && !text.contains("  ");
    prop_assert!(is_tidy, "{}", text);
    let parts = decided.desired.parts();
    let regions =
        Parts { countries: parts.countries.clone(), asns: parts.asns.clone(), ..Parts::default() };
    let regions =
        Expression::new(rule.observed.list().clone(), regions).unwrap().characters() - least;
    prop_assert!(regions <= rule.characters_max / 2, "{}", text);
    for address in pool() {
        // What stands in FRESH is desired, or stands in for somebody who is; what stands in LIFTED is not.
        let _ = rule.applies(&decided.desired, Client::at(address));
        if is_fresh(&decided.desired, address) && !rule.shall_match(address) {
            let stands_in = decided.waiting.iter().any(|waiting| match waiting {
                Waiting::StandIn(range) => {
                    any_holds([range], address)
                        && rule.shall_match.iter().any(|item| range.contains(&item.address))
                        && rule.observed.parts().fresh.of.covers(range)
                }
                _ => false,
            });
            prop_assert!(stands_in, "{} in {}", address, text);
            prop_assert!(!rule.is_protected(address), "{} in {}", address, text);
        }
    }
    let is_in_force = |address: &IpAddr| {
        rule.shall_match(*address)
            && rule.is_on_list(*address)
            && !is_lifted(&rule.observed, *address)
    };
    for address in pool().filter(is_in_force) {
        let applies = rule.applies(&decided.desired, Client::at(address));
        prop_assert!(applies, "{} is on the list, and let through by {}", address, text);
    }
    for entry in &parts.lifted {
        let around = rule.shall_match.iter().filter(|item| item.address.contains(entry));
        let mut protected = rule.protected.iter().chain(&rule.never_block);
        prop_assert!(
            around.count() == 0 || protected.any(|one| one.contains(entry)),
            "{entry} in {text}"
        );
    }
    Ok(())
}

/// What was written is what would be written again. Where somebody waits for room, one write more may be due, which
/// is the last: who came by the first is in force for the second. So less has to be in FRESH when a range is lifted,
/// or he has to be. Nobody who shall match goes by it.
fn settles(rule: &Rule) -> Result<(), TestCaseError> {
    let first = rule.decide();
    let mut rule = Rule { observed: first.desired.clone(), ..rule.clone() };
    let second = rule.decide();
    if first.waiting.is_empty() {
        prop_assert_eq!(&second.desired, &first.desired);
    }
    for address in pool().filter(|address| rule.shall_match(*address)) {
        let applies = |decided: &Decided| rule.applies(&decided.desired, Client::at(address));
        prop_assert!(!applies(&first) || applies(&second), "{} {}", address, second.desired);
    }
    rule.observed = second.desired;
    let third = rule.decide();
    prop_assert_eq!(&third.desired, &rule.observed);
    prop_assert!(!third.is_due);
    Ok(())
}

proptest! {
    #[test]
    fn with_room_the_rule_matches_what_it_shall_and_nothing_else(rule in some_rule(4_000..4_001)) {
        let decided = rule.decide();
        is_legal(&rule, &decided)?;
        prop_assert_eq!(&decided.waiting, &[]);
        for address in pool() {
            let applies = rule.applies(&decided.desired, Client::at(address));
            prop_assert_eq!(applies, rule.shall_match(address), "{} {}", address, decided.desired);
            for (country, asn) in [("CN", 1), ("AQ", 64_496), ("DE", 64_497)] {
                let is_wanted = rule.regions.iter().any(|region| match region {
                    Region::Country(one) => one.as_str() == country,
                    Region::As(one) => one.get() == asn,
                });
                let by_region = is_wanted && !any_holds(&rule.never_block, address);
                let applies = rule.applies(&decided.desired, Client { address, country, asn });
                prop_assert_eq!(applies, by_region || rule.shall_match(address), "{}", decided.desired);
            }
        }
    }

    #[test]
    fn decided_and_written_there_is_no_difference(rule in some_rule(20..400)) {
        // What was written under the same exceptions: other settings bring in force who was excepted, and that may
        // cost one write more and somebody his room.
        let protected = rule.protected.union(&rule.never_block);
        let mut parts = rule.observed.parts().clone();
        parts.fresh.except = protected.intersection(&parts.fresh.of);
        let observed = Expression::new(rule.observed.list().clone(), parts).unwrap();
        let rule = Rule { observed, ..rule };
        settles(&rule)?;
        // Later it may drain, and that settles too.
        let observed = rule.decide().desired;
        settles(&Rule { observed, may_drain: true, ..rule })?;
    }

    #[test]
    fn nothing_leaves_the_text_before_the_list_was_read_and_drained(rule in some_rule(4_000..4_001)) {
        let desired = rule.decide().desired;
        for address in pool() {
            let has_left_fresh = is_fresh(&rule.observed, address) && !is_fresh(&desired, address);
            if has_left_fresh && rule.shall_match(address) {
                prop_assert!(rule.may_drain && rule.is_on_list(address), "{} {}", address, desired);
            }
            let has_left_lifted = is_lifted(&rule.observed, address) && !is_lifted(&desired, address);
            if has_left_lifted && !rule.shall_match(address) {
                prop_assert!(rule.may_drain && !rule.is_on_list(address), "{} {}", address, desired);
            }
        }
    }

    #[test]
    fn without_room_the_text_is_legal_and_nobody_waits_for_one_less_urgent(rule in some_rule(0..300)) {
        let rule = Rule { may_drain: true, ..rule };
        let decided = rule.decide();
        is_legal(&rule, &decided)?;
        let Parts { lifted, fresh, countries, asns } = decided.desired.parts();
        let protected = rule.protected.union(&rule.never_block);
        // Of what is in it, and of what it is a part of.
        let most_urgent = |items: &[Item], entry: &Address| {
            let near = items.iter().filter(|item| {
                entry.contains(&item.address) || item.address.contains(entry)
            });
            near.map(|item| item.class).min()
        };
        let room_for = |lifted: Vec<Address>, of: Vec<Address>| {
            // Whoever shall match inside of what is lifted needs room too.
            let on_list = rule.on_list.iter().map(|item| item.address).collect();
            let in_force = rule.observed.matched(&on_list);
            let inside = rule.shall_match.iter().map(|item| item.address).filter(|one| {
                let is_lifted = lifted.iter().any(|entry| entry.contains(one));
                is_lifted && !protected.covers(one) && in_force.touches(one)
            });
            let inside: Vec<Address> = inside.collect();
            let of: AddressSet = of.into_iter().chain(inside).collect();
            let except = of.iter().flat_map(|entry| protected.inside(entry)).copied().collect();
            let fresh = Clause { of, except };
            let lifted = lifted.into_iter().collect();
            let parts = Parts { lifted, fresh, countries: countries.clone(), asns: asns.clone() };
            let list = rule.observed.list().clone();
            Expression::new(list, parts).unwrap().characters() <= rule.characters_max
        };
        for waiting in &decided.waiting {
            match waiting {
                Waiting::Lifted(address, class) => {
                    let as_urgent = lifted.iter().filter(|entry| {
                        protected.touches(entry)
                            || most_urgent(&rule.on_list, entry).is_none_or(|it| it <= *class)
                    });
                    let more = as_urgent.copied().chain([*address]).collect();
                    prop_assert!(!room_for(more, Vec::new()), "{:?} in {}", waiting, decided.desired);
                }
                Waiting::Fresh(address, class) => {
                    let as_urgent = fresh.of.iter().filter(|entry| {
                        most_urgent(&rule.shall_match, entry).is_none_or(|it| it <= *class)
                    });
                    let more = as_urgent.copied().chain([*address]).collect();
                    let lifted = lifted.iter().copied().collect();
                    prop_assert!(!room_for(lifted, more), "{:?} in {}", waiting, decided.desired);
                }
                Waiting::StandIn(range) => {
                    // All who are in force by it do not find room beside those as urgent.
                    let inside = rule.shall_match.iter().map(|item| item.address);
                    let inside: Vec<Address> =
                        inside.filter(|one| range.contains(one) && !protected.covers(one)).collect();
                    let others = fresh.of.iter().filter(|entry| *entry != range).copied();
                    let more = others.chain(inside).collect();
                    let lifted = lifted.iter().copied().collect();
                    prop_assert!(!room_for(lifted, more), "{:?} in {}", waiting, decided.desired);
                }
                Waiting::Region(_) => {}
            }
        }
        // Who neither waits nor is protected is as he should be.
        for address in pool() {
            let waits = decided.waiting.iter().any(|waiting| match waiting {
                Waiting::Lifted(one, _) | Waiting::Fresh(one, _) | Waiting::StandIn(one) => {
                    any_holds([one], address)
                }
                Waiting::Region(_) => false,
            });
            let applies = rule.applies(&decided.desired, Client::at(address));
            prop_assert!(waits || applies == rule.shall_match(address), "{}", address);
        }
    }

    #[test]
    fn without_room_who_is_in_force_goes_only_for_the_more_urgent(rule in some_rule(20..300)) {
        // What was written under the same exceptions, and fits. All of it is wanted, or nothing: a range that goes
        // and leaves many needs more room than it had.
        let protected = rule.protected.union(&rule.never_block);
        let wanted: AddressSet = rule.shall_match.iter().map(|item| item.address).collect();
        let mut parts = rule.observed.parts().clone();
        let of = parts.fresh.of.iter().filter(|entry| {
            !protected.covers(entry) && (wanted.covers(entry) || !wanted.touches(entry))
        });
        let of = of.copied().collect();
        parts.fresh = Clause { except: protected.intersection(&of), of };
        let observed = Expression::new(rule.observed.list().clone(), parts).unwrap();
        let characters_max = rule.characters_max.max(observed.characters());
        let rule = Rule { may_drain: true, observed, characters_max, regions: Vec::new(), ..rule };
        let desired = rule.decide().desired;
        let new_in = |now: &AddressSet, before: &AddressSet| -> Vec<Address> {
            now.iter().filter(|entry| !before.as_slice().contains(entry)).copied().collect()
        };
        let (before, now) = (rule.observed.parts(), desired.parts());
        let class = |near: &dyn Fn(&Item) -> bool| {
            rule.shall_match.iter().filter(|item| near(item)).map(|item| item.class).min()
        };
        let most_urgent = new_in(&now.fresh.of, &before.fresh.of).into_iter().filter_map(|entry| {
            class(&|item| entry.contains(&item.address) || item.address.contains(&entry))
        }).min();
        let is_lifting = !new_in(&now.lifted, &before.lifted).is_empty();
        for address in pool().filter(|address| rule.shall_match(*address)) {
            let applies = |expression| rule.applies(expression, Client::at(address));
            if is_lifting || !applies(&rule.observed) || applies(&desired) {
                continue;
            }
            let of = class(&|item| any_holds([&item.address], address));
            prop_assert!(most_urgent < of && most_urgent.is_some(), "{address} ({of:?}) went for {most_urgent:?}: {} -> {desired}", rule.observed);
        }
    }
}

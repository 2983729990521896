//! A list that is rarely written, an edge that learns of it late, and decisions that come and go.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::edge::{Client, Prefix, applies};
use super::laws::{pool, some_address};
use super::*;

#[derive(Debug, Clone)]
enum Event {
    /// The decision about an address is made, or taken back.
    Turn(Address),
    /// The address is to be protected from now on, or not any more.
    Protect(Address),
    /// A bulk operation was completed: the list holds what the rule shall match now.
    ListWritten,
    /// Two minutes passed: the edge has the list's content.
    EdgeLearns,
}

fn some_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => some_address().prop_map(Event::Turn),
        1 => some_address().prop_map(Event::Protect),
        2 => Just(Event::ListWritten),
        2 => Just(Event::EdgeLearns),
    ]
}

fn turn(addresses: &mut Vec<Address>, address: Address) {
    match addresses.iter().position(|one| *one == address) {
        Some(index) => drop(addresses.remove(index)),
        None => addresses.push(address),
    }
}

proptest! {
    #[test]
    fn list_written_rarely_the_edge_is_right_after_every_run_whichever_content_it_has(
        events in vec(some_event(), 1..40),
    ) {
        // What each address was last, and how often it turned since the edge fell behind.
        let mut turns: BTreeMap<IpAddr, (bool, u32)> = BTreeMap::new();
        let mut wanted: Vec<Address> = Vec::new();
        let mut protected: Vec<Address> = Vec::new();
        let mut list: Vec<Address> = Vec::new();
        // What the list held before, while the edge may still have that.
        let mut before: Option<Vec<Address>> = None;
        let mut observed = expression(")");
        for event in events {
            match event {
                Event::Turn(address) => turn(&mut wanted, address),
                Event::Protect(address) => turn(&mut protected, address),
                Event::ListWritten if before.is_none() => {
                    let owned = |one: &Address| protected.iter().any(|owner| owner.contains(one));
                    let new = wanted.iter().filter(|one| !owned(one)).copied().collect();
                    before = Some(std::mem::replace(&mut list, new));
                }
                Event::ListWritten => {}
                Event::EdgeLearns => {
                    before = None;
                    turns.values_mut().for_each(|(_, count)| *count = 0);
                }
            }
            let item = |address: &Address| Item { address: *address, class: Class::OwnBan, order: 0 };
            let rule = Rule {
                shall_match: wanted.iter().map(item).collect(),
                on_list: list.iter().map(item).collect(),
                observed: observed.clone(),
                may_drain: before.is_none(),
                never_block: protected.iter().copied().collect(),
                ..rule("", "", ")")
            };
            let decided = rule.decide();
            prop_assert!(decided.waiting.is_empty());
            observed = decided.desired;
            let contents = [Some(&list), before.as_ref()].map(|list| list.map(Prefix::all));
            let (wanted_now, owners) = (Prefix::all(&wanted), Prefix::all(&protected));
            let text = observed.to_string();
            for address in pool() {
                let holds = |one: &Prefix| one.holds(address);
                let shall = wanted_now.iter().any(holds) && !owners.iter().any(holds);
                let (was, count) = turns.entry(address).or_default();
                *count += u32::from(before.is_some() && *was != shall);
                *was = shall;
                for (content, is_old) in contents.iter().zip([false, true]) {
                    let Some(items) = content else { continue };
                    let client = Client::at(address);
                    let does = applies(&text, ("l", items), client);
                    // Lifted, desired again and lifted again within two minutes: that it was on the list
                    // before is in no text any more, and it is off as soon as the edge has the list.
                    let is_forgotten = is_old && *count > 1 && !shall;
                    prop_assert!(does == shall || is_forgotten, "{} {} {:?}", address, observed, items);
                }
            }
            // Compacted and drained: the text is the list's alone, but for holes in it.
            if before.is_none() && protected.is_empty() && list == wanted {
                prop_assert!(observed.is_delta_empty(), "{}", observed);
            }
        }
    }
}

//! What a range that goes waits for: who is still to be blocked would slip through in between.

use std::collections::BTreeMap;

use crate::address::Address;
use crate::api::cloudflare::expression::AddressSet;
use crate::decision::{Each, Remediation};
use crate::order::Gather;
use crate::plan::Why;
use crate::plan::lists::{Plan, Removal, Room};

use super::steps::{List, Place};

/// Finds the additions inside the ranges that go: without them, who is still to be blocked would slip
/// through in between. An owner's range waits for nothing, and none for who moves and is there by himself; who is
/// `lifted` by the rule of his list is not.
pub(super) fn find_what_comes_inside(lists: &mut [List<'_>], lifted: &Each<AddressSet>) {
    let stands_alone = |from: Remediation, address: &Address| {
        let mut as_strong = lists.iter().filter(|list| list.list >= from);
        as_strong.any(|list| list.is_in_force(address, lifted.get(list.list)))
    };
    let inside = |from: Remediation, range: &Address| -> Vec<Place> {
        let of = |list: &List<'_>| {
            let at = list.additions.partition_point(|addition| addition.address <= *range);
            let inside = list.additions[at..].iter().map(|addition| addition.address);
            let inside = inside.take_while(|address| range.contains(address));
            let inside = inside.filter(|address| !stands_alone(from, address));
            inside.map(|address| (list.list, address)).collect::<Vec<_>>()
        };
        lists.iter().flat_map(of).collect()
    };
    let found: Vec<BTreeMap<Address, Vec<Place>>> = lists
        .iter()
        .map(|list| {
            let ranges = list.removals.iter().filter(|removal| opens(lists, lifted, list, removal));
            let all = ranges.map(|removal| (removal.address, inside(list.list, &removal.address)));
            all.filter(|(_, inside)| !inside.is_empty()).gather()
        })
        .collect();
    lists.iter_mut().zip(found).for_each(|(list, found)| list.inside = found);
}

/// Whether what leaves `from` is a range that protects somebody inside of it. What covers a range, or bans what was
/// challenged, is there for what is inside; and so is the same range on the ban list, until that goes.
fn opens(
    lists: &[List<'_>],
    lifted: &Each<AddressSet>,
    from: &List<'_>,
    removal: &Removal,
) -> bool {
    let is_ban = from.list == Remediation::Ban;
    let is_banned = || {
        let mut bans = lists.iter().filter(|list| list.list == Remediation::Ban);
        bans.any(|list| list.is_in_force(&removal.address, lifted.get(list.list)))
    };
    let opens = match removal.why {
        Why::Lifted | Why::RanOut | Why::Displaced => is_ban || !is_banned(),
        Why::Moved => is_ban,
        _ => false,
    };
    opens && !removal.address.is_single()
}

/// Takes out the ranges around somebody who has no place yet, where the next run has one for him: when all else is
/// done, there is room for everybody beside those ranges.
pub(super) fn wait_for_places(lists: &mut [List<'_>], plan: &Plan, lifted: &Each<AddressSet>) {
    let ranges = |list: &List<'_>| -> Vec<bool> {
        let waits = |removal: &Removal| removal.holds_others && opens(lists, lifted, list, removal);
        list.removals.iter().map(|removal| waits(removal)).collect()
    };
    let waiting: Vec<Vec<bool>> = lists.iter().map(ranges).collect();
    if !waiting.iter().flatten().any(|waits| *waits) {
        return;
    }
    let added: u64 = lists.iter().map(|list| list.additions.len() as u64).sum();
    let removed = waiting.iter().flatten().filter(|waits| !**waits).count() as u64;
    let Room { items, items_max } = plan.room();
    if items + added + plan.dropped() > items_max + removed {
        return;
    }
    for (list, waits) in lists.iter_mut().zip(waiting) {
        let mut waits = waits.into_iter();
        let is_later = |_: &mut &Removal| waits.next().unwrap_or_default();
        list.later = list.removals.extract_if(.., is_later).collect();
    }
}

//! Expresses what is approved in the fewest bulk operations that leave no gap, the most urgent first.
//!
//! Here: what of it can go at all now, and which lists are rewritten. For one list: only additions, POST; only
//! removals, DELETE; both, one PUT where rewriting the list is affordable, or where writes are scarce; else POST
//! and DELETE. The order is that of `steps`. What moves to where a rule still lifts it stays, until the rule is
//! changed (`by_rules`).

use std::time::{Duration, UNIX_EPOCH};

use crate::address::Address;
use crate::decision::{Each, Remediation};
use crate::desired::OriginCounts;
use crate::observed::lists::Observed;
use crate::order::{Gather, Order};
use crate::plan::lists::{Addition, Plan, Room};
use crate::plan::{Class, REPLACE_ITEMS_MAX, Why};
use crate::small::Sorted;
use crate::state::writes::{Suspects, WriteHistory};

use super::inside::{find_what_comes_inside, wait_for_places};
use super::stale::hold_back;
use super::steps::{List, in_steps};
use super::{Inputs, Operation, Rest, Sent, by_rules};

/// Cloudflare's documented limit: 1,000,000 item modifications in 12 hours (facts cloudflare 1.8).
const MODIFICATIONS_PER_SECOND: f64 = 1_000_000.0 / (12.0 * 3600.0);

/// The least time that a rewrite may be charged for: one interval between runs, so that lists of up to
/// 1,388 items may be rewritten at every run without ever meeting the documented limit.
const INTERVAL: Duration = Duration::from_secs(120);

/// The operations with the class of the most urgent change in each.
pub(super) struct Expressed {
    pub(super) operations: Vec<(Class, Operation)>,
    /// What may be sent of the additions.
    pub(super) sent: Sent,
    /// The most urgent of what is left to the next run, because it has to wait for room.
    pub(super) left: Option<Class>,
    /// Additions that find no room.
    pub(super) without_room: u64,
    /// Why something is left to the next run.
    pub(super) rest: Option<Rest>,
}

pub(super) fn express(plan: &Plan, inputs: Inputs<'_>) -> Expressed {
    let mut lists: Vec<List<'_>> = plan
        .lists()
        .iter()
        .zip(inputs.observed.lists())
        .map(|(plan, (_, observed))| List::new(plan, observed))
        .collect();
    let early = by_rules::too_early(plan, inputs.observed, &inputs.rules.lifted);
    for list in lists.iter_mut().filter(|_| !early.is_empty()) {
        list.removals.retain(|r| r.why == Why::Surplus || !early.contains(&(list.list, r.address)));
    }
    let has_stale = hold_back(&mut lists, (plan, inputs.observed), inputs.history, inputs.now);
    // Before anything is cut: a range goes after all of what comes inside it.
    find_what_comes_inside(&mut lists, &inputs.rules.lifted);
    wait_for_places(&mut lists, plan, &inputs.rules.lifted);
    let without_room = cut_to_room(&mut lists, plan.room());
    let (sent, is_cut) = cut_to_half(&mut lists, inputs.history);
    drop_unreplaced(&mut lists);
    choose_rewrites(&mut lists, plan.room(), inputs);
    let is_scarce = inputs.history.is_scarce(inputs.now);
    let mut operations = in_steps(&mut lists, plan.room(), is_scarce);
    for at in 0..lists.len() {
        if !operations.is_empty() || !lists.iter().any(List::has_rest) {
            break;
        }
        // What comes inside of ranges that go has no place before they are gone, and nobody makes one: they
        // would stay for ever. Those of one list make room for what those of the other wait for.
        lists[at].let_ranges_go();
        operations = in_steps(&mut lists, plan.room(), is_scarce);
    }
    let lefts = lists.iter().flat_map(List::left);
    let left = lefts.min();
    let makes_room = !operations.is_empty() && will_all_fit(plan, inputs.observed);
    let has_rest = is_cut || makes_room || plan.keeps_places() || lists.iter().any(List::has_rest);
    let rest = match (has_rest, has_stale) {
        (true, _) => Some(Rest::Later),
        (false, true) => Some(Rest::Stale),
        (false, false) => (!early.is_empty()).then_some(Rest::Rule),
    };
    Expressed { operations, sent, left, without_room, rest }
}

/// Whether somebody goes without a place, although there is one for everybody: what is to go, or stays for a range that
/// has yet to come, is in his way.
fn will_all_fit(plan: &Plan, observed: &Observed) -> bool {
    let wanted: u64 = plan.origins().iter().map(OriginCounts::total).sum();
    let foreign: u64 = observed.lists().map(|(_, content)| content.foreign().count).sum();
    plan.dropped() > 0 && wanted + foreign <= plan.room().items_max
}

/// The additions of all lists, the most urgent first.
fn in_order(lists: &[List<'_>]) -> Vec<(Remediation, Addition)> {
    let mut all: Vec<_> = lists
        .iter()
        .flat_map(|list| list.additions.iter().map(|addition| (list.list, **addition)))
        .collect();
    all.order_by_key(|(_, addition)| (addition.class, addition.rank, addition.address));
    all
}

/// Takes out additions for which there is no room, the least important first; gives how many. Removals that
/// are held take room which the plan meant to have. What moves needs none: its own removal gives it back. And of
/// equals he stays who is inside of a range that goes, for he would be let through.
fn cut_to_room(lists: &mut [List<'_>], room: Room) -> u64 {
    let added: u64 = lists.iter().map(|list| list.additions.len() as u64).sum();
    let removed: u64 = lists.iter().map(|list| list.removals.len() as u64).sum();
    let over =
        (room.items + added).saturating_sub(removed).saturating_sub(room.items_max).min(added);
    if over == 0 {
        return 0;
    }
    let replacing: Sorted<(Remediation, Address)> =
        lists.iter().flat_map(|list| &list.removals).filter_map(|removal| removal.after).gather();
    let mut all = in_order(lists);
    all.retain(|(list, addition)| !replacing.contains(&(*list, addition.address)));
    let inside: Sorted<(Remediation, Address)> = lists.iter().flat_map(List::all_inside).collect();
    if !inside.is_empty() {
        all.order_by_key(|(list, addition)| {
            let Addition { address, class, rank, .. } = *addition;
            (class, !inside.contains(&(*list, address)), rank, address)
        });
    }
    let keep = all.len().saturating_sub(usize::try_from(over).unwrap_or(usize::MAX));
    let cut: Sorted<(Remediation, Address)> =
        all.drain(keep..).map(|(list, addition)| (list, addition.address)).gather();
    for list in lists {
        list.additions.retain(|addition| !cut.contains(&(list.list, addition.address)));
    }
    cut.len() as u64
}

/// Takes out additions that do not help to find the one that Cloudflare refuses without saying which. What is left,
/// and whether there was more.
fn cut_to_half(lists: &mut [List<'_>], history: &WriteHistory) -> (Sent, bool) {
    let mut all = in_order(lists);
    let at = |suspect| all.iter().position(|(_, addition)| addition.address == suspect);
    let before = history.last_suspect().and_then(at);
    let mut suspects = Suspects::default();
    let additions = all.len();
    if let Some(before) = before {
        let (cut, last) = (history.cut(before as u64), history.last_suspect());
        suspects = Suspects { count: cut.suspects, last };
        all.truncate(cut.carried as usize);
        let keep: Sorted<(Remediation, Address)> =
            all.iter().map(|(list, addition)| (*list, addition.address)).gather();
        for list in lists {
            list.additions.retain(|addition| keep.contains(&(list.list, addition.address)));
            list.alone = last.filter(|_| cut.is_last_alone);
        }
    }
    let mut last = Each::default();
    for (list, addition) in &all {
        last.insert(*list, addition.address);
    }
    (Sent { additions: all.len() as u64, last, suspects }, all.len() < additions)
}

/// Takes out removals whose replacement does not come.
fn drop_unreplaced(lists: &mut [List<'_>]) {
    let is_replaced = |list: &List<'_>| list.removals.iter().any(|removal| removal.after.is_some());
    if !lists.iter().any(is_replaced) {
        return;
    }
    let coming: Vec<(Remediation, Sorted<Address>)> = lists
        .iter()
        .map(|list| (list.list, list.additions.iter().map(|addition| addition.address).collect()))
        .collect();
    let comes = |(on, address): (Remediation, Address)| {
        coming.iter().any(|(list, addresses)| *list == on && addresses.contains(&address))
    };
    for list in lists {
        list.removals.retain(|removal| removal.after.is_none_or(comes));
    }
}

/// Chooses the lists that are rewritten by one PUT.
///
/// One operation instead of two matters most: some accounts are allowed one accepted write in 72 hours,
/// whatever its size (facts cloudflare 1.8), and after a POST the DELETE would have to wait for the next.
/// Elsewhere each rewritten item counts against the documented 1,000,000 modifications in 12 hours, perhaps
/// the removed ones too, so a rewrite costs the items before and after it, and what has been refilled of
/// that limit since the last write pays for it: 10,000 items every 14.4 minutes, small lists always. When
/// the last write was, the youngest item tells; without it, or with a clock that is behind, it is taken to
/// have been just now.
///
/// On full lists a range and what comes inside it can only change at the same moment, whatever that costs.
///
/// A list that may have been read as it was a while ago is not rewritten from that. One with items that could not be
/// understood is never rewritten, since that would delete them; nor is one that keeps an item which it would not take
/// from us.
fn choose_rewrites(lists: &mut [List<'_>], room: Room, inputs: Inputs<'_>) {
    let is_scarce = inputs.history.is_scarce(inputs.now);
    if !inputs.history.may_rewrite(inputs.now) || inputs.history.may_read_stale() {
        return;
    }
    let now = UNIX_EPOCH + Duration::from_secs(inputs.now);
    let newest = lists.iter().filter_map(|list| list.observed.newest()).max();
    let since_write = newest.and_then(|newest| now.duration_since(newest).ok()).unwrap_or_default();
    let mut allowance = since_write.max(INTERVAL).as_secs_f64() * MODIFICATIONS_PER_SECOND;
    let mut candidates: Vec<(u64, &mut List<'_>)> = lists
        .iter_mut()
        .filter(|list| !list.additions.is_empty() && !list.removals.is_empty())
        .filter(|list| list.observed.foreign().count == 0 && list.keeps_only_what_is_taken())
        .filter_map(|list| {
            let before = list.observed.len();
            let after = before + list.additions.len() as u64 - list.removals.len() as u64;
            (after <= REPLACE_ITEMS_MAX as u64).then_some((before + after, list))
        })
        .collect();
    candidates.order_by_key(|(cost, list)| (*cost, list.list));
    for (cost, list) in &mut candidates {
        allowance -= *cost as f64;
        let is_full = room.items + list.additions.len() as u64 > room.items_max;
        let must = is_full && list.brings_what_it_waits_for();
        list.may_rewrite = is_scarce || must || allowance >= 0.0;
    }
    for (cost, list) in &mut candidates {
        allowance -= *cost as f64;
        list.may_rewrite_again = is_scarce || allowance >= 0.0;
    }
}

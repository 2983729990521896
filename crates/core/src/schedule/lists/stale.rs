//! What does not leave on the word of a list that may be shown as it was before an operation.
//!
//! For up to a minute after an operation has completed, a list may be read as it was before (facts cloudflare 1.5).
//! What was added is then added once more, which changes nothing. But what has just gone still seems to be there,
//! and whatever left because that is there would leave nobody at the edge: the range around somebody who was taken
//! because the range covered him, the challenge of one whose ban has ended and was decided again.

use std::cell::LazyCell;

use crate::address::Address;
use crate::api::cloudflare::expression::AddressSet;
use crate::decision::Remediation;
use crate::observed::lists::Observed;
use crate::plan::lists::{Plan, Removal};
use crate::plan::{Class, Why};
use crate::small::Sorted;
use crate::state::writes::WriteHistory;

use super::steps::List;

/// Takes out the removals that have to wait for that, and says whether there were any. An owner's never waits; all
/// others do if one must: on a site where every run takes something, it would else wait for ever.
pub(super) fn hold_back(
    lists: &mut [List<'_>],
    (plan, observed): (&Plan, &Observed),
    history: &WriteHistory,
    now: u64,
) -> bool {
    let before = removals(lists);
    // Of an operation that an earlier run began nobody knows here what it did.
    let is_in_doubt =
        history.may_read_stale() || history.may_show_gone(now) && leans(lists, plan, observed);
    if is_in_doubt {
        lists.iter_mut().for_each(|list| list.removals.retain(|r| r.class == Class::Owner));
    }
    removals(lists) < before
}

/// Whether something leaves only because something else is there.
fn leans(lists: &[List<'_>], plan: &Plan, observed: &Observed) -> bool {
    let kept = |list| kept(plan, observed, list).collect();
    let there = LazyCell::new(|| Remediation::ALL.map(kept) as [AddressSet; 2]);
    let leans = |removal: &Removal| {
        removal.after.is_none() && there.iter().any(|set| set.touches(&removal.address))
    };
    let mut removals = lists.iter().flat_map(|list| list.removals.iter().copied());
    removals.any(|removal| removal.class != Class::Owner && leans(removal))
}

fn removals(lists: &[List<'_>]) -> usize {
    lists.iter().map(|list| list.removals.len()).sum()
}

/// What `list` holds and keeps.
pub(super) fn kept<'a>(
    plan: &'a Plan,
    observed: &'a Observed,
    list: Remediation,
) -> impl Iterator<Item = Address> + 'a {
    let plan = plan.lists().iter().filter(move |plan| plan.list == list);
    let going = plan.flat_map(|plan| &plan.removals).filter(|removal| removal.why != Why::Surplus);
    let going: Sorted<Address> = going.map(|removal| removal.address).collect();
    let content = observed.lists().filter(move |(of, _)| *of == list);
    let there = content.flat_map(|(_, content)| content.items().keys());
    there.filter(move |address| !going.contains(address))
}

//! What does not leave on the word of a list that may be shown as it was before an operation.
//!
//! For up to a minute after an operation has completed, a list may be read as it was before (facts cloudflare 1.5).
//! What was added is then added once more, which changes nothing. But what has just gone still seems to be there,
//! and whatever left because that is there would leave nobody at the edge: the range around somebody who was taken
//! because the range covered him, the challenge of one whose ban has ended and was decided again.

use crate::address::Address;
use crate::api::cloudflare::expression::AddressSet;
use crate::decision::Remediation;
use crate::observed::lists::Observed;
use crate::plan::lists::{Plan, Removal};
use crate::plan::{Class, Why};
use crate::small::Sorted;
use crate::state::writes::WriteHistory;

use super::steps::List;

/// Takes out the removals that have to wait for that, and says whether there were any. An owner's never waits.
pub(super) fn hold_back(
    lists: &mut [List<'_>],
    (plan, observed): (&Plan, &Observed),
    history: &WriteHistory,
    now: u64,
) -> bool {
    let before = removals(lists);
    if history.may_read_stale() {
        // Nobody knows what that operation did.
        lists.iter_mut().for_each(|list| list.removals.retain(|r| r.class == Class::Owner));
    } else if before > 0 && history.may_show_gone(now) {
        let there = Remediation::ALL.map(|list| kept(plan, observed, list).collect());
        let leans = |removal: &Removal| {
            let mut there = there.iter();
            removal.after.is_none() && there.any(|set: &AddressSet| set.touches(&removal.address))
        };
        let goes = |removal: &Removal| removal.class == Class::Owner || !leans(removal);
        lists.iter_mut().for_each(|list| list.removals.retain(|removal| goes(removal)));
    }
    removals(lists) < before
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

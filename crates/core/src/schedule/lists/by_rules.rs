//! What the rules of zones have to do with what is sent to the lists.
//!
//! A rule that says beyond its list ends what "at the edge" means: an address may be on the list that it moves
//! to, and be let through by that list's rule. So what leaves one list for something on the other goes only
//! when no rule lifts that any more; the rules' part of the same run sees to it, and the next run removes.

use crate::address::Address;
use crate::api::cloudflare::expression::AddressSet;
use crate::decision::{Each, Remediation};
use crate::observed::lists::Observed;
use crate::plan::lists::{Plan, Removal};
use crate::plan::{Class, Why};
use crate::small::Sorted;

use super::Urgency;
use super::stale::kept;

/// What the rules of the named zones say; by default there are none.
#[derive(Debug, Clone, Default)]
pub struct ByRules {
    /// Whether the lists must not wait for a quieter moment.
    pub urgency: Urgency,
    /// What the rule of a list lets through in one zone at least, although the list has it; without what is
    /// protected, which is to pass.
    pub lifted: Each<AddressSet>,
}

/// The removals after which somebody would be on neither list's side at the edge, because the other list's rule
/// still lifts what is there for him. An owner waits for nothing.
pub(super) fn too_early(
    plan: &Plan,
    observed: &Observed,
    lifted: &Each<AddressSet>,
) -> Sorted<(Remediation, Address)> {
    let of_list = |list: Remediation| {
        let other = list.other();
        let lifted = lifted.get(other).filter(|lifted| !lifted.is_empty())?;
        let plan_of = plan.lists().iter().find(|of| of.list == list)?;
        let there = matched(plan, observed, other);
        let is_early = move |removal: &&Removal| match removal.why {
            _ if removal.class == Class::Owner => false,
            Why::Surplus => false,
            Why::Moved | Why::Covered => lifted.touches(&removal.address),
            // A range opens for all that is inside of it.
            _ => {
                let inside = there.inside(&removal.address);
                !removal.address.is_single() && inside.iter().any(|one| lifted.touches(one))
            }
        };
        let early = plan_of.removals.iter().filter(is_early);
        Some(early.map(|removal| (list, removal.address)).collect::<Vec<_>>())
    };
    Remediation::ALL.into_iter().filter_map(of_list).flatten().collect()
}

/// What `list` holds and keeps, or gets.
fn matched(plan: &Plan, observed: &Observed, list: Remediation) -> AddressSet {
    let coming = plan.lists().iter().filter(|plan| plan.list == list);
    let coming = coming.flat_map(|plan| plan.additions.iter().chain(&plan.set_aside));
    kept(plan, observed, list).chain(coming.map(|addition| addition.address)).collect()
}

//! Desired and observed state -> [`Plan`]: which addresses come and go, and why.
//!
//! How that is expressed in bulk operations is `operations`' business.

use std::time::SystemTime;

use crate::address::Address;
use crate::api::cloudflare::lists::ItemId;
use crate::decision::Remediation;
use crate::desired::Desired;
use crate::observed::lists::{Observed, ObservedList};
use crate::settings::protected::Protected;

use super::operations::{self, ListDrift};
use super::places::Places;
use super::{Change, ListPlan, Plan, Why};

/// What a plan depends on besides the two states.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Tells how long ago a list was last written, which decides whether it may be rewritten whole.
    pub now: SystemTime,
    /// The most items over all lists together.
    pub items_max: u64,
    /// What is never to be blocked.
    pub protected: &'a Protected,
}

/// What happens to items that no decision asks for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifted {
    /// They go.
    Removed,
    /// They stay for now: the guard has refused their removal.
    Held,
}

/// Compares what should be with what is.
///
/// | on the list | desired there | |
/// |---|---|---|
/// | no | yes, and has a place | add |
/// | yes | no, or has no place | remove |
/// | yes | yes | keep |
/// | twice, in two spellings | | remove the second |
/// | an item that cannot be understood | | leave alone |
pub fn diff(desired: &Desired, observed: &Observed, rules: Rules<'_>) -> Plan {
    diff_with(desired, observed, rules, Lifted::Removed)
}

pub(crate) fn diff_with(
    desired: &Desired,
    observed: &Observed,
    rules: Rules<'_>,
    lifted: Lifted,
) -> Plan {
    let places = Places::assign(desired, observed, places(desired, observed, rules, lifted));
    let mut lists = Vec::new();
    let mut drifts = Vec::new();
    for (list, content) in observed.lists() {
        let drift = list_drift(list, content, desired, &places, rules, lifted);
        let changes = changes(&drift);
        lists.push(ListPlan {
            list,
            desired: places.count(list),
            keep: (content.items().len() + content.surplus().len() - drift.remove.len()) as u64,
            changes,
            foreign: content.foreign().count,
        });
        drifts.push(drift);
    }
    let operations = operations::express(&drifts, &places, rules);
    Plan { lists, operations, origins: places.by_origin() }
}

/// How many places there are to give: what Cloudflare allows, less what is at the edge and stays
/// there whatever is desired, less what stands there twice for the moment in which it moves.
fn places(desired: &Desired, observed: &Observed, rules: Rules<'_>, lifted: Lifted) -> u64 {
    let items: u64 = observed.lists().map(|(_, content)| content.len()).sum();
    if items + desired.candidates().count() as u64 <= rules.items_max {
        return rules.items_max;
    }
    let taken = observed.lists().map(|(list, content)| {
        let items = content.items().keys();
        let stay = items.filter(|address| {
            let wanted = desired.on_list(address);
            wanted != Some(list)
                && match why(list, address, wanted, desired, rules) {
                    Why::Moved | Why::Covered => true,
                    Why::Lifted => lifted == Lifted::Held,
                    _ => false,
                }
        });
        content.foreign().count + stay.count() as u64
    });
    rules.items_max.saturating_sub(taken.sum())
}

fn list_drift<'o>(
    list: Remediation,
    observed: &'o ObservedList,
    desired: &Desired,
    places: &Places<'_>,
    rules: Rules<'_>,
    lifted: Lifted,
) -> ListDrift<'o> {
    let add =
        places.addresses(list).filter(|address| !observed.items().contains_key(address)).collect();
    let mut held = 0;
    let mut remove: Vec<(Address, &ItemId, Why)> = Vec::new();
    for (address, item) in observed.items() {
        let has_place_on = places.on_list(address);
        if has_place_on == Some(list) {
            continue;
        }
        match why(list, address, has_place_on, desired, rules) {
            Why::Lifted if lifted == Lifted::Held => held += 1,
            why => remove.push((*address, &item.id, why)),
        }
    }
    remove.extend(observed.surplus().iter().map(|(address, id)| (*address, id, Why::Surplus)));
    ListDrift { list, observed, add, remove, held }
}

/// What comes and what goes, by address, and what is there twice at the end. Both are in order already,
/// so that they need no sort, which is large as code.
fn changes(drift: &ListDrift<'_>) -> Vec<Change> {
    let mut changes = Vec::with_capacity(drift.add.len() + drift.remove.len());
    let mut add = drift.add.iter().peekable();
    for (address, _, why) in &drift.remove {
        while let Some(added) = add.next_if(|added| *added < address || *why == Why::Surplus) {
            changes.push(Change::Add(*added));
        }
        changes.push(Change::Remove(*address, *why));
    }
    changes.extend(add.copied().map(Change::Add));
    changes
}

/// Why `address`, which is on `list` and should now be on `wanted`, leaves it.
fn why(
    list: Remediation,
    address: &Address,
    wanted: Option<Remediation>,
    desired: &Desired,
    rules: Rules<'_>,
) -> Why {
    if rules.protected.rule(address).is_some() {
        Why::Protected
    } else if wanted.is_some() {
        Why::Moved
    } else if desired.on_list(address).is_some() {
        Why::Displaced
    } else if desired.covering(address, list).is_some() {
        Why::Covered
    } else {
        Why::Lifted
    }
}

#[cfg(test)]
impl Rules<'static> {
    /// At this time, with places for 10,000 and nobody protected.
    pub(crate) fn at(now: SystemTime) -> Self {
        static NOBODY: std::sync::LazyLock<Protected> =
            std::sync::LazyLock::new(Protected::default);
        Self { now, items_max: 10_000, protected: &NOBODY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(ban: (&[&str], &[&str]), captcha: (&[&str], &[&str])) -> Plan {
        let desired = Desired::of(ban.0, captcha.0);
        let observed = Observed::of(ObservedList::of(ban.1), ObservedList::of(captcha.1));
        diff(&desired, &observed, Rules::at(SystemTime::UNIX_EPOCH))
    }

    #[test]
    fn same_state_on_both_sides_gives_an_empty_plan() {
        let plan = plan((&["1.1.1.1"], &["1.1.1.1"]), (&[], &[]));
        assert!(plan.is_empty());
        assert_eq!((plan.drift(), plan.lists()[0].keep), (0, 1));
    }

    #[test]
    fn additions_and_removals_are_listed_by_address() {
        let plan = plan((&["1.1.1.1", "3.3.3.3"], &["2.2.2.2", "3.3.3.3"]), (&[], &[]));
        let ban = &plan.lists()[0];
        assert_eq!(
            ban.changes,
            [
                Change::Add("1.1.1.1".parse().unwrap()),
                Change::Remove("2.2.2.2".parse().unwrap(), Why::Lifted)
            ]
        );
        assert_eq!((ban.added(), ban.removed(), ban.keep), (1, 1, 1));
    }

    #[test]
    fn second_spelling_of_a_desired_address_is_removed_and_the_first_kept() {
        let plan = plan((&["9.9.9.9"], &["9.9.9.9", "::ffff:9.9.9.9"]), (&[], &[]));
        assert_eq!(
            plan.lists()[0].changes,
            [Change::Remove("9.9.9.9".parse().unwrap(), Why::Surplus)]
        );
        assert_eq!((plan.lists()[0].keep, plan.operations().len()), (1, 1));
        assert_eq!(plan.operations()[0].verb(), "DELETE");
    }
}

//! Desired and observed state -> [`Plan`]: which addresses come and go.
//!
//! How that is expressed in bulk operations is `operations`' business.

use std::time::SystemTime;

use crate::decision::Remediation;
use crate::desired::Desired;
use crate::observed::lists::{ItemId, Observed, ObservedList};

use super::operations::{self, ListDrift};
use super::{Change, ListPlan, Plan};

/// Compares what should be with what is. `now` tells how long ago a list was last written, which
/// decides whether it may be rewritten whole.
///
/// | on the list | desired there | |
/// |---|---|---|
/// | no | yes | add |
/// | yes | no | remove |
/// | yes | yes | keep |
/// | twice, in two spellings | | remove the second |
/// | an item that cannot be understood | | leave alone |
pub fn diff(desired: &Desired, observed: &Observed, now: SystemTime) -> Plan {
    let mut lists = Vec::new();
    let mut drifts = Vec::new();
    for (remediation, list) in observed.lists() {
        let drift = list_drift(remediation, list, desired);
        let mut changes: Vec<_> = drift.add.iter().copied().map(Change::Add).collect();
        changes.extend(drift.remove.iter().map(|(address, _)| Change::Remove(*address)));
        changes.sort_unstable_by_key(Change::address);
        lists.push(ListPlan {
            list: remediation,
            keep: (list.items().len() + list.surplus().len() - drift.remove.len()) as u64,
            changes,
            foreign: list.foreign().count,
        });
        drifts.push(drift);
    }
    Plan { lists, operations: operations::express(&drifts, desired, now) }
}

fn list_drift<'o>(
    list: Remediation,
    observed: &'o ObservedList,
    desired: &Desired,
) -> ListDrift<'o> {
    let add =
        desired.addresses(list).filter(|address| !observed.items().contains_key(address)).collect();
    let mut remove: Vec<(_, &ItemId)> = observed
        .items()
        .iter()
        .filter(|(address, _)| desired.on_list(address) != Some(list))
        .map(|(address, item)| (*address, &item.id))
        .collect();
    remove.extend(observed.surplus().iter().map(|(address, id)| (*address, id)));
    remove.sort_unstable();
    ListDrift { list, observed, add, remove }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(ban: (&[&str], &[&str]), captcha: (&[&str], &[&str])) -> Plan {
        let desired = Desired::of(ban.0, captcha.0);
        let observed = Observed::of(ObservedList::of(ban.1), ObservedList::of(captcha.1));
        diff(&desired, &observed, SystemTime::UNIX_EPOCH)
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
            [Change::Add("1.1.1.1".parse().unwrap()), Change::Remove("2.2.2.2".parse().unwrap())]
        );
        assert_eq!((ban.added(), ban.removed(), ban.keep), (1, 1, 1));
    }

    #[test]
    fn second_spelling_of_a_desired_address_is_removed_and_the_first_kept() {
        let plan = plan((&["9.9.9.9"], &["9.9.9.9", "::ffff:9.9.9.9"]), (&[], &[]));
        assert_eq!(plan.lists()[0].changes, [Change::Remove("9.9.9.9".parse().unwrap())]);
        assert_eq!((plan.lists()[0].keep, plan.operations().len()), (1, 1));
        assert_eq!(plan.operations()[0].verb(), "DELETE");
    }
}

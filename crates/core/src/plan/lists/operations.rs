//! Expresses a drift in the fewest bulk operations that leave no gap.
//!
//! The rule for one list: nothing to do, no operation; only additions, POST; only removals, DELETE;
//! both, one PUT where rewriting the list is affordable (see [`affordable`]), else POST, then
//! DELETE. Over both lists additions come first, so that an address that moves is never absent from
//! both. Only where they would not fit, what nobody needs any more goes before them.

use std::time::{Duration, SystemTime};

use crate::address::Address;
use crate::api::cloudflare::lists::{ItemId, NewItem};
use crate::decision::Remediation;
use crate::observed::lists::ObservedList;

use super::places::Places;
use super::{Items, Operation, Rules, Why};
use crate::plan::Batch;

/// The largest list that one PUT rewrites: 1.5 MB of JSON. Cloudflare documents no limit of its own
/// (facts cloudflare 1.5); its Terraform provider writes lists of every size in one PUT.
pub const REPLACE_ITEMS_MAX: usize = 50_000;

/// Cloudflare's documented limit: 1,000,000 item modifications in 12 hours (facts cloudflare 1.8).
const MODIFICATIONS_PER_SECOND: f64 = 1_000_000.0 / (12.0 * 3600.0);

/// The least time that a rewrite may be charged for: one interval between runs, so that lists of up
/// to 1,388 items may be rewritten at every run without ever meeting the documented limit.
const INTERVAL: Duration = Duration::from_secs(120);

/// What differs on one list.
pub(super) struct ListDrift<'o> {
    pub(super) list: Remediation,
    pub(super) observed: &'o ObservedList,
    pub(super) add: Vec<Address>,
    pub(super) remove: Vec<(Address, &'o ItemId, Why)>,
    /// Items that stay although they are not desired.
    pub(super) held: u64,
}

/// The operations for all lists, in the order in which they must run.
pub(super) fn express(
    drifts: &[ListDrift<'_>],
    places: &Places<'_>,
    rules: Rules<'_>,
) -> Vec<Operation> {
    let operations = in_fewest(drifts, places, rules.now);
    let items = drifts.iter().map(|drift| drift.observed.len()).sum();
    if fits(&operations, items, rules.items_max) { operations } else { within_places(drifts) }
}

/// In the fewest operations, whatever the number of items in between.
fn in_fewest(drifts: &[ListDrift<'_>], places: &Places<'_>, now: SystemTime) -> Vec<Operation> {
    let mut replaced = affordable(drifts, places, now);
    // The list whose additions are written first: bans are worth more, but a rewrite also removes,
    // so it has to wait for the list that takes over what it drops.
    let mut order: Vec<&ListDrift<'_>> = drifts.iter().collect();
    if let [ban, captcha] = drifts
        && replaced.contains(&ban.list)
        && moves(ban, captcha)
    {
        order.reverse();
        if moves(captcha, ban) {
            // Addresses move both ways. Two rewrites would drop some before the other adds them, so
            // the second list is added to first and removed from last.
            replaced.retain(|list| *list != captcha.list);
        }
    }

    let mut operations = Vec::new();
    for drift in &order {
        if replaced.contains(&drift.list) {
            operations.extend(replace(drift, places));
        } else {
            append(&mut operations, drift);
        }
    }
    for drift in drifts.iter().filter(|drift| !replaced.contains(&drift.list)) {
        delete(&mut operations, drift, |_| true);
    }
    operations
}

/// Whether the lists, which have `items` now, never hold more than they may while the operations
/// run. One that would exceed it fails whole (facts cloudflare 1.6).
fn fits(operations: &[Operation], mut items: u64, items_max: u64) -> bool {
    operations.iter().map(Operation::effect).all(|effect| {
        items = (items + effect.added).saturating_sub(effect.removed);
        items <= items_max || effect.added == 0
    })
}

/// Without ever needing more places than there are: what nobody needs any more makes room first.
/// What moves, or is covered by a range that comes, still goes last.
fn within_places(drifts: &[ListDrift<'_>]) -> Vec<Operation> {
    let needed = |why| matches!(why, Why::Moved | Why::Covered);
    let mut operations = Vec::new();
    drifts.iter().for_each(|drift| delete(&mut operations, drift, |why| !needed(why)));
    drifts.iter().for_each(|drift| append(&mut operations, drift));
    drifts.iter().for_each(|drift| delete(&mut operations, drift, needed));
    operations
}

fn append(operations: &mut Vec<Operation>, drift: &ListDrift<'_>) {
    let items = drift.add.iter().map(|&ip| NewItem { ip, comment: None });
    let batches = Batch::split(items).into_iter();
    operations.extend(batches.map(|items| Operation::Append { list: drift.list, items }));
}

fn delete(operations: &mut Vec<Operation>, drift: &ListDrift<'_>, which: impl Fn(Why) -> bool) {
    let ids = drift.remove.iter().filter(|(.., why)| which(*why)).map(|(_, id, _)| (*id).clone());
    let batches = Batch::split(ids).into_iter();
    operations.extend(batches.map(|ids| Operation::Delete { list: drift.list, ids }));
}

/// The lists that are to be rewritten by one PUT.
///
/// One operation instead of two matters most: some accounts are allowed one accepted write in 72
/// hours, whatever its size (facts cloudflare 1.8), and after a POST the DELETE would have to wait
/// for the next. But each rewritten item counts against the documented 1,000,000 modifications in
/// 12 hours, perhaps the removed ones too, so a rewrite costs desired + observed items, and what
/// has been refilled of that limit since the last write pays for it: 10,000 items every 14.4
/// minutes, small lists always. When the last write was, the youngest item tells; without it, or
/// with a clock that is behind, it is taken to have been just now.
///
/// A list with items that are to stay although they are not desired is never rewritten, since that
/// would delete them.
fn affordable(drifts: &[ListDrift<'_>], places: &Places<'_>, now: SystemTime) -> Vec<Remediation> {
    let newest = drifts.iter().filter_map(|drift| drift.observed.newest()).max();
    let since_write = newest.and_then(|newest| now.duration_since(newest).ok()).unwrap_or_default();
    let mut allowance = since_write.max(INTERVAL).as_secs_f64() * MODIFICATIONS_PER_SECOND;

    let mut candidates: Vec<(u64, Remediation)> = drifts
        .iter()
        .filter(|d| !d.add.is_empty() && !d.remove.is_empty())
        .filter(|d| d.held == 0 && d.observed.foreign().count == 0)
        .map(|d| (d.list, places.count(d.list), d.observed.len()))
        .filter(|(_, desired, _)| *desired <= REPLACE_ITEMS_MAX as u64)
        .map(|(list, desired, observed)| (desired + observed, list))
        .collect();
    // The cheaper first; there are two at most.
    if let [first, second] = &mut candidates[..]
        && second < first
    {
        std::mem::swap(first, second);
    }
    candidates
        .into_iter()
        .filter(|(cost, _)| {
            allowance -= *cost as f64;
            allowance >= 0.0
        })
        .map(|(_, list)| list)
        .collect()
}

/// Whether some address leaves `from` for `to`.
fn moves(from: &ListDrift<'_>, to: &ListDrift<'_>) -> bool {
    from.remove.iter().any(|(address, ..)| to.add.binary_search(address).is_ok())
}

fn replace(drift: &ListDrift<'_>, places: &Places<'_>) -> Option<Operation> {
    let items = places
        .addresses(drift.list)
        .map(|ip| {
            let kept = drift.observed.items().get(&ip);
            NewItem { ip, comment: kept.and_then(|item| item.comment.clone()) }
        })
        .collect();
    Some(Operation::Replace {
        list: drift.list,
        items: Items::new(items)?,
        added: drift.add.len() as u64,
        removed: drift.remove.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Plan, diff};
    use super::*;
    use crate::desired::Desired;
    use crate::observed::lists::Observed;

    /// Observed items of these tests carry no age, so `EPOCH` means "written just now".
    const EPOCH: SystemTime = SystemTime::UNIX_EPOCH;

    fn verbs(plan: &Plan) -> Vec<String> {
        plan.operations().iter().map(|o| format!("{} {}", o.verb(), o.effect().list)).collect()
    }

    fn plan(ban: (&[&str], &[&str]), captcha: (&[&str], &[&str])) -> Vec<String> {
        let desired = Desired::of(ban.0, captcha.0);
        let observed = Observed::of(ObservedList::of(ban.1), ObservedList::of(captcha.1));
        verbs(&diff(&desired, &observed, Rules::at(EPOCH)))
    }

    /// `n` different addresses, from 10.0.0.`first` on.
    fn many(first: u32, n: u32) -> Vec<String> {
        (first..first + n)
            .map(|i| std::net::Ipv4Addr::from_bits(0x0a00_0000 + i).to_string())
            .collect()
    }

    fn many_plan(desired: (u32, u32), observed: (u32, u32), age: Option<u64>) -> Vec<String> {
        let (desired, observed) = (many(desired.0, desired.1), many(observed.0, observed.1));
        let desired: Vec<_> = desired.iter().map(String::as_str).collect();
        let mut list = ObservedList::default();
        for ip in &observed {
            let created =
                age.map(|_| r#","created_on":"1970-01-01T00:00:00Z""#).unwrap_or_default();
            list.add(
                serde_json::from_str(&format!(r#"{{"id":"{ip}","ip":"{ip}"{created}}}"#)).unwrap(),
            );
        }
        let now = EPOCH + Duration::from_secs(age.unwrap_or(10_000_000));
        let observed = Observed::of(list, ObservedList::default());
        let rules = Rules { items_max: 500_000, ..Rules::at(now) };
        verbs(&diff(&Desired::of(&desired, &[]), &observed, rules))
    }

    #[test]
    fn one_direction_of_drift_takes_one_operation() {
        assert_eq!(plan((&["1.1.1.1"], &[]), (&[], &[])), ["POST ban"]);
        assert_eq!(plan((&["1.1.1.1"], &["1.1.1.1", "1.1.1.2"]), (&[], &[])), ["DELETE ban"]);
    }

    #[test]
    fn both_directions_on_a_small_list_take_one_put() {
        assert_eq!(plan((&["1.1.1.1"], &["1.1.1.2"]), (&[], &[])), ["PUT ban"]);
    }

    #[test]
    fn emptying_a_list_is_a_delete_and_never_an_empty_put() {
        assert_eq!(
            plan((&[], &["1.1.1.1", "1.1.1.2"]), (&[], &["2.2.2.2"])),
            ["DELETE ban", "DELETE captcha"]
        );
    }

    #[test]
    fn both_directions_on_a_large_list_take_a_put_only_when_its_items_have_been_earned() {
        // 10,000 desired + 10,000 observed cost 864 s of the documented limit.
        let at = |age| many_plan((5, 10_000), (0, 10_000), age);
        assert_eq!(at(Some(860)), ["POST ban", "DELETE ban"]);
        assert_eq!(at(Some(870)), ["PUT ban"]);
        assert_eq!(at(None), ["POST ban", "DELETE ban"], "age not known");
    }

    #[test]
    fn list_larger_than_one_put_takes_post_and_delete_in_batches() {
        let most = REPLACE_ITEMS_MAX as u32;
        let old = Some(1_000_000_000);
        assert_eq!(many_plan((1, most), (0, most), old), ["PUT ban"]);
        assert_eq!(many_plan((1, most + 1), (0, most), old), ["POST ban", "DELETE ban"]);
        assert_eq!(many_plan((0, 25_000), (0, 0), old), ["POST ban"; 3]);
        assert_eq!(many_plan((0, 0), (0, 10_001), old), ["DELETE ban"; 2]);
    }

    #[test]
    fn list_with_an_item_not_understood_is_never_rewritten() {
        let mut list = ObservedList::of(&["1.1.1.2"]);
        list.add(serde_json::from_str(r#"{"id":"x","hostname":{"url_hostname":"a"}}"#).unwrap());
        let observed = Observed::of(list, ObservedList::default());
        let plan = diff(&Desired::of(&["1.1.1.1"], &[]), &observed, Rules::at(EPOCH));
        assert_eq!(verbs(&plan), ["POST ban", "DELETE ban"]);
        assert_eq!(plan.lists()[0].foreign, 1);
    }

    #[test]
    fn rewritten_list_keeps_the_remarks_of_what_stays() {
        let mut list = ObservedList::of(&["1.1.1.2"]);
        list.add(serde_json::from_str(r#"{"id":"x","ip":"1.1.1.1","comment":"why"}"#).unwrap());
        let observed = Observed::of(list, ObservedList::default());
        let plan = diff(&Desired::of(&["1.1.1.1", "1.1.1.3"], &[]), &observed, Rules::at(EPOCH));
        let [Operation::Replace { items, added: 1, removed: 1, .. }] = plan.operations() else {
            panic!("{plan:?}")
        };
        let comments: Vec<_> = items.as_slice().iter().map(|i| i.comment.as_deref()).collect();
        assert_eq!(comments, [Some("why"), None]);
    }

    #[test]
    fn address_that_moves_is_added_before_it_is_removed() {
        // captcha -> ban
        assert_eq!(plan((&["1.1.1.1"], &[]), (&[], &["1.1.1.1"])), ["POST ban", "DELETE captcha"]);
        // ban -> captcha, the ban list changing in both directions: its PUT has to wait.
        assert_eq!(
            plan((&["3.3.3.3"], &["1.1.1.1"]), (&["1.1.1.1"], &[])),
            ["POST captcha", "PUT ban"]
        );
        // ban -> captcha, both lists changing in both directions.
        assert_eq!(
            plan((&["3.3.3.3"], &["1.1.1.1"]), (&["1.1.1.1"], &["4.4.4.4"])),
            ["PUT captcha", "PUT ban"]
        );
        // Both ways at once: one list must be added to first and removed from last.
        assert_eq!(
            plan((&["2.2.2.2"], &["1.1.1.1"]), (&["1.1.1.1"], &["2.2.2.2"])),
            ["POST captcha", "PUT ban", "DELETE captcha"]
        );
        // Nothing moves: bans first.
        assert_eq!(
            plan((&["3.3.3.3"], &["1.1.1.1"]), (&["5.5.5.5"], &["4.4.4.4"])),
            ["PUT ban", "PUT captcha"]
        );
    }
}

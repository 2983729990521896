//! Expresses what is approved in the fewest bulk operations that leave no gap, the most urgent first.
//!
//! For one list: only additions, POST; only removals, DELETE; both, one PUT where rewriting the list is
//! affordable, or where writes are scarce; else POST and DELETE. Over both lists, the operation with the
//! most urgent change is the first that can go. What limits the order:
//!
//! - what moves, or is covered by a range that comes, goes after what replaces it is at the edge;
//! - a range goes after what comes inside it, unless that needs its place, or writes are scarce;
//! - what moves to where a rule still lifts it stays, until the rule is changed (`by_rules`);
//! - after a PUT of a list, none of its items is named by the id that it had before: what goes later does so
//!   by a second PUT, or with the next run;
//! - at no moment do the lists hold more than they may: an operation that would exceed it fails whole
//!   (facts cloudflare 1.6).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};

use crate::address::Address;
use crate::api::cloudflare::lists::NewItem;
use crate::decision::Remediation;
use crate::observed::lists::ObservedList;
use crate::order::{Gather, Order};
use crate::plan::lists::{Addition, ListPlan, Plan, Removal, Room};
use crate::plan::{BATCH_ITEMS_MAX, Batch, Class, Why};

use super::{Inputs, Items, Operation, by_rules};

/// The largest list that one PUT rewrites: 1.5 MB of JSON. Cloudflare documents no limit of its own
/// (facts cloudflare 1.5); its Terraform provider writes lists of every size in one PUT.
pub const REPLACE_ITEMS_MAX: usize = 50_000;

/// Cloudflare's documented limit: 1,000,000 item modifications in 12 hours (facts cloudflare 1.8).
const MODIFICATIONS_PER_SECOND: f64 = 1_000_000.0 / (12.0 * 3600.0);

/// The least time that a rewrite may be charged for: one interval between runs, so that lists of up to
/// 1,388 items may be rewritten at every run without ever meeting the documented limit.
const INTERVAL: Duration = Duration::from_secs(120);

/// The operations with the class of the most urgent change in each.
pub(super) struct Expressed {
    pub(super) operations: Vec<(Class, Operation)>,
    /// Additions that the plan wants.
    pub(super) additions: u64,
    /// Additions that find no room.
    pub(super) without_room: u64,
    /// Whether a removal waits for a rule.
    pub(super) waits_for_rule: bool,
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
    let additions: u64 = lists.iter().map(|list| list.additions.len() as u64).sum();
    let without_room = cut_to_room(&mut lists, plan.room());
    cut_to_half(&mut lists, inputs.history.additions_max(additions));
    drop_unreplaced(&mut lists);
    choose_rewrites(&mut lists, inputs);
    let is_scarce = inputs.history.is_scarce(inputs.now);
    if !is_scarce {
        find_what_comes_inside(&mut lists);
    }
    let mut operations = ordered(&mut lists, plan.room(), is_scarce);
    if operations.is_empty() {
        // What comes inside a range that goes needs its place.
        lists.iter_mut().for_each(|list| list.inside.clear());
        operations = ordered(&mut lists, plan.room(), is_scarce);
    }
    Expressed { operations, additions, without_room, waits_for_rule: !early.is_empty() }
}

fn ordered(lists: &mut [List<'_>], room: Room, is_scarce: bool) -> Vec<(Class, Operation)> {
    loop {
        match in_order(lists, room, is_scarce) {
            Ok(operations) => return operations,
            Err((list, rewrite)) => {
                lists.iter_mut().filter(|l| l.list == list).for_each(|l| l.rewrite = rewrite)
            }
        }
    }
}

/// Finds the additions inside the ranges that go: without them, who is still to be blocked would slip
/// through in between. An owner's range waits for nothing.
fn find_what_comes_inside(lists: &mut [List<'_>]) {
    let inside = |range: &Address| -> Vec<(Remediation, Address)> {
        let of = |list: &List<'_>| {
            let from = list.additions.partition_point(|addition| addition.address <= *range);
            let inside = list.additions[from..].iter().map(|addition| addition.address);
            let inside = inside.take_while(|address| range.contains(address));
            inside.map(|address| (list.list, address)).collect::<Vec<_>>()
        };
        lists.iter().flat_map(of).collect()
    };
    let found: Vec<BTreeMap<Address, Vec<(Remediation, Address)>>> = lists
        .iter()
        .map(|list| {
            let ranges = list.removals.iter().filter(|removal| !removal.address.is_single());
            let ranges = ranges.filter(|removal| removal.class != Class::Owner);
            let all = ranges.map(|removal| (removal.address, inside(&removal.address)));
            all.filter(|(_, inside)| !inside.is_empty()).gather()
        })
        .collect();
    lists.iter_mut().zip(found).for_each(|(list, found)| list.inside = found);
}

/// What is to be done on one list.
struct List<'a> {
    list: Remediation,
    observed: &'a ObservedList,
    additions: Vec<&'a Addition>,
    removals: Vec<&'a Removal>,
    rewrite: Rewrite,
    /// Whether the list may be rewritten a second time for what has to wait.
    may_rewrite_again: bool,
    /// What comes inside of ranges that go.
    inside: BTreeMap<Address, Vec<(Remediation, Address)>>,
}

/// Whether one PUT carries what is to be done on a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rewrite {
    /// Not: POST and DELETE.
    No,
    /// All of it.
    Whole,
    /// All but what has to wait for another list, which goes later.
    Split,
}

impl<'a> List<'a> {
    fn new(plan: &'a ListPlan, observed: &'a ObservedList) -> Self {
        Self {
            list: plan.list,
            observed,
            additions: plan.additions.iter().collect(),
            removals: plan.removals.iter().collect(),
            rewrite: Rewrite::No,
            may_rewrite_again: false,
            inside: BTreeMap::new(),
        }
    }

    /// Whether everything that stays could be sent.
    fn keeps_only_what_is_taken(&self) -> bool {
        let mut too_wide = self.observed.items().keys().filter(|address| !address.fits_list());
        too_wide.all(|address| self.removals.iter().any(|removal| removal.address == *address))
    }

    fn adds(&self, address: &Address) -> bool {
        self.additions.binary_search_by_key(address, |addition| addition.address).is_ok()
    }

    /// Whether a removal has to wait for what another request brings.
    fn is_bound(&self, removal: &Removal) -> bool {
        self.waits_for(removal).next().is_some()
    }

    /// What other requests bring, and a removal has to wait for.
    fn waits_for(&self, removal: &Removal) -> impl Iterator<Item = (Remediation, Address)> {
        let inside = self.inside.get(&removal.address).into_iter().flatten().copied();
        removal.after.into_iter().chain(inside).filter(|(on, address)| match self.rewrite {
            Rewrite::No => true,
            // What the same PUT brings is there at the same moment.
            Rewrite::Whole | Rewrite::Split => *on != self.list || !self.adds(address),
        })
    }
}

/// Takes out additions for which there is no room, the least important first; gives how many. Removals that
/// are held take room which the plan meant to have. What moves needs none: its own removal gives it back.
fn cut_to_room(lists: &mut [List<'_>], room: Room) -> u64 {
    let added: u64 = lists.iter().map(|list| list.additions.len() as u64).sum();
    let removed: u64 = lists.iter().map(|list| list.removals.len() as u64).sum();
    let over =
        (room.items + added).saturating_sub(removed).saturating_sub(room.items_max).min(added);
    if over == 0 {
        return 0;
    }
    let replacing: BTreeSet<(Remediation, Address)> =
        lists.iter().flat_map(|list| &list.removals).filter_map(|removal| removal.after).gather();
    let mut all: Vec<_> = lists
        .iter()
        .flat_map(|list| list.additions.iter().map(|addition| (list.list, **addition)))
        .filter(|(list, addition)| !replacing.contains(&(*list, addition.address)))
        .collect();
    all.order_by_key(|(_, addition)| (addition.class, addition.rank, addition.address));
    let keep = all.len().saturating_sub(usize::try_from(over).unwrap_or(usize::MAX));
    let cut: BTreeSet<(Remediation, Address)> =
        all.drain(keep..).map(|(list, addition)| (list, addition.address)).gather();
    for list in lists {
        list.additions.retain(|addition| !cut.contains(&(list.list, addition.address)));
    }
    cut.len() as u64
}

/// Takes all but the `most` most urgent additions out: Cloudflare refuses one of them, and did not say which.
fn cut_to_half(lists: &mut [List<'_>], most: u64) {
    let mut all: Vec<_> = lists
        .iter()
        .flat_map(|list| list.additions.iter().map(|addition| (list.list, **addition)))
        .collect();
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    if all.len() <= most {
        return;
    }
    all.order_by_key(|(_, addition)| (addition.class, addition.rank, addition.address));
    let keep: BTreeSet<_> =
        all.iter().take(most).map(|(list, addition)| (*list, addition.address)).gather();
    for list in lists {
        list.additions.retain(|addition| keep.contains(&(list.list, addition.address)));
    }
}

/// Takes out removals whose replacement does not come.
fn drop_unreplaced(lists: &mut [List<'_>]) {
    let is_replaced = |list: &List<'_>| list.removals.iter().any(|removal| removal.after.is_some());
    if !lists.iter().any(is_replaced) {
        return;
    }
    let coming: Vec<(Remediation, BTreeSet<Address>)> = lists
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
/// A list with items that could not be understood is never rewritten, since that would delete them; nor is one
/// that keeps an item which it would not take from us.
fn choose_rewrites(lists: &mut [List<'_>], inputs: Inputs<'_>) {
    let is_scarce = inputs.history.is_scarce(inputs.now);
    if !inputs.history.may_rewrite(inputs.now) {
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
        if is_scarce || allowance >= 0.0 {
            list.rewrite = Rewrite::Whole;
        }
    }
    for (cost, list) in &mut candidates {
        allowance -= *cost as f64;
        list.may_rewrite_again = !is_scarce && allowance >= 0.0;
    }
}

/// A part of a list's work that one or more requests of one kind carry.
struct Piece<'a> {
    list: &'a List<'a>,
    kind: Kind,
    class: Class,
    /// Additions of other pieces that must be at the edge before.
    after: Vec<(Remediation, Address)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Rewrite,
    Append,
    /// What can go at once.
    Delete,
    /// What goes after its replacement.
    DeleteBound,
}

/// The operations in order; `Err` with a list that must be rewritten otherwise: its most urgent change would
/// have to wait for what the rest of it waits for, or it does not fit.
fn in_order(
    lists: &[List<'_>],
    room: Room,
    is_scarce: bool,
) -> Result<Vec<(Class, Operation)>, (Remediation, Rewrite)> {
    let mut pieces: Vec<Piece<'_>> = lists.iter().flat_map(List::pieces).collect();
    // The most urgent first; of equals the ban list, and what adds before what removes.
    pieces.order_by_key(|piece| (piece.class, piece.list.list != Remediation::Ban, piece.kind));
    let mut done: BTreeSet<(Remediation, Address)> = BTreeSet::new();
    let mut items = room.items;
    let mut operations = Vec::new();
    while !pieces.is_empty() {
        // What a PUT leaves there for later would be written again by it.
        let is_rewritten = |of: Remediation| {
            pieces.iter().any(|piece| piece.list.list == of && piece.kind == Kind::Rewrite)
        };
        let is_free = |piece: &Piece<'_>| {
            piece.after_is(&done) && (piece.kind == Kind::Rewrite || !is_rewritten(piece.list.list))
        };
        let fits = |piece: &Piece<'_>| {
            let (added, removed) = piece.counts();
            added == 0 || (items + added).saturating_sub(removed) <= room.items_max
        };
        let next = pieces.iter().position(|piece| is_free(piece) && fits(piece));
        let bound = pieces.iter().position(|piece| !is_free(piece) && piece.is_whole());
        if let Some(bound) = bound {
            let class = pieces[bound].urgent_part();
            // One operation more is worth it where only one may be accepted, or what it brings is urgent.
            let is_late =
                |next: usize| class < pieces[next].class && (is_scarce || class.is_urgent());
            if next.is_none_or(is_late) {
                return Err((pieces[bound].list.list, Rewrite::Split));
            }
        }
        let Some(next) = next else {
            // Only what does not fit is left: as much of it as does, the most urgent first.
            let Some(at) = pieces.iter().position(is_free) else { break };
            let piece = pieces.remove(at);
            if piece.kind == Kind::Rewrite {
                return Err((piece.list.list, Rewrite::No));
            }
            let most = usize::try_from(room.items_max.saturating_sub(items)).unwrap_or(usize::MAX);
            let part = piece.list.append_at_most(most);
            items += part.iter().map(|(_, operation)| operation.effect().added).sum::<u64>();
            done.extend(part.iter().flat_map(|(_, operation)| {
                operation.addresses().iter().map(|item| (piece.list.list, item.ip))
            }));
            operations.extend(part);
            continue;
        };
        let piece = pieces.remove(next);
        // What else can go from the same list now goes with it.
        let is_same = |other: &Piece<'_>| {
            other.list.list == piece.list.list && other.is_delete() && other.after_is(&done)
        };
        if piece.is_delete()
            && let Some(other) = pieces.iter().position(is_same)
        {
            pieces.remove(other);
            items = items.saturating_sub(piece.list.removals.len() as u64);
            operations.extend(piece.list.delete(|_| true));
            continue;
        }
        let (added, removed) = piece.counts();
        items = (items + added).saturating_sub(removed);
        let is_waited_for = pieces.iter().any(|piece| !piece.after.is_empty());
        if is_waited_for && matches!(piece.kind, Kind::Rewrite | Kind::Append) {
            done.extend(piece.list.additions.iter().map(|a| (piece.list.list, a.address)));
        }
        operations.extend(piece.operations());
    }
    Ok(operations)
}

impl List<'_> {
    fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let (bound, free): (Vec<&Removal>, Vec<&Removal>) =
            self.removals.iter().partition(|removal| self.is_bound(removal));
        let additions = self.additions.iter().map(|addition| addition.class).min();
        let class_of = |removals: &[&Removal]| removals.iter().map(|removal| removal.class).min();
        let after = || bound.iter().flat_map(|removal| self.waits_for(removal)).collect();
        let with = additions.into_iter().chain(class_of(&free)).min();
        let bound_after = class_of(&bound).map(|class| (Kind::DeleteBound, class, after()));
        let pieces = match self.rewrite {
            Rewrite::No => [
                additions.map(|class| (Kind::Append, class, Vec::new())),
                class_of(&free).map(|class| (Kind::Delete, class, Vec::new())),
                bound_after,
            ],
            Rewrite::Whole => {
                let class = with.into_iter().chain(class_of(&bound)).min();
                [class.map(|class| (Kind::Rewrite, class, after())), None, None]
            }
            Rewrite::Split if free.is_empty() => {
                [additions.map(|class| (Kind::Append, class, Vec::new())), bound_after, None]
            }
            Rewrite::Split => {
                [with.map(|class| (Kind::Rewrite, class, Vec::new())), bound_after, None]
            }
        };
        let pieces = pieces.into_iter().flatten();
        pieces.map(|(kind, class, after)| Piece { list: self, kind, class, after })
    }

    /// The POSTs of at most so many additions: the most urgent ones, if not all of them.
    fn append_at_most(&self, most: usize) -> Vec<(Class, Operation)> {
        let mut additions = self.additions.clone();
        if additions.len() > most || additions.len() > BATCH_ITEMS_MAX {
            additions.order_by_key(|addition| (addition.class, addition.rank, addition.address));
            additions.truncate(most);
        }
        let batches = Batch::split(additions);
        let operation = |batch: Batch<&Addition>| {
            let class = batch.as_slice().iter().map(|addition| addition.class).min();
            let mut addresses: Vec<Address> =
                batch.as_slice().iter().map(|addition| addition.address).collect();
            addresses.sort_unstable();
            let items = addresses.into_iter().map(|ip| NewItem { ip, comment: None });
            let mut batches = Batch::split(items);
            let append = |items| Operation::Append { list: self.list, items };
            batches.pop().map(|items| (class.unwrap_or(Class::Rest), append(items)))
        };
        batches.into_iter().filter_map(operation).collect()
    }

    fn delete(&self, which: impl Fn(&Removal) -> bool) -> Vec<(Class, Operation)> {
        let mut removals: Vec<&Removal> = self.removals.clone();
        removals.retain(|removal| which(removal));
        if removals.len() > BATCH_ITEMS_MAX {
            removals.order_by_key(|removal| removal.class);
        }
        let operation = |batch: Batch<&Removal>| {
            let class = batch.as_slice().iter().map(|removal| removal.class).min();
            let mut ids = Batch::split(batch.as_slice().iter().map(|removal| removal.id.clone()));
            let delete = |ids| Operation::Delete { list: self.list, ids };
            ids.pop().map(|ids| (class.unwrap_or(Class::Rest), delete(ids)))
        };
        Batch::split(removals).into_iter().filter_map(operation).collect()
    }

    fn replace(&self, class: Class) -> Option<(Class, Operation)> {
        let going = self.going();
        let new = self.additions.iter().map(|addition| addition.address).collect();
        self.rewritten(class, &going, new, going.len())
    }

    /// The PUT for what the first one of the list had to leave there.
    fn replace_again(&self, class: Class) -> Option<(Class, Operation)> {
        let removed = self.removals.len() - self.going().len();
        self.rewritten(class, &self.removals, Vec::new(), removed)
    }

    /// The PUT of all that is there or comes, but for those that are `going`.
    fn rewritten(
        &self,
        class: Class,
        going: &[&Removal],
        new: Vec<Address>,
        removed: usize,
    ) -> Option<(Class, Operation)> {
        let gone: BTreeSet<_> = going.iter().map(|removal| &removal.id).gather();
        let kept = self.observed.items().iter().filter(|(_, item)| !gone.contains(&item.id));
        let kept = kept.map(|(ip, item)| NewItem { ip: *ip, comment: item.comment.clone() });
        let added = self.additions.iter().map(|a| NewItem { ip: a.address, comment: None });
        let mut items: Vec<NewItem> = kept.chain(added).collect();
        items.order_by_key(|item| item.ip);
        let (items, removed) = (Items::new(items)?, removed as u64);
        Some((class, Operation::Replace { list: self.list, items, new, removed }))
    }

    /// Whether a PUT carries all but what has to wait.
    fn is_split_by_put(&self) -> bool {
        self.rewrite == Rewrite::Split && self.removals.iter().any(|r| !self.is_bound(r))
    }

    /// What a rewrite leaves out.
    fn going(&self) -> Vec<&Removal> {
        let removals = self.removals.iter().copied();
        removals.filter(|r| self.rewrite == Rewrite::Whole || !self.is_bound(r)).collect()
    }
}

impl Piece<'_> {
    fn counts(&self) -> (u64, u64) {
        let List { additions, removals, .. } = self.list;
        let bound = removals.iter().filter(|removal| self.list.is_bound(removal)).count() as u64;
        let (added, removed) = (additions.len() as u64, removals.len() as u64);
        match self.kind {
            Kind::Rewrite => (added, self.list.going().len() as u64),
            Kind::Append => (added, 0),
            Kind::Delete => (0, removed - bound),
            Kind::DeleteBound => (0, bound),
        }
    }

    fn is_delete(&self) -> bool {
        matches!(self.kind, Kind::Delete | Kind::DeleteBound)
    }

    /// Whether all that it waits for has been `done`.
    fn after_is(&self, done: &BTreeSet<(Remediation, Address)>) -> bool {
        self.after.iter().all(|after| done.contains(after))
    }

    /// Whether it could be made less bound.
    fn is_whole(&self) -> bool {
        self.kind == Kind::Rewrite && self.list.rewrite == Rewrite::Whole
    }

    /// The class of what could go at once, if this were not one request.
    fn urgent_part(&self) -> Class {
        let removals = self.list.removals.iter().filter(|removal| !self.list.is_bound(removal));
        let classes = removals.map(|removal| removal.class);
        classes.chain(self.list.additions.iter().map(|a| a.class)).min().unwrap_or(Class::Rest)
    }

    fn operations(&self) -> Vec<(Class, Operation)> {
        match self.kind {
            Kind::Rewrite => self.list.replace(self.class).into_iter().collect(),
            Kind::Append => self.list.append_at_most(usize::MAX),
            Kind::Delete => self.list.delete(|removal| !self.list.is_bound(removal)),
            Kind::DeleteBound if self.list.may_rewrite_again && self.list.is_split_by_put() => {
                self.list.replace_again(self.class).into_iter().collect()
            }
            Kind::DeleteBound => self.list.delete(|removal| self.list.is_bound(removal)),
        }
    }
}

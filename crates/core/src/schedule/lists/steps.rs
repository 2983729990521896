//! The order of the bulk operations, one step after the other: of all that could be sent next, the most urgent,
//! the lists then being as it leaves them. What limits it:
//!
//! - an owner's address leaves before anything else is written;
//! - what moves, or is covered by a range that comes, goes after what replaces it is at the edge;
//! - a range goes after what comes inside it;
//! - at no moment do the lists hold more than they may: an operation that would exceed it fails whole
//!   (facts cloudflare 1.6);
//! - a list that was rewritten has new ids, as far as is known (facts cloudflare 1.5): nothing is deleted from it
//!   by those that were read before.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::Address;
use crate::api::cloudflare::expression::AddressSet;
use crate::api::cloudflare::lists::{ItemId, NewItem};
use crate::decision::Remediation;
use crate::observed::lists::ObservedList;
use crate::order::{Gather, Order};
use crate::plan::lists::{Addition, ListPlan, Removal, Room};
use crate::plan::{BATCH_ITEMS_MAX, Batch, Class};
use crate::small::Sorted;

use super::{Items, Operation};

/// How many operations of a run may carry only as much as there is room for, so that what moves on full lists
/// does so in a bounded time; the next run goes on.
const PARTS_MAX: u32 = 2;

/// What has to be at the edge before something goes: an address, on a list.
pub(super) type Place = (Remediation, Address);

/// What is yet to be done on one list, and what has been done.
pub(super) struct List<'a> {
    pub(super) list: Remediation,
    pub(super) observed: &'a ObservedList,
    pub(super) additions: Vec<&'a Addition>,
    pub(super) removals: Vec<&'a Removal>,
    /// Whether one PUT may carry what is to be done.
    pub(super) may_rewrite: bool,
    /// Whether it may be rewritten a second time, for what has to wait.
    pub(super) may_rewrite_again: bool,
    /// What is added by itself, behind all others.
    pub(super) alone: Option<Address>,
    /// What comes inside of ranges that go.
    pub(super) inside: BTreeMap<Address, Vec<Place>>,
    /// Ranges that go with the next run, around somebody who has a place by then.
    pub(super) later: Vec<&'a Removal>,
    is_rewritten: bool,
    came: Vec<Address>,
    gone: Sorted<&'a ItemId>,
}

/// The operations in order, each with the class of its most urgent change.
pub(super) fn in_steps(
    lists: &mut [List<'_>],
    room: Room,
    is_scarce: bool,
) -> Vec<(Class, Operation)> {
    let mut operations = Vec::new();
    let Room { items, items_max } = room;
    let [came, awaited, inside] = Default::default();
    let mut edge = AtEdge { came, awaited, inside, items, items_max };
    let mut parts = 0;
    loop {
        edge.awaited = lists.iter().flat_map(List::replacements).collect();
        edge.inside = lists.iter().flat_map(List::all_inside).collect();
        edge.awaited.retain(|place| !edge.came.contains(place) && !edge.inside.contains(place));
        edge.inside.retain(|place| !edge.came.contains(place));
        let offers = lists.iter().enumerate().flat_map(|(at, list)| list.offers(at, &edge));
        let offers: Vec<Offer<'_>> =
            offers.filter(|offer| offer.lacks != Lacks::Room || parts < PARTS_MAX).collect();
        let Some(offer) = most_urgent(offers, is_scarce) else { return operations };
        parts += u32::from(offer.lacks == Lacks::Room);
        edge.take(&offer);
        operations.extend(lists[offer.at].take(offer));
    }
}

/// What is at the edge after the operations so far, besides what was there before.
struct AtEdge {
    came: Sorted<Place>,
    /// What has yet to come before something goes, which then gives its place back, one after the other.
    awaited: Sorted<Place>,
    /// What has yet to come, all of it, before a range around it goes.
    inside: Sorted<Place>,
    items: u64,
    items_max: u64,
}

impl AtEdge {
    fn take(&mut self, offer: &Offer<'_>) {
        self.came.extend(offer.additions.iter().map(|addition| (offer.list, addition.address)));
        self.items += offer.additions.len() as u64;
        self.items = self.items.saturating_sub(offer.removals.len() as u64);
    }

    /// How many may come if so many go at the same moment.
    fn room(&self, going: usize) -> usize {
        let room = (self.items_max + going as u64).saturating_sub(self.items);
        usize::try_from(room).unwrap_or(usize::MAX)
    }
}

/// What could be sent next to a list: at least one addition or removal.
struct Offer<'a> {
    at: usize,
    list: Remediation,
    kind: Kind,
    additions: Vec<&'a Addition>,
    removals: Vec<&'a Removal>,
    class: Class,
    lacks: Lacks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Replace,
    Append,
    Delete,
}

/// Why an offer leaves something out that the same request could carry at another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lacks {
    Nothing,
    /// It has to wait for others.
    Others,
    Room,
}

/// Which is sent next. One that leaves nothing out costs the fewest operations; one more is worth it for an
/// owner, where only one may be accepted, or if what it brings is urgent and else would wait for others.
fn most_urgent<'a>(mut offers: Vec<Offer<'a>>, is_scarce: bool) -> Option<Offer<'a>> {
    // Of equals the ban list, and what adds before what removes.
    offers.order_by_key(|offer| (offer.class, offer.list != Remediation::Ban, offer.kind));
    let calm = (0..offers.len()).min_by_key(|at| offers[*at].lacks)?;
    let is_worth_one_more = |offer: &Offer<'_>| {
        let is_late = offer.lacks == Lacks::Others && offer.class.is_urgent();
        offer.class < offers[calm].class && (is_scarce || is_late || offer.class == Class::Owner)
    };
    let next = offers.iter().position(is_worth_one_more).unwrap_or(calm);
    Some(offers.swap_remove(next))
}

impl<'a> List<'a> {
    pub(super) fn new(plan: &'a ListPlan, observed: &'a ObservedList) -> Self {
        Self {
            list: plan.list,
            observed,
            additions: plan.additions.iter().collect(),
            removals: plan.removals.iter().collect(),
            may_rewrite: false,
            may_rewrite_again: false,
            alone: None,
            inside: BTreeMap::new(),
            later: Vec::new(),
            is_rewritten: false,
            came: Vec::new(),
            gone: Sorted::default(),
        }
    }

    /// Whether this list has it, and its rule lets nothing of that through.
    pub(super) fn is_in_force(&self, address: &Address, lifted: Option<&AddressSet>) -> bool {
        self.observed.items().contains_key(address)
            && !lifted.is_some_and(|lifted| lifted.touches(address))
    }

    /// Whether everything that stays could be sent.
    pub(super) fn keeps_only_what_is_taken(&self) -> bool {
        let mut too_wide = self.observed.items().keys().filter(|address| !address.fits_list());
        let goes = |address: &Address| {
            let mut removals = self.removals.iter().filter(|removal| removal.address == *address);
            removals.any(|removal| self.waits_for(removal).next().is_none())
        };
        too_wide.all(|address| goes(&address))
    }

    /// Whether something is left that is not among the operations.
    pub(super) fn has_rest(&self) -> bool {
        !self.additions.is_empty() || !self.removals.is_empty() || !self.later.is_empty()
    }

    /// What has to wait for room until the next run.
    pub(super) fn left(&self) -> impl Iterator<Item = Class> {
        let additions = self.additions.iter().map(|addition| addition.class);
        additions.chain(self.later.iter().map(|removal| removal.class))
    }

    /// Whether a range goes from it and what comes inside it comes here too.
    pub(super) fn brings_what_it_waits_for(&self) -> bool {
        self.inside.values().flatten().any(|(on, _)| *on == self.list)
    }

    /// Lets ranges go before what comes inside them.
    pub(super) fn let_ranges_go(&mut self) {
        self.inside.clear();
        self.removals.append(&mut self.later);
    }

    /// What replaces something that is to go.
    fn replacements(&self) -> impl Iterator<Item = Place> {
        self.removals.iter().filter_map(|removal| removal.after)
    }

    /// What comes inside of ranges that are to go.
    pub(super) fn all_inside(&self) -> impl Iterator<Item = Place> {
        let ranges = self.removals.iter().filter_map(|removal| self.inside.get(&removal.address));
        ranges.flatten().copied()
    }

    fn waits_for(&self, removal: &Removal) -> impl Iterator<Item = Place> {
        // A second spelling leaves the first.
        let first = || self.observed.items().get(&removal.address);
        let inside = self.inside.get(&removal.address).filter(|_| first() == Some(&removal.id));
        removal.after.into_iter().chain(inside.into_iter().flatten().copied())
    }

    /// The removals that can go when `came`, and what `with` brings to this list, is at the edge.
    fn free(&self, came: &Sorted<Place>, with: &[&Addition]) -> Vec<&'a Removal> {
        let comes = |address: &Address| {
            with.binary_search_by_key(address, |addition| addition.address).is_ok()
        };
        let is_there =
            |place: Place| came.contains(&place) || place.0 == self.list && comes(&place.1);
        let removals = self.removals.iter().copied();
        removals.filter(|removal| self.waits_for(removal).all(is_there)).collect()
    }

    /// As many additions as fit if so many removals go at the same moment, the most urgent ones if not all, by
    /// address. Who is waited for has his place; or at the end nothing could move any more.
    fn most_urgent(&self, going: usize, edge: &AtEdge) -> Vec<&'a Addition> {
        let mut additions = self.additions.clone();
        let mut room = edge.room(going);
        if additions.len() + edge.inside.len() < room {
            return additions;
        }
        additions.order_by_key(|addition| (addition.class, addition.rank, addition.address));
        let mut for_inside = edge.inside.len();
        let mut for_awaited = usize::from(!edge.awaited.is_empty());
        let mut take = |addition: &Addition| {
            let place = (self.list, addition.address);
            if edge.inside.contains(&place) {
                for_inside -= usize::from(room > 0);
            } else if room <= for_inside {
                return false;
            } else if edge.awaited.contains(&place) {
                for_awaited = 0;
            } else if room <= for_inside + for_awaited {
                return false;
            }
            let fits = room > 0;
            room -= usize::from(fits);
            fits
        };
        additions.retain(|addition| take(addition));
        additions.order_by_key(|addition| addition.address);
        additions
    }

    fn offers(&self, at: usize, edge: &AtEdge) -> impl Iterator<Item = Offer<'a>> {
        let free = self.free(&edge.came, &[]);
        let both = if self.may_rewrite {
            // What goes makes room for what comes, and may go only because that comes.
            let mut going = self.free(&edge.came, &self.additions).len();
            let (additions, with_these) = loop {
                let additions = self.most_urgent(going, edge);
                let with_these = self.free(&edge.came, &additions);
                if with_these.len() >= going {
                    break (additions, with_these);
                }
                going = with_these.len();
            };
            [Some((additions, with_these)), None]
        } else {
            let by_id = Some((Vec::new(), free)).filter(|_| !self.is_rewritten);
            [Some((self.most_urgent(0, edge), Vec::new())), by_id]
        };
        let offers = both.into_iter().flatten();
        offers.filter_map(move |(additions, removals)| self.offer(at, additions, removals))
    }

    fn offer(
        &self,
        at: usize,
        additions: Vec<&'a Addition>,
        removals: Vec<&'a Removal>,
    ) -> Option<Offer<'a>> {
        let classes = additions.iter().map(|addition| addition.class);
        let class = classes.chain(removals.iter().map(|removal| removal.class)).min()?;
        let kind = match (additions.is_empty(), removals.is_empty()) {
            (false, true) => Kind::Append,
            (true, _) if !self.is_rewritten => Kind::Delete,
            _ => Kind::Replace,
        };
        let leaves_additions = additions.len() < self.additions.len();
        let leaves_removals = removals.len() < self.removals.len();
        let lacks = match kind {
            Kind::Append | Kind::Replace if !additions.is_empty() && leaves_additions => {
                Lacks::Room
            }
            Kind::Append if !self.may_rewrite => Lacks::Nothing,
            Kind::Delete if !self.may_rewrite && !leaves_removals => Lacks::Nothing,
            _ if leaves_additions || leaves_removals => Lacks::Others,
            _ => Lacks::Nothing,
        };
        Some(Offer { at, list: self.list, kind, additions, removals, class, lacks })
    }

    /// The operations of an offer, which is then done.
    fn take(&mut self, offer: Offer<'a>) -> Vec<(Class, Operation)> {
        let Offer { kind, additions, removals, class, .. } = offer;
        let came: BTreeSet<Address> = additions.iter().map(|one| one.address).gather();
        let gone: Sorted<&ItemId> = removals.iter().map(|removal| &removal.id).collect();
        self.additions.retain(|addition| !came.contains(&addition.address));
        self.removals.retain(|removal| !gone.contains(&&removal.id));
        self.came.extend(came);
        self.gone.extend(gone.iter().copied());
        match kind {
            Kind::Append => self.append(additions),
            Kind::Delete => self.delete(removals),
            Kind::Replace => {
                self.may_rewrite = self.may_rewrite_again && !self.is_rewritten;
                self.is_rewritten = true;
                let new = additions.iter().map(|addition| addition.address).collect();
                self.replace(class, new, removals.len() as u64).into_iter().collect()
            }
        }
    }

    fn append(&self, mut additions: Vec<&Addition>) -> Vec<(Class, Operation)> {
        let alone = additions.iter().position(|one| Some(one.address) == self.alone);
        if let Some(at) = alone.filter(|_| additions.len() > 1) {
            let alone = additions.remove(at);
            let mut operations = self.append(additions);
            operations.append(&mut self.append(vec![alone]));
            return operations;
        }
        if additions.len() > BATCH_ITEMS_MAX {
            additions.order_by_key(|addition| (addition.class, addition.rank, addition.address));
        }
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
        Batch::split(additions).into_iter().filter_map(operation).collect()
    }

    fn delete(&self, mut removals: Vec<&Removal>) -> Vec<(Class, Operation)> {
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

    /// Everything that the list holds when all that was sent to it so far is done.
    fn replace(&self, class: Class, new: Vec<Address>, removed: u64) -> Option<(Class, Operation)> {
        let kept = self.observed.items().iter().filter(|(_, id)| !self.gone.contains(id));
        let comment = |ip: &Address| self.observed.comment(ip).map(Box::from);
        let kept = kept.map(|(ip, _)| NewItem { ip, comment: comment(&ip) });
        let came = self.came.iter().map(|ip| NewItem { ip: *ip, comment: None });
        let mut items: Vec<NewItem> = kept.chain(came).collect();
        items.order_by_key(|item| item.ip);
        let items = Items::new(items)?;
        Some((class, Operation::Replace { list: self.list, items, new, removed }))
    }
}

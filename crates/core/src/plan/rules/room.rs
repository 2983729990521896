//! Who finds room in the text: one after the other by urgency, and who does not fit is passed over.
//!
//! The same candidates, some of them written already, find the same room again. That holds because the
//! length only grows with what is in the text, and because being written makes a candidate come
//! earlier, and no other one: who came early only because of a range that has left the text since comes
//! later again, and found no room before either.

use std::collections::BTreeSet;

use crate::address::Address;
use crate::api::cloudflare::expression::{AddressSet, Length, may_match};
use crate::order::Order;

/// How much of the text is taken.
#[derive(Debug)]
pub(super) struct Room {
    taken: Length,
    max: usize,
}

impl Room {
    pub(super) fn new(taken: Length, max: usize) -> Self {
        Self { taken, max }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// Takes more, if the text stays short enough.
    pub(super) fn take(&mut self, more: impl FnOnce(&mut Length)) -> bool {
        self.take_within(usize::MAX, more)
    }

    /// Takes more, if the regions' clauses stay within a limit of their own too.
    pub(super) fn take_within(
        &mut self,
        regions_max: usize,
        more: impl FnOnce(&mut Length),
    ) -> bool {
        let mut length = self.taken;
        more(&mut length);
        let fits = length.total() <= self.max && length.regions() <= regions_max;
        if fits {
            self.taken = length;
        }
        fits
    }
}

/// An address or range that should be in a set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) address: Address,
    pub(super) key: Key,
    /// It is in the text, and part of a range that should be there instead. It comes after that range,
    /// for which it makes way.
    pub(super) is_part: bool,
    /// Whether it waits for something if it finds no room.
    pub(super) counts: bool,
}

/// The order in which room is given, the smallest first. Within a class goes first what is written already,
/// by itself or by a range: who is in force is not let through for an equal. Then the order, then the address decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// It is there only for what the edge may not have seen yet.
    pub(super) is_kept: bool,
    pub(super) class: super::Class,
    pub(super) order: u64,
}

/// Where a candidate stands in the order of all.
type Urgency = (bool, super::Class, bool, u64, Address);

impl Key {
    fn urgency(self, is_new: bool, address: Address) -> Urgency {
        (self.is_kept, self.class, is_new, self.order, address)
    }
}

/// Those for whom `take` finds room, and those without who wait for it, in the order of the keys.
pub(super) fn choose(
    candidates: Vec<Candidate>,
    written: &AddressSet,
    mut take: impl FnMut(&Address) -> bool,
) -> (AddressSet, impl Iterator<Item = Candidate>) {
    let mut chosen: BTreeSet<Address> = BTreeSet::new();
    let mut without = Vec::new();
    for candidate in in_order(candidates, written) {
        let address = candidate.address;
        // None that is chosen is inside another, so only the one before can be around this.
        let around = chosen.range(..=address).next_back();
        if around.is_some_and(|around| around.contains(&address)) {
            continue;
        }
        if may_match(&address) && take(&address) {
            chosen.insert(address);
        } else if candidate.counts {
            without.push(candidate);
        }
    }
    without.order_by_key(|candidate| (candidate.key, candidate.address));
    (chosen.into_iter().collect(), without.into_iter())
}

/// By urgency. A range is as urgent as the most urgent that is in it, and comes before all that is: it
/// takes the room of one and gives all of them theirs. What is in it counts as not written: else a part
/// that found room without the range would make the range come earlier the next time.
fn in_order(
    mut candidates: Vec<Candidate>,
    written: &AddressSet,
) -> impl Iterator<Item = Candidate> {
    candidates.order_by_key(|one| (one.address, one.is_part, one.key));
    candidates.dedup_by(|later, first| {
        let is_same = later.address == first.address;
        if is_same && first.is_part {
            // After all ranges that it is part of.
            first.key = later.key;
        }
        is_same
    });
    let mut urgency: Vec<Urgency> = Vec::with_capacity(candidates.len());
    // The ranges around the candidate that is looked at, the widest first.
    let mut around: Vec<usize> = Vec::new();
    for (index, candidate) in candidates.iter().enumerate() {
        let Candidate { address, key, .. } = *candidate;
        let is_around = |range: &&usize| candidates[**range].address.contains(&address);
        around.truncate(around.iter().take_while(is_around).count());
        // Also written is what a range covers that is in the text and goes: it is in force by that.
        let is_new = !around.is_empty() || !written.covers(&address);
        urgency.push(key.urgency(is_new, address));
        for range in &around {
            urgency[*range] = urgency[*range].min(key.urgency(is_new, address));
        }
        around.push(index);
    }
    let mut ordered: Vec<_> = urgency.into_iter().zip(candidates).collect();
    ordered.order_by_key(|(urgency, candidate)| (*urgency, candidate.address));
    ordered.into_iter().map(|(_, candidate)| candidate)
}

//! Who finds room in the text: one after the other by urgency, and who does not fit is passed over.
//!
//! A range is tried before each one that is in it, at his urgency: it takes the room of one and gives
//! all of them theirs. Who is in force already comes before his equals, by himself or by the range that
//! is in the text. A range that is not in it, while something in it is, has to find what it needs more
//! than that behind all who are in force.
//!
//! The same candidates, some of them written already, find the same room again. That holds because the
//! length only grows with what is in the text, and because being written makes a candidate come
//! earlier, and no other one. Where a range takes less than what makes way for it, it is therefore
//! decided once more with the range before them.

use std::borrow::Cow;

use crate::address::Address;
use crate::api::cloudflare::expression::{AddressSet, ClauseLength, Length, may_match};
use crate::order::Order;

/// How much of the text is taken.
#[derive(Debug, Clone, Copy)]
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

    /// Takes what one needs in place of what others gave back, if the text stays short enough.
    fn take(&mut self, needs: Needs, given_back: Needs) -> bool {
        self.take_within(usize::MAX, |length| {
            length.lifted -= given_back.lifted;
            length.fresh -= given_back.fresh;
            length.lifted += needs.lifted;
            length.fresh += needs.fresh;
        })
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

/// What a candidate takes of the text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Needs {
    pub(super) lifted: usize,
    pub(super) fresh: ClauseLength,
}

/// An address or range that should be in a set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) address: Address,
    pub(super) key: Key,
    pub(super) role: Role,
}

/// Why a candidate is one. Of two roles the first counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// It should be in the set.
    Wanted,
    /// It is in the text, and part of a range that should be there instead, for which it makes way.
    Part,
    /// It is a range in the text, and should be there only as long as something inside of it has no room.
    StandIn,
}

impl Candidate {
    /// Whether it waits for something if it finds no room.
    fn waits(&self) -> bool {
        self.role == Role::Wanted && !self.key.is_kept
    }
}

/// The order in which room is given, the smallest first. Within a class goes first what is written already,
/// by itself or by a range: who is in force is not let through for an equal. Then the order, then the address
/// decides.
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

/// Who found room, and who waits for it, in the order of the keys.
pub(super) struct Chosen {
    pub(super) set: AddressSet,
    pub(super) without: Vec<Candidate>,
}

/// Those who find room. What is reserved has it already.
pub(super) fn choose(
    mut candidates: Vec<Candidate>,
    written: &AddressSet,
    reserved: &AddressSet,
    room: &mut Room,
    needs: &dyn Fn(&Address) -> Needs,
) -> Chosen {
    candidates.order_by_key(|one| (one.address, one.role, one.key));
    candidates.dedup_by(|later, first| {
        let is_same = later.address == first.address;
        if is_same {
            first.key = first.key.min(later.key);
        }
        is_same
    });
    let mut written = Cow::Borrowed(written);
    // Ranges in the text that take no more than what is reserved inside of them.
    let mut first: Vec<Address> = Vec::new();
    let chosen = loop {
        let mut filled = Filled { room: *room, set: reserved.as_slice().to_vec() };
        for range in &first {
            filled.take(*range, needs);
        }
        let (mut came_late, firsts) = (Vec::new(), first.len());
        for turn in turns(&candidates, &written) {
            let range = candidates[turn.candidate].address;
            if filled.covers(&turn.on_behalf_of) || !may_match(&range) {
                continue;
            }
            let taken = filled.room.taken.total();
            let Some(made_way) = filled.take(range, needs) else { continue };
            if made_way && !written.covers(&range) {
                came_late.push(range);
            } else if made_way && filled.room.taken.total() <= taken && !first.contains(&range) {
                first.push(range);
            }
        }
        if first.len() > firsts {
            // It gave room back, which belongs to those who found none before its turn. Left to those after it, they
            // would be in its way the next time, when they are in the text too.
            continue;
        }
        if came_late.is_empty() {
            *room = filled.room;
            break filled.set;
        }
        // It has room in place of its parts. Once it is in the text it comes before them; so it does now, for
        // there may be room again for who found none while its parts were there.
        written = Cow::Owned(written.iter().copied().chain(came_late).collect());
    };
    let set: AddressSet = chosen.into_iter().collect();
    candidates.retain(|one| one.waits() && !set.covers(&one.address));
    candidates.order_by_key(|candidate| (candidate.key, candidate.address));
    Chosen { set, without: candidates }
}

/// What has found room until now.
struct Filled {
    room: Room,
    /// Sorted; none is inside another.
    set: Vec<Address>,
}

impl Filled {
    fn covers(&self, address: &Address) -> bool {
        // Only the one before can be around it.
        let end = self.set.partition_point(|one| one <= address);
        self.set[..end].last().is_some_and(|around| around.contains(address))
    }

    /// Puts it there in place of all that is in it, if there is room: whether anything made way for it.
    fn take(&mut self, range: Address, needs: &dyn Fn(&Address) -> Needs) -> Option<bool> {
        let from = self.set.partition_point(|one| *one < range);
        let inside = self.set[from..].partition_point(|one| range.contains(one));
        let mut given_back = Needs::default();
        for less in self.set[from..from + inside].iter().map(needs) {
            given_back.lifted += less.lifted;
            given_back.fresh += less.fresh;
        }
        if !self.room.take(needs(&range), given_back) {
            return None;
        }
        self.set.drain(from..from + inside);
        self.set.insert(from, range);
        Some(inside > 0)
    }
}

/// When a candidate is tried: for its own sake, or for that of somebody who is in it.
struct Turn {
    urgency: Urgency,
    candidate: usize,
    on_behalf_of: Address,
}

/// All turns, the most urgent first; a range before what is in it.
fn turns(candidates: &[Candidate], written: &AddressSet) -> Vec<Turn> {
    let mut turns = Vec::with_capacity(candidates.len());
    let is_written: Vec<bool> =
        candidates.iter().map(|candidate| written.covers(&candidate.address)).collect();
    // The ranges around the candidate that is looked at, the widest first.
    let mut around: Vec<usize> = Vec::new();
    for (index, Candidate { address, key, role }) in candidates.iter().enumerate() {
        let is_around = |range: &&usize| candidates[**range].address.contains(address);
        around.truncate(around.iter().take_while(is_around).count());
        around.push(index);
        if *role == Role::StandIn {
            continue;
        }
        // Also in force is what a range covers that is in the text and goes. What only a part of a range is
        // does not make the whole of it come earlier.
        turns.extend(around.iter().map(|range| Turn {
            urgency: key.urgency(!is_written[*range], *address),
            candidate: *range,
            on_behalf_of: *address,
        }));
    }
    turns.order_by_key(|turn| (turn.urgency, turn.candidate));
    turns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::cloudflare::expression::ListName;
    use crate::plan::Class;

    fn set(text: &str) -> AddressSet {
        text.split(' ').map(|one| one.parse::<Address>().unwrap()).collect()
    }

    /// Both ranges stand in the text. The first takes less than what is reserved inside of it, and what it gives back is
    /// enough for the second, or for the more urgent address before that.
    #[test]
    fn range_that_takes_more_than_what_is_reserved_inside_of_it_comes_after_the_more_urgent() {
        let needs = |address: &Address| {
            let of = Length::entry(address);
            Needs { fresh: ClauseLength { of, ..ClauseLength::default() }, ..Needs::default() }
        };
        let reserved = set("1.1.1.100 1.1.1.101 2.2.2.2");
        let list: ListName = "l".parse().unwrap();
        let mut room = Room::new(Length::of_list(&list), 4_000);
        assert!(reserved.iter().all(|one| room.take(needs(one), Needs::default())));
        room.max = room.taken.total();
        let candidate = |address: &str, class| {
            let key = Key { is_kept: false, class, order: 0 };
            Candidate { address: address.parse().unwrap(), key, role: Role::Wanted }
        };
        let candidates = vec![
            candidate("1.1.1.0/24", Class::Rest),
            candidate("2.2.2.0/24", Class::Rest),
            candidate("3.3.3.3", Class::OwnBan),
        ];
        let written = set("1.1.1.0/24 2.2.2.0/24");
        let chosen = choose(candidates, &written, &reserved, &mut room, &needs);
        assert_eq!(chosen.set, set("1.1.1.0/24 2.2.2.2 3.3.3.3"));
    }
}

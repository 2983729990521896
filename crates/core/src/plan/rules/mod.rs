//! The desired expression of one rule of one zone: what the list lacks, as the small and fast delta on
//! top of it. Pure: the same situation gives the same text, and deciding again after it was written
//! gives no difference.
//!
//! Owns which addresses stand in LIFTED and FRESH and when they leave, and who waits when the text is
//! full. Not here: what is desired, what a list holds, when a list is written, requests.
//!
//! The invariants, of which the last one needs room:
//! - a protected address never matches, and FRESH names none;
//! - nobody in force who shall match is let through for the sake of what is lifted around him;
//! - while the rule may not drain, it is right for the list as it was read and for what the list held
//!   before: nothing leaves that either of them needs;
//! - with room, the rule matches what it shall match and nothing else.

mod order;
mod room;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::address::Address;
use crate::api::cloudflare::expression::{
    AddressSet, Clause, ClauseLength, Expression, Length, Parts, may_match,
};
use crate::desired::Region;
use crate::plan::Class;

pub use order::{Movers, Patch, Patches, RuleChange, order};
use room::{Candidate, Chosen, Key, Needs, Role, Room};

/// An address or a range, and what it is worth where room is scarce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// The address or range.
    pub address: Address,
    /// Of what shall match: how urgent it is that it does. Of what is on the list: how urgent it is
    /// that it does not, if it shall not.
    pub class: Class,
    /// Who goes first of those of a class that are not in the text yet, the smallest first. What is in it
    /// already goes before its equals.
    pub order: u64,
}

/// All that the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// What the rule shall match: desired there and having a place, and what is held back by the
    /// review. An address inside a range that stands here too may be left out.
    pub shall_match: &'a [Item],
    /// What the list holds, as it was read.
    pub on_list: &'a [Item],
    /// What is on both lists because it moves here: a removal that is under way may still take either.
    pub moves_here: &'a AddressSet,
    /// What the rule says now.
    pub observed: &'a Expression,
    /// Whether the list's content that was read is surely at the edge: no bulk operation of ours is
    /// unfinished, and the last one was seen to be completed two minutes ago or earlier.
    pub may_drain: bool,
    /// Whether an operation that was not seen to end, or only just, may take from the list what it was read with.
    pub may_lose: bool,
    /// What must never match: the built-in groups.
    pub protected: &'a AddressSet,
    /// The same, as the operator names it. It is also the exception from regions.
    pub never_block: &'a AddressSet,
    /// The regions that shall match, the most important first.
    pub regions: &'a [Region],
    /// The longest text: the setting `rules_characters_max`. More than [`CHARACTERS_MAX`] is taken
    /// for that, and the list's name stands in every text.
    pub characters_max: usize,
}

/// The longest text that Cloudflare takes (facts cloudflare-rules 1.1).
pub const CHARACTERS_MAX: usize = 4_096;

/// What the rule should say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The expression.
    pub desired: Expression,
    /// What found no room: regions, what is to be lifted, what is to match; the most urgent first in each.
    pub waiting: Vec<Waiting>,
    /// The length of the expression's text, in characters.
    pub characters: usize,
    /// Whether the rule says something else now, so that a PATCH is due.
    pub is_due: bool,
    /// Whether the text is more than three quarters full: the list's turn has come.
    pub is_nearly_full: bool,
}

impl Decided {
    /// Whether something waits for which a write of the list would make room.
    pub fn waits_for_list(&self) -> bool {
        self.waiting.iter().any(|waiting| !matches!(waiting, Waiting::Region(_)))
    }
}

/// What the text has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// It is on the list and shall not match, but does.
    Lifted(Address, Class),
    /// It is not on the list, or an operation may be taking it off, and shall match, but has nothing else.
    Fresh(Address, Class),
    /// It is in FRESH and shall not match as a whole, but does: not all who shall match inside of it and do
    /// would find room by themselves.
    StandIn(Address),
    /// The same, and no list write will help.
    Region(Region),
}

/// Decides what the rule should say.
pub fn decide(situation: &Situation<'_>) -> Decided {
    let Situation { observed, characters_max, .. } = *situation;
    let characters_max = characters_max.min(CHARACTERS_MAX);
    let mut room = Room::new(Length::of_list(observed.list()), characters_max);
    let mut waiting = Vec::new();
    let mut parts = Parts::default();
    choose_regions(situation, &mut room, &mut parts, &mut waiting);

    let view = View::new(situation);
    let lifted = view.choose_lifted(&mut room);
    waiting.extend(lifted.without.iter().map(|one| Waiting::Lifted(one.address, one.key.class)));
    // After LIFTED: what it takes from the list has to be in FRESH if it shall match.
    let (fresh, stand_ins) = view.choose_fresh(&lifted.set, room);
    waiting.extend(fresh.without.iter().map(|one| Waiting::Fresh(one.address, one.key.class)));
    waiting.extend(stand_ins.into_iter().map(Waiting::StandIn));
    let (lifted, fresh) = (lifted.set, fresh.set);
    let except = fresh.iter().flat_map(|range| view.protected.inside(range)).copied().collect();
    parts.lifted = lifted;
    parts.fresh = Clause { of: fresh, except };

    let desired = Expression::new(observed.list().clone(), parts)
        .expect("a candidate that is too wide is never chosen");
    let characters = desired.characters();
    Decided {
        is_due: desired != *observed,
        is_nearly_full: characters * 4 > characters_max * 3,
        desired,
        waiting,
        characters,
    }
}

/// Regions take at most half of the text, and none goes without the operator's exception.
fn choose_regions(
    situation: &Situation<'_>,
    room: &mut Room,
    parts: &mut Parts,
    waiting: &mut Vec<Waiting>,
) {
    let half = room.max() / 2;
    let exception = Length::sum(situation.never_block);
    let mut seen = BTreeSet::new();
    for region in situation.regions.iter().filter(|region| seen.insert(**region)) {
        let is_taken = room.take_within(half, |length| {
            let (clause, entry) = match region {
                Region::Country(country) => (&mut length.countries, Length::country(*country)),
                Region::As(asn) => (&mut length.asns, Length::entry(asn)),
            };
            clause.of += entry;
            clause.except = exception;
        });
        match region {
            _ if !is_taken => waiting.push(Waiting::Region(*region)),
            Region::Country(country) => drop(parts.countries.of.insert(*country)),
            Region::As(asn) => drop(parts.asns.of.insert(*asn)),
        }
    }
    for except in [&mut parts.countries.except, &mut parts.asns.except] {
        except.clone_from(situation.never_block);
    }
}

/// The situation, as sets.
struct View<'a> {
    situation: &'a Situation<'a>,
    /// What must never match.
    protected: AddressSet,
    /// What shall match, as wide as it is wanted; what is protected altogether is not in it.
    shall_match: AddressSet,
    on_list: AddressSet,
    /// What the list has of what shall match, and keeps.
    stays: AddressSet,
    /// What the rule matches now, but for what must not.
    in_force: AddressSet,
    /// What FRESH has now and may keep.
    fresh: AddressSet,
}

impl<'a> View<'a> {
    fn new(situation: &'a Situation<'a>) -> Self {
        let protected = situation.protected.union(situation.never_block);
        let fresh = situation.observed.parts().fresh.of.iter().copied();
        let wanted = situation.shall_match.iter().map(|item| item.address);
        let on_list: AddressSet = situation.on_list.iter().map(|item| item.address).collect();
        let shall_match: AddressSet = wanted.filter(|address| !protected.covers(address)).collect();
        let items = situation.on_list.iter().map(|item| item.address);
        Self {
            situation,
            stays: items.filter(|address| shall_match.covers(address)).collect(),
            shall_match,
            in_force: situation.observed.matched(&on_list).difference(&protected),
            fresh: fresh.filter(|address| !protected.covers(address)).collect(),
            on_list,
            protected,
        }
    }

    /// What has to be in FRESH for `one`, which shall match, when its list's item around it is lifted: what FRESH
    /// has of it, unless there is more of it in force, or all of it takes no more room.
    fn in_force_of<'o>(&'o self, one: &'o Address) -> &'o [Address] {
        if !self.in_force.touches(one) {
            return &[];
        }
        let parts = self.fresh.inside(one);
        let is_part = |other: &Address| parts.iter().any(|part| part.contains(other));
        let is_more = self.in_force.covers(one) || !self.in_force.inside(one).iter().all(is_part);
        let length = |address| {
            let ClauseLength { of, except } = self.fresh_length(address);
            (of + except, except)
        };
        let (whole, exceptions) = length(one);
        let (sum, among) =
            parts.iter().map(length).fold((0, 0), |all, part| (all.0 + part.0, all.1 + part.1));
        // The first exception takes more than itself.
        let is_longer = sum >= whole && (exceptions == 0 || among > 0);
        if is_more || is_longer { std::slice::from_ref(one) } else { parts }
    }

    /// What an entry of FRESH takes, with its exceptions.
    fn fresh_length(&self, address: &Address) -> ClauseLength {
        let except = Length::sum(self.protected.inside(address));
        ClauseLength { of: Length::entry(address), except }
    }

    fn choose_lifted(&self, room: &mut Room) -> Chosen {
        let already = &self.situation.observed.parts().lifted;
        room::choose(self.lifted_candidates(), already, &AddressSet::default(), room, &|address| {
            // With room for whoever is in force inside of it: he would be let through for others' sake.
            let inside = self.shall_match.inside(address).iter();
            let mut needs = Needs { lifted: Length::entry(address), ..Needs::default() };
            for kept in inside.flat_map(|one| self.in_force_of(one)) {
                needs.fresh += self.fresh_length(kept);
            }
            needs
        })
    }

    /// FRESH, and which of it are ranges that stay only for what is inside of them.
    ///
    /// A range whose own decision has ended while others inside of it are desired would let them through if
    /// they do not all find room by themselves. It stays until they do, or the list has them.
    fn choose_fresh(&self, lifted: &AddressSet, room: Room) -> (Chosen, Vec<Address>) {
        let inside = lifted.iter().flat_map(|entry| self.shall_match.inside(entry));
        let reserved: AddressSet = inside.flat_map(|one| self.in_force_of(one)).copied().collect();
        let wanted = self.fresh_candidates(lifted);
        let choose = |stand_ins: &[Address], written: &AddressSet| {
            let stand_ins = stand_ins.iter().map(|range| Candidate {
                address: *range,
                key: Key { is_kept: true, class: Class::Rest, order: u64::MAX },
                role: Role::StandIn,
            });
            let candidates = wanted.iter().copied().chain(stand_ins).collect();
            let mut room = room;
            room::choose(candidates, written, &reserved, &mut room, &|address| Needs {
                fresh: self.fresh_length(address),
                ..Needs::default()
            })
        };
        let observed = &self.situation.observed.parts().fresh.of;
        let is_let_through =
            |one: &Candidate| self.in_force.touches(&one.address) && !reserved.covers(&one.address);
        let is_needed = |range: &&Address| {
            let mut inside = wanted.iter().filter(|one| range.contains(&one.address));
            !range.is_single() && !self.shall_match.covers(range) && inside.any(is_let_through)
        };
        let mut stand_ins: Vec<Address> = self.fresh.iter().filter(is_needed).copied().collect();
        let mut chosen = choose(&stand_ins, observed);
        // By turns without each, as it would be decided now, and as it would be the next time.
        while let Some((without, index)) = (0..stand_ins.len()).find_map(|index| {
            let mut fewer = stand_ins.clone();
            fewer.remove(index);
            [observed, &chosen.set].into_iter().find_map(|written| {
                let without = choose(&fewer, written);
                let has = |chosen: &Chosen, one: &&Candidate| chosen.set.covers(&one.address);
                let came = wanted.iter().filter(|one| has(&without, one) && !has(&chosen, one));
                let came = came.map(|one| one.key.class).min();
                let is_lost = |one: &Candidate| {
                    let was = written.covers(&one.address) && has(&chosen, &one);
                    // Not for the more urgent.
                    was && !has(&without, &one) && came.is_none_or(|came| came >= one.key.class)
                };
                (!wanted.iter().any(is_lost)).then_some((without, index))
            })
        }) {
            chosen = without;
            stand_ins.remove(index);
        }
        stand_ins.retain(|range| chosen.set.covers(range));
        (chosen, stand_ins)
    }

    /// LIFTED, by urgency: owners, then what is on the list and shall not match, then what was lifted
    /// and is off the list that was read, but maybe not off the one at the edge.
    ///
    /// Never what is inside a range that shall match, unless it is protected.
    fn lifted_candidates(&self) -> Vec<Candidate> {
        let already = &self.situation.observed.parts().lifted;
        let mut candidates = Vec::new();
        let mut add = |address, class, order, is_kept| {
            // An owner goes first even if only the edge's list may still have him.
            let is_kept = is_kept && class != Class::Owner;
            let key = Key { is_kept, class, order };
            candidates.push(Candidate { address, key, role: Role::Wanted });
        };
        for item in self.situation.on_list {
            let Item { address, class, order } = *item;
            if self.shall_match.covers(&address) && !self.protected.covers(&address) {
                continue;
            }
            let is_owners = self.protected.touches(&address);
            add(address, if is_owners { Class::Owner } else { class }, order, false);
        }
        // One entry for all items in a protected prefix, and for the hole that it is in a range on the
        // list.
        let owners = self.protected.iter().filter(|prefix| may_match(prefix));
        for prefix in owners.filter(|prefix| self.on_list.touches(prefix)) {
            add(*prefix, Class::Owner, 0, false);
        }
        if !self.situation.may_drain {
            // Not before one who is on the list.
            let order = u64::MAX;
            for entry in already {
                if self.protected.covers(entry) {
                    add(*entry, Class::Owner, order, true);
                } else if self.shall_match.covers(entry) {
                    let owners = self.protected.inside(entry);
                    owners.iter().for_each(|prefix| add(*prefix, Class::Owner, order, true));
                } else {
                    let is_owners = self.protected.touches(entry);
                    add(*entry, if is_owners { Class::Owner } else { Class::Rest }, order, true);
                }
            }
        }
        candidates
    }

    /// FRESH, by urgency: what shall match and is not on the list, or lifted with a range around it;
    /// then what is on the list that was read, but maybe not yet on the one at the edge.
    fn fresh_candidates(&self, lifted: &AddressSet) -> Vec<Candidate> {
        let observed = self.situation.observed.parts();
        let already = &observed.fresh.of;
        let mut candidates = Vec::new();
        let mut add = |address: Address, item: &Item, role: Role| {
            // Not by a range that shall not match: it leaves, even if it is too wide for LIFTED or finds no room there.
            let is_on_list = self.stays.covers(&address) && !lifted.covers(&address);
            // What comes back from LIFTED may have been lifted from a list that the edge has not yet; and what was
            // turned round while it moved, that may still go from here.
            let was_said = already.covers(&address)
                || observed.lifted.covers(&address)
                || self.situation.moves_here.covers(&address);
            let is_kept = is_on_list && !self.situation.may_drain && was_said;
            if is_on_list && !is_kept || self.protected.covers(&address) {
                return;
            }
            // While an operation may take him, who was to go when it was sent has only the text. Who moves here and
            // is on both lists goes for everybody else; but the other rule keeps him, if he finds no room.
            let may_go = already.covers(&address) || observed.lifted.covers(&address);
            let key = match is_kept && self.situation.may_lose {
                true if may_go => Key { is_kept: false, class: item.class, order: item.order },
                true => Key { is_kept: false, class: Class::Rest, order: item.order },
                false => Key { is_kept, class: item.class, order: item.order },
            };
            candidates.push(Candidate { address, key, role });
        };
        for item in self.situation.shall_match {
            add(item.address, item, Role::Wanted);
            // The range itself may be on the list, or find no room: what is in force of it stays.
            for part in already.inside(&item.address) {
                add(*part, item, Role::Part);
            }
        }
        candidates
    }
}

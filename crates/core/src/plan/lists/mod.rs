//! The plan for the IP lists: which items come and go, why, and how urgent each of them is.

mod diff;
mod places;
mod render;
mod room;

use crate::address::Address;
use crate::api::cloudflare::lists::ItemId;
use crate::decision::Remediation;
use crate::desired::OriginCounts;
use crate::skipped::Left;

use super::{Class, Why};

pub use diff::{Rules, diff};
pub use places::Rank;

/// What differs on the lists.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub(super) lists: Vec<ListPlan>,
    pub(super) origins: Vec<OriginCounts>,
    pub(super) room: Room,
    pub(super) set_aside: Left,
    pub(super) keeps_places: bool,
}

/// How much fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The most items over all lists together.
    pub items_max: u64,
    /// Items there now, understood or not.
    pub items: u64,
}

/// What differs on one list.
#[derive(Debug, Clone, PartialEq)]
pub struct ListPlan {
    /// Which list.
    pub list: Remediation,
    /// Items that it should have.
    pub desired: u64,
    /// Items that stay, but for those that could not be understood.
    pub keep: u64,
    /// Items that come, by address.
    pub additions: Vec<Addition>,
    /// Items that would come and are not sent to the list for now, by address: Cloudflare refused them as
    /// values. A rule takes them all the same.
    pub set_aside: Vec<Addition>,
    /// Items that go, by address; what is there twice at the end.
    pub removals: Vec<Removal>,
    /// Items that would go and stay for now: the guard holds them back.
    pub held: Vec<Removal>,
    /// Items that could not be understood and are left alone.
    pub foreign: u64,
}

/// An item that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addition {
    /// Which address.
    pub address: Address,
    /// Why.
    pub why: Why,
    /// How urgent it is.
    pub class: Class,
    /// Who goes first where not all of a class can go.
    pub rank: Rank,
}

/// An item that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Which address.
    pub address: Address,
    /// Names the item in a DELETE.
    pub id: ItemId,
    /// Why.
    pub why: Why,
    /// How urgent it is.
    pub class: Class,
    /// What has to be at the edge before it goes, and is not there yet: the same address on the other
    /// list, or a range that takes its place. Otherwise a visitor would slip through in between.
    pub after: Option<(Remediation, Address)>,
    /// Whether it is a range around somebody who is desired and has no place yet.
    pub holds_others: bool,
}

impl Plan {
    /// What differs, list by list, bans first.
    pub fn lists(&self) -> &[ListPlan] {
        &self.lists
    }

    /// The desired addresses by origin.
    pub fn origins(&self) -> &[OriginCounts] {
        &self.origins
    }

    /// How much fits.
    pub fn room(&self) -> Room {
        self.room
    }

    /// Whether the edge is as desired.
    pub fn is_empty(&self) -> bool {
        self.drift() == 0
    }

    /// Items that differ between desired and observed state.
    pub fn drift(&self) -> u64 {
        self.lists.iter().map(|list| list.added() + list.removed()).sum::<u64>() + self.held()
    }

    /// Items that would go and are held back.
    pub fn held(&self) -> u64 {
        self.lists.iter().map(|list| list.held.len() as u64).sum()
    }

    /// Desired addresses that have no place.
    pub fn dropped(&self) -> u64 {
        self.origins.iter().map(|origin| origin.dropped).sum()
    }

    /// Desired addresses that are set aside, because Cloudflare refused them as values.
    pub fn set_aside(&self) -> &Left {
        &self.set_aside
    }

    /// Whether somebody has no place only until others have moved.
    pub fn keeps_places(&self) -> bool {
        self.keeps_places
    }

    /// The most urgent change.
    pub fn most_urgent(&self) -> Option<Class> {
        self.lists.iter().filter_map(ListPlan::most_urgent).min()
    }

    /// The same with the removals for which `stays` held back.
    pub(crate) fn holding(mut self, stays: impl Fn(&Removal) -> bool) -> Self {
        for list in &mut self.lists {
            let (held, goes) = std::mem::take(&mut list.removals).into_iter().partition(&stays);
            (list.held, list.removals) = (held, goes);
        }
        self
    }
}

impl ListPlan {
    /// How many items come.
    pub fn added(&self) -> u64 {
        self.additions.len() as u64
    }

    /// How many items go.
    pub fn removed(&self) -> u64 {
        self.removals.len() as u64
    }

    /// How many items the list has now, but for those that could not be understood.
    pub fn observed(&self) -> u64 {
        self.keep + self.removed() + self.held.len() as u64
    }

    fn most_urgent(&self) -> Option<Class> {
        let additions = self.additions.iter().map(|addition| addition.class);
        additions.chain(self.removals.iter().map(|removal| removal.class)).min()
    }
}

#[cfg(test)]
mod tests;

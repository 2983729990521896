//! The guard's view of a plan for the lists.

use std::collections::BTreeSet;

use crate::address::Address;
use crate::order::Gather;
use crate::plan::Class;
use crate::plan::lists::{Plan, Room};
use crate::small::SmallMap;

use super::{Removal, Reviewable};

impl Reviewable for Plan {
    fn removals(&self) -> Vec<Removal> {
        let lists = self.lists().iter();
        let removals = lists.flat_map(|list| {
            list.removals.iter().map(|removal| Removal {
                part: list.list.as_str(),
                address: removal.address,
                why: removal.why,
                class: removal.class,
            })
        });
        removals.collect()
    }

    fn there(&self) -> SmallMap<&'static str, u64> {
        self.lists().iter().map(|list| (list.list.as_str(), list.observed())).gather()
    }

    fn is_nothing_desired(&self) -> bool {
        self.origins().iter().all(|origin| origin.total() == 0)
    }

    fn keeps_nothing(&self, part: &'static str) -> bool {
        self.lists().iter().filter(|list| list.list.as_str() == part).all(|list| list.keep == 0)
    }

    fn room_for_own(&self, held: u64) -> u64 {
        let lists = || self.lists().iter();
        let removals = || lists().flat_map(|list| &list.removals);
        let own = lists().flat_map(|list| &list.additions).filter(|a| a.class <= Class::OwnBan);
        let own: BTreeSet<Address> = own.map(|addition| addition.address).gather();
        // What waits for another gives its place back once that has come, and not before.
        let given_back = removals().filter_map(|r| r.after).filter(|(_, by)| own.contains(by));
        let given_back = given_back.count() as u64;
        let going = removals().filter(|removal| removal.after.is_none()).count() as u64;
        let Room { items, items_max } = self.room();
        let there = (items + held).saturating_sub(going);
        let needed = (own.len() as u64).saturating_sub(given_back).max(u64::from(given_back > 0));
        // Not for what is there already, if that is more than fits: that is what the guard looks at.
        match there.saturating_sub(items_max) {
            over if over >= needed => 0,
            _ => (there + needed).saturating_sub(items_max).min(held),
        }
    }

    fn without(self, held: &BTreeSet<Address>) -> Self {
        self.holding(|removal| removal.why.opens() && held.contains(&removal.address))
    }
}

#[cfg(test)]
mod tests;

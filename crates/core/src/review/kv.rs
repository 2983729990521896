//! The guard's view of a plan for KV. Keys and ranges are one part: whoever loses a database loses both.

use std::collections::BTreeSet;

use crate::address::Address;
use crate::plan::kv::{KvPlan, RangeRemoval};
use crate::small::SmallMap;

use super::{Approved, Removal, Reviewable};

const PART: &str = "KV";

impl Reviewable for KvPlan {
    fn removals(&self) -> Vec<Removal> {
        let keys = self.deletes().iter().filter_map(|delete| {
            let address = delete.address?;
            Some(Removal { part: PART, address, why: delete.why, class: delete.class })
        });
        let ranges = self.ranges().removals().iter().map(|removal| Removal {
            part: PART,
            address: removal.range,
            why: removal.why,
            class: removal.class,
        });
        keys.chain(ranges).collect()
    }

    fn there(&self) -> SmallMap<&'static str, u64> {
        [(PART, self.lasting())].into()
    }

    fn is_nothing_desired(&self) -> bool {
        KvPlan::is_nothing_desired(self)
    }

    fn keeps_nothing(&self, _: &'static str) -> bool {
        KvPlan::keeps_nothing(self)
    }

    /// There is room for every key.
    fn room_for_own(&self, _: u64) -> u64 {
        0
    }

    fn without(self, held: &BTreeSet<Address>) -> Self {
        self.holding(|address, why| why.opens() && held.contains(address))
    }
}

impl Approved<KvPlan> {
    /// The same, with these ranges left as they are.
    pub(crate) fn keeping(&self, needed: &[RangeRemoval]) -> Self {
        Self(self.0.clone().keeping(needed))
    }
}

#[cfg(test)]
mod tests;

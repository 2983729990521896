//! The plan for the IP lists: which items come and go, and by which bulk operations.

mod diff;
mod operations;
mod places;
mod render;

use serde::Serialize;

use crate::address::Address;
use crate::api::cloudflare::lists::{ItemId, NewItem};
use crate::decision::Remediation;
use crate::desired::OriginCounts;
use crate::plan::Batch;

pub(crate) use diff::{Lifted, diff_with};
pub use diff::{Rules, diff};
pub use operations::REPLACE_ITEMS_MAX;

/// What a run would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    lists: Vec<ListPlan>,
    operations: Vec<Operation>,
    origins: Vec<OriginCounts>,
}

/// What changes on one list.
#[derive(Debug, Clone, PartialEq)]
pub struct ListPlan {
    /// Which list.
    pub list: Remediation,
    /// Items that it should have.
    pub desired: u64,
    /// Items that stay.
    pub keep: u64,
    /// Items that come and go, by address.
    pub changes: Vec<Change>,
    /// Items that could not be understood and are left alone.
    pub foreign: u64,
}

/// What happens to one address on one list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is desired and not there.
    Add(Address),
    /// It is there and should not be.
    Remove(Address, Why),
}

/// Why an item goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It is never to be blocked.
    Protected,
    /// It goes to the other list.
    Moved,
    /// It is desired, and others need the place more.
    Displaced,
    /// A desired range covers it.
    Covered,
    /// The same address is there twice, in two spellings.
    Surplus,
    /// No decision asks for it any more.
    Lifted,
}

impl Why {
    /// Its name in logs and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::Moved => "moved",
            Self::Displaced => "displaced",
            Self::Covered => "covered",
            Self::Surplus => "surplus",
            Self::Lifted => "lifted",
        }
    }
}

impl Change {
    /// The address that it is about.
    pub fn address(&self) -> Address {
        let (Self::Add(address) | Self::Remove(address, _)) = self;
        *address
    }
}

/// One bulk operation: one write request, and one operation of the account to wait for.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// POST: adds to the list.
    Append {
        /// Which list.
        list: Remediation,
        /// What is added.
        items: Batch<NewItem>,
    },
    /// PUT: rewrites the list.
    Replace {
        /// Which list.
        list: Remediation,
        /// Everything that the list then holds.
        items: Items,
        /// How many of them are new.
        added: u64,
        /// How many items go.
        removed: u64,
    },
    /// DELETE: removes from the list.
    Delete {
        /// Which list.
        list: Remediation,
        /// What is removed.
        ids: Batch<ItemId>,
    },
}

/// The items of a rewrite: at least one, because a PUT of none would empty the list without a
/// question (facts cloudflare 1.5).
#[derive(Debug, Clone, PartialEq)]
pub struct Items(Vec<NewItem>);

impl Items {
    /// The items.
    pub fn as_slice(&self) -> &[NewItem] {
        &self.0
    }

    fn new(items: Vec<NewItem>) -> Option<Self> {
        (!items.is_empty()).then_some(Self(items))
    }
}

/// What an operation does, for reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// On which list.
    pub list: Remediation,
    /// Items added.
    pub added: u64,
    /// Items removed.
    pub removed: u64,
}

impl Operation {
    /// The method that carries it.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Append { .. } => "POST",
            Self::Replace { .. } => "PUT",
            Self::Delete { .. } => "DELETE",
        }
    }

    /// What it does to its list.
    pub fn effect(&self) -> Effect {
        match self {
            Self::Append { list, items } => {
                Effect { list: *list, added: items.len() as u64, removed: 0 }
            }
            Self::Replace { list, added, removed, .. } => {
                Effect { list: *list, added: *added, removed: *removed }
            }
            Self::Delete { list, ids } => {
                Effect { list: *list, added: 0, removed: ids.len() as u64 }
            }
        }
    }

    /// How many items its request carries.
    pub fn len(&self) -> usize {
        match self {
            Self::Append { items, .. } => items.len(),
            Self::Replace { items, .. } => items.0.len(),
            Self::Delete { ids, .. } => ids.len(),
        }
    }

    /// Never: an operation without items cannot be built.
    pub fn is_empty(&self) -> bool {
        false
    }
}

impl Plan {
    /// What changes, list by list, bans first.
    pub fn lists(&self) -> &[ListPlan] {
        &self.lists
    }

    /// The bulk operations, in the order in which they must run.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Whether the edge is as desired.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The desired addresses by origin.
    pub fn origins(&self) -> &[OriginCounts] {
        &self.origins
    }

    /// Whether it must not wait for a quieter moment: somebody is to be banned, or somebody who is
    /// never to be blocked is.
    pub fn is_urgent(&self) -> bool {
        self.lists.iter().any(|list| {
            list.changes.iter().any(|change| match change {
                Change::Add(_) => list.list == Remediation::Ban,
                Change::Remove(_, why) => *why == Why::Protected,
            })
        })
    }

    /// Items that differ between desired and observed state.
    pub fn drift(&self) -> u64 {
        self.lists.iter().map(|list| list.changes.len() as u64).sum()
    }
}

impl ListPlan {
    /// How many items come.
    pub fn added(&self) -> u64 {
        self.changes.iter().filter(|change| matches!(change, Change::Add(_))).count() as u64
    }

    /// How many items go.
    pub fn removed(&self) -> u64 {
        self.changes.len() as u64 - self.added()
    }

    /// The items that go because no decision asks for them any more.
    pub fn lifted(&self) -> impl Iterator<Item = Address> {
        self.changes.iter().filter_map(|change| match change {
            Change::Remove(address, Why::Lifted) => Some(*address),
            _ => None,
        })
    }

    /// How many items the list has now, but for those that could not be understood.
    pub fn observed(&self) -> u64 {
        self.keep + self.removed()
    }
}

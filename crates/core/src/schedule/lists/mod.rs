//! The lists' schedule: bulk operations in the order in which they are sent, or what they wait for.

mod by_rules;
mod express;
mod inside;
mod render;
mod stale;
mod steps;

use std::time::Duration;

use serde::Serialize;

use crate::address::Address;
use crate::api::cloudflare::lists::{ItemId, NewItem};
use crate::decision::{Each, Remediation};
use crate::observed::lists::Observed;
use crate::plan::lists::Plan;
use crate::plan::{Batch, Class};
use crate::review::Approved;
use crate::settings::Pace;
use crate::state::writes::{Cause, Suspects, WriteHistory};

pub use crate::plan::REPLACE_ITEMS_MAX;
pub use by_rules::ByRules;

/// What is sent to the lists.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    operations: Vec<Operation>,
    wait: Option<Wait>,
    beside_the_ladder: bool,
    company: Option<Duration>,
    has_lone_removals: bool,
    rest: Option<Rest>,
    sent: Sent,
    without_room: u64,
}

/// Why nothing is sent now, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// After a write that went wrong.
    Backoff(Duration, Cause),
    /// This operation of an earlier run has not been seen to end.
    Operation(String),
    /// Nothing in it is urgent, and the last write was a moment ago.
    Interval(Duration),
    /// Removals that are not urgent wait for company, where writes are scarce.
    Company(Duration),
}

impl Wait {
    /// Its name in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Backoff(_, Cause::Throttled) => "throttled",
            Self::Backoff(_, Cause::Failed) => "failed",
            Self::Backoff(_, Cause::Refused) => "refused",
            Self::Backoff(_, Cause::Denied) => "denied",
            Self::Backoff(_, Cause::Unanswered) => "unanswered",
            Self::Operation(_) => "operation",
            Self::Interval(_) => "interval",
            Self::Company(_) => "company",
        }
    }
}

/// What may be sent of the additions, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
struct Sent {
    /// So many, the most urgent.
    additions: u64,
    /// The last of them on each list.
    last: Each<Address>,
    /// Those among whom a refused value is searched for, sent or not.
    suspects: Suspects,
}

/// Why something that is to be done is left to the next run, which is no wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Only an owner's address was tried, beside the ladder.
    Ladder,
    /// A rule has to be changed first, which still lets through what takes its place.
    Rule,
    /// An operation of an earlier run has just been seen to complete, and the lists may be shown as before it.
    Stale,
    /// It has to wait for another list, for room, or for the ids that a list has after it was rewritten.
    Later,
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
        /// Those of them that are new, by address.
        new: Vec<Address>,
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

/// The items of a rewrite: at least one, because a PUT of none would empty the list without a question
/// (facts cloudflare 1.5).
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
            Self::Replace { list, new, removed, .. } => {
                Effect { list: *list, added: new.len() as u64, removed: *removed }
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

    /// Whether it adds `address`.
    pub fn adds(&self, address: &Address) -> bool {
        match self {
            Self::Append { items, .. } => items.as_slice().iter().any(|item| item.ip == *address),
            Self::Replace { new, .. } => new.binary_search(address).is_ok(),
            Self::Delete { .. } => false,
        }
    }

    /// The addresses that its request carries, in its order: a refusal names one by its position.
    pub fn addresses(&self) -> &[NewItem] {
        match self {
            Self::Append { items, .. } => items.as_slice(),
            Self::Replace { items, .. } => items.as_slice(),
            Self::Delete { .. } => &[],
        }
    }
}

/// Whether a plan must not wait for a quieter moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Urgency {
    /// If one of its changes is urgent.
    #[default]
    ByClass,
    /// It need not: the rules say what the lists lack.
    Never,
    /// It must: the rules have no room for what the lists lack.
    Now,
}

/// What a schedule depends on besides the plan.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// What is at the edge, of which a rewrite keeps the rest.
    pub observed: &'a Observed,
    /// What is remembered of earlier writes.
    pub history: &'a WriteHistory,
    /// The settings.
    pub pace: &'a Pace,
    /// Tells whether the token is another than that of the last write.
    pub token: u32,
    /// What the rules of zones have to do with it.
    pub rules: &'a ByRules,
    /// Now, in Unix seconds.
    pub now: u64,
}

/// What of the plan is sent now.
pub fn schedule(plan: &Approved<Plan>, inputs: Inputs<'_>) -> Schedule {
    let Inputs { history, pace, token, rules, now, .. } = inputs;
    let urgency = rules.urgency;
    let expressed = express::express(plan, inputs);
    let most_urgent = expressed.operations.iter().map(|(class, _)| *class).min();
    let mut schedule = Schedule {
        wait: None,
        beside_the_ladder: false,
        company: None,
        has_lone_removals: false,
        rest: expressed.rest,
        sent: expressed.sent,
        without_room: expressed.without_room,
        operations: Vec::new(),
    };
    let mut operations = expressed.operations;
    // What is last and only takes off what is not urgent would be a write for itself; what makes room for
    // an addition comes before that, or with the next run. Where the rules say what the lists lack, every write is
    // one for itself.
    let is_lone = |(class, operation): &&(Class, Operation)| match urgency {
        Urgency::ByClass => {
            expressed.left.is_none() && !class.is_urgent() && operation.effect().added == 0
        }
        Urgency::Never => true,
        Urgency::Now => false,
    };
    let lone = operations.iter().rev().take_while(is_lone).count();
    schedule.has_lone_removals = lone > 0;
    let is_urgent = match urgency {
        // What makes room is as urgent as what waits for that.
        Urgency::ByClass => most_urgent.into_iter().chain(expressed.left).any(Class::is_urgent),
        Urgency::Never => false,
        Urgency::Now => true,
    };
    if let Some(id) = history.operation() {
        schedule.wait = Some(Wait::Operation(id.to_owned()));
    } else if let Some((left, cause)) = history.wait(pace, token, now) {
        if most_urgent == Some(Class::Owner)
            && urgency != Urgency::Never
            && history.owner_may_be_tried(now)
        {
            // His address, and what goes with it in the same request; everything else waits.
            let all = operations.len();
            operations.retain(|(class, _)| *class == Class::Owner);
            schedule.beside_the_ladder = true;
            if operations.len() < all {
                schedule.rest = Some(Rest::Ladder);
            }
        } else {
            schedule.wait = Some(Wait::Backoff(left, cause));
        }
    } else if !is_urgent && let Some(left) = history.interval_left(pace, now) {
        schedule.wait = Some(Wait::Interval(left));
    } else if lone > 0
        && let Some(left) = history.company_left(now)
    {
        schedule.company = Some(left);
        if lone == operations.len() {
            schedule.wait = Some(Wait::Company(left));
        } else {
            operations.truncate(operations.len() - lone);
        }
    }
    if operations.is_empty() && !matches!(schedule.wait, Some(Wait::Backoff(..))) {
        // Nothing waits where there is nothing to do; but that Cloudflare refuses is told all the same.
        schedule.wait = None;
    }
    schedule.operations = operations.into_iter().map(|(_, operation)| operation).collect();
    schedule
}

impl Schedule {
    /// The bulk operations, in the order in which they are sent; also while they wait.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// What they wait for; `None` = they go now.
    pub fn wait(&self) -> Option<&Wait> {
        self.wait.as_ref()
    }

    /// Whether an owner's address is tried although other writes wait.
    pub fn is_beside_the_ladder(&self) -> bool {
        self.beside_the_ladder
    }

    /// How long removals that are not urgent wait for company, while other operations go or not.
    pub fn company(&self) -> Option<Duration> {
        self.company
    }

    /// Whether removals that are not urgent would have to be written for themselves.
    pub fn has_lone_removals(&self) -> bool {
        self.has_lone_removals
    }

    /// Why something is left to the next run, if anything is.
    pub fn rest(&self) -> Option<Rest> {
        self.rest
    }

    /// Additions that find no room, because removals are held on a full list.
    pub fn without_room(&self) -> u64 {
        self.without_room
    }

    /// The first `count` operations: those that were seen to complete.
    pub(crate) fn into_first(mut self, count: usize) -> Vec<Operation> {
        self.operations.truncate(count);
        self.operations
    }

    /// Among whom the value that is searched for is, when so many were added.
    pub(crate) fn suspects_left(&self, added: u64) -> Suspects {
        let Suspects { count, last } = self.sent.suspects;
        Suspects { count: count.saturating_sub(added), last }
    }

    /// Among whom the value is for which `operation` was refused, when so many were added before.
    pub(crate) fn suspects_in(&self, operation: &Operation, added: u64) -> Suspects {
        let Effect { list, added: adds, .. } = operation.effect();
        // What goes list by list is mixed in the order: who is before him on the other list counts too.
        let count = if adds == 0 { 0 } else { self.sent.additions.saturating_sub(added) };
        Suspects { count, last: self.sent.last.get(list).copied() }
    }

    /// The only address that is added, if it is one.
    pub(crate) fn only_addition(&self, operation: &Operation) -> Option<Address> {
        match operation {
            Operation::Append { items, .. } => match items.as_slice() {
                [only] => Some(only.ip),
                _ => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;

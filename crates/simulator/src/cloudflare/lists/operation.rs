//! Bulk operations: what was accepted, when it takes effect, and what faults make of it. It knows
//! times and fates, not the content that an operation changes.

use std::collections::HashSet;
use std::time::Duration;

use serde::Serialize;

use super::body::NewItem;
use crate::options::duration_text;

/// What a bulk operation does to its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// POST: adds and overwrites.
    Append,
    /// PUT: replaces everything.
    Replace,
    /// DELETE: removes by item id.
    Delete,
}

/// A bulk operation that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// Its id, 32 hexadecimal digits.
    pub id: String,
    /// The list that it changes.
    pub list_id: String,
    /// What it does.
    pub verb: Verb,
    /// How many items its request held.
    pub items: usize,
    /// When it was accepted, since the simulator's start.
    #[serde(with = "duration_text")]
    pub accepted: Duration,
    /// When it ended, if it did.
    pub finished: Option<Duration>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// The documented states of a bulk operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OperationStatus {
    /// Not begun.
    Pending,
    /// Begun.
    Running,
    /// Took effect.
    Completed,
    /// Ended without effect.
    Failed,
}

/// What a fault makes of an operation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum OperationFate {
    #[default]
    Normal,
    /// Does not end before it is released.
    Stuck,
    /// Takes this much time, and reads `pending` for all of it.
    Slow(Duration),
    /// Ends failed, with this text.
    Fails(String),
    /// Takes effect, but cannot be read.
    Vanished,
}

/// The content of a write.
#[derive(Debug)]
pub(super) enum Change {
    Append(Vec<NewItem>),
    Replace(Vec<NewItem>),
    Delete(HashSet<u128>),
}

impl Change {
    pub(super) fn verb(&self) -> Verb {
        match self {
            Self::Append(_) => Verb::Append,
            Self::Replace(_) => Verb::Replace,
            Self::Delete(_) => Verb::Delete,
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Append(items) | Self::Replace(items) => items.len(),
            Self::Delete(ids) => ids.len(),
        }
    }
}

/// An operation in the queue.
#[derive(Debug)]
pub(super) struct Unfinished {
    /// Its place among all operations.
    pub(super) index: usize,
    pub(super) change: Change,
    pub(super) fate: OperationFate,
    accepted: Duration,
    not_before: Duration,
}

impl Unfinished {
    pub(super) fn new(
        index: usize,
        accepted: Duration,
        change: Change,
        fate: OperationFate,
    ) -> Self {
        Self { index, change, fate, accepted, not_before: Duration::ZERO }
    }

    /// When it begins, if it is first in the queue.
    pub(super) fn started(&self, last_finished: Duration) -> Duration {
        self.accepted.max(last_finished)
    }

    /// When it ends, if it is first in the queue; `None` while it is stuck.
    pub(super) fn end(&self, last_finished: Duration, delay: Duration) -> Option<Duration> {
        match self.fate {
            OperationFate::Stuck => None,
            OperationFate::Slow(delay) => Some(self.started(last_finished).saturating_add(delay)),
            _ => Some((self.started(last_finished) + delay).max(self.not_before)),
        }
    }

    /// Ends the fate of an operation that is stuck or slow; it will not end before `now`.
    pub(super) fn release(&mut self, now: Duration) {
        if matches!(self.fate, OperationFate::Stuck | OperationFate::Slow(_)) {
            self.fate = OperationFate::Normal;
            self.not_before = now;
        }
    }
}

//! Custom lists of an account: their content, the one queue of bulk operations that changes it, and
//! the routes under `/accounts/{id}/rules/lists` (facts: cloudflare.md 1). Content changes only when an
//! operation completes, in `Lists::settle`; until then every read sees the old content.

mod address;
mod body;
mod history;
mod operation;
mod routes;
mod store;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, SystemTime};

pub use history::EdgeChange;
pub(crate) use history::whereabouts;
pub(crate) use operation::OperationFate;
pub use operation::{Operation, OperationStatus, Verb};
pub(super) use routes::refusal_by_limiter;
pub use store::ItemView;

use super::codes::{self, ApiError};
use super::throttle::ListLimits;
use crate::journal::{Counters, Judge};
use crate::options::{CloudflareOptions, ModifiedOn, PendingMode};
use crate::random::{Random, hex_id};
use operation::{Change, Unfinished};
use store::List;

/// The failure of an operation that finds no room (facts 1.2, the spec's own example).
const LIST_IS_FULL: &str = "This list is at the maximum number of items";

/// All lists of the account and the operations on them.
#[derive(Debug)]
pub(crate) struct Lists {
    options: CloudflareOptions,
    start: SystemTime,
    random: Random,
    now: Duration,
    lists: Vec<List>,
    /// How many rules use a list, by its name.
    references: BTreeMap<String, u32>,
    operations: Vec<Operation>,
    by_id: HashMap<String, usize>,
    /// In the order of acceptance. One account, one queue: the spec allows one at a time.
    unfinished: VecDeque<Unfinished>,
    last_finished: Duration,
    last_accepted: Option<Duration>,
    /// Since the beginning, whatever the counters below were set back to.
    accepted_ever: u64,
    history: Vec<EdgeChange>,
    writes_accepted: u64,
    writes_refused: u64,
    item_modifications: u64,
    limits: ListLimits,
}

impl Lists {
    pub(super) fn new(options: CloudflareOptions, start: SystemTime, seed: u64) -> Self {
        Self {
            options,
            start,
            random: Random::new(seed, "cloudflare lists"),
            now: Duration::ZERO,
            lists: Vec::new(),
            references: BTreeMap::new(),
            operations: Vec::new(),
            by_id: HashMap::new(),
            unfinished: VecDeque::new(),
            last_finished: Duration::ZERO,
            last_accepted: None,
            accepted_ever: 0,
            history: Vec::new(),
            writes_accepted: 0,
            writes_refused: 0,
            item_modifications: 0,
            limits: ListLimits::default(),
        }
    }

    pub(super) fn create(&mut self, name: &str, kind: &str, description: Option<String>) -> String {
        let id = hex_id(self.random.next_u128());
        self.lists.push(List::new(id.clone(), name, kind, description, self.now));
        id
    }

    pub(super) fn preload(&mut self, list_id: &str, items: Vec<(String, Option<String>)>) {
        let list = find_mut(&mut self.lists, list_id).expect("preload needs a list that exists");
        let added = list.preload(items, self.now, &mut self.random);
        self.changed_by_others(list_id, added, Vec::new());
    }

    pub(super) fn empty(&mut self, list_id: &str) {
        if let Some(list) = find_mut(&mut self.lists, list_id) {
            let (added, removed) = list.replace(Vec::new(), self.now, &mut self.random);
            self.changed_by_others(list_id, added, removed);
        }
    }

    /// Puts one value there, or takes it off, as another tool would; nothing if there is no such list.
    pub(super) fn set_by_others(&mut self, list_id: &str, value: &str, is_there: bool) {
        let Some(list) = find_mut(&mut self.lists, list_id) else { return };
        if is_there {
            self.preload(list_id, vec![(value.to_owned(), None)]);
        } else if list.take_off(value) {
            self.changed_by_others(list_id, Vec::new(), vec![value.to_owned()]);
        }
    }

    fn changed_by_others(&mut self, list_id: &str, added: Vec<String>, removed: Vec<String>) {
        if !matches!(self.options.modified_on, ModifiedOn::Never | ModifiedOn::Ours) {
            self.touch(list_id, self.now);
        }
        self.history.push(EdgeChange::new(self.now, list_id, None, added, removed));
    }

    fn touch(&mut self, list_id: &str, at: Duration) {
        if let Some(list) = find_mut(&mut self.lists, list_id) {
            list.touch(at);
        }
    }

    pub(super) fn names(&self) -> Vec<(String, String)> {
        self.lists.iter().map(|list| (list.id.clone(), list.name.clone())).collect()
    }

    /// The names that an expression can use for addresses.
    pub(super) fn names_of_ip_lists(&self) -> BTreeSet<String> {
        let lists = self.lists.iter().filter(|list| list.kind == "ip");
        lists.map(|list| list.name.clone()).collect()
    }

    pub(super) fn name_of(&self, list_id: &str) -> Option<&str> {
        self.find(list_id).map(|list| list.name.as_str())
    }

    pub(super) fn items(&self, list_id: &str) -> Vec<ItemView> {
        self.find(list_id).map(|list| list.content().views(self.start)).unwrap_or_default()
    }

    pub(super) fn set_referencing_filters(&mut self, list_id: &str, count: u32) {
        if let Some(list) = find_mut(&mut self.lists, list_id) {
            list.referencing_filters = count;
        }
    }

    pub(super) fn set_references(&mut self, references: BTreeMap<String, u32>) {
        self.references = references;
    }

    /// How many rules use a list: the real ones and those that a test pretends.
    fn references_to(&self, list: &List) -> u32 {
        list.referencing_filters + self.references.get(&list.name).copied().unwrap_or_default()
    }

    pub(super) fn operations(&self) -> &[Operation] {
        &self.operations
    }

    pub(super) fn history(&self) -> &[EdgeChange] {
        &self.history
    }

    pub(super) fn configure(&mut self, options: CloudflareOptions) {
        self.options = options;
    }

    pub(super) fn with_write_counts(&self, counters: Counters) -> Counters {
        Counters {
            writes_accepted: self.writes_accepted,
            writes_refused: self.writes_refused,
            item_modifications: self.item_modifications,
            ..counters
        }
    }

    pub(super) fn reset_write_counts(&mut self) {
        (self.writes_accepted, self.writes_refused, self.item_modifications) = (0, 0, 0);
    }

    /// Lets every operation take effect that ends by `now`, each at its own time and in order.
    pub(super) fn settle(&mut self, now: Duration) {
        while let Some(end) = self.unfinished.front().and_then(|first| {
            first.end(self.last_finished, self.options.operation_delay).filter(|end| *end <= now)
        }) {
            let Some(unfinished) = self.unfinished.pop_front() else { break };
            self.last_finished = end;
            self.finish(unfinished, end);
        }
        self.now = self.now.max(now);
        for list in &mut self.lists {
            list.forget_past(self.now);
        }
    }

    /// Stuck and slow operations go on as if they had run all the time, and end no earlier than now.
    pub(super) fn release_stuck(&mut self) {
        for unfinished in &mut self.unfinished {
            unfinished.release(self.now);
        }
    }

    fn finish(&mut self, unfinished: Unfinished, at: Duration) {
        let operation = &mut self.operations[unfinished.index];
        operation.finished = Some(at);
        if let OperationFate::Fails(error) = unfinished.fate {
            operation.error = Some(error);
            return;
        }
        let others: usize =
            self.lists.iter().filter(|list| list.id != operation.list_id).map(List::len).sum();
        // The list may have been deleted meanwhile; then there is nothing to change.
        let Some(list) = find_mut(&mut self.lists, &operation.list_id) else { return };
        let room =
            self.options.list_items_max.min(self.options.account_items_max.saturating_sub(others));
        if list.len_after(&unfinished.change) > room.max(list.len()) {
            operation.error = Some(LIST_IS_FULL.to_owned());
            return;
        }
        let touched = unfinished.change.len() as u64;
        if !self.options.list_read_lag.is_zero() {
            list.show_until(at.saturating_add(self.options.list_read_lag));
        }
        if matches!(self.options.modified_on, ModifiedOn::Completion | ModifiedOn::Ours) {
            list.touch(at);
        }
        let (added, removed) = match unfinished.change {
            Change::Append(items) => (list.append(items, at, &mut self.random), Vec::new()),
            Change::Replace(items) => list.replace(items, at, &mut self.random),
            Change::Delete(ids) => (Vec::new(), list.delete(&ids)),
        };
        self.item_modifications += match operation.verb {
            Verb::Append => touched,
            Verb::Replace => touched + removed.len() as u64,
            Verb::Delete => removed.len() as u64,
        };
        let id = Some(operation.id.clone());
        self.history.push(EdgeChange::new(at, &list.id, id, added, removed));
    }

    /// Accepts a write for the queue, or says why not; the answer's `operation_id` if accepted.
    fn accept(
        &mut self,
        list_id: &str,
        change: Change,
        fate: OperationFate,
        judge: &mut Judge,
    ) -> Result<String, ApiError> {
        if let Some(first) = self.unfinished.front() {
            let pending = &self.operations[first.index];
            judge.note(format_args!(
                "a write while operation {} is unfinished, accepted {:.3}s ago",
                pending.id,
                self.now.saturating_sub(pending.accepted).as_secs_f64()
            ));
            // The code for this refusal is unknown; 10040 is the likely one (facts 1.6).
            if self.options.pending_mode == PendingMode::Reject {
                return Err(codes::RATE_LIMITED.into());
            }
        }
        let items = change.len() as u64;
        self.limits.check(self.now, items, &self.options)?;
        self.limits.count(self.now, items);
        let id = hex_id(self.random.next_u128());
        let index = self.operations.len();
        self.operations.push(Operation {
            id: id.clone(),
            list_id: list_id.to_owned(),
            verb: change.verb(),
            items: change.len(),
            accepted: self.now,
            finished: None,
            error: None,
        });
        if fate != OperationFate::Vanished {
            self.by_id.insert(id.clone(), index);
        }
        self.unfinished.push_back(Unfinished::new(index, self.now, change, fate));
        self.last_accepted = Some(self.now);
        self.accepted_ever += 1;
        if self.options.modified_on == ModifiedOn::Acceptance {
            self.touch(list_id, self.now);
        }
        // An operation without delay is done when its answer arrives.
        self.settle(self.now);
        Ok(id)
    }

    /// The hidden limiter (facts 1.8): spaced by time since the last accepted write of the account;
    /// refused attempts cost nothing. It may begin to look only at an account that has written a lot.
    fn check_write_floor(&self) -> Result<(), ApiError> {
        if self.accepted_ever < self.options.write_floor_after {
            return Ok(());
        }
        let free_from =
            self.last_accepted.map(|last| last.saturating_add(self.options.write_floor));
        match free_from.is_some_and(|free_from| self.now < free_from) {
            true => Err(codes::RATE_LIMITED.into()),
            false => Ok(()),
        }
    }

    /// What `GET bulk_operations/{id}` shows.
    fn operation_status(&self, id: &str) -> Option<(&Operation, OperationStatus)> {
        let index = *self.by_id.get(id)?;
        let operation = &self.operations[index];
        let lifetime = self.options.operation_lifetime;
        let forgotten = operation
            .finished
            .is_some_and(|finished| !lifetime.is_zero() && self.now >= finished + lifetime);
        let is_running = || {
            self.unfinished.front().is_some_and(|first| {
                let started = first.started(self.last_finished);
                let is_slow = matches!(first.fate, OperationFate::Slow(_));
                let has_begun = self.now >= started + self.options.operation_delay / 3;
                first.index == index && has_begun && !is_slow
            })
        };
        let status = match (operation.finished, &operation.error) {
            (Some(_), None) => OperationStatus::Completed,
            (Some(_), Some(_)) => OperationStatus::Failed,
            (None, _) if is_running() => OperationStatus::Running,
            (None, _) => OperationStatus::Pending,
        };
        (!forgotten).then_some((operation, status))
    }

    fn find(&self, list_id: &str) -> Option<&List> {
        self.lists.iter().find(|list| list.id == list_id)
    }
}

fn find_mut<'a>(lists: &'a mut [List], list_id: &str) -> Option<&'a mut List> {
    lists.iter_mut().find(|list| list.id == list_id)
}

#[cfg(test)]
mod tests;

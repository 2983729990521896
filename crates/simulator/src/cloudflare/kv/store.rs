//! The content of one namespace: what is stored, what a listing shows of it, and what was stored when.
//! A listing lags behind: each change, an expiry too, reaches it in order after the lag has passed.

use std::collections::{BTreeMap, BTreeSet, VecDeque, btree_map};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::history::{KvCause, KvChange};

/// What is stored under a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) value: Bytes,
    /// Unix seconds; `None` = never.
    pub(super) expiration: Option<u64>,
    pub(super) metadata: Option<Value>,
}

impl Entry {
    /// Writing one over the other would change nothing that anybody could notice.
    pub(super) fn is_as_good_as(&self, other: &Self) -> bool {
        let same_expiration = match (self.expiration, other.expiration) {
            (Some(one), Some(two)) => one.abs_diff(two) <= 1,
            (one, two) => one == two,
        };
        same_expiration && self.value == other.value && self.metadata == other.metadata
    }
}

/// A key as list-keys shows it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ListedKey<'a> {
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Value>,
}

/// One namespace's content. Every method but `settle` acts at the time of the last `settle`.
#[derive(Debug)]
pub(super) struct Store {
    /// Wall-clock time at the simulator's start, since 1970.
    start: Duration,
    now: Duration,
    lag: Duration,
    /// A cell without content is removed.
    cells: BTreeMap<String, Cell>,
    /// Every stored entry that expires.
    expiring: BTreeSet<(u64, String)>,
    /// Changes that no listing shows yet, oldest first.
    unlisted: VecDeque<Unlisted>,
    history: Vec<KvChange>,
}

#[derive(Debug, Default)]
struct Cell {
    stored: Option<Arc<Entry>>,
    listed: Option<Arc<Entry>>,
    /// When it was last written.
    written: Option<Duration>,
}

#[derive(Debug)]
struct Unlisted {
    at: Duration,
    key: String,
    entry: Option<Arc<Entry>>,
}

impl Store {
    pub(super) fn new(start: Duration, now: Duration) -> Self {
        Self {
            start,
            now,
            lag: Duration::ZERO,
            cells: BTreeMap::new(),
            expiring: BTreeSet::new(),
            unlisted: VecDeque::new(),
            history: Vec::new(),
        }
    }

    /// Lets everything expire that expires by `now`, each at its own time, and listings catch up.
    pub(super) fn settle(&mut self, now: Duration, lag: Duration) {
        let last = self.now;
        (self.now, self.lag) = (last.max(now), lag);
        while let Some((expiration, key)) = self.expiring.pop_first() {
            let at = Duration::from_secs(expiration).saturating_sub(self.start);
            if at > self.now {
                self.expiring.insert((expiration, key));
                break;
            }
            // What was preloaded with a time in the past goes now.
            self.change(&key, None, at.max(last), KvCause::Expiry);
        }
        let behind = self.now.checked_sub(lag);
        while let Some(change) =
            self.unlisted.pop_front_if(|change| behind.is_some_and(|behind| change.at <= behind))
        {
            self.list(change.key, change.entry);
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.cells.get(key)?.stored.as_deref()
    }

    /// The same, as far behind as listings are.
    pub(super) fn get_listed(&self, key: &str) -> Option<&Entry> {
        self.cells.get(key)?.listed.as_deref()
    }

    /// Time since the key was last written, if it is there.
    pub(super) fn since_written(&self, key: &str) -> Option<Duration> {
        let written = self.cells.get(key)?.written?;
        Some(self.now.saturating_sub(written))
    }

    /// Stores an entry over whatever was there: value, expiration and metadata (facts 2.3).
    pub(super) fn put(&mut self, key: &str, entry: Entry) {
        self.change(key, Some(entry), self.now, KvCause::Write);
        if let Some(cell) = self.cells.get_mut(key) {
            cell.written = Some(self.now);
        }
    }

    /// [`Store::put`] of what has been there for long: listings show it at once.
    pub(super) fn preload(&mut self, key: &str, entry: Entry) {
        self.change(key, Some(entry), self.now, KvCause::Preload);
        self.unlisted.retain(|change| change.key != key);
        let stored = self.cells.get(key).and_then(|cell| cell.stored.clone());
        self.list(key.to_owned(), stored);
    }

    /// Removes a key; false if it was not there, which is no error.
    pub(super) fn delete(&mut self, key: &str) -> bool {
        let is_there = self.get(key).is_some();
        if is_there {
            self.change(key, None, self.now, KvCause::Delete);
        }
        is_there
    }

    /// Removes everything, as another tool would.
    pub(super) fn clear(&mut self) {
        let keys: Vec<String> = self.entries().map(|(key, _)| key.to_owned()).collect();
        for key in keys {
            self.delete(&key);
        }
    }

    /// Everything that is stored now, in the order of listings.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.cells.iter().filter_map(|(key, cell)| Some((key.as_str(), cell.stored.as_deref()?)))
    }

    /// Up to `count` listed keys beyond one, in the order of their UTF-8 bytes, and whether there are
    /// more. Costs what the page costs, wherever it is.
    pub(super) fn page_after(
        &self,
        after: Option<&str>,
        count: usize,
        prefix: &str,
    ) -> (Vec<ListedKey<'_>>, bool) {
        let from = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let mut keys = self
            .cells
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter_map(|(key, cell)| {
                let entry = cell.listed.as_deref()?;
                let metadata = entry.metadata.as_ref();
                Some(ListedKey { name: key, expiration: entry.expiration, metadata })
            });
        let page = keys.by_ref().take(count).collect();
        (page, keys.next().is_some())
    }

    /// The last of the first `count` listed keys, or of all if they are fewer; `None` if `count` is 0.
    pub(super) fn last_of_first(&self, count: usize, prefix: &str) -> Option<&str> {
        let listed = self.cells.iter().filter(|(_, cell)| cell.listed.is_some());
        let keys = listed.map(|(key, _)| key.as_str()).filter(|key| key.starts_with(prefix));
        keys.take(count).last()
    }

    pub(super) fn history(&self) -> &[KvChange] {
        &self.history
    }

    /// Every change of what is stored goes through here, so that nothing escapes the listing, the
    /// expiry and the history.
    fn change(&mut self, key: &str, entry: Option<Entry>, at: Duration, cause: KvCause) {
        let entry = entry.map(Arc::new);
        let cell = match self.cells.get_mut(key) {
            Some(cell) => cell,
            None => self.cells.entry(key.to_owned()).or_default(),
        };
        let old = std::mem::replace(&mut cell.stored, entry.clone());
        if let Some(expiration) = old.as_ref().and_then(|old| old.expiration) {
            self.expiring.remove(&(expiration, key.to_owned()));
        }
        if let Some(expiration) = entry.as_ref().and_then(|entry| entry.expiration) {
            self.expiring.insert((expiration, key.to_owned()));
        }
        // A new expiration alone changes nothing at the edge before its time.
        let value = entry.as_ref().map(|entry| &entry.value);
        if old.as_ref().map(|old| &old.value) != value {
            self.history.push(KvChange::new(at, key, value, cause));
        }
        if self.lag.is_zero() && self.unlisted.is_empty() {
            self.list(key.to_owned(), entry);
        } else {
            self.unlisted.push_back(Unlisted { at, key: key.to_owned(), entry });
        }
    }

    /// Shows the key as this in listings; `None` = not at all.
    fn list(&mut self, key: String, entry: Option<Arc<Entry>>) {
        match self.cells.entry(key) {
            btree_map::Entry::Occupied(mut cell) => {
                cell.get_mut().listed = entry;
                if cell.get().stored.is_none() && cell.get().listed.is_none() {
                    cell.remove();
                }
            }
            btree_map::Entry::Vacant(cell) => {
                if entry.is_some() {
                    cell.insert(Cell { listed: entry, ..Cell::default() });
                }
            }
        }
    }
}

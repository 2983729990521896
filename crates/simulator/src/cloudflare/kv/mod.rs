//! Workers KV of an account: its namespaces, the day's quotas, and the routes under
//! `/accounts/{id}/storage/kv/namespaces` (facts: cloudflare.md 2). Unlike lists, a write takes effect
//! when it is accepted; listings may lag behind, and reads of values, too (`kv_value_lag`).

mod base64;
mod body;
pub mod codes;
mod counters;
mod history;
mod inspect;
mod quota;
mod routes;
mod store;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
pub use counters::KvCounters;
pub use history::{KvCause, KvChange};
pub use inspect::KvEntryView;

use super::codes::KnownError;
use crate::journal::Judge;
use crate::options::CloudflareOptions;
use crate::random::{Random, hex_id};
use body::{Jurisdiction, Mode, NewPair};
use quota::{Quota, Usage};
use store::{Entry, Store};

/// All namespaces of the account.
#[derive(Debug)]
pub(crate) struct Kv {
    options: CloudflareOptions,
    /// Wall-clock time at the simulator's start, since 1970.
    start: Duration,
    random: Random,
    now: Duration,
    namespaces: Vec<Namespace>,
    quota: Quota,
    counters: KvCounters,
}

#[derive(Debug)]
struct Namespace {
    id: String,
    title: String,
    jurisdiction: Option<Jurisdiction>,
    mode: Option<Mode>,
    store: Store,
}

impl Kv {
    pub(super) fn new(options: CloudflareOptions, start: SystemTime, seed: u64) -> Self {
        Self {
            options,
            start: start.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            random: Random::new(seed, "cloudflare kv"),
            now: Duration::ZERO,
            namespaces: Vec::new(),
            quota: Quota::default(),
            counters: KvCounters::default(),
        }
    }

    pub(super) fn configure(&mut self, options: CloudflareOptions) {
        self.options = options;
    }

    /// Lets every key expire that expires by `now`, and listings catch up.
    pub(super) fn settle(&mut self, now: Duration) {
        self.now = self.now.max(now);
        for namespace in &mut self.namespaces {
            let options = &self.options;
            namespace.store.settle(self.now, options.kv_list_lag, options.kv_value_lag);
        }
    }

    pub(super) fn reset_counters(&mut self) {
        self.counters = KvCounters::default();
    }

    fn create(
        &mut self,
        title: &str,
        jurisdiction: Option<Jurisdiction>,
        mode: Option<Mode>,
    ) -> String {
        let id = hex_id(self.random.next_u128());
        self.namespaces.push(Namespace {
            id: id.clone(),
            title: title.to_owned(),
            jurisdiction,
            mode,
            store: Store::new(self.start, self.now),
        });
        id
    }

    /// Puts one key there, or takes it away, as another tool would; nothing if there is no such
    /// namespace.
    pub(super) fn set_by_others(&mut self, id: &str, key: &str, is_there: bool) {
        let Some(namespace) = self.find_mut(id) else { return };
        match is_there {
            true => {
                let value = Bytes::from_static(b"ban");
                namespace.store.preload(key, Entry { value, expiration: None, metadata: None });
            }
            false => drop(namespace.store.delete(key)),
        }
    }

    fn find(&self, id: &str) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.id == id)
    }

    fn find_mut(&mut self, id: &str) -> Option<&mut Namespace> {
        self.namespaces.iter_mut().find(|namespace| namespace.id == id)
    }

    /// The time now, since 1970.
    fn wall(&self) -> Duration {
        self.start + self.now
    }

    /// Takes this much from the day's quota, or refuses.
    fn spend(&mut self, usage: Usage, count: usize) -> Result<(), KnownError> {
        let wall = self.wall();
        self.quota
            .spend(usage, count, wall, &self.options)
            .inspect_err(|_| self.counters.quota_refusals += 1)
    }

    /// Stores the pairs but the first `unsuccessful`, or none. The names of those are returned; they
    /// are billed like the others, the less kind reading.
    fn write(
        &mut self,
        namespace: usize,
        mut pairs: Vec<NewPair>,
        unsuccessful: usize,
        judge: &mut Judge,
    ) -> Result<Vec<String>, KnownError> {
        self.judge_own(pairs.iter().map(|pair| &pair.key), judge);
        let mut eternal = pairs.iter().filter(|pair| pair.entry.expiration.is_none());
        if let Some(first) = eternal.next() {
            let others = eternal.count();
            judge.note(format_args!(
                "{} without an expiration (and {others} more), which would stay for ever",
                first.key
            ));
        }
        let interval = self.options.kv_key_write_interval;
        let is_early = |pair: &NewPair| {
            let since = self.namespaces[namespace].store.since_written(&pair.key);
            since.is_some_and(|since| since < interval)
        };
        // Refused whole: whether the other pairs would be stored is unknown.
        if let Some(pair) = pairs.iter().find(|pair| is_early(pair)) {
            judge.note(format_args!("{} was written a moment ago", pair.key));
            return Err(codes::KEY_WRITTEN_TOO_OFTEN);
        }
        self.spend(Usage::Write, pairs.len())?;

        self.counters.pairs_written += pairs.len() as u64;
        let rest = pairs.split_off(unsuccessful.min(pairs.len()));
        let store = &mut self.namespaces[namespace].store;
        for NewPair { key, entry } in rest {
            let is_identical = store.get(&key).is_some_and(|stored| stored.is_as_good_as(&entry));
            self.counters.identical_rewrites += u64::from(is_identical);
            store.put(&key, entry);
        }
        Ok(pairs.into_iter().map(|pair| pair.key).collect())
    }

    /// Removes the keys but the first `unsuccessful`, or none; returns the names of those.
    fn delete(
        &mut self,
        namespace: usize,
        mut names: Vec<String>,
        unsuccessful: usize,
        judge: &mut Judge,
    ) -> Result<Vec<String>, KnownError> {
        self.judge_own(&names, judge);
        self.spend(Usage::Delete, names.len())?;
        self.counters.keys_deleted += names.len() as u64;
        let store = &mut self.namespaces[namespace].store;
        for name in names.split_off(unsuccessful.min(names.len())) {
            self.counters.absent_deletes += u64::from(!store.delete(&name));
        }
        Ok(names)
    }

    fn judge_own<'a>(&self, keys: impl IntoIterator<Item = &'a String>, judge: &mut Judge) {
        let (prefix, own) = (&self.options.kv_own_prefix, &self.options.kv_own_key);
        let is_own = |key: &String| key.starts_with(prefix.as_str()) || key == own;
        for key in keys.into_iter().filter(|key| !is_own(key)) {
            judge.note(format_args!("{key} is not the client's: it does not begin with {prefix}"));
        }
    }
}

#[cfg(test)]
mod tests;

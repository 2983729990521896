//! KV from the inside, for tests and the control endpoint: what other tools put there, what is stored,
//! and what was. Nothing here is a request, is billed or counts.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::history::{self, KvChange};
use super::store::Entry;
use super::{KvCounters, Namespace};
use crate::cloudflare::Cloudflare;

/// What is stored under a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KvEntryView {
    /// The value; bytes that are not UTF-8 are replaced.
    pub value: String,
    /// When it expires, in Unix seconds; `None` = never.
    #[serde(rename = "expiration", default, skip_serializing_if = "Option::is_none")]
    pub expiration_unix: Option<u64>,
    /// The metadata, if there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
}

impl From<&Entry> for KvEntryView {
    fn from(entry: &Entry) -> Self {
        Self {
            value: String::from_utf8_lossy(&entry.value).into_owned(),
            expiration_unix: entry.expiration,
            metadata: entry.metadata.clone(),
        }
    }
}

/// Workers KV. Methods that change a namespace panic if there is no such one; those that look find
/// nothing in it.
impl Cloudflare {
    /// Makes an empty namespace, as the dashboard would, whatever the account's limit; returns its id.
    pub fn create_namespace(&mut self, title: &str) -> String {
        self.kv.create(title, None, None)
    }

    /// The namespaces as `(id, title)`, in the order of their creation.
    pub fn namespaces(&self) -> Vec<(String, String)> {
        self.kv.namespaces.iter().map(|one| (one.id.clone(), one.title.clone())).collect()
    }

    /// Puts one pair into a namespace at once, as if it had been there for long: listings show it,
    /// whatever their lag. `expiration` counts from the simulator's start.
    pub fn kv_put(
        &mut self,
        namespace: &str,
        key: &str,
        value: &str,
        expiration: Option<Duration>,
        metadata: Option<Value>,
    ) {
        let start = self.kv.start;
        let expiration_unix = expiration.map(|expiration| (start + expiration).as_secs());
        let view = KvEntryView { value: value.to_owned(), expiration_unix, metadata };
        self.kv_preload(namespace, [(key.to_owned(), view)]);
    }

    /// [`Cloudflare::kv_put`] of many pairs, in the form that [`Cloudflare::kv_entries`] gives.
    pub fn kv_preload(
        &mut self,
        namespace: &str,
        entries: impl IntoIterator<Item = (String, KvEntryView)>,
    ) {
        let store = &mut self.namespace_mut(namespace).store;
        for (key, KvEntryView { value, expiration_unix: expiration, metadata }) in entries {
            store.preload(&key, Entry { value: Bytes::from(value), expiration, metadata });
        }
    }

    /// Deletes every key of a namespace, as another tool would.
    pub fn kv_clear(&mut self, namespace: &str) {
        self.namespace_mut(namespace).store.clear();
    }

    /// What is stored under a key now.
    pub fn kv_get(&self, namespace: &str, key: &str) -> Option<KvEntryView> {
        Some(self.kv.find(namespace)?.store.get(key)?.into())
    }

    /// Everything that is stored in a namespace now.
    pub fn kv_entries(&self, namespace: &str) -> BTreeMap<String, KvEntryView> {
        let entries = self.kv.find(namespace).into_iter().flat_map(|one| one.store.entries());
        entries.map(|(key, entry)| (key.to_owned(), entry.into())).collect()
    }

    /// Every change of a value in a namespace, oldest first, preloading included.
    pub fn kv_history(&self, namespace: &str) -> &[KvChange] {
        self.kv.find(namespace).map_or(&[], |one| one.store.history())
    }

    /// Whether a key was not there at any moment of a span of time, which counts from the simulator's
    /// start. A moment without length, between two changes at the same time, is none.
    pub fn kv_was_absent(&self, namespace: &str, key: &str, span: Range<Duration>) -> bool {
        history::was_absent(self.kv_history(namespace), key, &span)
    }

    /// What the client's use of KV has cost so far.
    pub fn kv_counters(&self) -> KvCounters {
        self.kv.counters
    }

    fn namespace_mut(&mut self, id: &str) -> &mut Namespace {
        self.kv.find_mut(id).expect("the namespace must exist")
    }
}

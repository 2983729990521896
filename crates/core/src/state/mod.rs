//! Everything that outlasts a run, and the one way in which it is kept: small JSON values with a
//! version, times in them as whole Unix seconds, because other tools read them.
//!
//! None of it is ever needed: what cannot be read counts as nothing remembered, and without a store
//! every run stands alone. What follows from what is remembered is decided elsewhere.

pub mod edge;
mod ends;
pub mod guard;
pub mod last;
mod lease;
pub mod parts;
pub mod quota;
pub mod rules;
mod said;
pub mod shards;
pub mod table;
mod usage;
pub mod writes;

use std::ops::Deref;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ports::{Store, StoreError};

pub use edge::EdgeHistory;
pub use ends::{Ends, Known};
pub use guard::GuardHistory;
pub use last::LastRun;
pub use lease::{Lease, LeaseRecord, Leased};
pub use quota::Quota;
pub use rules::RulesHistory;
pub use said::Said;
pub use shards::{RANGES, STALE_SECS, ShardsHistory, is_just_written};
pub use table::{Cell, Table};
pub use usage::UsageSent;
pub use writes::WriteHistory;

/// What is kept under one key of the store.
pub trait Record: Default + Serialize + DeserializeOwned {
    /// The key. Other tools know it.
    const KEY: &'static str;
    /// The version of the fields. A value of another one is not understood.
    const VERSION: u32;

    /// Brings times in the future (a clock that was put back) back to `now`, Unix seconds, so that no
    /// wait is longer than its length counted from now.
    fn settle(&mut self, _now: u64) {}
}

/// What was under the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A value of this version.
    Stored,
    /// None.
    Nothing,
    /// Something that is not understood: garbage, or another version.
    Unreadable,
    /// The store could not be asked.
    NoStore(StoreError),
}

/// A record as it was loaded, or its default, and what has changed in it since.
#[derive(Debug, Clone)]
pub struct Remembered<T> {
    value: T,
    /// What the store has; `None` = no value that is understood.
    stored: Option<Vec<u8>>,
    /// We wrote it just now. What was loaded may be the same in other words.
    is_fresh: bool,
    found: Found,
}

impl<T: Record> Remembered<T> {
    /// Loads the record. What [`Record::settle`] changes is written by the next save.
    pub fn load(store: &impl Store, now: u64) -> Self {
        let (read, stored, found) = match store.get(T::KEY) {
            Err(error) => (None, None, Found::NoStore(error)),
            Ok(None) => (None, None, Found::Nothing),
            Ok(Some(bytes)) => match decode::<T>(T::VERSION, &bytes) {
                Some(read) => (Some(read), Some(bytes), Found::Stored),
                None => (None, None, Found::Unreadable),
            },
        };
        let mut value = read.unwrap_or_default();
        value.settle(now);
        Self { value, stored, is_fresh: false, found }
    }

    /// What was there when it was loaded.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Why the store could not be asked, if it could not.
    pub fn store_error(&self) -> Option<&StoreError> {
        match &self.found {
            Found::NoStore(error) => Some(error),
            Found::Stored | Found::Nothing | Found::Unreadable => None,
        }
    }

    /// Whether a store answered and had nothing: the first run, or a store that forgets.
    pub fn is_new(&self) -> bool {
        self.found == Found::Nothing
    }

    /// Changes the record and saves it at once.
    pub fn change(
        &mut self,
        store: &impl Store,
        change: impl FnOnce(&mut T),
    ) -> Result<(), StoreError> {
        change(&mut self.value);
        self.save(store)
    }

    /// Saves the record if it differs from what the store has. No value, or one that is not understood,
    /// differs from the default too: it is written, so that the next run finds one.
    pub fn save(&mut self, store: &impl Store) -> Result<(), StoreError> {
        let value = encode(T::VERSION, &self.value);
        let says_the_same = |stored: &Vec<u8>| {
            let read = || decode::<T>(T::VERSION, stored);
            *stored == value
                || !self.is_fresh && read().is_some_and(|read| encode(T::VERSION, &read) == value)
        };
        if !self.stored.as_ref().is_some_and(says_the_same) {
            store.set(T::KEY, &value)?;
            (self.stored, self.is_fresh) = (Some(value), true);
        }
        Ok(())
    }
}

impl<T> Deref for Remembered<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// What the fields of every value begin with.
#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// The value in `bytes`, if it is of this version and whole.
fn decode<T: DeserializeOwned>(version: u32, bytes: &[u8]) -> Option<T> {
    (version_of(bytes)? == version).then(|| serde_json::from_slice(bytes).ok())?
}

fn version_of(bytes: &[u8]) -> Option<u32> {
    // As we write it, it is the first of all, and the value is read once.
    if let Some([digit @ b'0'..=b'9', b',' | b'}', ..]) = bytes.strip_prefix(b"{\"v\":") {
        return Some(u32::from(digit - b'0'));
    }
    serde_json::from_slice::<Version>(bytes).ok().map(|read| read.v)
}

/// The value's fields behind its version. Not by serde's `flatten`: it is twice the code.
fn encode<T: Serialize>(version: u32, value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(b"{\"v\":");
    bytes.extend_from_slice(version.to_string().as_bytes());
    let head = bytes.len();
    serde_json::to_writer(&mut bytes, value).expect("numbers and texts always serialise");
    // The fields' own bracket, which is open already.
    assert_eq!(bytes[head], b'{', "a record has fields");
    match bytes[head + 1] {
        b'}' => drop(bytes.remove(head)),
        _ => bytes[head] = b',',
    }
    bytes
}

#[cfg(test)]
mod tests;

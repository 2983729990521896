//! The component's key-value store, looked at and never written: whoever asks what a run would do must
//! not make the next one wait, or take its lease.

use super::Native;
use anyhow::Result;
use edge_sync_core::ports::{Store, StoreError};
use spin_app::{DEFAULT_LABEL, Options, Store as Backend};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// A store below, and what was set here above it.
#[derive(Debug)]
pub struct ReadOnly {
    /// `None` = the manifest does not give the component the store.
    below: Option<Backend>,
    above: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl ReadOnly {
    /// The store that the component would open.
    pub fn open(options: &Options, allowed: &BTreeSet<String>) -> Result<Self> {
        let below = match allowed.contains(DEFAULT_LABEL) {
            true => Some(spin_app::store(options)?.read_only()),
            false => None,
        };
        Ok(Self { below, above: Mutex::default() })
    }
}

impl ReadOnly {
    /// Where it is, without a password.
    pub fn place(&self) -> String {
        self.below.as_ref().map_or_else(|| "nowhere".to_owned(), ToString::to_string)
    }
}

impl Store for ReadOnly {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let above = self.above.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = above.get(key) {
            return Ok(Some(value.clone()));
        }
        let Some(below) = &self.below else {
            let told = format!("the manifest's key_value_stores does not have {DEFAULT_LABEL:?}");
            return Err(StoreError(told));
        };
        below.get(key).map_err(|error| StoreError(error.to_string()))
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let mut above = self.above.lock().unwrap_or_else(PoisonError::into_inner);
        above.insert(key.to_owned(), value.to_vec());
        Ok(())
    }
}

impl Store for Native {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(key)
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.store.set(key, value)
    }
}

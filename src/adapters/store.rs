//! Spin's key-value store `default`.

use edge_sync_core::ports::{Store, StoreError};
use spin_sdk::key_value;

use super::Spin;

impl Store for Spin {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        key_value::Store::open_default().and_then(|store| store.get(key)).map_err(store_error)
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        key_value::Store::open_default()
            .and_then(|store| store.set(key, value))
            .map_err(store_error)
    }
}

fn store_error(error: key_value::Error) -> StoreError {
    StoreError(error.to_string())
}

//! The `fermyon:spin/key-value` interface over the default store. Owns which stores a component may open,
//! and nothing of where values are or what they mean.
//!
//! A store is asked on the thread of the run that asks: the component cannot go on without it anyway.

use crate::bindings::fermyon::spin::key_value::{Error, Host, HostStore};
use spin_app::DEFAULT_LABEL;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use wasmtime::component::{HasData, Resource, ResourceTable};

#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use spin_app::Store;

/// What one component may open.
#[derive(Clone, Debug)]
pub(crate) struct KeyValue {
    pub(crate) allowed: Arc<BTreeSet<String>>,
    pub(crate) default: Store,
}

/// Ties the linker to [`KeyValueView`].
pub(crate) struct HasKeyValue;

impl HasData for HasKeyValue {
    type Data<'a> = KeyValueView<'a>;
}

/// The interface's implementation, borrowed from a guest's state.
pub(crate) struct KeyValueView<'a> {
    pub(crate) key_value: &'a KeyValue,
    pub(crate) table: &'a mut ResourceTable,
}

impl Host for KeyValueView<'_> {}

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl KeyValueView<'_> {
    /// An I/O error is the guest's to handle; a handle that it made up is a trap.
    fn with<T>(
        &self,
        store: &Resource<Store>,
        operation: impl FnOnce(&Store) -> io::Result<T>,
    ) -> Answer<T> {
        let store = self.table.get(store)?;
        Ok(operation(store).map_err(|error| Error::Other(error.to_string())))
    }
}

impl HostStore for KeyValueView<'_> {
    fn open(&mut self, label: String) -> Answer<Resource<Store>> {
        if !self.key_value.allowed.contains(&label) {
            return Ok(Err(Error::AccessDenied));
        }
        if label != DEFAULT_LABEL {
            return Ok(Err(Error::NoSuchStore));
        }
        Ok(Ok(self.table.push(self.key_value.default.clone())?))
    }

    fn get(&mut self, store: Resource<Store>, key: String) -> Answer<Option<Vec<u8>>> {
        self.with(&store, |store| store.get(&key))
    }

    fn set(&mut self, store: Resource<Store>, key: String, value: Vec<u8>) -> Answer<()> {
        self.with(&store, |store| store.set(&key, &value))
    }

    fn delete(&mut self, store: Resource<Store>, key: String) -> Answer<()> {
        self.with(&store, |store| store.delete(&key))
    }

    fn exists(&mut self, store: Resource<Store>, key: String) -> Answer<bool> {
        self.with(&store, |store| store.exists(&key))
    }

    fn get_keys(&mut self, store: Resource<Store>) -> Answer<Vec<String>> {
        self.with(&store, Store::keys)
    }

    fn drop(&mut self, store: Resource<Store>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_open_as_spin_answers() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::in_state_dir(folder.path());
        let allowed = Arc::new(BTreeSet::from(["default".to_owned(), "cache".to_owned()]));
        let key_value = KeyValue { allowed, default: store };
        let mut table = ResourceTable::new();
        let mut view = KeyValueView { key_value: &key_value, table: &mut table };
        assert!(view.open("default".to_owned()).unwrap().is_ok());
        assert!(matches!(view.open("cache".to_owned()).unwrap(), Err(Error::NoSuchStore)));
        assert!(matches!(view.open("other".to_owned()).unwrap(), Err(Error::AccessDenied)));
    }
}

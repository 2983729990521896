//! The default key-value store and the `fermyon:spin/key-value` interface over it. Owns where the values
//! are, files or Redis, and nothing of what they mean.
//!
//! A store is asked on the thread of the run that asks, and answers or fails within seconds: the
//! component cannot go on without it anyway.

mod files;
mod redis;

use self::files::Files;
use self::redis::Redis;
use crate::bindings::fermyon::spin::key_value::{Error, Host, HostStore};
use crate::runtime_config::DefaultStore;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use wasmtime::component::{HasData, Resource, ResourceTable};

/// The one store that exists, as in Spin without a runtime configuration.
pub(crate) const DEFAULT_LABEL: &str = "default";

/// An open store.
#[derive(Clone, Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Store(Backend);

#[derive(Clone, Debug)]
enum Backend {
    Files(Files),
    Redis(Arc<Redis>),
}

impl Store {
    /// The default store without a runtime configuration: where `--state-dir` says.
    pub(crate) fn in_state_dir(state_dir: &Path) -> Self {
        Self(Backend::Files(Files::new(state_dir.join("key-value").join(DEFAULT_LABEL))))
    }

    /// The default store as a runtime configuration wants it. Nothing is connected to yet.
    pub(crate) fn configured(config: DefaultStore) -> Self {
        Self(match config {
            DefaultStore::Folder(folder) => Backend::Files(Files::new(folder)),
            DefaultStore::Redis(client) => Backend::Redis(Arc::new(Redis::new(client))),
        })
    }

    pub(crate) fn get(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        match &self.0 {
            Backend::Files(files) => files.get(key),
            Backend::Redis(redis) => redis.get(key),
        }
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) -> io::Result<()> {
        match &self.0 {
            Backend::Files(files) => files.set(key, value),
            Backend::Redis(redis) => redis.set(key, value),
        }
    }

    pub(crate) fn delete(&self, key: &str) -> io::Result<()> {
        match &self.0 {
            Backend::Files(files) => files.delete(key),
            Backend::Redis(redis) => redis.delete(key),
        }
    }

    pub(crate) fn exists(&self, key: &str) -> io::Result<bool> {
        match &self.0 {
            Backend::Files(files) => files.exists(key),
            Backend::Redis(redis) => redis.exists(key),
        }
    }

    pub(crate) fn keys(&self) -> io::Result<Vec<String>> {
        match &self.0 {
            Backend::Files(files) => files.keys(),
            Backend::Redis(redis) => redis.keys(),
        }
    }
}

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

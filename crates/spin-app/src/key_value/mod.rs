//! The default key-value store: where its values are, in Spin's own SQLite file or in Redis, and nothing of
//! what they mean. Laid out as Spin does it, so that Spin and others can take turns.
//!
//! A store is asked on the thread of whoever asks, and answers or fails within seconds: a run cannot go on
//! without it anyway.

mod redis;
mod sqlite;

use self::redis::Redis;
use self::sqlite::{Access, Sqlite};
use crate::runtime_config::DefaultStore;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use self::sqlite::FILE as SQLITE_FILE;

/// The one store that exists, as in Spin without a runtime configuration.
pub const DEFAULT_LABEL: &str = "default";

/// A store; cheap to clone. Nothing is opened before the first question.
#[derive(Clone, Debug)]
pub struct Store(Backend);

#[derive(Clone, Debug)]
enum Backend {
    Sqlite(Arc<Sqlite>),
    Redis(Arc<Redis>),
}

impl Store {
    /// The store without a runtime configuration, in this state directory. Made by the first write.
    pub fn in_state_dir(state_dir: &Path) -> Self {
        Self(Backend::Sqlite(Arc::new(Sqlite::new(state_dir.join(SQLITE_FILE), Access::Write))))
    }

    /// The store as a runtime configuration wants it.
    pub(crate) fn configured(config: DefaultStore) -> Self {
        Self(match config {
            DefaultStore::File(path) => Backend::Sqlite(Arc::new(Sqlite::new(path, Access::Write))),
            DefaultStore::Redis(client) => Backend::Redis(Arc::new(Redis::new(client))),
        })
    }

    /// The same store for somebody who only looks: a file that is not there is an error and is not made,
    /// and `set` and `delete` fail.
    pub fn read_only(self) -> Self {
        Self(match self.0 {
            Backend::Sqlite(sqlite) => {
                Backend::Sqlite(Arc::new(Sqlite::new(sqlite.path().to_owned(), Access::Read)))
            }
            redis @ Backend::Redis(_) => redis,
        })
    }

    /// Whether it is Redis, which is reached over the network.
    pub fn is_redis(&self) -> bool {
        matches!(self.0, Backend::Redis(_))
    }

    /// The value of a key, if it has one.
    pub fn get(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        match &self.0 {
            Backend::Sqlite(sqlite) => sqlite.get(key),
            Backend::Redis(redis) => redis.get(key),
        }
    }

    /// Sets the value of a key.
    pub fn set(&self, key: &str, value: &[u8]) -> io::Result<()> {
        match &self.0 {
            Backend::Sqlite(sqlite) => sqlite.set(key, value),
            Backend::Redis(redis) => redis.set(key, value),
        }
    }

    /// Deletes a key, whether it is there or not.
    pub fn delete(&self, key: &str) -> io::Result<()> {
        match &self.0 {
            Backend::Sqlite(sqlite) => sqlite.delete(key),
            Backend::Redis(redis) => redis.delete(key),
        }
    }

    /// Whether a key has a value.
    pub fn exists(&self, key: &str) -> io::Result<bool> {
        match &self.0 {
            Backend::Sqlite(sqlite) => sqlite.exists(key),
            Backend::Redis(redis) => redis.exists(key),
        }
    }

    /// All keys, in order.
    pub fn keys(&self) -> io::Result<Vec<String>> {
        match &self.0 {
            Backend::Sqlite(sqlite) => sqlite.keys(),
            Backend::Redis(redis) => redis.keys(),
        }
    }
}

/// Where it is, without a password.
impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Backend::Sqlite(sqlite) => write!(f, "{}", sqlite.path().display()),
            Backend::Redis(redis) => write!(f, "{redis:?}"),
        }
    }
}

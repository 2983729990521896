//! A store in Spin's own file: one table, a row for each key of each store (read in Spin's
//! `crates/key-value-spin/src/store.rs`, unchanged from version 2 to 4).
//!
//! Spin keeps SQLite's defaults: a rollback journal, so that a run that is killed leaves the old value or the
//! new one, and a lock for the moment of a write. Whoever meets that lock waits for it.

use super::DEFAULT_LABEL;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, OptionalExtension, params};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The file in the state directory.
pub const FILE: &str = "sqlite_key_value.db";

/// A write of ours takes milliseconds; a lock that is held longer than that is not one of a run's.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// What may be done with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everything; it is made where it is not there.
    Write,
    /// Reading.
    Read,
}

/// A file, and the connection to it while there is one.
pub(super) struct Sqlite {
    path: PathBuf,
    access: Access,
    connection: Mutex<Option<Connection>>,
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl Sqlite {
    pub(super) fn new(path: PathBuf, access: Access) -> Self {
        Self { path, access, connection: Mutex::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn get(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        self.with(|connection| {
            let found = connection
                .prepare_cached("SELECT value FROM spin_key_value WHERE store = ?1 AND key = ?2")?
                .query_row([DEFAULT_LABEL, key], |row| row.get(0));
            found.optional()
        })
    }

    pub(super) fn set(&self, key: &str, value: &[u8]) -> io::Result<()> {
        self.with(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO spin_key_value (store, key, value) VALUES (?1, ?2, ?3)
                     ON CONFLICT (store, key) DO UPDATE SET value = excluded.value",
                )?
                .execute(params![DEFAULT_LABEL, key, value])
                .map(drop)
        })
    }

    pub(super) fn delete(&self, key: &str) -> io::Result<()> {
        self.with(|connection| {
            connection
                .prepare_cached("DELETE FROM spin_key_value WHERE store = ?1 AND key = ?2")?
                .execute([DEFAULT_LABEL, key])
                .map(drop)
        })
    }

    pub(super) fn exists(&self, key: &str) -> io::Result<bool> {
        self.with(|connection| {
            connection
                .prepare_cached("SELECT 1 FROM spin_key_value WHERE store = ?1 AND key = ?2")?
                .exists([DEFAULT_LABEL, key])
        })
    }

    pub(super) fn keys(&self) -> io::Result<Vec<String>> {
        self.with(|connection| {
            connection
                .prepare_cached("SELECT key FROM spin_key_value WHERE store = ?1 ORDER BY key")?
                .query_map([DEFAULT_LABEL], |row| row.get(0))?
                .collect()
        })
    }

    fn with<T>(&self, ask: impl FnOnce(&Connection) -> Result<T, Error>) -> io::Result<T> {
        let mut kept = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match kept.take() {
            // A file that was removed under us: what is written to the old one nobody reads again.
            Some(connection) if self.path.exists() => connection,
            _ => self.open()?,
        };
        let answer = ask(&connection).map_err(|error| self.described(&error));
        *kept = Some(connection);
        answer
    }

    fn open(&self) -> io::Result<Connection> {
        let flags = match self.access {
            Access::Write => {
                if let Some(folder) = self.path.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
            }
            Access::Read => {
                if !self.path.try_exists()? {
                    let told = format!("there is no file {}", self.path.display());
                    return Err(io::Error::new(io::ErrorKind::NotFound, told));
                }
                OpenFlags::SQLITE_OPEN_READ_ONLY
            }
        };
        let opened = || {
            let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(BUSY_MAX)?;
            if self.access == Access::Write {
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS spin_key_value (
                        store TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
                        PRIMARY KEY (store, key))",
                    [],
                )?;
            }
            Ok(connection)
        };
        opened().map_err(|error| self.described(&error))
    }

    fn described(&self, error: &Error) -> io::Error {
        let path = self.path.display();
        let (kind, why) = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                (io::ErrorKind::TimedOut, "another process keeps it locked".to_owned())
            }
            // A journal of a run that was killed can be rolled back only by somebody who may write.
            Some(ErrorCode::ReadOnly) if self.access == Access::Read => (
                io::ErrorKind::ReadOnlyFilesystem,
                "a write to it was interrupted; the next run mends that".to_owned(),
            ),
            Some(ErrorCode::NotADatabase) => {
                (io::ErrorKind::InvalidData, "it is not an SQLite file".to_owned())
            }
            _ => (io::ErrorKind::Other, error.to_string()),
        };
        io::Error::new(kind, format!("{path}: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn store() -> (tempfile::TempDir, Sqlite) {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::new(folder.path().join("deep").join(FILE), Access::Write);
        (folder, store)
    }

    fn reader(store: &Sqlite) -> Sqlite {
        Sqlite::new(store.path.clone(), Access::Read)
    }

    #[test]
    fn value_set_is_read_back_by_others_and_listed() {
        let (_folder, store) = store();
        for key in ["b", "", "ip:2001:db8::1", "é"] {
            store.set(key, key.as_bytes()).unwrap();
        }
        store.set("b", b"\0two\xff").unwrap();
        let reader = reader(&store);
        assert_eq!(reader.get("b").unwrap().as_deref(), Some(&b"\0two\xff"[..]));
        assert_eq!(reader.keys().unwrap(), ["", "b", "ip:2001:db8::1", "é"]);
        store.delete("b").unwrap();
        store.delete("b").unwrap();
        assert_eq!((reader.get("b").unwrap(), reader.exists("é").unwrap()), (None, true));
    }

    #[test]
    fn file_as_spin_makes_it_is_read_and_only_its_default_store() {
        let (_folder, store) = store();
        fs::create_dir_all(store.path.parent().unwrap()).unwrap();
        let spin = Connection::open(&store.path).unwrap();
        spin.execute_batch(
            "CREATE TABLE IF NOT EXISTS spin_key_value (
                           store TEXT NOT NULL,
                           key   TEXT NOT NULL,
                           value BLOB NOT NULL,

                           PRIMARY KEY (store, key)
                        );
             INSERT INTO spin_key_value (store, key, value) VALUES ('default', 'a', x'31');
             INSERT INTO spin_key_value (store, key, value) VALUES ('cache', 'b', x'32');",
        )
        .unwrap();
        assert_eq!(reader(&store).keys().unwrap(), ["a"]);
        store.set("a", b"2").unwrap();
        let value: Vec<u8> = spin
            .query_row("SELECT value FROM spin_key_value WHERE store='default'", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(value, b"2");
    }

    #[test]
    fn file_absent_read_fails_and_makes_none() {
        let (folder, store) = store();
        let error = reader(&store).get("a").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("there is no file"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn reader_set_fails() {
        let (_folder, store) = store();
        store.set("a", b"1").unwrap();
        assert!(reader(&store).set("a", b"2").is_err());
        assert_eq!(store.get("a").unwrap().as_deref(), Some(&b"1"[..]));
    }

    #[test]
    fn file_that_is_something_else_is_named_with_why() {
        let (_folder, store) = store();
        fs::create_dir_all(store.path.parent().unwrap()).unwrap();
        fs::write(&store.path, "not a database, and long enough to be seen as none".repeat(9))
            .unwrap();
        let error = reader(&store).get("a").unwrap_err().to_string();
        assert!(error.ends_with("sqlite_key_value.db: it is not an SQLite file"), "{error}");
        fs::write(&store.path, "").unwrap();
        let error = reader(&store).get("a").unwrap_err().to_string();
        assert!(error.contains("no such table"), "{error}");
    }

    #[test]
    fn reader_beside_a_write_waits_for_it() {
        let (_folder, store) = store();
        store.set("a", b"1").unwrap();
        let writer = Connection::open(&store.path).unwrap();
        writer.execute_batch("BEGIN EXCLUSIVE; UPDATE spin_key_value SET value = x'32'").unwrap();
        let reader = reader(&store);
        std::thread::scope(|scope| {
            let read = scope.spawn(|| reader.get("a"));
            writer.execute_batch("COMMIT").unwrap();
            assert_eq!(read.join().unwrap().unwrap().as_deref(), Some(&b"2"[..]));
        });
    }

    /// What a run that is killed in the middle of a write leaves: the journal beside a half-written file.
    #[test]
    fn write_interrupted_reader_says_so_and_the_next_writer_mends_it() {
        let (folder, store) = store();
        store.set("a", &[1; 500_000]).unwrap();
        let writer = Connection::open(&store.path).unwrap();
        writer.execute_batch("PRAGMA cache_size = 1; BEGIN").unwrap();
        writer.execute("UPDATE spin_key_value SET value = ?1", [vec![2u8; 500_000]]).unwrap();
        let killed = folder.path().join(FILE);
        fs::copy(&store.path, &killed).unwrap();
        let journal = |path: &Path| path.with_extension("db-journal");
        fs::copy(journal(&store.path), journal(&killed)).unwrap();

        let error = Sqlite::new(killed.clone(), Access::Read).get("a").unwrap_err().to_string();
        assert!(error.contains("a write to it was interrupted"), "{error}");
        let mended = Sqlite::new(killed.clone(), Access::Write).get("a").unwrap().unwrap();
        assert!(mended.iter().all(|byte| *byte == 1), "the old value");
        assert!(Sqlite::new(killed, Access::Read).get("a").unwrap().is_some());
    }

    #[test]
    fn overlapping_writes_of_two_processes_keep_each_a_whole_value() {
        let (_folder, store) = store();
        let values: Vec<Vec<u8>> = (0..4u8).map(|n| vec![n; 100_000]).collect();
        std::thread::scope(|scope| {
            for value in &values {
                let other = Sqlite::new(store.path.clone(), Access::Write);
                scope.spawn(move || (0..5).for_each(|_| other.set("a", value).unwrap()));
            }
        });
        assert!(values.contains(&store.get("a").unwrap().unwrap()));
    }

    #[test]
    fn file_removed_meanwhile_is_made_anew() {
        let (_folder, store) = store();
        store.set("a", b"1").unwrap();
        fs::remove_file(&store.path).unwrap();
        store.set("b", b"2").unwrap();
        assert_eq!(reader(&store).keys().unwrap(), ["b"]);
    }
}

//! A store in files. One file a key, replaced by rename, so a run that is killed leaves the old value
//! or the new one, and runs that overlap, in one process or in two, need no lock.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Ends the name of every file that holds a value; anything else in the folder is not ours.
const SUFFIX: &str = ".value";

/// File systems take 255 bytes a name; a temporary name adds its own ending.
const FILE_NAME_LEN_MAX: usize = 200;

/// A folder with a file for each key.
#[derive(Clone, Debug)]
pub(super) struct Files {
    folder: Arc<Path>,
}

impl Files {
    pub(super) fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into().into() }
    }

    pub(super) fn get(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        optional(fs::read(self.path(key)?))
    }

    pub(super) fn set(&self, key: &str, value: &[u8]) -> io::Result<()> {
        static WRITES: AtomicU64 = AtomicU64::new(0);
        let path = self.path(key)?;
        fs::create_dir_all(&self.folder)?;
        let temporary = path.with_extension(format!(
            "{}-{}.tmp",
            std::process::id(),
            WRITES.fetch_add(1, Ordering::Relaxed)
        ));
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(value)?;
            // Before the rename, or a power cut could leave the new name on an empty file.
            file.sync_all()?;
            fs::rename(&temporary, &path)
        });
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    pub(super) fn delete(&self, key: &str) -> io::Result<()> {
        optional(fs::remove_file(self.path(key)?)).map(drop)
    }

    pub(super) fn exists(&self, key: &str) -> io::Result<bool> {
        self.path(key)?.try_exists()
    }

    pub(super) fn keys(&self) -> io::Result<Vec<String>> {
        let mut keys = Vec::new();
        for entry in optional(fs::read_dir(&self.folder))?.into_iter().flatten() {
            let name = entry?.file_name();
            keys.extend(name.to_str().and_then(|name| decode(name.strip_suffix(SUFFIX)?)));
        }
        keys.sort_unstable();
        Ok(keys)
    }

    fn path(&self, key: &str) -> io::Result<PathBuf> {
        let name = encode(key) + SUFFIX;
        if name.len() > FILE_NAME_LEN_MAX {
            let message = format!("the key is too long for a file name: {key:?}");
            return Err(io::Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(self.folder.join(name))
    }
}

/// None for "not there".
fn optional<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file name for any key. Capital letters are escaped too: some file systems ignore case.
fn encode(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name
}

/// The key of a file name that `encode` made.
fn decode(name: &str) -> Option<String> {
    let mut parts = name.split('%');
    let mut key = parts.next()?.as_bytes().to_vec();
    for part in parts {
        key.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        key.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(key).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let store = Files::new(folder.path().join("deep/default"));
        (folder, store)
    }

    #[test]
    fn value_set_survives_reopening() {
        let (_folder, store) = store();
        store.set("state", b"one").unwrap();
        store.set("state", b"two").unwrap();
        let reopened = Files::new(&*store.folder);
        assert_eq!(reopened.get("state").unwrap().as_deref(), Some(&b"two"[..]));
        assert!(reopened.exists("state").unwrap());
    }

    #[test]
    fn empty_store_read_finds_nothing() {
        let (_folder, store) = store();
        assert_eq!(store.get("a").unwrap(), None);
        assert!(!store.exists("a").unwrap());
        assert_eq!(store.keys().unwrap(), Vec::<String>::new());
        store.delete("a").unwrap();
    }

    #[test]
    fn any_key_set_is_listed_as_it_was() {
        let (_folder, store) = store();
        let keys = ["", "%41", ".", "../up", "A", "a", "a/b", "ip:2001:db8::1", "é"];
        for key in keys {
            store.set(key, key.as_bytes()).unwrap();
        }
        assert_eq!(store.keys().unwrap(), keys);
        for key in keys {
            assert_eq!(store.get(key).unwrap().as_deref(), Some(key.as_bytes()), "{key:?}");
        }
        store.delete("a/b").unwrap();
        assert!(!store.exists("a/b").unwrap());
        assert_eq!(store.keys().unwrap().len(), keys.len() - 1);
    }

    #[test]
    fn long_key_set_fails_by_name() {
        let (_folder, store) = store();
        let error = store.set(&"k".repeat(300), b"").unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }

    #[test]
    fn abandoned_write_read_keeps_the_old_value() {
        let (_folder, store) = store();
        store.set("a", b"old").unwrap();
        // What a process leaves behind that is killed before its rename.
        fs::write(store.folder.join("a.1-1.tmp"), b"ne").unwrap();
        assert_eq!(store.get("a").unwrap().as_deref(), Some(&b"old"[..]));
        assert_eq!(store.keys().unwrap(), ["a"]);
    }

    #[test]
    fn failed_write_set_leaves_nothing_behind() {
        let (_folder, store) = store();
        // The rename cannot replace a folder.
        fs::create_dir_all(store.folder.join("a.value/in-the-way")).unwrap();
        assert!(store.set("a", b"new").is_err());
        assert_eq!(fs::read_dir(&store.folder).unwrap().count(), 1);
    }

    #[test]
    fn overlapping_writes_read_gives_one_whole_value() {
        let (_folder, store) = store();
        let values: Vec<Vec<u8>> = (0..4u8).map(|n| vec![n; 100_000]).collect();
        std::thread::scope(|scope| {
            for value in &values {
                scope.spawn(|| (0..20).for_each(|_| store.set("a", value).unwrap()));
            }
        });
        assert!(values.contains(&store.get("a").unwrap().unwrap()));
    }
}

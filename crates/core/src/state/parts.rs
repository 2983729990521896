//! A value that is larger than one value of the store may be: kept in parts, and a manifest that says how
//! they fit together.
//!
//! The parts stand under `KEY.0`, `KEY.1` … and the manifest, which is written last, under `KEY`. Values
//! of even generations have the even numbers and those of odd ones the odd numbers, so that the value
//! before stays whole until the manifest names the new one. Each part's checksum is one of its
//! generation and place too. Whatever does not fit together is nothing remembered.

use serde::{Deserialize, Serialize};

use crate::ports::{Store, StoreError};

use super::{decode, encode};

/// The largest part. The hosts' stores take at least 1 MB in one value.
pub const PART_BYTES_MAX: usize = 256 << 10;
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    generation: u64,
    /// Of the whole value.
    bytes: usize,
    /// Of each part, 16 hexadecimal digits: not every tool that reads JSON keeps 64 bits of a number.
    checksums: Vec<String>,
}

/// Saves `bytes` under `key`, which has none of `/ \ ? #`, as of `generation`: the
/// [next](next_generation), or a write that breaks off may take the value before with it.
pub fn save(
    store: &impl Store,
    key: &str,
    generation: u64,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let mut writer = Writer::new(store, key, generation);
    bytes.chunks(PART_BYTES_MAX).try_for_each(|part| writer.write(part))?;
    writer.finish()
}

/// Saves a value that is made while it is saved, so that it is never there as a whole.
pub struct Writer<'a, S> {
    store: &'a S,
    key: &'a str,
    generation: u64,
    bytes: usize,
    checksums: Vec<String>,
    /// Less than a part.
    rest: Vec<u8>,
}

impl<'a, S: Store> Writer<'a, S> {
    /// Begins to [save] under `key` as of `generation`.
    pub fn new(store: &'a S, key: &'a str, generation: u64) -> Self {
        debug_assert!(!key.contains(['/', '\\', '?', '#']), "some store refuses the key {key:?}");
        Self { store, key, generation, bytes: 0, checksums: Vec::new(), rest: Vec::new() }
    }

    /// Appends at most the bytes of a part.
    pub fn write(&mut self, more: &[u8]) -> Result<(), StoreError> {
        debug_assert!(more.len() <= PART_BYTES_MAX);
        self.bytes += more.len();
        let (now, later) = more.split_at(more.len().min(PART_BYTES_MAX - self.rest.len()));
        self.rest.extend_from_slice(now);
        if self.rest.len() == PART_BYTES_MAX {
            self.flush()?;
        }
        self.rest.extend_from_slice(later);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let at = self.checksums.len();
        self.store.set(&part_key(self.key, self.generation, at), &self.rest)?;
        self.checksums.push(checksum(self.generation, at, &self.rest));
        self.rest.clear();
        Ok(())
    }

    /// Writes what is left, and the manifest: only now there is another value.
    pub fn finish(mut self) -> Result<(), StoreError> {
        if !self.rest.is_empty() {
            self.flush()?;
        }
        let Self { store, key, generation, bytes, checksums, .. } = self;
        store.set(key, &encode(VERSION, &Manifest { generation, bytes, checksums }))
    }
}

/// The generation to save the next value with.
pub fn next_generation(store: &impl Store, key: &str) -> u64 {
    manifest(store, key).map_or(0, |manifest| manifest.generation.wrapping_add(1))
}

/// The value under `key`, if it is whole.
pub fn load(store: &impl Store, key: &str) -> Option<Vec<u8>> {
    let Manifest { generation, bytes, checksums } = manifest(store, key)?;
    if checksums.len() != bytes.div_ceil(PART_BYTES_MAX) {
        return None;
    }
    let mut whole = Vec::new();
    for (at, expected) in checksums.iter().enumerate() {
        let part = store.get(&part_key(key, generation, at)).ok()??;
        let length = PART_BYTES_MAX.min(bytes - whole.len());
        if part.len() != length || checksum(generation, at, &part) != *expected {
            return None;
        }
        whole.extend_from_slice(&part);
    }
    Some(whole)
}

fn manifest(store: &impl Store, key: &str) -> Option<Manifest> {
    decode(VERSION, &store.get(key).ok()??)
}

fn part_key(key: &str, generation: u64, at: usize) -> String {
    format!("{key}.{}", 2 * at as u64 + generation % 2)
}

/// FNV-1a, 64 bits: against values that do not belong together, not against an attacker, who would
/// have to be able to write into the store.
fn checksum(generation: u64, at: usize, part: &[u8]) -> String {
    let bytes = generation.to_le_bytes().into_iter().chain((at as u64).to_le_bytes());
    let hash = bytes.chain(part.iter().copied()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::Memory;
    use super::*;

    const KEY: &str = "edge";

    fn value(seed: u8, length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8 ^ seed).collect()
    }

    #[test]
    fn value_of_any_length_saved_is_loaded_whole() {
        for length in [0, 1, PART_BYTES_MAX - 1, PART_BYTES_MAX, PART_BYTES_MAX + 1, 700_000] {
            let store = Memory::default();
            save(&store, KEY, 4, &value(1, length)).unwrap();
            assert_eq!(load(&store, KEY), Some(value(1, length)), "{length}");
            let values = store.values.borrow();
            assert!(values.values().all(|part| part.len() <= PART_BYTES_MAX), "{length}");
        }
    }

    #[test]
    fn save_that_breaks_off_anywhere_leaves_the_value_before_or_the_new_one() {
        let (old, new) = (value(1, 600_000), value(2, 700_000));
        for lost_from in 0..=4 {
            let store = Memory::default();
            save(&store, KEY, 7, &old).unwrap();
            store.writes.set(0);
            store.writes_max.set(Some(lost_from));
            save(&store, KEY, 8, &new).unwrap();
            let expected = if lost_from == 4 { new.clone() } else { old.clone() };
            assert_eq!(load(&store, KEY), Some(expected), "after {lost_from} writes");
        }
    }

    #[test]
    fn generations_follow_each_other_from_the_first_on_and_beyond_the_last() {
        let store = Memory::default();
        for (generation, length) in [(0, 700_000), (1, 10), (2, 0), (3, 300_000)] {
            assert_eq!(next_generation(&store, KEY), generation);
            save(&store, KEY, generation, &value(3, length)).unwrap();
            assert_eq!(load(&store, KEY), Some(value(3, length)), "{generation}");
        }
        save(&store, KEY, u64::MAX, b"x").unwrap();
        assert_eq!((load(&store, KEY), next_generation(&store, KEY)), (Some(b"x".to_vec()), 0));
    }

    #[test]
    fn generation_skipped_by_two_and_broken_off_is_nothing_and_never_a_mixture() {
        let store = Memory::default();
        save(&store, KEY, 7, &value(1, 600_000)).unwrap();
        store.writes.set(0);
        store.writes_max.set(Some(1));
        save(&store, KEY, 9, &value(2, 600_000)).unwrap();
        assert_eq!(load(&store, KEY), None);
    }

    #[test]
    fn part_that_is_missing_cut_swapped_or_changed_makes_it_nothing() {
        type Harm = fn(&mut std::collections::BTreeMap<String, Vec<u8>>);
        let harms: [Harm; 7] = [
            |values| drop(values.remove("edge.0")),
            |values| drop(values.remove("edge.2")),
            |values| values.get_mut("edge.2").unwrap().truncate(99),
            |values| values.get_mut("edge.0").unwrap()[99] ^= 1,
            |values| {
                let first = values.insert("edge.0".to_owned(), values["edge.2"].clone()).unwrap();
                values.insert("edge.2".to_owned(), first);
            },
            |values| drop(values.insert("edge".to_owned(), b"{\"v\":1}".to_vec())),
            |values| drop(values.remove("edge")),
        ];
        for (at, harm) in harms.iter().enumerate() {
            let store = Memory::default();
            save(&store, KEY, 2, &value(1, 2 * PART_BYTES_MAX)).unwrap();
            harm(&mut store.values.borrow_mut());
            assert_eq!(load(&store, KEY), None, "harm {at}");
        }
    }

    #[test]
    fn manifest_that_asks_for_the_moon_is_nothing() {
        for manifest in [
            r#"{"v":1,"generation":0,"bytes":18446744073709551615,"checksums":[]}"#,
            r#"{"v":1,"generation":18446744073709551615,"bytes":1,"checksums":["x"]}"#,
            r#"{"v":2,"generation":0,"bytes":0,"checksums":[]}"#,
            r#"{"v":1,"generation":0,"bytes":0,"checksums":["cbf29ce484222325"]}"#,
        ] {
            assert_eq!(load(&Memory::with(KEY, manifest), KEY), None, "{manifest}");
        }
    }

    #[test]
    fn broken_store_is_an_error_when_saving_and_nothing_when_loading() {
        let store = Memory::default();
        store.is_broken.set(true);
        assert!(save(&store, KEY, 0, b"x").is_err());
        assert_eq!(load(&store, KEY), None);
    }
}

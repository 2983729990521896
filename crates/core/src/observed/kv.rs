//! What our KV namespace holds: in the layout `keys` as one listing shows it, with the one key that holds all
//! ranges; in the layout `shards` as its values say.
//!
//! The listing may be up to 60 s older than our own writes (facts cloudflare 2.2), and so may a value (2.5).

use std::collections::{BTreeMap, BTreeSet};

use crate::address::Address;
use crate::api::cloudflare::kv::shards::{self, Layout, Marker, UNITS, Unit, Units, WIDE};
use crate::api::cloudflare::kv::{Key, Metadata, RANGES, RangeEntry, Ranges, ranges_key};
use crate::settings::protected::Protected;
use crate::skipped::Left;

/// Both layouts, as far as they were read.
#[derive(Debug, Default, PartialEq)]
pub struct ObservedKv {
    /// The layout `keys`; `None` = nothing of it is there any more, or it does not matter.
    pub keys: Option<ObservedKeys>,
    /// The layout `shards`; `None` = nothing of it is there.
    pub shards: Option<ObservedShards>,
}

impl ObservedKv {
    /// What is in force by one layout, if that was read; without shards those of the keys.
    pub fn of(&self, layout: Layout) -> Option<&ObservedKeys> {
        let shards = self.shards.as_ref().map(|shards| &shards.keys);
        match layout {
            Layout::Shards => shards,
            Layout::Keys => self.keys.as_ref().or(shards),
        }
    }

    /// Whether `address` is in force `now`, Unix seconds, in either layout.
    pub fn has(&self, address: &Address, now: u64) -> bool {
        let shards = self.shards.iter().map(|shards| &shards.keys);
        self.keys.iter().chain(shards).any(|keys| keys.has(address, now))
    }
}

/// The layout `shards`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObservedShards {
    /// What stands in the values, each entry as if it were a key.
    pub keys: ObservedKeys,
    /// The values.
    pub units: [Unit; UNITS],
    /// What Workers are to read; `None` = nobody said.
    pub marker: Option<Marker>,
}

impl ObservedShards {
    /// Takes an entry of a shard that was written `at`, unless it has run out `now`; but what is `protected` even
    /// then. Our clock may be ahead, and the Worker, whose clock is right, would meet the owner by it.
    pub fn add(
        &mut self,
        address: Address,
        entry: RangeEntry,
        at: u64,
        (protected, now): (&Protected, u64),
    ) {
        if entry.expires > now || protected.rule(&address).is_some() {
            let metadata = Some(Metadata { value: entry.value, written: at });
            self.keys.entries.insert(address, Entry { expires: Some(entry.expires), metadata });
        }
    }

    /// Takes the values themselves.
    pub fn set_units(&mut self, units: Units) {
        let Units { units, marker, ranges } = units;
        (self.units, self.marker) = (units, marker);
        self.keys.ranges = ranges;
    }

    /// Whether the value beside the shards is somebody else's.
    pub fn is_foreign(&self) -> bool {
        self.units[WIDE] == Unit::Foreign
    }
}

/// Our keys.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObservedKeys {
    entries: BTreeMap<Address, Entry>,
    misspelt: BTreeSet<String>,
    foreign: Left,
    ranges: Ranges,
    has_units: bool,
}

/// A key that is named after an address, canonically.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// When it expires, Unix seconds; `None` = never.
    pub expires: Option<u64>,
    /// What we wrote with it; `None` if we did not write it.
    pub metadata: Option<Metadata>,
}

impl ObservedKeys {
    /// Takes one key, and tells whether it is new. Keys without our prefix do not exist for us, and that of
    /// all ranges is read by itself, whatever the prefix is.
    pub fn add(&mut self, key: Key, prefix: &str) -> bool {
        if key.name == RANGES || key.name == ranges_key(prefix) {
            return true;
        }
        let Some(text) = key.name.strip_prefix(prefix) else { return true };
        if shards::is_unit(text) {
            self.has_units = true;
            return true;
        }
        match text.parse::<Address>() {
            Ok(address) if address.is_single() && address.to_string() == text => {
                let entry = Entry { expires: key.expires, metadata: key.metadata };
                self.entries.insert(address, entry).is_none()
            }
            // A set: a page may come twice, and Cloudflare may refuse a name that is sent twice.
            Ok(_) => self.misspelt.insert(key.name),
            Err(_) => {
                self.foreign.add(&key.name);
                true
            }
        }
    }

    /// The keys that an edge Worker can look up, by address.
    pub fn entries(&self) -> &BTreeMap<Address, Entry> {
        &self.entries
    }

    /// Keys that are named after an address in a spelling which nobody looks up: the program that
    /// this one replaces used LAPI's text as it was.
    pub fn misspelt(&self) -> &BTreeSet<String> {
        &self.misspelt
    }

    /// Whether values of the layout `shards` stand there too.
    pub fn has_units(&self) -> bool {
        self.has_units
    }

    /// Whether nothing of ours is there.
    pub fn is_empty(&self) -> bool {
        let has_ranges = matches!(self.ranges, Ranges::Ours { .. });
        self.entries.is_empty() && self.misspelt.is_empty() && !has_ranges
    }

    /// Keys with our prefix that are named after no address; they are left alone.
    pub fn foreign(&self) -> &Left {
        &self.foreign
    }

    /// Whether there is a key of `address`, or a range of that name in force `now`, Unix seconds.
    pub fn has(&self, address: &Address, now: u64) -> bool {
        self.entries.contains_key(address)
            || self.ranges.in_force(now).any(|(range, _)| range == *address)
    }

    /// Takes what the key of all ranges holds.
    pub fn set_ranges(&mut self, ranges: Ranges) {
        self.ranges = ranges;
    }

    /// What the key of all ranges holds.
    pub fn ranges(&self) -> &Ranges {
        &self.ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Remediation;

    #[test]
    fn keys_are_told_apart_by_their_names() {
        let mut observed = ObservedKeys::default();
        for name in [
            "ip:1.1.1.1",
            "ip:2001:db8::1",
            "ip:2001:DB8::1",
            "ip:2001:DB8::1",
            "ip:1.2.3.4/32",
            "ip:1.2.3.0/24",
            "ip:hello",
            "other:1.1.1.1",
            "ranges",
            "ip:wide",
            "ip:s16:0",
            "ip:s16:f",
        ] {
            let key = Key { name: name.to_owned(), expires: None, metadata: None };
            observed.add(key, "ip:");
        }
        assert_eq!(observed.entries().len(), 2);
        assert!(observed.misspelt().iter().eq([
            "ip:1.2.3.0/24",
            "ip:1.2.3.4/32",
            "ip:2001:DB8::1"
        ]));
        assert_eq!(observed.foreign().describe(), r#""ip:hello""#);
        assert!(observed.has_units());
        let mut keys = ObservedKeys::default();
        keys.add(Key { name: "ip:1.1.1.1".to_owned(), expires: None, metadata: None }, "ip:");
        assert!(!keys.has_units());
    }

    #[test]
    fn nothing_of_ours_is_told_from_a_key_a_spelling_and_the_ranges() {
        let with = |name: &str| {
            let mut observed = ObservedKeys::default();
            observed.add(Key { name: name.to_owned(), expires: None, metadata: None }, "ip:");
            observed.is_empty()
        };
        let names = ["other:1.1.1.1", "ip:hello", "ip:1.1.1.1", "ip:2001:DB8::1"];
        assert_eq!(names.map(with), [true, true, false, false]);
        let mut ranges = ObservedKeys::default();
        let entry = RangeEntry { value: Remediation::Ban, expires: 100 };
        let entries = [("203.0.113.0/24".parse().unwrap(), entry)].into();
        ranges.set_ranges(Ranges::Ours { written: 1, entries, regions: Default::default() });
        assert!(!ranges.is_empty());
        let has = |text: &str, now| ranges.has(&text.parse().unwrap(), now);
        assert!(has("203.0.113.0/24", 99) && !has("203.0.113.0/24", 100), "in force until then");
        assert!(!has("198.51.100.0/24", 99));
    }

    #[test]
    fn entry_of_a_shard_is_there_until_it_has_run_out_and_an_owners_until_it_is_taken_out() {
        let mut shards = ObservedShards::default();
        let mut protected = Protected::default();
        protected.add("192.0.2.4".parse().unwrap());
        let all = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
        let there = all.map(|one| one.parse().unwrap());
        for (address, expires) in there.into_iter().zip([101, 100, 99, 99]) {
            let entry = RangeEntry { value: Remediation::Ban, expires };
            shards.add(address, entry, 50, (&protected, 100));
        }
        assert_eq!(there.map(|one| shards.keys.has(&one, 100)), [true, false, false, true]);
        let either = ObservedKv { shards: Some(shards), ..ObservedKv::default() };
        assert_eq!(there.map(|one| either.has(&one, 100)), [true, false, false, true]);
    }

    #[test]
    fn value_beside_the_shards_alone_makes_the_layout_somebody_elses() {
        let with = |unit: usize| {
            let mut shards = ObservedShards::default();
            shards.units[unit] = Unit::Foreign;
            shards.is_foreign()
        };
        assert_eq!((with(WIDE), with(0)), (true, false));
    }

    #[test]
    fn key_of_all_ranges_is_not_foreign_under_a_prefix_that_it_begins_with() {
        let mut observed = ObservedKeys::default();
        observed.add(Key { name: RANGES.to_owned(), expires: None, metadata: None }, "r");
        assert_eq!(observed.foreign().count, 0);
    }
}

//! Which removals the guard has held back, since when, and how many runs in a row wanted them.
//!
//! What follows from it is `review`'s business. The figures are one small JSON value; which addresses they
//! speak of is a table beside it, bound to it by a checksum: one without the other counts as nothing
//! remembered, so that what is held begins to wait anew.

use serde::{Deserialize, Serialize};

use crate::ports::Store;
use crate::small::SmallMap;

use super::table::{Cell, Table};
use super::{Record, Remembered, parts};

/// The streaks of all targets, by the target's name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GuardHistory {
    #[serde(skip_serializing_if = "SmallMap::is_empty")]
    targets: SmallMap<String, Streak>,
}

/// Runs in a row in which removals were too many at once. Times are Unix seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Streak {
    /// When its first run looked.
    pub since: u64,
    /// What was there then: items of each list, or keys and ranges.
    pub there: SmallMap<String, u64>,
    /// How many removals the first run wanted.
    pub first: u64,
    /// How many of those have been desired again since.
    pub again: u64,
    /// What was wrong with them.
    pub rule: Rule,
    /// Owner's addresses that the guard has let go at once.
    pub owners: u64,
    /// Removals that came up together, and wait together.
    pub groups: Vec<Group>,
    /// Of the table that says which address is in which group.
    pub(crate) checksum: u64,
}

/// The rules of the guard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Nothing is desired, and something is there.
    Empty,
    /// Nothing of what was there is desired any more.
    Replaced,
    /// Too many, by part and by number.
    #[default]
    Share,
}

/// Removals that came up in the same run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// When a run first wanted them.
    pub since: u64,
    /// How many runs in a row have wanted them.
    pub runs: u64,
}

/// The group of an address; by its number, or an owner's that the guard has let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupId(pub u8);

impl GroupId {
    /// What the first run of the streak wanted gone.
    pub const FIRST: Self = Self(0);
    /// An owner's address that went at once.
    pub const OWNER: Self = Self(u8::MAX);
    /// The most groups that are told apart; newcomers after that wait with the last.
    pub const MAX: usize = 200;
}

impl Cell for GroupId {
    const BYTES: usize = 1;

    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.0);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.first().map(|number| Self(*number))
    }
}

/// A streak, and which address is in which of its groups.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Held {
    /// The figures.
    pub streak: Streak,
    /// The addresses.
    pub groups: Table<GroupId>,
}

impl Record for GuardHistory {
    const KEY: &'static str = "guard";
    const VERSION: u32 = 2;

    fn settle(&mut self, now: u64) {
        for streak in self.targets.values_mut() {
            streak.since = streak.since.min(now);
            streak.groups.iter_mut().for_each(|group| group.since = group.since.min(now));
        }
    }
}

impl Remembered<GuardHistory> {
    /// What is held of `target`, if anything is.
    pub fn held(&self, store: &impl Store, target: &str) -> Option<Held> {
        let streak = self.targets.get(target)?;
        let bytes = parts::load(store, &key(target))?;
        let groups = Table::from_bytes(&bytes)?;
        (checksum(&bytes) == streak.checksum).then(|| Held { streak: streak.clone(), groups })
    }

    /// Remembers what is held of `target` from now on. That it cannot be stored was said when it was
    /// loaded; nothing is confirmed then.
    pub(crate) fn hold(&mut self, store: &impl Store, target: &str, held: Option<Held>) {
        let streak = held.map(|Held { mut streak, groups }| {
            let bytes = groups.to_bytes();
            streak.checksum = checksum(&bytes);
            let key = key(target);
            // Compared with what the store has, and not with the figures: a write that it lost would else
            // never be made again, and every run would begin to count anew.
            if parts::load(store, &key).as_ref() != Some(&bytes) {
                let _ = parts::save(store, &key, parts::next_generation(store, &key), &bytes);
            }
            streak
        });
        let _ = self.change(store, |history| {
            match streak {
                Some(streak) => history.targets.insert(target.to_owned(), streak),
                None => history.targets.remove(target),
            };
        });
    }
}

fn key(target: &str) -> String {
    format!("guard-{target}")
}

/// 53 bits of FNV-1a: not every tool that reads JSON keeps 64 bits of a number.
fn checksum(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash >> 11
}

#[cfg(test)]
mod tests {
    use super::super::tests::Memory;
    use super::*;

    /// Figures that speak of other addresses would let the guard wait for the wrong ones.
    #[test]
    fn figures_beside_a_table_of_other_addresses_are_nothing_remembered() {
        let store = Memory::default();
        let load = || Remembered::<GuardHistory>::load(&store, 1_000);
        let table = |text: &str| -> Table<GroupId> {
            Table::from_sorted([(text.parse().unwrap(), GroupId::FIRST)].into_iter())
        };
        let groups = table("198.51.100.5");
        load().hold(&store, "lists", Some(Held { streak: Streak::default(), groups }));
        assert_eq!(load().held(&store, "lists").unwrap().groups, table("198.51.100.5"));
        let key = key("lists");
        let other = table("198.51.100.6").to_bytes();
        parts::save(&store, &key, parts::next_generation(&store, &key), &other).unwrap();
        assert!(load().held(&store, "lists").is_none());
    }

    /// It stands in the stores of earlier versions. The values are those that FNV's authors give for 64 bits.
    #[test]
    fn checksum_is_fnv_1a_in_as_many_bits_as_every_reader_of_json_keeps() {
        for (bytes, fnv) in [("a", 0xaf63_dc4c_8601_ec8c_u64), ("foobar", 0x8594_4171_f739_67e8)] {
            let checksum = checksum(bytes.as_bytes());
            assert_eq!(checksum, fnv >> 11, "{bytes}");
            assert!(checksum < 1 << 53);
        }
    }
}

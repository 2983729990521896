//! What was desired last: whether it was decided here, and when it ends.
//!
//! List items carry neither, so that an item whose time is over could not be told from one that was lifted
//! before its time: the first is no news, the second is urgent and is what the guard counts. Kept compact,
//! for there may be 150,000, and for what is still at the edge although nothing asks for it any more.

use crate::address::Address;
use crate::ports::{Store, StoreError};

use super::parts;
use super::table::{Cell, Table};

const KEY: &str = Ends::KEY;

/// An end within this of another is the same: LAPI rounds, clocks differ, and each difference would be a
/// write to the store.
const TOLERANCE_SECS: u64 = 180;
/// A decision may end this much earlier than it seems: LAPI's time is rounded, ours is kept in minutes.
const SLACK_SECS: u64 = 60;

/// What is known of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Whether it was decided here: not by the community, a subscribed list or an import.
    pub own: bool,
    /// Whether it was for a list: what is desired in KV alone says nothing about an item of a list.
    pub on_list: bool,
    /// When its decision ends, in whole minutes since the epoch.
    pub ends_mins: u32,
}

impl Known {
    /// Of a decision that ends at `ends`, in Unix seconds.
    pub fn new(own: bool, ends: u64) -> Self {
        let ends_mins = u32::try_from(ends / 60).unwrap_or(u32::MAX).min(u32::MAX >> 2);
        Self { own, on_list: true, ends_mins }
    }

    /// Whether its time is over at `now`, in Unix seconds.
    pub fn is_over(self, now: u64) -> bool {
        u64::from(self.ends_mins) * 60 <= now.saturating_add(SLACK_SECS)
    }

    fn is_like(self, other: Self) -> bool {
        let apart = u64::from(self.ends_mins.abs_diff(other.ends_mins)) * 60;
        (self.own, self.on_list) == (other.own, other.on_list) && apart <= TOLERANCE_SECS
    }
}

/// The end in minutes, shifted by two bits: whether it was for a list, and whether it was decided here.
impl Cell for Known {
    const BYTES: usize = 4;

    fn write(&self, out: &mut Vec<u8>) {
        let bits = self.ends_mins << 2 | u32::from(self.on_list) << 1 | u32::from(self.own);
        out.extend(bits.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let bits = u32::from_be_bytes(bytes.try_into().ok()?);
        Some(Self { own: bits & 1 == 1, on_list: bits & 2 == 2, ends_mins: bits >> 2 })
    }
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ends(Table<Known>);

impl Ends {
    /// The key of the store.
    pub const KEY: &'static str = "ends";

    /// What is stored; what cannot be read is not known.
    pub fn load(store: &impl Store) -> Self {
        let bytes = parts::load(store, KEY);
        Self(bytes.and_then(|bytes| Table::from_bytes(&bytes)).unwrap_or_default())
    }

    /// What is known of `address`.
    pub fn get(&self, address: &Address) -> Option<Known> {
        self.0.get(address)
    }

    /// What is to be known from now on: of each `desired` address, in order, and of those that
    /// `is_at_edge` says are still there although they are not desired any more.
    pub fn next(
        &self,
        desired: impl Iterator<Item = (Address, Known)>,
        is_at_edge: impl Fn(&Address) -> bool,
    ) -> Self {
        Self(Table::from_sorted(self.merged(desired, is_at_edge)))
    }

    /// Stores what [`next`](Self::next) gives, if it differs from what is known; only then is it built.
    pub(crate) fn save_next<I: Iterator<Item = (Address, Known)>>(
        &self,
        store: &impl Store,
        desired: impl Fn() -> I,
        is_at_edge: impl Fn(&Address) -> bool,
    ) -> Result<(), StoreError> {
        let (mut known, mut count, mut is_same) = (self.0.iter(), 0, true);
        for entry in self.merged(desired(), &is_at_edge) {
            is_same &= known.next() == Some(entry);
            count += 1;
        }
        if is_same && known.next().is_none() {
            return Ok(());
        }
        let next = Table::from_sorted_of(count, self.merged(desired(), is_at_edge)).to_bytes();
        parts::save(store, KEY, parts::next_generation(store, KEY), &next)
    }

    fn merged(
        &self,
        desired: impl Iterator<Item = (Address, Known)>,
        is_at_edge: impl Fn(&Address) -> bool,
    ) -> impl Iterator<Item = (Address, Known)> {
        let mut before = self.0.iter().peekable();
        let mut desired = desired.peekable();
        std::iter::from_fn(move || {
            loop {
                let next = desired.peek().map(|(address, _)| *address);
                let left = before.next_if(|(left, _)| next.is_none_or(|next| *left < next));
                match left {
                    Some(left) if is_at_edge(&left.0) => return Some(left),
                    Some(_) => {}
                    None => break,
                }
            }
            let (address, known) = desired.next()?;
            let same = before.next_if(|(left, _)| *left == address).map(|(_, known)| known);
            Some((address, same.filter(|same| same.is_like(known)).unwrap_or(known)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_793_000_000;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn of(all: &[(&str, bool, u64)]) -> Ends {
        let known = |&(text, own, ends): &(&str, _, _)| (address(text), Known::new(own, ends));
        Ends::default().next(all.iter().map(known), |_| false)
    }

    #[test]
    fn decision_whose_time_is_over_is_told_from_one_that_has_time_left() {
        let known = Known::new(true, NOW + 3_600);
        assert!(!known.is_over(NOW));
        assert!(!known.is_over(NOW + 3_400));
        assert!(known.is_over(NOW + 3_600));
    }

    #[test]
    fn what_is_not_desired_any_more_is_known_as_long_as_it_is_at_the_edge() {
        let before =
            of(&[("1.0.0.1", true, NOW), ("1.0.0.2", false, NOW), ("1.0.0.3", false, NOW)]);
        let desired = [(address("1.0.0.2"), Known::new(true, NOW + 600))];
        let after = before.next(desired.into_iter(), |left| *left == address("1.0.0.3"));
        assert_eq!(after.get(&address("1.0.0.1")), None);
        assert_eq!(after.get(&address("1.0.0.2")), Some(Known::new(true, NOW + 600)));
        assert_eq!(after.get(&address("1.0.0.3")), Some(Known::new(false, NOW)));
    }

    #[test]
    fn end_that_jitters_changes_nothing_and_one_that_moves_does() {
        let before = of(&[("1.0.0.1", true, NOW)]);
        let next = |ends| {
            let desired = [(address("1.0.0.1"), Known::new(true, ends))];
            before.next(desired.into_iter(), |_| false)
        };
        assert_eq!(next(NOW + 90), before);
        assert_ne!(next(NOW + 600), before);
    }

    #[test]
    fn end_beyond_all_time_is_kept_as_the_latest() {
        let known = Known::new(false, u64::MAX);
        let mut bytes = Vec::new();
        known.write(&mut bytes);
        assert_eq!(Known::read(&bytes), Some(known));
        assert!(!known.is_over(NOW));
    }

    #[test]
    fn what_was_desired_in_kv_alone_is_stored_and_read_as_that() {
        let known = Known { on_list: false, ..Known::new(true, NOW) };
        let mut bytes = Vec::new();
        known.write(&mut bytes);
        assert_eq!(Known::read(&bytes), Some(known));
        assert!(!known.is_like(Known::new(true, NOW)));
    }
}

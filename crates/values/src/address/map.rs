//! A value for each of many addresses, in their order: there may be 150,000, on either side of the comparison,
//! and a tree of them takes three times the memory and most of a run's time.
//!
//! Filled in any order and then [settled](AddressMap::settle) once. Who asks for addresses in their order, as
//! all do who compare one map with another, is answered at once: the search begins where the last one ended.

use std::cell::Cell;
use std::cmp::Ordering;
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

use crate::order::{Order, permute};

use super::Address;
use super::blocks::Blocks;

/// See the module.
#[derive(Debug, Clone)]
pub struct AddressMap<T> {
    v4: Blocks<V4<T>>,
    v6: Vec<(Address, T)>,
    is_settled: bool,
    /// Where the last search of each kind ended.
    last: [Cell<usize>; 2],
}

/// An entry of IPv4: nearly all are.
#[derive(Debug, Clone, Copy)]
struct V4<T> {
    addr: u32,
    prefix_len: u8,
    value: T,
}

impl<T> V4<T> {
    /// Orders entries as their addresses are ordered.
    fn key(&self) -> u64 {
        u64::from(self.addr) << 6 | u64::from(self.prefix_len)
    }

    fn address(&self) -> Address {
        let net = Ipv4Net::new_assert(Ipv4Addr::from_bits(self.addr), self.prefix_len);
        Address(IpNet::V4(net))
    }
}

impl<T> Default for AddressMap<T> {
    fn default() -> Self {
        Self { v4: Blocks::default(), v6: Vec::new(), is_settled: true, last: Default::default() }
    }
}

/// Whatever was searched for.
impl<T: PartialEq> PartialEq for AddressMap<T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T> AddressMap<T> {
    /// Adds an entry at the end; before the next question the map has to be settled, unless this is the last
    /// address of all.
    pub fn push(&mut self, address: Address, value: T) {
        self.is_settled &= self.is_after_all(&address);
        match address.0 {
            IpNet::V4(net) => {
                let (addr, prefix_len) = (net.addr().to_bits(), net.prefix_len());
                self.v4.push(V4 { addr, prefix_len, value });
            }
            IpNet::V6(_) => {
                self.v6.push((address, value));
            }
        }
    }

    /// Whether `address` comes after all others of its kind.
    pub fn is_after_all(&self, address: &Address) -> bool {
        match address.0 {
            IpNet::V4(net) => self.v4.last().is_none_or(|last| last.key() < key(net)),
            IpNet::V6(_) => self.v6.last().is_none_or(|(last, _)| last < address),
        }
    }

    /// Brings the entries into order; of those with the same address one is made by `merge`.
    pub fn settle(&mut self, mut merge: impl FnMut(&mut T, &T)) {
        if std::mem::replace(&mut self.is_settled, true) {
            return;
        }
        sort(&mut self.v4);
        self.v4.dedup(|last, next| {
            let is_same = next.key() == last.key();
            if is_same {
                merge(&mut last.value, &next.value);
            }
            is_same
        });
        self.v6.order_by(|(a, _), (b, _)| a.cmp(b));
        self.v6.dedup_by(|next, last| {
            let is_same = next.0 == last.0;
            if is_same {
                merge(&mut last.1, &next.1);
            }
            is_same
        });
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of `address`.
    pub fn get(&self, address: &Address) -> Option<&T> {
        match (self.find(address)?, address.is_ipv4()) {
            (at, true) => self.v4.get(at).map(|entry| &entry.value),
            (at, false) => Some(&self.v6[at].1),
        }
    }

    /// The value of `address`, to change it.
    pub fn get_mut(&mut self, address: &Address) -> Option<&mut T> {
        match (self.find(address)?, address.is_ipv4()) {
            (at, true) => self.v4.get_mut(at).map(|entry| &mut entry.value),
            (at, false) => Some(&mut self.v6[at].1),
        }
    }

    /// Whether `address` has a value.
    pub fn contains_key(&self, address: &Address) -> bool {
        self.find(address).is_some()
    }

    /// All entries, by address.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { v4: &self.v4, at: 0, v6: &self.v6 }
    }

    /// The entries of its kind that come after `address`, in order: those inside a range come first.
    pub fn after(&self, address: &Address) -> Iter<'_, T> {
        match address.0 {
            IpNet::V4(net) => {
                let at = self.v4.partition_point(|entry| entry.key() <= key(net));
                Iter { v4: &self.v4, at, v6: &[] }
            }
            IpNet::V6(_) => {
                let at = self.v6.partition_point(|(of, _)| of <= address);
                Iter { v4: &self.v4, at: self.v4.len(), v6: &self.v6[at..] }
            }
        }
    }

    /// All addresses, in order.
    pub fn keys(&self) -> impl Iterator<Item = Address> {
        self.iter().map(|(address, _)| address)
    }

    /// All values, by address.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, value)| value)
    }

    /// Tells one set of addresses from another: FNV-1a over the addresses in order, eight bytes at once. `seed`
    /// makes it another one.
    pub fn digest(&self, seed: u64) -> u64 {
        let mut hash = seed ^ 0xcbf2_9ce4_8422_2325;
        let mut take = |bits: u64| {
            hash = (hash ^ bits).wrapping_mul(0x0000_0100_0000_01b3);
            // A multiplication alone carries nothing downwards.
            hash ^= hash >> 32;
        };
        (0..self.v4.len()).for_each(|at| take(self.key_at(at)));
        for (address, _) in &self.v6 {
            if let IpNet::V6(net) = address.0 {
                let bits = net.addr().to_bits();
                take((bits >> 64) as u64);
                take(bits as u64);
                take(u64::from(net.prefix_len()));
            }
        }
        hash
    }

    fn key_at(&self, at: usize) -> u64 {
        self.v4.get(at).map_or(u64::MAX, V4::key)
    }

    fn find(&self, address: &Address) -> Option<usize> {
        match address.0 {
            IpNet::V4(net) => {
                let key = key(net);
                seek(&self.last[0], self.v4.len(), &|at| self.key_at(at).cmp(&key))
            }
            IpNet::V6(_) => seek(&self.last[1], self.v6.len(), &|at| self.v6[at].0.cmp(address)),
        }
    }
}

fn key(net: Ipv4Net) -> u64 {
    u64::from(net.addr().to_bits()) << 6 | u64::from(net.prefix_len())
}

/// Looks for what `compare` calls equal, from where the last search ended.
fn seek(last: &Cell<usize>, len: usize, compare: &dyn Fn(usize) -> Ordering) -> Option<usize> {
    let (mut low, mut high) = (0, len);
    let mut at = last.get();
    let mut step = 1;
    // In steps that double, as long as it lies further on.
    while at < len {
        match compare(at) {
            Ordering::Less => low = at + 1,
            Ordering::Equal => {
                last.set(at);
                return Some(at);
            }
            Ordering::Greater => {
                // Nor was it there the last time: what is asked for lies between two again.
                if low == 0 && at > 0 && compare(at - 1) == Ordering::Less {
                    return None;
                }
                high = at;
                break;
            }
        }
        at = low + step - 1;
        step *= 2;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        match compare(middle) {
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
            Ordering::Equal => {
                last.set(middle);
                return Some(middle);
            }
        }
    }
    last.set(low);
    None
}

/// Entries by address. Not a chain of two iterators, of which every use would have a copy.
#[derive(Debug)]
pub struct Iter<'a, T> {
    v4: &'a Blocks<V4<T>>,
    at: usize,
    v6: &'a [(Address, T)],
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = (Address, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(next) = self.v4.get(self.at) {
            self.at += 1;
            return Some((next.address(), &next.value));
        }
        let ((address, value), rest) = self.v6.split_first()?;
        self.v6 = rest;
        Some((*address, value))
    }
}

/// Sorts by key.
fn sort<T>(entries: &mut Blocks<V4<T>>) {
    let mut from = sorted(entries.len(), &|at| entries.get(at).map_or(u64::MAX, V4::key));
    permute(&mut from, |one, other| entries.swap(one, other));
}

/// The places of what stands at first, second, … when sorted by key: digit by digit from the lowest on, which
/// takes a third of the time that comparing does, and a tenth of the code.
fn sorted(len: usize, key: &dyn Fn(usize) -> u64) -> Vec<usize> {
    const DIGIT_BITS: u32 = 10;
    let mut order: Vec<usize> = (0..len).collect();
    let mut next = vec![0; len];
    for shift in (0..KEY_BITS).step_by(DIGIT_BITS as usize) {
        let digit = |at: usize| (key(at) >> shift) as usize % (1 << DIGIT_BITS);
        // Where the entries with this digit begin.
        let mut begins = [0; 1 << DIGIT_BITS];
        order.iter().for_each(|at| begins[digit(*at)] += 1);
        let mut sum = 0;
        for begin in &mut begins {
            sum += std::mem::replace(begin, sum);
        }
        for at in &order {
            let begin = &mut begins[digit(*at)];
            next[*begin] = *at;
            *begin += 1;
        }
        std::mem::swap(&mut order, &mut next);
    }
    order
}

/// Of an address, and of its prefix length.
const KEY_BITS: u32 = 32 + 6;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn any_address() -> impl Strategy<Value = Address> {
        // Few bits, so that the same one, neighbours and prefixes of each other come up.
        let v4 = (0_u32..64, 26_u8..=32).prop_map(|(bits, len)| format!("10.0.0.{bits}/{len}"));
        let any_v4 = any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).to_string());
        let v6 =
            (0_u8..32, 120_u8..=128).prop_map(|(bits, len)| format!("2001:db8::{bits:x}/{len}"));
        prop_oneof![v4, any_v4, v6].prop_map(|text| text.parse().unwrap())
    }

    proptest! {
        #[test]
        fn map_settled_answers_as_a_tree_does_in_whatever_order_it_is_asked(
            entries in proptest::collection::vec((any_address(), any::<u8>()), 0..80),
            asked in proptest::collection::vec(any_address(), 0..80),
        ) {
            let mut tree = BTreeMap::<Address, u8>::new();
            let mut map = AddressMap::default();
            for (address, value) in entries {
                let place = tree.entry(address).or_default();
                *place = (*place).max(value);
                map.push(address, value);
            }
            map.settle(|one, other| *one = (*one).max(*other));
            prop_assert!(map.iter().eq(tree.iter().map(|(address, value)| (*address, value))));
            prop_assert_eq!((map.len(), map.is_empty()), (tree.len(), tree.is_empty()));
            for address in asked.iter().chain(tree.keys()).chain(&asked) {
                prop_assert_eq!(map.get(address), tree.get(address));
                let after = (std::ops::Bound::Excluded(*address), std::ops::Bound::Unbounded);
                let of_its_kind = tree.range(after).filter(|(next, _)| next.is_ipv4() == address.is_ipv4());
                prop_assert!(map.after(address).eq(of_its_kind.map(|(next, value)| (*next, value))));
            }
            if let (Some(address), Some((last, _))) = (asked.first(), tree.iter().rfind(|(a, _)| a.is_ipv4())) {
                prop_assert!(!address.is_ipv4() || map.is_after_all(address) == (address > last));
            }
        }
    }

    #[test]
    fn value_changed_is_the_one_that_is_found() {
        let mut map = AddressMap::default();
        let [one, other]: [Address; 2] = ["1.1.1.1", "::1"].map(|text| text.parse().unwrap());
        map.push(other, 1);
        map.push(one, 2);
        *map.get_mut(&one).unwrap() += 5;
        *map.get_mut(&other).unwrap() += 5;
        assert_eq!((map.get(&one), map.get(&other)), (Some(&7), Some(&6)));
        assert_eq!(map.get_mut(&"1.1.1.0".parse().unwrap()), None);
    }
}

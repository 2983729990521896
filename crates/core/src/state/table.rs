//! Many addresses with a small value each, packed: what was desired or seen last, for 150,000 of them,
//! takes a few bytes an address, in memory as in the store, and no tree.

use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::address::Address;

/// A value of a fixed number of bytes.
pub trait Cell: Copy {
    /// How many bytes it takes, at most 255.
    const BYTES: usize;
    /// Appends exactly so many.
    fn write(&self, out: &mut Vec<u8>);
    /// Reads so many; `None` if no value is written so.
    fn read(bytes: &[u8]) -> Option<Self>;
}

/// The first byte of a table's bytes.
const VERSION: u8 = 1;
/// Version, size of a value, number of IPv4 entries, number of IPv6 entries.
const HEAD_BYTES: usize = 1 + 1 + 4 + 4;
/// Address and prefix length.
pub(super) const KEY_BYTES_V4: usize = 4 + 1;
pub(super) const KEY_BYTES_V6: usize = 16 + 1;

/// Addresses in their order, each once, with a value. An entry is the address in network order, its prefix
/// length, and the value; so bytes compare as addresses do.
#[derive(Clone, PartialEq, Eq)]
pub struct Table<V> {
    v4: Vec<u8>,
    v6: Vec<u8>,
    values: PhantomData<V>,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { v4: Vec::new(), v6: Vec::new(), values: PhantomData }
    }
}

impl<V: Cell> Table<V> {
    const ENTRY_V4: usize = KEY_BYTES_V4 + V::BYTES;
    const ENTRY_V6: usize = KEY_BYTES_V6 + V::BYTES;

    /// From entries by address, ascending; one that does not come after the one before is left out.
    pub fn from_sorted(entries: impl Iterator<Item = (Address, V)>) -> Self {
        Self::from_sorted_of(0, entries)
    }

    /// The same of about so many entries, for which there is room from the beginning: what grows is there twice
    /// while it is moved.
    pub fn from_sorted_of(count: usize, entries: impl Iterator<Item = (Address, V)>) -> Self {
        let mut table = Self::default();
        table.v4.reserve_exact(count * Self::ENTRY_V4);
        let mut last = None;
        for (address, value) in entries {
            if last.replace(address).is_some_and(|last| last >= address) {
                debug_assert!(false, "{address} comes too late");
                last = last.max(Some(address));
                continue;
            }
            let (section, entry) = match address.is_ipv4() {
                true => (&mut table.v4, Self::ENTRY_V4),
                false => (&mut table.v6, Self::ENTRY_V6),
            };
            let end = section.len() + entry;
            write_key(&address, section);
            value.write(section);
            debug_assert_eq!(section.len(), end, "a value of another size");
            section.resize(end, 0);
        }
        table
    }

    /// The value of `address`.
    pub fn get(&self, address: &Address) -> Option<V> {
        let (section, entry) = match address.is_ipv4() {
            true => (&self.v4, Self::ENTRY_V4),
            false => (&self.v6, Self::ENTRY_V6),
        };
        let mut key = Vec::with_capacity(KEY_BYTES_V6);
        write_key(address, &mut key);
        let at = |index: usize| &section[index * entry..(index + 1) * entry];
        let (mut low, mut high) = (0, section.len() / entry);
        while low < high {
            let middle = low + (high - low) / 2;
            let (found, value) = at(middle).split_at(key.len());
            match found.cmp(&key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return V::read(value),
            }
        }
        None
    }

    /// All entries, by address.
    pub fn iter(&self) -> impl Iterator<Item = (Address, V)> {
        let v4 = self.v4.chunks_exact(Self::ENTRY_V4).map(|entry| entry.split_at(KEY_BYTES_V4));
        let v6 = self.v6.chunks_exact(Self::ENTRY_V6).map(|entry| entry.split_at(KEY_BYTES_V6));
        v4.chain(v6).filter_map(|(key, value)| Some((read_key(key)?, V::read(value)?)))
    }

    /// How many addresses there are.
    pub fn len(&self) -> usize {
        self.v4.len() / Self::ENTRY_V4 + self.v6.len() / Self::ENTRY_V6
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// The table as it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.v4.len() + self.v6.len());
        bytes.extend([VERSION, V::BYTES as u8]);
        for count in [self.v4.len() / Self::ENTRY_V4, self.v6.len() / Self::ENTRY_V6] {
            bytes.extend((count as u32).to_le_bytes());
        }
        bytes.extend_from_slice(&self.v4);
        bytes.extend_from_slice(&self.v6);
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Anything else is `None`: of another size, out of
    /// order, an address that is not in its canonical form, a value that is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, entries) = bytes.split_at_checked(HEAD_BYTES)?;
        if head[..2] != [VERSION, V::BYTES as u8] {
            return None;
        }
        let count = |at: usize| {
            let count = u32::from_le_bytes(head[at..at + 4].try_into().ok()?);
            usize::try_from(count).ok()
        };
        let (v4, v6) = entries.split_at_checked(count(2)?.checked_mul(Self::ENTRY_V4)?)?;
        let is_whole = v6.len() == count(6)?.checked_mul(Self::ENTRY_V6)?
            && is_sound::<V>(v4, KEY_BYTES_V4)
            && is_sound::<V>(v6, KEY_BYTES_V6);
        is_whole.then(|| Self { v4: v4.to_vec(), v6: v6.to_vec(), values: PhantomData })
    }
}

impl<V: Cell> std::fmt::Debug for Table<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table of {}", self.len())
    }
}

/// Whether the entries ascend, and each is an address and a value.
fn is_sound<V: Cell>(section: &[u8], key_bytes: usize) -> bool {
    let mut entries = section.chunks_exact(key_bytes + V::BYTES);
    let mut last: &[u8] = &[];
    entries.all(|entry| {
        let (key, value) = entry.split_at(key_bytes);
        std::mem::replace(&mut last, key) < key
            && read_key(key).is_some()
            && V::read(value).is_some()
    })
}

pub(super) fn write_key(address: &Address, out: &mut Vec<u8>) {
    match address.net().addr() {
        IpAddr::V4(addr) => out.extend(addr.octets()),
        IpAddr::V6(addr) => out.extend(addr.octets()),
    }
    out.push(address.prefix_len());
}

pub(super) fn read_key(key: &[u8]) -> Option<Address> {
    let (prefix_len, addr) = key.split_last()?;
    let addr = match addr.len() {
        4 => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(addr).ok()?)),
        _ => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(addr).ok()?)),
    };
    Address::from_canonical(IpNet::new(addr, *prefix_len).ok()?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Three bytes, of which the first is 0 or 1.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Mark(bool, u16);

    impl Cell for Mark {
        const BYTES: usize = 3;

        fn write(&self, out: &mut Vec<u8>) {
            out.push(u8::from(self.0));
            out.extend(self.1.to_le_bytes());
        }

        fn read(bytes: &[u8]) -> Option<Self> {
            let [flag @ 0..=1, low, high] = *bytes else { return None };
            Some(Self(flag == 1, u16::from_le_bytes([low, high])))
        }
    }

    fn table(entries: &BTreeMap<Address, Mark>) -> Table<Mark> {
        Table::from_sorted(entries.iter().map(|(address, mark)| (*address, *mark)))
    }

    fn entries(texts: &[&str]) -> BTreeMap<Address, Mark> {
        let numbered = texts.iter().zip(0..);
        numbered.map(|(text, n)| (text.parse().unwrap(), Mark(n % 2 == 0, n))).collect()
    }

    #[test]
    fn neighbours_that_differ_by_length_alone_are_told_apart() {
        let all = entries(&[
            "10.0.0.0/8",
            "10.0.0.0/16",
            "10.0.0.0",
            "9.255.255.255",
            "0.0.0.0/0",
            "::/0",
            "2001:db8::/32",
            "2001:db8::",
            "255.255.255.255",
        ]);
        let packed = table(&all);
        assert_eq!(packed.len(), all.len());
        assert!(packed.iter().eq(all.clone()));
        for (address, mark) in &all {
            assert_eq!(packed.get(address), Some(*mark), "{address}");
        }
        for absent in ["10.0.0.0/24", "::", "10.0.0.1", "2001:db8::/33"] {
            assert_eq!(packed.get(&absent.parse().unwrap()), None, "{absent}");
        }
    }

    #[test]
    fn empty_table_stored_is_an_empty_table() {
        let empty = Table::<Mark>::default();
        assert!(empty.is_empty() && empty.get(&"1.1.1.1".parse().unwrap()).is_none());
        assert_eq!(Table::from_bytes(&empty.to_bytes()), Some(empty));
    }

    #[test]
    fn bytes_that_no_table_has_are_refused() {
        let bytes = table(&entries(&["1.1.1.1", "2.2.2.2", "2001:db8::1"])).to_bytes();
        assert_eq!(bytes.len(), HEAD_BYTES + 2 * 8 + 20);
        let with = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            bytes
        };
        let mapped = {
            let mut bytes = bytes.clone();
            bytes[HEAD_BYTES + 16..HEAD_BYTES + 28]
                .copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]);
            bytes
        };
        for (what, bytes) in [
            ("empty", vec![]),
            ("cut", bytes[..bytes.len() - 1].to_vec()),
            ("longer", [&bytes[..], &[0]].concat()),
            ("another version", with(0, 2)),
            ("values of another size", with(1, 4)),
            ("more than there are", with(2, 3)),
            ("far more than there are", with(5, 255)),
            ("out of order", with(HEAD_BYTES, 3)),
            ("host bits", with(HEAD_BYTES + 4, 8)),
            ("no prefix length", with(HEAD_BYTES + 4, 33)),
            ("no value", with(HEAD_BYTES + 5, 2)),
            ("an IPv4 address in IPv6", mapped),
        ] {
            assert_eq!(Table::<Mark>::from_bytes(&bytes), None, "{what}");
        }
    }

    fn any_address() -> impl Strategy<Value = Address> {
        // Few bits, so that neighbours and prefixes of each other come up.
        let v4 = (0u32..8, 0u8..=32)
            .prop_map(|(bits, len)| (IpAddr::from(Ipv4Addr::from(bits << 29)), len));
        let any_v4 = (any::<u32>(), 0u8..=32)
            .prop_map(|(bits, len)| (IpAddr::from(Ipv4Addr::from(bits)), len));
        let v6 = (any::<u128>(), 0u8..=128)
            .prop_map(|(bits, len)| (IpAddr::from(Ipv6Addr::from(bits)), len));
        prop_oneof![v4, any_v4, v6].prop_map(|(addr, len)| format!("{addr}/{len}").parse().unwrap())
    }

    proptest! {
        #[test]
        fn table_of_any_addresses_stored_and_read_again_is_the_same(
            all in proptest::collection::btree_map(any_address(), (any::<bool>(), any::<u16>()), 0..60),
            asked in any_address(),
        ) {
            let all: BTreeMap<_, _> = all.into_iter().map(|(a, (flag, n))| (a, Mark(flag, n))).collect();
            let packed = table(&all);
            prop_assert!(packed.iter().eq(all.clone()));
            for address in all.keys().chain([&asked]) {
                prop_assert_eq!(packed.get(address), all.get(address).copied());
            }
            prop_assert_eq!(Table::from_bytes(&packed.to_bytes()), Some(packed));
        }

        #[test]
        fn any_bytes_read_never_panic_and_what_is_taken_is_written_the_same(
            v4 in 0u32..4, v6 in 0u32..4, rest in proptest::collection::vec(any::<u8>(), 0..100), head: bool,
        ) {
            let mut bytes = vec![];
            if head {
                bytes.extend([VERSION, 3]);
                bytes.extend(v4.to_le_bytes());
                bytes.extend(v6.to_le_bytes());
            }
            bytes.extend(rest);
            if let Some(read) = Table::<Mark>::from_bytes(&bytes) {
                prop_assert_eq!(read.to_bytes(), bytes);
                prop_assert_eq!(read.iter().count(), read.len());
            }
        }

        #[test]
        fn one_byte_changed_is_refused_or_another_table(
            all in proptest::collection::btree_map(any_address(), any::<u16>(), 1..20),
            at: proptest::sample::Index, byte: u8,
        ) {
            let all = all.into_iter().map(|(a, n)| (a, Mark(true, n))).collect();
            let mut bytes = table(&all).to_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Some(read) = Table::<Mark>::from_bytes(&bytes) {
                prop_assert_eq!(read.to_bytes(), bytes);
                let order: Vec<_> = read.iter().map(|(address, _)| address).collect();
                prop_assert!(order.is_sorted_by(|a, b| a < b));
            }
        }
    }
}

//! A set of addresses in its one canonical form, and the algebra on it.
//!
//! Prefixes either nest or have nothing in common, so a sorted sequence without nested entries says
//! everything, and every operation is a walk or a binary search.

use std::fmt;

use crate::address::Address;

/// Addresses and prefixes, sorted, none inside another. Two sets with the same entries are equal;
/// neighbours are not merged into a wider prefix.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AddressSet(Vec<Address>);

impl AddressSet {
    /// The entries, in order.
    pub fn as_slice(&self) -> &[Address] {
        &self.0
    }

    /// The entries, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Address> {
        self.0.iter()
    }

    /// How many entries it has; not how many addresses.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it holds no address at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entry that holds all of `address`.
    pub fn covering(&self, address: &Address) -> Option<&Address> {
        // A prefix sorts before what is in it, and without nested entries nothing stands between.
        let end = self.0.partition_point(|entry| entry <= address);
        self.0[..end].last().filter(|entry| entry.contains(address))
    }

    /// Whether one entry holds all of `address`.
    pub fn covers(&self, address: &Address) -> bool {
        self.covering(address).is_some()
    }

    /// The entries that are in `address`, itself included.
    pub fn inside(&self, address: &Address) -> &[Address] {
        let from = &self.0[self.0.partition_point(|entry| entry < address)..];
        &from[..from.partition_point(|entry| address.contains(entry))]
    }

    /// Whether it has an address in common with `address`.
    pub fn touches(&self, address: &Address) -> bool {
        self.covers(address) || !self.inside(address).is_empty()
    }

    /// What is in either.
    pub fn union(&self, other: &Self) -> Self {
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut entries: Vec<Address> = Vec::with_capacity(self.len() + other.len());
        loop {
            let next = match (ours.peek(), theirs.peek()) {
                (Some(our), Some(their)) if our > their => theirs.next(),
                (None, _) => theirs.next(),
                (Some(_), _) => ours.next(),
            };
            let Some(next) = next else { return Self(entries) };
            // A prefix comes before what is in it.
            if entries.last().is_none_or(|last| !last.contains(next)) {
                entries.push(*next);
            }
        }
    }

    /// What is in both.
    pub fn intersection(&self, other: &Self) -> Self {
        let parts = self.0.iter().flat_map(|entry| match other.covers(entry) {
            true => std::slice::from_ref(entry),
            false => other.inside(entry),
        });
        parts.copied().collect()
    }

    /// What is in this and not in the other; a prefix with a hole falls into parts.
    pub fn difference(&self, other: &Self) -> Self {
        let mut parts = Vec::new();
        for entry in self.0.iter().filter(|entry| !other.covers(entry)) {
            subtract(*entry, other.inside(entry), &mut parts);
        }
        parts.into_iter().collect()
    }
}

/// Puts what is left of `from` into `parts`; all `holes` are inside it.
fn subtract(from: Address, holes: &[Address], parts: &mut Vec<Address>) {
    match holes {
        [] => parts.push(from),
        [hole] if hole.contains(&from) => {}
        _ => {
            for half in halves(&from) {
                let start = holes.partition_point(|hole| hole < &half);
                let count = holes[start..].partition_point(|hole| half.contains(hole));
                subtract(half, &holes[start..start + count], parts);
            }
        }
    }
}

fn halves(address: &Address) -> impl Iterator<Item = Address> {
    let net = address.net();
    let is_ipv4 = address.is_ipv4();
    let halves = net.subnets(net.prefix_len() + 1).into_iter().flatten();
    let halves = halves.map(|half| Address::from(half.addr()).within(half.prefix_len()));
    // The half that is `::ffff:0:0/96` has the form of IPv4 addresses, which are elsewhere. No client
    // has an address there.
    halves.filter(move |half| half.is_ipv4() == is_ipv4)
}

impl FromIterator<Address> for AddressSet {
    fn from_iter<I: IntoIterator<Item = Address>>(addresses: I) -> Self {
        let mut entries: Vec<Address> = addresses.into_iter().collect();
        entries.sort_unstable();
        let mut last: Option<Address> = None;
        entries.retain(|entry| {
            let is_new = last.is_none_or(|last| !last.contains(entry));
            if is_new {
                last = Some(*entry);
            }
            is_new
        });
        Self(entries)
    }
}

impl<'a> IntoIterator for &'a AddressSet {
    type Item = &'a Address;
    type IntoIter = std::slice::Iter<'a, Address>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for AddressSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> AddressSet {
        text.split_whitespace().map(|address| address.parse::<Address>().unwrap()).collect()
    }

    #[test]
    fn addresses_collected_are_sorted_and_none_is_inside_another() {
        for (given, canonical) in [
            ("", ""),
            ("10.0.0.2 10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
            ("10.0.0.9 10.0.0.0/24 10.0.1.0 10.0.0.0", "10.0.0.0/24 10.0.1.0"),
            ("10.0.0.0/25 10.0.0.0/24 10.0.0.128/25", "10.0.0.0/24"),
            ("::1 1.1.1.1 ::/64", "1.1.1.1 ::/64"),
            ("::/0 1.1.1.1 2001:db8::1 0.0.0.0/0", "0.0.0.0/0 ::/0"),
        ] {
            assert_eq!(set(given), set(canonical), "{given}");
            let printed: Vec<_> = set(given).iter().map(Address::to_string).collect();
            assert_eq!(printed.join(" "), canonical, "{given}");
        }
    }

    #[test]
    fn range_with_a_hole_falls_into_the_fewest_parts() {
        let parts = set("10.0.0.0/30 10.0.1.0/24").difference(&set("10.0.0.1 10.0.1.0/24"));
        assert_eq!(parts, set("10.0.0.0 10.0.0.2/31"));
        // The half with the form of IPv4 is nobody's.
        let parts = set("::ffff:0:0/95").difference(&set("::fffe:0:1"));
        assert!(parts.iter().all(|part| !part.is_ipv4()), "{parts:?}");
    }

    const BASE: u32 = 0xCB00_7100;

    fn some_set() -> impl Strategy<Value = AddressSet> {
        let entry = (0u32..32, 27u8..=32).prop_map(|(bits, prefix_len)| {
            Address::from(IpAddr::V4(Ipv4Addr::from_bits(BASE + bits))).within(prefix_len)
        });
        proptest::collection::vec(entry, 0..8).prop_map(|entries| entries.into_iter().collect())
    }

    proptest! {
        #[test]
        fn algebra_agrees_with_looking_at_every_address(a in some_set(), b in some_set()) {
            let has = |set: &AddressSet, address: &Address| set.iter().any(|e| e.contains(address));
            let both: AddressSet = a.iter().chain(&b).copied().collect();
            prop_assert_eq!(a.union(&b), both);
            for bits in 0..40 {
                let one = Address::from(IpAddr::V4(Ipv4Addr::from_bits(BASE + bits)));
                let (in_a, in_b) = (has(&a, &one), has(&b, &one));
                prop_assert_eq!(a.covers(&one), in_a);
                prop_assert_eq!(has(&a.union(&b), &one), in_a || in_b);
                prop_assert_eq!(has(&a.intersection(&b), &one), in_a && in_b);
                prop_assert_eq!(has(&a.difference(&b), &one), in_a && !in_b);
                for prefix_len in 26..=32 {
                    let range = one.within(prefix_len);
                    let common = a.iter().any(|e| e.contains(&range) || range.contains(e));
                    prop_assert_eq!(a.touches(&range), common);
                    let inside = a.iter().filter(|e| range.contains(e));
                    prop_assert!(a.inside(&range).iter().eq(inside));
                }
            }
        }
    }
}

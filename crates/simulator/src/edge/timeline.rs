//! Which addresses a list held at the edge, and when: for each network of the list the moments at which
//! it came and went. Finding those that hold an address costs one look for each prefix length in use.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

/// One list's past.
#[derive(Debug, Default)]
pub(super) struct ListTimeline {
    /// For each network, from each moment on, how many items of the list it is: two spellings of one
    /// network are two items.
    networks: BTreeMap<IpNet, Vec<(Duration, u32)>>,
    v4_prefixes: BTreeSet<u8>,
    v6_prefixes: BTreeSet<u8>,
    /// When it changed, ascending.
    changes: Vec<Duration>,
}

impl ListTimeline {
    /// From `at` on these items are there and those are not. Later calls have no earlier moment.
    pub(super) fn change(&mut self, at: Duration, added: &[IpNet], removed: &[IpNet]) {
        let at = at.max(self.changes.last().copied().unwrap_or_default());
        let steps = added.iter().map(|net| (net, 1)).chain(removed.iter().map(|net| (net, -1)));
        for (net, step) in steps {
            let prefixes = match net {
                IpNet::V4(_) => &mut self.v4_prefixes,
                IpNet::V6(_) => &mut self.v6_prefixes,
            };
            prefixes.insert(net.prefix_len());
            let moments = self.networks.entry(*net).or_default();
            let before = moments.last().map_or(0, |(_, count)| *count);
            let count = before.saturating_add_signed(step);
            match moments.last_mut().filter(|(moment, _)| *moment == at) {
                Some(last) => last.1 = count,
                None => moments.push((at, count)),
            }
        }
        if self.changes.last() != Some(&at) {
            self.changes.push(at);
        }
    }

    /// Whether the address was on it, or in a range that was.
    pub(super) fn holds(&self, address: IpAddr, at: Duration) -> bool {
        self.around(address).any(|moments| {
            let until = moments.partition_point(|(moment, _)| *moment <= at);
            moments[..until].last().is_some_and(|(_, count)| *count > 0)
        })
    }

    /// When something changed that concerns the address.
    pub(super) fn changes_of(&self, address: IpAddr) -> impl Iterator<Item = Duration> {
        self.around(address).flatten().map(|(moment, _)| *moment)
    }

    /// When anything changed.
    pub(super) fn changes(&self) -> &[Duration] {
        &self.changes
    }

    fn around(&self, address: IpAddr) -> impl Iterator<Item = &Vec<(Duration, u32)>> {
        let prefixes = if address.is_ipv4() { &self.v4_prefixes } else { &self.v6_prefixes };
        prefixes.iter().filter_map(move |length| {
            self.networks.get(&IpNet::new(address, *length).ok()?.trunc())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        let parse = |text: &&str| match text.contains('/') {
            true => text.parse::<IpNet>().unwrap(),
            false => IpNet::from(text.parse::<IpAddr>().unwrap()),
        };
        texts.iter().map(parse).collect()
    }

    #[test]
    fn address_is_held_while_any_network_around_it_is_there() {
        let at = Duration::from_secs;
        let mut list = ListTimeline::default();
        list.change(at(10), &nets(&["192.0.2.1", "2001:db8::/32"]), &[]);
        list.change(at(20), &nets(&["192.0.2.0/24"]), &nets(&["192.0.2.1"]));
        list.change(at(30), &[], &nets(&["192.0.2.0/24"]));
        // Another spelling of what is there, which then goes: the first one stays.
        list.change(at(40), &nets(&["2001:db8::/32"]), &[]);
        list.change(at(50), &[], &nets(&["2001:db8::/32"]));
        // An earlier moment than the last counts as the last.
        list.change(at(45), &nets(&["192.0.2.9"]), &[]);
        for (address, moments) in [
            ("192.0.2.1", [(9, false), (10, true), (20, true), (29, true), (30, false)]),
            ("192.0.2.7", [(10, false), (19, false), (20, true), (29, true), (30, false)]),
            ("192.0.2.9", [(0, false), (30, false), (49, false), (50, true), (99, true)]),
            ("2001:db8:1::", [(9, false), (10, true), (40, true), (50, true), (99, true)]),
            ("2001:db9::", [(9, false), (10, false), (40, false), (50, false), (99, false)]),
        ] {
            for (seconds, expected) in moments {
                let held = list.holds(address.parse().unwrap(), at(seconds));
                assert_eq!(held, expected, "{address} at {seconds}");
            }
        }
        let story: Vec<_> = list.changes_of("192.0.2.1".parse().unwrap()).collect();
        assert_eq!(story, [at(20), at(30), at(10), at(20)]);
        assert_eq!(list.changes(), [10, 20, 30, 40, 50].map(at));
    }
}

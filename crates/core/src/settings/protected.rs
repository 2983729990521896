//! Addresses that are never blocked: the operator's own, and those that no ban can mean.
//!
//! A real user of the program before this one banned his own address for days, because the list
//! could not be corrected while writes were throttled. So a protected address is kept out before
//! anything is sent, and is taken off the edge with the urgency of a ban.

use ipnet::IpNet;

use crate::address::Address;

/// The groups that are protected unless they are switched off, and what is in each.
pub const GROUPS: [(&str, &[&str]); 7] = [
    ("private", &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]),
    ("loopback", &["127.0.0.0/8", "::1/128"]),
    ("link-local", &["169.254.0.0/16", "fe80::/10"]),
    ("multicast", &["224.0.0.0/4", "ff00::/8"]),
    ("cgnat", &["100.64.0.0/10"]),
    ("unspecified", &["0.0.0.0/8", "::/128"]),
    // Cloudflare's own (www.cloudflare.com/ips): a request that seems to come from there has lost
    // its client's address, and a ban would meet everybody.
    (
        "cloudflare",
        &[
            "173.245.48.0/20",
            "103.21.244.0/22",
            "103.22.200.0/22",
            "103.31.4.0/22",
            "141.101.64.0/18",
            "108.162.192.0/18",
            "190.93.240.0/20",
            "188.114.96.0/20",
            "197.234.240.0/22",
            "198.41.128.0/17",
            "162.158.0.0/15",
            "104.16.0.0/13",
            "104.24.0.0/14",
            "172.64.0.0/13",
            "131.0.72.0/22",
            "2400:cb00::/32",
            "2606:4700::/32",
            "2803:f800::/32",
            "2405:b500::/32",
            "2405:8100::/32",
            "2a06:98c0::/29",
            "2c0f:f248::/32",
        ],
    ),
];

/// What protects an address: `never_block`, or the name of a built-in group.
pub type Rule = &'static str;

/// The rule of the operator's own list.
pub const NEVER_BLOCK: Rule = "never_block";

/// The widest prefixes that an operator may protect. A wider one is a slip (`203.0.113.7/0`), and would
/// take every ban off the edge with the urgency of a ban.
const WIDEST_V4: u8 = 8;
const WIDEST_V6: u8 = 16;

/// How wide a prefix of this kind of address an operator may protect.
pub(super) fn widest(address: &Address) -> u8 {
    if address.is_ipv4() { WIDEST_V4 } else { WIDEST_V6 }
}

/// Whether an operator may not protect this prefix. What a built-in group has may be written out.
pub(super) fn is_too_wide(address: &Address) -> bool {
    let nets = GROUPS.iter().flat_map(|(_, nets)| *nets);
    let mut builtin = nets.filter_map(|net| net.parse::<Address>().ok());
    address.prefix_len() < widest(address) && !builtin.any(|net| net.contains(address))
}

/// What is protected: the first and the last address of each prefix, as numbers, because every
/// decision is compared with every one of them.
#[derive(Debug, Clone, Default)]
pub struct Protected {
    v4: Vec<(u32, u32, Rule)>,
    v6: Vec<(u128, u128, Rule)>,
    all: Vec<(Address, Rule)>,
}

impl Protected {
    /// Adds an address or a prefix of the operator's.
    pub(crate) fn add(&mut self, address: Address) {
        self.add_net(address.net(), NEVER_BLOCK);
    }

    /// Adds a built-in group; `false` if there is none of this name.
    pub(crate) fn add_group(&mut self, name: &str) -> bool {
        let Some((group, nets)) = GROUPS.iter().find(|(group, _)| *group == name) else {
            return false;
        };
        for net in nets.iter().filter_map(|net| net.parse().ok()) {
            self.add_net(net, group);
        }
        true
    }

    /// Every address and prefix that is protected, and by what.
    pub fn addresses(&self) -> &[(Address, Rule)] {
        &self.all
    }

    fn add_net(&mut self, net: IpNet, rule: Rule) {
        self.all.push((Address::from(net), rule));
        match net {
            IpNet::V4(net) => {
                self.v4.push((net.network().to_bits(), net.broadcast().to_bits(), rule));
            }
            IpNet::V6(net) => {
                self.v6.push((net.network().to_bits(), net.broadcast().to_bits(), rule));
            }
        }
    }

    /// What protects this address, or a part of this prefix.
    pub fn rule(&self, address: &Address) -> Option<Rule> {
        match address.net() {
            IpNet::V4(net) => {
                touching(&self.v4, net.network().to_bits(), net.broadcast().to_bits())
            }
            IpNet::V6(net) => {
                touching(&self.v6, net.network().to_bits(), net.broadcast().to_bits())
            }
        }
    }
}

/// The first rule that has an address in common with `first..=last`.
fn touching<N: Copy + PartialOrd>(rules: &[(N, N, Rule)], first: N, last: N) -> Option<Rule> {
    rules.iter().find(|(from, to, _)| *from <= last && first <= *to).map(|(.., rule)| *rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Protected {
        let mut protected = Protected::default();
        GROUPS.iter().for_each(|(group, _)| assert!(protected.add_group(group)));
        protected
    }

    #[test]
    fn every_builtin_prefix_is_canonical_and_counts() {
        let written: usize = GROUPS.iter().map(|(_, nets)| nets.len()).sum();
        assert_eq!(all().v4.len() + all().v6.len(), written);
        for (_, nets) in GROUPS {
            for net in nets {
                let parsed: IpNet = net.parse().unwrap();
                assert_eq!(parsed, parsed.trunc(), "{net}");
            }
        }
    }

    #[test]
    fn protected_addresses_and_ranges_around_them_are_found() {
        let mut protected = all();
        protected.add("203.0.113.7".parse().unwrap());
        protected.add("2001:db8:1::/48".parse().unwrap());
        for (address, rule) in [
            ("203.0.113.7", Some("never_block")),
            ("::ffff:203.0.113.7", Some("never_block")),
            ("203.0.113.0/24", Some("never_block")),
            ("203.0.113.8", None),
            ("203.0.113.8/29", None),
            ("2001:db8:1::5", Some("never_block")),
            ("2001:db8::/32", Some("never_block")),
            ("2001:db8:2::5", None),
            ("192.168.1.1", Some("private")),
            ("127.0.0.1", Some("loopback")),
            ("::1", Some("loopback")),
            ("fe80::1", Some("link-local")),
            ("224.0.0.1", Some("multicast")),
            ("100.64.0.1", Some("cgnat")),
            ("0.0.0.0", Some("unspecified")),
            ("104.16.1.1", Some("cloudflare")),
            ("2606:4700::1", Some("cloudflare")),
            ("8.8.8.8", None),
            ("100.63.255.255", None),
        ] {
            assert_eq!(protected.rule(&address.parse().unwrap()), rule, "{address}");
        }
        assert!(protected.rule(&"0.0.0.0/0".parse().unwrap()).is_some());
        assert!(protected.rule(&"::/0".parse().unwrap()).is_some());
    }

    #[test]
    fn group_that_is_not_known_is_refused() {
        assert!(!Protected::default().add_group("everything"));
    }
}

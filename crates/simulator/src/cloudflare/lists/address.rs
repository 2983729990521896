//! Which values an ip list takes, and the form in which it keeps them (facts 1.4). Unknown points are
//! decided against the client: IPv4-mapped IPv6, zone ids and `/0` are refused.

use std::net::IpAddr;

use ipnet::IpNet;

/// An address or a range as a list keeps it: host bits cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Address(IpNet);

/// Why a value is refused, in the words that follow `invalid value for ip at position N: `.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressError {
    NotAnAddress,
    PrefixV4,
    PrefixV6,
    Mapped,
}

impl AddressError {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::NotAnAddress => "filters.api.not a valid IP address or CIDR",
            // The form was seen for the bounds of 2024; the text for today's is unknown.
            Self::PrefixV4 => {
                "filters.api.IPv4 CIDRs should have a prefix length from /8 to /32 inclusive"
            }
            Self::PrefixV6 => {
                "filters.api.IPv6 CIDRs should have a prefix length from /12 to /128 inclusive"
            }
            Self::Mapped => "filters.api.IPv4-mapped IPv6 addresses are not supported",
        }
    }
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, AddressError> {
        let net = lenient(text).ok_or(AddressError::NotAnAddress)?;
        match net {
            IpNet::V4(net) if net.prefix_len() < 8 => Err(AddressError::PrefixV4),
            IpNet::V6(net) if net.prefix_len() < 12 => Err(AddressError::PrefixV6),
            IpNet::V6(net) if net.addr().to_ipv4_mapped().is_some() => Err(AddressError::Mapped),
            net => Ok(Self(net.trunc())),
        }
    }

    /// RFC 5952, without `/32` and `/128`.
    pub(super) fn canonical(self) -> String {
        match self.0.prefix_len() == self.0.max_prefix_len() {
            true => self.0.addr().to_string(),
            false => self.0.to_string(),
        }
    }
}

/// Reads what is an address at all, for sorting items that were put there by other means.
pub(super) fn lenient(text: &str) -> Option<IpNet> {
    let Some((address, prefix)) = text.split_once('/') else {
        return text.parse::<IpAddr>().ok().map(IpNet::from);
    };
    // `u8::from_str` would take "+8", and no one writes "/08".
    let plain =
        prefix.bytes().all(|b| b.is_ascii_digit()) && (prefix == "0" || !prefix.starts_with('0'));
    let prefix = plain.then(|| prefix.parse().ok()).flatten()?;
    IpNet::new(address.parse().ok()?, prefix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_good_stored_is_canonical() {
        for (sent, stored) in [
            ("1.2.3.4", "1.2.3.4"),
            ("1.2.3.4/32", "1.2.3.4"),
            ("192.168.1.5/24", "192.168.1.0/24"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("2001:db8::1/128", "2001:db8::1"),
            ("2001:db8::ffff/64", "2001:db8::/64"),
            ("2000::/12", "2000::/12"),
            ("::1", "::1"),
        ] {
            let address = Address::parse(sent);
            assert_eq!(address.map(Address::canonical).as_deref(), Ok(stored), "{sent}");
        }
    }

    #[test]
    fn value_bad_sent_is_refused_with_its_reason() {
        use AddressError as E;
        for (sent, error) in [
            ("010.1.2.3", E::NotAnAddress),
            ("1.2.3.4 ", E::NotAnAddress),
            ("1.2.3.4/33", E::NotAnAddress),
            ("1.2.3.4/+8", E::NotAnAddress),
            ("1.2.3.4/", E::NotAnAddress),
            ("1.2.3.4/08", E::NotAnAddress),
            ("fe80::1%eth0", E::NotAnAddress),
            ("", E::NotAnAddress),
            ("0.0.0.0/0", E::PrefixV4),
            ("10.0.0.0/7", E::PrefixV4),
            ("::/0", E::PrefixV6),
            ("2000::/11", E::PrefixV6),
            ("::ffff:1.2.3.4", E::Mapped),
        ] {
            assert_eq!(Address::parse(sent), Err(error), "{sent}");
        }
    }

    #[test]
    fn addresses_sorted_are_v4_first_then_by_address_then_by_mask() {
        let parse = |text| Address::parse(text).unwrap();
        let sorted = ["9.0.0.0/8", "10.0.0.0/8", "10.0.0.0/16", "10.0.0.0", "10.0.0.1", "::1"];
        let mut addresses: Vec<Address> = sorted.into_iter().rev().map(parse).collect();
        addresses.sort();
        assert_eq!(addresses.into_iter().map(Address::canonical).collect::<Vec<_>>(), sorted);
    }
}

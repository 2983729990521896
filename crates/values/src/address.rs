//! The canonical address: the one form in which an address or a prefix exists in this program.
//!
//! Both sides of the comparison use it, or the plan would never become empty: LAPI stores values
//! verbatim (`2001:DB8::1`, `1.2.3.4/32`; facts crowdsec 1.1) while Cloudflare returns them
//! normalised (facts cloudflare 1.4), and refuses a whole request for one duplicate after
//! normalisation (code 10028).

mod blocks;
pub mod map;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// An address, or a prefix with its host bits cleared; never an IPv4-mapped IPv6 address.
///
/// `Display` is what Cloudflare stores: RFC 5952, without `/32` and `/128`. Ordered as Cloudflare
/// lists items: IPv4 first, by address, then by prefix length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(IpNet);

impl Address {
    /// Whether Cloudflare takes it as a list item: IPv4 `/8`..`/32`, IPv6 `/12`..`/128`.
    ///
    /// One item outside refuses the whole request with code 10035.
    /// Source: facts cloudflare 1.4 (Cloudflare docs, waf/tools/lists, since 2025-07-08).
    pub fn fits_list(&self) -> bool {
        match self.0 {
            IpNet::V4(net) => net.prefix_len() >= LIST_PREFIX_LEN_V4,
            IpNet::V6(net) => net.prefix_len() >= LIST_PREFIX_LEN_V6,
        }
    }

    /// The parts that Cloudflare takes in place of a prefix that is too wide for it, if those are at
    /// most [`PARTS_MAX`].
    pub fn split_for_list(&self) -> Option<impl Iterator<Item = Self>> {
        let prefix_len = match self.0 {
            IpNet::V4(_) => LIST_PREFIX_LEN_V4,
            IpNet::V6(_) => LIST_PREFIX_LEN_V6,
        };
        let parts = self.0.subnets(prefix_len).ok()?;
        let count = 1u32.checked_shl((prefix_len - self.0.prefix_len()).into())?;
        (count <= PARTS_MAX).then(|| parts.map(Self))
    }

    /// How many leading bits it fixes.
    pub fn prefix_len(&self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether it is IPv4.
    pub fn is_ipv4(&self) -> bool {
        matches!(self.0, IpNet::V4(_))
    }

    /// The prefix of this length that contains it; itself if it is no longer than that.
    pub fn within(&self, prefix_len: u8) -> Self {
        let prefix_len = prefix_len.min(self.0.prefix_len());
        Self(IpNet::new_assert(self.0.addr(), prefix_len).trunc())
    }

    /// All addresses there are: of IPv4, and of IPv6.
    pub fn everything() -> [Self; 2] {
        [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
            .map(|zero: IpAddr| Self::from(zero).within(0))
    }

    /// Whether every address of `other` is in it.
    pub fn contains(&self, other: &Self) -> bool {
        self.0.contains(&other.0)
    }

    /// Whether it is one address and not a prefix of several.
    pub fn is_single(&self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }

    /// The network that it is.
    pub fn net(&self) -> IpNet {
        self.0
    }

    /// This network, if it is in canonical form.
    pub fn from_canonical(net: IpNet) -> Option<Self> {
        let address = Self::canonical(net);
        (address.0 == net).then_some(address)
    }

    fn canonical(net: IpNet) -> Self {
        if let IpNet::V6(v6) = net
            && v6.prefix_len() >= MAPPED_PREFIX_LEN
            && let Some(v4) = v6.addr().to_ipv4_mapped()
            && let Ok(v4) = Ipv4Net::new(v4, v6.prefix_len() - MAPPED_PREFIX_LEN)
        {
            return Self(IpNet::V4(v4.trunc()));
        }
        Self(net.trunc())
    }
}

/// The widest prefixes that Cloudflare takes (facts cloudflare 1.4).
const LIST_PREFIX_LEN_V4: u8 = 8;
const LIST_PREFIX_LEN_V6: u8 = 12;

/// A wider prefix is sent in parts only if it takes no more places than this: an IPv4 `/4`, an IPv6
/// `/8`. Nobody means to block half of the Internet.
pub const PARTS_MAX: u32 = 16;

/// `::ffff:0:0/96` holds the IPv4-mapped addresses (RFC 4291, 2.5.5.2).
const MAPPED_PREFIX_LEN: u8 = 96;

impl From<IpAddr> for Address {
    fn from(addr: IpAddr) -> Self {
        Self::canonical(IpNet::from(addr))
    }
}

impl From<IpNet> for Address {
    fn from(net: IpNet) -> Self {
        Self::canonical(net)
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;

    /// Takes every spelling of an address or a CIDR that `std` takes, with white space around it.
    /// Leading zeros in IPv4 (`010.1.2.3` is 8.1.2.3 to some parsers) and zone ids are refused.
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let text = text.trim_ascii();
        if let Some(address) = plain_v4(text.as_bytes()) {
            return Ok(Self(IpNet::from(IpAddr::V4(address))));
        }
        let Some((addr, prefix_len)) = text.split_once('/') else {
            return text.parse::<IpAddr>().map(Self::from).map_err(|_| NotAnAddress);
        };
        let addr: IpAddr = addr.parse().map_err(|_| NotAnAddress)?;
        // `u8::from_str` would take "+8".
        if !prefix_len.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NotAnAddress);
        }
        let prefix_len = prefix_len.parse().map_err(|_| NotAnAddress)?;
        IpNet::new(addr, prefix_len).map(Self::canonical).map_err(|_| NotAnAddress)
    }
}

/// Four numbers with dots between them, which nearly all texts are: by the same rules as the standard library,
/// in a fifth of the time.
fn plain_v4(text: &[u8]) -> Option<Ipv4Addr> {
    let (mut bits, mut number, mut digits, mut dots) = (0_u32, 0_u32, 0, 0);
    for byte in text {
        match byte {
            // "00" and "01" are none.
            b'0'..=b'9' if digits == 0 || number > 0 => {
                number = number * 10 + u32::from(byte - b'0');
                digits += 1;
                if number > 255 {
                    return None;
                }
            }
            b'.' if digits > 0 && dots < 3 => {
                bits = bits << 8 | number;
                (number, digits, dots) = (0, 0, dots + 1);
            }
            _ => return None,
        }
    }
    (digits > 0 && dots == 3).then(|| Ipv4Addr::from_bits(bits << 8 | number))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpNet::V4(net) if net.prefix_len() == 32 => net.addr().fmt(f),
            IpNet::V6(net) if net.prefix_len() == 128 => net.addr().fmt(f),
            IpNet::V4(net) => net.fmt(f),
            IpNet::V6(net) => net.fmt(f),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is neither an address nor a CIDR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an IPv4 or IPv6 address or CIDR")]
pub struct NotAnAddress;

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn any_spelling_parsed_prints_the_form_that_cloudflare_stores() {
        for (text, canonical) in [
            ("1.2.3.4", "1.2.3.4"),
            ("1.2.3.4/32", "1.2.3.4"),
            (" 1.2.3.4\t", "1.2.3.4"),
            ("10.30.5.7/16", "10.30.0.0/16"),
            ("::ffff:9.9.9.9", "9.9.9.9"),
            ("::FFFF:0909:0909", "9.9.9.9"),
            ("0:0:0:0:0:ffff:9.9.9.9/128", "9.9.9.9"),
            ("::ffff:9.9.9.9/120", "9.9.9.0/24"),
            ("2001:DB8::1", "2001:db8::1"),
            ("2001:0db8:0:0:0:0:0:2", "2001:db8::2"),
            ("2606:4700:0000::0001/128", "2606:4700::1"),
            ("2001:db8:ab:cd::1/32", "2001:db8::/32"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("::ffff:0:0/90", "::ffc0:0:0/90"),
        ] {
            let address: Address = text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"));
            assert_eq!(address.to_string(), canonical, "{text:?}");
        }
    }

    #[test]
    fn prefix_too_wide_for_a_list_split_takes_at_most_sixteen_places() {
        for (text, parts) in [
            ("64.0.0.0/7", "64.0.0.0/8 65.0.0.0/8"),
            ("2000::/11", "2000::/12 2010::/12"),
            ("1.2.3.0/24", "none"),
            ("1.2.3.4", "none"),
            ("32.0.0.0/3", "none"),
            ("::/0", "none"),
            ("2000::/7", "none"),
        ] {
            let address: Address = text.parse().unwrap();
            let split = (!address.fits_list()).then(|| address.split_for_list()).flatten();
            let split = split.map(|parts| parts.map(|p| p.to_string()).collect::<Vec<_>>());
            assert_eq!(split.map_or("none".to_owned(), |parts| parts.join(" ")), parts, "{text}");
        }
        let address: Address = "16.0.0.0/4".parse().unwrap();
        assert_eq!(address.split_for_list().unwrap().count(), 16);
    }

    #[test]
    fn address_seen_from_a_shorter_prefix_is_inside_it() {
        let address: Address = "203.0.113.77".parse().unwrap();
        let prefix = address.within(24);
        assert_eq!(prefix.to_string(), "203.0.113.0/24");
        assert!(prefix.contains(&address) && !address.contains(&prefix));
        assert_eq!(address.within(32), address);
        assert!(!prefix.contains(&"2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn text_that_is_no_address_is_refused() {
        for text in [
            "",
            " ",
            "010.1.2.3",
            "1.2.3",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/+8",
            "1.2.3.4/-1",
            "1.2.3.4/256",
            "1.2.3.4/8/8",
            "fe80::1%eth0",
            "2001:db8::/129",
            "1.2.3.4-1.2.3.9",
            "example.com",
            "FR",
            "1.2.3.4,5.6.7.8",
        ] {
            assert_eq!(text.parse::<Address>(), Err(NotAnAddress), "{text:?}");
        }
    }

    #[test]
    fn prefix_at_cloudflares_bounds_fits_and_one_shorter_does_not() {
        for (text, fits) in [
            ("10.0.0.0/8", true),
            ("10.0.0.0/7", false),
            ("0.0.0.0/0", false),
            ("2000::/12", true),
            ("2000::/11", false),
            ("::/0", false),
            ("2001:db8::1", true),
            ("1.2.3.4", true),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().fits_list(), fits, "{text}");
        }
    }

    proptest! {
        #[test]
        fn canonical_form_parsed_again_is_itself(bits: u128, prefix_len in 0u8..=128, v4: u32, v4_len in 0u8..=32) {
            for text in [
                format!("{}/{prefix_len}", Ipv6Addr::from_bits(bits)),
                format!("{}/{v4_len}", std::net::Ipv4Addr::from_bits(v4)),
                format!("::ffff:{}", std::net::Ipv4Addr::from_bits(v4)),
            ] {
                let once: Address = text.parse().unwrap();
                let twice: Address = once.to_string().parse().unwrap();
                prop_assert_eq!(once, twice);
                prop_assert_eq!(once.to_string(), twice.to_string());
            }
        }

        #[test]
        fn plain_text_read_fast_is_what_the_standard_library_reads(
            text in "[0-9]{0,3}\\.[0-9]{0,3}\\.[0-9]{0,3}\\.[0-9]{0,3}|[0-9.]{0,16}"
        ) {
            prop_assert_eq!(plain_v4(text.as_bytes()), text.parse::<Ipv4Addr>().ok());
        }

        #[test]
        fn any_text_parsed_never_panics(text in ".{0,40}") {
            let _ = text.parse::<Address>();
        }
    }
}

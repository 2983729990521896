//! What stands between the braces of a set: addresses, ranges and numbers, in a form in which looking
//! one up costs nothing that grows with the text.

use std::net::IpAddr;

/// Closed ranges of numbers, sorted, without overlaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Ranges(Vec<(u128, u128)>);

impl Ranges {
    fn of(mut ranges: Vec<(u128, u128)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last)
                }
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// What is in one of both and not in the other.
    fn differing(&self, other: &Self) -> Vec<(u128, u128)> {
        // Each border, of whichever, turns "in one only" on or off; two at one place turn nothing.
        let ranges = self.0.iter().chain(&other.0);
        let mut borders: Vec<Option<u128>> =
            ranges.flat_map(|(first, last)| [Some(*first), last.checked_add(1)]).collect();
        // `None` is behind the largest number.
        borders.sort_unstable_by_key(|border| (border.is_none(), *border));
        let pairs = borders.chunks_exact(2).filter(|pair| pair[0] != pair[1]);
        let closed = |pair: &[Option<u128>]| {
            Some((pair[0]?, pair[1].map_or(u128::MAX, |border| border - 1)))
        };
        pairs.filter_map(closed).collect()
    }

    fn contains(&self, number: u128) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= number);
        self.0[..after].last().is_some_and(|(_, last)| number <= *last)
    }
}

/// Addresses of both families. One family knows nothing of the other: an IPv4-mapped IPv6 address is an
/// IPv6 address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct IpSet {
    v4: Ranges,
    v6: Ranges,
}

impl IpSet {
    /// Both ends of a range are of one family.
    pub(super) fn of(ranges: impl IntoIterator<Item = (IpAddr, IpAddr)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (first, last) in ranges {
            let of_family = if first.is_ipv4() { &mut v4 } else { &mut v6 };
            of_family.push((number(first), number(last)));
        }
        Self { v4: Ranges::of(v4), v6: Ranges::of(v6) }
    }

    /// The ranges of addresses that are in one of both and not in the other.
    pub(super) fn differing(&self, other: &Self) -> Vec<(IpAddr, IpAddr)> {
        let v4 = |number: u128| IpAddr::V4((number.min(u128::from(u32::MAX)) as u32).into());
        let v6 = |number: u128| IpAddr::V6(number.into());
        let of_v4 = self.v4.differing(&other.v4).into_iter();
        let of_v6 = self.v6.differing(&other.v6).into_iter();
        of_v4
            .map(|(first, last)| (v4(first), v4(last)))
            .chain(of_v6.map(|(first, last)| (v6(first), v6(last))))
            .collect()
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let of_family = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        of_family.contains(number(address))
    }
}

/// Numbers such as those of autonomous systems.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct IntSet(Ranges);

impl IntSet {
    pub(super) fn of(ranges: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let wide = ranges.into_iter().map(|(first, last)| (u128::from(first), u128::from(last)));
        Self(Ranges::of(wide.collect()))
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.0.contains(u128::from(number))
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// Reads what can stand in a set of addresses: an address, a prefix without host bits, or a range
/// `a..b`. Any prefix length is taken, also 0 (facts: cloudflare-rules.md 1.3). The error says why not.
pub(super) fn parse_ip_range(text: &str) -> Result<(IpAddr, IpAddr), &'static str> {
    let address = |text: &str| text.parse::<IpAddr>().map_err(|_| "invalid IP address");
    if let Some((first, last)) = text.split_once("..") {
        let (first, last) = (address(first)?, address(last)?);
        return match first.is_ipv4() == last.is_ipv4() && first <= last {
            true => Ok((first, last)),
            false => Err("invalid range: its ends must be of one family, the smaller one first"),
        };
    }
    let Some((base, length)) = text.split_once('/') else {
        return address(text).map(|address| (address, address));
    };
    let base = address(base)?;
    let bits = if base.is_ipv4() { 32 } else { 128 };
    let is_plain = !length.is_empty()
        && length.bytes().all(|byte| byte.is_ascii_digit())
        && (length == "0" || !length.starts_with('0'));
    let length: u32 = match length.parse() {
        Ok(length) if is_plain && length <= bits => length,
        _ => return Err("invalid prefix length"),
    };
    let host_bits = bits - length;
    let mask = if host_bits == 128 { u128::MAX } else { (1 << host_bits) - 1 };
    if number(base) & mask != 0 {
        return Err("invalid network: host part of address was not zero");
    }
    let last = number(base) | mask;
    Ok(match base {
        IpAddr::V4(_) => (base, IpAddr::V4((last as u32).into())),
        IpAddr::V6(_) => (base, IpAddr::V6(last.into())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_of_each_form_read_begins_and_ends_where_it_says() {
        for (text, first, last) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
            ("192.0.2.1/32", "192.0.2.1", "192.0.2.1"),
            ("192.0.2.0/24", "192.0.2.0", "192.0.2.255"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("192.0.2.7..192.0.3.1", "192.0.2.7", "192.0.3.1"),
            ("2001:DB8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("::1..::ff", "::1", "::ff"),
            ("::ffff:1.2.3.4/127", "::ffff:1.2.3.4", "::ffff:1.2.3.5"),
        ] {
            let expected = (first.parse().unwrap(), last.parse().unwrap());
            assert_eq!(parse_ip_range(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn range_with_host_bits_or_a_mistake_is_refused() {
        for text in [
            "192.0.2.5/24",
            "2001:db8::1/64",
            "192.0.2.0/33",
            "192.0.2.0/",
            "192.0.2.0/024",
            "192.0.2.0/+8",
            "192.0.2.2..192.0.2.1",
            "192.0.2.2..::1",
            "192.0.2.0/24..192.0.3.0",
            "192.0.2",
            "010.0.0.1",
            "::/129",
            "",
        ] {
            assert!(parse_ip_range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sets_compared_differ_in_what_only_one_of_them_holds() {
        let set = |text: &str| {
            IpSet::of(text.split_whitespace().map(|text| parse_ip_range(text).unwrap()))
        };
        let all = "0.0.0.0/0 ::/0";
        for (one, other, expected) in [
            ("192.0.2.1 ::1", "192.0.2.1 ::1", ""),
            ("192.0.2.1", "192.0.2.2", "192.0.2.1..192.0.2.2"),
            ("192.0.2.1", "192.0.2.3", "192.0.2.1 192.0.2.3"),
            ("192.0.2.0/24", "192.0.2.7", "192.0.2.0..192.0.2.6 192.0.2.8..192.0.2.255"),
            ("192.0.2.0/24 ::/0", "192.0.2.0/25 ::/1", "192.0.2.128/25 8000::/1"),
            ("", all, all),
            (
                all,
                "0.0.0.0 ::",
                "0.0.0.1..255.255.255.255 ::1..ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            ),
        ] {
            for (one, other) in [(one, other), (other, one)] {
                let differing = set(one).differing(&set(other));
                assert_eq!(IpSet::of(differing), set(expected), "{one} and {other}");
            }
        }
    }

    #[test]
    fn set_of_overlapping_ranges_holds_each_address_of_them_and_no_other() {
        let range = |text| parse_ip_range(text).unwrap();
        let set = IpSet::of(
            ["10.0.0.8/29", "10.0.0.0/29", "10.0.0.3", "192.0.2.1", "2001:db8::/127"].map(range),
        );
        assert_eq!(set.v4.0.len(), 2, "neighbours are merged");
        for (address, expected) in [
            ("10.0.0.0", true),
            ("10.0.0.15", true),
            ("10.0.0.16", false),
            ("9.255.255.255", false),
            ("192.0.2.1", true),
            ("2001:db8::1", true),
            ("2001:db8::2", false),
            ("::ffff:10.0.0.1", false),
            ("::a00:1", false),
        ] {
            assert_eq!(set.contains(address.parse().unwrap()), expected, "{address}");
        }
        assert!(!IpSet::default().contains("0.0.0.0".parse().unwrap()));
        assert!(IpSet::of([range("0.0.0.0/0")]).contains("255.255.255.255".parse().unwrap()));
        let numbers = IntSet::of([(64_500, 64_500), (64_510, 64_520)]);
        assert_eq!(
            [64_499, 64_500, 64_515, 64_521].map(|n| numbers.contains(n)),
            [false, true, true, false]
        );
    }
}

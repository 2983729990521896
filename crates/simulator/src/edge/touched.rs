//! Which addresses a change of rules could mean something to. Rules whose sets change every few minutes
//! for weeks have thousands of states, of which one address is touched by two or three: only those have
//! to be looked at for its story.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::expression::{Expression, Node};

/// For each change the addresses that it touches.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Changes that may mean something to everybody.
    everybody: Vec<Duration>,
    single: BTreeMap<IpAddr, Vec<Duration>>,
    ranges: Vec<((IpAddr, IpAddr), Duration)>,
}

impl Touched {
    pub(super) fn everybody(&mut self, at: Duration) {
        self.everybody.push(at);
    }

    /// A condition became another one.
    pub(super) fn compare(&mut self, at: Duration, old: &Expression, new: &Expression) {
        let mut ranges = Vec::new();
        if !compare(old.root(), new.root(), &mut ranges) {
            self.everybody(at);
            return;
        }
        for (first, last) in ranges {
            match first == last {
                true => self.single.entry(first).or_default().push(at),
                false => self.ranges.push(((first, last), at)),
            }
        }
    }

    /// The moments at which something changed that may mean something to this address, in no order.
    pub(super) fn moments_of(&self, ip: IpAddr) -> impl Iterator<Item = Duration> {
        let single = self.single.get(&ip).into_iter().flatten();
        let around = self.ranges.iter().filter(move |((first, last), _)| {
            first.is_ipv4() == ip.is_ipv4() && (*first..=*last).contains(&ip)
        });
        self.everybody.iter().chain(single).copied().chain(around.map(|(_, at)| *at))
    }
}

/// Collects what differs between the sets of addresses of two conditions; false if they differ in
/// anything else.
fn compare(old: &Node, new: &Node, ranges: &mut Vec<(IpAddr, IpAddr)>) -> bool {
    match (old, new) {
        (Node::SourceIn(old), Node::SourceIn(new)) => {
            ranges.extend(old.differing(new));
            true
        }
        (Node::Not(old), Node::Not(new)) => compare(old, new, ranges),
        (Node::And(old), Node::And(new))
        | (Node::Or(old), Node::Or(new))
        | (Node::Xor(old), Node::Xor(new)) => {
            old.len() == new.len()
                && old.iter().zip(new).all(|(old, new)| compare(old, new, ranges))
        }
        (old, new) => old == new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Dialect;

    #[test]
    fn change_of_a_set_touches_what_came_and_went_and_any_other_change_touches_everybody() {
        let parse = |text| Expression::parse(text, Dialect { has_empty_sets: true }).unwrap();
        let at = Duration::from_secs;
        let mut touched = Touched::default();
        let mut last = parse("ip.src in $ban or ip.src in {192.0.2.1}");
        for (seconds, text) in [
            (1, "ip.src in $ban or ip.src in {192.0.2.1 192.0.2.2 2001:db8::/32}"),
            (2, "ip.src in $ban or ip.src in {192.0.2.2 2001:db8::/33}"),
            (3, "not (ip.src in $ban or ip.src in {192.0.2.2 2001:db8::/33})"),
            (4, "not (ip.src in $ban or ip.src in {})"),
            (5, "not (ip.src in $captcha or ip.src in {})"),
        ] {
            let new = parse(text);
            touched.compare(at(seconds), &last, &new);
            last = new;
        }
        for (ip, expected) in [
            ("192.0.2.1", &[2, 3, 5][..]),
            ("192.0.2.2", &[1, 3, 4, 5]),
            ("192.0.2.3", &[3, 5]),
            ("2001:db8::1", &[1, 3, 4, 5]),
            ("2001:db8:8000::1", &[1, 2, 3, 5]),
        ] {
            let mut moments: Vec<_> = touched.moments_of(ip.parse().unwrap()).collect();
            moments.sort();
            assert_eq!(moments, expected.iter().copied().map(at).collect::<Vec<_>>(), "{ip}");
        }
    }
}

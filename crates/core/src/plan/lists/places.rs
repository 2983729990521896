//! Who gets a place when more is desired than fits.
//!
//! Cloudflare's lists hold 10,000 items together below Enterprise, and an operation that would
//! exceed that fails whole (facts cloudflare 1.6, 1.7); the community list alone may have 31,000.

use std::cmp::Reverse;
use std::time::Duration;

use crate::address::Address;
use crate::decision::{Remediation, Source};
use crate::desired::{Candidate, Desired};
use crate::observed::lists::Observed;

use super::OriginCounts;

/// The desired addresses that have a place, and only those.
pub(super) struct Places<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    /// `None` = there are places for all.
    first_without: Option<Rank>,
}

/// The order in which places are given, the smallest first.
///
/// Who is at the edge already goes before his equals: with the remaining time before that, every
/// step of the clock would swap thousands, and each swap is a write.
type Rank = (Source, Reverse<Remediation>, AtEdge, Reverse<u8>, Address);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum AtEdge {
    Yes,
    No,
}

impl<'a> Places<'a> {
    /// Gives `places` to the desired addresses.
    pub(super) fn assign(desired: &'a Desired, observed: &'a Observed, places: u64) -> Self {
        let mut all = Self { desired, observed, first_without: None };
        let places = usize::try_from(places).unwrap_or(usize::MAX);
        if desired.candidates().count() > places {
            let mut ranks: Vec<Rank> = desired.candidates().map(|c| all.rank(&c)).collect();
            let (_, first_without, _) = ranks.select_nth_unstable(places);
            all.first_without = Some(*first_without);
        }
        all
    }

    /// The addresses with a place on this list, in order.
    pub(super) fn addresses(&self, list: Remediation) -> impl Iterator<Item = Address> {
        let all = self.desired.candidates().filter(move |candidate| candidate.list == list);
        all.filter(|candidate| self.has(candidate)).map(|candidate| candidate.address)
    }

    /// How many addresses have a place on this list.
    pub(super) fn count(&self, list: Remediation) -> u64 {
        self.addresses(list).count() as u64
    }

    /// The list that `address` has its place on.
    pub(super) fn on_list(&self, address: &Address) -> Option<Remediation> {
        let candidate = self.desired.candidate(address)?;
        self.has(&candidate).then_some(candidate.list)
    }

    /// Who has a place and who has not, by origin.
    pub(super) fn by_origin(&self) -> Vec<OriginCounts> {
        let counts = self.desired.by_origin(
            self.desired.candidates().map(|candidate| (candidate.origin, candidate)),
            |counts: &mut [u64; 3], candidate| {
                counts[match (self.has(&candidate), candidate.address.is_ipv4()) {
                    (true, true) => 0,
                    (true, false) => 1,
                    (false, _) => 2,
                }] += 1;
            },
        );
        let counts = counts.into_iter().filter(|(_, counts)| counts.iter().any(|n| *n > 0));
        counts
            .map(|(origin, [ipv4, ipv6, dropped])| OriginCounts { origin, ipv4, ipv6, dropped })
            .collect()
    }

    fn has(&self, candidate: &Candidate) -> bool {
        self.first_without.is_none_or(|first| self.rank(candidate) < first)
    }

    fn rank(&self, candidate: &Candidate) -> Rank {
        let mut lists = self.observed.lists();
        let at_edge = match lists.any(|(_, list)| list.items().contains_key(&candidate.address)) {
            true => AtEdge::Yes,
            false => AtEdge::No,
        };
        let step = Reverse(step(candidate.remaining));
        (candidate.source, Reverse(candidate.list), at_edge, step, candidate.address)
    }
}

/// The remaining time in coarse steps, so that LAPI's jitter does not decide.
fn step(remaining: Duration) -> u8 {
    const HOUR: u64 = 3_600;
    let steps = [HOUR, 4 * HOUR, 24 * HOUR, 7 * 24 * HOUR, 30 * 24 * HOUR];
    steps.iter().filter(|step| remaining.as_secs() >= **step).count() as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::lists::ObservedList;
    use Remediation::{Ban, Captcha};

    const DAY: u32 = 86_400;

    fn with_places(
        places: u64,
        observed: &[&str],
        wanted: &[(&str, Remediation, &str, u32)],
    ) -> String {
        let mut desired = Desired::default();
        for (address, list, origin, secs) in wanted {
            desired.put(address, Some(*list), None, origin, *secs);
        }
        let observed = Observed::of(ObservedList::of(observed), ObservedList::default());
        let places = Places::assign(&desired, &observed, places);
        let kept = Remediation::ALL.into_iter().flat_map(|list| places.addresses(list));
        kept.map(|address| address.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn places_are_given_to_the_nearest_origin_then_bans_then_who_is_there_then_the_longest() {
        let wanted = [
            ("1.0.0.1", Ban, "CAPI", 9 * DAY),
            ("1.0.0.2", Ban, "lists", DAY),
            ("1.0.0.3", Captcha, "crowdsec", 60),
            ("1.0.0.4", Ban, "cscli", DAY),
            ("1.0.0.5", Ban, "cscli", 90 * DAY),
            ("1.0.0.6", Ban, "cscli", 60),
        ];
        let at_edge = ["1.0.0.6", "1.0.0.1"];
        for (places, kept) in [
            (9, "1.0.0.1 1.0.0.2 1.0.0.4 1.0.0.5 1.0.0.6 1.0.0.3"),
            (5, "1.0.0.2 1.0.0.4 1.0.0.5 1.0.0.6 1.0.0.3"),
            (4, "1.0.0.4 1.0.0.5 1.0.0.6 1.0.0.3"),
            (3, "1.0.0.4 1.0.0.5 1.0.0.6"),
            (2, "1.0.0.5 1.0.0.6"),
            (1, "1.0.0.6"),
            (0, ""),
        ] {
            assert_eq!(with_places(places, &at_edge, &wanted), kept, "{places} places");
        }
    }

    #[test]
    fn equals_are_told_apart_by_address_and_not_by_seconds() {
        let wanted = [("1.0.0.2", Ban, "CAPI", 2 * DAY + 5), ("1.0.0.1", Ban, "CAPI", 2 * DAY + 3)];
        assert_eq!(with_places(1, &[], &wanted), "1.0.0.1");
    }

    #[test]
    fn address_of_two_origins_counts_for_the_nearer() {
        let wanted = [
            ("1.0.0.1", Ban, "CAPI", DAY),
            ("1.0.0.2", Ban, "CAPI", DAY),
            ("1.0.0.2", Ban, "crowdsec", 60),
        ];
        assert_eq!(with_places(1, &[], &wanted), "1.0.0.2");
    }

    #[test]
    fn kept_and_dropped_are_counted_by_origin() {
        let mut desired = Desired::default();
        for (address, origin) in
            [("1.0.0.1", "CAPI"), ("1.0.0.2", "CAPI"), ("2001:db8::1", "crowdsec")]
        {
            desired.put(address, Some(Ban), None, origin, DAY);
        }
        let observed = Observed::of(ObservedList::default(), ObservedList::default());
        let counts = Places::assign(&desired, &observed, 2).by_origin();
        let shown: Vec<_> =
            counts.iter().map(|c| (c.origin.as_str(), c.ipv4, c.ipv6, c.dropped)).collect();
        assert_eq!(shown, [("CAPI", 1, 0, 1), ("crowdsec", 0, 1, 0)]);
    }
}

//! Who gets a place when more is desired than fits.
//!
//! Cloudflare's lists hold 10,000 items together below Enterprise, and an operation that would exceed that
//! fails whole (facts cloudflare 1.6, 1.7); the community list alone may have 31,000.

use crate::address::Address;
use crate::decision::{Remediation, Source};
use crate::desired::{Candidate, Desired, OriginCounts};
use crate::observed::lists::Observed;

/// The desired addresses that have a place, and only those.
pub(super) struct Places<'a> {
    pub(super) desired: &'a Desired,
    pub(super) observed: &'a Observed,
    /// The first who goes without; `None` = there are places for all.
    pub(super) first_without: Option<Standing>,
    /// Some go without only until others have moved: in the end there is a place for all.
    pub(super) are_kept: bool,
    /// What does not wait on lists that are too full for that.
    pub(super) yields: Yields,
}

/// What goes before what is to take its place has come, where places are too few to wait for that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Yields {
    /// What stays for a range without a place, or until it is there, goes if that range comes after this: somebody
    /// more important would go without for it. `None` = all of it stays.
    pub(super) lets_go: Option<Standing>,
    /// What a range is to ban goes while the range still challenges it, if that range is this or comes after it: somebody
    /// would be put out otherwise. `None` = all of it stays.
    pub(super) weakly_covered: Option<Standing>,
    /// Of that also what was decided here.
    pub(super) own_weakly_covered: bool,
    /// What a range is to ban that was decided here goes before it; of what is banned, only what was not decided here.
    pub(super) before_own_bans: bool,
    /// Of what would go so, this and what comes after it stays all the same: there is room enough without it.
    /// `None` = all of it goes.
    pub(super) spares: Option<Claim>,
}

/// The order in which what is not desired lets go of its place, the first first: what only a range asks for, and at last
/// what was decided here; one before many, and a challenge before a ban.
pub(super) type Claim = ([bool; 3], Remediation, Address);

/// The order in which places are given, the smallest first; among equals the address decides.
///
/// Who is at the edge already goes before his equals: with the remaining time before that, every step of
/// the clock would swap thousands, and each swap is a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    source: Source,
    is_challenge: bool,
    is_new: bool,
    time: Time,
}

/// Where somebody stands among all who want a place, the smallest first.
pub(super) type Standing = (Rank, Address);

/// The remaining time in coarse steps, the longest first, so that LAPI's jitter does not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Time {
    Months,
    Weeks,
    Days,
    Day,
    Hours,
    Minutes,
}

impl Time {
    fn of(remaining_secs: u32) -> Self {
        const HOUR: u32 = 3_600;
        match remaining_secs / HOUR {
            720.. => Self::Months,
            168.. => Self::Weeks,
            24.. => Self::Days,
            4.. => Self::Day,
            1.. => Self::Hours,
            0 => Self::Minutes,
        }
    }
}

impl Rank {
    /// The same as a number, the smallest first; coarse, so that the clock changes few of them.
    pub(crate) fn order(self) -> u64 {
        self.time as u64
    }

    /// Whether they differ at most in being new and in time.
    pub(super) fn is_equal(&self, other: &Self) -> bool {
        (self.source, self.is_challenge) == (other.source, other.is_challenge)
    }

    /// A range of the community that stands for a challenge that was decided here is as important as that, and comes after
    /// the bans that were.
    pub(crate) fn new(candidate: &Candidate, is_at_edge: bool) -> Self {
        let is_own = candidate.source == Source::Own;
        Self {
            source: candidate.source,
            is_challenge: candidate.list != Remediation::Ban || is_own && !candidate.is_own_ban,
            is_new: !is_at_edge,
            time: Time::of(candidate.remaining_secs),
        }
    }
}

impl<'a> Places<'a> {
    /// Gives `places` to the desired addresses.
    pub(super) fn assign(desired: &'a Desired, observed: &'a Observed, places: u64) -> Self {
        let mut all = Self {
            desired,
            observed,
            first_without: None,
            are_kept: false,
            yields: Yields::default(),
        };
        let places = usize::try_from(places).unwrap_or(usize::MAX);
        if desired.count_on_lists() > places {
            let mut ranked: Vec<Standing> =
                desired.candidates().map(|candidate| all.order_of(&candidate)).collect();
            let (_, first_without, _) = ranked.select_nth_unstable(places);
            all.first_without = Some(*first_without);
        }
        all
    }

    /// Those with a place on this list, by address.
    pub(super) fn candidates(&self, list: Remediation) -> impl Iterator<Item = Candidate> {
        let all = self.desired.candidates().filter(move |candidate| candidate.list == list);
        all.filter(|candidate| self.has(candidate))
    }

    /// How many addresses have a place on this list.
    pub(super) fn count(&self, list: Remediation) -> u64 {
        match self.first_without {
            None => self.desired.count(list),
            Some(_) => self.candidates(list).count() as u64,
        }
    }

    /// The list that `address` has its place on.
    pub(super) fn on_list(&self, address: &Address) -> Option<Remediation> {
        if self.first_without.is_none() {
            return self.desired.on_list(address);
        }
        let candidate = self.desired.candidate(address)?;
        self.has(&candidate).then_some(candidate.list)
    }

    /// Whether somebody inside of this range goes without.
    pub(super) fn has_none_inside(&self, range: &Address) -> bool {
        let mut inside = self.desired.inside(range);
        self.first_without.is_some() && inside.any(|(inner, _)| self.on_list(&inner).is_none())
    }

    /// Whether somebody goes without who was decided here.
    pub(super) fn has_own_without(&self) -> bool {
        self.first_without.is_some_and(|(rank, _)| rank.source == Source::Own)
    }

    /// Who has a place and who has not, by origin.
    pub(super) fn by_origin(&self) -> Vec<OriginCounts> {
        let candidates = self.desired.candidates().map(|c| (c.origin, c.address));
        let has_place = |address: &Address| self.on_list(address).is_some();
        match self.first_without {
            None => self.desired.count_by_origin(candidates, |_| true),
            Some(_) => self.desired.count_by_origin(candidates, has_place),
        }
    }

    /// How far down the order places reach; the greatest = everybody has one.
    pub(super) fn reach(&self) -> (bool, Option<Standing>) {
        (self.first_without.is_none(), self.first_without)
    }

    /// Whether one of these desired ranges is important enough for what stays because of it.
    pub(super) fn may_keep(&self, mut ranges: impl Iterator<Item = Address>) -> bool {
        let lets_go = self.yields.lets_go;
        lets_go
            .is_none_or(|limit| ranges.any(|range| self.order(&range).is_some_and(|of| of < limit)))
    }

    /// Whether somebody important goes without if `address`, which is on `list`, waits for this desired range: somebody
    /// more important than that, or the range itself.
    pub(super) fn is_in_the_way(
        &self,
        list: Remediation,
        address: &Address,
        range: &Address,
    ) -> bool {
        let Yields { lets_go, before_own_bans, .. } = self.yields;
        let bans = |range| self.desired.candidate(range).is_some_and(|range| range.is_own_ban);
        let may_go = || match list {
            Remediation::Captcha => true,
            // Where the range challenges it already, it goes by itself if it has to.
            Remediation::Ban => !self.is_own(address) && !self.observed.has(range),
        };
        lets_go.is_some_and(|limit| self.order(range).is_some_and(|of| of > limit))
            || before_own_bans && may_go() && bans(range)
    }

    /// Whether `address`, which this desired range is to ban, goes while that still challenges it.
    pub(super) fn is_weakly_covered(&self, address: &Address, range: &Address) -> bool {
        let Yields { weakly_covered: from, own_weakly_covered, .. } = self.yields;
        let may_go = || own_weakly_covered || !self.is_own(address);
        from.is_some_and(|from| may_go() && self.order(range).is_some_and(|of| of >= from))
    }

    /// When this lets go of its place on `list`, of what goes before its range has come.
    pub(super) fn claim(&self, list: Remediation, address: &Address) -> Claim {
        let is_desired = self.desired.source(address).is_some();
        ([is_desired, self.is_own(address), !address.is_single()], list, *address)
    }

    /// Whether what is on `list` need not go before its range has come, although others would.
    pub(super) fn is_spared(&self, list: Remediation, address: &Address) -> bool {
        self.yields.spares.is_some_and(|from| self.claim(list, address) >= from)
    }

    /// Whether it was decided here, by itself, also where a range covers it.
    fn is_own(&self, address: &Address) -> bool {
        self.desired.source(address) == Some(Source::Own)
    }

    fn order(&self, address: &Address) -> Option<Standing> {
        Some(self.order_of(&self.desired.candidate(address)?))
    }

    pub(super) fn order_of(&self, candidate: &Candidate) -> Standing {
        (self.rank(candidate), candidate.address)
    }

    pub(super) fn has(&self, candidate: &Candidate) -> bool {
        self.first_without.is_none_or(|first| self.order_of(candidate) < first)
    }

    fn rank(&self, candidate: &Candidate) -> Rank {
        Rank::new(candidate, self.observed.has(&candidate.address))
    }
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
        let kept = Remediation::ALL.into_iter().flat_map(|list| places.candidates(list));
        kept.map(|candidate| candidate.address.to_string()).collect::<Vec<_>>().join(" ")
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

    #[test]
    fn range_that_stands_for_an_own_challenge_comes_with_those_and_after_own_bans() {
        let ranked = |list, origin, is_own_ban| {
            let mut desired = Desired::default();
            desired.put("1.0.0.0/24", Some(list), None, origin, DAY);
            let candidate = desired.candidates().next().unwrap();
            Rank::new(&Candidate { is_own_ban, ..candidate }, false)
        };
        let (ban, challenge) = (ranked(Ban, "cscli", true), ranked(Captcha, "cscli", false));
        assert_eq!(ranked(Ban, "cscli", false), challenge);
        assert!(ban < challenge && challenge < ranked(Ban, "lists", false));
        assert!(ranked(Ban, "CAPI", false) < ranked(Captcha, "CAPI", false));
    }

    #[test]
    fn ban_that_lasts_longer_comes_earlier_and_in_steps_that_the_clock_seldom_changes() {
        let order = |remaining_secs| {
            let mut desired = Desired::default();
            desired.put("1.0.0.1", Some(Ban), None, "CAPI", remaining_secs);
            Rank::new(&desired.candidates().next().unwrap(), false).order()
        };
        let hour = 3_600;
        let steps = [90 * DAY, 9 * DAY, 2 * DAY, 9 * hour, 2 * hour, 60].map(order);
        assert!(steps.is_sorted_by(|one, next| one < next), "{steps:?}");
        assert_eq!(order(2 * DAY), order(3 * DAY));
    }
}

//! Decisions -> what should be at the edge: for each canonical address one remediation, and how long.
//!
//! Knows nothing of what is there now. The two targets do not take the same values: a list takes
//! prefixes and may be missing for one remediation, a KV key is one address. Both views come from
//! one pass over the decisions. Who goes without when places are scarce is the plan's business.

mod origins;
mod skipped;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::address::Address;
use crate::address::map::AddressMap;
use crate::api::cloudflare::expression::{Asn, Country};
use crate::decision::{Decision, Remediation, Source};
use crate::log::clip;
use crate::settings::filter::Unwanted;
use crate::settings::{Lists, Ranges, Settings};
use crate::small::SmallMap;
use crate::state::Known;

pub use origins::OriginCounts;
pub(crate) use origins::OriginId;
use origins::Origins;
pub use skipped::Skipped;

/// What should be at the edge, and what was left out of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    wanted: AddressMap<Wanted>,
    stands_for: AddressMap<StandsFor>,
    prefixes: PrefixLens,
    origins: Origins,
    regions: BTreeMap<Region, RegionWanted>,
    skipped: Skipped,
}

/// A country or an autonomous system: what no list and no key can hold, only a rule's expression, or the one
/// value of KV that is read beside the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Region {
    /// A country.
    Country(Country),
    /// An autonomous system.
    As(Asn),
}

/// What the decisions on one region ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionWanted {
    /// The remediation.
    pub remediation: Remediation,
    /// Who decided it.
    pub source: Source,
    /// How long it still holds.
    pub remaining: Duration,
}

/// What the decisions on one address ask for. Kept small, seven bytes: there may be 150,000.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, packed)]
struct Wanted {
    list: Option<Remediation>,
    key: Option<Remediation>,
    origin: OriginId,
    remaining_secs: u32,
}

/// What gives a range its place on a list besides its own decisions: the nearest origin and the longest time of
/// what it covers. It ends with its own decisions all the same.
#[derive(Debug, Clone, Copy, PartialEq)]
struct StandsFor {
    origin: OriginId,
    remaining_secs: u32,
    /// Whether one of those is a ban that was decided here, and no challenge: as urgent as that the range is.
    own_ban: bool,
}

/// An address that should be on a list, and what decides whether it gets a place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) address: Address,
    pub(crate) list: Remediation,
    pub(crate) source: Source,
    pub(crate) origin: OriginId,
    pub(crate) remaining_secs: u32,
    /// Whether it is a ban that was decided here, or stands for one.
    pub(crate) is_own_ban: bool,
}

/// An address or a range that should be in KV.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyWanted {
    /// Which.
    pub address: Address,
    /// Its value.
    pub value: Remediation,
    /// How long it still holds.
    pub remaining: Duration,
    /// Whether it was decided here.
    pub own: bool,
}

/// How many different addresses are taken: all that the lists of the largest account hold (facts cloudflare
/// 1.7). So much is some 80 MB of memory; a body with more of them ends the run before it ends the host.
pub const ADDRESSES_MAX: usize = 500_000;

/// More decisions than are taken: what is desired is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "LAPI has decisions on more than 500,000 different addresses, which is more than any account can have at the edge; nothing was touched. Leave some out with origins_exclude or scenarios_exclude"
)]
pub struct TooMany;

/// What a decision is taken to last whose duration cannot be read: long enough that its key outlives
/// a few runs, each of which reads the decision again.
const REMAINING_UNKNOWN_SECS: u32 = 3_600;

impl Desired {
    /// Takes one decision, or the reason why it cannot be read, into account. The order in which
    /// decisions come does not matter: LAPI's is unspecified (facts crowdsec 1.2). After the last,
    /// [`settle`](Self::settle).
    pub fn add(&mut self, decision: Result<Decision<'_>, serde_json::Error>, settings: &Settings) {
        let decision = match decision {
            Ok(decision) => decision,
            Err(error) => return self.skipped.malformed.add(&error.to_string()),
        };
        let origin = decision.origin();
        match settings.filter.unwanted(&decision, &origin) {
            Some(Unwanted::Origin) => return self.skipped.origins.add(&origin.to_string()),
            Some(Unwanted::Scenario) => {
                let scenario = decision.scenario.0.as_deref().unwrap_or("");
                return self.skipped.scenarios.add(scenario);
            }
            None => {}
        }
        if let Some(region) = Self::region(&decision, settings) {
            return self.add_region(region, &decision, origin.source());
        }
        // Casing is not normalised by every LAPI (1.4 stores "ip", "IP" as posted; facts 1.1).
        let with_ranges = settings.ranges != Ranges::Ignored;
        let scope_is = |scope| decision.scope.eq_ignore_ascii_case(scope);
        let is_sent = scope_is("ip") || with_ranges && scope_is("range");
        if !is_sent {
            return self.skipped.scopes.add(&decision.scope);
        }
        let Some(remediation) = Remediation::from_type(&decision.kind) else {
            return self.skipped.types.add(&decision.kind);
        };
        let Ok(address) = decision.value.parse::<Address>() else {
            return self.skipped.not_addresses.add(&decision.value);
        };
        if let Some(rule) = settings.protected.rule(&address) {
            let scenario = decision.scenario.0.as_deref().unwrap_or("no scenario");
            let what = format!("{address} ({rule}; {})", clip(scenario, 48));
            return self.skipped.protected.add(&what);
        }
        let wanted = Wanted {
            list: None,
            key: None,
            origin: self.origins.id(&origin),
            remaining_secs: decision.remaining_secs().unwrap_or(REMAINING_UNKNOWN_SECS),
        };
        if let Some(lists) = &settings.targets.lists {
            self.add_to_lists(lists, remediation, address, &decision.value, wanted);
        }
        if settings.targets.kv.is_some() {
            if address.is_single() || with_ranges {
                self.want(address, Wanted { key: Some(remediation), ..wanted });
            } else {
                self.skipped.prefixes_in_kv.add(&decision.value);
            }
        }
    }

    /// What `decision` names, if it is a country or an autonomous system and those are sent.
    fn region(decision: &Decision<'_>, settings: &Settings) -> Option<Result<Region, ()>> {
        let scope_is = |scope| decision.scope.eq_ignore_ascii_case(scope);
        let has_place = settings.targets.rules.is_some() || settings.targets.kv.is_some();
        if has_place && settings.regions.countries && scope_is("country") {
            Some(decision.value.parse().map(Region::Country).map_err(drop))
        } else if has_place && settings.regions.asns && scope_is("as") {
            Some(decision.value.parse().map(Region::As).map_err(drop))
        } else {
            None
        }
    }

    fn add_region(&mut self, region: Result<Region, ()>, decision: &Decision<'_>, source: Source) {
        let Some(remediation) = Remediation::from_type(&decision.kind) else {
            return self.skipped.types.add(&decision.kind);
        };
        let Ok(region) = region else {
            return self.skipped.not_regions.add(&decision.value);
        };
        let remaining_secs = decision.remaining_secs().unwrap_or(REMAINING_UNKNOWN_SECS);
        let remaining = Duration::from_secs(remaining_secs.into());
        let more = RegionWanted { remediation, source, remaining };
        let wanted = self.regions.entry(region).or_insert(more);
        wanted.remediation = wanted.remediation.max(remediation);
        wanted.source = wanted.source.min(source);
        wanted.remaining = wanted.remaining.max(remaining);
    }

    fn add_to_lists(
        &mut self,
        lists: &Lists,
        remediation: Remediation,
        address: Address,
        value: &str,
        wanted: Wanted,
    ) {
        let Some(list) = lists.takes(remediation) else {
            return self.skipped.without_list.add(remediation.as_str());
        };
        let wanted = Wanted { list: Some(list), ..wanted };
        if address.fits_list() {
            self.want(address, wanted);
        } else if let Some(parts) = address.split_for_list() {
            parts.for_each(|part| self.want(part, wanted));
        } else {
            self.skipped.prefixes.add(value);
        }
    }

    /// The strongest remediation, the longest time and the nearest origin win, each by itself.
    fn join(origins: &Origins, wanted: &mut Wanted, more: &Wanted) {
        wanted.list = wanted.list.max(more.list);
        wanted.key = wanted.key.max(more.key);
        wanted.origin = origins.nearer(wanted.origin, more.origin);
        wanted.remaining_secs = wanted.remaining_secs.max(more.remaining_secs);
    }

    fn want(&mut self, address: Address, more: Wanted) {
        self.prefixes.add(&address);
        self.wanted.push(address, more);
    }

    fn merge(&mut self) {
        let Self { wanted, origins, .. } = self;
        wanted.settle(|wanted, more| Self::join(origins, wanted, more));
    }

    /// To be called after the last decision, before anything is asked: makes one of what several decisions ask
    /// for an address, and takes their places on the lists from addresses that a desired range covers, where
    /// the operator wants that. A range that is `set_aside`, because Cloudflare refuses it as a value, covers nobody.
    pub fn settle(
        &mut self,
        settings: &Settings,
        set_aside: &SmallMap<Address, u64>,
    ) -> Result<(), TooMany> {
        self.merge();
        self.within_bounds()?;
        if settings.ranges != (Ranges::Sent { skip_covered: true }) || self.prefixes.is_empty() {
            return Ok(());
        }
        let covered: Vec<(Address, Address)> = self
            .wanted
            .iter()
            .filter_map(|(address, wanted)| {
                let mut covering = self.covering(&address, wanted.list?);
                Some((address, covering.find(|range| !set_aside.contains_key(range))?))
            })
            .collect();
        for (address, range) in covered {
            let Some(wanted) = self.wanted.get_mut(&address) else { continue };
            let Wanted { list, origin, remaining_secs, .. } = *wanted;
            wanted.list = None;
            self.skipped.covered += 1;
            // What it stood for must not go without because the range came from farther away.
            let is_own = self.origins.source(origin) == Source::Own;
            let own_ban = is_own && list == Some(Remediation::Ban);
            self.stands_for.push(range, StandsFor { origin, remaining_secs, own_ban });
        }
        let Self { stands_for, origins, .. } = self;
        stands_for.settle(|of, more| {
            of.origin = origins.nearer(of.origin, more.origin);
            of.remaining_secs = of.remaining_secs.max(more.remaining_secs);
            of.own_ban |= more.own_ban;
        });
        Ok(())
    }

    /// The other desired ranges that contain `address` and are at least as strong, the widest first.
    pub fn covering(&self, address: &Address, list: Remediation) -> impl Iterator<Item = Address> {
        let ranges = self.prefixes.containing(address);
        ranges.filter(move |range| self.wanted.get(range).is_some_and(|w| w.list >= Some(list)))
    }

    /// The other desired ranges that contain `address`, each with its list, the widest first.
    pub fn ranges_around(&self, address: &Address) -> impl Iterator<Item = (Address, Remediation)> {
        let ranges = self.prefixes.containing(address);
        ranges.filter_map(|range| Some((range, self.wanted.get(&range)?.list?)))
    }

    /// What should be on a list and is inside of `range`, in order, without the range itself.
    pub fn inside(&self, range: &Address) -> impl Iterator<Item = (Address, Remediation)> {
        let range = *range;
        let inside = self.wanted.after(&range).take_while(move |(inner, _)| range.contains(inner));
        inside.filter_map(|(inner, wanted)| Some((inner, wanted.list?)))
    }

    /// The other ranges that should be in KV and contain `address`, each with its value.
    pub fn kv_ranges_around(
        &self,
        address: &Address,
    ) -> impl Iterator<Item = (Address, Remediation)> {
        let ranges = self.prefixes.containing(address);
        ranges.filter_map(|range| Some((range, self.wanted.get(&range)?.key?)))
    }

    /// The list that `address` should be on.
    pub fn on_list(&self, address: &Address) -> Option<Remediation> {
        self.wanted.get(address)?.list
    }

    /// How near the decisions are that ask for `address` itself, also where a range covers it; `None` = there are none.
    pub fn source(&self, address: &Address) -> Option<Source> {
        Some(self.origins.source(self.wanted.get(address)?.origin))
    }

    /// The addresses that should be on this list, in order.
    pub fn addresses(&self, list: Remediation) -> impl Iterator<Item = Address> {
        self.candidates().filter(move |wanted| wanted.list == list).map(|wanted| wanted.address)
    }

    /// The addresses that should be on a list, in order.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = Candidate> {
        self.wanted.iter().filter_map(|(address, wanted)| self.as_candidate(address, wanted))
    }

    /// The same of one address.
    pub(crate) fn candidate(&self, address: &Address) -> Option<Candidate> {
        self.as_candidate(*address, self.wanted.get(address)?)
    }

    fn as_candidate(&self, address: Address, wanted: &Wanted) -> Option<Candidate> {
        let list = wanted.list?;
        let covers = if address.is_single() { None } else { self.stands_for.get(&address) };
        let (origin, remaining_secs) = match covers {
            None => (wanted.origin, wanted.remaining_secs),
            Some(covers) => (
                self.origins.nearer(wanted.origin, covers.origin),
                wanted.remaining_secs.max(covers.remaining_secs),
            ),
        };
        let is_own = self.origins.source(wanted.origin) == Source::Own;
        let is_own_ban =
            list == Remediation::Ban && (is_own || covers.is_some_and(|covers| covers.own_ban));
        let source = self.origins.source(origin);
        Some(Candidate { address, list, source, origin, remaining_secs, is_own_ban })
    }

    /// How many addresses should be on this list.
    pub fn count(&self, list: Remediation) -> u64 {
        self.wanted.values().filter(|wanted| wanted.list == Some(list)).count() as u64
    }

    /// How many addresses should be on a list.
    pub(crate) fn count_on_lists(&self) -> usize {
        self.wanted.values().filter(|wanted| wanted.list.is_some()).count()
    }

    /// The addresses that should have a KV key, in order.
    pub fn keys(&self) -> impl Iterator<Item = KeyWanted> {
        self.in_kv().filter(|wanted| wanted.address.is_single())
    }

    /// The ranges that should be in KV, in order.
    pub fn ranges(&self) -> impl Iterator<Item = KeyWanted> {
        self.in_kv().filter(|wanted| !wanted.address.is_single())
    }

    fn in_kv(&self) -> impl Iterator<Item = KeyWanted> {
        self.wanted.iter().filter_map(|(address, wanted)| {
            let remaining = Duration::from_secs(wanted.remaining_secs.into());
            let own = self.origins.source(wanted.origin) == Source::Own;
            Some(KeyWanted { address, value: wanted.key?, remaining, own })
        })
    }

    /// How many addresses and ranges should be in KV with this value.
    pub fn count_in_kv(&self, value: Remediation) -> u64 {
        self.in_kv().filter(|wanted| wanted.value == value).count() as u64
    }

    /// What is to be remembered of all that is desired, by address: whether it was decided here, and when
    /// it ends. `now` is in Unix seconds.
    pub fn known(&self, now: u64) -> impl Iterator<Item = (Address, Known)> {
        self.wanted.iter().map(move |(address, wanted)| {
            let own = self.origins.source(wanted.origin) == Source::Own;
            let known = Known::new(own, now.saturating_add(wanted.remaining_secs.into()));
            // What a range covers has no place on a list, and may have had one.
            let on_list = wanted.list.is_some()
                || wanted.key.is_none()
                || self.ranges_around(&address).next().is_some();
            (address, Known { on_list, ..known })
        })
    }

    /// Fails as soon as there are far more than [`ADDRESSES_MAX`], so that memory ends the run before it ends
    /// the host; to be asked from time to time while decisions are added.
    pub fn bounded(&mut self) -> Result<(), TooMany> {
        // There may be several decisions on each address, and they are not brought together for each few more.
        if self.wanted.len() > ADDRESSES_MAX / 4 * 5 {
            self.merge();
            return self.within_bounds();
        }
        Ok(())
    }

    fn within_bounds(&self) -> Result<(), TooMany> {
        if self.wanted.len() > ADDRESSES_MAX { Err(TooMany) } else { Ok(()) }
    }

    /// The countries and autonomous systems that are asked for.
    pub fn regions(&self) -> &BTreeMap<Region, RegionWanted> {
        &self.regions
    }

    /// Whether nothing should be in KV.
    pub fn is_without_keys(&self) -> bool {
        self.in_kv().next().is_none()
    }

    /// Whether `address` should have a KV key.
    pub fn has_key(&self, address: &Address) -> bool {
        self.wanted.get(address).is_some_and(|wanted| wanted.key.is_some())
    }

    /// Counts `candidates` by origin, in the order of the origins' names. `has_place` says who of them
    /// has one.
    pub(crate) fn count_by_origin(
        &self,
        candidates: impl Iterator<Item = (OriginId, Address)>,
        has_place: impl Fn(&Address) -> bool,
    ) -> Vec<OriginCounts> {
        let mut by_id = vec![[0; 3]; self.origins.ids().count()];
        for (origin, address) in candidates {
            let of = match (has_place(&address), address.is_ipv4()) {
                (true, true) => 0,
                (true, false) => 1,
                (false, _) => 2,
            };
            by_id[usize::from(origin)][of] += 1;
        }
        // In a set by name: there are a few dozen at most.
        let named = self.origins.ids().zip(by_id).filter(|(_, counts)| *counts != [0; 3]);
        let mut by_name: SmallMap<&str, [u64; 3]> = SmallMap::new();
        for (id, counts) in named {
            let sum = by_name.or_default(self.origins.name(id));
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let counts = by_name.into_iter().map(|(origin, [ipv4, ipv6, dropped])| OriginCounts {
            origin: origin.to_owned(),
            ipv4,
            ipv6,
            dropped,
        });
        counts.collect()
    }

    /// What should be in KV, by origin.
    pub(crate) fn keys_by_origin(&self) -> Vec<OriginCounts> {
        let in_kv = self.wanted.iter().filter(|(_, wanted)| wanted.key.is_some());
        self.count_by_origin(in_kv.map(|(address, wanted)| (wanted.origin, address)), |_| true)
    }

    /// What was left out.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }
}

/// Which prefix lengths there are, so that only those are looked for around an address.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct PrefixLens {
    v4: u128,
    v6: u128,
}

impl PrefixLens {
    fn add(&mut self, address: &Address) {
        if !address.is_single() {
            let lens = if address.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
            *lens |= 1 << address.prefix_len();
        }
    }

    fn is_empty(&self) -> bool {
        self.v4 | self.v6 == 0
    }

    /// The prefixes of these lengths that contain `address` and are wider, the widest first.
    fn containing(self, address: &Address) -> impl Iterator<Item = Address> {
        let address = *address;
        let lens = if address.is_ipv4() { self.v4 } else { self.v6 };
        let shorter = (0..address.prefix_len()).filter(move |len| lens >> len & 1 == 1);
        shorter.map(move |len| address.within(len))
    }
}

#[cfg(test)]
impl Desired {
    /// A desired state of the lists from addresses, for the tests of later phases.
    pub(crate) fn of(ban: &[&str], captcha: &[&str]) -> Self {
        let mut desired = Self::default();
        for (remediation, texts) in [(Remediation::Captcha, captcha), (Remediation::Ban, ban)] {
            texts
                .iter()
                .for_each(|text| desired.put(text, Some(remediation), None, "cscli", 3_600));
        }
        desired
    }

    /// A desired state of the KV keys, for the tests of later phases.
    pub(crate) fn of_keys(keys: &[(&str, Remediation, u32)]) -> Self {
        let mut desired = Self::default();
        keys.iter()
            .for_each(|(text, key, secs)| desired.put(text, None, Some(*key), "cscli", *secs));
        desired
    }

    /// Wants one more country, decided here.
    pub(crate) fn put_country(&mut self, letters: &str, remaining_secs: u64) {
        self.put_country_by(Source::Own, letters, remaining_secs);
    }

    /// Wants one more country.
    pub(crate) fn put_country_by(&mut self, source: Source, letters: &str, remaining_secs: u64) {
        let (remediation, remaining) = (Remediation::Ban, Duration::from_secs(remaining_secs));
        let wanted = RegionWanted { remediation, source, remaining };
        self.regions.insert(Region::Country(letters.parse().unwrap()), wanted);
    }

    /// Wants one more address.
    pub(crate) fn put(
        &mut self,
        address: &str,
        list: Option<Remediation>,
        key: Option<Remediation>,
        origin: &str,
        remaining_secs: u32,
    ) {
        let origin = self.origins.id(&crate::decision::Origin::new(origin, ""));
        self.want(address.parse().unwrap(), Wanted { list, key, origin, remaining_secs });
        self.merge();
    }
}

#[cfg(test)]
mod tests;

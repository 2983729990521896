//! The origins that a run met, each by a small number, so that 150,000 addresses can know theirs.

use serde::Serialize;

use crate::decision::{Origin, Source};
use crate::log::clip;

/// How many are told apart. A watcher may post any text as its origin; what comes after so many
/// counts as `other`, so that neither memory nor metrics grow with it.
const ORIGINS_MAX: usize = 32;

/// The desired addresses of one origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OriginCounts {
    /// The origin, as CrowdSec's metrics name it.
    pub origin: String,
    /// IPv4 addresses and prefixes that have a place.
    pub ipv4: u64,
    /// IPv6 addresses and prefixes that have a place.
    pub ipv6: u64,
    /// Addresses that go without, because there are not enough places.
    pub dropped: u64,
}

impl OriginCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.ipv4 + self.ipv6 + self.dropped
    }
}

/// The number of an origin in [`Origins`].
pub(crate) type OriginId = u8;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Origins {
    known: Vec<Known>,
}

#[derive(Debug, Clone, PartialEq)]
struct Known {
    source: Source,
    /// As it came, to find it again; `shown` is fit for a log.
    name: String,
    shown: String,
}

impl Origins {
    /// The number of `origin`, a new one if need be.
    pub(crate) fn id(&mut self, origin: &Origin<'_>) -> OriginId {
        let found = self.known.iter().position(|known| origin.is_named(&known.name));
        let at = found.unwrap_or_else(|| match self.known.len() {
            ..ORIGINS_MAX => self.push(origin.source(), origin.to_string()),
            _ => {
                let same = |known: &Known| known.source == origin.source() && known.name == OTHER;
                let other = self.known.iter().position(same);
                other.unwrap_or_else(|| self.push(origin.source(), OTHER.to_owned()))
            }
        });
        at as OriginId
    }

    /// How near the origin is.
    pub(crate) fn source(&self, id: OriginId) -> Source {
        self.known[usize::from(id)].source
    }

    /// How logs and metrics name it.
    pub(crate) fn name(&self, id: OriginId) -> &str {
        &self.known[usize::from(id)].shown
    }

    /// All, by number.
    pub(crate) fn ids(&self) -> impl Iterator<Item = OriginId> {
        (0..self.known.len()).map(|at| at as OriginId)
    }

    /// The nearer of two, and of equals the first by name: the order in which decisions come must
    /// not matter.
    pub(crate) fn nearer(&self, one: OriginId, other: OriginId) -> OriginId {
        let rank = |id: OriginId| (self.source(id), self.name(id));
        if rank(other) < rank(one) { other } else { one }
    }

    fn push(&mut self, source: Source, name: String) -> usize {
        self.known.push(Known { source, shown: clip(&name, 64), name });
        self.known.len() - 1
    }
}

const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_origin_has_the_same_number_and_the_nearer_of_two_wins_in_any_order() {
        let mut origins = Origins::default();
        let capi = origins.id(&Origin::new("CAPI", "http:scan"));
        let list = origins.id(&Origin::new("lists", "tor"));
        let own = origins.id(&Origin::new("cscli", ""));
        assert_eq!(origins.id(&Origin::new("CAPI", "ssh:bf")), capi);
        assert_eq!(origins.id(&Origin::new("lists:tor", "")), list);
        assert_ne!(origins.id(&Origin::new("lists", "firehol")), list);
        for (one, other, nearer) in [(capi, list, list), (list, own, own), (own, own, own)] {
            assert_eq!(origins.nearer(one, other), nearer);
            assert_eq!(origins.nearer(other, one), nearer);
        }
    }

    #[test]
    fn endless_origins_are_told_apart_up_to_a_number_and_keep_how_near_they_are() {
        let mut origins = Origins::default();
        for n in 0..500 {
            origins.id(&Origin::new(&format!("tool-{n}"), ""));
            origins.id(&Origin::new("lists", &format!("list-{n}")));
        }
        assert_eq!(origins.ids().count(), ORIGINS_MAX + 2);
        let late = origins.id(&Origin::new("lists", "list-499"));
        assert_eq!((origins.source(late), origins.name(late)), (Source::Subscribed, "other"));
    }
}

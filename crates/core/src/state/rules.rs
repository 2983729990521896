//! What is remembered of the rules of each zone: when they may be changed again, and which text Cloudflare
//! refused.
//!
//! What stands in the rules is not remembered: the expression that is read is the state.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Record;

/// The first wait after a zone's ruleset was busy or throttled; it doubles up to the last. The limits of the
/// Rulesets API are not documented (facts cloudflare-rules 4.2).
const BACKOFF_SECS: u64 = 120;
const BACKOFF_SECS_MAX: u64 = 3_600;
/// How long a text that was refused is not sent again, and regions are left out after a refusal.
const REFUSED_SECS: u64 = 3_600;
const REGIONS_SECS: u64 = 24 * 3_600;

/// See the module; by the zone's id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RulesHistory {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    zones: BTreeMap<String, Zone>,
}

/// Times are Unix seconds; 0 = never.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Zone {
    /// 409 and 429 in a row.
    busy: u32,
    busy_at: u64,
    /// A checksum of each text that was refused, and when.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    refused: BTreeMap<String, u64>,
    /// When a text with countries or autonomous systems was refused.
    regions_refused_at: u64,
}

/// Texts that are remembered for a zone: two rules, and what came before.
const REFUSED_MAX: usize = 8;

impl Record for RulesHistory {
    const KEY: &'static str = "rules";
    const VERSION: u32 = 1;

    fn settle(&mut self, now: u64) {
        for zone in self.zones.values_mut() {
            zone.busy_at = zone.busy_at.min(now);
            zone.regions_refused_at = zone.regions_refused_at.min(now);
            zone.refused.values_mut().for_each(|at| *at = (*at).min(now));
            zone.refused.retain(|_, at| now - *at < REFUSED_SECS);
        }
        self.zones.retain(|_, zone| *zone != Zone::default());
    }
}

impl RulesHistory {
    /// How long the zone's rules are left alone; `None` = they may be changed.
    pub fn wait(&self, zone: &str, now: u64) -> Option<Duration> {
        let zone = self.zones.get(zone).filter(|zone| zone.busy > 0)?;
        let doubled = BACKOFF_SECS.saturating_mul(1 << (zone.busy - 1).min(16));
        let wait = doubled.min(BACKOFF_SECS_MAX);
        let left = wait.saturating_sub(now.saturating_sub(zone.busy_at.min(now)));
        (left > 0).then(|| Duration::from_secs(left))
    }

    /// Whether countries and autonomous systems are left out of the zone's rules for now.
    pub fn leaves_regions_out(&self, zone: &str, now: u64) -> bool {
        self.zones.get(zone).is_some_and(|zone| {
            zone.regions_refused_at > 0
                && now.saturating_sub(zone.regions_refused_at) < REGIONS_SECS
        })
    }

    /// Whether Cloudflare refused this text of the zone's a short while ago.
    pub fn is_refused(&self, zone: &str, text: &str) -> bool {
        self.zones.get(zone).is_some_and(|zone| zone.refused.contains_key(&checksum(text)))
    }

    /// 409 or 429: somebody else writes, or we write too often.
    pub(crate) fn busy(&mut self, zone: &str, now: u64) {
        let zone = self.zones.entry(zone.to_owned()).or_default();
        zone.busy = zone.busy.saturating_add(1);
        zone.busy_at = now;
    }

    /// Cloudflare refuses the text.
    pub(crate) fn refused(&mut self, zone: &str, text: &str, has_regions: bool, now: u64) {
        let zone = self.zones.entry(zone.to_owned()).or_default();
        if zone.refused.len() >= REFUSED_MAX {
            zone.refused.pop_first();
        }
        zone.refused.insert(checksum(text), now);
        if has_regions {
            zone.regions_refused_at = now;
        }
    }

    /// A change was made.
    pub(crate) fn changed(&mut self, zone: &str) {
        if let Some(zone) = self.zones.get_mut(zone) {
            zone.busy = 0;
            zone.busy_at = 0;
        }
    }
}

/// FNV-1a, 64 bits, as 16 hexadecimal digits.
fn checksum(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_793_000_000;
    const ZONE: &str = "0123456789abcdef0123456789abcdef";

    fn wait(history: &RulesHistory, now: u64) -> Option<u64> {
        history.wait(ZONE, now).map(|left| left.as_secs())
    }

    #[test]
    fn busy_zone_waits_longer_each_time_alone_and_up_to_an_hour() {
        let mut history = RulesHistory::default();
        for (at, left) in [
            (0, 120),
            (200, 240),
            (500, 480),
            (1_000, 960),
            (2_000, 1_920),
            (4_000, 3_600),
            (8_000, 3_600),
        ] {
            history.busy(ZONE, NOW + at);
            assert_eq!(wait(&history, NOW + at), Some(left));
            assert_eq!(wait(&history, NOW + at + left), None);
        }
        assert_eq!(history.wait("another", NOW), None);
        history.changed(ZONE);
        assert_eq!(wait(&history, NOW + 8_000), None);
    }

    #[test]
    fn clock_that_was_put_back_makes_no_wait_longer_than_its_length() {
        let mut history = RulesHistory::default();
        history.busy(ZONE, NOW);
        history.settle(NOW - 86_400);
        assert_eq!(wait(&history, NOW - 86_400), Some(120));
        assert_eq!(wait(&history, NOW - 86_400 + 120), None);
    }

    #[test]
    fn refused_text_is_not_sent_again_for_an_hour_and_regions_not_for_a_day() {
        let mut history = RulesHistory::default();
        history.refused(ZONE, "a", false, NOW);
        assert!(history.is_refused(ZONE, "a") && !history.is_refused(ZONE, "b"));
        assert!(!history.leaves_regions_out(ZONE, NOW));
        history.refused(ZONE, "b", true, NOW);
        assert!(history.leaves_regions_out(ZONE, NOW + 86_399));
        assert!(!history.leaves_regions_out(ZONE, NOW + 86_400));
        history.settle(NOW + 3_600);
        assert!(!history.is_refused(ZONE, "a"));
    }
}

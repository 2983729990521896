//! What is remembered of the rules of each zone: when they may be changed again, and which text Cloudflare
//! refused; and since when the lists have been read with the content that they have.
//!
//! What stands in the rules is not remembered: the expression that is read is the state.
//!
//! | what happened | what follows, for that zone alone |
//! |---|---|
//! | 409, 429 | two minutes, doubled up to an hour |
//! | 401, 403 | an hour, or until the token is another |
//! | 400 | the same text waits for an hour; another one goes at once, and from the second refusal in a row on after four minutes, doubled up to an hour |
//! | 400 of a text with countries or autonomous systems | for a day, those that are not in force yet are left out; after one more, all of them; after one of a text without any, none: it was not because of them |
//! | a change was made | nothing of the above |

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Record;
use crate::small::SmallMap;

/// The first wait after a zone's ruleset was busy or throttled; it doubles up to the last. The limits of the
/// Rulesets API are not documented (facts cloudflare-rules 4.2).
const BACKOFF_SECS: u64 = 120;
const BACKOFF_SECS_MAX: u64 = 3_600;
/// How long a token that may not is not tried again.
const DENIED_SECS: u64 = 3_600;
/// How long a text that was refused is not sent again, and regions are left out after a refusal.
const REFUSED_SECS: u64 = 3_600;
const REGIONS_SECS: u64 = 24 * 3_600;
/// How long it may take until a list's new content is in force everywhere (facts cloudflare-rules 4.3).
const SETTLED_SECS: u64 = 120;

/// See the module; by the zone's id. Times are Unix seconds; 0 = never.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RulesHistory {
    #[serde(skip_serializing_if = "SmallMap::is_empty")]
    zones: SmallMap<String, Zone>,
    /// The content of the lists as the last run read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Content>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Zone {
    #[serde(skip_serializing_if = "Option::is_none")]
    setback: Option<Setback>,
    /// A checksum of each text that was refused, and when.
    #[serde(skip_serializing_if = "SmallMap::is_empty")]
    refused: SmallMap<String, u64>,
    /// When a text with countries or autonomous systems was last refused.
    regions_refused_at: u64,
    /// How often, in a row.
    regions_refused: u32,
}

/// Which countries and autonomous systems are in the next text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegionsTaken {
    /// All that are desired.
    All,
    /// Those of them that are in force: Cloudflare has taken them.
    InForce,
    /// None.
    None,
}

/// What the last change met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Setback {
    kind: Cause,
    /// In a row.
    times: u32,
    at: u64,
    /// A checksum of the token, so that another one is tried at once. Too short to tell the token.
    token: u32,
}

/// Why a zone's rules are left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Somebody else writes, or we write too often: 409, 429.
    Busy,
    /// The token may not: 401, 403.
    Denied,
    /// Cloudflare refuses one text after the other: 400.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    digest: u64,
    /// When it was first read.
    since: u64,
}

/// Texts that are remembered for a zone: two rules, and what came before.
const REFUSED_MAX: usize = 8;

impl Record for RulesHistory {
    const KEY: &'static str = "rules";
    const VERSION: u32 = 1;

    fn settle(&mut self, now: u64) {
        for zone in self.zones.values_mut() {
            if let Some(setback) = &mut zone.setback {
                setback.at = setback.at.min(now);
            }
            zone.regions_refused_at = zone.regions_refused_at.min(now);
            zone.refused.values_mut().for_each(|at| *at = (*at).min(now));
            zone.refused.retain(|_, at| now - *at < REFUSED_SECS);
        }
        self.zones.retain(|_, zone| *zone != Zone::default());
        if let Some(content) = &mut self.content {
            content.since = content.since.min(now);
        }
    }
}

impl RulesHistory {
    /// How long the zone's rules are left alone, and why; `None` = they may be changed. `token` is a checksum
    /// of the token.
    pub fn wait(&self, zone: &str, token: u32, now: u64) -> Option<(Duration, Cause)> {
        let Setback { kind, times, at, token: with } = self.zones.get(zone)?.setback.as_ref()?;
        let doubled =
            BACKOFF_SECS.saturating_mul(1 << times.saturating_sub(1).min(16)).min(BACKOFF_SECS_MAX);
        let wait = match kind {
            Cause::Busy => doubled,
            Cause::Denied if *with == token => DENIED_SECS,
            Cause::Refused if *times > 1 => doubled,
            Cause::Denied | Cause::Refused => 0,
        };
        let left = wait.saturating_sub(now.saturating_sub(*at));
        (left > 0).then(|| (Duration::from_secs(left), *kind))
    }

    /// Which countries and autonomous systems may be in the zone's texts for now.
    pub fn regions_taken(&self, zone: &str, now: u64) -> RegionsTaken {
        let refused = self.regions_left(zone, now).and_then(|_| self.zones.get(zone));
        match refused.map(|zone| zone.regions_refused) {
            None => RegionsTaken::All,
            Some(0 | 1) => RegionsTaken::InForce,
            Some(_) => RegionsTaken::None,
        }
    }

    /// For how long that still holds; `None` = all are taken.
    pub fn regions_left(&self, zone: &str, now: u64) -> Option<Duration> {
        let at = self.zones.get(zone)?.regions_refused_at;
        let left = REGIONS_SECS.saturating_sub(now.saturating_sub(at));
        (at > 0 && left > 0).then(|| Duration::from_secs(left))
    }

    /// How many texts of the zone's Cloudflare refused a short while ago.
    pub fn refused_texts(&self, zone: &str, now: u64) -> u64 {
        let refused = self.zones.get(zone).into_iter().flat_map(|zone| zone.refused.values());
        refused.filter(|at| now.saturating_sub(**at) < REFUSED_SECS).count() as u64
    }

    /// Whether Cloudflare refused this text of the zone's a short while ago.
    pub fn is_refused(&self, zone: &str, text: &str, now: u64) -> bool {
        let refused = self.zones.get(zone).and_then(|zone| zone.refused.get(&checksum(text)));
        refused.is_some_and(|at| now.saturating_sub(*at) < REFUSED_SECS)
    }

    /// Whether the lists have had this content for so long that it is in force at the edge, whoever wrote it
    /// and however: a write may have been lost and have had its effect, or be somebody else's.
    pub fn is_settled(&self, digest: u64, now: u64) -> bool {
        self.content.as_ref().is_some_and(|content| {
            content.digest == digest && now.saturating_sub(content.since) >= SETTLED_SECS
        })
    }

    /// The lists were read with this content.
    pub(crate) fn read_content(&mut self, digest: u64, now: u64) {
        if self.content.as_ref().is_none_or(|content| content.digest != digest) {
            self.content = Some(Content { digest, since: now });
        }
    }

    /// 409 or 429: somebody else writes, or we write too often.
    pub(crate) fn busy(&mut self, zone: &str, token: u32, now: u64) {
        self.set_back(zone, Cause::Busy, token, now);
    }

    /// 401 or 403.
    pub(crate) fn denied(&mut self, zone: &str, token: u32, now: u64) {
        self.set_back(zone, Cause::Denied, token, now);
    }

    /// Cloudflare refuses the text. If it is one without regions, it was not because of them.
    pub(crate) fn refused(
        &mut self,
        zone: &str,
        (text, has_regions): (&str, bool),
        token: u32,
        now: u64,
    ) {
        self.set_back(zone, Cause::Refused, token, now);
        let zone = self.zones.or_default(zone.to_owned());
        if zone.refused.len() >= REFUSED_MAX {
            let oldest = zone.refused.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(text, _)| text.clone()) {
                zone.refused.remove(&oldest);
            }
        }
        zone.refused.insert(checksum(text), now);
        let is_over = now.saturating_sub(zone.regions_refused_at) >= REGIONS_SECS;
        let before = if is_over { 0 } else { zone.regions_refused };
        (zone.regions_refused_at, zone.regions_refused) =
            if has_regions { (now, before.saturating_add(1)) } else { (0, 0) };
    }

    fn set_back(&mut self, zone: &str, kind: Cause, token: u32, now: u64) {
        let zone = self.zones.or_default(zone.to_owned());
        let before = zone.setback.take().filter(|before| before.kind == kind);
        let times = before.map_or(1, |before| before.times.saturating_add(1));
        zone.setback = Some(Setback { kind, times, at: now, token });
    }

    /// A change was made.
    pub(crate) fn changed(&mut self, zone: &str) {
        if let Some(zone) = self.zones.get_mut(zone) {
            zone.setback = None;
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
        history.wait(ZONE, 1, now).map(|(left, _)| left.as_secs())
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
            history.busy(ZONE, 1, NOW + at);
            assert_eq!(wait(&history, NOW + at), Some(left));
            assert_eq!(wait(&history, NOW + at + left), None);
        }
        assert_eq!(history.wait("another", 1, NOW), None);
        history.changed(ZONE);
        assert_eq!(wait(&history, NOW + 8_000), None);
    }

    #[test]
    fn clock_that_was_put_back_makes_no_wait_longer_than_its_length() {
        let mut history = RulesHistory::default();
        history.busy(ZONE, 1, NOW);
        history.settle(NOW - 86_400);
        assert_eq!(wait(&history, NOW - 86_400), Some(120));
        assert_eq!(wait(&history, NOW - 86_400 + 120), None);
    }

    #[test]
    fn token_that_may_not_is_tried_again_after_an_hour_and_another_at_once() {
        let mut history = RulesHistory::default();
        history.denied(ZONE, 1, NOW);
        assert_eq!(history.wait(ZONE, 1, NOW), Some((Duration::from_secs(3_600), Cause::Denied)));
        assert_eq!(history.wait(ZONE, 2, NOW), None);
        assert_eq!(history.wait(ZONE, 1, NOW + 3_600), None);
    }

    #[test]
    fn refused_text_is_not_sent_again_for_an_hour_and_others_ever_less_often() {
        let mut history = RulesHistory::default();
        history.refused(ZONE, ("a", false), 1, NOW);
        let is_refused = |history: &RulesHistory, text| history.is_refused(ZONE, text, NOW + 3_599);
        assert!(is_refused(&history, "a") && !is_refused(&history, "b"));
        assert!(!history.is_refused(ZONE, "a", NOW + 3_600));
        let texts = |at| history.refused_texts(ZONE, NOW + at);
        assert_eq!((texts(3_599), texts(3_600), history.refused_texts("another", NOW)), (1, 0, 0));
        assert_eq!(wait(&history, NOW), None, "another text goes at once");
        let mut later = history.clone();
        later.changed(ZONE);
        later.settle(NOW + 3_599);
        assert!(is_refused(&later, "a"));
        later.settle(NOW + 3_600);
        assert_eq!(later, RulesHistory::default(), "nothing of it is stored any longer");
        for (n, left) in [(0, 240), (1, 480), (2, 960), (3, 1_920), (4, 3_600), (5, 3_600)] {
            history.refused(ZONE, (&n.to_string(), false), 1, NOW + n);
            assert_eq!(wait(&history, NOW + n), Some(left));
        }
        (6..20).for_each(|n| history.refused(ZONE, (&n.to_string(), false), 1, NOW + n));
        assert!(
            !is_refused(&history, "a") && is_refused(&history, "19"),
            "the oldest is forgotten"
        );
        history.changed(ZONE);
        assert_eq!(wait(&history, NOW + 20), None);
        history.settle(NOW + 4_000);
        assert_eq!(history, RulesHistory::default());
    }

    #[test]
    fn regions_refused_are_left_out_for_a_day_if_it_was_because_of_them() {
        let mut history = RulesHistory::default();
        let taken = |history: &RulesHistory, at| history.regions_taken(ZONE, NOW + at);
        assert_eq!(taken(&history, 0), RegionsTaken::All);
        history.refused(ZONE, ("a", true), 1, NOW);
        assert_eq!(taken(&history, 86_399), RegionsTaken::InForce);
        let left = |at| history.regions_left(ZONE, NOW + at).map(|left| left.as_secs());
        assert_eq!((left(0), left(86_399), left(86_400)), (Some(86_400), Some(1), None));
        assert_eq!(taken(&history, 86_400), RegionsTaken::All);
        history.refused(ZONE, ("b", true), 1, NOW + 120);
        assert_eq!(taken(&history, 121), RegionsTaken::None);
        let mut later = history.clone();
        later.refused(ZONE, ("c", true), 1, NOW + 90_000);
        assert_eq!(taken(&later, 90_000), RegionsTaken::InForce, "a day later it begins anew");
        history.refused(ZONE, ("d", false), 1, NOW + 240);
        assert_eq!(taken(&history, 241), RegionsTaken::All, "the text without them is none");
    }

    #[test]
    fn regions_that_were_never_refused_are_taken_also_by_a_clock_that_begins_in_1970() {
        let mut history = RulesHistory::default();
        history.busy(ZONE, 1, 100);
        assert_eq!(history.regions_left(ZONE, 100), None);
        assert_eq!(history.regions_taken(ZONE, 100), RegionsTaken::All);
    }

    #[test]
    fn content_settles_two_minutes_after_it_was_first_read() {
        let mut history = RulesHistory::default();
        assert!(!history.is_settled(7, NOW), "nothing is known");
        for at in [0, 60, 120] {
            history.read_content(7, NOW + at);
            assert_eq!(history.is_settled(7, NOW + at), at == 120);
        }
        assert!(!history.is_settled(8, NOW + 240), "another one");
        history.read_content(8, NOW + 240);
        history.read_content(7, NOW + 300);
        assert!(!history.is_settled(7, NOW + 400), "it comes back, and begins anew");
        history.settle(NOW);
        assert!(history.is_settled(7, NOW + 120), "a clock that was put back");
    }
}

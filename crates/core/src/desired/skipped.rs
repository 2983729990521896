//! What was left out of the desired state, by reason.

use serde::Serialize;

use crate::skipped::{Left, Words};

/// Decisions that ask nothing of the edge, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Objects that are no decision: a key is missing or of another type.
    pub malformed: Left,
    /// Origins that the operator does not want (`origins_include`, `origins_exclude`).
    pub origins: Words,
    /// Scenarios that the operator does not want (`scenarios_exclude`).
    pub scenarios: Words,
    /// Scopes other than `ip`, and `range` where it is not switched on.
    pub scopes: Words,
    /// Types other than ban and captcha.
    pub types: Words,
    /// Values that are no address.
    pub not_addresses: Left,
    /// Values of the scopes `country` and `as` that are no country and no number.
    pub not_regions: Left,
    /// Addresses that are never blocked, with scenario and rule: somebody bans the owner.
    pub protected: Left,
    /// Remediations that no list is set for; they may still have a KV key.
    pub without_list: Words,
    /// Prefixes that a Cloudflare list does not take, in however many parts.
    pub prefixes: Left,
    /// Prefixes, which KV takes only together with ranges (`scopes`).
    pub prefixes_in_kv: Left,
    /// Addresses that need no place on a list, because a desired range covers them.
    pub covered: u64,
}

impl Skipped {
    /// `(reason, count)` for each reason, as metrics name them.
    pub fn counts(&self) -> [(&'static str, u64); 12] {
        [
            ("malformed", self.malformed.count),
            ("origin", self.origins.count()),
            ("scenario", self.scenarios.count()),
            ("scope", self.scopes.count()),
            ("type", self.types.count()),
            ("not_an_address", self.not_addresses.count),
            ("not_a_region", self.not_regions.count),
            ("protected", self.protected.count),
            ("without_list", self.without_list.count()),
            ("prefix", self.prefixes.count),
            ("prefix_in_kv", self.prefixes_in_kv.count),
            ("covered", self.covered),
        ]
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.counts().iter().map(|(_, count)| count).sum()
    }
}

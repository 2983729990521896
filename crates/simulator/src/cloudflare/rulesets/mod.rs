//! The account's zones, each with at most one ruleset: the entry point of the phase
//! `http_request_firewall_custom`, where WAF custom rules live (facts: cloudflare.md 4). Owns the
//! routes under `/zones` and which lists the rules use; a list that a rule uses cannot be deleted.
//! Rules of other phases, and what a rule does to requests, are not simulated.

mod body;
pub mod codes;
mod expression;
mod inspect;
mod routes;
mod store;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

pub use store::RuleView;

use crate::options::CloudflareOptions;
use crate::random::{Random, hex_id};
use store::Zone;

/// The only phase that has rulesets here.
const PHASE: &str = "http_request_firewall_custom";

/// All zones of the account.
#[derive(Debug)]
pub(crate) struct Rulesets {
    options: CloudflareOptions,
    start: SystemTime,
    random: Random,
    now: Duration,
    zones: Vec<Zone>,
}

impl Rulesets {
    pub(super) fn new(options: CloudflareOptions, start: SystemTime, seed: u64) -> Self {
        Self {
            options,
            start,
            random: Random::new(seed, "cloudflare rulesets"),
            now: Duration::ZERO,
            zones: Vec::new(),
        }
    }

    pub(super) fn configure(&mut self, options: CloudflareOptions) {
        self.options = options;
    }

    pub(super) fn settle(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    /// How many rules use each list, by the list's name. A rule that is switched off counts too.
    pub(super) fn references(&self) -> BTreeMap<String, u32> {
        let rulesets = self.zones.iter().filter_map(|zone| zone.ruleset.as_ref());
        let mut references = BTreeMap::new();
        for rule in rulesets.flat_map(|ruleset| &ruleset.rules) {
            for name in expression::lists_used(&rule.view.expression) {
                *references.entry(name.to_owned()).or_default() += 1;
            }
        }
        references
    }

    fn create_zone(&mut self, name: &str) -> String {
        let id = hex_id(self.random.next_u128());
        self.zones.push(Zone { id: id.clone(), name: name.to_owned(), ruleset: None });
        id
    }
}

#[cfg(test)]
mod tests;

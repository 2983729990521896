//! The account's zones, each with at most one ruleset: the entry point of the phase
//! `http_request_firewall_custom`, where WAF custom rules live (facts: cloudflare.md 4). Owns the
//! routes under `/zones` and which lists the rules use; a list that a rule uses cannot be deleted.
//! Rules of other phases are not simulated; what a rule does to requests is [`crate::edge`]'s, and so is
//! the language of expressions.

mod body;
pub mod codes;
mod edit;
mod expression;
mod inspect;
mod routes;
mod store;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

pub use edit::RulesEdit;
pub use store::RuleView;

use crate::options::CloudflareOptions;
use crate::random::{Random, hex_id};
use store::Zone;

/// The only phase that has rulesets here.
const PHASE: &str = "http_request_firewall_custom";

/// Which state of a zone's rules is meant: the ruleset's id and version, if there is one.
pub(super) type Stamp = Option<(String, u64)>;

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

    /// Somebody else changes the rules of a zone; false if nothing came of it.
    pub(super) fn edit(&mut self, zone_id: &str, edit: &RulesEdit) -> bool {
        let zone = self.zones.iter_mut().find(|zone| zone.id == zone_id);
        zone.is_some_and(|zone| edit.apply(zone, self.now, &mut self.random))
    }

    /// For each zone whose stamp is not the known one its id, its stamp, which is another one after every change of
    /// its rules, and the rules.
    pub(super) fn changed<'s>(
        &'s self,
        known: &BTreeMap<String, Stamp>,
    ) -> Vec<(&'s str, Stamp, Vec<&'s RuleView>)> {
        let is_changed = |zone: &&Zone| {
            let now = zone.ruleset.as_ref().map(|ruleset| (&ruleset.id, ruleset.version));
            let known = known.get(&zone.id);
            known.is_none_or(|stamp| stamp.as_ref().map(|(id, version)| (id, *version)) != now)
        };
        let changed = self.zones.iter().filter(is_changed).map(|zone| {
            let ruleset = zone.ruleset.as_ref();
            let stamp = ruleset.map(|ruleset| (ruleset.id.clone(), ruleset.version));
            let rules = ruleset.into_iter().flat_map(|ruleset| &ruleset.rules);
            (zone.id.as_str(), stamp, rules.map(|rule| &rule.view).collect())
        });
        changed.collect()
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    fn create_zone(&mut self, name: &str) -> String {
        let id = hex_id(self.random.next_u128());
        let zone = Zone { id: id.clone(), name: name.to_owned(), ruleset: None, written: None };
        self.zones.push(zone);
        id
    }
}

#[cfg(test)]
mod tests;

//! What a test, or a person at the dashboard, sees and does of zones and their rules.

use super::body::NewRule;
use super::edit::RulesEdit;
use super::store::{RuleView, Ruleset, Zone};
use crate::cloudflare::Cloudflare;
use crate::random::hex_id;

/// Zones and their WAF custom rules. Methods that change a zone panic if there is no such one; those
/// that look find nothing in it.
impl Cloudflare {
    /// Makes a zone without rules, and without the ruleset that would hold them; returns its id.
    pub fn create_zone(&mut self, name: &str) -> String {
        self.rulesets.create_zone(name)
    }

    /// The zones as `(id, name)`, in the order of their creation.
    pub fn zones(&self) -> Vec<(String, String)> {
        self.rulesets.zones.iter().map(|zone| (zone.id.clone(), zone.name.clone())).collect()
    }

    /// Adds a rule at the end, as a person would at the dashboard, whatever the plan's limit. Its
    /// `ref` is its id, which is returned.
    pub fn add_rule(&mut self, zone: &str, action: &str, expression: &str) -> String {
        let new = NewRule::unnamed(expression, action);
        let id = hex_id(self.rulesets.random.next_u128());
        let now = self.rulesets.now;
        let zone = find_mut(&mut self.rulesets.zones, zone);
        let ruleset = zone
            .ruleset
            .get_or_insert_with(|| Ruleset::new(id, "default".to_owned(), String::new(), now));
        let id = ruleset.add(new, None, now, &mut self.rulesets.random);
        ruleset.touch(now);
        self.rules_changed(false);
        id
    }

    /// Changes a rule in place, as a person would at the dashboard; its id stays. Panics if there is
    /// no rule with this `ref`.
    pub fn edit_rule(&mut self, zone: &str, reference: &str, edit: impl FnOnce(&mut RuleView)) {
        let now = self.rulesets.now;
        let ruleset = find_mut(&mut self.rulesets.zones, zone).ruleset.as_mut();
        let ruleset = ruleset.expect("the zone must have rules");
        let index = ruleset.find_reference(reference).expect("the rule must exist");
        ruleset.edit(index, now, edit);
        ruleset.touch(now);
        self.rules_changed(false);
    }

    /// Moves a rule to the end, as a person would at the dashboard.
    pub fn move_rule_to_end(&mut self, zone: &str, reference: &str) {
        let is_moved = self.edit_rules(zone, &RulesEdit::MoveLast(reference.to_owned()));
        assert!(is_moved, "the rule must exist");
    }

    /// What somebody else does to a zone's rules; false if nothing came of it, because there is no such
    /// zone or rule.
    pub fn edit_rules(&mut self, zone: &str, edit: &RulesEdit) -> bool {
        let is_changed = self.rulesets.edit(zone, edit);
        self.rules_changed(false);
        is_changed
    }

    /// The rules of a zone in their order; `None` if it has no ruleset for them.
    pub fn rules(&self, zone: &str) -> Option<Vec<RuleView>> {
        let zone = self.rulesets.zones.iter().find(|known| known.id == zone)?;
        let ruleset = zone.ruleset.as_ref()?;
        Some(ruleset.rules.iter().map(|rule| rule.view.clone()).collect())
    }

    /// How often a zone's ruleset has changed, counting its creation; 0 if there is none.
    pub fn ruleset_version(&self, zone: &str) -> u64 {
        let zone = self.rulesets.zones.iter().find(|known| known.id == zone);
        zone.and_then(|zone| zone.ruleset.as_ref()).map_or(0, |ruleset| ruleset.version)
    }
}

fn find_mut<'a>(zones: &'a mut [Zone], id: &str) -> &'a mut Zone {
    zones.iter_mut().find(|zone| zone.id == id).expect("the zone must exist")
}

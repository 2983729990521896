//! One zone's ruleset of the custom rules' phase: its rules in their order, and the version that every
//! change raises.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::PHASE;
use super::body::{NewRule, Place};
use crate::random::{Random, hex_id};

/// A rule, as a test sees it and as the dashboard would change it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleView {
    /// 32 hexadecimal digits, made by Cloudflare.
    pub id: String,
    /// The maker's own name for it; the id if none was given.
    #[serde(rename = "ref")]
    pub reference: String,
    /// When it applies.
    pub expression: String,
    /// What is done then.
    pub action: String,
    /// For people.
    pub description: String,
    /// Whether it applies at all.
    pub enabled: bool,
    /// `action_parameters` and `logging`, as they were sent.
    pub extra: Map<String, Value>,
}

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) view: RuleView,
    version: u64,
    updated: Duration,
}

/// One zone.
#[derive(Debug)]
pub(super) struct Zone {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) ruleset: Option<Ruleset>,
}

#[derive(Debug)]
pub(super) struct Ruleset {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) rules: Vec<Rule>,
    pub(super) version: u64,
    updated: Duration,
}

impl Ruleset {
    pub(super) fn new(id: String, name: String, description: String, now: Duration) -> Self {
        Self { id, name, description, rules: Vec::new(), version: 1, updated: now }
    }

    pub(super) fn find(&self, rule_id: &str) -> Option<usize> {
        self.rules.iter().position(|rule| rule.view.id == rule_id)
    }

    /// Every change makes a new version.
    pub(super) fn touch(&mut self, now: Duration) {
        self.version += 1;
        self.updated = now;
    }

    /// Adds a rule at a place; at the end by default. Returns its id.
    pub(super) fn add(
        &mut self,
        new: NewRule,
        place: Option<Place>,
        now: Duration,
        random: &mut Random,
    ) -> String {
        let id = hex_id(random.next_u128());
        let rule = Rule { view: new.into_view(id.clone()), version: 1, updated: now };
        let at = self.index_of(&place.unwrap_or(Place::End));
        self.rules.insert(at, rule);
        id
    }

    /// Gives a rule a new definition: what was not sent has its default afterwards, `ref` too.
    pub(super) fn redefine(&mut self, index: usize, new: NewRule, now: Duration) {
        let rule = &mut self.rules[index];
        rule.view = new.into_view(rule.view.id.clone());
        rule.version += 1;
        rule.updated = now;
    }

    pub(super) fn move_to(&mut self, index: usize, place: &Place) {
        let rule = self.rules.remove(index);
        let at = self.index_of(place);
        self.rules.insert(at, rule);
    }

    /// Where a rule goes that is not among the rules (any more). The neighbour was checked before.
    fn index_of(&self, place: &Place) -> usize {
        let end = self.rules.len();
        match place {
            Place::Start => 0,
            Place::End => end,
            Place::Before(id) => self.find(id).unwrap_or(end),
            Place::After(id) => self.find(id).map_or(end, |index| index + 1),
            Place::Index(index) => (index - 1).min(end),
        }
    }

    /// The ruleset as the API shows it; a listing leaves the rules out.
    pub(super) fn describe(&self, start: SystemTime, with_rules: bool) -> Value {
        let mut ruleset = json!({
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "kind": "zone",
            "phase": PHASE,
            "version": self.version.to_string(),
            "last_updated": rfc3339(start + self.updated),
        });
        if with_rules {
            ruleset["rules"] = self.rules.iter().map(|rule| describe(rule, start)).collect();
        }
        ruleset
    }
}

fn describe(rule: &Rule, start: SystemTime) -> Value {
    let RuleView { id, reference, expression, action, description, enabled, extra } = &rule.view;
    let mut shown = json!({
        "id": id,
        "ref": reference,
        "expression": expression,
        "action": action,
        "description": description,
        "enabled": enabled,
        "version": rule.version.to_string(),
        "last_updated": rfc3339(start + rule.updated),
    });
    for (name, value) in extra {
        shown[name] = value.clone();
    }
    shown
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_micros(time).to_string()
}

//! One zone's ruleset of the custom rules' phase: its rules in their order, and the version that every
//! change raises.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value};

use super::PHASE;
use super::body::{NewRule, Place};
use crate::options::ExpressionEcho;
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

#[derive(Debug, Clone)]
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
    /// When a write of its rules was last accepted.
    pub(super) written: Option<Duration>,
}

#[derive(Debug, Clone)]
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

    /// The first rule with this `ref`.
    pub(super) fn find_reference(&self, reference: &str) -> Option<usize> {
        self.rules.iter().position(|rule| rule.view.reference == reference)
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

    /// Changes a rule's definition; its id stays. The ruleset's version is the caller's business.
    pub(super) fn edit(&mut self, index: usize, now: Duration, edit: impl FnOnce(&mut RuleView)) {
        let rule = &mut self.rules[index];
        edit(&mut rule.view);
        rule.version += 1;
        rule.updated = now;
    }

    /// One more rule like this one, `ref` included, right after it. The API itself refuses such a pair.
    pub(super) fn double(&mut self, index: usize, now: Duration, random: &mut Random) {
        let id = hex_id(random.next_u128());
        let view = RuleView { id, ..self.rules[index].view.clone() };
        self.rules.insert(index + 1, Rule { view, version: 1, updated: now });
    }

    /// Every rule is made anew.
    pub(super) fn renew_ids(&mut self, now: Duration, random: &mut Random) {
        for rule in &mut self.rules {
            let id = hex_id(random.next_u128());
            let old = std::mem::replace(&mut rule.view.id, id.clone());
            if rule.view.reference == old {
                rule.view.reference = id;
            }
            (rule.version, rule.updated) = (1, now);
        }
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
    pub(super) fn describe(
        &self,
        start: SystemTime,
        with_rules: bool,
        echo: ExpressionEcho,
    ) -> Shown<'_> {
        let text = |text| Field::Text(Cow::Borrowed(text));
        let mut ruleset = Shown::from([
            ("id", text(&self.id)),
            ("name", text(&self.name)),
            ("description", text(&self.description)),
            ("kind", text("zone")),
            ("phase", text(PHASE)),
            ("version", Field::Text(self.version.to_string().into())),
            ("last_updated", Field::Text(rfc3339(start + self.updated).into())),
        ]);
        if with_rules {
            let rules = self.rules.iter().map(|rule| describe(rule, start, echo));
            ruleset.insert("rules", Field::Rules(rules.collect()));
        }
        ruleset
    }
}

/// Something as the API shows it, its fields in order.
pub(super) type Shown<'a> = BTreeMap<&'a str, Field<'a>>;

/// A field of it. A tree of values would copy every name and every text.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Field<'a> {
    Text(Cow<'a, str>),
    Flag(bool),
    Rules(Vec<Shown<'a>>),
    Other(&'a Value),
}

fn describe(rule: &Rule, start: SystemTime, echo: ExpressionEcho) -> Shown<'_> {
    let RuleView { id, reference, expression, action, description, enabled, extra } = &rule.view;
    let expression = match echo {
        ExpressionEcho::Verbatim => Cow::Borrowed(expression.as_str()),
        ExpressionEcho::Respaced => respaced(expression).into(),
    };
    let text = |text| Field::Text(Cow::Borrowed(text));
    let mut shown = Shown::from([
        ("id", text(id)),
        ("ref", text(reference)),
        ("expression", Field::Text(expression)),
        ("action", text(action)),
        ("description", text(description)),
        ("enabled", Field::Flag(*enabled)),
        ("version", Field::Text(rule.version.to_string().into())),
        ("last_updated", Field::Text(rfc3339(start + rule.updated).into())),
    ]);
    shown.extend(extra.iter().map(|(name, value)| (name.as_str(), Field::Other(value))));
    shown
}

/// The same condition with other blanks between its words: two for one, or the end of a line.
fn respaced(expression: &str) -> String {
    let mut is_text = false;
    let mut blanks = 0;
    let mut out = String::with_capacity(expression.len() * 2);
    for c in expression.chars() {
        // An escaped quote is beyond this reading; ours have none.
        is_text ^= c == '"';
        match c {
            ' ' if !is_text => {
                out.push_str(if blanks % 3 == 0 { "\n " } else { "  " });
                blanks += 1;
            }
            other => out.push(other),
        }
    }
    out
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_micros(time).to_string()
}

//! The states that each zone's edge was in, and what a visitor met in them: the first rule that ends
//! the matter decides. Rules of other phases, IP access rules and Workers are not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use super::expression::{Dialect, Expression, Known};
use super::timeline::ListTimeline;
use super::touched::Touched;
use crate::cloudflare::rulesets::RuleView;

/// What becomes of a visitor's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No rule stops it.
    Pass,
    /// It has to show first that it comes from a person.
    Challenge,
    /// It is refused.
    Block,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Challenge => "challenge",
            Self::Block => "block",
        })
    }
}

/// What the edge knows of a visitor besides the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// Two capital letters; `T1` is Tor, `XX` is not known.
    pub country: String,
    /// The number of the autonomous system; 0 is not known.
    pub asn: u32,
    /// It has passed a challenge, so that none stops it.
    pub has_passed_challenge: bool,
}

impl Default for Visitor {
    /// From nowhere that is known.
    fn default() -> Self {
        Self { country: "XX".to_owned(), asn: 0, has_passed_challenge: false }
    }
}

impl Visitor {
    /// A visitor from this country and autonomous system.
    pub fn from(country: &str, asn: u32) -> Self {
        Self { country: country.to_owned(), asn, ..Self::default() }
    }
}

/// The edge of all zones, at every moment so far.
#[derive(Debug, Default)]
pub struct Edge {
    now: Duration,
    /// By the zone's id.
    zones: BTreeMap<String, Zone>,
    /// By the list's id.
    lists: BTreeMap<String, ListTimeline>,
    /// The ids of the lists that ever had a name.
    ids: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct Zone {
    states: Vec<State>,
    touched: Touched,
}

/// The rules of a zone, from a moment on.
#[derive(Debug)]
struct State {
    since: Duration,
    rules: Vec<Arc<Rule>>,
}

/// A rule as the edge runs it.
#[derive(Debug, PartialEq)]
struct Rule {
    view: RuleView,
    /// `None` = it cannot be understood here, and matches nothing.
    expression: Option<Expression>,
    effect: Effect,
}

/// What a rule does to a request that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Block,
    Challenge,
    /// No later rule of the ruleset is looked at.
    Skip,
    /// The next rule is looked at.
    None,
}

impl Edge {
    /// What a visitor meets now.
    pub fn decide(&self, zone: &str, ip: IpAddr, visitor: &Visitor) -> Verdict {
        self.decide_at(zone, self.now, ip, visitor)
    }

    /// What a visitor met, or meets if nothing changes until then. Time is since the simulator's start,
    /// here and below; a zone that does not exist lets everything pass.
    pub fn decide_at(&self, zone: &str, at: Duration, ip: IpAddr, visitor: &Visitor) -> Verdict {
        self.deciding_at(zone, at, ip, visitor).1
    }

    /// The `ref` of the rule that decided, if one did: for the message of a test that fails.
    pub fn deciding_rule(
        &self,
        zone: &str,
        at: Duration,
        ip: IpAddr,
        visitor: &Visitor,
    ) -> Option<&str> {
        let (rule, _) = self.deciding_at(zone, at, ip, visitor);
        rule.map(|rule| rule.view.reference.as_str())
    }

    /// What a visitor met all through a span: the first entry is at its beginning, and each further one
    /// is when the verdict became another.
    pub fn verdicts_over(
        &self,
        zone: &str,
        ip: IpAddr,
        visitor: &Visitor,
        span: Range<Duration>,
    ) -> Vec<(Duration, Verdict)> {
        let mut moments: BTreeSet<Duration> = BTreeSet::from([span.start]);
        moments
            .extend(self.zones.get(zone).into_iter().flat_map(|zone| zone.touched.moments_of(ip)));
        moments.extend(self.lists.values().flat_map(|list| list.changes_of(ip)));
        let mut story: Vec<(Duration, Verdict)> = Vec::new();
        for at in moments.range(span.clone()).copied() {
            let verdict = self.decide_at(zone, at, ip, visitor);
            if story.last().is_none_or(|(_, last)| *last != verdict) {
                story.push((at, verdict));
            }
        }
        story
    }

    /// For how much of a span the condition held for the visitor's verdict: address-minutes in a wrong
    /// state are this, added up.
    pub fn time_while(
        &self,
        zone: &str,
        ip: IpAddr,
        visitor: &Visitor,
        span: Range<Duration>,
        condition: impl Fn(Verdict) -> bool,
    ) -> Duration {
        let story = self.verdicts_over(zone, ip, visitor, span.clone());
        let ends = story.iter().skip(1).map(|(at, _)| *at).chain([span.end]);
        story
            .iter()
            .zip(ends)
            .filter(|((_, verdict), _)| condition(*verdict))
            .map(|((from, _), until)| until.saturating_sub(*from))
            .sum()
    }

    /// The moments at which anything changed that the zone's rules or any list say, ascending. Between
    /// two of them every visitor meets the same.
    pub fn changes(&self, zone: &str) -> Vec<Duration> {
        let mut moments: BTreeSet<Duration> =
            self.states(zone).iter().map(|state| state.since).collect();
        moments.extend(self.lists.values().flat_map(ListTimeline::changes));
        moments.into_iter().collect()
    }

    /// The `ref`s of the rules in force now that cannot be understood here, and match nothing.
    pub fn not_understood(&self, zone: &str) -> Vec<&str> {
        let rules = self.rules_at(zone, self.now);
        let odd = rules.iter().filter(|rule| rule.expression.is_none());
        odd.map(|rule| rule.view.reference.as_str()).collect()
    }

    pub(crate) fn tick(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    /// From `since` on a zone has these rules. A later call with an earlier moment does not overtake.
    pub(crate) fn set_rules(&mut self, zone: &str, since: Duration, rules: &[&RuleView]) {
        let Zone { states, touched } = self.zones.entry(zone.to_owned()).or_default();
        let last = states.last();
        let since = since.max(last.map_or(Duration::ZERO, |last| last.since));
        let known = last.map_or(&[][..], |last| &last.rules);
        let rules: Vec<Arc<Rule>> = rules
            .iter()
            .map(|view| {
                // Parsed once, however often the ruleset changes around it.
                let same = known.iter().find(|rule| rule.view == **view).cloned();
                same.unwrap_or_else(|| Arc::new(Rule::of(view)))
            })
            .collect();
        compare(known, &rules, since, touched);
        // What lasted no time was met by nobody; what it touched is looked at once too often.
        states.pop_if(|last| last.since == since);
        states.push(State { since, rules });
    }

    /// From `since` on a list has these items more and those less. What is no address is not looked at.
    /// The name may be left out once the list is gone.
    pub(crate) fn change_list(
        &mut self,
        id: &str,
        name: Option<&str>,
        since: Duration,
        added: &[String],
        removed: &[String],
    ) {
        let networks = |texts: &[String]| -> Vec<IpNet> {
            texts.iter().filter_map(|text| network(text)).collect()
        };
        if let Some(name) = name {
            self.ids.entry(name.to_owned()).or_default().insert(id.to_owned());
        }
        let list = self.lists.entry(id.to_owned()).or_default();
        list.change(since, &networks(added), &networks(removed));
    }

    fn deciding_at(
        &self,
        zone: &str,
        at: Duration,
        ip: IpAddr,
        visitor: &Visitor,
    ) -> (Option<&Rule>, Verdict) {
        let is_on_list = |name: &str| {
            let ids = self.ids.get(name).into_iter().flatten();
            ids.filter_map(|id| self.lists.get(id)).any(|list| list.holds(ip, at))
        };
        let known =
            Known { ip, country: &visitor.country, asn: visitor.asn, is_on_list: &is_on_list };
        for rule in self.rules_at(zone, at).iter().filter(|rule| rule.view.enabled) {
            let holds = rule.expression.as_ref().and_then(|expression| expression.holds(known));
            let verdict = match rule.effect {
                _ if holds != Some(true) => continue,
                Effect::None => continue,
                Effect::Challenge if visitor.has_passed_challenge => continue,
                Effect::Challenge => Verdict::Challenge,
                Effect::Block => Verdict::Block,
                Effect::Skip => Verdict::Pass,
            };
            return (Some(rule), verdict);
        }
        (None, Verdict::Pass)
    }

    fn states(&self, zone: &str) -> &[State] {
        self.zones.get(zone).map_or(&[], |zone| &zone.states)
    }

    fn rules_at(&self, zone: &str, at: Duration) -> &[Arc<Rule>] {
        let states = self.states(zone);
        let until = states.partition_point(|state| state.since <= at);
        states[..until].last().map_or(&[], |state| &state.rules)
    }
}

impl Rule {
    fn of(view: &RuleView) -> Self {
        // What is in force was accepted; only what a person put there can be beyond this reading.
        let expression = Expression::parse(&view.expression, Dialect { has_empty_sets: true }).ok();
        let skips_ruleset = view
            .extra
            .get("action_parameters")
            .is_some_and(|parameters| parameters["ruleset"] == "current");
        let effect = match view.action.as_str() {
            "block" => Effect::Block,
            "challenge" | "js_challenge" | "managed_challenge" => Effect::Challenge,
            "skip" if skips_ruleset => Effect::Skip,
            _ => Effect::None,
        };
        Self { view: view.clone(), expression, effect }
    }
}

/// Notes whom it can concern that these rules follow those.
fn compare(old: &[Arc<Rule>], new: &[Arc<Rule>], at: Duration, touched: &mut Touched) {
    if old.len() != new.len() {
        return touched.everybody(at);
    }
    for (old, new) in old.iter().zip(new).filter(|(old, new)| !Arc::ptr_eq(old, new)) {
        let is_same = old.effect == new.effect && old.view.enabled == new.view.enabled;
        match (&old.expression, &new.expression) {
            (Some(old), Some(new)) if is_same => touched.compare(at, old, new),
            _ => touched.everybody(at),
        }
    }
}

/// An item of a list, with its host bits cleared; `None` = it is no address.
fn network(text: &str) -> Option<IpNet> {
    match text.contains('/') {
        true => text.parse::<IpNet>().ok().map(|net| net.trunc()),
        false => text.parse::<IpAddr>().ok().map(IpNet::from),
    }
}

#[cfg(test)]
mod tests;

//! What a run would say in the rules of each zone, and what they do with one address now.

use serde::Serialize;

use crate::address::Address;
use crate::api::cloudflare::expression::{AddressSet, Expression};
use crate::decide::lists::Decision;
use crate::decide::rules::{Base, Known, decide};
use crate::decision::Remediation;
use crate::desired::{Desired, Region};
use crate::failure::Failure;
use crate::observed::lists::Observed;
use crate::observed::rules::{OurRule, ZoneRules};
use crate::plan::lists::Plan;
use crate::plan::rules::{Decided, Waiting};
use crate::ports::Host;
use crate::schedule::lists::Operation;
use crate::settings::Lists;

use super::Look;

/// The rules of one zone. Field names are an interface (`plan --json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ZoneView {
    /// Its id.
    pub zone: String,
    /// Why it could not be read; `None` = it was.
    pub error: Option<String>,
    /// For how many seconds its rules are left alone, because of what the last change met.
    pub wait_secs: Option<u64>,
    /// The challenge stands before the ban, so that who is banned meets a challenge.
    pub wrong_order: bool,
    /// Our rule for each list in use, the ban first.
    pub rules: Vec<RuleView>,
}

/// One rule of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleView {
    /// Which.
    pub rule: Remediation,
    /// Why it is left alone, and what to do; `None` = it is ours.
    pub problem: Option<String>,
    /// Whether it is switched on.
    pub enabled: bool,
    /// What it would match although the list lacks it.
    pub fresh: Vec<Address>,
    /// What it would not match although the list has it.
    pub lifted: Vec<Address>,
    /// Countries and autonomous systems that it would match: `CN`, `AS64496`.
    pub regions: Vec<String>,
    /// What finds no room, the most urgent first.
    pub waiting: Vec<String>,
    /// How long its expression would be, and may be.
    pub characters: u64,
    /// See there.
    pub characters_max: u64,
    /// Whether a run would change it.
    pub due: bool,
}

/// Where an address stands in a rule of a zone, where that says anything about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InRule {
    /// The zone's id.
    pub zone: String,
    /// Which rule.
    pub rule: Remediation,
    /// What the rule says now.
    pub now: Option<Delta>,
    /// What it should say.
    pub wanted: Option<Delta>,
    /// It should say that, and has no room: it waits for the list.
    pub waiting: bool,
}

/// What a rule says about an address beyond its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delta {
    /// It matches by the rule, and waits for the list.
    Fresh,
    /// It does not match, although it may be on the list.
    Lifted,
}

impl<H: Host> Look<'_, H> {
    /// What a run would know of the lists, after these operations of its own.
    pub(super) fn known<'k>(
        &'k self,
        plan: &'k Plan,
        done: &'k [Operation],
        observed: &'k Observed,
    ) -> Known<'k> {
        let (now, ends) = (self.now, &self.memory.ends);
        let may_drain = self.memory.history.is_settled(now)
            && self.rules.is_some()
            && self.memory.rules.is_settled(observed.digest(), now);
        let may_lose = self.memory.history.may_have_lost(now);
        Known { plan, observed, done, ends, may_drain, may_lose }
    }

    /// What the rules should say for what the lists lack after the operations that are sent now, and what
    /// they do with `address`; `None` = no zone is named.
    pub(super) fn rules(
        &self,
        lists: &Lists,
        (desired, observed): (&Desired, &Observed),
        decision: &Decision,
        address: Option<Address>,
    ) -> Option<(Vec<ZoneView>, Vec<InRule>)> {
        let (rules, zones) = self.settings.targets.rules.as_ref().zip(self.rules)?;
        let Decision { review, schedule, .. } = decision;
        // What is written at once is not said by the rules.
        let done = if schedule.wait().is_none() { schedule.operations() } else { &[] };
        let known = self.known(&review.approved, done, observed);
        let base = Base::new(self.settings, lists, desired, known);
        let mut about = Vec::new();
        let views = zones.zones.iter().map(|(zone, read)| match read {
            Err(failure) => ZoneView::unread(zone.as_str(), failure),
            Ok(there) => {
                let history = &self.memory.rules;
                let decided = decide(&base, rules, zone.as_str(), there, history, self.now);
                let max = rules.characters_max;
                let rules = there.ours.iter().rev().map(|(rule, ours)| {
                    let decided = decided.rules.get(rule);
                    about.extend(address.and_then(|address| {
                        InRule::of(zone.as_str(), (rule, ours), decided?, &address)
                    }));
                    RuleView::of((rule, ours), decided, max)
                });
                ZoneView {
                    zone: zone.to_string(),
                    error: None,
                    wait_secs: decided.wait.map(|(left, _)| left.as_secs()),
                    wrong_order: there.is_in_wrong_order(),
                    rules: rules.collect(),
                }
            }
        });
        Some((views.collect(), about))
    }

    /// What can be said without the lists or without LAPI: what the rules say now, and what is wrong.
    pub(super) fn rules_alone(&self) -> Option<Vec<ZoneView>> {
        let (rules, zones) = self.settings.targets.rules.as_ref().zip(self.rules)?;
        let of = |there: &ZoneRules| -> Vec<RuleView> {
            let ours = there.ours.iter().rev();
            ours.map(|(rule, ours)| RuleView::of((rule, ours), None, rules.characters_max))
                .collect()
        };
        let views = zones.zones.iter().map(|(zone, read)| match read {
            Err(failure) => ZoneView::unread(zone.as_str(), failure),
            Ok(there) => ZoneView {
                zone: zone.to_string(),
                error: None,
                wait_secs: None,
                wrong_order: there.is_in_wrong_order(),
                rules: of(there),
            },
        });
        Some(views.collect())
    }
}

impl ZoneView {
    fn unread(zone: &str, failure: &Failure) -> Self {
        let (zone, error) = (zone.to_owned(), Some(failure.describe()));
        Self { zone, error, wait_secs: None, wrong_order: false, rules: Vec::new() }
    }
}

impl RuleView {
    /// What is decided, or what the rule says now where nothing can be decided.
    fn of(
        (rule, ours): (Remediation, &OurRule),
        decided: Option<&Decided>,
        characters_max: usize,
    ) -> Self {
        let (now, enabled) = match ours {
            OurRule::Ours { rule, expression } => (Some(expression), rule.enabled),
            OurRule::Absent | OurRule::Doubled | OurRule::Changed(_) => (None, false),
        };
        let says: Option<&Expression> = decided.map(|decided| &decided.desired).or(now);
        let parts = says.map(Expression::parts);
        let addresses = |of: Option<&AddressSet>| of.into_iter().flatten().copied().collect();
        let regions = parts.into_iter().flat_map(|parts| {
            let countries = parts.countries.of.iter().map(|one| Region::Country(*one));
            countries.chain(parts.asns.of.iter().map(|one| Region::As(*one)))
        });
        let waiting = decided.into_iter().flat_map(|decided| &decided.waiting);
        Self {
            rule,
            problem: ours.problem(rule),
            enabled,
            fresh: addresses(parts.map(|parts| &parts.fresh.of)),
            lifted: addresses(parts.map(|parts| &parts.lifted)),
            regions: regions.map(name).collect(),
            waiting: waiting
                .map(|waiting| match waiting {
                    Waiting::Lifted(address, _)
                    | Waiting::Fresh(address, _)
                    | Waiting::StandIn(address) => address.to_string(),
                    Waiting::Region(region) => name(*region),
                })
                .collect(),
            characters: says.map_or(0, Expression::characters) as u64,
            characters_max: characters_max as u64,
            due: decided.is_some_and(|decided| decided.is_due),
        }
    }
}

fn name(region: Region) -> String {
    match region {
        Region::Country(country) => country.to_string(),
        Region::As(asn) => format!("AS{asn}"),
    }
}

impl InRule {
    fn of(
        zone: &str,
        (rule, ours): (Remediation, &OurRule),
        decided: &Decided,
        address: &Address,
    ) -> Option<Self> {
        let OurRule::Ours { expression, .. } = ours else { return None };
        let says = |expression: &Expression| {
            let parts = expression.parts();
            let is_fresh = parts.fresh.of.covers(address) && !parts.fresh.except.covers(address);
            match (is_fresh, parts.lifted.covers(address)) {
                (true, _) => Some(Delta::Fresh),
                (false, true) => Some(Delta::Lifted),
                (false, false) => None,
            }
        };
        let waiting = decided.waiting.iter().any(|waiting| match waiting {
            Waiting::Lifted(one, _) | Waiting::Fresh(one, _) | Waiting::StandIn(one) => {
                one.contains(address)
            }
            Waiting::Region(_) => false,
        });
        let (now, wanted) = (says(expression), says(&decided.desired));
        let is_about = now.is_some() || wanted.is_some() || waiting;
        is_about.then(|| Self { zone: zone.to_owned(), rule, now, wanted, waiting })
    }
}

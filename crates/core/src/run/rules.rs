//! The rules' part of a run, after the lists': decide for each zone what its rules still lack, and change it.

use std::rc::Rc;

use crate::api::cloudflare::rules::reference;
use crate::apply::rules::{AppliedRules, apply};
use crate::decide::rules::{Base, Decision, Known, decide};
use crate::desired::Desired;
use crate::failure::Failure;
use crate::log::plural;
use crate::observed::lists::Observed;
use crate::observed::rules::{ObservedRules, OurRule, ZoneRules};
use crate::plan::lists::Plan;
use crate::plan::rules::Waiting;
use crate::ports::Host;
use crate::report::Outcome;
use crate::report::rules::{RuleReport, RulesReport, ZoneReport, announce};
use crate::schedule::lists::Operation;
use crate::settings::{Id, Lists, Rules};
use crate::state::{Ends, Remembered, RulesHistory};

use super::{ANOTHER_RUN, Access};

/// Said of a zone where there is nothing to build on.
pub(super) const LISTS_UNREAD: &str = "the lists could not be read, on which the rules build";

/// What the rules are decided from: the two sides of the lists, and what is to change between them.
pub(super) struct Sides {
    pub(super) desired: Rc<Desired>,
    pub(super) observed: Rc<Observed>,
    pub(super) plan: Plan,
    /// Whether the content of the lists that was read is surely at the edge.
    pub(super) may_drain: bool,
}

/// Decides for every zone, and changes what differs.
pub(super) async fn finish<H: Host>(
    access: &Access<'_, '_, H>,
    (lists, rules): (&Lists, &Rules),
    observed: ObservedRules,
    sides: Result<Sides, Outcome>,
    (done, ends): (&[Operation], &Ends),
    history: &mut Remembered<RulesHistory>,
) -> RulesReport {
    let mut report = RulesReport::default();
    let sides = match sides {
        Ok(sides) => sides,
        Err(why) => {
            let zones = observed.zones.into_iter().map(|(zone, read)| ZoneReport {
                zone: zone.to_string(),
                outcome: read.err().map_or_else(|| why.again(), Outcome::Failed),
                rules: Vec::new(),
                writes: 0,
            });
            report.zones = zones.collect();
            return report;
        }
    };
    let known = Known {
        plan: &sides.plan,
        observed: &sides.observed,
        done,
        ends,
        may_drain: sides.may_drain,
    };
    let base = Base::new(access.settings, lists, &sides.desired, known);
    drop(sides);
    for (zone, read) in observed.zones {
        let zone_report = match read {
            Ok(rules_there) => one(access, rules, &base, (&zone, &rules_there), history).await,
            Err(failure) => ZoneReport {
                zone: zone.to_string(),
                outcome: Outcome::Failed(failure),
                rules: Vec::new(),
                writes: 0,
            },
        };
        report.writes += zone_report.writes;
        report.zones.push(zone_report);
    }
    report
}

async fn one<H: Host>(
    access: &Access<'_, '_, H>,
    rules: &Rules,
    base: &Base,
    (zone, there): (&Id, &ZoneRules),
    history: &mut Remembered<RulesHistory>,
) -> ZoneReport {
    let Access { session, settings, clients, may_write, until, .. } = access;
    let host = session.host();
    let now = session.unix_now();
    let Decision { rules: decided, patches, wait } =
        decide(base, rules, zone.as_str(), there, history, now);
    let mut problems = Vec::new();
    for (remediation, rule) in &there.ours {
        if let Some(problem) = rule.problem(*remediation) {
            problems.push(problem);
        }
        if let OurRule::Ours { rule, .. } = rule
            && !rule.enabled
        {
            let text = format!(
                "the rule {:?} is switched off, and stays so: somebody did that",
                reference(*remediation)
            );
            host.log(&announce(zone.as_str(), &text));
        }
    }
    if there.is_in_wrong_order() {
        let text = "the challenge stands before the ban: who is banned meets a challenge; `edge-sync setup` with this zone mends it";
        host.log(&announce(zone.as_str(), text));
    }
    let count = |waiting: &[Waiting]| waiting.len() as u64;
    let mut report = ZoneReport {
        zone: zone.to_string(),
        outcome: Outcome::InSync,
        rules: decided
            .iter()
            .map(|(rule, decided)| RuleReport {
                rule: *rule,
                fresh: decided.desired.parts().fresh.of.len() as u64,
                lifted: decided.desired.parts().lifted.len() as u64,
                waiting: count(&decided.waiting),
                characters: decided.characters as u64,
            })
            .collect(),
        writes: 0,
    };
    let waiting: u64 = report.rules.iter().map(|rule| rule.waiting).sum();
    let is_due = !patches.steps.is_empty();
    report.outcome = match wait {
        _ if is_due && settings.dry_run => Outcome::Planned,
        _ if !is_due => Outcome::InSync,
        _ if !may_write => Outcome::Partial(ANOTHER_RUN.to_owned()),
        Some(left) => Outcome::Partial(format!(
            "Cloudflare was busy with the zone's rules; the next change is tried in {} s",
            left.as_secs()
        )),
        None => {
            let is_unfinished = patches.is_unfinished;
            let applied = apply(session, &clients.account, (zone, there), patches, history, *until);
            let AppliedRules { writes, failure, waits, .. } = applied.await;
            report.writes = writes;
            match (failure, waits) {
                (Some(failure), _) => Outcome::Failed(failure),
                (None, Some(waits)) => Outcome::Partial(waits),
                (None, None) if is_unfinished => Outcome::Partial(
                    "one rule keeps who leaves it until the next run, so that nobody is on neither"
                        .to_owned(),
                ),
                (None, None) => Outcome::Applied,
            }
        }
    };
    if let (Some(problem), true) = (problems.into_iter().next(), !settings.dry_run) {
        report.outcome =
            Outcome::Failed(Failure::Zone { zone: zone.to_string(), what: problem, source: None });
    } else if waiting > 0 && report.outcome.is_well() {
        let what = plural(waiting, "change");
        report.outcome =
            Outcome::Partial(format!("{what} without room in the rules: for the list"));
    }
    report
}

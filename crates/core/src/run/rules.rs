//! The rules' part of a run, after the lists': decide for each zone what its rules still lack, and change it.

use std::rc::Rc;
use std::time::Duration;

use crate::api::cloudflare::permission;
use crate::api::cloudflare::{Resource, rules::reference};
use crate::apply::rules::{AppliedRules, Target, apply};
use crate::decide::rules::{Base, Decision, Known, decide};
use crate::desired::Desired;
use crate::failure::Failure;
use crate::log::{clip, plural};
use crate::observed::lists::Observed;
use crate::observed::rules::{ObservedRules, OurRule, ZoneRules};
use crate::plan::lists::Plan;
use crate::ports::Host;
use crate::report::Outcome;
use crate::report::rules::{RuleReport, RulesReport, ZoneReport, announce};
use crate::schedule::lists::Operation;
use crate::settings::{Id, Lists, Rules};
use crate::state::rules::{Cause, RegionsTaken};
use crate::state::writes::checksum;
use crate::state::{Ends, Remembered, RulesHistory};

use super::{ANOTHER_RUN, Access, read};

/// What was read longer ago is read once more before it is changed: there is no lock, and what a person did
/// to a rule meanwhile would be undone.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(3);

/// Said of a zone where there is nothing to build on.
pub(super) const LISTS_UNREAD: &str = "the lists could not be read, on which the rules build";

/// What the rules are decided from: the two sides of the lists, and what is to change between them.
pub(super) struct Sides {
    pub(super) desired: Rc<Desired>,
    pub(super) observed: Rc<Observed>,
    pub(super) plan: Plan,
    /// Whether the content of the lists that was read is surely at the edge.
    pub(super) may_drain: bool,
    /// Whether a write may still take something off what was read.
    pub(super) may_lose: bool,
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
        may_lose: sides.may_lose,
    };
    let base = Base::new(access.settings, lists, &sides.desired, known);
    drop(sides);
    let part = Part { access, rules, base: &base, observed: &observed };
    for (zone, read) in &observed.zones {
        let zone_report = match read {
            Ok(there) => part.zone(zone, there, history).await,
            Err(failure) => ZoneReport::failed(zone, failure.clone()),
        };
        report.writes += zone_report.writes;
        report.zones.push(zone_report);
    }
    report
}

struct Part<'a, 's, 'h, H> {
    access: &'a Access<'s, 'h, H>,
    rules: &'a Rules,
    base: &'a Base,
    observed: &'a ObservedRules,
}

impl<H: Host> Part<'_, '_, '_, H> {
    fn decide(&self, zone: &Id, there: &ZoneRules, history: &RulesHistory) -> Decision {
        let now = self.access.session.unix_now();
        decide(self.base, self.rules, zone.as_str(), there, history, now)
    }

    async fn zone(
        &self,
        zone: &Id,
        there: &ZoneRules,
        history: &mut Remembered<RulesHistory>,
    ) -> ZoneReport {
        let Access { session, settings, clients, may_write, until, .. } = self.access;
        let mut decision = self.decide(zone, there, history);
        let age = session.elapsed().saturating_sub(self.observed.read_at);
        let is_written = !decision.patches.steps.is_empty()
            && decision.wait.is_none()
            && *may_write
            && !settings.dry_run;
        let again;
        let mut there = there;
        if is_written && age > READ_AGAIN_AFTER {
            match read::ruleset(session, clients, zone, *until).await {
                Ok(ruleset) => again = ZoneRules::new(ruleset, &self.observed.names),
                Err(failure) => return ZoneReport::failed(zone, failure),
            }
            there = &again;
            decision = self.decide(zone, there, history);
        }
        let problem = self.look(zone, there);
        let Decision { rules: decided, patches, wait, regions_taken, .. } = decision;
        let (is_due, is_unfinished) = (!patches.steps.is_empty(), patches.is_unfinished);
        if patches.has_gap && is_due {
            let text = "neither rule has room for who goes from one to the other: he is on neither for a moment";
            session.host().log(&announce(zone.as_str(), text));
        }
        let mut applied = AppliedRules::default();
        let outcome = match wait {
            _ if !is_due => Outcome::InSync,
            _ if settings.dry_run => Outcome::Planned,
            _ if !may_write => Outcome::Partial(ANOTHER_RUN.to_owned()),
            Some((left, Cause::Busy)) => Outcome::Partial(format!(
                "Cloudflare was busy with the zone's rules; the next change is tried in {} s",
                left.as_secs()
            )),
            Some((left, cause)) => Outcome::Failed(Failure::Zone {
                zone: zone.to_string(),
                what: stands_off(left, cause),
                source: None,
            }),
            None => {
                let token = checksum(settings.token.expose());
                let target = Target { account: &clients.account, zone, observed: there, token };
                applied = apply(session, &target, patches, history, *until).await;
                match (applied.failure.take(), applied.waits.take()) {
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
        let rules: Vec<RuleReport> = decided
            .iter()
            .rev()
            .filter_map(|(rule, decided)| {
                let made = applied.made.iter().find(|patch| patch.rule == rule);
                let says = match made {
                    _ if settings.dry_run => &decided.desired,
                    Some(made) => &made.to,
                    None => there.expression(rule)?,
                };
                Some(RuleReport {
                    rule,
                    fresh: says.parts().fresh.of.len() as u64,
                    lifted: says.parts().lifted.len() as u64,
                    waiting: decided.waiting.len() as u64,
                    characters: says.characters() as u64,
                })
            })
            .collect();
        let waiting: u64 = rules.iter().map(|rule| rule.waiting).sum();
        let outcome = match problem {
            Some(what) if outcome.is_well() && !settings.dry_run => {
                Outcome::Failed(Failure::Zone { zone: zone.to_string(), what, source: None })
            }
            Some(what) => {
                session.host().log(&announce(zone.as_str(), &what));
                outcome
            }
            None if waiting > 0 && outcome.is_well() => Outcome::Partial(match regions_taken {
                RegionsTaken::All => {
                    format!("{} without room in the rules", plural(waiting, "change"))
                }
                RegionsTaken::InForce | RegionsTaken::None => {
                    "Cloudflare refused countries or autonomous systems, which are left out for a day"
                        .to_owned()
                }
            }),
            None => outcome,
        };
        ZoneReport { zone: zone.to_string(), outcome, rules, writes: applied.writes }
    }

    /// Says what is odd about the zone's rules and is left alone; returns what makes the run fail.
    fn look(&self, zone: &Id, there: &ZoneRules) -> Option<String> {
        let host = self.access.session.host();
        let says = |text: &str| host.log(&announce(zone.as_str(), text));
        let mut problems = Vec::new();
        for (remediation, rule) in there.ours.iter() {
            problems.extend(rule.problem(remediation));
            let OurRule::Ours { rule, .. } = rule else { continue };
            let name = reference(remediation);
            if !rule.enabled {
                says(&format!(
                    "the rule {name:?} is switched off, and stays so: somebody did that"
                ));
            }
            if !rule.stops_visitors() {
                let action = clip(&rule.action, 32);
                says(&format!(
                    "the rule {name:?} has the action {action:?}, which stops nobody, and keeps it: somebody did that; `edge-sync setup` with this zone mends it"
                ));
            }
        }
        if there.is_in_wrong_order() {
            says(
                "the challenge stands before the ban: who is banned meets a challenge; `edge-sync setup` with this zone mends it",
            );
        }
        (!problems.is_empty()).then(|| problems.join("; "))
    }
}

/// Why the zone's rules are left alone, where somebody has to do something.
fn stands_off(left: Duration, cause: Cause) -> String {
    let left = left.as_secs();
    match cause {
        Cause::Denied => format!(
            "cf_api_token may not change its rules: it needs the permission {}; tried again in {left} s, or at once with another token",
            permission(Resource::Rules)
        ),
        Cause::Refused | Cause::Busy => format!(
            "Cloudflare has refused what its rules should say, more than once; they say what they said before, and the next is tried in {left} s"
        ),
    }
}

//! The rules of the zones of `cf_rules_zones`: whether they can be read, whether both are there and ours by the
//! reading of a run, their order, and how full they are.
//!
//! As with lists, no write is tried: what a write met is remembered (`store`).

use super::Finding;
use super::ask::ask;
use super::cloudflare::{EDIT_NOT_TRIED, refused};
use super::terraform;
use crate::native::Native;
use crate::setup::{BAN_LIST, CAPTCHA_LIST, Remediation as Wished};
use crate::words::{delta, plural, thousands};
use edge_sync_core::api::cloudflare::expression::{Expression, ListName};
use edge_sync_core::api::cloudflare::rules::{
    Rule, Ruleset, decode_ruleset, entrypoint, reference,
};
use edge_sync_core::api::cloudflare::{Account, CallError, Resource, decode_any};
use edge_sync_core::decision::{Each, Remediation};
use edge_sync_core::log::clip;
use edge_sync_core::observed::rules::{OurRule, ZoneRules};
use edge_sync_core::ports::Answer;
use edge_sync_core::settings::{Id, Lists, Rules};

/// What is said of all zones together, where nothing can be said of one.
pub(super) const CHECK: &str = "rules of zones";

/// The names of the lists in use, by which rules use them; those that could be read.
pub(super) type Names = Each<ListName>;

/// What is looked at.
pub(super) struct Zones<'a> {
    pub(super) native: &'a Native,
    pub(super) account: &'a Account,
    pub(super) lists: &'a Lists,
    pub(super) names: Names,
    pub(super) rules: &'a Rules,
}

impl Zones<'_> {
    pub(super) async fn examine(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for zone in &self.rules.zones {
            findings.extend(self.zone(zone).await);
        }
        findings
    }

    async fn zone(&self, zone: &Id) -> Vec<Finding> {
        let check = format!("zone {zone}");
        let answer = ask(self.native, entrypoint(self.account, zone)).await;
        let answer = answer.map_err(CallError::from);
        let read = answer.and_then(|answer| Ok((decode_ruleset(&answer)?, answer)));
        let (ruleset, answer) = match read {
            Ok(read) => read,
            Err(error) if error.status() == Some(404) => {
                let remedy = "there is no zone with this id that the token knows; copy the id again from the \
                              zone's overview page into cf_rules_zones";
                return vec![Finding::fail(check, error.to_string(), remedy)];
            }
            Err(error) => return vec![refused(check, &error, Resource::Rules)],
        };
        let count = plural(ruleset.rules.len() as u64, "custom rule");
        let mut findings =
            vec![Finding::ok(&check, format!("{count} can be read; {EDIT_NOT_TRIED}"))];
        match self.lists.iter().all(|(list, _)| self.names.get(list).is_some()) {
            true => findings.extend(self.ours(zone, ruleset)),
            false => findings.push(Finding::skipped(
                format!("{check}: rules"),
                "cannot be told before the lists can be read, whose names they use",
            )),
        }
        findings.extend(of_terraform(&check, &answer));
        findings
    }

    fn ours(&self, zone: &Id, ruleset: Ruleset) -> Vec<Finding> {
        let there = ZoneRules::new(ruleset, &self.names);
        let rules = there.ours.iter().rev();
        let mut findings: Vec<_> =
            rules.flat_map(|(rule, ours)| self.rule(zone, rule, ours)).collect();
        let is_there = |rule: &OurRule| *rule != OurRule::Absent;
        if there.ours.values().count() > 1 && there.ours.values().all(is_there) {
            let check = format!("zone {zone}: order");
            findings.push(match there.is_in_wrong_order() {
                false => Finding::ok(check, "the ban stands before the challenge"),
                true => Finding::warn(
                    check,
                    "the challenge stands before the ban: who is banned meets a challenge",
                    format!("{} moves the challenge behind the ban", self.setup(zone)),
                ),
            });
        }
        findings
    }

    /// All that is wrong with one rule, or that nothing is.
    fn rule(&self, zone: &Id, remediation: Remediation, ours: &OurRule) -> Vec<Finding> {
        let check = format!("zone {zone}: {remediation} rule");
        let (name, setup) = (reference(remediation), self.setup(zone));
        match ours {
            OurRule::Absent => vec![Finding::fail(
                check,
                format!("there is no rule {name:?}"),
                format!("{setup} makes it"),
            )],
            OurRule::Doubled => vec![Finding::fail(
                check,
                format!("there are several rules {name:?}, and none is touched"),
                "remove all but one",
            )],
            OurRule::Changed(said) => vec![Finding::fail(
                check,
                format!(
                    "the rule {name:?} does not say what a run writes, and is left alone: {said}"
                ),
                format!(
                    "{setup} gives it its expression back; what it says now you may put into a rule of your own"
                ),
            )],
            OurRule::Ours { rule, expression } => {
                let mut findings = Vec::new();
                let wished = wished(remediation).action();
                if rule.action != wished {
                    findings.push(Finding::warn(
                        &check,
                        format!("its action is {:?} and not {wished}", clip(&rule.action, 40)),
                        format!("{setup} gives it its action back"),
                    ));
                }
                if !rule.enabled {
                    findings.push(Finding::warn(
                        &check,
                        "is switched off, and no run switches it on: it keeps nobody out",
                        "switch it on at the dashboard, if it is not off on purpose",
                    ));
                }
                let room = self.room(rule, expression);
                if is_nearly_full(rule, self.rules.characters_max) {
                    findings.push(Finding::warn(
                        &check,
                        format!("is nearly full: {room}"),
                        "it empties with the next write of the list: see what is said of list writes; if it \
                         stays so, want fewer decisions (origins_exclude, scenarios_exclude, scopes)",
                    ));
                }
                if findings.is_empty() {
                    findings.push(Finding::ok(check, format!("{}, {room}", rule.action)));
                }
                findings
            }
        }
    }

    /// How much of its room an expression takes, and what for.
    fn room(&self, rule: &Rule, expression: &Expression) -> String {
        let says = delta(expression.parts());
        let says = says.as_deref().unwrap_or("nothing beyond its list");
        let [taken, max] =
            [characters(rule), self.rules.characters_max].map(|count| thousands(count as u64));
        format!("{taken} of {max} characters (rules_characters_max): {says}")
    }

    /// The command that makes and mends the rules of a zone, with the lists that are in use.
    fn setup(&self, zone: &Id) -> String {
        let mut command = format!("`edge-sync setup --zone {zone}");
        for (list, flag, default) in [
            (Remediation::Ban, "--ban-list", BAN_LIST),
            (Remediation::Captcha, "--captcha-list", CAPTCHA_LIST),
        ] {
            match self.names.get(list).map(ListName::as_str) {
                Some(name) if name != default => command.push_str(&format!(" {flag} {name}")),
                Some(_) => {}
                None if list == Remediation::Captcha => command.push_str(" --ban-only"),
                None => {}
            }
        }
        command + " --apply`"
    }
}

fn wished(remediation: Remediation) -> Wished {
    match remediation {
        Remediation::Ban => Wished::Ban,
        Remediation::Captcha => Wished::Captcha,
    }
}

/// As Cloudflare counts them: the text that stands there, however it is laid out.
fn characters(rule: &Rule) -> usize {
    rule.expression.chars().count()
}

/// From here on a run takes the list's turn for urgent.
fn is_nearly_full(rule: &Rule, max: usize) -> bool {
    characters(rule) * 4 > max * 3
}

fn of_terraform(check: &str, answer: &Answer) -> Option<Finding> {
    let (result, _) = decode_any(answer).ok()?;
    let ruleset: terraform::Ruleset = serde_json::from_value(result).ok()?;
    let sign = ruleset.sign_of_terraform()?;
    Some(Finding::warn(
        format!("{check}: owner"),
        format!(
            "the ruleset seems to be kept by Terraform, or a program like it: {sign}. Each apply writes all its \
             rules, and takes back what runs have put into ours"
        ),
        "let it ignore the expressions of our two rules, or keep them out of it: deploy/terraform/README.md, \
         \"With cf_rules_zones\"",
    ))
}

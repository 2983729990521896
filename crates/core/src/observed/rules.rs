//! The two rules of ours in each zone, as they could be read.
//!
//! Found by `ref`, never by id: an id is renewed when somebody writes the whole ruleset (facts
//! cloudflare-rules 4.4). What is not understood is reported and never overwritten.

use std::time::Duration;

use crate::api::cloudflare::expression::{Expression, ListName};
use crate::api::cloudflare::rules::{Rule, Ruleset, reference};
use crate::decision::{Each, Remediation};
use crate::failure::Failure;
use crate::settings::{Id, Lists};

/// What was read of every zone, in the order of the setting.
#[derive(Debug, Default)]
pub struct ObservedRules {
    /// The zones.
    pub zones: Vec<(Id, Result<ZoneRules, Failure>)>,
    /// How many rules of the account use each list, by what Cloudflare says; `None` = not known.
    pub references: Each<u64>,
    /// The names of the lists, by which rules use them.
    pub names: Each<ListName>,
    /// How old the run was when they were read.
    pub read_at: Duration,
}

/// The ruleset of one zone.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneRules {
    /// As it was read, whole: a change echoes every other field of a rule, and its answer is compared
    /// with what was there.
    pub ruleset: Ruleset,
    /// Our rule for each list that is in use.
    pub ours: Each<OurRule>,
}

/// One of our rules.
#[derive(Debug, Clone, PartialEq)]
pub enum OurRule {
    /// It is as this program writes it.
    Ours {
        /// As it was read.
        rule: Box<Rule>,
        /// What it says.
        expression: Expression,
    },
    /// There is none with our `ref`.
    Absent,
    /// There are several with our `ref`.
    Doubled,
    /// Somebody gave it another expression or action. Holds what is wrong.
    Changed(String),
}

impl ObservedRules {
    /// Whether no rule outside of these zones uses the lists, by what Cloudflare says.
    pub fn covers(&self, lists: &Lists) -> bool {
        lists.iter().all(|(list, _)| {
            let ours = self.zones.iter().filter(|(_, zone)| {
                zone.as_ref().is_ok_and(|zone| zone.expression(list).is_some())
            });
            self.references.get(list).is_some_and(|used| *used <= ours.count() as u64)
        })
    }
}

impl ZoneRules {
    /// Looks for our rules, each for the list of this name.
    pub fn new(ruleset: Ruleset, names: &Each<ListName>) -> Self {
        let ours = names
            .iter()
            .map(|(remediation, name)| (remediation, OurRule::find(&ruleset, remediation, name)));
        Self { ours: ours.collect(), ruleset }
    }

    /// What our rule says, if it is ours.
    pub fn expression(&self, remediation: Remediation) -> Option<&Expression> {
        match self.ours.get(remediation)? {
            OurRule::Ours { expression, .. } => Some(expression),
            OurRule::Absent | OurRule::Doubled | OurRule::Changed(_) => None,
        }
    }

    /// Whether our challenge stands before our ban, where it would meet who is banned.
    pub fn is_in_wrong_order(&self) -> bool {
        let place = |remediation| {
            let is_ours = |rule: &Rule| rule.reference.as_deref() == Some(reference(remediation));
            self.ruleset.rules.iter().position(is_ours)
        };
        match (place(Remediation::Ban), place(Remediation::Captcha)) {
            (Some(ban), Some(captcha)) => captcha < ban,
            _ => false,
        }
    }
}

impl OurRule {
    fn find(ruleset: &Ruleset, remediation: Remediation, name: &ListName) -> Self {
        let wanted = Some(reference(remediation));
        let mut ours = ruleset.rules.iter().filter(|rule| rule.reference.as_deref() == wanted);
        let rule = match (ours.next(), ours.next()) {
            (None, _) => return Self::Absent,
            (Some(_), Some(_)) => return Self::Doubled,
            (Some(rule), None) => rule,
        };
        if !rule.is_whole() {
            return Self::Changed("it was read without its id or its action".to_owned());
        }
        match Expression::parse(&rule.expression, name) {
            Ok(expression) => Self::Ours { rule: Box::new(rule.clone()), expression },
            Err(not_ours) => Self::Changed(not_ours.to_string()),
        }
    }

    /// Why it is left alone, and what to do; `None` = it is ours.
    pub fn problem(&self, remediation: Remediation) -> Option<String> {
        let name = reference(remediation);
        match self {
            Self::Ours { .. } => None,
            Self::Absent => Some(format!(
                "there is no rule {name:?}; `edge-sync setup` with this zone makes it"
            )),
            Self::Doubled => Some(format!(
                "there are several rules {name:?}, and neither is touched; remove all but one"
            )),
            Self::Changed(said) => Some(format!(
                "the rule {name:?} does not say what this program writes, and is left alone: {said}; `edge-sync setup` with this zone mends it"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::cloudflare::rules::decode_ruleset;
    use crate::ports::Answer;

    /// A zone with rules of these refs.
    fn zone(references: &[&str]) -> ZoneRules {
        let rule = |(id, reference): (usize, &&str)| {
            format!(
                r#"{{"id":"{id}","ref":"{reference}","action":"block","expression":"ip.src in $l"}}"#
            )
        };
        let rules: Vec<String> = references.iter().enumerate().map(rule).collect();
        let body = format!(
            r#"{{"success":true,"errors":[],"messages":[],"result":{{"id":"r","rules":[{}]}}}}"#,
            rules.join(",")
        );
        let ruleset = decode_ruleset(&Answer::of(200, body)).unwrap();
        let names = [(Remediation::Ban, "l".parse().unwrap())].into_iter().collect();
        ZoneRules::new(ruleset, &names)
    }

    #[test]
    fn challenge_before_the_ban_is_in_the_wrong_order_wherever_other_rules_stand() {
        let [ban, captcha] = [Remediation::Ban, Remediation::Captcha].map(reference);
        assert!(zone(&[captcha, ban]).is_in_wrong_order());
        assert!(zone(&["x", captcha, "y", ban, "z"]).is_in_wrong_order());
        for order in [&[ban, captcha][..], &["x", ban, "y", captcha], &[ban, "x"], &[captcha], &[]]
        {
            assert!(!zone(order).is_in_wrong_order(), "{order:?}");
        }
    }
}

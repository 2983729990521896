//! What somebody else does to a zone's rules: a person at the dashboard, Terraform, another program.
//! Nothing of it is a request, or is refused.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::body::{NewRule, Place};
use super::store::{Ruleset, Zone};
use crate::random::{Random, hex_id};

/// One change. Rules are named by their `ref`; where there is no such rule nothing happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RulesEdit {
    /// `add ACTION EXPRESSION`: another rule at the end.
    Add {
        /// What it does.
        action: String,
        /// When.
        expression: String,
    },
    /// `set REF EXPRESSION`: another expression.
    Set {
        /// Of this rule.
        reference: String,
        /// The new one.
        expression: String,
    },
    /// `act REF ACTION`: another action.
    Act {
        /// Of this rule.
        reference: String,
        /// The new one.
        action: String,
    },
    /// `disable REF`: switched off.
    Disable(String),
    /// `enable REF`: switched on.
    Enable(String),
    /// `move-first REF`.
    MoveFirst(String),
    /// `move-last REF`.
    MoveLast(String),
    /// `delete REF`.
    Delete(String),
    /// `double REF`: one more rule with this `ref`, right after the first.
    Double(String),
    /// `renew-ids`: a PUT of all rules, as Terraform sends it. Every rule is the same and has another id,
    /// also as its `ref` if that was its id.
    RenewIds,
    /// `delete-all`: the ruleset goes.
    DeleteAll,
}

impl RulesEdit {
    /// Whether anything changed.
    pub(super) fn apply(&self, zone: &mut Zone, now: Duration, random: &mut Random) -> bool {
        if let Self::Add { action, expression } = self {
            let id = hex_id(random.next_u128());
            let ruleset = zone
                .ruleset
                .get_or_insert_with(|| Ruleset::new(id, "default".to_owned(), String::new(), now));
            ruleset.add(NewRule::unnamed(expression, action), None, now, random);
            ruleset.touch(now);
            return true;
        }
        let Some(ruleset) = &mut zone.ruleset else { return false };
        let index = match self.reference() {
            None => 0,
            Some(reference) => match ruleset.find_reference(reference) {
                Some(index) => index,
                None => return false,
            },
        };
        match self {
            Self::Add { .. } => {}
            Self::Set { expression, .. } => {
                ruleset.edit(index, now, |view| view.expression.clone_from(expression));
            }
            Self::Act { action, .. } => {
                ruleset.edit(index, now, |view| view.action.clone_from(action));
            }
            Self::Disable(_) => ruleset.edit(index, now, |view| view.enabled = false),
            Self::Enable(_) => ruleset.edit(index, now, |view| view.enabled = true),
            Self::MoveFirst(_) => ruleset.move_to(index, &Place::Start),
            Self::MoveLast(_) => ruleset.move_to(index, &Place::End),
            Self::Delete(_) => drop(ruleset.rules.remove(index)),
            Self::Double(_) => ruleset.double(index, now, random),
            Self::RenewIds => ruleset.renew_ids(now, random),
            Self::DeleteAll => {
                zone.ruleset = None;
                return true;
            }
        }
        ruleset.touch(now);
        true
    }

    fn reference(&self) -> Option<&str> {
        match self {
            Self::Set { reference, .. } | Self::Act { reference, .. } => Some(reference),
            Self::Disable(reference)
            | Self::Enable(reference)
            | Self::MoveFirst(reference)
            | Self::MoveLast(reference)
            | Self::Delete(reference)
            | Self::Double(reference) => Some(reference),
            Self::Add { .. } | Self::RenewIds | Self::DeleteAll => None,
        }
    }
}

impl fmt::Display for RulesEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { action, expression } => write!(f, "add {action} {expression}"),
            Self::Set { reference, expression } => write!(f, "set {reference} {expression}"),
            Self::Act { reference, action } => write!(f, "act {reference} {action}"),
            Self::Disable(reference) => write!(f, "disable {reference}"),
            Self::Enable(reference) => write!(f, "enable {reference}"),
            Self::MoveFirst(reference) => write!(f, "move-first {reference}"),
            Self::MoveLast(reference) => write!(f, "move-last {reference}"),
            Self::Delete(reference) => write!(f, "delete {reference}"),
            Self::Double(reference) => write!(f, "double {reference}"),
            Self::RenewIds => f.write_str("renew-ids"),
            Self::DeleteAll => f.write_str("delete-all"),
        }
    }
}

impl FromStr for RulesEdit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let wrong = || {
            format!(
                "{text:?} is no edit of rules: add ACTION EXPRESSION | set REF EXPRESSION | \
                 act REF ACTION | disable, enable, move-first, move-last, delete or double REF | \
                 renew-ids | delete-all"
            )
        };
        let one = || match rest.is_empty() || rest.contains(' ') {
            true => Err(wrong()),
            false => Ok(rest.to_owned()),
        };
        let two = || match rest.split_once(' ') {
            Some((first, second)) if !first.is_empty() && !second.is_empty() => {
                Ok((first.to_owned(), second.to_owned()))
            }
            _ => Err(wrong()),
        };
        Ok(match verb {
            "add" => {
                let (action, expression) = two()?;
                Self::Add { action, expression }
            }
            "set" => {
                let (reference, expression) = two()?;
                Self::Set { reference, expression }
            }
            "act" => {
                let (reference, action) = two()?;
                Self::Act { reference, action }
            }
            "disable" => Self::Disable(one()?),
            "enable" => Self::Enable(one()?),
            "move-first" => Self::MoveFirst(one()?),
            "move-last" => Self::MoveLast(one()?),
            "delete" => Self::Delete(one()?),
            "double" => Self::Double(one()?),
            "renew-ids" if rest.is_empty() => Self::RenewIds,
            "delete-all" if rest.is_empty() => Self::DeleteAll,
            _ => return Err(wrong()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_printed_and_read_back_is_the_same_edit() {
        for text in [
            "add log ip.src in $ban and true",
            "set our_ban (ip.src in $ban) or ip.src in {192.0.2.1}",
            "act our_ban log",
            "disable our_ban",
            "enable our_ban",
            "move-first our_ban",
            "move-last our_ban",
            "delete our_ban",
            "double our_ban",
            "renew-ids",
            "delete-all",
        ] {
            let edit: RulesEdit = text.parse().unwrap();
            assert_eq!(edit.to_string(), text);
        }
        for text in ["", "add log", "disable", "disable a b", "renew-ids now", "set a", "mend a"] {
            assert!(text.parse::<RulesEdit>().is_err(), "{text}");
        }
    }
}

//! The plan and what came of it, for people (text) and for programs (JSON). `+` is made, `~` changed,
//! `-` removed, `=` as it should be, `!` left as it is, with the reason.

use std::fmt;

use serde_json::{Map, Value, json};

use super::apply::Applied;
use super::plan::{Entry, Plan, Step, What};
use super::{NAMESPACE, Remediation};

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateList { name, .. } => write!(f, "+ list {name}"),
            Self::CreateNamespace => write!(f, "+ KV namespace {NAMESPACE}"),
            Self::CreateRuleset { rules, .. } => {
                f.write_str("+ ruleset for custom rules, with")?;
                for (at, rule) in rules.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    let (expression, action) = (rule.expression(), rule.remediation.action());
                    write!(
                        f,
                        "{comma} {}: {expression} -> {action}",
                        rule.remediation.reference()
                    )?;
                }
                Ok(())
            }
            Self::AddRule { rule, .. } => {
                let (expression, action) = (rule.expression(), rule.remediation.action());
                write!(f, "+ rule {}: {expression} -> {action}", rule.remediation.reference())
            }
            Self::CorrectRule { seen, rule, .. } => {
                write!(f, "~ rule {}:", rule.remediation.reference())?;
                let mut comma = "";
                for (what, is, should) in [
                    ("expression", &seen.expression, rule.expression()),
                    ("action", &seen.action, rule.remediation.action().to_owned()),
                ] {
                    if *is != should {
                        write!(f, "{comma} {what} {is} -> {should}")?;
                        comma = ",";
                    }
                }
                Ok(())
            }
            Self::MoveRule { .. } => {
                let [ban, captcha] = [Remediation::Ban, Remediation::Captcha];
                write!(f, "~ rule {}: behind {}", captcha.reference(), ban.reference())
            }
            Self::RemoveRule { reference, .. } => write!(f, "- rule {reference}"),
            Self::RemoveRuleset { .. } => f.write_str("- ruleset for custom rules, then empty"),
            Self::RemoveList { name, items, .. } => {
                let s = if *items == 1 { "" } else { "s" };
                write!(f, "- list {name} with {items} item{s}")
            }
            Self::RemoveNamespace { .. } => {
                write!(f, "- KV namespace {NAMESPACE} with all its keys")
            }
        }
    }
}

impl fmt::Display for Entry {
    /// `+ rule … (zone example.com)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Do(step) => write!(f, "{step}")?,
            What::Keep(text) => write!(f, "= {text}")?,
            What::Leave(text) => write!(f, "! {text}")?,
        }
        match &self.zone {
            None => Ok(()),
            Some(zone) => write!(f, " (zone {zone})"),
        }
    }
}

impl fmt::Display for Plan {
    /// All lines, and a summary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            writeln!(f, "{entry}")?;
        }
        let [made, changed, removed, kept, left] = self.counts();
        write!(
            f,
            "plan: make {made}, change {changed}, remove {removed}; {kept} as they should be, {left} \
             left alone"
        )
    }
}

impl Plan {
    fn counts(&self) -> [usize; 5] {
        let lines: Vec<String> = self.entries.iter().map(ToString::to_string).collect();
        ['+', '~', '-', '=', '!']
            .map(|mark| lines.iter().filter(|line| line.starts_with(mark)).count())
    }
}

/// The settings that name what was asked for, as variables of the environment; without a value where
/// it is not there yet.
pub fn settings(plan: &Plan, applied: &Applied) -> Vec<(String, Option<String>)> {
    let ids = || plan.known.iter().chain(&applied.made);
    let id = |setting| ids().find(|(name, _)| *name == setting).map(|(_, id)| id.clone());
    let variable = |setting: &str| format!("SPIN_VARIABLE_{}", setting.to_ascii_uppercase());
    plan.settings.iter().map(|setting| (variable(setting), id(*setting))).collect()
}

/// What a program is told: plan, outcome and settings at once.
#[derive(Debug)]
pub struct Report<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What came of it; `None` after a dry run.
    pub applied: Option<&'a Applied>,
}

impl Report<'_> {
    /// As JSON; the names of the fields are an interface.
    pub fn to_json(&self) -> Value {
        let entry = |entry: &Entry| {
            let line = Entry { zone: None, ..entry.clone() }.to_string();
            let (mark, text) = line.split_at(1);
            json!({ "mark": mark, "text": text.trim_start(), "zone": entry.zone })
        };
        let nothing = Applied::default();
        let applied = self.applied.unwrap_or(&nothing);
        let settings: Map<String, Value> = settings(self.plan, applied)
            .into_iter()
            .map(|(name, value)| (name, json!(value)))
            .collect();
        json!({
            "plan": self.plan.entries.iter().map(entry).collect::<Value>(),
            "changes": self.plan.steps().count(),
            "applied": self.applied.is_some(),
            "left": applied.left,
            "settings": settings,
        })
    }
}

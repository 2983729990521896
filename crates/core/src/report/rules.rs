//! What a run did to the rules of the zones, in numbers and in one line a zone.

use crate::decision::Remediation;
use crate::failure::Failure;
use crate::log::{Level, Line, plural, thousands};
use crate::settings::Id;

use super::{Outcome, RunCounts};

/// The rules' part of a run.
#[derive(Debug, Default)]
pub struct RulesReport {
    /// The zones, in the order of the setting.
    pub zones: Vec<ZoneReport>,
    /// PATCH requests that were sent.
    pub writes: u64,
}

/// One zone's part.
#[derive(Debug)]
pub struct ZoneReport {
    /// Its id.
    pub zone: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Our rules in it; none where they could not be decided.
    pub rules: Vec<RuleReport>,
    /// PATCH requests that were sent.
    pub writes: u64,
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleReport {
    /// Which.
    pub rule: Remediation,
    /// Addresses and ranges that it matches although the list lacks them.
    pub fresh: u64,
    /// Addresses and ranges that it does not match although the list has them.
    pub lifted: u64,
    /// What should stand in it and has no room.
    pub waiting: u64,
    /// The length of its expression.
    pub characters: u64,
}

impl RulesReport {
    /// Whether every zone is as desired.
    pub fn is_success(&self) -> bool {
        self.zones.iter().all(|zone| zone.outcome.is_success())
    }

    /// The lines that every run ends with, one for each zone.
    pub fn summaries(&self, run: &RunCounts) -> Vec<Line> {
        self.zones.iter().map(|zone| zone.summary(run)).collect()
    }
}

impl ZoneReport {
    /// A zone of which no more is known than that it failed.
    pub(crate) fn failed(zone: &Id, failure: Failure) -> Self {
        let (zone, outcome) = (zone.to_string(), Outcome::Failed(failure));
        Self { zone, outcome, rules: Vec::new(), writes: 0 }
    }

    fn summary(&self, run: &RunCounts) -> Line {
        let (line, mut text) = self.outcome.begin("rules", self.outcome.is_success());
        let mut line = line.with("zone", &self.zone);
        text.push_str(&format!(" · zone {}", self.zone));
        for RuleReport { rule, fresh, lifted, waiting, characters } in &self.rules {
            text.push_str(&format!(
                " · {rule}: {} fresh, {} lifted, {} characters",
                thousands(*fresh),
                thousands(*lifted),
                thousands(*characters)
            ));
            if *waiting > 0 {
                text.push_str(&format!(", {} without room", thousands(*waiting)));
            }
        }
        let sum = |of: fn(&RuleReport) -> u64| self.rules.iter().map(of).sum::<u64>();
        line = line.with("fresh", sum(|rule| rule.fresh)).with("lifted", sum(|rule| rule.lifted));
        line = line.with("waiting", sum(|rule| rule.waiting)).with("writes", self.writes);
        text.push_str(&format!(" · {}", plural(self.writes, "change")));
        run.end(line, text)
    }
}

/// Says which rule is not as it should be, and is left alone.
pub(crate) fn announce(zone: &str, problem: &str) -> Line {
    let text = format!("zone {zone}: {problem}");
    Line::new(Level::Warn, "rules", text).with("zone", zone)
}

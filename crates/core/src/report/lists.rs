//! What a run did to the IP lists, in numbers and in one line.

use std::time::Duration;

use crate::apply::lists::Applied;
use crate::decision::Remediation;
use crate::desired::OriginCounts;
use crate::log::{Line, plural, thousands};
use crate::plan::lists::{Effect, Plan};

use super::{Outcome, RunCounts};

/// The lists' part of a run.
#[derive(Debug)]
pub struct ListsReport {
    /// How it ended.
    pub outcome: Outcome,
    /// What was to be done, if both sides could be read.
    pub plan: Option<PlanCounts>,
    /// The operations that completed.
    pub completed: Vec<Effect>,
    /// Write requests sent.
    pub writes: u64,
    /// How long no write may be tried, because Cloudflare refused the last one.
    pub backoff: Option<Duration>,
}

/// The plan in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanCounts {
    /// Items that differed.
    pub drift: u64,
    /// Items that no decision asks for and that stay, because the guard refused their removal.
    pub held: u64,
    /// The lists in use, bans first.
    pub lists: Vec<ListCounts>,
    /// The desired addresses by origin, and how many of them have no place.
    pub origins: Vec<OriginCounts>,
}

/// One list's part of the plan in numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ListCounts {
    /// Which list.
    pub list: Remediation,
    /// Items that it should have.
    pub desired: u64,
    /// Items that could not be understood.
    pub left_alone: u64,
}

impl PlanCounts {
    /// Items that should be on `list`.
    pub fn desired(&self, list: Remediation) -> u64 {
        self.lists.iter().filter(|counts| counts.list == list).map(|counts| counts.desired).sum()
    }

    /// Items on `list` that could not be understood.
    pub fn left_alone(&self, list: Remediation) -> u64 {
        self.lists.iter().filter(|counts| counts.list == list).map(|counts| counts.left_alone).sum()
    }

    /// Desired addresses that have no place.
    pub fn dropped(&self) -> u64 {
        self.origins.iter().map(|origin| origin.dropped).sum()
    }

    /// The same, where only `approved` of the plan may be applied.
    pub(crate) fn holding(mut self, approved: &Plan) -> Self {
        self.held -= lifted(approved);
        self
    }
}

impl From<&Plan> for PlanCounts {
    fn from(plan: &Plan) -> Self {
        let lists = plan.lists().iter().map(|list| ListCounts {
            list: list.list,
            desired: list.desired,
            left_alone: list.foreign,
        });
        Self {
            drift: plan.drift(),
            held: lifted(plan),
            lists: lists.collect(),
            origins: plan.origins().to_vec(),
        }
    }
}

fn lifted(plan: &Plan) -> u64 {
    plan.lists().iter().map(|list| list.lifted().count() as u64).sum()
}

impl ListsReport {
    /// A run that came to no plan.
    pub(crate) fn unplanned(outcome: Outcome) -> Self {
        Self { outcome, plan: None, completed: Vec::new(), writes: 0, backoff: None }
    }

    /// A run that had a plan.
    pub(crate) fn planned(
        outcome: Outcome,
        plan: PlanCounts,
        applied: Applied,
        backoff: Option<Duration>,
    ) -> Self {
        Self {
            outcome,
            plan: Some(plan),
            completed: applied.completed,
            writes: applied.writes,
            backoff,
        }
    }

    /// Items that were seen to be added to `list`.
    pub fn added(&self, list: Remediation) -> u64 {
        self.completed.iter().filter(|effect| effect.list == list).map(|effect| effect.added).sum()
    }

    /// Items that were seen to be removed from `list`.
    pub fn removed(&self, list: Remediation) -> u64 {
        self.completed
            .iter()
            .filter(|effect| effect.list == list)
            .map(|effect| effect.removed)
            .sum()
    }

    /// Items that still differ, as far as we saw; `None` if that is not known.
    pub fn drift(&self) -> Option<u64> {
        let done: u64 = self.completed.iter().map(|effect| effect.added + effect.removed).sum();
        Some(self.plan.as_ref()?.drift.saturating_sub(done))
    }

    /// The line that every run ends with.
    pub fn summary(&self, run: &RunCounts) -> Line {
        let (mut line, mut text) = self.outcome.begin("lists");
        if let Some(plan) = &self.plan {
            let [ban, captcha] = Remediation::ALL.map(|list| plan.desired(list));
            line = run.desired(line, &mut text, ban, captcha);
            if plan.dropped() > 0 {
                text.push_str(&format!(", {} without a place", thousands(plan.dropped())));
                line = line.with("dropped", plan.dropped());
            }
        }
        if let Some(drift) = self.drift() {
            let added: u64 = Remediation::ALL.map(|list| self.added(list)).iter().sum();
            let removed: u64 = Remediation::ALL.map(|list| self.removed(list)).iter().sum();
            text.push_str(&format!(
                " · edge: {} added, {} removed, drift {}",
                thousands(added),
                thousands(removed),
                thousands(drift)
            ));
            line = line.with("added", added).with("removed", removed).with("drift", drift);
        }
        if let Some(held) = self.plan.as_ref().map(|plan| plan.held).filter(|held| *held > 0) {
            line = line.with("held", held);
        }
        if let Some(backoff) = self.backoff {
            line = line.with("rate_limited", 1).with("next_write_seconds", backoff.as_secs());
        }
        text.push_str(&format!(" · {}", plural(self.writes, "bulk operation")));
        run.end(line.with("operations", self.writes), text)
    }
}

//! What a run did to the IP lists, in numbers and in one line.

use std::time::Duration;

use crate::address::Address;
use crate::apply::lists::Applied;
use crate::decision::Remediation;
use crate::desired::OriginCounts;
use crate::log::{Level, Line, plural, thousands};
use crate::observed::lists::Observed;
use crate::plan::lists::Plan;
use crate::schedule::lists::{Effect, Schedule};
use crate::skipped::Left;
use crate::state::writes::Cause;

use super::{Outcome, RunCounts, few};

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
    /// How many seconds ago the lists were read, if they were not by this run: nothing has changed since, by what
    /// Cloudflare says.
    pub remembered_secs: Option<u64>,
    /// Whether rules say in every zone what the lists lack.
    pub stood_in: bool,
    /// Whether somebody is left out because fewer items fit than the settings say: rules leave him out too.
    pub leaves_out: bool,
    /// How long no write may be tried, and why.
    pub backoff: Option<(Duration, Cause)>,
}

/// The plan in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanCounts {
    /// Items that differed.
    pub drift: u64,
    /// Items that would go and stay, because the guard holds them back.
    pub held: u64,
    /// Items that are there, understood or not.
    pub there: u64,
    /// The lists in use, bans first.
    pub lists: Vec<ListCounts>,
    /// The desired addresses by origin, and how many of them have no place.
    pub origins: Vec<OriginCounts>,
    /// Desired addresses that Cloudflare refuses as values.
    pub set_aside: Left,
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

    /// Of a plan as the guard has approved it, and of the items that are there.
    pub(crate) fn of(plan: &Plan, there: u64) -> Self {
        let lists = plan.lists().iter().map(|list| ListCounts {
            list: list.list,
            desired: list.desired,
            left_alone: list.foreign,
        });
        Self {
            drift: plan.drift(),
            held: plan.held(),
            there,
            lists: lists.collect(),
            origins: plan.origins().to_vec(),
            set_aside: plan.set_aside().clone(),
        }
    }
}

/// Says what is going to change on the lists, before it is tried.
pub(crate) fn announce(
    plan: &Plan,
    schedule: &Schedule,
    observed: &Observed,
    all: bool,
) -> Vec<Line> {
    let mut lines = Vec::new();
    for (list, content) in observed.lists().filter(|(_, content)| content.foreign().count > 0) {
        let text = format!(
            "the {list} list has items that are no IP addresses; they are left alone: {}",
            content.foreign().describe()
        );
        let line = Line::new(Level::Warn, "left_alone", text);
        lines.push(line.with("list", list).with("items", content.foreign().count));
    }
    if plan.is_empty() {
        return lines;
    }
    let operations = schedule.operations().len() as u64;
    let text = format!("plan: {plan}; {}", plural(operations, "bulk operation"));
    let line = Line::new(Level::Info, "plan", text).with("target", "lists");
    lines.push(line.with("drift", plan.drift()).with("operations", operations));
    let change = |word, list: Remediation, address: Address, text: String, why| {
        let line = Line::new(Level::Info, "change", text).with("change", word).with("list", list);
        line.with("address", address).with("why", why)
    };
    let removals = plan.lists().iter().flat_map(|of| {
        of.removals.iter().map(|removal| {
            let (list, address, why) = (of.list, removal.address, removal.why.as_str());
            change("remove", list, address, format!("  - {address} ({list}; {why})"), why)
        })
    });
    lines.extend(removals);
    let additions = plan.lists().iter().flat_map(|of| {
        of.additions.iter().map(|addition| {
            let (list, address, why) = (of.list, addition.address, addition.why.as_str());
            change("add", list, address, format!("  + {address} ({list})"), why)
        })
    });
    lines.extend(few(additions, "addition", "lists", all));
    lines
}

impl ListsReport {
    /// A run that came to no plan.
    pub(crate) fn unplanned(outcome: Outcome) -> Self {
        Self {
            outcome,
            plan: None,
            completed: Vec::new(),
            writes: 0,
            remembered_secs: None,
            stood_in: false,
            leaves_out: false,
            backoff: None,
        }
    }

    /// A run that had a plan.
    pub(crate) fn planned(
        outcome: Outcome,
        plan: PlanCounts,
        applied: Applied,
        backoff: Option<(Duration, Cause)>,
    ) -> Self {
        Self {
            outcome,
            plan: Some(plan),
            completed: applied.completed,
            writes: applied.writes,
            remembered_secs: None,
            stood_in: false,
            leaves_out: false,
            backoff,
        }
    }

    /// Whether the edge is as desired, by the lists or by the rules that stand in for them.
    pub fn is_success(&self) -> bool {
        let waits = matches!(self.outcome, Outcome::Waits(..) | Outcome::Partial(_));
        self.outcome.is_success() || self.stood_in && waits
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
        let (mut line, mut text) = self.outcome.begin("lists", self.is_success());
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
            let (left, cause) = backoff;
            line = line.with("rate_limited", u8::from(cause == Cause::Throttled));
            line = line.with("next_write_seconds", left.as_secs());
        }
        if let Some(secs) = self.remembered_secs {
            text.push_str(&format!(", unchanged since it was read {} ago", plural(secs, "second")));
            line = line.with("read_seconds_ago", secs);
        }
        text.push_str(&format!(" · {}", plural(self.writes, "bulk operation")));
        let there = self.plan.as_ref().map_or(0, |plan| plan.there);
        line = run.forgot(line, &mut text, there);
        run.end(line.with("operations", self.writes), text)
    }
}

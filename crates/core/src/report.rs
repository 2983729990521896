//! What a run did, in numbers and in one line.
//!
//! An unread report is not actionable, so every run ends with its summary, also when nothing was to
//! do, and says what it waits for.

use std::time::Duration;

use crate::apply::Stopped;
use crate::decision::Remediation;
use crate::desired::{Desired, Skipped};
use crate::failure::Failure;
use crate::log::{Level, Line, plural, seconds, thousands};
use crate::plan::{Effect, Plan};
use crate::session::RequestCounts;

/// How a run ended.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// The edge was as desired; nothing was written.
    InSync,
    /// The edge is as desired now.
    Applied,
    /// A dry run: the plan was shown and not applied.
    Planned,
    /// LAPI could not be read, so nothing was touched. Holds the reason.
    Skipped(String),
    /// Something is still going on. Holds what we wait for.
    Partial(String),
    /// It did not work, and somebody should look.
    Failed(Failure),
}

impl Outcome {
    /// Whether the edge is as desired, or nobody asked for that.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::InSync | Self::Applied | Self::Planned)
    }

    fn word(&self) -> &'static str {
        match self {
            Self::InSync => "in_sync",
            Self::Applied => "applied",
            Self::Planned => "planned",
            Self::Skipped(_) => "skipped",
            Self::Partial(_) => "partial",
            Self::Failed(_) => "failed",
        }
    }
}

/// A run in numbers.
#[derive(Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// What was desired, if LAPI could be read.
    pub desired: Option<DesiredCounts>,
    /// What was to be done, if both sides could be read.
    pub plan: Option<PlanCounts>,
    /// The operations that completed.
    pub completed: Vec<Effect>,
    /// Write requests sent.
    pub writes: u64,
    /// Requests, the writes among them.
    pub requests: RequestCounts,
    /// How long it took.
    pub duration: Duration,
}

/// The desired state in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredCounts {
    /// Addresses to ban.
    pub ban: u64,
    /// Addresses to challenge.
    pub captcha: u64,
    /// What was left out.
    pub skipped: Skipped,
}

impl From<&Desired> for DesiredCounts {
    fn from(desired: &Desired) -> Self {
        Self {
            ban: desired.count(Remediation::Ban),
            captcha: desired.count(Remediation::Captcha),
            skipped: desired.skipped().clone(),
        }
    }
}

/// The plan in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanCounts {
    /// Items that differed.
    pub drift: u64,
    /// The lists in use, bans first.
    pub lists: Vec<ListCounts>,
}

/// One list's part of the plan in numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ListCounts {
    /// Which list.
    pub list: Remediation,
    /// Items that could not be understood.
    pub left_alone: u64,
}

impl PlanCounts {
    /// Items on `list` that could not be understood.
    pub fn left_alone(&self, list: Remediation) -> u64 {
        self.lists.iter().filter(|counts| counts.list == list).map(|counts| counts.left_alone).sum()
    }
}

impl From<&Plan> for PlanCounts {
    fn from(plan: &Plan) -> Self {
        let lists = plan.lists().iter();
        Self {
            drift: plan.drift(),
            lists: lists.map(|l| ListCounts { list: l.list, left_alone: l.foreign }).collect(),
        }
    }
}

impl From<Stopped> for Outcome {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Waiting(what) => Self::Partial(what),
            Stopped::Failed(failure) => Self::Failed(failure),
        }
    }
}

impl Report {
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
    pub fn summary(&self) -> Line {
        let (level, story) = match &self.outcome {
            Outcome::InSync => (Level::Info, "in sync: nothing to do".to_owned()),
            Outcome::Applied => (Level::Info, "applied: the edge is as desired".to_owned()),
            Outcome::Planned => (Level::Info, "dry run: nothing was written".to_owned()),
            Outcome::Skipped(why) => (
                Level::Warn,
                format!("skipped: LAPI could not be read, the edge is left as it is: {why}"),
            ),
            Outcome::Partial(waiting) => (Level::Warn, format!("partly done: {waiting}")),
            Outcome::Failed(failure) => (Level::Error, format!("failed: {}", failure.describe())),
        };
        let mut text = story;
        let mut fields: Vec<(&'static str, String)> = Vec::new();
        if let Some(desired) = &self.desired {
            let skipped = desired.skipped.total();
            text.push_str(&format!(
                " · desired: {} ban, {} captcha, {} skipped",
                thousands(desired.ban),
                thousands(desired.captcha),
                thousands(skipped)
            ));
            fields.push(("ban", desired.ban.to_string()));
            fields.push(("captcha", desired.captcha.to_string()));
            fields.push(("skipped", skipped.to_string()));
        }
        if let (Some(_), Some(drift)) = (&self.plan, self.drift()) {
            let added: u64 = Remediation::ALL.map(|list| self.added(list)).iter().sum();
            let removed: u64 = Remediation::ALL.map(|list| self.removed(list)).iter().sum();
            text.push_str(&format!(
                " · edge: {} added, {} removed, drift {}",
                thousands(added),
                thousands(removed),
                thousands(drift)
            ));
            fields.push(("added", added.to_string()));
            fields.push(("removed", removed.to_string()));
            fields.push(("drift", drift.to_string()));
        }
        let requests: u64 = self.requests.values().sum();
        text.push_str(&format!(
            " · {}, {}, {}",
            plural(self.writes, "bulk operation"),
            plural(requests, "request"),
            seconds(self.duration)
        ));
        let mut line = Line::new(level, "summary", text).with("outcome", self.outcome.word());
        line = line.with("success", u8::from(self.outcome.is_success()));
        for (key, value) in fields {
            line = line.with(key, value);
        }
        line.with("operations", self.writes)
            .with("requests", requests)
            .with("seconds", format_args!("{:.3}", self.duration.as_secs_f64()))
    }

    /// What was left out and why, if anything was.
    pub fn skipped(&self) -> Option<Line> {
        let skipped = &self.desired.as_ref()?.skipped;
        let mut reasons = Vec::new();
        let mut add = |what: &str, count: u64, detail: String| {
            if count > 0 {
                reasons.push(format!("{what}: {detail}"));
            }
        };
        add("other scopes", skipped.scopes.count(), skipped.scopes.describe());
        add("other types", skipped.types.count(), skipped.types.describe());
        add("no list is set for", skipped.without_list.count(), skipped.without_list.describe());
        // The rest is somebody's mistake: an address that is believed to be blocked and is not.
        let expected = reasons_count(&[&skipped.scopes, &skipped.types, &skipped.without_list]);
        let mut add = |what: &str, left: &crate::skipped::Left| {
            if left.count > 0 {
                reasons.push(format!("{what}: {}", left.describe()));
            }
        };
        add("not an address", &skipped.not_addresses);
        add("prefix that Cloudflare does not take", &skipped.prefixes);
        add("not a decision", &skipped.malformed);
        let total = skipped.total();
        if total == 0 {
            return None;
        }
        let level = if total > expected { Level::Warn } else { Level::Info };
        let text = format!("{} skipped: {}", plural(total, "decision"), reasons.join("; "));
        let line = Line::new(level, "skipped", text);
        Some(skipped.counts().into_iter().fold(line, |line, (reason, n)| line.with(reason, n)))
    }
}

fn reasons_count(words: &[&crate::skipped::Words]) -> u64 {
    words.iter().map(|words| words.count()).sum()
}

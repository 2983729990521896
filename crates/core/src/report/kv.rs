//! What a run did to the KV namespace, in numbers and in one line.

use crate::apply::kv::AppliedKeys;
use crate::decision::Remediation;
use crate::desired::Desired;
use crate::desired::OriginCounts;
use crate::log::{Line, plural, thousands};

use super::{Outcome, RunCounts};

/// KV's part of a run.
#[derive(Debug)]
pub struct KvReport {
    /// How it ended.
    pub outcome: Outcome,
    /// What was desired, if LAPI could be read.
    pub desired: Option<KeyCounts>,
    /// What should be in KV by origin, if LAPI could be read.
    pub origins: Vec<OriginCounts>,
    /// Keys and ranges that differed, if both sides could be read.
    pub drift: Option<u64>,
    /// Changes that are needed and wait: for quota, or for the next run.
    pub waiting: u64,
    /// Keys and ranges that no decision asks for and that stay, because the guard refused their removal.
    pub held: u64,
    /// What was done.
    pub applied: AppliedKeys,
    /// Keys written and deleted today, as far as we count.
    pub quota_used: u64,
}

/// What is desired in KV, keys and ranges, in numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyCounts {
    /// Addresses and ranges to ban.
    pub ban: u64,
    /// Addresses and ranges to challenge.
    pub captcha: u64,
}

impl From<&Desired> for KeyCounts {
    fn from(desired: &Desired) -> Self {
        let count = |value| desired.count_in_kv(value);
        Self { ban: count(Remediation::Ban), captcha: count(Remediation::Captcha) }
    }
}

impl KvReport {
    /// Keys and ranges that still differ, as far as we know.
    pub fn drift_left(&self) -> Option<u64> {
        let done = self.applied.written + self.applied.refreshed + self.applied.deleted;
        Some(self.drift?.saturating_sub(done))
    }

    /// The line that every run ends with.
    pub fn summary(&self, run: &RunCounts) -> Line {
        let (mut line, mut text) = self.outcome.begin("kv");
        if let Some(desired) = &self.desired {
            line = run.desired(line, &mut text, desired.ban, desired.captcha);
        }
        if let Some(drift) = self.drift_left() {
            let AppliedKeys { written, refreshed, deleted, .. } = self.applied;
            text.push_str(&format!(
                " · keys: {} written, {} refreshed, {} deleted, {} waiting, drift {}",
                thousands(written),
                thousands(refreshed),
                thousands(deleted),
                thousands(self.waiting),
                thousands(drift)
            ));
            line = line.with("written", written).with("refreshed", refreshed);
            line = line.with("deleted", deleted).with("waiting", self.waiting).with("drift", drift);
        }
        if self.held > 0 {
            line = line.with("held", self.held);
        }
        line = line.with("quota_used", self.quota_used).with("writes", self.applied.writes);
        text.push_str(&format!(" · {}", plural(self.applied.writes, "bulk write")));
        run.end(line, text)
    }
}

//! What is remembered of the layout `shards`: the generation of each value, so that one which reads older is
//! not written over, and since when the layout that is to be served next is complete.

use serde::{Deserialize, Serialize};

use super::Record;

/// For so long a value that reads older than what we wrote is KV's delay (a minute, facts cloudflare 2.5).
/// After that it is what is there: the write was lost, or somebody put an older value back.
const STALE_SECS: u64 = 300;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShardsHistory {
    /// Namespace and prefix that the rest is about.
    of: String,
    /// When each value was last written, Unix seconds of our clock.
    at: Vec<u64>,
    /// Since when every run has found the layout complete that is to be served next; 0 = it is not.
    complete_since: u64,
}

impl Record for ShardsHistory {
    const KEY: &'static str = "kv-shards";
    const VERSION: u32 = 1;

    fn settle(&mut self, now: u64) {
        self.at.iter_mut().for_each(|at| *at = (*at).min(now));
        self.complete_since = self.complete_since.min(now);
    }
}

impl ShardsHistory {
    /// What of it is about this namespace and prefix.
    #[must_use]
    pub fn bound(&self, namespace: &str, prefix: &str) -> Self {
        let of = format!("{namespace}/{prefix}");
        if self.of == of { self.clone() } else { Self { of, ..Self::default() } }
    }

    /// Whether a value that reads as written `at` is older than the one that we wrote.
    pub fn is_stale(&self, unit: usize, at: u64, now: u64) -> bool {
        let ours = self.at.get(unit).copied().unwrap_or(0);
        at < ours && now < ours.saturating_add(STALE_SECS)
    }

    /// A value was written.
    pub fn wrote(&mut self, unit: usize, at: u64) {
        if self.at.len() <= unit {
            self.at.resize(unit + 1, 0);
        }
        self.at[unit] = at;
    }

    /// For how long the layout that is to be served next has been complete, in seconds; `None` = it was not.
    pub fn complete_secs(&self, now: u64) -> Option<u64> {
        (self.complete_since > 0).then(|| now.saturating_sub(self.complete_since))
    }

    /// Whether the layout that is to be served next is complete `now`.
    pub fn found(&mut self, is_complete: bool, now: u64) {
        self.complete_since = match (is_complete, self.complete_since) {
            (false, _) => 0,
            (true, 0) => now,
            (true, since) => since,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_that_reads_older_than_ours_is_stale_for_five_minutes() {
        let mut history = ShardsHistory::default().bound("a", "ip:");
        history.wrote(3, 1_000);
        assert!(history.is_stale(3, 999, 1_299) && history.is_stale(3, 0, 1_000));
        assert!(!history.is_stale(3, 999, 1_300), "the write was lost");
        assert!(!history.is_stale(3, 1_000, 1_001) && !history.is_stale(2, 0, 1_001));
        assert!(history.bound("a", "ip:").is_stale(3, 999, 1_001));
        let history = history.bound("b", "ip:");
        assert!(!history.is_stale(3, 999, 1_001), "another namespace");
    }

    #[test]
    fn clock_that_was_put_back_makes_nothing_stale_for_longer() {
        let mut history = ShardsHistory::default();
        history.wrote(3, 5_000);
        history.found(true, 5_000);
        history.settle(1_000);
        assert!(!history.is_stale(3, 999, 1_300));
        assert_eq!(history.complete_secs(1_100), Some(100));
    }
}

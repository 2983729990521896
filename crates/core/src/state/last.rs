//! How the last run ended, for a person who asks.

use serde::{Deserialize, Serialize};

use super::Record;

/// See the module. Times are Unix seconds; 0 = never.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastRun {
    /// When it began.
    pub began: u64,
    /// When it ended.
    pub ended: u64,
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// When LAPI was last read whole, by this run or an earlier one.
    pub lapi_read_at: u64,
    /// When LAPI and everything at the edge were last read whole by one run.
    pub all_read_at: u64,
    /// How it ended for the lists, if they are in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lists: Option<End>,
    /// How it ended for KV, if it is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv: Option<End>,
    /// How it ended for the rules, if zones are named: in the first zone that is not as desired, or in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<End>,
}

/// How a run ended for a target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct End {
    /// The outcome's word, as in the summary line.
    pub outcome: String,
    /// As in the metric.
    pub success: bool,
    /// What more there is to say; empty if nothing.
    pub said: String,
}

impl Record for LastRun {
    const KEY: &'static str = "run";
    const VERSION: u32 = 1;

    fn settle(&mut self, now: u64) {
        let times =
            [&mut self.began, &mut self.ended, &mut self.lapi_read_at, &mut self.all_read_at];
        times.into_iter().for_each(|time| *time = (*time).min(now));
    }
}

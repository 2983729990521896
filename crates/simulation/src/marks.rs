//! What a simulation met: a simulation that meets nothing proves nothing.

use std::collections::BTreeMap;

/// How often each thing was met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks(BTreeMap<String, u64>);

impl Marks {
    /// It was met once more.
    pub(crate) fn met(&mut self, what: &str) {
        match self.0.get_mut(what) {
            Some(count) => *count += 1,
            None => {
                self.0.insert(what.to_owned(), 1);
            }
        }
    }

    /// Adds another simulation's.
    pub fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }

    /// How often this was met.
    pub fn count(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// Everything, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(what, count)| (what.as_str(), *count))
    }
}

/// What 10,000 seeds have to meet, each at least this often: every outcome, every row of the tables of what
/// follows a failure, every class of change, each switch of the simulator that is a fault, each mood of a store.
pub const MET_MIN: u64 = 25;

/// See [`MET_MIN`].
pub const MUST_BE_MET: &[&str] = &[
    "answer Denied",
    "answer Refused",
    "answer Throttled",
    "answer Unanswered",
    "answer accepted",
    "answer to kv delete 200",
    "answer to kv delete 429",
    "answer to kv put 200",
    "answer to kv put 429",
    "answer to kv put 500",
    "answer value refused",
    "change add ban_over_captcha",
    "change add captcha",
    "change add new_ban",
    "change kv adopted",
    "change kv ban_over_captcha",
    "change kv covered",
    "change kv lifted",
    "change kv misspelt",
    "change kv moved",
    "change kv new_ban",
    "change kv protected",
    "change kv ran_out",
    "change kv refresh",
    "change remove covered",
    "change remove displaced",
    "change remove lifted",
    "change remove moved",
    "change remove protected",
    "change remove ran_out",
    "change remove surplus",
    "event clock-step",
    "event lose-database",
    "event others-edit",
    "event others-empty",
    "event others-put",
    "event others-take",
    "event raw-row",
    "event reinsert",
    "event restore-database",
    "event store-forgets",
    "event store-garbles",
    "fault answer",
    "fault answer-after-effect",
    "fault cut-body",
    "fault delay",
    "fault drop-after-effect",
    "fault drop-before-effect",
    "fault edit-rules",
    "fault empty-page-with-cursor",
    "fault fail-operation",
    "fault insert-item",
    "fault no-result",
    "fault null-result",
    "fault operation-state",
    "fault refuse",
    "fault remove-item",
    "fault repeat-cursor",
    "fault repeat-item",
    "fault repeat-page",
    "fault silent",
    "fault slow-operation",
    "fault stuck-operation",
    "fault unsuccessful-keys",
    "fault vanish-operation",
    "guard holds",
    "guard yields",
    "kv region comes",
    "kv region goes",
    "kv region spares the owner",
    "operation completed",
    "operation failed",
    "operation in another state",
    "operation pending",
    "operation running",
    "outcome  yielded",
    "outcome kv applied",
    "outcome kv failed",
    "outcome kv held",
    "outcome kv in_sync",
    "outcome kv partial",
    "outcome kv planned",
    "outcome kv skipped",
    "outcome lists applied",
    "outcome lists batched",
    "outcome lists failed",
    "outcome lists held",
    "outcome lists in_sync",
    "outcome lists partial",
    "outcome lists planned",
    "outcome lists rate_limited",
    "outcome lists skipped",
    "outcome lists waiting",
    "outcome rules applied",
    "outcome rules failed",
    "outcome rules in_sync",
    "outcome rules partial",
    "outcome rules planned",
    "outcome rules skipped",
    "owner tried beside the ladder",
    "remembered lists applied",
    "remembered lists in_sync",
    "run killed",
    "run overlaps",
    "run with a skewed clock",
    "setting dry_run",
    "setting kv_daily_writes_max",
    "setting kv_expiry_tolerance_seconds",
    "setting kv_layout",
    "setting list_items_max",
    "setting never_block",
    "setting origins_exclude",
    "setting removal_confirm_runs",
    "setting removal_guard_count",
    "setting removal_guard_percent",
    "setting rules_characters_max",
    "setting scenarios_exclude",
    "setting scopes",
    "setting skip_covered",
    "setting write_backoff_seconds",
    "setting write_interval_seconds",
    "store Absent",
    "store Errors",
    "store LosesWrite",
    "store Stale",
];

impl Marks {
    /// What was not met often enough, with how often it was.
    pub fn lacking(&self) -> Vec<(&'static str, u64)> {
        let counts = MUST_BE_MET.iter().map(|what| (*what, self.count(what)));
        counts.filter(|(_, count)| *count < MET_MIN).collect()
    }
}

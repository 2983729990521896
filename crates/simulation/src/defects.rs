//! Defects that are planted on purpose: a simulation that cannot find them proves nothing.
//!
//! None of them is in core. Each sits between core and its ports and makes of a right client a wrong one: what
//! core is told, asks for or remembers is another than the judge sees. So core has no switch that a release
//! could have left on.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use bytes::Bytes;

/// A defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Takes an answer of LAPI that is no list of decisions for an empty one.
    ObjectIsEmpty,
    /// Takes LAPI's error for "no decisions".
    ErrorIsEmpty,
    /// Takes the part of LAPI's body that has arrived for the whole.
    CutBodyIsWhole,
    /// Lets every removal go at once.
    IgnoresGuard,
    /// Does not know what is protected.
    IgnoresNeverBlock,
    /// Puts an owner's address on a list.
    AddsProtected,
    /// Does not know that another run is at work.
    ForgetsLease,
    /// Remembers nothing of earlier writes.
    ForgetsWrites,
    /// Takes every operation for completed.
    BelievesOperations,
    /// Takes a write that was throttled for accepted and completed.
    BelievesThrottled,
    /// Sends a write again at once.
    WritesTwice,
    /// Leaves the last item out when it rewrites a list.
    RewriteLosesItem,
    /// Deletes one item more than it should.
    DeletesTooMuch,
    /// Takes an addition for made that was not, and goes on to remove.
    RemovesBeforeAdding,
    /// Deletes nothing, and believes that it has.
    NeverDeletes,
    /// Reads only the first item of each page.
    ReadsHalf,
    /// Takes what it once heard of the lists' last changes for what they are, until it writes itself.
    OldMarks,
    /// Writes in a dry run.
    IgnoresDryRun,
    /// Says that all went well when it did not.
    SwallowsFailure,
    /// Says success whatever happened.
    AlwaysSuccess,
    /// Prints the token.
    PrintsToken,
    /// Waits for ever.
    NoTimeout,
    /// Panics at an odd status.
    Panics,
    /// Keys of KV that should go stay, and others go.
    KvDeletesTooMuch,
    /// Writes keys that it should not.
    KvWritesForeign,
    /// Loses the last pair of every bulk write to KV.
    KvLosesPair,
    /// Does not count what it has written today.
    KvForgetsQuota,
    /// Loses the last line of every value of the layout `shards`.
    KvShardLosesLine,
    /// Loses every country and autonomous system.
    KvLosesRegions,
    /// Loses whom no country and no autonomous system meets.
    KvLosesExceptions,
    /// Serves the other layout from the first run of a migration on.
    KvSwitchesAtOnce,
    /// Empties the delta of a rule.
    RuleLosesDelta,
    /// Takes every change of a rule for made.
    RuleNeverWritten,
}

impl Defect {
    /// Each with its name and what it is planted in.
    pub const ALL: [(Self, &'static str, &'static str); 33] = [
        (Self::ObjectIsEmpty, "object-is-empty", "lists"),
        (Self::ErrorIsEmpty, "error-is-empty", "lists"),
        (Self::CutBodyIsWhole, "cut-body-is-whole", "lists"),
        (Self::IgnoresGuard, "ignores-guard", "lists"),
        (Self::IgnoresNeverBlock, "ignores-never-block", "lists"),
        (Self::AddsProtected, "adds-protected", "lists"),
        (Self::ForgetsLease, "forgets-lease", "lists"),
        (Self::ForgetsWrites, "forgets-writes", "lists"),
        (Self::BelievesOperations, "believes-operations", "lists"),
        (Self::BelievesThrottled, "believes-throttled", "lists"),
        (Self::WritesTwice, "writes-twice", "lists"),
        (Self::RewriteLosesItem, "rewrite-loses-item", "lists"),
        (Self::DeletesTooMuch, "deletes-too-much", "lists"),
        (Self::RemovesBeforeAdding, "removes-before-adding", "lists"),
        (Self::NeverDeletes, "never-deletes", "lists"),
        (Self::ReadsHalf, "reads-half", "lists"),
        (Self::OldMarks, "old-marks", "lists"),
        (Self::IgnoresDryRun, "ignores-dry-run", "lists"),
        (Self::SwallowsFailure, "swallows-failure", "lists"),
        (Self::AlwaysSuccess, "always-success", "lists"),
        (Self::PrintsToken, "prints-token", "lists"),
        (Self::NoTimeout, "no-timeout", "lists"),
        (Self::Panics, "panics", "lists"),
        (Self::KvDeletesTooMuch, "kv-deletes-too-much", "kv"),
        (Self::KvWritesForeign, "kv-writes-foreign", "kv"),
        (Self::KvLosesPair, "kv-loses-pair", "kv"),
        (Self::KvForgetsQuota, "kv-forgets-quota", "kv"),
        (Self::KvShardLosesLine, "kv-shard-loses-line", "kv"),
        (Self::KvLosesRegions, "kv-loses-regions", "kv"),
        (Self::KvLosesExceptions, "kv-loses-exceptions", "kv"),
        (Self::KvSwitchesAtOnce, "kv-switches-at-once", "kv"),
        (Self::RuleLosesDelta, "rule-loses-delta", "rules"),
        (Self::RuleNeverWritten, "rule-never-written", "rules"),
    ];
}

thread_local! {
    static PLANTED: Cell<Option<Defect>> = const { Cell::new(None) };
    /// An answer, and when it came.
    static HEARD: RefCell<(Duration, Bytes)> = const { RefCell::new((Duration::MAX, Bytes::new())) };
}

/// The answer that came first since the last [`unheard`], or `body`, which is then that. A time before it is of
/// another world.
pub(crate) fn heard(at: Duration, body: &Bytes) -> Bytes {
    HEARD.with_borrow_mut(|(since, heard)| {
        if at < *since {
            (*since, *heard) = (at, body.clone());
        }
        heard.clone()
    })
}

/// What was heard is forgotten.
pub(crate) fn unheard() {
    HEARD.with_borrow_mut(|(since, _)| *since = Duration::MAX);
}

/// Plants it in whatever this thread simulates from now on.
pub fn plant(defect: Option<Defect>) {
    PLANTED.set(defect);
}

pub(crate) fn is_planted(defect: Defect) -> bool {
    PLANTED.get() == Some(defect)
}

pub(crate) fn planted() -> Option<Defect> {
    PLANTED.get()
}

/// What core reads as a setting, in place of what the operator has set.
pub(crate) fn setting(name: &str) -> Option<&'static str> {
    match (PLANTED.get()?, name) {
        (Defect::IgnoresGuard, "removal_confirm_runs") => Some("1"),
        (Defect::IgnoresNeverBlock, "never_block") => Some(""),
        (Defect::IgnoresNeverBlock, "never_block_builtin") => Some("none"),
        (Defect::IgnoresDryRun, "dry_run") => Some("false"),
        _ => None,
    }
}

/// Whether core finds nothing under this key of its store.
pub(crate) fn forgets(key: &str) -> bool {
    match PLANTED.get() {
        Some(Defect::ForgetsLease) => key == "lease",
        Some(Defect::ForgetsWrites) => key == "lists",
        Some(Defect::KvForgetsQuota) => key == "kv-quota",
        _ => false,
    }
}

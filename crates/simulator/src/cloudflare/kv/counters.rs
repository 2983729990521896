//! What the client's use of KV would cost, and what it was for. Only accepted requests count, except
//! where a name says otherwise.

use serde::Serialize;

/// Totals over all namespaces since the start or [`Simulator::reset_records`].
///
/// [`Simulator::reset_records`]: crate::Simulator::reset_records
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct KvCounters {
    /// Pairs that were written, as they are billed: those that failed in an answer that said success
    /// are among them.
    pub pairs_written: u64,
    /// Pairs among them that were stored already with the same value, metadata and expiration (within
    /// a second). Not a violation: a listing may be behind. But billed, and for nothing.
    pub identical_rewrites: u64,
    /// Names that were deleted, as they are billed, there or not.
    pub keys_deleted: u64,
    /// Names among them that were not there.
    pub absent_deletes: u64,
    /// Values and metadata that were read, there or not.
    pub keys_read: u64,
    /// Pages of keys that were listed.
    pub list_calls: u64,
    /// Bulk requests that wrote.
    pub bulk_writes: u64,
    /// Bulk requests that deleted.
    pub bulk_deletes: u64,
    /// Requests to write or delete that were refused, whatever the reason.
    pub writes_refused: u64,
    /// Requests of any kind that were refused because a day's quota was used up.
    pub quota_refusals: u64,
}

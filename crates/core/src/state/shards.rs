//! What is remembered of the values in KV that hold many, those of the layout `shards` and the key of all ranges: the
//! generation of each, so that one which reads older is not written over; and since when the layout that is to be
//! served next is complete.
//!
//! It is kept beside the day's quota, as numbers only: a record of its own would be six kilobytes of code.

use serde::{Deserialize, Serialize};

/// For so long a value that reads older than what we wrote is KV's delay (a minute, facts cloudflare 2.5).
/// After that it is what is there: the write was lost, or somebody put an older value back. No value ends by itself
/// sooner.
pub const STALE_SECS: u64 = 300;
/// All values of the layout `shards`.
const UNITS: usize = 17;
/// The key of all ranges, beside those.
pub const RANGES: usize = UNITS;
const RANGES_SENT: usize = 2 + UNITS + 1;

/// See the module. Namespace and prefix, as one number; since when the next layout is complete, or 0; when
/// each value was last written, Unix seconds of our clock; when the key of all ranges was last sent, whatever was
/// answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardsHistory([u64; RANGES_SENT + 1]);

impl ShardsHistory {
    /// Brings times in the future back to `now`.
    pub(super) fn settle(&mut self, now: u64) {
        self.0[1..].iter_mut().for_each(|at| *at = (*at).min(now));
    }

    /// What of it is about this namespace and prefix.
    #[must_use]
    pub fn bound(self, namespace: &str, prefix: &str) -> Self {
        let bytes = namespace.bytes().chain(prefix.bytes());
        // FNV-1a, of 64 bits: it only has to differ from that of the settings before.
        let of = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        if self.0[0] == of {
            return self;
        }
        let mut new = Self::default();
        new.0[0] = of;
        new
    }

    /// Whether a value that reads as written `at` is older than the one that we wrote.
    pub fn is_stale(&self, unit: usize, at: u64, now: u64) -> bool {
        let ours = self.0[2 + unit];
        at < ours && now < ours.saturating_add(STALE_SECS)
    }

    /// Whether a value was just written, as far as is remembered.
    pub fn is_just_written(&self, unit: usize, now: u64) -> bool {
        let is_sent = unit == RANGES && is_just_written(self.0[RANGES_SENT], now);
        is_sent || is_just_written(self.0[2 + unit], now)
    }

    /// The key of all ranges is sent to be written, or deleted: whatever is answered, it may have been.
    pub fn sent_ranges(&mut self, now: u64) {
        self.0[RANGES_SENT] = now;
    }

    /// A value was written `at`; 0 = it was deleted.
    pub fn wrote(&mut self, unit: usize, at: u64) {
        self.0[2 + unit] = at;
    }

    /// Whether we ever wrote a value, as far as is remembered.
    pub fn has_written(&self, unit: usize) -> bool {
        self.0[2 + unit] > 0
    }

    /// For how long the layout that is to be served next has been complete, in seconds; `None` = it was not.
    pub fn complete_secs(&self, now: u64) -> Option<u64> {
        (self.0[1] > 0).then(|| now.saturating_sub(self.0[1]))
    }

    /// Whether the layout that is to be served next is complete `now`.
    pub fn found(&mut self, is_complete: bool, now: u64) {
        self.0[1] = match (is_complete, self.0[1]) {
            (false, _) => 0,
            (true, 0) => now,
            (true, since) => since,
        };
    }
}

/// Whether what was written `at` was written so short a time ago that Cloudflare would refuse to take it again: it
/// takes one write of a key a second, and of ours only the whole seconds are known. Two runs may be a second apart,
/// and the clock of who wrote it a little ahead.
pub fn is_just_written(at: u64, now: u64) -> bool {
    now.abs_diff(at) <= 1
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
    fn history_is_of_one_namespace_and_one_prefix_alone() {
        let mut history = ShardsHistory::default().bound("a0", "ip:");
        history.wrote(3, 1_000);
        let is_known = |namespace: &str, prefix: &str| {
            history.bound(namespace, prefix).is_stale(3, 999, 1_001)
        };
        assert!(is_known("a0", "ip:"));
        for digit in "123456789abcdef".chars() {
            assert!(!is_known(&format!("a{digit}"), "ip:"), "{digit}");
        }
        for digit in "0123456789bcdef".chars() {
            assert!(!is_known(&format!("{digit}0"), "ip:"), "{digit}");
        }
        assert!(!is_known("a0", "ban:"));
    }

    #[test]
    fn value_written_in_the_second_before_is_not_written_again() {
        let mut history = ShardsHistory::default();
        history.wrote(3, 1_000);
        assert_eq!(
            [1_000, 1_001, 1_002].map(|now| history.is_just_written(3, now)),
            [true, true, false]
        );
        assert!(!history.is_just_written(2, 1_000));
    }

    #[test]
    fn ranges_that_were_sent_are_just_written_and_no_other_value_is() {
        let mut history = ShardsHistory::default();
        history.sent_ranges(1_000);
        assert_eq!([1_001, 1_002].map(|now| history.is_just_written(RANGES, now)), [true, false]);
        assert!(!history.is_just_written(RANGES - 1, 1_000));
        assert!(!history.is_stale(RANGES, 0, 1_000), "it may not have been written");
        history.wrote(RANGES, 1_000);
        assert!(history.is_stale(RANGES, 999, 1_299) && history.is_just_written(RANGES, 1_001));
        history.settle(900);
        assert!(history.is_just_written(RANGES, 901) && !history.is_just_written(RANGES, 902));
        history.wrote(RANGES, 0);
        assert!(!history.is_stale(RANGES, 0, 1_000), "it was deleted");
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

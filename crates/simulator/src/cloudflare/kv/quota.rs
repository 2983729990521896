//! The free plan's day quotas, of the account and not of a namespace (facts 2.6): how much of each was
//! used since 00:00 UTC of the world's wall clock.

use std::time::Duration;

use super::codes;
use crate::cloudflare::codes::KnownError;
use crate::options::CloudflareOptions;

const SECONDS_PER_DAY: u64 = 86_400;

/// What is billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usage {
    /// A key that is read, also one that is not there.
    Read,
    /// A pair that is written.
    Write,
    /// A name that is deleted, also one that is not there.
    Delete,
    /// A page of keys, however many it holds.
    List,
}

/// What was used today.
#[derive(Debug, Default)]
pub(super) struct Quota {
    /// Days since 1970.
    day: u64,
    used: [u64; 4],
}

impl Quota {
    /// Takes `count` from what is left of the day, or refuses. A request that needs more than is left
    /// is refused whole and costs nothing: whether Cloudflare stores a part of it is unknown, and a
    /// client that counts on a part would lose writes without hearing of it.
    pub(super) fn spend(
        &mut self,
        usage: Usage,
        count: usize,
        wall: Duration,
        options: &CloudflareOptions,
    ) -> Result<(), KnownError> {
        let today = wall.as_secs() / SECONDS_PER_DAY;
        if today != self.day {
            *self = Self { day: today, used: [0; 4] };
        }
        let limit = match usage {
            Usage::Read => options.kv_daily_reads,
            Usage::Write => options.kv_daily_writes,
            Usage::Delete => options.kv_daily_deletes,
            Usage::List => options.kv_daily_lists,
        };
        let used = &mut self.used[usage as usize];
        let wanted = *used + count as u64;
        if limit > 0 && wanted > limit {
            return Err(codes::DAY_QUOTA_USED_UP);
        }
        *used = wanted;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_used_up_is_refused_until_midnight_and_a_refusal_costs_nothing() {
        let options = CloudflareOptions { kv_daily_writes: 10, ..CloudflareOptions::default() };
        let mut quota = Quota::default();
        let mut spend = |usage, count, seconds| {
            quota.spend(usage, count, Duration::from_secs(seconds), &options).is_ok()
        };
        let midnight = 5 * SECONDS_PER_DAY;
        assert!(spend(Usage::Write, 8, midnight - 100));
        assert!(!spend(Usage::Write, 3, midnight - 99), "whole, although two would fit");
        assert!(spend(Usage::Write, 2, midnight - 98));
        assert!(!spend(Usage::Write, 1, midnight - 1));
        assert!(spend(Usage::Delete, 1_000_000, midnight - 1), "no quota");
        assert!(spend(Usage::Write, 10, midnight));
    }
}

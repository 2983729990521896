//! What may still be written to Workers KV today.
//!
//! Cloudflare counts a day from 00:00 UTC, writes and deletes apart (facts cloudflare 2.6). The count is
//! ours alone: the dashboard and other tools spend from the same quota, and only Cloudflare's refusal (code
//! 10048) tells the truth, so that is remembered too.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::Record;

const DAY_SECS: u64 = 24 * 3_600;
/// The time between two runs where it is not known yet.
const INTERVAL_SECS: u64 = 120;
/// Bounds of what is believed of it: a run by hand a second after another says nothing.
const INTERVAL_SECS_MAX: u64 = 3_600;

/// What was spent on one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quota {
    /// Days since the epoch.
    day: u64,
    /// Keys written.
    written: u64,
    /// Of those, keys of bans that were decided here.
    own: u64,
    /// Keys deleted.
    deleted: u64,
    /// Cloudflare said that the day's writes are used up.
    writes_exhausted: bool,
    /// The same of deletes.
    deletes_exhausted: bool,
    /// When a run last looked, Unix seconds.
    ran_at: u64,
    /// How long it is from one run to the next, in seconds; 0 = not known.
    interval: u64,
    /// Since when keys have been seen that were written in the future: the clock of another host, or of
    /// ours before it was put back. 0 = none were seen by the last run.
    ahead_since: u64,
}

/// Writes or deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spending {
    /// Pairs of a bulk write.
    Writes,
    /// Names of a bulk delete.
    Deletes,
}

impl Record for Quota {
    const KEY: &'static str = "kv-quota";
    const VERSION: u32 = 2;

    fn settle(&mut self, now: u64) {
        let today = now / DAY_SECS;
        if self.day != today {
            let Self { ran_at, interval, ahead_since, .. } = *self;
            *self = Self { day: today, ran_at, interval, ahead_since, ..Self::default() };
        }
        self.ran_at = self.ran_at.min(now);
        self.ahead_since = self.ahead_since.min(now);
    }
}

impl Quota {
    /// How many more may be spent today; `None` = as many as needed. `max` is `kv_daily_writes_max`.
    pub fn left(&self, spending: Spending, max: Option<NonZeroU64>) -> Option<u64> {
        if self.is_exhausted(spending) {
            return Some(0);
        }
        let used = match spending {
            Spending::Writes => self.written,
            Spending::Deletes => self.deleted,
        };
        max.map(|max| max.get().saturating_sub(used))
    }

    /// How many writes are kept for bans that are decided here: a quarter of the day's, less what they have
    /// used. Nothing any more when no run comes today that could use them.
    pub fn kept_for_own(&self, max: Option<NonZeroU64>, now: u64) -> u64 {
        let interval = if self.interval == 0 { INTERVAL_SECS } else { self.interval };
        let another_run_today = now % DAY_SECS + interval < DAY_SECS;
        let quarter = max.map_or(0, |max| max.get() / 4);
        if another_run_today { quarter.saturating_sub(self.own) } else { 0 }
    }

    /// Keys written and deleted today.
    pub fn used(&self) -> u64 {
        self.written.saturating_add(self.deleted)
    }

    /// Whether Cloudflare refuses this until 00:00 UTC.
    pub fn is_exhausted(&self, spending: Spending) -> bool {
        match spending {
            Spending::Writes => self.writes_exhausted,
            Spending::Deletes => self.deletes_exhausted,
        }
    }

    /// Counts `keys`, before they are sent: if the answer is lost, they may have been billed. `own` of them
    /// are bans that were decided here.
    pub(crate) fn spend(&mut self, spending: Spending, keys: u64, own: u64) {
        match spending {
            Spending::Writes => {
                self.written = self.written.saturating_add(keys);
                self.own = self.own.saturating_add(own);
            }
            Spending::Deletes => self.deleted = self.deleted.saturating_add(keys),
        }
    }

    /// Takes back what was refused.
    pub(crate) fn refund(&mut self, spending: Spending, keys: u64, own: u64) {
        match spending {
            Spending::Writes => {
                self.written = self.written.saturating_sub(keys);
                self.own = self.own.saturating_sub(own);
            }
            Spending::Deletes => self.deleted = self.deleted.saturating_sub(keys),
        }
    }

    /// Cloudflare said that the day is used up.
    pub(crate) fn exhaust(&mut self, spending: Spending) {
        match spending {
            Spending::Writes => self.writes_exhausted = true,
            Spending::Deletes => self.deletes_exhausted = true,
        }
    }

    /// Notes that a run looks now, and whether it sees keys that were written in the future.
    pub(crate) fn ran(&mut self, sees_ahead: bool, now: u64) {
        if self.ran_at > 0 && self.ran_at < now {
            self.interval = (now - self.ran_at).min(INTERVAL_SECS_MAX);
        }
        self.ran_at = now;
        self.ahead_since = match (sees_ahead, self.ahead_since) {
            (false, _) => 0,
            (true, 0) => now,
            (true, since) => since,
        };
    }

    /// Since when keys have been seen that were written in the future.
    pub fn ahead_since(&self) -> Option<u64> {
        (self.ahead_since > 0).then_some(self.ahead_since)
    }

    /// Seconds from `now` until the next day begins.
    pub fn next_day_in(now: u64) -> u64 {
        DAY_SECS - now % DAY_SECS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 20_000 * DAY_SECS + DAY_SECS / 2;

    fn today() -> Quota {
        let mut quota = Quota::default();
        quota.settle(NOON);
        quota
    }

    #[test]
    fn writes_and_deletes_are_counted_apart_and_never_below_nothing() {
        let mut quota = today();
        let left = |quota: &Quota, spending| quota.left(spending, NonZeroU64::new(10));
        quota.spend(Spending::Writes, 7, 0);
        assert_eq!(left(&quota, Spending::Writes), Some(3));
        assert_eq!(left(&quota, Spending::Deletes), Some(10));
        quota.spend(Spending::Writes, 7, 0);
        assert_eq!(left(&quota, Spending::Writes), Some(0));
        quota.refund(Spending::Writes, 20, 0);
        assert_eq!(left(&quota, Spending::Writes), Some(10));
        quota.exhaust(Spending::Deletes);
        assert_eq!(quota.left(Spending::Deletes, None), Some(0));
        assert_eq!(quota.left(Spending::Writes, None), None);
    }

    #[test]
    fn quarter_is_kept_for_own_bans_less_what_they_used_until_the_last_run_of_the_day() {
        let max = NonZeroU64::new(1_000);
        let mut quota = today();
        assert_eq!(quota.kept_for_own(max, NOON), 250);
        quota.spend(Spending::Writes, 300, 100);
        assert_eq!(quota.kept_for_own(max, NOON), 150);
        let midnight = NOON + DAY_SECS / 2;
        assert_eq!(quota.kept_for_own(max, midnight - 121), 150);
        assert_eq!(quota.kept_for_own(max, midnight - 119), 0);
        assert_eq!(quota.kept_for_own(None, NOON), 0);
    }

    #[test]
    fn day_ends_at_midnight_utc_and_forgets_what_was_spent() {
        assert_eq!(Quota::next_day_in(0), 86_400);
        assert_eq!(Quota::next_day_in(86_399), 1);
        let mut quota = today();
        quota.spend(Spending::Writes, 7, 0);
        quota.exhaust(Spending::Writes);
        quota.settle(NOON + DAY_SECS);
        assert_eq!((quota.used(), quota.is_exhausted(Spending::Writes)), (0, false));
    }
}

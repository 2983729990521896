//! What may still be written to Workers KV today.
//!
//! Cloudflare counts a day from 00:00 UTC, writes and deletes apart (facts cloudflare 2.6). The count is
//! ours alone: the dashboard and other tools spend from the same quota, and only Cloudflare's refusal (code
//! 10048) tells the truth, so that is remembered too.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::{Record, ShardsHistory};

const DAY_SECS: u64 = 24 * 3_600;
/// The time between two runs where it is not known yet.
const INTERVAL_SECS: u64 = 120;
/// Where our clock is ahead of Cloudflare's, our day begins while theirs has not ended: that the day is used
/// up is believed for so long only, when it is said within so long of 00:00 UTC.
const DAWN_SECS: u64 = 600;
/// For so long a listing may be behind (facts cloudflare 2.2).
const LISTED_LATE_SECS: u64 = 60;

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
    /// When Cloudflare said that the day's writes are used up, Unix seconds; 0 = it did not.
    writes_exhausted_at: u64,
    /// The same of deletes.
    deletes_exhausted_at: u64,
    /// When a run last looked, Unix seconds.
    ran_at: u64,
    /// How long before that the run before it had looked, in seconds; 0 = not known.
    gap: u64,
    /// How long it is from one run to the next, in seconds: the shorter of the last two gaps, for a host that
    /// was switched off for a while does not run more seldom because of it. 0 = not known.
    interval: u64,
    /// Since when keys have been seen that were written in the future: the clock of another host, or of
    /// ours before it was put back. 0 = none were seen by the last run.
    ahead_since: u64,
    /// When keys were last sent to be deleted whose place a range takes, Unix seconds.
    replaced_at: u64,
    /// Of the values that hold many.
    pub shards: ShardsHistory,
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
            *self = Self {
                day: today,
                written: 0,
                own: 0,
                deleted: 0,
                writes_exhausted_at: 0,
                deletes_exhausted_at: 0,
                ..*self
            };
        }
        self.writes_exhausted_at = self.writes_exhausted_at.min(now);
        self.deletes_exhausted_at = self.deletes_exhausted_at.min(now);
        self.ran_at = self.ran_at.min(now);
        self.ahead_since = self.ahead_since.min(now);
        self.replaced_at = self.replaced_at.min(now);
        self.shards.settle(now);
    }
}

impl Quota {
    /// The same at `now`, Unix seconds: midnight may have passed since it was loaded.
    #[must_use]
    pub fn at(mut self, now: u64) -> Self {
        self.settle(now);
        self
    }

    /// How many more may be spent today; `None` = as many as needed. `max` is `kv_daily_writes_max`.
    pub fn left(&self, spending: Spending, max: Option<NonZeroU64>, now: u64) -> Option<u64> {
        if self.is_exhausted(spending, now) {
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
        let another_run_today = (now % DAY_SECS).saturating_add(interval) < DAY_SECS;
        let quarter = max.map_or(0, |max| max.get() / 4);
        if another_run_today { quarter.saturating_sub(self.own) } else { 0 }
    }

    /// Keys written and deleted today.
    pub fn used(&self) -> u64 {
        self.written.saturating_add(self.deleted)
    }

    /// Whether Cloudflare refuses this until 00:00 UTC.
    pub fn is_exhausted(&self, spending: Spending, now: u64) -> bool {
        let at = match spending {
            Spending::Writes => self.writes_exhausted_at,
            Spending::Deletes => self.deletes_exhausted_at,
        };
        let is_believed = at % DAY_SECS >= DAWN_SECS || now.saturating_sub(at) < DAWN_SECS;
        at > 0 && is_believed
    }

    /// Counts `keys` on the day of `now`, before they are sent: if the answer is lost, they may have been
    /// billed. `own` of them are bans that were decided here.
    pub(crate) fn spend(&mut self, spending: Spending, keys: u64, own: u64, now: u64) {
        self.settle(now);
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
    pub(crate) fn exhaust(&mut self, spending: Spending, now: u64) {
        match spending {
            Spending::Writes => self.writes_exhausted_at = now,
            Spending::Deletes => self.deletes_exhausted_at = now,
        }
    }

    /// Notes that a run looks now, and whether it sees keys that were written in the future.
    pub(crate) fn ran(&mut self, sees_ahead: bool, now: u64) {
        if self.ran_at > 0 && self.ran_at < now {
            let gap = now - self.ran_at;
            self.interval = if self.gap == 0 { gap } else { gap.min(self.gap) };
            self.gap = gap;
        }
        self.ran_at = now;
        self.ahead_since = match (sees_ahead, self.ahead_since) {
            (false, _) => 0,
            (true, 0) => now,
            (true, since) => since,
        };
    }

    /// Keys are sent to be deleted whose place a range takes.
    pub(crate) fn replaces(&mut self, now: u64) {
        self.replaced_at = now;
    }

    /// Whether a listing that is read from `began` on, Unix seconds, may show such keys although they are gone.
    pub fn is_listed_late(&self, began: u64) -> bool {
        began <= self.replaced_at.saturating_add(LISTED_LATE_SECS)
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
    const MIDNIGHT: u64 = 20_001 * DAY_SECS;

    fn today() -> Quota {
        let mut quota = Quota::default();
        quota.settle(NOON);
        quota
    }

    #[test]
    fn listing_may_show_keys_that_a_range_replaced_for_a_minute_whatever_the_clock_did() {
        let mut quota = today();
        assert!(!quota.is_listed_late(NOON));
        quota.replaces(NOON);
        let late = |quota: &Quota| [59, 60, 61].map(|secs| quota.is_listed_late(NOON + secs));
        assert_eq!(late(&quota), [true, true, false]);
        assert_eq!(late(&quota.at(NOON - 1)), [true, false, false], "put back");
    }

    #[test]
    fn writes_and_deletes_are_counted_apart_and_never_below_nothing() {
        let mut quota = today();
        let left = |quota: &Quota, spending| quota.left(spending, NonZeroU64::new(10), NOON);
        quota.spend(Spending::Writes, 7, 0, NOON);
        assert_eq!(left(&quota, Spending::Writes), Some(3));
        assert_eq!(left(&quota, Spending::Deletes), Some(10));
        quota.spend(Spending::Writes, 7, 0, NOON);
        assert_eq!(left(&quota, Spending::Writes), Some(0));
        quota.refund(Spending::Writes, 20, 0);
        assert_eq!(left(&quota, Spending::Writes), Some(10));
        quota.exhaust(Spending::Deletes, NOON);
        assert_eq!(quota.left(Spending::Deletes, None, NOON), Some(0));
        assert_eq!(quota.left(Spending::Writes, None, NOON), None);
    }

    #[test]
    fn quarter_is_kept_for_own_bans_less_what_they_used_until_the_last_run_of_the_day() {
        let max = NonZeroU64::new(1_000);
        let mut quota = today();
        assert_eq!(quota.kept_for_own(max, NOON), 250);
        quota.spend(Spending::Writes, 300, 100, NOON);
        assert_eq!(quota.kept_for_own(max, NOON), 150);
        assert_eq!(quota.kept_for_own(max, MIDNIGHT - 121), 150);
        assert_eq!(quota.kept_for_own(max, MIDNIGHT - 119), 0);
        assert_eq!(quota.kept_for_own(None, NOON), 0);
    }

    #[test]
    fn run_every_six_hours_keeps_nothing_that_only_the_next_day_could_use() {
        let (max, mut quota) = (NonZeroU64::new(1_000), today());
        for hours in [0, 6] {
            quota.ran(false, NOON - 6 * 3_600 + hours * 3_600);
        }
        assert_eq!(quota.kept_for_own(max, NOON), 250);
        assert_eq!(quota.kept_for_own(max, NOON + 6 * 3_600), 0);
    }

    #[test]
    fn first_run_of_all_says_nothing_of_how_often_there_are_runs() {
        let (max, mut quota) = (NonZeroU64::new(1_000), today());
        quota.ran(false, NOON);
        assert_eq!(quota.kept_for_own(max, NOON), 250);
        quota.ran(false, NOON - 60);
        assert_eq!(quota.kept_for_own(max, NOON), 250, "nor does a clock that was put back");
    }

    #[test]
    fn keys_of_the_future_are_known_since_the_first_run_in_a_row_that_saw_them() {
        let mut quota = today();
        let mut ran = |sees_ahead, at| {
            quota.ran(sees_ahead, at);
            quota.ahead_since()
        };
        assert_eq!(ran(false, NOON), None);
        assert_eq!(ran(true, NOON + 120), Some(NOON + 120));
        assert_eq!(ran(true, NOON + 240), Some(NOON + 120));
        assert_eq!(ran(false, NOON + 360), None);
        assert_eq!(ran(true, NOON + 480), Some(NOON + 480));
    }

    #[test]
    fn host_that_was_switched_off_for_hours_still_runs_every_two_minutes() {
        let (max, mut quota) = (NonZeroU64::new(1_000), today());
        let evening = NOON + 8 * 3_600;
        for at in [NOON, NOON + 120, evening] {
            quota.ran(false, at);
        }
        assert_eq!(quota.kept_for_own(max, evening), 250);
        quota.ran(false, evening + 1);
        quota.ran(false, evening + 121);
        assert_eq!(quota.kept_for_own(max, MIDNIGHT - 60), 250, "as if by hand, a second apart");
        quota.ran(false, evening + 241);
        assert_eq!(quota.kept_for_own(max, MIDNIGHT - 60), 0);
    }

    #[test]
    fn day_ends_at_midnight_utc_and_forgets_what_was_spent() {
        assert_eq!(Quota::next_day_in(0), 86_400);
        assert_eq!(Quota::next_day_in(86_399), 1);
        let mut quota = today();
        quota.spend(Spending::Writes, 7, 0, NOON);
        quota.exhaust(Spending::Writes, NOON);
        let next = quota.at(NOON + DAY_SECS);
        assert_eq!((next.used(), next.is_exhausted(Spending::Writes, NOON + DAY_SECS)), (0, false));
    }

    #[test]
    fn keys_sent_after_midnight_by_a_run_that_began_before_count_for_the_new_day() {
        let mut quota = today();
        quota.spend(Spending::Writes, 600, 0, MIDNIGHT - 10);
        quota.spend(Spending::Writes, 400, 0, MIDNIGHT + 10);
        let left = quota.at(MIDNIGHT + 100).left(Spending::Writes, NonZeroU64::new(1_000), NOON);
        assert_eq!(left, Some(600));
    }

    #[test]
    fn day_used_up_as_said_a_moment_after_midnight_is_believed_for_ten_minutes() {
        let mut quota = today().at(MIDNIGHT + 20);
        quota.exhaust(Spending::Writes, MIDNIGHT + 20);
        assert!(quota.is_exhausted(Spending::Writes, MIDNIGHT + 619));
        assert!(!quota.is_exhausted(Spending::Writes, MIDNIGHT + 620), "it was yesterday's");
        quota.exhaust(Spending::Writes, MIDNIGHT + 620);
        assert!(quota.is_exhausted(Spending::Writes, MIDNIGHT + DAY_SECS - 1));
    }
}

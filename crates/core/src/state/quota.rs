//! What may still be written to Workers KV today.
//!
//! Cloudflare counts a day from 00:00 UTC (facts cloudflare 2.6). The count is ours alone: the
//! dashboard and other tools spend from the same quota, and only Cloudflare's refusal (code 10048)
//! tells the truth, so that is remembered too.

use serde::{Deserialize, Serialize};

use crate::settings::Kv;

use super::Record;

const DAY_SECS: u64 = 24 * 3_600;

/// What was spent on one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Days since the epoch.
    day: u64,
    /// Keys written and deleted.
    used: u64,
    /// Cloudflare said that the day is used up.
    exhausted: bool,
}

impl Record for Quota {
    const KEY: &'static str = "kv-quota";
    const VERSION: u32 = 1;

    /// What was spent on another day, also on one that is yet to come, counts as nothing.
    fn settle(&mut self, now: u64) {
        let day = now / DAY_SECS;
        if self.day != day {
            *self = Self { day, ..Self::default() };
        }
    }
}

impl Quota {
    /// How many keys may still be written or deleted today; `None` = as many as needed.
    pub fn left(&self, kv: &Kv) -> Option<u64> {
        match (self.exhausted, kv.daily_writes_max) {
            (true, _) => Some(0),
            (false, Some(max)) => Some(max.get().saturating_sub(self.used)),
            (false, None) => None,
        }
    }

    /// Keys written and deleted today.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Whether Cloudflare refuses writes until 00:00 UTC.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Counts `keys`, before they are sent: if the answer is lost, they may have been billed.
    pub(crate) fn spend(&mut self, keys: u64) {
        self.used = self.used.saturating_add(keys);
    }

    /// Takes back what was refused.
    pub(crate) fn refund(&mut self, keys: u64) {
        self.used = self.used.saturating_sub(keys);
    }

    pub(crate) fn exhaust(&mut self) {
        self.exhausted = true;
    }

    /// Seconds from `now` until the next day begins.
    pub fn next_day_in(now: u64) -> u64 {
        DAY_SECS - now % DAY_SECS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(daily: u64) -> Kv {
        let id = "33333333333333333333333333333333";
        let settings = crate::settings::Settings::parse(
            |name| {
                Some(match name {
                    "lapi_url" | "cf_api_url" => "http://x".to_owned(),
                    "lapi_key" | "cf_api_token" => "k".to_owned(),
                    "cf_account_id" | "cf_kv_namespace_id" => id.to_owned(),
                    "kv_daily_writes_max" => daily.to_string(),
                    _ => return None,
                })
            },
            std::time::UNIX_EPOCH,
        );
        settings.unwrap().targets.kv.unwrap()
    }

    #[test]
    fn quota_spent_leaves_the_rest_and_never_less_than_nothing() {
        let mut quota = Quota::default();
        assert_eq!((quota.left(&kv(0)), quota.left(&kv(10))), (None, Some(10)));
        quota.spend(7);
        assert_eq!(quota.left(&kv(10)), Some(3));
        quota.spend(7);
        assert_eq!(quota.left(&kv(10)), Some(0));
        quota.refund(20);
        assert_eq!(quota.used(), 0);
        quota.exhaust();
        assert_eq!(quota.left(&kv(0)), Some(0));
    }

    #[test]
    fn day_ends_at_midnight_utc() {
        assert_eq!(Quota::next_day_in(0), 86_400);
        assert_eq!(Quota::next_day_in(86_399), 1);
        let mut quota = Quota::default();
        quota.spend(7);
        quota.settle(86_399);
        assert_eq!(quota.used(), 7);
        quota.settle(86_400);
        assert_eq!(quota, Quota { day: 1, used: 0, exhausted: false });
    }
}

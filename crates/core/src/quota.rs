//! What may still be written to Workers KV today.
//!
//! Cloudflare counts a day from 00:00 UTC (facts cloudflare 2.6). The count is ours alone: the
//! dashboard and other tools spend from the same quota, and only Cloudflare's refusal (code 10048)
//! tells the truth, so that is remembered too.

use serde::{Deserialize, Serialize};

use crate::ports::{Host, StoreError};
use crate::settings::Kv;

const KEY: &str = "kv-quota";
const VERSION: u32 = 1;
const DAY_SECS: u64 = 24 * 3_600;

/// What was spent on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    v: u32,
    /// Days since the epoch.
    day: u64,
    /// Keys written and deleted.
    used: u64,
    /// Cloudflare said that the day is used up.
    exhausted: bool,
}

impl Quota {
    fn fresh(now: u64) -> Self {
        Self { v: VERSION, day: now / DAY_SECS, used: 0, exhausted: false }
    }

    /// The quota of the day that `now` (Unix seconds) is in, as it was stored. What cannot be read,
    /// or is of another version or day, counts as nothing spent.
    pub(crate) fn load(host: &impl Host, now: u64) -> (Self, Result<(), StoreError>) {
        let fresh = Self::fresh(now);
        match host.get(KEY) {
            Err(error) => (fresh, Err(error)),
            Ok(stored) => {
                let stored = stored.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
                let today = stored.filter(|q| q.v == VERSION && q.day == fresh.day);
                (today.unwrap_or(fresh), Ok(()))
            }
        }
    }

    pub(crate) fn save(&self, host: &impl Host) -> Result<(), StoreError> {
        host.set(KEY, &serde_json::to_vec(self).expect("numbers always serialise"))
    }

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
        self.used += keys;
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
        let settings = crate::settings::Settings::parse(|name| {
            Some(match name {
                "lapi_url" | "cf_api_url" => "http://x".to_owned(),
                "lapi_key" | "cf_api_token" => "k".to_owned(),
                "cf_account_id" | "cf_kv_namespace_id" => id.to_owned(),
                "kv_daily_writes_max" => daily.to_string(),
                _ => return None,
            })
        });
        settings.unwrap().targets.kv.unwrap()
    }

    #[test]
    fn quota_spent_leaves_the_rest_and_never_less_than_nothing() {
        let mut quota = Quota::fresh(0);
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
        assert_ne!(Quota::fresh(86_399), Quota::fresh(86_400));
    }
}

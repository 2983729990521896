//! Whole worlds by name: what somebody with this plan meets on an ordinary day, as far as it is known (facts:
//! cloudflare.md 1.3, 1.7, 1.8, 2.6, 3 and 4). Each is the kind world with these knobs turned, and each of them can be
//! turned again.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::CloudflareOptions;

/// A plan of Cloudflare's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Like {
    /// One list, five rules, KV by the day; and the hidden limiter of lists, which one such account was seen to
    /// have: after some writes one in 72 hours.
    CloudflareFree,
    /// Ten lists, 20 rules, KV without quotas.
    CloudflarePro,
    /// 1,000 lists and rules, half a million items.
    CloudflareEnterprise,
}

impl Like {
    /// All of them.
    pub const ALL: [Self; 3] =
        [Self::CloudflareFree, Self::CloudflarePro, Self::CloudflareEnterprise];

    /// Turns the knobs.
    pub fn apply(self, options: &mut CloudflareOptions) {
        let seconds = Duration::from_secs;
        // Documented for every plan, or usual: nothing answers at once, and no replica is of this moment.
        options.latency = Duration::from_millis(150);
        options.operation_delay = seconds(2);
        options.list_read_lag = seconds(5);
        options.requests_max = 1_200;
        options.list_modifications_max = 1_000_000;
        options.list_writes_max = 30_000;
        (options.kv_list_lag, options.kv_value_lag) = (seconds(60), seconds(60));
        options.kv_key_write_interval = seconds(1);
        options.waf_edge_lag = seconds(5);
        options.list_edge_lag = seconds(30);
        options.edge_lag_varies = true;
        (options.list_items_max, options.account_items_max) = (10_000, 10_000);
        match self {
            Self::CloudflareFree => {
                (options.lists_max, options.waf_rules_max) = (1, 5);
                (options.write_floor_after, options.write_floor) = (10, seconds(72 * 3_600));
                options.kv_daily_reads = 100_000;
                options.kv_daily_writes = 1_000;
                options.kv_daily_deletes = 1_000;
                options.kv_daily_lists = 1_000;
            }
            Self::CloudflarePro => (options.lists_max, options.waf_rules_max) = (10, 20),
            Self::CloudflareEnterprise => {
                (options.lists_max, options.waf_rules_max) = (1_000, 1_000);
                (options.list_items_max, options.account_items_max) = (500_000, 500_000);
            }
        }
    }
}

impl fmt::Display for Like {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CloudflareFree => "cloudflare-free",
            Self::CloudflarePro => "cloudflare-pro",
            Self::CloudflareEnterprise => "cloudflare-enterprise",
        })
    }
}

impl FromStr for Like {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|like| like.to_string() == text).ok_or_else(|| {
            let all = Self::ALL.map(|like| like.to_string());
            format!("{text:?} is none of {}", all.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plan_by_its_name_turns_knobs_and_another_name_is_refused_with_all_of_them() {
        for like in Like::ALL {
            assert_eq!(like.to_string().parse(), Ok(like));
            let mut options = CloudflareOptions::default();
            like.apply(&mut options);
            assert_eq!((options.requests_max, options.list_writes_max), (1_200, 30_000), "{like}");
        }
        let error = "cloudflare".parse::<Like>().unwrap_err();
        assert!(
            error.contains("cloudflare-free, cloudflare-pro, cloudflare-enterprise"),
            "{error}"
        );
    }
}

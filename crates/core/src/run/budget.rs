//! How much of a run's time is for reading, and whether what was read fits into it.
//!
//! Cloudflare's pages come one after the other, 500 items or 1,000 keys each, so the time of a listing is the
//! number of its pages times the time of one. Nothing is refused because of that; it is said.

use std::time::Duration;

use crate::apply;
use crate::log::{plural, seconds, thousands};
use crate::session::PUSH_TIMEOUT;
use crate::settings::Settings;

/// What is read later than this after the run began could not be acted on: the slowest of the writes that may
/// follow needs the rest. A dry run, and a target that is not in use, write nothing.
pub fn read_until(settings: &Settings) -> Duration {
    let targets = &settings.targets;
    let room = match settings.dry_run {
        true => Duration::ZERO,
        false => {
            let lists = targets.lists.as_ref().map(|_| apply::lists::WRITE_ROOM);
            let keys = targets.kv.as_ref().map(|_| apply::kv::WRITE_TIMEOUT);
            lists.max(keys).unwrap_or_default()
        }
    };
    settings.run_budget.saturating_sub(PUSH_TIMEOUT).saturating_sub(room)
}

/// What reading took: of the longest listing its pages, and of all of Cloudflare the requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Pages of the listing that has the most.
    pub pages: u64,
    /// How long one of them took.
    pub page: Duration,
    /// Requests to Cloudflare, over all listings.
    pub requests: u64,
    /// Whether there was no time for more of them.
    pub is_cut: bool,
    /// Whether most runs read no page, for what is remembered stands for the lists.
    pub is_seldom: bool,
}

/// What Cloudflare allows a user, over all tokens, in five minutes (facts cloudflare 0.9).
const REQUESTS_MAX: u64 = 1_200;
/// Runs in five minutes with the schedule that comes with the component, one every two minutes; the third may
/// begin within them.
const RUNS: u64 = 3;
/// With `edge_audit_seconds` from here on, of the runs in five minutes one reads everything.
pub const SELDOM_SECS: u64 = 300;
/// A listing of fewer pages is slow for another reason than its size.
const PAGES_MIN: u64 = 4;

impl Reading {
    /// Why it does not fit, with the arithmetic, and what to do; `None` = it fits.
    pub fn problem(&self, settings: &Settings) -> Option<String> {
        let Self { pages, page, requests, is_cut, is_seldom } = *self;
        if pages < PAGES_MIN {
            return None;
        }
        let room = read_until(settings);
        let takes = page.saturating_mul(u32::try_from(pages).unwrap_or(u32::MAX));
        if is_cut || takes > room {
            let read = plural(pages, "page");
            let what = match is_cut {
                true => format!(
                    "{read} were read, {} each, and there was no time for more",
                    seconds(page)
                ),
                false => format!(
                    "{read} one after the other, {} each, take {}",
                    seconds(page),
                    seconds(takes)
                ),
            };
            let budget = settings.run_budget.as_secs();
            return Some(format!(
                "{what}: of run_budget_seconds ({budget}) {} are for reading. Raise it and let the runs be as far apart, or want fewer (origins_exclude)",
                seconds(room)
            ));
        }
        let runs = if is_seldom { 1 } else { RUNS };
        (requests * runs > REQUESTS_MAX).then(|| {
            format!(
                "{} a run are {} in five minutes where a run begins every two, and Cloudflare allows a user {}: let the runs be {} minutes apart",
                plural(requests, "request"),
                thousands(requests * runs),
                thousands(REQUESTS_MAX),
                (requests * 5).div_ceil(REQUESTS_MAX) + 1,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let required = [
            ("lapi_url", "http://lapi:8080"),
            ("lapi_key", "k"),
            ("cf_api_url", "https://api.cloudflare.com"),
            ("cf_account_id", ID),
            ("cf_api_token", TOKEN),
        ];
        let find = |name: &str| {
            let all = required.iter().chain(variables);
            all.filter(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned()).next_back()
        };
        Settings::parse(find, std::time::UNIX_EPOCH).unwrap()
    }

    const ID: &str = "5afe0000000000000000000000acc017";
    const TOKEN: &str = "simulated_token_with_forty_characters_00";
    const LIST: (&str, &str) = ("cf_ban_list_id", ID);
    const KV: (&str, &str) = ("cf_kv_namespace_id", ID);

    #[test]
    fn time_is_kept_for_the_writes_that_may_follow_and_no_others() {
        let left = |variables: &[_]| {
            let settings = settings(variables);
            (settings.run_budget - PUSH_TIMEOUT - read_until(&settings)).as_secs()
        };
        let lists = apply::lists::WRITE_ROOM.as_secs();
        assert!(lists > 30);
        assert_eq!(left(&[LIST]), lists);
        assert_eq!(left(&[LIST, KV]), lists);
        assert_eq!(left(&[KV]), 30);
        assert_eq!(left(&[LIST, KV, ("dry_run", "true")]), 0);
    }

    #[test]
    fn pages_that_do_not_fit_are_told_with_the_arithmetic() {
        let settings = settings(&[LIST]);
        let page = Duration::from_millis(150);
        let fits = Reading { pages: 20, page, requests: 21, ..Reading::default() };
        assert_eq!(fits.problem(&settings), None);
        for (reading, says) in [
            (
                Reading { pages: 480, requests: 481, ..fits },
                "480 pages one after the other, 0.2 s each, take 72.0 s: of run_budget_seconds (110) ",
            ),
            (
                Reading { pages: 99, requests: 100, is_cut: true, ..fits },
                "99 pages were read, 0.2 s each, and there was no time for more: of run_budget_seconds (110) ",
            ),
            (
                Reading { pages: 300, page: Duration::from_millis(50), requests: 602, ..fits },
                "602 requests a run are 1,806 in five minutes where a run begins every two, and Cloudflare allows a user 1,200: let the runs be 4 minutes apart",
            ),
        ] {
            let said = reading.problem(&settings).unwrap_or_default();
            assert!(said.starts_with(says), "{said}");
        }
        // Of lists that are remembered one run in five minutes reads everything.
        let often = Reading { pages: 300, page: Duration::from_millis(50), requests: 602, ..fits };
        assert_eq!(Reading { is_seldom: true, ..often }.problem(&settings), None);
        assert!(Reading { is_seldom: true, requests: 1_300, ..often }.problem(&settings).is_some());
        // One slow answer is no large listing.
        let slow = Reading { pages: 1, page: Duration::from_secs(90), is_cut: true, ..fits };
        assert_eq!(slow.problem(&settings), None);
    }
}

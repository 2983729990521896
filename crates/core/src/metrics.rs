//! The metrics of one run in Prometheus' text format 0.0.4.
//!
//! All are gauges: a Pushgateway keeps the last push, so a value speaks of the last run. Names,
//! job and meaning of the first four are those of the program that this one replaces.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use crate::decision::Remediation;
use crate::report::Report;
use crate::wire::pushgateway::Push;

/// Every metric that a run may push: name and help.
pub const FAMILIES: [(&str, &str); 12] = [
    (BAN_COUNT, "Addresses that should be on the ban list."),
    (CAPTCHA_COUNT, "Addresses that should be on the captcha list."),
    (SUCCESS, "1 if the last run ended with the edge as desired, 0 if not."),
    (LAST_RUN, "When the last run ended, in seconds since the Unix epoch."),
    (DRIFT, "List items that still differ from what is desired after the last run."),
    (ADDED, "List items added by the last run, by list."),
    (REMOVED, "List items removed by the last run, by list."),
    (OPERATIONS, "Bulk operations that the last run asked for."),
    (SKIPPED, "Decisions that the last run left out, by reason."),
    (LEFT_ALONE, "List items that the last run did not understand and left alone, by list."),
    (DURATION, "How long the last run took, in seconds."),
    (REQUESTS, "API requests of the last run, by API and outcome."),
];

const BAN_COUNT: &str = "crowdsec_cf_list_ban_count";
const CAPTCHA_COUNT: &str = "crowdsec_cf_list_captcha_count";
const SUCCESS: &str = "crowdsec_cf_list_sync_success";
const LAST_RUN: &str = "crowdsec_cf_list_sync_last_run_seconds";
const DRIFT: &str = "crowdsec_cf_list_sync_drift";
const ADDED: &str = "crowdsec_cf_list_sync_items_added";
const REMOVED: &str = "crowdsec_cf_list_sync_items_removed";
const OPERATIONS: &str = "crowdsec_cf_list_sync_bulk_operations";
const SKIPPED: &str = "crowdsec_cf_list_sync_skipped_values";
const LEFT_ALONE: &str = "crowdsec_cf_list_sync_items_left_alone";
const DURATION: &str = "crowdsec_cf_list_sync_duration_seconds";
const REQUESTS: &str = "crowdsec_cf_list_sync_api_requests";

/// A set of metrics. `Display` is the text format.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// The metrics of a run that ended at `now`, and how to push them.
    ///
    /// Where desired or observed state is not known, only success and the time are pushed, and
    /// merged into the group, so that the last known counts stay.
    pub fn of(report: &Report, now: SystemTime) -> (Push, Self) {
        let mut metrics = Self::default();
        let success = if report.outcome.is_success() { 1.0 } else { 0.0 };
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        metrics.add(SUCCESS, [("", success)]);
        metrics.add(LAST_RUN, [("", since_epoch.as_secs() as f64)]);
        let (Some(desired), Some(plan)) = (&report.desired, &report.plan) else {
            return (Push::Merge, metrics);
        };
        metrics.add(BAN_COUNT, [("", desired.ban as f64)]);
        metrics.add(CAPTCHA_COUNT, [("", desired.captcha as f64)]);
        metrics.add(DRIFT, [("", report.drift().unwrap_or_default() as f64)]);
        let lists = |value: &dyn Fn(Remediation) -> u64| -> Vec<(String, f64)> {
            let lists = plan.lists.iter();
            lists.map(|l| (format!("list=\"{}\"", l.list), value(l.list) as f64)).collect()
        };
        metrics.add(ADDED, lists(&|list| report.added(list)));
        metrics.add(REMOVED, lists(&|list| report.removed(list)));
        metrics.add(LEFT_ALONE, lists(&|list| plan.left_alone(list)));
        metrics.add(OPERATIONS, [("", report.writes as f64)]);
        metrics.add(
            SKIPPED,
            desired.skipped.counts().map(|(reason, n)| (format!("reason=\"{reason}\""), n as f64)),
        );
        metrics.add(DURATION, [("", report.duration.as_secs_f64())]);
        metrics.add(
            REQUESTS,
            report.requests.iter().map(|((api, outcome), count)| {
                let labels = format!("api=\"{}\",outcome=\"{}\"", api.as_str(), outcome.as_str());
                (labels, *count as f64)
            }),
        );
        (Push::Replace, metrics)
    }

    /// Adds a metric with a sample for each set of labels. No label value comes from outside, so
    /// none needs escaping.
    fn add<L: AsRef<str>>(&mut self, name: &str, samples: impl IntoIterator<Item = (L, f64)>) {
        let help = FAMILIES.iter().find(|(family, _)| *family == name).map_or("", |(_, help)| help);
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in samples {
            let _ = match labels.as_ref() {
                "" => writeln!(self.text, "{name} {value}"),
                labels => writeln!(self.text, "{name}{{{labels}}} {value}"),
            };
        }
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

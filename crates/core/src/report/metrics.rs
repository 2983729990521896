//! The metrics of one run in Prometheus' text format 0.0.4, a group a target.
//!
//! All are gauges: a Pushgateway keeps the last push, so a value speaks of the last run. Jobs, and
//! names and meaning of the first four metrics of each, are those of the programs that this one
//! replaces.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use crate::api::pushgateway::Push;
use crate::decision::Remediation;
use crate::desired::{OriginCounts, Skipped};
use crate::log::decimal;
use crate::state::writes::Cause;

use super::rules::RuleReport;
use super::{KvReport, ListsReport, Outcome, Report, RulesReport};

/// Every metric that a run may push: name and help.
pub const FAMILIES: [(&str, &str); 39] = [
    ("crowdsec_cf_list_ban_count", "Addresses that should be on the ban list."),
    ("crowdsec_cf_list_captcha_count", "Addresses that should be on the captcha list."),
    ("crowdsec_cf_list_sync_success", SUCCESS_HELP),
    ("crowdsec_cf_list_sync_last_run_seconds", LAST_RUN_HELP),
    (
        "crowdsec_cf_list_sync_drift",
        "List items that still differ from what is desired after the last run.",
    ),
    ("crowdsec_cf_list_sync_items_added", "List items added by the last run, by list."),
    ("crowdsec_cf_list_sync_items_removed", "List items removed by the last run, by list."),
    (
        "crowdsec_cf_list_sync_items_left_alone",
        "List items that the last run did not understand and left alone, by list.",
    ),
    ("crowdsec_cf_list_sync_bulk_operations", "Bulk operations that the last run asked for."),
    (
        "crowdsec_cf_list_sync_rate_limited",
        "1 while no write is tried because Cloudflare refused the last one.",
    ),
    (
        "crowdsec_cf_list_sync_next_write_seconds",
        "Seconds until a write is tried again; 0 = at once.",
    ),
    ("crowdsec_cf_list_sync_lapi_readable", READABLE_HELP),
    ("crowdsec_cf_list_sync_removals_held", HELD_HELP),
    (
        "crowdsec_cf_list_sync_kept_addresses",
        "Desired addresses that have a place on the lists, by origin.",
    ),
    (
        "crowdsec_cf_list_sync_dropped_addresses",
        "Desired addresses that have no place on the lists, by origin.",
    ),
    (
        "crowdsec_cf_list_sync_rules_fresh",
        "Addresses that a rule matches although its list lacks them, by zone and rule.",
    ),
    (
        "crowdsec_cf_list_sync_rules_lifted",
        "Addresses that a rule lets through although its list has them, by zone and rule.",
    ),
    (
        "crowdsec_cf_list_sync_rules_waiting",
        "What should stand in a rule and has no room, by zone and rule.",
    ),
    (
        "crowdsec_cf_list_sync_rules_characters",
        "How long a rule's expression is, in characters, by zone and rule.",
    ),
    ("crowdsec_cf_list_sync_rules_writes", "Changes of rules that the last run sent."),
    ("crowdsec_cf_list_sync_skipped_values", SKIPPED_HELP),
    ("crowdsec_cf_list_sync_duration_seconds", DURATION_HELP),
    ("crowdsec_cf_list_sync_api_requests", REQUESTS_HELP),
    ("crowdsec_kv_sync_decisions", "Addresses and ranges that should be in KV."),
    ("crowdsec_kv_sync_deleted", "KV keys deleted, and ranges taken out, by the last run."),
    ("crowdsec_kv_sync_success", SUCCESS_HELP),
    ("crowdsec_kv_sync_last_run_seconds", LAST_RUN_HELP),
    (
        "crowdsec_kv_sync_written",
        "KV keys and ranges written by the last run because they were absent or wrong.",
    ),
    (
        "crowdsec_kv_sync_refreshed",
        "KV keys and ranges written by the last run because their expiry was off.",
    ),
    (
        "crowdsec_kv_sync_waiting",
        "KV keys and ranges that should change and wait, for quota or for the next run.",
    ),
    (
        "crowdsec_kv_sync_drift",
        "KV keys and ranges that still differ from what is desired after the last run.",
    ),
    (
        "crowdsec_kv_sync_quota_used",
        "KV keys written and deleted today (UTC), as far as this program counts.",
    ),
    (
        "crowdsec_kv_sync_reads_used_up",
        "1 if Cloudflare refused the last run's reads of KV because the day's are used up: the Worker lets everybody through.",
    ),
    ("crowdsec_kv_sync_bulk_writes", "Bulk write requests that the last run sent."),
    ("crowdsec_kv_sync_lapi_readable", READABLE_HELP),
    ("crowdsec_kv_sync_removals_held", HELD_HELP),
    ("crowdsec_kv_sync_skipped_values", SKIPPED_HELP),
    ("crowdsec_kv_sync_duration_seconds", DURATION_HELP),
    ("crowdsec_kv_sync_api_requests", REQUESTS_HELP),
];

const SUCCESS_HELP: &str = "1 if the last run ended with the edge as desired, 0 if not.";
const LAST_RUN_HELP: &str = "When the last run ended, in seconds since the Unix epoch.";
const READABLE_HELP: &str = "1 if LAPI's decisions could be read by the last run, 0 if not.";
const HELD_HELP: &str = "Removals that the guard held back in the last run.";
const SKIPPED_HELP: &str = "Decisions that the last run left out, by reason.";
const DURATION_HELP: &str = "How long the last run took, in seconds.";
const REQUESTS_HELP: &str = "API requests of the last run, by API and outcome.";

/// The metrics of one target. `Display` is the text format.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    job: &'static str,
    prefix: &'static str,
    push: Push,
    text: String,
}

impl Metrics {
    /// The metrics of a run that ended at `now`, a group for each target.
    ///
    /// Where desired or observed state is not known, only success and the time are pushed, and
    /// merged into the group, so that the last known counts stay.
    pub fn of(report: &Report, now: SystemTime) -> Vec<Self> {
        let lists = report.lists.iter().map(|lists| Self::of_lists(lists, report, now));
        lists.chain(report.kv.iter().map(|kv| Self::of_kv(kv, report, now))).collect()
    }

    /// The group that they belong to.
    pub fn job(&self) -> &'static str {
        self.job
    }

    /// How to push them.
    pub fn push(&self) -> Push {
        self.push
    }

    fn begin(
        job: &'static str,
        prefix: &'static str,
        success: bool,
        report: &Report,
        now: SystemTime,
    ) -> Self {
        let mut metrics = Self { job, prefix, push: Push::Merge, text: String::new() };
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        metrics.value("sync_success", u64::from(success));
        metrics.value("sync_last_run_seconds", since_epoch.as_secs());
        metrics.value("sync_lapi_readable", u64::from(report.skipped.is_some()));
        metrics
    }

    fn of_lists(lists: &ListsReport, report: &Report, now: SystemTime) -> Self {
        let success =
            lists.is_success() && report.rules.as_ref().is_none_or(RulesReport::is_success);
        let mut metrics =
            Self::begin("crowdsec-cf-list-sync", "crowdsec_cf_list_", success, report, now);
        let (Some(plan), Some(drift)) = (&lists.plan, lists.drift()) else { return metrics };
        metrics.push = Push::Replace;
        metrics.value("ban_count", plan.desired(Remediation::Ban));
        metrics.value("captcha_count", plan.desired(Remediation::Captcha));
        metrics.value("sync_drift", drift);
        let by_list = |value: &dyn Fn(Remediation) -> u64| -> Vec<(String, u64)> {
            let lists = plan.lists.iter();
            lists.map(|l| (format!("list=\"{}\"", l.list), value(l.list))).collect()
        };
        metrics.add("sync_items_added", by_list(&|list| lists.added(list)));
        metrics.add("sync_items_removed", by_list(&|list| lists.removed(list)));
        metrics.add("sync_items_left_alone", by_list(&|list| plan.left_alone(list)));
        metrics.value("sync_removals_held", plan.held);
        let by_origin = |value: &dyn Fn(&OriginCounts) -> u64| -> Vec<(String, u64)> {
            let origins = plan.origins.iter();
            origins.map(|o| (format!("origin={}", label(&o.origin)), value(o))).collect()
        };
        metrics.add("sync_kept_addresses", by_origin(&|origin| origin.ipv4 + origin.ipv6));
        metrics.add("sync_dropped_addresses", by_origin(&|origin| origin.dropped));
        metrics.value("sync_bulk_operations", lists.writes);
        let throttled = lists.backoff.is_some_and(|(_, cause)| cause == Cause::Throttled);
        metrics.value("sync_rate_limited", u64::from(throttled));
        metrics
            .value("sync_next_write_seconds", lists.backoff.map_or(0, |(left, _)| left.as_secs()));
        if let Some(rules) = &report.rules {
            metrics.of_rules(rules);
        }
        metrics.run(report);
        metrics
    }

    fn of_rules(&mut self, rules: &RulesReport) {
        let mut by_rule = |name, value: fn(&RuleReport) -> u64| {
            let samples: Vec<(String, u64)> = rules
                .zones
                .iter()
                .flat_map(|zone| zone.rules.iter().map(move |rule| (&zone.zone, rule)))
                .map(|(zone, rule)| {
                    (format!("zone=\"{zone}\",rule=\"{}\"", rule.rule), value(rule))
                })
                .collect();
            self.add(name, samples);
        };
        by_rule("sync_rules_fresh", |rule| rule.fresh);
        by_rule("sync_rules_lifted", |rule| rule.lifted);
        by_rule("sync_rules_waiting", |rule| rule.waiting);
        by_rule("sync_rules_characters", |rule| rule.characters);
        self.value("sync_rules_writes", rules.writes);
    }

    fn of_kv(kv: &KvReport, report: &Report, now: SystemTime) -> Self {
        let mut metrics =
            Self::begin("crowdsec-kv-sync", "crowdsec_kv_", kv.outcome.is_success(), report, now);
        let is_used_up =
            matches!(&kv.outcome, Outcome::Failed(failure) if failure.is_reads_used_up());
        metrics.value("sync_reads_used_up", u64::from(is_used_up));
        let (Some(desired), Some(drift)) = (kv.desired, kv.drift_left()) else { return metrics };
        metrics.push = Push::Replace;
        metrics.value("sync_decisions", desired.ban + desired.captcha);
        metrics.value("sync_deleted", kv.applied.deleted);
        metrics.value("sync_written", kv.applied.written);
        metrics.value("sync_refreshed", kv.applied.refreshed);
        metrics.value("sync_waiting", kv.waiting);
        metrics.value("sync_removals_held", kv.held);
        metrics.value("sync_drift", drift);
        metrics.value("sync_quota_used", kv.quota_used);
        metrics.value("sync_bulk_writes", kv.applied.writes);
        metrics.run(report);
        metrics
    }

    /// What is the run's and not a target's.
    fn run(&mut self, report: &Report) {
        let counts = report.skipped.as_ref().map(Skipped::counts).into_iter().flatten();
        self.add(
            "sync_skipped_values",
            counts.map(|(reason, n)| (format!("reason=\"{reason}\""), n)),
        );
        self.add("sync_duration_seconds", [("", decimal(report.duration, 3))]);
        self.add(
            "sync_api_requests",
            report.requests.iter().map(|((api, outcome), count)| {
                let labels = format!("api=\"{}\",outcome=\"{}\"", api.as_str(), outcome.as_str());
                (labels, *count)
            }),
        );
    }

    fn value(&mut self, name: &str, value: u64) {
        self.add(name, [("", value)]);
    }

    /// Adds a metric with a sample for each set of labels.
    fn add<L: AsRef<str>, V: fmt::Display>(
        &mut self,
        name: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        let name = format!("{}{name}", self.prefix);
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

/// A label's value from outside, quoted as the text format wants it.
fn label(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

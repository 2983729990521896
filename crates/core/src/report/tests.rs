//! What is said and counted, and above all what is not.

use std::time::SystemTime;

use super::*;
use crate::api::cloudflare::kv::Ranges;
use crate::api::cloudflare::kv::shards::Layout;
use crate::apply::kv::AppliedKeys;
use crate::apply::lists::Applied;
use crate::decision::Remediation::{Ban, Captcha};
use crate::desired::Desired;
use crate::log::Style;
use crate::observed::kv::{ObservedKeys, ObservedKv};
use crate::plan::kv::{Rules, diff};
use crate::schedule::kv::Schedule;
use crate::settings::protected::Protected;
use crate::skipped::Left;
use crate::state::Ends;

use super::lists::{ListCounts, PlanCounts};
use super::metrics::{FAMILIES, Metrics};

const NOW: u64 = 1_793_000_000;

fn run() -> RunCounts {
    RunCounts { skipped: 0, forgot: None, requests: 3, duration: Duration::from_secs(1) }
}

/// A plan of the lists that found nothing.
fn counts() -> PlanCounts {
    let list = |list, left_alone| ListCounts { list, desired: 5, left_alone };
    PlanCounts {
        drift: 0,
        held: 0,
        there: 10,
        lists: vec![list(Ban, 2), list(Captcha, 0)],
        origins: Vec::new(),
        set_aside: Left::default(),
    }
}

#[test]
fn additions_beyond_twenty_are_counted_in_one_line_unless_all_are_wanted() {
    let lines = |n: usize| (0..n).map(|n| Line::new(Level::Info, "change", format!("  + {n}")));
    let texts = |n, all| -> Vec<String> {
        let lines = few(lines(n), "addition", "lists", all);
        lines.iter().map(|line| line.text().to_owned()).collect()
    };
    assert_eq!(texts(20, false).len(), 20);
    let many = texts(25, false);
    let rest = "  and 5 more additions (log_changes=all lists them)";
    assert_eq!((many.len(), many.last().map(String::as_str)), (21, Some(rest)));
    assert_eq!(texts(25, true).len(), 25);
}

#[test]
fn lists_summary_tells_machines_of_held_removals_only_if_there_are_any() {
    let with = |held| {
        let plan = PlanCounts { held, ..counts() };
        let report = ListsReport::planned(Outcome::InSync, plan, Applied::default(), None);
        report.summary(&run()).render(Style::KeyValue)
    };
    assert!(with(3).contains(" held=3 "), "{}", with(3));
    assert!(!with(0).contains("held"), "{}", with(0));
}

#[test]
fn items_left_alone_are_counted_list_by_list() {
    let counts = counts();
    assert_eq!((counts.left_alone(Ban), counts.left_alone(Captcha)), (2, 0));
}

#[test]
fn kv_drift_left_is_less_by_all_that_was_written_refreshed_and_deleted() {
    let report = |drift| KvReport {
        outcome: Outcome::InSync,
        desired: None,
        origins: Vec::new(),
        drift,
        waiting: 0,
        held: 0,
        there: 0,
        applied: AppliedKeys { written: 3, refreshed: 2, deleted: 1, ..AppliedKeys::default() },
        quota_used: 0,
        layout: None,
    };
    assert_eq!(report(Some(10)).drift_left(), Some(4));
    assert_eq!(report(Some(5)).drift_left(), Some(0), "more was done than was seen");
    assert_eq!(report(None).drift_left(), None);
}

/// What is said of a key in the ranges' place that somebody else wrote, while so many ranges are desired.
fn says_of_foreign_ranges(ranges: &[&str]) -> Vec<String> {
    let desired: Vec<_> = ranges.iter().map(|range| (*range, Ban, 3_600)).collect();
    let mut keys = ObservedKeys::default();
    keys.set_ranges(Ranges::Foreign);
    let rules = Rules {
        prefix: "ip:",
        tolerance: Duration::from_secs(600),
        protected: &Protected::default(),
        ends: &Ends::default(),
        now: NOW,
        began: NOW,
        ahead_since: None,
    };
    let plan = diff(&Desired::of_keys(&desired), &keys, rules);
    let observed = ObservedKv { keys: Some(keys), shards: None };
    let lines = kv::announce(&plan, &Schedule::default(), &observed, (Layout::Keys, "ip:"), false);
    lines.iter().map(|line| line.text().to_owned()).collect()
}

#[test]
fn foreign_key_in_the_ranges_place_is_a_hindrance_only_where_there_are_ranges() {
    let alone =
        r#"the KV namespace has a key "ranges" that this program did not write; it is left alone"#;
    assert_eq!(says_of_foreign_ranges(&[]), [alone]);
    let hinders = says_of_foreign_ranges(&["203.0.113.0/24"]);
    let text = format!("{alone}, so that 1 range cannot be sent: \"203.0.113.0/24\"");
    assert!(hinders[0].starts_with(&text), "{hinders:?}");
}

fn report(skipped: Skipped) -> Report {
    Report {
        skipped: Some(skipped),
        lists: None,
        kv: None,
        rules: None,
        memory: Memory::Works,
        requests: RequestCounts::default(),
        duration: Duration::ZERO,
    }
}

/// What people leave out on purpose is no news; an address that is believed to be blocked and is not, is.
#[test]
fn decisions_left_out_are_a_warning_only_if_one_is_a_mistake() {
    let mut skipped = Skipped::default();
    skipped.origins.add("CAPI");
    let line = report(skipped.clone()).skipped().unwrap();
    assert_eq!(line.level, Level::Info);
    assert_eq!(line.text(), "1 decision skipped: origins not wanted: capi 1");
    let machines = line.render(Style::KeyValue);
    assert!(machines.starts_with("level=info event=skipped origin=1 msg="), "{machines}");
    skipped.not_addresses.add("hello");
    let line = report(skipped).skipped().unwrap();
    assert_eq!(line.level, Level::Warn);
    assert_eq!(
        line.text(),
        r#"2 decisions skipped: origins not wanted: capi 1; not an address: "hello""#
    );
    assert!(report(Skipped::default()).skipped().is_none());
}

/// Prometheus shows the help beside the metric, and refuses a family that has two.
#[test]
fn metric_is_pushed_with_its_own_help() {
    let lists = ListsReport::planned(Outcome::InSync, counts(), Applied::default(), None);
    let report = Report { lists: Some(lists), ..report(Skipped::default()) };
    let pushed = Metrics::of(&report, SystemTime::UNIX_EPOCH).remove(0).to_string();
    let helps: Vec<&str> = pushed.lines().filter_map(|line| line.strip_prefix("# HELP ")).collect();
    assert!(helps.len() > 15, "{pushed}");
    for help in helps {
        let (name, text) = help.split_once(' ').unwrap();
        assert!(FAMILIES.contains(&(name, text)), "{help}");
    }
    let left_alone = r#"crowdsec_cf_list_sync_items_left_alone{list="ban"} 2"#;
    assert!(pushed.lines().any(|line| line == left_alone), "{pushed}");
}

//! When the layout that is wanted takes over, and what is said to be left in it.

use super::*;
use crate::api::cloudflare::kv::shards::{Marker, UNITS};
use crate::api::cloudflare::kv::{Key, Metadata, Ranges};
use crate::decision::Remediation::{self, Ban};

const NOW: u64 = 1_793_000_000;
const HOUR: u64 = 3_600;
const KEY: &str = "192.0.2.1";

fn settings(writes_max: u32) -> Settings {
    Settings::of(&[
        ("cf_kv_namespace_id", "33333333333333333333333333333333"),
        ("kv_layout", "shards"),
        ("scopes", "ip,range"),
        ("removal_confirm_runs", "1"),
        ("kv_daily_writes_max", &writes_max.to_string()),
    ])
}

/// A ban that stands in both layouts since an hour ago.
fn there() -> ObservedKeys {
    let metadata = Some(Metadata { value: Ban, written: NOW - HOUR });
    let mut keys = ObservedKeys::default();
    keys.add(Key { name: format!("ip:{KEY}"), expires: Some(NOW + HOUR + 60), metadata }, "ip:");
    keys.set_ranges(Ranges::Ours {
        written: NOW - HOUR,
        entries: Default::default(),
        regions: Default::default(),
    });
    keys
}

/// Keys are served, and the shards, which are wanted, have been complete for nine minutes.
fn decide_on(desired: &[(&str, Remediation, u32)], writes_max: u32) -> Decision {
    let settings = settings(writes_max);
    let kv = settings.targets.kv.as_ref().unwrap();
    let marker = Marker { serves: Layout::Keys, since: NOW - HOUR, alone: false };
    let shards = ObservedShards {
        keys: there(),
        units: [const { Unit::Ours(NOW - HOUR) }; UNITS],
        marker: Some(marker),
    };
    let observed = ObservedKv { keys: Some(there()), shards: Some(shards) };
    let mut quota = Quota::default().at(NOW);
    quota.shards = quota.shards.bound(kv.namespace.as_str(), &kv.prefix);
    quota.shards.found(true, NOW - 540);
    let remembered = Remembered { quota: &quota, held: None, ends: &Ends::default() };
    let states = (&Desired::of_keys(desired), &observed);
    decide(&settings, kv, states, remembered, When { began: NOW, now: NOW })
}

/// The layout that Workers are to read from now on.
fn serves(decision: &Decision) -> Layout {
    decision.course.marker.unwrap().serves
}

/// What is sent to the other layout does not all have a place in the same run, so that for a moment somebody
/// would be in force in the one alone.
#[test]
fn layout_takes_over_only_if_all_that_changes_in_this_run_changes_in_both() {
    let lasting = (KEY, Ban, 3_600);
    let same = decide_on(&[lasting], 0);
    assert_eq!((serves(&same), same.is_complete), (Layout::Shards, true));
    let more = [lasting, ("192.0.2.2", Ban, 3_600)];
    assert_eq!(serves(&decide_on(&more, 0)), Layout::Shards, "it comes in both");
    let scarce = decide_on(&more, 2);
    assert_eq!((serves(&scarce), scarce.is_complete), (Layout::Keys, true));
    let (sent, left) = scarce.other.as_ref().unwrap();
    assert_eq!((sent.waiting(), sent.riding(), *left), (1, 0, 1), "no budget for the other");
}

#[test]
fn key_that_goes_after_a_range_is_not_yet_left_in_the_other_layout_which_waits_for_it() {
    let covered = decide_on(&[("192.0.2.0/24", Ban, 3_600)], 0);
    assert_eq!((serves(&covered), covered.is_complete), (Layout::Keys, true));
    let (sent, left) = covered.other.as_ref().unwrap();
    assert_eq!((sent.waiting(), sent.riding(), *left), (0, 1, 1), "the range alone");
}

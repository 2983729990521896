//! Metrics in a real Prometheus Pushgateway.

use std::collections::BTreeMap;

use end_to_end::world::JOB;
use end_to_end::{RealPushgateway, World};

/// The names of the program that was replaced; dashboards and alerts use them.
const OF_THE_SEED: [&str; 4] = [
    "crowdsec_cf_list_ban_count",
    "crowdsec_cf_list_captcha_count",
    "crowdsec_cf_list_sync_success",
    "crowdsec_cf_list_sync_last_run_seconds",
];
const OURS: [&str; 8] = [
    "crowdsec_cf_list_sync_drift",
    "crowdsec_cf_list_sync_items_added",
    "crowdsec_cf_list_sync_items_removed",
    "crowdsec_cf_list_sync_bulk_operations",
    "crowdsec_cf_list_sync_skipped_values",
    "crowdsec_cf_list_sync_items_left_alone",
    "crowdsec_cf_list_sync_duration_seconds",
    "crowdsec_cf_list_sync_api_requests",
];

async fn world_with(pushgateway: &RealPushgateway) -> World {
    let mut world = World::new().await;
    world.set("pushgateway_url", pushgateway.url());
    world.ban(&["203.0.113.7", "203.0.113.8", "not an address"]);
    world.captcha(&["203.0.113.9"]);
    world
}

/// The samples that were pushed for our job, by name and labels other than those of the group; not
/// those that the Pushgateway adds itself.
fn samples(exposition: &str) -> BTreeMap<String, f64> {
    let pushed = exposition.lines().filter(|line| line.starts_with("crowdsec_"));
    let ours = pushed.filter(|line| line.contains(&format!("job=\"{JOB}\"")));
    ours.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap();
        let labels = labels.trim_end_matches('}').split(',');
        let labels: Vec<_> = labels
            .filter(|label| !label.starts_with("job=") && !label.starts_with("instance="))
            .collect();
        let series = [&[name], &labels[..]].concat().join(" ");
        (series, value.parse().unwrap())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_over_all_metrics_are_there_each_with_help_and_type() {
    let Some(pushgateway) = RealPushgateway::start().await else { return };
    let world = world_with(&pushgateway).await;
    world.run_well().await;
    let exposition = pushgateway.metrics().await;
    let samples = samples(&exposition);
    for name in OF_THE_SEED.iter().chain(&OURS) {
        assert!(samples.keys().any(|series| series.split(' ').next() == Some(name)), "{name}");
        assert!(exposition.contains(&format!("# TYPE {name} gauge\n")), "{name}: {exposition}");
        let help = exposition.lines().find(|line| line.starts_with(&format!("# HELP {name} ")));
        assert!(help.is_some_and(|help| help.ends_with('.')), "{name}: {help:?}");
    }
    for (series, value) in [
        ("crowdsec_cf_list_ban_count", 2.0),
        ("crowdsec_cf_list_captcha_count", 1.0),
        ("crowdsec_cf_list_sync_success", 1.0),
        ("crowdsec_cf_list_sync_drift", 0.0),
        ("crowdsec_cf_list_sync_items_added list=\"ban\"", 2.0),
        ("crowdsec_cf_list_sync_items_added list=\"captcha\"", 1.0),
        ("crowdsec_cf_list_sync_bulk_operations", 2.0),
        ("crowdsec_cf_list_sync_api_requests api=\"lapi\" outcome=\"ok\"", 1.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series}: {samples:#?}");
    }
    let last_run = samples["crowdsec_cf_list_sync_last_run_seconds"];
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((now - 60.0..=now).contains(&last_run), "{last_run}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_skipped_leaves_the_counts_and_sets_success_0() {
    let Some(pushgateway) = RealPushgateway::start().await else { return };
    let world = world_with(&pushgateway).await;
    world.run_well().await;
    let before = samples(&pushgateway.metrics().await);
    world.fault("lapi: answer 403 {\"message\":\"access forbidden\"}");
    world.run().await.assert_skipped("403");
    let mut after = samples(&pushgateway.metrics().await);
    for name in ["crowdsec_cf_list_sync_success", "crowdsec_cf_list_sync_lapi_readable"] {
        assert_eq!(after.insert(name.to_owned(), 1.0), Some(0.0), "{name}");
    }
    let key = "crowdsec_cf_list_sync_last_run_seconds";
    assert!(after[key] >= before[key]);
    after.insert(key.to_owned(), before[key]);
    assert_eq!(after, before, "nothing else has changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushgateway_stopped_does_not_fail_the_run() {
    let Some(pushgateway) = RealPushgateway::start().await else { return };
    let world = world_with(&pushgateway).await;
    drop(pushgateway);
    let ran = world.run_well().await;
    let warning = ran.events("pushgateway").next().expect("a warning");
    assert_eq!(warning.get("level"), "warn");
    assert!(warning.get("msg").contains("pushgateway_url"), "{warning:?}");
    world.assert_edge(&["203.0.113.7", "203.0.113.8"], &["203.0.113.9"]);
}

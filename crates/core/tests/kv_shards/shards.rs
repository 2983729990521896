//! The layout by itself: what is written when, and what it costs.

use std::time::Duration;

use edge_sync_core::log::Level;
use simulator::{Decision, Service};

use crate::common::World;
use crate::worker::{NOT, Past, START, ours, shard};
use crate::{HOUR, INTERVAL, keys, lines, marker, runs, world};

fn requests(world: &World) -> usize {
    world.journal(|entry| entry.service == Service::Cloudflare).len()
}

fn blocks(world: &World, address: &str) -> Option<&'static str> {
    ours(&Past::of(world), address, world.front.elapsed(), NOT)
}

#[tokio::test(start_paused = true)]
async fn first_sync_of_fifteen_thousand_is_one_run_and_seventeen_writes() {
    let mut world = world("shards");
    world.set("kv_daily_writes_max", "1000");
    let rows = simulator::decisions::generate(15_000, 1).into_iter();
    let rows = rows.map(|row| Decision { until: row.until + 48 * HOUR, ..row });
    world.front.world().lapi().replace(rows);
    world.run().await.unwrap();
    let counters = world.kv_counters();
    assert_eq!((counters.pairs_written, counters.keys_deleted), (17, 0));
    assert_eq!((lines(&world).len(), marker(&world).as_str()), (15_000, "shards alone"));
    assert!(keys(&world).is_empty());

    // A run without a change: one request, and 17 reads.
    let (before, asked) = (world.kv_counters(), requests(&world));
    runs(&world, 1).await;
    let after = world.kv_counters();
    assert_eq!(requests(&world) - asked, 1);
    assert_eq!(after.keys_read - before.keys_read, 17);
    assert_eq!((after.pairs_written, after.list_calls), (17, before.list_calls));
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn only_the_value_that_differs_is_written_and_says_what_the_worker_looks_for() {
    let world = world("shards");
    world.decide("ban", "203.0.113.7", HOUR);
    world.decide("captcha", "2001:DB8::1", HOUR);
    world.run().await.unwrap();
    // In an empty namespace only what holds something is written, and the marker.
    assert_eq!(world.kv_counters().pairs_written, 3);
    let ends = START + 3_600 + 60;
    assert_eq!(
        lines(&world),
        [format!("2001:db8::1 captcha {ends}"), format!("203.0.113.7 ban {ends}")]
    );
    world.decide("ban", "203.0.113.8", HOUR);
    runs(&world, 1).await;
    assert_eq!(world.kv_counters().pairs_written, 4);
    assert_eq!(blocks(&world, "203.0.113.8"), Some("ban"));
    assert_eq!(blocks(&world, "2001:db8::1"), Some("captcha"));
    assert_eq!(blocks(&world, "203.0.113.9"), None);
    assert_eq!(shard("203.0.113.7"), shard("203.0.113.8"), "and it was kept there");
    assert_eq!(blocks(&world, "203.0.113.7"), Some("ban"));
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn decision_that_runs_out_ends_on_time_without_a_write() {
    let world = world("shards");
    world.decide("ban", "203.0.113.7", HOUR);
    world.decide("ban", "203.0.113.8", 9 * HOUR);
    world.run().await.unwrap();
    let writes = world.kv_counters().pairs_written;
    runs(&world, 32).await;
    assert_eq!(world.kv_counters().pairs_written, writes);
    assert_eq!(blocks(&world, "203.0.113.7"), None);
    assert_eq!(blocks(&world, "203.0.113.8"), Some("ban"));
}

#[tokio::test(start_paused = true)]
async fn own_lift_goes_at_once_and_the_communitys_rides_or_goes_after_six_hours() {
    let world = world("shards");
    let lasts = 100 * HOUR;
    for address in ["203.0.113.7", "203.0.113.8"] {
        let until = world.front.elapsed() + lasts;
        world.front.world().lapi().add(Decision::ban(address).origin("CAPI").until(until));
    }
    world.decide("ban", "203.0.113.9", lasts);
    world.run().await.unwrap();
    runs(&world, 1).await;
    world.front.world().lapi().remove_value("203.0.113.9");
    runs(&world, 1).await;
    assert_eq!(blocks(&world, "203.0.113.9"), None);
    let writes = world.kv_counters().pairs_written;
    world.front.world().lapi().remove_value("203.0.113.8");
    runs(&world, 10).await;
    assert_eq!(world.kv_counters().pairs_written, writes);
    assert_eq!(blocks(&world, "203.0.113.8"), Some("ban"));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(1.0));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_drift"), Some(0.0));
    runs(&world, 6 * 30).await;
    assert_eq!(blocks(&world, "203.0.113.8"), None);
    assert_eq!(blocks(&world, "203.0.113.7"), Some("ban"));
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn ranges_and_regions_stand_beside_the_shards_with_the_owners_exception() {
    let mut world = world("shards");
    world.set("never_block", "203.0.113.99");
    world.decide("ban", "198.51.100.0/24", HOUR);
    let until = world.front.elapsed() + 2 * HOUR;
    let region = |scope: &str, value: &str| Decision::ban(value).scope(scope).until(until);
    world.front.world().lapi().add(region("Country", "cn"));
    world.front.world().lapi().add(region("AS", "AS64496"));
    world.run().await.unwrap();
    let wide = world.values().remove("ip:wide").unwrap();
    let (first, second) = (START + 3_660, START + 7_260);
    let body = format!(
        "203.0.113.99 never 0\ncountry:CN ban {second}\nas:64496 ban {second}\n198.51.100.0/24 ban {first}\n"
    );
    assert_eq!(wide.split_once('\n').unwrap().1, body);
    assert_eq!(blocks(&world, "198.51.100.77"), Some("ban"));
    // A new owner must not wait.
    world.set("never_block", "203.0.113.99,192.0.2.7");
    runs(&world, 1).await;
    assert!(world.values()["ip:wide"].contains("192.0.2.7 never 0\n"));
    world.front.world().lapi().remove_value("cn");
    runs(&world, 1).await;
    assert!(!world.values()["ip:wide"].contains("country"));
    world.assert_no_violations();
}

/// The marker is lost, with the store that remembers, while a lift of the community's rides.
#[tokio::test(start_paused = true)]
async fn marker_that_was_lost_does_not_come_back_with_who_was_lifted() {
    let world = world("shards");
    world.decide("ban", "203.0.113.7", 9 * HOUR);
    let until = world.front.elapsed() + 9 * HOUR;
    world.front.world().lapi().add(Decision::ban("203.0.113.8").origin("CAPI").until(until));
    world.run().await.unwrap();
    runs(&world, 1).await;
    world.front.world().lapi().remove_value("203.0.113.8");
    runs(&world, 1).await;
    assert_eq!(blocks(&world, "203.0.113.8"), Some("ban"), "it rides");
    let namespace = world.namespace.clone();
    let mut all = world.keys();
    all.remove("ip:wide");
    {
        let mut simulator = world.front.world();
        simulator.cloudflare().kv_clear(&namespace);
        simulator.cloudflare().kv_preload(&namespace, all);
    }
    tokio::time::sleep(3 * INTERVAL).await;
    world.run().await.unwrap();
    assert_eq!(marker(&world), "shards alone");
    assert_eq!(blocks(&world, "203.0.113.8"), None);
    assert_eq!(blocks(&world, "203.0.113.7"), Some("ban"));
}

/// What the guard holds is no decision of LAPI's any more, and an owner is never met by it.
#[tokio::test(start_paused = true)]
async fn region_that_the_guard_holds_stays_with_the_owners_exceptions_and_takes_new_ones() {
    for layout in ["keys", "shards"] {
        let mut world = world(layout);
        world.set("never_block", "203.0.113.99");
        let until = world.front.elapsed() + 9 * HOUR;
        world.front.world().lapi().add(Decision::ban("cn").scope("Country").until(until));
        let addresses: Vec<String> = (1..20).map(|n| format!("203.0.113.{n}")).collect();
        addresses.iter().for_each(|address| world.decide("ban", address, 9 * HOUR));
        world.run().await.unwrap();
        // The database is lost, and a range is decided, so that the value is written.
        world.front.world().lapi().clear();
        world.decide("ban", "198.51.100.0/24", 9 * HOUR);
        tokio::time::sleep(INTERVAL).await;
        world.run().await.unwrap();
        let beside = |world: &World| {
            let name = if layout == "keys" { "ranges" } else { "ip:wide" };
            let value = &world.values()[name];
            ["country:CN ban ", "198.51.100.0/24", "203.0.113.99 never 0", "192.0.2.7 never 0"]
                .map(|text| value.contains(text))
        };
        assert_eq!(beside(&world), [true, true, true, false], "{layout}");
        // An owner who is new in these days must not wait for the guard.
        world.set("never_block", "203.0.113.99,192.0.2.7");
        tokio::time::sleep(INTERVAL).await;
        world.run().await.unwrap();
        assert_eq!(beside(&world), [true, true, true, true], "{layout}");
        let written = world.kv_counters().pairs_written;
        tokio::time::sleep(INTERVAL).await;
        world.run().await.unwrap();
        assert_eq!(world.kv_counters().pairs_written, written, "{layout}");
        world.assert_no_violations();
    }
}

#[tokio::test(start_paused = true)]
async fn regions_in_the_layout_keys_stand_beside_the_ranges() {
    let mut world = world("keys");
    world.set("never_block", "203.0.113.99");
    let until = world.front.elapsed() + 2 * HOUR;
    world.front.world().lapi().add(Decision::ban("cn").scope("Country").until(until));
    world.run().await.unwrap();
    let value: serde_json::Value = serde_json::from_str(&world.values()["ranges"]).unwrap();
    assert_eq!(value["ranges"], serde_json::json!([]));
    let ends = START + 7_260;
    assert_eq!(value["more"], format!("203.0.113.99 never 0\ncountry:CN ban {ends}\n"));
    runs(&world, 3).await;
    assert_eq!(world.kv_counters().pairs_written, 1);
    world.front.world().lapi().remove_value("cn");
    runs(&world, 1).await;
    assert!(world.values().is_empty());
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn value_that_reads_older_than_what_was_written_is_not_written_over() {
    let mut world = World::kv(|options| {
        options.cloudflare.kv_list_lag = Duration::from_secs(200);
        options.cloudflare.kv_value_lag = Duration::from_secs(200);
    });
    world.set("kv_layout", "shards");
    world.decide("ban", "203.0.113.7", 9 * HOUR);
    world.run().await.unwrap();
    assert_eq!(world.kv_counters().pairs_written, 2);
    world.decide("ban", "203.0.113.8", 9 * HOUR);
    tokio::time::sleep(INTERVAL).await;
    world.run().await.unwrap();
    assert_eq!(world.kv_counters().pairs_written, 2, "it reads as absent");
    runs(&world, 1).await;
    assert_eq!(world.kv_counters().pairs_written, 3);
    assert_eq!(blocks(&world, "203.0.113.7"), Some("ban"));
    assert_eq!(blocks(&world, "203.0.113.8"), Some("ban"));
}

#[tokio::test(start_paused = true)]
async fn write_that_was_lost_is_made_again_after_five_minutes() {
    let world = world("shards");
    world.decide("ban", "203.0.113.7", 9 * HOUR);
    world.fault(r#"cloudflare PUT /bulk times=2: answer 200 {"success":true,"result":{}}"#);
    world.run().await.unwrap();
    assert!(world.values().is_empty());
    runs(&world, 3).await;
    assert_eq!(blocks(&world, "203.0.113.7"), Some("ban"));
    assert_eq!(marker(&world), "shards alone");
}

#[tokio::test(start_paused = true)]
async fn foreign_value_is_left_alone_and_named() {
    let world = world("shards");
    let key = format!("ip:s16:{:x}", shard("203.0.113.7"));
    world.preload_key(&key, "mine", None, None);
    world.decide("ban", "203.0.113.7", HOUR);
    world.decide("ban", "2001:db8::1", HOUR);
    world.run().await.unwrap();
    assert_eq!(world.values()[&key], "mine");
    assert_eq!(blocks(&world, "2001:db8::1"), Some("ban"));
    let warned = world.texts(Level::Warn);
    assert!(warned.iter().any(|text| text.contains(&key)), "{warned:?}");
    assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn lapi_that_lost_its_database_opens_nothing() {
    let world = world("shards");
    for n in 0..40 {
        world.decide("ban", &format!("203.0.113.{n}"), 90 * HOUR);
    }
    world.run().await.unwrap();
    let rows = world.front.world().lapi().decisions().len();
    world.front.world().lapi().replace(Vec::new());
    world.decide("ban", "192.0.2.1", HOUR);
    runs(&world, 3).await;
    assert_eq!((rows, lines(&world).len()), (40, 41));
    assert_eq!(blocks(&world, "203.0.113.9"), Some("ban"));
    runs(&world, 18).await;
    assert_eq!(blocks(&world, "203.0.113.9"), None);
}

#[tokio::test(start_paused = true)]
async fn value_that_is_full_names_who_finds_no_room_and_is_not_written_again() {
    let world = world("shards");
    // Addresses of one shard, as long as they come: more than a megabyte of lines.
    let long = (0..u32::MAX)
        .map(|n| format!("2001:db8:1111:2222:3333:4444:{:x}:{:x}", n >> 16, n & 0xffff));
    let long = long.filter(|address| shard(address) == 0).take(22_000);
    let until = world.front.elapsed() + 90 * HOUR;
    let own = std::iter::once(Decision::ban("2001:db8:ffff::").until(until));
    let rows = long.map(|address| Decision::ban(&address).origin("CAPI").until(until));
    world.front.world().lapi().replace(rows.chain(own).collect::<Vec<_>>());
    world.run().await.unwrap();
    let value = &world.values()["ip:s16:0"];
    assert!((1_000_000..=1 << 20).contains(&value.len()), "{}", value.len());
    let warned = world.texts(Level::Warn);
    assert!(warned.iter().any(|text| text.contains("no room")), "{warned:?}");
    let writes = world.kv_counters().pairs_written;
    runs(&world, 2).await;
    assert_eq!(world.kv_counters().pairs_written, writes);
    assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(0.0));
}

/// One value has all of them, and a Worker on the free plan has ten milliseconds.
#[tokio::test(start_paused = true)]
async fn value_beside_the_shards_is_never_larger_than_a_shard_and_names_what_finds_no_room() {
    for ranges in [true, false] {
        let world = world("shards");
        let until = world.front.elapsed() + 90 * HOUR;
        let own = Decision::ban("64496").scope("AS").until(until);
        let all = (0..38_000).map(|n| match ranges {
            true => Decision::ban(format!("2001:db8:1111:{n:x}::/64")).scope("Range"),
            false => Decision::ban((4_200_000_000_u32 + n).to_string()).scope("AS"),
        });
        let all = all.map(|row| row.origin("CAPI").until(until));
        world.front.world().lapi().replace(all.chain([own]).collect::<Vec<_>>());
        world.run().await.unwrap();
        let value = &world.values()["ip:wide"];
        assert!((1_000_000..=1 << 20).contains(&value.len()), "{ranges}: {}", value.len());
        assert!(value.contains("\nas:64496 ban "), "{ranges}: what is decided here has room");
        let warned = world.texts(Level::Warn);
        assert!(warned.iter().any(|text| text.contains("no room")), "{ranges}: {warned:?}");
        let writes = world.kv_counters().pairs_written;
        runs(&world, 2).await;
        assert_eq!(world.kv_counters().pairs_written, writes, "{ranges}");
        assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(0.0), "{ranges}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_prefix_has_values_and_ranges_of_its_own() {
    for layout in ["keys", "shards"] {
        let mut world = world(layout);
        world.front.world().options();
        world.preload_key("ranges", r#"{"v":1,"at":1,"ranges":[]}"#, None, None);
        world.set("kv_key_prefix", "site2:");
        world.decide("ban", "198.51.100.0/24", HOUR);
        world.run().await.unwrap();
        let key = if layout == "keys" { "site2:ranges" } else { "site2:wide" };
        assert!(world.values()[key].contains("198.51.100.0/24"), "{layout}");
        assert!(world.values().contains_key("ranges"), "the other deployment's");
        world.set("scopes", "ip");
        runs(&world, 18).await;
        assert!(!world.values().get(key).is_some_and(|v| v.contains("198.51.100.0/24")));
        assert!(world.values().contains_key("ranges"), "the other deployment's");
    }
}

#[tokio::test(start_paused = true)]
async fn budget_that_is_short_goes_to_the_marker_first() {
    let mut world = world("shards");
    world.set("kv_daily_writes_max", "4");
    for n in 0..40 {
        world.decide("ban", &format!("203.0.113.{n}"), 90 * HOUR);
    }
    world.run().await.unwrap();
    assert_eq!((marker(&world).as_str(), world.kv_counters().pairs_written), ("shards alone", 4));
    assert!(!lines(&world).is_empty());
}

//! From one layout to the other and back, as a person would go.

use std::time::Duration;

use crate::common::World;
use crate::worker::{NOT, Past, before, ours};
use crate::{HOUR, INTERVAL, keys, lines, marker, runs, world};

const ADDRESSES: [&str; 4] = ["203.0.113.7", "203.0.113.8", "2001:db8::1", "198.51.100.77"];

fn decide(world: &World) {
    for address in &ADDRESSES[..3] {
        world.decide("ban", address, 90 * HOUR);
    }
    world.decide("ban", "198.51.100.0/24", 90 * HOUR);
}

/// Which of the addresses are blocked now, by our Worker and by one of before.
fn blocked(world: &World) -> (usize, usize) {
    let (past, now) = (Past::of(world), world.front.elapsed());
    let ours = ADDRESSES.iter().filter(|address| ours(&past, address, now, NOT).is_some());
    let before = ADDRESSES.iter().filter(|address| before(&past, address, now, NOT).is_some());
    (ours.count(), before.count())
}

#[tokio::test(start_paused = true)]
async fn keys_become_shards_in_three_steps() {
    let mut world = world("keys");
    decide(&world);
    world.run().await.unwrap();
    runs(&world, 2).await;
    assert_eq!((marker(&world).as_str(), keys(&world).len()), ("none", 3));

    world.set("kv_layout", "shards");
    runs(&world, 1).await;
    assert_eq!((marker(&world).as_str(), lines(&world).len()), ("keys beside", 3));
    // Read complete by the next run, and for eight minutes.
    for _ in 0..3 {
        runs(&world, 1).await;
        assert_eq!(marker(&world), "keys beside");
    }
    runs(&world, 1).await;
    assert_eq!((marker(&world).as_str(), keys(&world).len()), ("shards beside", 3));
    let switched = world.front.elapsed();
    assert_eq!(blocked(&world), (4, 4));
    // A ban that comes now goes to both.
    world.decide("ban", "192.0.2.1", 90 * HOUR);
    runs(&world, 1).await;
    assert_eq!((lines(&world).len(), keys(&world).len()), (4, 4));
    while !keys(&world).is_empty() {
        assert_eq!(blocked(&world), (4, 4));
        assert!(world.front.elapsed() < switched + Duration::from_secs(700));
        runs(&world, 1).await;
    }
    assert!(world.front.elapsed() >= switched + Duration::from_secs(480));
    assert!(!world.values().contains_key("ranges"));
    runs(&world, 1).await;
    assert_eq!(marker(&world), "shards alone");
    assert_eq!(blocked(&world), (4, 0));
    let counters = world.kv_counters();
    runs(&world, 1).await;
    assert_eq!(world.kv_counters().list_calls, counters.list_calls, "no listing any more");
    assert_eq!(world.kv_counters().pairs_written, counters.pairs_written);
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn shards_become_keys_within_the_budget_while_the_shards_are_served() {
    let mut world = world("shards");
    world.set("kv_daily_writes_max", "20");
    decide(&world);
    for n in 0..30 {
        world.decide("ban", &format!("192.0.2.{n}"), 900 * HOUR);
    }
    world.run().await.unwrap();
    world.set("kv_layout", "keys");
    runs(&world, 20).await;
    assert_eq!(marker(&world), "shards beside");
    assert!(keys(&world).len() < 10, "half of the day's writes stay with the shards");
    // Over days; the shards are kept up to date meanwhile.
    tokio::time::sleep(24 * HOUR).await;
    world.decide("ban", "192.0.2.200", 900 * HOUR);
    world.run().await.unwrap();
    let past = Past::of(&world);
    assert_eq!(ours(&past, "192.0.2.200", world.front.elapsed(), NOT), Some("ban"));
    for _ in 0..5 {
        tokio::time::sleep(24 * HOUR).await;
        runs(&world, 6).await;
    }
    assert_eq!(marker(&world), "none");
    assert!(lines(&world).is_empty() && world.values().keys().all(|key| !key.contains("s16")));
    let now = world.front.elapsed();
    assert_eq!(before(&Past::of(&world), "192.0.2.200", now, NOT), Some("ban"));
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn both_keeps_the_keys_for_workers_of_before() {
    let mut world = world("keys");
    decide(&world);
    world.run().await.unwrap();
    world.set("kv_layout", "both");
    runs(&world, 30).await;
    assert_eq!(marker(&world), "shards beside");
    assert_eq!(blocked(&world), (4, 4));
    world.decide("ban", "192.0.2.1", 90 * HOUR);
    world.front.world().lapi().remove_value(ADDRESSES[0]);
    runs(&world, 2).await;
    assert_eq!((lines(&world).len(), keys(&world).len()), (3, 3));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(1.0));
    world.set("kv_layout", "shards");
    runs(&world, 3).await;
    assert_eq!((marker(&world).as_str(), keys(&world).len()), ("shards alone", 0));
    // And back to both, for somebody who has to take the old Worker again.
    world.set("kv_layout", "both");
    runs(&world, 2).await;
    assert_eq!((marker(&world).as_str(), keys(&world).len()), ("shards beside", 3));
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn both_from_the_beginning_fills_both() {
    let world = world("both");
    decide(&world);
    world.run().await.unwrap();
    assert_eq!((marker(&world).as_str(), keys(&world).len()), ("shards beside", 3));
    assert_eq!(blocked(&world), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn one_who_changes_his_mind_half_way_loses_nobody() {
    let mut world = world("keys");
    decide(&world);
    world.run().await.unwrap();
    for layout in ["shards", "keys", "shards", "both", "keys", "shards", "keys"] {
        world.set("kv_layout", layout);
        for _ in 0..4 {
            runs(&world, 1).await;
            assert_eq!(blocked(&world).0, 4, "{layout}");
        }
    }
    runs(&world, 12).await;
    assert_eq!((marker(&world).as_str(), keys(&world).len()), ("none", 3));
    assert_eq!(blocked(&world), (4, 4));
    world.assert_no_violations();
}

/// What the guard holds is in one layout only, and would be lost with it.
#[tokio::test(start_paused = true)]
async fn layouts_do_not_change_places_while_the_guard_holds_anything() {
    let mut world = world("keys");
    for n in 0..40 {
        world.decide("ban", &format!("203.0.113.{n}"), 90 * HOUR);
    }
    world.run().await.unwrap();
    world.front.world().lapi().replace(Vec::new());
    world.decide("ban", "192.0.2.1", 90 * HOUR);
    world.set("kv_layout", "shards");
    runs(&world, 14).await;
    assert_eq!((marker(&world).as_str(), keys(&world).len()), ("keys beside", 41));
    runs(&world, 12).await;
    assert_eq!(marker(&world).split(' ').next(), Some("shards"), "the guard has let them go");
}

#[tokio::test(start_paused = true)]
async fn host_without_a_store_comes_to_the_other_layout_too() {
    let mut world = world("keys");
    decide(&world);
    *world.store.borrow_mut() = None;
    world.run().await.unwrap();
    world.set("kv_layout", "shards");
    runs(&world, 12).await;
    assert_eq!((marker(&world).as_str(), keys(&world).len()), ("shards alone", 0));
    world.set("kv_layout", "keys");
    runs(&world, 12).await;
    assert_eq!((marker(&world).as_str(), keys(&world).len()), ("none", 3));
}

/// The value with the marker was taken away by hand.
#[tokio::test(start_paused = true)]
async fn marker_that_is_gone_comes_back_with_the_next_run() {
    let world = world("shards");
    decide(&world);
    world.run().await.unwrap();
    runs(&world, 5).await;
    let namespace = world.namespace.clone();
    let entries = world.keys();
    world.front.world().cloudflare().kv_clear(&namespace);
    let others = entries.into_iter().filter(|(key, _)| key != "ip:wide");
    world.front.world().cloudflare().kv_preload(&namespace, others);
    runs(&world, 1).await;
    assert_eq!((marker(&world).as_str(), blocked(&world).0), ("shards alone", 4));
    tokio::time::sleep(INTERVAL).await;
}

/// What the community lifts while the shards are prepared must not be in force again when they are served.
#[tokio::test(start_paused = true)]
async fn address_that_is_lifted_half_way_does_not_come_back_with_the_other_layout() {
    let mut world = world("keys");
    let until = world.front.elapsed() + 90 * HOUR;
    let community = |address: &str| simulator::Decision::ban(address).origin("CAPI").until(until);
    world.front.world().lapi().add(community("203.0.113.7"));
    world.front.world().lapi().add(community("203.0.113.8"));
    world.run().await.unwrap();
    world.set("kv_layout", "shards");
    runs(&world, 2).await;
    world.front.world().lapi().remove_value("203.0.113.7");
    let mut was_free = false;
    for _ in 0..12 {
        runs(&world, 1).await;
        let now = world.front.elapsed();
        let is_free = ours(&Past::of(&world), "203.0.113.7", now, NOT).is_none();
        assert!(is_free || !was_free, "{}", marker(&world));
        was_free = is_free;
    }
    assert_eq!((marker(&world).as_str(), was_free), ("shards alone", true));
}

//! The guard in front of the namespace, as it is shipped: ten removals, five runs, half an hour.

use std::time::Duration;

use edge_sync_core::log::Level;

use crate::common::World;
use crate::host::{Odd, OddStore};
use crate::{HOUR, INTERVAL, has, run_after};

/// In sync with so many bans, two minutes later.
async fn world_with(bans: u32) -> World {
    let world = World::kv(|_| {});
    (1..=bans).for_each(|n| world.decide("ban", &format!("198.51.100.{n}"), 100 * HOUR));
    world.run().await.unwrap();
    tokio::time::sleep(INTERVAL).await;
    world
}

fn lift(world: &World, from: u32, to: u32) {
    for n in from..=to {
        world.front.world().lapi().remove_value(&format!("198.51.100.{n}"));
    }
}

#[tokio::test(start_paused = true)]
async fn three_keys_replaced_are_held_for_half_an_hour_while_the_new_ones_go() {
    let world = world_with(3).await;
    lift(&world, 1, 3);
    world.decide("ban", "203.0.113.7", 100 * HOUR);
    for run in 0..15 {
        run_after(&world, INTERVAL).await;
        assert_eq!(world.keys().len(), 4, "run {run}");
    }
    assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(0.0));
    let said = world.texts(Level::Warn).join("\n");
    assert!(said.contains("KV: 3 of 3 would be removed, and nothing that was there"), "{said}");
    run_after(&world, INTERVAL).await;
    assert!(world.keys().keys().eq(["ip:203.0.113.7"]));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn few_lifted_of_many_go_at_once() {
    let world = world_with(20).await;
    lift(&world, 1, 10);
    run_after(&world, INTERVAL).await;
    assert_eq!(world.keys().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn runs_by_hand_within_seconds_confirm_nothing() {
    let world = world_with(30).await;
    lift(&world, 1, 29);
    for _ in 0..10 {
        run_after(&world, Duration::from_secs(1)).await;
    }
    assert_eq!(world.keys().len(), 30);
    run_after(&world, HOUR / 2).await;
    assert_eq!(world.keys().len(), 1, "ten runs, and half an hour since the first");
}

#[tokio::test(start_paused = true)]
async fn lapi_unreadable_in_between_does_not_start_the_count_again() {
    let world = world_with(30).await;
    lift(&world, 1, 29);
    for run in 0..16 {
        if run == 8 {
            world.fault("lapi times=1: answer 403 access forbidden");
        }
        assert_eq!(world.keys().len(), 30, "run {run}");
        run_after(&world, INTERVAL).await;
    }
    assert_eq!(world.keys().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn newcomer_to_the_removals_begins_a_count_of_its_own() {
    let world = world_with(30).await;
    lift(&world, 1, 20);
    for _ in 0..10 {
        run_after(&world, INTERVAL).await;
    }
    lift(&world, 21, 21);
    for _ in 0..6 {
        run_after(&world, INTERVAL).await;
    }
    assert_eq!(world.keys().len(), 10, "the twenty went, the newcomer waits");
    assert!(has(&world, "198.51.100.21"));
    for _ in 0..10 {
        run_after(&world, INTERVAL).await;
    }
    assert!(!has(&world, "198.51.100.21"));
}

#[tokio::test(start_paused = true)]
async fn database_that_comes_back_within_the_half_hour_costs_no_key() {
    let world = world_with(30).await;
    world.front.world().lapi().override_body(Some("null".into()));
    for _ in 0..10 {
        run_after(&world, INTERVAL).await;
    }
    world.front.world().lapi().override_body(None);
    run_after(&world, INTERVAL).await;
    assert_eq!((world.keys().len(), world.kv_counters().keys_deleted), (30, 0));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn approval_by_a_person_lets_them_go_until_it_is_over() {
    let mut world = world_with(30).await;
    lift(&world, 1, 29);
    world.set("removals_approved_until", "2026-10-26T07:00:00Z");
    run_after(&world, INTERVAL).await;
    assert_eq!(world.keys().len(), 30, "it is over");
    world.set("removals_approved_until", "2026-10-26T09:00:00Z");
    run_after(&world, INTERVAL).await;
    assert_eq!(world.keys().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn owners_addresses_go_at_once_and_a_prefix_that_is_too_wide_does_not_empty_the_namespace() {
    let mut world = world_with(30).await;
    world.set("never_block", "198.51.100.7");
    run_after(&world, INTERVAL).await;
    assert!(!has(&world, "198.51.100.7") && world.keys().len() == 29);
    world.set("never_block", "198.51.100.0/24");
    for _ in 0..5 {
        run_after(&world, INTERVAL).await;
        assert_eq!(world.keys().len(), 19, "ten of them, and no more with the next runs");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_that_run_out_by_themselves_are_nothing_for_the_guard() {
    let world = World::kv(|_| {});
    for n in 1..=20 {
        world.decide("ban", &format!("198.51.100.{n}"), HOUR);
    }
    world.decide("ban", "203.0.113.7", 100 * HOUR);
    for _ in 0..40 {
        run_after(&world, INTERVAL).await;
        assert_eq!(world.kv_metric("crowdsec_kv_sync_removals_held"), Some(0.0));
    }
    assert_eq!((world.keys().len(), world.kv_counters().keys_deleted), (1, 0));
}

/// Extended, written anew, and then shortened to its first end: the key lives too long, and its time is over.
#[tokio::test(start_paused = true)]
async fn keys_that_outlive_their_decisions_go_as_run_out_and_are_not_held() {
    let world = World::kv(|_| {});
    for n in 1..=20 {
        world.decide("ban", &format!("198.51.100.{n}"), HOUR);
        let key = format!("ip:198.51.100.{n}");
        let expires = HOUR + Duration::from_secs(600);
        world.preload_key(&key, "ban", Some(expires), Some(Duration::ZERO));
    }
    world.decide("ban", "203.0.113.7", 100 * HOUR);
    for _ in 0..32 {
        run_after(&world, INTERVAL).await;
    }
    assert_eq!((world.keys().len(), world.kv_counters().keys_deleted), (1, 20));
}

#[tokio::test(start_paused = true)]
async fn store_that_forgets_confirms_nothing_and_every_summary_says_so() {
    let world = World::kv(|_| {});
    let host = Odd::new(&world, OddStore::Forgets);
    (1..=30).for_each(|n| world.decide("ban", &format!("198.51.100.{n}"), 100 * HOUR));
    host.run().await.unwrap();
    lift(&world, 1, 29);
    for _ in 0..40 {
        tokio::time::sleep(INTERVAL).await;
        let _ = world.take_lines();
        host.run().await.unwrap();
        let summaries = world.take_lines();
        let forgot = |line: &edge_sync_core::log::Line| {
            line.text().starts_with("kv ") && line.text().contains("a store that forgets")
        };
        assert_eq!(summaries.iter().filter(|(_, line)| forgot(line)).count(), 1, "{summaries:?}");
    }
    assert_eq!(world.keys().len(), 30);
}

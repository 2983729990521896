//! What looks like an accident, over time: a LAPI that lost its database, and one whose bans were
//! really lifted.

use std::time::Duration;

use crate::common::World;
use edge_sync_core::log::Level;
use simulator::Service;

const INTERVAL: Duration = Duration::from_secs(120);

async fn run_after(world: &World, wait: Duration) {
    tokio::time::sleep(wait).await;
    let _ = world.take_lines();
    world.run().await.unwrap();
}

fn addresses(n: u8) -> Vec<String> {
    (0..n).map(|n| format!("203.0.113.{n}")).collect()
}

/// In sync with `n` bans, the guard on.
async fn world_with(targets: &[&str], n: u8) -> World {
    let mut world = World::new();
    world.target(targets);
    addresses(n).iter().for_each(|address| world.ban(address));
    world.run().await.unwrap();
    world
}

fn lift(world: &World, addresses: &[String]) {
    for address in addresses {
        world.front.world().lapi().remove_value(address);
    }
}

fn lapi_says(world: &World, body: Option<&'static str>) {
    world.front.world().lapi().override_body(body.map(Into::into));
}

/// How many are at the edge: items, keys.
fn at_edge(world: &World) -> (usize, usize) {
    (world.edge().0.len(), world.keys().len())
}

#[tokio::test(start_paused = true)]
async fn lapi_that_lost_its_database_for_six_minutes_costs_no_removal() {
    let world = world_with(&["lists", "kv"], 120).await;
    let writes = world.writes();
    lapi_says(&world, Some("null"));
    for _ in 0..3 {
        run_after(&world, INTERVAL).await;
        assert_eq!(at_edge(&world), (120, 120));
        assert_eq!(world.metric("crowdsec_cf_list_sync_success"), Some(0.0));
        assert_eq!(world.metric("crowdsec_cf_list_sync_removals_held"), Some(120.0));
        assert_eq!(world.kv_metric("crowdsec_kv_sync_removals_held"), Some(120.0));
    }
    lapi_says(&world, None);
    run_after(&world, INTERVAL).await;
    assert_eq!((at_edge(&world), world.writes()), ((120, 120), writes));
    assert_eq!(world.metric("crowdsec_cf_list_sync_success"), Some(1.0));
    // It is lost again: what was counted before does not count any more.
    lapi_says(&world, Some("null"));
    for _ in 0..4 {
        run_after(&world, INTERVAL).await;
    }
    assert_eq!((at_edge(&world), world.writes()), ((120, 120), writes));
}

#[tokio::test(start_paused = true)]
async fn bans_that_were_all_lifted_are_gone_with_the_last_confirming_run() {
    let world = world_with(&["lists", "kv"], 120).await;
    lift(&world, &addresses(120));
    for run in 1..=16 {
        run_after(&world, INTERVAL).await;
        let left = if run < 16 { 120 } else { 0 };
        assert_eq!(at_edge(&world), (left, left), "after run {run}: half an hour");
    }
    let warnings = world.texts(Level::Warn);
    assert!(warnings[0].contains("the same was found in 16 runs"), "{warnings:?}");
    assert_eq!(world.metric("crowdsec_cf_list_sync_success"), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn run_that_cannot_read_lapi_in_between_does_not_start_the_count_again() {
    let world = world_with(&["lists"], 120).await;
    lift(&world, &addresses(120));
    for run in 0..15 {
        if run % 4 == 3 {
            world.fault("lapi times=1: answer 403 access forbidden");
        }
        run_after(&world, INTERVAL).await;
        assert_eq!(at_edge(&world).0, 120, "after run {run}");
    }
    run_after(&world, INTERVAL).await;
    assert_eq!(at_edge(&world).0, 0);
}

#[tokio::test(start_paused = true)]
async fn new_bans_go_out_while_removals_are_held() {
    let world = world_with(&["lists", "kv"], 120).await;
    lift(&world, &addresses(110));
    world.ban("198.51.100.1");
    run_after(&world, INTERVAL).await;
    assert_eq!(at_edge(&world), (121, 121));
    let warnings = world.texts(Level::Warn);
    let ours = warnings.iter().find(|text| text.starts_with("guard: ban")).unwrap();
    assert!(
        ours.contains("110 of 120 would be removed, more than 50 % and more than 10"),
        "{ours}"
    );
}

#[tokio::test(start_paused = true)]
async fn churn_during_the_count_does_not_start_it_again() {
    let world = world_with(&["lists"], 120).await;
    lift(&world, &addresses(110));
    for run in 1..=16u8 {
        world.ban(&format!("198.51.100.{run}"));
        run_after(&world, INTERVAL).await;
    }
    assert_eq!(at_edge(&world).0, 10 + 16);
}

#[tokio::test(start_paused = true)]
async fn refused_write_after_the_count_is_tried_again_without_a_new_one() {
    let world = world_with(&["lists"], 120).await;
    lift(&world, &addresses(120));
    for _ in 0..15 {
        run_after(&world, INTERVAL).await;
    }
    world.fault("cloudflare DELETE times=1: answer 429 slow down");
    tokio::time::sleep(INTERVAL).await;
    world.run().await.unwrap_err();
    run_after(&world, Duration::from_secs(1_801)).await;
    assert_eq!(at_edge(&world).0, 0);
}

#[tokio::test(start_paused = true)]
async fn dry_run_confirms_nothing() {
    let mut world = world_with(&["lists"], 120).await;
    lift(&world, &addresses(120));
    world.set("dry_run", "true");
    for _ in 0..9 {
        run_after(&world, INTERVAL).await;
    }
    world.set("dry_run", "false");
    run_after(&world, INTERVAL).await;
    assert_eq!(at_edge(&world).0, 120);
}

#[tokio::test(start_paused = true)]
async fn without_a_store_nothing_is_ever_confirmed_and_the_owner_is_still_let_out() {
    let mut world = world_with(&["lists"], 120).await;
    *world.store.borrow_mut() = None;
    lift(&world, &addresses(120));
    world.set("never_block", "203.0.113.7");
    for _ in 0..9 {
        run_after(&world, INTERVAL).await;
    }
    assert_eq!(at_edge(&world).0, 119, "only the protected address went");
    let lapi = world.journal(|e| e.service == Service::Lapi && e.method == "GET").len();
    assert_eq!(lapi, 10);
}

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

#[tokio::test(start_paused = true)]
async fn small_site_whose_bans_were_all_replaced_keeps_the_old_ones_for_half_an_hour() {
    let world = world_with(&["lists"], 3).await;
    lift(&world, &addresses(3));
    (1..=3).for_each(|n| world.ban(&format!("198.51.100.{n}")));
    for run in 1..=15 {
        run_after(&world, INTERVAL).await;
        assert_eq!(at_edge(&world).0, 6, "after run {run}");
    }
    run_after(&world, INTERVAL).await;
    assert_eq!(at_edge(&world).0, 3);
}

#[tokio::test(start_paused = true)]
async fn bans_that_were_all_replaced_are_not_gone_with_the_second_run() {
    let world = World::new();
    let all =
        |from: u32| (from..from + 1_500).map(|n| std::net::Ipv4Addr::from_bits(n).to_string());
    all(0x0b00_0000).for_each(|address| world.ban(&address));
    world.run().await.unwrap();
    world.front.world().lapi().clear();
    all(0x0c00_0000).for_each(|address| world.ban(&address));
    for run in 1..=3 {
        run_after(&world, INTERVAL).await;
        assert_eq!(at_edge(&world).0, 3_000, "after run {run}");
    }
}

#[tokio::test(start_paused = true)]
async fn typing_error_in_never_block_lets_ten_go_and_holds_the_others() {
    let mut world = world_with(&["lists"], 120).await;
    world.set("never_block", "203.0.113.7/8");
    for _ in 0..3 {
        run_after(&world, INTERVAL).await;
        assert_eq!(at_edge(&world).0, 110);
    }
    world.set("never_block", "");
    run_after(&world, INTERVAL).await;
    assert_eq!(at_edge(&world).0, 120);
}

#[tokio::test(start_paused = true)]
async fn typing_error_in_list_items_max_holds_everything_and_then_goes_like_any_other() {
    let mut world = world_with(&["lists"], 120).await;
    world.set("list_items_max", "12");
    for _ in 0..15 {
        run_after(&world, INTERVAL).await;
        assert_eq!(at_edge(&world).0, 120);
    }
    run_after(&world, INTERVAL).await;
    assert_eq!(at_edge(&world).0, 12);
}

#[tokio::test(start_paused = true)]
async fn own_bans_find_room_on_a_full_list_while_removals_are_held() {
    let mut world = world_with(&["lists"], 100).await;
    world.set("list_items_max", "100");
    lift(&world, &addresses(90));
    (1..=4).for_each(|n| world.ban(&format!("198.51.100.{n}")));
    run_after(&world, INTERVAL).await;
    let ban = world.edge().0;
    assert_eq!(ban.len(), 100);
    assert!((1..=4).all(|n| ban.contains(&format!("198.51.100.{n}"))));
    assert_eq!(world.metric("crowdsec_cf_list_sync_removals_held"), Some(86.0));
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn decisions_that_ran_out_are_no_news_for_the_guard() {
    let world = World::new();
    world.ban("198.51.100.1");
    addresses(60).iter().for_each(|address| world.decide("ban", address, 30 * INTERVAL));
    world.run().await.unwrap();
    run_after(&world, 31 * INTERVAL).await;
    assert_eq!(world.edge().0, ["198.51.100.1"]);
    assert!(world.texts(Level::Warn).is_empty());
}

#[tokio::test(start_paused = true)]
async fn decisions_that_ran_out_are_lifts_where_the_ends_were_forgotten() {
    let world = World::new();
    world.ban("198.51.100.1");
    addresses(60).iter().for_each(|address| world.decide("ban", address, 30 * INTERVAL));
    world.run().await.unwrap();
    *world.store.borrow_mut() = Some(Default::default());
    run_after(&world, 31 * INTERVAL).await;
    assert_eq!(world.edge().0.len(), 61);
}

#[tokio::test(start_paused = true)]
async fn person_who_approves_lets_held_removals_go_with_the_next_run() {
    let mut world = world_with(&["lists"], 120).await;
    lift(&world, &addresses(120));
    run_after(&world, INTERVAL).await;
    assert_eq!(at_edge(&world).0, 120);
    let until = humantime::format_rfc3339_seconds(
        std::time::UNIX_EPOCH + Duration::from_secs(world.unix_now() + 3_600),
    );
    world.set("removals_approved_until", &until.to_string());
    run_after(&world, INTERVAL).await;
    assert_eq!(at_edge(&world).0, 0);
}

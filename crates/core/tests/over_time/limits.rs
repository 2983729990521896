//! What outlasts a run: the wait after refused writes, the lease, the operation left unfinished.

use std::time::Duration;

use crate::common::World;
use edge_sync_core::log::Level;
use simulator::Service;

const INTERVAL: Duration = Duration::from_secs(120);

async fn run_after(world: &World, wait: Duration) {
    tokio::time::sleep(wait).await;
    let _ = world.take_lines();
    let _ = world.run().await;
}

#[tokio::test(start_paused = true)]
async fn limiter_of_72_hours_meets_few_attempts_and_each_accepted_write_brings_everything() {
    let world =
        World::with(|options| options.cloudflare.write_floor = Duration::from_secs(72 * 3_600));
    let mut attempts_by_the_seed = 0;
    let mut changes = 0u32;
    // Six changes an hour, in both directions, and a run for each: more would only be slower.
    let runs = 14 * 24 * 6;
    for _ in 0..runs {
        changes += 1;
        world.ban(&std::net::Ipv4Addr::from_bits(0xcb00_7100 + changes).to_string());
        if changes > 20 {
            let gone = std::net::Ipv4Addr::from_bits(0xcb00_7100 + changes - 20).to_string();
            world.front.world().lapi().remove_value(&gone);
        }
        let accepted = world.front.world().counters(Service::Cloudflare).writes_accepted;
        run_after(&world, 5 * INTERVAL).await;
        // The program before this one writes whenever there is drift.
        attempts_by_the_seed += 1;
        let now_accepted = world.front.world().counters(Service::Cloudflare).writes_accepted;
        if now_accepted > accepted {
            assert_eq!(
                world.edge().0.len(),
                changes.min(20) as usize,
                "one write brought everything"
            );
        }
    }
    let attempts = world.writes();
    println!(
        "write attempts in two weeks: {attempts}; a program that tries at every run: {attempts_by_the_seed}"
    );
    assert!(attempts < 60, "{attempts}");
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn store_that_cannot_be_used_is_said_and_changes_nothing_else() {
    let world = World::new();
    *world.store.borrow_mut() = None;
    world.ban("203.0.113.7");
    world.fault("cloudflare POST times=1: answer 429 slow down");
    world.run().await.unwrap_err();
    let warnings = world.texts(Level::Warn);
    assert!(warnings[0].contains("cannot be kept"), "{warnings:?}");
    run_after(&world, INTERVAL).await;
    assert_eq!(world.edge().0, ["203.0.113.7"]);
    assert!(world.texts(Level::Warn).is_empty(), "said once, when it matters");
}

#[tokio::test(start_paused = true)]
async fn stored_values_that_cannot_be_read_count_as_nothing_remembered() {
    for garbage in ["", "{}", "\u{0}\u{1}", r#"{"v":99,"refused":5}"#, r#"{"v":1,"refused":"x"}"#] {
        let world = World::new();
        let plain = World::new();
        plain.ban("203.0.113.7");
        plain.run().await.unwrap();
        run_after(&plain, INTERVAL).await;
        let keys: Vec<String> = plain.store.borrow().as_ref().unwrap().keys().cloned().collect();
        let read = ["edge", "ends", "ends.0", "guard", "lease", "lists", "run", "said", "usage"];
        assert_eq!(keys, read, "these are kept, and spoilt below");
        for key in read.into_iter().chain([
            "kv-quota",
            "guard-lists",
            "guard-lists.0",
            "edge-items",
            "edge-items.0",
        ]) {
            let mut store = world.store.borrow_mut();
            store.as_mut().unwrap().insert(key.to_owned(), garbage.as_bytes().to_vec());
        }
        world.ban("203.0.113.7");
        world.preload(&["198.51.100.1"], &[]);
        world.run().await.unwrap();
        assert_eq!(world.edge().0, ["203.0.113.7"], "{garbage:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn wait_stored_by_a_clock_that_was_put_back_is_never_longer_than_counted_from_the_first_run()
{
    let world = World::new();
    world.ban("203.0.113.7");
    let refused =
        r#"{"v":1,"refused":1,"refused_at":18446744073709551615,"accepted_at":99999999999}"#;
    let stored = [("lists".to_owned(), refused.as_bytes().to_vec())].into();
    *world.store.borrow_mut() = Some(stored);
    for _ in 0..15 {
        run_after(&world, INTERVAL).await;
        assert_eq!(world.writes(), 0);
    }
    run_after(&world, INTERVAL).await;
    assert_eq!(world.edge().0, ["203.0.113.7"], "half an hour after the first run");
}

#[tokio::test(start_paused = true)]
async fn wait_that_an_api_asks_for_beyond_the_run_ends_the_run_and_gives_the_lease_back() {
    for fault in [
        "lapi: answer 429 [retry-after: 18446744073709551615] slow",
        "cloudflare GET: answer 429 [retry-after: 18446744073709551615] slow",
    ] {
        let world = World::new();
        world.fault(fault);
        let _ = world.run().await;
        let summaries = world.texts(Level::Warn);
        assert!(summaries.iter().any(|text| text.starts_with("lists ")), "{fault}: {summaries:?}");
        let lease = world.store.borrow().as_ref().unwrap()["lease"].clone();
        assert!(String::from_utf8(lease).unwrap().contains("\"until\":0"), "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn second_run_during_the_first_ends_at_once_and_well() {
    let world = World::new();
    world.ban("203.0.113.7");
    // The first is still reading when the second comes, a second later.
    world.fault("lapi times=1: delay 5s");
    let second = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.run().await
    };
    let (first, second) = tokio::join!(world.run(), second);
    assert!(first.is_ok() && second.is_ok());
    assert!(world.texts(Level::Info)[0].contains("holds the lease"));
    assert_eq!(world.writes(), 1);
    let lapi = world.journal(|e| e.service == Service::Lapi && e.method == "GET").len();
    assert_eq!(lapi, 1, "the second asked for nothing");
}

#[tokio::test(start_paused = true)]
async fn lease_of_a_killed_run_ends_a_few_seconds_after_its_budget() {
    let world = World::new();
    world.ban("203.0.113.7");
    world.fault("lapi times=1: silent");
    let killed = tokio::time::timeout(Duration::from_secs(2), world.run()).await;
    assert!(killed.is_err());
    run_after(&world, Duration::from_secs(30)).await;
    assert_eq!(world.writes(), 0, "the lease still stands");
    run_after(&world, Duration::from_secs(90)).await;
    assert_eq!(world.edge().0, ["203.0.113.7"]);
}

#[tokio::test(start_paused = true)]
async fn run_whose_lease_was_taken_meanwhile_writes_nothing() {
    let world = World::new();
    world.ban("203.0.113.7");
    world.fault("lapi times=1: delay 5s");
    let thief = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let later = br#"{"v":1,"holder":1,"until":99999999999}"#.to_vec();
        world.store.borrow_mut().as_mut().unwrap().insert("lease".to_owned(), later);
    };
    let (run, ()) = tokio::join!(world.run(), thief);
    run.unwrap();
    assert_eq!(world.writes(), 0);
    assert!(world.texts(Level::Warn)[0].contains("another run has started meanwhile"));
}

/// A run is killed when it has sent `requests` requests; the next runs must bring the edge in step
/// without two operations in flight.
#[tokio::test(start_paused = true)]
async fn run_killed_at_each_request_in_turn_is_made_good_by_the_next_ones() {
    for requests in 0..14 {
        let world =
            World::with(|options| options.cloudflare.operation_delay = Duration::from_secs(20));
        world.preload(&["198.51.100.1", "198.51.100.2"], &["203.0.113.7"]);
        world.ban("203.0.113.7");
        world.ban("203.0.113.8");
        world.captcha("198.51.100.2");
        let killed = async {
            while world.front.world().journal().len() <= requests {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            biased;
            () = killed => {}
            _ = world.run() => {}
        }
        for _ in 0..3 {
            run_after(&world, INTERVAL).await;
        }
        let (ban, captcha) = world.edge();
        assert_eq!(ban, ["203.0.113.7", "203.0.113.8"], "killed after {requests} requests");
        assert_eq!(captcha, ["198.51.100.2"], "killed after {requests} requests");
        world.assert_no_violations();
    }
}

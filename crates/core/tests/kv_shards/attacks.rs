//! What else may happen in the middle of a migration: the day's quota ends, somebody edits the marker, the prefix
//! changes, the layout that takes over does not take what comes with it.

use simulator::Decision;

use crate::common::World;
use crate::worker::{NOT, Past, ours};
use crate::{HOUR, INTERVAL, keys, lines, marker, runs, world};

const USED_UP: &str =
    r#"answer 429 {"success":false,"errors":[{"code":10048,"message":"used up"}],"result":null}"#;

fn decide(world: &World, count: usize) {
    for n in 0..count {
        world.decide("ban", &format!("203.0.113.{n}"), 900 * HOUR);
    }
}

/// How many of them our Worker blocks now.
fn blocked(world: &World, count: usize) -> usize {
    let (past, now) = (Past::of(world), world.front.elapsed());
    let is_blocked = |n: &usize| ours(&past, &format!("203.0.113.{n}"), now, NOT).is_some();
    (0..count).filter(is_blocked).count()
}

async fn run(world: &World) {
    tokio::time::sleep(INTERVAL).await;
    let _ = world.run().await;
}

/// Puts a value there, or takes it away, as a person with the dashboard does.
fn edit(world: &World, key: &str, value: Option<&str>) {
    let namespace = world.namespace.clone();
    let mut all = world.keys();
    match (value, all.get_mut(key)) {
        (Some(value), Some(entry)) => entry.value = value.to_owned(),
        _ => drop(all.remove(key)),
    }
    let mut simulator = world.front.world();
    simulator.cloudflare().kv_clear(&namespace);
    simulator.cloudflare().kv_preload(&namespace, all);
}

#[tokio::test(start_paused = true)]
async fn quota_that_is_used_up_at_any_run_of_a_migration_loses_nobody_and_delays_it_by_a_day() {
    for (from, to, ends) in [("keys", "shards", "shards alone"), ("shards", "keys", "none")] {
        for at in 0..14 {
            let mut world = world(from);
            decide(&world, 6);
            world.run().await.unwrap();
            runs(&world, 2).await;
            world.set("kv_layout", to);
            for n in 0..20 {
                if n == at {
                    world.fault(&format!("cloudflare /bulk: {USED_UP}"));
                }
                run(&world).await;
                assert_eq!(blocked(&world, 6), 6, "{from}: {at}, run {n}, {}", marker(&world));
            }
            world.front.world().clear_faults();
            tokio::time::sleep(24 * HOUR).await;
            for n in 0..16 {
                run(&world).await;
                assert_eq!(blocked(&world, 6), 6, "{from}: {at}, run {n} of the next day");
            }
            assert_eq!(marker(&world), ends, "{from}: {at}");
            world.assert_no_violations();
        }
    }
}

/// Taken away within five minutes of our own write it may be KV's delay, and is waited for.
#[tokio::test(start_paused = true)]
async fn marker_that_somebody_edits_in_a_migration_is_mended_within_minutes() {
    for value in [Some("mine"), Some("edge-sync wide 2 1 shards 1 alone\n"), None] {
        for at in 0..12 {
            let mut world = world("keys");
            decide(&world, 6);
            world.run().await.unwrap();
            world.set("kv_layout", "shards");
            for n in 0..24 {
                run(&world).await;
                let waits = value.is_none() && (at + 1..at + 4).contains(&n);
                let is_right = blocked(&world, 6) == 6 || waits;
                assert!(is_right, "{value:?} at {at}, run {n}, {}", marker(&world));
                if n == at {
                    edit(&world, "ip:wide", value);
                }
            }
            let is_ours = value.is_none();
            assert_eq!(is_ours, marker(&world) == "shards alone", "{value:?} at {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn prefix_that_changes_in_the_middle_of_a_migration_begins_anew_and_leaves_the_other_alone() {
    let mut world = world("keys");
    decide(&world, 6);
    world.run().await.unwrap();
    world.set("kv_layout", "shards");
    runs(&world, 3).await;
    assert_eq!(marker(&world), "keys beside");
    let before = world.values();
    world.set("kv_key_prefix", "x:");
    runs(&world, 14).await;
    let after = world.values();
    assert!(before.iter().all(|(key, value)| after.get(key) == Some(value)), "{after:?}");
    let words: Vec<&str> = after["x:wide"].split([' ', '\n']).collect();
    assert_eq!((words[4], words[6]), ("shards", "alone"));
    // And back, where the values are as old as they need to be.
    world.set("kv_key_prefix", "ip:");
    for _ in 0..16 {
        runs(&world, 1).await;
        assert_eq!(blocked(&world, 6), 6, "{}", marker(&world));
    }
    assert_eq!(marker(&world), "shards alone");
    assert_eq!(world.values().get("x:wide"), after.get("x:wide"));
}

/// The marker is in a value of the shards, and a ban that comes with it is to be in keys too.
#[tokio::test(start_paused = true)]
async fn ban_that_comes_as_shards_hand_over_is_in_force_also_if_the_keys_are_not_taken() {
    for fault in [
        "times=1: answer 500 no",
        "times=2: drop-before-effect",
        "times=1: drop-after-effect",
        "times=2: unsuccessful-keys 1",
    ] {
        let mut world = world("shards");
        decide(&world, 6);
        world.run().await.unwrap();
        world.set("kv_layout", "keys");
        runs(&world, 6).await;
        let mut n = 6;
        while marker(&world) == "shards beside" && n < 12 {
            // Each run may be the one.
            world.front.world().clear_faults();
            world.fault(&format!("cloudflare PUT /bulk {fault}"));
            let until = world.front.elapsed() + 900 * HOUR;
            world.front.world().lapi().add(Decision::ban(format!("203.0.113.{n}")).until(until));
            n += 1;
            tokio::time::sleep(INTERVAL).await;
            let _ = world.run().await;
            let success = world.kv_metric("crowdsec_kv_sync_success") == Some(1.0);
            assert!(!success || blocked(&world, n) == n, "{fault}: {n}, {}", marker(&world));
            assert!(blocked(&world, n - 1) >= n - 1, "{fault}: {n}, {}", marker(&world));
        }
        world.front.world().clear_faults();
        runs(&world, 16).await;
        assert_eq!((marker(&world).as_str(), blocked(&world, n)), ("none", n), "{fault}");
        assert_eq!((keys(&world).len(), lines(&world).len()), (n, 0));
    }
}

/// One request may take some values and not others, and the one with the marker is not to be taken before the rest.
#[tokio::test(start_paused = true)]
async fn ban_that_comes_as_keys_hand_over_stays_in_force_also_if_its_shard_is_not_taken() {
    for fault in ["skip=1 times=2: unsuccessful-keys 1", "skip=1 times=1: drop-before-effect"] {
        // One of these runs makes them change places.
        for before in 1..9 {
            let mut world = world("keys");
            decide(&world, 6);
            world.run().await.unwrap();
            world.set("kv_layout", "shards");
            runs(&world, before).await;
            world.fault(&format!("cloudflare PUT /bulk {fault}"));
            decide(&world, 7);
            run(&world).await;
            assert_eq!(blocked(&world, 7), 7, "{fault}: {before}, {}", marker(&world));
            world.front.world().clear_faults();
            runs(&world, 16).await;
            let end = (marker(&world), blocked(&world, 7));
            assert_eq!(end, ("shards alone".to_owned(), 7), "{fault}: {before}");
        }
    }
}

/// What reads older than it was written is not written for five minutes: so nothing ends by itself sooner.
#[tokio::test(start_paused = true)]
async fn ban_that_comes_when_all_else_in_its_value_has_run_out_waits_for_nothing() {
    for layout in ["keys", "shards"] {
        for (first, second, met) in [
            ("203.0.113.7", "203.0.113.7", "203.0.113.7"),
            ("198.51.100.0/24", "203.0.113.0/24", "203.0.113.7"),
        ] {
            let world = world(layout);
            world.decide("ban", first, std::time::Duration::from_secs(30));
            world.run().await.unwrap();
            tokio::time::sleep(std::time::Duration::from_secs(200)).await;
            world.decide("ban", second, HOUR);
            world.run().await.unwrap();
            let now = world.front.elapsed();
            assert_eq!(ours(&Past::of(&world), met, now, NOT), Some("ban"), "{layout}: {second}");
        }
    }
}

//! A range is lifted, and somebody inside, who is desired by himself, is to be met by an entry of his own from
//! then on: whatever becomes of the requests, he is not let through for a moment.

use std::time::Duration;

use crate::common::World;
use crate::kill::Mortal;
use crate::worker::{NOT, Past, ours};
use crate::{HOUR, INTERVAL, world};

const NET: &str = "203.0.113.0/24";
const OTHER: &str = "198.51.100.0/24";
const INSIDE: &str = "203.0.113.7";

const USED_UP: &str =
    r#"answer 429 {"success":false,"errors":[{"code":10048,"message":"used up"}],"result":null}"#;

fn lift(world: &World, range: &str) {
    assert!(world.front.world().lapi().remove_value(range) > 0, "{range}");
}

/// In sync, with these ranges banned and somebody outside of them, six minutes later.
async fn world_with(layout: &str, ranges: &[&str]) -> World {
    let world = world(layout);
    world.decide("ban", "192.0.2.1", 900 * HOUR);
    ranges.iter().for_each(|range| world.decide("ban", range, 900 * HOUR));
    world.run().await.unwrap();
    tokio::time::sleep(3 * INTERVAL).await;
    world
}

/// Asserts that an address was met as at least this at every moment since `from`.
fn assert_met(world: &World, address: &str, value: &str, from: Duration, context: &str) {
    let past = Past::of(world);
    let mut moments = past.moments();
    moments.push(world.front.elapsed());
    for at in moments.into_iter().filter(|at| *at >= from) {
        let met = ours(&past, address, at, NOT);
        let is_met = met == Some("ban") || met == Some(value);
        assert!(is_met, "{address} is {met:?} at {at:?}: {context}, {:?}", world.values());
    }
}

/// How many writes and deletes were sent.
fn writes(world: &World) -> usize {
    let of_kv = |path: &str| path.contains("/bulk") && !path.contains("/bulk/get");
    world.journal(|entry| of_kv(&entry.target)).len()
}

fn has_range(world: &World, range: &str) -> bool {
    let values = world.values();
    ["ranges", "ip:wide"].iter().any(|key| values.get(*key).is_some_and(|v| v.contains(range)))
}

const FAULTS: [&str; 7] = [
    "PUT /bulk times=1: answer 500 no",
    "PUT /bulk times=1: drop-before-effect",
    "PUT /bulk times=1: drop-after-effect",
    "PUT /bulk times=2: unsuccessful-keys 1",
    "PUT /bulk times=1: silent",
    "PUT /bulk times=1: answer 400 {\"success\":false,\"errors\":[{\"code\":10012,\"message\":\"no\"}]}",
    "PUT /bulk times=1: unsuccessful-keys 1",
];

#[tokio::test(start_paused = true)]
async fn range_lifted_while_who_is_inside_is_not_taken_stays_until_he_is() {
    for layout in ["keys", "shards"] {
        // Alone its key is deleted, beside another it is written.
        for ranges in [&[NET][..], &[NET, OTHER]] {
            for fault in FAULTS
                .into_iter()
                .map(str::to_owned)
                .chain([format!("PUT /bulk times=1: {USED_UP}")])
            {
                let context = format!("{layout}, {}, {fault}", ranges.len());
                let world = world_with(layout, ranges).await;
                let from = world.front.elapsed();
                lift(&world, NET);
                world.decide("ban", INSIDE, 900 * HOUR);
                world.fault(&format!("cloudflare {fault}"));
                let _ = world.run().await;
                assert_met(&world, INSIDE, "ban", from, &context);
                world.front.world().clear_faults();
                let pause = if fault.contains("10048") { 24 * HOUR } else { INTERVAL };
                for _ in 0..3 {
                    tokio::time::sleep(pause).await;
                    world.run().await.unwrap();
                }
                assert_met(&world, INSIDE, "ban", from, &context);
                assert!(!has_range(&world, NET), "{context}: {:?}", world.values());
                assert_eq!(has_range(&world, OTHER), ranges.len() == 2, "{context}");
                world.assert_no_violations();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn range_lifted_without_any_fault_goes_with_the_run_in_which_who_is_inside_comes() {
    for layout in ["keys", "shards"] {
        for ranges in [&[NET][..], &[NET, OTHER]] {
            let world = world_with(layout, ranges).await;
            let (from, writes) = (world.front.elapsed(), writes(&world));
            lift(&world, NET);
            world.decide("ban", INSIDE, 900 * HOUR);
            world.run().await.unwrap();
            assert_met(&world, INSIDE, "ban", from, layout);
            assert!(!has_range(&world, NET), "{layout}");
            assert_eq!(self::writes(&world) - writes, 2, "{layout}: he, and then the range");
            assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(1.0));
        }
    }
}

/// A false positive of many is not kept for one whom Cloudflare will not have.
#[tokio::test(start_paused = true)]
async fn range_lifted_goes_although_somebody_outside_of_it_is_not_taken() {
    for layout in ["keys", "shards"] {
        let world = world_with(layout, &[NET, OTHER]).await;
        lift(&world, NET);
        world.decide("ban", INSIDE, 900 * HOUR);
        // In shard 2, as 203.0.113.7 is not.
        world.decide("ban", "192.0.2.9", 900 * HOUR);
        let name = if layout == "keys" {
            "ip:192.0.2.9".to_owned()
        } else {
            format!("ip:s16:{:x}", crate::worker::shard("192.0.2.9"))
        };
        world.fault(&format!(
            r#"cloudflare PUT /bulk times=2: answer-after-effect 200 {{"success":true,"errors":[],"result":{{"unsuccessful_keys":["{name}"]}}}}"#
        ));
        let _ = world.run().await;
        assert!(!has_range(&world, NET), "{layout}: {:?}", world.values());
        assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(0.0));
    }
}

#[tokio::test(start_paused = true)]
async fn run_killed_at_any_request_while_a_range_goes_lets_nobody_through() {
    for layout in ["keys", "shards"] {
        for ranges in [&[NET][..], &[NET, OTHER]] {
            for (at, effect) in (0..6).flat_map(|at| [(at, false), (at, true)]) {
                let context = format!("{layout}, {}, {at}, {effect}", ranges.len());
                let world = world_with(layout, ranges).await;
                let from = world.front.elapsed();
                lift(&world, NET);
                world.decide("ban", INSIDE, 900 * HOUR);
                // The answer to the first write is lost as well.
                world.fault("cloudflare PUT /bulk times=1: drop-after-effect");
                Mortal::new(&world, at, effect).run().await;
                world.front.world().clear_faults();
                assert_met(&world, INSIDE, "ban", from, &context);
                for _ in 0..4 {
                    tokio::time::sleep(INTERVAL).await;
                    let _ = world.run().await;
                }
                assert_met(&world, INSIDE, "ban", from, &context);
                assert!(!has_range(&world, NET), "{context}");
            }
        }
    }
}

/// What frees a write for one range may cost another the write of somebody inside of it.
#[tokio::test(start_paused = true)]
async fn two_ranges_lifted_with_one_write_left_let_nobody_through() {
    for layout in ["keys", "shards"] {
        for left in 0..5 {
            let mut world = world_with(layout, &[NET, OTHER]).await;
            let from = world.front.elapsed();
            lift(&world, NET);
            lift(&world, OTHER);
            let row = |value: &str, kind: &str| {
                let until = world.front.elapsed() + 900 * HOUR;
                let decision = simulator::Decision::ban(value).kind(kind).origin("CAPI");
                world.front.world().lapi().add(decision.until(until));
            };
            row(INSIDE, "ban");
            row("198.51.100.7", "captcha");
            let used = world.kv_metric("crowdsec_kv_sync_quota_used").unwrap() as u64;
            world.set("kv_daily_writes_max", &(used + left).to_string());
            for run in 0..3 {
                let _ = world.run().await;
                let context = format!("{layout}, {left}, run {run}");
                assert_met(&world, INSIDE, "ban", from, &context);
                assert_met(&world, "198.51.100.7", "captcha", from, &context);
                tokio::time::sleep(INTERVAL).await;
            }
        }
    }
}

/// A range that becomes weaker is a range that goes, for whoever is to be met as before.
#[tokio::test(start_paused = true)]
async fn range_that_becomes_a_challenge_without_a_write_for_who_is_banned_inside_waits() {
    for layout in ["keys", "shards"] {
        for fault in FAULTS {
            let world = world_with(layout, &[NET, OTHER]).await;
            let from = world.front.elapsed();
            lift(&world, NET);
            world.decide("captcha", NET, 900 * HOUR);
            world.decide("ban", INSIDE, 900 * HOUR);
            world.fault(&format!("cloudflare {fault}"));
            let _ = world.run().await;
            world.front.world().clear_faults();
            assert_met(&world, INSIDE, "ban", from, &format!("{layout}, {fault}"));
            for _ in 0..3 {
                tokio::time::sleep(INTERVAL).await;
                world.run().await.unwrap();
            }
            assert_met(&world, INSIDE, "ban", from, &format!("{layout}, {fault}"));
            let past = Past::of(&world);
            let now = world.front.elapsed();
            assert_eq!(ours(&past, "203.0.113.8", now, NOT), Some("captcha"), "{layout}, {fault}");
        }
    }
}

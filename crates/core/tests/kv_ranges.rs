//! What happens to the ranges in KV, and to the one key that holds them, as events come.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::World;
use edge_sync_core::log::Level;
use serde_json::Value;
use simulator::cloudflare::kv::KvCause;

const HOUR: Duration = Duration::from_secs(3_600);
const INTERVAL: Duration = Duration::from_secs(120);
/// What an entry outlives its decision.
const SLACK: u64 = 60;

fn world() -> World {
    let mut world = World::kv(|_| {});
    world.set("scopes", "ip,range");
    world
}

/// In sync with these ranges banned for an hour, and a key of one address; two minutes later.
async fn world_with(ranges: &[&str]) -> World {
    let world = world();
    world.decide("ban", "192.0.2.1", 10 * HOUR);
    ranges.iter().for_each(|range| world.decide("ban", range, 10 * HOUR));
    world.run().await.unwrap();
    tokio::time::sleep(INTERVAL).await;
    let _ = world.take_lines();
    world
}

/// What the Worker would read: range -> value, and seconds until it expires. Nothing without the key.
fn ranges(world: &World) -> BTreeMap<String, (String, u64)> {
    let Some(entry) = world.keys().remove("ranges") else { return BTreeMap::new() };
    let value: Value = serde_json::from_str(&entry.value).unwrap();
    assert_eq!(value["v"], 1);
    let expiration = entry.expiration_unix.expect("the key expires");
    let mut ranges = BTreeMap::new();
    for one in value["ranges"].as_array().unwrap() {
        let text = |name: &str| one[name].as_str().unwrap().to_owned();
        let expires = one["expires"].as_u64().unwrap();
        assert!(expiration >= expires, "the key outlives all of its ranges: {value}");
        let left = expires.saturating_sub(world.unix_now());
        ranges.insert(text("range"), (text("value"), left));
    }
    ranges
}

fn names(world: &World) -> Vec<String> {
    ranges(world).into_keys().collect()
}

/// How often the key was written or deleted.
fn changes(world: &World) -> usize {
    let simulator = &mut world.front.world();
    let history = simulator.cloudflare().kv_history(&world.namespace);
    let ours = history.iter().filter(|change| change.key == "ranges");
    ours.filter(|change| matches!(change.cause, KvCause::Write | KvCause::Delete)).count()
}

fn lift(world: &World, range: &str) {
    assert!(world.front.world().lapi().remove_value(range) > 0, "{range}");
}

/// A listing may be a minute behind.
#[tokio::test(start_paused = true)]
async fn range_stays_while_the_key_of_who_is_inside_was_deleted_within_a_minute_and_is_listed() {
    let mut world = World::kv(|options| options.cloudflare.kv_list_lag = Duration::from_secs(60));
    world.set("scopes", "ip,range");
    for value in ["203.0.113.7", "203.0.113.0/24"] {
        world.decide("ban", value, 10 * HOUR);
    }
    world.run().await.unwrap();
    tokio::time::sleep(INTERVAL).await;
    lift(&world, "203.0.113.7");
    world.run().await.unwrap();
    assert!(!world.keys().contains_key("ip:203.0.113.7"));
    tokio::time::sleep(Duration::from_secs(10)).await;
    lift(&world, "203.0.113.0/24");
    world.decide("ban", "203.0.113.7", HOUR);
    world.run().await.unwrap();
    assert_eq!(names(&world), ["203.0.113.0/24"], "he is met by it alone");
    tokio::time::sleep(INTERVAL).await;
    world.run().await.unwrap();
    assert!(names(&world).is_empty() && world.keys().contains_key("ip:203.0.113.7"));
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn first_sync_writes_all_ranges_in_one_key_and_with_the_same_request_as_the_others() {
    let world = world();
    world.decide("ban", "203.0.113.7", HOUR);
    world.decide("captcha", "203.0.113.9/24", HOUR);
    world.decide("ban", "2001:DB8:0:0::/32", 2 * HOUR);
    world.run().await.unwrap();
    let expected = [
        ("2001:db8::/32".to_owned(), ("ban".to_owned(), 7_200 + SLACK)),
        ("203.0.113.0/24".to_owned(), ("captcha".to_owned(), 3_600 + SLACK)),
    ];
    assert_eq!(ranges(&world), expected.into());
    assert!(world.keys().keys().eq(["ip:203.0.113.7", "ranges"]));
    let counters = world.kv_counters();
    assert_eq!((counters.bulk_writes, counters.pairs_written, counters.keys_read), (1, 2, 1));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_written"), Some(3.0));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_decisions"), Some(3.0));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_quota_used"), Some(2.0));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_drift"), Some(0.0));
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn nothing_changed_over_an_hour_writes_nothing() {
    let world = world_with(&["203.0.113.0/24", "198.51.100.0/24"]).await;
    let writes = world.writes();
    for _ in 0..30 {
        world.run().await.unwrap();
        tokio::time::sleep(INTERVAL).await;
    }
    assert_eq!(world.writes(), writes);
    assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn one_range_lifted_and_one_new_go_in_one_write_and_the_last_takes_the_key() {
    let world = world_with(&["203.0.113.0/24", "198.51.100.0/24"]).await;
    lift(&world, "203.0.113.0/24");
    world.decide("captcha", "2001:db8::/32", HOUR);
    world.run().await.unwrap();
    assert_eq!(names(&world), ["198.51.100.0/24", "2001:db8::/32"]);
    assert_eq!(world.kv_metric("crowdsec_kv_sync_written"), Some(1.0));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_deleted"), Some(1.0));
    assert_eq!(changes(&world), 2);
    lift(&world, "198.51.100.0/24");
    lift(&world, "2001:db8::/32");
    tokio::time::sleep(INTERVAL).await;
    world.run().await.unwrap();
    assert!(world.keys().keys().eq(["ip:192.0.2.1"]));
    assert_eq!((changes(&world), world.kv_counters().keys_deleted), (3, 1));
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn ranges_that_run_out_cost_nothing_and_the_key_goes_by_itself() {
    let world = world();
    world.decide("ban", "203.0.113.0/24", Duration::from_secs(300));
    world.decide("ban", "198.51.100.0/24", Duration::from_secs(900));
    world.run().await.unwrap();
    for _ in 0..9 {
        tokio::time::sleep(INTERVAL).await;
        world.run().await.unwrap();
    }
    assert_eq!((names(&world), changes(&world)), (vec![], 1));
    assert_eq!(world.kv_counters().keys_deleted, 0);
}

#[tokio::test(start_paused = true)]
async fn lapi_that_lost_its_database_costs_no_range_and_a_new_one_still_comes() {
    let nets: Vec<_> = (0..60).map(|n| format!("203.0.{n}.0/24")).collect();
    let nets: Vec<_> = nets.iter().map(String::as_str).collect();
    let world = world_with(&nets).await;
    let before = ranges(&world).into_values().map(|(_, left)| left).min().unwrap();
    world.front.world().lapi().override_body(Some("null".into()));
    world.run().await.unwrap();
    assert_eq!((names(&world).len(), changes(&world)), (60, 1));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_removals_held"), Some(61.0), "the key, too");
    world.front.world().lapi().override_body(None);
    nets.iter().for_each(|net| lift(&world, net));
    world.decide("ban", "2001:db8::/32", HOUR);
    tokio::time::sleep(INTERVAL).await;
    let _ = world.take_lines();
    world.run().await.unwrap();
    assert_eq!((names(&world).len(), changes(&world)), (61, 2), "held, while one comes");
    let (_, left) = &ranges(&world)["203.0.0.0/24"];
    assert_eq!(*left, before - INTERVAL.as_secs(), "what is held keeps its end");
    assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(0.0));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_written"), Some(1.0));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_drift"), Some(60.0));
    let warnings = world.texts(Level::Warn).join("\n");
    assert!(warnings.contains("held back, while additions go"), "{warnings}");
    assert!(warnings.contains("this is run 2"), "{warnings}");
    for _ in 0..14 {
        tokio::time::sleep(INTERVAL).await;
        world.run().await.unwrap();
    }
    assert_eq!((names(&world), changes(&world)), (vec!["2001:db8::/32".to_owned()], 3));
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn lapi_unreadable_leaves_the_ranges() {
    let world = world_with(&["203.0.113.0/24"]).await;
    world.fault("lapi: refuse");
    world.run().await.unwrap();
    assert_eq!((names(&world).len(), changes(&world)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn range_around_the_owner_goes_at_once_although_the_guard_holds_the_others() {
    let mut world = world_with(&["203.0.113.0/24", "198.51.100.0/24"]).await;
    world.set("never_block", "203.0.113.200");
    world.front.world().lapi().override_body(Some("null".into()));
    world.run().await.unwrap();
    assert_eq!(names(&world), ["198.51.100.0/24"]);
}

#[tokio::test(start_paused = true)]
async fn key_of_somebody_else_is_never_overwritten_and_the_ranges_are_named() {
    for (value, runs_ok) in [("hello", true), (r#"{"v":2,"ranges":{}}"#, true)] {
        let mut world = world();
        world.preload_key("ranges", value, None, None);
        world.decide("ban", "203.0.113.7", HOUR);
        world.decide("ban", "203.0.113.0/24", HOUR);
        assert_eq!(world.run().await.is_ok(), runs_ok);
        assert_eq!(world.values()["ranges"], value);
        assert_eq!(world.values()["ip:203.0.113.7"], "ban", "the others go on");
        assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(0.0));
        assert_eq!(world.kv_metric("crowdsec_kv_sync_waiting"), Some(1.0));
        assert_eq!(world.kv_metric("crowdsec_kv_sync_drift"), Some(1.0));
        let said = world.texts(Level::Warn).join("\n");
        assert!(said.contains("1 range cannot be sent: \"203.0.113.0/24\""), "{said}");
        assert!(said.contains("the key \"ranges\" is not ours to write"), "{said}");
        // Without ranges it only stands in the way of the Worker.
        world.set("scopes", "ip");
        lift(&world, "203.0.113.0/24");
        tokio::time::sleep(INTERVAL).await;
        let _ = world.take_lines();
        world.run().await.unwrap();
        assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(1.0));
        let said = world.texts(Level::Warn);
        assert!(said.len() == 1 && said[0].ends_with("it is left alone"), "{said:?}");
        assert_eq!(world.values()["ranges"], value);
    }
}

#[tokio::test(start_paused = true)]
async fn scopes_back_to_addresses_takes_the_key_away() {
    let mut world = world_with(&["203.0.113.0/24"]).await;
    world.set("scopes", "ip");
    world.run().await.unwrap();
    assert!(world.keys().keys().eq(["ip:192.0.2.1"]));
    tokio::time::sleep(INTERVAL).await;
    let writes = world.writes();
    world.run().await.unwrap();
    assert_eq!(world.writes(), writes);
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn value_that_cannot_be_read_fails_the_run_before_any_write() {
    let refused = |status: u16, code: u32| {
        format!(
            r#"cloudflare GET /values/ranges: answer {status} {{"success":false,"errors":[{{"code":{code},"message":"m"}}],"messages":[],"result":null}}"#
        )
    };
    for (fault, says) in [
        ("cloudflare GET /values/ranges: answer 500 <html>".to_owned(), "not the API's JSON"),
        ("cloudflare GET /values/ranges: answer 404 <html>".to_owned(), "cf_kv_namespace_id"),
        ("cloudflare GET /values/ranges: silent".to_owned(), "no answer within"),
        ("cloudflare GET /values/ranges: cut-body 30".to_owned(), "broke off"),
        (refused(404, 10013), "check cf_kv_namespace_id"),
        (refused(403, 10000), "Workers KV Storage > Edit"),
    ] {
        let world = world_with(&["203.0.113.0/24"]).await;
        lift(&world, "203.0.113.0/24");
        world.decide("ban", "203.0.113.9", HOUR);
        let before = (world.keys(), world.writes());
        world.fault(&fault);
        world.run().await.unwrap_err();
        assert_eq!((world.keys(), world.writes()), before, "{fault}");
        let said = world.texts(Level::Warn);
        assert!(said.len() == 1 && said[0].contains(says), "{fault}: {said:?}");
        assert!(said[0].contains("failed to read values of the KV namespace"), "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn value_that_cannot_be_read_for_a_moment_is_tried_again() {
    for fault in
        ["times=3: answer 500 <html>", "times=1: drop-before-effect", "times=1: cut-body 9"]
    {
        let world = world_with(&["203.0.113.0/24"]).await;
        world.fault(&format!("cloudflare GET /values/ranges {fault}"));
        world.run().await.unwrap();
        assert_eq!((names(&world).len(), changes(&world)), (1, 1), "{fault}");
    }
}

/// KV is eventually consistent: what is read may be older than what we wrote.
#[tokio::test(start_paused = true)]
async fn older_value_that_is_read_is_not_written_over_and_loses_no_range() {
    let world = world_with(&["203.0.113.0/24"]).await;
    let older = world.values()["ranges"].clone();
    world.decide("ban", "198.51.100.0/24", 10 * HOUR);
    world.run().await.unwrap();
    tokio::time::sleep(INTERVAL).await;
    world.fault(&format!("cloudflare GET /values/ranges times=1: answer 200 {older}"));
    world.run().await.unwrap();
    assert_eq!((names(&world).len(), changes(&world)), (2, 2));
    tokio::time::sleep(INTERVAL).await;
    world.run().await.unwrap();
    assert_eq!((names(&world).len(), changes(&world)), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn key_that_is_not_taken_is_sent_once_more_and_counted_once() {
    let world = world();
    world.decide("ban", "203.0.113.0/24", HOUR);
    world.decide("ban", "198.51.100.0/24", HOUR);
    world.fault("cloudflare PUT /bulk times=1: unsuccessful-keys 1");
    world.run().await.unwrap();
    assert_eq!(names(&world).len(), 2);
    assert_eq!(world.kv_metric("crowdsec_kv_sync_written"), Some(2.0));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn short_budget_takes_the_ranges_before_less_important_keys() {
    let mut world = world();
    world.set("kv_daily_writes_max", "1");
    world.decide("captcha", "203.0.113.7", HOUR);
    world.decide("ban", "203.0.113.0/24", HOUR);
    world.decide("captcha", "198.51.100.0/24", HOUR);
    world.run().await.unwrap();
    assert!(world.keys().keys().eq(["ranges"]));
    assert_eq!(names(&world).len(), 2);
    assert_eq!(world.kv_metric("crowdsec_kv_sync_waiting"), Some(1.0));
}

/// Nobody deletes what another run has written while this one was reading.
#[tokio::test(start_paused = true)]
async fn range_that_another_run_wrote_a_moment_ago_is_not_taken_out() {
    let world = world();
    world.decide("ban", "192.0.2.1", HOUR);
    world.decide("ban", "203.0.113.0/24", HOUR);
    world.run().await.unwrap();
    lift(&world, "203.0.113.0/24");
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.run().await.unwrap();
    assert_eq!((names(&world).len(), changes(&world)), (1, 1));
    tokio::time::sleep(INTERVAL).await;
    world.run().await.unwrap();
    assert_eq!(names(&world).len(), 0);
}

/// Cloudflare takes one write of a key a second; two runs may be a second apart.
#[tokio::test(start_paused = true)]
async fn ranges_written_in_the_second_before_wait_and_nothing_is_refused() {
    for (pause, store) in [(10, true), (900, true), (900, false)] {
        let mut world = World::kv(|options| {
            options.cloudflare.kv_key_write_interval = Duration::from_secs(1);
        });
        world.set("scopes", "ip,range");
        if !store {
            world.store.replace(None);
        }
        world.decide("ban", "203.0.113.0/24", 10 * HOUR);
        world.run().await.unwrap();
        world.decide("ban", "198.51.100.0/24", 10 * HOUR);
        world.decide("ban", "192.0.2.1", 10 * HOUR);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let _ = world.take_lines();
        let _ = world.run().await;
        world.assert_no_violations();
        assert_eq!((names(&world).len(), changes(&world)), (1, 1), "{pause}");
        assert_eq!(world.values()["ip:192.0.2.1"], "ban", "the others go on");
        assert_eq!(world.kv_metric("crowdsec_kv_sync_waiting"), Some(1.0));
        let said = world.texts(Level::Warn).join("\n");
        assert!(said.contains("new_ban 1 wait: written a moment ago"), "{said}");
        tokio::time::sleep(INTERVAL).await;
        world.run().await.unwrap();
        assert_eq!((names(&world).len(), changes(&world)), (2, 2), "{pause}");
    }
}

/// That the answer was lost, or that the host died, says nothing of whether it was written.
#[tokio::test(start_paused = true)]
async fn ranges_whose_write_was_not_answered_are_not_written_again_within_a_second() {
    let mut world = World::kv(|options| {
        options.cloudflare.kv_key_write_interval = Duration::from_secs(1);
        options.cloudflare.kv_value_lag = Duration::from_secs(60);
    });
    world.set("scopes", "ip,range");
    world.decide("ban", "203.0.113.0/24", 10 * HOUR);
    world.fault("cloudflare PUT /bulk times=1: drop-after-effect");
    world.run().await.unwrap_err();
    assert_eq!(changes(&world), 1);
    let _ = world.run().await;
    assert_eq!(changes(&world), 1);
    world.assert_no_violations();
    for _ in 0..2 {
        tokio::time::sleep(INTERVAL).await;
        world.run().await.unwrap();
    }
    assert_eq!(names(&world).len(), 1);
}

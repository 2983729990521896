//! Two odd things at once. Each of these once did harm, or could have.

use std::time::Duration;

use edge_sync_core::log::Level;
use simulator::cloudflare::kv::KvCause;

use crate::common::World;
use crate::host::{Odd, OddStore};
use crate::{HOUR, INTERVAL, has, run_after};

const RANGE: &str = "203.0.113.0/24";

/// A namespace with a key of ours that a range is about to cover, and whose own decision is gone.
fn covered(value: &str) -> World {
    let mut world = World::kv(|_| {});
    world.set("scopes", "ip,range");
    world.preload_key("ip:203.0.113.7", "ban", Some(10 * HOUR), Some(Duration::ZERO));
    world.decide(value, RANGE, 10 * HOUR);
    world.decide("ban", "192.0.2.1", 10 * HOUR);
    world
}

fn has_range(world: &World) -> bool {
    world.values().get("ranges").is_some_and(|ranges| ranges.contains(RANGE))
}

/// From now on the address was never without its key before the range was there.
fn assert_no_gap(world: &World, context: &str) {
    let simulator = &mut world.front.world();
    let history = simulator.cloudflare().kv_history(&world.namespace);
    let came = history.iter().position(|change| {
        change.key == "ranges" && change.value.as_deref().is_some_and(|v| v.contains(RANGE))
    });
    let went = history
        .iter()
        .position(|change| change.key == "ip:203.0.113.7" && change.cause == KvCause::Delete);
    assert!(came.is_some() && came < went, "{context}: {history:?}");
}

#[tokio::test(start_paused = true)]
async fn key_that_a_range_covers_goes_only_after_the_range_however_its_write_fails() {
    for fault in [
        "answer 400 {\"success\":false,\"errors\":[{\"code\":10012,\"message\":\"m\"}],\"result\":null}",
        "answer 403 <html>",
        "answer 429 slow down",
        "answer 429 {\"success\":false,\"errors\":[{\"code\":10048,\"message\":\"m\"}],\"result\":null}",
        "answer 503 <html>",
        "answer-after-effect 503 <html>",
        "drop-before-effect",
        "drop-after-effect",
        "cut-body 5",
        "silent",
        "unsuccessful-keys 1",
        "unsuccessful-keys 9",
        // Nothing is stored, and the answer names what was never sent.
        "answer 200 {\"success\":true,\"errors\":[],\"result\":{\"unsuccessful_keys\":[\"ip:9.9.9.9\"]}}",
        "answer 200 {\"success\":true,\"errors\":[],\"result\":{\"unsuccessful_keys\":[\"range%73\"]}}",
    ] {
        for value in ["ban", "captcha"] {
            let world = covered(value);
            world.fault(&format!("cloudflare PUT /bulk times=2: {fault}"));
            run_after(&world, INTERVAL).await;
            let has_key = world.keys().contains_key("ip:203.0.113.7");
            assert!(has_key || has_range(&world), "{fault}: neither is there");
            world.front.world().clear_faults();
            // Beyond 00:00 UTC, for the answer that the day is used up.
            tokio::time::sleep(Duration::from_secs(59_200)).await;
            world.decide(value, RANGE, 10 * HOUR);
            world.decide("ban", "192.0.2.1", 10 * HOUR);
            run_after(&world, INTERVAL).await;
            run_after(&world, INTERVAL).await;
            assert!(has_range(&world) && has(&world, "192.0.2.1"), "{fault}");
        }
    }
}

/// As above, in the order of what happened.
#[tokio::test(start_paused = true)]
async fn key_that_moves_into_a_weaker_range_is_deleted_after_the_write_of_the_range() {
    for (value, fault) in
        [("ban", "drop-before-effect"), ("captcha", "answer 503 x"), ("captcha", "delay 1s")]
    {
        let world = covered(value);
        world.fault(&format!("cloudflare PUT /bulk times=1: {fault}"));
        run_after(&world, INTERVAL).await;
        run_after(&world, INTERVAL).await;
        assert_no_gap(&world, fault);
        assert_eq!(world.kv_metric("crowdsec_kv_sync_drift"), Some(0.0));
        assert_eq!(world.kv_metric("crowdsec_kv_sync_removals_held"), Some(0.0), "a move");
    }
}

#[tokio::test(start_paused = true)]
async fn key_that_a_range_covers_stays_while_the_key_of_ranges_is_not_ours() {
    let world = covered("ban");
    world.preload_key("ranges", "hello", None, None);
    for _ in 0..20 {
        run_after(&world, INTERVAL).await;
        assert!(has(&world, "203.0.113.7"));
    }
}

#[tokio::test(start_paused = true)]
async fn foreign_names_in_an_answer_are_said_and_nothing_of_them_is_sent() {
    let world = World::kv(|_| {});
    world.decide("ban", "203.0.113.7", HOUR);
    world.fault(
        "cloudflare PUT /bulk times=1: answer 200 {\"success\":true,\"errors\":[],\"result\":{\"unsuccessful_keys\":[\"another-tool\",\"another-tool\",\"ip:203.0.113.8\"]}}",
    );
    world.run().await.unwrap();
    let said = world.texts(Level::Warn).join("\n");
    assert!(said.contains("2 keys which this program did not send"), "{said}");
    assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(0.0));
    run_after(&world, INTERVAL).await;
    assert!(world.keys().keys().eq(["ip:203.0.113.7"]));
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn refused_write_stops_no_owners_delete_and_refused_delete_stops_no_ban() {
    for (fault, gone, came) in [
        ("cloudflare PUT /bulk: answer 403 <html>", true, false),
        ("cloudflare PUT /bulk: drop-before-effect", true, false),
        ("cloudflare POST /bulk/delete: answer 400 <html>", false, true),
        ("cloudflare POST /bulk/delete: answer 503 <html>", false, true),
    ] {
        let mut world = World::kv(|_| {});
        world.set("never_block", "192.0.2.1");
        world.preload_key("ip:192.0.2.1", "ban", Some(10 * HOUR), Some(Duration::ZERO));
        world.decide("ban", "203.0.113.7", HOUR);
        world.fault(fault);
        run_after(&world, INTERVAL).await;
        assert_eq!(!has(&world, "192.0.2.1"), gone, "{fault}");
        assert_eq!(has(&world, "203.0.113.7"), came, "{fault}");
        assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(0.0));
        let sent = world.sent.borrow();
        let bulks: Vec<_> = sent.iter().filter(|(_, url, _)| url.contains("/bulk")).collect();
        assert!(bulks[0].1.contains("delete"), "the owner's delete goes first");
        assert_eq!(bulks.len(), 2, "each is tried once");
    }
}

#[tokio::test(start_paused = true)]
async fn write_that_was_refused_is_tried_again_by_the_next_run() {
    for status in [400, 401, 403, 404, 429, 500] {
        let world = World::kv(|_| {});
        world.decide("ban", "203.0.113.7", HOUR);
        world.fault(&format!("cloudflare PUT /bulk times=3: answer {status} <html>"));
        for run in 1..=4 {
            run_after(&world, INTERVAL).await;
            assert_eq!(world.writes(), run, "{status}");
        }
        assert!(has(&world, "203.0.113.7"), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn clock_that_was_put_back_delays_a_delete_by_one_run_and_no_write() {
    for ahead in [1, 60, 3_600, 86_400] {
        let world = World::kv(|_| {});
        let host = Odd::new(&world, OddStore::Works);
        host.off.set(ahead);
        world.decide("ban", "203.0.113.7", 100 * HOUR);
        world.decide("ban", "203.0.113.8", 100 * HOUR);
        host.run().await.unwrap();
        host.off.set(0);
        world.front.world().lapi().remove_value("203.0.113.7");
        world.decide("ban", "203.0.113.9", 100 * HOUR);
        for run in 0..3 {
            tokio::time::sleep(INTERVAL).await;
            host.run().await.unwrap();
            assert!(has(&world, "203.0.113.9"), "{ahead} s, run {run}");
            let _ = world.take_lines();
        }
        assert!(!has(&world, "203.0.113.7"), "{ahead} s: it waits for the future");
    }
}

#[tokio::test(start_paused = true)]
async fn odd_store_never_keeps_a_ban_from_coming_nor_a_few_lifted_from_going() {
    for store in [
        OddStore::Forgets,
        OddStore::ReadOnly,
        OddStore::FailsNowAndThen,
        OddStore::Garbage(""),
        OddStore::Garbage("\u{0}\u{1}\u{2}\u{3}"),
        OddStore::Garbage("{}"),
        OddStore::Garbage(r#"{"v":1}"#),
        OddStore::Garbage(r#"{"v":2,"day":99999999,"written":18446744073709551615}"#),
        OddStore::Garbage(r#"{"v":2,"targets":{"kv":{"since":1,"groups":[]}}}"#),
    ] {
        let mut world = World::kv(|_| {});
        world.set("kv_daily_writes_max", "1000");
        world.set("scopes", "ip,range");
        let host = Odd::new(&world, store);
        for n in 1..=20 {
            world.decide("ban", &format!("198.51.100.{n}"), 100 * HOUR);
        }
        for run in 1..=5 {
            world.decide("ban", &format!("203.0.113.{run}"), 100 * HOUR);
            world.front.world().lapi().remove_value(&format!("198.51.100.{run}"));
            let _ = host.run().await;
            tokio::time::sleep(INTERVAL).await;
            let came = has(&world, &format!("203.0.113.{run}"));
            // Where the lease cannot be looked at, a run leaves the writing to the next.
            assert!(came || store == OddStore::FailsNowAndThen, "{store:?}, run {run}");
        }
        for _ in 0..3 {
            let _ = host.run().await;
            tokio::time::sleep(INTERVAL).await;
        }
        assert_eq!(world.keys().len(), 20, "{store:?}");
        world.assert_no_violations();
    }
}

#[tokio::test(start_paused = true)]
async fn durations_of_every_size_become_keys_that_expire() {
    let world = World::kv(|_| {});
    for (n, duration) in [
        "0s",
        "1s",
        "59s",
        "60s",
        "87600h0m0s",
        "1193046h28m15s",
        "99999999999h",
        "-5m",
        "",
        "never",
    ]
    .iter()
    .enumerate()
    {
        let row = format!(
            r#"{{"id":{n},"origin":"cscli","type":"ban","scope":"Ip","value":"203.0.113.{n}","duration":"{duration}","scenario":"manual"}}"#
        );
        world.front.world().lapi().add_raw_row(row);
    }
    world.run().await.unwrap();
    let now = world.unix_now();
    for (key, entry) in world.keys() {
        let left = entry.expiration_unix.expect("it expires") - now;
        assert!(left >= 60, "{key}: {left}");
    }
    assert!(has(&world, "203.0.113.6") && has(&world, "203.0.113.0"));
    let writes = world.writes();
    run_after(&world, Duration::from_secs(1)).await;
    assert_eq!(world.writes(), writes, "and the next run finds them good");
    world.assert_no_violations();
}

//! Decisions from a real CrowdSec Local API, made by `cscli` as its users make them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use end_to_end::{RealLapi, World, net::Relay};

/// A world whose LAPI is this one.
async fn world_with(lapi: &RealLapi) -> World {
    let mut world = World::enterprise(|_| {}).await;
    world.set("lapi_url", lapi.url());
    world.set("lapi_key", RealLapi::KEY);
    world
}

fn addresses(count: u32) -> impl Iterator<Item = String> {
    // Public-looking: 45.0.0.0 onwards.
    (0..count).map(|n| Ipv4Addr::from_bits((45 << 24) + n * 3).to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_by_cscli_reach_the_lists_and_lifted_ones_leave_them() {
    let Some(lapi) = RealLapi::start().await else { return };
    let world = world_with(&lapi).await;
    // An empty database answers `null`.
    assert_eq!(world.run_well().await.summary().get("outcome"), "in_sync");

    for decision in [
        "--ip 203.0.113.7",
        // The same again, longer: one row more for LAPI, the same item for us.
        "--ip 203.0.113.7 --duration 24h",
        "--ip 203.0.113.7 --type captcha",
        "--ip 203.0.113.8 --type captcha",
        "--ip 2001:DB8:0:0:0:0:0:A",
        "--ip 2001:0db8::000b --type captcha",
        "--range 198.51.100.0/24",
        "--scope username --value somebody",
        "--ip 203.0.113.9 --type throttle",
    ] {
        lapi.cscli(&format!("decisions add {decision}"));
    }
    let ran = world.run_well().await;
    world.assert_edge(&["203.0.113.7", "2001:db8::a"], &["203.0.113.8", "2001:db8::b"]);
    let skipped = ran.events("skipped").next().expect("what was left out is said");
    for word in ["range 1", "username 1", "throttle 1"] {
        assert!(skipped.get("msg").contains(word), "{word}: {skipped:?}");
    }
    assert_eq!(skipped.get("level"), "info", "none of them is anybody's mistake");

    lapi.cscli("decisions delete --ip 203.0.113.7");
    lapi.cscli("decisions delete --ip 203.0.113.8");
    lapi.cscli("decisions add --ip 203.0.113.8");
    let ran = world.run_well().await;
    world.assert_edge(&["203.0.113.8", "2001:db8::a"], &["2001:db8::b"]);
    assert_eq!((ran.summary().number("added"), ran.summary().number("removed")), (1, 2));

    assert_eq!(world.run_well().await.summary().get("outcome"), "in_sync");
    world.assert_no_violations();
    assert_known_as_ourselves(&lapi);
}

/// LAPI takes type and version from a User-Agent of one form only, and else complains in its log.
fn assert_known_as_ourselves(lapi: &RealLapi) {
    let bouncers = lapi.cscli("bouncers list -o json");
    let bouncers: serde_json::Value = serde_json::from_str(&bouncers).unwrap();
    assert_eq!(bouncers[0]["type"], "crowdsec-edge-sync-bouncer", "{bouncers}");
    let version = bouncers[0]["version"].as_str().unwrap_or_default();
    assert_eq!(version, concat!("v", env!("CARGO_PKG_VERSION")), "{bouncers}");
    assert!(!lapi.log().contains("bad user agent"), "{}", lapi.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_50_000_imported_all_reach_the_list_and_lapi_killed_in_mid_answer_takes_none() {
    let Some(lapi) = RealLapi::start().await else { return };
    let mut world = world_with(&lapi).await;
    lapi.import(addresses(50_000));
    world.run_well().await;
    let expected: BTreeSet<String> = addresses(50_000).collect();
    assert!(world.edge().0 == expected, "the ban list holds other addresses than were imported");

    let operations = world.operations();
    let process = lapi.process();
    let relay = Relay::start(lapi.address, 1 << 20, move || process.kill()).await.unwrap();
    world.set("lapi_url", format!("http://{}", relay.address));
    let ran = world.run().await;
    ran.assert_skipped("LAPI could not be read");
    assert!(world.edge().0 == expected, "the edge must stay as it is");
    assert_eq!(world.operations(), operations);
    assert_eq!(world.metric("crowdsec_cf_list_sync_success"), Some(0.0));
    assert_eq!(world.metric("crowdsec_cf_list_ban_count"), Some(50_000.0), "the last known count");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_that_was_never_registered_fails_and_leaves_the_edge_and_says_where_to_look() {
    let Some(lapi) = RealLapi::start().await else { return };
    let mut world = world_with(&lapi).await;
    lapi.cscli("decisions add --ip 203.0.113.7");
    world.preload(&["198.51.100.1"], &[]);
    world.set("lapi_key", "a-key-that-nobody-registered");
    world.run().await.assert_failed("cscli bouncers list");
    world.assert_edge(&["198.51.100.1"], &[]);
}

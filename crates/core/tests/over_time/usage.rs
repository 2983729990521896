//! What LAPI is told of us, and when.

use std::time::Duration;

use crate::common::World;
use edge_sync_core::log::Level;
use simulator::{Decision, Service};

const LAPI_WITH_METRICS: &str = "lapi.version=1.7.8";
const MINUTE: Duration = Duration::from_secs(60);

fn world(version: &str) -> World {
    let world = World::with(|options| options.set(version).unwrap());
    world.ban("203.0.113.7");
    world.captcha("203.0.113.8");
    let community = Decision::ban("2001:db8::1").origin("CAPI");
    world.front.world().lapi().add(community.until(Duration::from_secs(1 << 30)));
    world
}

async fn run_after(world: &World, wait: Duration) {
    tokio::time::sleep(wait).await;
    let _ = world.take_lines();
    world.run().await.unwrap();
}

/// How often LAPI was told.
fn told(world: &World) -> usize {
    world.journal(|e| e.service == Service::Lapi && e.method == "POST").len()
}

#[tokio::test(start_paused = true)]
async fn decisions_enforced_are_told_by_origin_and_kind_of_address() {
    let world = world(LAPI_WITH_METRICS);
    world.run().await.unwrap();
    assert!(world.texts(Level::Warn).is_empty(), "LAPI took it");
    let mut front = world.front.world();
    let [told] = front.lapi().usage_metrics() else { panic!("once") };
    let component = &told["remediation_components"][0];
    assert_eq!(component["type"], "crowdsec-edge-sync-bouncer");
    let items: Vec<_> = component["metrics"][0]["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            assert_eq!(
                (item["name"].as_str(), item["unit"].as_str()),
                (Some("active_decisions"), Some("ip"))
            );
            let labels = &item["labels"];
            assert_eq!(
                labels.as_object().unwrap().len(),
                2,
                "no label by which cscli would mix them up"
            );
            (
                labels["origin"].as_str().unwrap(),
                labels["ip_type"].as_str().unwrap(),
                item["value"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        items,
        [("CAPI", "ipv4", 0), ("CAPI", "ipv6", 1), ("cscli", "ipv4", 2), ("cscli", "ipv6", 0)]
    );
}

#[tokio::test(start_paused = true)]
async fn runs_every_two_minutes_tell_every_fifteen_at_most() {
    let world = world(LAPI_WITH_METRICS);
    for _ in 0..60 {
        run_after(&world, 2 * MINUTE).await;
    }
    assert_eq!(told(&world), 8, "two hours, every sixteen minutes");
}

#[tokio::test(start_paused = true)]
async fn lapi_that_does_not_know_usage_metrics_is_no_news() {
    let world = world("lapi.version=1.4.6");
    world.run().await.unwrap();
    assert_eq!((told(&world), world.texts(Level::Warn).len()), (1, 0));
    run_after(&world, 2 * MINUTE).await;
    assert_eq!(told(&world), 1, "nor is it asked again at once");
}

#[tokio::test(start_paused = true)]
async fn lapi_that_refuses_them_is_a_warning_and_the_run_is_fine() {
    let world = world(LAPI_WITH_METRICS);
    world.fault("lapi POST: answer 500 oops");
    world.run().await.unwrap();
    let warnings = world.texts(Level::Warn);
    assert_eq!(warnings, ["LAPI does not take the usage metrics: HTTP 500: oops"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_store_in_a_dry_run_or_without_lapi_nothing_is_told() {
    let mut world = world(LAPI_WITH_METRICS);
    *world.store.borrow_mut() = None;
    world.run().await.unwrap();
    *world.store.borrow_mut() = Some(Default::default());
    world.set("dry_run", "true");
    world.run().await.unwrap();
    world.set("dry_run", "false");
    world.fault("lapi GET: answer 500 database");
    world.run().await.unwrap();
    assert_eq!(told(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn time_told_by_a_clock_that_was_put_back_holds_it_up_for_one_interval_at_most() {
    let world = world(LAPI_WITH_METRICS);
    let sent = br#"{"v":1,"at":99999999999}"#.to_vec();
    *world.store.borrow_mut() = Some([("usage".to_owned(), sent)].into());
    for _ in 0..8 {
        run_after(&world, 2 * MINUTE).await;
        assert_eq!(told(&world), 0);
    }
    run_after(&world, 2 * MINUTE).await;
    assert_eq!(told(&world), 1);
}

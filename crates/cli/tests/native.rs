//! The core on this host's own ports, without a component: what it reads is what a run would read, and
//! nothing is left behind.

mod common;

use common::World;
use edge_sync::native::Native;
use edge_sync_core::api::lapi::Lapi;
use edge_sync_core::decision::Remediation;
use edge_sync_core::ports::{Body, Clock, Request, Store, Transport, TransportError};
use edge_sync_core::settings::Settings;
use simulator::{Decision, Service};

fn settings(native: &Native) -> Settings {
    Settings::parse(|name| native.variable(name), native.wall()).unwrap()
}

/// What is in the file.
fn stored(world: &World, key: &str) -> String {
    let native = Native::load(&world.options()).unwrap();
    String::from_utf8(native.get(key).unwrap().unwrap()).unwrap()
}

/// The question for all decisions.
fn decisions(native: &Native) -> Request {
    let settings = settings(native);
    Lapi::new(settings.lapi, settings.lapi_key).decisions()
}

#[tokio::test]
async fn core_dry_run_natively_reads_both_sides_and_keeps_nothing() {
    let mut world = World::new().await;
    world.set("dry_run", "true");
    world.remember("lease", "old");
    world.simulator().lapi().add(Decision::ban("203.0.113.7"));
    let native = Native::load(&world.options()).unwrap();
    edge_sync_core::run(|name| native.variable(name), &native).await.unwrap();

    let mut simulator = world.simulator();
    assert_eq!(
        simulator.pushgateway().value("crowdsec-cf-list-sync", "crowdsec_cf_list_ban_count"),
        Some(1.0)
    );
    assert!(simulator.cloudflare().values(&world.ban_list).is_empty(), "a dry run");
    assert!(simulator.violations().is_empty(), "{:?}", simulator.violations());
    assert_eq!(stored(&world, "lease"), "old", "not even the lease is written");
    assert!(native.get("lease").unwrap().is_some(), "but the run met what it had set");
}

#[tokio::test]
async fn value_remembered_by_a_run_is_read_and_never_replaced() {
    let world = World::new().await;
    world.remember("lists", "old");
    let native = Native::load(&world.options()).unwrap();
    assert_eq!(native.get("lists").unwrap().as_deref(), Some(&b"old"[..]));
    native.set("lists", b"new").unwrap();
    assert_eq!(native.get("lists").unwrap().as_deref(), Some(&b"new"[..]));
    let again = Native::load(&world.options()).unwrap();
    assert_eq!(again.get("lists").unwrap().as_deref(), Some(&b"old"[..]));
}

#[tokio::test]
async fn large_answer_arrives_in_pieces_and_whole() {
    let world = World::new().await;
    let addresses = (0..20_000).map(|n| format!("10.{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255));
    world.simulator().lapi().add_all(addresses.map(Decision::ban));
    let native = Native::load(&world.options()).unwrap();
    let request = decisions(&native);
    let (head, mut body) = native.send(request).await.unwrap();
    assert_eq!(head.status, 200);
    let (mut pieces, mut whole) = (0, Vec::new());
    while let Some(piece) = body.chunk().await.unwrap() {
        pieces += 1;
        whole.extend(piece);
    }
    assert!(pieces > 10, "{pieces}");
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&whole).unwrap();
    assert_eq!(rows.len(), 20_000);
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let world = World::new().await;
    let native = Native::load(&world.options()).unwrap();
    let mut request = decisions(&native);
    request.url.push('/');
    assert_eq!(native.send(request).await.unwrap().0.status, 301);
    assert_eq!(world.simulator().journal().len(), 1);
}

#[tokio::test]
async fn destination_outside_the_manifest_is_denied_unasked() {
    let mut world = World::new().await;
    let native = Native::load(&world.options()).unwrap();
    let mut request = decisions(&native);
    request.url = "http://127.0.0.1:1/".to_owned();
    assert_eq!(native.send(request).await.err(), Some(TransportError::Denied));

    // A path makes Spin deny every request; so does this.
    let lapi_url = format!("{}/lapi", world.url(Service::Lapi));
    world.set("lapi_url", lapi_url);
    let native = Native::load(&world.options()).unwrap();
    assert!(Settings::parse(|name| native.variable(name), native.wall()).is_err());
}

#[tokio::test]
async fn connection_broken_off_in_the_body_is_an_error() {
    let world = World::new().await;
    world.simulator().lapi().add(Decision::ban("203.0.113.7"));
    world.simulator().inject("lapi: cut-body 10".parse().unwrap());
    let native = Native::load(&world.options()).unwrap();
    let (_, mut body) = native.send(decisions(&native)).await.unwrap();
    let ended = loop {
        match body.chunk().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert!(matches!(ended, Err(TransportError::Body(_))), "{ended:?}");
}

#[tokio::test]
async fn settings_are_those_of_the_manifest_with_its_defaults() {
    let world = World::new().await;
    let native = Native::load(&world.options()).unwrap();
    let settings = settings(&native);
    let lists = settings.targets.lists.unwrap();
    assert_eq!(lists.get(Remediation::Ban).unwrap().as_str(), world.ban_list);
    assert_eq!(native.variable("run_budget_seconds").as_deref(), Some("110"), "a default");
    assert_eq!(native.variable("absent"), None);
    assert!(!format!("{native:?}").contains(&world.settings["lapi_key"]));
}

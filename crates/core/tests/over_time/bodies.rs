//! Bodies and listings beyond what is expected.

use std::time::Duration;

use bytes::Bytes;

use crate::common::World;
use edge_sync_core::log::Level;
use simulator::Decision;

#[tokio::test(start_paused = true)]
async fn decision_of_four_mebibytes_is_skipped_and_named_and_the_others_go() {
    let world = World::new();
    let mut decision = Decision::ban("203.0.113.7").until(Duration::from_secs(1 << 30));
    decision.scenario = "x".repeat(4 << 20);
    world.front.world().lapi().add(decision);
    world.ban("203.0.113.8");
    world.run().await.unwrap();
    assert_eq!(world.edge().0, ["203.0.113.8"]);
    let warnings = world.texts(Level::Warn);
    assert!(warnings.iter().any(|text| text.contains("not a decision")), "{warnings:?}");
}

#[tokio::test(start_paused = true)]
async fn more_decisions_than_are_taken_fail_the_run_and_touch_nothing() {
    let world = World::with(|options| options.chunk_bytes = 1 << 20);
    world.preload(&["198.51.100.1"], &[]);
    world.front.world().lapi().set_lazy_rows(2_000_000);
    let failure = world.run().await.unwrap_err();
    assert!(failure.to_string().contains("more than 500,000"), "{failure}");
    assert_eq!((world.edge().0.len(), world.writes()), (1, 0));
    assert_eq!(world.metric("crowdsec_cf_list_sync_success"), Some(0.0));
    let taken = world.journal(|e| e.service == simulator::Service::Lapi)[0].bytes_out;
    assert!(taken > 0, "and it is not read to its end: {taken}");
}

#[tokio::test(start_paused = true)]
async fn listing_that_repeats_an_item_or_a_page_removes_nothing_that_lives() {
    for (fault, ends_well) in [("repeat-item", true), ("repeat-page", false)] {
        let world = World::new();
        let all: Vec<String> = (0..1_200u32)
            .map(|n| std::net::Ipv4Addr::from_bits(0x0b00_0000 + n).to_string())
            .collect();
        all.iter().for_each(|address| world.ban(address));
        let refs: Vec<&str> = all.iter().map(String::as_str).collect();
        world.preload(&refs, &[]);
        world.fault(&format!("cloudflare GET /items: {fault}"));
        assert_eq!(world.run().await.is_ok(), ends_well, "{fault}");
        assert_eq!((world.edge().0.len(), world.writes()), (1_200, 0), "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn empty_body_of_a_list_that_is_not_empty_is_never_taken_for_one() {
    for fault in ["null-result", "no-result"] {
        let world = World::new();
        world.ban("203.0.113.7");
        world.preload(&["203.0.113.7"], &[]);
        world.fault(&format!("cloudflare GET /items: {fault}"));
        world.run().await.unwrap_err();
        assert_eq!(world.writes(), 0, "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn array_that_ends_in_garbage_is_no_list_of_decisions() {
    let world = World::new();
    world.preload(&["198.51.100.1"], &[]);
    world.front.world().lapi().override_body(Some(Bytes::from_static(b"[] and more")));
    world.run().await.unwrap();
    assert_eq!(world.writes(), 0);
}

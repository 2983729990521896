//! As many decisions as large installations have: over real HTTP, in the memory of a real guest.

use std::collections::BTreeSet;
use std::time::Duration;

use end_to_end::{World, skip};
use simulator::Service;
use simulator::decisions::{Mix, generate, generate_mix};

/// The promise for 150,000 decisions.
const MEMORY_BYTES_MAX: u64 = 48 << 20;

/// An account whose lists hold everything; its LAPI keeps its body for the test's life, so that the
/// rendering is not what is waited for.
async fn large() -> World {
    World::enterprise(|options| {
        options.lapi.body_cache = Duration::from_secs(600);
    })
    .await
}

/// What tidy decisions come to, by type.
fn desired(decisions: &[simulator::Decision]) -> (BTreeSet<String>, BTreeSet<String>) {
    let of = |kind: &str| {
        let same = decisions.iter().filter(|decision| decision.kind == kind);
        same.map(|decision| decision.value.clone()).collect()
    };
    (of("ban"), of("captcha"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_50_000_synced_to_empty_lists_are_all_there() {
    let world = large().await;
    let decisions = generate(50_000, 1);
    world.simulator().lapi().add_all(decisions.clone());
    let ran = world.run_well().await;
    assert!(world.edge() == desired(&decisions), "the lists hold other addresses than LAPI");
    report(50_000, "to empty lists", &ran);
    let ran = world.run_well().await;
    assert_eq!(ran.summary().get("outcome"), "in_sync");
    world.assert_no_violations();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_150_000_in_sync_need_no_more_memory_than_promised() {
    let world = large().await;
    let decisions = generate(150_000, 1);
    let (ban, captcha) = desired(&decisions);
    world.simulator().lapi().add_all(decisions);
    world.simulator().cloudflare().preload(&world.ban_list, ban);
    world.simulator().cloudflare().preload(&world.captcha_list, captcha);
    let ran = world.run_well().await;
    assert_eq!(ran.summary().get("outcome"), "in_sync");
    assert_eq!(world.operations(), 0);
    report(150_000, "in sync", &ran);
    assert!(ran.run.memory_peak_bytes <= MEMORY_BYTES_MAX, "{} bytes", ran.run.memory_peak_bytes);
}

/// The steady state: as many decisions as there may be, and nothing changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_150_000_remembered_are_in_sync_by_one_request_to_cloudflare() {
    let world = large().await;
    let decisions = generate(150_000, 1);
    let (ban, captcha) = desired(&decisions);
    world.simulator().lapi().add_all(decisions);
    // One write of ours shows that the lists' marks move with it.
    world.simulator().cloudflare().preload(&world.ban_list, ban.into_iter().skip(10));
    world.simulator().cloudflare().preload(&world.captcha_list, captcha);
    world.run_well().await;
    assert_eq!(world.operations(), 1);
    world.two_minutes_later();
    let ran = world.run_well().await;
    report(150_000, "read, and kept", &ran);
    assert!(ran.run.memory_peak_bytes <= MEMORY_BYTES_MAX, "{} bytes", ran.run.memory_peak_bytes);
    for _ in 0..2 {
        world.two_minutes_later();
        let before = world.simulator().counters(Service::Cloudflare).requests;
        let ran = world.run_well().await;
        assert_eq!(ran.summary().get("outcome"), "in_sync");
        report(150_000, "remembered", &ran);
        assert_eq!(world.simulator().counters(Service::Cloudflare).requests - before, 1);
        assert!(ran.run.memory_peak_bytes <= MEMORY_BYTES_MAX);
    }
    // What others take off is seen at once, for it moves the mark; and a new ban is one write.
    let edge = world.edge().0;
    let taken = edge.first().expect("there are many");
    world.simulator().cloudflare().set_item(&world.ban_list, taken, false);
    world.two_minutes_later();
    world.run_well().await;
    assert!(world.edge().0.contains(taken));
    assert_eq!(world.operations(), 2);
    world.assert_no_violations();
}

/// Importers repeat themselves and spell as they like; a drift of one in a hundred is a normal day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_150_000_untidy_with_drift_need_no_more_memory_than_promised() {
    let world = large().await;
    let decisions = generate_mix(150_000, 2, &Mix::untidy());
    world.simulator().lapi().add_all(decisions[..148_500].iter().cloned());
    world.run_well().await;
    world.two_minutes_later();
    world.simulator().lapi().replace(decisions[1_500..].iter().cloned());
    let ran = world.run_well().await;
    report(148_500, "untidy, with drift in both directions", &ran);
    assert!(ran.run.memory_peak_bytes <= MEMORY_BYTES_MAX, "{} bytes", ran.run.memory_peak_bytes);
    world.assert_no_violations();
    let ran = world.run_well().await;
    assert_eq!(ran.summary().get("outcome"), "in_sync");
}

fn report(decisions: usize, state: &str, ran: &end_to_end::world::Ran) {
    skip::say(format_args!(
        "{decisions} decisions {state}: guest memory {:.1} MiB, {} requests, {:.2} s",
        ran.run.memory_peak_bytes as f64 / f64::from(1 << 20),
        ran.run.requests,
        ran.run.wall.as_secs_f64()
    ));
}

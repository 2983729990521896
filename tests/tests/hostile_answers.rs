//! Answers without an end, in the built component: bounded memory, bounded time, one summary, an exit code.

use end_to_end::World;
use end_to_end::hostile::{Hostile, MANNERS, Manner};
use end_to_end::world::Ran;
use futures_util::future::join_all;

/// Half of the limit in the `CronJob`: half a million decisions, or several answers of 8 MiB at once, fit into it.
const MEMORY_BYTES_MAX: u64 = 64 << 20;
/// As short as a run's budget may be.
const BUDGET_SECONDS: u64 = 60;

async fn world(setting: &str, hostile: &Hostile) -> World {
    let mut world = World::new().await;
    world.ban(&["203.0.113.7"]);
    world.preload(&["198.51.100.1"], &["198.51.100.2"]);
    world.set(setting, hostile.origin());
    world.set("run_budget_seconds", BUDGET_SECONDS.to_string());
    world
}

fn assert_untouched(world: &World, manner: Manner) {
    assert_eq!(world.operations(), 0, "{manner:?}");
    world.assert_edge(&["198.51.100.1"], &["198.51.100.2"]);
}

fn assert_bounded(ran: &Ran, manner: Manner) {
    let bytes = ran.run.memory_peak_bytes;
    assert!(bytes <= MEMORY_BYTES_MAX, "{manner:?}: {bytes} bytes: {}", ran.run.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lapi_that_never_ends_leaves_the_edge_in_bounded_memory_and_time() {
    join_all(MANNERS.map(async |manner| {
        let hostile = Hostile::start(manner).await.expect("a port of loopback");
        let world = world("lapi_url", &hostile).await;
        let ran = world.run().await;
        // Too many decisions are an answer, which is not to be had at the edge: that fails. The others are none.
        if manner == Manner::EndlessDecisions && ran.run.exit_code() == 1 {
            ran.assert_failed("more than 500,000 different addresses");
        } else {
            ran.assert_skipped("LAPI could not be read");
        }
        assert_untouched(&world, manner);
        assert_bounded(&ran, manner);
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloudflare_that_never_ends_fails_before_any_write_in_bounded_memory_and_time() {
    join_all(MANNERS.map(async |manner| {
        let hostile = Hostile::start(manner).await.expect("a port of loopback");
        let world = world("cf_api_url", &hostile).await;
        let ran = world.run().await;
        ran.assert_failed("cf_ban_list_id");
        assert_untouched(&world, manner);
        assert_bounded(&ran, manner);
    }))
    .await;
}

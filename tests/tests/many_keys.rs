//! As many KV keys as large installations have: over real HTTP, in the memory of a real guest.

use std::time::{Duration, UNIX_EPOCH};

use end_to_end::world::Ran;
use end_to_end::{World, skip};
use simulator::decisions::generate;
use simulator::{Decision, KvEntryView};

const COUNT: usize = 150_000;
/// The promise for that many.
const MEMORY_BYTES_MAX: u64 = 64 << 20;
/// The same in the layout `shards`.
const SHARDS_BYTES_MAX: u64 = 32 << 20;

async fn world() -> (World, Vec<Decision>) {
    let options = |options: &mut simulator::Options| {
        options.lapi.body_cache = Duration::from_secs(600);
    };
    let (world, decisions) = (World::kv(options).await, generate(COUNT, 1));
    world.simulator().lapi().add_all(decisions.iter().cloned());
    (world, decisions)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_150_000_in_sync_need_no_more_memory_than_promised_and_no_write() {
    let (world, decisions) = world().await;
    let start = world.simulator().options().start.duration_since(UNIX_EPOCH).unwrap();
    let as_written = |decision: &Decision| {
        let metadata = serde_json::json!({ "v": 1, "value": decision.kind, "at": start.as_secs() });
        let entry = KvEntryView {
            value: decision.kind.clone(),
            expiration_unix: Some((start + decision.until).as_secs() + 60),
            metadata: Some(metadata),
        };
        (format!("ip:{}", decision.value), entry)
    };
    let keys = decisions.iter().map(as_written);
    world.simulator().cloudflare().kv_preload(&world.namespace, keys);
    let ran = world.run_well().await;
    assert_eq!(ran.summary().get("outcome"), "in_sync");
    let counters = world.kv_counters();
    assert_eq!((counters.list_calls, counters.bulk_writes), (150, 0));
    assert_within_promise("in sync", &ran);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_150_000_to_an_empty_namespace_need_no_more_memory_than_promised() {
    let (world, decisions) = world().await;
    let ran = world.run_well().await;
    assert_eq!((world.keys().len(), world.kv_counters().bulk_writes), (COUNT, 15));
    assert!(decisions.iter().all(|d| world_has(&world, d)), "a key has another value");
    assert_within_promise("to an empty namespace", &ran);
    world.assert_no_violations();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_150_000_in_shards_are_two_writes_and_then_one_read_in_half_of_the_memory() {
    let (mut world, _) = world().await;
    world.set("kv_layout", "shards");
    let first = world.run_well().await;
    let counters = world.kv_counters();
    assert_eq!((counters.bulk_writes, counters.pairs_written), (2, 17));
    assert_within("in shards, to an empty namespace", &first, SHARDS_BYTES_MAX);
    world.two_minutes_later();
    let second = world.run_well().await;
    assert_eq!(second.summary().get("outcome"), "in_sync");
    let after = world.kv_counters();
    assert_eq!((after.pairs_written, after.list_calls), (17, counters.list_calls));
    assert_eq!(after.keys_read - counters.keys_read, 17);
    assert_within("in shards, in sync", &second, SHARDS_BYTES_MAX);
    world.assert_no_violations();
}

fn world_has(world: &World, decision: &Decision) -> bool {
    let key = format!("ip:{}", decision.value);
    let entry = world.simulator().cloudflare().kv_get(&world.namespace, &key);
    entry.is_some_and(|entry| entry.value == decision.kind)
}

#[track_caller]
fn assert_within_promise(state: &str, ran: &Ran) {
    assert_within(state, ran, MEMORY_BYTES_MAX);
}

#[track_caller]
fn assert_within(state: &str, ran: &Ran, bytes_max: u64) {
    let bytes = ran.run.memory_peak_bytes;
    skip::say(format_args!(
        "{COUNT} keys {state}: guest memory {:.1} MiB, {} requests, {:.2} s",
        bytes as f64 / f64::from(1 << 20),
        ran.run.requests,
        ran.run.wall.as_secs_f64()
    ));
    assert!(bytes <= bytes_max, "{bytes} bytes");
}

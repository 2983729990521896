//! A day of the KV target in simulated time: a run every two minutes against the simulator, decisions
//! that are replaced over the day, remaining times that jitter. Prints what it cost, as JSON; `cargo
//! xtask bench` sets it beside the program that this one replaces.
//!
//! `cargo run --profile measured -p edge-sync-core --example kv_day -- [DECISIONS] [RUNS] [LAYOUT]`
#![expect(clippy::disallowed_macros, reason = "a program may print its result")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Duration;

use common::World;
use simulator::decisions::generate;
use simulator::{Decision, Service};

/// Between two runs.
const INTERVAL: Duration = Duration::from_secs(120);
/// The share of the decisions that is replaced over the day, in percent.
const REPLACED_PERCENT: usize = 5;
/// What LAPI's remaining times are off by, changing from run to run.
const JITTER_MILLIS: u64 = 3_000;

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |or| arguments.next().map_or(or, |text| text.parse().expect("a number"));
    let (decisions, runs) = (number(15_000), number(720));
    let layout = arguments.next().unwrap_or_else(|| "keys".to_owned());
    let day = day(decisions, runs, &layout).await;
    println!("{day}");
}

async fn day(decisions: usize, runs: usize, layout: &str) -> serde_json::Value {
    let mut world = World::kv(|options| {
        // A minute is what Cloudflare documents.
        options.cloudflare.kv_list_lag = Duration::from_secs(60);
        options.chunk_bytes = 64 << 10;
    });
    world.set("kv_layout", layout);
    let replaced = decisions * REPLACED_PERCENT / 100;
    // Those that replace others come after the first `decisions`. All outlive the day, so that a key
    // goes only because its decision was replaced.
    let mut rows = generate(decisions + replaced, 1);
    rows.iter_mut().for_each(|row| row.until += Duration::from_secs(2 * 24 * 3_600));

    let mut quiet_runs = 0;
    let mut writes_of_quiet_runs = 0;
    let mut first = world.kv_counters();
    let mut gone_before = 0;
    for run in 0..runs {
        let began = world.front.elapsed();
        // At every second run, so that the others find nothing changed.
        let gone = replaced * (run / 2 * 2) / runs;
        let jitter = |row: Decision, n: usize| {
            let off = (n as u64 * 7_919 + run as u64 * 104_729) % JITTER_MILLIS;
            Decision { until: row.until + Duration::from_millis(off), ..row }
        };
        let live = rows[gone..gone + decisions].iter().cloned().enumerate();
        world.front.world().lapi().replace(live.map(|(n, row)| jitter(row, n)));
        let before = world.kv_counters();
        world.run().await.expect("no fault was injected");
        let after = world.kv_counters();
        if run == 0 {
            first = after;
        } else if gone == gone_before {
            quiet_runs += 1;
            writes_of_quiet_runs += after.pairs_written + after.keys_deleted
                - before.pairs_written
                - before.keys_deleted;
        }
        gone_before = gone;
        world.take_lines();
        world.sent.borrow_mut().clear();
        tokio::time::sleep((began + INTERVAL).saturating_sub(world.front.elapsed())).await;
    }
    world.assert_no_violations();
    let counters = world.kv_counters();
    let requests = world.front.world().counters(Service::Cloudflare).requests;
    serde_json::json!({
        "layout": layout,
        "decisions": decisions,
        "runs": runs,
        "replaced": replaced,
        "requests": requests,
        "keys_read": counters.keys_read,
        "list_calls": counters.list_calls,
        "keys_written": counters.pairs_written,
        "keys_deleted": counters.keys_deleted,
        "keys_written_by_the_first_run": first.pairs_written,
        "identical_rewrites": counters.identical_rewrites,
        "runs_without_a_change": quiet_runs,
        "writes_of_runs_without_a_change": writes_of_quiet_runs,
    })
}

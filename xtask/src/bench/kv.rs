//! Workers KV: what a run in sync costs, and how many writes are billed in a day.
//!
//! Our day is 720 runs of the core in simulated time (the example `kv_day` of the core). The older
//! program writes every key at every run, so that a sample of its runs over the day's hours tells the
//! whole; it is run as it is, with the simulator's clock moved on in between.

use super::measure::{self, Measured, Program};
use super::seed;
use super::table::{MIB, print_promises};
use crate::progress::step;
use crate::tools::{MEASURED, Tools, cargo};
use crate::world::World;
use anyhow::{Context, Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;

/// The promise about guest memory.
const GUEST_MIB_MAX: f64 = 64.0;
/// The same in shards, and how many values there are.
const SHARDS_GUEST_MIB_MAX: f64 = 32.0;
const VALUES: usize = 17;
/// The promise about a day's writes: at most this share of the older program's.
const SHARE_MAX: u64 = 1_000;
/// The day: decisions, and runs of which as many are the older program's sample.
const DAY_DECISIONS: u64 = 15_000;
const DAY_RUNS: u64 = 720;
const DAY_SAMPLE: u64 = 12;

/// What the use of KV was billed for.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Billed {
    pairs_written: u64,
    keys_deleted: u64,
}

struct Row {
    keys: usize,
    /// `kv_layout`.
    layout: &'static str,
    ours: (Measured, Billed),
    seed: Option<(Measured, Billed)>,
}

/// A day of ours, as the example prints it.
#[derive(Debug, Deserialize)]
struct Day {
    replaced: u64,
    list_calls: u64,
    keys_written: u64,
    keys_deleted: u64,
    keys_written_by_the_first_run: u64,
    runs_without_a_change: u64,
    writes_of_runs_without_a_change: u64,
}

pub(super) fn execute(keys: &[usize], runs: usize, tools: &Tools) -> Result<()> {
    let seed = seed("kv_sync.py");
    let mut rows = Vec::new();
    for &keys in keys {
        rows.push(step(&format!("{keys} keys, in sync"), || {
            in_sync(keys, "keys", runs, tools, seed.as_deref())
        })?);
        rows.push(step(&format!("{keys} entries in shards, in sync"), || {
            in_sync(keys, "shards", runs, tools, None)
        })?);
    }
    let day = step("a day of ours, 720 runs in simulated time", || our_day("keys"))?;
    let day_in_shards = step("the same in shards", || our_day("shards"))?;
    let seeds_day = match &seed {
        Some(path) => Some(step("a day of the seed, 12 of its 720 runs", || {
            sampled_day(tools, path, day.replaced)
        })?),
        None => None,
    };
    print(&rows);
    print_day(&day, &day_in_shards, seeds_day);
    let mut all = promises(&rows, &day, seeds_day);
    all.extend(promises_of_shards(&rows, &day_in_shards));
    print_promises(all);
    Ok(())
}

/// One run that finds nothing to do, of each program in turn.
fn in_sync(
    keys: usize,
    layout: &'static str,
    runs: usize,
    tools: &Tools,
    seed: Option<&Path>,
) -> Result<Row> {
    // Rendering LAPI's body is not what is measured.
    let flags = [format!("--decisions={keys}"), "--set=lapi.body_cache=10m".to_owned()];
    let mut world = World::start(tools, &flags)?;
    world.target_kv();
    world.set("kv_layout", layout);
    let content = format!("/kv/{}", world.namespace);
    // Also compiles the component, as Spin does when it loads an application.
    measure::run(&Program::Ours(tools), &world)?;
    let synced = world.get("/kv")?[&world.namespace].clone();
    let values = synced.as_object().map_or(0, |values| values.len());
    ensure!(values == if layout == "keys" { keys } else { VALUES }, "{values} keys were written");
    let synced = synced.to_string();
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..runs {
        let one = |program: &Program<'_>| -> Result<(Measured, Billed)> {
            // As we leave it: the seed's own keys would have no metadata.
            world.delete(&content)?;
            world.post(&content, &synced)?;
            world.delete("/journal")?;
            let measured = measure::run(program, &world)?;
            let there = world.get("/kv")?;
            let count = there[&world.namespace].as_object().map_or(0, |keys| keys.len());
            ensure!(count == values, "{program:?} left {count} keys");
            Ok((measured, billed(&world)?))
        };
        ours.push(one(&Program::Ours(tools))?);
        if let Some(path) = seed {
            theirs.push(one(&Program::Seed(path))?);
        }
    }
    let median = |runs: &[(Measured, Billed)]| {
        let measured: Vec<_> = runs.iter().map(|(measured, _)| *measured).collect();
        Some((Measured::median(&measured)?, runs.last()?.1))
    };
    Ok(Row {
        keys,
        layout,
        ours: median(&ours).context("no run was counted")?,
        seed: median(&theirs),
    })
}

fn billed(world: &World) -> Result<Billed> {
    Ok(serde_json::from_value(world.get("/kv-counters")?)?)
}

fn our_day(layout: &str) -> Result<Day> {
    let mut command = cargo("run");
    command.args(["--quiet", "--profile", MEASURED, "--package", "edge-sync-core"]);
    command.args(["--example", "kv_day", "--"]);
    command.args([DAY_DECISIONS.to_string(), DAY_RUNS.to_string(), layout.to_owned()]);
    let output = command.output()?;
    ensure!(output.status.success(), "kv_day: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Runs of the older program over a day in which `replaced` decisions are replaced. Its writes are
/// scaled to all runs; its deletes are not: a lifted decision is deleted once, however many runs.
fn sampled_day(tools: &Tools, seed: &Path, replaced: u64) -> Result<Billed> {
    let mut world = World::start(tools, &[])?;
    world.target_kv();
    let address = |n: u64| format!("11.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255);
    let rows = |numbers: std::ops::Range<u64>| -> Value {
        let row = |n| json!({ "value": address(n), "duration": "72h" });
        numbers.map(row).collect()
    };
    world.post("/decisions", &rows(0..DAY_DECISIONS).to_string())?;
    let mut gone = 0;
    for run in 0..DAY_SAMPLE {
        let until = replaced * run / DAY_SAMPLE;
        for n in gone..until {
            world.delete(&format!("/decisions?value={}", address(n)))?;
        }
        let new = rows(DAY_DECISIONS + gone..DAY_DECISIONS + until);
        world.post("/decisions", &new.to_string())?;
        gone = until;
        measure::run(&Program::Seed(seed), &world)?;
        world.post("/clock", "2h")?;
    }
    let Billed { pairs_written, keys_deleted } = billed(&world)?;
    Ok(Billed { pairs_written: pairs_written * DAY_RUNS / DAY_SAMPLE, keys_deleted })
}

fn print(rows: &[Row]) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "KV keys",
        "program",
        "wall s",
        "CPU s",
        "guest MiB",
        "process MiB",
        "requests",
        "keys written",
        "MB moved",
    ]);
    for row in rows {
        let program = if row.layout == "keys" { "this" } else { "this, shards" };
        table.add_row(cells(row.keys.to_string(), program, &row.ours));
        if let Some(seed) = &row.seed {
            table.add_row(cells(String::new(), "seed", seed));
        }
    }
    for column in 2..9 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("\n{table}\n");
    println!("Medians of whole processes, start included; every key is already as it should be.\n");
}

fn cells(keys: String, program: &str, (measured, billed): &(Measured, Billed)) -> Vec<String> {
    let guest = match measured.guest_peak_bytes {
        0 => "-".to_owned(),
        bytes => format!("{:.1}", bytes as f64 / MIB),
    };
    vec![
        keys,
        program.to_owned(),
        format!("{:.3}", measured.wall.as_secs_f64()),
        format!("{:.3}", measured.cpu.as_secs_f64()),
        guest,
        format!("{:.1}", measured.resident_peak_bytes as f64 / MIB),
        measured.requests.to_string(),
        billed.pairs_written.to_string(),
        format!("{:.2}", measured.bytes as f64 / 1e6),
    ]
}

fn print_day(day: &Day, in_shards: &Day, seed: Option<Billed>) {
    println!(
        "A day of {DAY_RUNS} runs with {DAY_DECISIONS} decisions, {} of them replaced, and remaining times that jitter:",
        day.replaced
    );
    for (name, day) in [("this  ", day), ("shards", in_shards)] {
        println!(
            "  {name}  {} keys written, {} deleted, {} list calls; before that, {} written once by the first run ever",
            day.keys_written - day.keys_written_by_the_first_run,
            day.keys_deleted,
            day.list_calls,
            day.keys_written_by_the_first_run,
        );
    }
    if let Some(seed) = seed {
        println!(
            "  seed  {} keys written ({DAY_SAMPLE} runs over the day, scaled to {DAY_RUNS}), {} deleted",
            seed.pairs_written, seed.keys_deleted
        );
    }
    println!();
}

fn promises_of_shards(rows: &[Row], day: &Day) -> Vec<(String, bool)> {
    let guest = rows.iter().filter(|row| row.layout == "shards");
    let guest = guest.map(|row| row.ours.0.guest_peak_bytes).max().unwrap_or_default();
    let guest = guest as f64 / MIB;
    let first = day.keys_written_by_the_first_run;
    vec![
        (
            format!("KV in shards: guest memory at most {SHARDS_GUEST_MIB_MAX} MiB ({guest:.1})"),
            guest <= SHARDS_GUEST_MIB_MAX,
        ),
        (
            format!("KV in shards: the first sync at most {VALUES} writes ({first})"),
            first <= VALUES as u64,
        ),
        (
            format!("KV in shards: the day at most 1,000 writes ({})", day.keys_written),
            day.keys_written + day.keys_deleted <= 1_000,
        ),
    ]
}

fn promises(rows: &[Row], day: &Day, seed: Option<Billed>) -> Vec<(String, bool)> {
    let guest = rows.iter().map(|row| row.ours.0.guest_peak_bytes).max().unwrap_or_default();
    let guest = guest as f64 / MIB;
    let is_quiet = |row: &Row| row.ours.1.pairs_written + row.ours.1.keys_deleted == 0;
    let mut promises = vec![
        (
            format!("KV: guest memory at most {GUEST_MIB_MAX} MiB ({guest:.1})"),
            guest <= GUEST_MIB_MAX,
        ),
        (
            format!(
                "KV: nothing written by a run without a change ({} of the day's)",
                day.runs_without_a_change
            ),
            rows.iter().all(is_quiet)
                && day.runs_without_a_change > 0
                && day.writes_of_runs_without_a_change == 0,
        ),
    ];
    let mut both = rows.iter().filter_map(|row| Some((&row.ours.0, &row.seed.as_ref()?.0)));
    if let Some(seed) = seed {
        promises.push((
            "KV: wall time of a run in sync below the seed's".to_owned(),
            both.all(|(ours, seed)| ours.wall < seed.wall),
        ));
        let ours = day.keys_written - day.keys_written_by_the_first_run + day.keys_deleted;
        let theirs = seed.pairs_written + seed.keys_deleted;
        promises.push((
            format!(
                "KV: at most 1/{SHARE_MAX} of the seed's writes and deletes a day ({ours} of {theirs}, 1/{})",
                theirs / ours.max(1)
            ),
            ours * SHARE_MAX <= theirs,
        ));
    }
    promises
}

//! The figures for a person: a row a program, the ratio below, and whether the promises hold.

use super::measure::Measured;
use super::{Row, Start};
use crate::SIZE_BYTES_MAX;
use comfy_table::{CellAlignment, Table, presets};

pub(super) const MIB: f64 = (1 << 20) as f64;
/// The promise about guest memory, at the most decisions measured.
const GUEST_MIB_MAX: f64 = 48.0;

pub(super) fn print(rows: &[Row], component_bytes: u64) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "decisions",
        "start",
        "program",
        "wall s",
        "CPU s",
        "guest MiB",
        "process MiB",
        "requests",
        "bulk ops",
        "MB moved",
    ]);
    for row in rows {
        let name = |first: bool| {
            if first {
                let slow = if row.is_slow { ", 150 ms" } else { "" };
                [row.decisions.to_string(), format!("{}{slow}", row.start.name())]
            } else {
                [String::new(), String::new()]
            }
        };
        table.add_row(cells(name(true), "this", &row.ours));
        if let Some(seed) = &row.seed {
            table.add_row(cells(name(false), "seed", seed));
            table.add_row(ratios(name(false), &row.ours, seed));
        }
    }
    for column in 3..10 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("\n{table}\n");
    println!("Medians of whole processes, start included. Lists were last written a week before,");
    println!("a bulk operation takes 0.7 s, and a page has at most 500 items for both.\n");
    print_promises(promises(rows, component_bytes));
}

pub(super) fn print_promises(promises: Vec<(String, bool)>) {
    for (promise, holds) in promises {
        println!("{} {promise}", if holds { "holds:" } else { "DOES NOT HOLD:" });
    }
}

fn cells([decisions, start]: [String; 2], program: &str, m: &Measured) -> Vec<String> {
    let guest = match m.guest_peak_bytes {
        0 => "-".to_owned(),
        bytes => format!("{:.1}", bytes as f64 / MIB),
    };
    vec![
        decisions,
        start,
        program.to_owned(),
        format!("{:.3}", m.wall.as_secs_f64()),
        format!("{:.3}", m.cpu.as_secs_f64()),
        guest,
        format!("{:.1}", m.resident_peak_bytes as f64 / MIB),
        m.requests.to_string(),
        m.operations.to_string(),
        format!("{:.2}", m.bytes as f64 / 1e6),
    ]
}

fn ratios([decisions, start]: [String; 2], ours: &Measured, seed: &Measured) -> Vec<String> {
    let ratio = |ours: f64, seed: f64| match seed {
        0.0 => "-".to_owned(),
        seed => format!("{:.2}x", ours / seed),
    };
    vec![
        decisions,
        start,
        "ratio".to_owned(),
        ratio(ours.wall.as_secs_f64(), seed.wall.as_secs_f64()),
        ratio(ours.cpu.as_secs_f64(), seed.cpu.as_secs_f64()),
        "-".to_owned(),
        ratio(ours.resident_peak_bytes as f64, seed.resident_peak_bytes as f64),
        ratio(ours.requests as f64, seed.requests as f64),
        ratio(ours.operations as f64, seed.operations as f64),
        ratio(ours.bytes as f64, seed.bytes as f64),
    ]
}

fn promises(rows: &[Row], component_bytes: u64) -> Vec<(String, bool)> {
    let both: Vec<_> = rows.iter().filter_map(|r| Some((r, &r.ours, r.seed.as_ref()?))).collect();
    let guest =
        rows.iter().map(|row| row.ours.guest_peak_bytes).max().unwrap_or_default() as f64 / MIB;
    let mut promises = vec![
        (
            format!("component file at most {SIZE_BYTES_MAX} bytes ({component_bytes})"),
            component_bytes <= SIZE_BYTES_MAX,
        ),
        (format!("guest memory at most {GUEST_MIB_MAX} MiB ({guest:.1})"), guest <= GUEST_MIB_MAX),
    ];
    if !both.is_empty() {
        let all = |test: &dyn Fn(&Row, &Measured, &Measured) -> bool| {
            both.iter().all(|(row, ours, seed)| test(row, ours, seed))
        };
        promises.extend([
            (
                // Which no program before this one told LAPI, and this one tells it four times in an hour.
                "requests never above the seed's, but for one that tells what is enforced"
                    .to_owned(),
                all(&|_, o, s| o.requests <= s.requests + 1),
            ),
            (
                "bulk operations never above the seed's".to_owned(),
                all(&|_, o, s| o.operations <= s.operations),
            ),
            (
                "with drift in both directions at most half of the seed's bulk operations"
                    .to_owned(),
                all(&|row, o, s| row.start != Start::Drift || 2 * o.operations <= s.operations),
            ),
            (
                "nothing written in sync".to_owned(),
                all(&|row, o, _| row.start == Start::Drift || o.operations == 0),
            ),
            (
                "where remembered, one request to each API, and the two that tell metrics"
                    .to_owned(),
                all(&|row, o, _| row.start != Start::Remembered || o.requests <= 4),
            ),
            ("wall time below the seed's".to_owned(), all(&|_, o, s| o.wall < s.wall)),
        ]);
    }
    promises
}

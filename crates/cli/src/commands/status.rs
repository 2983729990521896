//! `edge-sync status`: how the last run ended and what waits, from what runs remember. Nothing is requested.

use super::look::{UNKNOWN_WITHOUT_STORE, settings};
use super::{AppArgs, print};
use crate::native::Native;
use crate::words::{
    GONE, GOOD, ODD, age, duration, harmless, lists_read, plural, thousands, until, wait, wrapped,
    zone_refusals, zone_wait,
};
use anyhow::{Result, bail};
use edge_sync_core::ports::Clock;
use edge_sync_core::run::{GuardStatus, KvStatus, ListsStatus, Status, ZoneStatus, status};
use edge_sync_core::state::LastRun;
use edge_sync_core::state::last::End;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

/// Show how the last run ended and what waits, by what runs remember; nothing is requested.
///
/// Exit code 1 if the store cannot be read. Colours under a terminal, unless NO_COLOR is set.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    app: AppArgs,
    /// Print everything as JSON (crates/cli/schemas/status.json).
    #[arg(long)]
    json: bool,
}

/// Runs are minutes apart; after so long without one, something keeps them from running.
const SILENT_SECS: u64 = 900;

/// Reads, and shows.
pub fn execute(args: Args) -> Result<ExitCode> {
    let native = Native::load(&args.app.options()?)?;
    let settings = settings(&native)?;
    let now = native.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let status = match status(&settings, &native, now) {
        Ok(status) => status,
        Err(error) => bail!("{}\n{UNKNOWN_WITHOUT_STORE}", error.0),
    };
    let shown = match args.json {
        true => serde_json::to_string_pretty(&status)? + "\n",
        false => render(&status, &native.store_place()),
    };
    print(&shown)?;
    Ok(ExitCode::SUCCESS)
}

/// Columns of the names on the left.
const NAME: usize = 16;

/// A line for each thing that is remembered.
pub fn render(status: &Status, place: &str) -> String {
    let mut shown = String::new();
    let mut line = |name: &str, text: &str| {
        let _ = writeln!(shown, "{}", wrapped(&format!("{name:<NAME$}{text}"), NAME));
    };
    let ago = |at: u64| format!("{} ago", age(status.now.saturating_sub(at)));
    line("store", place);
    match &status.last {
        None => {
            line("last run", &format!("{ODD}none{ODD:#} has ended, as far as is remembered here"))
        }
        Some(last) => {
            let LastRun { began, ended, dry_run, all_read_at, .. } = last;
            let dry = if *dry_run { ", a dry run" } else { "" };
            let took = duration(ended.saturating_sub(*began));
            line("last run", &format!("{}{dry}, took {took}", ago(*ended)));
            let ends = [("  lists", &last.lists), ("  KV", &last.kv), ("  rules", &last.rules)];
            for (name, end) in ends {
                if let Some(end) = end {
                    line(name, &ended_as(end));
                }
            }
            match all_read_at {
                0 => line(
                    "last full read",
                    &format!("{GONE}never{GONE:#}: no run could read everything"),
                ),
                at => line("last full read", &ago(*at)),
            }
            let silent = status.now.saturating_sub(*ended);
            if silent > SILENT_SECS && status.at_work_secs.is_none() {
                let silent = age(silent);
                line(
                    "",
                    &format!("{ODD}no run for {silent}{ODD:#}: is Spin, or the CronJob, at work?"),
                );
            }
        }
    }
    if let Some(left) = status.at_work_secs {
        let text = format!(
            "a run, or one that was interrupted: its lease holds for at most {}",
            duration(left)
        );
        line("at work", &text);
    }
    if let Some(lists) = &status.lists {
        of_lists(&mut line, lists);
    }
    if let Some(zones) = &status.rules {
        of_rules(&mut line, zones);
    }
    if let Some(kv) = &status.kv {
        of_kv(&mut line, kv);
    }
    shown
}

fn ended_as(end: &End) -> String {
    let style = match (end.success, end.outcome.as_str()) {
        (true, _) => GOOD,
        (false, "failed") => GONE,
        (false, _) => ODD,
    };
    let outcome = harmless(&end.outcome);
    match end.said.as_str() {
        "" => format!("{style}{outcome}{style:#}"),
        said => format!("{style}{outcome}{style:#}: {}", harmless(said)),
    }
}

fn of_lists(line: &mut impl FnMut(&str, &str), lists: &ListsStatus) {
    let writes = match &lists.wait {
        None => "the next write goes when there is something to write".to_owned(),
        Some(what) if lists.refused > 1 => {
            format!("{ODD}wait{ODD:#}: {} ({} in a row)", wait(what), lists.refused)
        }
        Some(what) => format!("{ODD}wait{ODD:#}: {}", wait(what)),
    };
    line("lists", &writes);
    if let Some(left) = lists.interval_secs {
        let text =
            format!("what is not urgent waits for {} (write_interval_seconds)", duration(left));
        line("", &text);
    }
    if lists.set_aside > 0 {
        let count = plural(lists.set_aside, "address");
        line("", &format!("{ODD}set aside{ODD:#}: {count} that Cloudflare refuses as a value"));
    }
    if let Some(items) = lists.items_max {
        let text =
            format!("{ODD}full{ODD:#}: {} fit, by what Cloudflare says", plural(items, "item"));
        line("", &text);
    }
    if let Some(edge) = lists.edge {
        line("", &lists_read(edge));
    }
    guard(line, lists.guard.as_ref());
}

fn of_rules(line: &mut impl FnMut(&str, &str), zones: &[ZoneStatus]) {
    let clear = zones.iter().filter(|zone| zone.is_clear()).count() as u64;
    let mut name = "rules";
    if clear > 0 {
        let text = format!("no change waits in {}", plural(clear, "zone"));
        line(std::mem::take(&mut name), &text);
    }
    for zone in zones.iter().filter(|zone| !zone.is_clear()) {
        let id = harmless(&zone.zone);
        let waits = zone.wait.map(|wait| format!("{ODD}wait{ODD:#}: {}", zone_wait(wait)));
        let refusals = zone_refusals(zone);
        let refusals = refusals.into_iter().map(|said| format!("{ODD}refused{ODD:#}: {said}"));
        for text in waits.into_iter().chain(refusals) {
            line(std::mem::take(&mut name), &format!("zone {id}: {text}"));
        }
    }
}

fn of_kv(line: &mut impl FnMut(&str, &str), kv: &KvStatus) {
    let day = duration(kv.next_day_secs);
    let left = |left: Option<u64>| left.map_or_else(|| "no limit".to_owned(), thousands);
    let used = match kv.is_day_used_up {
        true => format!(
            "{ODD}used up{ODD:#}, says Cloudflare; the day begins anew at 00:00 UTC, in {day}"
        ),
        false => format!(
            "{} written or deleted today (UTC); left: writes {}, deletes {}; a new day in {day}",
            plural(kv.used, "key"),
            left(kv.writes_left),
            left(kv.deletes_left),
        ),
    };
    line("KV budget", &used);
    guard(line, kv.guard.as_ref());
}

fn guard(line: &mut impl FnMut(&str, &str), guard: Option<&GuardStatus>) {
    let text = match guard {
        None => "holds nothing back".to_owned(),
        Some(guard) => format!(
            "{ODD}holds {} back{ODD:#}, found in {} so far; they go {}",
            plural(guard.held, "removal"),
            plural(guard.runs_seen, "run"),
            until(guard.until),
        ),
    };
    line("  guard", &text);
}

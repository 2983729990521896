//! `host run --once`: one run, and its exit code.

use super::{AppArgs, remark_on};
use crate::{App, Output, Run, Trigger};
use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Run the component once and end with its exit code.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    app: AppArgs,
    /// Run now, whatever the schedule says. There is no other way to run; `up` follows the schedule.
    #[arg(long)]
    once: bool,
    /// What to call [default: cron if the manifest has a cron trigger, else command].
    #[arg(long, value_enum)]
    trigger: Option<Kind>,
    /// Write the run's figures as JSON to this file, or to stderr for `-`.
    #[arg(long, value_name = "FILE")]
    stats: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// wasi:cli/run, as Spin's command trigger and SpinKube do.
    Command,
    /// handle-cron-event, as Spin's cron trigger does.
    Cron,
}

/// The figures of a run; field names are an interface.
#[derive(Serialize)]
struct Stats {
    wall_ms: f64,
    guest_memory_peak_bytes: u64,
    outbound_requests: u64,
    exit: i32,
}

/// Runs once.
pub async fn execute(args: Args) -> Result<ExitCode> {
    let app = args.app.load()?;
    let trigger = match args.trigger.unwrap_or_else(|| default_kind(&app)) {
        Kind::Command => Trigger::Command,
        Kind::Cron => {
            Trigger::Cron { timestamp: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() }
        }
    };
    let run = app.run(trigger, Output::Inherited).await?;
    remark_on(&run);
    if let Some(target) = args.stats {
        write_stats(&run, &target)?;
    }
    // Codes beyond a byte exist in WASI but not in a process: any of them is a failure.
    Ok(u8::try_from(run.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn default_kind(app: &App) -> Kind {
    if app.has_cron_trigger() { Kind::Cron } else { Kind::Command }
}

fn write_stats(run: &Run, target: &str) -> Result<()> {
    let stats = serde_json::to_string(&Stats {
        wall_ms: run.wall.as_secs_f64() * 1000.0,
        guest_memory_peak_bytes: run.memory_peak_bytes,
        outbound_requests: run.requests,
        exit: run.exit_code(),
    })?;
    if target == "-" {
        eprintln!("{stats}");
        return Ok(());
    }
    std::fs::write(target, stats + "\n").with_context(|| format!("failed to write {target}"))
}

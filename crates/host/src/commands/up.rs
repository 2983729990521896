//! `host up`: the manifest's schedule, as Spin's cron trigger follows it. Runs that outlast their
//! interval overlap with the next, because they do in Spin.

use super::{AppArgs, remark_on};
use crate::{App, Output, Schedule, Trigger};
use anyhow::{Result, ensure};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinSet;

/// Waiting is cut into pieces, so that a machine that slept, or whose clock was set, is noticed.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Run the component on the manifest's cron_expression until Ctrl-C.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    app: AppArgs,
    /// End after this many runs.
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
}

/// Follows the schedule.
pub async fn execute(args: Args) -> Result<ExitCode> {
    let app = Arc::new(args.app.load()?);
    let schedules = app.schedules()?;
    ensure!(!schedules.is_empty(), "the manifest has no [[trigger.cron]]; try `host run --once`");
    tokio::select! {
        () = follow(app, &schedules, args.runs) => {}
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            eprintln!("host: interrupted; runs under way are ended");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts a run at each due second; returns when `runs` of them have ended, or none is due any more.
async fn follow(app: Arc<App>, schedules: &[Schedule], runs: Option<u64>) {
    let mut under_way = JoinSet::new();
    let mut last = SystemTime::now();
    for _ in 0..runs.unwrap_or(u64::MAX) {
        // From now, not from the last due second: what was missed asleep is not made up for.
        let from = last.max(SystemTime::now());
        let Some(due) = schedules.iter().filter_map(|schedule| schedule.next_after(from)).min()
        else {
            eprintln!("host: the schedule has no further date");
            break;
        };
        wait_until(due).await;
        last = due;
        under_way.spawn(run(Arc::clone(&app), due));
        // Only forgets the ones that are over.
        while under_way.try_join_next().is_some() {}
    }
    under_way.join_all().await;
}

async fn run(app: Arc<App>, due: SystemTime) {
    let timestamp = due.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    match app.run(Trigger::Cron { timestamp }, Output::Inherited).await {
        Ok(run) => remark_on(&run),
        Err(error) => eprintln!("host: {error:#}"),
    }
}

async fn wait_until(due: SystemTime) {
    while let Ok(left) = due.duration_since(SystemTime::now()) {
        tokio::time::sleep(left.min(WAIT_MAX)).await;
        if left.is_zero() {
            break;
        }
    }
}

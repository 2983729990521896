//! `cargo xtask simulate`: bad days by the thousand, from one number each. Owns only how the simulation is built.

use crate::tools::cargo;
use anyhow::{Context, Result, ensure};

/// Play core's real logic through bad days, and hold it against what is promised.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where it comes first, a request carries three items, so that small worlds meet what takes several.
    #[arg(long)]
    small_requests: bool,
    /// Of the simulation itself: `--seeds N --from N --jobs 2 --only lists,kv,rules --days D`, `--defects`, `--tell
    /// SEED`, `--replay FILE`, `--help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

pub(crate) fn execute(args: Args) -> Result<()> {
    let small = args.small_requests;
    let args: Vec<_> = args.args.iter().map(String::as_str).collect();
    let features: &[&str] = if small { &["--features", "small-requests"] } else { &[] };
    run(features, &args)
}

/// The profile of the simulation, and of nothing else.
const SIMULATED: &str = "simulated";

/// Builds the simulation and plays what is asked for.
pub(crate) fn play(args: &[&str]) -> Result<()> {
    run(&[], args)
}

fn run(features: &[&str], args: &[&str]) -> Result<()> {
    let mut command = cargo("run");
    command.args(["--locked", "--quiet", "--profile", SIMULATED, "--package", "simulation"]);
    command.args(features).arg("--").args(args);
    let status = command.status().context("failed to start cargo")?;
    ensure!(status.success(), "the simulation failed ({status}); the story is above");
    Ok(())
}

//! `host`: runs a Spin application's component without Spin. Owns only the choice of the command.

use anyhow::Result;
use clap::{Parser, Subcommand};
use host::commands::{run, up};
use std::process::ExitCode;
use tokio::runtime::{Builder, Runtime};

/// Runs the component of a spin.toml as Spin would: a stand-in for `spin up` in tests, demo and bench.
///
/// Variables come from the environment, SPIN_VARIABLE_<NAME> for variable <name>. stdout is the
/// component's and nothing else. What runs for good is Spin; what looks and explains is the tool
/// `edge-sync` (cargo run -p edge-sync -- doctor). All three share one state in one directory.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Up(up::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = runtime().map_err(Into::into).and_then(|runtime| {
        let result = runtime.block_on(execute(cli.command));
        // A name being looked up, or a run that computes, must not hold up the end.
        runtime.shutdown_background();
        result
    });
    result.unwrap_or_else(|error| {
        eprintln!("host: {error:#}");
        ExitCode::FAILURE
    })
}

/// One thread for the component, one for its connections: more would be idle, each with memory of its own.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

async fn execute(command: Command) -> Result<ExitCode> {
    match command {
        Command::Run(args) => run::execute(args).await,
        Command::Up(args) => up::execute(args).await,
    }
}

//! `host`: runs a Spin application's component without Spin, and looks after it. Owns only the choice
//! of the command.

use anyhow::Result;
use clap::{Parser, Subcommand};
use host::commands::{doctor, plan, run, setup, up, why};
use std::process::ExitCode;
use tokio::runtime::Runtime;

/// Runs the component of a spin.toml as Spin would.
///
/// Variables come from the environment, SPIN_VARIABLE_<NAME> for variable <name>. stdout is the
/// component's and nothing else; `setup` prints what it would do there.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Setup(setup::Args),
    Up(up::Args),
    Plan(plan::Args),
    Why(why::Args),
    Doctor(doctor::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = Runtime::new().map_err(Into::into).and_then(|runtime| {
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

async fn execute(command: Command) -> Result<ExitCode> {
    match command {
        Command::Run(args) => run::execute(args).await,
        Command::Setup(args) => setup::execute(args).await,
        Command::Up(args) => up::execute(args).await,
        Command::Plan(args) => plan::execute(args).await,
        Command::Why(args) => why::execute(args).await,
        Command::Doctor(args) => doctor::execute(args).await,
    }
}

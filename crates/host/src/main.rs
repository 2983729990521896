//! `host`: runs a Spin application's component without Spin. Owns only the choice of the command.

use clap::{Parser, Subcommand};
use host::commands::{run, up};
use std::process::ExitCode;

/// Runs the component of a spin.toml as Spin would.
///
/// Variables come from the environment, SPIN_VARIABLE_<NAME> for variable <name>. stdout is the
/// component's and nothing else.
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

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::execute(args).await,
        Command::Up(args) => up::execute(args).await,
    };
    result.unwrap_or_else(|error| {
        eprintln!("host: {error:#}");
        ExitCode::FAILURE
    })
}

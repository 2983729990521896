//! `edge-sync`: sets up, checks and explains. Owns only the choice of the command.

use anyhow::Result;
use clap::{Parser, Subcommand};
use edge_sync::commands::{complain, doctor, plan, setup, status, why};
use std::process::ExitCode;
use tokio::runtime::Runtime;

/// Sets up, checks and explains a crowdsec-edge-sync, wherever the component itself runs.
///
/// Settings come from the environment, SPIN_VARIABLE_<NAME> for variable <name> of spin.toml, as for Spin.
/// What runs remember is read where they keep it: in .spin beside the manifest, in --state-dir, or where
/// --runtime-config-file says.
#[derive(Parser)]
#[command(name = "edge-sync", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Setup(setup::Args),
    Doctor(doctor::Args),
    Plan(plan::Args),
    Why(why::Args),
    Status(status::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = Runtime::new().map_err(Into::into).and_then(|runtime| {
        let result = runtime.block_on(execute(cli.command));
        // A name that is still being looked up must not hold up the end.
        runtime.shutdown_background();
        result
    });
    result.unwrap_or_else(|error| {
        complain(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

async fn execute(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup(args) => setup::execute(args).await,
        Command::Doctor(args) => doctor::execute(args).await,
        Command::Plan(args) => plan::execute(args).await,
        Command::Why(args) => why::execute(args).await,
        Command::Status(args) => status::execute(args),
    }
}

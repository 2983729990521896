//! `cargo xtask`: the project's own commands, a module each. Owns only the choice of the command.

mod bench;
mod build;
mod debian;
mod demo;
mod progress;
mod setup;
mod test;
mod toolchain;
mod tools;
mod workspace;
mod world;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Builds and checks crowdsec-edge-sync.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Setup(setup::Args),
    Build(build::Args),
    Demo(demo::Args),
    Test(test::Args),
    Bench(bench::Args),
    #[command(hide = true)]
    Account(bench::AccountArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup(args) => setup::execute(args),
        Command::Build(args) => build::execute(args),
        Command::Demo(args) => demo::execute(args),
        Command::Test(args) => test::execute(args),
        Command::Bench(args) => bench::execute(args),
        Command::Account(args) => bench::account(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

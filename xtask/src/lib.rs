//! `cargo xtask`: the project's own commands, a module each. Owns only the choice of the command.
//!
//! A library only so that the end-to-end tests can run what [`dist`] packs.

mod bench;
mod build;
mod cargo_build;
mod cargo_test;
mod clippy;
mod debian;
mod demo;
pub mod dist;
mod durations;
#[cfg(test)]
mod features;
mod progress;
mod quiet;
mod remap;
mod setup;
mod simulate;
mod strip;
mod tally;
mod test;
mod toolchain;
mod tools;
mod workspace;
mod world;

pub use build::SIZE_BYTES_MAX;

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
    Simulate(simulate::Args),
    Dist(dist::Args),
    #[command(hide = true)]
    Account(bench::AccountArgs),
}

/// Does what the command line says.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        // It says itself what failed: its last line is the sum.
        Command::Test(args) => return test::execute(args),
        Command::Setup(args) => setup::execute(args),
        Command::Build(args) => build::execute(args),
        Command::Demo(args) => demo::execute(args),
        Command::Bench(args) => bench::execute(args),
        Command::Simulate(args) => simulate::execute(args),
        Command::Dist(args) => dist::execute(args),
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

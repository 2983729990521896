//! `cargo xtask test`: everything that CI runs, from a fresh checkout on. All of it, also when something fails;
//! the last line is the sum.

use crate::clippy::Clippy;
use crate::progress::{loud_step, step};
use crate::tally::Tally;
use crate::toolchain::Toolchain;
use crate::tools::{self, Tools, cargo};
use crate::{build, cargo_build, cargo_test, demo, setup, simulate, workspace};
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// Check and test everything, the end-to-end tests included.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave out formatting, lints and habits.
    #[arg(long)]
    no_lints: bool,
}

/// The component's own package. It has no tests: it is built for its own target, and linted there.
const COMPONENT: &str = "crowdsec-edge-sync";

/// What the property tests make their cases from.
const PROPTEST_SEED: &str = "PROPTEST_RNG_SEED";

/// Packages with Wasmtime in them. Their tests are built by themselves, with the features that `demo` and
/// `cargo run -p host` build them with: beside the other packages' test libraries they would have others, and
/// Wasmtime would be compiled again.
const WITH_WASMTIME: [&str; 2] = ["host", "end-to-end"];

pub(crate) fn execute(args: Args) -> ExitCode {
    let began = Instant::now();
    let mut tally = Tally::default();
    let clippy = if args.no_lints { None } else { checks(&mut tally) };

    // Before the tests: the end-to-end ones need the component, and setup may take a while.
    tally.step("component", build::execute(build::Args {}));
    let mut warnings = 0;
    let with_wasmtime = WITH_WASMTIME.iter().flat_map(|package| ["--package", package]);
    let without = WITH_WASMTIME.iter().chain([&COMPONENT]);
    let without = without.flat_map(|package| ["--exclude", package]);
    let suites = [
        ("tests", ["--workspace"].into_iter().chain(without).collect()),
        ("end-to-end tests", with_wasmtime.collect()),
    ];
    for (name, packages) in suites {
        let packages: Vec<&str> = packages;
        warnings += suite(&mut tally, name, &packages, clippy.as_ref());
    }
    // Bad days that no test was written for; the seeds are the same each time, so that a failure can be met again.
    tally.step("simulation", loud_step("simulation", || simulate::play(&["--seeds", "10000"])));
    // The README's first command; nothing else would tell that it has stopped to work.
    let component = workspace::root().join(workspace::COMPONENT);
    tally.step("demo", loud_step("demo", || demo::play(&component, &Tools::built(tools::PROFILE))));
    if let Some(clippy) = &clippy {
        tally.step("lints", lints(clippy, warnings));
    }
    eprintln!("took {}", crate::durations::spoken(began.elapsed()));
    println!("{}", tally.text());
    if tally.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What needs no compiler; and clippy, if there is one.
fn checks(tally: &mut Tally) -> Option<Clippy> {
    let habits = "habits: every member inherits the workspace's lints";
    tally.step("habits", step(habits, members_inherit_lints));
    tally.step(
        "formatting",
        loud_step("formatting", || succeeds(cargo("fmt").args(["--all", "--check"]))),
    );
    if is_installed("cargo-deny") {
        let deny = ["deny", "--offline", "check", "bans", "licenses", "sources"];
        tally.step("deny", loud_step("deny", || succeeds(Command::new("cargo").args(deny))));
    }
    match Clippy::find() {
        Ok(clippy) => Some(clippy),
        Err(error) => {
            tally.step("lints", Err(error));
            None
        }
    }
}

/// Builds and runs the tests of some packages; gives the number of warnings.
fn suite(tally: &mut Tally, name: &str, packages: &[&str], clippy: Option<&Clippy>) -> usize {
    let command = || {
        let mut cargo = cargo("test");
        cargo.args(["--locked", "--profile", tools::PROFILE]).args(packages);
        // The same cases each time, so that what fails can be met again, and fails for whoever changed something.
        // `cargo test` by itself tries others, and the variable any.
        if std::env::var_os(PROPTEST_SEED).is_none() {
            cargo.env(PROPTEST_SEED, "2");
        }
        if let Some(clippy) = clippy {
            clippy.compile_by(&mut cargo);
        }
        cargo
    };
    let what = format!("building the {name}");
    let crates = tools::crates(packages);
    let warnings = match cargo_build::run(&what, command().arg("--no-run"), crates) {
        Ok(warnings) => warnings,
        Err(error) => {
            tally.step(name, Err(error));
            return 0;
        }
    };
    match loud_step(name, || cargo_test::run(&mut command())) {
        Ok(counts) => tally.tests(counts.passed, counts.skipped, counts.failed),
        Err(error) => tally.step(name, Err(error)),
    }
    warnings
}

/// The component's own lints, which no test build has seen, and the sum of all.
fn lints(clippy: &Clippy, warnings: usize) -> Result<()> {
    let toolchain = setup::ready()?;
    let mut check = match toolchain {
        Toolchain::Installed => {
            // The component's profile, whose macros are compiled.
            let mut cargo = toolchain.cargo("check", &toolchain.sources()?)?;
            cargo.arg("--release");
            cargo
        }
        // Debian's Rust has another clippy, or none.
        Toolchain::Debian { .. } => cargo("check"),
    };
    clippy.compile_by(check.args(["--locked", "--package", COMPONENT]));
    let warnings = warnings + cargo_build::run("lints of the component", &mut check, None)?;
    // No number: a crate that is in both builds has its warnings counted twice.
    ensure!(warnings == 0, "there are warnings, printed above where they were met");
    Ok(())
}

/// Whether the shell would find this program.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn succeeds(command: &mut Command) -> Result<()> {
    let status = command.status();
    let status = status.with_context(|| format!("failed to start {command:?}"))?;
    ensure!(status.success(), "ended with {status}; the reasons are above");
    Ok(())
}

/// A member that forgets the line is not linted at all, and nothing else would tell.
fn members_inherit_lints() -> Result<()> {
    for member in members()? {
        let manifest = std::fs::read_to_string(member.join("Cargo.toml"))?;
        ensure!(
            manifest.contains("[lints]\nworkspace = true") || manifest.contains("[lints.rust]"),
            "{}: no `[lints] workspace = true`",
            member.display()
        );
    }
    Ok(())
}

fn members() -> Result<Vec<PathBuf>> {
    let output = cargo("metadata").args(["--no-deps", "--format-version", "1"]).output()?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let manifests = packages.iter().filter_map(|package| package["manifest_path"].as_str());
    Ok(manifests
        .filter_map(|manifest| PathBuf::from(manifest).parent().map(PathBuf::from))
        .filter(|folder| folder.starts_with(workspace::root()))
        .collect())
}

//! `cargo xtask test`: everything that CI runs, from a fresh checkout on.

use crate::progress::step;
use crate::tools::{PROFILE, Tools, cargo};
use crate::{build, demo, workspace};
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// Check and test everything, the end-to-end tests included.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave out formatting, lints and habits.
    #[arg(long)]
    no_lints: bool,
}

pub(crate) fn execute(args: Args) -> Result<()> {
    let began = Instant::now();
    if !args.no_lints {
        step("habits: every member inherits the workspace's lints", members_inherit_lints)?;
        run("formatting", cargo("fmt").args(["--all", "--check"]))?;
    }
    // Before the tests: the end-to-end ones need the component, and setup may take a while.
    step("component", || build::execute(build::Args {}))?;
    run("tests", cargo("test").args(["--workspace", "--profile", PROFILE]))?;
    // The README's first command; nothing else would tell that it has stopped to work.
    eprintln!("demo …");
    demo::play(&workspace::root().join(workspace::COMPONENT), &Tools::built())?;
    if !args.no_lints {
        let lints = ["--workspace", "--all-targets", "--profile", PROFILE, "--quiet", "--"];
        run("lints", cargo("clippy").args(lints).args(["-D", "warnings"]))?;
    }
    eprintln!("everything passed in {} s", began.elapsed().as_secs());
    Ok(())
}

fn run(what: &str, command: &mut Command) -> Result<()> {
    eprintln!("{what} …");
    let status = command.status().with_context(|| format!("failed to start {command:?}"))?;
    ensure!(status.success(), "{what}: failed ({status}); the reasons are above");
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

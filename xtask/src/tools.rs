//! The project's own programs, built for this machine: `host` and `simulator`.

use crate::cargo_build;
use crate::workspace::{root, target_dir};
use anyhow::Result;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

/// The profile of everything that runs here but the bench: cargo's own default, so that `demo`, the tests and
/// `cargo run -p host` share what is compiled, Wasmtime above all.
pub(crate) const PROFILE: &str = "dev";

/// The profile of what is measured.
pub(crate) const MEASURED: &str = "measured";

/// The programs, built.
pub(crate) struct Tools {
    pub(crate) host: PathBuf,
    pub(crate) simulator: PathBuf,
}

impl Tools {
    pub(crate) fn build(profile: &str) -> Result<Self> {
        let packages = ["--package", "host", "--package", "simulator"];
        let mut cargo = cargo("build");
        cargo.args(["--locked", "--profile", profile]).args(packages);
        let what = match profile {
            MEASURED => "building host and simulator, optimised",
            _ => "building host and simulator",
        };
        let edges = ["--edges", "normal,build"];
        cargo_build::run(what, &mut cargo, crates(&[&packages[..], &edges].concat()))?;
        Ok(Self::built(profile))
    }

    /// As whatever built them last has left them: each package's tests build its program too.
    pub(crate) fn built(profile: &str) -> Self {
        // Cargo's one exception to "the folder has the profile's name".
        let folder = target_dir().join(if profile == "dev" { "debug" } else { profile });
        let program = |name: &str| folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        Self { host: program("host"), simulator: program("simulator") }
    }
}

/// How many crates a build consists of, by the arguments that choose its packages. None if cargo does not say:
/// it is for a person's eyes only.
pub(crate) fn crates(packages: &[&str]) -> Option<usize> {
    let mut cargo = cargo("tree");
    cargo.args(["--locked", "--prefix", "none", "--format", "{p}"]).args(packages);
    let output = cargo.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    // A crate that was shown before has a mark behind it.
    let names = text.lines().filter_map(|line| line.split(" (*)").next());
    Some(names.filter(|name| !name.is_empty()).collect::<BTreeSet<_>>().len())
}

/// `cargo COMMAND` with the current Rust, in this workspace and its target directory.
pub(crate) fn cargo(command: &str) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).arg(command).env("CARGO_TARGET_DIR", target_dir());
    cargo
}

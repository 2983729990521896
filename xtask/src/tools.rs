//! The project's own programs, built for this machine: `host` and `simulator`.

use crate::progress::step;
use crate::workspace::{root, target_dir};
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The profile of everything that runs here: optimised, and the same for all commands, so that
/// Wasmtime is compiled once.
pub(crate) const PROFILE: &str = "tools";

/// The programs, built.
pub(crate) struct Tools {
    pub(crate) host: PathBuf,
    pub(crate) simulator: PathBuf,
}

impl Tools {
    pub(crate) fn build() -> Result<Self> {
        step("building host and simulator (minutes the first time, seconds after)", || {
            let mut cargo = cargo("build");
            cargo.args(["--profile", PROFILE, "--package", "host", "--package", "simulator"]);
            cargo.arg("--quiet").stdin(Stdio::null());
            let status = cargo.status().context("failed to start cargo")?;
            ensure!(status.success(), "host and simulator do not build ({status})");
            Ok(())
        })?;
        Ok(Self::built())
    }

    /// As whatever built the workspace last has left them: `cargo test --workspace` builds them for its
    /// own tests, with features that a build of the two alone would compile Wasmtime again for.
    pub(crate) fn built() -> Self {
        let folder = target_dir().join(PROFILE);
        let program = |name: &str| folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        Self { host: program("host"), simulator: program("simulator") }
    }
}

/// `cargo COMMAND` with the current Rust, in this workspace and its target directory.
pub(crate) fn cargo(command: &str) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).arg(command).env("CARGO_TARGET_DIR", target_dir());
    cargo
}

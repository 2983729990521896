//! Lints without a second compile. Clippy is the compiler with lints: where it compiles the workspace's own
//! crates for the tests, nothing has to be checked again, and the crates of others stay as they are.

use crate::toolchain::print;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Clippy, found.
#[derive(Debug)]
pub(crate) struct Clippy {
    driver: PathBuf,
}

impl Clippy {
    /// That of the current Rust.
    pub(crate) fn find() -> Result<Self> {
        let name = format!("clippy-driver{}", std::env::consts::EXE_SUFFIX);
        let beside_rustc = PathBuf::from(print("sysroot", &[])?).join("bin").join(&name);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path = std::env::split_paths(&path).map(|folder| folder.join(&name));
        let found = std::iter::once(beside_rustc).chain(on_path).find(|driver| starts(driver));
        match found {
            Some(driver) => Ok(Self { driver }),
            None => bail!("clippy is missing; `rustup component add clippy` adds it"),
        }
    }

    /// Makes it the compiler of the workspace's crates, as `cargo clippy` does for `cargo check`.
    pub(crate) fn compile_by(&self, cargo: &mut Command) {
        cargo.env("RUSTC_WORKSPACE_WRAPPER", &self.driver);
    }
}

/// rustup has a program of every name, of which some only say that the component is missing.
fn starts(driver: &Path) -> bool {
    let output = Command::new(driver).arg("--version").output();
    output.is_ok_and(|output| output.status.success())
}

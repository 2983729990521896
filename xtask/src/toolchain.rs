//! The compilers that can build for wasm32-wasip2, and whether this machine has one. Looks, but does
//! not install: that is `setup` and `debian`.

use crate::debian;
use crate::remap::{self, Sources};
use crate::workspace::root;
use anyhow::{Context, Result, bail, ensure};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const TARGET: &str = "wasm32-wasip2";

/// The environment variable that chooses a toolchain, so that both can be tried on one machine.
pub(crate) const CHOICE: &str = "EDGE_SYNC_TOOLCHAIN";

/// Which toolchain may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// rustup's, and Debian's where that cannot be had.
    Any,
    /// rustup's: nothing of Debian's is installed.
    Rustup,
    /// Debian's, also where rustup's is there.
    Debian,
}

impl Choice {
    /// As the environment says.
    pub(crate) fn of_environment() -> Result<Self> {
        Self::parse(std::env::var_os(CHOICE).unwrap_or_default().as_os_str())
    }

    fn parse(value: &OsStr) -> Result<Self> {
        match value.to_str() {
            Some("") => Ok(Choice::Any),
            Some("rustup") => Ok(Choice::Rustup),
            Some("debian") => Ok(Choice::Debian),
            _ => bail!("{CHOICE} is {value:?}; it can be `rustup`, `debian` or nothing"),
        }
    }

    pub(crate) fn allows_rustup(self) -> bool {
        self != Choice::Debian
    }

    pub(crate) fn allows_debian(self) -> bool {
        self != Choice::Rustup
    }
}

/// A way to build the component.
#[derive(Debug)]
pub(crate) enum Toolchain {
    /// The current Rust has the target's standard library (`rustup target add`).
    Installed,
    /// Debian's Rust builds the standard library from its source and links with the current Rust's
    /// linkers, in these folders.
    Debian { linkers: Vec<PathBuf> },
}

impl Toolchain {
    /// What this machine has now, of what may be used. Quick: looks at a few paths.
    pub(crate) fn find() -> Result<Option<Self>> {
        let choice = Choice::of_environment()?;
        if choice.allows_rustup() && is_installed(TARGET)? {
            return Ok(Some(Toolchain::Installed));
        }
        if choice.allows_debian()
            && debian::missing().is_empty()
            && let Ok(linkers) = linkers()
        {
            return Ok(Some(Toolchain::Debian { linkers }));
        }
        Ok(None)
    }

    /// Where a build of this checkout finds its sources.
    pub(crate) fn sources(&self) -> Result<Sources> {
        let sysroot = match self {
            Toolchain::Installed => PathBuf::from(print("sysroot", &[])?),
            Toolchain::Debian { .. } => PathBuf::from(debian::SYSROOT),
        };
        Ok(Sources { root: root().to_owned(), cargo_home: remap::cargo_home(), sysroot })
    }

    /// What the compiler calls itself.
    pub(crate) fn version(&self) -> Result<String> {
        let rustc = match self {
            Toolchain::Installed => "rustc",
            Toolchain::Debian { .. } => debian::RUSTC,
        };
        let output = Command::new(rustc).arg("--version").current_dir(root()).output();
        let output = output.with_context(|| format!("failed to start {rustc}"))?;
        ensure!(output.status.success(), "{rustc} --version: {}", output.status);
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// `cargo COMMAND` on these sources for the component's target, with the checkout's own `target`; the
    /// caller adds what to build.
    pub(crate) fn cargo(&self, command: &str, sources: &Sources) -> Result<Command> {
        let mut cargo = match self {
            // Cargo tells its subcommands which cargo they run under.
            Toolchain::Installed => {
                Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
            }
            Toolchain::Debian { linkers } => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                let path = std::env::join_paths(
                    linkers.iter().cloned().chain(std::env::split_paths(&path)),
                )?;
                let mut cargo = Command::new(debian::CARGO);
                // Not rustup's: this xtask runs under it, and it would choose the compiler.
                for name in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTDOC"] {
                    cargo.env_remove(name);
                }
                // RUSTC_BOOTSTRAP: building the standard library is an unstable option of a compiler
                // that is otherwise the stable one.
                cargo.env("PATH", path).env("RUSTC", debian::RUSTC).env("RUSTC_BOOTSTRAP", "1");
                cargo
            }
        };
        cargo.current_dir(&sources.root).args([command, "--target", TARGET, "--target-dir"]);
        cargo.arg(sources.root.join("target")).env("CARGO_HOME", &sources.cargo_home);
        cargo.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", sources.rustflags());
        if let Toolchain::Debian { .. } = self {
            cargo.arg("-Zbuild-std=std,panic_abort");
        }
        Ok(cargo)
    }
}

/// The folders of the current Rust that hold `wasm-component-ld` and the `wasm-ld` that it calls.
/// Debian has neither.
pub(crate) fn linkers() -> Result<Vec<PathBuf>> {
    let bin = PathBuf::from(print("sysroot", &[])?)
        .join("lib/rustlib")
        .join(print("host-tuple", &[])?)
        .join("bin");
    let folders = vec![bin.clone(), bin.join("gcc-ld")];
    for (folder, linker) in folders.iter().zip(["wasm-component-ld", "wasm-ld"]) {
        let linker = folder.join(linker);
        ensure!(linker.exists(), "{} is missing; a Rust from rustup has it", linker.display());
    }
    Ok(folders)
}

/// The target of programs for this machine's processor that run on any Linux. Elsewhere it is this machine's own.
pub(crate) fn musl() -> Result<String> {
    Ok(print("host-tuple", &[])?.replace("-linux-gnu", "-linux-musl"))
}

/// Whether the current Rust can build for this target.
pub(crate) fn is_installed(target: &str) -> Result<bool> {
    Ok(has_standard_library(&print("target-libdir", &["--target", target])?))
}

fn has_standard_library(folder: &str) -> bool {
    let is_std = |name: OsString| {
        name.to_str().is_some_and(|name| name.starts_with("libstd-") && name.ends_with(".rlib"))
    };
    Path::new(folder)
        .read_dir()
        .is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(|e| is_std(e.file_name()))))
}

/// Asks the current Rust.
pub(crate) fn print(what: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new("rustc")
        .args(["--print", what])
        .args(arguments)
        .current_dir(root())
        .output()
        .context("failed to start rustc")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "rustc --print {what}: {}", error.trim());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_cargo_build_escapes_rustup() {
        let linkers = vec![PathBuf::from("/linkers")];
        let toolchain = Toolchain::Debian { linkers };
        let cargo = toolchain.cargo("build", &toolchain.sources().unwrap()).unwrap();
        assert_eq!(cargo.get_program(), debian::CARGO);
        let env = |name: &str| cargo.get_envs().find(|(key, _)| *key == name).unwrap().1;
        assert_eq!(env("RUSTUP_TOOLCHAIN"), None);
        assert_eq!(env("RUSTC").unwrap(), debian::RUSTC);
        assert!(env("PATH").unwrap().to_str().unwrap().starts_with("/linkers"));
        assert!(cargo.get_args().any(|argument| argument == "-Zbuild-std=std,panic_abort"));
    }

    #[test]
    fn choice_of_the_environment_is_one_of_three_or_an_error_that_names_it() {
        for (value, choice) in
            [("", Choice::Any), ("rustup", Choice::Rustup), ("debian", Choice::Debian)]
        {
            assert_eq!(Choice::parse(OsStr::new(value)).unwrap(), choice);
        }
        let error = Choice::parse(OsStr::new("Debian")).unwrap_err().to_string();
        assert!(error.contains(CHOICE) && error.contains("\"Debian\""), "{error}");
        assert!(!Choice::Rustup.allows_debian() && !Choice::Debian.allows_rustup());
        assert!(Choice::Any.allows_debian() && Choice::Any.allows_rustup());
    }

    #[test]
    fn folder_without_std_is_no_target() {
        assert!(!has_standard_library("/nowhere"));
        assert!(!has_standard_library(env!("CARGO_MANIFEST_DIR")));
    }
}

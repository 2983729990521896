//! The tool `edge-sync` as it is released: one program in an archive of its own, so that setting up and looking need
//! no Rust. With musl it runs on any Linux of its processor; where that cannot be built here, it is this machine's.

use super::archive::File;
use super::crates::Crates;
use super::{Artefact, NOTICES, archive, notices};
use crate::remap::{self, Sources};
use crate::toolchain::print;
use crate::{cargo_build, tools};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "edge-sync";

/// The program, built.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) target: String,
    pub(super) program: PathBuf,
}

/// Where the current Rust finds the sources of this checkout. Not the component's: that may be Debian's.
pub(super) fn sources(root: &Path) -> Result<Sources> {
    let sysroot = PathBuf::from(print("sysroot", &[])?);
    Ok(Sources { root: root.to_owned(), cargo_home: remap::cargo_home(), sysroot })
}

/// Builds it from these sources.
pub(super) fn build(what: &str, sources: &Sources) -> Result<Tool> {
    let target = target()?;
    let target_dir = sources.root.join("target");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&sources.root).args(["build", "--release", "--locked"]);
    cargo.args(["--package", PACKAGE, "--target", &target, "--target-dir"]).arg(&target_dir);
    cargo.env("CARGO_HOME", &sources.cargo_home);
    cargo.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", sources.remaps());
    let edges = ["--package", PACKAGE, "--target", &target, "--edges", "normal,build"];
    cargo_build::run(what, &mut cargo, tools::crates(&edges))?;
    let program = target_dir.join(&target).join("release").join(PACKAGE);
    ensure!(program.exists(), "cargo did not make {}", program.display());
    Ok(Tool { target, program })
}

/// musl of this processor, if its standard library and a C compiler for it are there (SQLite is C); else this machine's own.
fn target() -> Result<String> {
    let own = print("host-tuple", &[])?;
    let musl = own.replace("-linux-gnu", "-linux-musl");
    let libraries = PathBuf::from(print("target-libdir", &["--target", &musl])?);
    let has_compiler = Command::new("musl-gcc").arg("--version").output().is_ok();
    Ok(if musl != own && libraries.exists() && has_compiler { musl } else { own })
}

/// Its archive.
pub(super) fn artefact(
    tool: &Tool,
    licence: &File,
    version: &str,
    seconds: u64,
) -> Result<Artefact> {
    let program = std::fs::read(&tool.program)
        .with_context(|| format!("failed to read {}", tool.program.display()))?;
    let crates = Crates::of(PACKAGE, &tool.target)?;
    let files = vec![
        File { executable: true, ..File::new(PACKAGE, program) },
        licence.clone(),
        File::new(NOTICES, notices::text(&crates, PACKAGE)?),
    ];
    let folder = format!("{PACKAGE}-{version}");
    Ok(Artefact {
        name: format!("{folder}-{}.tar.gz", tool.target),
        bytes: archive::tar_gz(&folder, files, seconds)?,
    })
}

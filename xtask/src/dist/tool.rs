//! The tool `edge-sync` as it is released: one program in an archive of its own, so that setting up and looking need
//! no Rust, and in an image. With musl it runs on any Linux of its processor; where that cannot be built here, it is
//! this machine's, and so are the libraries in its image.

use super::archive::File;
use super::crates::Crates;
use super::{Artefact, NOTICES, archive, hex, image, libraries, notices, sbom};
use crate::remap::{self, Sources};
use crate::toolchain::{Toolchain, is_installed, musl, print};
use crate::{cargo_build, setup, tools};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) const PACKAGE: &str = "edge-sync";

/// The program, built.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) target: String,
    pub(super) program: PathBuf,
    /// What built it, as it calls itself.
    pub(super) compiler: String,
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
    Ok(Tool { target, program, compiler: Toolchain::Installed.version()? })
}

/// musl of this processor, if its standard library can be had and a C compiler for it is there (SQLite is C); else this
/// machine's own, and a line that says what was missing.
fn target() -> Result<String> {
    let (own, musl) = (print("host-tuple", &[])?, musl()?);
    if musl == own {
        return Ok(own);
    }
    let has_compiler = Command::new("musl-gcc").arg("--version").output().is_ok();
    // Without the compiler it would be of no use.
    if has_compiler && !is_installed(&musl)? {
        setup::add_by_rustup(&musl);
    }
    if has_compiler && is_installed(&musl)? {
        return Ok(musl);
    }
    let missing =
        if has_compiler { "its standard library" } else { "musl-gcc (Debian: musl-tools)" };
    eprintln!(
        "note: {missing} is missing for {musl}: the tool is built for {own}, for machines like this one, and its image \
         has this machine's C library"
    );
    Ok(own)
}

/// Its archive, its parts, and where it can be had its image.
pub(super) fn artefacts(
    tool: &Tool,
    files: &[File],
    version: &str,
    seconds: u64,
) -> Result<Vec<Artefact>> {
    let program = std::fs::read(&tool.program)
        .with_context(|| format!("failed to read {}", tool.program.display()))?;
    let crates = Crates::of(PACKAGE, &tool.target)?;
    let sbom = sbom::json(&crates, &hex(&program), &tool.compiler)?.into_bytes();
    let licence = files.iter().find(|file| file.path == "LICENSE").context("no LICENSE")?;
    let program = File { executable: true, ..File::new(PACKAGE, program) };
    let inside =
        vec![program, licence.clone(), File::new(NOTICES, notices::text(&crates, PACKAGE)?)];
    let folder = format!("{PACKAGE}-{version}");
    let name = |end: &str| format!("{folder}-{}.{end}", tool.target);
    let mut artefacts = vec![
        Artefact {
            name: name("tar.gz"),
            bytes: archive::tar_gz(&folder, inside.clone(), seconds)?,
        },
        Artefact { name: name("cdx.json"), bytes: sbom },
    ];
    let libraries =
        if tool.target.ends_with("-musl") { Ok(Vec::new()) } else { libraries::of(&tool.program) };
    match (image::architecture(&tool.target), libraries) {
        (Some(architecture), Ok(libraries)) => {
            let inside = [inside, libraries].concat();
            let bytes = image::tar(inside, files, architecture, version, seconds)?;
            artefacts.push(Artefact { name: name("oci.tar"), bytes });
        }
        (None, _) => eprintln!("note: no image of the tool is made for {}", tool.target),
        (_, Err(why)) => eprintln!("note: no image of the tool is made: {why:#}"),
    }
    Ok(artefacts)
}

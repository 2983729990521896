//! `cargo xtask dist`: one archive with everything that a user of the component needs and nothing that
//! differs from one machine to the next. Owns what is in it and in which order; how it is compressed,
//! which crates the component is made of and what is said about them are the modules below.

mod archive;
mod check;
mod contents;
mod crates;
mod notices;
mod sbom;
#[cfg(test)]
mod tests;

use crate::toolchain::Toolchain;
use crate::{build, setup, workspace};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Build the component and pack it with its manifests, SBOM and licences, reproducibly.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build it again, elsewhere and from nothing, and compare the bytes (takes minutes).
    #[arg(long)]
    check: bool,
}

/// What the component is called in the archive.
const COMPONENT: &str = "crowdsec_edge_sync.wasm";
/// Its parts, in CycloneDX's format and under the name that its tools look for.
const SBOM: &str = "crowdsec-edge-sync.cdx.json";
/// The licences of others, which ask to go with every copy.
const NOTICES: &str = "THIRD-PARTY-NOTICES.txt";
/// The digests of all other files, for `sha256sum --check`.
const DIGESTS: &str = "SHA256SUMS";

/// An archive that was written.
#[derive(Debug)]
pub struct Packed {
    /// `crowdsec-edge-sync-<version>.tar.gz`.
    pub archive: PathBuf,
    /// Its digest, beside it, for `sha256sum --check`.
    pub digest: PathBuf,
    /// The one folder that everything in the archive is in.
    pub folder: String,
}

pub(crate) fn execute(args: Args) -> Result<()> {
    let toolchain = setup::ready()?;
    let sources = toolchain.sources()?;
    let component = build::component_of("building the component", &toolchain, &sources)?;
    let packed = pack(&component, &workspace::target_dir().join("dist"))?;
    check::names_no_private_path(&component, &sources)?;
    if args.check {
        check::comes_out_the_same(&toolchain, &sources, &packed)?;
    }
    for path in [&packed.archive, &packed.digest] {
        println!("{}", path.strip_prefix(workspace::root()).unwrap_or(path).display());
    }
    if contents::differs_from_commit()? {
        eprintln!("note: the checkout has changes that are in no commit, and so has the archive");
    }
    Ok(())
}

/// Packs this component with what belongs to it, from the checkout that this program was built in, and
/// writes the archive and its digest into a folder.
///
/// The same component and the same checkout give the same bytes. Fails, naming the file, if something
/// is missing, if a manifest names another version or a file that is not packed, and if a crate's licence
/// does not allow this.
pub fn pack(component: &Path, into: &Path) -> Result<Packed> {
    let toolchain = Toolchain::find()?.context("no toolchain; run `cargo xtask setup`")?;
    pack_built_by(&toolchain.version()?, component, into)
}

fn pack_built_by(compiler: &str, component: &Path, into: &Path) -> Result<Packed> {
    let wasm = fs::read(component).with_context(|| {
        format!("failed to read {}; `cargo xtask build` makes it", component.display())
    })?;
    let crates = crates::Crates::of_component()?;
    let mut files = contents::read(&crates.component().version)?;
    files.push(archive::File::new(NOTICES, notices::text(&crates)?));
    let sbom = sbom::json(&crates, &hex(&wasm), compiler)?;
    files.push(archive::File::new(SBOM, sbom));
    files.push(archive::File::new(COMPONENT, wasm));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let digests = files.iter().fold(String::new(), |mut text, file| {
        let _ = writeln!(text, "{}  {}", hex(&file.bytes), file.path);
        text
    });
    files.push(archive::File::new(DIGESTS, digests));

    let component = crates.component();
    let folder = format!("{}-{}", component.name, component.version);
    let bytes = archive::tar_gz(&folder, files, contents::time_seconds()?)?;
    let name = format!("{folder}.tar.gz");
    fs::create_dir_all(into)?;
    let packed =
        Packed { archive: into.join(&name), digest: into.join(format!("{name}.sha256")), folder };
    fs::write(&packed.digest, format!("{}  {name}\n", hex(&bytes)))?;
    fs::write(&packed.archive, bytes)?;
    Ok(packed)
}

/// SHA-256, as `sha256sum` writes it.
fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

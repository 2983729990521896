//! `cargo xtask dist`: everything that is released, and nothing that differs from one machine to the next. Owns
//! which files these are and what is in the archive; their forms, which crates the component is made of and what is
//! said about them are the modules below.

mod archive;
mod check;
mod contents;
mod crates;
mod image;
mod libraries;
mod notices;
mod oci;
mod sbom;
mod spin;
#[cfg(test)]
mod tests;
mod tool;

use crate::toolchain::{TARGET, Toolchain};
use crate::{build, setup, workspace};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Build the component and everything that is released with it, reproducibly.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build it again, elsewhere and from nothing, and compare the bytes (takes minutes).
    #[arg(long)]
    check: bool,
}

/// The component's package.
const PACKAGE: &str = "crowdsec-edge-sync";
/// What the component is called in the archive.
const COMPONENT: &str = "crowdsec_edge_sync.wasm";
/// Its parts, in CycloneDX's format and under the name that its tools look for.
const SBOM: &str = "crowdsec-edge-sync.cdx.json";
/// The licences of others, which ask to go with every copy.
const NOTICES: &str = "THIRD-PARTY-NOTICES.txt";
/// The digests of all other files, for `sha256sum --check`.
const DIGESTS: &str = "SHA256SUMS";

/// A file that is released.
struct Artefact {
    name: String,
    bytes: Vec<u8>,
}

/// What was written, into one folder.
#[derive(Debug)]
pub struct Packed {
    /// `crowdsec-edge-sync-<version>.tar.gz`: the component with its manifests, documents and licences.
    pub archive: PathBuf,
    /// The one folder that everything in the archive is in.
    pub folder: String,
    /// `crowdsec-edge-sync-<version>.oci.tar`: an OCI layout with the application, once for each trigger, by tag.
    pub image: PathBuf,
    /// The application's version, which is the tag of the one for SpinKube.
    pub version: String,
    /// `crowdsec-edge-sync-chart-<version>.tgz`: the Helm chart.
    pub chart: PathBuf,
    /// `edge-sync-<version>-<target>.oci.tar`: an OCI layout with the tool, whose tag is the version; where one
    /// could be made.
    pub tool_image: Option<PathBuf>,
    /// `SHA256SUMS`: the digests of all the others, for `sha256sum --check`.
    pub digests: PathBuf,
    /// All of them.
    pub files: Vec<PathBuf>,
}

pub(crate) fn execute(args: Args) -> Result<()> {
    let toolchain = setup::ready()?;
    let sources = toolchain.sources()?;
    let component = build::component_of("building the component", &toolchain, &sources)?;
    let into = workspace::target_dir().join("dist");
    // What an earlier version left would be published with this one.
    if into.exists() {
        fs::remove_dir_all(&into)?;
    }
    let of_tool = tool::sources(workspace::root())?;
    let tool = tool::build("building the tool edge-sync", &of_tool)?;
    let packed = pack_with(&component, Some(&tool), &into)?;
    check::names_no_private_path(&component, &sources)?;
    check::names_no_private_path(&tool.program, &of_tool)?;
    if let Some(image) = &packed.tool_image {
        check::runs_alone(image)?;
    }
    if args.check {
        check::comes_out_the_same(&toolchain, &sources, &packed)?;
    }
    for path in &packed.files {
        println!("{}", path.strip_prefix(workspace::root()).unwrap_or(path).display());
    }
    if contents::differs_from_commit()? {
        eprintln!("note: the checkout has changes that are in no commit, and so have these files");
    }
    Ok(())
}

/// Packs this component with what belongs to it, from the checkout that this program was built in, and
/// writes all that is released into a folder.
///
/// The same component and the same checkout give the same bytes. Fails, naming the file, if something
/// is missing, if a manifest names another version or a file that is not packed, and if a crate's licence
/// does not allow this.
///
/// Without the tool, whose optimised build takes minutes.
pub fn pack(component: &Path, into: &Path) -> Result<Packed> {
    pack_with(component, None, into)
}

/// The same with this program in the place of the tool, as if it were built for any Linux of an x86-64.
pub fn pack_with_program(component: &Path, program: &Path, into: &Path) -> Result<Packed> {
    let tool = tool::Tool {
        target: "x86_64-unknown-linux-musl".to_owned(),
        program: program.to_owned(),
        compiler: Toolchain::Installed.version()?,
    };
    pack_with(component, Some(&tool), into)
}

fn pack_with(component: &Path, tool: Option<&tool::Tool>, into: &Path) -> Result<Packed> {
    let toolchain = Toolchain::find()?.context("no toolchain; run `cargo xtask setup`")?;
    pack_built_by(&toolchain.version()?, component, tool, into)
}

fn pack_built_by(
    compiler: &str,
    component: &Path,
    tool: Option<&tool::Tool>,
    into: &Path,
) -> Result<Packed> {
    let wasm = fs::read(component).with_context(|| {
        format!("failed to read {}; `cargo xtask build` makes it", component.display())
    })?;
    let crates = crates::Crates::of(PACKAGE, TARGET)?;
    let component = crates.component();
    let (version, folder) =
        (component.version.clone(), format!("{}-{}", component.name, component.version));
    let seconds = contents::time_seconds()?;
    let sources = contents::read(&version)?;
    let sbom = sbom::json(&crates, &hex(&wasm), compiler)?.into_bytes();
    let chart = contents::chart(&sources, &version)?;
    let image = application(&sources, &wasm, seconds)?;
    let tool = tool.map(|tool| tool::artefacts(tool, &sources, &version, seconds));
    let tool = tool.transpose()?.unwrap_or_default();
    let archive =
        archive(sources, &notices::text(&crates, COMPONENT)?, &sbom, &wasm, &folder, seconds)?;
    let [archive_name, image_name, sbom_name] =
        ["tar.gz", "oci.tar", "cdx.json"].map(|end| format!("{folder}.{end}"));
    let chart_name = format!("{}-chart-{version}.tgz", component.name);
    let mut artefacts = vec![
        Artefact {
            bytes: archive::tar_gz(&component.name, chart, seconds)?,
            name: chart_name.clone(),
        },
        Artefact { bytes: archive, name: archive_name.clone() },
        Artefact { bytes: image, name: image_name.clone() },
        Artefact { bytes: sbom, name: sbom_name },
        Artefact { bytes: wasm, name: COMPONENT.to_owned() },
    ];
    artefacts.extend(tool);
    let tool_image = artefacts.iter().map(|one| &one.name).find(|name| {
        name.starts_with(&format!("{}-{version}", tool::PACKAGE)) && name.ends_with(".oci.tar")
    });
    let tool_image = tool_image.map(|name| into.join(name));
    let files = write(into, &artefacts)?;
    Ok(Packed {
        archive: into.join(archive_name),
        folder,
        image: into.join(image_name),
        version,
        chart: into.join(chart_name),
        tool_image,
        digests: into.join(DIGESTS),
        files,
    })
}

/// The archive, with the digest of each file in it.
fn archive(
    mut files: Vec<archive::File>,
    notices: &str,
    sbom: &[u8],
    wasm: &[u8],
    folder: &str,
    seconds: u64,
) -> Result<Vec<u8>> {
    files.push(archive::File::new(NOTICES, notices));
    files.push(archive::File::new(SBOM, sbom));
    files.push(archive::File::new(COMPONENT, wasm));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let digests = digests(files.iter().map(|file| (file.path.as_str(), file.bytes.as_slice())));
    files.push(archive::File::new(DIGESTS, digests));
    archive::tar_gz(folder, files, seconds)
}

/// The application of each manifest.
fn application(files: &[archive::File], wasm: &[u8], seconds: u64) -> Result<Vec<u8>> {
    let mut layout = oci::Layout::default();
    for file in files.iter().filter(|file| file.path.ends_with("spin.toml")) {
        let manifest = std::str::from_utf8(&file.bytes)?;
        spin::add(&mut layout, manifest, wasm, seconds).with_context(|| file.path.clone())?;
    }
    layout.tar(seconds)
}

/// Writes these and their digests.
fn write(into: &Path, artefacts: &[Artefact]) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(into)?;
    let digests = digests(artefacts.iter().map(|one| (one.name.as_str(), one.bytes.as_slice())));
    let mut files = Vec::new();
    let named = artefacts.iter().map(|one| (one.name.as_str(), one.bytes.as_slice()));
    for (name, bytes) in named.chain([(DIGESTS, digests.as_bytes())]) {
        let path = into.join(name);
        fs::write(&path, bytes).with_context(|| format!("failed to write {}", path.display()))?;
        files.push(path);
    }
    Ok(files)
}

/// As `sha256sum` prints them.
fn digests<'a>(files: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    files.fold(String::new(), |mut text, (name, bytes)| {
        let _ = writeln!(text, "{}  {name}", hex(bytes));
        text
    })
}

/// SHA-256, as `sha256sum` writes it.
fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

//! Whether what is released depends on its sources alone: no path of this machine is in what is compiled, another
//! build, elsewhere and from nothing, gives the same bytes, and what is in an image needs nothing else.

use super::{Packed, contents, hex, pack_with, tool};
use crate::build;
use crate::debian::is_root;
use crate::remap::Sources;
use crate::toolchain::Toolchain;
use crate::workspace::{notes_dir, root};
use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use tar::Archive;

/// Where somebody keeps a checkout is nobody else's business, and would change the file.
pub(super) fn names_no_private_path(compiled: &Path, sources: &Sources) -> Result<()> {
    let bytes = fs::read(compiled)?;
    // A path of one name, such as `/src`, is also a part of innocent ones.
    let long = |path: &&Path| path.components().count() > 2;
    for path in sources.private().into_iter().filter(long) {
        let name = path.as_os_str().as_encoded_bytes();
        let is_named = bytes.windows(name.len()).any(|window| window == name);
        let file = compiled.file_name().unwrap_or_default().display();
        ensure!(!is_named, "{file} names {}, a path of this machine", path.display());
    }
    Ok(())
}

/// Runs the program of an image where there is nothing but what is in the image: it starts, and finds the manifest.
///
/// As root by `chroot`; as anybody else in a user namespace, and where that is forbidden too, it says so and lets it be.
pub(super) fn runs_alone(image: &Path) -> Result<()> {
    // Not where temporary files are: programs may not run there.
    fs::create_dir_all(notes_dir())?;
    let folder = tempfile::tempdir_in(notes_dir())?;
    unpack_layer(image, folder.path())?;
    let program = |arguments: &[&str]| {
        let alone = ["--user", "--map-root-user", "chroot"];
        let mut command = Command::new(if is_root() { "chroot" } else { "unshare" });
        command.args(if is_root() { &[][..] } else { &alone[..] });
        command.arg(folder.path()).arg("/edge-sync").args(arguments);
        // Nothing of this machine's settings; and `chroot` is where only root looks.
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let Ok(output) = command.stdin(Stdio::null()).output() else {
            return format!("not there: {}", command.get_program().display());
        };
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned()
    };
    let said = program(&["--version"]);
    let refusals = ["not there: ", "unshare: ", "chroot: cannot change root"];
    if refusals.iter().any(|refusal| said.starts_with(refusal)) {
        eprintln!("note: the tool was not tried in its image: {said}");
        return Ok(());
    }
    let is_version = said.starts_with("edge-sync ");
    ensure!(is_version, "{}: the program does not start: {said}", image.display());
    let said = program(&["doctor"]);
    let has_looked = said.contains("lapi_key");
    ensure!(has_looked, "{}: the program finds no manifest: {said}", image.display());
    Ok(())
}

/// The one layer of the one image of a layout.
fn unpack_layer(image: &Path, into: &Path) -> Result<()> {
    let mut blobs = BTreeMap::new();
    for entry in Archive::new(fs::File::open(image)?).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        blobs.insert(name, bytes);
    }
    let named = |digest: &Value| {
        let digest = digest.as_str().unwrap_or_default().trim_start_matches("sha256:");
        blobs.get(digest).with_context(|| format!("no blob {digest}"))
    };
    let index: Value = serde_json::from_slice(blobs.get("index.json").context("no index")?)?;
    let manifest: Value = serde_json::from_slice(named(&index["manifests"][0]["digest"])?)?;
    let layer = named(&manifest["layers"][0]["digest"])?;
    Archive::new(GzDecoder::new(&**layer)).unpack(into)?;
    Ok(())
}

/// Builds the same sources in another folder, with cargo's home under another name, and compares.
pub(super) fn comes_out_the_same(
    toolchain: &Toolchain,
    sources: &Sources,
    packed: &Packed,
) -> Result<()> {
    let folder = notes_dir().join("built-again-elsewhere");
    // What an earlier check left would not be built again.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let elsewhere = Sources {
        root: folder.join("checkout"),
        cargo_home: folder.join("cargo-home"),
        sysroot: sources.sysroot.clone(),
    };
    copy_checkout(&elsewhere.root).context("failed to copy the checkout")?;
    // A link is enough: cargo and the compiler know it by this name only.
    std::os::unix::fs::symlink(&sources.cargo_home, &elsewhere.cargo_home)?;
    let what = "building the component again, elsewhere";
    let component = build::component_of(what, toolchain, &elsewhere)?;
    let of_tool = Sources {
        root: elsewhere.root,
        cargo_home: elsewhere.cargo_home,
        sysroot: tool::sources(root())?.sysroot,
    };
    let tool = tool::build("building the tool again, elsewhere", &of_tool)?;
    let again = pack_with(&component, Some(&tool), &folder)?;
    for (one, other) in packed.files.iter().zip(&again.files) {
        let (bytes, others) = (fs::read(one)?, fs::read(other)?);
        ensure!(
            bytes == others,
            "built again, it differs: {} and {}; both are kept, {} and {}",
            hex(&bytes),
            hex(&others),
            one.display(),
            other.display()
        );
    }
    fs::remove_dir_all(&folder)?;
    println!("built twice, in two places: {} files with the same bytes", packed.files.len());
    Ok(())
}

/// What git knows, with its present content.
fn copy_checkout(into: &Path) -> Result<()> {
    for path in contents::all_paths()? {
        let (from, to) = (root().join(&path), into.join(&path));
        fs::create_dir_all(to.parent().unwrap_or(into))?;
        fs::copy(&from, &to).with_context(|| path.clone())?;
    }
    Ok(())
}

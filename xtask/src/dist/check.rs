//! Whether what is released depends on its sources alone: no path of this machine is in what is compiled, and
//! another build, elsewhere and from nothing, gives the same bytes.

use super::{Packed, contents, hex, pack_with, tool};
use crate::build;
use crate::remap::Sources;
use crate::toolchain::Toolchain;
use crate::workspace::{notes_dir, root};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;

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

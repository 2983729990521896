//! Where things are. Paths of the workspace and nothing else.

use std::path::{Path, PathBuf};

/// The folder of the workspace's `Cargo.toml`.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the workspace")
}

/// The manifest that users deploy.
pub fn manifest() -> PathBuf {
    root().join("spin.toml")
}

/// The built component, at the path that the manifest names.
///
/// Panics, with the way out, if it is not there: the tests must not pass without it.
pub fn component() -> PathBuf {
    let manifest = std::fs::read_to_string(manifest()).expect("spin.toml at the root");
    let manifest: toml::Table = manifest.parse().expect("spin.toml is TOML");
    let source = manifest["component"]["crowdsec-edge-sync"]["source"].as_str();
    let path = root().join(source.expect("the component's source is a file"));
    assert!(path.exists(), "there is no {}: run `cargo xtask build` first", path.display());
    path
}

/// What the tests keep from one run to the next: compiled code and unpacked packages. Always below
/// the workspace's own `target`, whatever `CARGO_TARGET_DIR` says, as the component is.
pub fn cache() -> PathBuf {
    root().join("target/end-to-end")
}

//! Where things are. Paths of the workspace and nothing else.

use std::path::{Path, PathBuf};

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// The target directory, whatever `CARGO_TARGET_DIR` says: `spin.toml` and the documents name the
/// artefact below it.
pub(crate) fn target_dir() -> PathBuf {
    root().join("target")
}

/// What `build` makes.
pub(crate) fn component() -> PathBuf {
    target_dir().join("wasm32-wasip2/release/crowdsec_edge_sync.wasm")
}

/// xtask's own notes and logs.
pub(crate) fn notes_dir() -> PathBuf {
    target_dir().join("xtask")
}

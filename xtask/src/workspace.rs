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

/// What `build` makes, below the checkout: the path that the manifests name.
pub(crate) const COMPONENT: &str = "target/wasm32-wasip2/release/crowdsec_edge_sync.wasm";

/// A folder for the host's `--state-dir`, with compiled code from earlier but nothing remembered: the
/// lease of a demo that was interrupted must not hold up the next one.
pub(crate) fn fresh_state(name: &str) -> PathBuf {
    let folder = notes_dir().join(name);
    for file in ["sqlite_key_value.db", "sqlite_key_value.db-journal"] {
        let _ = std::fs::remove_file(folder.join(file));
    }
    folder
}

/// xtask's own notes and logs.
pub(crate) fn notes_dir() -> PathBuf {
    target_dir().join("xtask")
}

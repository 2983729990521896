//! What the component's compiler is told: which paths of this machine it would leave in the component (in the
//! messages of panics), and what stands there instead. So the same source gives the same file wherever the
//! checkout, cargo's home and the standard library are; `cargo xtask dist --check` proves it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where a build finds its sources.
#[derive(Debug)]
pub(crate) struct Sources {
    /// The checkout: the folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's home, with the crates from the registry.
    pub(crate) cargo_home: PathBuf,
    /// The compiler's home, with the standard library.
    pub(crate) sysroot: PathBuf,
}

/// Four fifths of what opt-level "s" puts in the place of a call: 13 kB more of the component than a fifth, for 5 % less
/// processor time.
const INLINE: &str = "-Cllvm-args=-inline-threshold=40";

/// Numbers of functions and places in memory in as many bytes as they need, and not in five each.
const COMPRESS: &str = "-Clink-arg=--compress-relocations";

impl Sources {
    /// The folders whose paths must not be in the component.
    pub(crate) fn private(&self) -> [&Path; 3] {
        // Not the sysroot as a whole: it may be `/usr`, and a text may begin so.
        [&self.root, &self.cargo_home, Path::new("/usr/src")]
    }

    /// The value of `CARGO_ENCODED_RUSTFLAGS`, which also keeps out what the user's `RUSTFLAGS` says:
    /// it would be in the file.
    pub(crate) fn rustflags(&self) -> OsString {
        let mut flags = OsString::new();
        for flag in [INLINE, COMPRESS] {
            flags.push(flag);
            flags.push("\u{1f}");
        }
        flags.push(self.remaps());
        flags
    }

    /// The same without what is for the component alone.
    pub(crate) fn remaps(&self) -> OsString {
        let mut flags = OsString::new();
        for (from, to) in self.renamed() {
            if !flags.is_empty() {
                flags.push("\u{1f}");
            }
            flags.push("--remap-path-prefix=");
            flags.push(from);
            flags.push("=");
            flags.push(to);
        }
        flags
    }

    /// The last that fits is the one that counts.
    fn renamed(&self) -> Vec<(PathBuf, &'static str)> {
        let std = self.sysroot.join("lib/rustlib/src/rust");
        let mut renamed = vec![(self.root.clone(), "/source"), (self.cargo_home.clone(), "/cargo")];
        // A folder for each registry; the name has a hash of the registry's address, which is another
        // one behind a mirror.
        let registries = self.cargo_home.join("registry/src").read_dir().into_iter().flatten();
        let mut registries: Vec<_> = registries.flatten().map(|entry| entry.path()).collect();
        registries.sort();
        renamed.extend(registries.into_iter().map(|registry| (registry, "/crates")));
        // Debian's is a link, and either end may be what the compiler is given.
        if let Ok(real) = std.canonicalize() {
            renamed.push((real, "/rust"));
        }
        renamed.push((std, "/rust"));
        renamed
    }
}

/// Cargo's home, as cargo finds it.
pub(crate) fn cargo_home() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo"))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn registry_named_by_its_address_is_renamed_after_the_home_that_it_is_in() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let registry = home.join("registry/src/registry.example-0123");
        fs::create_dir_all(&registry).unwrap();
        let sources = Sources {
            root: folder.path().join("checkout"),
            cargo_home: home.clone(),
            sysroot: folder.path().join("rust"),
        };
        let flags = sources.rustflags().into_string().unwrap();
        let flags: Vec<_> = flags.split('\u{1f}').collect();
        let at = |text: String| flags.iter().position(|flag| *flag == text).unwrap();
        let of_home = at(format!("--remap-path-prefix={}=/cargo", home.display()));
        let of_registry = at(format!("--remap-path-prefix={}=/crates", registry.display()));
        assert!(of_home < of_registry, "the last that fits counts: {flags:?}");
    }
}

//! The shared libraries of a program that was built for machines like this one, with their terms, for its image. Only
//! those that every such program has are known: more would be a decision for people.

use super::archive::File;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// How the names of the libraries begin, and the Debian package that each is from.
const KNOWN: [(&str, &str); 5] = [
    ("ld-linux", "libc6"),
    ("libc.so.", "libc6"),
    ("libgcc_s.so.", "libgcc-s1"),
    ("libm.so.", "libc6"),
    ("libpthread.so.", "libc6"),
];

/// Where Debian has the terms of its packages.
const TERMS: &str = "usr/share/doc";

/// The libraries at the paths where this machine has them, the loader among them; and the terms of each.
///
/// Fails, naming what is missing, for any other library, and where the terms are not: without them nothing may be
/// passed on.
pub(super) fn of(program: &Path) -> Result<Vec<File>> {
    let listed = Command::new("ldd").arg(program).output().context("failed to start ldd")?;
    ensure!(
        listed.status.success(),
        "ldd {}: {}",
        program.display(),
        String::from_utf8_lossy(&listed.stderr).trim()
    );
    let mut files = Vec::new();
    let mut packages = BTreeSet::new();
    for path in paths(&String::from_utf8(listed.stdout)?) {
        let name = path.rsplit('/').next().unwrap_or_default();
        let known = KNOWN.iter().find(|(begins, _)| name.starts_with(begins));
        let Some((_, package)) = known else { bail!("it needs {path}, which is not known here") };
        packages.insert(*package);
        files.push(File { executable: true, ..read(path)? });
    }
    for package in packages {
        let terms = read(&format!("/{TERMS}/{package}/copyright"));
        files.push(terms.with_context(|| format!("the terms of {package}"))?);
    }
    Ok(files)
}

/// The files that `ldd` names. What it gives no path for is the kernel's own.
fn paths(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().filter_map(|line| {
        let line = line.split_once("=> ").map_or(line, |(_, path)| path).trim();
        line.split(" (").next().filter(|path| path.starts_with('/'))
    })
}

fn read(path: &str) -> Result<File> {
    let bytes = std::fs::read(path).with_context(|| format!("failed to read {path}"))?;
    Ok(File::new(path.trim_start_matches('/'), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_what_ldd_names_a_path_for() {
        let listed = "\tlinux-vdso.so.1 (0x00007ffd)\n\
             \tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f1)\n\
             \t/lib64/ld-linux-x86-64.so.2 (0x00007f2)\n";
        let found: Vec<_> = paths(listed).collect();
        assert_eq!(found, ["/lib/x86_64-linux-gnu/libgcc_s.so.1", "/lib64/ld-linux-x86-64.so.2"]);
        assert_eq!(paths("\tstatically linked\n").count(), 0);
        let absent = "\tlibx.so.1 => not found\n";
        assert_eq!(paths(absent).count(), 0);
    }

    /// This test is a program like the tool.
    #[test]
    fn libraries_of_a_program_come_with_the_loader_and_their_terms_or_not_at_all() {
        let has_terms = KNOWN.iter().all(|(_, package)| {
            Path::new("/").join(TERMS).join(package).join("copyright").exists()
        });
        let found = of(&std::env::current_exe().unwrap());
        let Ok(files) = found else {
            assert!(!has_terms, "{found:?}");
            return;
        };
        let is_there = |part: &str| files.iter().any(|file| file.path.contains(part));
        for part in ["ld-linux", "libc.so.", "doc/libc6/copyright", "doc/libgcc-s1/copyright"] {
            assert!(is_there(part), "{part}");
        }
        for file in &files {
            assert!(!file.path.starts_with('/') && !file.bytes.is_empty(), "{}", file.path);
            assert_eq!(file.executable, file.path.starts_with("lib"), "{}", file.path);
        }
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let error = of(Path::new("/etc/os-release")).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
}

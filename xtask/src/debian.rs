//! Debian's Rust as a toolchain for wasm32-wasip2, for machines that cannot reach rustup's servers.
//! Its packages hold a compiler, the standard library's source and a libc for wasm, but not the libc
//! where the compiler looks for it: three links make up for that. Owns their names and the steps.

use crate::progress::step;
use crate::quiet;
use crate::toolchain::CHOICE;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) const CARGO: &str = "/usr/bin/cargo";
pub(crate) const RUSTC: &str = "/usr/bin/rustc";
/// Where that compiler has its libraries and their source.
pub(crate) const SYSROOT: &str = "/usr";

/// The `-web` packages are the Rust that Debian keeps new enough for browsers; its plain `rustc` is
/// as old as the release.
const PACKAGES: [&str; 4] = ["rustc-web", "rust-web-src", "cargo-web", "wasi-libc"];

/// The standard library's source, where the compiler looks for it.
const SOURCE: &str = "/usr/lib/rustlib/src/rust/library/std";

const LIBC: &str = "/usr/lib/wasm32-wasi";
const LIBC_EXPECTED: &str = "/usr/lib/rustlib/wasm32-wasip2/lib/self-contained";
const LIBC_FILES: [&str; 3] = ["crt1-command.o", "crt1-reactor.o", "libc.a"];

/// What is not there yet, of what a build needs.
pub(crate) fn missing() -> Vec<PathBuf> {
    [missing_of_packages(), missing_links()].concat()
}

fn missing_of_packages() -> Vec<PathBuf> {
    let libc = LIBC_FILES.map(|file| Path::new(LIBC).join(file));
    let others = [CARGO, RUSTC, SOURCE].map(PathBuf::from);
    others.into_iter().chain(libc).filter(|path| !path.exists()).collect()
}

fn missing_links() -> Vec<PathBuf> {
    let links = LIBC_FILES.map(|file| Path::new(LIBC_EXPECTED).join(file));
    links.into_iter().filter(|path| !path.exists()).collect()
}

/// Whether the packages can be had: Debian, or a system made from it.
pub(crate) fn is_debian() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    is_debian_release(&release) && Path::new("/usr/bin/apt-get").exists()
}

fn is_debian_release(release: &str) -> bool {
    release.lines().any(|line| {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let mut names = value.trim_matches('"').split_whitespace();
        matches!(key, "ID" | "ID_LIKE") && names.any(|name| name == "debian" || name == "ubuntu")
    })
}

/// Whether this process may install packages.
pub(crate) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").stdin(Stdio::null()).output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

/// What [`install`] is about to do to this machine, on one line.
pub(crate) fn announcement() -> String {
    format!(
        "note: now come changes to this machine: apt-get install {}, and three links in {LIBC_EXPECTED}; \
         {CHOICE}=rustup forbids them",
        PACKAGES.join(" ")
    )
}

/// Does what [`commands`] says, as far as it is not done.
pub(crate) fn install() -> Result<()> {
    if !missing_of_packages().is_empty() {
        let apt = |arguments: &[&str]| {
            let mut command = Command::new("apt-get");
            command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
            quiet::run(&mut command, None)
        };
        step("reading Debian's package lists", || apt(&["update"]))?;
        step("installing Debian's Rust and WASI libc", || {
            let install = ["install", "-y", "--no-install-recommends"];
            apt(&[&install[..], &PACKAGES[..]].concat())
        })?;
    }
    let missing = missing_links();
    if missing.is_empty() {
        return Ok(());
    }
    step("linking the WASI libc to where the compiler looks", || {
        fs::create_dir_all(LIBC_EXPECTED)?;
        for link in missing {
            let libc = Path::new(LIBC).join(link.file_name().unwrap_or_default());
            // One that is there but leads nowhere was left by an older package.
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(libc, &link)
                .with_context(|| format!("failed to make {}", link.display()))?;
        }
        Ok(())
    })
}

/// The same for a person to paste.
pub(crate) fn commands() -> String {
    let mut text = format!(
        "sudo apt-get update\n\
         sudo apt-get install -y --no-install-recommends {}\n\
         sudo mkdir -p {LIBC_EXPECTED}\n",
        PACKAGES.join(" ")
    );
    for file in LIBC_FILES {
        let _ = writeln!(text, "sudo ln -sf {LIBC}/{file} {LIBC_EXPECTED}/{file}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_is_debian_for_its_family() {
        for (release, expected) in [
            ("NAME=x\nID=debian\n", true),
            ("ID=ubuntu\nID_LIKE=debian\n", true),
            ("ID=mint\nID_LIKE=\"ubuntu debian\"\n", true),
            ("ID=fedora\n", false),
            ("ID_LIKE=\"rhel fedora\"\nNAME=debian\n", false),
            ("", false),
        ] {
            assert_eq!(is_debian_release(release), expected, "{release:?}");
        }
    }

    #[test]
    fn commands_and_announcement_name_every_package_and_link() {
        let text = commands();
        for part in PACKAGES.into_iter().chain(LIBC_FILES) {
            assert!(text.contains(part), "{part}");
        }
        let announcement = announcement();
        assert_eq!(announcement.lines().count(), 1);
        for part in PACKAGES.into_iter().chain([LIBC_EXPECTED]) {
            assert!(announcement.contains(part), "{part}");
        }
    }
}

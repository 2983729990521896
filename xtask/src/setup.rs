//! `cargo xtask setup`: makes wasm32-wasip2 buildable. rustup's way first; where its servers cannot
//! be reached, Debian's packages, and not before saying so. Does nothing, quickly, where nothing is to do.

use crate::debian;
use crate::progress::step;
use crate::quiet::{self, Patience};
use crate::toolchain::{CHOICE, Choice, TARGET, Toolchain, linkers, musl};
use crate::workspace::{notes_dir, root};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Behind a closed network rustup hangs rather than fails; where it works, this takes seconds, or as long as
/// something arrives.
const RUSTUP_SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long a failure of rustup is remembered: networks come back, and each try costs that minute.
const FAILURE_KEPT: Duration = Duration::from_secs(24 * 3600);

/// Make the component's target buildable on this machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Try rustup again, though it failed before.
    #[arg(long)]
    retry_rustup: bool,
}

pub(crate) fn execute(args: Args) -> Result<()> {
    if args.retry_rustup {
        for target in [TARGET, &musl()?] {
            let _ = fs::remove_file(rustup_failed(target));
        }
    }
    match ready()? {
        Toolchain::Installed => println!("ready: {TARGET} is installed"),
        Toolchain::Debian { .. } => println!("ready: {TARGET} by Debian's Rust"),
    }
    Ok(())
}

/// A toolchain that builds the component, installed now if there was none.
pub(crate) fn ready() -> Result<Toolchain> {
    if let Some(toolchain) = Toolchain::find()? {
        return Ok(toolchain);
    }
    let choice = Choice::of_environment()?;
    if choice.allows_rustup() {
        add_by_rustup(TARGET);
        if let Some(toolchain) = Toolchain::find()? {
            return Ok(toolchain);
        }
    }
    let with_a_connection = format!(
        "{TARGET} is not installed, and rustup could not add it. With a connection to \
         static.rust-lang.org, run:\n\n  rustup target add {TARGET}\n"
    );
    if !choice.allows_debian() {
        bail!(
            "{with_a_connection}\nDebian's packages could build for it; {CHOICE}=rustup forbids them"
        );
    }
    // Before anything is installed that could not be used.
    let linkers = linkers().context("Debian's Rust cannot link for wasm on its own")?;
    if !debian::is_debian() {
        bail!(with_a_connection);
    }
    if !debian::is_root() {
        bail!(
            "{TARGET} is not installed, and rustup could not add it. Debian's packages can build for \
             it; they need root:\n\n{}",
            debian::commands()
        );
    }
    eprintln!("{}", debian::announcement());
    debian::install().with_context(|| {
        format!("failed to install Debian's Rust; the steps were:\n{}", debian::commands())
    })?;
    let missing = debian::missing();
    if !missing.is_empty() {
        bail!("Debian's packages are installed but lack {missing:?}");
    }
    Ok(Toolchain::Debian { linkers })
}

/// Tries to add a target's standard library, once a day for this checkout.
pub(crate) fn add_by_rustup(target: &str) {
    let failed = rustup_failed(target);
    if is_remembered(&failed) {
        let again = "`cargo xtask setup --retry-rustup` tries again";
        eprintln!("rustup failed before to add {target} ({}); {again}", failed.display());
        return;
    }
    let added = step(&format!("adding {target} by rustup"), || {
        let mut rustup = Command::new("rustup");
        rustup.args(["target", "add", target]).current_dir(root());
        let growing = rustup_downloads().into_iter().collect();
        quiet::run(&mut rustup, Some(Patience { limit: RUSTUP_SILENCE_MAX, growing }))
    });
    if let Err(error) = added {
        eprintln!("{error:#}");
        // Not being able to remember only costs the next run its minute.
        let _ = fs::create_dir_all(notes_dir());
        let _ = fs::write(failed, format!("{error:#}\n"));
    }
}

fn rustup_failed(target: &str) -> PathBuf {
    notes_dir().join(format!("rustup-failed-{target}"))
}

/// A time in the future is no reason to try again either: the file is there.
fn is_remembered(failed: &Path) -> bool {
    let age = failed.metadata().and_then(|metadata| metadata.modified());
    age.is_ok_and(|at| at.elapsed().unwrap_or_default() < FAILURE_KEPT)
}

/// Where rustup keeps what has arrived of a download.
fn rustup_downloads() -> Option<PathBuf> {
    let home = std::env::var_os("RUSTUP_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".rustup")));
    home.map(|home| home.join("downloads"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn failure_of_rustup_is_remembered_for_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let failed = folder.path().join("rustup-failed");
        assert!(!is_remembered(&failed));
        let file = fs::File::create(&failed).unwrap();
        assert!(is_remembered(&failed));
        let ago = |age| SystemTime::now() - age;
        file.set_modified(ago(FAILURE_KEPT - Duration::from_secs(60))).unwrap();
        assert!(is_remembered(&failed));
        file.set_modified(ago(FAILURE_KEPT + Duration::from_secs(60))).unwrap();
        assert!(!is_remembered(&failed));
        file.set_modified(SystemTime::now() + FAILURE_KEPT).unwrap();
        assert!(is_remembered(&failed));
    }
}

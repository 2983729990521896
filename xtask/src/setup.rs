//! `cargo xtask setup`: makes wasm32-wasip2 buildable. rustup's way first; where its servers cannot
//! be reached, Debian's packages. Does nothing, quickly, where nothing is to do.

use crate::debian;
use crate::progress::{run_quietly, step};
use crate::toolchain::{TARGET, Toolchain, linkers};
use crate::workspace::{notes_dir, root};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Behind a closed network rustup hangs rather than fails; where it works, this takes seconds.
const RUSTUP_TIME_LIMIT: Duration = Duration::from_secs(60);

/// Make the component's target buildable on this machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Try rustup again, though it failed before.
    #[arg(long)]
    retry_rustup: bool,
}

pub(crate) fn execute(args: Args) -> Result<()> {
    if args.retry_rustup {
        let _ = fs::remove_file(rustup_failed());
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
    add_by_rustup();
    if let Some(toolchain) = Toolchain::find()? {
        return Ok(toolchain);
    }
    // Before anything is installed that could not be used.
    let linkers = linkers().context("Debian's Rust cannot link for wasm on its own")?;
    if !debian::is_debian() {
        bail!(
            "{TARGET} is not installed, and rustup could not add it. With a connection to \
             static.rust-lang.org, run:\n\n  rustup target add {TARGET}\n"
        );
    }
    if !debian::is_root() {
        bail!(
            "{TARGET} is not installed, and rustup could not add it. Debian's packages can build for \
             it; they need root:\n\n{}",
            debian::commands()
        );
    }
    debian::install().with_context(|| {
        format!("failed to install Debian's Rust; the steps were:\n{}", debian::commands())
    })?;
    let missing = debian::missing();
    if !missing.is_empty() {
        bail!("Debian's packages are installed but lack {missing:?}");
    }
    Ok(Toolchain::Debian { linkers })
}

/// Tries, once for this checkout: a failure is remembered, because each costs a minute.
fn add_by_rustup() {
    let failed = rustup_failed();
    if failed.exists() {
        eprintln!("rustup failed before ({}); --retry-rustup tries again", failed.display());
        return;
    }
    let added = step(&format!("adding {TARGET} by rustup"), || {
        let mut rustup = Command::new("rustup");
        rustup.args(["target", "add", TARGET]).current_dir(root());
        run_quietly(&mut rustup, Some(RUSTUP_TIME_LIMIT))
    });
    if let Err(error) = added {
        eprintln!("{error:#}");
        // Not being able to remember only costs the next run its minute.
        let _ = fs::create_dir_all(notes_dir());
        let _ = fs::write(failed, format!("{error:#}\n"));
    }
}

fn rustup_failed() -> PathBuf {
    notes_dir().join("rustup-failed")
}

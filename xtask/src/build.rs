//! `cargo xtask build`: the component, and nothing else, at the path that `spin.toml` names.

use crate::remap::Sources;
use crate::toolchain::{TARGET, Toolchain};
use crate::{cargo_build, setup, strip, tools, workspace};
use anyhow::{Result, ensure};
use std::path::PathBuf;

/// The promise about the file's size: it is pulled by every node that runs it. It holds with rustup's standard
/// library and with Debian's, which differ by some ten thousand.
pub const SIZE_BYTES_MAX: u64 = 1_000_000;

/// Build the component (runs `setup` first).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn execute(Args {}: Args) -> Result<()> {
    let component = component()?;
    let size = component.metadata()?.len();
    let path = component.strip_prefix(workspace::root()).unwrap_or(&component);
    println!("{} ({} bytes, limit {})", path.display(), grouped(size), grouped(SIZE_BYTES_MAX));
    ensure!(
        size <= SIZE_BYTES_MAX,
        "the component has {} bytes, {} over its limit",
        grouped(size),
        grouped(size - SIZE_BYTES_MAX)
    );
    Ok(())
}

/// Builds the component and says where it is.
pub(crate) fn component() -> Result<PathBuf> {
    let toolchain = setup::ready()?;
    component_of("building the component", &toolchain, &toolchain.sources()?)
}

/// Builds the component of any checkout, as a step of this name.
pub(crate) fn component_of(
    what: &str,
    toolchain: &Toolchain,
    sources: &Sources,
) -> Result<PathBuf> {
    let package = ["--package", "crowdsec-edge-sync"];
    let mut cargo = toolchain.cargo("build", sources)?;
    cargo.args(["--release", "--locked"]).args(package);
    let edges = ["--target", TARGET, "--edges", "normal,build"];
    cargo_build::run(what, &mut cargo, tools::crates(&[&package[..], &edges].concat()))?;
    let component = sources.root.join(workspace::COMPONENT);
    ensure!(component.exists(), "cargo did not make {}", component.display());
    strip::strip(&component)?;
    Ok(component)
}

/// `204537` as `204,537`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn number_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (204_537, "204,537")] {
            assert_eq!(grouped(number), text);
        }
    }
}

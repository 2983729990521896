//! The program's commands, a file each: arguments, and what is printed. Not the looking.

pub mod doctor;
pub mod look;
pub mod plan;
mod rules;
pub mod setup;
pub mod status;
pub mod why;

use crate::words::{harmless, wrapped};
use anyhow::{Context, Result, bail};
use spin_app::{Options, Variables};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What every command takes that looks at an application.
#[derive(Clone, Debug, clap::Args)]
pub struct AppArgs {
    /// The application's manifest.
    #[arg(long, short = 'f', value_name = "FILE", default_value = "spin.toml")]
    pub manifest: PathBuf,
    /// Where Spin keeps the key-value store [default: .spin beside the manifest].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Spin's runtime configuration: [key_value_store.default] of type "redis" or "spin", and [[client_tls]].
    #[arg(long, value_name = "FILE", env = "RUNTIME_CONFIG_FILE")]
    pub runtime_config_file: Option<PathBuf>,
}

impl AppArgs {
    /// What to look at, with variables from the environment. One that the application does not have is said on
    /// stderr.
    pub fn options(self) -> Result<Options> {
        let options = self.options_unchecked()?;
        warn_of_unknown(&options.manifest, &options.variables)?;
        Ok(options)
    }

    /// The same for a command that tells of such variables itself.
    pub fn options_unchecked(self) -> Result<Options> {
        if !self.manifest.exists() {
            bail!(
                "there is no {}; run this in the folder of spin.toml (of the release archive, or of the \
                 repository), or name it with --manifest",
                self.manifest.display()
            );
        }
        Ok(Options {
            manifest: self.manifest,
            state_dir: self.state_dir,
            runtime_config: self.runtime_config_file,
            variables: Variables::from_env(),
            component: None,
        })
    }
}

/// Says on stderr what is wrong, wrapped for people.
pub fn complain(text: &str) {
    for (at, line) in format!("edge-sync: {text}").lines().enumerate() {
        let indent = if at == 0 { 4 } else { 6 };
        eprintln!("{}", wrapped(&harmless(line), indent));
    }
}

/// Says which variables of the environment are none of the manifest's.
fn warn_of_unknown(manifest: &Path, variables: &Variables) -> Result<()> {
    for unknown in spin_app::unknown(&spin_app::declared_variables(manifest)?, variables) {
        complain(&unknown.to_string());
    }
    Ok(())
}

/// Prints `text`, without its colours where they are not wanted.
fn print(text: &str) -> Result<()> {
    let mut out = anstream::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("failed to print")
}

//! The program's commands, a file each: arguments, and what is printed. Not the running, not the looking.

pub mod run;
pub mod up;

use crate::{App, Options, Outcome, Run, Variables};
use anyhow::Result;
use std::path::PathBuf;

/// What every command takes that loads an application.
#[derive(Clone, Debug, clap::Args)]
pub struct AppArgs {
    /// The application's manifest.
    #[arg(long, short = 'f', value_name = "FILE", default_value = "spin.toml")]
    pub manifest: PathBuf,
    /// Where the key-value store and compiled code are kept [default: .spin beside the manifest].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Spin's runtime configuration: [key_value_store.default] of type "redis" or "spin", and [[client_tls]].
    #[arg(long, value_name = "FILE", env = "RUNTIME_CONFIG_FILE")]
    pub runtime_config_file: Option<PathBuf>,
}

impl AppArgs {
    /// What to load, with variables from the environment.
    pub fn options(self) -> Options {
        Options {
            manifest: self.manifest,
            state_dir: self.state_dir,
            runtime_config: self.runtime_config_file,
            variables: Variables::from_env(),
            ..Options::default()
        }
    }

    /// Loads the application. A variable of the environment that it does not have is said on stderr.
    pub fn load(self) -> Result<App> {
        let options = self.options();
        // A manifest that cannot be read is an error of what follows.
        let declared = spin_app::declared_variables(&options.manifest).unwrap_or_default();
        if !declared.is_empty() {
            for unknown in spin_app::unknown(&declared, &options.variables) {
                eprintln!("host: {unknown}");
            }
        }
        App::load(options)
    }
}

/// One line on stderr about a run that did not end well, whatever the component said itself.
fn remark_on(run: &Run) {
    match &run.outcome {
        Outcome::Ok | Outcome::Exited(_) => {}
        Outcome::Failed(message) => eprintln!("host: the handler failed: {message}"),
        Outcome::Trapped(message) => eprintln!("host: the component trapped: {message}"),
    }
}

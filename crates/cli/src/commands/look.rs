//! What `plan` and `why` share: how everything is looked at, and how it is printed.

use crate::Options;
use crate::native::Native;
use anstyle::{AnsiColor, Style};
use anyhow::{Result, bail};
use edge_sync_core::address::Address;
use edge_sync_core::ports::Clock;
use edge_sync_core::run::{Inspection, Looked, inspect};
use edge_sync_core::settings::Settings;
use std::io::Write as _;
use std::process::ExitCode;

/// Looks as a run of the application would, at `address` in particular, and changes nothing.
pub async fn look(options: &Options, address: Option<Address>) -> Result<Inspection> {
    let native = Native::load(options)?;
    let settings = match Settings::parse(|name| native.variable(name), native.wall()) {
        Ok(settings) => settings,
        Err(error) => {
            let problems: Vec<_> = error.0.iter().map(|problem| format!("\n  {problem}")).collect();
            bail!("the settings cannot be used:{}", problems.concat());
        }
    };
    Ok(inspect(&settings, &native, address).await)
}

/// Prints `text`, without its colours where they are not wanted. A side that could not be read makes
/// the exit code 1.
pub(super) fn print(text: &str, inspection: &Inspection) -> Result<ExitCode> {
    anstream::stdout().write_all(text.as_bytes())?;
    Ok(if errors(inspection).next().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What could not be read, each once.
pub(super) fn errors(inspection: &Inspection) -> impl Iterator<Item = &str> {
    fn error<T>(looked: &Looked<T>) -> Option<&str> {
        match looked {
            Looked::Seen(_) => None,
            Looked::Failed { error } => Some(error),
        }
    }
    let lapi = error(&inspection.skipped);
    let targets = inspection.lists.as_ref().and_then(error).into_iter();
    let targets = targets.chain(inspection.kv.as_ref().and_then(error));
    lapi.into_iter().chain(targets.filter(move |error| Some(*error) != lapi))
}

pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const GONE: Style = AnsiColor::Red.on_default();
pub(super) const ODD: Style = AnsiColor::Yellow.on_default();

/// `4,996`.
pub(super) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).expect("digits"))
        .collect();
    groups.join(",")
}

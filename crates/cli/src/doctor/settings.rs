//! The settings: every problem at once, in the words that a run would use.

use super::Finding;
use crate::native::Native;
use crate::variables::env_name;
use crate::{Options, resolved};
use anyhow::Result;
use edge_sync_core::settings::{Problem, Settings};
use std::time::SystemTime;

const CHECK: &str = "settings";

/// The findings, and the settings if they can be used.
pub(super) fn examine(options: &Options) -> Result<(Vec<Finding>, Option<Settings>)> {
    let variables = resolved::variables_with_values(options)?;
    let settings = match Settings::parse(|name| variables.get(name).cloned(), SystemTime::now()) {
        Ok(settings) => settings,
        Err(error) => return Ok((error.0.iter().map(describe).collect(), None)),
    };
    // Spin has a say too: it makes allowed_outbound_hosts from the same variables.
    if let Err(error) = Native::load(options) {
        let remedy = "Spin refuses to start with this as well; correct the variable that it names, \
                      or leave it out to have its default";
        return Ok((vec![Finding::fail(CHECK, format!("{error:#}"), remedy)], None));
    }
    let finding = match settings.dry_run {
        true => Finding::warn(
            CHECK,
            "all are valid, but dry_run is on: nothing is ever written",
            format!("unset {} when the plans are as you want them", env_name("dry_run")),
        ),
        false => Finding::ok(CHECK, "all are valid"),
    };
    Ok((vec![finding], Some(settings)))
}

/// A problem reads "what is wrong; what to do", the latter not always.
fn describe(problem: &Problem) -> Finding {
    let env_name = env_name(problem.variable);
    let (wrong, remedy) = match problem.message.split_once("; ") {
        Some((wrong, remedy)) => (wrong, format!("{remedy}; it is set by {env_name}")),
        None => (problem.message.as_str(), format!("correct {env_name}")),
    };
    Finding::fail(format!("setting {}", problem.variable), wrong, remedy)
}

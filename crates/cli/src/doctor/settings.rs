//! The settings: every problem at once, in the words that a run would use.

use super::Finding;
use crate::native::Native;
use anyhow::Result;
use edge_sync_core::settings::{Problem, Settings};
use spin_app::{Options, env_name};
use std::time::SystemTime;

const CHECK: &str = "settings";

/// The findings, and the settings if they can be used.
pub(super) fn examine(options: &Options) -> Result<(Vec<Finding>, Option<Settings>)> {
    let variables = spin_app::variables_with_values(options)?;
    let declared = spin_app::declared_variables(&options.manifest)?;
    let unknown = spin_app::unknown(&declared, &options.variables).into_iter().map(|unknown| {
        let remedy = match &unknown.meant {
            Some(meant) => format!("rename it to {meant}"),
            None => "unset it".to_owned(),
        };
        let detail = "is not a variable of this application, and does nothing";
        Finding::warn(format!("setting {}", unknown.name), detail, remedy)
    });
    let mut findings: Vec<Finding> = unknown.collect();
    let settings = match Settings::parse(|name| variables.get(name).cloned(), SystemTime::now()) {
        Ok(settings) => settings,
        Err(error) => {
            findings.extend(error.0.iter().map(describe));
            return Ok((findings, None));
        }
    };
    // Spin has a say too: it makes allowed_outbound_hosts from the same variables.
    if let Err(error) = Native::load(options) {
        let remedy = "Spin refuses to start with this as well; correct the variable that it names, \
                      or leave it out to have its default";
        findings.push(Finding::fail(CHECK, format!("{error:#}"), remedy));
        return Ok((findings, None));
    }
    findings.push(match settings.dry_run {
        true => Finding::warn(
            CHECK,
            "all are valid, but dry_run is on: nothing is ever written",
            format!("unset {} when the plans are as you want them", env_name("dry_run")),
        ),
        false => Finding::ok(CHECK, "all are valid"),
    });
    if variables.get("never_block").is_none_or(|addresses| addresses.trim().is_empty()) {
        findings.push(Finding::warn(
            "never_block",
            "is empty: nothing keeps a ban of your own address from locking you out",
            format!("set {} to the addresses that you come from", env_name("never_block")),
        ));
    }
    Ok((findings, Some(settings)))
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

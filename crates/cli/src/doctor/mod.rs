//! What `edge-sync doctor` finds out: everything that a sync stands on, looked at once and changed nowhere.
//!
//! A module for each thing that is asked, in the order of the findings. A finding says what is, and if
//! that is not well, what to do; no secret is ever part of one. Not here: how findings are shown
//! (`commands::doctor`).

mod ask;
mod cloudflare;
mod lapi;
mod layout;
mod pushgateway;
mod settings;
mod store;
mod terraform;
mod zones;

use crate::native::Native;
use crate::words::harmless;
use anyhow::Result;
use serde::Serialize;
use spin_app::Options;

/// One thing that was looked at. Field names are an interface (`--json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How it is.
    pub status: Status,
    /// What was found, in words.
    pub detail: String,
    /// What to do; always there if something is not well, and only then.
    pub remedy: Option<String>,
}

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Well.
    Ok,
    /// A sync works, but not as it should.
    Warn,
    /// A sync cannot work like this.
    Fail,
    /// Not in use, or cannot be told before something else is well.
    Skipped,
}

impl Status {
    /// Its name, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
        }
    }
}

impl Finding {
    fn ok(check: impl Into<String>, detail: impl Into<String>) -> Self {
        let (check, detail) = (harmless(&check.into()), harmless(&detail.into()));
        Self { check, status: Status::Ok, detail, remedy: None }
    }

    fn skipped(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { status: Status::Skipped, ..Self::ok(check, detail) }
    }

    fn warn(
        check: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { status: Status::Warn, remedy: Some(remedy.into()), ..Self::ok(check, detail) }
    }

    fn fail(
        check: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { status: Status::Fail, remedy: Some(remedy.into()), ..Self::ok(check, detail) }
    }
}

/// Looks at everything. `Err` only if the manifest itself cannot be used; what is wrong with the
/// variables' values is a finding.
pub async fn examine(options: &Options) -> Result<Vec<Finding>> {
    let (mut findings, settings) = settings::examine(options)?;
    let Some(settings) = settings else {
        let unknown = "cannot be told before the settings are right";
        let rest = ["LAPI", "Cloudflare", "Pushgateway", "key-value store"];
        findings.extend(rest.map(|check| Finding::skipped(check, unknown)));
        return Ok(findings);
    };
    let native = Native::load(options)?;
    let (lapi, cloudflare, pushgateway) = tokio::join!(
        lapi::examine(&native, &settings),
        cloudflare::examine(&native, &settings),
        pushgateway::examine(&native, &settings),
    );
    findings.extend(lapi);
    findings.extend(cloudflare);
    findings.push(pushgateway);
    findings.extend(store::examine(&native, &settings).await);
    Ok(findings)
}

//! The programs that the component replaces, run as they are: Python scripts that are no part of this
//! repository.

use std::path::PathBuf;

use tokio::process::Command;

use crate::{World, skip, workspace};

const PYTHON: &str = "python3";

/// One of the scripts.
#[derive(Debug)]
pub struct Seed {
    script: PathBuf,
}

/// A run of it that is over.
#[derive(Debug)]
pub struct SeedRun {
    /// Its exit code; none if it was killed.
    pub exit_code: Option<i32>,
    /// What it printed.
    pub output: String,
}

impl Seed {
    /// The one for lists. Finds it in the folder that `EDGE_SYNC_SEEDS` names, or in
    /// `../shared/seeds`; else skips the test. It is not public, so that its absence is no failure
    /// even in CI.
    pub fn find() -> Option<Self> {
        Self::named("lists_sync.py")
    }

    /// The one for KV, likewise.
    pub fn find_for_kv() -> Option<Self> {
        Self::named("kv_sync.py")
    }

    fn named(name: &str) -> Option<Self> {
        let folder = std::env::var_os("EDGE_SYNC_SEEDS")
            .map_or_else(|| workspace::root().join("../shared/seeds"), PathBuf::from);
        let script = folder.join(name);
        if !script.exists() {
            skip::say(
                "SKIPPED: the program that is replaced is not here; EDGE_SYNC_SEEDS names its folder",
            );
            return None;
        }
        if std::process::Command::new(PYTHON).arg("--version").output().is_err() {
            skip::for_want_of(PYTHON);
            return None;
        }
        Some(Self { script })
    }

    /// Runs it against a world, with that world's settings.
    pub async fn run(&self, world: &World) -> SeedRun {
        let mut command = Command::new(PYTHON);
        // Python would ask a proxy of this machine even for loopback.
        command.arg(&self.script).env("no_proxy", "*");
        command.env("CF_API", format!("{}/client/v4", world.setting("cf_api_url")));
        for (theirs, ours) in [
            ("LAPI_URL", "lapi_url"),
            ("LAPI_KEY", "lapi_key"),
            ("CF_ACCOUNT_ID", "cf_account_id"),
            ("CF_API_TOKEN", "cf_api_token"),
            ("CF_BAN_LIST_ID", "cf_ban_list_id"),
            ("CF_CAPTCHA_LIST_ID", "cf_captcha_list_id"),
            ("CF_KV_NAMESPACE_ID", "cf_kv_namespace_id"),
            ("PUSHGATEWAY_URL", "pushgateway_url"),
        ] {
            if let Some(value) = world.setting_if_any(ours) {
                command.env(theirs, value);
            }
        }
        let output = command.kill_on_drop(true).output().await.expect("python3 starts");
        let text = [output.stdout, output.stderr].concat();
        SeedRun {
            exit_code: output.status.code(),
            output: String::from_utf8_lossy(&text).into_owned(),
        }
    }
}

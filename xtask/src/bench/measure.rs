//! One measured run of a program as a whole process, by the operating system's own accounting.
//!
//! The program is started by a fresh copy of xtask (`cargo xtask account`), because Linux counts the
//! memory of the process that starts a program as the program's own peak, and the bench itself holds
//! all decisions.

use crate::tools::Tools;
use crate::workspace;
use crate::world::World;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wait4::Wait4;

/// Where [`Program::Remembering`] keeps it.
pub(super) const REMEMBERED: &str = "bench-remembered";

/// What is measured.
#[derive(Debug)]
pub(super) enum Program<'a> {
    /// The component in the host, without anything remembered.
    Ours(&'a Tools),
    /// The same with what its runs before remember.
    Remembering(&'a Tools),
    /// One of the programs that it replaces.
    Seed(&'a Path),
}

impl std::fmt::Debug for Tools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.host.display())
    }
}

/// Run a program and write what it used to a file; a part of `bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct AccountArgs {
    usage: PathBuf,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

#[derive(Serialize, Deserialize)]
struct Usage {
    wall: Duration,
    cpu: Duration,
    resident_peak_bytes: u64,
}

pub(crate) fn account(args: AccountArgs) -> Result<()> {
    let (program, arguments) = args.command.split_first().context("no program was given")?;
    let began = Instant::now();
    let child = Command::new(program).args(arguments).spawn()?;
    let ended = { child }.wait4()?;
    let wall = began.elapsed();
    ensure!(ended.status.success(), "{program:?} ended with {}", ended.status);
    let usage = Usage {
        wall,
        cpu: ended.rusage.utime + ended.rusage.stime,
        resident_peak_bytes: ended.rusage.maxrss,
    };
    Ok(std::fs::write(args.usage, serde_json::to_string(&usage)?)?)
}

/// What a run needed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Measured {
    pub(super) wall: Duration,
    pub(super) cpu: Duration,
    /// Of the process; for ours that is Wasmtime with everything in it.
    pub(super) resident_peak_bytes: u64,
    /// The component's linear memory; 0 for a program that has none.
    pub(super) guest_peak_bytes: u64,
    pub(super) requests: u64,
    pub(super) operations: u64,
    pub(super) bytes: u64,
}

pub(super) fn run(program: &Program<'_>, world: &World) -> Result<Measured> {
    let stats = workspace::notes_dir().join("bench-stats.json");
    let command = match program {
        Program::Ours(tools) | Program::Remembering(tools) => {
            let state = match program {
                Program::Remembering(_) => workspace::notes_dir().join(REMEMBERED),
                _ => workspace::fresh_state("bench"),
            };
            let mut command = Command::new(&tools.host);
            command.args(["run", "--once", "--state-dir"]).arg(state);
            command.arg("--stats").arg(&stats).envs(world.environment());
            command
        }
        Program::Seed(script) => {
            let mut command = Command::new("python3");
            command.arg(script);
            command.env("CF_API", format!("{}/client/v4", world.setting("cf_api_url")));
            for name in [
                "lapi_url",
                "lapi_key",
                "cf_account_id",
                "cf_api_token",
                "cf_ban_list_id",
                "cf_captcha_list_id",
                "cf_kv_namespace_id",
                "pushgateway_url",
            ] {
                command.env(name.to_uppercase(), world.setting(name));
            }
            command
        }
    };
    let usage = workspace::notes_dir().join("bench-usage.json");
    let mut accountant = Command::new(std::env::current_exe()?);
    accountant.arg("account").arg(&usage).arg("--").arg(command.get_program());
    accountant.args(command.get_args()).current_dir(workspace::root());
    for (name, value) in command.get_envs() {
        accountant.env(name, value.unwrap_or_default());
    }
    accountant.stdin(Stdio::null()).stdout(Stdio::null());
    let status = accountant.status().context("failed to start xtask again")?;
    ensure!(status.success(), "{command:?} failed");
    let usage: Usage = serde_json::from_str(&std::fs::read_to_string(&usage)?)?;
    let counters = world.counters()?;
    let guest_peak_bytes = match program {
        Program::Seed(_) => 0,
        Program::Ours(_) | Program::Remembering(_) => {
            let stats: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&stats)?)?;
            stats["guest_memory_peak_bytes"].as_u64().context("the host gave no memory figure")?
        }
    };
    Ok(Measured {
        wall: usage.wall,
        cpu: usage.cpu,
        resident_peak_bytes: usage.resident_peak_bytes,
        guest_peak_bytes,
        requests: counters.requests,
        operations: counters.writes_accepted,
        bytes: counters.bytes_in + counters.bytes_out,
    })
}

impl Measured {
    /// The median of each figure.
    pub(super) fn median(runs: &[Self]) -> Option<Self> {
        fn median<T: Ord + Copy>(runs: &[Measured], figure: impl Fn(&Measured) -> T) -> Option<T> {
            let mut values: Vec<T> = runs.iter().map(figure).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied()
        }
        Some(Self {
            wall: median(runs, |m| m.wall)?,
            cpu: median(runs, |m| m.cpu)?,
            resident_peak_bytes: median(runs, |m| m.resident_peak_bytes)?,
            guest_peak_bytes: median(runs, |m| m.guest_peak_bytes)?,
            requests: median(runs, |m| m.requests)?,
            operations: median(runs, |m| m.operations)?,
            bytes: median(runs, |m| m.bytes)?,
        })
    }
}

//! `host run --once` as a program of this package: what a test needs a process for, namely its
//! environment, its output, its exit code and its memory, and nothing of the test's own.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use host::commands::run;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    run: run::Args,
    /// Write the most memory that this process ever had, in bytes, to this file.
    #[arg(long, value_name = "FILE")]
    peak: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = run::execute(arguments.run).await;
    let noted = arguments.peak.map_or(Ok(()), |file| {
        let peak = resident_peak_bytes()?;
        std::fs::write(&file, peak.to_string())
            .with_context(|| format!("failed to write {}", file.display()))
    });
    noted.and(result).unwrap_or_else(|error| {
        eprintln!("host: {error:#}");
        ExitCode::FAILURE
    })
}

/// Linux's "high water mark". Unlike the figure that a parent gets, it begins anew with this
/// program.
fn resident_peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kibibytes: u64 = kibibytes.context("/proc/self/status has no VmHWM in kB")?.parse()?;
    Ok(kibibytes * 1024)
}

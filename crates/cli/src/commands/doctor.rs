//! `edge-sync doctor`: looks at everything that a sync stands on, and shows what it found.

use super::{AppArgs, print};
use crate::doctor::{Finding, Status, examine};
use crate::words::wrapped;
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Check settings, LAPI, Cloudflare, Pushgateway and key-value store; change nothing.
///
/// Exit code 1 if any check fails. Colours under a terminal, unless NO_COLOR is set.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    app: AppArgs,
    /// Print a JSON array of {check, status, detail, remedy}; status is ok, warn, fail or skipped.
    #[arg(long)]
    json: bool,
}

/// Looks, and shows.
pub async fn execute(args: Args) -> Result<ExitCode> {
    let findings = examine(&args.app.options_unchecked()?).await?;
    let shown = match args.json {
        true => serde_json::to_string_pretty(&findings)? + "\n",
        false => render(&findings),
    };
    print(&shown)?;
    let failed = findings.iter().any(|finding| finding.status == Status::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Where the details begin. A longer name of a check pushes its own line only.
const DETAIL: usize = 26;

/// A line for each finding, its remedy below it, and how many there are of each kind.
pub fn render(findings: &[Finding]) -> String {
    let mut shown = String::new();
    for Finding { check, status, detail, remedy } in findings {
        let style = style(*status);
        let name = status.as_str();
        let width = DETAIL - 11;
        let line = format!("{style}{name:<7}{style:#}  {check:<width$}  {detail}");
        let _ = writeln!(shown, "{}", wrapped(&line, DETAIL));
        if let Some(remedy) = remedy {
            let line = format!("{:DETAIL$}-> {remedy}", "");
            let _ = writeln!(shown, "{}", wrapped(&line, DETAIL + 3));
        }
    }
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    let _ = writeln!(
        shown,
        "{} ok, {} to look at (warn), {} failed, {} skipped",
        count(Status::Ok),
        count(Status::Warn),
        count(Status::Fail),
        count(Status::Skipped)
    );
    shown
}

fn style(status: Status) -> Style {
    match status {
        Status::Ok => AnsiColor::Green.on_default(),
        Status::Warn => AnsiColor::Yellow.on_default(),
        Status::Fail => AnsiColor::Red.on_default().bold(),
        Status::Skipped => Style::new().dimmed(),
    }
}

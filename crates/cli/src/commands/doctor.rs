//! `host doctor`: looks at everything that a sync stands on, and shows what it found.

use super::AppArgs;
use crate::doctor::{Finding, Status, examine};
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
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
    let findings = examine(&args.app.options()).await?;
    let shown = match args.json {
        true => serde_json::to_string_pretty(&findings)? + "\n",
        false => render(&findings, std::io::stdout().is_terminal()),
    };
    // Takes the colours out where they are not wanted.
    anstream::stdout().write_all(shown.as_bytes())?;
    let failed = findings.iter().any(|finding| finding.status == Status::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A line for each finding. For a person the remedy stands below it; a pipe gets it in the same line.
pub fn render(findings: &[Finding], for_a_person: bool) -> String {
    let width = findings.iter().map(|finding| finding.check.chars().count()).max().unwrap_or(0);
    let mut shown = String::new();
    for Finding { check, status, detail, remedy } in findings {
        let style = style(*status);
        let name = status.as_str();
        let _ = write!(shown, "{style}{name:<7}{style:#}  {check:<width$}  {detail}");
        match (remedy, for_a_person) {
            (Some(remedy), true) => {
                let _ = write!(shown, "\n{:indent$}-> {remedy}", "", indent = width + 11);
            }
            (Some(remedy), false) => {
                let _ = write!(shown, " -> {remedy}");
            }
            (None, _) => {}
        }
        shown.push('\n');
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_shown_line_up_and_come_with_their_remedy() {
        let finding = |check: &str, status, remedy: Option<&str>| Finding {
            check: check.to_owned(),
            status,
            detail: "as it is".to_owned(),
            remedy: remedy.map(str::to_owned),
        };
        let findings =
            [finding("LAPI", Status::Ok, None), finding("API token", Status::Fail, Some("act"))];
        let plain = |for_a_person| {
            anstream::adapter::strip_str(&render(&findings, for_a_person)).to_string()
        };
        assert_eq!(
            plain(false),
            "ok       LAPI       as it is\nfail     API token  as it is -> act\n"
        );
        assert_eq!(
            plain(true),
            "ok       LAPI       as it is\nfail     API token  as it is\n                    -> act\n"
        );
        assert!(
            render(&findings, true).contains("\u{1b}[31mfail")
                || render(&findings, true).contains("\u{1b}[1m")
        );
    }
}

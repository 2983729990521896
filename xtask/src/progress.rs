//! What is being done, while it is done: a spinner on a terminal, a plain line elsewhere. Also runs
//! long external commands quietly, with their words kept for when they fail.

use crate::workspace::notes_dir;
use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::{self, File};
use std::io::IsTerminal;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How much of a failed command's output is shown.
const LOG_LINES_MAX: usize = 20;

/// Says `what`, does it, and says how it went.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let spinner = if std::io::stderr().is_terminal() {
        let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
        spinner.set_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})")?);
        spinner.enable_steady_tick(Duration::from_millis(100));
        Some(spinner)
    } else {
        eprintln!("{what} …");
        None
    };
    let result = work();
    let word = if result.is_ok() { "done" } else { "failed" };
    match spinner {
        Some(spinner) => {
            spinner.finish_and_clear();
            eprintln!("{what}: {word}");
        }
        None if result.is_err() => eprintln!("{what}: {word}"),
        None => {}
    }
    result
}

/// Runs a command to its end with its output in a log file, the end of which is the error's text.
pub(crate) fn run_quietly(command: &mut Command, time_limit: Option<Duration>) -> Result<()> {
    let name = Path::new(command.get_program()).file_stem().unwrap_or_default().to_string_lossy();
    let name = name.into_owned();
    fs::create_dir_all(notes_dir())?;
    let log = notes_dir().join(format!("{name}.log"));
    let output =
        File::create(&log).with_context(|| format!("failed to write {}", log.display()))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("failed to start {name}"))?;
    match wait(child, time_limit)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("{name} ended with {status}:\n{}", last_lines(&log)),
        None => bail!("{name} took longer than {:?}", time_limit.unwrap_or_default()),
    }
}

/// None: the time was up, and the process is ended.
fn wait(mut child: Child, time_limit: Option<Duration>) -> Result<Option<ExitStatus>> {
    let Some(time_limit) = time_limit else { return Ok(Some(child.wait()?)) };
    let started = Instant::now();
    while started.elapsed() < time_limit {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_command_wait_gives_its_status() {
        let child = Command::new("true").spawn().unwrap();
        assert!(wait(child, Some(Duration::from_secs(10))).unwrap().unwrap().success());
    }

    #[test]
    fn hanging_command_wait_ends_it() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let started = Instant::now();
        assert!(wait(child, Some(Duration::from_millis(100))).unwrap().is_none());
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}

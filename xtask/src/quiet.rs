//! Long external commands whose words matter only when they fail: kept in a log file, the end of which is then
//! the error's text.

use crate::workspace::notes_dir;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How much of a failed command's output is shown.
const LOG_LINES_MAX: usize = 20;

/// How long a command may go on without a sign of life: neither a word, nor growth of one of these files or
/// folders.
pub(crate) struct Patience {
    pub(crate) limit: Duration,
    pub(crate) growing: Vec<PathBuf>,
}

/// Runs a command to its end, or to the end of the patience with it.
pub(crate) fn run(command: &mut Command, patience: Option<Patience>) -> Result<()> {
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
    let patience = patience.map(|mut patience| {
        patience.growing.push(log.clone());
        patience
    });
    let limit = patience.as_ref().map(|patience| patience.limit).unwrap_or_default();
    match wait(child, patience)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("{name} ended with {status}:\n{}", last_lines(&log)),
        None => bail!("{name} did nothing for {limit:?}, and was ended"),
    }
}

/// None: patience is over, and so is the process.
fn wait(mut child: Child, patience: Option<Patience>) -> Result<Option<ExitStatus>> {
    let Some(patience) = patience else { return Ok(Some(child.wait()?)) };
    let (mut seen, mut at) = (size(&patience.growing), Instant::now());
    while at.elapsed() < patience.limit {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(50));
        let now = size(&patience.growing);
        if now != seen {
            (seen, at) = (now, Instant::now());
        }
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// Bytes of all these files, and of the files in all these folders.
fn size(paths: &[PathBuf]) -> u64 {
    let of = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    let inside = |path: &PathBuf| -> u64 {
        let entries = path.read_dir().into_iter().flatten().flatten();
        entries.map(|entry| of(&entry.path())).sum()
    };
    paths.iter().map(|path| of(path) + inside(path)).sum()
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(limit: Duration) -> Option<Patience> {
        Some(Patience { limit, growing: Vec::new() })
    }

    #[test]
    fn quick_command_wait_gives_its_status() {
        let child = Command::new("true").spawn().unwrap();
        assert!(wait(child, patience(Duration::from_secs(10))).unwrap().unwrap().success());
    }

    #[test]
    fn hanging_command_wait_ends_it() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let started = Instant::now();
        assert!(wait(child, patience(Duration::from_millis(100))).unwrap().is_none());
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    /// A slow line is not a hanging one.
    #[test]
    fn command_that_writes_wait_outlasts_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let script = "for n in 1 2 3 4 5 6 7 8 9 10; do echo $n >> part; sleep 0.2; done";
        let mut command = Command::new("sh");
        let child = command.args(["-c", script]).current_dir(folder.path()).spawn().unwrap();
        let limit = Duration::from_millis(1_500);
        let patience = Patience { limit, growing: vec![folder.path().to_owned()] };
        assert!(wait(child, Some(patience)).unwrap().unwrap().success());
    }
}

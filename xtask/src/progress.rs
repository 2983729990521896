//! What is being done, while it is done: a spinner on a terminal, plain lines elsewhere, each with the time
//! that the same took when it was done last.

use crate::durations::{remember, spoken, the_last_time};
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Off a terminal, how often a step that goes on says so. Rare enough for a log, and often enough that nobody
/// takes it for dead.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// Says `what`, does it, and says how it went.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let progress = Progress::begin(what);
    let result = work();
    progress.end(result.is_ok());
    result
}

/// The same for work that prints its own lines, so that a spinner would be in their way.
pub(crate) fn loud_step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("{what}{} …", the_last_time(what));
    let began = Instant::now();
    let result = work();
    said_how(what, began, result.is_ok());
    result
}

fn said_how(what: &str, began: Instant, is_ok: bool) {
    let took = began.elapsed();
    let word = if is_ok { "done" } else { "failed" };
    eprintln!("{what}: {word} in {}", spoken(took));
    // One that failed says nothing about how long it takes.
    if is_ok {
        remember(what, took);
    }
}

/// A step that is under way.
pub(crate) struct Progress {
    what: String,
    began: Instant,
    spinner: Option<ProgressBar>,
    said: Cell<Instant>,
}

impl Progress {
    pub(crate) fn begin(what: &str) -> Self {
        let last = the_last_time(what);
        let spinner = std::io::stderr().is_terminal().then(|| {
            let spinner = ProgressBar::new_spinner().with_prefix(format!("{what}{last}"));
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}: {elapsed} {msg}") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        if spinner.is_none() {
            eprintln!("{what}{last} …");
        }
        let now = Instant::now();
        Self { what: what.to_owned(), began: now, spinner, said: Cell::new(now) }
    }

    /// What the step is at, such as `120 of 281 crates, wasmtime`.
    pub(crate) fn at(&self, detail: &str) {
        match &self.spinner {
            Some(spinner) => spinner.set_message(detail.to_owned()),
            None if self.said.get().elapsed() >= SIGN_OF_LIFE => {
                self.said.set(Instant::now());
                eprintln!("  {} after {}: {detail}", self.what, spoken(self.began.elapsed()));
            }
            None => {}
        }
    }

    /// A line that stays.
    pub(crate) fn print(&self, line: &str) {
        match &self.spinner {
            Some(spinner) => spinner.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    pub(crate) fn end(self, is_ok: bool) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        said_how(&self.what, self.began, is_ok);
    }
}

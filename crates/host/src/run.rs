//! What a run is asked for and what it gives back: values only.

use std::time::Duration;

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// `handle-cron-event`, as Spin's cron trigger calls it.
    Cron {
        /// When the event was due, in seconds since the Unix epoch.
        timestamp: u64,
    },
    /// `wasi:cli/run`, as Spin's command trigger calls it.
    Command,
}

/// Where the component's stdout and stderr go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// To this process's own; a terminal there is a terminal for the component.
    Inherited,
    /// Into [`Run::stdout`] and [`Run::stderr`].
    Captured,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The handler returned without an error.
    Ok,
    /// The handler returned an error: this text, or for `wasi:cli/run` none.
    Failed(String),
    /// The component ended itself with this code (`wasi:cli/exit`).
    Exited(i32),
    /// The component broke off: a trap, or a [`Decision`](crate::Decision) that said so.
    Trapped(String),
}

/// A run that is over.
#[derive(Clone, Debug)]
pub struct Run {
    /// How it ended.
    pub outcome: Outcome,
    /// What the component printed; empty unless [`Output::Captured`].
    pub stdout: String,
    /// What the component printed, and the host's own remarks on it; empty unless
    /// [`Output::Captured`].
    pub stderr: String,
    /// The most linear memory that the component held at a time.
    pub memory_peak_bytes: u64,
    /// From instantiation to the end of the call; without compilation.
    pub wall: Duration,
    /// Requests that were allowed and sent.
    pub requests: u64,
}

impl Run {
    /// The exit code of a process that did nothing but this run.
    pub fn exit_code(&self) -> i32 {
        match self.outcome {
            Outcome::Ok => 0,
            Outcome::Failed(_) | Outcome::Trapped(_) => 1,
            Outcome::Exited(code) => code,
        }
    }
}

//! One `cargo build`, or `check`, or `test --no-run`, as a step that says how far it is: cargo's own messages,
//! read as it writes them.

use crate::progress::Progress;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// What begins a line of cargo that only says what it is at.
const ACTIVITIES: [&str; 11] = [
    "Adding",
    "Blocking",
    "Checking",
    "Compiling",
    "Downloaded",
    "Downloading",
    "Executable",
    "Finished",
    "Fresh",
    "Locking",
    "Updating",
];

/// How long cargo may be silent, at a large crate, until the step says that it goes on.
const SILENCE: Duration = Duration::from_secs(1);

/// Runs it and gives the number of different warnings, all of them printed. `total` is the number of crates,
/// if it is known.
///
/// Fails if it does not build; the reasons are printed.
pub(crate) fn run(what: &str, cargo: &mut Command, total: Option<usize>) -> Result<usize> {
    let progress = Progress::begin(what);
    let result = watch(&progress, cargo, total);
    progress.end(result.is_ok());
    result.with_context(|| format!("{what}: failed"))
}

fn watch(progress: &Progress, cargo: &mut Command, total: Option<usize>) -> Result<usize> {
    let is_colourful = std::io::stderr().is_terminal();
    cargo.arg("--message-format");
    cargo.arg(if is_colourful { "json-diagnostic-rendered-ansi" } else { "json" });
    if is_colourful {
        cargo.env("CARGO_TERM_COLOR", "always");
    }
    let mut process = cargo
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start {}", cargo.get_program().display()))?;
    let stdout = process.stdout.take().context("cargo has no stdout")?;
    let stderr = process.stderr.take().context("cargo has no stderr")?;
    let (to, lines) = mpsc::channel();
    let to_too = to.clone();
    let readers = [
        std::thread::spawn(move || read(stdout, |line| to.send(Line::Message(line)).is_ok())),
        std::thread::spawn(move || read(stderr, |line| to_too.send(Line::Word(line)).is_ok())),
    ];
    let mut seen = Seen { total, ..Seen::default() };
    loop {
        match lines.recv_timeout(SILENCE) {
            Ok(Line::Message(line)) => {
                if let Some(words) = seen.message(&line) {
                    progress.print(words.trim_end());
                }
            }
            Ok(Line::Word(line)) if seen.word(&line) => progress.print(&line),
            Ok(Line::Word(_)) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        progress.at(&seen.detail());
    }
    for reader in readers {
        let _ = reader.join();
    }
    let status = process.wait()?;
    ensure!(status.success(), "cargo ended with {status}; the reasons are above");
    Ok(seen.warnings.len())
}

enum Line {
    /// Of stdout: JSON.
    Message(String),
    /// Of stderr: for people.
    Word(String),
}

/// Calls `each` for every line until the end, or until it is no longer wanted.
fn read(from: impl Read, mut each: impl FnMut(String) -> bool) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    // Not `lines`: what a compiler quotes need not be UTF-8.
    while from.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        if !each(String::from_utf8_lossy(&line).trim_end().to_owned()) {
            return;
        }
        line.clear();
    }
}

/// What cargo has said so far.
#[derive(Default)]
struct Seen {
    total: Option<usize>,
    /// Ids of the packages of which a part is there.
    crates: BTreeSet<String>,
    /// As printed. The same one comes for a library and again for its tests.
    warnings: BTreeSet<String>,
    activity: String,
}

/// The parts of cargo's messages that matter here; see
/// <https://doc.rust-lang.org/cargo/reference/external-tools.html#json-messages>.
#[derive(Deserialize)]
#[serde(tag = "reason")]
enum Message {
    #[serde(rename = "compiler-artifact")]
    Artifact { package_id: String },
    #[serde(rename = "compiler-message")]
    Said { message: Diagnostic },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    rendered: Option<String>,
    /// Empty for a sum such as "2 warnings emitted".
    spans: Vec<serde_json::Value>,
    code: Option<serde_json::Value>,
}

impl Seen {
    /// Takes a line of JSON; gives what is to be printed of it.
    fn message(&mut self, line: &str) -> Option<String> {
        match serde_json::from_str(line) {
            Ok(Message::Artifact { package_id }) => {
                self.crates.insert(package_id);
                None
            }
            Ok(Message::Said { message }) => {
                let rendered = message.rendered.unwrap_or_default();
                if message.level == "warning" {
                    let is_sum = message.spans.is_empty() && message.code.is_none();
                    let is_new = !is_sum && self.warnings.insert(rendered.clone());
                    return is_new.then_some(rendered);
                }
                Some(rendered)
            }
            Ok(Message::Other) => None,
            // Not cargo's: what a build script or a compiler wrote there.
            Err(_) => Some(line.to_owned()),
        }
    }

    /// Takes a line for people; gives whether it is to be printed.
    fn word(&mut self, line: &str) -> bool {
        let plain = without_colours(line);
        let mut words = plain.split_whitespace();
        let first = words.next().unwrap_or_default();
        if !ACTIVITIES.contains(&first) {
            // A count of the warnings that were printed one by one.
            return !plain.starts_with("warning: `");
        }
        let rest: Vec<_> = words.collect();
        self.activity = match first {
            "Compiling" | "Checking" => rest.first().copied().unwrap_or_default().to_owned(),
            _ => format!("{} {}", first.to_lowercase(), rest.join(" ")),
        };
        false
    }

    fn detail(&self) -> String {
        let done = self.crates.len();
        match self.total {
            // A total that is not one says nothing.
            Some(total) if done <= total => format!("{done} of {total} crates, {}", self.activity),
            _ => format!("{done} crates, {}", self.activity),
        }
    }
}

/// Without the sequences `ESC [ … m`.
fn without_colours(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_give_crates_and_each_warning_once() {
        let mut seen = Seen { total: Some(3), ..Seen::default() };
        let artifact = |id: &str| {
            format!(r#"{{"reason":"compiler-artifact","package_id":"{id}","fresh":true}}"#)
        };
        for id in ["registry#a@1.0.0", "registry#a@1.0.0", "path#b@0.1.0"] {
            assert_eq!(seen.message(&artifact(id)), None);
        }
        let diagnostic = |level: &str, text: &str, code: &str| {
            format!(
                r#"{{"reason":"compiler-message","message":{{"level":"{level}","rendered":"{text}","spans":[],"code":{code}}}}}"#
            )
        };
        let unused = diagnostic("warning", "unused: x", r#"{"code":"unused"}"#);
        assert_eq!(seen.message(&unused).as_deref(), Some("unused: x"));
        assert_eq!(seen.message(&unused), None, "said before");
        assert_eq!(seen.message(&diagnostic("warning", "1 warning emitted", "null")), None);
        assert_eq!(seen.message(&diagnostic("error", "no", "null")).as_deref(), Some("no"));
        assert_eq!(seen.message(r#"{"reason":"build-finished","success":false}"#), None);
        assert_eq!(seen.message("not JSON").as_deref(), Some("not JSON"));
        assert_eq!(seen.warnings.len(), 1);
        assert!(!seen.word("\x1b[1m\x1b[92m   Compiling\x1b[0m wasmtime v48.0.8"));
        assert_eq!(seen.detail(), "2 of 3 crates, wasmtime");
    }

    #[test]
    fn words_of_cargo_are_printed_unless_they_say_only_what_it_is_at() {
        let mut seen = Seen::default();
        for (line, is_printed) in [
            ("   Compiling core v0.1.0 (/somewhere)", false),
            ("    Blocking waiting for file lock on build directory", false),
            ("warning: `core` (lib) generated 1 warning", false),
            ("error: could not compile `core` (lib) due to 1 previous error", true),
            ("error: failed to parse manifest", true),
            ("warning: unused manifest key: x", true),
        ] {
            assert_eq!(seen.word(line), is_printed, "{line}");
        }
        assert_eq!(seen.detail(), "0 crates, blocking waiting for file lock on build directory");
        // More than there should be: the number was not the one of this build.
        seen.total = Some(0);
        seen.crates.insert("a".into());
        assert!(seen.detail().starts_with("1 crates"), "{}", seen.detail());
    }
}

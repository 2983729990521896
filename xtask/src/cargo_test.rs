//! One `cargo test`: its words passed on as they come, and counted. A test that lacks something passes and prints
//! `SKIPPED`; that is found in whatever it printed, and what other tests that passed have printed is left out.

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// What the tests of one `cargo test` came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    /// Tests that said `SKIPPED`, and those that are marked as ignored.
    pub(crate) skipped: u64,
    /// `FILE: TEST`; or the file alone, if its tests ended without a result.
    pub(crate) failed: Vec<String>,
}

/// Runs the tests that `cargo test ARGUMENTS` means, all of them.
pub(crate) fn run(cargo: &mut Command) -> Result<Counts> {
    // One pipe for both: cargo says on stderr whose output follows on stdout.
    let (from, to) = std::io::pipe()?;
    cargo.args(["--no-fail-fast", "--", "--show-output"]).env("CARGO_TERM_COLOR", "never");
    cargo.stdin(Stdio::null()).stdout(to.try_clone()?).stderr(to);
    let mut process = cargo
        .spawn()
        .with_context(|| format!("failed to start {}", cargo.get_program().display()))?;
    // The command holds ends of the pipe too, and the loop below would wait for them.
    cargo.stdout(Stdio::null()).stderr(Stdio::null());
    let mut reader = Reader::default();
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    // Not `lines`: what tests print need not be UTF-8.
    while from.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        if reader.line(text.trim_end_matches('\n')) {
            eprint!("{text}");
        }
        line.clear();
    }
    let is_success = process.wait()?.success();
    Ok(reader.end(is_success))
}

/// Reads the output of cargo and of the test harness, line after line.
#[derive(Default)]
struct Reader {
    counts: Counts,
    /// The file whose tests run, as cargo calls it, and whether their result is still to come.
    file: String,
    is_running: bool,
    /// Within what the tests printed that passed.
    is_of_passed: bool,
    /// The test whose captured words these are.
    test: String,
    failed: BTreeSet<String>,
    skipped: BTreeSet<String>,
}

impl Reader {
    /// Takes a line; gives whether a person wants to see it.
    fn line(&mut self, line: &str) -> bool {
        if let Some(file) = beginning(line) {
            self.file_ends();
            self.file = file.to_owned();
            self.is_running = true;
        } else if let Some((before, _)) = line.split_once("SKIPPED: ") {
            self.skips(line, before.trim_end());
            return true;
        } else if let Some(result) = FileResult::read(line) {
            self.file_ends_with(&result);
        } else if let Some((test, "FAILED")) = tested(line) {
            self.failed.insert(test.to_owned());
        } else if line == "successes:" || line == "failures:" {
            self.is_of_passed = line == "successes:";
            self.test.clear();
            return !self.is_of_passed;
        } else if let Some(test) = captured(line) {
            self.test = test.to_owned();
            if !self.is_of_passed {
                self.failed.insert(test.to_owned());
            }
        }
        !self.is_of_passed
    }

    /// A test has said that it is skipped: in what was captured of it, or past the capture, where its thread's
    /// name comes before. With one thread, which is the main one, the harness has begun the line.
    fn skips(&mut self, line: &str, before: &str) {
        let begun = before.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "));
        let test = match begun {
            Some((test, _)) => test,
            None if !self.test.is_empty() => &self.test,
            None => before.trim_end_matches(':'),
        };
        self.skipped.insert(if test.is_empty() { line } else { test }.to_owned());
    }

    fn file_ends_with(&mut self, result: &FileResult) {
        let skipped = self.skipped.difference(&self.failed).count() as u64;
        self.counts.passed += result.passed.saturating_sub(skipped);
        self.counts.skipped += skipped + result.ignored;
        let mut names: Vec<_> = self.failed.iter().map(String::as_str).collect();
        // Every failure counts, also one whose name was not understood.
        while (names.len() as u64) < result.failed {
            names.push("a test");
        }
        let names = names.into_iter().map(|test| format!("{}: {test}", self.file));
        self.counts.failed.extend(names);
        self.is_running = false;
        self.forget();
    }

    /// A file without a result has died: one failure, whatever its tests had come to.
    fn file_ends(&mut self) {
        if self.is_running {
            self.counts.failed.push(format!("{}: ended without a result", self.file));
        }
        self.is_running = false;
        self.forget();
    }

    fn forget(&mut self) {
        self.is_of_passed = false;
        self.test.clear();
        self.failed.clear();
        self.skipped.clear();
    }

    fn end(mut self, is_success: bool) -> Counts {
        self.file_ends();
        if !is_success && self.counts.failed.is_empty() {
            self.counts.failed.push("cargo test: failed, and no test did".to_owned());
        }
        self.counts
    }
}

/// `     Running tests/laws.rs (target/…)` or `   Doc-tests edge_sync_core`: what begins.
fn beginning(line: &str) -> Option<&str> {
    if let Some(name) = line.strip_prefix("   Doc-tests ") {
        return Some(name);
    }
    let (file, program) = line.strip_prefix("     Running ")?.rsplit_once(" (")?;
    // `unittests src/lib.rs` is said of every package: the program has its name.
    let program = program.trim_end_matches(')').rsplit(['/', '\\']).next()?;
    let name = program.rsplit_once('-').map_or(program, |(name, _)| name);
    Some(if file.starts_with("unittests") { name } else { file })
}

/// `test NAME ... ok`: a test and how it ended.
fn tested(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("test ")?.rsplit_once(" ... ")
}

/// `---- NAME stdout ----`: whose words follow.
fn captured(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; …`
struct FileResult {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl FileResult {
    fn read(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let count = |what: &str| {
            counts.split("; ").find_map(|part| part.strip_suffix(what)).and_then(|n| n.parse().ok())
        };
        Some(Self {
            passed: count(" passed")?,
            failed: count(" failed")?,
            ignored: count(" ignored")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(output: &str, is_success: bool) -> (Counts, String) {
        let mut reader = Reader::default();
        let shown: Vec<_> = output.lines().filter(|line| reader.line(line)).collect();
        let shown = shown.join("\n");
        (reader.end(is_success), shown)
    }

    const GOOD: &str = "
     Running unittests src/lib.rs (target/debug/deps/simulator-0123abcd)

running 3 tests
test a ... ok
test b ... ok
test c ... ignored

successes:

---- a stdout ----
SKIPPED: no schemas here
---- b stdout ----
a million lines

successes:
    a
    b

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/real.rs (target/debug/deps/real-0123abcd)

running 2 tests
d: SKIPPED: no Redis
d: SKIPPED: no Redis, asked again
test d ... ok
e: 1000 decisions: 3.2 MiB
test e ... ok

successes:

successes:
    d
    e

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s

   Doc-tests edge_sync_core

running 1 test
test crates/core/src/lib.rs - (line 20) ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.40s
";

    #[test]
    fn tests_that_passed_are_counted_without_those_that_said_skipped() {
        let (counts, shown) = counted(GOOD, true);
        assert_eq!(counts, Counts { passed: 3, skipped: 3, failed: Vec::new() });
        assert!(!shown.contains("a million lines"), "{shown}");
        for seen in ["SKIPPED: no schemas here", "e: 1000 decisions", "test b ... ok"] {
            assert!(shown.contains(seen), "{seen}: {shown}");
        }
    }

    #[test]
    fn tests_that_failed_are_named_with_their_words_and_the_rest_is_counted_too() {
        let bad = "     Running tests/laws.rs (target/debug/deps/laws-0123abcd)

running 2 tests
test a ... ok
test b ... FAILED

successes:

---- a stdout ----
innocent

successes:
    a

failures:

---- b stdout ----
SKIPPED: half of it
thread 'b' panicked at tests/laws.rs:3:5: one is not two

failures:
    b

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

error: test failed, to rerun pass `--test laws`
";
        let (counts, shown) = counted(&format!("{bad}{GOOD}"), false);
        assert_eq!(
            counts,
            Counts { passed: 4, skipped: 3, failed: vec!["tests/laws.rs: b".into()] }
        );
        assert!(shown.contains("one is not two") && !shown.contains("innocent"), "{shown}");
    }

    #[test]
    fn tests_in_one_thread_are_understood_though_their_words_break_the_lines() {
        let (counts, _) = counted(
            "     Running tests/one.rs (target/debug/deps/one-0123abcd)
running 2 tests
test a ... main: SKIPPED: no Redis
ok
test b ... words of its own
FAILED
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            false,
        );
        let failed = vec!["tests/one.rs: a test".to_owned()];
        assert_eq!(counts, Counts { passed: 0, skipped: 1, failed });
    }

    #[test]
    fn test_binary_that_died_is_a_failure_wherever_it_stood() {
        let died = "     Running tests/x.rs (target/debug/deps/x-0123abcd)\nrunning 9 tests\n";
        for (output, passed) in [(died.to_owned() + GOOD, 3), (GOOD.to_owned() + died, 3)] {
            let (counts, _) = counted(&output, false);
            assert_eq!(counts.failed, ["tests/x.rs: ended without a result"]);
            assert_eq!(counts.passed, passed);
        }
    }

    #[test]
    fn cargo_that_failed_without_a_test_that_did_is_a_failure() {
        for output in ["", "error: no such command", GOOD] {
            let (counts, _) = counted(output, false);
            assert_eq!(counts.failed, ["cargo test: failed, and no test did"], "{output}");
        }
        assert_eq!(counted("", true).0, Counts::default());
    }

    #[test]
    fn beginning_of_a_file_names_it_or_the_package_of_its_unit_tests() {
        for (line, name) in [
            ("     Running tests/laws.rs (target/debug/deps/laws-01)", Some("tests/laws.rs")),
            (
                "     Running unittests src/lib.rs (target/debug/deps/edge_sync_core-01)",
                Some("edge_sync_core"),
            ),
            ("     Running unittests src/main.rs (/a (b)/deps/host-01)", Some("host")),
            ("   Doc-tests host", Some("host")),
            ("     Running", None),
            ("Running tests/laws.rs (x)", None),
        ] {
            assert_eq!(beginning(line), name, "{line}");
        }
    }
}

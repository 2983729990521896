//! Tests that need what this machine does not have: they pass, and say so where it is seen.

use std::io::Write;

/// Prints why the test is skipped. With `CI=true` it fails instead: there everything can be had, and
/// a test that silently stopped running is worse than a red one.
pub fn for_want_of(what: impl std::fmt::Display) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "cannot be skipped in CI: {what}");
    say(format_args!("SKIPPED: {what}"));
}

/// Prints past the capture of the test harness, which would hide the words of a test that passes.
pub fn say(text: impl std::fmt::Display) {
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    // In one piece: other tests write at the same time, and `cargo xtask test` counts the lines.
    let _ = std::io::stderr().write_all(format!("{name}: {text}\n").as_bytes());
}

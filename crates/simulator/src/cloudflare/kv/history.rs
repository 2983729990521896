//! What the edge read under a key, and when: one entry for each change of a value. A test can show
//! with it that an address was never without its remediation.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::options::duration_text;

/// One change of the value under one key. A write that leaves the value as it is, or changes only
/// expiration or metadata, is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KvChange {
    /// When, since the simulator's start.
    #[serde(with = "duration_text")]
    pub at: Duration,
    /// The key.
    pub key: String,
    /// Its value since then; `None` = it is not there.
    pub value: Option<String>,
    /// What did it.
    pub cause: KvCause,
}

/// Why a value changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KvCause {
    /// A test or another tool put it there.
    Preload,
    /// A write.
    Write,
    /// A deletion.
    Delete,
    /// Its time had come.
    Expiry,
}

impl KvChange {
    pub(super) fn new(at: Duration, key: &str, value: Option<&Bytes>, cause: KvCause) -> Self {
        let value = value.map(|value| String::from_utf8_lossy(value).into_owned());
        Self { at, key: key.to_owned(), value, cause }
    }
}

/// Whether the key was not there at any moment of the span. Changes at one moment count as one, so
/// that only the last of them is seen.
pub(super) fn was_absent(history: &[KvChange], key: &str, span: &Range<Duration>) -> bool {
    let mut is_absent = true;
    let mut since = Duration::ZERO;
    let mut was_absent = false;
    for change in history.iter().filter(|change| change.key == key) {
        // It was so in [since, change.at); the two spans share a moment if each begins before the
        // other ends.
        was_absent |= is_absent && since.max(span.start) < change.at.min(span.end);
        (is_absent, since) = (change.value.is_none(), change.at);
    }
    was_absent || (is_absent && since < span.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_absent_for_a_while_was_absent_only_in_spans_that_meet_the_while() {
        let at = Duration::from_secs;
        let change = |seconds, value: Option<&'static str>| {
            let value = value.map(|value| Bytes::from_static(value.as_bytes()));
            KvChange::new(at(seconds), "key", value.as_ref(), KvCause::Write)
        };
        let history = [
            change(10, Some("ban")),
            change(20, None),
            change(30, Some("captcha")),
            change(40, None),
            change(40, Some("ban")),
        ];
        for (from, to, expected) in [
            (10, 20, false),
            (10, 21, true),
            (9, 12, true),
            (25, 26, true),
            (30, 99, false),
            (0, 10, true),
        ] {
            assert_eq!(was_absent(&history, "key", &(at(from)..at(to))), expected, "{from}..{to}");
        }
        assert!(was_absent(&history, "another", &(at(0)..at(1))));
        assert!(was_absent(&history[..2], "key", &(at(50)..at(51))), "and never came back");
    }
}

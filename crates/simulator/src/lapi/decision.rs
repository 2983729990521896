//! One row of LAPI's decisions table, and its JSON as Go's encoder writes it. Rows are text: nothing
//! here checks or normalises a value, because LAPI does not (facts: crowdsec.md 1.1).

use std::io::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::options::duration_text;

/// A decision as it lies in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decision {
    /// Row number; 0 = the next free one when it is added.
    pub id: u64,
    /// `cscli`, `crowdsec`, `CAPI`, `lists`, …
    pub origin: String,
    /// Free text.
    pub scenario: String,
    /// `Ip` and `Range` in the canonical spelling, but old rows hold others.
    pub scope: String,
    /// `ban`, `captcha`, or any other text.
    #[serde(rename = "type")]
    pub kind: String,
    /// The address, verbatim.
    pub value: String,
    /// When it expires, since the simulator's start.
    #[serde(with = "duration_text")]
    pub until: Duration,
}

impl Default for Decision {
    fn default() -> Self {
        Self {
            id: 0,
            origin: "cscli".to_owned(),
            scenario: "manual 'ban' from 'simulator'".to_owned(),
            scope: "Ip".to_owned(),
            kind: "ban".to_owned(),
            value: String::new(),
            until: Duration::from_secs(4 * 3600),
        }
    }
}

impl Decision {
    /// A ban of scope `Ip` by cscli, until four hours after the simulator's start.
    pub fn ban(value: impl Into<String>) -> Self {
        Self { value: value.into(), ..Self::default() }
    }

    /// A captcha of scope `Ip` by cscli, until four hours after the simulator's start.
    pub fn captcha(value: impl Into<String>) -> Self {
        Self { scenario: "manual 'captcha' from 'simulator'".to_owned(), ..Self::ban(value) }
            .kind("captcha")
    }

    /// The same with this type.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }

    /// The same with this scope.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// The same with this origin.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = origin.into();
        self
    }

    /// The same with this scenario.
    #[must_use]
    pub fn scenario(mut self, scenario: impl Into<String>) -> Self {
        self.scenario = scenario.into();
        self
    }

    /// The same, expiring at this time since the simulator's start.
    #[must_use]
    pub fn until(mut self, until: Duration) -> Self {
        self.until = until;
        self
    }

    /// Appends the row as LAPI shows it at `now`. Key order is that of the real answer.
    pub(super) fn render(&self, now: Duration, whole_seconds: bool, out: &mut Vec<u8>) {
        let mut left = self.until.saturating_sub(now);
        if whole_seconds {
            left = Duration::from_secs(left.as_secs_f64().round() as u64);
        }
        out.extend_from_slice(b"{\"duration\":\"");
        write_go_duration(left, out);
        out.extend_from_slice(b"\",\"id\":");
        write_number(self.id, 1, out);
        for (before, text) in [
            (",\"origin\":", &self.origin),
            (",\"scenario\":", &self.scenario),
            (",\"scope\":", &self.scope),
            (",\"type\":", &self.kind),
            (",\"value\":", &self.value),
        ] {
            out.extend_from_slice(before.as_bytes());
            write_go_json_string(text, out);
        }
        out.push(b'}');
    }
}

/// Go's `time.Duration.String()`: `3h59m55.872842946s`, `587.005257ms`, `1.5µs`, `0s`.
fn write_go_duration(duration: Duration, out: &mut Vec<u8>) {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    let unit = if seconds == 0 {
        match nanos {
            0 => "0s",
            1..1_000 => {
                write_number(u64::from(nanos), 1, out);
                "ns"
            }
            1_000..1_000_000 => {
                write_decimal(u64::from(nanos / 1_000), nanos % 1_000, 3, out);
                "µs"
            }
            _ => {
                write_decimal(u64::from(nanos / 1_000_000), nanos % 1_000_000, 6, out);
                "ms"
            }
        }
    } else {
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        if hours > 0 {
            write_number(hours, 1, out);
            out.push(b'h');
        }
        if hours > 0 || minutes > 0 {
            write_number(minutes, 1, out);
            out.push(b'm');
        }
        write_decimal(seconds % 60, nanos, 9, out);
        "s"
    };
    out.extend_from_slice(unit.as_bytes());
}

/// `whole.fraction` without trailing zeros; the fraction has `digits` places.
fn write_decimal(whole: u64, mut fraction: u32, mut digits: usize, out: &mut Vec<u8>) {
    write_number(whole, 1, out);
    if fraction == 0 {
        return;
    }
    while fraction.is_multiple_of(10) {
        fraction /= 10;
        digits -= 1;
    }
    out.push(b'.');
    write_number(u64::from(fraction), digits, out);
}

/// The number with at least so many digits. By hand, as all of a row: a hundred thousand rows of the formatter's
/// are most of an answer's time.
fn write_number(mut number: u64, digits: usize, out: &mut Vec<u8>) {
    let from = out.len();
    while number > 0 || out.len() < from + digits {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
    }
    out[from..].reverse();
}

/// A JSON string with Go's default escapes: `<`, `>`, `&` and the two line separators of JavaScript
/// become `\u…`, other non-ASCII text stays.
fn write_go_json_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    // Nearly always nothing is escaped. 0xe2 is what the two line separators begin with.
    let is_plain = |b: u8| b >= b' ' && !matches!(b, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2);
    if text.bytes().all(is_plain) {
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    while let Some(at) = rest.find(|c: char| {
        matches!(c, '"' | '\\' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}')
    }) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let special = rest[at..].chars().next().unwrap_or_default();
        let written = match special {
            '"' | '\\' => write!(out, "\\{special}"),
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            other => write!(out, "\\u{:04x}", u32::from(other)),
        };
        written.expect("a Vec takes every write");
        rest = &rest[at + special.len_utf8()..];
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go_duration(duration: Duration) -> String {
        let mut out = Vec::new();
        write_go_duration(duration, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn duration_of_any_size_is_written_as_go_does() {
        // The first four were observed on 1.4.6 (facts 1.1).
        for (seconds, nanos, expected) in [
            (3 * 3600 + 59 * 60 + 55, 872_842_946, "3h59m55.872842946s"),
            (875_999 * 3600 + 59 * 60 + 58, 872_831_130, "875999h59m58.87283113s"),
            (0, 587_005_257, "587.005257ms"),
            (0, 42_677_064, "42.677064ms"),
            (3600, 0, "1h0m0s"),
            (60, 500_000_000, "1m0.5s"),
            (1, 50_000, "1.00005s"),
            (0, 1_500, "1.5µs"),
            (0, 7, "7ns"),
            (0, 0, "0s"),
        ] {
            assert_eq!(go_duration(Duration::new(seconds, nanos)), expected);
        }
    }

    #[test]
    fn decision_with_markup_rendered_is_escaped_as_go_does() {
        let decision = Decision::ban("2001:DB8::1")
            .scenario("t/<b>&é \"q\" \\ \n\u{7}\u{2028}")
            .until(Duration::from_millis(1_500));
        let mut out = Vec::new();
        decision.render(Duration::ZERO, false, &mut out);
        let expected = r#"{"duration":"1.5s","id":0,"origin":"cscli","scenario":"t/\u003cb\u003e\u0026é \"q\" \\ \n\u0007\u2028","scope":"Ip","type":"ban","value":"2001:DB8::1"}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

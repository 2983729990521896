//! Log lines: what is said, at which level, and how it looks.
//!
//! A line is one text for a person and the same facts as fields for a machine. Where it goes is the
//! shell's business; no text from outside reaches a line except through [`clip`].

use std::fmt::{self, Write as _};

/// How much a line matters to the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What was done.
    Info,
    /// Something was left undone or skipped; nobody needs to act at once.
    Warn,
    /// The run failed.
    Error,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its level.
    pub level: Level,
    event: &'static str,
    text: String,
    fields: Vec<(&'static str, String)>,
}

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// For a person: level in colour, then the text.
    Terminal,
    /// For a collector: `level=info event=… key=value … msg="…"`.
    KeyValue,
}

impl Line {
    /// A line about `event` (a fixed word to search for), saying `text`.
    pub fn new(level: Level, event: &'static str, text: impl Into<String>) -> Self {
        Self { level, event, text: text.into(), fields: Vec::new() }
    }

    /// The same line with one more field for machines.
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.push(key, &value);
        self
    }

    /// Apart from [`Self::with`], of which the component has a copy for each type of value.
    fn push(&mut self, key: &'static str, value: &dyn fmt::Display) {
        self.fields.push((key, value.to_string()));
    }

    /// The same line, saying `text`.
    pub(crate) fn saying(self, text: String) -> Self {
        Self { text, ..self }
    }

    /// What it says to a person.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line as it is written, without its end.
    pub fn render(&self, style: Style) -> String {
        match style {
            Style::Terminal => {
                let colour = match self.level {
                    Level::Info => "\x1b[32m",
                    Level::Warn => "\x1b[33m",
                    Level::Error => "\x1b[31m",
                };
                let level = self.level.as_str().to_ascii_uppercase();
                format!("{colour}{level:<5}\x1b[0m {}", self.text)
            }
            Style::KeyValue => {
                let mut out = format!("level={} event={}", self.level.as_str(), self.event);
                for (key, value) in &self.fields {
                    let _ = write!(out, " {key}={}", quoted(value));
                }
                let _ = write!(out, " msg={:?}", self.text);
                out
            }
        }
    }
}

fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '=';
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("{value:?}")
    }
}

/// Text from outside, made fit for a log line: control characters escaped, cut after `chars_max`
/// characters. An error page or a value of LAPI may hold anything, a megabyte of it, or an escape
/// sequence for the operator's terminal.
pub fn clip(text: &str, chars_max: usize) -> String {
    let mut out = String::new();
    for (at, c) in text.trim().chars().enumerate() {
        if at == chars_max {
            out.push('…');
            break;
        }
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// A count as people read it: `4,996`.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 item`, `2 items`.
pub(crate) fn plural(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// Seconds with one decimal, as in `0.8 s`.
pub(crate) fn seconds(duration: std::time::Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_rendered_for_a_machine_quotes_what_needs_it() {
        let line = Line::new(Level::Warn, "skipped", "1 value is no address")
            .with("count", 1)
            .with("first", "a b=\"c\"")
            .with("none", "");
        assert_eq!(
            line.render(Style::KeyValue),
            r#"level=warn event=skipped count=1 first="a b=\"c\"" none="" msg="1 value is no address""#
        );
        assert_eq!(line.render(Style::Terminal), "\x1b[33mWARN \x1b[0m 1 value is no address");
    }

    #[test]
    fn hostile_text_clipped_is_short_and_harmless() {
        assert_eq!(clip(" a\nb\x1b[31m ", 99), r"a\nb\u{1b}[31m");
        assert_eq!(clip(&"é".repeat(1_000_000), 3), "ééé…");
    }

    #[test]
    fn numbers_shown_to_people_have_separators_and_units() {
        assert_eq!([0, 999, 1000, 1234567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            (plural(1, "item"), plural(2000, "item")),
            ("1 item".into(), "2,000 items".into())
        );
    }
}

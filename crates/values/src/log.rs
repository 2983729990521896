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
    pub fn saying(self, text: String) -> Self {
        Self { text, ..self }
    }

    /// The word that it is about.
    pub fn event(&self) -> &'static str {
        self.event
    }

    /// What it says to a person.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line as it is written, without its end, and never longer than [`LINE_BYTES_MAX`]: of what is
    /// longer the text is cut, so that no collector splits the line.
    pub fn render(&self, style: Style) -> String {
        let whole = self.render_saying(style, &self.text);
        let over = whole.len().saturating_sub(LINE_BYTES_MAX);
        if over == 0 {
            return whole;
        }
        // Each character of the text takes at least its own bytes in the line.
        let most = self.text.len().saturating_sub(over + CUT.len());
        let shorter = cut(&self.text, most);
        let mut line = self.render_saying(style, &format!("{shorter}{CUT}"));
        if line.len() > LINE_BYTES_MAX {
            let most = LINE_BYTES_MAX - CUT.len();
            line.truncate(cut(&line, most).len());
            line.push_str(CUT);
        }
        line
    }

    fn render_saying(&self, style: Style, text: &str) -> String {
        match style {
            Style::Terminal => {
                let colour = match self.level {
                    Level::Info => "\x1b[32m",
                    Level::Warn => "\x1b[33m",
                    Level::Error => "\x1b[31m",
                };
                let level = self.level.as_str().to_ascii_uppercase();
                format!("{colour}{level:<5}\x1b[0m {text}")
            }
            Style::KeyValue => {
                let mut out = format!("level={} event={}", self.level.as_str(), self.event);
                for (key, value) in &self.fields {
                    let _ = write!(out, " {key}={}", quoted(value));
                }
                let _ = write!(out, " msg={text:?}");
                out
            }
        }
    }
}

/// The longest line: collectors split longer ones, some at 2 kB.
pub const LINE_BYTES_MAX: usize = 2_000;
const CUT: &str = "…";

/// The beginning of `text` in at most so many bytes, on a character's border.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '=';
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("{value:?}")
    }
}

/// Text from outside, made fit for a log line: control characters escaped, and those that change the
/// direction of what follows; cut after `chars_max` characters. An error page or a value of LAPI may hold
/// anything, a megabyte of it, or an escape sequence for the operator's terminal.
pub fn clip(text: &str, chars_max: usize) -> String {
    let mut out = String::new();
    for (at, c) in text.trim().chars().enumerate() {
        if at == chars_max {
            out.push('…');
            break;
        }
        if c.is_control() || turns_text(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Characters that nobody sees and that move what stands after them: overrides and isolates of direction,
/// line and paragraph separators (Unicode, 23.2).
fn turns_text(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A count as people read it: `4,996`.
pub fn thousands(n: u64) -> String {
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
pub fn plural(n: u64, noun: &str) -> String {
    let ending = match n {
        1 => "",
        _ if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {noun}{ending}", thousands(n))
}

/// Seconds with one decimal, as in `0.8 s`.
pub fn seconds(duration: std::time::Duration) -> String {
    format!("{} s", decimal(duration, 1))
}

/// Seconds with so many decimals, at most six, rounded. Whole numbers only: the code that prints a float is as
/// large as that of the whole log.
pub fn decimal(duration: std::time::Duration, decimals: u32) -> String {
    let (micros, unit) = (duration.as_micros() as u64, 10_u64.pow(6 - decimals));
    let (units, second) = (micros.saturating_add(unit / 2) / unit, 10_u64.pow(decimals));
    format!("{}.{:0width$}", units / second, units % second, width = decimals as usize)
}

#[cfg(test)]
mod tests {
    #[test]
    fn seconds_in_decimals_are_rounded_as_a_person_would() {
        let decimal =
            |millis, decimals| super::decimal(std::time::Duration::from_millis(millis), decimals);
        let texts =
            [decimal(0, 1), decimal(49, 1), decimal(50, 1), decimal(1_999, 1), decimal(2_026, 3)];
        assert_eq!(texts, ["0.0", "0.0", "0.1", "2.0", "2.026"]);
    }

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
        assert_eq!(clip("a\u{202e}b\u{2066}c\u{2028}d", 99), r"a\u{202e}b\u{2066}c\u{2028}d");
    }

    #[test]
    fn line_too_long_for_a_collector_is_cut_in_its_text_and_keeps_its_fields() {
        for text in ["é".repeat(3_000), "\"".repeat(3_000), "x".repeat(1_999)] {
            let line = Line::new(Level::Error, "summary", text).with("success", 0);
            for style in [Style::KeyValue, Style::Terminal] {
                let shown = line.render(style);
                assert!(shown.len() <= LINE_BYTES_MAX, "{}", shown.len());
                assert!(shown.contains('…'));
            }
            assert!(line.render(Style::KeyValue).contains(" success=0 msg="));
        }
        let field = Line::new(Level::Info, "x", "short").with("long", "y".repeat(3_000));
        assert!(field.render(Style::KeyValue).len() <= LINE_BYTES_MAX);
        let short = Line::new(Level::Info, "x", "short");
        assert_eq!(short.render(Style::KeyValue), r#"level=info event=x msg="short""#);
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

//! The Prometheus text format, version 0.0.4, read as strictly as the Pushgateway's own parser and
//! checks: names, labels, floats, one TYPE and one HELP before the samples, no timestamps, no sample
//! twice, a line feed at the end.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use memchr::memchr_iter;

use super::Grouping;

/// One metric.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Family {
    /// The text of its HELP line.
    pub help: Option<String>,
    /// The word of its TYPE line.
    pub kind: Option<String>,
    /// Its samples, in the order in which they were pushed.
    pub samples: Vec<Sample>,
}

/// One sample of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its name: that of the metric, or with a suffix such as `_bucket`.
    pub name: String,
    /// Its own labels, without those of the group.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// What is wrong, and in which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FormatError {
    line: usize,
    what: String,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "text format parsing error in line {}: {}", self.line, self.what)
    }
}

const KINDS: [&str; 5] = ["counter", "gauge", "histogram", "summary", "untyped"];

pub(super) fn parse(body: &[u8]) -> Result<BTreeMap<String, Family>, FormatError> {
    let wrong = |line, what: &str| FormatError { line, what: what.to_owned() };
    let text = std::str::from_utf8(body).map_err(|_| wrong(1, "invalid UTF-8"))?;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(wrong(text.lines().count(), "unexpected end of input stream"));
    }
    let mut families = Families::default();
    let mut from = 0;
    for (index, end) in memchr_iter(b'\n', body).enumerate() {
        let line = &text[from..end];
        from = end + 1;
        let line = line.strip_suffix('\r').unwrap_or(line);
        parse_line(line.trim_start_matches([' ', '\t']), &mut families)
            .map_err(|what| FormatError { line: index + 1, what })?;
    }
    Ok(families.all.into_iter().filter(|(_, family)| !family.samples.is_empty()).collect())
}

/// The metrics so far. Lines of one metric follow each other, so the last one is looked at first.
#[derive(Default)]
struct Families {
    all: Vec<(String, Family)>,
    last: usize,
}

impl Families {
    fn position(&self, name: &str) -> Option<usize> {
        let is_it = |(known, _): &(String, Family)| known == name;
        match self.all.get(self.last).is_some_and(is_it) {
            true => Some(self.last),
            false => self.all.iter().position(is_it),
        }
    }

    fn get(&self, name: &str) -> Option<&Family> {
        self.position(name).map(|at| &self.all[at].1)
    }

    fn or_default(&mut self, name: &str) -> &mut Family {
        self.last = self.position(name).unwrap_or_else(|| {
            self.all.push((name.to_owned(), Family::default()));
            self.all.len() - 1
        });
        &mut self.all[self.last].1
    }
}

fn parse_line(line: &str, families: &mut Families) -> Result<(), String> {
    if line.is_empty() {
        return Ok(());
    }
    if let Some(comment) = line.strip_prefix('#') {
        return parse_comment(comment.trim_start(), families);
    }
    let name_end = line.bytes().position(|b| matches!(b, b'{' | b' ' | b'\t'));
    let name_end = name_end.unwrap_or(line.len());
    let (name, rest) = line.split_at(name_end);
    if !is_metric_name(name) {
        return Err(format!("invalid metric name {name:?}"));
    }
    let rest = rest.trim_start();
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => parse_labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let mut words = rest.split_ascii_whitespace();
    let value = words.next().unwrap_or_default();
    let value =
        parse_float(value).ok_or_else(|| format!("expected float as value, got {value:?}"))?;
    if words.next().is_some() {
        return Err("pushed metrics must not have timestamps".to_owned());
    }
    let family = family_of(name, families);
    // The metric may have become a histogram meanwhile.
    let known = [Some(family), (family != name).then_some(name)];
    let mut samples = known.into_iter().flatten().filter_map(|name| families.get(name));
    let is_same = |sample: &Sample| sample.name == name && sample.labels == labels;
    if samples.any(|family| family.samples.iter().any(is_same)) {
        return Err(format!("metric {name:?} was collected before with the same label values"));
    }
    let sample = Sample { name: name.to_owned(), labels, value };
    families.or_default(family).samples.push(sample);
    Ok(())
}

fn parse_comment(comment: &str, families: &mut Families) -> Result<(), String> {
    let (keyword, rest) = first_word(comment);
    let (name, rest) = first_word(rest);
    if !matches!(keyword, "HELP" | "TYPE") {
        return Ok(());
    }
    if !is_metric_name(name) {
        return Err(format!("invalid metric name in {keyword} line: {name:?}"));
    }
    let family = families.or_default(name);
    if keyword == "HELP" {
        if family.help.replace(rest.to_owned()).is_some() {
            return Err(format!("second HELP line for metric name {name:?}"));
        }
        return Ok(());
    }
    if !KINDS.contains(&rest) {
        return Err(format!("unknown metric type {rest:?}"));
    }
    if family.kind.replace(rest.to_owned()).is_some() || !family.samples.is_empty() {
        return Err(format!(
            "second TYPE line for metric name {name:?}, or TYPE reported after samples"
        ));
    }
    Ok(())
}

/// The text up to the first blank, and what comes after it.
fn first_word(text: &str) -> (&str, &str) {
    match text.bytes().position(|b| matches!(b, b' ' | b'\t')) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    }
}

/// Samples of histograms and summaries have suffixes.
fn family_of<'a>(name: &'a str, families: &Families) -> &'a str {
    ["_bucket", "_sum", "_count"]
        .into_iter()
        .filter_map(|suffix| name.strip_suffix(suffix))
        .find(|base| {
            let kind = families.get(base).and_then(|family| family.kind.as_deref());
            matches!(kind, Some("histogram" | "summary"))
        })
        .unwrap_or(name)
}

/// Reads `name="value",…}`; returns the labels and what follows.
fn parse_labels(mut rest: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (name, after) = rest.split_once('=').ok_or("expected '=' after label name")?;
        let name = name.trim();
        if !is_label_name(name) {
            return Err(format!("invalid label name {name:?}"));
        }
        let after = after.trim_start();
        let quoted =
            after.strip_prefix('"').ok_or_else(|| format!("expected '\"' in label {name:?}"))?;
        let (value, after) = parse_quoted(quoted)?;
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("duplicate label name {name:?}"));
        }
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err("expected ',' or '}' after a label".to_owned()),
        }
    }
}

/// Reads up to the closing quote.
fn parse_quoted(text: &str) -> Result<(String, &str), String> {
    // Nearly always nothing is escaped.
    if let Some(at) = text.bytes().position(|b| matches!(b, b'"' | b'\\'))
        && text.as_bytes()[at] == b'"'
    {
        return Ok((text[..at].to_owned(), &text[at + 1..]));
    }
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, escaped @ ('\\' | '"'))) => escaped,
                _ => return Err("invalid escape sequence in label value".to_owned()),
            }),
            other => value.push(other),
        }
    }
    Err("label value contains unescaped new-line, or does not end".to_owned())
}

/// Go's ParseFloat for what the format uses; Rust's would also take "infinity" and the like.
fn parse_float(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        number if number.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => {
            let plain = number.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
            plain.then(|| number.parse().ok()).flatten()
        }
        _ => None,
    }
}

fn is_metric_name(name: &str) -> bool {
    is_name(name, |b| b.is_ascii_alphabetic() || matches!(b, b'_' | b':'))
}

pub(super) fn is_label_name(name: &str) -> bool {
    is_name(name, |b| b.is_ascii_alphabetic() || b == b'_')
}

fn is_name(name: &str, starts: impl Fn(u8) -> bool) -> bool {
    name.bytes().next().is_some_and(&starts)
        && name.bytes().all(|b| starts(b) || b.is_ascii_digit())
}

/// The groups' metrics as one text. Metrics of one name from several groups share one header.
pub(super) fn render<'a>(
    families: impl Iterator<Item = (&'a str, &'a Grouping, &'a Family)>,
) -> String {
    let mut by_name: BTreeMap<&str, Vec<(&Grouping, &Family)>> = BTreeMap::new();
    for (name, grouping, family) in families {
        by_name.entry(name).or_default().push((grouping, family));
    }
    let mut text = String::new();
    for (name, groups) in by_name {
        let first = groups.first().map(|(_, family)| *family);
        if let Some(help) = first.and_then(|family| family.help.as_ref()) {
            line(&mut text, format_args!("# HELP {name} {help}"));
        }
        let kind = first.and_then(|family| family.kind.as_deref()).unwrap_or("untyped");
        line(&mut text, format_args!("# TYPE {name} {kind}"));
        for (grouping, family) in groups {
            for sample in &family.samples {
                let mut labels = BTreeMap::from([("instance", "")]);
                let own = sample.labels.iter().chain(grouping);
                labels.extend(own.map(|(name, value)| (name.as_str(), value.as_str())));
                let labels: Vec<String> =
                    labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
                let labels = labels.join(",");
                line(&mut text, format_args!("{}{{{labels}}} {}", sample.name, sample.value));
            }
        }
    }
    text
}

fn line(text: &mut String, content: fmt::Arguments<'_>) {
    writeln!(text, "{content}").expect("a String takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_with_every_construct_is_parsed() {
        let text = "# a comment\n\n# HELP a_total All of it.\n# TYPE a_total counter\n\
                    a_total{x=\"1\", y=\"a \\\"q\\\" \\\\ \\n\"} 1e3\na_total{} +Inf\n\
                    # TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 1.5\nh_count 2\n";
        let families = parse(text.as_bytes()).unwrap();
        assert_eq!(families.keys().collect::<Vec<_>>(), ["a_total", "h"]);
        let a = &families["a_total"];
        assert_eq!((a.help.as_deref(), a.kind.as_deref()), (Some("All of it."), Some("counter")));
        assert_eq!(a.samples[0].labels["y"], "a \"q\" \\ \n");
        assert_eq!(a.samples[1].value, f64::INFINITY);
        assert_eq!(families["h"].samples.len(), 3);
        assert_eq!(parse(b""), Ok(BTreeMap::new()));
    }

    #[test]
    fn text_with_a_mistake_is_refused_with_its_line() {
        for (text, line, what) in [
            ("a 1", 1, "end of input"),
            ("# TYPE a gauge\na 1\n# TYPE a gauge\n", 3, "second TYPE"),
            ("a 1\n# TYPE a gauge\n", 2, "after samples"),
            ("# HELP a x\n# HELP a y\n", 2, "second HELP"),
            ("# TYPE a gage\n", 1, "unknown metric type"),
            ("1a 1\n", 1, "metric name"),
            ("a-b 1\n", 1, "metric name"),
            ("a one\n", 1, "expected float"),
            ("a\n", 1, "expected float"),
            ("a infinity\n", 1, "expected float"),
            ("a 1 1700000000000\n", 1, "timestamps"),
            ("a 1\na 2\n", 2, "collected before"),
            ("a{x=\"1\"} 1\na{x=\"1\",} 2\n", 2, "collected before"),
            ("h_sum 1\n# TYPE h histogram\nh_sum 2\n", 3, "collected before"),
            ("# TYPE h histogram\nh_sum 1\nh_sum 2\n", 3, "collected before"),
            ("a{x=1} 1\n", 1, "expected '\"'"),
            ("a{x=\"1} 1\n", 1, "does not end"),
            ("a{x=\"1\",x=\"2\"} 1\n", 1, "duplicate label"),
            ("a{1x=\"1\"} 1\n", 1, "label name"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.what.contains(what), "{text}: {error}");
        }
    }
}

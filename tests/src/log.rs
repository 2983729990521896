//! The component's stdout as its readers take it: lines of `key=value`. Reads strictly, so that a
//! line of another form fails the test that meets it.

use std::collections::BTreeMap;

/// One line, by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine(BTreeMap<String, String>);

impl LogLine {
    /// Reads a line; `None` if it is not `key=value key="quoted value" …` from its start to its end.
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = BTreeMap::new();
        let mut rest = line;
        while !rest.is_empty() {
            let (key, after) = rest.split_once('=')?;
            let is_key = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if key.is_empty() || !key.chars().all(is_key) {
                return None;
            }
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => unquote(quoted)?,
                None => {
                    let end = after.find(' ').unwrap_or(after.len());
                    (after[..end].to_owned(), &after[end..])
                }
            };
            if fields.insert(key.to_owned(), value).is_some() {
                return None;
            }
            rest = match after.strip_prefix(' ') {
                Some(rest) => rest,
                None if after.is_empty() => after,
                None => return None,
            };
        }
        Some(Self(fields))
    }

    /// The value of a field; empty if there is none.
    pub fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    /// The value of a field that is a number.
    pub fn number(&self, key: &str) -> u64 {
        let value = self.get(key);
        value.parse().unwrap_or_else(|_| panic!("{key}={value:?} is no number: {self:?}"))
    }
}

/// A quoted value without its first quote, up to its last, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                '0' => value.push('\0'),
                'u' => {
                    let digits: String =
                        chars.by_ref().map(|(_, c)| c).skip(1).take_while(|c| *c != '}').collect();
                    value.push(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)?);
                }
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_fields_parse_gives_them() {
        let line = r#"level=info event=x ban=12 msg="a \"b\" \\ \u{7}c=d" last=1"#;
        let line = LogLine::parse(line).unwrap();
        assert_eq!(line.get("level"), "info");
        assert_eq!(line.number("ban"), 12);
        assert_eq!(line.get("msg"), "a \"b\" \\ \u{7}c=d");
        assert_eq!(line.get("last"), "1");
        assert_eq!(line.get("absent"), "");
    }

    #[test]
    fn line_of_another_form_parse_refuses() {
        for line in ["hello", "a=1  b=2", "a=\"1", "a=\"1\"b=2", "=1", "A=1", "a=1 a=2"] {
            assert_eq!(LogLine::parse(line), None, "{line:?}");
        }
    }
}

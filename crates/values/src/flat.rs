//! A fast reader of JSON objects that hold nothing but short texts: a decision as LAPI writes it, an item as
//! Cloudflare does. Two thirds of a run were spent on reading 150,000 of each.
//!
//! It understands little and is sure of that: what it takes, the general reader takes too and finds the same
//! in it. Everything else (an escaped character, a known name twice or with another value than a text, an
//! object in the object, white space that is none, an end that is not there yet) is `None`, and the general
//! reader decides.

/// How many names may be known.
const NAMES_MAX: usize = 8;

/// The text of each known name, in the order of the names; `None` = it is not there.
pub type Texts<'a> = [Option<&'a str>; NAMES_MAX];

/// Reads the object that begins at `at`, and tells where it ends. `names` (at most eight) are best given in
/// the order in which they are written.
pub fn object<'a>(text: &'a str, at: usize, names: &[&str]) -> Option<(Texts<'a>, usize)> {
    let bytes = text.as_bytes();
    let mut texts = Texts::default();
    let mut expected = 0;
    let mut at = token(bytes, expect(bytes, at, b'{')?);
    if bytes.get(at) == Some(&b'}') {
        return Some((texts, at + 1));
    }
    loop {
        let name_at = expect(bytes, at, b'"')?;
        let is_here = |name: &str| {
            let end = name_at + name.len();
            bytes.get(name_at..end) == Some(name.as_bytes()) && bytes.get(end) == Some(&b'"')
        };
        let known = match names.get(expected) {
            Some(next) if is_here(next) => Some(expected),
            _ => names.iter().position(|name| is_here(name)),
        };
        let name_end = match known {
            Some(known) => name_at + names[known].len(),
            None => text_end(bytes, name_at)?,
        };
        at = token(bytes, expect(bytes, token(bytes, name_end + 1), b':')?);
        match known {
            Some(known) => {
                let value_at = expect(bytes, at, b'"')?;
                let end = text_end(bytes, value_at)?;
                // Borders of characters, since quotation marks stand there.
                let value = text.get(value_at..end)?;
                if texts.get_mut(known)?.replace(value).is_some() {
                    return None;
                }
                expected = known + 1;
                at = end + 1;
            }
            None => at = skipped(bytes, at)?,
        }
        at = token(bytes, at);
        match bytes.get(at)? {
            b',' => at = token(bytes, at + 1),
            b'}' => return Some((texts, at + 1)),
            _ => return None,
        }
    }
}

/// Where the next token begins.
#[inline(always)]
pub fn token(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// What comes after `byte`, if that is at `at`.
#[inline(always)]
pub fn expect(bytes: &[u8], at: usize, byte: u8) -> Option<usize> {
    (bytes.get(at) == Some(&byte)).then_some(at + 1)
}

/// Where the text that begins at `at` has its closing quotation mark; `None` if anything in it is not meant
/// as it stands.
#[inline(always)]
fn text_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    // Eight at once; which of them is the first that means something is told by the lowest bit.
    while let Some(eight) = bytes.get(at..at + 8) {
        let eight = u64::from_le_bytes(eight.try_into().ok()?);
        let equal = |byte: u64| {
            let apart = eight ^ (byte * EACH);
            apart.wrapping_sub(EACH) & !apart
        };
        let control = eight.wrapping_sub(0x20 * EACH) & !eight;
        let found = (equal(0x22) | equal(0x5c) | control) & HIGH;
        if found != 0 {
            at += (found.trailing_zeros() / 8) as usize;
            return (bytes.get(at) == Some(&b'"')).then_some(at);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    let found = rest.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\'))?;
    (rest[found] == b'"').then_some(at + found)
}

/// Where a value ends that nobody asked for: a text, a small number, a word, something empty.
fn skipped(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    match rest.first()? {
        b'"' => return Some(text_end(bytes, at + 1)? + 1),
        b'1'..=b'9' => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            // What follows it is looked at by who comes after: a fraction is none of ours.
            return (digits < 16).then_some(at + digits);
        }
        _ => {}
    }
    let plain = ["null", "true", "false", "{}", "[]", "0"];
    let plain = plain.iter().find(|plain| rest.starts_with(plain.as_bytes()))?;
    Some(at + plain.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    const NAMES: [&str; 3] = ["a", "bb", "ccc"];

    fn read(text: &str) -> Option<([Option<&str>; 3], usize)> {
        let (texts, end) = object(text, 0, &NAMES)?;
        assert!(texts[3..].iter().all(Option::is_none));
        Some(([texts[0], texts[1], texts[2]], end))
    }

    #[test]
    fn object_of_texts_read_gives_those_that_are_known_in_any_order() {
        for (text, texts) in [
            ("{}", [None, None, None]),
            (r#"{"a":"1","bb":"2","ccc":"3"}"#, [Some("1"), Some("2"), Some("3")]),
            (r#"{"ccc":"3","x":"y","a":""}"#, [Some(""), None, Some("3")]),
            (r#"{ "x" : 17 , "a" : "ä \u00fc is not escaped" }"#, [None; 3]),
            (
                r#"{"x":null,"y":{},"z":[],"n":0,"t":true,"bb":"ä€ to the end"}"#,
                [None, Some("ä€ to the end"), None],
            ),
        ] {
            let found = read(text);
            match text.contains('\\') {
                true => assert_eq!(found, None, "{text}"),
                false => assert_eq!(found, Some((texts, text.len())), "{text}"),
            }
        }
    }

    #[test]
    fn object_of_anything_else_is_left_to_the_general_reader() {
        for text in [
            "",
            "{",
            r#"{"a":"1""#,
            r#"{"a":"1",}"#,
            r#"{"a":"1" "bb":"2"}"#,
            r#"{"a":"1","a":"1"}"#,
            r#"{"a":null}"#,
            r#"{"a":7}"#,
            r#"{"a":"\n"}"#,
            "{\"a\":\"\n\"}",
            r#"{"x":01}"#,
            r#"{"x":1.5}"#,
            r#"{"x":-1}"#,
            r#"{"x":nul}"#,
            r#"{"x":{"a":"1"}}"#,
            r#"{"x":12345678901234567890}"#,
            r#"{"x":"a long one, and no end of it"#,
            "[]",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    /// JSON and what is nearly JSON, with the known names often.
    fn odd() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            4 => Just("\"a\"".to_owned()),
            4 => Just("\"bb\"".to_owned()),
            2 => Just("\"ccc\"".to_owned()),
            2 => "\"[abc\\\\u0-9{}\\[\\]: ä]{0,9}\"",
        ];
        let value = prop_oneof![
            6 => "\"[a-z0-9.:/ ä€]{0,20}\"",
            1 => "\"[ -~\u{1}\u{7f}\u{e9}]{0,12}\"",
            1 => "[-+0-9.eE]{1,5}",
            1 => prop_oneof![Just("null"), Just("true"), Just("false"), Just("{}"), Just("[]"),
                Just("nul"), Just("{ }"), Just("[1]"), Just(r#"{"a":"1"}"#), Just("0"), Just("00")]
                .prop_map(str::to_owned),
        ];
        let space =
            prop_oneof![9 => Just(""), 1 => Just(" "), 1 => Just("\n\t\r"), 1 => Just("\u{a0}")];
        let pair = (name, space.clone(), value, space)
            .prop_map(|(name, a, value, b)| format!("{name}{a}:{b}{value}"));
        let text = proptest::collection::vec(pair, 0..6).prop_map(|pairs| pairs.join(","));
        (text, 0usize..80, any::<u8>(), 0u8..4).prop_map(|(text, at, byte, harm)| {
            let mut text = format!("{{{text}}}").into_bytes();
            let at = at % text.len();
            match harm {
                0 => text[at] = byte,
                1 => text.truncate(at),
                _ => {}
            }
            String::from_utf8_lossy(&text).into_owned()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn what_is_taken_the_general_reader_takes_and_finds_the_same_in_it(text in odd(), tail in "[ ,}\\]a]{0,9}") {
            let whole = format!("{text}{tail}");
            if let Some((texts, end)) = read(&whole) {
                let general: Map<String, Value> = serde_json::from_str(&whole[..end]).unwrap();
                for (name, found) in NAMES.iter().zip(texts) {
                    prop_assert_eq!(general.get(*name).and_then(Value::as_str), found);
                    prop_assert_eq!(general.contains_key(*name), found.is_some());
                }
            }
        }
    }
}

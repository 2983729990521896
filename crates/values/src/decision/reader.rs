//! Reads a JSON array of decisions as it arrives, holding one element at a time.
//!
//! 150,000 decisions are 24 MB (facts crowdsec 1.8); read whole, they would be held twice, as text
//! and as a tree. An element of nothing but plain texts, which all but a few are, is read where it stands
//! ([`Decision::read`]); of any other this file only finds where it ends, and the element itself is serde_json's.
//! A body is good to its last byte or it is nothing: a cut-off answer must never look like a
//! shorter list of decisions.

use super::Decision;

/// The most bytes one decision may take. A real one takes about 160; a scenario is free text, so there is
/// room. A larger one is skipped without being held, and harms no other; a body that never closes a brace
/// ends with itself.
const ELEMENT_BYTES_MAX: usize = 4 << 20;

/// A push parser: feed the body with [`push`](Self::push), close it with [`finish`](Self::finish).
///
/// ```
/// # use edge_sync_values::decision::DecisionReader;
/// let mut reader = DecisionReader::default();
/// let mut values = Vec::new();
/// for chunk in [r#"[{"scope":"Ip","type":"ban","val"#, r#"ue":"203.0.113.7"}]"#] {
///     reader.push(chunk.as_bytes(), |d| values.push(d.unwrap().value.to_string()))?;
/// }
/// reader.finish()?;
/// assert_eq!(values, ["203.0.113.7"]);
/// # Ok::<(), edge_sync_values::decision::BodyError>(())
/// ```
#[derive(Debug, Default)]
pub struct DecisionReader {
    state: State,
    /// The part of the current element that came with earlier chunks.
    partial: Vec<u8>,
    read: u64,
    malformed: u64,
}

/// What is kept of a decision that is too large, to name it by.
const NAMED_BYTES: usize = 64;

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Start,
    /// Inside `null`, this many letters seen.
    Null(u8),
    /// After `[`: an element or `]`.
    First,
    /// After `,`: an element.
    Next,
    /// Inside an element.
    Element {
        depth: u32,
        string: bool,
        escaped: bool,
        /// It is larger than any decision: its end is looked for, and nothing of it is kept.
        too_large: bool,
    },
    /// After an element: `,` or `]`.
    After,
    End,
}

/// Why a body is not an answer of LAPI. Whatever was read from it so far must be thrown away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The first thing in it is neither an array nor `null`.
    #[error("the body is not a JSON array of decisions (it starts with {0:?})")]
    NotAnArray(String),
    /// An array, but with something else than objects in it.
    #[error(
        "the body is an array of something else than decisions (element {index} starts with {start:?})"
    )]
    NotDecisions {
        /// Position in the array, from 0.
        index: u64,
        /// Its first characters.
        start: String,
    },
    /// Not JSON.
    #[error("the body is not valid JSON at decision {index}: {message}")]
    Syntax {
        /// Position in the array, from 0.
        index: u64,
        /// The parser's words.
        message: String,
    },
    /// It ended too early.
    #[error("the body ends in the middle, after {read} decisions")]
    CutOff {
        /// Decisions that were complete.
        read: u64,
    },
    /// Every element is an object, and not one has a scope, a type and a value. To take that for
    /// "no decisions" would empty the edge.
    #[error("none of the {0} objects in the body has the scope, type and value of a decision")]
    NothingReadable(u64),
}

impl DecisionReader {
    /// Takes the next bytes and hands each decision that is complete to `each`: the decision, or
    /// why the object is not one (that harms no other).
    pub fn push(
        &mut self,
        chunk: &[u8],
        mut each: impl FnMut(Result<Decision<'_>, serde_json::Error>),
    ) -> Result<(), BodyError> {
        // Its last character may be cut, or none: that is the general reader's.
        let text = match std::str::from_utf8(chunk) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&chunk[..error.valid_up_to()]).unwrap_or(""),
        };
        let mut rest = chunk;
        while let Some((&byte, tail)) = rest.split_first() {
            match self.state {
                State::First | State::Next if byte == b'{' => {
                    let begin = chunk.len() - rest.len();
                    let read = Decision::read(text, begin);
                    if let Some((decision, end)) =
                        read.filter(|(_, end)| end - begin <= ELEMENT_BYTES_MAX)
                    {
                        each(Ok(decision));
                        self.read += 1;
                        self.state = State::After;
                        rest = &chunk[end..];
                        continue;
                    }
                    self.state = State::Element {
                        depth: 0,
                        string: false,
                        escaped: false,
                        too_large: false,
                    };
                    continue;
                }
                State::Element { .. } => {
                    rest = self.element(rest, &mut each)?;
                    continue;
                }
                _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => {}
                State::Start if byte == b'[' => self.state = State::First,
                State::Start if byte == b'n' => self.state = State::Null(1),
                State::Start => return Err(BodyError::NotAnArray(start_of(rest))),
                State::Null(seen) if NULL.get(usize::from(seen)) == Some(&byte) => {
                    self.state = if seen == 3 { State::End } else { State::Null(seen + 1) };
                }
                State::Null(_) => {
                    return Err(BodyError::NotAnArray(format!("n{}", start_of(rest))));
                }
                State::First if byte == b']' => self.state = State::End,
                State::After if byte == b',' => self.state = State::Next,
                State::After if byte == b']' => self.state = State::End,
                State::First | State::Next => {
                    return Err(BodyError::NotDecisions {
                        index: self.read,
                        start: start_of(rest),
                    });
                }
                State::After | State::End => {
                    return Err(BodyError::Syntax {
                        index: self.read,
                        message: format!("unexpected {:?}", start_of(rest)),
                    });
                }
            }
            rest = tail;
        }
        Ok(())
    }

    /// The body has ended. Returns how many elements it had.
    pub fn finish(self) -> Result<u64, BodyError> {
        match self.state {
            State::End if self.read > 0 && self.malformed == self.read => {
                Err(BodyError::NothingReadable(self.read))
            }
            State::End => Ok(self.read),
            _ => Err(BodyError::CutOff { read: self.read }),
        }
    }

    /// Consumes bytes of the current element; returns what is left of the chunk after it.
    fn element<'c>(
        &mut self,
        chunk: &'c [u8],
        each: &mut impl FnMut(Result<Decision<'_>, serde_json::Error>),
    ) -> Result<&'c [u8], BodyError> {
        let State::Element { mut depth, mut string, mut escaped, mut too_large } = self.state
        else {
            unreachable!("only called inside an element")
        };
        let end = chunk.iter().position(|&byte| {
            if string {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => string = false,
                    _ => {}
                }
                return false;
            }
            match byte {
                b'"' => string = true,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        let part = &chunk[..end.map_or(chunk.len(), |last| last + 1)];
        if !too_large && self.partial.len() + part.len() > ELEMENT_BYTES_MAX {
            too_large = true;
            // Its beginning, to name it by.
            let missing = NAMED_BYTES.saturating_sub(self.partial.len()).min(part.len());
            self.partial.extend_from_slice(&part[..missing]);
            self.partial.truncate(NAMED_BYTES);
            self.partial.shrink_to_fit();
        }
        match end {
            None if too_large => {
                self.state = State::Element { depth, string, escaped, too_large };
            }
            None => {
                self.partial.extend_from_slice(part);
                self.state = State::Element { depth, string, escaped, too_large };
            }
            Some(_) if too_large => {
                let start = std::mem::take(&mut self.partial);
                let start = String::from_utf8_lossy(&start);
                self.malformed += 1;
                each(Err(serde::de::Error::custom(format_args!(
                    "larger than {ELEMENT_BYTES_MAX} bytes: {start}"
                ))));
                self.read += 1;
                self.state = State::After;
            }
            Some(_) if self.partial.is_empty() => self.decode(part, each)?,
            Some(_) => {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(part);
                self.decode(&whole, each)?;
                // Kept for the next element that a chunk's border cuts, unless it grew out of proportion.
                if whole.capacity() <= 64 << 10 {
                    whole.clear();
                    self.partial = whole;
                }
            }
        }
        Ok(&chunk[part.len()..])
    }

    fn decode(
        &mut self,
        element: &[u8],
        each: &mut impl FnMut(Result<Decision<'_>, serde_json::Error>),
    ) -> Result<(), BodyError> {
        let decision = serde_json::from_slice(element);
        if let Err(error) = &decision {
            if !error.is_data() {
                return Err(BodyError::Syntax { index: self.read, message: error.to_string() });
            }
            self.malformed += 1;
        }
        each(decision);
        self.read += 1;
        self.state = State::After;
        Ok(())
    }
}

const NULL: &[u8] = b"null";

/// The first characters of something unexpected, short enough for a log line.
fn start_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(24)]).into_owned()
}

#[cfg(test)]
mod tests {
    use std::mem::{Discriminant, discriminant};

    use super::*;
    use proptest::prelude::*;

    const ONE: &str = r#"{"scope":"Ip","type":"ban","value":"203.0.113.7"}"#;

    /// Reads `body` in chunks of `size`: values of the good ones, messages of the malformed ones.
    fn read(body: &[u8], size: usize) -> Result<(Vec<String>, Vec<String>), BodyError> {
        let (mut values, mut malformed) = (Vec::new(), Vec::new());
        let mut reader = DecisionReader::default();
        for chunk in body.chunks(size.max(1)) {
            reader.push(chunk, |decision| match decision {
                Ok(decision) => values.push(decision.value.into_owned()),
                Err(error) => malformed.push(error.to_string()),
            })?;
        }
        reader.finish()?;
        Ok((values, malformed))
    }

    #[test]
    fn null_and_empty_array_read_are_no_decisions() {
        for body in ["null", " null\n", "[]", " [ ] "] {
            assert_eq!(read(body.as_bytes(), 1), Ok((vec![], vec![])), "{body}");
        }
    }

    #[test]
    fn body_that_is_no_array_read_is_refused_with_its_first_characters() {
        for (body, starts) in [
            ("{}", "{}"),
            ("\"x\"", "\"x\""),
            ("<html><body>502</body></html>", "<html><body>502</body></"),
            ("3", "3"),
            ("nil", "nil"),
        ] {
            assert_eq!(
                read(body.as_bytes(), 1024),
                Err(BodyError::NotAnArray(starts.into())),
                "{body}"
            );
        }
    }

    #[test]
    fn body_cut_anywhere_read_is_never_taken_for_a_shorter_list() {
        let body = format!("[{ONE}, {ONE},{ONE}]");
        for end in 0..body.len() {
            let cut = &body.as_bytes()[..end];
            assert!(matches!(read(cut, 7), Err(BodyError::CutOff { .. })), "cut at {end}");
        }
        assert!(read(body.as_bytes(), 7).is_ok());
    }

    #[test]
    fn text_after_the_array_read_is_refused() {
        for body in [format!("[{ONE}] x"), format!("[{ONE}{ONE}]"), "nullnull".into()] {
            assert!(matches!(read(body.as_bytes(), 5), Err(BodyError::Syntax { .. })), "{body}");
        }
        assert!(matches!(read(b"[,]", 5), Err(BodyError::NotDecisions { .. })));
        assert!(matches!(
            read(format!("[{ONE},]").as_bytes(), 5),
            Err(BodyError::NotDecisions { index: 1, .. })
        ));
    }

    #[test]
    fn array_of_other_things_read_is_refused_and_not_taken_for_empty() {
        assert_eq!(
            read(b"[1,2]", 9),
            Err(BodyError::NotDecisions { index: 0, start: "1,2]".into() })
        );
        assert_eq!(read(br#"[{"a":1},{"b":2}]"#, 9), Err(BodyError::NothingReadable(2)));
    }

    #[test]
    fn one_malformed_decision_read_harms_no_other() {
        for (bad, says) in [
            (r#"{"scope":"Ip","type":"ban"}"#, "missing field `value`"),
            (r#"{"scope":"Ip","type":"ban","value":null}"#, "invalid type: null"),
            (r#"{"scope":"Ip","type":"ban","value":7}"#, "invalid type: integer"),
            (r#"{"scope":{"a":[]},"type":"ban","value":"x"}"#, "invalid type: map"),
        ] {
            let body = format!("[{ONE},{bad},{ONE}]");
            let (values, malformed) = read(body.as_bytes(), 11).unwrap();
            assert_eq!(values, ["203.0.113.7", "203.0.113.7"]);
            assert!(malformed[0].contains(says), "{malformed:?}");
        }
    }

    #[test]
    fn syntax_error_inside_an_element_read_spoils_the_body() {
        let body = format!(r#"[{ONE},{{"scope":"Ip",}}]"#);
        assert!(matches!(read(body.as_bytes(), 64), Err(BodyError::Syntax { index: 1, .. })));
    }

    #[test]
    fn strings_with_braces_quotes_and_escapes_read_do_not_end_the_element() {
        let body = r#"[{"scenario":"t/\u003cb\u003e\\\"}]{[","scope":"Ip","type":"ban","value":"1.1.1.1","more":[{"x":[]}]}]"#;
        for size in 1..body.len() {
            assert_eq!(read(body.as_bytes(), size).unwrap().0, ["1.1.1.1"]);
        }
    }

    #[test]
    fn decision_of_a_megabyte_read_is_fine_and_one_of_five_is_skipped_and_harms_no_other() {
        let body = |n: usize| {
            let value = "x".repeat(n);
            format!(r#"[{ONE},{{"scope":"Ip","type":"ban","value":"{value}"}},{ONE}]"#)
        };
        assert_eq!(read(body(1 << 20).as_bytes(), 16 << 10).unwrap().0.len(), 3);
        for size in [16 << 10, 6 << 20] {
            let (values, malformed) = read(body(5 << 20).as_bytes(), size).unwrap();
            assert_eq!(values, ["203.0.113.7"; 2], "in chunks of {size}");
            assert!(
                malformed[0].starts_with("larger than 4194304 bytes: {\"scope\":"),
                "{malformed:?}"
            );
        }
        let endless = body(5 << 20);
        let endless = &endless.as_bytes()[..4 << 20];
        assert_eq!(read(endless, 16 << 10), Err(BodyError::CutOff { read: 1 }));
    }

    /// All that is read, as it would be shown; of an error its kind, since its words show what is left of a
    /// chunk.
    fn whole(body: &[u8], size: usize) -> Result<Vec<String>, Discriminant<BodyError>> {
        let mut all = Vec::new();
        let mut reader = DecisionReader::default();
        for chunk in body.chunks(size) {
            let read = reader.push(chunk, |decision| all.push(format!("{decision:?}")));
            read.map_err(|error| discriminant(&error))?;
        }
        reader.finish().map_err(|error| discriminant(&error))?;
        Ok(all)
    }

    fn name() -> impl Strategy<Value = String> {
        const KNOWN: [&str; 6] = ["duration", "origin", "scenario", "scope", "type", "value"];
        prop_oneof![
            9 => proptest::sample::select(&KNOWN[..]).prop_map(|name| format!("\"{name}\"")),
            1 => "\"[a-z\\\\]{0,6}\"",
            1 => Just(r#""\u0074ype""#.to_owned()),
        ]
    }

    fn value() -> impl Strategy<Value = String> {
        const ODD: [&str; 12] = [
            "null",
            "7",
            "-1",
            "1.5e3",
            "01",
            "true",
            "{}",
            "[]",
            "[1]",
            r#"{"a":"b"}"#,
            "\"\\n\"",
            "x",
        ];
        prop_oneof![
            9 => "\"[a-zA-Z0-9.:/ ü€-]{0,20}\"",
            1 => proptest::sample::select(&ODD[..]).prop_map(str::to_owned),
            1 => "\"[ -~\u{1}]{0,9}\"",
        ]
    }

    proptest! {
        #[test]
        fn chunk_borders_never_change_the_result(
            values in proptest::collection::vec(".{0,12}", 0..20),
            size in 1usize..200,
        ) {
            let rows: Vec<_> = values
                .iter()
                .map(|v| serde_json::json!({"scope": "Ip", "type": "ban", "value": v, "id": 1}))
                .collect();
            let body = serde_json::to_vec_pretty(&rows).unwrap();
            prop_assert_eq!(read(&body, size).unwrap().0, values);
        }

        #[test]
        fn odd_decisions_read_where_they_stand_are_what_the_general_reader_reads(
            rows in proptest::collection::vec(proptest::collection::vec((name(), value()), 0..8), 1..6),
            cut in any::<proptest::sample::Index>(),
            harm in prop::option::weighted(0.2, any::<u8>()),
        ) {
            let rows = rows.iter().map(|row| {
                let pairs: Vec<_> = row.iter().map(|(name, value)| format!("{name}:{value}")).collect();
                format!("{{{}}}", pairs.join(","))
            });
            let plain = r#"{"duration":"4h","id":1,"origin":"CAPI","scenario":"ü","scope":"Ip","type":"ban","value":"1.1.1.1"}"#;
            let rows: Vec<_> = rows.chain([plain.to_owned()]).collect();
            let mut body = format!("[{}]", rows.join(",")).into_bytes();
            if let Some(byte) = harm {
                let at = cut.index(body.len());
                body[at] = byte;
            }
            // Byte by byte no element is whole where it stands.
            prop_assert_eq!(whole(&body, body.len()), whole(&body, 1));
            prop_assert_eq!(whole(&body, cut.index(body.len()) + 1), whole(&body, 1));
        }

        #[test]
        fn any_bytes_read_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200), size in 1usize..50) {
            let _ = read(&body, size);
        }

        #[test]
        fn anything_accepted_is_json_to_serde_too(body in r#"[\[\]{},:" a-c\\]{0,30}"#, size in 1usize..8) {
            if read(body.as_bytes(), size).is_ok() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok());
            }
        }
    }
}

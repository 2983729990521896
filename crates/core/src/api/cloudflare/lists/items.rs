//! A page of a list's items, 500 of them at a time and 300 pages of them where the lists are large: its envelope. The
//! items themselves are read on the ground floor.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::flat::{expect, token};
use crate::item::{Items, RawItem};
use crate::ports::Answer;

use super::super::{CallError, Envelope, Page, ResultInfo, decode_page};

/// Reads a page. The last one has a cursor that is absent, empty or null (facts 1.3).
pub fn decode_items(answer: &Answer) -> Result<Page<RawItem>, CallError> {
    plain(answer).map_or_else(|| general(answer), Ok)
}

/// A page as Cloudflare writes it: items of nothing but short texts, in the envelope of a success.
fn plain(answer: &Answer) -> Option<Page<RawItem>> {
    let text = std::str::from_utf8(&answer.body).ok()?;
    let bytes = text.as_bytes();
    let name = text.find(RESULT)?;
    let result = token(bytes, expect(bytes, token(bytes, name + RESULT.len()), b':')?);
    let (items, at) = Items::read(text, expect(bytes, result, b'[')?)?;
    // The envelope with a mark in the place of the items: it is read by the general reader, which finds the mark
    // there only if these are the items.
    let envelope = [&text[..result], MARK, &text[at + 1..]].concat();
    let envelope: Envelope<&RawValue> = serde_json::from_slice(envelope.as_bytes()).ok()?;
    let (found, info) = envelope.success(answer).ok()?;
    (found?.get() == MARK).then(|| page(items, info))
}

const RESULT: &str = "\"result\"";
const MARK: &str = "7";

fn general(answer: &Answer) -> Result<Page<RawItem>, CallError> {
    let (all, info) = decode_page::<Item>(answer)?;
    let mut items = Items::default();
    all.iter().for_each(|item| items.push(item.texts()));
    Ok(page(items, info))
}

/// An item as the general reader reads it.
#[derive(Deserialize)]
struct Item {
    id: Option<String>,
    ip: Option<String>,
    comment: Option<String>,
    created_on: Option<String>,
}

impl Item {
    fn texts(&self) -> [Option<&str>; 4] {
        [&self.id, &self.ip, &self.comment, &self.created_on].map(|text| text.as_deref())
    }
}

fn page(items: Items<'_>, info: Option<ResultInfo>) -> Page<RawItem> {
    let next = info.and_then(|info| info.cursors).and_then(|cursors| cursors.after);
    Page { items: items.into_vec(), next: next.filter(|cursor| !cursor.is_empty()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::NAMES;
    use crate::ports::ResponseHead;
    use proptest::prelude::*;

    #[test]
    fn page_with_noise_decoded_keeps_what_we_use() {
        let page = decode_items(&Answer::of(200,
            r#"{"success":true,"errors":[],"messages":[],"result":[
                {"id":"a","ip":"1.1.1.1","hostname":{},"redirect":{},"created_on":"2026-01-02T03:04:05.678Z","modified_on":"x"},
                {"id":"b","hostname":{"url_hostname":"x"},"comment":"c","created_on":"yesterday"}],
                "result_info":{"cursors":{"before":"p","after":"n/+ ="}}}"#,
        ))
        .unwrap();
        assert_eq!(page.next.as_deref(), Some("n/+ ="));
        assert_eq!(page.items[0].address, Some("1.1.1.1".parse().unwrap()));
        assert!(page.items[0].created.is_some());
        assert_eq!((page.items[1].address, page.items[1].created), (None, None));
    }

    #[test]
    fn last_page_decoded_has_no_cursor_in_any_of_its_forms() {
        for info in [
            "",
            r#","result_info":null"#,
            r#","result_info":{}"#,
            r#","result_info":{"cursors":{}}"#,
            r#","result_info":{"cursors":{"after":null,"before":"x"}}"#,
            r#","result_info":{"cursors":{"after":""}}"#,
        ] {
            let body = format!(r#"{{"success":true,"result":[]{info}}}"#);
            assert_eq!(decode_items(&Answer::of(200, &body)).unwrap().next, None, "{info}");
        }
    }

    #[test]
    fn page_without_a_result_decoded_is_a_failure_and_no_empty_page() {
        for result in ["", r#","result":null"#] {
            let body = format!(r#"{{"success":true,"errors":[],"messages":[]{result}}}"#);
            assert!(decode_items(&Answer::of(200, &body)).is_err(), "{result}");
        }
    }

    #[test]
    fn page_whose_other_parts_have_items_too_is_read_as_the_general_reader_does() {
        let item = r#"{"id":"a","ip":"1.1.1.1"}"#;
        for (body, items) in [
            (format!(r#"{{"success":true,"result":[{item}],"errors":[]}}"#), Some(1)),
            (
                format!(r#"{{"success":true,"messages":[{{"result":[{item}]}}],"result":[]}}"#),
                Some(0),
            ),
            (format!(r#"{{"success":true,"messages":[{{"result":[{item}]}}]}}"#), None),
            (format!(r#"{{"success":true,"result":[{item}],"result":7}}"#), None),
            (format!(r#"{{"success":false,"result":[{item}],"errors":[]}}"#), None),
            (format!(r#"{{"success":true,"result":[{item}]"#), None),
            (format!(r#"{{"success":true,"result":[{item}]}}x"#), None),
            (r#"{"success":true,"result":7}"#.to_owned(), None),
        ] {
            let read = decode_items(&Answer::of(200, &body));
            assert_eq!(read.as_ref().ok().map(|page| page.items.len()), items, "{body}");
            assert_eq!(read, general(&Answer::of(200, &body)), "{body}");
        }
    }

    fn item() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            9 => proptest::sample::select(&NAMES[..]).prop_map(|name| format!("\"{name}\"")),
            2 => "\"[a-z\\\\]{0,9}\"",
        ];
        const ODD: [&str; 10] = [
            "null",
            "7",
            "01",
            "true",
            "{}",
            "{\"url\":1}",
            "[]",
            "\"\\n\"",
            "\"2026-01-02T03:04:05.6Z\"",
            "x",
        ];
        let value = prop_oneof![
            6 => "\"[a-f0-9.:/Z-]{0,20}\"",
            3 => "\"202[56]-01-0[1-9]T00:00:0[0-9]Z\"",
            2 => proptest::sample::select(&ODD[..]).prop_map(str::to_owned),
            1 => "\"[ -~ü\u{1}]{0,9}\"",
        ];
        let pairs = proptest::collection::vec((name, value), 0..6);
        pairs.prop_map(|pairs| {
            let pairs: Vec<_> =
                pairs.iter().map(|(name, value)| format!("{name}:{value}")).collect();
            format!("{{{}}}", pairs.join(","))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn odd_page_read_fast_is_what_the_general_reader_reads(
            items in proptest::collection::vec(item(), 0..4),
            rest in proptest::sample::select(&[
                r#","success":true}"#,
                r#","success":true,"errors":null,"result_info":{"cursors":{"after":"n"}}}"#,
                r#","success":false,"errors":[{"code":1,"message":"\"result\":["}]}"#,
                r#" , "success" : true } "#,
                r#","success":true,"result":[]}"#,
                "",
            ][..]),
            cut in any::<proptest::sample::Index>(),
            harm in prop::option::weighted(0.2, any::<u8>()),
        ) {
            let mut body = format!(r#"{{"result":[{}]{rest}"#, items.join(" ,")).into_bytes();
            if let Some(byte) = harm {
                let at = cut.index(body.len());
                body[at] = byte;
            }
            let answer = Answer { head: ResponseHead { status: 200, ..ResponseHead::default() }, body };
            if let Some(page) = plain(&answer) {
                prop_assert_eq!(Ok(page), general(&answer));
            }
        }
    }
}

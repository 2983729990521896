//! The rows of a LAPI answer, as the judge reads them: where they stand, and only the fields that a promise
//! depends on. Most of what a simulation does is to be answered by LAPI, so a tree of values for each row was a
//! tenth of its time.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// One row. A field that is no text is not there; of one that is there twice the last counts.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Row<'a> {
    pub(super) value: Option<Cow<'a, str>>,
    pub(super) kind: Option<Cow<'a, str>>,
    pub(super) scope: Option<Cow<'a, str>>,
    pub(super) origin: Option<Cow<'a, str>>,
    pub(super) scenario: Option<Cow<'a, str>>,
    pub(super) duration: Option<Cow<'a, str>>,
}

/// The rows of this body; `None` = it is no list of objects.
pub(super) fn rows(body: &[u8]) -> Option<Vec<Row<'_>>> {
    // Once for all, and not once a text.
    let body = std::str::from_utf8(body).ok()?;
    // `null` is how LAPI says that there are none.
    serde_json::from_str::<Option<Vec<Row<'_>>>>(body).ok().map(Option::unwrap_or_default)
}

impl<'de: 'a, 'a> Deserialize<'de> for Row<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Row<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a decision")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut row = Row::default();
        while let Some(Text(name)) = map.next_key()? {
            let text = map.next_value::<Field<'_>>()?.0;
            match name.as_ref() {
                "value" => row.value = text,
                "type" => row.kind = text,
                "scope" => row.scope = text,
                "origin" => row.origin = text,
                "scenario" => row.scenario = text,
                "duration" => row.duration = text,
                _ => {}
            }
        }
        Ok(row)
    }
}

/// A text, borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(Any)?.0 {
            Some(text) => Ok(Self(text)),
            None => Err(D::Error::custom("no text")),
        }
    }
}

/// Any value, of which a text is kept.
struct Field<'a>(Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field(Some(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Field(Some(Cow::Owned(text.to_owned()))))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Field(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Field(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Field(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Field(None))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Field(None))
    }

    // As values and not skipped: what is no JSON inside of it makes the body none.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<Value>()?.is_some() {}
        Ok(Field(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<String, Value>()?.is_some() {}
        Ok(Field(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same by way of a tree of values.
    fn by_values(body: &str) -> Option<Vec<Row<'static>>> {
        let rows = match serde_json::from_str(body).ok()? {
            Value::Null => Vec::new(),
            Value::Array(rows) => rows,
            _ => return None,
        };
        let row = |row: &Value| {
            let text = |name: &str| row[name].as_str().map(|text| Cow::Owned(text.to_owned()));
            row.is_object().then(|| Row {
                value: text("value"),
                kind: text("type"),
                scope: text("scope"),
                origin: text("origin"),
                scenario: text("scenario"),
                duration: text("duration"),
            })
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn body_of_any_form_read_where_it_stands_is_what_a_tree_of_values_says() {
        let deep = |depth| format!(r#"[{{"value":{}{}}}]"#, "[".repeat(depth), "]".repeat(depth));
        for body in [
            "null",
            " [] ",
            "{}",
            "",
            "[1]",
            "[null]",
            r#"["ban"]"#,
            r#"[["192.0.2.1","ban","Ip"]]"#,
            "[{}]",
            r#"[{"value":"192.0.2.1","type":"ban","scope":"Ip"}]"#,
            r#"[{"value":"192.0.2.1","type":"ban","scope":"Ip"}"#,
            r#"[{"value":"192.0.2.1","type":"ban","scope":"Ip"}]]"#,
            r#"[{"value":"a","value":"b","scope":"Ip","scope":7}]"#,
            r#"[{"v\u0061lue":"\u0061\n","origin":null,"scenario":{"a":["b"]},"duration":-1.5e3}]"#,
            r#"[{"id":1e999}]"#,
            r#"[{"id":18446744073709551616,"type":true}]"#,
            r#"[{"id":{"value":"x"},"value":["y"]}]"#,
            r#"[{"id":{"value":tru}}]"#,
            "[{\"value\":\"\u{1}\"}]",
            "[{7:\"a\"}]",
            &deep(100),
            &deep(125),
            &deep(126),
            &deep(127),
            &deep(200),
        ] {
            assert_eq!(rows(body.as_bytes()), by_values(body), "{body}");
        }
        assert_eq!(rows(b"[{\"value\":\"\xff\"}]"), None);
    }
}

//! One change to bytes, of the kinds that a broken proxy, a new version of an API or a failing disk makes.

use proptest::prelude::*;
use serde_json::{Value, json};

/// What is done, where, and in which pieces the rest arrives.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    kind: Kind,
    /// Where, as a share of the length.
    at: f64,
    /// How large the pieces are in which the answer arrives.
    pub(crate) chunk: usize,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Nothing after this.
    Cut,
    /// One byte is another.
    Byte(u8),
    /// Bytes that were not there.
    Insert(Vec<u8>),
    /// A part comes twice.
    Twice(usize),
    /// Something else altogether.
    Other(Vec<u8>),
    /// A value within the JSON is another one.
    Value(Value),
    /// A member, or an element, is missing.
    Missing,
    /// An element, or a whole object, comes twice.
    Doubled,
}

pub(crate) fn change() -> impl Strategy<Value = Change> + use<> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..40);
    let kind = prop_oneof![
        1 => Just(Kind::Cut),
        1 => any::<u8>().prop_map(Kind::Byte),
        1 => bytes.clone().prop_map(Kind::Insert),
        1 => (1usize..300).prop_map(Kind::Twice),
        1 => bytes.prop_map(Kind::Other),
        1 => odd_text().prop_map(|text| Kind::Other(text.into_bytes())),
        5 => odd_value().prop_map(Kind::Value),
        2 => Just(Kind::Missing),
        2 => Just(Kind::Doubled),
    ];
    (kind, 0.0..1.0f64, prop_oneof![Just(1usize), 2usize..50, Just(16 << 10)])
        .prop_map(|(kind, at, chunk)| Change { kind, at, chunk })
}

fn odd_text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("null".to_owned()),
        Just("{}".to_owned()),
        Just("[]".to_owned()),
        Just("<html><body>502 Bad Gateway</body></html>".to_owned()),
        Just("[".repeat(5_000)),
        Just("{\"result\":".repeat(3_000)),
        Just(format!("{{\"result\":\"{}\"}}", "x".repeat(200_000))),
        Just("\u{feff}[]".to_owned()),
    ]
}

fn odd_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!([])),
        Just(json!({})),
        Just(json!("")),
        Just(json!(false)),
        Just(json!(-1)),
        Just(json!(0)),
        Just(json!(u64::MAX)),
        Just(json!(1.5e300)),
        Just(json!("\u{1b}[2J\u{202e}level=error\nevent=summary msg=\"forged\"")),
        Just(json!("x".repeat(10_000))),
        Just(json!("0.0.0.0/0")),
        Just(json!("999999h")),
        Just(json!([[[[[[{}]]]]]])),
    ]
}

/// The bytes after the change. A change within JSON leaves alone what is none.
pub(crate) fn garbled(bytes: &[u8], change: &Change) -> Vec<u8> {
    let place =
        |length: usize| ((length as f64 * change.at) as usize).min(length.saturating_sub(1));
    let at = place(bytes.len() + 1);
    let mut changed = bytes.to_vec();
    match &change.kind {
        Kind::Cut => changed.truncate(at),
        Kind::Byte(byte) => {
            if let Some(there) = changed.get_mut(at) {
                *there = *byte;
            }
        }
        Kind::Insert(new) => {
            changed.splice(at..at, new.iter().copied());
        }
        Kind::Twice(length) => {
            let part = bytes[at..(at + length).min(bytes.len())].to_vec();
            changed.splice(at..at, part);
        }
        Kind::Other(other) => changed.clone_from(other),
        Kind::Value(_) | Kind::Missing | Kind::Doubled => {
            let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else { return changed };
            let mut left = place(count(&value));
            alter(&mut value, &mut left, &change.kind);
            changed = serde_json::to_vec(&value).expect("JSON can be written");
        }
    }
    changed
}

/// How many values there are, the inner ones and itself.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(all) => all.iter().map(count).sum(),
        Value::Object(all) => all.values().map(count).sum(),
        _ => 0,
    }
}

/// Changes the value that is met when nothing is left to count; `true` = it is to be taken out of what holds it.
fn alter(value: &mut Value, left: &mut usize, kind: &Kind) -> Option<Taken> {
    if *left == 0 {
        *left = usize::MAX;
        return match kind {
            Kind::Value(other) => {
                *value = other.clone();
                None
            }
            Kind::Missing => Some(Taken::Out),
            _ => Some(Taken::Twice),
        };
    }
    *left -= 1;
    match value {
        Value::Array(all) => {
            for n in 0..all.len() {
                match alter(&mut all[n], left, kind) {
                    Some(Taken::Out) => drop(all.remove(n)),
                    Some(Taken::Twice) => all.insert(n, all[n].clone()),
                    None => {}
                }
                if *left == usize::MAX {
                    break;
                }
            }
        }
        Value::Object(all) => {
            let names: Vec<String> = all.keys().cloned().collect();
            for name in names {
                let inner = all.get_mut(&name).expect("it was there");
                match alter(inner, left, kind) {
                    Some(Taken::Out) => drop(all.remove(&name)),
                    Some(Taken::Twice) => {
                        let again = all[&name].clone();
                        all.insert(format!("{name}_"), again);
                    }
                    None => {}
                }
                if *left == usize::MAX {
                    break;
                }
            }
        }
        _ => {}
    }
    None
}

/// What happens to the value in what holds it.
enum Taken {
    Out,
    Twice,
}

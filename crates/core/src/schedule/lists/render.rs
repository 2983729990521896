//! The schedule for people (text) and for programs (JSON).

use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::log::{plural, thousands};

use super::{Operation, Wait};

/// `PUT ban: 5,000 items (+3 -1)`.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = self.effect();
        write!(f, "{} {}: {}", self.verb(), effect.list, plural(self.len() as u64, "item"))?;
        if let Self::Replace { .. } = self {
            write!(f, " (+{} -{})", thousands(effect.added), thousands(effect.removed))?;
        }
        Ok(())
    }
}

impl Serialize for Operation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let effect = self.effect();
        let mut out = serializer.serialize_struct("Operation", 5)?;
        out.serialize_field("method", self.verb())?;
        out.serialize_field("list", &effect.list)?;
        out.serialize_field("items", &self.len())?;
        out.serialize_field("added", &effect.added)?;
        out.serialize_field("removed", &effect.removed)?;
        out.end()
    }
}

/// What is waited for, its cause, and for how many seconds.
impl Serialize for Wait {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Wait", 2)?;
        out.serialize_field("for", self.as_str())?;
        match self {
            Self::Operation(id) => out.serialize_field("operation", id)?,
            Self::Backoff(left, _) | Self::Interval(left) | Self::Company(left) => {
                out.serialize_field("seconds", &left.as_secs())?;
            }
        }
        out.end()
    }
}

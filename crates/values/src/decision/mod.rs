//! CrowdSec's decisions as LAPI sends them: the shape of one, and the reader of many.
//!
//! Owns what a decision looks like on the wire. Which of them matter, and what they ask of the
//! edge, is `desired`'s business.

mod each;
mod origin;
mod reader;
mod remaining;
mod text;

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;

use crate::flat;

pub use each::Each;
pub use origin::{Origin, Source};
pub use reader::{BodyError, DecisionReader};
pub use remaining::parse_go_duration;
pub use text::Text;

/// What is to be done with requests from an address.
///
/// Ordered by strength: `Ban` is greater than `Captcha`, and wins when an address has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Remediation {
    /// The visitor must pass a challenge.
    Captcha,
    /// The visitor is refused.
    Ban,
}

impl Remediation {
    /// Both, in the order in which they are shown and written: bans first.
    pub const ALL: [Self; 2] = [Self::Ban, Self::Captcha];

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Ban => Self::Captcha,
            Self::Captcha => Self::Ban,
        }
    }

    /// Reads LAPI's `type`, which is free text: any casing (facts crowdsec 1.1).
    pub fn from_type(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| text.eq_ignore_ascii_case(r.as_str()))
    }

    /// The word for it in logs, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ban => "ban",
            Self::Captcha => "captcha",
        }
    }
}

impl fmt::Display for Remediation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Remediation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One row of `GET /v1/decisions`, borrowed from the body. Unknown keys are ignored.
///
/// Source: facts crowdsec 1.1.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Decision<'a> {
    /// `Ip`, `Range`, `Country`, `AS` or anything else, in any casing.
    #[serde(borrow)]
    pub scope: Cow<'a, str>,
    /// The remediation, free text; may be empty.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// What is meant by the scope, verbatim as somebody once wrote it.
    #[serde(borrow)]
    pub value: Cow<'a, str>,
    /// How long it still holds, as Go writes durations.
    #[serde(borrow, default)]
    pub duration: Text<'a>,
    /// What the address did, free text; of a subscribed list, its name.
    #[serde(borrow, default)]
    pub scenario: Text<'a>,
    /// Who made it, as LAPI writes it.
    #[serde(borrow, default, rename = "origin")]
    pub made_by: Text<'a>,
}

/// The names of a decision's values, in the order in which LAPI writes them.
const NAMES: [&str; 6] = ["duration", "origin", "scenario", "scope", "type", "value"];

impl<'a> Decision<'a> {
    /// Reads the decision that begins at `at`, if it is of the plain form that LAPI's are, and tells where it
    /// ends. What is read so the general reader would read the same.
    pub fn read(text: &'a str, at: usize) -> Option<(Self, usize)> {
        let (texts, end) = flat::object(text, at, &NAMES)?;
        let [duration, made_by, scenario, scope, kind, value, ..] = texts;
        let [duration, made_by, scenario] =
            [duration, made_by, scenario].map(|text| Text(text.map(Cow::Borrowed)));
        let [scope, kind, value] = [scope?, kind?, value?].map(Cow::Borrowed);
        Some((Self { scope, kind, value, duration, scenario, made_by }, end))
    }
}

impl Decision<'_> {
    /// Who made it.
    pub fn origin(&self) -> Origin<'_> {
        let [name, scenario] = [&self.made_by, &self.scenario].map(|t| t.0.as_deref());
        Origin::new(name.unwrap_or(""), scenario.unwrap_or(""))
    }

    /// How long it still holds, in whole seconds, if that can be read; more than fits are as many as fit.
    pub fn remaining_secs(&self) -> Option<u32> {
        let text = self.duration.0.as_deref()?;
        remaining::plain_secs(text).or_else(|| {
            let remaining = parse_go_duration(text)?;
            Some(u32::try_from(remaining.as_secs()).unwrap_or(u32::MAX))
        })
    }
}

//! What was said last, so that a run that waits does not tell the same every two minutes.

use serde::{Deserialize, Serialize};

use super::Record;
use crate::small::SmallMap;

/// How often a warning that stands is given again.
const AGAIN_SECS: u64 = 3_600;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Said {
    /// By subject: a checksum of what was said, and when, Unix seconds.
    #[serde(skip_serializing_if = "SmallMap::is_empty")]
    subjects: SmallMap<String, (String, u64)>,
}

impl Record for Said {
    const KEY: &'static str = "said";
    const VERSION: u32 = 1;

    fn settle(&mut self, now: u64) {
        self.subjects.values_mut().for_each(|(_, at)| *at = (*at).min(now));
    }
}

impl Said {
    /// Whether `text` is another than what was said about `subject` last.
    pub fn is_new<'a>(&self, subject: &str, text: impl Iterator<Item = &'a str>) -> bool {
        self.subjects.get(subject).is_none_or(|(said, _)| *said != checksum(text))
    }

    /// The same, or that it was said an hour ago.
    pub fn is_due<'a>(&self, subject: &str, text: impl Iterator<Item = &'a str>, now: u64) -> bool {
        let said = self.subjects.get(subject);
        let is_old = said.is_none_or(|(_, at)| now.saturating_sub(*at) >= AGAIN_SECS);
        is_old || self.is_new(subject, text)
    }

    /// It has been said now.
    pub(crate) fn note<'a>(
        &mut self,
        subject: &str,
        text: impl Iterator<Item = &'a str>,
        now: u64,
    ) {
        self.subjects.insert(subject.to_owned(), (checksum(text), now));
    }

    /// There is nothing to say any more: the next time it is news.
    pub(crate) fn forget(&mut self, subject: &str) {
        self.subjects.remove(subject);
    }
}

/// FNV-1a, 64 bits, as 16 hexadecimal digits.
fn checksum<'a>(text: impl Iterator<Item = &'a str>) -> String {
    let bytes = text.flat_map(|text| text.bytes().chain([b'\n']));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_793_000_000;

    #[test]
    fn same_text_is_news_once_and_due_again_after_an_hour() {
        let mut said = Said::default();
        let text = || ["a", "b"].into_iter();
        assert!(said.is_new("lists", text()));
        said.note("lists", text(), NOW);
        assert!(!said.is_new("lists", text()));
        assert!(said.is_new("lists", ["ab"].into_iter()), "another text");
        assert!(said.is_new("kv", text()), "another subject");
        assert!(!said.is_due("lists", text(), NOW + 3_599));
        assert!(said.is_due("lists", text(), NOW + 3_600));
        said.forget("lists");
        assert!(said.is_new("lists", text()));
    }
}

//! What was left out, and why: counted whole, named in part.
//!
//! One bad value harms nobody, but nobody should have to guess which one it was.

use serde::Serialize;

use crate::log::clip;
use crate::small::SmallMap;

/// How many values are named; the rest is only counted.
const NAMED_MAX: usize = 3;
/// How many different free-text words (scopes, types) are told apart.
const WORDS_MAX: usize = 8;

/// Values of one kind that were left out: how many, and the first few.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Left {
    /// How many there were.
    pub count: u64,
    /// The first of them, as quoted text.
    pub first: Vec<String>,
}

impl Left {
    /// Counts one more.
    pub fn add(&mut self, value: &str) {
        self.count += 1;
        if self.first.len() < NAMED_MAX {
            self.first.push(format!("{:?}", clip(value, 64)));
        }
    }

    /// `"a", "b" and 7 more`.
    pub fn describe(&self) -> String {
        let mut text = self.first.join(", ");
        let more = self.count - self.first.len() as u64;
        if more > 0 {
            text.push_str(&format!(" and {} more", crate::log::thousands(more)));
        }
        text
    }
}

/// Counts by a word that LAPI's users choose freely, so the number of different ones is bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Words(SmallMap<String, u64>);

impl Words {
    /// Counts one more of `word`, told apart without regard to case.
    pub fn add(&mut self, word: &str) {
        // Looked up first without allocating a clean copy: there may be 100,000 of the same.
        if let Some(count) = self.0.get_mut(word) {
            *count += 1;
            return;
        }
        let word = match clip(&word.to_lowercase(), 32) {
            empty if empty.is_empty() => "(empty)".to_owned(),
            word => word,
        };
        let word = if self.0.len() < WORDS_MAX || self.0.contains_key(&word) {
            word
        } else {
            "(other)".to_owned()
        };
        *self.0.or_default(word) += 1;
    }

    /// How many in all.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// `range 3, as 1`.
    pub fn describe(&self) -> String {
        let words: Vec<_> = self
            .0
            .iter()
            .map(|(word, count)| format!("{word} {}", crate::log::thousands(*count)))
            .collect();
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_values_left_out_name_the_first_and_count_the_rest() {
        let mut left = Left::default();
        for value in ["a\n", "b", "c", "d", "e"] {
            left.add(value);
        }
        assert_eq!(left.describe(), r#""a", "b", "c" and 2 more"#);
    }

    #[test]
    fn endless_different_words_counted_take_bounded_space() {
        let mut words = Words::default();
        for n in 0..1000 {
            words.add(&format!("Scope{n}"));
        }
        words.add("SCOPE0");
        words.add("");
        assert_eq!(words.count(), 1002);
        assert_eq!(words.0.len(), WORDS_MAX + 1);
        assert_eq!(words.0["scope0"], 2);
    }
}

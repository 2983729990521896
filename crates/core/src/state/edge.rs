//! The lists as they were last read, so that a run needs no page of them while nothing has changed.
//!
//! What tells that nothing has is a *mark* for each list, `modified_on` and `num_items`: one request for all of
//! them. That `modified_on` follows the items is documented nowhere (facts cloudflare-rules 6), so it is learned: an
//! account is trusted once it has been seen to move with a write of ours. A content found to be another under the
//! same marks ends that trust for good.
//!
//! | key | what it holds |
//! |---|---|
//! | `edge` | what is known of the marks: small JSON, as everything else |
//! | `edge-items` | the content, in [`parts`]; it begins with the account, lists and marks that it is of |
//!
//! An item takes 21 bytes, with an IPv6 address 33: address, prefix length and id.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::address::map::AddressMap;
use crate::api::cloudflare::lists::ItemId;
use crate::ports::{Store, StoreError};

use super::Record;
use super::parts::{self, Writer};
use super::table::{KEY_BYTES_V4, KEY_BYTES_V6, read_key, write_key};

/// Listings of fewer pages, all lists together, cost less than their marks.
pub const PAGES_MIN: u32 = 4;

/// What tells one content of a list from another without reading it (facts cloudflare 1.1): how many items it has,
/// and when it last changed, as Cloudflare writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(String);

impl Mark {
    /// The mark of a list with so many items.
    pub fn new(items: u64, modified_on: &str) -> Self {
        Self(format!("{items} {modified_on}"))
    }

    fn modified_on(&self) -> &str {
        self.0.split_once(' ').map_or("", |(_, modified_on)| modified_on)
    }

    /// Whether it is a mark of so many items.
    pub fn counts(&self, items: u64) -> bool {
        self.0.split_once(' ').is_some_and(|(counted, _)| counted.parse() == Ok(items))
    }

    /// Whether the list changed then, or before: compared as text, to the second.
    pub fn is_of(&self, latest: &str) -> bool {
        const SECONDS: std::ops::RangeTo<usize> = .."2026-01-02T03:04:05".len();
        let (on, latest) = (self.modified_on().get(SECONDS), latest.get(SECONDS));
        on.is_some() && on <= latest
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether equal marks are taken for equal content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Not yet: no write of ours has been seen to move a mark.
    Unknown,
    /// Yes.
    Learned,
    /// Never again: the content was another under the same marks.
    Ended,
}

/// See the module. Times are Unix seconds; 0 = never. Marks are in the order of the lists in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EdgeHistory {
    /// A checksum of the account and the lists: what is known of others is worth nothing.
    of: u32,
    /// A write of ours has been seen to move the marks.
    learned: bool,
    /// The content was another under the same marks.
    ended: bool,
    /// When all pages were last read, and how many they were.
    read_at: u64,
    pages: u32,
    /// The marks of what is kept under `edge-items`, none if nothing is; and what tells its content.
    kept: Vec<String>,
    digest: u64,
    /// The marks before the writes of the last run; empty texts for those lists that were not seen to be written.
    before: Vec<String>,
}

impl Record for EdgeHistory {
    const KEY: &'static str = "edge";
    const VERSION: u32 = 1;

    fn settle(&mut self, now: u64) {
        self.read_at = self.read_at.min(now);
    }
}

impl EdgeHistory {
    /// Forgets everything if it is not of `of`, a checksum of the account and the lists in use.
    pub fn bind(&mut self, of: u32) {
        if self.of != of {
            *self = Self { of, ..Self::default() };
        }
    }

    /// Whether equal marks are taken for equal content.
    pub fn trust(&self) -> Trust {
        match (self.ended, self.learned) {
            (true, _) => Trust::Ended,
            (false, true) => Trust::Learned,
            (false, false) => Trust::Unknown,
        }
    }

    /// When all pages were last read, in Unix seconds; 0 = never.
    pub fn read_at(&self) -> u64 {
        self.read_at
    }

    /// Whether the lists are so long that their marks are worth a request, or there is something to learn from
    /// them.
    pub fn wants_marks(&self) -> bool {
        self.pages >= PAGES_MIN || !self.before.is_empty()
    }

    /// Whether what is kept may stand for what is at the edge now, if the marks are `marks`.
    pub fn is_kept(&self, marks: &[Mark], audit_secs: u64, now: u64) -> bool {
        self.trust() == Trust::Learned
            && now.saturating_sub(self.read_at) < audit_secs
            && self.has_kept(marks)
    }

    fn has_kept(&self, marks: &[Mark]) -> bool {
        !marks.is_empty() && self.kept.iter().eq(marks.iter().map(|mark| &mark.0))
    }

    /// Learns from the marks of now, after the writes of the run before.
    pub fn learn(&mut self, marks: &[Mark]) {
        let before = std::mem::take(&mut self.before);
        let mut written = before.iter().zip(marks).filter(|(before, _)| !before.is_empty());
        let moved = |(before, now): (&String, &Mark)| {
            before.split_once(' ').map(|(_, on)| on) != Some(now.modified_on())
        };
        if let Some(first) = written.next() {
            // One that moved nothing may have changed nothing: that ends nothing.
            self.learned = moved(first) && written.all(moved);
        }
    }

    /// All pages were read, between `marks`, if they were asked for, and now; `digest` tells the content.
    pub fn read(&mut self, pages: u32, marks: Option<&[Mark]>, digest: u64, now: u64) -> Audit {
        (self.pages, self.read_at) = (pages, now);
        match marks.is_some_and(|marks| self.has_kept(marks)) {
            true if self.digest == digest => Audit::Same,
            true => {
                self.kept.clear();
                Audit::Another
            }
            false => Audit::New,
        }
    }

    /// Whether a content of so many pages is worth being kept.
    pub fn may_keep(&self) -> bool {
        self.trust() == Trust::Learned && self.pages >= PAGES_MIN
    }

    /// The content was kept, under these marks.
    pub fn kept(&mut self, marks: &[Mark], digest: u64) {
        self.kept = marks.iter().map(Mark::to_string).collect();
        self.digest = digest;
    }

    /// The content was another under the same marks: they tell nothing.
    pub fn distrust(&mut self) {
        self.ended = true;
        self.kept.clear();
    }

    /// A write follows: what is kept is worth nothing any more.
    pub fn forget(&mut self) {
        self.kept.clear();
        self.before.clear();
    }

    /// Writes were seen to complete; `before` are the marks from before, of the lists where they did.
    pub fn wrote(&mut self, before: impl Iterator<Item = Option<Mark>>) {
        self.before = before.map(|mark| mark.map_or_else(String::new, |mark| mark.0)).collect();
    }
}

/// What reading all pages has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audit {
    /// What is kept.
    Same,
    /// Something else than what is kept under the same marks.
    Another,
    /// Nothing is kept under these marks.
    New,
}

/// The content of one list: its items, and when the youngest of them was added, in Unix seconds; 0 = not known.
pub type Content<'a> = (&'a AddressMap<ItemId>, u64);

const ITEMS_KEY: &str = "edge-items";

/// Keeps the content of the lists under a text that names account, lists and marks. Whether it could be kept:
/// an id that is not of 32 hexadecimal digits cannot.
pub fn keep(store: &impl Store, of: &str, lists: &[Content<'_>]) -> Result<bool, StoreError> {
    let mut writer = Writer::new(store, ITEMS_KEY, parts::next_generation(store, ITEMS_KEY));
    writer.write(of.as_bytes())?;
    let mut entry = Vec::new();
    for (items, newest) in lists {
        let v4 = items.keys().filter(Address::is_ipv4).count();
        for number in [*newest, v4 as u64, (items.len() - v4) as u64] {
            writer.write(&number.to_le_bytes())?;
        }
        for (address, id) in items.iter() {
            let Some(id) = id.bytes() else { return Ok(false) };
            entry.clear();
            write_key(&address, &mut entry);
            entry.extend(id);
            writer.write(&entry)?;
        }
    }
    writer.finish()?;
    Ok(true)
}

/// The content of `count` lists that is kept under the same text; `None` if there is none that is whole.
pub fn load(store: &impl Store, of: &str, count: usize) -> Option<Vec<(AddressMap<ItemId>, u64)>> {
    let bytes = parts::load(store, ITEMS_KEY)?;
    let mut rest = bytes.strip_prefix(of.as_bytes())?;
    let mut lists = Vec::new();
    for _ in 0..count {
        let mut number = || {
            let (number, after) = rest.split_first_chunk()?;
            rest = after;
            Some(u64::from_le_bytes(*number))
        };
        let (newest, v4, v6) = (number()?, number()?, number()?);
        let mut items = AddressMap::default();
        for (count, key_bytes) in [(v4, KEY_BYTES_V4), (v6, KEY_BYTES_V6)] {
            for _ in 0..count {
                let (key, after) = rest.split_at_checked(key_bytes)?;
                let (id, after) = after.split_first_chunk::<16>()?;
                rest = after;
                let address = read_key(key).filter(|address| items.is_after_all(address))?;
                items.push(address, ItemId::from(*id));
            }
        }
        lists.push((items, newest));
    }
    rest.is_empty().then_some(lists)
}

#[cfg(test)]
mod tests;

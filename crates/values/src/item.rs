//! An item of a list as Cloudflare sends it, read without a text for each field.

use std::fmt;
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use crate::address::Address;
use crate::flat::{self, token};

/// Names an item in a DELETE. Never kept from one run to the next: whether ids survive a PUT is not
/// known (facts 1.5).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemId(Id);

/// All that have been seen are 32 hexadecimal digits; nothing says that they must be.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Id {
    Digits([u8; 16]),
    Text(Box<str>),
}

impl From<&str> for ItemId {
    fn from(id: &str) -> Self {
        Self(digits(id.as_bytes()).map_or_else(|| Id::Text(id.into()), Id::Digits))
    }
}

impl ItemId {
    /// The bytes that its digits stand for; `None` if it is another text.
    pub fn bytes(&self) -> Option<[u8; 16]> {
        match self.0 {
            Id::Digits(bytes) => Some(bytes),
            Id::Text(_) => None,
        }
    }
}

impl From<[u8; 16]> for ItemId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(Id::Digits(bytes))
    }
}

/// The bytes that 32 digits stand for. Small letters only: as it is written again it must be the same text.
fn digits(text: &[u8]) -> Option<[u8; 16]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 16];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// As it stands in a request.
impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Id::Digits(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Id::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ItemId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An item as it came. Anything may be missing: the API adds `hostname: {}` and `redirect: {}` to
/// items of IP lists (facts 1.2), and a list may be of another kind.
#[derive(Debug, PartialEq)]
pub struct RawItem {
    /// Names the item in a DELETE.
    pub id: Option<ItemId>,
    /// The address, if it is one.
    pub address: Option<Address>,
    /// The address as it stands there, if it is none, or we would spell it otherwise.
    pub spelling: Option<Box<str>>,
    /// A person's remark.
    pub comment: Option<Box<str>>,
    /// When the item was added, if the API says so in RFC 3339, and no item before it on the page is younger.
    pub created: Option<SystemTime>,
}

/// The names of an item's values, in the order in which Cloudflare writes them.
pub const NAMES: [&str; 4] = ["id", "ip", "comment", "created_on"];

/// Items of a page, and what tells which of them is the youngest.
#[derive(Debug, Default)]
pub struct Items<'a> {
    all: Vec<RawItem>,
    newest: &'a str,
}

impl<'a> Items<'a> {
    /// Reads the items from behind the opening bracket at `at`, and tells where the closing one stands. `None` = they
    /// are no plain items, and the general reader decides.
    pub fn read(text: &'a str, at: usize) -> Option<(Self, usize)> {
        let bytes = text.as_bytes();
        let mut at = token(bytes, at);
        let mut items = Self::default();
        if bytes.get(at) == Some(&b']') {
            return Some((items, at));
        }
        loop {
            let (texts, end) = flat::object(text, at, &NAMES)?;
            let [id, ip, comment, created_on, ..] = texts;
            items.push([id, ip, comment, created_on]);
            at = token(bytes, end);
            match bytes.get(at)? {
                b',' => at = token(bytes, at + 1),
                b']' => return Some((items, at)),
                _ => return None,
            }
        }
    }

    /// All of them, in their order.
    pub fn into_vec(self) -> Vec<RawItem> {
        self.all
    }

    /// Takes the texts of one: id, address, remark, and when it was added.
    pub fn push(&mut self, [id, ip, comment, created_on]: [Option<&'a str>; 4]) {
        let address = ip.and_then(|ip| ip.parse().ok());
        // Compared as text, which is right to the second: reading a date takes as long as reading an item.
        let created_on = created_on.unwrap_or_default();
        let is_newer = created_on.get(..SECONDS) > self.newest.get(..SECONDS);
        let created = is_newer.then(|| humantime::parse_rfc3339(created_on).ok()).flatten();
        if created.is_some() {
            self.newest = created_on;
        }
        self.all.push(RawItem {
            id: id.map(ItemId::from),
            address,
            spelling: ip.filter(|ip| !is_our_spelling(ip, address)).map(Box::from),
            comment: comment.map(Box::from),
            created,
        });
    }
}

/// Whether this is how we would write it.
fn is_our_spelling(text: &str, address: Option<Address>) -> bool {
    // There is one way to write a single address of IPv4; most are.
    address.is_some_and(|address| !text.contains([':', '/']) || address.to_string() == text)
}

/// `2026-01-02T03:04:05`.
const SECONDS: usize = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_id_of_any_form_is_written_as_it_was_read() {
        for id in [
            "c31cb952f59cbbb96c146471e4a9eaa6",
            "C31CB952F59CBBB96C146471E4A9EAA6",
            "id-1.1.1.1",
            "",
            "0",
        ] {
            assert_eq!(ItemId::from(id).to_string(), id);
        }
        assert!(matches!(ItemId::from("c31cb952f59cbbb96c146471e4a9eaa6").0, Id::Digits(_)));
    }
}

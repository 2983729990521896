//! What is at the edge now: the items of our lists, in canonical form.
//!
//! An item that cannot be understood does not exist for the plan, except that it must not be
//! deleted: perhaps a person put it there, in a form that we do not know yet.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::{self, Write};
use std::time::SystemTime;

use crate::address::Address;
use crate::api::cloudflare::lists::{ItemId, RawItem};
use crate::decision::{Each, Remediation};
use crate::skipped::Left;

/// An item of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its id.
    pub id: ItemId,
    /// A person's remark, which a rewrite of the list must keep.
    pub comment: Option<Box<str>>,
}

/// The content of one list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObservedList {
    items: BTreeMap<Address, Item>,
    surplus: Vec<(Address, ItemId)>,
    foreign: Left,
    newest: Option<SystemTime>,
}

impl ObservedList {
    /// Takes one item as it came, and tells whether it is new: a listing that changes while its pages are
    /// read may show an item twice.
    pub fn add(&mut self, raw: RawItem) -> bool {
        self.newest = self.newest.max(raw.created());
        let address = raw.ip.as_deref().and_then(|ip| ip.parse::<Address>().ok());
        let (Some(address), Some(id)) = (address, &raw.id) else {
            let shown = raw.ip.as_deref().or(raw.id.as_ref().map(ItemId::as_str));
            self.foreign.add(shown.unwrap_or("item without id and address"));
            return true;
        };
        let item = Item { id: id.clone(), comment: raw.comment.filter(|c| !c.is_empty()) };
        match self.items.entry(address) {
            Entry::Vacant(place) => drop(place.insert(item)),
            Entry::Occupied(known) if known.get().id == item.id => return false,
            Entry::Occupied(_) if self.surplus.iter().any(|(_, id)| *id == item.id) => {
                return false;
            }
            Entry::Occupied(_) => self.surplus.push((address, item.id)),
        }
        true
    }

    /// The items, by address.
    pub fn items(&self) -> &BTreeMap<Address, Item> {
        &self.items
    }

    /// Items whose address another item of the list has already, in another spelling.
    pub fn surplus(&self) -> &[(Address, ItemId)] {
        &self.surplus
    }

    /// Items that could not be understood.
    pub fn foreign(&self) -> &Left {
        &self.foreign
    }

    /// How many items the list has, understood or not.
    pub fn len(&self) -> u64 {
        (self.items.len() + self.surplus.len()) as u64 + self.foreign.count
    }

    /// Whether the list has no item at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When the youngest item was added, if Cloudflare says.
    pub fn newest(&self) -> Option<SystemTime> {
        self.newest
    }
}

/// The content of every list in use: all of them, or there is no observed state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    lists: Each<ObservedList>,
}

impl Observed {
    /// Takes what was read of one list.
    pub fn insert(&mut self, list: Remediation, content: ObservedList) {
        self.lists.insert(list, content);
    }

    /// Whether a list has `address`.
    pub fn has(&self, address: &Address) -> bool {
        self.lists.values().any(|list| list.items.contains_key(address))
    }

    /// How many items all lists have, understood or not.
    pub fn count(&self) -> u64 {
        self.lists.values().map(ObservedList::len).sum()
    }

    /// Tells one content of the lists from another: FNV-1a over what they hold, in order.
    pub fn digest(&self) -> u64 {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        for (list, content) in self.lists() {
            let _ = write!(hash, "{list}");
            for address in content.items.keys() {
                let _ = write!(hash, " {address}");
            }
        }
        hash.0
    }

    /// The lists, the ban list first.
    pub fn lists(&self) -> impl Iterator<Item = (Remediation, &ObservedList)> {
        self.lists.iter().rev()
    }
}

struct Fnv(u64);

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

#[cfg(test)]
impl Observed {
    /// Both lists, for the tests of later phases.
    pub(crate) fn of(ban: ObservedList, captcha: ObservedList) -> Self {
        let mut observed = Self::default();
        observed.insert(Remediation::Ban, ban);
        observed.insert(Remediation::Captcha, captcha);
        observed
    }
}

#[cfg(test)]
impl ObservedList {
    /// A list from addresses, for the tests of later phases. The id of an item is `id-<address>`.
    pub(crate) fn of(addresses: &[&str]) -> Self {
        let mut list = Self::default();
        for address in addresses {
            list.add(tests::raw(&format!(r#"{{"id":"id-{address}","ip":"{address}"}}"#)));
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn raw(json: &str) -> RawItem {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn item_that_cannot_be_understood_is_kept_apart_and_named() {
        let mut list = ObservedList::default();
        for json in [
            r#"{"id":"a","ip":"1.1.1.1","comment":""}"#,
            r#"{"id":"b","hostname":{"url_hostname":"example.com"}}"#,
            r#"{"id":"c","ip":"1.1.1.1-1.1.1.9"}"#,
            r#"{"ip":"2.2.2.2"}"#,
            r#"{}"#,
        ] {
            list.add(raw(json));
        }
        assert_eq!((list.items().len(), list.foreign().count, list.len()), (1, 4, 5));
        assert_eq!(list.foreign().describe(), r#""b", "1.1.1.1-1.1.1.9", "2.2.2.2" and 1 more"#);
    }

    #[test]
    fn second_spelling_of_an_address_is_surplus() {
        let list = ObservedList::of(&["::ffff:9.9.9.9", "9.9.9.9"]);
        assert_eq!(list.items().len(), 1);
        assert_eq!(list.surplus(), [("9.9.9.9".parse().unwrap(), ItemId::from("id-9.9.9.9"))]);
    }

    #[test]
    fn newest_is_the_youngest_item_that_says_its_age() {
        let mut list = ObservedList::default();
        list.add(raw(r#"{"id":"a","ip":"1.1.1.1","created_on":"2026-01-02T00:00:00Z"}"#));
        list.add(raw(r#"{"id":"b","ip":"1.1.1.2","created_on":"2026-01-01T00:00:00Z"}"#));
        list.add(raw(r#"{"id":"c","ip":"1.1.1.3"}"#));
        assert_eq!(list.newest(), humantime::parse_rfc3339("2026-01-02T00:00:00Z").ok());
    }
}

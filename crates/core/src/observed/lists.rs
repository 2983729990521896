//! What is at the edge now: the items of our lists, in canonical form.
//!
//! An item that cannot be understood does not exist for the plan, except that it must not be
//! deleted: perhaps a person put it there, in a form that we do not know yet.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
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
    /// How it is spelt there, if not as we would.
    spelling: Option<Box<str>>,
}

/// The content of one list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObservedList {
    items: BTreeMap<Address, Item>,
    surplus: Vec<(Address, Item)>,
    foreign: Left,
    /// Ids of what is neither an item nor surplus: not understood, or no more there when the list was read on.
    others: BTreeSet<ItemId>,
    newest: Option<SystemTime>,
}

impl ObservedList {
    /// Takes one item as it came, and tells whether it is new: a listing that changes while its pages are
    /// read may show an item twice.
    ///
    /// Cloudflare takes no text a second time (facts cloudflare 1.4). One that comes under another id was
    /// taken off and put back while the list was read: the later of the two is the one that is there.
    pub fn add(&mut self, raw: RawItem) -> bool {
        self.newest = self.newest.max(raw.created());
        if raw.id.as_ref().is_some_and(|id| self.others.contains(id)) {
            return false;
        }
        let text = raw.ip.as_deref();
        let address = text.and_then(|ip| ip.parse::<Address>().ok());
        let (Some(address), Some(id)) = (address, &raw.id) else {
            let shown = text.or(raw.id.as_ref().map(ItemId::as_str));
            self.foreign.add(shown.unwrap_or("item without id and address"));
            self.others.extend(raw.id);
            return true;
        };
        let spelling = text.filter(|text| *text != address.to_string()).map(Box::from);
        let comment = raw.comment.filter(|comment| !comment.is_empty());
        let item = Item { id: id.clone(), comment, spelling };
        let known = match self.items.entry(address) {
            Entry::Vacant(place) => {
                place.insert(item);
                return true;
            }
            Entry::Occupied(known) => known.into_mut(),
        };
        let surplus = self.surplus.iter_mut().filter(|(of, _)| *of == address);
        let mut spellings: Vec<&mut Item> =
            std::iter::once(known).chain(surplus.map(|(_, item)| item)).collect();
        if spellings.iter().any(|known| known.id == item.id) {
            return false;
        }
        match spellings.iter_mut().find(|known| known.spelling == item.spelling) {
            Some(known) => drop(self.others.insert(std::mem::replace(*known, item).id)),
            None => self.surplus.push((address, item)),
        }
        true
    }

    /// The items, by address.
    pub fn items(&self) -> &BTreeMap<Address, Item> {
        &self.items
    }

    /// Items whose address another item of the list has already, in another spelling.
    pub fn surplus(&self) -> impl ExactSizeIterator<Item = (Address, &ItemId)> {
        self.surplus.iter().map(|(address, item)| (*address, &item.id))
    }

    /// Items that could not be understood.
    pub fn foreign(&self) -> &Left {
        &self.foreign
    }

    /// Whether a PUT can keep all that stays: it takes neither what could not be understood nor what no list
    /// takes any more.
    pub fn may_be_rewritten(&self) -> bool {
        self.foreign.count == 0 && self.items.keys().all(Address::fits_list)
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
        let surplus: Vec<_> = list.surplus().collect();
        assert_eq!(surplus, [("9.9.9.9".parse().unwrap(), &ItemId::from("id-9.9.9.9"))]);
    }

    #[test]
    fn item_not_understood_told_twice_counts_once_and_two_without_an_id_are_two() {
        let mut list = ObservedList::default();
        let foreign = || raw(r#"{"id":"a","ip":"198.51.100.5/33"}"#);
        assert_eq!((list.add(foreign()), list.add(foreign())), (true, false));
        assert_eq!((list.foreign().count, list.len()), (1, 1));
        assert!(list.add(raw("{}")) && list.add(raw("{}")));
        assert_eq!(list.len(), 3);
    }

    #[test]
    fn item_put_back_while_pages_are_read_is_there_once_under_its_later_id() {
        for ip in ["9.9.9.9", "::ffff:9.9.9.9"] {
            let mut list = ObservedList::of(&["9.9.9.9", "::ffff:9.9.9.9"]);
            let again = || raw(&format!(r#"{{"id":"later","ip":"{ip}"}}"#));
            assert_eq!((list.add(again()), list.add(again())), (true, false), "{ip}");
            let before = raw(&format!(r#"{{"id":"id-{ip}","ip":"{ip}"}}"#));
            assert!(!list.add(before), "{ip}: what is gone is no news");
            let items = list.items().values().map(|item| &item.id);
            let ids: Vec<_> = items.chain(list.surplus().map(|(_, id)| id)).collect();
            assert!(ids.len() == 2 && ids.contains(&&ItemId::from("later")), "{ip}: {ids:?}");
        }
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

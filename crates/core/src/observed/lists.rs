//! What is at the edge now: the items of our lists, in canonical form.
//!
//! An item that cannot be understood does not exist for the plan, except that it must not be
//! deleted: perhaps a person put it there, in a form that we do not know yet.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crate::address::Address;
use crate::address::map::AddressMap;
use crate::api::cloudflare::lists::{ItemId, RawItem};
use crate::decision::{Each, Remediation};
use crate::order::Order;
use crate::skipped::Left;

/// The content of one list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObservedList {
    items: AddressMap<ItemId>,
    /// The last that did not come in the order of addresses.
    late: Vec<(Address, ItemId)>,
    /// Persons' remarks, which a rewrite of the list must keep. Few items have one.
    comments: Vec<(Address, Box<str>)>,
    /// How items are spelt that are not as we would. Few are.
    spellings: Vec<(Address, Box<str>)>,
    surplus: Vec<Surplus>,
    foreign: Left,
    /// Ids of what is neither an item nor surplus: not understood, or no more there when the list was read on.
    others: BTreeSet<ItemId>,
    newest: Option<SystemTime>,
}

/// An item whose address another one has already, in another spelling.
#[derive(Debug, Clone, PartialEq)]
struct Surplus {
    address: Address,
    id: ItemId,
    /// How it is spelt, if not as we would.
    spelling: Option<Box<str>>,
}

impl ObservedList {
    /// Takes one item as it came, and tells whether it is new: a listing that changes while its pages are
    /// read may show an item twice. After the last, [`settle`](Self::settle).
    ///
    /// Cloudflare takes no text a second time (facts cloudflare 1.4). One that comes under another id was
    /// taken off and put back while the list was read: the later of the two is the one that is there.
    pub fn add(&mut self, raw: RawItem) -> bool {
        self.newest = self.newest.max(raw.created);
        if raw.id.as_ref().is_some_and(|id| self.others.contains(id)) {
            return false;
        }
        let (address, id) = match (raw.address, raw.id) {
            (Some(address), Some(id)) => (address, id),
            (address, id) => {
                let address = address.map(|address| address.to_string());
                let text = raw.spelling.map(String::from).or(address);
                let shown = text.or_else(|| id.as_ref().map(ItemId::to_string));
                self.foreign.add(shown.as_deref().unwrap_or("item without id and address"));
                self.others.extend(id);
                return true;
            }
        };
        // In their order Cloudflare lists them (facts 1.3); what comes otherwise was changed meanwhile, or is an
        // address in another spelling.
        let is_in_order = self.items.is_after_all(&address);
        let known = match is_in_order {
            true => None,
            false => {
                let late = self.late.iter_mut().find(|(late, _)| *late == address);
                late.map(|(_, id)| id).or_else(|| self.items.get_mut(&address))
            }
        };
        let comment = raw.comment.filter(|comment| !comment.is_empty());
        let comment = comment.map(|comment| (address, comment));
        if let Some(known) = known {
            let of_it = |surplus: &&mut Surplus| surplus.address == address;
            let mut surplus = self.surplus.iter_mut().filter(of_it).collect::<Vec<_>>();
            if *known == id || surplus.iter().any(|surplus| surplus.id == id) {
                return false;
            }
            let spelling = self.spellings.iter().find(|(of, _)| *of == address);
            let gone = if spelling.map(|(_, text)| text) == raw.spelling.as_ref() {
                self.comments.retain(|(of, _)| *of != address);
                self.comments.extend(comment);
                std::mem::replace(known, id)
            } else if let Some(same) = surplus.iter_mut().find(|one| one.spelling == raw.spelling) {
                std::mem::replace(&mut same.id, id)
            } else {
                self.surplus.push(Surplus { address, id, spelling: raw.spelling });
                return true;
            };
            self.others.insert(gone);
            return true;
        }
        self.comments.extend(comment);
        self.spellings.extend(raw.spelling.map(|spelling| (address, spelling)));
        match is_in_order {
            true => self.items.push(address, id),
            false => self.late.push((address, id)),
        }
        if self.late.len() > LATE_MAX {
            self.settle();
        }
        true
    }

    /// To be called after the last item, before anything is asked.
    pub fn settle(&mut self) {
        for (address, id) in self.late.drain(..) {
            self.items.push(address, id);
        }
        self.items.settle(|_, _| ());
        self.comments.order_by_key(|(address, _)| *address);
    }

    /// The items, by address.
    pub fn items(&self) -> &AddressMap<ItemId> {
        &self.items
    }

    /// A person's remark on an item.
    pub fn comment(&self, address: &Address) -> Option<&str> {
        let at = self.comments.binary_search_by_key(address, |(of, _)| *of).ok()?;
        Some(&self.comments[at].1)
    }

    /// Items whose address another item of the list has already, in another spelling.
    pub fn surplus(&self) -> impl ExactSizeIterator<Item = (Address, &ItemId)> {
        self.surplus.iter().map(|surplus| (surplus.address, &surplus.id))
    }

    /// Items that could not be understood.
    pub fn foreign(&self) -> &Left {
        &self.foreign
    }

    /// Whether a PUT can keep all that stays: it takes neither what could not be understood nor what no list
    /// takes any more.
    pub fn may_be_rewritten(&self) -> bool {
        self.foreign.count == 0 && self.items.keys().all(|address| address.fits_list())
    }

    /// Whether its items and [`newest`](Self::newest) are all that there is to know, but for remarks.
    pub(crate) fn is_plain(&self) -> bool {
        self.spellings.is_empty() && self.surplus.is_empty() && self.foreign.count == 0
    }

    /// A list that [was plain](Self::is_plain) when it was read; `items` are settled. What persons have remarked
    /// is not known of it: it must not be rewritten from this.
    pub(crate) fn remembered(items: AddressMap<ItemId>, newest: Option<SystemTime>) -> Self {
        Self { items, newest, ..Self::default() }
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

/// So many are looked through one by one.
const LATE_MAX: usize = 1_000;

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

    /// Tells one content of the lists from another.
    pub fn digest(&self) -> u64 {
        let lists = self.lists().map(|(list, content)| content.items.digest(list as u64));
        lists.fold(0, |all, one| all.rotate_left(1) ^ one)
    }

    /// The lists, the ban list first.
    pub fn lists(&self) -> impl Iterator<Item = (Remediation, &ObservedList)> {
        self.lists.iter().rev()
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
    /// Takes one more item, after all others.
    pub(crate) fn put(&mut self, json: &str) {
        self.add(tests::raw(json));
        self.settle();
    }

    /// A list from addresses, for the tests of later phases. The id of an item is `id-<address>`.
    pub(crate) fn of(addresses: &[&str]) -> Self {
        let mut list = Self::default();
        for address in addresses {
            list.add(tests::raw(&format!(r#"{{"id":"id-{address}","ip":"{address}"}}"#)));
        }
        list.settle();
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::cloudflare::lists::decode_items;
    use crate::ports::Answer;

    pub(super) fn raw(item: &str) -> RawItem {
        let page = format!(r#"{{"success":true,"result":[{item}]}}"#);
        decode_items(&Answer::of(200, &page)).unwrap().items.remove(0)
    }

    #[test]
    fn list_may_be_rewritten_while_a_request_can_carry_all_of_it() {
        let with = |more: &str| {
            let mut list = ObservedList::of(&["1.1.1.1"]);
            list.put(more);
            list.may_be_rewritten()
        };
        assert!(with(r#"{"id":"b","ip":"1.1.1.2"}"#));
        assert!(!with(r#"{"id":"b","ip":"0.0.0.0/0"}"#), "no list takes it any more");
        assert!(!with(r#"{"id":"b","hostname":{"url_hostname":"a"}}"#), "not understood");
        assert!(ObservedList::default().is_empty() && !ObservedList::of(&["1.1.1.1"]).is_empty());
    }

    #[test]
    fn list_is_plain_while_each_item_is_understood_and_spelt_as_this_program_would() {
        let with = |more: &str| {
            let mut list = ObservedList::of(&["1.1.1.1"]);
            list.put(more);
            list.is_plain()
        };
        assert!(with(r#"{"id":"b","ip":"1.1.1.2","comment":"a remark"}"#));
        assert!(!with(r#"{"id":"b","ip":"2001:DB8::1"}"#), "another spelling");
        assert!(!with(r#"{"id":"b","ip":"::ffff:1.1.1.1"}"#), "a second one");
        assert!(!with(r#"{"id":"b","hostname":{"url_hostname":"a"}}"#), "not understood");
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
        list.settle();
        assert_eq!((list.items().len(), list.foreign().count, list.len()), (1, 4, 5));
        assert_eq!(list.foreign().describe(), r#""b", "1.1.1.1-1.1.1.9", "2.2.2.2" and 1 more"#);
    }

    #[test]
    fn second_spelling_of_an_address_is_surplus() {
        let list = ObservedList::of(&["::ffff:9.9.9.9", "9.9.9.9"]);
        assert_eq!(list.items().len(), 1);
        let surplus: Vec<_> = list.surplus().collect();
        assert_eq!(surplus, [("9.9.9.9".parse().unwrap(), &ItemId::from("id-9.9.9.9"))]);
        assert_eq!(list.len(), 2, "it takes a place too");
    }

    #[test]
    fn content_is_told_by_what_is_on_which_list() {
        let of = |ban: &[&str], captcha: &[&str]| {
            Observed::of(ObservedList::of(ban), ObservedList::of(captcha))
        };
        let one = of(&["1.1.1.1"], &["2.2.2.2"]);
        assert_eq!(one.digest(), of(&["1.1.1.1"], &["2.2.2.2"]).digest());
        for other in [
            of(&["2.2.2.2"], &["1.1.1.1"]),
            of(&["1.1.1.1", "2.2.2.2"], &[]),
            of(&["1.1.1.1"], &[]),
            of(&["1.1.1.1"], &["2.2.2.3"]),
        ] {
            assert_ne!(one.digest(), other.digest());
        }
        let has = |text: &str| one.has(&text.parse().unwrap());
        assert!(has("1.1.1.1") && has("2.2.2.2") && !has("3.3.3.3"));
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
            list.settle();
            let ids: Vec<_> =
                list.items().values().chain(list.surplus().map(|(_, id)| id)).collect();
            assert!(ids.len() == 2 && ids.contains(&&ItemId::from("later")), "{ip}: {ids:?}");
        }
    }

    #[test]
    fn remark_on_an_item_that_was_put_back_is_the_later_one_and_others_keep_theirs() {
        let with = |id: &str, ip: &str, comment: &str| {
            raw(&format!(r#"{{"id":"{id}","ip":"{ip}","comment":"{comment}"}}"#))
        };
        let mut list = ObservedList::default();
        list.add(with("a", "1.1.1.1", "first"));
        list.add(with("b", "1.1.1.2", "other"));
        list.add(with("c", "1.1.1.1", "later"));
        list.settle();
        let comment = |text: &str| list.comment(&text.parse().unwrap());
        assert_eq!((comment("1.1.1.1"), comment("1.1.1.2")), (Some("later"), Some("other")));
        assert_eq!(list.comments.len(), 2);
        list.add(raw(r#"{"id":"d","ip":"1.1.1.1"}"#));
        assert_eq!(list.comment(&"1.1.1.1".parse().unwrap()), None, "it was put back without");
    }

    #[test]
    fn items_that_come_in_any_order_are_the_same_content_and_none_is_taken_twice() {
        let in_order = ObservedList::of(&["1.1.1.1", "2.2.2.2", "3.3.3.3", "2001:db8::1"]);
        let mut list = ObservedList::of(&["2001:db8::1", "2.2.2.2", "3.3.3.3", "1.1.1.1"]);
        assert_eq!(list, in_order);
        for again in ["2.2.2.2", "1.1.1.1", "2001:db8::1"] {
            assert!(!list.add(raw(&format!(r#"{{"id":"id-{again}","ip":"{again}"}}"#))), "{again}");
        }
        assert_eq!(list, in_order);
        let mut late = ObservedList::default();
        for (address, is_new) in [("2.2.2.2", true), ("1.1.1.1", true), ("1.1.1.1", false)] {
            let json = format!(r#"{{"id":"id-{address}","ip":"{address}","comment":"c"}}"#);
            assert_eq!(late.add(raw(&json)), is_new, "{address}");
        }
        late.settle();
        assert_eq!(late.comment(&"1.1.1.1".parse().unwrap()), Some("c"));
        assert_eq!((late.items().len(), late.surplus().len()), (2, 0));
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

//! One list: its content in the API's order, by address, then by mask, IPv4 before IPv6 (facts 1.3),
//! and for a while what the content was before, where reads lag behind. Items that are no address,
//! which only preloading can bring in, come last.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Bound;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use serde::Serialize;

use super::address::lenient;
use super::body::NewItem;
use super::operation::Change;
use crate::dates::rfc3339;
use crate::random::{Random, hex_id};

/// An item as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemView {
    /// 32 hexadecimal digits; a new one after every PUT.
    pub id: String,
    /// The value.
    pub ip: String,
    /// The comment, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// RFC 3339.
    pub created_on: String,
    /// RFC 3339.
    pub modified_on: String,
}

/// An item's place in the list. A value that parses sorts by number; the text keeps two spellings of
/// one address apart, which only preloading can bring about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    order: Order,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Address(IpNet),
    Other,
}

impl Position {
    pub(super) fn of(text: String) -> Self {
        Self { order: lenient(&text).map_or(Order::Other, Order::Address), text }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

#[derive(Debug, Clone)]
struct Item {
    id: u128,
    comment: Option<String>,
    created: Duration,
    modified: Duration,
}

/// The items of a list.
#[derive(Debug, Clone, Default)]
pub(super) struct Content(BTreeMap<Position, Item>);

impl Content {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn views(&self, start: SystemTime) -> Vec<ItemView> {
        self.0.iter().map(|(position, item)| view(position, item, start)).collect()
    }

    pub(super) fn view_of(&self, id: u128, start: SystemTime) -> Option<ItemView> {
        let (position, item) = self.0.iter().find(|(_, item)| item.id == id)?;
        Some(view(position, item, start))
    }

    /// Up to `count` items beyond a position, in order, whose text begins with `search`, and whether
    /// there are more. Costs what the page costs, wherever it is.
    pub(super) fn page_after(
        &self,
        after: Option<&Position>,
        count: usize,
        search: &str,
        start: SystemTime,
    ) -> (Vec<ItemView>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut items = self
            .0
            .range::<Position, _>((from, Bound::Unbounded))
            .filter(|(position, _)| position.text.starts_with(search));
        let page = items.by_ref().take(count).map(|(position, item)| view(position, item, start));
        (page.collect(), items.next().is_some())
    }

    /// The item after which a page must begin so that it ends with `last`; `None` = at the list's
    /// beginning.
    pub(super) fn start_of_page_ending_with(
        &self,
        last: &Position,
        count: usize,
        search: &str,
    ) -> Option<&Position> {
        self.0
            .range(..=last)
            .rev()
            .map(|(position, _)| position)
            .filter(|position| position.text.starts_with(search))
            .nth(count)
    }

    /// The last of the first `count` items, or of all if they are fewer; `None` if `count` is 0.
    pub(super) fn last_of_first(&self, count: usize, search: &str) -> Option<&Position> {
        self.0.keys().filter(|position| position.text.starts_with(search)).take(count).last()
    }
}

/// A list as the API shows it.
#[derive(Serialize)]
pub(super) struct ListView<'a> {
    created_on: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    id: &'a str,
    kind: &'a str,
    modified_on: String,
    name: &'a str,
    num_items: usize,
    num_referencing_filters: u32,
}

/// One list.
#[derive(Debug)]
pub(super) struct List {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) description: Option<String>,
    pub(super) referencing_filters: u32,
    created: Duration,
    modified: Duration,
    content: Content,
    /// What reads show instead, each until a time; the oldest first.
    past: VecDeque<(Duration, Content)>,
}

impl List {
    pub(super) fn new(
        id: String,
        name: &str,
        kind: &str,
        description: Option<String>,
        now: Duration,
    ) -> Self {
        Self {
            id,
            name: name.to_owned(),
            kind: kind.to_owned(),
            description,
            referencing_filters: 0,
            created: now,
            modified: now,
            content: Content::default(),
            past: VecDeque::new(),
        }
    }

    /// How many items there are, whatever reads show.
    pub(super) fn len(&self) -> usize {
        self.content.len()
    }

    /// What there is, whatever reads show.
    pub(super) fn content(&self) -> &Content {
        &self.content
    }

    /// What reads show.
    pub(super) fn shown(&self, now: Duration) -> &Content {
        let past = self.past.iter().find(|(until, _)| now < *until);
        past.map_or(&self.content, |(_, content)| content)
    }

    /// Reads show the content as it is now until this time, whatever becomes of it.
    pub(super) fn show_until(&mut self, until: Duration) {
        self.past.push_back((until, self.content.clone()));
    }

    pub(super) fn forget_past(&mut self, now: Duration) {
        while self.past.pop_front_if(|(until, _)| *until <= now).is_some() {}
    }

    pub(super) fn touch(&mut self, now: Duration) {
        self.modified = now;
    }

    /// The list itself, as `GET /rules/lists/{id}` shows it.
    pub(super) fn describe(
        &self,
        now: Duration,
        start: SystemTime,
        references: u32,
    ) -> ListView<'_> {
        ListView {
            created_on: rfc3339(start + self.created),
            description: self.description.as_deref(),
            id: &self.id,
            kind: &self.kind,
            modified_on: rfc3339(start + self.modified),
            name: &self.name,
            num_items: self.shown(now).len(),
            num_referencing_filters: references,
        }
    }

    /// How many items there would be after a change.
    pub(super) fn len_after(&self, change: &Change) -> usize {
        match change {
            Change::Append(items) => {
                let is_new = |item: &&NewItem| {
                    !self.content.0.contains_key(&Position::of(item.address.canonical()))
                };
                self.len() + items.iter().filter(is_new).count()
            }
            Change::Replace(items) => items.len(),
            Change::Delete(_) => 0,
        }
    }

    /// Takes values verbatim; returns those that are new.
    pub(super) fn preload(
        &mut self,
        items: Vec<(String, Option<String>)>,
        now: Duration,
        random: &mut Random,
    ) -> Vec<String> {
        let mut added = Vec::with_capacity(items.len());
        for (text, comment) in items {
            let item = Item { id: random.next_u128(), comment, created: now, modified: now };
            if self.content.0.insert(Position::of(text.clone()), item).is_none() {
                added.push(text);
            }
        }
        added
    }

    /// Takes one value off, as it is spelled; false if it was not there.
    pub(super) fn take_off(&mut self, text: &str) -> bool {
        self.content.0.remove(&Position::of(text.to_owned())).is_some()
    }

    /// Upserts: a value that is there keeps its id and has its comment overwritten, with none if none
    /// was sent (facts 1.4). Returns the values that are new.
    pub(super) fn append(
        &mut self,
        items: Vec<NewItem>,
        now: Duration,
        random: &mut Random,
    ) -> Vec<String> {
        let mut added = Vec::new();
        for NewItem { address, comment } in items {
            let text = address.canonical();
            let position = Position::of(text.clone());
            if let Some(item) = self.content.0.get_mut(&position) {
                item.comment = comment;
                item.modified = now;
            } else {
                let item = Item { id: random.next_u128(), comment, created: now, modified: now };
                self.content.0.insert(position, item);
                added.push(text);
            }
        }
        added
    }

    /// Replaces everything, with new ids even for values that stay: whether ids survive a PUT is
    /// unknown, so a client must not count on it (facts 1.5). Returns what came and what went.
    pub(super) fn replace(
        &mut self,
        items: Vec<NewItem>,
        now: Duration,
        random: &mut Random,
    ) -> (Vec<String>, Vec<String>) {
        let mut old = std::mem::take(&mut self.content).0;
        self.append(items, now, random);
        let added = self
            .content
            .0
            .keys()
            .filter(|position| old.remove(position).is_none())
            .map(|position| position.text.clone())
            .collect();
        (added, old.into_keys().map(|position| position.text).collect())
    }

    /// Removes the items with these ids. An id that is not there is no error: it is unknown what
    /// Cloudflare does, and a client may lose a race. Returns the values that went.
    pub(super) fn delete(&mut self, ids: &HashSet<u128>) -> Vec<String> {
        self.content
            .0
            .extract_if(.., |_, item| ids.contains(&item.id))
            .map(|(position, _)| position.text)
            .collect()
    }
}

fn view(position: &Position, item: &Item, start: SystemTime) -> ItemView {
    ItemView {
        id: hex_id(item.id),
        ip: position.text.clone(),
        comment: item.comment.clone(),
        created_on: rfc3339(start + item.created),
        modified_on: rfc3339(start + item.modified),
    }
}

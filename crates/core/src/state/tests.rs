use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::*;

/// A store in memory, which counts writes and may be broken.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) values: RefCell<BTreeMap<String, Vec<u8>>>,
    pub(super) writes: Cell<usize>,
    pub(super) is_broken: Cell<bool>,
    /// Writes after so many are lost, without a word: the run was killed.
    pub(super) writes_max: Cell<Option<usize>>,
}

impl Memory {
    pub(super) fn with(key: &str, value: &str) -> Self {
        let memory = Self::default();
        memory.values.borrow_mut().insert(key.to_owned(), value.as_bytes().to_vec());
        memory
    }

    pub(super) fn text(&self, key: &str) -> String {
        let values = self.values.borrow();
        values.get(key).map(|bytes| String::from_utf8(bytes.clone()).unwrap()).unwrap_or_default()
    }
}

impl Store for Memory {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.is_broken.get() {
            true => Err(StoreError("broken".to_owned())),
            false => Ok(self.values.borrow().get(key).cloned()),
        }
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        if self.is_broken.get() {
            return Err(StoreError("broken".to_owned()));
        }
        self.writes.set(self.writes.get() + 1);
        if self.writes_max.get().is_none_or(|max| self.writes.get() <= max) {
            self.values.borrow_mut().insert(key.to_owned(), value.to_vec());
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Visit {
    at: u64,
    #[serde(default)]
    name: Option<String>,
}

impl Record for Visit {
    const KEY: &'static str = "visit";
    const VERSION: u32 = 2;

    fn settle(&mut self, now: u64) {
        self.at = self.at.min(now);
    }
}

fn load(store: &Memory) -> Remembered<Visit> {
    Remembered::load(store, 1_000)
}

#[test]
fn version_is_found_wherever_it_stands() {
    for (text, found) in [
        (r#"{"v":2,"at":7}"#, Found::Stored),
        (r#"{ "v": 2, "at": 7 }"#, Found::Stored),
        (r#"{"at":7,"v":2}"#, Found::Stored),
        (r#"{"v":1,"at":7}"#, Found::Unreadable),
        (r#"{"v":22,"at":7}"#, Found::Unreadable),
        (r#"{"v":2.0,"at":7}"#, Found::Unreadable),
        (r#"{"v":2"#, Found::Unreadable),
        (r#"{"at":7}"#, Found::Unreadable),
    ] {
        assert_eq!(*load(&Memory::with("visit", text)).found(), found, "{text}");
    }
}

#[test]
fn record_stored_is_loaded_and_written_again_only_if_it_differs() {
    let store = Memory::with("visit", r#"{"v":2,"at":7,"later":[1]}"#);
    let mut visit = load(&store);
    assert_eq!((visit.found(), visit.is_new(), visit.at), (&Found::Stored, false, 7));
    visit.save(&store).unwrap();
    visit.change(&store, |visit| visit.at = 7).unwrap();
    assert_eq!(store.writes.get(), 0);
    visit.change(&store, |visit| visit.name = Some("a".to_owned())).unwrap();
    assert_eq!(
        (store.writes.get(), store.text("visit").as_str()),
        (1, r#"{"v":2,"at":7,"name":"a"}"#)
    );
    visit.save(&store).unwrap();
    assert_eq!(store.writes.get(), 1);
}

#[test]
fn anything_that_is_not_understood_is_the_default_and_is_replaced() {
    for text in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"at":7}"#,
        r#"{"v":1,"at":7}"#,
        r#"{"v":3,"at":7}"#,
        r#"{"v":2,"at":-7}"#,
        r#"{"v":2,"at":7"#,
        r#"{"v":2}"#,
    ] {
        let store = Memory::with("visit", text);
        let mut visit = load(&store);
        assert_eq!((visit.found(), visit.at), (&Found::Unreadable, 0), "{text}");
        assert!(!visit.is_new(), "{text}");
        visit.save(&store).unwrap();
        assert_eq!(load(&store).found(), &Found::Stored, "{text}");
    }
}

#[test]
fn empty_store_is_new_until_the_first_save() {
    let store = Memory::default();
    assert!(load(&store).is_new());
    load(&store).save(&store).unwrap();
    assert!(!load(&store).is_new());
}

#[test]
fn time_in_the_future_is_brought_back_once_and_kept_so() {
    let store = Memory::with("visit", r#"{"v":2,"at":18446744073709551615}"#);
    let mut visit = load(&store);
    assert_eq!(visit.at, 1_000);
    visit.save(&store).unwrap();
    assert_eq!(Remembered::<Visit>::load(&store, 5_000).at, 1_000, "not 5,000");
}

#[test]
fn broken_store_is_an_error_and_no_new_one_and_what_it_did_not_take_is_tried_again() {
    let store = Memory::default();
    store.is_broken.set(true);
    let mut visit = load(&store);
    assert!(!visit.is_new());
    assert_eq!(visit.store_error(), Some(&StoreError("broken".to_owned())));
    assert!(visit.change(&store, |visit| visit.at = 7).is_err());
    assert_eq!(visit.at, 7, "the run itself remembers");
    store.is_broken.set(false);
    visit.save(&store).unwrap();
    assert_eq!(load(&store).at, 7);
}

/// One address, held since `T` in so many runs.
fn held(runs: u64) -> guard::Held {
    let groups = vec![guard::Group { since: 500, runs }];
    let streak = guard::Streak { since: 500, first: 1, groups, ..Default::default() };
    let address = "198.51.100.5".parse().unwrap();
    guard::Held {
        streak,
        groups: Table::from_sorted([(address, guard::GroupId::FIRST)].into_iter()),
    }
}

#[test]
fn table_of_held_addresses_that_the_store_lost_is_written_by_the_next_run() {
    for lost in ["guard-lists", "guard-lists.0"] {
        let store = Memory::default();
        let load = || Remembered::<GuardHistory>::load(&store, 1_000);
        load().hold(&store, "lists", Some(held(1)));
        assert!(load().held(&store, "lists").is_some());
        store.values.borrow_mut().remove(lost);
        assert!(load().held(&store, "lists").is_none(), "{lost}");
        load().hold(&store, "lists", Some(held(1)));
        let again = load().held(&store, "lists").expect(lost);
        assert_eq!(again.groups.len(), 1);
        // What the store has is not written again.
        let writes = store.writes.get();
        load().hold(&store, "lists", Some(held(2)));
        assert_eq!(store.writes.get(), writes + 1, "{lost}: the figures alone");
    }
}

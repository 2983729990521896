//! A host whose clock or store is odd, in a world that is not.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime};

use edge_sync_core::failure::Failure;
use edge_sync_core::log::Line;
use edge_sync_core::ports::{
    Clock, Log, Request, ResponseHead, Store, StoreError, Transport, TransportError,
};

use crate::common::{Chunks, World};

/// See the module.
pub(crate) struct Odd<'w> {
    pub(crate) world: &'w World,
    /// What the date is off by, in seconds.
    pub(crate) off: Cell<i64>,
    pub(crate) store: Cell<OddStore>,
    /// So that a store which fails now and then does so at every third call.
    calls: RefCell<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum OddStore {
    Works,
    /// Is empty whenever a run begins: a pod's own.
    Forgets,
    /// Reads what was there and takes nothing.
    ReadOnly,
    /// Fails now and then.
    FailsNowAndThen,
    /// Has this under every key whenever a run begins.
    Garbage(&'static str),
}

impl<'w> Odd<'w> {
    pub(crate) fn new(world: &'w World, store: OddStore) -> Self {
        Self { world, off: Cell::new(0), store: Cell::new(store), calls: RefCell::new(0) }
    }

    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let keys =
            ["lease", "lists", "guard", "guard-kv", "guard-kv-0", "kv-quota", "ends", "ends-0"];
        match self.store.get() {
            OddStore::Forgets => *self.world.store.borrow_mut() = Some([].into()),
            OddStore::Garbage(text) => {
                let garbage = |key: &str| (key.to_owned(), text.as_bytes().to_vec());
                let mut store = self.world.store.borrow_mut();
                let store = store.get_or_insert_default();
                let stored: Vec<String> = store.keys().cloned().collect();
                store.extend(keys.into_iter().map(garbage));
                store.extend(stored.iter().map(|key| garbage(key)));
            }
            _ => {}
        }
        edge_sync_core::run(|name| self.world.settings.get(name).cloned(), self).await
    }

    fn fails(&self) -> bool {
        let mut calls = self.calls.borrow_mut();
        *calls += 1;
        self.store.get() == OddStore::FailsNowAndThen && calls.is_multiple_of(3)
    }
}

impl Transport for Odd<'_> {
    type Body = Chunks;

    async fn send(&self, request: Request) -> Result<(ResponseHead, Chunks), TransportError> {
        self.world.send(request).await
    }
}

impl Clock for Odd<'_> {
    fn monotonic(&self) -> Duration {
        self.world.monotonic()
    }

    fn wall(&self) -> SystemTime {
        let (off, wall) = (self.off.get(), self.world.wall());
        let by = Duration::from_secs(off.unsigned_abs());
        if off < 0 { wall - by } else { wall + by }
    }

    async fn sleep(&self, duration: Duration) {
        Clock::sleep(self.world, duration).await;
    }
}

impl Store for Odd<'_> {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.store.get() {
            _ if self.fails() => Err(StoreError("connection reset".to_owned())),
            _ => self.world.get(key),
        }
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        match self.store.get() {
            _ if self.fails() => Err(StoreError("connection reset".to_owned())),
            OddStore::ReadOnly => Err(StoreError("read only".to_owned())),
            _ => self.world.set(key, value),
        }
    }
}

impl Log for Odd<'_> {
    fn log(&self, line: &Line) {
        self.world.log(line);
    }
}

//! A host that dies at one of its requests, before or after it has reached Cloudflare.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use edge_sync_core::log::Line;
use edge_sync_core::ports::{
    Clock, Log, Request, ResponseHead, Store, StoreError, Transport, TransportError,
};

use crate::common::{Chunks, World};

/// See the module.
pub(crate) struct Mortal<'w> {
    world: &'w World,
    /// Requests to Cloudflare that it still lives through.
    left: Cell<u32>,
    /// Whether the last one has its effect.
    effect: bool,
    is_dead: Cell<bool>,
}

impl<'w> Mortal<'w> {
    pub(crate) fn new(world: &'w World, requests: u32, effect: bool) -> Self {
        Self { world, left: Cell::new(requests), effect, is_dead: Cell::new(false) }
    }

    /// One run, as far as it comes; whether it died.
    pub(crate) async fn run(&self) -> bool {
        let setting = |name: &str| self.world.settings.get(name).cloned();
        let mut run = pin!(edge_sync_core::run(setting, self));
        poll_fn(|context| match run.as_mut().poll(context) {
            _ if self.is_dead.get() => Poll::Ready(true),
            Poll::Ready(_) => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

impl Transport for Mortal<'_> {
    type Body = Chunks;

    async fn send(&self, request: Request) -> Result<(ResponseHead, Chunks), TransportError> {
        if request.url.starts_with(crate::common::CLOUDFLARE) {
            if self.left.get() == 0 {
                if self.effect {
                    let _ = self.world.send(request).await;
                }
                self.is_dead.set(true);
                return std::future::pending().await;
            }
            self.left.set(self.left.get() - 1);
        }
        self.world.send(request).await
    }
}

impl Clock for Mortal<'_> {
    fn monotonic(&self) -> Duration {
        self.world.monotonic()
    }

    fn wall(&self) -> SystemTime {
        self.world.wall()
    }

    async fn sleep(&self, duration: Duration) {
        Clock::sleep(self.world, duration).await;
    }
}

impl Store for Mortal<'_> {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.world.get(key)
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.world.set(key, value)
    }
}

impl Log for Mortal<'_> {
    fn log(&self, line: &Line) {
        self.world.log(line);
    }
}

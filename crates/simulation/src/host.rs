//! What core is given: its ports, on the simulator itself. No HTTP, no runtime, no wall clock.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use edge_sync_core::log::{Line, Style};
use edge_sync_core::ports::{
    self, Body, Log, Request, ResponseHead, Store, StoreError, Transport, TransportError,
};
use simulator::{LazyRows, Outcome, Service, Simulator};

use crate::clock::Clock;
use crate::judge::{Judge, Sent};
use crate::script::{Run, StoreMood};
use crate::story::Story;

pub(crate) const LAPI: &str = "http://lapi.test:8080";
pub(crate) const CLOUDFLARE: &str = "https://cloudflare.test";
pub(crate) const PUSHGATEWAY: &str = "http://pushgateway.test:9091";

/// What all runs share.
pub(crate) struct World {
    pub(crate) clock: Rc<Clock>,
    pub(crate) simulator: RefCell<Simulator>,
    pub(crate) judge: RefCell<Judge>,
    pub(crate) story: RefCell<Story>,
    pub(crate) store: RefCell<Values>,
    /// How far the host's clock is off, in seconds.
    pub(crate) step: Cell<i64>,
    pub(crate) requests: Cell<u64>,
}

/// The key-value store, with the value before the last of each key.
#[derive(Default)]
pub(crate) struct Values {
    pub(crate) now: BTreeMap<String, Vec<u8>>,
    before: BTreeMap<String, Option<Vec<u8>>>,
}

impl Values {
    fn set(&mut self, key: &str, value: &[u8]) {
        let before = self.now.insert(key.to_owned(), value.to_vec());
        self.before.insert(key.to_owned(), before);
    }
}

impl World {
    /// The date as Cloudflare and LAPI have it, in Unix seconds.
    pub(crate) fn unix(&self) -> u64 {
        let start = self.simulator.borrow().options().start;
        unix(start + self.clock.now())
    }
}

fn unix(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The host of one run.
pub(crate) struct RunHost {
    pub(crate) world: Rc<World>,
    pub(crate) number: usize,
    pub(crate) run: Run,
    pub(crate) chunk_bytes: usize,
    pub(crate) dead: Cell<bool>,
    requests: Cell<u32>,
    gets: Cell<u32>,
    sets: Cell<u32>,
}

impl RunHost {
    pub(crate) fn new(world: Rc<World>, number: usize, run: Run) -> Self {
        let chunk_bytes = world.simulator.borrow().options().chunk_bytes.max(1);
        let zero = || Cell::new(0);
        let (requests, gets, sets) = (zero(), zero(), zero());
        Self { world, number, run, chunk_bytes, dead: Cell::new(false), requests, gets, sets }
    }

    /// The date by this host's clock, in Unix seconds.
    pub(crate) fn unix(&self) -> u64 {
        self.world.unix().saturating_add_signed(self.world.step.get() + self.run.skew)
    }

    async fn die(&self) -> ! {
        self.dead.set(true);
        std::future::pending().await
    }
}

impl Transport for RunHost {
    type Body = Pieces;

    async fn send(&self, request: Request) -> Result<(ResponseHead, Pieces), TransportError> {
        let service = [
            (LAPI, Service::Lapi),
            (CLOUDFLARE, Service::Cloudflare),
            (PUSHGATEWAY, Service::Pushgateway),
        ]
        .into_iter()
        .find(|(origin, _)| request.url.starts_with(origin))
        .map(|(_, service)| service)
        .ok_or(TransportError::Denied)?;
        let number = self.requests.get() + 1;
        self.requests.set(number);
        let dies = self.run.killed_at == Some(number);
        if dies && !self.run.killed_after_effect {
            self.die().await;
        }
        let world = &self.world;
        world.requests.set(world.requests.get() + 1);
        let now = world.clock.now();
        let mut builder =
            http::Request::builder().method(request.method.as_str()).uri(&request.url);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        let body = Bytes::from(request.body.unwrap_or_default());
        let path = request.url.splitn(4, '/').nth(3).unwrap_or_default();
        let sent = Sent {
            run: self.number,
            at: now,
            unix: self.unix(),
            service,
            method: request.method.as_str(),
            path: path.to_owned(),
            body: body.clone(),
        };
        let http = builder
            .body(body)
            .map_err(|error| TransportError::Other(format!("not a valid request: {error}")))?;
        let reply = {
            let mut simulator = world.simulator.borrow_mut();
            let mut judge = world.judge.borrow_mut();
            simulator.tick(now);
            judge.catch_up(&mut simulator);
            let index = judge.sent(&sent, &mut simulator);
            let reply = simulator.handle(now, service, http);
            judge.handled(index, &mut simulator);
            (index, reply)
        };
        let (index, reply) = reply;
        world.story.borrow_mut().request(&sent, &reply);
        if dies {
            self.die().await;
        }
        if !reply.after.is_zero() {
            world.clock.sleep(reply.after).await;
        }
        let (response, rest, cut) = match reply.outcome {
            Outcome::Response(response) => (response, None, None),
            Outcome::Streamed { response, rest, is_cut } => {
                (response, Some(rest), is_cut.then_some(u64::MAX))
            }
            Outcome::CutBody { response, keep } => (response, None, Some(keep as u64)),
            Outcome::Refused => return Err(TransportError::Connection("refused".to_owned())),
            Outcome::Closed => return Err(TransportError::Connection("closed".to_owned())),
            Outcome::Silent => std::future::pending().await,
        };
        let headers = response.headers().iter().map(|(n, v)| (n.as_str(), v.as_bytes()));
        let head = ResponseHead::new(response.status().as_u16(), headers);
        let whole = response.into_body();
        let keep = cut.filter(|_| rest.is_none()).map_or(whole.len(), |keep| keep as usize);
        let body = Pieces {
            left: whole.slice(..keep.min(whole.len())),
            told: (cut.is_none() && rest.is_none()).then_some(whole),
            rest,
            cut: cut.is_some(),
            chunk_bytes: self.chunk_bytes,
            world: Rc::clone(world),
            of: (self.number, index, head.status),
        };
        Ok((head, body))
    }
}

/// An answer's body, in pieces. Its end is told to the judge: what was not read to its end is not known.
pub(crate) struct Pieces {
    left: Bytes,
    rest: Option<LazyRows>,
    told: Option<Bytes>,
    cut: bool,
    chunk_bytes: usize,
    world: Rc<World>,
    of: (usize, usize, u16),
}

impl Body for Pieces {
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        if self.left.is_empty()
            && let Some(block) = self.rest.as_mut().and_then(|rows| rows.block(16 * 1024))
        {
            self.left = block;
        }
        if !self.left.is_empty() {
            let size = self.chunk_bytes.min(self.left.len());
            return Ok(Some(self.left.split_to(size).to_vec()));
        }
        if self.cut {
            return Err(TransportError::Body("cut".to_owned()));
        }
        if let Some(body) = self.told.take() {
            let (run, index, status) = self.of;
            self.world.judge.borrow_mut().answered(run, index, status, &body);
        }
        Ok(None)
    }
}

impl ports::Clock for RunHost {
    fn monotonic(&self) -> Duration {
        self.world.clock.now()
    }

    fn wall(&self) -> SystemTime {
        let true_time = self.world.simulator.borrow().options().start + self.world.clock.now();
        let off = self.world.step.get() + self.run.skew;
        let by = Duration::from_secs(off.unsigned_abs());
        if off < 0 { true_time - by } else { true_time + by }
    }

    async fn sleep(&self, duration: Duration) {
        self.world.clock.sleep(duration).await;
    }
}

impl Store for RunHost {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let number = self.gets.get() + 1;
        self.gets.set(number);
        let store = self.world.store.borrow();
        match self.run.store {
            StoreMood::Absent => return Err(StoreError("access denied".to_owned())),
            StoreMood::Errors(from) if number + self.sets.get() >= from => {
                return Err(StoreError("the store is away".to_owned()));
            }
            StoreMood::Stale(at) if number == at => {
                if let Some(before) = store.before.get(key) {
                    return Ok(before.clone());
                }
            }
            _ => {}
        }
        Ok(store.now.get(key).cloned())
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let number = self.sets.get() + 1;
        self.sets.set(number);
        match self.run.store {
            StoreMood::Absent => return Err(StoreError("access denied".to_owned())),
            StoreMood::Errors(from) if number + self.gets.get() >= from => {
                return Err(StoreError("the store is away".to_owned()));
            }
            StoreMood::LosesWrite(at) if number == at => return Ok(()),
            _ => {}
        }
        self.world.store.borrow_mut().set(key, value);
        self.world.judge.borrow_mut().remembered(self.number, key, value);
        Ok(())
    }
}

impl Log for RunHost {
    fn log(&self, line: &Line) {
        let text = line.render(Style::KeyValue);
        self.world.story.borrow_mut().line(self.world.clock.now(), self.number, line.text());
        self.world.judge.borrow_mut().line(self.number, &text);
    }
}

//! What core is given: its ports, on the simulator itself. No HTTP, no runtime, no wall clock.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use edge_sync_core::log::{Line, Style};
use edge_sync_core::ports::{
    self, Body, Log, Method, Request, ResponseHead, Store, StoreError, Transport, TransportError,
};
use http::HeaderValue;
use serde_json::Value;
use simulator::{LazyRows, Outcome, Service, Simulator};

use crate::clock::Clock;
use crate::defects::{self, Defect, is_planted};
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
        let before = match self.now.get_mut(key) {
            Some(now) => Some(std::mem::replace(now, value.to_vec())),
            None => self.now.insert(key.to_owned(), value.to_vec()),
        };
        match self.before.get_mut(key) {
            Some(known) => *known = before,
            None => drop(self.before.insert(key.to_owned(), before)),
        }
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
        let (service, path) = [
            (CLOUDFLARE, Service::Cloudflare),
            (LAPI, Service::Lapi),
            (PUSHGATEWAY, Service::Pushgateway),
        ]
        .into_iter()
        .find_map(|(origin, service)| Some((service, request.url.strip_prefix(origin)?)))
        .ok_or(TransportError::Denied)?;
        let path = path.strip_prefix('/').unwrap_or(path).to_owned();
        let number = self.requests.get() + 1;
        self.requests.set(number);
        let dies = self.run.killed_at == Some(number);
        if dies && !self.run.killed_after_effect {
            self.die().await;
        }
        let world = &self.world;
        world.requests.set(world.requests.get() + 1);
        let now = world.clock.now();
        let body = Bytes::from(request.body.unwrap_or_default());
        let body = self.asked(request.method.as_str(), &request.url, body);
        let sent = Rc::new(Sent {
            run: self.number,
            at: now,
            unix: self.unix(),
            service,
            method: request.method.as_str(),
            path,
            body: body.clone(),
        });
        if let Some(answer) = self.made_up(&sent) {
            return Ok(answer);
        }
        let http = in_http(request.method, request.url, request.headers, body)
            .map_err(|error| TransportError::Other(format!("not a valid request: {error}")))?;
        if is_planted(Defect::WritesTwice) && sent.path.ends_with("/items") && sent.method == "POST"
        {
            let mut simulator = world.simulator.borrow_mut();
            let index = world.judge.borrow_mut().sent(&sent, &mut simulator);
            let reply = simulator.handle(now, service, http.clone());
            world.judge.borrow_mut().handled(index, &mut simulator);
            if let Outcome::Response(response) = &reply.outcome {
                let status = response.status().as_u16();
                let of = (self.number, index);
                world.judge.borrow_mut().answered(of, status, response.body(), now);
            }
        }
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
        let mut head = ResponseHead::new(response.status().as_u16(), headers);
        let status = head.status;
        let whole = response.into_body();
        let body = told(service, &sent, &mut head, &whole);
        let keep = cut.filter(|_| rest.is_none()).map_or(whole.len(), |keep| keep as usize);
        let body = Pieces {
            left: body.unwrap_or_else(|| whole.slice(..keep.min(whole.len()))),
            told: (cut.is_none() && rest.is_none()).then_some(whole),
            rest,
            cut: cut.is_some(),
            chunk_bytes: self.chunk_bytes,
            world: Rc::clone(world),
            is_of_lapi: service == Service::Lapi,
            of: (self.number, index, status),
        };
        Ok((head, body))
    }
}

/// The request as the simulator takes it.
fn in_http(
    method: Method,
    url: String,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    body: Bytes,
) -> Result<http::Request<Bytes>, http::Error> {
    let mut request = http::Request::new(body);
    *request.method_mut() = match method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Patch => http::Method::PATCH,
        Method::Delete => http::Method::DELETE,
    };
    *request.uri_mut() = url.try_into()?;
    for (name, value) in headers {
        let value = match value {
            Cow::Borrowed(value) => HeaderValue::from_static(value),
            Cow::Owned(value) => value.try_into()?,
        };
        request.headers_mut().append(name, value);
    }
    Ok(request)
}

impl RunHost {
    /// What is asked for, by a client with a defect.
    fn asked(&self, method: &str, url: &str, body: Bytes) -> Bytes {
        let Some(defect) = defects::planted() else { return body };
        let is_items = url.ends_with("/items");
        let mut json: Value = match serde_json::from_slice(&body) {
            Ok(json) if method != "GET" => json,
            _ => return body,
        };
        match defect {
            Defect::RewriteLosesItem if is_items && method == "PUT" => {
                let items = json.as_array_mut();
                items.filter(|items| items.len() > 1).and_then(Vec::pop);
            }
            Defect::AddsProtected if is_items && method == "POST" => {
                if let Some(items) = json.as_array_mut() {
                    items.push(serde_json::json!({ "ip": "10.9.9.9" }));
                }
            }
            Defect::DeletesTooMuch if is_items && method == "DELETE" => {
                let list = url.rsplit('/').nth(1).unwrap_or_default();
                let items = self.world.simulator.borrow_mut().cloudflare().items(list);
                let all = json["items"].as_array_mut();
                if let (Some(all), Some(item)) = (all, items.last()) {
                    all.push(serde_json::json!({ "id": item.id }));
                    all.dedup();
                }
            }
            Defect::KvLosesPair if url.ends_with("/bulk") => {
                let pairs = json.as_array_mut();
                pairs.filter(|pairs| pairs.len() > 1).and_then(Vec::pop);
            }
            Defect::KvWritesForeign if url.ends_with("/bulk") => {
                if let Some(pairs) = json.as_array_mut() {
                    pairs.push(serde_json::json!({ "key": "other:key", "value": "ban" }));
                }
            }
            Defect::KvShardLosesLine
            | Defect::KvLosesRegions
            | Defect::KvLosesExceptions
            | Defect::KvSwitchesAtOnce
                if url.ends_with("/bulk") =>
            {
                for pair in json.as_array_mut().into_iter().flatten() {
                    let value = pair["value"].as_str().unwrap_or_default();
                    pair["value"] = spoilt(defect, value).into();
                }
            }
            Defect::KvDeletesTooMuch if url.ends_with("/bulk/delete") => {
                let namespace = url.rsplit('/').nth(2).unwrap_or_default();
                let entries = self.world.simulator.borrow_mut().cloudflare().kv_entries(namespace);
                let key = entries.keys().rfind(|key| key.starts_with("ip:"));
                if let (Some(keys), Some(key)) = (json.as_array_mut(), key) {
                    keys.push(key.clone().into());
                }
            }
            Defect::RuleLosesDelta if method == "PATCH" => {
                let expression = json["expression"].as_str().unwrap_or_default();
                let list = if expression.contains("$crowdsec_ban") { "ban" } else { "captcha" };
                json["expression"] = format!("(ip.src in $crowdsec_{list})").into();
            }
            Defect::RuleNeverWritten if method == "PATCH" => {
                let zone = url.split("/zones/").nth(1).and_then(|rest| rest.split('/').next());
                let rules =
                    self.world.simulator.borrow_mut().cloudflare().rules(zone.unwrap_or_default());
                let reference = json["ref"].as_str().unwrap_or_default();
                let rules = rules.unwrap_or_default();
                if let Some(rule) = rules.iter().find(|rule| rule.reference == reference) {
                    json["expression"] = rule.expression.clone().into();
                }
            }
            _ => return body,
        }
        serde_json::to_vec(&json).map_or(body, Bytes::from)
    }

    /// What a client with a defect believes to have been answered to what it never sent.
    fn made_up(&self, sent: &Sent) -> Option<(ResponseHead, Pieces)> {
        let is_items = sent.path.ends_with("/items");
        let moves = || {
            // An address of another list: the addition of a move.
            let text = String::from_utf8_lossy(&sent.body);
            let mut simulator = self.world.simulator.borrow_mut();
            let lists = simulator.cloudflare().lists();
            let mut others = lists.iter().filter(|(id, _)| !sent.path.contains(id.as_str()));
            others.any(|(id, _)| {
                let values = simulator.cloudflare().values(id);
                values.iter().any(|value| text.contains(&format!("\"{value}\"")))
            })
        };
        let body = match defects::planted()? {
            Defect::NeverDeletes if is_items && sent.method == "DELETE" => ACCEPTED,
            Defect::RemovesBeforeAdding if is_items && sent.method == "POST" && moves() => ACCEPTED,
            Defect::NeverDeletes | Defect::RemovesBeforeAdding | Defect::BelievesThrottled
                if sent.path.ends_with(MADE_UP_ID) =>
            {
                COMPLETED
            }
            _ => return None,
        };
        Some(self.believed(200, body))
    }

    fn believed(&self, status: u16, body: &'static str) -> (ResponseHead, Pieces) {
        let pieces = Pieces {
            left: Bytes::from_static(body.as_bytes()),
            told: None,
            rest: None,
            cut: false,
            is_of_lapi: false,
            chunk_bytes: self.chunk_bytes,
            world: Rc::clone(&self.world),
            of: (self.number, 0, status),
        };
        (ResponseHead::new(status, []), pieces)
    }
}

/// A value of KV as a client with a defect writes it. The lines of regions stand in the JSON of the layout `keys`
/// too, each with `\n` at its end.
fn spoilt(defect: Defect, value: &str) -> String {
    let without = |is_lost: &dyn Fn(&str) -> bool| {
        let (end, more) = match value.split_once("\"more\":\"") {
            Some((before, more)) => ("\\n", Some((before, more))),
            None => ("\n", None),
        };
        let lines = more.map_or(value, |(_, more)| more).split_inclusive(end);
        let kept: String = lines.filter(|line| !is_lost(line)).collect();
        more.map_or(kept.clone(), |(before, _)| format!("{before}\"more\":\"{kept}"))
    };
    match defect {
        Defect::KvShardLosesLine if value.starts_with("edge-sync shard ") => {
            let lines: Vec<&str> = value.split_inclusive('\n').collect();
            lines[..lines.len().max(2) - 1].concat()
        }
        Defect::KvLosesRegions => {
            without(&|line| line.starts_with("country:") || line.starts_with("as:"))
        }
        Defect::KvLosesExceptions => without(&|line| line.contains(" never 0")),
        Defect::KvSwitchesAtOnce => match value.split_once(" keys ") {
            Some((head, rest)) if head.starts_with("edge-sync wide ") => {
                format!("{head} shards {rest}")
            }
            _ => value.to_owned(),
        },
        _ => value.to_owned(),
    }
}

const MADE_UP_ID: &str = "00000000000000000000000000000bad";
const ACCEPTED: &str = r#"{"success":true,"errors":[],"messages":[],"result":{"operation_id":"00000000000000000000000000000bad"}}"#;
const COMPLETED: &str = r#"{"success":true,"errors":[],"messages":[],"result":{"id":"00000000000000000000000000000bad","status":"completed"}}"#;

/// What a client with a defect takes an answer for; `None` = for what it is.
fn told(service: Service, sent: &Sent, head: &mut ResponseHead, body: &Bytes) -> Option<Bytes> {
    let defect = defects::planted()?;
    let is_decisions = service == Service::Lapi && sent.path.starts_with("v1/decisions");
    match defect {
        Defect::ObjectIsEmpty if is_decisions && head.status == 200 && !body.starts_with(b"[") => {
            Some(Bytes::from_static(b"[]"))
        }
        Defect::ErrorIsEmpty if is_decisions && head.status != 200 => {
            head.status = 200;
            Some(Bytes::from_static(b"[]"))
        }
        Defect::BelievesOperations if sent.path.contains("/bulk_operations/") => {
            let text = String::from_utf8_lossy(body);
            let text = text.replace("\"pending\"", "\"completed\"");
            Some(text.replace("\"running\"", "\"completed\"").into())
        }
        Defect::BelievesThrottled
            if head.status == 429 && sent.path.ends_with("/items") && sent.method != "GET" =>
        {
            head.status = 200;
            Some(Bytes::from_static(ACCEPTED.as_bytes()))
        }
        Defect::OldMarks if sent.path.ends_with("/rules/lists") && head.status == 200 => {
            Some(defects::heard(sent.at, body))
        }
        Defect::OldMarks if sent.path.ends_with("/items") && sent.method != "GET" => {
            defects::unheard();
            None
        }
        Defect::ReadsHalf if sent.path.contains("/items") && sent.method == "GET" => {
            let mut json: Value = serde_json::from_slice(body).ok()?;
            json["result"].as_array_mut()?.truncate(1);
            serde_json::to_vec(&json).ok().map(Bytes::from)
        }
        Defect::Panics => {
            assert!(head.status != 429, "an odd status");
            None
        }
        _ => None,
    }
}

/// An answer's body, in pieces. Its end is told to the judge: what was not read to its end is not known.
pub(crate) struct Pieces {
    left: Bytes,
    rest: Option<LazyRows>,
    told: Option<Bytes>,
    cut: bool,
    is_of_lapi: bool,
    chunk_bytes: usize,
    world: Rc<World>,
    of: (usize, usize, u16),
}

impl Pieces {
    /// What makes a list of what has arrived.
    fn close(&self) -> Vec<u8> {
        b"]".to_vec()
    }
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
        if self.cut && self.is_of_lapi && is_planted(Defect::CutBodyIsWhole) {
            self.cut = false;
            return Ok(Some(self.close()));
        }
        if self.cut {
            return Err(TransportError::Body("cut".to_owned()));
        }
        if let Some(body) = self.told.take() {
            let (run, index, status) = self.of;
            let now = self.world.clock.now();
            self.world.judge.borrow_mut().answered((run, index), status, &body, now);
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
        let duration = if is_planted(Defect::NoTimeout) { duration * 20 } else { duration };
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
        if defects::forgets(key) {
            return Ok(None);
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
        let mut text = line.render(Style::KeyValue);
        if is_planted(Defect::AlwaysSuccess) {
            text = text.replace(" success=0", " success=1");
        }
        if is_planted(Defect::PrintsToken) {
            text.push_str(&self.world.simulator.borrow().options().cloudflare.api_token);
        }
        self.world.story.borrow_mut().line(self.world.clock.now(), self.number, line.text());
        self.world.judge.borrow_mut().line(self.number, &text);
    }
}

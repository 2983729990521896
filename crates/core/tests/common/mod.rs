//! The core on the simulator: its ports over the in-process front, in simulated time.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use edge_sync_core::failure::Failure;
use edge_sync_core::log::{Level, Line};
use edge_sync_core::ports::{
    Body, Clock, Log, Request, ResponseHead, Store, StoreError, Transport, TransportError,
};
use simulator::front::in_process::ChunkedBody;
use simulator::{Decision, Entry, InProcess, KvCounters, KvEntryView, Options, Service, Simulator};

pub const LAPI: &str = "http://lapi.test:8080";
pub const CLOUDFLARE: &str = "https://cloudflare.test";
pub const PUSHGATEWAY: &str = "http://pushgateway.test:9091";

/// A world with a LAPI, two empty lists, an empty KV namespace and a Pushgateway, and the settings to
/// reach them. KV is off until [`World::target`] turns it on.
pub struct World {
    pub front: InProcess,
    pub settings: BTreeMap<String, String>,
    pub ban_list: String,
    pub captcha_list: String,
    pub namespace: String,
    lines: RefCell<Vec<(Duration, Line)>>,
    violations_seen: Cell<usize>,
    /// The key-value store; `None` = the host has none.
    pub store: RefCell<Option<BTreeMap<String, Vec<u8>>>>,
    /// Every request with a body: method, URL, body.
    pub sent: RefCell<Vec<(String, String, Bytes)>>,
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// With other options. Must be made inside a tokio runtime, or it has no clock.
    pub fn with(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::default();
        options.cloudflare.operation_delay = Duration::from_millis(700);
        options.cloudflare.kv_own_prefix = "ip:".to_owned();
        options.cloudflare.kv_own_key = "ranges".to_owned();
        change(&mut options);
        let mut simulator = Simulator::new(options.clone());
        let ban_list = simulator.cloudflare().create_list("crowdsec_ban");
        let captcha_list = simulator.cloudflare().create_list("crowdsec_captcha");
        let namespace = simulator.cloudflare().create_namespace("crowdsec");
        let settings = [
            ("lapi_url", LAPI),
            ("lapi_key", &options.lapi.key),
            ("cf_api_url", CLOUDFLARE),
            ("cf_account_id", &options.cloudflare.account_id),
            ("cf_api_token", &options.cloudflare.api_token),
            ("cf_ban_list_id", &ban_list),
            ("cf_captcha_list_id", &captcha_list),
            ("pushgateway_url", PUSHGATEWAY),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let front = InProcess::new(simulator);
        Self {
            front,
            settings,
            ban_list,
            captcha_list,
            namespace,
            lines: RefCell::default(),
            violations_seen: Cell::default(),
            store: RefCell::new(Some(BTreeMap::new())),
            sent: RefCell::default(),
        }
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    /// A world whose only target is KV.
    pub fn kv(change: impl FnOnce(&mut Options)) -> Self {
        let mut world = Self::with(change);
        world.target(&["kv"]);
        world
    }

    /// Has these targets and no other: `lists`, `kv`.
    pub fn target(&mut self, targets: &[&str]) {
        for (target, name, id) in [
            ("lists", "cf_ban_list_id", self.ban_list.clone()),
            ("lists", "cf_captcha_list_id", self.captcha_list.clone()),
            ("kv", "cf_kv_namespace_id", self.namespace.clone()),
        ] {
            self.set(name, if targets.contains(&target) { &id } else { "" });
        }
    }

    pub fn fault(&self, fault: &str) {
        self.front.world().inject(fault.parse().unwrap_or_else(|e| panic!("{e}")));
    }

    pub fn ban(&self, value: &str) {
        self.front.world().lapi().add(Decision::ban(value).until(Duration::from_secs(1 << 30)));
    }

    pub fn captcha(&self, value: &str) {
        self.front.world().lapi().add(Decision::captcha(value).until(Duration::from_secs(1 << 30)));
    }

    /// A decision that holds for so long from now.
    pub fn decide(&self, kind: &str, value: &str, lasts: Duration) {
        let until = self.front.elapsed() + lasts;
        self.front.world().lapi().add(Decision::ban(value).kind(kind).until(until));
    }

    /// Puts a key into the namespace without a write: as the program before this one left it, or,
    /// with `written` (seconds since the start), as another run of ours did.
    pub fn preload_key(
        &self,
        key: &str,
        value: &str,
        expires: Option<Duration>,
        written: Option<Duration>,
    ) {
        let mut world = self.front.world();
        let start = world.options().start;
        let at = |since: Duration| {
            (start + since).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
        };
        let metadata = written.map(|w| serde_json::json!({ "v": 1, "value": value, "at": at(w) }));
        world.cloudflare().kv_put(&self.namespace, key, value, expires, metadata);
    }

    /// Everything in the namespace.
    pub fn keys(&self) -> BTreeMap<String, KvEntryView> {
        self.front.world().cloudflare().kv_entries(&self.namespace)
    }

    /// Everything in the namespace: key and value.
    pub fn values(&self) -> BTreeMap<String, String> {
        self.keys().into_iter().map(|(key, entry)| (key, entry.value)).collect()
    }

    /// What our use of KV has cost.
    pub fn kv_counters(&self) -> KvCounters {
        self.front.world().cloudflare().kv_counters()
    }

    /// The time, in Unix seconds.
    pub fn unix_now(&self) -> u64 {
        self.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }

    /// A metric of the KV job.
    pub fn kv_metric(&self, name: &str) -> Option<f64> {
        self.front.world().pushgateway().value("crowdsec-kv-sync", name)
    }

    /// Puts items on the lists without a write.
    pub fn preload(&self, ban: &[&str], captcha: &[&str]) {
        let mut world = self.front.world();
        world.cloudflare().preload(&self.ban_list, ban.iter().copied());
        world.cloudflare().preload(&self.captcha_list, captcha.iter().copied());
    }

    /// One run.
    pub async fn run(&self) -> Result<(), Failure> {
        edge_sync_core::run(|name| self.settings.get(name).cloned(), self).await
    }

    /// The log lines since the last call, with the simulated time of each.
    pub fn take_lines(&self) -> Vec<(Duration, Line)> {
        std::mem::take(&mut self.lines.borrow_mut())
    }

    /// The texts of all log lines of a level or above, since the last call of [`Self::take_lines`].
    pub fn texts(&self, at_least: Level) -> Vec<String> {
        let lines = self.lines.borrow();
        lines
            .iter()
            .filter(|(_, line)| line.level >= at_least)
            .map(|(_, line)| line.text().to_owned())
            .collect()
    }

    /// The addresses on both lists.
    pub fn edge(&self) -> (Vec<String>, Vec<String>) {
        let mut world = self.front.world();
        let [ban, captcha] = [&self.ban_list, &self.captcha_list]
            .map(|id| world.cloudflare().items(id).into_iter().map(|item| item.ip).collect());
        (ban, captcha)
    }

    pub fn metric(&self, name: &str) -> Option<f64> {
        self.front.world().pushgateway().value("crowdsec-cf-list-sync", name)
    }

    /// The requests so far that pass `filter`.
    pub fn journal(&self, filter: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        self.front.world().journal().iter().filter(|entry| filter(entry)).cloned().collect()
    }

    /// How many writes to lists were sent so far.
    pub fn writes(&self) -> usize {
        self.journal(|e| e.service == Service::Cloudflare && e.method != "GET").len()
    }

    /// The rules of the world that were broken since the last call, without the request's path.
    pub fn take_violations(&self) -> Vec<String> {
        let world = self.front.world();
        let broken = world.violations().iter();
        let seen = self.violations_seen.replace(world.violations().len());
        broken.skip(seen).map(|v| v.rsplit(": ").next().unwrap_or(v).to_owned()).collect()
    }

    pub fn assert_no_violations(&self) {
        let world = self.front.world();
        assert!(world.violations().is_empty(), "{:#?}", world.violations());
    }
}

impl Transport for World {
    type Body = Chunks;

    async fn send(&self, request: Request) -> Result<(ResponseHead, Chunks), TransportError> {
        let service = [
            (LAPI, Service::Lapi),
            (CLOUDFLARE, Service::Cloudflare),
            (PUSHGATEWAY, Service::Pushgateway),
        ]
        .into_iter()
        .find(|(origin, _)| request.url.starts_with(origin))
        .map(|(_, service)| service)
        .ok_or(TransportError::Denied)?;
        let mut builder =
            http::Request::builder().method(request.method.as_str()).uri(&request.url);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value.as_ref());
        }
        let body = Bytes::from(request.body.clone().unwrap_or_default());
        if !body.is_empty() {
            let method = request.method.as_str().to_owned();
            self.sent.borrow_mut().push((method, request.url.clone(), body.clone()));
        }
        let sent = builder.body(body).expect("every request is valid HTTP");
        let answer = self.front.send(service, sent).await.map_err(transport_error)?;
        let headers = answer.headers().iter().map(|(n, v)| (n.as_str(), v.as_bytes()));
        let head = ResponseHead::new(answer.status().as_u16(), headers);
        Ok((head, Chunks(answer.into_body())))
    }
}

pub struct Chunks(ChunkedBody);

impl Body for Chunks {
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        match self.0.chunk().await {
            None => Ok(None),
            Some(Ok(bytes)) => Ok(Some(bytes.to_vec())),
            Some(Err(error)) => Err(transport_error(error)),
        }
    }
}

fn transport_error(error: simulator::TransportError) -> TransportError {
    match error {
        simulator::TransportError::BodyCut => TransportError::Body(error.to_string()),
        _ => TransportError::Connection(error.to_string().replacen("connection ", "", 1)),
    }
}

impl Clock for World {
    fn monotonic(&self) -> Duration {
        self.front.elapsed()
    }

    fn wall(&self) -> SystemTime {
        let world = self.front.world();
        world.options().start + world.now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

impl Store for World {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match &*self.store.borrow() {
            Some(store) => Ok(store.get(key).cloned()),
            None => Err(StoreError("access denied".to_owned())),
        }
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        match &mut *self.store.borrow_mut() {
            Some(store) => {
                store.insert(key.to_owned(), value.to_vec());
                Ok(())
            }
            None => Err(StoreError("access denied".to_owned())),
        }
    }
}

impl Log for World {
    fn log(&self, line: &Line) {
        self.lines.borrow_mut().push((self.front.elapsed(), line.clone()));
    }
}

//! The world: one clock, one journal, the faults, and the three services behind them. It owns the
//! order of things in [`Simulator::handle`]; what a service answers is the service's own module.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderValue, Request, Response, StatusCode};
use memchr::memmem::Finder;

use crate::cloudflare::{Cloudflare, Interference};
use crate::edge::Edge;
use crate::fault::{Fault, FaultAction, Faults};
use crate::journal::{Counters, Entry, Fate, Judge};
use crate::lapi::{Lapi, LazyRows};
use crate::options::Options;
use crate::pushgateway::Pushgateway;
use crate::reply::{Outcome, Reply, Service};

/// A world that several fronts and a test look at together.
pub type Shared = Arc<Mutex<Simulator>>;

/// The whole remote world as a state machine.
#[derive(Debug)]
pub struct Simulator {
    options: Options,
    /// Time that was added by [`Simulator::advance`].
    advanced: Duration,
    now: Duration,
    lapi: Lapi,
    cloudflare: Cloudflare,
    pushgateway: Pushgateway,
    faults: Faults,
    journal: Vec<Entry>,
    counters: BTreeMap<Service, Counters>,
    judge: Judge,
    /// Whose each is, and what it is called.
    secrets: Vec<(Service, &'static str, Finder<'static>)>,
}

impl Simulator {
    /// An empty world: no decisions, no lists, no metrics, no faults.
    pub fn new(options: Options) -> Self {
        Self {
            advanced: Duration::ZERO,
            now: Duration::ZERO,
            lapi: Lapi::new(options.lapi.clone(), options.seed),
            cloudflare: Cloudflare::new(options.cloudflare.clone(), options.start, options.seed),
            pushgateway: Pushgateway::default(),
            faults: Faults::default(),
            journal: Vec::new(),
            counters: BTreeMap::new(),
            judge: Judge::default(),
            secrets: secrets(&options),
            options,
        }
    }

    /// The same, ready to be shared with a front.
    pub fn shared(self) -> Shared {
        Arc::new(Mutex::new(self))
    }

    /// The knobs that this world was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Handles one request. `now` is the time since the simulator's start; the wall-clock time is
    /// `options.start + now`. State changes at `now`, whatever the reply's `after` says.
    pub fn handle(&mut self, now: Duration, service: Service, request: Request<Bytes>) -> Reply {
        self.tick(now);
        let now = self.now;
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        self.judge.attend(Entry {
            at: now,
            service,
            method: request.method().as_str().to_owned(),
            target: target.to_owned(),
            fate: Fate::Silent,
            bytes_in: request.body().len() as u64,
            bytes_out: 0,
        });
        self.judge_secrets(service, &request);

        let hit = self.faults.hit(service, &request);
        if service == Service::Cloudflare {
            for event in &hit.beside {
                self.cloudflare.meanwhile(event, request.uri().path());
            }
        }
        let outcome = match hit.action {
            Some(FaultAction::Refuse) => Outcome::Refused,
            Some(FaultAction::DropBeforeEffect) => Outcome::Closed,
            Some(FaultAction::Silent) => Outcome::Silent,
            Some(FaultAction::Answer { status, headers, body }) => {
                Outcome::Response(framed(made_up(status, &headers, body)))
            }
            Some(FaultAction::AnswerAfterEffect { status, headers, body }) => {
                self.dispatch(service, &request, None);
                Outcome::Response(framed(made_up(status, &headers, body)))
            }
            Some(FaultAction::DropAfterEffect) => {
                self.dispatch(service, &request, None);
                Outcome::Closed
            }
            Some(FaultAction::CutBody { keep }) => {
                cut(whole(self.dispatch(service, &request, None)), keep)
            }
            other => whole(self.dispatch(service, &request, other.as_ref())),
        };

        let end = match &outcome {
            Outcome::Response(response) => {
                (Fate::Status(response.status().as_u16()), response.body().len() as u64)
            }
            Outcome::Streamed { response, rest, is_cut } => {
                let status = response.status().as_u16();
                let bytes = response.body().len() as u64 + rest.len();
                (if *is_cut { Fate::Cut(status) } else { Fate::Status(status) }, bytes)
            }
            Outcome::CutBody { response, keep } => {
                (Fate::Cut(response.status().as_u16()), *keep as u64)
            }
            Outcome::Refused => (Fate::Refused, 0),
            Outcome::Closed => (Fate::Closed, 0),
            Outcome::Silent => (Fate::Silent, 0),
        };
        if let Some(mut entry) = self.judge.leave() {
            (entry.fate, entry.bytes_out) = end;
            self.counters.entry(service).or_default().add(&entry);
            self.journal.push(entry);
        }
        let latency = match service {
            Service::Lapi => self.options.lapi.latency,
            Service::Cloudflare => self.options.cloudflare.latency,
            Service::Pushgateway => Duration::ZERO,
        };
        Reply { after: latency + hit.delay, outcome }
    }

    /// Lets time pass without a request, so that operations which end by then take effect. A front
    /// does this before it shows the world to a test.
    pub fn tick(&mut self, now: Duration) {
        // Two requests may arrive in the other order than they were stamped; time never runs back.
        self.now = self.now.max(now + self.advanced);
        self.cloudflare.settle(self.now);
        self.lapi.tick(self.now);
    }

    /// Moves the clock ahead of the caller's, so that bans expire without waiting.
    pub fn advance(&mut self, by: Duration) {
        self.advanced += by;
        self.now += by;
        self.tick(Duration::ZERO);
    }

    /// Time since the start, as of the last request or tick.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// CrowdSec's Local API.
    pub fn lapi(&mut self) -> &mut Lapi {
        &mut self.lapi
    }

    /// Cloudflare.
    pub fn cloudflare(&mut self) -> &mut Cloudflare {
        &mut self.cloudflare
    }

    /// What Cloudflare's edge does with visitors, now and at any moment before.
    pub fn edge(&mut self) -> &Edge {
        self.cloudflare.edge()
    }

    /// The Pushgateway.
    pub fn pushgateway(&mut self) -> &mut Pushgateway {
        &mut self.pushgateway
    }

    /// Adds a fault. Faults injected earlier win over later ones.
    pub fn inject(&mut self, fault: Fault) {
        self.faults.inject(fault);
    }

    /// Heals the world: no faults any more, and operations that were stuck or slow end now.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
        self.cloudflare.release_stuck_operations();
        self.tick(Duration::ZERO);
    }

    /// The injected faults, used up or not.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter()
    }

    /// The same with how many requests each has acted on: a fault that met none has proved nothing.
    pub fn faults_met(&self) -> impl Iterator<Item = (&Fault, u32)> {
        self.faults.met()
    }

    /// Every request that reached the world, oldest first.
    pub fn journal(&self) -> &[Entry] {
        &self.journal
    }

    /// Totals of one service since the start or [`Simulator::reset_records`].
    pub fn counters(&self, service: Service) -> Counters {
        let counters = self.counters.get(&service).copied().unwrap_or_default();
        match service {
            Service::Cloudflare => self.cloudflare.with_write_counts(counters),
            Service::Lapi | Service::Pushgateway => counters,
        }
    }

    /// The rules of the world that the client broke, each with the request that broke it.
    pub fn violations(&self) -> &[String] {
        self.judge.violations()
    }

    /// Forgets journal, counters and violations, not the state: for measuring one run among many.
    pub fn reset_records(&mut self) {
        self.journal.clear();
        self.counters.clear();
        self.judge.clear();
        self.cloudflare.reset_write_counts();
    }

    /// True while the service is down as a whole, so that nothing should listen on its port.
    pub(crate) fn is_down(&self, service: Service) -> bool {
        self.faults.iter().any(|fault| fault.closes(service))
    }

    fn dispatch(
        &mut self,
        service: Service,
        request: &Request<Bytes>,
        action: Option<&FaultAction>,
    ) -> Response<Bytes> {
        match service {
            Service::Lapi => self.lapi.handle(self.now, request, &mut self.judge),
            Service::Cloudflare => {
                let interference = Interference::of(action);
                self.cloudflare.handle(self.now, request, &interference, &mut self.judge)
            }
            Service::Pushgateway => self.pushgateway.handle(self.now, request, &mut self.judge),
        }
    }

    /// A secret that reaches a service which it is not meant for is out, whatever is answered.
    fn judge_secrets(&mut self, service: Service, request: &Request<Bytes>) {
        let host = request.uri().authority().map_or("", |authority| authority.as_str());
        let target = request.uri().path_and_query().map_or("", |target| target.as_str());
        for (owner, name, secret) in &self.secrets {
            let holds = |bytes: &[u8]| secret.find(bytes).is_some();
            if holds(target.as_bytes()) || holds(host.as_bytes()) {
                self.judge.note(format_args!("{name} is in the URL"));
            }
            if *owner != service && request.headers().values().any(|value| holds(value.as_bytes()))
            {
                self.judge.note(format_args!("{name} was sent to {service}"));
            }
        }
    }
}

/// What must not reach a service which it is not meant for.
fn secrets(options: &Options) -> Vec<(Service, &'static str, Finder<'static>)> {
    let secrets = [
        (Service::Lapi, "the LAPI key", &options.lapi.key),
        (Service::Cloudflare, "the API token", &options.cloudflare.api_token),
        (Service::Cloudflare, "the fresh token", &options.cloudflare.fresh_token),
    ];
    let known = secrets.into_iter().filter(|(.., secret)| !secret.is_empty());
    known.map(|(owner, name, secret)| (owner, name, Finder::new(secret).into_owned())).collect()
}

/// The answer of an `answer` fault.
fn made_up(status: u16, headers: &[(String, String)], body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// A service's answer, with the rows that come after its body, if any.
fn whole(mut response: Response<Bytes>) -> Outcome {
    match response.extensions_mut().remove::<LazyRows>() {
        None => Outcome::Response(framed(response)),
        Some(rest) => Outcome::Streamed { response, rest, is_cut: false },
    }
}

/// The same answer, of which only the first bytes arrive. Nothing to cut off means that nothing is lost.
fn cut(outcome: Outcome, keep: usize) -> Outcome {
    match outcome {
        Outcome::Response(response) | Outcome::Streamed { response, .. }
            if keep < response.body().len() =>
        {
            Outcome::CutBody { response, keep }
        }
        Outcome::Streamed { response, rest, is_cut } => {
            let keep = (keep - response.body().len()) as u64;
            let is_cut = is_cut || keep < rest.len();
            Outcome::Streamed { response, rest: rest.cut(keep), is_cut }
        }
        other => other,
    }
}

/// Every answer says how long it is, unless it is sent in chunks.
fn framed(mut response: Response<Bytes>) -> Response<Bytes> {
    let length = response.body().len();
    let has_no_body = response.status() == StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    if !headers.contains_key(TRANSFER_ENCODING) && !has_no_body {
        headers.entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    response
}

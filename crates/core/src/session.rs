//! One run's conversation with the outside: time limits, retries of reads, and the count of requests.
//!
//! Reads are repeated a few times when the failure may pass; writes never are (their effect would be
//! unknown twice). Nothing here outlasts the run's budget, however long an API says to wait. What is read
//! is not known here, only whether an error may pass.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use crate::api::cloudflare::{ANSWER_BYTES_MAX, CallError};
use crate::ports::{Answer, Body, Clock, Host, Request, ResponseHead, TransportError};
use crate::small::SmallMap;

/// Attempts at one read, the first included.
const ATTEMPTS_MAX: u32 = 4;
/// The wait before the second attempt; it doubles from there, and up to half of it comes on top by
/// chance, so that many bouncers do not come back together.
const BACKOFF: Duration = Duration::from_millis(500);

/// What pushing the metrics, to the Pushgateway and to LAPI, may take; kept back from the run's budget.
pub(crate) const PUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Which API a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// CrowdSec's Local API.
    Lapi,
    /// Cloudflare's API.
    Cloudflare,
}

impl Api {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lapi => "lapi",
            Self::Cloudflare => "cloudflare",
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestOutcome {
    /// 2xx, or a 404 where that is an answer.
    Ok,
    /// 429.
    Throttled,
    /// Any other status.
    Error,
    /// No answer.
    Unanswered,
}

impl RequestOutcome {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Throttled => "throttled",
            Self::Error => "error",
            Self::Unanswered => "unanswered",
        }
    }
}

/// Requests of a run, by API and outcome. The push of metrics is not among them.
pub type RequestCounts = SmallMap<(Api, RequestOutcome), u64>;

/// Whether, and when, a failed read is worth another attempt.
pub(crate) enum Again {
    Never,
    AfterBackoff,
    After(Duration),
}

/// See the module.
pub(crate) struct Session<'h, H> {
    host: &'h H,
    started: Duration,
    rng: RefCell<fastrand::Rng>,
    requests: RefCell<RequestCounts>,
    /// Pages of the longest listing, and how long they took.
    listing: Cell<(u64, Duration)>,
}

impl<'h, H: Host> Session<'h, H> {
    pub(crate) fn start(host: &'h H) -> Self {
        let started = host.monotonic();
        let seed = host.wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self {
            host,
            started,
            rng: RefCell::new(fastrand::Rng::with_seed(seed.as_nanos() as u64)),
            requests: RefCell::default(),
            listing: Cell::default(),
        }
    }

    pub(crate) fn host(&self) -> &'h H {
        self.host
    }

    /// Time since the run began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.host.monotonic().saturating_sub(self.started)
    }

    /// A number that no other run has, as good as certainly.
    pub(crate) fn draw(&self) -> u64 {
        self.rng.borrow_mut().u64(..)
    }

    /// The date, in Unix seconds.
    pub(crate) fn unix_now(&self) -> u64 {
        let since_epoch = self.host.wall().duration_since(std::time::UNIX_EPOCH);
        since_epoch.unwrap_or_default().as_secs()
    }

    pub(crate) fn requests(&self) -> RequestCounts {
        self.requests.borrow().clone()
    }

    /// Notes that a listing had so many pages, or so many of them were read.
    pub(crate) fn note_listing(&self, pages: u64, took: Duration) {
        if pages > self.listing.get().0 {
            self.listing.set((pages, took));
        }
    }

    /// The longest listing: its pages, and how long they took.
    pub(crate) fn longest_listing(&self) -> (u64, Duration) {
        self.listing.get()
    }

    /// Waits until the run is `elapsed` old.
    pub(crate) async fn wait_until(&self, elapsed: Duration) {
        self.host.sleep(elapsed.saturating_sub(self.elapsed())).await;
    }

    /// Sends a request once; counts it. No time limit.
    pub(crate) async fn send(
        &self,
        api: Api,
        request: Request,
    ) -> Result<(ResponseHead, H::Body), TransportError> {
        let mut counted = Counted { session: self, api, outcome: RequestOutcome::Unanswered };
        let may_be_absent = request.may_be_absent;
        let answer = self.host.send(request).await;
        if let Ok((head, _)) = &answer {
            counted.outcome = match head.status {
                200..300 => RequestOutcome::Ok,
                404 if may_be_absent => RequestOutcome::Ok,
                429 => RequestOutcome::Throttled,
                _ => RequestOutcome::Error,
            };
        }
        answer
    }

    /// Sends a request once and reads its whole answer, within `limit`.
    pub(crate) async fn fetch(
        &self,
        api: Api,
        request: Request,
        limit: Duration,
        bytes_max: usize,
    ) -> Result<Answer, TransportError> {
        within(self.host, limit, async {
            let (head, body) = self.send(api, request).await?;
            Ok(Answer { head, body: collect(body, bytes_max).await? })
        })
        .await?
    }

    /// Repeats `attempt` while `again` says so, a few times, and never beginning later than when the
    /// run is `until` old.
    pub(crate) async fn retry<T, E>(
        &self,
        until: Duration,
        again: impl Fn(&E) -> Again,
        mut attempt: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut attempts = 1;
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) if attempts == ATTEMPTS_MAX => return Err(error),
                Err(error) => error,
            };
            let backoff = BACKOFF * 2u32.pow(attempts - 1);
            let wait = match again(&error) {
                Again::Never => return Err(error),
                Again::AfterBackoff => backoff,
                Again::After(told) => told.max(backoff),
            };
            let jitter = backoff.mul_f64(self.rng.borrow_mut().f64() / 2.0);
            let at = self.elapsed().saturating_add(wait).saturating_add(jitter);
            if at >= until {
                return Err(error);
            }
            self.wait_until(at).await;
            attempts += 1;
        }
    }
}

/// Counts a request when it ends, in whichever way: answered, failed, or given up by a time limit.
struct Counted<'s, 'h, H> {
    session: &'s Session<'h, H>,
    api: Api,
    outcome: RequestOutcome,
}

impl<H> Drop for Counted<'_, '_, H> {
    fn drop(&mut self) {
        *self.session.requests.borrow_mut().or_default((self.api, self.outcome)) += 1;
    }
}

/// A read of Cloudflare's: repeated while the failure may pass, each attempt within `limit`, none
/// begun after `until`.
pub(crate) async fn call<H: Host, T>(
    session: &Session<'_, H>,
    request: Request,
    decode: impl Fn(&Answer) -> Result<T, CallError>,
    limit: Duration,
    until: Duration,
) -> Result<T, CallError> {
    let mut decoded = None;
    let mut take = |answer: &Answer| decode(answer).map(|value| decoded = Some(value));
    attempts(session, request, &mut take, (limit, ANSWER_BYTES_MAX), until).await?;
    Ok(decoded.expect("an attempt has succeeded"))
}

/// The same of an answer of up to `bytes_max`, which `take` keeps.
///
/// Apart from [`call`], of which the component has a copy for each type of result.
pub(crate) async fn attempts<H: Host>(
    session: &Session<'_, H>,
    request: Request,
    take: &mut dyn FnMut(&Answer) -> Result<(), CallError>,
    (limit, bytes_max): (Duration, usize),
    until: Duration,
) -> Result<(), CallError> {
    let again = |error: &CallError| match error.head().and_then(|head| head.retry_after) {
        _ if !error.is_passing() => Again::Never,
        Some(told) => Again::After(told),
        None => Again::AfterBackoff,
    };
    session
        .retry(until, again, async || {
            let limit = limit.min(until.saturating_sub(session.elapsed()));
            let request = request.clone();
            take(&session.fetch(Api::Cloudflare, request, limit, bytes_max).await?)
        })
        .await
}

/// Gives up on `future` after `limit`.
pub(crate) async fn within<T>(
    clock: &impl Clock,
    limit: Duration,
    future: impl Future<Output = T>,
) -> Result<T, TransportError> {
    match select(pin!(future), pin!(clock.sleep(limit))).await {
        Either::Left((value, _)) => Ok(value),
        Either::Right(_) => Err(TransportError::Timeout(limit)),
    }
}

/// Reads a body to its end, or until it is larger than any that we expect.
pub(crate) async fn collect(
    mut body: impl Body,
    bytes_max: usize,
) -> Result<Vec<u8>, TransportError> {
    let mut whole = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        if chunk.len() > bytes_max - whole.len() {
            return Err(TransportError::TooLarge(bytes_max));
        }
        match whole.is_empty() {
            // Most bodies are one piece.
            true => whole = chunk,
            false => whole.extend_from_slice(&chunk),
        }
    }
    Ok(whole)
}

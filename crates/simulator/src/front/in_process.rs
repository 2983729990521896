//! The in-process front. It keeps tokio's clock, so that in a test with `start_paused = true` all the
//! waiting of client and world is simulated time, and hours pass in microseconds.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::Instant;

use crate::lapi::LazyRows;
use crate::reply::{Outcome, Service};
use crate::world::{Shared, Simulator};

/// How much of a body is made at a time that is made while it is read.
const BLOCK_BYTES: usize = 16 * 1024;

/// A connection to the world without a network. Clones share world and clock.
#[derive(Debug, Clone)]
pub struct InProcess {
    world: Shared,
    start: Instant,
    chunk_bytes: usize,
}

/// What a client sees instead of an answer, or in the middle of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportError {
    /// No connection.
    Refused,
    /// The connection was closed before an answer.
    Closed,
    /// The connection was closed in the middle of the body.
    BodyCut,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::Closed => "connection closed before an answer",
            Self::BodyCut => "connection closed in the middle of the body",
        })
    }
}

impl std::error::Error for TransportError {}

/// An answer's body, piece by piece.
#[derive(Debug)]
pub struct ChunkedBody {
    rest: Bytes,
    /// What comes after `rest`.
    rows: Option<LazyRows>,
    chunk_bytes: usize,
    cut: bool,
}

impl ChunkedBody {
    /// The next piece; `None` at the end. After an error there is nothing more.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, TransportError>> {
        // A real network never gives two pieces in one poll; let others run in between.
        tokio::task::yield_now().await;
        if self.rest.is_empty()
            && let Some(block) = self.rows.as_mut().and_then(|rows| rows.block(BLOCK_BYTES))
        {
            self.rest = block;
        }
        if self.rest.is_empty() {
            return std::mem::take(&mut self.cut).then_some(Err(TransportError::BodyCut));
        }
        let size = self.chunk_bytes.min(self.rest.len());
        Some(Ok(self.rest.split_to(size)))
    }

    /// All of it.
    pub async fn collect(mut self) -> Result<Bytes, TransportError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await {
            all.extend_from_slice(&chunk?);
        }
        Ok(all.into())
    }
}

impl InProcess {
    /// Connects to this world. Its clock starts now; needs a tokio runtime.
    pub fn new(simulator: Simulator) -> Self {
        let chunk_bytes = simulator.options().chunk_bytes.max(1);
        Self { world: simulator.shared(), start: Instant::now(), chunk_bytes }
    }

    /// Sends a request and waits for the answer's head. Only path, query, method, headers and body
    /// count; which host a URL names is the caller's business, `service` says whom it reaches.
    pub async fn send(
        &self,
        service: Service,
        request: Request<Bytes>,
    ) -> Result<Response<ChunkedBody>, TransportError> {
        // Bound first, so that the world is not locked while the answer takes its time.
        let reply = lock(&self.world).handle(self.start.elapsed(), service, request);
        if !reply.after.is_zero() {
            tokio::time::sleep(reply.after).await;
        }
        let chunk_bytes = self.chunk_bytes;
        let body = |rest, rows, cut| ChunkedBody { rest, rows, chunk_bytes, cut };
        match reply.outcome {
            Outcome::Response(response) => Ok(response.map(|all| body(all, None, false))),
            Outcome::Streamed { response, rest, is_cut } => {
                Ok(response.map(|beginning| body(beginning, Some(rest), is_cut)))
            }
            Outcome::CutBody { response, keep } => {
                Ok(response.map(|all| body(all.slice(..keep.min(all.len())), None, true)))
            }
            Outcome::Refused => Err(TransportError::Refused),
            Outcome::Closed => Err(TransportError::Closed),
            Outcome::Silent => std::future::pending().await,
        }
    }

    /// The world as it is now, for a test to look at or to change. Do not hold it over an `await`.
    pub fn world(&self) -> MutexGuard<'_, Simulator> {
        let mut world = lock(&self.world);
        world.tick(self.start.elapsed());
        world
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A test that panicked while it looked at the world must not hide its message behind a poisoned lock.
pub(super) fn lock(world: &Mutex<Simulator>) -> MutexGuard<'_, Simulator> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lapi::Decision;
    use crate::options::Options;

    fn request() -> Request<Bytes> {
        Request::get("http://lapi:8080/v1/decisions")
            .header("x-api-key", Options::default().lapi.key)
            .header("user-agent", "test/v1")
            .body(Bytes::new())
            .unwrap()
    }

    fn world(fault: Option<&str>) -> InProcess {
        let mut simulator = Simulator::new(Options { chunk_bytes: 7, ..Options::default() });
        simulator.lapi().add(Decision::ban("192.0.2.1").until(Duration::from_secs(3_600)));
        if let Some(fault) = fault {
            simulator.inject(fault.parse().unwrap());
        }
        InProcess::new(simulator)
    }

    #[tokio::test(start_paused = true)]
    async fn answer_arrives_in_small_pieces_and_an_hour_passes_at_once() {
        let world = world(Some("lapi times=1: delay 1h"));
        let mut response = world.send(Service::Lapi, request()).await.unwrap();
        assert_eq!(world.elapsed(), Duration::from_secs(3_600));
        let first = response.body_mut().chunk().await.unwrap().unwrap();
        assert_eq!(first, "[{\"dura", "as the world was when the request arrived");
        response.into_body().collect().await.unwrap();
        let later = world.send(Service::Lapi, request()).await.unwrap();
        assert_eq!(later.into_body().collect().await.unwrap(), "null");
        assert_eq!(world.world().journal().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn body_of_200000_rows_arrives_in_pieces_and_is_never_held() {
        let world = world(None);
        world.world().lapi().set_lazy_rows(200_000);
        let body = world.send(Service::Lapi, request()).await.unwrap().into_body();
        assert!(body.rest.len() < 200, "only the row that is stored");
        let (mut rows, mut bytes, mut body) =
            (0, 0_u64, ChunkedBody { chunk_bytes: 65_521, ..body });
        while let Some(chunk) = body.chunk().await {
            let chunk = chunk.unwrap();
            bytes += chunk.len() as u64;
            rows += chunk.iter().filter(|byte| **byte == b'{').count();
            assert!(body.rest.len() <= BLOCK_BYTES + 200);
        }
        assert_eq!(rows, 200_001);
        assert_eq!(world.world().journal()[0].bytes_out, bytes);

        world.world().lapi().set_lazy_rows(10);
        let body = world.send(Service::Lapi, request()).await.unwrap().into_body();
        let all = body.collect().await.unwrap();
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&all).unwrap();
        assert_eq!(rows.len(), 11);
        for keep in [10, 700] {
            world.world().clear_faults();
            world.world().inject(format!("lapi: cut-body {keep}").parse().unwrap());
            let mut body = world.send(Service::Lapi, request()).await.unwrap().into_body();
            let mut got = Vec::new();
            let end = loop {
                match body.chunk().await.expect("it does not end well") {
                    Ok(chunk) => got.extend_from_slice(&chunk),
                    Err(error) => break error,
                }
            };
            assert_eq!((got.as_slice(), end), (&all[..keep], TransportError::BodyCut));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn faults_on_the_wire_are_acted_out() {
        let refused = world(Some("lapi: refuse")).send(Service::Lapi, request()).await;
        assert_eq!(refused.unwrap_err(), TransportError::Refused);
        let closed = world(Some("lapi: drop-after-effect")).send(Service::Lapi, request()).await;
        assert_eq!(closed.unwrap_err(), TransportError::Closed);
        let cut = world(Some("lapi: cut-body 10")).send(Service::Lapi, request()).await.unwrap();
        assert_eq!(cut.into_body().collect().await, Err(TransportError::BodyCut));
        let silent = world(Some("lapi: silent"));
        let patience = Duration::from_secs(86_400);
        assert!(
            tokio::time::timeout(patience, silent.send(Service::Lapi, request())).await.is_err()
        );
    }
}

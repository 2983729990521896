//! The HTTP front: each service on its own loopback port, faults acted out on real connections, and
//! the control endpoint. It keeps the machine's clock.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::header::TRANSFER_ENCODING;
use http::{StatusCode, response};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::control;
use super::in_process::lock;
use super::wire::{Door, Handle};
use crate::lapi::LazyRows;
use crate::reply::{Outcome, Service};
use crate::world::Shared;

/// Pieces in which a chunked body goes out.
const CHUNK_BYTES: usize = 64 * 1024;

/// A larger request would be a mistake of the client; the largest honest one is a PUT of a full list.
const REQUEST_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The ports to listen on at 127.0.0.1; 0 = any that is free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ports {
    /// CrowdSec's Local API.
    pub lapi: u16,
    /// Cloudflare.
    pub cloudflare: u16,
    /// The Pushgateway.
    pub pushgateway: u16,
    /// The control endpoint.
    pub control: u16,
}

/// The served world. Dropping it closes the ports, soon; [`Running::stop`] waits for that.
#[derive(Debug)]
pub struct Running {
    /// Where CrowdSec's Local API listens.
    pub lapi: SocketAddr,
    /// Where Cloudflare listens.
    pub cloudflare: SocketAddr,
    /// Where the Pushgateway listens.
    pub pushgateway: SocketAddr,
    /// Where the control endpoint listens.
    pub control: SocketAddr,
    world: Shared,
    shutdown: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// What a handler needs to ask the world.
#[derive(Clone)]
pub(super) struct Front {
    pub(super) world: Shared,
    pub(super) start: Instant,
    service: Service,
    shutdown: watch::Receiver<bool>,
}

/// Serves a world on loopback ports until the result is dropped.
pub async fn serve(world: Shared, ports: Ports) -> io::Result<Running> {
    let (shutdown, stopping) = watch::channel(false);
    let start = Instant::now();
    let mut tasks = Vec::new();
    let mut addresses = Vec::new();
    let by_service = [
        (Service::Lapi, ports.lapi),
        (Service::Cloudflare, ports.cloudflare),
        (Service::Pushgateway, ports.pushgateway),
    ];
    for (service, port) in by_service {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let door = Door { world: world.clone(), service, listener: Some(listener), address };
        let front = Front { world: world.clone(), start, service, shutdown: stopping.clone() };
        let app = Router::new().fallback(answer).with_state(front);
        let app = app.into_make_service_with_connect_info::<Handle>();
        let server = axum::serve(door, app).with_graceful_shutdown(stopped(stopping.clone()));
        tasks.push(tokio::spawn(ended(server.into_future())));
        addresses.push(address);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, ports.control)).await?;
    let control = listener.local_addr()?;
    let front =
        Front { world: world.clone(), start, service: Service::Lapi, shutdown: stopping.clone() };
    let server = axum::serve(listener, control::router(front));
    let server = server.with_graceful_shutdown(stopped(stopping));
    tasks.push(tokio::spawn(ended(server.into_future())));
    let [lapi, cloudflare, pushgateway] = addresses[..] else {
        return Err(io::Error::other("a service has no address"));
    };
    Ok(Running { lapi, cloudflare, pushgateway, control, world, shutdown, tasks })
}

impl Running {
    /// The world behind the ports.
    pub fn world(&self) -> &Shared {
        &self.world
    }

    /// Where a service is reached, as `http://127.0.0.1:PORT`.
    pub fn url(&self, service: Service) -> String {
        let address = match service {
            Service::Lapi => self.lapi,
            Service::Cloudflare => self.cloudflare,
            Service::Pushgateway => self.pushgateway,
        };
        format!("http://{address}")
    }

    /// Closes the ports and waits until they are closed.
    pub async fn stop(mut self) {
        self.shutdown.send_replace(true);
        for task in std::mem::take(&mut self.tasks) {
            // A client may keep its connection for ever; that must not keep us.
            let _ = tokio::time::timeout(Duration::from_secs(1), task).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.send_replace(true);
    }
}

async fn ended(server: impl Future<Output = io::Result<()>>) {
    if let Err(error) = server.await {
        tracing::error!(%error, "a front of the simulator ended");
    }
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which says the same.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn answer(
    State(front): State<Front>,
    ConnectInfo(wire): ConnectInfo<Handle>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, REQUEST_BYTES_MAX).await else {
        wire.close();
        return Response::default();
    };
    let request = http::Request::from_parts(head, body);
    let reply = lock(&front.world).handle(front.start.elapsed(), front.service, request);
    if !reply.after.is_zero() {
        tokio::time::sleep(reply.after).await;
    }
    match reply.outcome {
        Outcome::Response(response) => {
            let (mut head, body) = response.into_parts();
            match head.headers.remove(TRANSFER_ENCODING) {
                None => Response::from_parts(head, Body::from(body)),
                Some(_) => in_chunks(head, body, None, None),
            }
        }
        Outcome::Streamed { response, rest, is_cut } => {
            let (mut head, body) = response.into_parts();
            head.headers.remove(TRANSFER_ENCODING);
            in_chunks(head, body, Some(rest), is_cut.then_some(wire))
        }
        Outcome::CutBody { response, keep } => {
            let (mut head, body) = response.into_parts();
            // With a length the rest of the body is missing, without one the last chunk.
            head.headers.remove(TRANSFER_ENCODING);
            in_chunks(head, body.slice(..keep.min(body.len())), None, Some(wire))
        }
        Outcome::Refused => {
            wire.reset();
            Response::default()
        }
        Outcome::Closed => {
            wire.close();
            Response::default()
        }
        Outcome::Silent => {
            stopped(front.shutdown).await;
            wire.close();
            Response::default()
        }
    }
}

/// A body in pieces, and then these rows; with `cut` the connection dies after the last piece, when it
/// has gone out.
fn in_chunks(
    head: response::Parts,
    body: Bytes,
    rows: Option<LazyRows>,
    cut: Option<Handle>,
) -> Response {
    let pieces = stream::unfold((body, rows, cut), |(mut rest, mut rows, cut)| async move {
        if rest.is_empty()
            && let Some(block) = rows.as_mut().and_then(|rows| rows.block(CHUNK_BYTES))
        {
            rest = block;
        }
        if !rest.is_empty() {
            let piece = rest.split_to(CHUNK_BYTES.min(rest.len()));
            return Some((Ok(piece), (rest, rows, cut)));
        }
        let wire = cut?;
        wire.flushed().await;
        Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), (rest, rows, None)))
    });
    Response::from_parts(head, Body::from_stream(pieces))
}

/// The status of a control request that cannot be understood.
pub(super) const CONFUSED: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;

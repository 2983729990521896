//! Connections that can die on command. Hyper has no way to drop a connection without an answer, so
//! the socket below it fails when the handler says so.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::in_process::lock;
use crate::reply::Service;
use crate::world::Shared;

/// How often a door looks whether its service is down, and a closed one whether it may open.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A listener that closes its port while the service is down, so that connecting is truly refused.
pub(super) struct Door {
    pub(super) world: Shared,
    pub(super) service: Service,
    pub(super) listener: Option<TcpListener>,
    pub(super) address: std::net::SocketAddr,
}

impl Listener for Door {
    type Io = Wire;
    type Addr = Handle;

    async fn accept(&mut self) -> (Wire, Handle) {
        loop {
            if lock(&self.world).is_down(self.service) {
                self.listener = None;
            } else if self.listener.is_none() {
                // Another process may hold the port for a moment; try again at the next look.
                self.listener = TcpListener::bind(self.address).await.ok();
            }
            let Some(listener) = &self.listener else {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            };
            if let Ok(Ok((stream, _))) = tokio::time::timeout(LOOK_EVERY, listener.accept()).await {
                // Without it small answers wait for the client's delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                let handle = Handle::default();
                return (Wire { stream, handle: handle.clone() }, handle);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Handle> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What a handler holds of its connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Handle(Arc<State>);

#[derive(Debug, Default)]
struct State {
    dead: AtomicBool,
    reset: AtomicBool,
    /// Counts the times that everything written so far was handed to the kernel.
    flushed: watch::Sender<u64>,
}

impl Handle {
    /// Closes the connection; nothing that is written from now on gets out.
    pub(super) fn close(&self) {
        self.0.dead.store(true, Ordering::Release);
    }

    /// The same, with a reset instead of an orderly end.
    pub(super) fn reset(&self) {
        self.0.reset.store(true, Ordering::Release);
        self.close();
    }

    /// Waits until everything that was written before is out.
    pub(super) async fn flushed(&self) {
        let mut flushed = self.0.flushed.subscribe();
        // Fails only if the sender is gone, and `self` holds it.
        let _ = flushed.changed().await;
    }
}

impl Connected<IncomingStream<'_, Door>> for Handle {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A TCP stream that fails once its [`Handle`] says so.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    handle: Handle,
}

impl Wire {
    fn check(&self) -> io::Result<()> {
        let state = &self.handle.0;
        if !state.dead.load(Ordering::Acquire) {
            return Ok(());
        }
        if state.reset.load(Ordering::Acquire) {
            self.stream.set_zero_linger()?;
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Hyper flushes the socket only after it has written out all that it had buffered.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.handle.0.flushed.send_modify(|count| *count += 1);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

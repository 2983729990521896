//! The little HTTP and TCP that the tests themselves speak: ports for real servers, a GET, and a
//! relay that can notice how far an answer has come.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// A port for a server that must be told one. Below the range from which the kernel takes ports for
/// outgoing connections, so that none of ours gets it before the server listens.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another process of ours begins elsewhere.
    let start = std::process::id() as u16;
    std::iter::repeat_with(|| start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)))
        .map(|n| 20_000 + n % 10_000)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("not all of 10,000 ports are taken")
}

/// The body of a `GET` that is answered with 200.
pub async fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // HTTP/1.0, so that the body is neither chunked nor followed by another answer.
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
    if head.split(' ').nth(1) != Some("200") {
        bail!("GET {path}: {}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}

/// Waits until `GET path` is answered with 200.
pub async fn wait_until_up(address: SocketAddr, path: &str) -> Result<()> {
    let mut last = None;
    for _ in 0..200 {
        match get(address, path).await {
            Ok(_) => return Ok(()),
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(last.expect("it was tried").context("did not come up within 10 s"))
}

/// Waits until somebody listens there.
pub async fn wait_until_listens(address: SocketAddr) -> Result<()> {
    for _ in 0..200 {
        if TcpStream::connect(address).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("nobody listens at {address} after 10 s")
}

/// Relays connections to a server, and calls something once when it has answered with so many bytes.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Relay {
    /// Relays to `server`; `then` is called when `bytes` of answers have passed.
    pub async fn start(
        server: SocketAddr,
        bytes: usize,
        then: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let mut then = Some(then);
            let mut left = bytes;
            while let Ok((client, _)) = listener.accept().await {
                // One after the other is enough for one client. An end in the middle is the point.
                let _ = relay(client, server, &mut left, &mut then).await;
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(
    client: TcpStream,
    server: SocketAddr,
    left: &mut usize,
    then: &mut Option<impl FnOnce()>,
) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    // Little of the answer fits between the server and us: what it has not sent when it dies is lost.
    socket.set_recv_buffer_size(64 << 10)?;
    let server = socket.connect(server).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
    let mut buffer = vec![0; 16 << 10];
    let result = loop {
        let count = match from_server.read(&mut buffer).await {
            Ok(0) => break Ok(()),
            Ok(count) => count,
            Err(error) => break Err(error),
        };
        *left = left.saturating_sub(count);
        if *left == 0
            && let Some(then) = then.take()
        {
            then();
        }
        if let Err(error) = to_client.write_all(&buffer[..count]).await {
            break Err(error);
        }
    };
    requests.abort();
    result
}

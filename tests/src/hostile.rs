//! Servers that never end what they say: what a broken proxy, or a neighbour who took the port, does to a run.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How the server answers every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Headers without an end.
    EndlessHeaders,
    /// One byte of the body every tenth of a second.
    SlowBody,
    /// One text of a hundred megabytes.
    OneHugeText,
    /// Blanks without an end, as fast as they are taken.
    EndlessBlanks,
    /// Decisions on ever new addresses, without an end.
    EndlessDecisions,
    /// It says that 16 exabytes are to come, and ends after ten bytes.
    HugeClaim,
}

/// All of them.
pub const MANNERS: [Manner; 6] = [
    Manner::EndlessHeaders,
    Manner::SlowBody,
    Manner::OneHugeText,
    Manner::EndlessBlanks,
    Manner::EndlessDecisions,
    Manner::HugeClaim,
];

/// A server on a port of loopback; it ends with this value.
#[derive(Debug)]
pub struct Hostile {
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Hostile {
    /// Answers in this manner from now on.
    ///
    /// # Errors
    ///
    /// No port can be had.
    pub async fn start(manner: Manner) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // The client hangs up at some time: that is how an answer without an end ends.
                tokio::spawn(async move { answer(client, manner).await.ok() });
            }
        });
        Ok(Self { address, task })
    }

    /// Its origin, as a setting takes it.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut client: TcpStream, manner: Manner) -> io::Result<()> {
    let mut request = vec![0; 4096];
    let _ = client.read(&mut request).await?;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    client.write_all(head.as_bytes()).await?;
    match manner {
        Manner::EndlessHeaders => {
            let header = format!("x-more: {}\r\n", "a".repeat(1000));
            loop {
                client.write_all(header.as_bytes()).await?;
            }
        }
        Manner::SlowBody => {
            client.write_all(b"content-length: 1000000\r\n\r\n[").await?;
            loop {
                client.write_all(b" ").await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Manner::OneHugeText => {
            let (opens, closes) = ("[{\"value\":\"", "\"}]");
            let piece = vec![b'1'; 1 << 20];
            let length = opens.len() + 100 * piece.len() + closes.len();
            let start = format!("content-length: {length}\r\n\r\n{opens}");
            client.write_all(start.as_bytes()).await?;
            for _ in 0..100 {
                client.write_all(&piece).await?;
            }
            client.write_all(closes.as_bytes()).await
        }
        Manner::EndlessBlanks => {
            client.write_all(b"\r\n[").await?;
            loop {
                client.write_all(&[b' '; 16 << 10]).await?;
            }
        }
        Manner::EndlessDecisions => {
            client.write_all(b"\r\n[").await?;
            for number in 0u32.. {
                let value = Ipv4Addr::from(0x0b00_0000 + number);
                let decision = format!(
                    r#"{{"id":{number},"origin":"cscli","type":"ban","scope":"Ip","value":"{value}","duration":"4h"}},"#
                );
                client.write_all(decision.as_bytes()).await?;
            }
            Ok(())
        }
        Manner::HugeClaim => {
            client.write_all(b"content-length: 18446744073709551615\r\n\r\n[         ").await
        }
    }
}

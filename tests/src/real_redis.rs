//! A real Redis, without a file.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::debian::{Package, Programs};
use crate::{net, skip};

/// In Debian the server is a program of redis-tools, and which one it is depends on its name.
const PACKAGE: Package = Package {
    name: "redis-tools",
    programs: &["redis-check-rdb"],
    libraries: &["libjemalloc2", "liblzf1", "libatomic1", "libsystemd0", "libssl3"],
};

/// A running Redis. Dropping it kills it.
#[derive(Debug)]
pub struct RealRedis {
    address: SocketAddr,
    server: Child,
}

impl RealRedis {
    /// Starts one, or skips the test where Debian's package cannot be had.
    pub async fn start() -> Option<Self> {
        match PACKAGE.find() {
            Ok(programs) => Some(Self::launch(&programs).await.expect("a Redis that starts")),
            Err(error) => {
                skip::for_want_of(format_args!("a real Redis: {error:#}"));
                None
            }
        }
    }

    async fn launch(programs: &Programs) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, net::free_port()));
        let mut command = programs.command("redis-check-rdb");
        command.arg0("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--dir", "/"]);
        let server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let redis = Self { address, server };
        for _ in 0..200 {
            if redis.ask("PING").is_ok_and(|answer| answer == "+PONG\r\n") {
                return Ok(redis);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("did not come up within 10 s");
    }

    /// Its address, as Spin's runtime configuration wants it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// What a client sees that is not ours: the value of a key, or `None`.
    pub fn value(&self, key: &str) -> Option<String> {
        let answer = self.ask(&format!("GET {key}")).expect("a Redis that answers");
        let (length, rest) = answer.split_once("\r\n").expect("a line");
        (length != "$-1").then(|| rest.trim_end().to_owned())
    }

    /// Forgets everything and hangs up on everybody, as after a restart without a file.
    pub fn drop_clients_and_values(&self) {
        for command in ["FLUSHALL", "CLIENT KILL TYPE normal SKIPME yes"] {
            self.ask(command).expect("a Redis that answers");
        }
    }

    /// The answer to a command in Redis' inline form; all of ours fit into one piece.
    fn ask(&self, command: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "{command}\r\nQUIT\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let answer = answer.strip_suffix("+OK\r\n").unwrap_or(&answer).to_owned();
        ensure!(!answer.starts_with('-'), "{command}: {answer}");
        Ok(answer)
    }
}

impl Drop for RealRedis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

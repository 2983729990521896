//! A real Prometheus Pushgateway.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};

use anyhow::Result;

use crate::debian::{Package, Programs};
use crate::{net, skip};

const PACKAGE: Package = Package {
    name: "prometheus-pushgateway",
    programs: &["prometheus-pushgateway"],
    libraries: &[],
};

/// A running Pushgateway. Dropping it kills it.
#[derive(Debug)]
pub struct RealPushgateway {
    address: SocketAddr,
    server: Child,
}

impl RealPushgateway {
    /// Starts one, or skips the test where Debian's package cannot be had.
    pub async fn start() -> Option<Self> {
        match PACKAGE.find() {
            Ok(programs) => Some(Self::launch(&programs).await.expect("a Pushgateway that starts")),
            Err(error) => {
                skip::for_want_of(format_args!("a real Pushgateway: {error:#}"));
                None
            }
        }
    }

    async fn launch(programs: &Programs) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, net::free_port()));
        let mut command = programs.command("prometheus-pushgateway");
        command.arg(format!("--web.listen-address={address}"));
        let server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let pushgateway = Self { address, server };
        net::wait_until_up(address, "/-/ready").await?;
        Ok(pushgateway)
    }

    /// Its origin.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a Prometheus would scrape.
    pub async fn metrics(&self) -> String {
        net::get(self.address, "/metrics").await.expect("a Pushgateway that answers")
    }
}

impl Drop for RealPushgateway {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

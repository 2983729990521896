//! The core's ports outside of WebAssembly, for commands that look and change nothing: settings, HTTP
//! and the remembered values are the ones that the component would meet, from the same manifest.
//!
//! The store is read only: what the core sets stays in memory.

mod clock;
mod log;
mod store;
mod transport;

use anyhow::Result;
use edge_sync_core::log::Style;
use edge_sync_core::ports::{Request, ResponseHead, Transport, TransportError};
use spin_app::{Options, Resolved};
use std::collections::BTreeMap;
use std::fmt;
use std::io::IsTerminal;
use tokio::time::Instant;

pub use store::ReadOnly;
pub use transport::{Http, Incoming};

/// What the core runs on. Implements [`edge_sync_core::ports::Host`]; needs a Tokio runtime.
pub struct Native {
    variables: BTreeMap<String, String>,
    http: Http,
    store: ReadOnly,
    style: Style,
    started: Instant,
}

impl Native {
    /// Reads the manifest and resolves its variables, as Spin does before it starts an application.
    /// The component's code is not looked at.
    pub fn load(options: &Options) -> Result<Self> {
        let resolved = Resolved::read(options)?;
        Ok(Self {
            variables: resolved.variables,
            http: Http::new(Some(resolved.allowed_hosts), resolved.client_tls),
            store: ReadOnly::open(options, &resolved.key_value_stores)?,
            style: match std::io::stderr().is_terminal() {
                true => Style::Terminal,
                false => Style::KeyValue,
            },
            started: Instant::now(),
        })
    }

    /// The component's variable of this name: what [`edge_sync_core::settings::Settings::parse`] asks.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

impl Native {
    /// Where the store is, without a password.
    pub fn store_place(&self) -> String {
        self.store.place()
    }

    /// Sends requests, where the manifest allows it.
    pub fn http(&self) -> &Http {
        &self.http
    }
}

impl Transport for Native {
    type Body = Incoming;

    async fn send(&self, request: Request) -> Result<(ResponseHead, Incoming), TransportError> {
        self.http.send(request).await
    }
}

impl fmt::Debug for Native {
    /// Nothing of the variables: some are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Native").finish_non_exhaustive()
    }
}

//! The core's ports outside of WebAssembly, for commands that look and change nothing: settings, HTTP
//! and the remembered values are the ones that the component would meet, from the same manifest.
//!
//! Requests go out by the component's own way (`wasmtime_wasi_http::default_send_request`), so that an
//! address which works here works there. The store is read only: what the core sets stays in memory.

mod clock;
mod log;
mod store;
mod transport;

use crate::allowed_hosts::AllowedHosts;
use crate::app::Options;
use crate::resolved::Resolved;
use anyhow::Result;
use edge_sync_core::log::Style;
use std::collections::BTreeMap;
use std::fmt;
use std::io::IsTerminal;
use tokio::time::Instant;

pub(crate) use store::ReadOnly;
pub use transport::Incoming;

/// What the core runs on. Implements [`edge_sync_core::ports::Host`]; needs a Tokio runtime.
pub struct Native {
    variables: BTreeMap<String, String>,
    allowed_hosts: AllowedHosts,
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
            allowed_hosts: resolved.allowed_hosts,
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

impl fmt::Debug for Native {
    /// Nothing of the variables: some are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Native").finish_non_exhaustive()
    }
}

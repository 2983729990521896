//! What the core's ports are on Spin. No knowledge of CrowdSec or Cloudflare, no decision.

mod clock;
mod log;
mod store;
mod transport;

use edge_sync_core::log::Style;

/// The host that the core runs on.
pub(crate) struct Spin {
    style: Style,
}

impl Spin {
    pub(crate) fn new() -> Self {
        Self { style: log::style() }
    }
}

//! Prometheus Pushgateway: pushes the metrics of a run.
//!
//! Source: github.com/prometheus/pushgateway, README, "API".

use std::fmt;

use crate::ports::{Method, Request};
use crate::settings::Origin;

use super::request;

/// A Pushgateway.
#[derive(Debug, Clone)]
pub struct Pushgateway {
    origin: Origin,
}

/// How a push treats what the group holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// PUT: the group then holds these metrics and no others.
    Replace,
    /// POST: metrics of other names stay, so that the last known counts survive a skipped run.
    Merge,
}

impl Pushgateway {
    /// The one at `origin`.
    pub fn new(origin: Origin) -> Self {
        Self { origin }
    }

    /// The push of metrics, in Prometheus' text format, into the group of `job`.
    pub fn push(&self, job: &str, push: Push, metrics: String) -> Request {
        let method = match push {
            Push::Replace => Method::Put,
            Push::Merge => Method::Post,
        };
        request(method, format!("{}/metrics/job/{job}", self.origin))
            .body("text/plain; version=0.0.4; charset=utf-8", metrics.into_bytes())
    }
}

/// Where it is.
impl fmt::Display for Pushgateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin.fmt(f)
    }
}

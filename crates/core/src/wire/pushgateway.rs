//! Prometheus Pushgateway: pushes the metrics of a run.
//!
//! Source: github.com/prometheus/pushgateway, README, "API".

use crate::metrics::Metrics;
use crate::settings::Origin;

use super::{Method, Request};

/// How a push treats what the group holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// PUT: the group then holds these metrics and no others.
    Replace,
    /// POST: metrics of other names stay, so that the last known counts survive a skipped run.
    Merge,
}

/// The push of `metrics` into the group of `job`.
pub fn push(origin: &Origin, job: &str, push: Push, metrics: &Metrics) -> Request {
    let method = match push {
        Push::Replace => Method::Put,
        Push::Merge => Method::Post,
    };
    Request::new(method, format!("{origin}/metrics/job/{job}"))
        .body("text/plain; version=0.0.4; charset=utf-8", metrics.to_string().into_bytes())
}

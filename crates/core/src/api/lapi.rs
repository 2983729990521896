//! CrowdSec's Local API: the requests that we make, and what its answers mean.

use serde::Serialize;

use crate::ports::{Method, Request};
use crate::secret::Secret;
use crate::settings::Origin;

use super::{AGENT, excerpt, request};

/// A Local API, and the key of a bouncer that it knows.
#[derive(Debug, Clone)]
pub struct Lapi {
    origin: Origin,
    key: Secret,
}

impl std::fmt::Display for Lapi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.origin.fmt(f)
    }
}

impl Lapi {
    /// The API at `origin`, asked with `key`.
    pub fn new(origin: Origin, key: Secret) -> Self {
        Self { origin, key }
    }

    /// `GET /v1/decisions`: a full snapshot, every time.
    ///
    /// Without filters and pages, on purpose: an unknown filter silently returns everything, `type=` is
    /// case-sensitive, and LAPI 1.4 ignores `limit` (facts crowdsec 1.2). Not `/decisions/stream`: it
    /// can end as valid JSON with half of the rows (1.4). The path has no slash at its end: LAPI answers
    /// that with 301.
    pub fn decisions(&self) -> Request {
        self.request(Method::Get, "decisions")
    }

    /// `POST /v1/usage-metrics`, of LAPI 1.6.3 and later.
    ///
    /// Metrics are an array, though the documentation shows an object. No label `remediation`: `cscli`
    /// keeps one figure for each origin and kind of address, and items that differ only in that label
    /// would overwrite each other (facts crowdsec 1.7).
    pub fn usage_metrics(&self, usage: &Usage) -> Request {
        let items = usage.active.iter().map(|(origin, ip_type, value)| Item {
            name: "active_decisions",
            value: *value,
            unit: "ip",
            labels: Labels { origin, ip_type },
        });
        let metric = Metric {
            meta: Meta { window_size_seconds: usage.window, utc_now_timestamp: usage.now },
            items: items.collect(),
        };
        let component = Component {
            kind: AGENT,
            name: AGENT,
            version: concat!("v", env!("CARGO_PKG_VERSION")),
            os: Os { name: "wasi", version: "p2" },
            feature_flags: [],
            utc_startup_timestamp: usage.began,
            metrics: [metric],
        };
        let body = serde_json::to_vec(&Body { remediation_components: [component] });
        self.request(Method::Post, "usage-metrics")
            .body("application/json", body.expect("numbers and texts always serialise"))
    }

    fn request(&self, method: Method, path: &str) -> Request {
        request(method, format!("{}/v1/{path}", self.origin))
            .header("x-api-key", self.key.expose().to_owned())
    }
}

/// How many decisions are enforced at the edge, for `cscli metrics show bouncers`.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// When the run began, Unix seconds.
    pub began: u64,
    /// Now, Unix seconds.
    pub now: u64,
    /// The time that the figures speak for, seconds.
    pub window: u64,
    /// Origin, `ipv4` or `ipv6`, and how many.
    pub active: Vec<(String, &'static str, u64)>,
}

#[derive(Serialize)]
struct Body<'a> {
    remediation_components: [Component<'a>; 1],
}

#[derive(Serialize)]
struct Component<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'static str,
    version: &'static str,
    os: Os,
    feature_flags: [&'static str; 0],
    utc_startup_timestamp: u64,
    metrics: [Metric<'a>; 1],
}

#[derive(Serialize)]
struct Os {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Metric<'a> {
    meta: Meta,
    items: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Meta {
    window_size_seconds: u64,
    utc_now_timestamp: u64,
}

#[derive(Serialize)]
struct Item<'a> {
    name: &'static str,
    value: u64,
    unit: &'static str,
    labels: Labels<'a>,
}

#[derive(Serialize)]
struct Labels<'a> {
    origin: &'a str,
    ip_type: &'static str,
}

/// What an answer with another status than 200 says to the operator.
///
/// 403 is no proof of a wrong key: LAPI also sends it when it cannot read its database (facts 1.3).
pub fn describe_status(status: u16, body: &[u8]) -> String {
    let excerpt = excerpt(body);
    match status {
        403 => format!(
            "HTTP 403 ({excerpt}): lapi_key is not a registered bouncer key (see `cscli bouncers list`), or LAPI cannot read its database"
        ),
        404 => format!("HTTP 404 ({excerpt}): lapi_url does not point at a CrowdSec Local API"),
        300..400 => format!(
            "HTTP {status}: lapi_url is redirected, which is not followed; set it to the address that answers"
        ),
        _ => format!("HTTP {status} ({excerpt})"),
    }
}

//! The remote world of `crowdsec-edge-sync` as one state machine: CrowdSec's Local API, Cloudflare's
//! lists, Workers KV and WAF custom rules, and a Pushgateway, with a clock, a seed and faults.
//!
//! It is the independent judge of the client: it reads requests by itself, shares no type with the
//! client, and refuses what the real services refuse. Where a service's behaviour is not known, it
//! takes the stricter reading. What the client did wrong without being refused is kept in
//! [`Simulator::violations`].
//!
//! ```text
//!            front::InProcess (tokio's clock)      front::serve (loopback HTTP) + control
//!                         └──────────────┬────────────────────┘
//!                        Simulator::handle(now, service, request) -> Reply
//!                 faults ── journal ──── │ ──── violations
//!              lapi/               cloudflare/                 pushgateway/
//!                              lists/  kv/  rulesets/
//!                                 └── edge/ ──┘
//! ```
//!
//! Nothing inside `handle` reads a clock or true randomness: the same options and the same requests
//! at the same times give the same bytes.
//!
//! ```
//! use std::time::Duration;
//! use simulator::{Decision, Options, Outcome, Service, Simulator};
//!
//! let mut world = Simulator::new(Options::default());
//! world.lapi().add(Decision::ban("192.0.2.7"));
//! let request = http::Request::get("/v1/decisions")
//!     .header("x-api-key", &world.options().lapi.key)
//!     .header("user-agent", "example-bouncer/v1.0.0")
//!     .body(bytes::Bytes::new())
//!     .unwrap();
//! let reply = world.handle(Duration::ZERO, Service::Lapi, request);
//! let Outcome::Response(response) = reply.outcome else { panic!("no faults were injected") };
//! assert_eq!(response.status(), 200);
//! assert!(world.violations().is_empty());
//! ```

pub mod cloudflare;
pub mod decisions;
pub mod edge;
pub mod fault;
pub mod front;
pub mod journal;
pub mod lapi;
pub mod options;
pub mod pushgateway;

mod dates;
mod query;
mod random;
mod reply;
mod world;

pub use cloudflare::Cloudflare;
pub use cloudflare::kv::{KvChange, KvCounters, KvEntryView};
pub use cloudflare::rulesets::{RuleView, RulesEdit};
pub use edge::{Edge, Verdict, Visitor};
pub use fault::{Fault, FaultAction};
pub use front::in_process::{InProcess, TransportError};
pub use journal::{Counters, Entry, Fate};
pub use lapi::{Decision, Lapi, LazyRows};
pub use options::{CloudflareOptions, LapiOptions, Like, Options};
pub use pushgateway::Pushgateway;
pub use reply::{Outcome, Reply, Service};
pub use world::{Shared, Simulator};

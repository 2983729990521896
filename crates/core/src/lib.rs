//! Keeps the Cloudflare edge in step with CrowdSec's decisions: everything that decides, and nothing
//! that touches the outside.
//!
//! The modules in the order in which data flows through them, one way:
//!
//! | module | turns | into |
//! |---|---|---|
//! | [`settings`] | texts | checked settings |
//! | [`decision`] | LAPI's body, as it arrives | decisions |
//! | [`desired`] | decisions | what should be at the edge |
//! | [`observed`] | Cloudflare's items | what is there |
//! | [`plan`] | both | what changes, by which bulk operations |
//! | [`guard`] | the plan | what of it may be applied |
//! | [`apply`] | what may be applied | requests, one operation at a time |
//! | [`report`], [`metrics`] | what happened | a line, and numbers |
//!
//! [`run`](run::run) calls them in this order. [`wire`] knows URLs, JSON and status codes; [`ports`]
//! is what a host must give: a transport, a clock, a log.

pub mod address;
pub mod apply;
pub mod confirm;
pub mod decision;
pub mod desired;
pub mod failure;
pub mod filter;
pub mod guard;
mod lease;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod observed;
pub mod plan;
pub mod ports;

pub mod protected;
pub mod quota;
mod read;
pub mod report;
pub mod run;
mod secret;
pub mod session;
pub mod settings;
pub mod skipped;
mod usage;
pub mod wire;

pub use run::run;

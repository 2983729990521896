//! The two ways to reach the world: in-process under tokio's clock, and loopback HTTP. A front acts
//! out what [`crate::Outcome`] says and keeps the time; it knows nothing of the services.

mod control;
mod http;
pub mod in_process;
mod wire;

pub use http::{Ports, Running, serve};

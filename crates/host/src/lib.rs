//! Runs a Spin application's component in Wasmtime as Spin would: for local runs without Spin, and
//! for the end-to-end tests.
//!
//! A stand-in for `spin up` where there is no Spin: for tests, the demo and the measurements. What runs for
//! good is Spin.
//!
//! The modules in the order in which a run passes them: `app` compiles and links what `spin_app` found in
//! `spin.toml`, `guest` is an instance's state, with `outbound` (HTTP) and `key_value` as its two rooms.
//! [`Schedule`] says when the cron trigger is due; `commands` is the program over all this. None of these
//! knows what the component does.

mod app;
mod bindings;
pub mod commands;
mod guest;
mod key_value;
mod outbound;
mod private_tls;
mod run;
mod schedule;
mod stubs;

pub use app::{App, Options};
pub use outbound::{Decision, OnRequest, RequestSeen};
pub use run::{Outcome, Output, Run, Trigger};
pub use schedule::Schedule;
pub use spin_app::Variables;

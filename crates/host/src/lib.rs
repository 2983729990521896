//! Runs a Spin application's component in Wasmtime as Spin would: for local runs without Spin, and
//! for the end-to-end tests.
//!
//! The modules in the order in which a run passes them: `manifest` and `template` read `spin.toml`,
//! [`variables`](Variables) gives it values, `allowed_hosts` says what may be reached, `resolved` is all
//! of that for one component, `app` compiles and links, `guest` is an instance's state, with `outbound`
//! (HTTP) and `key_value` as its two rooms (`runtime_config` says where its values are). [`Schedule`]
//! says when the cron trigger is due; `commands` is the program over all this. None of these knows what
//! the component does.
//!
//! The core that the component is made of can also be called directly: [`native`] gives it what Spin
//! would. [`doctor`] and `commands::{plan, why}` stand on that, and [`setup`] makes at Cloudflare what the
//! component needs: these do know what it does.

mod allowed_hosts;
mod app;
mod bindings;
pub mod commands;
pub mod doctor;
mod guest;
mod key_value;
mod manifest;
pub mod native;
mod outbound;
mod resolved;
mod run;
mod runtime_config;
mod schedule;
pub mod setup;
mod stubs;
mod template;
mod variables;

pub use app::{App, Options};
pub use outbound::{Decision, OnRequest, RequestSeen};
pub use run::{Outcome, Output, Run, Trigger};
pub use schedule::Schedule;
pub use variables::Variables;

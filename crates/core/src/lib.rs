//! Keeps the Cloudflare edge in step with CrowdSec's decisions: everything that decides, and nothing
//! that touches the outside.
//!
//! The house, from the ground up. A room uses the rooms below it and those beside it, never one above
//! and never in a circle; `tests/layers.rs` reads this table and holds the imports against it.
//!
//! | floor | room | owns | not |
//! |---|---|---|---|
//! | 1 | `address` | the one form of an address or prefix | where it goes |
//! | 1 | `decision` | a decision as LAPI sends it, and the reader of many | which of them matter |
//! | 1 | `flat` | the fast reader of JSON objects of short texts | what is in them |
//! | 1 | `item` | an item of a list as Cloudflare sends it, and the reader of many | which list it is on |
//! | 1 | `log` | log lines, and text from outside made fit for them | writing them |
//! | 1 | `order` | sorting, compiled once | what is sorted |
//! | 1 | `secret` | a key that cannot be printed by accident | where it is sent |
//! | 1 | `skipped` | what was left out: counted whole, named in part | why |
//! | 1 | `small` | a map of a few entries, compiled small | what is in it |
//! | 2 | `settings` | text -> checked values; all the small types that settings become | reading the environment |
//! | 3 | `ports` | what a host gives: transport, clock, store, log; requests and answers | what is in them |
//! | 3 | `api` | one client value for each API: value <-> request, answer, error; ids, items, envelopes | the settings as a whole; policy |
//! | 3 | `session` | one run's requests: deadlines, retries of reads, counts | what is read |
//! | 4 | `state` | everything that outlasts a run, kept in one way | decisions about it |
//! | 5 | `desired` | decisions + settings -> what should be there | what is there |
//! | 5 | `failure` | what makes a run fail, in words that tell what to do | logging |
//! | 6 | `observed` | what could be read | writes |
//! | 7 | `plan` | what differs, why, and how urgent it is | requests; scarcity |
//! | 8 | `review` | the guard: what of a plan may be applied; the only maker of `Approved` | re-planning |
//! | 9 | `schedule` | which approved changes go now, in which order, what waits and until when | talking to anyone |
//! | 10 | `decide` | desired, observed and remembered -> plan, review, schedule: one pure function for all who ask | requests |
//! | 11 | `apply` | carries a schedule out, learns from the answers | choices |
//! | 12 | `report` | summary lines and metrics | logging in other rooms |
//! | 13 | `run` | read -> decide -> apply -> report | anything else |
//!
//! The first floor is a crate of its own, `edge-sync-values`: it alone is compiled for speed.
//!
//! Data flows one way: settings and decisions become what is desired, together with what is observed a
//! plan, what is approved of it requests, and what happened a line and numbers.
//! [`run`](run::run) calls them in this order.

pub mod api;
pub mod apply;
pub mod decide;
pub mod desired;
pub mod failure;
pub mod observed;
pub mod plan;
pub mod ports;
pub mod report;
pub mod review;
pub mod run;
pub mod schedule;
pub mod session;
pub mod settings;
pub mod state;

pub use edge_sync_values::{address, decision, item, log, skipped, small};
use edge_sync_values::{flat, order, secret};
pub use run::{run, run_with};

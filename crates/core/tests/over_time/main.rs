//! What happens over days, or between runs: one program, because each is compiled for a minute.
#![expect(clippy::disallowed_macros, reason = "a test may print its figure")]

#[path = "../common/mod.rs"]
mod common;

mod bodies;
mod capacity;
mod guard;
mod limits;
mod remembered;
mod usage;
mod writes;

//! The rules as a delta on top of the lists: what the edge does, by the simulator's oracle.
#![expect(clippy::disallowed_macros, reason = "a test may print its figure")]

#[path = "../common/mod.rs"]
mod common;

mod attacks;
mod failures;
mod fixture;
mod full;
mod levels;
mod look;
mod order;
mod regions;
mod states;

mod story;

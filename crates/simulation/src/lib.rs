//! Deterministic simulation of the whole system: one number makes settings, an account, weeks of decisions,
//! faults, other people's edits and runs; core's real logic lives through them in simulated time; and an
//! independent judge holds every request and every change of the edge against the promises (DESIGN 2).
//!
//! ```text
//! generate: seed ──> Script ──> play ──> Played { violation, marks, digest }
//!                      ^          ├── clock, host: core's ports on the simulator, polled by hand
//!                   shrink        └── judge: what is promised; shares nothing with core
//! ```
//!
//! The same script gives the same bytes: nothing here reads a clock or true randomness.

mod clock;
pub mod defects;
pub mod generate;
mod host;
mod judge;
pub mod marks;
mod play;
pub mod script;
pub mod search;
mod shrink;
mod story;

pub use judge::Violation;
pub use play::{Played, play};
pub use shrink::shrink;

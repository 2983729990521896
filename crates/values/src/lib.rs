//! Values that cannot be wrong, and what holds many of them: the ground floor of the core, whose `lib.rs` has
//! the map of the house.
//!
//! A crate of its own because of what is compiled how: what is done for each of 150,000 decisions and items is
//! nearly all here and compiled for speed, while the component's other code is compiled for size.

pub mod address;
pub mod decision;
pub mod flat;
pub mod item;
pub mod log;
pub mod order;
pub mod secret;
pub mod skipped;
pub mod small;

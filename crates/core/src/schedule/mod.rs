//! Which approved changes are sent now, in which order, and what waits for what and until when.
//!
//! Pure: the inputs are what is approved, what is remembered, the settings and the time. Where writes are
//! scarce, the most urgent change ([`crate::plan::Class`]) gets the one that is accepted.

pub mod kv;
pub mod lists;

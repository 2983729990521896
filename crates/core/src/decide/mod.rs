//! Desired, observed and remembered state -> what is done, held back and waited for.
//!
//! One pure composition of plan, review and schedule for each target. The run, its dry run and whoever only
//! looks (`plan`, `why`) call the same function: two paths to one decision will differ.

pub mod kv;
pub mod lists;
pub mod rules;

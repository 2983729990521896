//! Carries plans out. Makes no choice of what to change.

pub mod kv;
pub mod lists;
pub mod rules;

use crate::failure::Failure;

/// Why applying a plan ended early.
#[derive(Debug, PartialEq)]
pub enum Stopped {
    /// Something is still going on, or there was no time: wait for the next run.
    Waiting(String),
    /// Cloudflare refuses or cannot be reached.
    Failed(Failure),
}

#[cfg(test)]
mod tests;

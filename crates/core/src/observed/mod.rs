//! What is at the edge now, target by target, as it could be read.

pub mod kv;
pub mod lists;
pub mod rules;

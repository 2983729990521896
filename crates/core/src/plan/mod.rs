//! What changes at the edge, target by target. A plan is immutable, ordered and complete: apply makes
//! no choice of its own, and the same inputs give the same plan.

mod batch;
pub mod kv;
pub mod lists;

pub use batch::{BATCH_ITEMS_MAX, Batch};

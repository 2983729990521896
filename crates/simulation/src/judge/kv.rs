//! KV: nobody who is desired loses his key by our hand, others' keys are left alone, and the day's budget is
//! never exceeded.

use std::time::Duration;

use simulator::Simulator;

use super::reading::Reading;
use super::{About, Ids, Judge, Sent, Terms, View};

/// What is counted of the namespace.
#[derive(Default)]
pub(crate) struct Kv {
    namespace: String,
}

impl Kv {
    pub(super) fn new(ids: &Ids) -> Self {
        Self { namespace: ids.namespace.clone() }
    }

    pub(super) fn trouble(&mut self, _at: Duration) {}
}

impl Judge {
    pub(super) fn kv_converged(&self, _: &Reading, _: &Terms, _: &mut Simulator) -> Result<(), String> {
        Ok(())
    }

    pub(super) fn kv_write(&mut self, _sent: &Sent, _about: &About, _simulator: &mut Simulator) {}

    pub(super) fn kv_handled(&mut self, _index: usize, _simulator: &mut Simulator) {}

    pub(super) fn kv_success(
        &mut self,
        _run: usize,
        _at: Duration,
        _view: &View,
        _reading: &Reading,
        _simulator: &mut Simulator,
    ) {
    }
}

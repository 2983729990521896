//! Rules: what the edge does, by the simulator's oracle.

use std::time::Duration;

use simulator::Simulator;

use super::reading::Reading;
use super::{Ids, Judge, Sent, Terms, View};

/// The zones.
#[derive(Default)]
pub(crate) struct Rules {
    zones: Vec<String>,
}

impl Rules {
    pub(super) fn new(ids: &Ids) -> Self {
        Self { zones: ids.zones.clone() }
    }
}

impl Judge {
    pub(super) fn rules_converged(&self, _: &Reading, _: &Terms, _: &mut Simulator) -> Result<(), String> {
        Ok(())
    }

    pub(super) fn rule_write(&mut self, _sent: &Sent, _zone: &str, _simulator: &mut Simulator) {}

    pub(super) fn rule_handled(&mut self, _index: usize, _zone: &str, _simulator: &mut Simulator) {}

    pub(super) fn rules_success(
        &mut self,
        _run: usize,
        _at: Duration,
        _view: &View,
        _reading: &Reading,
        _simulator: &mut Simulator,
    ) {
    }
}

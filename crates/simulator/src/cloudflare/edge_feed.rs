//! Tells the edge what changed of lists and rules, each change with the lag that it has: the one
//! place that knows what lasts how long until it arrives.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lists::Lists;
use super::rulesets::{Rulesets, Stamp};
use crate::edge::Edge;
use crate::options::CloudflareOptions;
use crate::random::Random;

/// The edge, and how much of the world it was told.
#[derive(Debug)]
pub(super) struct EdgeFeed {
    edge: Edge,
    /// Changes of lists that it was told of.
    changes: usize,
    /// For each zone the state of its rules that it was told of.
    stamps: BTreeMap<String, Stamp>,
    lags: Random,
}

impl EdgeFeed {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            edge: Edge::default(),
            changes: 0,
            stamps: BTreeMap::new(),
            lags: Random::new(seed, "cloudflare edge"),
        }
    }

    pub(super) fn edge(&self) -> &Edge {
        &self.edge
    }

    /// Everything that changed since the last time is on its way. Whoever changes rules calls this at
    /// the same moment; `by_request` = a client did.
    pub(super) fn tell(
        &mut self,
        lists: &Lists,
        rulesets: &Rulesets,
        options: &CloudflareOptions,
        by_request: bool,
    ) {
        let now = rulesets.now();
        self.edge.tick(now);
        for change in &lists.history()[self.changes..] {
            // What others did, or was preloaded, has been there for long.
            let lag = match change.operation_id {
                Some(_) => self.lag(options.list_edge_lag, options),
                None => Duration::ZERO,
            };
            let (id, name) = (&change.list_id, lists.name_of(&change.list_id));
            let since = change.at.saturating_add(lag);
            self.edge.change_list(id, name, since, &change.added, &change.removed);
        }
        self.changes = lists.history().len();
        for (zone, stamp, rules) in rulesets.changed(&self.stamps) {
            // What a test sets up has been there for long.
            let lag = match now.is_zero() && !by_request {
                true => Duration::ZERO,
                false => self.lag(options.waf_edge_lag, options),
            };
            self.edge.set_rules(zone, now.saturating_add(lag), &rules);
            self.stamps.insert(zone.to_owned(), stamp);
        }
    }

    /// How long one change takes.
    fn lag(&mut self, most: Duration, options: &CloudflareOptions) -> Duration {
        match options.edge_lag_varies {
            false => most,
            true => Duration::from_millis(self.lags.below(most.as_millis() as u64 + 1)),
        }
    }
}

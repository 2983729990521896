//! What the lists lose and get, change by change: nobody who is desired leaves the edge by our hand.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use ipnet::IpNet;
use simulator::Simulator;

use super::super::Judge;
use super::super::reading::{BLOCK, CHALLENGE, Strength, Want, network, written};
use super::{LAG, Operation, Taken, covered, within, word};

impl Judge {
    /// What the edge did by operations and by others' hands.
    pub(in crate::judge) fn edge_changes(&mut self, simulator: &mut Simulator) {
        let history = simulator.cloudflare().edge_history();
        if history.len() == self.lists.seen_changes {
            return;
        }
        let changes = history[self.lists.seen_changes..].to_vec();
        self.lists.seen_changes = history.len();
        let count = changes.len();
        for (at, change) in changes.into_iter().enumerate() {
            let Some(list) = self.lists.index(&change.list_id) else { continue };
            // The zones are asked what is so after all of them.
            let is_last = at + 1 == count;
            let by =
                change.operation_id.as_ref().and_then(|id| self.lists.operations.get(id)).cloned();
            let reading = by.as_ref().and_then(|by| by.reading.clone());
            let before: Vec<(IpNet, Strength, Strength, [bool; 2])> =
                match (&reading, change.removed.is_empty()) {
                    (Some(reading), false) => {
                        // That the owner is free goes before all else.
                        let terms = by.as_ref().map(|by| Rc::clone(&by.terms)).unwrap_or_default();
                        let gone = change.removed.iter().filter_map(|text| network(text));
                        let (owners, gone): (Vec<IpNet>, Vec<IpNet>) =
                            gone.partition(|net| terms.protects(net));
                        let is_inside = |net: &&IpNet| owners.iter().any(|of| of.contains(*net));
                        let inside = reading.lists.keys().filter(is_inside).copied();
                        self.rules.displaced.extend(inside);
                        let touched = reading
                            .lists
                            .iter()
                            .filter(|(net, _)| gone.iter().any(|g| g.contains(*net)));
                        touched
                            .map(|(net, want)| {
                                let lists = &self.lists;
                                (*net, want.strength, lists.strength(net), lists.covers(net))
                            })
                            .collect()
                    }
                    _ => Vec::new(),
                };
            let came: BTreeMap<IpNet, Duration> = before
                .iter()
                .filter_map(|(net, ..)| {
                    let content = &self.lists.content[list];
                    let mut times =
                        content.items.iter().filter(|(text, _)| network(text) == Some(*net));
                    times.next().map(|(_, at)| (*net, *at))
                })
                .collect();
            let mut unseen = BTreeSet::new();
            if let Some(by) = by.as_ref().filter(|by| by.is_put) {
                let items = &self.lists.content[list].items;
                let came_late = |text: &&String| {
                    items
                        .get(*text)
                        .is_some_and(|at| by.read_at.is_none_or(|read| *at + LAG >= read))
                };
                unseen.extend(change.removed.iter().filter(came_late).cloned());
            }
            for text in &change.removed {
                self.lists.content[list].remove(text);
            }
            for text in &change.added {
                self.lists.content[list].add(text, change.at);
            }
            let of = by.as_ref().map(|by| by.run);
            let others = self.runs.iter_mut().filter(|(run, _)| Some(**run) != of);
            others.for_each(|(_, view)| view.disturbed = true);
            let taken_before = match before.is_empty() {
                true => Taken::default(),
                false => self.lists.taken.clone(),
            };
            let taken = change.removed.iter().filter_map(|text| network(text));
            self.lists.taken.extend(taken, of, change.at);
            let Some(by) = by else { continue };
            // What others put there after the list was read is unseen, and a rewrite drops it.
            let foreign = change.removed.iter().filter(|text| !unseen.contains(*text));
            if let Some(text) = foreign.into_iter().find(|text| network(text).is_none()) {
                let text = format!("{text:?} is no address, and we took it off the list");
                self.fail("what is not understood is left alone", by.run, change.at, text);
            }
            for (net, want, before, covered) in before {
                // What a rule of an earlier run lets through of a list that still has him is not lost by this.
                let covers = self.lists.covers(&net);
                if covered.iter().zip(covers).all(|(before, now)| now || !before) {
                    continue;
                }
                let in_zones = self.in_zones(&by.terms, &net, simulator).filter(|_| is_last);
                let since = || self.rules.wanted_since(&net, by.accepted);
                let want = in_zones.map_or(want, |_| want.min(since()));
                // A rule may have let him through all the time.
                let before = match in_zones {
                    Some(_) => before.min(self.met_before(&by.terms, &net, change.at, simulator)),
                    None => before,
                };
                let after = in_zones.unwrap_or_else(|| self.lists.strength(&net));
                if after >= before.min(want) {
                    continue;
                }
                // Where others wrote rules too, ours may match him all the same.
                let at_edge = self.at_edge(&by.terms, &net, simulator).filter(|_| is_last);
                if at_edge.is_some_and(|at_edge| at_edge >= before.min(want)) {
                    continue;
                }
                let came_after = came
                    .get(&net)
                    .is_some_and(|at| by.read_at.is_none_or(|read| *at + LAG >= read));
                // Nor is the range around him that others put there unseen.
                let mut ranges = unseen.iter().filter_map(|text| network(text));
                let was_unseen = ranges.any(|range| range.contains(&net));
                if by.is_put && (came_after || was_unseen)
                    || self.is_scarce(&by, &net, &change.removed)
                {
                    continue;
                }
                // What is still under way is not known to a store that forgot, and the runs went on without it.
                let is_late = |at: Duration| at >= by.accepted && at <= change.at;
                let last = self.last.as_ref().map(|last| last.run);
                let went_on = self.runs.keys().copied().chain(last).any(|run| run > by.run);
                if went_on && self.waits.trouble_at().is_some_and(is_late) {
                    continue;
                }
                let is_itself = change.removed.iter().any(|text| network(text) == Some(net));
                // Without any free place a range can only go before what is inside comes.
                let were = self.lists.count() + change.removed.len();
                let was_full = were >= by.terms.items_max + change.added.len();
                // What it was to be replaced by is gone by another's hand, or is refused.
                let is_known = |of: Option<usize>| {
                    of.is_some_and(|of| self.waits.knows_operation_of(of, by.run))
                };
                if taken_before.by_another(&net, by.run, by.read_at, is_known)
                    || !is_itself && (was_full || self.lists.refused.contains(&net))
                {
                    continue;
                }
                // The range that is to ban him challenges him already, and has no place on the ban list but his.
                if was_full
                    && after >= CHALLENGE
                    && self.makes_room_for_range(&by, &net, &change.removed)
                {
                    continue;
                }
                let how = if is_itself { "" } else { " [a range around it went first]" };
                let read = by.reading.as_ref().map_or(Duration::ZERO, |reading| reading.at);
                let text = format!(
                    "{} was {} and is {} at the edge; LAPI wanted {} when the run read it at {}, the operation was accepted at {}{how}",
                    written(&net),
                    word(before),
                    word(after),
                    word(want),
                    crate::story::moment(read),
                    crate::story::moment(by.accepted),
                );
                self.fail("nobody who is desired leaves the edge", by.run, change.at, text);
            }
        }
    }

    /// Whether a range around him moves to the list that he leaves, and nothing else that it covers was there.
    fn makes_room_for_range(&self, by: &Operation, net: &IpNet, removed: &[String]) -> bool {
        let Some(reading) = &by.reading else { return false };
        let [ban, captcha] = &self.lists.content;
        let gone: BTreeSet<IpNet> = removed.iter().filter_map(|text| network(text)).collect();
        let moves = |(range, want): &(&IpNet, &Want)| {
            *range != net
                && range.contains(net)
                && want.strength == BLOCK
                && captcha.networks.contains_key(*range)
                && !ban.networks.contains_key(*range)
        };
        let alone = |range: &IpNet| {
            let mut there = ban.networks.keys().chain(&gone);
            !there.any(|other| other != net && range.contains(other))
        };
        let mut ranges = reading.lists.iter().filter(moves);
        ranges.any(|(range, _)| alone(range))
    }

    /// Whether somebody has to go without: more is desired than fits. Not a ban that was decided here, as
    /// long as there are places for all of those.
    fn is_scarce(&self, by: &Operation, net: &IpNet, removed: &[String]) -> bool {
        let Some(reading) = &by.reading else { return false };
        let own = reading.lists.values().filter(|want| want.own && want.strength == BLOCK).count();
        let is_own = reading.lists.get(net).is_some_and(|want| want.own && want.strength == BLOCK);
        // What stays whatever is desired also takes places.
        let taken = self.lists.count();
        // Whoever moves stands there twice for a moment.
        let moves = reading.lists.iter().filter(|(net, want)| {
            let is_there = |list: usize| self.lists.content[list].networks.contains_key(*net);
            is_there(usize::from(want.strength == BLOCK))
        });
        // And a range that goes does so after those inside of it have come.
        let ranges = self.lists.content.iter().flat_map(|content| &content.ranges);
        let waits = |range: &&IpNet| {
            let mut wanted = reading.lists.keys();
            !reading.lists.contains_key(*range) && wanted.any(|net| range.contains(net))
        };
        let ranges = ranges.filter(waits).count();
        let needed = self.lists.needed(reading) + moves.count() + ranges + 1;
        let is_full = needed.max(taken) + self.lists.foreign() > by.terms.items_max
            || self.lists.has_been_full;
        // One place of all may be needed for those who move, beside what leaves only for a range that comes with it.
        let for_range = |gone: &IpNet| {
            within(reading, gone) && (!reading.lists.contains_key(gone) || covered(reading, gone))
        };
        let gone = removed.iter().filter_map(|text| network(text)).filter(|gone| gone != net);
        let leaving = gone.filter(for_range).count();
        let fits_own = own + leaving + self.lists.foreign() < by.terms.items_max;
        is_full && (!is_own || !fits_own || self.lists.has_been_full)
    }
}

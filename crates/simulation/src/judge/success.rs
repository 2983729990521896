//! Success is said only where the edge is as desired, or differs only by what a setting keeps back.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;
use simulator::Simulator;

use super::lists::{STRENGTHS, covered, covered_by, within};
use super::reading::{BLOCK, Reading, Want, written};
use super::{Judge, Terms, View};

impl Judge {
    pub(super) fn success(
        &mut self,
        run: usize,
        at: Duration,
        view: &View,
        ok: bool,
        simulator: &mut Simulator,
    ) {
        let failed = view.said.values().any(|(outcome, _)| outcome == "failed");
        if ok && failed {
            let text = "a target failed, and the run did not".to_owned();
            self.fail("a failure is loud", run, at, text);
        }
        if view.terms.dry_run {
            return;
        }
        let Some(reading) = view.reading.clone() else {
            if let Some((target, _)) = view.said.iter().find(|(_, (_, success))| *success) {
                let text = format!("{target}, without having read LAPI");
                self.fail("success is said only where the edge is as desired", run, at, text);
            }
            return;
        };
        if view.disturbed || self.is_lenient {
            return;
        }
        if let Some((outcome, true)) = view.said.get("lists")
            && view.terms.zones.is_empty()
            && let Some(text) = self.lists_differ(&reading, &view.terms, outcome == "batched")
        {
            let text = format!("lists: {outcome}, but {text}{}", self.circumstances(view));
            self.fail("success is said only where the edge is as desired", run, at, text);
        }
        self.kv_success(run, at, view, &reading, simulator);
        self.rules_success(run, at, view, &reading, simulator);
    }

    /// What else is to be known of a run: to tell one cause from another.
    fn circumstances(&self, view: &View) -> String {
        let mut all = String::new();
        for (is_so, what) in [
            (self.marks.count("answer value refused") > 0, " [values were refused]"),
            (view.has_put_and_deleted, " [a PUT, then a DELETE]"),
            (view.freed_owner, " [the owner was freed]"),
        ] {
            if is_so {
                all.push_str(what);
            }
        }
        all
    }

    /// Whether the edge is as desired now, and this run, which has ended, had nothing to do.
    pub(crate) fn converged(
        &mut self,
        run: usize,
        simulator: &mut Simulator,
    ) -> Result<(), String> {
        self.catch_up(simulator);
        let Some(last) = self.last.take().filter(|last| last.run == run) else {
            return Err("the run has not ended".to_owned());
        };
        let Some(reading) = &last.view.reading else {
            return Err("LAPI was not read".to_owned());
        };
        let terms = &last.view.terms;
        if terms.has_lists() && terms.zones.is_empty() {
            let is_batched =
                last.view.said.get("lists").is_some_and(|(outcome, _)| outcome == "batched");
            // A full account is tried again day by day, and who could only move over nothing waits.
            let is_stuck = self.lists.has_no_place_to_move(reading, terms);
            let is_full = (self.lists.has_been_full || is_stuck)
                && last.view.said.get("lists").is_some_and(|(outcome, success)| {
                    !success && outcome != "in_sync" && outcome != "applied"
                });
            if let Some(text) = self.lists_differ(reading, terms, is_batched)
                && !is_full
            {
                return Err(format!("lists: {text}"));
            }
            // What is not urgent may wait a day for company, and no longer.
            let waits = Duration::from_secs(27 * 3_600 + terms.interval + terms.guard_seconds);
            let since = reading.at.saturating_sub(waits);
            // Where a write has just found the account full, the next one waits for its interval like every other.
            let interval = Duration::from_secs(terms.interval);
            let is_tried = self.lists.full_at.is_some_and(|at| reading.at < at + interval);
            if is_batched
                && !is_tried
                && let Some(net) = self.stays_since(reading, terms, since)
            {
                return Err(format!(
                    "lists: {} waits for company for more than a day",
                    written(&net)
                ));
            }
        }
        let is_blocked = self.kv_converged(reading, terms, simulator)?;
        self.rules_converged(reading, terms, simulator)?;
        if last.view.writes > 0 {
            return Err(format!("it still made {} writes", last.view.writes));
        }
        let has_no_place = self.lists.has_no_place_to_move(reading, terms);
        // Where an expression is short, some go without for good.
        let is_short = terms.characters_max < 600;
        let not_well =
            last.view.said.iter().find(|(target, (_, success))| {
                !(*success || is_short && target.starts_with("rules"))
            });
        match not_well {
            Some((target, (outcome, _)))
                if !self.lists.has_been_full && !has_no_place && !is_blocked =>
            {
                Err(format!("{target} says {outcome}, which is no success"))
            }
            _ => Ok(()),
        }
    }

    /// Somebody who has been at the edge for as long although nobody asks for him.
    fn stays_since(&self, reading: &Reading, terms: &Terms, since: Duration) -> Option<IpNet> {
        let skips = terms.ranges && terms.skips_covered;
        let mut networks = self.lists.networks().into_iter();
        networks.find(|net| {
            let is_wanted = reading.lists.contains_key(net) && !(skips && covered(reading, net));
            // What a range is to cover waits for that, and for its place.
            let is_free = !is_wanted && !within(reading, net);
            is_free && self.past.gone_since(net).is_some_and(|at| at < since)
        })
    }

    /// How the lists differ from what is desired, but for what has no place.
    pub(super) fn lists_differ(
        &self,
        reading: &Reading,
        terms: &Terms,
        is_batched: bool,
    ) -> Option<String> {
        let skips = terms.ranges && terms.skips_covered;
        let (mut missing, mut lacks_own) = (Vec::new(), false);
        for (net, want) in &reading.lists {
            let excused = is_batched && !(want.own && want.strength == BLOCK);
            if self.lists.strength(net) < want.strength && !excused {
                missing.push(written(net));
                lacks_own |= want.own && want.strength == BLOCK;
            }
        }
        let fits = terms.items_max.saturating_sub(self.lists.foreign());
        let needed: BTreeSet<&IpNet> =
            reading.lists.keys().filter(|net| !(skips && covered(reading, net))).collect();
        // What a range covers keeps its place until the range has one.
        let keeps_place =
            |net: &IpNet| (skips || !reading.lists.contains_key(net)) && within(reading, net);
        let there = self.lists.networks();
        let covered_there = there.iter().filter(|net| keeps_place(net)).count();
        // Whoever moves needs two.
        let is_scarce = needed.len() + covered_there + 1 > fits || self.lists.has_been_full;
        let mut extra = Vec::new();
        for (list, strength) in STRENGTHS.into_iter().enumerate() {
            for net in self.lists.on(list) {
                let is_wanted =
                    reading.lists.get(net).is_some_and(|want| want.strength == strength)
                        && !(skips
                            && covered_by(reading, net, |range| {
                                self.lists.surely_covers(range, reading)
                            }));
                let stays = is_wanted || is_batched || is_scarce && within(reading, net);
                if !stays {
                    extra.push(written(net));
                }
            }
        }
        // Whoever else has to go without, a ban that was decided here does not, as long as those fit.
        let is_own_ban = |want: &Want| want.own && want.strength == BLOCK;
        let own = |net: &IpNet| {
            // A range is as important as what it stands for.
            let mut stands_for = reading.lists.iter().filter(|(inside, _)| net.contains(*inside));
            reading.lists.get(net).is_some_and(is_own_ban)
                || skips && stands_for.any(|(_, want)| is_own_ban(want))
        };
        let own_fits = needed.iter().filter(|net| own(net)).count() + covered_there < fits;
        let lacks_own = own_fits && !self.lists.has_been_full && lacks_own;
        if lacks_own || !missing.is_empty() && !is_scarce {
            return Some(format!("{} is not there as it should be", missing.join(", ")));
        }
        let surplus = if is_batched { 0 } else { self.lists.surplus(|_| true) };
        if !extra.is_empty() || surplus > 0 {
            return Some(format!(
                "{} should not be there, {surplus} are there twice",
                extra.join(", ")
            ));
        }
        None
    }
}

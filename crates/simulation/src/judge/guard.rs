//! The guard: removals that are too many at once go only when as many runs, over as much time, have found
//! the same addresses gone.
//!
//! A necessary condition, and no more: whoever goes although he is not confirmed is counted, and those must
//! be few enough to be believed by themselves. Not counted is who ran out, moved or is covered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::IpNet;

use super::lists::STRENGTHS;
use super::reading::{BLOCK, Reading, Want, is_single, written};
use super::{Judge, Sent, Terms};

/// What the readings so far said of each network.
#[derive(Default)]
pub(crate) struct Past {
    /// Of the keys of KV, and not of the lists.
    is_of_keys: bool,
    known: BTreeMap<IpNet, Known>,
    owners: BTreeSet<IpNet>,
    /// A clock moved: times that were kept may be off by this.
    clock_moved: bool,
    /// A run was told what its store had before.
    pub(super) was_stale: bool,
    /// Readings so far, and the first of them: for what was never seen before.
    all: Known,
}

#[derive(Default, Clone, Copy)]
struct Known {
    /// By the clock of the host that read it last, or what an earlier run knew whose memory may still be the last;
    /// 0 = it was never desired.
    ends_least: u64,
    /// The earliest that any run ever knew: what a stale memory may still say.
    ends_ever: Option<u64>,
    was_scarce: bool,
    /// In how many readings in a row it was not desired, and the first of them.
    gone_runs: u64,
    gone_since: u64,
    gone_at: Duration,
    /// Since when nobody asks for it or for a range around it, place or not.
    undesired_at: Option<Duration>,
}

/// How much earlier than told a decision may end: LAPI rounds, clocks differ, and an end within three minutes of
/// the one that is known is no other.
const ROUNDING_SECS: u64 = 305;

impl Past {
    pub(super) fn of_keys() -> Self {
        Self { is_of_keys: true, ..Self::default() }
    }

    fn wanted<'r>(&self, reading: &'r Reading) -> &'r BTreeMap<IpNet, Want> {
        if self.is_of_keys { &reading.keys } else { &reading.lists }
    }

    pub(super) fn clock_moved(&mut self) {
        self.clock_moved = true;
    }

    pub(super) fn networks(&self) -> impl Iterator<Item = IpNet> {
        self.known.keys().copied()
    }

    pub(super) fn is_clock_true(&self) -> bool {
        !self.clock_moved
    }

    /// What a run has read. Who is gone counts at once, who is desired when the run has ended and has kept
    /// it ([`Past::kept`]). Where not all have a place, everybody may be one of those who have none.
    pub(super) fn read(&mut self, reading: &Reading, at_edge: &BTreeSet<IpNet>, is_scarce: bool) {
        let wanted = self.wanted(reading);
        for net in at_edge.iter().chain(wanted.keys()) {
            // Until now nobody has asked for it, as far as there was anybody to ask.
            self.known.entry(*net).or_insert(self.all);
        }
        let ranges: Vec<IpNet> = wanted.keys().filter(|net| !is_single(net)).copied().collect();
        if self.all.gone_runs == 0 {
            (self.all.gone_since, self.all.gone_at) = (reading.unix, reading.at);
        }
        self.all.gone_runs += 1;
        for (net, known) in &mut self.known {
            let want = wanted.get(net);
            // What a range is to cover keeps its place until that has one.
            let is_asked_for = want.is_some() || ranges.iter().any(|range| range.contains(net));
            known.undesired_at = match is_asked_for {
                true => None,
                false => known.undesired_at.or(Some(reading.at)),
            };
            if want.is_none() || is_scarce {
                if known.gone_runs == 0 {
                    (known.gone_since, known.gone_at) = (reading.unix, reading.at);
                }
                known.gone_runs += 1;
            }
            known.was_scarce = is_scarce;
            // What the run does not keep, the next one does not know.
            if let Some(want) = want {
                // A run that was killed, or had no store in the end, may have kept it all the same.
                let before = if known.ends_least == 0 { want.ends } else { known.ends_least };
                known.ends_least = before.min(want.ends);
                known.ends_ever = Some(known.ends_ever.map_or(want.ends, |e| e.min(want.ends)));
            }
        }
    }

    /// The run that has read this has ended well, and its store has kept it.
    pub(super) fn kept(&mut self, reading: &Reading) {
        for (net, want) in self.wanted(reading) {
            let Some(known) = self.known.get_mut(net) else { continue };
            known.ends_least = want.ends;
            if !known.was_scarce {
                known.gone_runs = 0;
            }
        }
    }

    /// Whether its last decision was over by then.
    pub(super) fn ran_out(&self, net: &IpNet, unix: u64, is_blind: bool) -> bool {
        let slack = if self.clock_moved { 86_400 } else { ROUNDING_SECS };
        let known = self.known.get(net);
        if is_blind {
            return known
                .and_then(|known| known.ends_ever)
                .is_some_and(|ends| ends <= unix + slack);
        }
        known.is_some_and(|known| known.ends_least != 0 && known.ends_least <= unix + slack)
    }

    /// Since when nobody asks for it any more, nor for a range around it.
    pub(super) fn gone_since(&self, net: &IpNet) -> Option<Duration> {
        self.known.get(net)?.undesired_at
    }

    /// Whether enough runs over enough time have found it gone.
    pub(super) fn is_confirmed(&self, net: &IpNet, terms: &Terms, at: Duration, unix: u64) -> bool {
        let known = self.known.get(net).unwrap_or(&self.all);
        let by_wall = unix.saturating_sub(known.gone_since);
        let waited = by_wall.max(at.saturating_sub(known.gone_at).as_secs());
        // Hosts whose clocks differ can agree on how often, not on how long.
        known.gone_runs >= terms.guard_runs
            && (self.clock_moved || waited + 1 >= terms.guard_seconds)
    }

    /// More owner's addresses than the guard lets go at once were at the edge.
    pub(super) fn had_many_owners(&mut self, terms: &Terms) -> bool {
        let owners = self.known.keys().filter(|net| terms.protects(net)).copied();
        self.owners.extend(owners);
        self.owners.len() as u64 > terms.guard_count
    }
}

/// The part of the edge that is KV; the others are the lists, by their index.
pub(super) const KV: usize = 2;

/// What a request would take away.
pub(super) struct Removals<'a> {
    pub(super) part: usize,
    pub(super) gone: BTreeSet<IpNet>,
    pub(super) there: BTreeSet<IpNet>,
    /// What is there once more, in another spelling.
    pub(super) twice: usize,
    pub(super) wanted: &'a BTreeMap<IpNet, Want>,
    /// How many may go because bans that were decided here need their places.
    pub(super) room: usize,
}

impl Judge {
    /// What a write takes off a list.
    pub(super) fn guard_lists(
        &mut self,
        sent: &Sent,
        list: usize,
        gone: &BTreeSet<IpNet>,
        reading: &Reading,
        terms: &Terms,
    ) {
        // A range is as important as a ban that it stands for.
        let stands_for = |range: &IpNet| {
            let mut inside = reading.lists.iter().filter(|(net, _)| range.contains(*net));
            inside.any(|(_, want)| want.own && want.strength == BLOCK)
        };
        let own = reading.lists.iter().filter(|(net, want)| want.own || stands_for(net));
        let is_there = |net: &IpNet, want: &Want| self.lists.is_in_place(net, want);
        // Straight after it came it may not have been shown, and the run cannot know better.
        let unseen = self.unseen_by(sent.run);
        let is_shown = |net: &IpNet, want: &Want| {
            is_there(net, want) && !unseen[usize::from(want.strength != BLOCK)].contains(net)
        };
        let own = own.filter(|(net, want)| !is_shown(net, want)).count();
        // What the run has taken already was there when it decided.
        let taken = self.runs.get(&sent.run).map_or(0, |view| view.opened.len());
        // Where more is there than fits, but less than comes, what is too much goes too: without that they have no
        // place. Where as many come as that, or fewer, what goes already is the guard's business alone.
        let is_elsewhere = |on: usize, net: &IpNet| {
            let want = reading.lists.get(net);
            want.is_some_and(|want| {
                usize::from(want.strength != BLOCK) != on && is_there(net, want)
            })
        };
        // Who has moved, is covered by what is there or runs out, goes without the guard, from either list; and so does
        // what is there once more.
        let is_blind = self.runs.get(&sent.run).is_some_and(|view| view.is_blind);
        let runs_out = |net: &IpNet| {
            !reading.lists.contains_key(net) && self.past.ran_out(net, sent.unix, is_blind)
        };
        // So does what enough runs have found gone.
        let is_confirmed = |net: &IpNet| {
            let is_known = self.past.is_confirmed(net, terms, sent.at, sent.unix);
            !reading.lists.contains_key(net) && is_known
        };
        let skips = terms.ranges && terms.skips_covered;
        let is_covered = |on: usize, net: &IpNet| {
            if !skips && reading.lists.contains_key(net) {
                return false;
            }
            let mut ranges =
                reading.lists.keys().filter(|range| *range != net && range.contains(net));
            // Or what waits for that is on the ban list too.
            let is_twice = on > 0 && self.lists.holds(0, net);
            ranges.any(|range| is_twice || (0..=on).any(|on| self.lists.holds(on, range)))
        };
        // An owner does while they are few; where they are many the guard holds them with all else, and a run that takes
        // something else first has not let them go.
        let frees_owner = self.runs.get(&sent.run).is_some_and(|view| view.freed_owner);
        let goes_by_itself = |on: usize, with_ends: bool| {
            let nets = self.lists.on(on);
            let goes = |net: &&IpNet| {
                let is_freed = frees_owner && terms.protects(net);
                let goes = is_elsewhere(on, net) || is_covered(on, net) || is_freed;
                goes || with_ends && (runs_out(net) || is_confirmed(net))
            };
            nets.filter(goes).count()
        };
        // When somebody's decision ends a store may have forgotten.
        let room = |with_ends: bool| {
            let moved: usize = (0..STRENGTHS.len()).map(|on| goes_by_itself(on, with_ends)).sum();
            // The second spelling of one who is not desired is held with the first.
            let surplus = self.lists.surplus(|net| with_ends || reading.lists.contains_key(net));
            let goes = moved + surplus;
            let stays = (self.lists.count() + taken).saturating_sub(goes);
            match stays.saturating_sub(terms.items_max) {
                _ if self.lists.has_been_full => own,
                over if over < own => (stays + own).saturating_sub(terms.items_max),
                _ => 0,
            }
        };
        let room = room(true).max(room(false));
        // Straight after an operation a list may be shown as it was before, and the run cannot know better.
        let [on_ban, on_captcha] = self.seen_by(sent.run);
        let seen = if list == 0 { on_ban } else { on_captcha };
        let there = self.lists.on(list).copied().chain(seen).collect();
        let surplus = self.lists.surplus(|_| true);
        // What the run found when it decided, before it wrote: own bans that have come by now needed their places too.
        let (twice, room) = self.runs.get_mut(&sent.run).map_or((0, 0), |view| {
            (view.twice, view.room) = (view.twice.max(surplus), view.room.max(room));
            (view.twice, view.room)
        });
        let (gone, wanted) = (gone.clone(), &reading.lists);
        let removals = Removals { part: list, gone, there, twice, wanted, room };
        self.guard(sent, removals, terms);
    }

    pub(super) fn guard(&mut self, sent: &Sent, removals: Removals<'_>, terms: &Terms) {
        let Removals { part, gone, there, twice, wanted, room } = removals;
        let past = if part == KV { &self.past_of_keys } else { &self.past };
        let Some(view) = self.runs.get_mut(&sent.run) else { return };
        if terms.guard_runs <= 1 || terms.is_approved {
            return;
        }
        let (at, unix, is_blind) = (sent.at, sent.unix, view.is_blind);
        view.taken.extend(gone.iter().map(|net| (part, *net)));
        let fits = part == KV || self.lists.count() <= terms.items_max;
        for net in &gone {
            let is_wanted = wanted.get(net).is_some_and(|want| {
                // It moves: it is where it should be.
                let moves =
                    part != KV && self.lists.holds(usize::from(want.strength != BLOCK), net);
                fits || moves
            });
            let is_covered = wanted.keys().any(|range| range != net && range.contains(net));
            let excused = is_wanted
                || is_covered
                || terms.protects(net)
                || past.ran_out(net, unix, is_blind)
                || past.is_confirmed(net, terms, at, unix);
            if !excused {
                view.opened.insert((part, *net));
            }
        }
        let opened: Vec<IpNet> =
            view.opened.iter().filter(|(on, _)| *on == part).map(|(_, net)| *net).collect();
        // A stale memory may still have confirmations that are over, a late listing shows who is gone.
        let is_unsure = past.was_stale || part == KV && self.is_lenient;
        if opened.is_empty() || view.disturbed || is_unsure {
            return;
        }
        // What an earlier request of the run has taken was there when it looked, whatever it went for.
        let taken: BTreeSet<IpNet> =
            view.taken.iter().filter(|(on, _)| *on == part).map(|(_, net)| *net).collect();
        let there: BTreeSet<IpNet> = there.into_iter().chain(taken.iter().copied()).collect();
        // Also what stays for a range around it that has no place.
        let stays =
            |net: &IpNet| !taken.contains(net) && wanted.keys().any(|range| range.contains(net));
        let unexcused = opened.len().saturating_sub(room) as u64;
        let kept = there.iter().filter(|net| wanted.contains_key(*net) || stays(net)).count();
        let lasting = there.iter().filter(|net| !past.ran_out(net, unix, is_blind)).count();
        let is_share = unexcused > terms.guard_count
            && unexcused * 100 > (there.len() + twice) as u64 * terms.guard_percent;
        let rule = if unexcused == 0 {
            return;
        } else if wanted.is_empty() {
            "nothing is desired any more"
        } else if kept == 0 && lasting >= 3 && unexcused >= 3 {
            "nothing that was there is desired any more"
        } else if is_share {
            "they are too many at once"
        } else {
            return;
        };
        let names: Vec<String> = opened.iter().take(8).map(written).collect();
        let text = format!(
            "{} of {} ({}) would go, though {rule}, and not yet in {} runs and {} s: {} …",
            opened.len(),
            there.len(),
            ["ban list", "captcha list", "kv"][part],
            terms.guard_runs,
            terms.guard_seconds,
            names.join(", "),
        );
        let is_scarce = part != KV
            && (self.lists.has_been_full || self.lists.count() + wanted.len() > terms.items_max);
        let text = if is_scarce { format!("{text} [more than fits]") } else { text };
        self.fail("removals that are too many wait", sent.run, at, text);
    }
}

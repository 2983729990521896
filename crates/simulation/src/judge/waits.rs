//! One operation at a time, and a wait after each refusal: as far as the run can know, which is what its
//! store has kept.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use simulator::Simulator;

use super::lists::bodies;
use super::reading::network;
use super::{About, Judge, Sent};

/// What was learned, and whether the store has it.
#[derive(Default)]
pub(crate) struct Waits {
    /// The last time that something was wrong with what is remembered.
    trouble: Option<Duration>,
    /// Accepted operations, by id.
    accepted: BTreeMap<String, Learned>,
    setback: Option<(Kind, u64, Learned)>,
    ladder: u64,
    climbed_all: bool,
    last_owner: Option<u64>,
    /// The run that last tried an owner, and when that was before, until its store has it.
    owner_before: Option<(usize, Option<u64>)>,
    /// The last write was an owner's, while all others wait.
    beside: bool,
    /// A write was sent, and its answer not read to its end.
    is_unanswered: bool,
}

#[derive(Debug, Clone, Copy)]
struct Learned {
    run: usize,
    /// When that run began.
    began: Duration,
    /// When it asked, and when it was answered: nobody could know before.
    at: Duration,
    heard: Duration,
    unix: u64,
    is_kept: bool,
    /// A run beside has written over it, and its own has not written since.
    is_written_over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Throttled,
    Denied,
    Refused,
    Unanswered,
    Failed,
}

impl Waits {
    pub(super) fn trouble(&mut self, at: Duration) {
        self.trouble = self.trouble.max(Some(at));
        // How often in a row is not known any more, nor whether that was the whole ladder.
        self.climbed_all |= self.ladder > 0;
        self.ladder = 0;
        if let Some((_, times, _)) = &mut self.setback {
            *times = 1;
        }
    }

    /// The last time that something was wrong with what is remembered.
    pub(super) fn trouble_at(&self) -> Option<Duration> {
        self.trouble
    }

    /// A run's store has set what it knows in the place of what a run beside it had learned: neither could know of
    /// the other. (Two writes that were not answered were counted as two in a row; between them a run had written over
    /// the first, which its clock, an hour ahead, did not let it see.)
    pub(super) fn written_over(&mut self, run: usize, began: Duration) {
        let trouble = self.trouble;
        let setback = self.setback.iter_mut().map(|(.., learned)| learned);
        for learned in self.accepted.values_mut().chain(setback) {
            if learned.is_beside(trouble, run, began) {
                (learned.is_kept, learned.is_written_over) = (false, true);
            } else if learned.run == run {
                learned.is_written_over = false;
            }
        }
    }

    /// The run's store has what it learned until now.
    pub(super) fn kept(&mut self, run: usize) {
        let setback = self.setback.iter_mut().map(|(.., learned)| learned);
        for learned in self.accepted.values_mut().chain(setback) {
            learned.is_kept |= learned.run == run && !learned.is_written_over;
        }
        self.owner_before.take_if(|(of, _)| *of == run);
    }

    pub(super) fn killed(&mut self, run: usize, _at: Duration) {
        self.accepted.retain(|_, learned| learned.is_kept || learned.run != run);
        if self.setback.is_some_and(|(.., learned)| !learned.is_kept && learned.run == run) {
            self.setback = None;
        }
        // Nor is it remembered that an owner was tried.
        if let Some((_, before)) = self.owner_before.take_if(|(of, _)| *of == run) {
            self.last_owner = before;
        }
    }

    /// Whether this run knows of an operation that another began.
    pub(super) fn knows_operation_of(&self, other: usize, run: usize) -> bool {
        let mut of = self.accepted.values().filter(|learned| learned.run == other);
        of.any(|learned| self.is_known(learned, run))
    }

    fn is_known(&self, learned: &Learned, run: usize) -> bool {
        let undisturbed = self.trouble.is_none_or(|trouble| trouble < learned.at);
        learned.run == run || learned.is_kept && undisturbed
    }
}

impl Learned {
    /// Whether another run was answered this only after `run` began, and neither could know of the other: with clocks
    /// that differ the lease holds nobody off, and a run knows what the store had when it began. (It was counted
    /// from when the other asked, and the clock only if it moved after the later of them began.)
    fn is_beside(&self, trouble: Option<Duration>, run: usize, began: Duration) -> bool {
        self.run != run
            && self.heard >= began
            && trouble.is_some_and(|trouble| trouble >= began.min(self.began))
    }
}

/// How long an operation that cannot be asked for holds up the others, and one that says "pending".
const UNKNOWN_SECS: u64 = 3_600;
const PENDING_SECS: u64 = 24 * 3_600;

impl Judge {
    /// Whether the run may write, by all that it knows.
    pub(super) fn may_write_now(
        &mut self,
        sent: &Sent,
        frees_owner: bool,
        simulator: &mut Simulator,
    ) {
        self.waits.beside = false;
        let passed = |learned: &Learned| {
            let by_wall = sent.unix.saturating_sub(learned.unix);
            by_wall.max(sent.at.saturating_sub(learned.at).as_secs())
        };
        let unfinished =
            simulator.cloudflare().operations().iter().filter(|op| op.finished.is_none());
        let mut verdict = None;
        let began = self.runs.get(&sent.run).map_or(Duration::ZERO, |view| view.began);
        for operation in unfinished {
            let Some(learned) = self.waits.accepted.get(&operation.id) else { continue };
            let age = passed(learned);
            let seen = self
                .runs
                .get(&sent.run)
                .is_some_and(|view| view.operations_seen.contains(&operation.id));
            let limit = if seen { PENDING_SECS } else { UNKNOWN_SECS };
            let is_known = self.waits.is_known(learned, sent.run)
                && !learned.is_beside(self.waits.trouble, sent.run, began);
            if is_known && age + 2 < limit {
                verdict = Some(format!(
                    "operation {} of run {} was accepted {age} s ago and has not ended",
                    operation.id, learned.run
                ));
            }
        }
        if let Some(text) = verdict {
            return self.fail("one operation at a time", sent.run, sent.at, text);
        }
        // What became of it is not known: no refusal, and one after it is the first again.
        let was_unanswered = std::mem::replace(&mut self.waits.is_unanswered, true);
        if let Some((Kind::Refused | Kind::Denied, times, _)) = &mut self.waits.setback
            && was_unanswered
        {
            *times = 0;
        }
        let Some((kind, times, learned)) = self.waits.setback else { return };
        let terms = self.runs.get(&sent.run).map(|view| view.terms.clone());
        let Some(terms) = terms else { return };
        let (first, last) = (terms.backoff[0], *terms.backoff.last().unwrap_or(&terms.backoff[0]));
        let doubled = |wait: u64| wait.saturating_mul(1 << times.saturating_sub(1).min(20));
        let wait = match kind {
            // By then it is learned when the account opens, which may be in a moment.
            Kind::Throttled | Kind::Failed if self.waits.climbed_all => 0,
            Kind::Throttled | Kind::Failed => {
                let step = terms.backoff.get(times as usize - 1).copied().unwrap_or(last);
                // A shorter one only if the setting has changed meanwhile.
                step
            }
            Kind::Denied => first,
            Kind::Refused => doubled(first).min(last.max(first)),
            Kind::Unanswered => doubled(first.min(120)).min(first),
        };
        let owner_at = self.waits.last_owner.unwrap_or_default().max(learned.unix);
        if frees_owner {
            let before = self.waits.last_owner.replace(sent.unix);
            if self.waits.owner_before.is_none_or(|(of, _)| of != sent.run) {
                self.waits.owner_before = Some((sent.run, before));
            }
            if sent.unix.saturating_sub(owner_at) + 2 >= 1_800 {
                // Tried beside the others' wait, which goes on as it was. Where none is left it is a write like any other.
                self.waits.beside = self.waits.climbed_all || passed(&learned) < wait;
                return;
            }
        }
        let is_known = self.waits.is_known(&learned, sent.run)
            && !learned.is_beside(self.waits.trouble, sent.run, began);
        if is_known && passed(&learned) + 2 < wait {
            let text = format!(
                "the last write was {kind:?} {} s ago (the {times}th time in a row), and the wait is {wait} s",
                passed(&learned)
            );
            self.fail("a refusal is waited out", sent.run, sent.at, text);
        }
    }

    /// The answer to a write, if it was read to its end.
    pub(super) fn list_write_answered(
        &mut self,
        index: usize,
        status: u16,
        body: &Bytes,
        heard: Duration,
    ) {
        let learned = self.learned(index, heard);
        self.waits.is_unanswered = false;
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let codes: Vec<u64> = json["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|e| e["code"].as_u64())
            .collect();
        let kind = match status {
            // Without an operation nobody knows what became of it. (It was no answer at all, and the refusals before and
            // after it were in a row.)
            200..300 if json["success"] == true => match json["result"]["operation_id"].as_str() {
                Some(id) => {
                    self.marks.met("answer accepted");
                    for text in bodies(&self.requests[index].sent) {
                        self.lists.refused.retain(|net| network(&text) != Some(*net));
                    }
                    self.waits.accepted.insert(id.to_owned(), learned);
                    self.waits.setback = None;
                    return;
                }
                None => Kind::Unanswered,
            },
            _ if status == 429 || codes.contains(&10_040) => Kind::Throttled,
            400..500 if codes.iter().any(|code| (10_020..10_040).contains(code)) => {
                self.marks.met("answer value refused");
                self.waits.setback = None;
                let values = bodies(&self.requests[index].sent);
                let refused = || values.iter().filter_map(|text| network(text));
                self.lists.refused.extend(refused());
                self.lists.once_refused.extend(refused().map(|net| (net, heard)));
                self.lists.refused_at = Some(heard);
                return;
            }
            401 | 403 => Kind::Denied,
            // What the envelope says counts, also in a 200. (It was taken for no answer, and an error of a server
            // after it for one more of the same.)
            200..300 if json["success"] == false => Kind::Refused,
            400..500 if !codes.is_empty() => Kind::Refused,
            _ => Kind::Unanswered,
        };
        self.marks.met(&format!("answer {kind:?}"));
        // What the others wait for stays as it was, also where nobody knows what became of it: the ladder holds them
        // meanwhile, and the first unanswered write of theirs is the first. (It was counted as one.)
        if matches!(kind, Kind::Throttled | Kind::Unanswered) && self.waits.beside {
            self.marks.met("owner tried beside the ladder");
            return;
        }
        self.set_back(kind, learned);
    }

    /// What the answer to this request tells, from when it was there.
    fn learned(&self, index: usize, heard: Duration) -> Learned {
        let Sent { run, at, unix, .. } = *self.requests[index].sent;
        let began = self.runs.get(&run).map_or(Duration::ZERO, |view| view.began);
        Learned { run, began, at, heard, unix, is_kept: false, is_written_over: false }
    }

    fn set_back(&mut self, kind: Kind, learned: Learned) {
        let waits = &mut self.waits;
        if matches!(kind, Kind::Throttled | Kind::Failed) {
            // Two runs at a time do not know of each other's: each is on the step after the last that it knew.
            let is_beside = waits.setback.is_some_and(|(.., before)| {
                before.run != learned.run && before.heard >= learned.began
                    || !waits.is_known(&before, learned.run)
            });
            // Where a clock was wrong, the run may have known of the one before, and be on the step after that.
            let before = waits.setback.map(|(.., before)| before).filter(|before| before.is_kept);
            waits.climbed_all |= before.is_some_and(|of| !waits.is_known(&of, learned.run));
            waits.ladder = if is_beside { 1 } else { waits.ladder + 1 };
            let steps = self.terms.backoff.len() as u64;
            waits.climbed_all |= waits.ladder >= steps;
        }
        let times = match (kind, &waits.setback) {
            (Kind::Throttled | Kind::Failed, _) => waits.ladder.max(1),
            // In a row, as far as the run knows of the one before.
            (_, Some((before, times, known)))
                if *before == kind
                    && waits.is_known(known, learned.run)
                    && !known.is_beside(waits.trouble, learned.run, learned.began) =>
            {
                times + 1
            }
            _ => 1,
        };
        waits.setback = Some((kind, times, learned));
    }

    /// The state of an operation was read.
    pub(super) fn operation_seen(
        &mut self,
        run: usize,
        id: &str,
        status: u16,
        body: &Bytes,
        heard: Duration,
    ) {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        if status != 200 || json["success"] != true {
            return;
        }
        let state = json["result"]["status"].as_str().unwrap_or_default();
        self.marks.met(&format!(
            "operation {}",
            match state {
                "completed" | "failed" | "pending" | "running" => state,
                _ => "in another state",
            }
        ));
        let Some(view) = self.runs.get_mut(&run) else { return };
        match state {
            "completed" => {
                self.waits.ladder = 0;
                self.waits.setback = None;
            }
            "failed" => {
                let is_full =
                    json["result"]["error"].as_str().is_some_and(|e| e.contains("maximum"));
                self.lists.has_been_full |= is_full;
                if is_full {
                    self.lists.full_at = Some(heard);
                }
                let index = self
                    .requests
                    .iter()
                    .rposition(|request| request.about == About::Operation(id.to_owned()));
                let Some(index) = index else { return };
                self.set_back(Kind::Failed, self.learned(index, heard));
            }
            "pending" | "running" => {
                view.operations_seen.insert(id.to_owned());
            }
            _ => {}
        }
    }
}

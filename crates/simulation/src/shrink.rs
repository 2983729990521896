//! Takes out of a script whatever is not needed for the same promise to break: whole stretches of events,
//! then single ones, then settings, knobs, and what is odd about a run.

use crate::play;
use crate::script::{Run, Script, What};

/// The smallest script that was found to break the same promise. Plays at most `plays` of them.
pub fn shrink(script: &Script, plays: usize) -> Script {
    let promise = play(script, false).violation.map(|violation| violation.promise);
    let mut shrinking = Shrinking { best: script.clone(), promise, plays };
    if promise.is_none() {
        return shrinking.best;
    }
    shrinking.cut_the_end();
    loop {
        let before = shrinking.best.clone();
        shrinking.stretches();
        shrinking.before();
        shrinking.frame();
        shrinking.runs();
        if shrinking.best == before || shrinking.plays == 0 {
            return shrinking.best;
        }
    }
}

struct Shrinking {
    best: Script,
    promise: Option<&'static str>,
    plays: usize,
}

impl Shrinking {
    /// Keeps the candidate if it still breaks the promise.
    fn attempt(&mut self, candidate: Script) -> bool {
        if self.plays == 0 || candidate == self.best {
            return false;
        }
        self.plays -= 1;
        let broken = play(&candidate, false).violation.map(|violation| violation.promise);
        let breaks = broken == self.promise;
        if breaks {
            self.best = candidate;
        }
        breaks
    }

    /// What comes after the violation is not needed.
    fn cut_the_end(&mut self) {
        let Some(violation) = play(&self.best, false).violation else { return };
        let mut candidate = self.best.clone();
        let end = violation.at.as_millis() as u64;
        candidate.events.retain(|event| event.at <= end);
        self.attempt(candidate);
    }

    fn stretches(&mut self) {
        let mut size = self.best.events.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < self.best.events.len() {
                let mut candidate = self.best.clone();
                let end = (at + size).min(candidate.events.len());
                candidate.events.drain(at..end);
                if !self.attempt(candidate) {
                    at += size;
                }
            }
            size /= 2;
        }
    }

    fn before(&mut self) {
        let mut at = 0;
        while at < self.best.before.len() {
            let mut candidate = self.best.clone();
            candidate.before.remove(at);
            if !self.attempt(candidate) {
                at += 1;
            }
        }
    }

    fn frame(&mut self) {
        for name in self.best.settings.keys().cloned().collect::<Vec<_>>() {
            let mut candidate = self.best.clone();
            candidate.settings.remove(&name);
            self.attempt(candidate);
        }
        for knob in self.best.knobs.clone() {
            let mut candidate = self.best.clone();
            candidate.knobs.retain(|known| *known != knob);
            self.attempt(candidate);
        }
    }

    fn runs(&mut self) {
        for at in 0..self.best.events.len() {
            if matches!(&self.best.events[at].what, What::Run(run) if *run != Run::default()) {
                let mut candidate = self.best.clone();
                candidate.events[at].what = What::Run(Run::default());
                self.attempt(candidate);
            }
        }
    }
}

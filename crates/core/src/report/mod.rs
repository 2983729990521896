//! What a run did, in numbers and in one line a target.
//!
//! An unread report is not actionable, so every run ends with its summary, also when nothing was to
//! do, and says what it waits for.

pub mod kv;
pub mod lists;
pub mod metrics;
pub mod rules;

use std::time::Duration;

use crate::apply::Stopped;
use crate::desired::OriginCounts;
use crate::desired::Skipped;
use crate::failure::Failure;
use crate::log::{Level, Line, decimal, plural, seconds, thousands};
use crate::review::{Refusal, Review};
use crate::session::RequestCounts;
use crate::state::Said;
use crate::state::guard::Rule;
use crate::state::writes::Cause;

/// Additions that are logged one by one; more would drown the rest. Removals are logged all, so that "who
/// was unblocked when" can be answered from the log.
const ADDITIONS_LOGGED_MAX: usize = 20;

/// The first of `lines`, or `all` of them, and how many more there are.
fn few(
    lines: impl Iterator<Item = Line>,
    noun: &'static str,
    target: &'static str,
    all: bool,
) -> Vec<Line> {
    let mut shown = Vec::new();
    let mut more = 0;
    for line in lines {
        if all || shown.len() < ADDITIONS_LOGGED_MAX { shown.push(line) } else { more += 1 }
    }
    if more > 0 {
        let text =
            format!("  and {} (log_changes=all lists them)", plural(more, &format!("more {noun}")));
        shown
            .push(Line::new(Level::Info, "change", text).with("target", target).with("more", more));
    }
    shown
}

/// The subject under which warnings about protected addresses are remembered.
const PROTECTED: &str = "protected";

/// What is left to say of `lines` by a run that `waits`: its changes only where they are news.
pub(crate) fn only_news(
    mut lines: Vec<Line>,
    said: &mut Said,
    target: &'static str,
    waits: bool,
    now: u64,
) -> Vec<Line> {
    let is_change = |line: &Line| matches!(line.event(), "plan" | "change");
    let changes: Vec<String> =
        lines.iter().filter(|line| is_change(line)).map(|line| line.text().to_owned()).collect();
    let texts = || changes.iter().map(String::as_str);
    if changes.is_empty() {
        said.forget(target);
    } else if !waits || said.is_new(target, texts()) {
        said.note(target, texts(), now);
    } else {
        lines.retain(|line| !is_change(line));
    }
    lines
}

pub use kv::KvReport;
pub use lists::ListsReport;
pub use rules::RulesReport;

/// How a run ended for one target.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// The edge was as desired; nothing was written.
    InSync,
    /// The edge is as desired now.
    Applied,
    /// A dry run: the plan was shown and not applied.
    Planned,
    /// LAPI could not be read, so nothing was touched. Holds the reason.
    Skipped(String),
    /// Something is still going on. Holds what we wait for.
    Partial(String),
    /// The last write went wrong, and none is tried for this long.
    Waits(Duration, Cause),
    /// Only changes that are not urgent, kept together with what comes for this long: by
    /// `write_interval_seconds`, or because writes are scarce.
    Batched(Duration),
    /// The guard holds removals back. Holds the short reason.
    Held(&'static str),
    /// It did not work, and somebody should look.
    Failed(Failure),
}

impl Outcome {
    /// Whether the edge is as desired, or nobody asked for that.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::InSync | Self::Applied | Self::Planned | Self::Batched(_))
    }

    /// The outcome of a run whose removals were refused, if all else went well.
    pub(crate) fn held(refusal: &Refusal) -> Self {
        Self::Held(match refusal.rule() {
            Rule::Empty => "nothing is desired while the edge is not empty",
            Rule::Replaced => "nothing that was there is desired any more",
            Rule::Share => "too many at once to be believed",
        })
    }

    /// The same once more, for another zone, of an outcome that stands for all of them.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Skipped(why) => Self::Skipped(why.clone()),
            Self::Partial(why) => Self::Partial(why.clone()),
            other => Self::Partial(format!("nothing was decided ({})", other.word())),
        }
    }

    pub(crate) fn is_well(&self) -> bool {
        matches!(self, Self::InSync | Self::Applied | Self::Batched(_))
    }

    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::InSync => "in_sync",
            Self::Applied => "applied",
            Self::Planned => "planned",
            Self::Skipped(_) => "skipped",
            Self::Partial(_) => "partial",
            Self::Waits(_, Cause::Throttled) => "rate_limited",
            Self::Waits(..) => "waiting",
            Self::Batched(_) => "batched",
            Self::Held(_) => "held",
            Self::Failed(_) => "failed",
        }
    }

    /// The beginning of a target's summary: a line with its first fields, and a text to go on with.
    fn begin(&self, target: &'static str, success: bool) -> (Line, String) {
        let (level, story) = match self {
            Self::InSync => (Level::Info, "in sync: nothing to do".to_owned()),
            Self::Applied => (Level::Info, "applied: the edge is as desired".to_owned()),
            Self::Planned => (Level::Info, "dry run: nothing was written".to_owned()),
            Self::Skipped(why) => (
                Level::Warn,
                format!("skipped: LAPI could not be read, the edge is left as it is: {why}"),
            ),
            Self::Partial(waiting) => (Level::Warn, format!("partly done: {waiting}")),
            Self::Waits(left, cause) => {
                let what = match cause {
                    Cause::Throttled => "rate limited: Cloudflare refused the last write",
                    Cause::Failed => "waiting: the last bulk operation failed",
                    Cause::Refused => "waiting: Cloudflare refused the last write",
                    Cause::Denied => "waiting: cf_api_token may not write to the lists",
                    Cause::Unanswered => "waiting: the last write was not answered",
                };
                (Level::Warn, format!("{what}; the next is tried in {}", minutes(*left)))
            }
            Self::Batched(left) => (
                Level::Info,
                format!("batched: nothing urgent; written in {} at the latest", minutes(*left)),
            ),
            Self::Held(why) => (Level::Warn, format!("removals held back: {why}")),
            Self::Failed(failure) => (Level::Error, format!("failed: {}", failure.describe())),
        };
        let line = Line::new(level, "summary", "")
            .with("target", target)
            .with("outcome", self.word())
            .with("success", u8::from(success));
        (line, format!("{target} {story}"))
    }
}

impl From<Stopped> for Outcome {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Waiting(what) => Self::Partial(what),
            Stopped::Failed(failure) => Self::Failed(failure),
        }
    }
}

fn minutes(duration: Duration) -> String {
    format!("{} min", duration.as_millis().div_ceil(60_000))
}

/// A run, target by target.
#[derive(Debug)]
pub struct Report {
    /// What was left out of the desired state, if LAPI could be read.
    pub skipped: Option<Skipped>,
    /// The lists, if they are in use.
    pub lists: Option<ListsReport>,
    /// KV, if it is in use.
    pub kv: Option<KvReport>,
    /// The rules, if zones are named.
    pub rules: Option<RulesReport>,
    /// Whether anything is remembered.
    pub memory: Memory,
    /// Requests to LAPI and Cloudflare, the writes among them.
    pub requests: RequestCounts,
    /// How long it took.
    pub duration: Duration,
}

/// Whether anything outlasts a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Memory {
    /// The store works, and has something of an earlier run.
    Works,
    /// The store works and is empty: the first run, or a store that forgets.
    Empty,
    /// There is no store. Holds the host's words.
    NoStore(String),
}

/// The figures of a run that every target's summary repeats.
#[derive(Debug, Clone, Copy)]
pub struct RunCounts {
    skipped: u64,
    /// Said where the edge is not empty and nothing is remembered.
    forgot: Option<&'static str>,
    requests: u64,
    duration: Duration,
}

impl RunCounts {
    /// Says what was desired of a target.
    fn desired(&self, line: Line, text: &mut String, ban: u64, captcha: u64) -> Line {
        let [bans, captchas, skipped] = [ban, captcha, self.skipped].map(thousands);
        text.push_str(&format!(" · desired: {bans} ban, {captchas} captcha, {skipped} skipped"));
        line.with("ban", ban).with("captcha", captcha).with("skipped", self.skipped)
    }

    /// Says that nothing is remembered, where that matters: the edge is not empty, so that a run before
    /// this one should have left something.
    fn forgot(&self, line: Line, text: &mut String, there: u64) -> Line {
        match self.forgot {
            Some(forgot) if there > 0 => {
                text.push_str(&format!(" · {forgot}"));
                line.with("forgot", 1)
            }
            _ => line,
        }
    }

    fn end(&self, line: Line, text: String) -> Line {
        let requests = plural(self.requests, "request");
        line.with("requests", self.requests)
            .with("seconds", decimal(self.duration, 3))
            .saying(format!("{text}, {requests}, {}", seconds(self.duration)))
    }
}

/// Says what the guard holds back, or why it does not.
pub(crate) fn announce_guard<P>(review: &Review<P>, target: &'static str) -> Vec<Line> {
    let says = |text: String| Line::new(Level::Warn, "guard", format!("guard: {text}"));
    let refusal = review.refusal.as_ref().map(|refusal| {
        says(refusal.to_string())
            .with("target", target)
            .with("held", review.held.len())
            .with("runs_left", refusal.runs_left())
            .with("seconds_left", refusal.seconds_left())
    });
    let yielded =
        review.yielded.as_ref().map(|yielded| says(yielded.to_string()).with("target", target));
    refusal.into_iter().chain(yielded).collect()
}

impl Report {
    /// What every run ends with: what is left out, and a summary for each target. That somebody bans the
    /// owner is a warning when it is new, and once an hour.
    pub(crate) fn lines(&self, said: &mut Said, now: u64) -> Vec<Line> {
        let protected = self.protected();
        let protected = match &protected {
            None => {
                said.forget(PROTECTED);
                None
            }
            Some(line) => {
                let text = || std::iter::once(line.text());
                let is_due = said.is_due(PROTECTED, text(), now);
                if is_due {
                    said.note(PROTECTED, text(), now);
                }
                protected.filter(|_| is_due)
            }
        };
        let left_out = [protected, self.skipped(), self.places(), self.set_aside()];
        left_out.into_iter().flatten().chain(self.summaries()).collect()
    }

    /// The lines that every run ends with, one for each target.
    pub fn summaries(&self) -> Vec<Line> {
        let run = RunCounts {
            skipped: self.skipped.as_ref().map_or(0, Skipped::total),
            forgot: match &self.memory {
                Memory::Works => None,
                Memory::Empty => Some(
                    "nothing is remembered: the first run here, or a store that forgets, where no removal is confirmed and no wait is kept",
                ),
                Memory::NoStore(_) => {
                    Some("there is no key-value store: no removal is confirmed and no wait is kept")
                }
            },
            requests: self.requests.values().sum(),
            duration: self.duration,
        };
        let lists = self.lists.iter().map(|lists| lists.summary(&run));
        let rules = self.rules.iter().flat_map(|rules| rules.summaries(&run));
        lists.chain(self.kv.iter().map(|kv| kv.summary(&run))).chain(rules).collect()
    }

    /// Where every rule says what its list lacks, a list that waits leaves nobody out: the run is a success,
    /// and what waits is told as before.
    pub(crate) fn let_rules_stand_in(&mut self) {
        let stand_in = self.rules.as_ref().is_some_and(|rules| {
            rules.is_success() && rules.zones.iter().all(|zone| !zone.rules.is_empty())
        });
        let lists = self.lists.as_mut().filter(|lists| stand_in && !lists.leaves_out);
        let Some(lists) = lists else { return };
        if let (Outcome::Failed(failure), Some((left, cause))) = (&lists.outcome, lists.backoff)
            && failure.is_throttled()
        {
            lists.outcome = Outcome::Waits(left, cause);
        }
        lists.stood_in = true;
    }

    /// Why the run failed, if it did: a failure of one target never stops the other, but fails the run.
    pub fn into_failure(self) -> Option<Failure> {
        let lists = self.lists.map(|lists| lists.outcome);
        let rules = self.rules.into_iter().flat_map(|rules| rules.zones);
        let outcomes = lists.into_iter().chain(self.kv.map(|kv| kv.outcome));
        let outcomes = outcomes.chain(rules.map(|zone| zone.outcome));
        outcomes.into_iter().find_map(|outcome| match outcome {
            Outcome::Failed(failure) => Some(failure),
            _ => None,
        })
    }

    /// Decisions on addresses that are never blocked, if there are any: the owner is being banned
    /// somewhere.
    pub fn protected(&self) -> Option<Line> {
        let protected = &self.skipped.as_ref()?.protected;
        (protected.count > 0).then(|| {
            let text = format!(
                "{} on protected addresses, never pushed; somewhere you are being banned: {}",
                plural(protected.count, "decision"),
                protected.describe()
            );
            Line::new(Level::Warn, "protected", text).with("count", protected.count)
        })
    }

    /// What is enforced, by origin: what KV has, or else what has a place on the lists. `None` if that is
    /// not known.
    pub(crate) fn enforced(&self) -> Option<&[OriginCounts]> {
        self.skipped.as_ref()?;
        match (&self.kv, &self.lists) {
            (Some(kv), _) => Some(&kv.origins),
            (None, Some(lists)) => Some(&lists.plan.as_ref()?.origins),
            (None, None) => None,
        }
    }

    /// Who goes without a place on the lists, by origin, if anybody does.
    pub fn places(&self) -> Option<Line> {
        let plan = self.lists.as_ref()?.plan.as_ref()?;
        let dropped = plan.dropped();
        let origins: Vec<_> = plan
            .origins
            .iter()
            .filter(|origin| origin.dropped > 0)
            .map(|o| format!("{} {} of {}", o.origin, thousands(o.dropped), thousands(o.total())))
            .collect();
        let text = format!(
            "no place on the lists for {}: {} (list_items_max)",
            thousands(dropped),
            origins.join(", ")
        );
        (dropped > 0).then(|| Line::new(Level::Warn, "places", text).with("dropped", dropped))
    }

    /// What Cloudflare refuses as a value, if anything.
    pub fn set_aside(&self) -> Option<Line> {
        let set_aside = &self.lists.as_ref()?.plan.as_ref()?.set_aside;
        (set_aside.count > 0).then(|| {
            let text = format!(
                "{} set aside for a day, because Cloudflare refuses them as values: {}",
                plural(set_aside.count, "desired address"),
                set_aside.describe()
            );
            Line::new(Level::Warn, "set_aside", text).with("count", set_aside.count)
        })
    }

    /// What was left out for other reasons, if anything was.
    pub fn skipped(&self) -> Option<Line> {
        let skipped = self.skipped.as_ref()?;
        let left_out = skipped.total() - skipped.protected.count;
        if left_out == 0 {
            return None;
        }
        // What people do on purpose, and what is somebody's mistake: an address that is believed to be
        // blocked and is not.
        let expected = [
            ("origins not wanted", &skipped.origins),
            ("scenarios not wanted", &skipped.scenarios),
            ("other scopes", &skipped.scopes),
            ("other types", &skipped.types),
            ("no list is set for", &skipped.without_list),
        ];
        let mistakes = [
            ("not an address", &skipped.not_addresses),
            ("neither a country nor the number of an AS", &skipped.not_regions),
            ("prefix that a list does not take", &skipped.prefixes),
            ("prefix that KV takes only with scopes=ip,range", &skipped.prefixes_in_kv),
            ("not a decision", &skipped.malformed),
        ];
        let expected = expected.iter().filter(|(_, words)| words.count() > 0);
        let covered = (skipped.covered > 0)
            .then(|| format!("covered by a range: {}", thousands(skipped.covered)));
        let reasons: Vec<_> = expected
            .map(|(what, words)| format!("{what}: {}", words.describe()))
            .chain(
                mistakes
                    .iter()
                    .filter(|(_, left)| left.count > 0)
                    .map(|(what, left)| format!("{what}: {}", left.describe())),
            )
            .chain(covered)
            .collect();
        let is_mistake = mistakes.iter().any(|(_, left)| left.count > 0);
        let level = if is_mistake { Level::Warn } else { Level::Info };
        let total = plural(left_out, "decision");
        let line = Line::new(level, "skipped", format!("{total} skipped: {}", reasons.join("; ")));
        let counts = skipped.counts().into_iter().filter(|(_, count)| *count > 0);
        Some(counts.fold(line, |line, (reason, count)| line.with(reason, count)))
    }
}

#[cfg(test)]
mod tests;

//! What a run did, in numbers and in one line a target.
//!
//! An unread report is not actionable, so every run ends with its summary, also when nothing was to
//! do, and says what it waits for.

pub mod kv;
pub mod lists;
pub mod metrics;

use std::time::Duration;

use crate::apply::Stopped;
use crate::desired::OriginCounts;
use crate::desired::Skipped;
use crate::failure::Failure;
use crate::guard::{Refusal, Rule};
use crate::log::{Level, Line, plural, seconds, thousands};
use crate::session::RequestCounts;

pub use kv::KvReport;
pub use lists::ListsReport;

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
    /// Writes were refused, and none is tried for this long.
    RateLimited(Duration),
    /// Only changes that are not urgent, kept together with what comes for this long
    /// (`write_interval_seconds`).
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

    /// The same, of a run whose removals were refused: what went well was only a part.
    pub(crate) fn held_by(self, refusal: Option<Refusal>) -> Self {
        match (refusal.map(|refusal| refusal.rule()), self) {
            (Some(Rule::Empty), outcome) if outcome.is_well() => {
                Self::Held("nothing is desired while the edge is not empty")
            }
            (Some(Rule::Share), outcome) if outcome.is_well() => {
                Self::Held("too many at once to be believed")
            }
            (_, outcome) => outcome,
        }
    }

    fn is_well(&self) -> bool {
        matches!(self, Self::InSync | Self::Applied | Self::Batched(_))
    }

    fn word(&self) -> &'static str {
        match self {
            Self::InSync => "in_sync",
            Self::Applied => "applied",
            Self::Planned => "planned",
            Self::Skipped(_) => "skipped",
            Self::Partial(_) => "partial",
            Self::RateLimited(_) => "rate_limited",
            Self::Batched(_) => "batched",
            Self::Held(_) => "held",
            Self::Failed(_) => "failed",
        }
    }

    /// The beginning of a target's summary: a line with its first fields, and a text to go on with.
    fn begin(&self, target: &'static str) -> (Line, String) {
        let (level, story) = match self {
            Self::InSync => (Level::Info, "in sync: nothing to do".to_owned()),
            Self::Applied => (Level::Info, "applied: the edge is as desired".to_owned()),
            Self::Planned => (Level::Info, "dry run: nothing was written".to_owned()),
            Self::Skipped(why) => (
                Level::Warn,
                format!("skipped: LAPI could not be read, the edge is left as it is: {why}"),
            ),
            Self::Partial(waiting) => (Level::Warn, format!("partly done: {waiting}")),
            Self::RateLimited(left) => (
                Level::Warn,
                format!(
                    "rate limited: Cloudflare refused the last write; the next is tried in {}",
                    minutes(*left)
                ),
            ),
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
            .with("success", u8::from(self.is_success()));
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
    format!("{:.0} min", (duration.as_secs_f64() / 60.0).ceil())
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
    /// Requests to LAPI and Cloudflare, the writes among them.
    pub requests: RequestCounts,
    /// How long it took.
    pub duration: Duration,
}

/// The figures of a run that every target's summary repeats.
#[derive(Debug, Clone, Copy)]
pub struct RunCounts {
    skipped: u64,
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

    fn end(&self, line: Line, text: String) -> Line {
        let requests = plural(self.requests, "request");
        line.with("requests", self.requests)
            .with("seconds", format_args!("{:.3}", self.duration.as_secs_f64()))
            .saying(format!("{text}, {requests}, {}", seconds(self.duration)))
    }
}

impl Report {
    /// The lines that every run ends with, one for each target.
    pub fn summaries(&self) -> Vec<Line> {
        let run = RunCounts {
            skipped: self.skipped.as_ref().map_or(0, Skipped::total),
            requests: self.requests.values().sum(),
            duration: self.duration,
        };
        let lists = self.lists.iter().map(|lists| lists.summary(&run));
        lists.chain(self.kv.iter().map(|kv| kv.summary(&run))).collect()
    }

    /// Why the run failed, if it did: a failure of one target never stops the other, but fails the run.
    pub fn into_failure(self) -> Option<Failure> {
        let lists = self.lists.map(|lists| lists.outcome);
        let outcomes = lists.into_iter().chain(self.kv.map(|kv| kv.outcome));
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
        Some(skipped.counts().into_iter().fold(line, |line, (reason, n)| line.with(reason, n)))
    }
}

//! Remembers how a run ended.

use std::time::UNIX_EPOCH;

use crate::failure::Failure;
use crate::log::clip;
use crate::ports::Host;
use crate::report::{Outcome, Report};
use crate::state::Remembered;
use crate::state::last::{End, LastRun};

/// A reason is kept so far: who asks sees it on a line of a terminal.
const SAID_CHARS_MAX: usize = 400;

/// Remembers it. That it cannot be stored was said when the store was first asked.
pub(super) fn remember<H: Host>(host: &H, report: &Report, began: u64, dry_run: bool) {
    let now = host.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut last = Remembered::<LastRun>::load(host, now);
    if last.store_error().is_some() {
        return;
    }
    let remembered = report.lists.as_ref().is_some_and(|lists| lists.remembered_secs.is_some());
    let lists = report.lists.as_ref().map(|lists| &lists.outcome);
    let kv = report.kv.as_ref().map(|kv| &kv.outcome);
    let zones = report.rules.iter().flat_map(|rules| &rules.zones);
    let rules = zones.min_by_key(|zone| zone.outcome.is_success());
    let lapi = report.skipped.is_some();
    let all = lapi && !remembered && lists.is_none_or(was_read) && kv.is_none_or(was_read);
    let at = |read: bool, before: u64| if read { now } else { before };
    let next = LastRun {
        began,
        ended: now,
        dry_run,
        lapi_read_at: at(lapi, last.lapi_read_at),
        all_read_at: at(all, last.all_read_at),
        lists: report.lists.as_ref().map(|lists| end(&lists.outcome, lists.is_success())),
        kv: kv.map(|kv| end(kv, kv.is_success())),
        rules: rules.map(|zone| match (&zone.outcome, zone.outcome.is_success()) {
            (outcome, true) => end(outcome, true),
            (outcome, false) => {
                let of = end(outcome, false);
                // A failure names its zone already.
                let said = match of.said.starts_with("zone ") {
                    true => of.said,
                    false => clip(&format!("zone {}: {}", zone.zone, of.said), SAID_CHARS_MAX),
                };
                End { said, ..of }
            }
        }),
    };
    let _ = last.change(host, |last| *last = next);
}

/// Whether the target could be read.
fn was_read(outcome: &Outcome) -> bool {
    let failed =
        matches!(outcome, Outcome::Failed(Failure::Read { .. } | Failure::EndlessPages { .. }));
    !failed
}

fn end(outcome: &Outcome, success: bool) -> End {
    let said = match outcome {
        Outcome::Skipped(said) | Outcome::Partial(said) => said.clone(),
        Outcome::Held(said) => (*said).to_owned(),
        Outcome::Failed(failure) => failure.describe(),
        Outcome::InSync
        | Outcome::Applied
        | Outcome::Planned
        | Outcome::Waits(..)
        | Outcome::Batched(_) => String::new(),
    };
    End { outcome: outcome.word().to_owned(), success, said: clip(&said, SAID_CHARS_MAX) }
}

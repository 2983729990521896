//! The lists' part of a run: plan, guard, hold, apply.

use std::rc::Rc;
use std::time::Duration;

use crate::api::cloudflare::Account;
use crate::apply;
use crate::confirm::{Confirmations, Target};
use crate::desired::Desired;
use crate::failure::Failure;
use crate::guard::{Objection, Verdict};
use crate::log::{Level, Line};
use crate::observed::lists::Observed;
use crate::plan;
use crate::plan::lists::{Change, Plan, Rules};
use crate::ports::Host;
use crate::report::lists::PlanCounts;
use crate::report::{ListsReport, Outcome};
use crate::session::Session;
use crate::settings::{Lists, Settings};
use crate::state::{Remembered, WriteHistory};

use super::{ANOTHER_RUN, CHANGES_LOGGED_MAX, announce_verdict};

/// What decides whether the lists may be written now.
pub(super) struct Writes {
    pub(super) history: Remembered<WriteHistory>,
    pub(super) earlier_has_ended: bool,
}

/// Why a plan for the lists must wait.
pub(super) enum Hold {
    /// Cloudflare refused the last write.
    Backoff(Duration),
    /// This operation of an earlier run is not finished.
    Operation(String),
    /// Nothing in it is urgent.
    Interval(Duration),
}

impl Writes {
    pub(super) fn hold(&self, plan: &Plan, settings: &Settings, now: u64) -> Option<Hold> {
        let (history, pace) = (&self.history, &settings.pace);
        if let Some(left) = history.backoff_left(pace, now) {
            return Some(Hold::Backoff(left));
        }
        if let (false, Some(id)) = (self.earlier_has_ended, history.operation()) {
            return Some(Hold::Operation(id.to_owned()));
        }
        if plan.is_urgent() {
            return None;
        }
        history.interval_left(pace, now).map(Hold::Interval)
    }
}

/// What there is to do on the lists, and what of it may be done.
pub(super) struct Judged {
    pub(super) counts: PlanCounts,
    pub(super) verdict: Verdict<Plan>,
}

/// Plans and judges; says both. The streak of the guard is counted on only if `counted`.
pub(super) fn judge<H: Host>(
    host: &H,
    settings: &Settings,
    lists: &Lists,
    (desired, observed): (&Desired, &Observed),
    counted: bool,
) -> Judged {
    let (guard, protected) = (&settings.guard, &settings.protected);
    let rules = Rules { now: host.wall(), items_max: lists.items_max, protected };
    let plan = plan::lists::diff(desired, observed, rules);
    announce(&plan, observed, host);
    let objection = guard.objection_to_lists(desired, &plan);
    let removals = objection.as_ref().map(Objection::removals);
    let streak = Confirmations::count(host, Target::Lists, removals, counted);
    let counts = PlanCounts::from(&plan);
    let verdict = guard.judge_lists(plan, objection, streak, (desired, observed, rules));
    announce_verdict(&verdict, "lists", host);
    Judged { counts: counts.holding(&verdict.approved), verdict }
}

pub(super) async fn sync<H: Host>(
    session: &Session<'_, H>,
    account: &Account,
    settings: &Settings,
    lists: &Lists,
    (desired, observed): (Result<Rc<Desired>, String>, Result<Observed, Failure>),
    writes: Option<Writes>,
    until: Duration,
) -> ListsReport {
    let (desired, observed) = match (desired, observed) {
        (Ok(desired), Ok(observed)) => (desired, observed),
        (_, Err(failure)) => return ListsReport::unplanned(Outcome::Failed(failure)),
        (Err(why), Ok(_)) => return ListsReport::unplanned(Outcome::Skipped(why)),
    };
    let host = session.host();
    let counted = writes.is_some() && !settings.dry_run;
    let Judged { counts, verdict } = judge(host, settings, lists, (&desired, &observed), counted);
    // Both are large, and the plan holds what is still needed of them.
    drop((desired, observed));
    let Verdict { approved: plan, refusal, .. } = verdict;
    let mut applied = apply::lists::Applied::default();
    let mut backoff = None;
    let outcome = match writes {
        _ if settings.dry_run && counts.drift > 0 => Outcome::Planned,
        _ if plan.is_empty() => Outcome::InSync,
        None => Outcome::Partial(ANOTHER_RUN.to_owned()),
        Some(writes) => match writes.hold(&plan, settings, session.unix_now()) {
            Some(Hold::Backoff(left)) => {
                backoff = Some(left);
                Outcome::RateLimited(left)
            }
            Some(Hold::Interval(left)) => Outcome::Batched(left),
            Some(Hold::Operation(id)) => Outcome::Partial(format!(
                "bulk operation {id} of an earlier run is not finished; no other is begun beside it"
            )),
            None => {
                let (mut history, pace) = (writes.history, &settings.pace);
                applied =
                    apply::lists::apply(session, account, pace, lists, &plan, &mut history, until)
                        .await;
                backoff = history.backoff_left(pace, session.unix_now());
                if let (Some(_), Some(error)) = (backoff, history.store_error()) {
                    let text = format!("the wait after a refused write cannot be kept: {error}");
                    host.log(&Line::new(Level::Warn, "store", text));
                }
                applied.stopped.take().map_or(Outcome::Applied, Outcome::from)
            }
        },
    };
    let outcome = outcome.held_by(refusal);
    ListsReport::planned(outcome, counts, applied, backoff)
}

/// Says what is going to change on the lists, before it is tried.
fn announce(plan: &Plan, observed: &Observed, host: &impl Host) {
    for (list, content) in observed.lists().filter(|(_, content)| content.foreign().count > 0) {
        let text = format!(
            "the {list} list has items that are no IP addresses; they are left alone: {}",
            content.foreign().describe()
        );
        let line = Line::new(Level::Warn, "left_alone", text);
        host.log(&line.with("list", list).with("items", content.foreign().count));
    }
    if plan.is_empty() {
        return;
    }
    let mut line = Line::new(Level::Info, "plan", format!("plan: {plan}")).with("target", "lists");
    line = line.with("drift", plan.drift()).with("operations", plan.operations().len());
    host.log(&line);
    let changes = plan.lists().iter().flat_map(|l| l.changes.iter().map(move |c| (l.list, c)));
    for (list, change) in changes.take(CHANGES_LOGGED_MAX) {
        let address = change.address();
        let (word, text, why) = match change {
            Change::Add(_) => ("add", format!("  + {address} ({list})"), None),
            Change::Remove(_, why) => {
                ("remove", format!("  - {address} ({list}; {})", why.as_str()), Some(why.as_str()))
            }
        };
        let line = Line::new(Level::Info, "change", text).with("change", word).with("list", list);
        let line = line.with("address", address);
        host.log(&why.into_iter().fold(line, |line, why| line.with("why", why)));
    }
}

//! The lists' part of a run: decide, say what, apply.

use crate::apply::lists::{self, Applied};
use crate::decide::lists::{Decision, Remembered as Inputs, TARGET, decide};
use crate::decide::rules::{Known, for_lists};
use crate::desired::Desired;
use crate::failure::Failure;
use crate::log::{Level, Line, plural, thousands};
use crate::observed::lists::Observed;
use crate::observed::rules::ObservedRules;
use crate::plan::lists::{Plan, Room};
use crate::ports::Host;
use crate::report::lists::{PlanCounts, announce};
use crate::report::{ListsReport, Outcome, announce_guard};
use crate::schedule::lists::{ByRules, Operation, Rest, Schedule, Wait};
use crate::settings::{Lists, Rules};
use crate::state::guard::GuardHistory;
use crate::state::writes::{WriteHistory, checksum};
use crate::state::{Ends, Remembered, RulesHistory};

use super::edge::Edge;
use super::read::{self, ReadLists};
use super::rules::Sides;
use super::{ANOTHER_RUN, Access, DesiredOr, budget};

/// What is to be done on the lists, or how their part of the run has ended already.
pub(super) enum Prepared<'a> {
    /// It has.
    Ended(Box<ListsReport>),
    /// This is to be done.
    Decided(Box<Decided<'a>>),
}

pub(super) struct Decided<'a> {
    lists: &'a Lists,
    /// For the rules, where zones are named.
    sides: Option<Sides>,
    read: ReadLists,
    counts: PlanCounts,
    room: Room,
    schedule: Schedule,
    held: Option<Outcome>,
    /// Fewer items fit than the settings say, and it leaves so many out.
    left_out: Option<u64>,
}

/// How the lists' part of the run ended, and what the rules' part goes on with.
pub(super) struct Finished {
    pub(super) report: ListsReport,
    pub(super) sides: Option<Sides>,
    /// The operations that were seen to complete.
    pub(super) done: Vec<Operation>,
}

/// Decides, says what, and remembers what the guard holds.
pub(super) async fn prepare<'a, H: Host>(
    access: &Access<'_, '_, H>,
    lists: &'a Lists,
    desired: DesiredOr,
    read: Result<ReadLists, Failure>,
    (history, guard, ends): (&WriteHistory, &mut Remembered<GuardHistory>, &Ends),
    rules: Option<(&Rules, &ObservedRules, &RulesHistory)>,
    now: u64,
) -> Prepared<'a> {
    let unread = |desired: &Desired, guard: &mut Remembered<GuardHistory>, failure: Failure| {
        access.forget(guard, TARGET, |address| desired.on_list(address).is_some());
        Prepared::Ended(Box::new(ListsReport::unplanned(Outcome::Failed(failure))))
    };
    let (desired, mut read) = match (desired, read) {
        (Ok(desired), Ok(read)) => (desired, read),
        (Ok(desired), Err(failure)) => return unread(&desired, guard, failure),
        (Err(_), Err(failure)) => {
            return Prepared::Ended(Box::new(ListsReport::unplanned(Outcome::Failed(failure))));
        }
        (Err(why), Ok(_)) => {
            return Prepared::Ended(Box::new(ListsReport::unplanned(why.into())));
        }
    };
    let Access { session, clients, settings, .. } = access;
    let host = session.host();
    let held = guard.held(host, TARGET);
    // What the lists hold is surely at the edge: nothing of ours is under way, and they were read so before.
    let may_drain = read.pages.is_some()
        && history.is_settled(now)
        && rules.is_some_and(|(.., history)| history.is_settled(read.content.digest(), now));
    let may_lose = history.may_have_lost(now);
    let decision = |observed: &Observed| {
        let remembered = Inputs { history, held: held.as_ref(), ends };
        let by_rules = |plan: &Plan| {
            let known = Known { plan, observed, done: &[], ends, may_drain, may_lose };
            let (of, with) = rules.map(|(of, with, history)| ((of, with), history)).unzip();
            with.map_or_else(ByRules::default, |with| {
                for_lists(settings, lists, of, (&desired, known), with, now)
            })
        };
        decide(settings, lists, (&desired, observed), remembered, by_rules, now)
    };
    let mut decided = decision(&read.content);
    if read.pages.is_none() && !decided.only_appends() {
        let marks = (read.marks.take(), read.is_settled);
        let until = budget::read_until(settings);
        read = match Box::pin(read::in_full(session, clients, lists, marks, until)).await {
            Ok(read) => read,
            Err(failure) => return unread(&desired, guard, failure),
        };
        decided = decision(&read.content);
    }
    let Decision { review, schedule, is_capacity_learned } = decided;
    let observed = read.content.clone();
    let lines = announce(&review.approved, &schedule, &observed, access.settings.log_all_changes);
    let waits = schedule.wait().is_some() || schedule.operations().is_empty();
    access.say(lines, TARGET, waits, now);
    announce_guard(&review, TARGET).iter().for_each(|line| host.log(line));
    let counts = PlanCounts::of(&review.approved, observed.count());
    let dropped = review.approved.dropped();
    let left_out = (is_capacity_learned && dropped > 0).then_some(dropped);
    let (room, held) = (review.approved.room(), review.refusal.as_ref().map(Outcome::held));
    if access.counted {
        guard.hold(host, TARGET, review.remember);
    }
    let plan = rules.map(|_| Plan::clone(&review.approved));
    let sides = plan.map(|plan| Sides { desired, observed, plan, may_drain, may_lose });
    Prepared::Decided(Box::new(Decided {
        lists,
        sides,
        read,
        counts,
        room,
        schedule,
        held,
        left_out,
    }))
}

/// Sends what was decided, if it may be sent now.
pub(super) async fn finish<H: Host>(
    access: &Access<'_, '_, H>,
    prepared: Prepared<'_>,
    (history, edge): (&mut Remembered<WriteHistory>, &mut Option<Edge<'_, H>>),
) -> Finished {
    let decided = match prepared {
        Prepared::Ended(report) => {
            return Finished { report: *report, sides: None, done: Vec::new() };
        }
        Prepared::Decided(decided) => decided,
    };
    let Decided { lists, sides, read, counts, room, schedule, held, left_out } = *decided;
    let Access { session, settings, clients, may_write, counted, until } = access;
    let host = session.host();
    let now = session.unix_now();
    let token = checksum(settings.token.expose());
    let mut applied = Applied::default();
    if let Some(edge) = edge.as_mut().filter(|_| *counted) {
        let writes = schedule.wait().is_none() && !schedule.operations().is_empty();
        let may_be_kept = !writes && history.is_known(now);
        Box::pin(edge.audit(session, clients, &read, may_be_kept, *until)).await;
    }
    let mut goes = schedule.operations().is_empty();
    let outcome = match schedule.wait() {
        _ if settings.dry_run && counts.drift > 0 => Outcome::Planned,
        _ if schedule.operations().is_empty() => {
            let rest = schedule.rest().filter(|_| held.is_none());
            rest.map_or(Outcome::InSync, left_over)
        }
        _ if !may_write => Outcome::Partial(ANOTHER_RUN.to_owned()),
        Some(Wait::Backoff(left, cause)) => Outcome::Waits(*left, *cause),
        Some(Wait::Interval(left)) | Some(Wait::Company(left)) => Outcome::Batched(*left),
        Some(Wait::Operation(id)) => Outcome::Partial(format!(
            "bulk operation {id} of an earlier run is not finished; no other is begun beside it"
        )),
        None => {
            let account = &clients.account;
            let target = lists::Target { account, lists, pace: &settings.pace, token, room };
            let marks = match edge {
                Some(edge) => {
                    let operations = schedule.operations();
                    Box::pin(edge.before_writes(session, clients, &read, operations, *until)).await
                }
                None => None,
            };
            applied = lists::apply(session, &target, &schedule, history, *until).await;
            if let Some(edge) = edge {
                edge.after_writes(marks, &applied.completed);
            }
            let waits = history.wait(&settings.pace, token, session.unix_now());
            if let (Some(_), Some(error)) = (waits, history.store_error()) {
                let text = format!("the wait after a refused write cannot be kept: {error}");
                host.log(&Line::new(Level::Warn, "store", text));
            }
            goes = applied.stopped.is_none() && !schedule.is_beside_the_ladder();
            match (applied.stopped.take(), schedule.rest(), schedule.company()) {
                (Some(stopped), ..) => stopped.into(),
                // What no setting keeps back is told before what one does.
                (None, Some(rest), _) => left_over(rest),
                (None, None, Some(left)) => Outcome::Batched(left),
                (None, None, None) => Outcome::Applied,
            }
        }
    };
    // What the guard holds is there for the next write too: it neither begins nor ends their wait.
    if *counted && held.is_none() {
        let removes = || schedule.operations().iter().any(|of| of.effect().removed > 0);
        let stays = schedule.has_lone_removals() || !goes && removes();
        let _ = history.change(host, |history| {
            history.note_company(stays, now);
            if schedule.operations().is_empty() {
                history.note_unfinished(false);
            }
        });
    }
    let backoff = history.wait(&settings.pace, token, session.unix_now());
    let done = applied.completed.iter().map(|effect| effect.added + effect.removed);
    let left = counts.drift.saturating_sub(done.sum());
    let outcome = match (held, outcome.is_well(), left_out) {
        (Some(held), true, _) => held,
        (None, true, Some(left_out)) => Outcome::Partial(format!(
            "by what Cloudflare says only {} fit on the lists, and {} of what is desired go without",
            plural(room.items_max, "item"),
            thousands(left_out)
        )),
        (None, true, None) if counts.set_aside.count > 0 => Outcome::Partial(format!(
            "{} not on the lists, because Cloudflare refuses the value: {}; it is tried again after a day",
            plural(counts.set_aside.count, "desired address"),
            counts.set_aside.describe()
        )),
        // Whatever kept it from being sent: success is said only of an edge that is as desired.
        (None, true, None) if left > 0 && !matches!(outcome, Outcome::Batched(_)) => {
            Outcome::Partial(format!(
                "{} could not go in this run; the next goes on",
                plural(left, "change")
            ))
        }
        _ => outcome,
    };
    let done = schedule.into_first(applied.completed.len());
    // A write that was lost may change them at any moment.
    let is_quiet = applied.writes == 0;
    let sides = sides.map(|sides| Sides {
        may_drain: sides.may_drain && is_quiet,
        may_lose: sides.may_lose || history.may_take(),
        ..sides
    });
    let mut report = ListsReport::planned(outcome, counts, applied, backoff);
    report.leaves_out = left_out.is_some();
    report.remembered_secs = edge.as_ref().filter(|_| read.pages.is_none()).map(Edge::age);
    Finished { report, sides, done }
}

/// The outcome of a run that leaves something to the next one.
fn left_over(rest: Rest) -> Outcome {
    let why = match rest {
        Rest::Ladder => {
            "an owner's address went first, and Cloudflare takes writes again; the rest goes with the next run"
        }
        Rest::Rule => {
            "what a rule still lets through on the other list goes after that rule is changed, with the next run"
        }
        Rest::Stale => {
            "an operation of an earlier run completed a moment ago, and the lists may still have been shown as before it; what goes does so with the next run"
        }
        Rest::Later => {
            "what had to wait for another list, or for room, goes with the next run, which reads them anew"
        }
    };
    Outcome::Partial(why.to_owned())
}

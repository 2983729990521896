//! KV's part of a run: decide, say what, apply.

use crate::api::cloudflare::kv::shards::Layout;
use crate::apply::Stopped;
use crate::apply::kv::{self, AppliedKeys};
use crate::decide::kv::{Decision, Remembered as Inputs, TARGET, When, decide};
use crate::failure::Failure;
use crate::log::{Level, Line};
use crate::observed::kv::ObservedKv;
use crate::ports::Host;
use crate::report::kv::{KeyCounts, LayoutReport, announce, beside_key};
use crate::report::{KvReport, Outcome, announce_guard};
use crate::schedule::kv::Schedule;
use crate::settings::Kv;
use crate::state::guard::GuardHistory;
use crate::state::quota::{Quota, Spending};
use crate::state::{Ends, Remembered};

use super::{ANOTHER_RUN, Access, DesiredOr};

/// What is to be done in KV, or how its part of the run has ended already.
pub(super) enum Prepared<'a> {
    /// It has.
    Ended(Box<KvReport>),
    /// This is to be done.
    Decided(Box<Decided<'a>>),
}

pub(super) struct Decided<'a> {
    kv: &'a Kv,
    report: KvReport,
    schedule: Schedule,
    held: Option<Outcome>,
    /// Ranges that wait because their key holds what is not ours.
    blocked: u64,
    /// The layout that is served.
    served: Layout,
    /// What is sent to the other.
    other: Option<Schedule>,
    /// See [`Decision::instead`].
    instead: Option<Schedule>,
    /// The layouts change places with this run.
    is_switching: bool,
}

/// Decides, says what, and remembers what the guard holds.
pub(super) fn prepare<'a, H: Host>(
    access: &Access<'_, '_, H>,
    kv: &'a Kv,
    desired: DesiredOr,
    observed: Result<ObservedKv, Failure>,
    (quota, guard, ends): (&mut Remembered<Quota>, &mut Remembered<GuardHistory>, &Ends),
    began: u64,
    now: u64,
) -> Prepared<'a> {
    let mut report = KvReport {
        outcome: Outcome::InSync,
        desired: desired.as_deref().ok().map(KeyCounts::from),
        origins: desired.as_deref().map(|desired| desired.keys_by_origin()).unwrap_or_default(),
        drift: None,
        waiting: 0,
        held: 0,
        there: 0,
        applied: AppliedKeys::default(),
        quota_used: quota.used(),
        layout: None,
    };
    let (desired, observed) = match (desired, observed) {
        (Ok(desired), Ok(observed)) => (desired, observed),
        (desired, Err(failure)) => {
            if let Ok(desired) = desired {
                access.forget(guard, TARGET, |address| desired.has_key(address));
            }
            let outcome = Outcome::Failed(failure);
            return Prepared::Ended(Box::new(KvReport { outcome, ..report }));
        }
        (Err(why), Ok(_)) => {
            return Prepared::Ended(Box::new(KvReport { outcome: why.into(), ..report }));
        }
    };
    let host = access.session.host();
    if let (Some(error), Some(_)) = (quota.store_error(), kv.daily_writes_max) {
        let text = format!("kv_daily_writes_max cannot be kept from one run to the next: {error}");
        host.log(&Line::new(Level::Warn, "store", text));
    }
    let held = guard.held(host, TARGET);
    let remembered = Inputs { quota, held: held.as_ref(), ends };
    let states = (&*desired, &observed);
    let Decision { review, schedule, course, instead, other, is_complete, youngest: _ } =
        decide(access.settings, kv, states, remembered, When { began, now });
    let all = access.settings.log_all_changes;
    let lines = announce(&review.approved, &schedule, &observed, (course.served, &kv.prefix), all);
    access.say(lines, TARGET, schedule.bulks().is_empty(), now);
    announce_guard(&review, TARGET).iter().for_each(|line| host.log(line));
    report.drift = Some(review.approved.drift() - schedule.riding());
    report.layout = LayoutReport::of(&course, other.as_ref().map(|(_, drift)| *drift));
    report.held = review.approved.held();
    report.there = review.approved.observed();
    report.waiting = schedule.waiting();
    let (held, blocked) =
        (review.refusal.as_ref().map(Outcome::held), review.approved.ranges().blocked().count);
    if access.counted {
        guard.hold(host, TARGET, review.remember);
        let sees_ahead = review.approved.sees_ahead();
        let _ = quota.change(host, |quota| {
            quota.ran(sees_ahead, now);
            quota.shards = quota.shards.bound(kv.namespace.as_str(), &kv.prefix);
            quota.shards.found(is_complete, now);
        });
    }
    let (other, served) = (other.map(|(schedule, _)| schedule), course.served);
    let is_switching = course.marker.is_some_and(|marker| marker.serves != served);
    let decided =
        Decided { kv, report, schedule, instead, held, blocked, served, other, is_switching };
    Prepared::Decided(Box::new(decided))
}

/// Sends what was decided.
pub(super) async fn finish<H: Host>(
    access: &Access<'_, '_, H>,
    prepared: Prepared<'_>,
    quota: &mut Remembered<Quota>,
) -> KvReport {
    let decided = match prepared {
        Prepared::Ended(report) => return *report,
        Prepared::Decided(decided) => decided,
    };
    let Decided {
        kv,
        mut report,
        schedule,
        mut instead,
        held,
        blocked,
        served,
        other,
        is_switching,
    } = *decided;
    let Access { session, settings, clients, may_write, until, .. } = access;
    let other = other.filter(|other| !other.bulks().is_empty());
    if settings.dry_run {
        let is_there = report.drift == Some(0);
        report.outcome = if is_there { Outcome::InSync } else { Outcome::Planned };
        return report;
    }
    let waits = (schedule.is_over_budget(), schedule.describe_waiting());
    if !schedule.bulks().is_empty() || other.is_some() {
        if !may_write {
            report.outcome = Outcome::Partial(ANOTHER_RUN.to_owned());
            return report;
        }
        let target = kv::Target {
            account: &clients.account,
            namespace: &kv.namespace,
            daily_max: kv.daily_writes_max,
        };
        if !schedule.bulks().is_empty() {
            report.outcome = Outcome::Applied;
        }
        // What is served comes first, and what holds it up holds up the other; but the marker comes last.
        let mut order = [(Some(schedule), true), (other, false)];
        if instead.is_some() {
            order.reverse();
        }
        let mut is_held_up = false;
        for (schedule, is_served) in order {
            let schedule = if is_held_up { instead.take() } else { schedule };
            let Some(mut schedule) = schedule else { continue };
            let applied = kv::apply(session, &target, &mut schedule, quota, *until).await;
            is_held_up = applied.stopped.is_some();
            report.applied.writes += applied.writes;
            report.applied.generations.extend(applied.generations);
            if is_served {
                report.applied.written = applied.written;
                report.applied.refreshed = applied.refreshed;
                report.applied.deleted = applied.deleted;
            } else if let Some(layout) = &mut report.layout {
                layout.done(applied.written + applied.refreshed + applied.deleted);
            }
            match applied.stopped {
                Some(Stopped::Waiting(_)) if !is_served && !is_switching => {}
                stopped => report.applied.stopped = report.applied.stopped.take().or(stopped),
            }
        }
        let generations = std::mem::take(&mut report.applied.generations);
        if !generations.is_empty() {
            let _ = quota.change(session.host(), |quota| {
                generations.iter().for_each(|(unit, at)| quota.shards.wrote(*unit, *at));
            });
        }
    }
    let now = session.unix_now();
    report.quota_used = quota.at(now).used();
    if let Some(stopped) = report.applied.stopped.take() {
        report.outcome = Outcome::from(stopped);
    } else if report.waiting > 0 {
        let exhausted = [Spending::Writes, Spending::Deletes];
        let why = if exhausted.into_iter().any(|spending| quota.at(now).is_exhausted(spending, now))
        {
            "Cloudflare's daily KV quota is used up until 00:00 UTC"
        } else if waits.0 {
            "kv_daily_writes_max is used up until 00:00 UTC, but for what is kept for bans that are decided here"
        } else if blocked > 0 {
            &format!("the key {:?} is not ours to write", beside_key(served, &kv.prefix))
        } else {
            "written a moment ago, perhaps by another run"
        };
        report.outcome = Outcome::Partial(format!("{} wait: {why}", waits.1));
    }
    if let (Outcome::Partial(_), Some(left)) = (&report.outcome, report.drift_left()) {
        report.waiting = left.saturating_sub(report.held);
    }
    if let (Some(held), true) = (held, report.outcome.is_well()) {
        report.outcome = held;
    }
    report
}

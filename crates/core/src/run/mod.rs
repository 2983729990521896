//! One run, from settings to metrics: the order in which the phases call each other.

mod clients;
mod inspect;
mod lists;
mod read;
mod usage;

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{OptionFuture, join, join_all};

use crate::api::cloudflare::Account;
use crate::api::cloudflare::kv::{RANGES_KEY, Ranges};
use crate::api::pushgateway::Pushgateway;
use crate::apply::{self, lists::WRITE_ROOM};
use crate::confirm::{Confirmations, Target};
use crate::desired::Desired;
use crate::failure::Failure;
use crate::guard::{Objection, Verdict};
use crate::log::{Level, Line, clip, plural};
use crate::observed::kv::ObservedKeys;
use crate::plan;
use crate::plan::kv::KvPlan;
use crate::ports::Host;
use crate::report::kv::KeyCounts;
use crate::report::metrics::Metrics;
use crate::report::{KvReport, Outcome, Report};
use crate::session::{PUSH_TIMEOUT, Session, collect, within};
use crate::settings::{Kv, Settings, Targets};
use crate::state::{Held, Lease, Quota, Remembered};

use clients::Clients;
use read::Readings;

/// Changes that are logged one by one; more would drown the rest.
const CHANGES_LOGGED_MAX: usize = 20;

/// The whole run: reads the settings through `variable`, syncs, says what happened, pushes metrics.
///
/// `Err` holds what to give to whoever called us; it has been logged already.
///
/// | what happened | result |
/// |---|---|
/// | in sync, applied, or a dry run | `Ok`, success 1 |
/// | LAPI unreadable; an operation not confirmed in time | `Ok`, success 0, one warning |
/// | bad settings; Cloudflare refuses or cannot be reached | `Err`, success 0 |
pub async fn run<H: Host>(
    variable: impl Fn(&str) -> Option<String>,
    host: &H,
) -> Result<(), Failure> {
    let settings = match Settings::parse(variable, host.wall()) {
        Ok(settings) => settings,
        Err(error) => {
            for problem in &error.0 {
                let line = Line::new(Level::Error, "setting", problem.to_string());
                host.log(&line.with("variable", problem.variable));
            }
            let failure = Failure::Settings(error);
            host.log(
                &Line::new(Level::Error, "summary", format!("failed: {failure}"))
                    .with("outcome", "failed")
                    .with("success", 0),
            );
            return Err(failure);
        }
    };
    let clients = Clients::new(&settings);
    let report = match sync(&settings, &clients, host).await {
        Ok(report) => report,
        Err(Held(left)) => {
            let seconds = left.as_secs();
            let text = format!(
                "another run holds the lease, for at most {seconds} s more; nothing to do here"
            );
            host.log(&Line::new(Level::Info, "summary", text).with("outcome", "yielded"));
            return Ok(());
        }
    };
    for line in [report.protected(), report.skipped(), report.places()].into_iter().flatten() {
        host.log(&line);
    }
    report.summaries().iter().for_each(|line| host.log(line));
    let pushes = async {
        if let Some(pushgateway) = &clients.pushgateway {
            let metrics = Metrics::of(&report, host.wall());
            join_all(metrics.iter().map(|metrics| push(pushgateway, metrics, host))).await;
        }
    };
    let usage = async {
        if !settings.dry_run {
            usage::send(&clients.lapi, &report, host).await;
        }
    };
    join(pushes, usage).await;
    match report.into_failure() {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

pub use inspect::{About, InKv, Inspection, KvView, ListsView, Looked, OnLists, Seen, inspect};

/// Reads all sides, plans, applies; everything but settings, summary and metrics.
async fn sync<H: Host>(settings: &Settings, clients: &Clients, host: &H) -> Result<Report, Held> {
    let session = Session::start(host);
    let lease = Lease::take(host, session.draw(), session.unix_now(), settings.run_budget)?;
    let report = sync_leased(&session, settings, clients, &lease).await;
    lease.release(host, session.unix_now());
    Ok(report)
}

async fn sync_leased<H: Host>(
    session: &Session<'_, H>,
    settings: &Settings,
    clients: &Clients,
    lease: &Lease,
) -> Report {
    let host = session.host();
    let until = settings.run_budget.saturating_sub(PUSH_TIMEOUT);
    // What is read later than that could not be acted on.
    let read_until = until.saturating_sub(WRITE_ROOM);

    let history = Remembered::load(host, session.unix_now());
    let mut writes = lists::Writes { history, earlier_has_ended: true };
    if settings.targets.lists.is_some() {
        let history = &mut writes.history;
        // So that a time that was brought back to now stays there. That this fails is said where it matters.
        let _ = history.save(host);
        writes.earlier_has_ended =
            apply::lists::earlier_has_ended(session, &clients.account, history, read_until).await;
    }
    let Readings { desired, lists: observed_lists, keys, watch: () } =
        read::all(session, clients, settings, (), read_until).await;
    let writes = lease.is_mine(host, session.unix_now()).then_some(writes);
    let may_write = writes.is_some();
    let skipped = desired.as_ref().ok().map(|desired| desired.skipped().clone());
    if desired.is_err() && !settings.dry_run {
        Confirmations::interrupt(host);
    }
    let desired = desired.map(Rc::new).map_err(|unavailable| clip(&unavailable.to_string(), 400));
    let Targets { lists, kv } = &settings.targets;
    // At the same time, so that neither target waits for the other: an operation on a list may be
    // watched for half a minute. Each lets go of the desired state when it has its plan.
    let kv = kv.as_ref().zip(keys).map(|(kv, keys)| {
        let both = (desired.clone(), keys);
        sync_kv(session, &clients.account, settings, kv, both, may_write, until)
    });
    let lists = lists.as_ref().zip(observed_lists).map(|(lists, observed)| {
        lists::sync(session, &clients.account, settings, lists, (desired, observed), writes, until)
    });
    let (kv, lists) = join(OptionFuture::from(kv), OptionFuture::from(lists)).await;
    Report { skipped, lists, kv, requests: session.requests(), duration: session.elapsed() }
}

/// Said by a run whose lease another run took while it was reading.
const ANOTHER_RUN: &str = "another run has started meanwhile and does the writing";

async fn sync_kv<H: Host>(
    session: &Session<'_, H>,
    account: &Account,
    settings: &Settings,
    target: &Kv,
    (desired, observed): (Result<Rc<Desired>, String>, Result<ObservedKeys, Failure>),
    may_write: bool,
    until: Duration,
) -> KvReport {
    let host = session.host();
    let now = session.unix_now();
    let mut quota = Remembered::<Quota>::load(host, now);
    let mut report = KvReport {
        outcome: Outcome::InSync,
        desired: desired.as_deref().ok().map(KeyCounts::from),
        origins: desired.as_deref().map(Desired::keys_by_origin).unwrap_or_default(),
        drift: None,
        waiting: 0,
        held: 0,
        applied: apply::kv::AppliedKeys::default(),
        quota_used: quota.used(),
    };
    let (desired, observed) = match (desired, observed) {
        (Ok(desired), Ok(observed)) => (desired, observed),
        (_, Err(failure)) => return KvReport { outcome: Outcome::Failed(failure), ..report },
        (Err(why), Ok(_)) => return KvReport { outcome: Outcome::Skipped(why), ..report },
    };
    if let (Some(error), Some(_)) = (quota.store_error(), target.daily_writes_max) {
        let text = format!("kv_daily_writes_max cannot be kept from one run to the next: {error}");
        host.log(&Line::new(Level::Warn, "store", text));
    }
    let began = now.saturating_sub(session.elapsed().as_secs());
    let rules = kv_rules(settings, target, now, began);
    let guard = &settings.guard;
    let plan = plan::kv::diff(&desired, &observed, rules);
    let objection = guard.objection_to_keys(&desired, &plan);
    let removals = objection.as_ref().map(Objection::removals);
    let plan = plan.within(quota.left(target));
    drop(desired);
    announce_kv(&plan, &observed, host);
    drop(observed);
    let counted = may_write && !settings.dry_run;
    let streak = Confirmations::count(host, Target::Kv, removals, counted);
    let lifted = plan.lifted().count() as u64;
    let verdict = guard.judge_keys(plan, objection, streak);
    announce_verdict(&verdict, "kv", host);
    let Verdict { approved: plan, refusal, .. } = verdict;
    report.held = lifted - plan.lifted().count() as u64;
    report.drift = Some(plan.drift());
    report.waiting = plan.waiting() - report.held;
    if settings.dry_run {
        let outcome = if plan.drift() == 0 { Outcome::InSync } else { Outcome::Planned };
        return KvReport { outcome, ..report };
    }
    if !plan.is_empty() && !may_write {
        return KvReport { outcome: Outcome::Partial(ANOTHER_RUN.to_owned()), ..report };
    }
    if !plan.is_empty() {
        report.applied = apply::kv::apply(session, account, target, &plan, &mut quota, until).await;
        report.outcome = Outcome::Applied;
    }
    report.quota_used = quota.used();
    if let Some(stopped) = report.applied.stopped.take() {
        report.outcome = Outcome::from(stopped);
    } else if report.waiting > 0 {
        let why = if quota.is_exhausted() {
            "Cloudflare's daily KV quota is used up until 00:00 UTC"
        } else if quota.left(target) == Some(0) {
            "kv_daily_writes_max is used up until 00:00 UTC"
        } else if plan.blocked_ranges().count > 0 {
            "the key \"ranges\" is not ours to write"
        } else {
            "written a moment ago, perhaps by another run"
        };
        report.outcome = Outcome::Partial(format!("{} wait: {why}", plan.describe_waiting()));
    }
    if let (Outcome::Partial(_), Some(left)) = (&report.outcome, report.drift_left()) {
        report.waiting = left - report.held;
    }
    report.outcome = report.outcome.held_by(refusal);
    report
}

/// Says what the guard held back, or why it did not.
fn announce_verdict<P>(verdict: &Verdict<P>, target: &'static str, host: &impl Host) {
    if let Some(refusal) = &verdict.refusal {
        let line = Line::new(Level::Warn, "guard", format!("guard: {refusal}"));
        host.log(&line.with("target", target));
    }
    if let Some(yielded) = &verdict.yielded {
        let line = Line::new(Level::Warn, "guard", format!("guard: {yielded}"));
        host.log(&line.with("target", target));
    }
}

/// How the keys of `target` are compared by a run that began at `began`.
fn kv_rules<'s>(
    settings: &'s Settings,
    target: &'s Kv,
    now: u64,
    began: u64,
) -> plan::kv::Rules<'s> {
    let Kv { prefix, tolerance, .. } = target;
    plan::kv::Rules { prefix, tolerance: *tolerance, protected: &settings.protected, now, began }
}

/// Says what is going to change in KV, before it is tried.
fn announce_kv(plan: &KvPlan, observed: &ObservedKeys, host: &impl Host) {
    if observed.foreign().count > 0 {
        let text = format!(
            "the KV namespace has keys with our prefix that are no addresses; they are left alone: {}",
            observed.foreign().describe()
        );
        let line = Line::new(Level::Warn, "left_alone", text).with("target", "kv");
        host.log(&line.with("keys", observed.foreign().count));
    }
    if *observed.ranges() == Ranges::Foreign {
        let blocked = plan.blocked_ranges();
        let mut text = format!(
            "the KV namespace has a key {RANGES_KEY:?} that this program did not write; it is left alone"
        );
        if blocked.count > 0 {
            text.push_str(&format!(
                ", so that {} cannot be sent: {}; delete that key, or leave ranges out with scopes=ip",
                plural(blocked.count, "range"),
                blocked.describe()
            ));
        }
        let line = Line::new(Level::Warn, "left_alone", text).with("target", "kv");
        host.log(&line.with("keys", 1).with("ranges", blocked.count));
    }
    if plan.is_empty() && plan.waiting() == 0 {
        return;
    }
    let line = Line::new(Level::Info, "plan", format!("kv plan: {plan}")).with("target", "kv");
    host.log(&line.with("drift", plan.drift()).with("waiting", plan.waiting()));
    let puts = plan.range_puts().chain(plan.puts()).map(|put| {
        let text = format!(
            "  + {} {} for {} s ({})",
            put.address,
            put.value,
            put.ttl_secs,
            put.why.as_str()
        );
        (text, put.why)
    });
    let deletes = plan.deletes().iter().map(|delete| {
        (format!("  - {} ({})", clip(&delete.key, 80), delete.why.as_str()), delete.why)
    });
    let removals = plan
        .range_removals()
        .map(|removal| (format!("  - {} ({})", removal.range, removal.why.as_str()), removal.why));
    for (text, why) in puts.chain(removals).chain(deletes).take(CHANGES_LOGGED_MAX) {
        host.log(
            &Line::new(Level::Info, "change", text).with("target", "kv").with("why", why.as_str()),
        );
    }
}

/// Pushes the metrics of one target; that this fails is a warning and nothing more.
async fn push<H: Host>(pushgateway: &Pushgateway, metrics: &Metrics, host: &H) {
    let request = pushgateway.push(metrics.job(), metrics.push(), metrics.to_string());
    let answer = within(host, PUSH_TIMEOUT, async {
        let (head, body) = host.send(request).await?;
        Ok((head.status, collect(body, 64 << 10).await.unwrap_or_default()))
    })
    .await
    .and_then(|answer| answer);
    let why = match answer {
        Ok((200..300, _)) => return,
        Ok((status, body)) => {
            format!("HTTP {status}: {}", clip(&String::from_utf8_lossy(&body), 120))
        }
        Err(error) => error.to_string(),
    };
    let text = format!("the metrics could not be pushed to {pushgateway} (pushgateway_url): {why}");
    host.log(&Line::new(Level::Warn, "pushgateway", text).with("job", metrics.job()));
}

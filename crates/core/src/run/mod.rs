//! One run, from settings to metrics: the order in which the phases call each other.

pub mod budget;
mod clients;
mod edge;
mod inspect;
mod kv;
mod last;
mod lists;
mod read;
mod rules;
mod status;
mod usage;

use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::{OptionFuture, join, join_all};

use crate::address::Address;
use crate::api::pushgateway::Pushgateway;
use crate::apply;
use crate::desired::Desired;
use crate::failure::Failure;
use crate::log::{Level, Line, clip};
use crate::ports::Host;
use crate::report::metrics::Metrics;
use crate::report::{Memory, Outcome, Report, only_news};
use crate::review::forget;
use crate::session::{Api, PUSH_TIMEOUT, Session, collect, within};
use crate::settings::Settings;
use crate::state::guard::GuardHistory;
use crate::state::last::LastRun;
use crate::state::{Ends, Lease, Leased, Quota, Remembered, RulesHistory, Said, WriteHistory};

use budget::Reading;
use clients::Clients;
use edge::Edge;
use lists::Finished;
use read::{NotDesired, ReadLists, Readings};

pub use inspect::kv::{
    InKv, InOther, KvAddition, KvRegion, KvRemoval, KvVerdict, KvView, LayoutView,
};
pub use inspect::lists::{ListAddition, ListRemoval, ListView, ListsView, OnLists, Verdict};
pub use inspect::rules::{Delta, InRule, RuleView, ZoneView};
pub use inspect::{About, Guard, Inspection, Seen, Side, Until, WaitView, Wanted, inspect};
pub use status::{
    EdgeStatus, GuardStatus, KvStatus, ListsStatus, Status, ZoneStatus, ZoneWait, status,
};

/// The whole run: reads the settings through `variable`, syncs, says what happened, pushes metrics.
///
/// `Err` holds what to give to whoever called us; it has been logged already.
///
/// | what happened | result |
/// |---|---|
/// | in sync, applied, or a dry run | `Ok`, success 1 |
/// | LAPI unreadable; an operation not confirmed in time | `Ok`, success 0, one warning |
/// | bad settings; Cloudflare refuses or cannot be reached; more decisions than fit | `Err`, success 0 |
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
    run_with(&settings, host).await
}

/// The same with settings that have been read.
pub async fn run_with<H: Host>(settings: &Settings, host: &H) -> Result<(), Failure> {
    let clients = Clients::new(settings);
    let report = match sync(settings, &clients, host).await {
        Ok(report) => report,
        Err(Leased(left)) => {
            let seconds = left.as_secs();
            let text = format!(
                "another run, or one that was interrupted, holds the lease for at most {seconds} s more; nothing to do here"
            );
            host.log(&Line::new(Level::Info, "summary", text).with("outcome", "yielded"));
            return Ok(());
        }
    };
    let now = host.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut said = Remembered::<Said>::load(host, now);
    let mut lines = Vec::new();
    let remember = |said: &mut Said| lines = report.lines(said, now);
    let _ = said.change(host, remember);
    lines.iter().for_each(|line| host.log(line));
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

/// Reads all sides, decides, applies; everything but settings, summary and metrics.
async fn sync<H: Host>(settings: &Settings, clients: &Clients, host: &H) -> Result<Report, Leased> {
    let session = Session::start(host);
    let began = session.unix_now();
    let lease = Lease::take(host, session.draw(), began, settings.run_budget)?;
    let report = sync_leased(&session, settings, clients, &lease).await;
    last::remember(host, &report, began, settings.dry_run);
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
    let read_until = budget::read_until(settings);
    let began = session.unix_now();

    let mut history = Remembered::<WriteHistory>::load(host, began);
    let mut quota = Remembered::<Quota>::load(host, began);
    let mut guard = Remembered::<GuardHistory>::load(host, began);
    let ends = Ends::load(host);
    let memory = match history.store_error() {
        Some(error) => Memory::NoStore(error.to_string()),
        None if lease.is_new() && history.is_new() => Memory::Empty,
        None => Memory::Works,
    };
    let mut failed_as_full = false;
    if settings.targets.lists.is_some() {
        failed_as_full = apply::lists::look_at_earlier(
            session,
            &clients.account,
            &mut history,
            &settings.pace,
            read_until,
        )
        .await;
    }
    let mut edge = Edge::load(host, settings, &history, began);
    let Readings { desired, lists: read_lists, keys, rules: observed_rules, watch: () } =
        read::all(session, clients, settings, (&edge, history.set_aside()), (), read_until).await;
    let is_unread = matches!(read_lists, Some(Err(_))) || matches!(keys, Some(Err(_)));
    let is_cut = is_unread && session.elapsed() >= read_until;
    let is_seldom = edge.as_ref().is_some_and(Edge::is_trusted);
    say_if_too_long(session, settings, is_cut, is_seldom);
    if let (Some(edge), Some(Ok(lists))) = (&mut edge, &read_lists) {
        edge.learn(lists.marks.as_deref());
    }
    let mut rules_history = Remembered::<RulesHistory>::load(host, began);

    let may_write = lease.is_mine(host, session.unix_now());
    let counted = may_write && !settings.dry_run;
    let now = session.unix_now();
    if counted {
        // So that a time which was brought back to now stays there.
        let _ = history.save(host).and(guard.save(host));
    }
    if let (true, Some(_), Some(Ok(ReadLists { content, pages: Some(_), .. }))) =
        (counted, &observed_rules, &read_lists)
    {
        let digest = content.digest();
        let _ = rules_history.change(host, |history| history.read_content(digest, now));
    }
    let skipped = desired.as_ref().ok().map(|desired| desired.skipped().clone());
    let desired = desired.map(Rc::new);
    if let (true, Ok(desired)) = (counted, &desired) {
        let is_at_edge = |address: &_| {
            let on_lists = read_lists.as_ref().is_some_and(|lists| match lists {
                Ok(lists) => lists.content.has(address),
                Err(_) => true,
            });
            let in_kv = keys.as_ref().is_some_and(|keys| match keys {
                Ok(keys) => keys.has(address, now),
                Err(_) => true,
            });
            on_lists || in_kv
        };
        let _ = ends.save_next(host, || desired.known(now), is_at_edge);
    }
    let last = Remembered::<LastRun>::load(host, now);
    // Without a store nobody knows.
    let was_ever_read = last.store_error().is_some() || last.lapi_read_at > 0;
    let desired =
        desired.map_err(|unavailable| NotDesired::of(unavailable, &clients.lapi, was_ever_read));
    let access = Access { session, settings, clients, may_write, counted, until };
    if let (true, Some(lists), Some(Ok(read))) =
        (failed_as_full && counted, &settings.targets.lists, &read_lists)
    {
        // How many were tried is not remembered; fewer than the settings allow.
        let found = (read.content.count(), lists.items_max);
        let account = &clients.account;
        apply::lists::learn_capacity(session, account, lists, &mut history, found, until).await;
    }
    // Both are decided before either is applied: nothing that is asked for meanwhile changes it.
    let lists = settings.targets.lists.as_ref().zip(read_lists).map(|(lists, read)| {
        let remembered = (&*history, &mut guard, &ends);
        let rules = settings.targets.rules.as_ref().zip(observed_rules.as_ref());
        let rules = rules.map(|(rules, observed)| (rules, observed, &*rules_history));
        lists::prepare(&access, lists, desired.clone(), read, remembered, rules, now)
    });
    let lists = OptionFuture::from(lists).await;
    let kv = settings.targets.kv.as_ref().zip(keys).map(|(kv, observed)| {
        let remembered = (&mut quota, &mut guard, &ends);
        kv::prepare(&access, kv, desired.clone(), observed, remembered, began, now)
    });
    let why = desired.err().map(Outcome::from);
    // At the same time, so that neither target waits for the other: an operation on a list may be watched
    // for half a minute.
    let lists = lists.map(|prepared| lists::finish(&access, prepared, (&mut history, &mut edge)));
    let kv = kv.map(|prepared| Box::pin(kv::finish(&access, prepared, &mut quota)));
    let (lists, kv) = join(OptionFuture::from(lists), OptionFuture::from(kv)).await;
    let (lists, sides, done) = match lists {
        Some(Finished { report, sides, done }) => (Some(report), sides, done),
        None => (None, None, Vec::new()),
    };
    // After the lists, for what they then still lack.
    let targets = settings.targets.lists.as_ref().zip(settings.targets.rules.as_ref());
    let rules = targets.zip(observed_rules).map(|(targets, observed)| {
        let unread = || Outcome::Partial(rules::LISTS_UNREAD.to_owned());
        let sides = sides.ok_or_else(|| why.unwrap_or_else(unread));
        rules::finish(&access, targets, observed, sides, (&done, &ends), &mut rules_history)
    });
    let rules = OptionFuture::from(rules).await;
    let mut report = Report {
        skipped,
        lists,
        kv,
        rules,
        memory,
        requests: session.requests(),
        duration: session.elapsed(),
    };
    report.let_rules_stand_in();
    report
}

/// One line if what was read does not fit into a run.
fn say_if_too_long<H: Host>(
    session: &Session<'_, H>,
    settings: &Settings,
    is_cut: bool,
    is_seldom: bool,
) {
    let (pages, took) = session.longest_listing();
    let page = took / u32::try_from(pages.max(1)).unwrap_or(u32::MAX);
    let requests = session.requests();
    let requests = requests.iter().filter(|((api, _), _)| *api == Api::Cloudflare);
    let requests = requests.map(|(_, count)| count).sum();
    if let Some(text) = (Reading { pages, page, requests, is_cut, is_seldom }).problem(settings) {
        session.host().log(&Line::new(Level::Warn, "pages", text).with("pages", pages));
    }
}

/// What both targets need to do their part.
struct Access<'a, 'h, H> {
    session: &'a Session<'h, H>,
    settings: &'a Settings,
    clients: &'a Clients,
    /// Whether the lease is still this run's.
    may_write: bool,
    /// Whether what this run finds is remembered: not by a dry run, nor without the lease.
    counted: bool,
    until: Duration,
}

impl<H: Host> Access<'_, '_, H> {
    /// Says what is going to change; where it `waits`, only what is news.
    fn say(&self, lines: Vec<Line>, target: &'static str, waits: bool, now: u64) {
        let host = self.session.host();
        let mut said = Remembered::<Said>::load(host, now);
        let mut news = Vec::new();
        let _ = said.change(host, |said| news = only_news(lines, said, target, waits, now));
        news.iter().for_each(|line| host.log(line));
    }

    /// What of the removals in `target` is still held, where it is known what is desired and not what is there.
    fn forget(
        &self,
        guard: &mut Remembered<GuardHistory>,
        target: &'static str,
        is_desired: impl Fn(&Address) -> bool,
    ) {
        let host = self.session.host();
        if let Some(held) = guard.held(host, target).filter(|_| self.counted) {
            guard.hold(host, target, forget(held, is_desired));
        }
    }
}

/// Said by a run whose lease another run took while it was reading.
const ANOTHER_RUN: &str = "another run has started meanwhile and does the writing";

/// Desired state, shared by the targets, or why there is none.
type DesiredOr = Result<Rc<Desired>, NotDesired>;

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

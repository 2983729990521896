//! One run, from settings to metrics: the order in which the phases call each other.

use std::time::Duration;

use crate::apply::{Applied, WRITE_ROOM, apply};
use crate::failure::Failure;
use crate::log::{Level, Line, clip};
use crate::metrics::Metrics;
use crate::observed::Observed;
use crate::plan::{self, Change, Plan};
use crate::ports::Host;
use crate::read;
use crate::report::{DesiredCounts, Outcome, PlanCounts, Report};
use crate::session::{Session, collect, within};
use crate::settings::{Origin, Settings};
use crate::wire::pushgateway;

/// What pushing the metrics may take, kept back from the run's budget.
const PUSH_TIMEOUT: Duration = Duration::from_secs(5);
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
    let settings = match Settings::parse(variable) {
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
    let report = sync(&settings, host).await;
    if let Some(line) = report.skipped() {
        host.log(&line);
    }
    host.log(&report.summary());
    if let Some(pushgateway) = &settings.pushgateway {
        push(pushgateway, &report, host).await;
    }
    match report.outcome {
        Outcome::Failed(failure) => Err(failure),
        _ => Ok(()),
    }
}

/// Reads both sides, plans, applies; everything but settings, summary and metrics.
pub async fn sync<H: Host>(settings: &Settings, host: &H) -> Report {
    let session = Session::start(host);
    let until = match settings.pushgateway {
        Some(_) => settings.run_budget.saturating_sub(PUSH_TIMEOUT),
        None => settings.run_budget,
    };
    // What is read later than that could not be acted on.
    let read_until = until.saturating_sub(WRITE_ROOM);

    let (desired, observed) = read::both(&session, settings, read_until).await;
    let counts = desired.as_ref().ok().map(DesiredCounts::from);
    let (plan, applied, outcome) = match (desired, observed) {
        (_, Err(failure)) => (None, Applied::default(), Outcome::Failed(failure)),
        (Err(unavailable), Ok(_)) => {
            (None, Applied::default(), Outcome::Skipped(clip(&unavailable.to_string(), 400)))
        }
        (Ok(desired), Ok(observed)) => {
            let plan = plan::diff(&desired, &observed, host.wall());
            // Both are large, and the plan holds what is still needed of them.
            drop(desired);
            announce(&plan, &observed, host);
            drop(observed);
            let (applied, outcome) = settle(&session, settings, &plan, until).await;
            (Some(PlanCounts::from(&plan)), applied, outcome)
        }
    };
    Report {
        outcome,
        desired: counts,
        plan,
        completed: applied.completed,
        writes: applied.writes,
        requests: session.requests(),
        duration: session.elapsed(),
    }
}

async fn settle<H: Host>(
    session: &Session<'_, H>,
    settings: &Settings,
    plan: &Plan,
    until: Duration,
) -> (Applied, Outcome) {
    if plan.is_empty() {
        return (Applied::default(), Outcome::InSync);
    }
    if settings.dry_run {
        return (Applied::default(), Outcome::Planned);
    }
    let mut applied = apply(session, settings, plan, until).await;
    let outcome = applied.stopped.take().map_or(Outcome::Applied, Outcome::from);
    (applied, outcome)
}

/// Says what is going to change, before it is tried.
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
    let mut line = Line::new(Level::Info, "plan", format!("plan: {plan}"));
    line = line.with("drift", plan.drift()).with("operations", plan.operations().len());
    host.log(&line);
    let changes = plan.lists().iter().flat_map(|l| l.changes.iter().map(move |c| (l.list, c)));
    for (list, change) in changes.take(CHANGES_LOGGED_MAX) {
        let (sign, word) = match change {
            Change::Add(_) => ('+', "add"),
            Change::Remove(_) => ('-', "remove"),
        };
        let address = change.address();
        let line = Line::new(Level::Info, "change", format!("  {sign} {address} ({list})"));
        host.log(&line.with("change", word).with("list", list).with("address", address));
    }
}

/// Pushes the metrics; that this fails is a warning and nothing more.
async fn push<H: Host>(pushgateway: &Origin, report: &Report, host: &H) {
    let (push, metrics) = Metrics::of(report, host.wall());
    let request = pushgateway::push(pushgateway, push, &metrics);
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
    host.log(&Line::new(Level::Warn, "pushgateway", text));
}

//! Carries a plan for the lists out: one bulk operation at a time, each seen to its end before the next.
//!
//! Cloudflare allows one pending bulk operation for the whole
//! account (facts cloudflare 1.6), so the first thing that is not plainly completed ends writing for
//! this run; the next run reads again and goes on.

use std::time::Duration;

use crate::api::cloudflare::lists::{self, OperationId, OperationState};
use crate::api::cloudflare::{ANSWER_BYTES_MAX, Account, CallError, Resource};
use crate::apply::Stopped;
use crate::failure::Failure;
use crate::guard::Approved;
use crate::log::{Level, Line, seconds};
use crate::plan::lists::{Effect, Operation, Plan};
use crate::ports::{Host, Request};
use crate::session::{Api, Session, call};
use crate::settings::{Lists, Pace};
use crate::state::{Remembered, WriteHistory};

/// How long the answer to a write may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an accepted operation is watched.
const POLL_LIMIT: Duration = Duration::from_secs(25);
/// How long one look at an operation may take.
const POLL_TIMEOUT: Duration = Duration::from_secs(10);
/// The first look. The following ones are on the full seconds after acceptance, so that small
/// operations end quickly and yet no operation takes more requests than a look each second would.
const POLL_FIRST: Duration = Duration::from_millis(200);

/// What a write needs of the run's budget, so that none is begun whose end could not be seen.
pub(crate) const WRITE_ROOM: Duration = WRITE_TIMEOUT.saturating_add(POLL_LIMIT);

/// How far applying a plan came.
#[derive(Debug, Default, PartialEq)]
pub struct Applied {
    /// Operations that completed, and what they did.
    pub completed: Vec<Effect>,
    /// Write requests that were sent, whatever became of them.
    pub writes: u64,
    /// Why it did not go to the end.
    pub stopped: Option<Stopped>,
}

/// Applies the plan; nothing is begun that could not be seen to its end when the run is `until` old.
pub(crate) async fn apply<H: Host>(
    session: &Session<'_, H>,
    account: &Account,
    pace: &Pace,
    targets: &Lists,
    plan: &Approved<Plan>,
    history: &mut Remembered<WriteHistory>,
    until: Duration,
) -> Applied {
    let mut applied = Applied::default();
    let operations = plan.operations().len();
    for (at, operation) in plan.operations().iter().enumerate() {
        if session.elapsed() + WRITE_ROOM > until {
            let left = operations - at;
            applied.stopped = Some(Stopped::Waiting(format!(
                "no time left in this run for {left} of {operations} bulk operations; the next run goes on"
            )));
            break;
        }
        applied.writes += 1;
        let done = carry_out(session, account, pace, targets, operation, history, until).await;
        if let Err(stopped) = done {
            applied.stopped = Some(stopped);
            break;
        }
        applied.completed.push(operation.effect());
    }
    applied
}

async fn carry_out<H: Host>(
    session: &Session<'_, H>,
    account: &Account,
    pace: &Pace,
    targets: &Lists,
    operation: &Operation,
    history: &mut Remembered<WriteHistory>,
    until: Duration,
) -> Result<(), Stopped> {
    let list = operation.effect().list;
    let began = session.elapsed();
    let id = match accept(session, account, targets, operation).await {
        Ok(id) => {
            // Before we wait: if this run is killed, the next one must not write beside the operation.
            let now = session.unix_now();
            remember(history, session, |history| {
                history.write_accepted(&id.to_string(), pace, now)
            });
            id
        }
        Err(source) => {
            if source.is_definite() && source.is_throttled() {
                let now = session.unix_now();
                remember(history, session, |history| history.write_refused(now));
            }
            let (resource, operation) = (Resource::List(list), operation.to_string());
            return Err(Stopped::Failed(if source.is_definite() {
                Failure::Refused { resource, operation, source }
            } else {
                Failure::Unconfirmed { resource, operation, source }
            }));
        }
    };
    let watched = watch(session, account, operation, &id, until).await?;
    remember(history, session, WriteHistory::operation_ended);
    watched?;
    let took = session.elapsed() - began;
    let line = format!("{operation}: completed in {}", seconds(took));
    session.host().log(
        &Line::new(Level::Info, "operation", line)
            .with("method", operation.verb())
            .with("list", list)
            .with("items", operation.len())
            .with("operation", &id)
            .with("seconds", format_args!("{:.1}", took.as_secs_f64())),
    );
    Ok(())
}

/// Changes what is remembered, at once. Without a store it is forgotten with the run; that is said where
/// it matters.
fn remember<H: Host>(
    history: &mut Remembered<WriteHistory>,
    session: &Session<'_, H>,
    change: impl FnOnce(&mut WriteHistory),
) {
    let _ = history.change(session.host(), change);
}

/// Sends the write, once. A lost answer is not tried again: the first may have had its effect.
async fn accept<H: Host>(
    session: &Session<'_, H>,
    account: &Account,
    targets: &Lists,
    operation: &Operation,
) -> Result<OperationId, CallError> {
    let request = request(account, targets, operation);
    let answer = session.fetch(Api::Cloudflare, request, WRITE_TIMEOUT, ANSWER_BYTES_MAX).await?;
    lists::decode_accepted(&answer)
}

fn request(account: &Account, targets: &Lists, operation: &Operation) -> Request {
    let list = operation.effect().list;
    let id = targets.get(list).expect("a plan is made from the lists of the same settings");
    match operation {
        Operation::Append { items, .. } => lists::append(account, id, items.as_slice()),
        Operation::Replace { items, .. } => lists::replace(account, id, items.as_slice()),
        Operation::Delete { ids, .. } => lists::delete(account, id, ids.as_slice()),
    }
}

/// Looks at the operation until it has ended. The outer result is `Err` if its end was not seen, the
/// inner one if it did not end well.
async fn watch<H: Host>(
    session: &Session<'_, H>,
    account: &Account,
    operation: &Operation,
    id: &OperationId,
    until: Duration,
) -> Result<Result<(), Stopped>, Stopped> {
    let accepted = session.elapsed();
    let end = until.min(accepted + POLL_LIMIT);
    let mut look = accepted + POLL_FIRST;
    let mut second = 0;
    while look < end {
        session.wait_until(look).await;
        match look_at(session, account, id, end).await {
            Ok(Looked::Completed) => return Ok(Ok(())),
            Ok(Looked::Failed(said)) => {
                let operation = operation.to_string();
                return Ok(Err(Stopped::Failed(Failure::OperationFailed { operation, said })));
            }
            Ok(Looked::Unfinished) => {}
            Ok(Looked::Unknown) => {
                return Ok(Err(Stopped::Waiting(format!(
                    "could not confirm {operation}: Cloudflare no longer knows its operation {id}; the next run reads the list again"
                ))));
            }
            // Not an answer that says no, but none in the time that we have.
            Err(_) if session.elapsed() >= end => break,
            Err(source) => {
                let resource = Resource::List(operation.effect().list);
                let operation = operation.to_string();
                return Err(Stopped::Failed(Failure::Unconfirmed { resource, operation, source }));
            }
        }
        while look <= session.elapsed() {
            second += 1;
            look = accepted + Duration::from_secs(second);
        }
    }
    Err(Stopped::Waiting(format!(
        "could not confirm {operation}: its operation {id} was not completed within {}; the next run reads the list again",
        seconds(end.saturating_sub(accepted))
    )))
}

/// What a look at an operation shows.
enum Looked {
    Unfinished,
    Completed,
    Failed(String),
    /// How long a finished operation can be asked for is not documented (facts cloudflare 1.6), so
    /// this says nothing about how it ended.
    Unknown,
}

async fn look_at<H: Host>(
    session: &Session<'_, H>,
    account: &Account,
    id: &OperationId,
    until: Duration,
) -> Result<Looked, CallError> {
    let request = lists::operation(account, id);
    match call(session, request, lists::decode_operation, POLL_TIMEOUT, until).await {
        Ok(OperationState::Unfinished) => Ok(Looked::Unfinished),
        Ok(OperationState::Completed) => Ok(Looked::Completed),
        Ok(OperationState::Failed(said)) => Ok(Looked::Failed(said)),
        Err(error) if error.status() == Some(404) => Ok(Looked::Unknown),
        Err(error) => Err(error),
    }
}

/// Whether the operation that an earlier run left is over, so that the lists may be written. Asked
/// before the lists are read, or their content could be older than the answer.
///
/// One that cannot be asked for counts as unfinished: two in flight is what must never be.
pub(crate) async fn earlier_has_ended<H: Host>(
    session: &Session<'_, H>,
    account: &Account,
    history: &mut Remembered<WriteHistory>,
    until: Duration,
) -> bool {
    let Some(id) = history.operation().map(OperationId::stored) else { return true };
    match look_at(session, account, &id, until).await {
        Ok(Looked::Unfinished) | Err(_) => false,
        Ok(Looked::Completed | Looked::Failed(_) | Looked::Unknown) => {
            remember(history, session, WriteHistory::operation_ended);
            true
        }
    }
}

//! Carries a schedule for the lists out: one bulk operation at a time, each seen to its end before the
//! next, and learns from the answers.
//!
//! Cloudflare allows one pending bulk operation for the whole account (facts cloudflare 1.6), so the first
//! thing that is not plainly completed ends writing for this run; the next run reads again and goes on.

use std::time::Duration;

use crate::api::cloudflare::lists::{self as api, OperationId, OperationState};
use crate::api::cloudflare::{ANSWER_BYTES_MAX, Account, CallError, Resource};
use crate::apply::Stopped;
use crate::failure::Failure;
use crate::log::{Level, Line, clip, decimal, plural, seconds, thousands};
use crate::plan::lists::Room;
use crate::ports::{Host, Request};
use crate::schedule::lists::{Effect, Operation, Schedule};
use crate::session::{Api, Session, call};
use crate::settings::{Lists, Pace};
use crate::state::Remembered;
use crate::state::writes::{Sight, WriteHistory};

/// How long the answer to a write may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an accepted operation is watched.
const POLL_LIMIT: Duration = Duration::from_secs(25);
/// How long one look at an operation may take.
const POLL_TIMEOUT: Duration = Duration::from_secs(10);
/// The first look. The following ones are on the full seconds after acceptance, so that small operations
/// end quickly and yet no operation takes more requests than a look each second would.
const POLL_FIRST: Duration = Duration::from_millis(200);

/// What a write needs of the run's budget, so that none is begun whose end could not be seen.
pub(crate) const WRITE_ROOM: Duration = WRITE_TIMEOUT.saturating_add(POLL_LIMIT);

/// How far a schedule was carried out.
#[derive(Debug, Default, PartialEq)]
pub struct Applied {
    /// Operations that completed, and what they did.
    pub completed: Vec<Effect>,
    /// Write requests that were sent, whatever became of them.
    pub writes: u64,
    /// Why it did not go to the end.
    pub stopped: Option<Stopped>,
}

/// What the requests to the lists are made from.
pub(crate) struct Target<'a> {
    pub(crate) account: &'a Account,
    pub(crate) lists: &'a Lists,
    pub(crate) pace: &'a Pace,
    /// Of the token.
    pub(crate) token: u32,
    pub(crate) room: Room,
}

/// Sends the operations; nothing is begun that could not be seen to its end when the run is `until` old.
pub(crate) async fn apply<H: Host>(
    session: &Session<'_, H>,
    target: &Target<'_>,
    schedule: &Schedule,
    history: &mut Remembered<WriteHistory>,
    until: Duration,
) -> Applied {
    let mut applied = Applied::default();
    let items = target.room.items;
    let mut sending = Sending { session, target, schedule, history, until, items, added: 0 };
    let operations = schedule.operations();
    for (at, operation) in operations.iter().enumerate() {
        if session.elapsed() + WRITE_ROOM > until {
            let left = operations.len() - at;
            applied.stopped = Some(Stopped::Waiting(format!(
                "no time left in this run for {left} of {}; the next run goes on",
                plural(operations.len() as u64, "bulk operation")
            )));
            break;
        }
        applied.writes += 1;
        if let Err(stopped) = sending.carry_out(operation).await {
            applied.stopped = Some(stopped);
            break;
        }
        applied.completed.push(operation.effect());
    }
    // Only what it wrote begins the interval anew.
    let is_cut = matches!(applied.stopped, Some(Stopped::Waiting(_)));
    if is_cut && (1..operations.len() as u64).contains(&applied.writes) {
        sending.learn(|history| history.note_unfinished(true));
    }
    applied
}

struct Sending<'a, 'h, H> {
    session: &'a Session<'h, H>,
    target: &'a Target<'a>,
    schedule: &'a Schedule,
    history: &'a mut Remembered<WriteHistory>,
    until: Duration,
    /// Items that are there now.
    items: u64,
    /// Of these, added by this run.
    added: u64,
}

impl<H: Host> Sending<'_, '_, H> {
    async fn carry_out(&mut self, operation: &Operation) -> Result<(), Stopped> {
        let list = operation.effect().list;
        let began = self.session.elapsed();
        let id = match self.accept(operation).await {
            Ok(id) => id,
            Err(source) => {
                self.learn_from_refusal(operation, &source);
                let (resource, operation) = (Resource::List(list), operation.to_string());
                return Err(Stopped::Failed(if source.is_definite() {
                    Failure::Refused { resource, operation, source }
                } else {
                    Failure::Unconfirmed { resource, operation, source }
                }));
            }
        };
        // Before we wait: if this run is killed, the next one must not write beside the operation.
        let (pace, now) = (self.target.pace, self.session.unix_now());
        let takes = operation.effect().removed > 0;
        self.learn(|history| {
            history.accepted(&id.to_string(), pace, now);
            history.takes(takes);
        });
        match self.watch(operation, &id).await? {
            Ok(()) => {
                let (Effect { added, removed, .. }, now) =
                    (operation.effect(), self.session.unix_now());
                self.items = (self.items + added).saturating_sub(removed);
                self.added += added;
                let left = self.schedule.suspects_left(self.added);
                self.learn(|history| {
                    history.completed(now);
                    history.narrow(left);
                });
            }
            Err(said) => {
                let now = self.session.unix_now();
                self.learn(|history| history.failed(pace, now));
                if is_full(&said) {
                    let Effect { added, removed, .. } = operation.effect();
                    let tried = (self.items + added).saturating_sub(removed);
                    let Self { session, target, history, items, until, .. } = self;
                    let Target { account, lists, .. } = target;
                    learn_capacity(session, account, lists, history, (*items, tried), *until).await;
                }
                let operation = operation.to_string();
                return Err(Stopped::Failed(Failure::OperationFailed { operation, said }));
            }
        }
        let took = self.session.elapsed() - began;
        let line = format!("{operation}: completed in {}", seconds(took));
        self.session.host().log(
            &Line::new(Level::Info, "operation", line)
                .with("method", operation.verb())
                .with("list", list)
                .with("items", operation.len())
                .with("operation", &id)
                .with("seconds", decimal(took, 1)),
        );
        Ok(())
    }

    /// Stores what an answer tells. Without a store it is forgotten with the run; that is said at its end.
    fn learn(&mut self, change: impl FnOnce(&mut WriteHistory)) {
        let _ = self.history.change(self.session.host(), change);
    }

    /// Sends the write, once. A lost answer is not tried again: the first may have had its effect.
    async fn accept(&self, operation: &Operation) -> Result<OperationId, CallError> {
        let request = self.request(operation);
        let answer =
            self.session.fetch(Api::Cloudflare, request, WRITE_TIMEOUT, ANSWER_BYTES_MAX).await?;
        api::decode_accepted(&answer)
    }

    fn request(&self, operation: &Operation) -> Request {
        let account = self.target.account;
        let list = operation.effect().list;
        let id =
            self.target.lists.get(list).expect("a plan is made from the lists of the settings");
        match operation {
            Operation::Append { items, .. } => api::append(account, id, items.as_slice()),
            Operation::Replace { items, .. } => api::replace(account, id, items.as_slice()),
            Operation::Delete { ids, .. } => api::delete(account, id, ids.as_slice()),
        }
    }

    /// After each kind of refusal, one answer: the table is `state::writes`' own.
    fn learn_from_refusal(&mut self, operation: &Operation, error: &CallError) {
        let (token, now) = (self.target.token, self.session.unix_now());
        // The first write that went well has ended what the others waited for: a refusal after it counts as any other.
        let pace = self.target.pace;
        let beside =
            self.schedule.is_beside_the_ladder() && self.history.wait(pace, token, now).is_some();
        if !error.is_definite() {
            return self.learn(|history| {
                if beside {
                    history.owner_refused(now)
                } else {
                    history.unanswered(token, now)
                }
                history.takes(operation.effect().removed > 0);
            });
        }
        if error.is_throttled() {
            return self.learn(|history| history.throttled(beside, pace, now));
        }
        if beside {
            self.learn(|history| history.owner_refused(now));
        }
        let is_value = error.is_value_refused() && !matches!(operation, Operation::Delete { .. });
        if !is_value {
            let status = error.status().unwrap_or(0);
            return self.learn(|history| history.refused_otherwise(status, token, now));
        }
        let items = operation.addresses();
        let named = error.value_position().and_then(|at| items.get(at)).map(|item| item.ip);
        let named = named.or_else(|| {
            let quoted = items.iter().find(|item| error.names_value(&item.ip.to_string()));
            quoted.map(|item| item.ip)
        });
        let only = self.schedule.only_addition(operation);
        let suspects = self.schedule.suspects_in(operation, self.added);
        let is_rewritten = matches!(operation, Operation::Replace { .. });
        let is_new = |address| operation.adds(&address);
        match named {
            Some(address) if is_new(address) => {
                self.learn(|history| history.value_refused(address, token, now));
            }
            Some(_) => self.learn(|history| history.kept_value_refused(token, now)),
            None => self.learn(|history| {
                history.some_value_refused((only, suspects), is_rewritten, token, now);
            }),
        }
    }

    /// Looks at the operation until it has ended. The outer result is `Err` if its end was not seen, the
    /// inner one holds Cloudflare's words if it did not end well.
    async fn watch(
        &self,
        operation: &Operation,
        id: &OperationId,
    ) -> Result<Result<(), String>, Stopped> {
        let session = self.session;
        let accepted = session.elapsed();
        let end = self.until.min(accepted + POLL_LIMIT);
        let mut look = accepted + POLL_FIRST;
        let mut second = 0;
        while look < end {
            session.wait_until(look).await;
            match look_at(session, self.target.account, id, end).await {
                Ok(OperationState::Completed) => return Ok(Ok(())),
                Ok(OperationState::Failed(said)) => return Ok(Err(said)),
                Ok(OperationState::Unfinished) => {}
                // How long a finished operation can be asked for is not documented (facts cloudflare 1.6),
                // so this says nothing about how it ended.
                Err(error) if error.status() == Some(404) => {
                    return Err(Stopped::Waiting(format!(
                        "could not confirm {operation}: Cloudflare does not know its operation {id}; no other is begun for an hour, the next run reads the list again"
                    )));
                }
                // Not an answer that says no, but none in the time that we have.
                Err(_) if session.elapsed() >= end => break,
                Err(source) => {
                    let resource = Resource::List(operation.effect().list);
                    let operation = operation.to_string();
                    return Err(Stopped::Failed(Failure::Unconfirmed {
                        resource,
                        operation,
                        source,
                    }));
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
}

/// Cloudflare's words for a full list (facts cloudflare 1.7).
fn is_full(said: &str) -> bool {
    said.to_ascii_lowercase().contains("maximum number of items")
}

/// What an account below Enterprise may have over all its lists (facts cloudflare 1.7).
const ACCOUNT_ITEMS: u64 = 10_000;

/// Learns how many items fit from what the other lists of the account hold, or from what is there. `items`
/// are there now, and `tried` were too many.
pub(crate) async fn learn_capacity<H: Host>(
    session: &Session<'_, H>,
    account: &Account,
    lists: &Lists,
    history: &mut Remembered<WriteHistory>,
    (items, tried): (u64, u64),
    until: Duration,
) {
    let request = account.lists();
    let all = call(session, request, api::decode_lists, POLL_TIMEOUT, until).await;
    let by_settings = lists.items_max;
    let fits = all.ok().map(|all| {
        let ours = |id: &str| lists.iter().any(|(_, ours)| ours.as_str() == id);
        let others: u64 = all.iter().filter(|l| !ours(&l.id)).map(|l| l.num_items).sum();
        by_settings.max(ACCOUNT_ITEMS).saturating_sub(others)
    });
    // What is there fits. If the others leave room for what has just failed, the account has fewer places
    // than is known here, and only what is there is certain.
    let learned = fits.filter(|fits| *fits < tried).unwrap_or(items).max(items);
    let (host, now) = (session.host(), session.unix_now());
    let _ = history.change(host, |history| history.learn_capacity(learned, now));
    let text = format!(
        "the lists are full: {} fit, by what Cloudflare says, and not {} (list_items_max); this is believed for a day",
        thousands(learned),
        thousands(by_settings)
    );
    host.log(&Line::new(Level::Warn, "capacity", text).with("items", learned));
}

async fn look_at<H: Host>(
    session: &Session<'_, H>,
    account: &Account,
    id: &OperationId,
    until: Duration,
) -> Result<OperationState, CallError> {
    let request = api::operation(account, id);
    call(session, request, api::decode_operation, POLL_TIMEOUT, until).await
}

/// Asks for the operation that an earlier run left, and learns from the answer. Before the lists are read,
/// or their content could be older than the answer.
///
/// One that cannot be asked for counts as unfinished for an hour, one that answers "pending" for a day: two
/// in flight is what must never be, and writing must not wait for ever. Whether it failed because the lists
/// are full.
pub(crate) async fn look_at_earlier<H: Host>(
    session: &Session<'_, H>,
    account: &Account,
    history: &mut Remembered<WriteHistory>,
    pace: &Pace,
    until: Duration,
) -> bool {
    let Some(id) = history.operation().map(OperationId::stored) else { return false };
    let host = session.host();
    let state = look_at(session, account, &id, until).await;
    let now = session.unix_now();
    let sight = match &state {
        Ok(OperationState::Completed) => {
            let _ = history.change(host, |history| history.completed_since(now));
            return false;
        }
        Ok(OperationState::Failed(said)) => {
            let shown = clip(said, 200);
            let text =
                format!("bulk operation {id} of an earlier run failed: Cloudflare says {shown:?}");
            host.log(&Line::new(Level::Warn, "operation", text).with("operation", &id));
            let is_full = is_full(said.as_str());
            let _ = history.change(host, |history| history.failed(pace, now));
            return is_full;
        }
        Ok(OperationState::Unfinished) => Sight::Pending,
        Err(_) => Sight::Lost,
    };
    let mut given_up = false;
    let _ = history.change(host, |history| given_up = history.out_of_sight(sight, now));
    if given_up {
        let why = match state {
            Err(error) => format!("cannot be asked for since an hour ({error})"),
            Ok(_) => "has been pending for a day".to_owned(),
        };
        let text =
            format!("bulk operation {id} {why}; it is given up, and the lists are read again");
        host.log(&Line::new(Level::Warn, "operation", text).with("operation", &id));
    }
    false
}

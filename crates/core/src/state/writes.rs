//! What is remembered of the writes to the lists: when they may be written again, which bulk operation has
//! not been seen to end, and what Cloudflare refused as a value.
//!
//! One state machine: each answer to a write is one method here, and what follows is read off with
//! [`wait`](WriteHistory::wait).
//!
//! | what happened | what follows |
//! |---|---|
//! | throttled (429, 10040) | the ladder of `write_backoff_seconds` |
//! | accepted, and the operation failed | the ladder climbs: it is no success |
//! | refused otherwise | the ladder's first step, doubled up to its last |
//! | 401, 403 | the ladder's first step, until the token is another |
//! | 5xx, or no answer | two minutes, doubled up to the ladder's first step |
//! | refused as a value | no wait: the value is set aside, or searched for (`search`) |

mod search;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::settings::Pace;
use crate::small::SmallMap;

use super::Record;

pub use search::{Cut, Suspects};

const DAY_SECS: u64 = 24 * 3_600;
/// The first wait after a write whose answer was lost, or that met an error of a server.
const UNANSWERED_SECS: u64 = 120;
/// An account that refused a write within this time has scarce writes.
const SCARCE_SECS: u64 = 7 * DAY_SECS;
/// How often an owner's address may be tried while other writes wait.
const OWNER_SECS: u64 = 1_800;
/// How long removals wait for company on an account whose writes are scarce.
const COMPANY_SECS: u64 = DAY_SECS;
/// How long a value is set aside, and how long a learned capacity or a refused rewrite is believed.
const BELIEVED_SECS: u64 = DAY_SECS;
/// After so long an operation that cannot be asked for is given up …
const UNKNOWN_SECS: u64 = 3_600;
/// … and one that still answers "pending".
const PENDING_SECS: u64 = DAY_SECS;
/// For so long after an operation a list may be shown as it was before.
const SHOWN_LATE_SECS: u64 = 60;
/// How long it may take until a list's new content is in force everywhere.
const SETTLED_SECS: u64 = 120;
/// Values that are set aside at a time; a refusal of more than that is no matter of values, …
const SET_ASIDE_MAX: usize = 100;
/// … nor are so many refusals in a row: three values among 10,000 are found by 45 at most, if each time the more
/// urgent half is refused.
const VALUES_REFUSED_MAX: u32 = 50;
/// How long after the end of a wait the next attempt is expected. What passes after that, nobody wanted to
/// write.
const ATTEMPT_SECS: u64 = 900;

/// See the module. Times are Unix seconds of our clock; 0 = never.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WriteHistory {
    /// Throttled writes and failed operations since the last write that went well: the ladder's step.
    refused: u32,
    /// When the last of them was.
    refused_at: u64,
    /// When the first of them was.
    refused_since: u64,
    /// When a write was last accepted.
    accepted_at: u64,
    /// The run that wrote last had no time for all that it was to write.
    is_unfinished: bool,
    /// Of an account that takes a write only long after it was first refused one: how long it took the
    /// last time, in seconds. 0 = not such an account.
    spacing: u64,
    /// The accepted operation whose end has not been seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    /// Whether the last write that was accepted, or left without an answer, takes something off a list.
    takes: bool,
    /// When an operation was last seen to complete.
    completed_at: u64,
    /// When one that takes something off a list was.
    took_at: u64,
    /// When a write was last throttled.
    throttled_at: u64,
    /// What else the last write met.
    #[serde(skip_serializing_if = "Option::is_none")]
    setback: Option<Setback>,
    /// When an owner's address was last tried while other writes waited.
    owner_tried_at: u64,
    /// Since when removals that are not urgent stay, for want of a write that they could go with.
    alone_since: u64,
    /// Fewer items fit than the settings say.
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<Capacity>,
    /// A value that Cloudflare refuses, and does not name, is among so many of the most urgent additions.
    /// 0 = none is searched for.
    suspects: u64,
    /// The last of them in the order. What comes up before it moves it back, and is no suspect.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_suspect: Option<Address>,
    /// Writes in a row that were refused for a value, since one was accepted.
    values_refused: u32,
    /// Addresses that Cloudflare refused as values, and until when they are not sent.
    #[serde(skip_serializing_if = "SmallMap::is_empty")]
    set_aside: SmallMap<Address, u64>,
    /// No list is rewritten whole until then: an item that is there already was refused.
    no_rewrite_until: u64,
    /// This run has seen an earlier run's operation complete. Not kept: the next run reads later.
    #[serde(skip)]
    just_completed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Setback {
    kind: Kind,
    /// In a row.
    times: u32,
    at: u64,
    /// A checksum of the token, so that another one is tried at once. Too short to tell the token.
    token: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Refused,
    Denied,
    Unanswered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Capacity {
    items: u64,
    until: u64,
}

impl Record for WriteHistory {
    const KEY: &'static str = "lists";
    const VERSION: u32 = 1;

    fn settle(&mut self, now: u64) {
        let times = [
            &mut self.refused_at,
            &mut self.refused_since,
            &mut self.accepted_at,
            &mut self.completed_at,
            &mut self.took_at,
            &mut self.throttled_at,
            &mut self.owner_tried_at,
            &mut self.alone_since,
        ];
        times.into_iter().for_each(|time| *time = (*time).min(now));
        if let Some(setback) = &mut self.setback {
            setback.at = setback.at.min(now);
        }
        let latest = now.saturating_add(BELIEVED_SECS);
        self.capacity = self.capacity.take().filter(|capacity| capacity.until > now);
        if let Some(capacity) = &mut self.capacity {
            capacity.until = capacity.until.min(latest);
        }
        self.set_aside.retain(|_, until| *until > now);
        self.set_aside.values_mut().for_each(|until| *until = (*until).min(latest));
        self.no_rewrite_until = self.no_rewrite_until.min(latest);
    }
}

/// Why no write is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Cloudflare throttled the last one.
    Throttled,
    /// The last one was accepted, and its operation failed.
    Failed,
    /// Cloudflare refused the last one for another reason.
    Refused,
    /// The token may not write.
    Denied,
    /// The last one was not answered, or by an error of a server.
    Unanswered,
}

/// What became of an operation that is not seen to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It answers, and is not finished.
    Pending,
    /// It cannot be asked for.
    Lost,
}

impl WriteHistory {
    /// How long no write may be tried, and why; `None` = it may. `token` is [`checksum`] of the token.
    pub fn wait(&self, pace: &Pace, token: u32, now: u64) -> Option<(Duration, Cause)> {
        let throttled = self.ladder(pace, now).map(|left| {
            let failed = self.throttled_at < self.refused_at;
            (left, if failed { Cause::Failed } else { Cause::Throttled })
        });
        let setback = self.setback.as_ref().and_then(|setback| setback.left(pace, token, now));
        throttled.into_iter().chain(setback).max_by_key(|(left, _)| *left)
    }

    /// The ladder, from its first step. But an account that the last time took a write only after the
    /// whole ladder is expected to do so again: some do at most one in 72 hours (facts cloudflare 1.8),
    /// and to climb from the bottom would cost five attempts each time. There the next attempt is half
    /// way to when it is expected to open, not sooner than the last step and not later than twice that.
    fn ladder(&self, pace: &Pace, now: u64) -> Option<Duration> {
        left(self.ladder_wait(pace)?, self.refused_at, now)
    }

    fn ladder_wait(&self, pace: &Pace) -> Option<Duration> {
        let step = usize::try_from(self.refused).unwrap_or(usize::MAX).checked_sub(1)?;
        let last = *pace.backoff.last()?;
        let opens_in =
            self.accepted_at.saturating_add(self.spacing).saturating_sub(self.refused_at);
        Some(match (self.spacing, Duration::from_secs(opens_in)) {
            (0, _) => *pace.backoff.get(step).unwrap_or(&last),
            (_, Duration::ZERO) => last,
            (_, opens_in) => (opens_in / 2).clamp(last, 2 * last).min(opens_in),
        })
    }

    /// How long a write that is not urgent has to wait; `None` = it need not. What a run had no time for has waited
    /// with what it wrote.
    pub fn interval_left(&self, pace: &Pace, now: u64) -> Option<Duration> {
        left(pace.interval, self.accepted_at, now).filter(|_| !self.is_unfinished)
    }

    /// Whether the account refused a write within the last week, so that each accepted one must carry as
    /// much as it can.
    pub fn is_scarce(&self, now: u64) -> bool {
        self.throttled_at > 0 && now.saturating_sub(self.throttled_at) < SCARCE_SECS
    }

    /// How long removals that are not urgent wait for company; `None` = not any more. Only where writes
    /// are scarce.
    pub fn company_left(&self, now: u64) -> Option<Duration> {
        let since = if self.alone_since == 0 { now } else { self.alone_since };
        self.is_scarce(now).then(|| left(Duration::from_secs(COMPANY_SECS), since, now)).flatten()
    }

    /// Whether an owner's address may be tried although other writes wait.
    pub fn owner_may_be_tried(&self, now: u64) -> bool {
        left(Duration::from_secs(OWNER_SECS), self.owner_tried_at.max(self.refused_at), now)
            .is_none()
    }

    /// Throttled writes and failed operations since the last write that went well.
    pub fn refused(&self) -> u32 {
        self.refused
    }

    /// The operation whose end has not been seen.
    pub fn operation(&self) -> Option<&str> {
        self.operation.as_deref()
    }

    /// Whether what the lists hold is surely in force at the edge: nothing of ours is under way, and what
    /// was last seen to complete has had two minutes to get there (facts cloudflare-rules 4.3).
    pub fn is_settled(&self, now: u64) -> bool {
        let since = self.completed_at.max(self.accepted_at);
        self.operation.is_none() && now.saturating_sub(since) >= SETTLED_SECS
    }

    /// Whether everything that was sent is known to have come to its end: no operation is open, and no write was
    /// left without an answer within the last hour, after which it is as good as certain that it came to nothing.
    pub fn is_known(&self, now: u64) -> bool {
        let unanswered = self.setback.as_ref().filter(|setback| setback.kind == Kind::Unanswered);
        self.operation.is_none()
            && unanswered.is_none_or(|setback| now.saturating_sub(setback.at) >= UNKNOWN_SECS)
    }

    /// Whether what was read may still be the lists as they were before the last operation: it was only now seen to
    /// complete, and straight after that Cloudflare may show what was there before (facts cloudflare 1.5).
    pub fn may_read_stale(&self) -> bool {
        self.just_completed
    }

    /// Whether what was read may still show what an operation has taken: it was seen to complete within the last
    /// minute, by whichever run (facts cloudflare 1.5). Asked before this run writes.
    pub fn may_show_gone(&self, now: u64) -> bool {
        now.saturating_sub(self.took_at) < SHOWN_LATE_SECS
    }

    /// Whether the lists may lose something of what they were read with: a write that takes something off was not
    /// seen to end, or only now.
    pub fn may_take(&self) -> bool {
        let is_lost = || self.setback.as_ref().is_some_and(|of| of.kind == Kind::Unanswered);
        self.takes && (self.operation.is_some() || self.just_completed || is_lost())
    }

    /// Whether the lists may lack something of what they were just read with. Asked before this run writes.
    pub fn may_have_lost(&self, now: u64) -> bool {
        self.may_take() || self.may_show_gone(now)
    }

    /// How many items fit, where that is less than the settings say; never less than are `there`, for those do.
    pub fn items_max(&self, by_settings: u64, there: u64, now: u64) -> u64 {
        let learned = self.capacity.filter(|capacity| capacity.until > now);
        learned.map_or(by_settings, |capacity| capacity.items.max(there).min(by_settings))
    }

    /// Addresses that Cloudflare refused as values, and until when they are not sent.
    pub fn set_aside(&self) -> &SmallMap<Address, u64> {
        &self.set_aside
    }

    /// Whether a list may be rewritten whole. Also while a value is searched for: on full lists nothing else may help.
    pub fn may_rewrite(&self, now: u64) -> bool {
        self.no_rewrite_until <= now
    }

    /// 429 or 10040. One that was tried although others wait (an owner's) leaves the ladder as it is. How many items
    /// fit is not asked anew by it: an account that takes a write in 72 hours would find out with each of them.
    pub(crate) fn throttled(&mut self, beside_the_ladder: bool, pace: &Pace, now: u64) {
        self.throttled_at = now;
        if let Some(capacity) = &mut self.capacity {
            capacity.until = now.saturating_add(BELIEVED_SECS);
        }
        if beside_the_ladder {
            self.owner_tried_at = now;
        } else {
            self.climb(pace, now);
        }
    }

    /// An owner's address was tried although other writes waited, and nothing came of it: what they wait
    /// for stays as it is.
    pub(crate) fn owner_refused(&mut self, now: u64) {
        self.owner_tried_at = now;
    }

    fn climb(&mut self, pace: &Pace, now: u64) {
        self.skip_idle(pace, now);
        if self.refused == 0 {
            self.refused_since = now;
        }
        self.refused = self.refused.saturating_add(1);
        self.refused_at = now;
        self.setback = None;
    }

    /// Moves the first refusal on by the time in which writing was allowed and nobody wanted to: it says
    /// nothing about the account.
    fn skip_idle(&mut self, pace: &Pace, now: u64) {
        let wait = self.ladder_wait(pace).unwrap_or_default().as_secs();
        let expected = self.refused_at.saturating_add(wait).saturating_add(ATTEMPT_SECS);
        if self.refused > 0 {
            let idle = now.saturating_sub(expected);
            self.refused_since = self.refused_since.saturating_add(idle).min(now);
        }
    }

    /// Refused with a status that says neither "later" nor "this value".
    pub(crate) fn refused_otherwise(&mut self, status: u16, token: u32, now: u64) {
        let denied = matches!(status, 401 | 403);
        self.set_back(if denied { Kind::Denied } else { Kind::Refused }, token, now);
    }

    /// An error of a server, or no answer: it may have happened.
    pub(crate) fn unanswered(&mut self, token: u32, now: u64) {
        self.set_back(Kind::Unanswered, token, now);
    }

    fn set_back(&mut self, kind: Kind, token: u32, now: u64) {
        let before =
            self.setback.take().filter(|before| before.kind == kind && before.token == token);
        let times = before.map_or(1, |before| before.times.saturating_add(1));
        self.setback = Some(Setback { kind, times, at: now, token });
        self.owner_tried_at = now;
    }

    /// Cloudflare refuses `address` as a value: it is not sent for a day, and the rest goes at once.
    pub(crate) fn value_refused(&mut self, address: Address, token: u32, now: u64) {
        self.narrow(Suspects::default());
        if self.set_aside.len() < SET_ASIDE_MAX {
            self.set_aside.insert(address, now.saturating_add(BELIEVED_SECS));
            self.count_refused_value(token, now);
        } else {
            self.set_back(Kind::Refused, token, now);
        }
    }

    /// So many in a row are no matter of values any more.
    fn count_refused_value(&mut self, token: u32, now: u64) {
        self.values_refused = self.values_refused.saturating_add(1);
        if self.values_refused > VALUES_REFUSED_MAX {
            self.set_back(Kind::Refused, token, now);
        }
    }

    /// Cloudflare refuses a value that is on the list already: it is not sent again for a day, which a
    /// rewrite would do.
    pub(crate) fn kept_value_refused(&mut self, token: u32, now: u64) {
        self.no_rewrite_until = now.saturating_add(BELIEVED_SECS);
        self.count_refused_value(token, now);
    }

    /// A write was accepted. That its operation ends well has yet to be seen.
    pub(crate) fn accepted(&mut self, operation: &str, pace: &Pace, now: u64) {
        self.skip_idle(pace, now);
        let climbed_all = self.refused as usize >= pace.backoff.len();
        let still_slow = self.spacing > 0;
        // From the first refusal, not from the last accepted write: what passed before, nobody wanted to
        // write, and it says nothing about the account.
        self.spacing = match self.refused_since {
            since @ 1.. if climbed_all || still_slow => now.saturating_sub(since),
            _ => 0,
        };
        self.accepted_at = now;
        self.is_unfinished = false;
        self.operation = Some(operation.to_owned());
    }

    /// Whether the run that has just written leaves to the next one what it had no time for, or this one finds nothing
    /// left of that.
    pub(crate) fn note_unfinished(&mut self, is_unfinished: bool) {
        self.is_unfinished = is_unfinished;
    }

    /// Whether the write that has just been accepted, or left without an answer, takes something off a list.
    pub(crate) fn takes(&mut self, takes: bool) {
        self.takes = takes;
    }

    /// The operation was seen to complete.
    pub(crate) fn completed(&mut self, now: u64) {
        self.operation = None;
        self.completed_at = now;
        if self.takes {
            self.took_at = now;
        }
        self.refused = 0;
        self.refused_since = 0;
        self.setback = None;
        self.values_refused = 0;
    }

    /// The operation of an earlier run was seen to complete, nobody knows how long ago.
    pub(crate) fn completed_since(&mut self, now: u64) {
        self.completed(now);
        self.just_completed = true;
    }

    /// The operation was seen to fail.
    pub(crate) fn failed(&mut self, pace: &Pace, now: u64) {
        self.operation = None;
        self.climb(pace, now);
    }

    /// Fewer items fit than the settings say.
    pub(crate) fn learn_capacity(&mut self, items: u64, now: u64) {
        self.capacity = Some(Capacity { items, until: now.saturating_add(BELIEVED_SECS) });
    }

    /// The operation's end is not seen: whether it is given up, because that has lasted long enough.
    pub(crate) fn out_of_sight(&mut self, sight: Sight, now: u64) -> bool {
        let limit = match sight {
            Sight::Pending => PENDING_SECS,
            Sight::Lost => UNKNOWN_SECS,
        };
        let given_up = now.saturating_sub(self.accepted_at) >= limit;
        if given_up {
            self.operation = None;
        }
        given_up
    }

    /// Whether removals that are not urgent stay: for themselves they are not written yet, or what they would go with
    /// waits, or came to nothing. On a full account they make room for others after each failure, for as long as that
    /// is believed: if only the time alone counted, it would begin anew every day.
    pub(crate) fn note_company(&mut self, stays: bool, now: u64) {
        self.alone_since = match (stays, self.alone_since) {
            (false, _) => 0,
            (true, 0) => now,
            (true, since) => since,
        };
    }
}

impl Setback {
    fn left(&self, pace: &Pace, token: u32, now: u64) -> Option<(Duration, Cause)> {
        let (first, last) = (*pace.backoff.first()?, *pace.backoff.last()?);
        let doubled = |wait: Duration, most: Duration| {
            wait.saturating_mul(2u32.saturating_pow(self.times.saturating_sub(1))).min(most)
        };
        let (wait, cause) = match self.kind {
            Kind::Refused => (doubled(first, last.max(first)), Cause::Refused),
            Kind::Denied if self.token == token => (first, Cause::Denied),
            Kind::Denied => return None,
            Kind::Unanswered => {
                (doubled(Duration::from_secs(UNANSWERED_SECS).min(first), first), Cause::Unanswered)
            }
        };
        left(wait, self.at, now).map(|left| (left, cause))
    }
}

/// Tells one token from another, and tells nothing else of it: FNV-1a, folded to 32 bits.
pub fn checksum(token: &str) -> u32 {
    let hash = token.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash >> 32) as u32 ^ hash as u32
}

fn left(wait: Duration, since: u64, now: u64) -> Option<Duration> {
    let passed = Duration::from_secs(now.saturating_sub(since.min(now)));
    wait.checked_sub(passed).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests;

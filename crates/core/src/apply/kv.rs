//! Carries a KV plan out: the key of all ranges, bans, other values, then deletes, in bulk requests of
//! up to 10,000 keys.
//!
//! A bulk write is done when it is answered; there is nothing to wait for. It may take some keys and
//! not others, and those are sent once more.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::api::cloudflare::kv::{self, Pair, RANGES_KEY, Value};
use crate::api::cloudflare::{ANSWER_BYTES_MAX, Account, CallError, Resource};
use crate::apply::Stopped;
use crate::failure::Failure;
use crate::guard::Approved;
use crate::log::{Level, Line, plural, seconds};
use crate::plan::Batch;
use crate::plan::kv::{KvPlan, RangesWrite, Why};
use crate::ports::{Host, Request};
use crate::session::{Api, Session};
use crate::settings::Kv;
use crate::state::{Quota, Remembered};

/// How long the answer to a bulk write may take: 10,000 pairs are about 1 MB.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How far applying a plan came.
#[derive(Debug, Default, PartialEq)]
pub struct AppliedKeys {
    /// Keys and ranges written because their value or existence was wrong.
    pub written: u64,
    /// Keys and ranges written because their expiry was off.
    pub refreshed: u64,
    /// Keys deleted, and ranges taken out.
    pub deleted: u64,
    /// Write requests that were sent.
    pub writes: u64,
    /// Why it did not go to the end.
    pub stopped: Option<Stopped>,
}

/// What one bulk request carries: keys, and what it puts right when Cloudflare takes them.
enum Bulk {
    Put(Batch<(Effect, Pair)>),
    Delete(Batch<(Effect, String)>),
}

/// What differs no more when a key was written or deleted: the key, or each range that changes in it.
/// Kept small: there may be 150,000.
#[derive(Debug, Clone, Copy, Default)]
struct Effect {
    written: u32,
    refreshed: u32,
    deleted: u32,
}

impl Effect {
    fn add_put(mut self, why: Why) -> Self {
        match why {
            Why::Refresh => self.refreshed += 1,
            _ => self.written += 1,
        }
        self
    }

    fn of_ranges(plan: &KvPlan) -> Self {
        let deleted = plan.range_removals().count() as u32;
        let puts = plan.range_puts().map(|put| put.why);
        puts.fold(Self { deleted, ..Self::default() }, Self::add_put)
    }
}

impl Bulk {
    fn len(&self) -> u64 {
        match self {
            Self::Put(pairs) => pairs.len() as u64,
            Self::Delete(keys) => keys.len() as u64,
        }
    }

    /// What it puts right if it is taken whole.
    fn effect(&self) -> Effect {
        let sum = |sum: Effect, one: &Effect| Effect {
            written: sum.written + one.written,
            refreshed: sum.refreshed + one.refreshed,
            deleted: sum.deleted + one.deleted,
        };
        match self {
            Self::Put(pairs) => {
                pairs.as_slice().iter().map(|(one, _)| one).fold(Effect::default(), sum)
            }
            Self::Delete(keys) => {
                keys.as_slice().iter().map(|(one, _)| one).fold(Effect::default(), sum)
            }
        }
    }

    fn request(&self, account: &Account, target: &Kv, now: u64) -> Request {
        match self {
            Self::Put(pairs) => kv::put(
                account,
                &target.namespace,
                pairs.as_slice().iter().map(|(_, pair)| pair),
                now,
            ),
            Self::Delete(keys) => kv::delete(
                account,
                &target.namespace,
                keys.as_slice().iter().map(|(_, key)| key.as_str()),
            ),
        }
    }

    /// The part of it with these keys, if any.
    fn only(&self, names: &[String]) -> Option<Self> {
        // Not collected, which would sort first: there are few names, if any, and sorting takes code.
        let mut wanted = BTreeSet::new();
        wanted.extend(names.iter().map(String::as_str));
        match self {
            Self::Put(pairs) => {
                let pairs =
                    pairs.as_slice().iter().filter(|(_, pair)| wanted.contains(pair.key.as_str()));
                Batch::split(pairs.cloned()).into_iter().next().map(Self::Put)
            }
            Self::Delete(keys) => {
                let keys = keys.as_slice().iter().filter(|(_, key)| wanted.contains(key.as_str()));
                Batch::split(keys.cloned()).into_iter().next().map(Self::Delete)
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Put(pairs) => format!("writing {}", plural(pairs.len() as u64, "KV key")),
            Self::Delete(keys) => format!("deleting {}", plural(keys.len() as u64, "KV key")),
        }
    }
}

/// Applies the plan; nothing is begun that could not be answered when the run is `until` old.
pub(crate) async fn apply<H: Host>(
    session: &Session<'_, H>,
    account: &Account,
    target: &Kv,
    plan: &Approved<KvPlan>,
    quota: &mut Remembered<Quota>,
    until: Duration,
) -> AppliedKeys {
    let nothing = Effect::default();
    let puts = plan.puts().iter().map(|put| {
        let key = format!("{}{}", target.prefix, put.address);
        let pair = Pair { key, value: Value::One(put.value), ttl_secs: put.ttl_secs };
        (nothing.add_put(put.why), pair)
    });
    let deletes =
        plan.deletes().iter().map(|delete| (Effect { deleted: 1, ..nothing }, delete.key.clone()));
    // First: one pair that may stand for thousands of addresses.
    let (put, delete) = match plan.ranges_write() {
        Some(RangesWrite::Put { entries, ttl_secs }) => {
            let value = Value::Ranges(Box::new(entries.clone()));
            let pair = Pair { key: RANGES_KEY.to_owned(), value, ttl_secs };
            (Some((Effect::of_ranges(plan), pair)), None)
        }
        Some(RangesWrite::Delete) => (None, Some((Effect::of_ranges(plan), RANGES_KEY.to_owned()))),
        None => (None, None),
    };
    let bulks = Batch::split(put.into_iter().chain(puts)).into_iter().map(Bulk::Put);
    let deletes = Batch::split(delete.into_iter().chain(deletes));
    let bulks = bulks.chain(deletes.into_iter().map(Bulk::Delete));

    let mut applied = AppliedKeys::default();
    let mut run =
        Applying { session, account, target, quota, until, applied: &mut applied, refused: None };
    let mut stopped = None;
    for bulk in bulks {
        if let Err(why) = run.carry_out(bulk).await {
            stopped = Some(why);
            break;
        }
    }
    applied.stopped = stopped.or(run.refused.map(Stopped::Waiting));
    applied
}

struct Applying<'a, 'h, H> {
    session: &'a Session<'h, H>,
    account: &'a Account,
    target: &'a Kv,
    quota: &'a mut Remembered<Quota>,
    until: Duration,
    applied: &'a mut AppliedKeys,
    /// What Cloudflare did not take of the first bulk that it did not take whole.
    refused: Option<String>,
}

impl<H: Host> Applying<'_, '_, H> {
    /// Sends a bulk, and what was not taken of it once more. What is not taken then either is no reason
    /// not to send the others: it may be one key that is never taken.
    async fn carry_out(&mut self, bulk: Bulk) -> Result<(), Stopped> {
        let began = self.session.elapsed();
        let mut left = bulk.only(&self.send(&bulk).await?);
        self.count(&bulk, left.as_ref());
        if let Some(again) = left.take_if(|again| self.may_spend(again)) {
            left = again.only(&self.send(&again).await?);
            self.count(&again, left.as_ref());
        }
        let took = self.session.elapsed() - began;
        let (level, end) = match &left {
            None => (Level::Info, "done".to_owned()),
            Some(left) => {
                let left = format!("Cloudflare did not take {}", plural(left.len(), "key"));
                let what = format!("{left} when {}; the next run tries again", bulk.describe());
                self.refused.get_or_insert(what);
                (Level::Warn, left)
            }
        };
        let line = format!("{}: {end} in {}", bulk.describe(), seconds(took));
        self.session.host().log(
            &Line::new(level, "bulk", line)
                .with("target", "kv")
                .with("keys", bulk.len())
                .with("not_taken", left.map_or(0, |left| left.len()))
                .with("seconds", format_args!("{:.1}", took.as_secs_f64())),
        );
        Ok(())
    }

    /// Whether the day's budget has room for this once more: keys that were not taken are spent too.
    fn may_spend(&self, bulk: &Bulk) -> bool {
        self.quota.left(self.target).is_none_or(|left| bulk.len() <= left)
    }

    /// Sends one bulk request; the names of the keys that were not taken.
    async fn send(&mut self, bulk: &Bulk) -> Result<Vec<String>, Stopped> {
        if self.session.elapsed() + WRITE_TIMEOUT > self.until {
            return Err(Stopped::Waiting(
                "no time left in this run for all KV keys; the next run goes on".to_owned(),
            ));
        }
        let now = self.session.unix_now();
        let request = bulk.request(self.account, self.target, now);
        self.applied.writes += 1;
        self.remember(|quota| quota.spend(bulk.len()));
        let answer = self
            .session
            .fetch(Api::Cloudflare, request, WRITE_TIMEOUT, ANSWER_BYTES_MAX)
            .await
            .map_err(CallError::from)
            .and_then(|answer| kv::decode_bulk(&answer));
        let error = match answer {
            Ok(failed) => return Ok(failed),
            Err(error) => error,
        };
        if !error.is_definite() {
            let (resource, operation) = (Resource::Namespace, bulk.describe());
            return Err(Stopped::Failed(Failure::Unconfirmed {
                resource,
                operation,
                source: error,
            }));
        }
        let day_is_used_up = error.is_day_used_up();
        self.remember(|quota| {
            quota.refund(bulk.len());
            if day_is_used_up {
                quota.exhaust();
            }
        });
        if day_is_used_up {
            let hours = Quota::next_day_in(now) as f64 / 3_600.0;
            return Err(Stopped::Waiting(format!(
                "Cloudflare's daily KV quota is used up; nothing more is written until 00:00 UTC, in {hours:.1} h ({error})"
            )));
        }
        let (resource, operation) = (Resource::Namespace, bulk.describe());
        Err(Stopped::Failed(Failure::Refused { resource, operation, source: error }))
    }

    /// Counts what was taken of a bulk: all but `left`.
    fn count(&mut self, bulk: &Bulk, left: Option<&Bulk>) {
        let (all, left) = (bulk.effect(), left.map(Bulk::effect).unwrap_or_default());
        self.applied.written += u64::from(all.written - left.written);
        self.applied.refreshed += u64::from(all.refreshed - left.refreshed);
        self.applied.deleted += u64::from(all.deleted - left.deleted);
    }

    /// Changes the quota's use and stores it. Without a store it is forgotten with the run; that was said
    /// already.
    fn remember(&mut self, change: impl FnOnce(&mut Quota)) {
        let _ = self.quota.change(self.session.host(), change);
    }
}

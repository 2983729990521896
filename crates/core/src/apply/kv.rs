//! Carries a schedule for KV out, in bulk requests of up to 10,000 keys.
//!
//! A bulk write is done when it is answered; there is nothing to wait for. It may take some keys and not
//! others, and those are sent once more. That one request fails keeps no other from being sent: what a code
//! says about writes says nothing about deletes, whose quota is another. Only what goes after a range does
//! not go when the range did not come, and no range goes when those did not come who are inside of it.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::time::Duration;

use crate::api::cloudflare::kv::{self, Value};
use crate::api::cloudflare::{ANSWER_BYTES_MAX, Account, CallError, Resource};
use crate::apply::Stopped;
use crate::failure::Failure;
use crate::log::{Level, Line, decimal, plural, seconds};
use crate::order::Gather;
use crate::ports::{Host, Request};
use crate::schedule::kv::{Bulk, Effect, Schedule};
use crate::session::{Api, Session};
use crate::settings::Id;
use crate::state::quota::{Quota, Spending};
use crate::state::{RANGES, Remembered};

/// How long the answer to a bulk write may take: 10,000 pairs are about 1 MB.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How far a schedule was carried out.
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
    /// Values that hold many and were written, each with its generation; 0 = it was deleted.
    pub generations: Vec<(usize, u64)>,
    /// The first reason why not everything was done.
    pub stopped: Option<Stopped>,
}

/// What the requests to the namespace are made from.
pub(crate) struct Target<'a> {
    pub(crate) account: &'a Account,
    pub(crate) namespace: &'a Id,
    pub(crate) daily_max: Option<NonZeroU64>,
}

/// Sends the bulk requests; none is begun whose answer could come later than when the run is `until` old.
pub(crate) async fn apply<H: Host>(
    session: &Session<'_, H>,
    target: &Target<'_>,
    schedule: &mut Schedule,
    quota: &mut Remembered<Quota>,
    until: Duration,
) -> AppliedKeys {
    let mut sending = Sending {
        session,
        target,
        quota,
        until,
        applied: AppliedKeys::default(),
        failed: None,
        waits: None,
        ranges_are_there: true,
        to_come: Vec::new(),
    };
    let (bulks, leans) = schedule.take_bulks();
    sending.to_come = bulks.iter().map(|bulk| (bulk.spending(), bulk.len())).collect();
    let mut are_inside_there = true;
    for bulk in bulks {
        sending.to_come.remove(0);
        let bulk = if are_inside_there || !bulk.has_ranges() {
            bulk
        } else {
            // Nothing else changes in it, or there is no budget for it.
            let kept = leans.as_ref().and_then(|leans| leans.instead.as_ref());
            let Some(kept) = kept.filter(|kept| sending.may_spend(kept)) else {
                sending.ranges_are_there = false;
                continue;
            };
            kept.clone()
        };
        if let Some(left) = sending.carry_out(bulk).await {
            sending.ranges_are_there &= !left.has_ranges();
            are_inside_there &= !leans.as_ref().is_some_and(|leans| leans.is_on(&left));
        }
    }
    let Sending { mut applied, failed, waits, .. } = sending;
    applied.stopped = failed.map(Stopped::Failed).or(waits.map(Stopped::Waiting));
    applied
}

struct Sending<'a, 'h, H> {
    session: &'a Session<'h, H>,
    target: &'a Target<'a>,
    quota: &'a mut Remembered<Quota>,
    until: Duration,
    applied: AppliedKeys,
    /// The first failure.
    failed: Option<Failure>,
    /// The first reason why something waits.
    waits: Option<String>,
    /// Whether what goes after a range may go.
    ranges_are_there: bool,
    /// What comes after this one, each with its keys: it has its part of the budget.
    to_come: Vec<(Spending, u64)>,
}

impl<H: Host> Sending<'_, '_, H> {
    /// Sends a bulk, and what was not taken of it once more. What is not taken then either is no reason
    /// not to send the others: it may be one key that is never taken. What of it was not taken, for certain.
    async fn carry_out(&mut self, bulk: Bulk) -> Option<Bulk> {
        let bulk = self.without_what_waits(bulk)?;
        // Midnight may have passed since it was loaded: what was used up then is not any more.
        let now = self.session.unix_now();
        if self.quota.at(now).is_exhausted(bulk.spending(), now) {
            return Some(bulk);
        }
        let began = self.session.elapsed();
        let Some(names) = self.send(&bulk).await else { return Some(bulk) };
        let mut left = only(&bulk, &names);
        let mut is_clear = self.knows_all(&bulk, &names, left.as_ref());
        self.count(&bulk, left.as_ref());
        if let Some(again) = left.take_if(|again| self.may_spend(again)) {
            let Some(names) = self.send(&again).await else { return Some(bulk) };
            left = only(&again, &names);
            is_clear &= self.knows_all(&again, &names, left.as_ref());
            self.count(&again, left.as_ref());
        }
        let took = self.session.elapsed() - began;
        let (level, end) = match &left {
            None => (Level::Info, "done".to_owned()),
            Some(left) => {
                let left = format!("Cloudflare did not take {}", plural(left.len(), "key"));
                let what = format!("{left} when {}; the next run tries again", describe(&bulk));
                self.waits.get_or_insert(what);
                (Level::Warn, left)
            }
        };
        let line = format!("{}: {end} in {}", describe(&bulk), seconds(took));
        self.session.host().log(
            &Line::new(level, "bulk", line)
                .with("target", "kv")
                .with("keys", bulk.len())
                .with("not_taken", left.as_ref().map_or(0, Bulk::len))
                .with("seconds", decimal(took, 1)),
        );
        if is_clear { left } else { Some(bulk) }
    }

    /// Whether every key that Cloudflare names as not taken is one that was sent. If not, nobody knows which
    /// of those that were sent it means: the next run reads what is there.
    fn knows_all(&mut self, bulk: &Bulk, names: &[String], left: Option<&Bulk>) -> bool {
        let names: BTreeSet<&String> = names.iter().gather();
        let strangers = names.len() as u64 - left.map_or(0, Bulk::len);
        if strangers > 0 {
            self.waits.get_or_insert(format!(
                "Cloudflare says that it did not take {} which this program did not send, when {}; the next run reads what is there",
                plural(strangers, "key"),
                describe(bulk)
            ));
        }
        strangers == 0
    }

    /// The bulk without what goes after ranges that did not come; `None` if nothing is left.
    fn without_what_waits(&self, bulk: Bulk) -> Option<Bulk> {
        if self.ranges_are_there { Some(bulk) } else { bulk.only(&|of, _| !of.after_ranges) }
    }

    /// Whether the day's budget has room for this once more, beside what comes after it: keys that were not taken are
    /// spent too.
    fn may_spend(&self, bulk: &Bulk) -> bool {
        let now = self.session.unix_now();
        let left = self.quota.at(now).left(bulk.spending(), self.target.daily_max, now);
        let to_come = self.to_come.iter().filter(|(spending, _)| *spending == bulk.spending());
        let to_come: u64 = to_come.map(|(_, keys)| keys).sum();
        left.is_none_or(|left| bulk.len() + to_come <= left)
    }

    /// Sends one bulk request; the names of the keys that were not taken. `None` = it failed, which is
    /// noted.
    async fn send(&mut self, bulk: &Bulk) -> Option<Vec<String>> {
        if self.session.elapsed() + WRITE_TIMEOUT > self.until {
            let text = "no time left in this run for all KV keys; the next run goes on";
            self.waits.get_or_insert(text.to_owned());
            return None;
        }
        let now = self.session.unix_now();
        let (spending, keys) = (bulk.spending(), bulk.len());
        let Effect { own, ranges: has_ranges, replaced, .. } = bulk.effect();
        let own = u64::from(own);
        self.applied.writes += 1;
        self.learn(|quota| {
            quota.spend(spending, keys, own, now);
            if replaced {
                quota.replaces(now);
            }
            if has_ranges {
                quota.shards.sent_ranges(now);
            }
        });
        let answer = self
            .session
            .fetch(Api::Cloudflare, self.request(bulk, now), WRITE_TIMEOUT, ANSWER_BYTES_MAX)
            .await
            .map_err(CallError::from)
            .and_then(|answer| kv::decode_bulk(&answer));
        let source = match answer {
            Ok(failed) => {
                if let Bulk::Put(pairs) = bulk {
                    let taken = pairs.as_slice().iter().map(|(_, pair)| pair);
                    let taken = taken.filter(|pair| !failed.contains(&pair.key));
                    let units = taken.filter_map(|pair| match &pair.value {
                        Value::Lines(lines) => Some((lines.unit, now)),
                        Value::Ranges(_) => Some((RANGES, now)),
                        Value::One(_) => None,
                    });
                    self.applied.generations.extend(units);
                } else if has_ranges && failed.is_empty() {
                    self.applied.generations.push((RANGES, 0));
                }
                return Some(failed);
            }
            Err(error) => error,
        };
        let (resource, operation) = (Resource::Namespace, describe(bulk));
        if !source.is_definite() {
            self.failed.get_or_insert(Failure::Unconfirmed { resource, operation, source });
            return None;
        }
        self.learn(|quota| quota.refund(spending, keys, own));
        if source.is_day_used_up() {
            self.learn(|quota| quota.exhaust(spending, now));
            let hours = decimal(Duration::from_secs(Quota::next_day_in(now)) / 3_600, 1);
            let what = match spending {
                Spending::Writes => "written",
                Spending::Deletes => "deleted",
            };
            self.waits.get_or_insert(format!(
                "Cloudflare's daily KV quota is used up; nothing more is {what} until 00:00 UTC, in {hours} h ({source})"
            ));
        } else {
            self.failed.get_or_insert(Failure::Refused { resource, operation, source });
        }
        None
    }

    fn request(&self, bulk: &Bulk, now: u64) -> Request {
        let Target { account, namespace, .. } = self.target;
        match bulk {
            Bulk::Put(pairs) => {
                let pairs = pairs.as_slice().iter().map(|(_, pair)| pair);
                kv::put(account, namespace, pairs, now)
            }
            Bulk::Delete(keys) => {
                let keys = keys.as_slice().iter().map(|(_, key)| key.as_str());
                kv::delete(account, namespace, keys)
            }
        }
    }

    /// Counts what was taken of a bulk: all but `left`.
    fn count(&mut self, bulk: &Bulk, left: Option<&Bulk>) {
        let (all, left) = (bulk.effect(), left.map(Bulk::effect).unwrap_or_default());
        self.applied.written += u64::from(all.written - left.written);
        self.applied.refreshed += u64::from(all.refreshed - left.refreshed);
        self.applied.deleted += u64::from(all.deleted - left.deleted);
    }

    /// Stores the quota's use. Without a store it is forgotten with the run; that was said already.
    fn learn(&mut self, change: impl FnOnce(&mut Quota)) {
        let _ = self.quota.change(self.session.host(), change);
    }
}

/// What of `bulk` is among `names`, if anything is.
fn only(bulk: &Bulk, names: &[String]) -> Option<Bulk> {
    let names: BTreeSet<&str> = names.iter().map(String::as_str).gather();
    if names.is_empty() {
        return None;
    }
    bulk.only(&|_, key| names.contains(key))
}

fn describe(bulk: &Bulk) -> String {
    match bulk {
        Bulk::Put(_) => format!("writing {}", plural(bulk.len(), "KV key")),
        Bulk::Delete(_) => format!("deleting {}", plural(bulk.len(), "KV key")),
    }
}

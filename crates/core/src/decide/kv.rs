//! What is decided about KV.

use crate::desired::Desired;
use crate::observed::kv::ObservedKeys;
use crate::plan::kv::{KvPlan, Rules, diff};
use crate::review::{Review, review};
use crate::schedule::kv::{Schedule, schedule};
use crate::settings::{Kv, Settings};
use crate::state::Ends;
use crate::state::guard::Held;
use crate::state::quota::Quota;

/// What is remembered of earlier runs.
#[derive(Debug, Clone, Copy)]
pub struct Remembered<'a> {
    /// Of what was written and deleted today.
    pub quota: &'a Quota,
    /// Of the removals that the guard held back.
    pub held: Option<&'a Held>,
    /// Of what was desired.
    pub ends: &'a Ends,
}

/// When, in Unix seconds.
#[derive(Debug, Clone, Copy)]
pub struct When {
    /// When the run began: before LAPI and the namespace were read.
    pub began: u64,
    /// Now.
    pub now: u64,
}

/// What is decided.
#[derive(Debug)]
pub struct Decision {
    /// What differs, and what of it may be done.
    pub review: Review<KvPlan>,
    /// What is sent now.
    pub schedule: Schedule,
}

/// The name under which what the guard holds is remembered.
pub const TARGET: &str = "kv";

/// Decides.
pub fn decide(
    settings: &Settings,
    kv: &Kv,
    (desired, observed): (&Desired, &ObservedKeys),
    remembered: Remembered<'_>,
    When { began, now }: When,
) -> Decision {
    let Remembered { quota, held, ends } = remembered;
    let quota = quota.at(now);
    let rules = Rules {
        prefix: &kv.prefix,
        tolerance: kv.tolerance,
        protected: &settings.protected,
        ends,
        now,
        began,
        ahead_since: quota.ahead_since(),
    };
    let plan = diff(desired, observed, rules);
    let is_desired = |address: &_| desired.has_key(address);
    let review = review(plan, held.cloned(), is_desired, &settings.guard, now);
    let schedule = schedule(&review.approved, &kv.prefix, &quota, kv.daily_writes_max, now);
    Decision { review, schedule }
}

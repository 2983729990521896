//! The key-value store, and what earlier runs left in it: the table "What is remembered" of
//! docs/architecture.md, in words.

use super::Finding;
use crate::native::Native;
use crate::{Options, resolved};
use edge_sync_core::ports::{Clock, Store, StoreError};
use edge_sync_core::settings::Settings;
use edge_sync_core::state::{LeaseRecord, Quota, Record, Remembered, WriteHistory};
use std::time::{Duration, UNIX_EPOCH};

const CHECK: &str = "key-value store";

/// What Spin calls its own store in its state directory. Only Spin reads that.
const SPINS_FILE: &str = "sqlite_key_value.db";

pub(super) fn examine(native: &Native, settings: &Settings, options: &Options) -> Finding {
    let now = native.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let known = match known(native, settings, now) {
        Ok(known) => known,
        Err(StoreError(error)) => {
            return Finding::warn(
                CHECK,
                format!("cannot be used: {error}"),
                "runs go on, but each without knowledge of the ones before: no wait after refused \
                 writes; give the component a store that works",
            );
        }
    };
    let mut words = known.facts;
    words.extend(known.troubles.iter().map(|(trouble, _)| trouble.clone()));
    if resolved::state_dir(options).join(SPINS_FILE).exists() {
        words.push(format!("what Spin itself keeps there ({SPINS_FILE}) is not looked at"));
    }
    let words = match words.is_empty() {
        true => "nothing is remembered".to_owned(),
        false => words.join("; "),
    };
    match known.troubles.first() {
        None => Finding::ok(CHECK, words),
        Some((_, remedy)) => Finding::warn(CHECK, words, *remedy),
    }
}

/// What is in the store, in words.
#[derive(Default)]
struct Known {
    facts: Vec<String>,
    /// And what to do.
    troubles: Vec<(String, &'static str)>,
}

fn known(store: &impl Store, settings: &Settings, now: u64) -> Result<Known, StoreError> {
    let mut known = Known::default();
    if let Some(left) = load::<LeaseRecord>(store, now)?.left(now) {
        known.facts.push(format!("a run is at work, for at most {} s more", left.as_secs()));
    }
    let history = load::<WriteHistory>(store, now)?;
    if let Some(operation) = history.operation() {
        known.facts.push(format!(
            "the next run asks for bulk operation {operation}, which was not seen to its end"
        ));
    }
    if let Some(left) = history.backoff_left(&settings.pace, now) {
        let refused = history.refused();
        known.troubles.push((
            format!(
                "Cloudflare refused the last {refused} list write{}, the next is tried in {}",
                if refused == 1 { "" } else { "s" },
                minutes(left),
            ),
            "wait: trying earlier makes it worse (write_backoff_seconds); Workers KV has no such \
             limit (cf_kv_namespace_id)",
        ));
    }
    let quota = load::<Quota>(store, now)?;
    if quota.is_exhausted() {
        known.troubles.push((
            "Cloudflare says that the day's KV quota is used up".to_owned(),
            "it begins anew at 00:00 UTC; the paid plan has no quota a day",
        ));
    } else if quota.used() > 0 {
        known.facts.push(format!("{} keys were written or deleted in KV today", quota.used()));
    }
    Ok(known)
}

/// A value as a run would read it; nothing is written.
fn load<T: Record>(store: &impl Store, now: u64) -> Result<Remembered<T>, StoreError> {
    let remembered = Remembered::load(store, now);
    match remembered.store_error() {
        Some(error) => Err(error.clone()),
        None => Ok(remembered),
    }
}

fn minutes(duration: Duration) -> String {
    format!("{} min", duration.as_secs().div_ceil(60))
}

//! The key-value store, and what earlier runs left in it: the table "What is remembered" of
//! docs/architecture.md, in words.

use super::Finding;
use crate::native::Native;
use crate::{Options, resolved};
use edge_sync_core::memory::Memory;
use edge_sync_core::ports::{Clock, Store, StoreError};
use edge_sync_core::quota::Quota;
use edge_sync_core::settings::Settings;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::{Duration, UNIX_EPOCH};

const CHECK: &str = "key-value store";

/// What Spin calls its own store in its state directory. Only Spin reads that.
const SPINS_FILE: &str = "sqlite_key_value.db";

const DAY_SECS: u64 = 24 * 3600;

pub(super) fn examine(native: &Native, settings: &Settings, options: &Options) -> Finding {
    let now = native.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let remembered = match remembered(native, settings, now) {
        Ok(remembered) => remembered,
        Err(StoreError(error)) => {
            return Finding::warn(
                CHECK,
                format!("cannot be used: {error}"),
                "runs go on, but each without knowledge of the ones before: no wait after refused \
                 writes; give the component a store that works",
            );
        }
    };
    let mut words = remembered.facts;
    words.extend(remembered.troubles.iter().map(|(trouble, _)| trouble.clone()));
    if resolved::state_dir(options).join(SPINS_FILE).exists() {
        words.push(format!("what Spin itself keeps there ({SPINS_FILE}) is not looked at"));
    }
    let words = match words.is_empty() {
        true => "nothing is remembered".to_owned(),
        false => words.join("; "),
    };
    match remembered.troubles.first() {
        None => Finding::ok(CHECK, words),
        Some((_, remedy)) => Finding::warn(CHECK, words, *remedy),
    }
}

/// What is in the store, in words.
#[derive(Default)]
struct Remembered {
    facts: Vec<String>,
    /// And what to do.
    troubles: Vec<(String, &'static str)>,
}

fn remembered(store: &impl Store, settings: &Settings, now: u64) -> Result<Remembered, StoreError> {
    let mut remembered = Remembered::default();
    if let Some(lease) = read::<Value>(store, "lease")?
        && let Some(left) = lease["until"].as_u64().and_then(|until| until.checked_sub(now))
        && left > 0
    {
        remembered.facts.push(format!("a run is at work, for at most {left} s more"));
    }
    if let Some(memory) = read::<Memory>(store, "lists")? {
        if let Some(operation) = memory.operation() {
            remembered.facts.push(format!(
                "the next run asks for bulk operation {operation}, which was not seen to its end"
            ));
        }
        if let Some(left) = memory.backoff_left(&settings.pace, now) {
            let refused = memory.refused();
            remembered.troubles.push((
                format!(
                    "Cloudflare refused the last {refused} list write{}, the next is tried in {}",
                    if refused == 1 { "" } else { "s" },
                    minutes(left),
                ),
                "wait: trying earlier makes it worse (write_backoff_seconds); Workers KV has no such \
                 limit (cf_kv_namespace_id)",
            ));
        }
    }
    if let Some(quota) = read::<Value>(store, "kv-quota")?
        && quota["day"].as_u64() == Some(now / DAY_SECS)
        && let Ok(quota) = serde_json::from_value::<Quota>(quota)
    {
        match quota.is_exhausted() {
            true => remembered.troubles.push((
                "Cloudflare says that the day's KV quota is used up".to_owned(),
                "it begins anew at 00:00 UTC; the paid plan has no quota a day",
            )),
            false => remembered
                .facts
                .push(format!("{} keys were written or deleted in KV today", quota.used())),
        }
    }
    Ok(remembered)
}

/// A value as a run would read it: what cannot be understood is not there.
fn read<T: DeserializeOwned>(store: &impl Store, key: &str) -> Result<Option<T>, StoreError> {
    let bytes = store.get(key)?;
    let value = bytes.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    // Each kind of value is in its first version.
    let value = value.filter(|value| value["v"] == 1);
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

fn minutes(duration: Duration) -> String {
    format!("{} min", duration.as_secs().div_ceil(60))
}

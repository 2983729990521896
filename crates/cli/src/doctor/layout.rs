//! Which of KV's two layouts the Worker reads, and whether one is about to take over from the other
//! (docs/kv.md). How far that is, `plan` tells, which reads everything.

use super::Finding;
use super::ask::ask;
use super::cloudflare::refused;
use crate::native::Native;
use crate::words::age;
use edge_sync_core::api::cloudflare::kv::shards::{Layout, Marker, WIDE, marker, unit_key};
use edge_sync_core::api::cloudflare::{Account, CallError, Resource, decode_any, kv};
use edge_sync_core::ports::Clock;
use edge_sync_core::settings::{Kv, KvLayout};
use std::time::UNIX_EPOCH;

const CHECK: &str = "KV layout";

pub(super) async fn examine(native: &Native, account: &Account, target: &Kv) -> Finding {
    let key = unit_key(&target.prefix, WIDE);
    let wanted = match target.layout {
        KvLayout::Keys => Layout::Keys,
        KvLayout::Shards | KvLayout::Both => Layout::Shards,
    };
    let read = match ask(native, kv::value(account, &target.namespace, &key)).await {
        // What is no value is an error's envelope.
        Ok(answer) if answer.head.status != 200 => decode_any(&answer).map(|_| String::new()),
        Ok(answer) => Ok(String::from_utf8_lossy(&answer.body).into_owned()),
        Err(error) => Err(CallError::from(error)),
    };
    match read {
        Err(error) if kv::is_absent(&error) => Finding::ok(CHECK, unmarked(wanted)),
        Err(error) => refused(CHECK, &error, Resource::Values),
        Ok(text) => match marker(&text) {
            Some(marker) => {
                let now = native.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                Finding::ok(CHECK, marked(marker, wanted, target.layout, now))
            }
            None => Finding::warn(
                CHECK,
                format!(
                    "the key {key:?} was not written by this program, or by a later version of it: Workers read \
                     keys, and no shard is written"
                ),
                "delete that key, or use a kv_key_prefix of your own",
            ),
        },
    }
}

fn unmarked(wanted: Layout) -> &'static str {
    match wanted {
        Layout::Keys => "keys are served",
        Layout::Shards => {
            "keys are served, as far as there are any; the next run begins with shards"
        }
    }
}

fn marked(marker: Marker, wanted: Layout, setting: KvLayout, now: u64) -> String {
    let (served, other) = (marker.serves.as_str(), marker.serves.other().as_str());
    let since = age(now.saturating_sub(marker.since));
    if marker.serves != wanted {
        return format!(
            "{served} are served; {other} are written, and served when every run of eight minutes has read them \
             complete (`edge-sync plan` says how far that is)"
        );
    }
    match setting {
        _ if marker.alone => format!("{served} are served, since {since}"),
        KvLayout::Both => format!(
            "{served} are served, since {since}; keys are kept up to date too, until kv_layout is shards"
        ),
        _ => format!(
            "{served} are served, since {since}; {other} are removed from eight minutes after that on"
        ),
    }
}

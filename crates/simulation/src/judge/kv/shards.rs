//! The layout `shards` by the judge's own reading of `docs/kv.md`: what the Worker finds there.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;
use simulator::KvEntryView;

use super::super::reading::network;
use super::{Enforced, strength};

/// Whether this, behind the prefix, names a value of the layout.
pub(super) fn is_unit(name: &str) -> bool {
    name == "wide" || name.len() == 5 && name.starts_with("s16:")
}

/// Whether a write has to do with the layout.
pub(super) fn touches(body: &Value, prefix: &str) -> bool {
    let names = body.as_array().into_iter().flatten();
    let mut names = names.filter_map(|item| item.as_str().or(item["key"].as_str()));
    names.any(|name| name.strip_prefix(prefix).is_some_and(is_unit))
}

/// A request for several values, by parts: the value of ranges, and the others. Nothing if it has not both.
pub(super) fn parts(body: &Value, prefix: &str) -> Vec<Value> {
    let is_wide = |item: &&Value| {
        let name = item.as_str().or(item["key"].as_str());
        name.and_then(|name| name.strip_prefix(prefix)) == Some("wide")
    };
    let items: Vec<&Value> = body.as_array().into_iter().flatten().collect();
    let (wide, others): (Vec<_>, Vec<_>) = items.into_iter().partition(is_wide);
    if wide.is_empty() || others.is_empty() {
        return Vec::new();
    }
    [wide, others].map(|items| items.into_iter().cloned().collect()).into()
}

/// Does to the namespace what a bulk write asks for.
pub(super) fn apply(all: &mut BTreeMap<String, KvEntryView>, body: &Value, unix: u64) {
    for item in body.as_array().into_iter().flatten() {
        if let Some(name) = item.as_str() {
            all.remove(name);
            continue;
        }
        let (key, value) = (item["key"].as_str(), item["value"].as_str());
        let view = KvEntryView {
            value: value.unwrap_or_default().to_owned(),
            expiration_unix: item["expiration_ttl"].as_u64().map(|ttl| unix + ttl),
            metadata: item.get("metadata").cloned(),
        };
        all.insert(key.unwrap_or_default().to_owned(), view);
    }
}

/// What the shards say; `None` = they are not served.
pub(super) fn enforced(
    all: &BTreeMap<String, KvEntryView>,
    prefix: &str,
    unix: u64,
) -> Option<Enforced> {
    let wide = &all.get(&format!("{prefix}wide"))?.value;
    let (head, lines) = wide.split_once('\n')?;
    let words: Vec<&str> = head.split(' ').collect();
    let ["edge-sync", "wide", "1", _, "shards", ..] = words[..] else { return None };
    let mut enforced = Enforced { by_shards: true, ..Enforced::default() };
    for (what, value, expires) in lines.lines().filter_map(read) {
        match network(what) {
            Some(net) if value == "never" => drop(enforced.never.insert(net)),
            Some(net) => drop(enforced.ranges.insert(net, (strength(value), expires))),
            None => enforced.add_region(what, value, expires),
        }
    }
    for (key, entry) in all {
        let Some(digit) = key.strip_prefix(prefix).and_then(|key| key.strip_prefix("s16:")) else {
            continue;
        };
        let Some(("edge-sync shard 1", lines)) = split_head(&entry.value) else { continue };
        for (address, value, expires) in lines.lines().filter_map(read) {
            let net: Option<IpAddr> = address.parse().ok();
            let Some(addr) = net.filter(|addr| format!("{:x}", shard(*addr)) == digit) else {
                continue;
            };
            if expires > unix {
                let view = KvEntryView {
                    value: value.to_owned(),
                    expiration_unix: Some(expires),
                    metadata: None,
                };
                enforced.keys.insert(IpNet::from(addr), (strength(value), view));
            }
        }
    }
    Some(enforced)
}

/// The first line without its last word, and the other lines.
fn split_head(value: &str) -> Option<(&str, &str)> {
    let (head, lines) = value.split_once('\n')?;
    Some((head.rsplit_once(' ')?.0, lines))
}

pub(super) fn read(line: &str) -> Option<(&str, &str, u64)> {
    let words: Vec<&str> = line.split(' ').collect();
    let [what, value, expires] = words[..] else { return None };
    Some((what, value, expires.parse().ok()?))
}

fn shard(address: IpAddr) -> u32 {
    let bytes = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let hash = bytes
        .iter()
        .fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(16_777_619));
    (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d) >> 28
}

//! What a Worker answers, by this file's own reading of `docs/kv.md`: the new one, which looks at the marker,
//! and one of before, which knows keys only. It may stand at a location where each value is late by its own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use simulator::cloudflare::kv::KvChange;

use crate::common::World;

/// The simulator's start, as a date.
pub(crate) const START: u64 = 1_793_000_000;

/// Every value that was ever there, by key: since when which.
pub(crate) struct Past(BTreeMap<String, Vec<(Duration, Option<String>)>>);

impl Past {
    pub(crate) fn of(world: &World) -> Self {
        let mut simulator = world.front.world();
        let mut past: BTreeMap<String, Vec<(Duration, Option<String>)>> = BTreeMap::new();
        for KvChange { at, key, value, .. } in simulator.cloudflare().kv_history(&world.namespace) {
            past.entry(key.clone()).or_default().push((*at, value.clone()));
        }
        Self(past)
    }

    /// What stood under a key at a moment.
    pub(crate) fn at(&self, key: &str, at: Duration) -> Option<&str> {
        let changes = self.0.get(key)?;
        let count = changes.partition_point(|(since, _)| *since <= at);
        changes.get(count.checked_sub(1)?)?.1.as_deref()
    }

    /// When something changed.
    pub(crate) fn moments(&self) -> Vec<Duration> {
        let mut all: Vec<_> = self.0.values().flatten().map(|(at, _)| *at).collect();
        all.sort();
        all.dedup();
        all
    }
}

/// Which values a location has: how late the one with the marker is, and how late the others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Late {
    pub(crate) wide: u64,
    pub(crate) others: u64,
}

pub(crate) const NOT: Late = Late { wide: 0, others: 0 };

/// What our Worker does with an address.
pub(crate) fn ours(past: &Past, address: &str, at: Duration, late: Late) -> Option<&'static str> {
    let secs = Duration::from_secs;
    let others = at.saturating_sub(secs(late.others));
    let unix = START + at.as_secs();
    let wide = past.at("ip:wide", at.saturating_sub(secs(late.wide)));
    let is_served =
        |wide: &&str| matches!(head(wide)[..], ["edge-sync", "wide", "1", _, "shards", ..]);
    let Some(wide) = wide.filter(is_served) else {
        return before(past, address, at, late);
    };
    let key = format!("ip:s16:{:x}", shard(address));
    let in_shard = past.at(&key, others).into_iter().flat_map(str::lines).skip(1);
    let own = in_shard.filter(|line| line.split(' ').next() == Some(address));
    let ranges = wide.lines().skip(1).filter(|line| {
        let what = line.split(' ').next().unwrap();
        what.contains('/') && holds(what, address)
    });
    let in_force = own.chain(ranges).filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[2].parse::<u64>().unwrap() > unix).then_some(words[1])
    });
    strongest(in_force)
}

fn head(value: &str) -> Vec<&str> {
    value.lines().next().unwrap().split(' ').collect()
}

/// What a Worker of before does: a key, and the ranges.
pub(crate) fn before(past: &Past, address: &str, at: Duration, late: Late) -> Option<&'static str> {
    let others = at.saturating_sub(Duration::from_secs(late.others));
    let unix = START + at.as_secs();
    let own = past.at(&format!("ip:{address}"), others);
    let json = past.at("ranges", others).map(|text| serde_json::from_str(text).unwrap());
    let json: serde_json::Value = json.unwrap_or_default();
    let ranges = json["ranges"].as_array().into_iter().flatten();
    let ranges = ranges.filter(|range| {
        holds(range["range"].as_str().unwrap(), address) && range["expires"].as_u64() > Some(unix)
    });
    strongest(ranges.map(|range| range["value"].as_str().unwrap()).chain(own))
}

fn strongest<'a>(mut values: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    let mut found = None;
    values.find(|value| {
        found = Some(if *value == "ban" { "ban" } else { "captcha" });
        *value == "ban"
    });
    found
}

fn bits(address: &str) -> u128 {
    match address.parse::<IpAddr>().unwrap() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn holds(range: &str, address: &str) -> bool {
    let (of, len) = range.split_once('/').unwrap();
    let len: u32 = len.parse().unwrap();
    let len = if of.contains(':') { len } else { len + 96 };
    (bits(of) ^ bits(address)).checked_shr(128 - len).unwrap_or(0) == 0
}

pub(crate) fn shard(address: &str) -> u32 {
    let mut hash = 2_166_136_261_u32;
    for byte in bits(address).to_be_bytes() {
        hash ^= u32::from(byte);
        hash = hash.wrapping_mul(16_777_619);
    }
    hash ^= hash >> 15;
    hash.wrapping_mul(0x2c1b_3c6d) >> 28
}

//! The layout `shards`, and how one layout becomes the other. A run comes every two minutes unless a test
//! says otherwise.

#[path = "../common/mod.rs"]
mod common;

mod attacks;
mod kill;
mod laws;
mod lifted;
mod migration;
mod shards;
mod worker;

use std::time::Duration;

use common::World;

const INTERVAL: Duration = Duration::from_secs(120);
const HOUR: Duration = Duration::from_secs(3_600);

fn world(layout: &str) -> World {
    let mut world = World::kv(|_| {});
    world.set("kv_layout", layout);
    world.set("scopes", "ip,range,country,as");
    world
}

async fn runs(world: &World, count: u32) {
    for _ in 0..count {
        tokio::time::sleep(INTERVAL).await;
        let _ = world.take_lines();
        world.run().await.unwrap();
    }
}

/// The first line of the value that has the marker, without when it was written.
fn marker(world: &World) -> String {
    let Some(wide) = world.values().remove("ip:wide") else { return "none".to_owned() };
    let words: Vec<&str> = wide.lines().next().unwrap().split(' ').collect();
    match words[..] {
        [_, _, "1", _, serves, _, alone] => format!("{serves} {alone}"),
        _ => "foreign".to_owned(),
    }
}

/// All lines of the shards, without the first of each.
fn lines(world: &World) -> Vec<String> {
    let values = world.values().into_iter().filter(|(key, _)| key.starts_with("ip:s16:"));
    let lines =
        values.flat_map(|(_, value)| value.lines().skip(1).map(str::to_owned).collect::<Vec<_>>());
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

/// The keys that are named after addresses.
fn keys(world: &World) -> Vec<String> {
    let is_key = |key: &String| !key.starts_with("ip:s16:") && key != "ip:wide" && key != "ranges";
    world.values().into_keys().filter(is_key).collect()
}

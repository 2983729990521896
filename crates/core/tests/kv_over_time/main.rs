//! What happens to the KV target over days, or between runs: one program, because each is compiled for a
//! minute. A run comes every two minutes unless a test says otherwise.

#[path = "../common/mod.rs"]
mod common;

mod attacks;
mod budget;
mod guard;
mod host;

use std::time::Duration;

use common::World;

const INTERVAL: Duration = Duration::from_secs(120);
const HOUR: Duration = Duration::from_secs(3_600);
/// From the simulator's start, 2026-10-26T07:33:20Z, until 00:00 UTC.
const MIDNIGHT: Duration = Duration::from_secs(59_200);

async fn run_after(world: &World, wait: Duration) {
    tokio::time::sleep(wait).await;
    let _ = world.take_lines();
    let _ = world.run().await;
}

async fn sleep_until(world: &World, at: Duration) {
    tokio::time::sleep(at.saturating_sub(world.front.elapsed())).await;
}

fn has(world: &World, address: &str) -> bool {
    world.keys().contains_key(&format!("ip:{address}"))
}

//! Many seeds, on several threads, and what was found.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::generate::{Focus, generate};
use crate::judge::Violation;
use crate::marks::Marks;
use crate::play;

/// Which seeds.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// The first.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// Threads.
    pub jobs: usize,
    /// What they are about.
    pub focus: Focus,
    /// Ends after so many that broke a promise.
    pub found_max: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Seeds that were played.
    pub seeds: u64,
    /// Runs.
    pub runs: u64,
    /// Requests.
    pub requests: u64,
    /// What was met.
    pub marks: Marks,
    /// Seeds that broke a promise, the lowest first.
    pub violations: Vec<(u64, Violation)>,
    /// Of all digests.
    pub digest: u64,
}

/// Plays them. `prepare` is called on each thread before it begins.
pub fn search(of: Search, prepare: impl Fn() + Sync) -> Found {
    let found = Mutex::new(Found::default());
    let (next, stop) = (AtomicU64::new(of.from), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..of.jobs.max(1) {
            scope.spawn(|| {
                prepare();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= of.from.saturating_add(of.seeds) || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let played = play(&generate(seed, of.focus), false);
                    let Ok(mut found) = found.lock() else { return };
                    found.seeds += 1;
                    found.runs += played.runs;
                    found.requests += played.requests;
                    found.marks.add(&played.marks);
                    found.digest ^= played.digest.wrapping_mul(seed | 1);
                    if let Some(violation) = played.violation {
                        found.violations.push((seed, violation));
                        if found.violations.len() >= of.found_max {
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_default();
    found.violations.sort_by_key(|(seed, _)| *seed);
    found
}

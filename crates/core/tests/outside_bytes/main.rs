//! Bytes from outside that nobody meant to send: whatever one answer or one stored value is turned into, the run
//! ends with a summary, says nothing that breaks a log, opens no gate, and later runs converge.
#![allow(dead_code, reason = "the fixture belongs to the rules' tests, too")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../rules/fixture.rs"]
mod fixture;
mod garble;

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use edge_sync_core::log::{Level, Line, Style};
use edge_sync_core::ports::{
    Body, Clock, Log, Request, ResponseHead, Store, StoreError, Transport, TransportError,
};
use proptest::prelude::*;
use simulator::Verdict;

use common::{LAPI, World};
use fixture::Zones;
use garble::{Change, change, garbled};

/// Desired and at the edge before, and desired afterwards.
const STAY: [&str; 4] = ["198.51.100.1", "198.51.100.2", "2001:db8::1", "2001:db8:1::/48"];
/// One that is asked for of each of them.
const VISITORS: [&str; 4] = ["198.51.100.1", "198.51.100.2", "2001:db8::1", "2001:db8:1::77"];
const COMES: &str = "203.0.113.1";
const GOES: &str = "203.0.113.2";
/// Has a decision, and is the owner's.
const OWNER: &str = "192.0.2.77";
const TOKENS: [&str; 2] = ["lapi_key", "cf_api_token"];

/// What was done to one answer.
struct Hit {
    url: String,
    after: Vec<u8>,
}

/// A host on which one answer, or each value of the store, comes as something else.
struct Garbled<'a> {
    world: &'a World,
    /// Which answer, counted from 0; `None` = what the store gives.
    nth: Option<usize>,
    change: &'a Change,
    answers: Cell<usize>,
    hit: RefCell<Option<Hit>>,
}

struct Pieces {
    left: std::vec::IntoIter<Vec<u8>>,
}

impl Body for Pieces {
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        Ok(self.left.next())
    }
}

impl Transport for Garbled<'_> {
    type Body = Pieces;

    async fn send(&self, request: Request) -> Result<(ResponseHead, Pieces), TransportError> {
        let url = request.url.clone();
        let (head, mut body) = self.world.send(request).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            bytes.extend(chunk);
        }
        let number = self.answers.replace(self.answers.get() + 1);
        // LAPI's answer is asked for again when it cannot be read: then it is the same each time.
        let again = self.hit.borrow().as_ref().is_some_and(|hit| hit.url == url);
        if Some(number) == self.nth || (again && url.starts_with(LAPI)) {
            bytes = garbled(&bytes, self.change);
            *self.hit.borrow_mut() = Some(Hit { url, after: bytes.clone() });
        }
        let pieces: Vec<Vec<u8>> = bytes.chunks(self.change.chunk).map(<[u8]>::to_vec).collect();
        Ok((head, Pieces { left: pieces.into_iter() }))
    }
}

impl Clock for Garbled<'_> {
    fn monotonic(&self) -> Duration {
        self.world.monotonic()
    }

    fn wall(&self) -> SystemTime {
        self.world.wall()
    }

    async fn sleep(&self, duration: Duration) {
        self.world.sleep(duration).await;
    }
}

impl Log for Garbled<'_> {
    fn log(&self, line: &Line) {
        self.world.log(line);
    }
}

impl Store for Garbled<'_> {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.world.get(key)?;
        Ok(match self.nth {
            None => value.map(|value| garbled(&value, self.change)),
            Some(_) => value,
        })
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.world.set(key, value)
    }
}

/// Every line can stand in a log: one line, of a length that a collector takes, without a secret.
fn assert_lines_are_fit(world: &World) {
    let lines = world.take_lines();
    let summaries = lines.iter().filter(|(_, line)| line.event() == "summary").count();
    assert!(summaries > 0, "no summary in {lines:#?}");
    for (_, line) in &lines {
        let text = line.render(Style::KeyValue);
        assert!(text.len() <= 2048, "{} bytes: {text}", text.len());
        let odd = |c: char| {
            c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        assert!(!text.contains(odd), "{text:?}");
        for secret in TOKENS {
            assert!(!text.contains(&world.settings[secret]), "{secret}: {text}");
        }
    }
}

fn assert_those_who_stay_are_kept_out(zones: &Zones, when: &str) {
    for visitor in VISITORS {
        assert_ne!(zones.verdict(visitor), Verdict::Pass, "{when}: {visitor}");
    }
}

fn assert_owner_passes(zones: &Zones, when: &str) {
    assert_eq!(zones.verdict(OWNER), Verdict::Pass, "{when}");
}

/// Whether LAPI's answer can be understood at all, by a reading of its own.
fn is_list_of_decisions(bytes: &[u8]) -> bool {
    matches!(
        serde_json::from_slice(bytes),
        Ok(serde_json::Value::Array(_) | serde_json::Value::Null)
    )
}

async fn play(nth: Option<usize>, is_locked: bool, change: &Change) {
    let mut zones = Zones::with(1, |options| {
        options.cloudflare.list_edge_lag = Duration::from_secs(5);
    });
    let namespace = zones.namespace.clone();
    for (name, value) in
        [("cf_kv_namespace_id", namespace.as_str()), ("scopes", "ip,range"), ("never_block", OWNER)]
    {
        World::set(&mut zones, name, value);
    }
    for value in STAY.into_iter().chain([GOES, OWNER]) {
        zones.ban(value);
    }
    zones.run().await.unwrap();
    zones.next().await.unwrap();
    zones.ban(COMES);
    zones.lift(GOES);
    if is_locked {
        zones.lock();
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    let _ = zones.take_lines();
    let writes = zones.writes();

    let host =
        Garbled { world: &zones, nth, change, answers: Cell::new(0), hit: RefCell::default() };
    let result = edge_sync_core::run(|name| zones.settings.get(name).cloned(), &host).await;
    let hit = host.hit.into_inner();
    assert_lines_are_fit(&zones);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_owner_passes(&zones, "after the garbled run");
    let of_lapi = hit.as_ref().is_some_and(|hit| hit.url.starts_with(LAPI));
    if of_lapi {
        let after = &hit.as_ref().unwrap().after;
        if !is_list_of_decisions(after) {
            assert_eq!(result, Ok(()), "LAPI unreadable ends well");
            assert_eq!(zones.writes(), writes, "LAPI unreadable changes nothing");
        }
    } else {
        assert_those_who_stay_are_kept_out(&zones, "after the garbled run");
    }

    // Longer than the longest wait: a day for a value that was refused, and for a capacity that was learned.
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let _ = zones.run().await;
        if !of_lapi {
            assert_those_who_stay_are_kept_out(&zones, "later");
        }
        assert_owner_passes(&zones, "later");
    }
    assert_those_who_stay_are_kept_out(&zones, "at the end");
    assert_eq!(zones.verdict(COMES), Verdict::Block, "{:#?}", zones.texts(Level::Info));
    assert_eq!(zones.verdict(GOES), Verdict::Pass, "{:#?}", zones.texts(Level::Info));
    let _ = zones.take_lines();
    let result = zones.run().await;
    assert_eq!(result, Ok(()), "a locked list waits, and the rules say what it lacks");
    assert_lines_are_fit(&zones);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn one_answer_garbled_opens_no_gate_and_is_mended_later(
        nth in 0usize..14, is_locked in any::<bool>(), change in change(),
    ) {
        simulated(play(Some(nth), is_locked, &change));
    }

    #[test]
    fn store_garbled_opens_no_gate_and_is_mended_later(is_locked in any::<bool>(), change in change()) {
        simulated(play(None, is_locked, &change));
    }
}

/// `OUTSIDE_BYTES` = how many of each; the default is what a test run can afford.
#[expect(clippy::disallowed_methods, reason = "how long a test runs is no setting")]
fn cases() -> u32 {
    std::env::var("OUTSIDE_BYTES").map_or(150, |n| n.parse().expect("OUTSIDE_BYTES is a number"))
}

fn simulated(play: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(play);
}

#[test]
fn visitors_are_those_of_the_values_that_stay() {
    for (value, visitor) in STAY.iter().zip(VISITORS) {
        let net: ipnet::IpNet =
            value.parse().unwrap_or_else(|_| value.parse::<IpAddr>().unwrap().into());
        assert!(net.contains(&visitor.parse::<IpAddr>().unwrap()));
    }
}

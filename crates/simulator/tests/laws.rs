//! Laws of the whole world: repeatability, and that what a client sees agrees with what happened,
//! under random but seeded requests and faults.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};
use simulator::decisions::{Mix, generate_mix};
use simulator::options::PendingMode;
use simulator::{Entry, Fate, Options, Outcome, Reply, Service, Simulator};

/// A small generator of its own: the world's is not public, and a judge should not lend its dice.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

const FAULTS: &[&str] = &[
    "cloudflare PUT times=1: drop-after-effect",
    "cloudflare POST times=1: drop-before-effect",
    "cloudflare GET times=1: cut-body 20",
    "cloudflare times=1: delay 3s",
    "cloudflare DELETE times=1: stuck-operation",
    "cloudflare PUT times=1: fail-operation no luck",
    "lapi times=1: refuse",
    "cloudflare GET times=2: answer 502 <html>",
    "cloudflare times=1: answer-after-effect 502 <html>",
    "cloudflare POST times=1: slow-operation 30s",
    "cloudflare GET times=1: null-result",
    "cloudflare times=2: no-result",
    "cloudflare GET times=1: repeat-item",
    "cloudflare GET times=2: repeat-page",
    "cloudflare times=2: insert-item 10.0.0.1",
    "cloudflare times=2: remove-item 10.0.0.2",
];

/// Plays a random game of `turns` requests and returns the world and everything that it said.
fn play(seed: u64, turns: usize, mode: PendingMode) -> (Simulator, Vec<String>) {
    let mut options = Options { seed, ..Options::default() };
    options.cloudflare.pending_mode = mode;
    let mut world = Simulator::new(options);
    let lists = ["ban", "captcha"].map(|name| world.cloudflare().create_list(name));
    world.lapi().add_all(generate_mix(50, seed, &Mix::untidy()));
    let mut dice = Dice(seed);
    let mut now = Duration::ZERO;
    let mut said = Vec::new();
    for _ in 0..turns {
        now += Duration::from_millis(dice.roll(1_500));
        let list = &lists[dice.roll(2) as usize];
        let values: BTreeSet<u64> = (0..dice.roll(6)).map(|_| dice.roll(10)).collect();
        let entry = |n: &u64| json!({ "ip": format!("10.0.0.{n}") });
        let items = Value::from_iter(values.iter().map(entry));
        let ids: Vec<Value> = world
            .cloudflare()
            .items(list)
            .into_iter()
            .filter(|_| dice.roll(2) == 0)
            .map(|item| json!({ "id": item.id }))
            .collect();
        let path = format!("/{list}/items");
        let reply = match dice.roll(6) {
            0 => lists_request(&mut world, now, Method::POST, &path, &items),
            1 => lists_request(&mut world, now, Method::PUT, &path, &items),
            2 => lists_request(&mut world, now, Method::DELETE, &path, &json!({ "items": ids })),
            3 => lists_request(&mut world, now, Method::GET, &path, &Value::Null),
            4 => {
                let request = Request::get("/v1/decisions")
                    .header("x-api-key", world.options().lapi.key.clone())
                    .body(Bytes::new());
                world.handle(now, Service::Lapi, request.unwrap())
            }
            _ => {
                world.inject(FAULTS[dice.roll(FAULTS.len() as u64) as usize].parse().unwrap());
                if dice.roll(4) == 0 {
                    world.clear_faults();
                }
                continue;
            }
        };
        said.push(format!("{:?} {:?}", reply.after, reply.outcome));
    }
    (world, said)
}

fn lists_request(
    world: &mut Simulator,
    now: Duration,
    method: Method,
    path: &str,
    body: &Value,
) -> Reply {
    let options = &world.options().cloudflare;
    let request = Request::builder()
        .method(method)
        .uri(format!("/client/v4/accounts/{}/rules/lists{path}", options.account_id))
        .header("authorization", format!("Bearer {}", options.api_token))
        .header("content-type", "application/json")
        .body(if body.is_null() { Bytes::new() } else { body.to_string().into() });
    world.handle(now, Service::Cloudflare, request.unwrap())
}

#[test]
fn game_with_the_same_seed_twice_gives_the_same_bytes() {
    for seed in 0..20 {
        let (one, said_one) = play(seed, 100, PendingMode::Reject);
        let (two, said_two) = play(seed, 100, PendingMode::Reject);
        assert_eq!(said_one, said_two, "seed {seed}");
        assert_eq!(one.journal(), two.journal(), "seed {seed}");
        assert_eq!(one.violations(), two.violations(), "seed {seed}");
    }
    assert_ne!(play(1, 100, PendingMode::Reject).1, play(2, 100, PendingMode::Reject).1);
}

#[test]
fn history_replayed_from_the_beginning_is_the_content_of_the_lists() {
    for (seed, mode) in (0..40).zip([PendingMode::Reject, PendingMode::Queue].into_iter().cycle()) {
        let (mut world, _) = play(seed, 150, mode);
        let cloudflare = world.cloudflare();
        for (id, name) in cloudflare.lists() {
            let mut replayed = BTreeSet::new();
            for change in cloudflare.edge_history().iter().filter(|change| change.list_id == id) {
                for removed in &change.removed {
                    assert!(
                        replayed.remove(removed),
                        "seed {seed} {name}: {removed} was not there"
                    );
                }
                for added in &change.added {
                    assert!(replayed.insert(added.clone()), "seed {seed} {name}: {added} twice");
                }
            }
            assert_eq!(replayed, cloudflare.values(&id), "seed {seed} {name}");
        }
    }
}

#[test]
fn operations_of_one_account_never_overlap_and_failed_ones_change_nothing() {
    for (seed, mode) in (0..40).zip([PendingMode::Reject, PendingMode::Queue].into_iter().cycle()) {
        let (mut world, _) = play(seed, 150, mode);
        let delay = world.options().cloudflare.operation_delay;
        let cloudflare = world.cloudflare();
        let ends: Vec<_> =
            cloudflare.operations().iter().filter_map(|operation| operation.finished).collect();
        assert!(ends.is_sorted(), "seed {seed}");
        for operation in cloudflare.operations() {
            let acted = cloudflare
                .edge_history()
                .iter()
                .filter(|change| change.operation_id.as_ref() == Some(&operation.id))
                .count();
            let completed = operation.finished.is_some() && operation.error.is_none();
            assert_eq!(acted, usize::from(completed), "seed {seed}: {operation:?}");
            if let Some(finished) = operation.finished {
                assert!(finished >= operation.accepted + delay, "seed {seed}: {operation:?}");
            }
        }
    }
}

#[test]
fn world_healed_and_left_alone_has_no_unfinished_operation() {
    for (seed, mode) in (0..40).zip([PendingMode::Reject, PendingMode::Queue].into_iter().cycle()) {
        let (mut world, _) = play(seed, 150, mode);
        world.clear_faults();
        world.advance(Duration::from_secs(3_600));
        let operations = world.cloudflare().operations();
        assert!(operations.iter().all(|operation| operation.finished.is_some()), "seed {seed}");
    }
}

#[test]
fn counters_agree_with_the_journal() {
    let (world, _) = play(3, 400, PendingMode::Reject);
    for service in Service::ALL {
        let entries = || world.journal().iter().filter(|entry| entry.service == service);
        let counters = world.counters(service);
        assert_eq!(counters.requests, entries().count() as u64);
        let answered = |entry: &&Entry| matches!(entry.fate, Fate::Status(_));
        assert_eq!(
            counters.answered_ok + counters.answered_error,
            entries().filter(answered).count() as u64
        );
        assert_eq!(counters.bytes_out, entries().map(|entry| entry.bytes_out).sum::<u64>());
    }
}

#[test]
fn secret_sent_to_the_wrong_service_is_noted() {
    let mut world = Simulator::new(Options::default());
    let key = world.options().lapi.key.clone();
    let request = Request::get("/client/v4/").header("x-api-key", key).body(Bytes::new()).unwrap();
    let reply = world.handle(Duration::ZERO, Service::Cloudflare, request);
    assert!(matches!(reply.outcome, Outcome::Response(_)));
    assert!(world.violations().iter().any(|rule| rule.contains("the LAPI key was sent to")));
}

#[test]
fn clock_advanced_ends_bans_and_operations_without_waiting() {
    let mut world = Simulator::new(Options::default());
    let list = world.cloudflare().create_list("ban");
    let put = json!([{ "ip": "192.0.2.1" }]);
    lists_request(&mut world, Duration::ZERO, Method::PUT, &format!("/{list}/items"), &put);
    assert!(world.cloudflare().values(&list).is_empty());
    world.advance(Duration::from_secs(1));
    assert_eq!(world.cloudflare().values(&list).len(), 1);
    assert_eq!(world.now(), Duration::from_secs(1));
}

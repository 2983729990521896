//! Laws of Workers KV under random but seeded requests: what is listed is what was stored a lag ago,
//! the history tells the whole story, and size costs nothing that it need not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};
use simulator::{KvEntryView, Options, Outcome, Service, Simulator};

type Content = BTreeMap<String, KvEntryView>;

/// A small generator of its own: the world's is not public, and a judge should not lend its dice.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn ask(
    world: &mut Simulator,
    now: Duration,
    method: Method,
    path: &str,
    body: &Value,
) -> Option<Value> {
    let options = &world.options().cloudflare;
    let request = Request::builder()
        .method(method)
        .uri(format!("/client/v4/accounts/{}/storage/kv/namespaces/{path}", options.account_id))
        .header("authorization", format!("Bearer {}", options.api_token))
        .header("content-type", "application/json")
        .body(if body.is_null() { Bytes::new() } else { body.to_string().into() });
    match world.handle(now, Service::Cloudflare, request.unwrap()).outcome {
        Outcome::Response(response) => serde_json::from_slice(response.body()).ok(),
        _ => None,
    }
}

/// The listing, page by page, without values.
fn listing(
    world: &mut Simulator,
    now: Duration,
    namespace: &str,
    limit: u64,
) -> BTreeMap<String, (Option<u64>, Option<Value>)> {
    let mut keys = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let sent = cursor.replace('+', "%2B");
        let path = format!("{namespace}/keys?limit={limit}&cursor={sent}");
        let page = ask(world, now, Method::GET, &path, &Value::Null).expect("a page");
        for key in page["result"].as_array().unwrap() {
            let name = key["name"].as_str().unwrap().to_owned();
            let shown = (key["expiration"].as_u64(), key.get("metadata").cloned());
            assert!(keys.insert(name, shown).is_none(), "{key} was listed twice");
        }
        match page["result_info"]["cursor"].as_str().unwrap_or_default() {
            "" => return keys,
            next => cursor = next.to_owned(),
        }
    }
}

fn without_values(content: &Content) -> BTreeMap<String, (Option<u64>, Option<Value>)> {
    let shown = |entry: &KvEntryView| (entry.expiration_unix, entry.metadata.clone());
    content.iter().map(|(key, entry)| (key.clone(), shown(entry))).collect()
}

/// A random bulk request.
fn write(world: &mut Simulator, now: Duration, namespace: &str, dice: &mut Dice) {
    let keys = (0..40).filter(|_| dice.roll(5) == 0).map(|n| format!("ip:{n}"));
    let keys: Vec<String> = keys.collect();
    if dice.roll(3) == 0 {
        ask(world, now, Method::POST, &format!("{namespace}/bulk/delete"), &json!(keys));
        return;
    }
    let mut pair = |key: &String| {
        let value = ["ban", "captcha"][dice.roll(2) as usize];
        let (ttl, version) = (60 + dice.roll(60), dice.roll(2));
        json!({ "key": key, "value": value, "expiration_ttl": ttl, "metadata": { "v": version } })
    };
    let pairs = Value::from_iter(keys.iter().map(&mut pair));
    ask(world, now, Method::PUT, &format!("{namespace}/bulk"), &pairs);
}

/// A world with this lag, and its content at the end of each whole second of a random game.
fn play(seed: u64, lag: Duration) -> (Simulator, String, Vec<Content>) {
    let mut options = Options { seed, ..Options::default() };
    options.cloudflare.kv_list_lag = lag;
    let mut world = Simulator::new(options);
    let namespace = world.cloudflare().create_namespace("crowdsec");
    let mut dice = Dice(seed);
    let mut seconds = Vec::new();
    for second in 0..300 {
        let now = Duration::from_secs(second);
        world.tick(now);
        if dice.roll(4) == 0 {
            write(&mut world, now, &namespace, &mut dice);
        }
        seconds.push(world.cloudflare().kv_entries(&namespace));
        let past = second.checked_sub(lag.as_secs());
        let expected = past.map(|past| without_values(&seconds[past as usize]));
        let listed = listing(&mut world, now, &namespace, 10 + dice.roll(20));
        assert_eq!(listed, expected.unwrap_or_default(), "seed {seed}, second {second}");
    }
    (world, namespace, seconds)
}

#[test]
fn listing_is_what_was_stored_a_lag_ago_and_nothing_outlives_its_expiration() {
    for (seed, lag) in (0..30).zip([0, 1, 7, 60].into_iter().cycle()) {
        let (world, _, seconds) = play(seed, Duration::from_secs(lag));
        let start = world.options().start.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        for (second, content) in (start..).zip(&seconds) {
            let expirations = content.values().filter_map(|entry| entry.expiration_unix);
            assert!(expirations.min().is_none_or(|first| first > second), "seed {seed}");
        }
    }
}

#[test]
fn history_replayed_gives_the_values_of_every_second_and_the_absences_between() {
    for seed in 0..20 {
        let (mut world, namespace, seconds) = play(seed, Duration::ZERO);
        let cloudflare = world.cloudflare();
        let history = cloudflare.kv_history(&namespace);
        assert!(history.is_sorted_by_key(|change| change.at), "seed {seed}");
        let mut replayed = BTreeMap::new();
        let mut changes = history.iter().peekable();
        for (second, content) in (0..).map(Duration::from_secs).zip(&seconds) {
            while let Some(change) = changes.next_if(|change| change.at <= second) {
                let old = match &change.value {
                    Some(value) => replayed.insert(change.key.clone(), value.clone()),
                    None => replayed.remove(&change.key),
                };
                assert_ne!(old, change.value, "seed {seed}: {change:?} changes nothing");
            }
            let values = content.iter().map(|(key, entry)| (key.clone(), entry.value.clone()));
            assert_eq!(replayed, values.collect(), "seed {seed}");
        }
        // Everything here happens at whole seconds, so that a key is there for all of one or for none.
        for (from, to) in [(0, 300), (60, 120), (100, 101), (250, 299)] {
            let span = Duration::from_secs(from)..Duration::from_secs(to);
            for key in (0..40).map(|n| format!("ip:{n}")) {
                let during = &seconds[from as usize..to as usize];
                let expected = during.iter().any(|content| !content.contains_key(&key));
                let was_absent = cloudflare.kv_was_absent(&namespace, &key, span.clone());
                assert_eq!(was_absent, expected, "seed {seed}: {key} in {span:?}");
            }
        }
    }
}

#[test]
fn namespace_of_150000_keys_is_written_listed_and_emptied_in_pages() {
    let began = Instant::now();
    let mut world = Simulator::new(Options::default());
    let namespace = world.cloudflare().create_namespace("crowdsec");
    let keys: Vec<String> = (0..150_000).map(|n| format!("ip:{n:06}")).collect();
    for chunk in keys.chunks(10_000) {
        let pair = |key| json!({ "key": key, "value": "ban", "expiration_ttl": 14_400 });
        let body = Value::from_iter(chunk.iter().map(pair));
        ask(&mut world, Duration::ZERO, Method::PUT, &format!("{namespace}/bulk"), &body);
    }
    assert!(listing(&mut world, Duration::ZERO, &namespace, 1_000).into_keys().eq(keys));
    let counters = world.cloudflare().kv_counters();
    assert_eq!((counters.bulk_writes, counters.list_calls), (15, 150));
    assert_eq!((counters.pairs_written, counters.identical_rewrites), (150_000, 0));
    world.advance(Duration::from_secs(14_400));
    assert!(world.cloudflare().kv_entries(&namespace).is_empty());
    // In seconds without optimisation; anything quadratic would take hours.
    assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
}

#[test]
fn game_with_the_same_seed_twice_gives_the_same_namespace_and_history() {
    let [one, two] = [(), ()].map(|()| play(5, Duration::from_secs(7)));
    assert_eq!((&one.1, &one.2), (&two.1, &two.2));
    assert_eq!(one.0.journal(), two.0.journal());
}

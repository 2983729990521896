//! Laws of the edge under random but seeded changes of lists and rules: it does what their content says,
//! a lag only makes it late, and what is refused or lost changes nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};
use simulator::{Options, Outcome, Service, Simulator, Verdict, Visitor};

/// A small generator of its own: the world's is not public, and a judge should not lend its dice.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// Some of sixteen addresses, and now and then a range over four of them.
    fn set(&mut self) -> BTreeSet<String> {
        let value = |dice: &mut Self| match dice.roll(5) {
            0 => format!("10.0.0.{}/30", dice.roll(4) * 4),
            _ => format!("10.0.0.{}", dice.roll(16)),
        };
        (0..self.roll(4)).map(|_| value(self)).collect()
    }
}

fn addresses() -> impl Iterator<Item = IpAddr> {
    (0..16).map(|n| IpAddr::from([10, 0, 0, n]))
}

/// One rule as the client means it.
#[derive(Debug, Clone, Default, PartialEq)]
struct Delta {
    lifted: BTreeSet<String>,
    fresh: BTreeSet<String>,
}

impl Delta {
    fn expression(&self, list: &str) -> String {
        let set = |values: &BTreeSet<String>| {
            values.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        let base = format!("ip.src in ${list}");
        let base = match self.lifted.is_empty() {
            true => base,
            false => format!("({base} and not ip.src in {{{}}})", set(&self.lifted)),
        };
        match self.fresh.is_empty() {
            true => base,
            false => format!("{base} or ip.src in {{{}}}", set(&self.fresh)),
        }
    }

    fn matches(&self, list: &BTreeSet<String>, ip: IpAddr) -> bool {
        (covers(list, ip) && !covers(&self.lifted, ip)) || covers(&self.fresh, ip)
    }
}

/// Worked out from the text of single addresses and of ranges of four, not by a library.
fn covers(set: &BTreeSet<String>, ip: IpAddr) -> bool {
    let IpAddr::V4(ip) = ip else { return false };
    let last = ip.octets()[3];
    set.contains(&format!("10.0.0.{last}")) || set.contains(&format!("10.0.0.{}/30", last / 4 * 4))
}

/// Two lists, two rules, two zones; the client's and everybody's random deeds.
struct Game {
    world: Simulator,
    now: Duration,
    lists: [String; 2],
    zones: [(String, String); 2],
    /// By zone and rule: what is in force.
    deltas: [[Delta; 2]; 2],
}

const NAMES: [(&str, &str); 2] = [("ban", "block"), ("captcha", "managed_challenge")];

impl Game {
    fn new(seed: u64, lag: Duration) -> Self {
        let mut options = Options { seed, ..Options::default() };
        options.cloudflare.waf_edge_lag = lag;
        options.cloudflare.list_edge_lag = lag;
        let mut world = Simulator::new(options);
        let lists = NAMES.map(|(name, _)| world.cloudflare().create_list(name));
        let zones = ["example.com", "example.org"].map(|name| {
            let zone = world.cloudflare().create_zone(name);
            for (list, action) in NAMES {
                let id = world.cloudflare().add_rule(&zone, action, &format!("ip.src in ${list}"));
                let name = |rule: &mut simulator::RuleView| rule.reference = list.to_owned();
                world.cloudflare().edit_rule(&zone, &id, name);
            }
            (zone, String::new())
        });
        let mut game =
            Self { world, now: Duration::ZERO, lists, zones, deltas: Default::default() };
        for zone in 0..2 {
            let path =
                format!("{}/phases/http_request_firewall_custom/entrypoint", game.root(zone));
            let found = game.send(Method::GET, &path, &Value::Null).unwrap();
            game.zones[zone].1 = found["result"]["id"].as_str().unwrap().to_owned();
        }
        game
    }

    fn root(&self, zone: usize) -> String {
        format!("/zones/{}/rulesets", self.zones[zone].0)
    }

    /// The answer's body if there was a whole one.
    fn send(&mut self, method: Method, path: &str, body: &Value) -> Option<Value> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/client/v4{path}"))
            .header(
                "authorization",
                format!("Bearer {}", self.world.options().cloudflare.api_token),
            )
            .header("content-type", "application/json")
            .body(if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) })
            .unwrap();
        match self.world.handle(self.now, Service::Cloudflare, request).outcome {
            Outcome::Response(response) => serde_json::from_slice(response.body()).ok(),
            _ => None,
        }
    }

    fn turn(&mut self, dice: &mut Dice) {
        self.now += Duration::from_millis(dice.roll(3_000));
        let which = dice.roll(2) as usize;
        match dice.roll(10) {
            0 => {
                let text = [
                    "cloudflare times=1: drop-after-effect",
                    "cloudflare times=1: drop-before-effect",
                    "cloudflare PATCH times=1: answer-after-effect 502 <html>",
                    "cloudflare PUT times=1: fail-operation no luck",
                    "cloudflare PUT times=1: slow-operation 20s",
                    "cloudflare PATCH times=1: edit-rules add log true",
                    "cloudflare PATCH times=1: edit-rules renew-ids",
                ][dice.roll(7) as usize];
                self.world.inject(text.parse().unwrap());
            }
            1..4 => {
                let items = dice.set().into_iter().map(|value| json!({ "ip": value }));
                let account = self.world.options().cloudflare.account_id.clone();
                let path = format!("/accounts/{account}/rules/lists/{}/items", self.lists[which]);
                self.send(Method::PUT, &path, &items.collect());
            }
            _ => self.patch(dice.roll(2) as usize, which, dice),
        }
    }

    /// Changes a rule's delta; what is in force afterwards is read from the world's inside, as text.
    fn patch(&mut self, zone: usize, which: usize, dice: &mut Dice) {
        let (list, action) = NAMES[which];
        let delta = Delta { lifted: dice.set(), fresh: dice.set() };
        // Sometimes a text that is refused.
        let tail = if dice.roll(8) == 0 { " or ip.src in {10.0.0.1/30}" } else { "" };
        let expression = delta.expression(list) + tail;
        let rules = self.world.cloudflare().rules(&self.zones[zone].0).unwrap();
        let rule = rules.iter().find(|rule| rule.reference == list).unwrap();
        let path = format!("{}/{}/rules/{}", self.root(zone), self.zones[zone].1, rule.id);
        let body = json!({ "ref": list, "expression": expression, "action": action });
        self.send(Method::PATCH, &path, &body);
        let rules = self.world.cloudflare().rules(&self.zones[zone].0).unwrap();
        let stored = &rules.iter().find(|rule| rule.reference == list).unwrap().expression;
        if *stored == expression {
            assert_eq!(tail, "", "an illegal text was taken");
            self.deltas[zone][which] = delta;
        }
    }

    /// What the client's rules mean for an address, if nothing is late.
    fn meant(&mut self, zone: usize, ip: IpAddr) -> Verdict {
        let lists = self.lists.clone().map(|list| self.world.cloudflare().values(&list));
        let [ban, captcha] = &self.deltas[zone];
        match (ban.matches(&lists[0], ip), captcha.matches(&lists[1], ip)) {
            (true, _) => Verdict::Block,
            (false, true) => Verdict::Challenge,
            (false, false) => Verdict::Pass,
        }
    }
}

#[test]
fn edge_without_lag_does_after_every_turn_what_lists_and_rules_say() {
    let mut met = BTreeSet::new();
    for seed in 0..60 {
        let (mut game, mut dice) = (Game::new(seed, Duration::ZERO), Dice(seed));
        for turn in 0..120 {
            game.turn(&mut dice);
            game.world.tick(game.now);
            for zone in 0..2 {
                for ip in addresses() {
                    let meant = game.meant(zone, ip);
                    let id = game.zones[zone].0.clone();
                    let verdict = game.world.edge().decide(&id, ip, &Visitor::default());
                    assert_eq!(verdict, meant, "seed {seed}, turn {turn}, zone {zone}, {ip}");
                    met.insert(verdict);
                }
            }
        }
    }
    assert_eq!(met.len(), 3, "a game that shows nothing proves nothing");
}

#[test]
fn edge_with_a_lag_tells_the_same_stories_later() {
    let lag = Duration::from_secs(7);
    for seed in 0..40 {
        let play = |lag| {
            let (mut game, mut dice) = (Game::new(seed, lag), Dice(seed));
            (0..120).for_each(|_| game.turn(&mut dice));
            game.now += Duration::from_secs(60);
            game.world.tick(game.now);
            game
        };
        let (mut punctual, mut late) = (play(Duration::ZERO), play(lag));
        assert_eq!(punctual.deltas, late.deltas, "seed {seed}");
        let end = punctual.now;
        for zone in 0..2 {
            let id = punctual.zones[zone].0.clone();
            for ip in addresses() {
                let nobody = Visitor::default();
                let story =
                    |game: &mut Game, span| game.world.edge().verdicts_over(&id, ip, &nobody, span);
                let expected = story(&mut punctual, Duration::ZERO..end);
                // What was set up at the start is there at once in both.
                let told = story(&mut late, Duration::ZERO..end + lag);
                let earlier =
                    |(at, verdict): (Duration, Verdict)| (at.saturating_sub(lag), verdict);
                let told: Vec<_> = told.into_iter().map(earlier).collect();
                assert_eq!(told, expected, "seed {seed}, zone {zone}, {ip}");
            }
        }
    }
}

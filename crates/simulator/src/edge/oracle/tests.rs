//! Stories of visitors at the edge, from inside the oracle and through Cloudflare's front door.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Map, Value, json};

use super::*;
use crate::fault::Fault;
use crate::options::{CloudflareOptions, Options};
use crate::random::Random;
use crate::reply::{Outcome, Service};
use crate::world::Simulator;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn rule(reference: &str, action: &str, expression: &str) -> RuleView {
    RuleView {
        id: reference.to_owned(),
        reference: reference.to_owned(),
        expression: expression.to_owned(),
        action: action.to_owned(),
        description: String::new(),
        enabled: true,
        extra: Map::new(),
    }
}

/// An edge of one zone with these rules.
fn edge(rules: &[RuleView]) -> Edge {
    let mut edge = Edge::default();
    edge.set_rules("z", Duration::ZERO, &rules.iter().collect::<Vec<_>>());
    edge
}

#[test]
fn first_rule_that_ends_the_matter_decides() {
    let mut current = rule("skip", "skip", "ip.src in {192.0.2.0/28}");
    current.extra.insert("action_parameters".to_owned(), json!({ "ruleset": "current" }));
    let mut off = rule("off", "block", "true");
    off.enabled = false;
    let mut products = rule("products", "skip", "true");
    products.extra.insert("action_parameters".to_owned(), json!({ "products": ["waf"] }));
    let edge = edge(&[
        off,
        rule("log", "log", "true"),
        products,
        rule("odd", "block", "any(http.request.headers[\"a\"][*] eq \"b\")"),
        rule("host", "block", "http.host eq \"x\""),
        current,
        rule("captcha", "managed_challenge", "ip.src in {192.0.2.0/26}"),
        rule("ban", "block", "ip.src in {192.0.2.0/25}"),
        rule("js", "js_challenge", "ip.src.country eq \"CN\" or ip.src.asnum in {64496}"),
    ]);
    let (nobody, chinese) = (Visitor::default(), Visitor::from("CN", 0));
    let passed = Visitor { has_passed_challenge: true, ..Visitor::from("XX", 64_496) };
    for (address, visitor, verdict, decided_by) in [
        ("192.0.2.1", &nobody, Verdict::Pass, Some("skip")),
        ("192.0.2.17", &nobody, Verdict::Challenge, Some("captcha")),
        ("192.0.2.17", &passed, Verdict::Block, Some("ban")),
        ("192.0.2.65", &nobody, Verdict::Block, Some("ban")),
        ("192.0.2.129", &nobody, Verdict::Pass, None),
        ("192.0.2.129", &chinese, Verdict::Challenge, Some("js")),
        ("192.0.2.129", &passed, Verdict::Pass, None),
    ] {
        assert_eq!(edge.decide("z", ip(address), visitor), verdict, "{address} {visitor:?}");
        assert_eq!(edge.deciding_rule("z", Duration::ZERO, ip(address), visitor), decided_by);
    }
    assert_eq!(edge.not_understood("z"), ["odd"]);
    assert_eq!(edge.decide("another", ip("192.0.2.65"), &nobody), Verdict::Pass);
}

#[test]
fn story_of_an_address_tells_every_change_of_its_verdict_and_no_other() {
    let ban = |expression| [rule("ban", "block", expression)];
    let mut edge = edge(&ban("ip.src in $ban"));
    let texts =
        |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    edge.change_list(
        "1",
        Some("ban"),
        seconds(10),
        &texts(&["192.0.2.0/24", "not an address"]),
        &[],
    );
    for (at, expression) in [
        (20, "ip.src in $ban and not ip.src in {192.0.2.7}"),
        (30, "(ip.src in $ban and not ip.src in {192.0.2.7}) or ip.src in {198.51.100.1}"),
        (50, "ip.src in $ban"),
    ] {
        let rules = ban(expression);
        edge.set_rules("z", seconds(at), &rules.iter().collect::<Vec<_>>());
    }
    edge.change_list("1", None, seconds(40), &texts(&["198.51.100.1"]), &texts(&["192.0.2.0/24"]));
    // Two changes at one moment: nobody meets what was between them.
    edge.set_rules("z", seconds(60), &[]);
    let rules = ban("ip.src in $ban");
    edge.set_rules("z", seconds(60), &rules.iter().collect::<Vec<_>>());
    let story = |address| {
        let span = Duration::ZERO..seconds(100);
        let story = edge.verdicts_over("z", ip(address), &Visitor::default(), span);
        story.into_iter().map(|(at, verdict)| (at.as_secs(), verdict)).collect::<Vec<_>>()
    };
    use Verdict::{Block, Pass};
    assert_eq!(story("192.0.2.7"), [(0, Pass), (10, Block), (20, Pass)]);
    assert_eq!(story("192.0.2.8"), [(0, Pass), (10, Block), (40, Pass)]);
    assert_eq!(story("198.51.100.1"), [(0, Pass), (30, Block)]);
    assert_eq!(edge.changes("z"), [0, 10, 20, 30, 40, 50, 60].map(seconds));
    for (span, blocked) in [(0..100, 30), (15..25, 10), (35..50, 5), (40..90, 0), (10..10, 0)] {
        let span = seconds(span.start)..seconds(span.end);
        let is_blocked = |verdict| verdict == Block;
        let time = edge.time_while("z", ip("192.0.2.8"), &Visitor::default(), span, is_blocked);
        assert_eq!(time, seconds(blocked));
    }
}

/// A zone whose rule blocks what is on a list, as a client changes it.
struct World {
    simulator: Simulator,
    now: Duration,
    zone: String,
    list: String,
    rule: String,
}

impl World {
    fn new(change: impl FnOnce(&mut CloudflareOptions)) -> Self {
        let mut options = Options::default();
        change(&mut options.cloudflare);
        let mut simulator = Simulator::new(options);
        let zone = simulator.cloudflare().create_zone("example.com");
        let list = simulator.cloudflare().create_list("ban");
        let rule = simulator.cloudflare().add_rule(&zone, "block", "ip.src in $ban");
        Self { simulator, now: Duration::ZERO, zone, list, rule }
    }

    fn send(&mut self, method: Method, path: &str, body: &Value) -> Value {
        let token = &self.simulator.options().cloudflare.api_token;
        let request = Request::builder()
            .method(method)
            .uri(format!("/client/v4{path}"))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) })
            .unwrap();
        match self.simulator.handle(self.now, Service::Cloudflare, request).outcome {
            Outcome::Response(response) => serde_json::from_slice(response.body()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn patch(&mut self, expression: &str) {
        let root = format!("/zones/{}/rulesets", self.zone);
        let entry_point = format!("{root}/phases/http_request_firewall_custom/entrypoint");
        let ruleset = self.send(Method::GET, &entry_point, &Value::Null);
        let ruleset = ruleset["result"]["id"].as_str().unwrap().to_owned();
        let body = json!({ "ref": self.rule, "expression": expression, "action": "block" });
        let answer =
            self.send(Method::PATCH, &format!("{root}/{ruleset}/rules/{}", self.rule), &body);
        assert_eq!(answer["success"], true, "{answer}");
    }

    fn put(&mut self, values: &[&str]) {
        let account = self.simulator.options().cloudflare.account_id.clone();
        let path = format!("/accounts/{account}/rules/lists/{}/items", self.list);
        let items = Value::from_iter(values.iter().map(|value| json!({ "ip": value })));
        let answer = self.send(Method::PUT, &path, &items);
        assert_eq!(answer["success"], true, "{answer}");
    }

    fn at(&mut self, at: Duration) -> &mut Self {
        self.now = at;
        self.simulator.tick(at);
        self
    }

    fn story(&mut self, address: &str) -> Vec<(u128, Verdict)> {
        let span = Duration::ZERO..self.now;
        let zone = self.zone.clone();
        let edge = self.simulator.edge();
        let story = edge.verdicts_over(&zone, ip(address), &Visitor::default(), span);
        story.into_iter().map(|(at, verdict)| (at.as_millis(), verdict)).collect()
    }
}

use Verdict::{Block, Pass};

#[test]
fn change_of_list_or_rule_reaches_the_edge_after_its_lag_and_in_order() {
    let mut world = World::new(|options| {
        options.waf_edge_lag = seconds(120);
        options.list_edge_lag = seconds(30);
    });
    world.simulator.cloudflare().preload(&world.list.clone(), ["192.0.2.9"]);
    assert_eq!(world.story("192.0.2.9"), [], "no time has passed");
    world.patch("ip.src in $ban or ip.src in {192.0.2.1}");
    world.at(seconds(10)).put(&["192.0.2.2"]);
    world.at(seconds(100)).patch("ip.src in $ban");
    // What was changed before has the lag of before, and is not overtaken.
    world.simulator.cloudflare().configure(|options| options.waf_edge_lag = Duration::ZERO);
    world.at(seconds(110)).patch("ip.src in $ban or ip.src in {192.0.2.3}");
    world.at(seconds(400));
    assert_eq!(world.story("192.0.2.1"), [(0, Pass), (120_000, Block), (220_000, Pass)]);
    assert_eq!(world.story("192.0.2.2"), [(0, Pass), (40_700, Block)]);
    assert_eq!(world.story("192.0.2.9"), [(0, Block), (40_700, Pass)], "preloaded long ago");
    assert_eq!(world.story("192.0.2.3"), [(0, Pass), (220_000, Block)]);
}

#[test]
fn lag_that_varies_is_never_longer_than_it_may_be_nor_out_of_order() {
    let most = seconds(120);
    let mut lags = BTreeSet::new();
    for seed in 0..50 {
        let mut world = World::new(|options| {
            options.waf_edge_lag = most;
            options.edge_lag_varies = true;
        });
        world.simulator = {
            let mut options = world.simulator.options().clone();
            options.seed = seed;
            let mut simulator = Simulator::new(options);
            world.zone = simulator.cloudflare().create_zone("example.com");
            world.list = simulator.cloudflare().create_list("ban");
            world.rule = simulator.cloudflare().add_rule(&world.zone, "block", "false");
            simulator
        };
        for minute in 1..10 {
            world.at(seconds(minute * 60)).patch(&format!("ip.src in {{192.0.2.{minute}}}"));
        }
        let zone = world.zone.clone();
        let changes = world.at(seconds(1_000)).simulator.edge().changes(&zone);
        assert!(changes.is_sorted() && changes.last().unwrap() <= &seconds(9 * 60 + 120));
        lags.extend(changes.get(1).map(|first| first.saturating_sub(seconds(60))));
    }
    assert!(lags.len() > 30 && lags.iter().all(|lag| *lag <= most), "{lags:?}");
}

#[test]
fn list_removed_and_made_anew_holds_what_the_new_one_holds() {
    let mut world = World::new(|_| {});
    let list = world.list.clone();
    world.simulator.cloudflare().preload(&list, ["192.0.2.1", "2001:db8::1/64"]);
    let zone = world.zone.clone();
    world.at(seconds(10)).simulator.cloudflare().edit_rules(&zone, &"delete-all".parse().unwrap());
    let account = world.simulator.options().cloudflare.account_id.clone();
    let answer = world.send(
        Method::DELETE,
        &format!("/accounts/{account}/rules/lists/{list}"),
        &Value::Null,
    );
    assert_eq!(answer["success"], true, "{answer}");
    world.at(seconds(20)).list = world.simulator.cloudflare().create_list("ban");
    let list = world.list.clone();
    world.simulator.cloudflare().preload(&list, ["192.0.2.2"]);
    world.at(seconds(30)).simulator.cloudflare().add_rule(&zone, "block", "ip.src in $ban");
    world.at(seconds(40));
    assert_eq!(world.story("192.0.2.1"), [(0, Block), (10_000, Pass)]);
    assert_eq!(world.story("192.0.2.2"), [(0, Pass), (30_000, Block)]);
    assert_eq!(
        world.story("2001:db8::ffff"),
        [(0, Block), (10_000, Pass)],
        "host bits are cleared"
    );
}

#[test]
fn refused_and_lost_changes_have_no_effect_at_the_edge_and_those_without_an_answer_have() {
    let mut world = World::new(|_| {});
    let fault = |text: &str| text.parse::<Fault>().unwrap();
    world.simulator.inject(fault("cloudflare PUT /items times=1: fail-operation no luck"));
    world.put(&["192.0.2.1"]);
    world.at(seconds(10));
    world
        .simulator
        .inject(fault("cloudflare PUT /items times=1: answer-after-effect 502 {\"success\":true}"));
    world.put(&["192.0.2.2"]);
    world.at(seconds(20));
    assert_eq!(world.story("192.0.2.1"), [(0, Pass)]);
    assert_eq!(world.story("192.0.2.2"), [(0, Pass), (10_700, Block)]);
}

#[test]
fn story_of_an_address_is_the_same_as_looking_at_every_moment() {
    let mut dice = Random::new(7, "stories");
    for game in 0..60 {
        let mut edge = Edge::default();
        let address = |n: u64| format!("192.0.2.{n}");
        for at in 1..30 {
            let mut set = || {
                let values = (0..dice.below(4)).map(|_| match dice.below(4) {
                    0 => "192.0.2.0/30".to_owned(),
                    _ => address(dice.below(8)),
                });
                values.collect::<Vec<_>>()
            };
            let (lifted, fresh, listed) = (set(), set(), set());
            let list = if dice.percent(90) { "$ban" } else { "$captcha" };
            let expression = format!(
                "(ip.src in {list} and not ip.src in {{{}}}) or ip.src in {{{}}}",
                lifted.join(" "),
                fresh.join(" ")
            );
            let mut rules = [
                rule("a", if dice.percent(80) { "block" } else { "log" }, &expression),
                rule("b", "managed_challenge", "ip.src in $captcha"),
            ];
            rules[0].enabled = dice.percent(90);
            if dice.percent(10) {
                rules.reverse();
            }
            match dice.below(3) {
                0 => edge.change_list("1", Some("ban"), seconds(at), &listed, &[]),
                1 => edge.change_list("2", Some("captcha"), seconds(at), &[], &listed),
                _ => edge.set_rules("z", seconds(at), &rules.iter().collect::<Vec<_>>()),
            }
        }
        for n in 0..8 {
            let (ip, nobody) = (ip(&address(n)), Visitor::default());
            let told = edge.verdicts_over("z", ip, &nobody, Duration::ZERO..seconds(40));
            let mut looked: Vec<(Duration, Verdict)> = Vec::new();
            for at in (0..40).map(seconds) {
                let verdict = edge.decide_at("z", at, ip, &nobody);
                if looked.last().is_none_or(|(_, last)| *last != verdict) {
                    looked.push((at, verdict));
                }
            }
            assert_eq!(told, looked, "game {game}, {ip}");
        }
    }
}

#[test]
fn two_weeks_of_changes_in_three_zones_are_told_for_every_address_in_seconds() {
    let began = std::time::Instant::now();
    let mut edge = Edge::default();
    let listed: Vec<String> =
        (0..10_000_u32).map(|n| std::net::Ipv4Addr::from(n << 8).to_string()).collect();
    edge.change_list("1", Some("ban"), Duration::ZERO, &listed, &[]);
    let address = |n: u64| IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + n as u32));
    let changes: u64 = 14 * 24 * 5;
    for n in 0..changes {
        let alive = (n.saturating_sub(19)..=n).map(|n| address(n).to_string()).collect::<Vec<_>>();
        let expression = format!("(ip.src in $ban) or ip.src in {{{}}}", alive.join(" "));
        let rules = [
            rule("ban", "block", &expression),
            rule("captcha", "managed_challenge", "ip.src in $none"),
        ];
        for zone in ["a", "b", "c"] {
            edge.set_rules(zone, seconds(n * 720), &rules.iter().collect::<Vec<_>>());
        }
    }
    let end = seconds(changes * 720);
    for n in 0..changes {
        for zone in ["a", "b", "c"] {
            let is_blocked = |verdict| verdict == Block;
            let time = edge.time_while(
                zone,
                address(n),
                &Visitor::default(),
                Duration::ZERO..end,
                is_blocked,
            );
            assert_eq!(time, seconds(720 * (changes - n).min(20)));
        }
    }
    assert!(began.elapsed() < seconds(60), "{:?}", began.elapsed());
}

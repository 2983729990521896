//! Random states of lists, texts, decisions and faults: when the faults end, the edge is as desired.
//!
//! `RULES_STATES` is how many are tried, `RULES_SEED` the first; a failure names its seed.

use std::net::IpAddr;
use std::time::Duration;

use simulator::Verdict;

use crate::common::World;
use crate::fixture::{BAN, CAPTCHA, Zones};

const ADDRESSES: [&str; 12] = [
    "203.0.113.0",
    "203.0.113.1",
    "203.0.113.2",
    "203.0.113.3",
    "203.0.113.4",
    "203.0.113.5",
    "203.0.113.6",
    "203.0.113.9",
    "203.0.113.12",
    "2001:db8::1",
    "2001:db8::2",
    "2001:db8:1::1",
];
const RANGES: [&str; 5] =
    ["203.0.113.0/30", "203.0.113.0/29", "203.0.113.4/31", "2001:db8::/64", "2001:db8:1::/48"];
/// The owner: in no range.
const OWNER: &str = "203.0.113.12";

/// What happens to some requests. `ZONE` is a zone.
const FAULTS: [&str; 24] = [
    "cloudflare PATCH: answer 400 no",
    "cloudflare PATCH: answer 403 no",
    "cloudflare PATCH: answer 409 no",
    "cloudflare PATCH: answer 429 no",
    "cloudflare PATCH: answer 503 no",
    "cloudflare PATCH: drop-after-effect",
    "cloudflare PATCH skip=1 times=1: drop-after-effect",
    "cloudflare PATCH: drop-before-effect",
    "cloudflare PATCH: cut-body 30",
    "cloudflare PATCH: answer-after-effect 502 no",
    "cloudflare PATCH times=1: edit-rules renew-ids",
    "cloudflare PATCH skip=1 times=1: edit-rules renew-ids",
    "cloudflare PATCH times=1: edit-rules add log http.host eq \"c\"",
    "cloudflare PATCH /ZONE: answer 400 no",
    "cloudflare PATCH /ZONE: silent",
    "cloudflare GET /ZONE: answer 500 no",
    "cloudflare GET /items: answer 500 no",
    "cloudflare POST /items: drop-after-effect",
    "cloudflare DELETE /items: drop-after-effect",
    "cloudflare POST /items: answer 429 no",
    "cloudflare DELETE /items: answer 429 no",
    "cloudflare POST /items times=1: slow-operation 5m",
    "cloudflare /bulk_operations: answer 500 no",
    "lapi: refuse",
];

struct Random(fastrand::Rng);

impl Random {
    fn some<'a>(&mut self, of: &[&'a str], most: usize) -> Vec<&'a str> {
        let count = self.0.usize(0..=most);
        let mut all = of.to_vec();
        self.0.shuffle(&mut all);
        all.truncate(count);
        all
    }

    /// A text of our grammar, often none that anybody would have written.
    fn expression(&mut self, list: &str) -> String {
        let all: Vec<&str> = ADDRESSES.iter().chain(&RANGES).copied().collect();
        let (lifted, fresh) = (self.some(&all, 4), self.some(&all, 4));
        let mut text = format!("(ip.src in ${list}");
        if !lifted.is_empty() && self.0.bool() {
            text.push_str(&format!(" and not ip.src in {{{}}}", lifted.join(" ")));
        }
        text.push(')');
        if !fresh.is_empty() && self.0.bool() {
            text.push_str(&format!(" or ip.src in {{{}}}", fresh.join(" ")));
        }
        text
    }
}

/// What a visitor should meet, by another reading of the decisions than the core's.
fn wanted(bans: &[&str], captchas: &[&str], address: &str) -> Verdict {
    let ip: IpAddr = address.parse().unwrap();
    let has = |of: &[&str]| {
        of.iter().any(|value| match value.contains('/') {
            true => value.parse::<ipnet::IpNet>().unwrap().contains(&ip),
            false => value.parse::<IpAddr>().unwrap() == ip,
        })
    };
    match (has(bans), has(captchas)) {
        _ if address == OWNER => Verdict::Pass,
        (true, _) => Verdict::Block,
        (false, true) => Verdict::Challenge,
        (false, false) => Verdict::Pass,
    }
}

async fn play(seed: u64) {
    let mut random = Random(fastrand::Rng::with_seed(seed));
    let mut zones = Zones::with(2, |options| {
        options.seed = seed;
        let knobs = &mut options.cloudflare;
        knobs.list_edge_lag = Duration::from_secs(random.0.u64(0..110));
        knobs.waf_edge_lag = Duration::from_secs(random.0.u64(0..20));
        knobs.operation_delay = Duration::from_millis(random.0.u64(0..40_000));
        knobs.waf_equal_patch_bumps = random.0.bool();
    });
    zones.set("scopes", "ip,range");
    zones.set("never_block", OWNER);
    // Removals are what this is about, and they are wanted at once.
    zones.set("removal_confirm_runs", "1");
    if random.0.bool() {
        zones.set("write_interval_seconds", "3600");
    }
    let all: Vec<&str> = ADDRESSES.iter().chain(&RANGES).copied().collect();
    let (on_ban, on_captcha) = (random.some(&all, 8), random.some(&all, 8));
    zones.preload(&on_ban, &on_captcha);
    for zone in 0..2 {
        for (rule, list) in [(BAN, "crowdsec_ban"), (CAPTCHA, "crowdsec_captcha")] {
            let text = random.expression(list);
            zones.edit(zone, &format!("set {rule} {text}"));
        }
    }
    let others: Vec<_> = zones.others().into_iter().map(|rule| rule.expression).collect();
    let (mut bans, mut captchas) = (Vec::new(), Vec::new());
    let mut decide = |random: &mut Random, zones: &World| {
        for value in bans.drain(..).chain(captchas.drain(..)) {
            zones.front.world().lapi().remove_value(value);
        }
        (bans, captchas) = (random.some(&all, 7), random.some(&all, 5));
        bans.iter().for_each(|value| zones.ban(value));
        captchas.iter().for_each(|value| zones.captcha(value));
        (bans.clone(), captchas.clone())
    };
    let is_locked = random.0.bool();
    let mut last = decide(&mut random, &zones);
    for _ in 0..random.0.usize(1..5) {
        zones.unlock();
        for fault in random.some(&FAULTS, 3) {
            zones.fault(&fault.replace("ZONE", &zones.ids[random.0.usize(0..2)]));
        }
        if random.0.bool() {
            last = decide(&mut random, &zones);
        }
        for _ in 0..random.0.usize(1..4) {
            let _ = zones.next().await;
        }
    }
    zones.unlock();
    if is_locked {
        zones.lock();
    }
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(1_800)).await;
        let _ = zones.run().await;
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    let (bans, captchas) = last;
    for address in ADDRESSES {
        for zone in 0..2 {
            assert_eq!(
                zones.verdict_in(zone, address),
                wanted(&bans, &captchas, address),
                "seed {seed}: {address}, bans {bans:?}, captchas {captchas:?}, lists {:?}, {:#?}",
                zones.edge(),
                zones.expressions(zone)
            );
        }
    }
    let is: Vec<_> = zones.others().into_iter().map(|rule| rule.expression).collect();
    let is: Vec<_> = is.into_iter().filter(|text| text != "http.host eq \"c\"").collect();
    assert_eq!(is, others, "seed {seed}: the rules of others");
    zones.assert_no_violations();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how many are tried is the caller's to say")]
fn random_state_when_the_faults_end_is_as_desired_at_the_edge() {
    let number = |name, default| match std::env::var(name) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => default,
    };
    let (first, count) = (number("RULES_SEED", 1), number("RULES_STATES", 500));
    for seed in first..first + count {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(play(seed));
    }
}

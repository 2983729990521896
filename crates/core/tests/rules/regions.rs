//! Countries and autonomous systems, which only an expression can name.

use edge_sync_core::log::Level;
use simulator::Decision;
use simulator::Verdict::{Block, Challenge, Pass};
use std::time::Duration;

use crate::fixture::{BAN, CAPTCHA, Zones};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn region(zones: &Zones, kind: &str, scope: &str, value: &str) {
    let decision = Decision::ban(value).kind(kind).scope(scope).until(YEAR);
    zones.front.world().lapi().add(decision);
}

fn zones() -> Zones {
    let mut zones = Zones::new(1);
    zones.set("scopes", "ip,range,country,as");
    zones
}

#[tokio::test(start_paused = true)]
async fn country_and_as_stand_in_the_text_with_the_owner_excepted_and_the_ban_before_the_challenge()
{
    let mut zones = zones();
    zones.set("never_block", "198.51.100.0/28");
    region(&zones, "ban", "Country", "cn");
    region(&zones, "ban", "AS", "AS64496");
    region(&zones, "ban", "as", "64497");
    region(&zones, "captcha", "country", "T1");
    zones.run().await.unwrap();
    for (ip, country, asn, verdict) in [
        ("203.0.113.7", "CN", 1, Block),
        ("203.0.113.7", "DE", 64_496, Block),
        ("203.0.113.7", "DE", 64_497, Block),
        ("203.0.113.7", "T1", 1, Challenge),
        ("203.0.113.7", "DE", 1, Pass),
        ("198.51.100.3", "CN", 64_496, Pass),
        ("198.51.100.3", "T1", 1, Pass),
        ("198.51.100.16", "CN", 1, Block),
    ] {
        assert_eq!(zones.verdict_of(ip, country, asn), verdict, "{ip} {country} {asn}");
    }
    assert!(zones.success());
    // For good: they are no delta that drains.
    for _ in 0..5 {
        zones.next().await.unwrap();
    }
    assert_eq!(zones.patches().len(), 2);
    assert_eq!(zones.verdict_of("203.0.113.7", "CN", 1), Block);
    zones.lift("cn");
    zones.next().await.unwrap();
    assert_eq!(zones.verdict_of("203.0.113.7", "CN", 1), Pass);
    zones.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn value_that_is_no_region_is_named_and_not_sent() {
    let zones = zones();
    for (scope, value) in [
        ("country", "UK"),
        ("country", "ZZ"),
        ("country", "China"),
        ("as", "x"),
        ("as", "0"),
        ("as", "AS4294967296"),
    ] {
        region(&zones, "ban", scope, value);
    }
    region(&zones, "ban", "country", "XX");
    zones.run().await.unwrap();
    for value in ["UK", "ZZ", "China"] {
        zones.assert_says(Level::Warn, value);
    }
    assert_eq!(
        zones.expression(0, BAN),
        r#"(ip.src in $crowdsec_ban) or ip.src.country in {"XX"}"#
    );
    zones.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn regions_without_zones_and_without_kv_are_counted_and_ignored() {
    let mut zones = zones();
    zones.set("cf_rules_zones", "");
    region(&zones, "ban", "country", "CN");
    zones.run().await.unwrap();
    let skipped = zones.texts(Level::Info).into_iter().find(|text| text.contains("skipped: "));
    assert!(skipped.unwrap().contains("ountry"));
    assert!(zones.is_drained() && zones.success());
}

#[tokio::test(start_paused = true)]
async fn regions_take_half_of_the_text_at_most_and_own_ones_go_first() {
    let mut zones = zones();
    zones.set("rules_characters_max", "400");
    for asn in 64_500..64_560 {
        let decision = Decision::ban(asn.to_string()).scope("as").origin("lists").until(YEAR);
        zones.front.world().lapi().add(decision);
    }
    region(&zones, "ban", "as", "64999");
    let _ = zones.run().await;
    let text = zones.expression(0, BAN);
    assert!(text.len() <= 230 && text.contains("64999"), "{text}");
    assert!(!zones.success());
    zones.assert_says(Level::Warn, "without room");
    // An address has the other half.
    zones.lock();
    (1..10).for_each(|n| zones.ban(&format!("203.0.113.{n}")));
    let _ = zones.next().await;
    assert!((1..10).all(|n| zones.verdict(&format!("203.0.113.{n}")) == Block));
    // Without room for the exception nothing of them is sent.
    let owners: Vec<String> = (1..30).map(|n| format!("198.51.100.{}", 2 * n)).collect();
    zones.set("never_block", &owners.join(","));
    let _ = zones.next().await;
    assert!(!zones.expression(0, BAN).contains("asnum"));
    zones.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn regions_that_are_refused_are_left_out_of_the_next_attempt_and_said() {
    let zones = zones();
    zones.run().await.unwrap();
    zones.lock();
    region(&zones, "ban", "country", "CN");
    zones.ban("203.0.113.7");
    zones.fault("cloudflare PATCH times=1: answer 400 [content-type: application/json] {\"success\":false,\"errors\":[{\"code\":20127,\"message\":\"country\"}],\"result\":null}");
    zones.next().await.unwrap_err();
    assert_eq!(zones.verdict("203.0.113.7"), Pass);
    zones.next().await.unwrap();
    assert_eq!(zones.verdict("203.0.113.7"), Block);
    assert_eq!(zones.verdict_of("198.51.100.7", "CN", 1), Pass);
    assert!(!zones.success(), "something that is desired is not in force");
    assert_eq!(zones.rule_metric(0, "ban", "waiting"), 1.0);
    for _ in 0..725 {
        let _ = zones.next().await;
    }
    assert_eq!(
        zones.verdict_of("198.51.100.7", "CN", 1),
        Block,
        "a day later they are tried again"
    );
}

#[tokio::test(start_paused = true)]
async fn refusal_that_is_not_because_of_the_regions_leaves_those_that_are_in_force() {
    let zones = zones();
    region(&zones, "captcha", "country", "CN");
    zones.run().await.unwrap();
    zones.lock();
    zones.fault("cloudflare PATCH: answer 400 no");
    zones.captcha("203.0.113.7");
    for _ in 0..60 {
        let _ = zones.next().await;
        assert_eq!(zones.verdict_of("198.51.100.7", "CN", 1), Challenge);
    }
    zones.unlock();
    zones.lock();
    for _ in 0..60 {
        let _ = zones.next().await;
    }
    assert_eq!(zones.verdict_of("203.0.113.7", "CN", 1), Challenge);
    assert_eq!(zones.verdict_of("198.51.100.7", "CN", 1), Challenge);
    assert!(zones.expression(0, CAPTCHA).contains("203.0.113.7"));
}

#[tokio::test(start_paused = true)]
async fn region_that_is_refused_takes_none_with_it_that_is_in_force() {
    let zones = zones();
    region(&zones, "ban", "country", "CN");
    region(&zones, "captcha", "country", "T1");
    zones.run().await.unwrap();
    zones.lock();
    region(&zones, "ban", "as", "64496");
    zones.ban("203.0.113.7");
    zones.fault("cloudflare PATCH times=1: answer 400 no");
    for _ in 0..10 {
        let _ = zones.next().await;
        assert_eq!(zones.verdict_of("198.51.100.7", "CN", 1), Block);
        assert_eq!(zones.verdict_of("198.51.100.7", "T1", 1), Challenge);
    }
    assert_eq!(zones.verdict("203.0.113.7"), Block);
    assert_eq!(zones.verdict_of("198.51.100.7", "DE", 64_496), Pass);
    zones.assert_says(Level::Warn, "left out for a day");
    // Refused once more with those that are in force: then without any, so that addresses are in step.
    zones.fault("cloudflare PATCH times=1: answer 400 no");
    zones.ban("203.0.113.8");
    for _ in 0..10 {
        let _ = zones.next().await;
    }
    assert_eq!(zones.verdict("203.0.113.8"), Block);
    assert_eq!(zones.verdict_of("198.51.100.7", "CN", 1), Pass);
}

//! A text without room: who goes first, who waits, and that the list is written then.

use edge_sync_core::log::Level;
use simulator::Decision;
use simulator::Verdict::{Block, Challenge, Pass};
use std::time::Duration;

use crate::fixture::{BAN, Zones};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn community(zones: &Zones, address: &str) {
    let decision = Decision::ban(address).origin("CAPI").scenario("http:scan").until(YEAR);
    zones.front.world().lapi().add(decision);
}

#[tokio::test(start_paused = true)]
async fn full_text_has_the_lifted_then_own_bans_then_the_communitys_and_counts_who_waits() {
    let mut zones = Zones::new(1);
    zones.set("rules_characters_max", "200");
    (1..=3).for_each(|n| zones.ban(&format!("203.0.113.{n}")));
    zones.run().await.unwrap();
    zones.lock();
    (1..=20).for_each(|n| community(&zones, &format!("198.51.100.{n}")));
    let _ = zones.next().await;
    assert!(!zones.success());
    let waiting = zones.rule_metric(0, "ban", "waiting");
    let fresh = zones.rule_metric(0, "ban", "fresh");
    assert_eq!(waiting + fresh, 20.0);
    zones.assert_says(Level::Warn, "without room");
    // Who comes later and is more important takes the place.
    (4..=6).for_each(|n| zones.ban(&format!("203.0.113.{n}")));
    (1..=2).for_each(|n| zones.lift(&format!("203.0.113.{n}")));
    let _ = zones.next().await;
    zones.assert_verdicts(&[
        ("203.0.113.1", Pass),
        ("203.0.113.2", Pass),
        ("203.0.113.3", Block),
        ("203.0.113.4", Block),
        ("203.0.113.6", Block),
    ]);
    assert!(zones.rule_metric(0, "ban", "waiting") > waiting);
    assert!(zones.expression(0, BAN).len() <= 200);
    // Nothing is written again for those who wait.
    let patches = zones.patches().len();
    for _ in 0..10 {
        let _ = zones.next().await;
    }
    assert_eq!(zones.patches().len(), patches);
    // Not even the LIFTED have room: an owner goes before all others.
    (7..=40).for_each(|n| zones.captcha(&format!("203.0.113.{n}")));
    let _ = zones.next().await;
    assert_eq!(zones.verdict("203.0.113.1"), Pass);
    zones.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn list_is_urgent_when_something_waits_or_the_text_is_nearly_full_and_else_it_is_not() {
    for (bans, is_urgent) in [(2, false), (5, false), (9, true), (30, true)] {
        let mut zones = Zones::new(1);
        zones.set("rules_characters_max", "200");
        zones.set("write_interval_seconds", "86400");
        zones.run().await.unwrap();
        let operations = zones.operations();
        (10..10 + bans).for_each(|n| zones.ban(&format!("198.51.100.{n}")));
        // The last one is on the list too, or the rule says all of it.
        let last = format!("198.51.100.{}", 9 + bans);
        let _ = zones.next().await;
        assert_eq!(zones.verdict(&last), Block, "{bans}");
        assert_eq!(zones.operations() > operations, is_urgent, "{bans}");
        assert_eq!(zones.ban_list().is_empty(), !is_urgent, "{bans}");
        assert!(zones.success());
    }
}

#[tokio::test(start_paused = true)]
async fn challenges_without_room_wait_and_come_when_there_is_some() {
    let mut zones = Zones::new(1);
    zones.set("rules_characters_max", "200");
    zones.run().await.unwrap();
    zones.lock();
    (10..40).for_each(|n| zones.captcha(&format!("198.51.100.{n}")));
    let _ = zones.next().await;
    let challenged = |zones: &Zones| {
        (10..40).filter(|n| zones.verdict(&format!("198.51.100.{n}")) == Challenge).count()
    };
    let few = challenged(&zones);
    assert!((5..30).contains(&few), "{few}");
    zones.set("rules_characters_max", "4000");
    let _ = zones.next().await;
    assert_eq!(challenged(&zones), 30);
    assert!(zones.success());
}

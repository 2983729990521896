//! Two things at once: what somebody does while we are between two requests, and what is lost then.

use std::time::Duration;

use edge_sync_core::log::Level;
use simulator::Verdict::{Block, Challenge, Pass};

use crate::fixture::{BAN, CAPTCHA, INTERVAL, Zones, locked};

/// A locked zone in which both rules are to change, the ban first.
async fn both_change() -> Zones {
    let zones = locked(1).await;
    zones.ban("203.0.113.7");
    zones.captcha("203.0.113.8");
    zones
}

#[tokio::test(start_paused = true)]
async fn rule_that_a_person_switches_off_between_our_two_changes_stays_off() {
    let zones = both_change().await;
    zones.fault(&format!("cloudflare PATCH times=1: edit-rules disable {CAPTCHA}"));
    let _ = zones.next().await;
    assert!(!zones.rule(0, CAPTCHA).enabled, "{:?}", zones.rule(0, CAPTCHA));
    assert_eq!(zones.verdict("203.0.113.7"), Block);
    zones.assert_says(Level::Warn, "somebody else wrote");
    zones.next().await.unwrap();
    assert!(!zones.rule(0, CAPTCHA).enabled);
    zones.assert_says(Level::Warn, "switched off");
}

#[tokio::test(start_paused = true)]
async fn rule_that_a_person_rewrites_between_our_two_changes_is_left_as_he_wrote_it() {
    for text in [
        "(ip.src in $crowdsec_captcha and ssl)",
        "(ip.src in $crowdsec_captcha) or ip.src in {192.0.2.9}",
    ] {
        let zones = both_change().await;
        zones.fault(&format!("cloudflare PATCH times=1: edit-rules set {CAPTCHA} {text}"));
        zones.next().await.unwrap_err();
        assert_eq!(zones.expression(0, CAPTCHA), text);
        zones.assert_says(Level::Error, "somebody else changed the rule");
        assert_eq!(zones.verdict("203.0.113.7"), Block);
    }
}

#[tokio::test(start_paused = true)]
async fn ids_renewed_between_our_two_changes_are_found_in_the_same_run() {
    let zones = both_change().await;
    // Before the first: its id is gone. Before the second, by the first one's answer.
    zones.fault("cloudflare PATCH skip=1 times=1: edit-rules renew-ids");
    let _ = zones.next().await;
    let _ = zones.next().await;
    zones.assert_verdicts(&[("203.0.113.7", Block), ("203.0.113.8", Challenge)]);
    zones.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn what_a_person_does_while_the_list_is_written_is_not_undone_by_the_change_after_it() {
    let zones = Zones::with(1, |options| {
        options.cloudflare.operation_delay = Duration::from_secs(20);
    });
    zones.run().await.unwrap();
    zones.ban("203.0.113.7");
    zones.captcha("203.0.113.8");
    // The ban's operation succeeds after 20 s, the challenge's is refused: that is left to the rule.
    zones.fault(&format!("cloudflare POST /{}: answer 400 no", zones.captcha_list));
    let person = async {
        tokio::time::sleep(INTERVAL + Duration::from_secs(10)).await;
        zones.edit(0, &format!("disable {CAPTCHA}"));
    };
    let (_, ()) = tokio::join!(zones.next(), person);
    assert!(!zones.rule(0, CAPTCHA).enabled);
    assert!(zones.expression(0, CAPTCHA).contains("203.0.113.8"));
    assert_eq!(zones.verdict("203.0.113.7"), Block);
}

#[tokio::test(start_paused = true)]
async fn ban_that_is_refused_keeps_the_challenge_of_who_was_to_be_banned() {
    for refusal in ["400 no", "403 no", "409 no", "503 no"] {
        let zones = Zones::new(1);
        zones.captcha("203.0.113.7");
        zones.run().await.unwrap();
        zones.lock();
        zones.lift("203.0.113.7");
        zones.ban("203.0.113.7");
        let id = zones.rule(0, BAN).id;
        zones.fault(&format!("cloudflare PATCH /{id}: answer {refusal}"));
        for _ in 0..40 {
            let _ = zones.next().await;
            assert_eq!(zones.verdict("203.0.113.7"), Challenge, "{refusal}");
        }
        zones.unlock();
        zones.lock();
        for _ in 0..40 {
            let _ = zones.next().await;
        }
        assert_eq!(zones.verdict("203.0.113.7"), Block, "{refusal}");
    }
}

#[tokio::test(start_paused = true)]
async fn stale_read_of_the_list_after_a_lost_write_and_a_slow_edge_open_nothing() {
    let zones = Zones::with(1, |options| {
        options.cloudflare.list_read_lag = Duration::from_secs(200);
        options.cloudflare.list_edge_lag = Duration::from_secs(110);
    });
    zones.run().await.unwrap();
    tokio::time::sleep(3 * INTERVAL).await;
    zones.lock();
    zones.ban("203.0.113.7");
    zones.next().await.unwrap();
    let from = zones.front.elapsed();
    zones.unlock();
    zones.fault("cloudflare POST /items times=1: drop-after-effect");
    for _ in 0..1_500 {
        let _ = zones.next().await;
    }
    let until = zones.front.elapsed();
    assert_eq!(zones.time_not("203.0.113.7", from..until, Block), Duration::ZERO);
    assert!(zones.is_drained());
}

#[tokio::test(start_paused = true)]
async fn address_that_is_unbanned_and_banned_again_while_the_lists_content_is_under_way_is_right() {
    let zones = Zones::with(1, |options| {
        options.cloudflare.operation_delay = Duration::from_secs(200);
    });
    zones.ban("203.0.113.7");
    for _ in 0..4 {
        let _ = zones.next().await;
    }
    assert_eq!(zones.ban_list(), ["203.0.113.7"]);
    // The removal is accepted, and its end not seen in this run.
    zones.lift("203.0.113.7");
    let _ = zones.next().await;
    assert_eq!(zones.verdict("203.0.113.7"), Pass, "{:?}", zones.expressions(0));
    zones.ban("203.0.113.7");
    let _ = zones.next().await;
    let from = zones.front.elapsed();
    for _ in 0..20 {
        let _ = zones.next().await;
        assert_eq!(zones.verdict("203.0.113.7"), Block, "{:?}", zones.expressions(0));
    }
    let until = zones.front.elapsed();
    println!("open again for {:?}", zones.time_not("203.0.113.7", from..until, Block));
}

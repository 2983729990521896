//! The two levels: when the delta is used, when it drains, and that nobody sees the change.

use std::time::Duration;

use edge_sync_core::log::Level;
use simulator::Verdict::{Block, Challenge, Pass};

use crate::fixture::{BAN, INTERVAL, Zones};

#[tokio::test(start_paused = true)]
async fn account_that_takes_list_writes_gets_no_change_of_a_rule() {
    let zones = Zones::new(2);
    zones.ban("203.0.113.7");
    zones.captcha("203.0.113.8");
    zones.run().await.unwrap();
    zones.assert_verdicts(&[("203.0.113.7", Block), ("203.0.113.8", Challenge)]);
    zones.lift("203.0.113.7");
    zones.ban("203.0.113.9");
    for _ in 0..4 {
        zones.next().await.unwrap();
        zones.assert_verdicts(&[("203.0.113.7", Pass), ("203.0.113.9", Block)]);
    }
    assert_eq!(zones.patches().len(), 0);
    zones.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn list_that_is_locked_has_its_changes_in_force_by_the_rules_as_a_success() {
    let zones = Zones::new(3);
    zones.ban("203.0.113.1");
    zones.run().await.unwrap();
    zones.lock();
    zones.ban("203.0.113.7");
    zones.captcha("203.0.113.8");
    zones.lift("203.0.113.1");
    let others = zones.others();
    zones.next().await.unwrap();
    zones.assert_verdicts(&[
        ("203.0.113.7", Block),
        ("203.0.113.8", Challenge),
        ("203.0.113.1", Pass),
    ]);
    assert!(zones.success());
    assert_eq!(zones.metric("crowdsec_cf_list_sync_drift"), Some(3.0));
    assert_eq!(zones.metric("crowdsec_cf_list_sync_rules_writes"), Some(6.0));
    for zone in 0..3 {
        assert_eq!(zones.rule_metric(zone, "ban", "fresh"), 1.0);
        assert_eq!(zones.rule_metric(zone, "ban", "lifted"), 1.0);
        assert_eq!(zones.rule_metric(zone, "captcha", "fresh"), 1.0);
        let characters = zones.expression(zone, BAN).len() as f64;
        assert_eq!(zones.rule_metric(zone, "ban", "characters"), characters);
    }
    // Nothing is written again while nothing changes.
    for _ in 0..20 {
        zones.next().await.unwrap();
        assert!(zones.success());
    }
    assert_eq!(zones.patches().len(), 6, "one for each rule and zone");
    assert_eq!(zones.others(), others);
    zones.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn delta_drains_after_the_list_was_read_and_nobody_sees_it_however_slow_the_edge_is() {
    let zones = Zones::with(1, |options| {
        options.cloudflare.list_edge_lag = Duration::from_secs(115);
        options.cloudflare.waf_edge_lag = Duration::from_secs(20);
    });
    zones.ban("203.0.113.1");
    zones.run().await.unwrap();
    tokio::time::sleep(INTERVAL).await;
    zones.lock();
    zones.lift("203.0.113.1");
    zones.ban("203.0.113.7");
    zones.next().await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let from = zones.front.elapsed();
    zones.assert_verdicts(&[("203.0.113.1", Pass), ("203.0.113.7", Block)]);
    for _ in 0..10 {
        zones.next().await.unwrap();
    }
    zones.unlock();
    let mut drained = None;
    for run in 0..1_500 {
        let writes = zones.list_writes();
        let operations = zones.operations();
        zones.next().await.unwrap();
        if zones.operations() > operations {
            assert!(zones.list_writes() > writes);
            assert!(!zones.is_drained(), "in the run that has written");
            drained = Some(run);
        }
        match drained {
            // Read for the first time: two minutes have to pass.
            Some(written) if run == written + 1 => assert!(!zones.is_drained()),
            Some(written) if run == written + 2 => assert!(zones.is_drained()),
            _ => {}
        }
    }
    assert!(drained.is_some() && zones.is_drained());
    tokio::time::sleep(INTERVAL).await;
    let until = zones.front.elapsed();
    assert_eq!(zones.time_not("203.0.113.7", from..until, Block), Duration::ZERO);
    assert_eq!(zones.time_not("203.0.113.1", from..until, Pass), Duration::ZERO);
    zones.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn list_write_whose_answer_was_lost_drains_only_when_the_edge_has_it() {
    let zones = Zones::with(1, |options| {
        options.cloudflare.list_edge_lag = Duration::from_secs(115);
        options.cloudflare.operation_delay = Duration::from_secs(170);
    });
    zones.run().await.unwrap();
    zones.lock();
    zones.ban("203.0.113.7");
    zones.next().await.unwrap();
    let from = zones.front.elapsed();
    zones.unlock();
    zones.fault("cloudflare POST /items: drop-after-effect");
    for _ in 0..60 {
        let _ = zones.next().await;
    }
    zones.unlock();
    for _ in 0..720 {
        let _ = zones.next().await;
    }
    let until = zones.front.elapsed();
    assert_eq!(zones.time_not("203.0.113.7", from..until, Block), Duration::ZERO);
    assert!(zones.is_drained() && zones.ban_list() == ["203.0.113.7"]);
}

#[tokio::test(start_paused = true)]
async fn another_program_that_writes_the_list_makes_no_gap_either() {
    let zones = Zones::with(1, |options| {
        options.cloudflare.list_edge_lag = Duration::from_secs(115);
    });
    zones.run().await.unwrap();
    zones.lock();
    zones.ban("203.0.113.7");
    zones.next().await.unwrap();
    let from = zones.front.elapsed();
    tokio::time::sleep(Duration::from_secs(115)).await;
    // Just before our run reads.
    zones.preload(&["192.0.2.1", "203.0.113.7"], &[]);
    let _ = zones.run().await;
    assert!(!zones.is_drained());
    for _ in 0..3 {
        let _ = zones.next().await;
    }
    assert!(zones.is_drained());
    let until = zones.front.elapsed();
    assert_eq!(zones.time_not("203.0.113.7", from..until, Block), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn fresh_address_not_desired_any_more_goes_at_once_and_lifted_one_desired_again_too() {
    let zones = Zones::new(1);
    zones.ban("203.0.113.1");
    zones.run().await.unwrap();
    zones.lock();
    zones.ban("203.0.113.7");
    zones.lift("203.0.113.1");
    zones.next().await.unwrap();
    zones.assert_verdicts(&[("203.0.113.7", Block), ("203.0.113.1", Pass)]);
    zones.lift("203.0.113.7");
    zones.ban("203.0.113.1");
    zones.next().await.unwrap();
    zones.assert_verdicts(&[("203.0.113.7", Pass), ("203.0.113.1", Block)]);
}

#[tokio::test(start_paused = true)]
async fn write_interval_of_hours_makes_few_list_writes_and_the_same_edge() {
    let mut counts = Vec::new();
    for interval in ["0", "21600"] {
        let mut zones = Zones::new(1);
        zones.set("write_interval_seconds", interval);
        zones.run().await.unwrap();
        for n in 1..=60 {
            let address = format!("203.0.113.{n}");
            zones.ban(&address);
            if n > 10 {
                zones.lift(&format!("203.0.113.{}", n - 10));
            }
            for _ in 0..6 {
                zones.next().await.unwrap();
                assert_eq!(zones.verdict(&address), Block);
                assert!(zones.success());
            }
            if n > 10 {
                assert_eq!(zones.verdict(&format!("203.0.113.{}", n - 10)), Pass);
            }
        }
        counts.push((zones.operations(), zones.patches().len()));
        zones.assert_no_violations();
    }
    let [(often, none), (seldom, some)] = counts[..] else { unreachable!() };
    assert!(often >= 60 && none == 0, "{counts:?}");
    assert!(seldom <= 6 && some > 0, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn rules_outside_of_the_named_zones_keep_the_list_urgent() {
    for is_alone in [true, false] {
        let mut zones = Zones::new(1);
        if !is_alone {
            zones.add_unnamed();
        }
        zones.set("write_interval_seconds", "86400");
        zones.ban("203.0.113.1");
        zones.run().await.unwrap();
        zones.ban("203.0.113.7");
        zones.next().await.unwrap();
        assert_eq!(zones.verdict("203.0.113.7"), Block);
        assert_eq!(zones.edge().0.contains(&"203.0.113.7".to_owned()), !is_alone);
    }
}

#[tokio::test(start_paused = true)]
async fn removals_that_the_guard_holds_stay_matched() {
    let zones = Zones::new(1);
    let addresses: Vec<String> = (1..=40).map(|n| format!("203.0.113.{n}")).collect();
    addresses.iter().for_each(|address| zones.ban(address));
    zones.run().await.unwrap();
    zones.lock();
    addresses.iter().for_each(|address| zones.lift(address));
    zones.ban("198.51.100.1");
    zones.next().await.unwrap();
    assert!(addresses.iter().all(|address| zones.verdict(address) == Block));
    assert_eq!(zones.verdict("198.51.100.1"), Block);
    zones.assert_says(Level::Warn, "guard");
    // Confirmed, they are lifted by the rule, though the list is locked.
    for _ in 0..20 {
        let _ = zones.next().await;
    }
    assert!(addresses.iter().all(|address| zones.verdict(address) == Pass));
}

#[tokio::test(start_paused = true)]
async fn what_capacity_leaves_out_neither_fills_the_delta_nor_is_lifted() {
    let mut zones = Zones::new(1);
    zones.set("list_items_max", "10");
    zones.set("write_interval_seconds", "86400");
    for n in 1..=10 {
        zones.captcha(&format!("198.51.100.{n}"));
    }
    zones.run().await.unwrap();
    zones.lock();
    for n in 1..=30 {
        zones.ban(&format!("203.0.113.{n}"));
    }
    zones.next().await.unwrap();
    let blocked = (1..=30).filter(|n| zones.verdict(&format!("203.0.113.{n}")) == Block).count();
    assert_eq!(blocked, 9, "as many as have a place beside the one that stays");
    // Desired, displaced, and still there: nothing is opened before the list does it.
    let there = zones.edge().1;
    assert!(there.len() >= 8);
    for address in there {
        assert_eq!(zones.verdict(&address), Challenge, "{address}: {:?}", zones.expressions(0));
    }
}

#[tokio::test(start_paused = true)]
async fn range_set_aside_is_in_the_delta_and_nothing_is_opened_for_its_sake() {
    let mut zones = Zones::with(1, |options| {
        options.cloudflare.refused_values = vec!["203.0.113.0/24".to_owned()];
    });
    zones.set("scopes", "ip,range");
    zones.ban("203.0.113.7");
    zones.captcha("203.0.113.8");
    zones.run().await.unwrap();
    zones.ban("203.0.113.0/24");
    zones.lift("203.0.113.7");
    zones.lift("203.0.113.8");
    for _ in 0..5 {
        let _ = zones.next().await;
        // What stands on the lists is inside of a range that is desired: it stays.
        assert_eq!(zones.verdict("203.0.113.7"), Block, "{:?}", zones.expressions(0));
        assert_ne!(zones.verdict("203.0.113.8"), Pass, "{:?}", zones.expressions(0));
    }
    zones.lock();
    let _ = zones.next().await;
    assert_eq!(zones.verdict("203.0.113.99"), Block, "{:?}", zones.expressions(0));
    assert!(zones.expression(0, BAN).contains("203.0.113.0/24"));
}

#[tokio::test(start_paused = true)]
async fn value_that_the_lists_refuse_stands_in_the_rule_for_as_long_and_the_run_is_a_success() {
    for (list, verdict) in [("ban", Block), ("captcha", Challenge)] {
        let zones = Zones::new(2);
        zones.run().await.unwrap();
        let mut options = zones.front.world().options().clone();
        options.set("cloudflare.refused_values=203.0.113.7").unwrap();
        zones.front.world().cloudflare().configure(|knobs| *knobs = options.cloudflare);
        let before = zones.list_writes();
        if list == "ban" {
            zones.ban("203.0.113.7")
        } else {
            zones.captcha("203.0.113.7")
        }
        let _ = zones.next().await;
        for run in 0..40 {
            assert_eq!(zones.verdict("203.0.113.7"), verdict, "{list}, run {run}");
            zones.next().await.unwrap();
            assert!(zones.success(), "{list}, run {run}");
        }
        zones.assert_says(Level::Warn, "because Cloudflare refuses the value: \"203.0.113.7\"");
        let (patches, writes) = (zones.patches().len(), zones.list_writes() - before);
        assert_eq!(
            (patches, writes),
            (2, 1),
            "{list}: one in each zone, and the one that was refused"
        );
        zones.assert_no_violations();
    }
}

#[tokio::test(start_paused = true)]
async fn move_to_a_list_that_refuses_the_value_is_made_by_the_rules_alone() {
    let zones = Zones::new(1);
    zones.ban("203.0.113.7");
    zones.run().await.unwrap();
    let mut options = zones.front.world().options().clone();
    options.set("cloudflare.refused_values=203.0.113.7").unwrap();
    zones.front.world().cloudflare().configure(|knobs| *knobs = options.cloudflare);
    zones.lift("203.0.113.7");
    zones.captcha("203.0.113.7");
    for _ in 0..5 {
        let _ = zones.next().await;
        assert_eq!(zones.verdict("203.0.113.7"), Challenge);
    }
    assert_eq!((zones.ban_list(), zones.success()), (vec!["203.0.113.7".to_owned()], true));
    zones.assert_no_violations();
}

//! What Cloudflare, and other people, can do to a change; one zone's trouble is no other's.

use std::time::Duration;

use edge_sync_core::log::Level;
use simulator::Verdict::{Block, Challenge, Pass};
use simulator::options::{ExpressionEcho, OmittedFields, Permission};

use crate::fixture::{BAN, CAPTCHA, Zones, locked};

/// Three zones with locked lists, one change that is in force already, and a fault of the second zone's.
async fn with_fault(fault: &str) -> Zones {
    let zones = locked(3).await;
    zones.ban("203.0.113.1");
    zones.next().await.unwrap();
    let (verb, what) = fault.split_once(": ").unwrap();
    let (method, rest) = verb.split_once(' ').unwrap_or((verb, ""));
    zones.fault(
        format!("cloudflare {method} /{} {rest}: {what}", zones.ids[1]).replace(" :", ":").as_str(),
    );
    zones.ban("203.0.113.7");
    zones
}

/// The others have it, the second has what it had.
#[track_caller]
fn assert_only_the_second_lacks_it(zones: &Zones) {
    for zone in [0, 2] {
        assert_eq!(zones.verdict_in(zone, "203.0.113.7"), Block);
    }
    assert_eq!(zones.verdict_in(1, "203.0.113.7"), Pass);
    assert_eq!(zones.verdict("203.0.113.1"), Block, "the last good text stays");
}

fn patches_of_second(zones: &Zones) -> usize {
    zones.patches().iter().filter(|patch| patch.target.contains(&zones.ids[1])).count()
}

#[tokio::test(start_paused = true)]
async fn text_that_is_refused_leaves_the_last_good_one_is_loud_and_is_not_sent_every_two_minutes() {
    let zones = with_fault("PATCH: answer 400 [content-type: application/json] {\"success\":false,\"errors\":[{\"code\":20127,\"message\":\"not a valid value for expression\"}],\"result\":null}").await;
    zones.next().await.unwrap_err();
    zones.assert_says(Level::Error, "20127");
    zones.assert_says(Level::Error, &zones.ids[1]);
    assert_only_the_second_lacks_it(&zones);
    let before = patches_of_second(&zones);
    for _ in 0..28 {
        zones.next().await.unwrap_err();
        assert!(!zones.success());
    }
    assert_eq!(patches_of_second(&zones), before, "the same text");
    for _ in 0..5 {
        zones.next().await.unwrap_err();
    }
    assert_eq!(patches_of_second(&zones), before + 1, "once an hour");
    // Other texts are tried, ever less often.
    for n in 0..60 {
        zones.ban(&format!("198.51.100.{n}"));
        zones.next().await.unwrap_err();
        assert_eq!(zones.verdict_in(0, &format!("198.51.100.{n}")), Block);
    }
    assert!(patches_of_second(&zones) < before + 8, "{}", patches_of_second(&zones));
    assert_only_the_second_lacks_it(&zones);
    zones.unlock();
    zones.lock();
    for _ in 0..31 {
        let _ = zones.next().await;
    }
    assert_eq!(zones.verdict("203.0.113.7"), Block);
    zones.next().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn token_that_may_not_is_told_by_its_permission_and_tried_once_an_hour_or_when_it_is_another()
{
    let mut zones = locked(1).await;
    zones.front.world().cloudflare().configure(|knobs| {
        knobs.waf_permission = Permission::Read;
        knobs.denied = simulator::options::Denial::Uncoded;
        knobs.fresh_token = "another_simulated_token_of_40_characters".to_owned();
    });
    zones.ban("203.0.113.7");
    for _ in 0..28 {
        zones.next().await.unwrap_err();
        zones.assert_says(Level::Error, "Zone WAF > Edit");
    }
    assert_eq!(zones.patches().len(), 1);
    zones.set("cf_api_token", "another_simulated_token_of_40_characters");
    zones.next().await.unwrap();
    assert_eq!(zones.verdict("203.0.113.7"), Block);
}

#[tokio::test(start_paused = true)]
async fn busy_zone_backs_off_alone_and_across_runs() {
    for answer in [
        "409 [content-type: application/json] {\"success\":false,\"errors\":[{\"message\":\"conflict\"}],\"result\":null}",
        "429 [content-type: application/json] {\"success\":false,\"errors\":[{\"message\":\"slow\"}],\"result\":null}",
        "429 [retry-after: 1] <html>429</html>",
        "409 <html></html>",
    ] {
        let zones = with_fault(&format!("PATCH: answer {answer}")).await;
        zones.next().await.unwrap_err();
        assert_only_the_second_lacks_it(&zones);
        for n in 0..90 {
            zones.ban(&format!("198.51.100.{n}"));
            let _ = zones.next().await;
            assert_eq!(zones.verdict_in(0, &format!("198.51.100.{n}")), Block);
            assert!(!zones.success());
        }
        let tried = patches_of_second(&zones);
        assert!((3..10).contains(&tried), "{tried}");
        assert_only_the_second_lacks_it(&zones);
    }
}

#[tokio::test(start_paused = true)]
async fn change_whose_answer_is_lost_or_a_servers_error_is_read_before_anything_else() {
    for (fault, is_made) in [
        ("drop-after-effect", true),
        ("drop-before-effect", false),
        ("cut-body 20", true),
        ("answer-after-effect 502 <html>", true),
        ("answer 503 <html>", false),
        ("silent", false),
        ("null-result", true),
        ("no-result", true),
        ("answer-after-effect 200 <html>", true),
    ] {
        let zones = with_fault(&format!("PATCH times=1: {fault}")).await;
        zones.next().await.unwrap_err();
        zones.assert_says(Level::Error, "could not confirm the change of the rule");
        assert_eq!(zones.verdict_in(1, "203.0.113.7") == Block, is_made, "{fault}");
        assert_eq!(zones.verdict_in(2, "203.0.113.7"), Block, "{fault}");
        let tried = patches_of_second(&zones);
        zones.next().await.unwrap();
        assert_eq!(zones.verdict("203.0.113.7"), Block, "{fault}");
        assert_eq!(patches_of_second(&zones), tried + usize::from(!is_made), "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_whose_id_was_renewed_is_found_again_by_its_ref() {
    // Between runs, and between reading and changing.
    let zones = locked(2).await;
    zones.edit(0, "renew-ids");
    zones.ban("203.0.113.7");
    zones.next().await.unwrap();
    assert_eq!(zones.verdict("203.0.113.7"), Block);
    zones.fault(&format!("cloudflare PATCH /{} times=1: edit-rules renew-ids", zones.ids[0]));
    zones.ban("203.0.113.8");
    zones.next().await.unwrap_err();
    assert_eq!(zones.verdict_in(1, "203.0.113.8"), Block);
    zones.next().await.unwrap();
    assert_eq!(zones.verdict("203.0.113.8"), Block);
    zones.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn somebody_who_writes_meanwhile_is_said_and_not_undone() {
    for edit in [
        "add log http.host eq \"b\"",
        "set OTHER ip.src eq 192.0.2.3",
        "delete OTHER",
        "move-first OTHER",
        "disable OTHER",
    ] {
        let zones = locked(2).await;
        let other = zones.others()[0].reference.clone();
        let edit = edit.replace("OTHER", &other);
        zones.fault(&format!("cloudflare PATCH /{} times=1: edit-rules {edit}", zones.ids[0]));
        zones.ban("203.0.113.7");
        zones.next().await.unwrap();
        zones.assert_says(Level::Warn, "somebody else wrote");
        assert_eq!(zones.verdict("203.0.113.7"), Block, "{edit}");
        let others = zones.others();
        let patches = zones.patches().len();
        zones.next().await.unwrap();
        assert_eq!((zones.others(), zones.patches().len()), (others, patches), "{edit}");
        zones.assert_no_violations();
    }
}

#[tokio::test(start_paused = true)]
async fn rule_switched_off_stays_off_with_a_warning_and_keeps_in_step() {
    let zones = locked(2).await;
    zones.edit(0, &format!("disable {BAN}"));
    zones.ban("203.0.113.7");
    for _ in 0..3 {
        zones.next().await.unwrap();
        zones.assert_says(Level::Warn, "switched off");
    }
    assert!(!zones.rule(0, BAN).enabled);
    assert_eq!(zones.verdict_in(1, "203.0.113.7"), Block);
    zones.edit(0, &format!("enable {BAN}"));
    assert_eq!(zones.verdict("203.0.113.7"), Block, "the moment it is on again it is right");
}

#[tokio::test(start_paused = true)]
async fn rule_that_is_not_as_setup_made_it_is_reported_and_left_alone() {
    for (edit, says) in [
        (format!("double {BAN}"), "several"),
        (format!("delete {BAN}"), "no rule"),
        (
            format!("set {BAN} (ip.src in $crowdsec_ban) or ip.src in {{192.0.2.4..192.0.2.9}}"),
            "not",
        ),
        (format!("set {BAN} (ip.src in $crowdsec_captcha)"), "not"),
        (format!("set {BAN} (ip.src in $crowdsec_ban and ssl)"), "not"),
    ] {
        let zones = locked(2).await;
        zones.edit(0, &edit);
        let before = zones.front.world().cloudflare().rules(&zones.ids[0]).unwrap();
        let before: Vec<_> = before.into_iter().filter(|rule| rule.reference != CAPTCHA).collect();
        zones.ban("203.0.113.7");
        zones.captcha("203.0.113.8");
        for _ in 0..3 {
            zones.next().await.unwrap_err();
            let texts = zones.texts(Level::Warn);
            assert!(
                texts.iter().any(|text| text.contains(BAN) && text.contains(says)),
                "{edit}: {texts:#?}"
            );
            assert!(!zones.success());
        }
        let after = zones.front.world().cloudflare().rules(&zones.ids[0]).unwrap();
        let after: Vec<_> = after.into_iter().filter(|rule| rule.reference != CAPTCHA).collect();
        assert_eq!(after, before, "{edit}");
        // The other rule of the zone, and the other zone, are in step.
        assert_eq!(zones.verdict_in(0, "203.0.113.8"), Challenge, "{edit}");
        assert_eq!(zones.verdict_in(1, "203.0.113.7"), Block, "{edit}");
        zones.assert_no_violations();
    }
    // A zone without any rule.
    let zones = locked(2).await;
    zones.edit(0, "delete-all");
    zones.ban("203.0.113.7");
    zones.next().await.unwrap_err();
    assert_eq!(zones.verdict_in(1, "203.0.113.7"), Block);
}

#[tokio::test(start_paused = true)]
async fn challenge_before_the_ban_is_warned_of() {
    let zones = locked(1).await;
    zones.edit(0, &format!("move-last {BAN}"));
    zones.ban("203.0.113.7");
    zones.next().await.unwrap();
    zones.assert_says(Level::Warn, "stands before the ban");
    assert_eq!(zones.verdict("203.0.113.7"), Block);
}

#[tokio::test(start_paused = true)]
async fn odd_worlds_change_nothing() {
    type Knobs = fn(&mut simulator::CloudflareOptions);
    let worlds: [Knobs; 4] = [
        |knobs| knobs.waf_echo = ExpressionEcho::Respaced,
        |knobs| knobs.waf_equal_patch_bumps = false,
        |knobs| knobs.waf_patch_omitted = OmittedFields::Keep,
        |knobs| knobs.waf_expression_max = 4_000,
    ];
    for knobs in worlds {
        let zones = Zones::with(2, |options| knobs(&mut options.cloudflare));
        zones.ban("203.0.113.1");
        zones.run().await.unwrap();
        zones.lock();
        let before = zones.rule(0, BAN);
        for n in 0..250 {
            zones.ban(&format!("198.51.100.{n}"));
        }
        zones.lift("203.0.113.1");
        for _ in 0..3 {
            zones.next().await.unwrap();
            assert!(!zones.texts(Level::Warn).iter().any(|text| text.contains("somebody else")));
        }
        zones.assert_verdicts(&[("203.0.113.1", Pass), ("198.51.100.200", Block)]);
        assert_eq!(zones.patches().len(), 2);
        let after = zones.rule(0, BAN);
        let expression = after.expression.clone();
        assert_eq!(simulator::RuleView { expression, ..before }, after, "all else is as it was");
        zones.assert_no_violations();
    }
}

#[tokio::test(start_paused = true)]
async fn zone_that_cannot_be_read_stops_neither_the_others_nor_the_lists() {
    for fault in ["answer 500 <html>", "answer 403 {}", "refuse", "answer 404 not found"] {
        let zones = Zones::new(3);
        zones.run().await.unwrap();
        zones.fault(&format!("cloudflare GET /{}: {fault}", zones.ids[1]));
        zones.ban("203.0.113.7");
        zones.next().await.unwrap_err();
        zones.assert_says(Level::Error, &zones.ids[1]);
        assert_eq!(zones.ban_list(), ["203.0.113.7"], "{fault}");
        zones.lock();
        zones.ban("203.0.113.8");
        zones.next().await.unwrap_err();
        assert_eq!(zones.verdict_in(0, "203.0.113.8"), Block, "{fault}");
        assert_eq!(zones.verdict_in(2, "203.0.113.8"), Block, "{fault}");
        assert_eq!(zones.verdict_in(1, "203.0.113.8"), Pass, "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_lapi_or_the_lists_nothing_is_touched() {
    for fault in [
        "lapi: refuse",
        "lapi: answer 503 busy",
        "lapi: cut-body 10",
        "cloudflare GET /items: answer 500 no",
        "cloudflare GET /rules/lists?: refuse",
    ] {
        let zones = locked(1).await;
        zones.ban("203.0.113.7");
        zones.next().await.unwrap();
        let before = zones.expressions(0);
        zones.fault(fault);
        zones.lift("203.0.113.7");
        zones.ban("203.0.113.8");
        let _ = zones.next().await;
        if !fault.contains("lists?") {
            assert_eq!(zones.expressions(0), before, "{fault}");
            assert!(!zones.success(), "{fault}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dry_run_and_a_lost_lease_change_nothing() {
    let mut zones = locked(1).await;
    zones.ban("203.0.113.7");
    zones.set("dry_run", "true");
    zones.next().await.unwrap();
    assert_eq!(zones.patches().len(), 0);
    zones.assert_says(Level::Info, "dry run");
    zones.set("dry_run", "false");
    // Another run takes the lease while this one reads.
    zones.fault("lapi: delay 20s");
    tokio::time::sleep(Duration::from_secs(120)).await;
    let steal = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let mut store = zones.store.borrow_mut();
        let lease = store.as_mut().unwrap().get_mut("lease").unwrap();
        let text = String::from_utf8(lease.clone()).unwrap();
        *lease = text.replacen(|c: char| c.is_ascii_digit() && c != '1', "1", 3).into_bytes();
    };
    let (_, ()) = tokio::join!(zones.run(), steal);
    assert_eq!(zones.patches().len(), 0);
    zones.unlock();
    zones.lock();
    zones.next().await.unwrap();
    zones.next().await.unwrap();
    assert_eq!(zones.verdict("203.0.113.7"), Block);
}

#[tokio::test(start_paused = true)]
async fn store_that_forgets_or_is_not_there_changes_nothing_at_the_edge() {
    for is_there in [true, false] {
        let zones = Zones::with(1, |options| {
            options.cloudflare.list_edge_lag = Duration::from_secs(115);
        });
        let forget = || {
            *zones.store.borrow_mut() = is_there.then(Default::default);
        };
        zones.run().await.unwrap();
        zones.lock();
        zones.ban("203.0.113.7");
        forget();
        zones.next().await.ok();
        let from = zones.front.elapsed();
        assert_eq!(zones.verdict("203.0.113.7"), Block);
        zones.unlock();
        for _ in 0..10 {
            forget();
            zones.next().await.ok();
        }
        let until = zones.front.elapsed();
        assert_eq!(zones.time_not("203.0.113.7", from..until, Block), Duration::ZERO);
        assert_eq!(zones.ban_list(), ["203.0.113.7"]);
    }
}

#[tokio::test(start_paused = true)]
async fn runs_that_overlap_change_each_rule_once() {
    let zones = locked(2).await;
    zones.ban("203.0.113.7");
    zones.fault("lapi: delay 5s");
    zones.fault("cloudflare PATCH: delay 5s");
    tokio::time::sleep(Duration::from_secs(120)).await;
    let later = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        zones.run().await
    };
    let (first, second) = tokio::join!(zones.run(), later);
    first.unwrap();
    second.unwrap();
    assert_eq!(zones.patches().len(), 2);
    assert_eq!(zones.verdict("203.0.113.7"), Block);
}

#[tokio::test(start_paused = true)]
async fn rule_whose_action_stops_nobody_is_said_and_keeps_it() {
    let zones = Zones::new(1);
    zones.run().await.unwrap();
    let edit =
        |rule: &mut simulator::cloudflare::rulesets::RuleView| rule.action = "log".to_owned();
    zones.front.world().cloudflare().edit_rule(&zones.ids[0], BAN, edit);
    zones.next().await.unwrap();
    zones.assert_says(Level::Warn, "has the action \"log\", which stops nobody");
    zones.lock();
    zones.ban("203.0.113.7");
    zones.next().await.unwrap();
    assert_eq!(zones.rule(0, BAN).action, "log");
}

#[tokio::test(start_paused = true)]
async fn how_the_rules_part_of_the_last_run_ended_is_remembered_with_the_zone_that_failed() {
    let zones = with_fault("PATCH: answer 403 {\"success\":false,\"errors\":[{\"message\":\"request is not authorized\"}],\"result\":null}").await;
    zones.next().await.unwrap_err();
    zones.assert_says(Level::Error, "HTTP 403: request is not authorized");
    let last = || {
        let run = zones.store.borrow().as_ref().unwrap()["run"].clone();
        serde_json::from_slice::<serde_json::Value>(&run).unwrap()["rules"].clone()
    };
    assert_eq!((&last()["outcome"], &last()["success"]), (&"failed".into(), &false.into()));
    assert!(last()["said"].as_str().unwrap().contains(&zones.ids[1]), "{}", last());
    zones.unlock();
    zones.lock();
    // An hour, for the token's sake.
    for _ in 0..32 {
        let _ = zones.next().await;
    }
    assert_eq!((&last()["success"], &last()["said"]), (&true.into(), &"".into()));
}

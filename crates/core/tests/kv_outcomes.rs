//! What each thing that can go wrong does to the KV namespace, to the result, and to the metric.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::World;
use edge_sync_core::log::Level;
use simulator::Service;

const HOUR: Duration = Duration::from_secs(3_600);

/// What a run must have done to the namespace, which held a ban of 198.51.100.1 before.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Namespace {
    Untouched,
    /// The ban that is due is there; the one that was lifted is not deleted yet.
    Written,
    /// The reverse.
    Deleted,
    AsDesired,
}

/// A world that desires a ban of 203.0.113.7 and has a key of ours for 198.51.100.1.
fn world() -> World {
    let world = World::kv(|_| {});
    world.decide("ban", "203.0.113.7", HOUR);
    world.preload_key("ip:198.51.100.1", "ban", Some(HOUR), Some(Duration::ZERO));
    world
}

/// Runs once, two minutes after the key above was written, with `faults`; checks result,
/// namespace and success, and returns what the run said at `warn` and above.
async fn run_with(faults: &[&str], ok: bool, namespace: Namespace, success: f64) -> Vec<String> {
    let world = world();
    tokio::time::sleep(Duration::from_secs(120)).await;
    // A LAPI that was read before: a 403 of one that never was is the key's (its own test).
    let read = br#"{"v":1,"lapi_read_at":1}"#.to_vec();
    world.store.borrow_mut().as_mut().unwrap().insert("run".to_owned(), read);
    faults.iter().for_each(|fault| world.fault(fault));
    let began = world.front.elapsed();
    let result = world.run().await;
    assert_eq!(result.is_ok(), ok, "{faults:?}: {result:?}");
    assert!(world.front.elapsed() - began <= Duration::from_secs(110), "{faults:?}");
    let expected: &[&str] = match namespace {
        Namespace::Untouched => &["ip:198.51.100.1"],
        Namespace::Written => &["ip:198.51.100.1", "ip:203.0.113.7"],
        Namespace::Deleted => &[],
        Namespace::AsDesired => &["ip:203.0.113.7"],
    };
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(world.values().keys().eq(expected), "{faults:?}: {:?}", world.values());
    assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(success), "{faults:?}");
    world.assert_no_violations();
    world.texts(Level::Warn)
}

fn refusal(requests: &str, status: u16, code: u32, text: &str) -> String {
    format!(
        r#"cloudflare {requests}: answer {status} {{"success":false,"errors":[{{"code":{code},"message":"{text}"}}],"messages":[],"result":null}}"#
    )
}

#[tokio::test(start_paused = true)]
async fn lapi_unreadable_leaves_every_key_and_ends_well_with_one_warning() {
    for (fault, says) in [
        ("lapi: refuse", "connection refused"),
        ("lapi: silent", "no answer within"),
        ("lapi: answer 403 {\"message\":\"access forbidden\"}", "cscli bouncers list"),
        ("lapi: cut-body 40", "broke off"),
        ("lapi: answer 200 <html>hello</html>", "not a JSON array"),
        ("lapi: answer 200 {}", "not a JSON array"),
    ] {
        let warnings = run_with(&[fault], true, Namespace::Untouched, 0.0).await;
        assert_eq!(warnings.len(), 1, "{fault}: {warnings:?}");
        assert!(warnings[0].contains(says), "{fault} should say {says:?}: {warnings:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn null_and_empty_array_are_known_to_be_empty_and_lift_every_ban_when_it_is_confirmed() {
    for body in ["null", "[]"] {
        let fault = format!("lapi: answer 200 {body}");
        let world = world();
        world.fault(&fault);
        tokio::time::sleep(Duration::from_secs(120)).await;
        // As after a lost database: it is held back until it is confirmed.
        world.run().await.unwrap();
        assert!(world.values().contains_key("ip:198.51.100.1"), "{body}");
        assert_eq!(world.kv_metric("crowdsec_kv_sync_removals_held"), Some(1.0));
        for _ in 0..15 {
            tokio::time::sleep(Duration::from_secs(120)).await;
            world.run().await.unwrap();
        }
        assert_eq!(world.values(), BTreeMap::new(), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn read_that_fails_for_a_moment_is_tried_again() {
    for fault in [
        "cloudflare GET /keys times=3: answer 500 <html>",
        "cloudflare GET /keys times=1: answer 429 [retry-after: 5] slow",
        "cloudflare GET /keys times=2: drop-before-effect",
        "cloudflare GET /keys times=1: cut-body 20",
        "cloudflare GET /keys times=1: empty-page-with-cursor",
        "cloudflare GET /keys times=1: repeat-item",
        "lapi times=2: refuse",
    ] {
        let said = run_with(&[fault], true, Namespace::AsDesired, 1.0).await;
        assert!(said.is_empty(), "{fault}: {said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn namespace_that_cannot_be_read_fails_the_run_before_any_write() {
    let refused = |status, code, text| refusal("GET /keys", status, code, text);
    for (fault, says) in [
        ("cloudflare: refuse".to_owned(), "failed to read the KV namespace (cf_kv_namespace_id)"),
        ("cloudflare: silent".to_owned(), "no answer within"),
        ("cloudflare: answer 520 <html>oops</html>".to_owned(), "not the API's JSON: <html>oops"),
        ("cloudflare: answer 200 hello".to_owned(), "not the API's JSON: hello"),
        (refused(200, 1000, "nope"), "HTTP 200: 1000 nope"),
        (refused(401, 10000, "Authentication error"), "Account > Workers KV Storage > Edit"),
        (refused(403, 10000, "Authentication error"), "Workers KV Storage Write"),
        (refused(400, 9106, "Authentication failed"), "cf_api_token is not in the form"),
        (refused(404, 10013, "namespace not found"), "check cf_kv_namespace_id"),
        (refused(404, 7003, "Could not route to"), "cf_account_id or cf_kv_namespace_id is not"),
        (refused(429, 10048, "free usage limit"), "begins anew at 00:00 UTC"),
        ("cloudflare GET /keys: null-result".to_owned(), "failed to read the KV namespace"),
        ("cloudflare GET /keys: no-result".to_owned(), "failed to read the KV namespace"),
        ("cloudflare GET /keys: repeat-page".to_owned(), "pages repeat and do not end"),
        (
            "cloudflare GET /keys: answer 429 [retry-after: 18446744073709551615] slow".to_owned(),
            "failed to read the KV namespace",
        ),
        ("cloudflare GET /keys: repeat-cursor".to_owned(), "pages repeat and do not end"),
        ("cloudflare GET /keys: empty-page-with-cursor".to_owned(), "pages repeat and do not end"),
    ] {
        let texts = run_with(&[&fault], false, Namespace::Untouched, 0.0).await;
        assert_eq!(texts.len(), 1, "{fault}: {texts:?}");
        assert!(texts[0].contains(says), "{fault} should say {says:?}: {texts:?}");
    }
}

/// Not the fault's words but the simulator's own: what it refuses, and how.
#[tokio::test(start_paused = true)]
async fn token_without_the_permission_and_namespace_of_another_account_name_the_way_out() {
    for (permission, says) in [("none", "failed to read"), ("read", "Cloudflare refused writing")] {
        let world = World::kv(|options| {
            options.set(&format!("cloudflare.kv_permission={permission}")).unwrap();
        });
        world.decide("ban", "203.0.113.7", HOUR);
        assert!(world.run().await.is_err());
        let said = world.texts(Level::Error).join("\n");
        assert!(said.contains(says) && said.contains("Workers KV Storage > Edit"), "{said}");
    }
    let mut world = world();
    world.set("cf_kv_namespace_id", "0123456789abcdef0123456789abcdef");
    assert!(world.run().await.is_err());
    let said = world.texts(Level::Error).join("\n");
    assert!(said.contains("no KV namespace with this id in the account"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn write_that_is_refused_stops_no_delete_and_a_refused_delete_no_write() {
    let refused = |status, code, text| refusal("PUT /bulk", status, code, text);
    for (fault, says) in [
        (refused(403, 10000, "Authentication error"), "Account > Workers KV Storage > Edit"),
        (refused(404, 10013, "namespace not found"), "check cf_kv_namespace_id"),
        (refused(400, 10012, "invalid request body"), "refused writing 1 KV key"),
        (refused(200, 1000, "nope"), "HTTP 200: 1000 nope"),
        ("cloudflare PUT /bulk: answer 429 slow down".to_owned(), "Cloudflare limits writes"),
        ("cloudflare PUT /bulk: answer 403 <html>".to_owned(), "Workers KV Storage Write"),
    ] {
        let texts = run_with(&[&fault], false, Namespace::Deleted, 0.0).await;
        assert_eq!(texts.len(), 1, "{fault}: {texts:?}");
        assert!(texts[0].contains(says), "{fault} should say {says:?}: {texts:?}");
    }
    let fault = refusal("POST /bulk/delete", 400, 10012, "invalid request body");
    let texts = run_with(&[&fault], false, Namespace::Written, 0.0).await;
    assert!(texts[0].contains("refused deleting 1 KV key"), "{texts:?}");
}

#[tokio::test(start_paused = true)]
async fn write_whose_answer_is_lost_is_called_unconfirmed_and_never_repeated() {
    for (fault, namespace) in [
        ("cloudflare PUT /bulk: drop-after-effect", Namespace::AsDesired),
        ("cloudflare PUT /bulk: drop-before-effect", Namespace::Deleted),
        ("cloudflare PUT /bulk: cut-body 5", Namespace::AsDesired),
        ("cloudflare PUT /bulk: silent", Namespace::Deleted),
        ("cloudflare PUT /bulk: delay 60s", Namespace::AsDesired),
        ("cloudflare PUT /bulk: answer 502 <html>", Namespace::Deleted),
        ("cloudflare PUT /bulk: answer-after-effect 503 <html>", Namespace::AsDesired),
        ("cloudflare PUT /bulk: answer 200 <html>", Namespace::Deleted),
    ] {
        let texts = run_with(&[fault], false, namespace, 0.0).await;
        assert_eq!(texts.len(), 1, "{fault}: {texts:?}");
        assert!(texts[0].contains("could not confirm writing 1 KV key"), "{fault}: {texts:?}");
        assert!(texts[0].contains("may have happened"), "{fault}: {texts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn bulk_answers_of_every_age_are_understood() {
    for reply in ["full", "null", "empty"] {
        let world = World::kv(|options| {
            options.set(&format!("cloudflare.kv_bulk_reply={reply}")).unwrap();
        });
        world.decide("ban", "203.0.113.7", HOUR);
        world.run().await.unwrap();
        assert_eq!(world.kv_metric("crowdsec_kv_sync_written"), Some(1.0), "{reply}");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_of_every_kind_are_read_to_their_end() {
    for end in ["absent", "empty", "null", "no-result-info"] {
        let world = World::kv(|options| {
            options.set(&format!("cloudflare.kv_page_end={end}")).unwrap();
            // Cursors of the same moment are the same, and would look endless.
            options.cloudflare.latency = Duration::from_millis(100);
        });
        for n in 0..2_500u32 {
            let address = std::net::Ipv4Addr::from_bits(0x0b00_0000 + n).to_string();
            world.decide("ban", &address, HOUR);
            let expires = HOUR + Duration::from_secs(60);
            world.preload_key(&format!("ip:{address}"), "ban", Some(expires), Some(HOUR));
        }
        world.fault("cloudflare GET /keys skip=1 times=1: empty-page-with-cursor");
        world.run().await.unwrap();
        let counters = world.kv_counters();
        assert_eq!((counters.list_calls, counters.bulk_writes), (4, 0), "{end}: in sync");
        world.assert_no_violations();
    }
}

#[tokio::test(start_paused = true)]
async fn keys_beyond_ten_thousand_go_in_bulks_by_the_most_urgent_change_in_each() {
    let world = World::kv(|_| {});
    for n in 0..10_001u32 {
        let address = std::net::Ipv4Addr::from_bits(0x0b00_0000 + n).to_string();
        world.decide(if n == 5_000 { "captcha" } else { "ban" }, &address, HOUR);
    }
    world.preload_key("ip:198.51.100.1", "ban", Some(HOUR), Some(Duration::ZERO));
    tokio::time::sleep(Duration::from_secs(120)).await;
    world.run().await.unwrap();
    let sent = world.sent.borrow();
    let writes: Vec<_> = sent.iter().filter(|(_, url, _)| url.contains("/bulk")).collect();
    let verbs: Vec<_> = writes.iter().map(|(method, ..)| method.as_str()).collect();
    assert_eq!(verbs, ["PUT", "POST", "PUT"], "own bans, a lift, a captcha");
    let last: serde_json::Value = serde_json::from_slice(&writes[2].2).unwrap();
    assert_eq!(last.as_array().unwrap().len(), 1, "the only captcha");
    assert_eq!(last[0]["value"], "captcha");
    world.assert_no_violations();
}

/// LAPI on half a core takes up to a minute; what was read must still be acted on.
#[tokio::test(start_paused = true)]
async fn slow_lapi_leaves_time_for_both_targets() {
    let mut world = world();
    world.target(&["lists", "kv"]);
    world.fault("lapi: delay 58s");
    world.run().await.unwrap();
    assert!(world.front.elapsed() <= Duration::from_secs(110), "{:?}", world.front.elapsed());
    assert_eq!(world.edge().0, ["203.0.113.7"]);
    assert!(world.values().contains_key("ip:203.0.113.7"));
}

#[tokio::test(start_paused = true)]
async fn budget_that_no_store_can_keep_is_said_once_and_the_sync_goes_on() {
    let mut world = world();
    world.set("kv_daily_writes_max", "1000");
    *world.store.borrow_mut() = None;
    world.run().await.unwrap();
    let warnings = world.texts(Level::Warn);
    let about: Vec<_> = warnings.iter().filter(|t| t.contains("kv_daily_writes_max")).collect();
    assert_eq!(about.len(), 1, "{warnings:?}");
    assert!(about[0].contains("cannot be kept from one run to the next"), "{warnings:?}");
    assert!(world.values().contains_key("ip:203.0.113.7"));
}

#[tokio::test(start_paused = true)]
async fn store_that_holds_nonsense_or_yesterday_counts_as_nothing_spent() {
    for stored in ["", "nonsense", "{}", r#"{"v":1,"day":1,"used":9,"exhausted":true}"#] {
        let world = world();
        let entry = ("kv-quota".to_owned(), stored.as_bytes().to_vec());
        *world.store.borrow_mut() = Some([entry].into());
        world.run().await.unwrap();
        assert!(world.values().contains_key("ip:203.0.113.7"), "{stored}");
    }
}

/// Keys that Cloudflare does not take are spent all the same, so that trying them again may cost
/// more than the budget has.
#[tokio::test(start_paused = true)]
async fn budget_is_never_exceeded_by_a_second_attempt() {
    let mut world = World::kv(|_| {});
    world.set("kv_daily_writes_max", "5");
    (1..=5).for_each(|n| world.decide("ban", &format!("203.0.113.{n}"), HOUR));
    world.fault("cloudflare PUT /bulk: unsuccessful-keys 2");
    world.run().await.unwrap();
    assert_eq!(world.kv_counters().pairs_written, 5);
    assert_eq!(world.kv_metric("crowdsec_kv_sync_waiting"), Some(2.0));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_written"), Some(3.0));
}

/// A run may be slow, and a larger budget lets it be slower than the 90 s for which any key is left
/// alone: what counts is when it began.
/// The marker goes in a request of its own, after the shards: one of those that was not taken must not spend its write.
#[tokio::test(start_paused = true)]
async fn second_attempt_leaves_what_comes_after_it_its_part_of_the_budget() {
    for (writes_max, requests) in [("2", 1), ("3", 3)] {
        let mut world = World::kv(|_| {});
        world.set("kv_layout", "shards");
        world.set("kv_daily_writes_max", writes_max);
        world.decide("ban", "203.0.113.7", 10 * HOUR);
        world.fault("cloudflare PUT /bulk times=1: unsuccessful-keys 1");
        let _ = world.run().await;
        assert_eq!(world.kv_counters().bulk_writes, requests, "{writes_max}");
    }
}

#[tokio::test(start_paused = true)]
async fn key_that_another_run_writes_during_a_slow_one_is_not_deleted() {
    let mut world = World::kv(|_| {});
    world.set("run_budget_seconds", "600");
    // LAPI is read at once; the first page takes three attempts of 20 s, and so does the second.
    (0..1_000u32).for_each(|n| {
        let address = std::net::Ipv4Addr::from_bits(0x0b00_0000 + n).to_string();
        world.decide("ban", &address, 2 * HOUR);
        let expires = 2 * HOUR + Duration::from_secs(60);
        world.preload_key(&format!("ip:{address}"), "ban", Some(expires), Some(Duration::ZERO));
    });
    world.fault("cloudflare GET /keys times=3: silent");
    world.fault("cloudflare GET /keys skip=4 times=3: silent");
    let another_run = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.preload_key("ip:203.0.113.7", "ban", Some(HOUR), Some(world.front.elapsed()));
    };
    let (result, ()) = futures_util::future::join(world.run(), another_run).await;
    result.unwrap();
    assert!(world.front.elapsed() > Duration::from_secs(120), "{:?}", world.front.elapsed());
    assert!(world.values().contains_key("ip:203.0.113.7"));
    assert_eq!(world.kv_counters().keys_deleted, 0);
}

#[tokio::test(start_paused = true)]
async fn dry_run_shows_the_plan_and_writes_nothing() {
    let mut world = world();
    world.set("dry_run", "true");
    tokio::time::sleep(Duration::from_secs(120)).await;
    world.run().await.unwrap();
    assert!(world.values().keys().eq(["ip:198.51.100.1"]));
    let said = world.texts(Level::Info).join("\n");
    assert!(said.contains("kv plan: new_ban 1, lifted 1 =0"), "{said}");
    assert_eq!(world.writes(), 0);
}

#[tokio::test(start_paused = true)]
async fn skipped_run_pushes_success_and_time_only_and_leaves_the_counts() {
    let world = world();
    world.run().await.unwrap();
    world.fault("lapi: refuse");
    tokio::time::sleep(Duration::from_secs(120)).await;
    world.run().await.unwrap();
    let pushes = world.journal(|e| e.service == Service::Pushgateway);
    assert_eq!(pushes.iter().map(|e| e.method.as_str()).collect::<Vec<_>>(), ["PUT", "POST"]);
    assert_eq!(world.kv_metric("crowdsec_kv_sync_success"), Some(0.0));
    assert_eq!(world.kv_metric("crowdsec_kv_sync_decisions"), Some(1.0));
}

/// Where the lists are not in use, no time is kept for their writes: five pages of 14 s end after what a run with
/// lists has for reading.
#[tokio::test(start_paused = true)]
async fn keys_that_take_seventy_seconds_to_read_are_in_step_and_a_listing_that_does_not_fit_says_so()
 {
    let keys = |world: &World| {
        (0..4_500_u32).for_each(|n| {
            let address = std::net::Ipv4Addr::from_bits(0x0b00_0000 + n).to_string();
            world.preload_key(&format!("ip:{address}"), "ban", Some(HOUR), Some(Duration::ZERO));
        });
    };
    let world = World::kv(|_| {});
    keys(&world);
    world.fault("cloudflare GET /keys times=9: delay 14s");
    world.run().await.unwrap();
    assert_eq!(world.front.elapsed().as_secs(), 70);
    assert!(!world.texts(Level::Warn).join("\n").contains("for reading"));

    let world = World::kv(|_| {});
    keys(&world);
    world.fault("cloudflare GET /keys times=9: delay 17s");
    assert!(world.run().await.is_err());
    let said = world.texts(Level::Warn).join("\n");
    assert!(
        said.contains("no time for more: of run_budget_seconds (110) 75.0 s are for reading"),
        "{said}"
    );
}

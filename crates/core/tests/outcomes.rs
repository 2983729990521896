//! What each thing that can go wrong does to the edge, to the result, and to the success metric.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::World;
use edge_sync_core::failure::Failure;
use edge_sync_core::log::Level;
use simulator::Service;

/// What a run must have done to the edge, which held `ban: 198.51.100.1` before.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Edge {
    Untouched,
    AsDesired,
}

/// Runs once against a world that desires a ban of 203.0.113.7 and has one of 198.51.100.1, with
/// `faults`; checks result, edge and success, and returns what the run said at `warn` and above.
async fn run_with(faults: &[&str], ok: bool, edge: Edge, success: f64) -> Vec<String> {
    let world = World::new();
    world.ban("203.0.113.7");
    world.preload(&["198.51.100.1"], &[]);
    // A LAPI that was read before: a 403 of one that never was is the key's (its own test).
    let read = br#"{"v":1,"lapi_read_at":1}"#.to_vec();
    world.store.borrow_mut().as_mut().unwrap().insert("run".to_owned(), read);
    faults.iter().for_each(|fault| world.fault(fault));
    let result = world.run().await;
    assert_eq!(result.is_ok(), ok, "{faults:?}: {result:?}");
    let expected = match edge {
        Edge::Untouched => "198.51.100.1",
        Edge::AsDesired => "203.0.113.7",
    };
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.edge().0, [expected], "{faults:?}");
    assert_eq!(world.metric("crowdsec_cf_list_sync_success"), Some(success), "{faults:?}");
    world.assert_no_violations();
    assert!(world.front.elapsed() <= Duration::from_secs(110 + 30), "{faults:?}");
    world.texts(Level::Warn)
}

#[tokio::test(start_paused = true)]
async fn lapi_unreadable_in_any_way_leaves_the_edge_and_ends_well_with_one_warning() {
    for (fault, says) in [
        ("lapi: refuse", "connection refused"),
        ("lapi: drop-before-effect", "closed before an answer"),
        ("lapi: silent", "no answer within"),
        ("lapi: delay 200s", "no answer within"),
        (
            "lapi: answer 301 [location: /v1/decisions] <a>Moved</a>",
            "HTTP 301: lapi_url is redirected",
        ),
        ("lapi: answer 403 {\"message\":\"access forbidden\"}", "cscli bouncers list"),
        ("lapi: answer 404 ", "does not point at a CrowdSec Local API"),
        ("lapi: answer 500 {\"message\":\"query decision failed\"}", "query decision failed"),
        ("lapi: answer 503 <html>no</html>", "HTTP 503"),
        ("lapi: answer 429 [retry-after: 1] slow", "HTTP 429"),
        ("lapi: answer 429 [retry-after: 18446744073709551615] slow", "HTTP 429"),
        ("lapi: answer 429 [retry-after: 99999999999999999999999] slow", "HTTP 429"),
        ("lapi: answer 204 ", "HTTP 204"),
        ("lapi: cut-body 40", "broke off"),
        ("lapi: answer 200 ", "ends in the middle"),
        (
            "lapi: answer 200 [{\"scope\":\"Ip\",\"type\":\"ban\",\"value\":\"9.9.9.9\"},",
            "ends in the middle, after 1 decisions",
        ),
        ("lapi: answer 200 <html>hello</html>", "not a JSON array"),
        ("lapi: answer 200 {}", "not a JSON array"),
        ("lapi: answer 200 \"x\"", "not a JSON array"),
        ("lapi: answer 200 [1,2,3]", "something else than decisions"),
        ("lapi: answer 200 [{\"error\":\"x\"}]", "none of the 1 objects"),
        ("lapi: answer 200 [{\"scope\":\"Ip\",}]", "not valid JSON at decision 0"),
    ] {
        let warnings = run_with(&[fault], true, Edge::Untouched, 0.0).await;
        assert_eq!(warnings.len(), 1, "{fault}: {warnings:?}");
        assert!(warnings[0].contains(says), "{fault} should say {says:?}: {warnings:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn lapi_that_fails_for_a_moment_is_asked_again() {
    for fault in [
        "lapi times=2: refuse",
        "lapi times=3: answer 502 bad gateway",
        "lapi times=1: answer 429 [retry-after: 5] slow",
        "lapi times=1: cut-body 20",
        "cloudflare GET times=3: answer 500 <html>",
        "cloudflare GET times=1: answer 429 [retry-after: 5] slow",
        "cloudflare GET times=2: drop-before-effect",
        "cloudflare GET times=1: cut-body 20",
        "cloudflare GET /bulk_operations times=3: answer 502 bad gateway",
    ] {
        assert!(run_with(&[fault], true, Edge::AsDesired, 1.0).await.is_empty(), "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn cloudflare_that_cannot_be_read_fails_the_run_before_any_write() {
    let refused = |status: u16, code: u32, text: &str| {
        format!(
            r#"cloudflare GET /items: answer {status} {{"success":false,"errors":[{{"code":{code},"message":"{text}"}}],"messages":[],"result":null}}"#
        )
    };
    for (fault, says) in [
        ("cloudflare: refuse".to_owned(), "failed to read the ban list (cf_ban_list_id)"),
        ("cloudflare: silent".to_owned(), "no answer within"),
        ("cloudflare: answer 520 <html>oops</html>".to_owned(), "not the API's JSON: <html>oops"),
        ("cloudflare: answer 200 hello".to_owned(), "not the API's JSON: hello"),
        (refused(200, 1000, "nope"), "HTTP 200: 1000 nope"),
        (refused(401, 10000, "Authentication error"), "Account Filter Lists > Edit"),
        (refused(403, 9109, "Unauthorized"), "Account Rule Lists Write"),
        (refused(400, 9106, "Authentication failed"), "cf_api_token is not in the form"),
        (refused(404, 10001, "list not found"), "check cf_ban_list_id"),
        (refused(400, 10027, "invalid or expired cursor"), "10027 invalid or expired cursor"),
        (
            "cloudflare GET: answer 429 [retry-after: 18446744073709551615] slow".to_owned(),
            "not the API's JSON: slow",
        ),
        (
            r#"cloudflare GET /items: answer 200 {"success":true,"errors":[],"result":null}"#
                .to_owned(),
            "failed to read the ban list",
        ),
        (
            r#"cloudflare GET /items: answer 200 {"success":true,"errors":[]}"#.to_owned(),
            "failed to read the ban list",
        ),
        ("cloudflare GET /items: repeat-cursor".to_owned(), "pages repeat and do not end"),
    ] {
        let texts = run_with(&[&fault], false, Edge::Untouched, 0.0).await;
        assert_eq!(texts.len(), 1, "{fault}: {texts:?}");
        assert!(texts[0].contains(says), "{fault} should say {says:?}: {texts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn both_sides_down_fails_the_run_loudly() {
    let texts =
        run_with(&["lapi: refuse", "cloudflare: refuse"], false, Edge::Untouched, 0.0).await;
    assert!(texts[0].contains("failed to read the ban list"), "{texts:?}");
}

#[tokio::test(start_paused = true)]
async fn write_that_is_refused_changes_nothing_and_ends_writing() {
    for (fault, says) in [
        (
            "cloudflare PUT: answer 429 [retry-after: 60] {\"success\":false,\"errors\":[{\"code\":10040,\"message\":\"ratelimited\"}],\"result\":null}",
            "10040 ratelimited",
        ),
        (
            "cloudflare PUT: answer 400 {\"success\":false,\"errors\":[{\"code\":10035,\"message\":\"invalid value\"}],\"result\":null}",
            "refused PUT ban",
        ),
        (
            "cloudflare PUT: answer 403 {\"success\":false,\"errors\":[{\"code\":10000,\"message\":\"Authentication error\"}],\"result\":null}",
            "Account Filter Lists > Edit",
        ),
        (
            "cloudflare PUT: answer 200 {\"success\":false,\"errors\":[],\"result\":null}",
            "without a reason",
        ),
        (
            "cloudflare PUT: fail-operation This list is at the maximum number of items",
            "\"This list is at the maximum number of items\"",
        ),
    ] {
        let texts = run_with(&[fault], false, Edge::Untouched, 0.0).await;
        let last = texts.last().unwrap();
        assert!(last.contains(says), "{fault} should say {says:?}: {texts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn write_whose_answer_is_lost_is_called_unconfirmed_and_never_repeated() {
    for (fault, edge) in [
        ("cloudflare PUT: drop-after-effect", Edge::AsDesired),
        ("cloudflare PUT: drop-before-effect", Edge::Untouched),
        ("cloudflare PUT: cut-body 5", Edge::AsDesired),
        ("cloudflare PUT: silent", Edge::Untouched),
        ("cloudflare PUT: delay 60s", Edge::AsDesired),
        ("cloudflare PUT: answer 502 <html>", Edge::Untouched),
        (
            "cloudflare PUT: answer 200 {\"success\":true,\"errors\":[],\"result\":{}}",
            Edge::Untouched,
        ),
    ] {
        let texts = run_with(&[fault], false, edge, 0.0).await;
        assert!(texts[0].contains("could not confirm PUT ban"), "{fault}: {texts:?}");
        assert!(texts[0].contains("may have happened"), "{fault}: {texts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn operation_that_does_not_end_in_time_ends_well_as_partly_done() {
    let world = World::new();
    world.ban("203.0.113.7");
    world.captcha("203.0.113.8");
    world.fault("cloudflare POST: stuck-operation");
    world.run().await.unwrap();
    let warnings = world.texts(Level::Warn);
    assert!(warnings[0].contains("not completed within 25.0 s"), "{warnings:?}");
    assert_eq!((warnings.len(), world.writes()), (1, 1), "no second write while one is pending");
    assert_eq!(world.metric("crowdsec_cf_list_sync_success"), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn operation_that_vanishes_ends_well_as_not_confirmed() {
    let world = World::new();
    world.ban("203.0.113.7");
    world.fault("cloudflare POST: vanish-operation");
    world.run().await.unwrap();
    let warnings = world.texts(Level::Warn);
    assert!(warnings[0].contains("Cloudflare does not know its operation"), "{warnings:?}");
}

#[tokio::test(start_paused = true)]
async fn poll_that_cannot_be_read_fails_as_unconfirmed() {
    let world = World::new();
    world.ban("203.0.113.7");
    world.fault("cloudflare GET /bulk_operations: answer 403 {\"success\":false,\"errors\":[],\"result\":null}");
    let failure = world.run().await.unwrap_err();
    assert!(failure.to_string().contains("could not confirm POST ban"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn slow_lapi_leaves_no_time_to_write_and_the_budget_is_kept() {
    let world = World::new();
    world.ban("203.0.113.7");
    world.captcha("203.0.113.8");
    // Read in time, but every operation takes so long that only one fits.
    world.fault("lapi: delay 58s");
    world
        .front
        .world()
        .cloudflare()
        .configure(|knobs| knobs.operation_delay = Duration::from_secs(20));
    world.run().await.unwrap();
    assert!(world.front.elapsed() <= Duration::from_secs(110), "{:?}", world.front.elapsed());
    let warnings = world.texts(Level::Warn);
    assert!(warnings[0].contains("no time left in this run for 1 of 2"), "{warnings:?}");
    assert_eq!(world.edge(), (vec!["203.0.113.7".to_owned()], vec![]));
}

#[tokio::test(start_paused = true)]
async fn null_and_empty_array_are_known_to_be_empty_and_lift_every_ban() {
    for body in ["null", "[]", " [ ]\n"] {
        let mut world = World::new();
        world.set("removal_confirm_runs", "1");
        world.preload(&["198.51.100.1", "198.51.100.2"], &["198.51.100.3"]);
        world.front.world().lapi().override_body(Some(Bytes::from(body)));
        world.run().await.unwrap();
        assert_eq!(world.edge(), (vec![], vec![]), "{body}");
        let puts = world.journal(|e| e.service == Service::Cloudflare && e.method == "PUT");
        assert!(puts.is_empty(), "emptied by DELETE, never by PUT");
    }
}

#[tokio::test(start_paused = true)]
async fn body_of_24_megabytes_cut_in_the_middle_leaves_the_edge() {
    let world = World::with(|options| options.chunk_bytes = 16 << 10);
    world.preload(&["198.51.100.1"], &[]);
    let row = r#"{"duration":"3h59m55.872842946s","id":4,"origin":"CAPI","scenario":"crowdsecurity/http-probing","scope":"Ip","type":"ban","value":"203.0.113.7"},"#;
    let body = format!("[{}", row.repeat((24 << 20) / row.len()));
    world.front.world().lapi().override_body(Some(Bytes::from(body)));
    world.run().await.unwrap();
    assert_eq!(world.edge().0, ["198.51.100.1"]);
    assert!(world.texts(Level::Warn)[0].contains("ends in the middle"));
}

#[tokio::test(start_paused = true)]
async fn pages_of_every_kind_are_read_to_their_end() {
    for knob in ["absent", "empty", "null", "no-result-info"] {
        let world = World::with(|options| {
            options.set(&format!("cloudflare.page_end={knob}")).unwrap();
            options.cloudflare.item_noise = true;
        });
        let addresses: Vec<String> = (0..1_250u32)
            .map(|n| std::net::Ipv4Addr::from_bits(0x0b00_0000 + n).to_string())
            .collect();
        addresses.iter().for_each(|address| world.ban(address));
        let refs: Vec<&str> = addresses.iter().map(String::as_str).collect();
        world.preload(&refs, &[]);
        world.fault("cloudflare GET /items times=1: empty-page-with-cursor");
        world.run().await.unwrap();
        assert_eq!(world.writes(), 0, "{knob}: in sync");
        world.assert_no_violations();
    }
}

#[tokio::test(start_paused = true)]
async fn pushgateway_that_fails_never_fails_the_run() {
    for fault in ["pushgateway: refuse", "pushgateway: silent", "pushgateway: answer 400 bad text"]
    {
        let world = World::new();
        world.ban("203.0.113.7");
        world.fault(fault);
        world.run().await.unwrap();
        let warnings = world.texts(Level::Warn);
        assert!(warnings[0].contains("metrics could not be pushed"), "{fault}: {warnings:?}");
        assert_eq!(world.edge().0, ["203.0.113.7"], "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn skipped_run_pushes_success_and_time_only_and_leaves_the_counts() {
    let world = World::new();
    world.ban("203.0.113.7");
    world.run().await.unwrap();
    world.fault("lapi: refuse");
    tokio::time::sleep(Duration::from_secs(120)).await;
    world.run().await.unwrap();
    let pushes = world.journal(|e| e.service == Service::Pushgateway);
    assert_eq!(pushes.iter().map(|e| e.method.as_str()).collect::<Vec<_>>(), ["PUT", "POST"]);
    assert_eq!(world.metric("crowdsec_cf_list_sync_success"), Some(0.0));
    assert_eq!(world.metric("crowdsec_cf_list_ban_count"), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn no_line_ever_shows_a_secret() {
    let mut world = World::new();
    world.ban("203.0.113.7");
    for fault in ["lapi times=1: answer 403 x", "cloudflare GET skip=2 times=1: answer 401 x"] {
        world.fault(fault);
    }
    for _ in 0..3 {
        let _ = world.run().await;
    }
    world.set("lapi_url", "http://simulated-bouncer-key@x");
    let _ = world.run().await;
    let said = world.texts(Level::Info).join("\n");
    for secret in [&world.settings["lapi_key"], &world.settings["cf_api_token"]] {
        assert!(!said.contains(secret.as_str()), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_list_only_ignores_the_other_remediation_and_says_so() {
    let mut world = World::new();
    world.set("cf_captcha_list_id", "");
    world.ban("203.0.113.7");
    world.captcha("203.0.113.8");
    world.preload(&[], &["192.0.2.1"]);
    world.run().await.unwrap();
    assert_eq!(world.edge(), (vec!["203.0.113.7".to_owned()], vec!["192.0.2.1".to_owned()]));
    assert!(world.texts(Level::Info).iter().any(|t| t.contains("no list is set for: captcha 1")));
}

#[tokio::test(start_paused = true)]
async fn key_that_lapi_has_never_taken_fails_the_run_and_one_that_it_took_once_does_not() {
    let world = World::new();
    world.preload(&["198.51.100.1"], &[]);
    world.fault("lapi times=1: answer 403 access forbidden");
    assert!(matches!(world.run().await, Err(Failure::WrongKey(_))));
    assert_eq!(world.edge().0, ["198.51.100.1"]);
    world.ban("198.51.100.1");
    world.run().await.unwrap();
    world.fault("lapi times=1: answer 403 access forbidden");
    world.run().await.unwrap();
    *world.store.borrow_mut() = None;
    world.fault("lapi times=1: answer 403 access forbidden");
    world.run().await.unwrap();
}

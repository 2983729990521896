//! Stories of a bouncer and its LAPI.

use super::*;

struct Bouncer {
    lapi: Lapi,
    judge: Judge,
}

impl Bouncer {
    fn new() -> Self {
        Self { lapi: Lapi::new(LapiOptions::default(), 1), judge: Judge::default() }
    }

    fn send(&mut self, now: Duration, method: Method, target: &str, body: &str) -> Response<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("X-Api-Key", self.lapi.options.key.as_str())
            .header("User-Agent", "test-bouncer/v1")
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .unwrap();
        self.lapi.handle(now, &request, &mut self.judge)
    }

    fn get(&mut self, seconds: u64, target: &str) -> (u16, String) {
        let response = self.send(Duration::from_secs(seconds), Method::GET, target, "");
        let body = String::from_utf8(response.body().to_vec()).unwrap();
        (response.status().as_u16(), body)
    }

    fn values(&mut self, seconds: u64, target: &str) -> Vec<String> {
        let rows: Option<Vec<Value>> = serde_json::from_str(&self.get(seconds, target).1).unwrap();
        let value = |row: &Value| row["value"].as_str().unwrap().to_owned();
        rows.unwrap_or_default().iter().map(value).collect()
    }
}

#[test]
fn decisions_none_read_is_null_and_not_an_empty_array() {
    assert_eq!(Bouncer::new().get(0, "/v1/decisions"), (200, "null".to_owned()));
}

#[test]
fn decisions_doubled_and_odd_read_come_back_verbatim_until_they_expire() {
    let mut bouncer = Bouncer::new();
    for value in ["2001:DB8::1", "1.2.3.4/32", "1.2.3.4", "1.2.3.4"] {
        bouncer.lapi.add(Decision::ban(value).until(Duration::from_secs(60)));
    }
    bouncer.lapi.add(Decision::captcha("1.2.3.4").scope("IP"));
    let all = ["2001:DB8::1", "1.2.3.4/32", "1.2.3.4", "1.2.3.4", "1.2.3.4"];
    assert_eq!(bouncer.values(59, "/v1/decisions"), all);
    assert_eq!(bouncer.values(60, "/v1/decisions"), ["1.2.3.4"]);
}

#[test]
fn key_wrong_missing_or_empty_is_forbidden() {
    let mut bouncer = Bouncer::new();
    for key in [None, Some(""), Some("wrong")] {
        let mut request = Request::get("/v1/decisions").header("User-Agent", "a/b");
        if let Some(key) = key {
            request = request.header("X-Api-Key", key);
        }
        let request = request.body(Bytes::new()).unwrap();
        let response = bouncer.lapi.handle(Duration::ZERO, &request, &mut bouncer.judge);
        assert_eq!(response.status(), 403, "{key:?}");
        assert_eq!(response.body(), r#"{"message":"access forbidden"}"#);
    }
}

#[test]
fn routes_around_decisions_answer_as_observed() {
    let mut bouncer = Bouncer::new();
    for (method, target, status, body) in [
        (
            Method::GET,
            "/v1/decisions/",
            301,
            "<a href=\"/v1/decisions\">Moved Permanently</a>.\n\n",
        ),
        (Method::GET, "//v1/decisions", 404, ""),
        (Method::GET, "/v2/decisions", 404, ""),
        (Method::POST, "/v1/decisions", 405, ""),
        (Method::HEAD, "/v1/decisions", 200, ""),
        (Method::DELETE, "/v1/decisions", 401, r#"{"code":401,"message":"cookie token is empty"}"#),
        (Method::POST, "/v1/usage-metrics", 404, ""),
        (Method::GET, "/health", 200, r#"{"status":"up"}"#),
    ] {
        let response = bouncer.send(Duration::ZERO, method.clone(), target, "");
        assert_eq!(response.status(), status, "{method} {target}");
        assert_eq!(response.body(), body, "{method} {target}");
    }
}

#[test]
fn filters_known_narrow_the_rows_and_unknown_ones_return_everything_with_a_note() {
    let mut bouncer = Bouncer::new();
    bouncer.lapi.add_all([
        Decision::ban("10.0.0.1").origin("CAPI"),
        Decision::captcha("10.0.0.2").scenario("crowdsecurity/HTTP-probing"),
        Decision::ban("10.0.0.0/8").scope("Range"),
        Decision::ban("10.0.0.3").scope("ip"),
    ]);
    for (query, expected) in [
        ("type=captcha", &["10.0.0.2"][..]),
        ("type=ban,captcha", &[]),
        ("origins=CAPI,lists", &["10.0.0.1"]),
        // "ip" is folded to "Ip", and the row stored as "ip" is missed.
        ("scopes=ip", &["10.0.0.1", "10.0.0.2"]),
        ("scenarios_containing=http", &["10.0.0.2"]),
        ("value=10.0.0.3", &["10.0.0.3"]),
        ("ip=::ffff:10.0.0.1", &["10.0.0.1", "10.0.0.0/8"]),
        ("range=10.0.0.0/30&contains=false", &["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
    ] {
        assert_eq!(bouncer.values(0, &format!("/v1/decisions?{query}")), expected, "{query}");
    }
    assert!(bouncer.judge.violations().is_empty());
    for query in ["scope=ip", "limit=1", "foo=1"] {
        assert_eq!(bouncer.values(0, &format!("/v1/decisions?{query}")).len(), 4, "{query}");
    }
    assert_eq!(bouncer.judge.violations().len(), 3);
    for query in ["ip=foo", "contains=zzz"] {
        assert_eq!(bouncer.get(0, &format!("/v1/decisions?{query}")).0, 500, "{query}");
    }
}

#[test]
fn release_1_6_3_pages_rounds_durations_and_takes_usage_metrics() {
    let mut bouncer = Bouncer::new();
    bouncer.lapi.set_version(LapiVersion(1, 6, 3));
    bouncer.lapi.add_all([
        Decision::ban("10.0.0.1").until(Duration::from_millis(59_600)),
        Decision::ban("10.0.0.2").until(Duration::from_millis(400)),
    ]);
    let body = bouncer.get(0, "/v1/decisions").1;
    assert!(body.contains(r#""1m0s""#) && body.contains(r#""0s""#), "{body}");
    assert_eq!(bouncer.values(0, "/v1/decisions?limit=1&offset=1"), ["10.0.0.2"]);

    let good = r#"{"remediation_components":[{"version":"v1","utc_startup_timestamp":1,
        "metrics":[{"meta":{"window_size_seconds":900,"utc_now_timestamp":2},
        "items":[{"name":"active_decisions","value":3,"unit":"ip","labels":{"origin":"CAPI"}}]}]}]}"#;
    let as_in_docs = r#"{"remediation_components":[{"version":"v1","utc_startup_timestamp":1,
        "metrics":{"meta":{},"items":[]}}]}"#;
    for (body, status) in [
        (good, 201),
        (as_in_docs, 400),
        ("{}", 400),
        (r#"{"remediation_components":[{"utc_startup_timestamp":1}]}"#, 422),
    ] {
        let response = bouncer.send(Duration::ZERO, Method::POST, "/v1/usage-metrics", body);
        assert_eq!(response.status(), status, "{body}");
    }
    assert_eq!(bouncer.lapi.usage_metrics().len(), 1);
}

#[test]
fn body_large_is_sent_in_chunks_and_cached_until_a_row_changes_or_expires() {
    let mut bouncer = Bouncer::new();
    let row = |n: u32| Decision::ban(std::net::Ipv4Addr::from(n).to_string());
    bouncer.lapi.add_all((0..2_000).map(row));
    bouncer.lapi.add(row(9_999).until(Duration::from_millis(2_500)));
    let first = bouncer.send(Duration::from_secs(1), Method::GET, "/v1/decisions", "");
    assert_eq!(first.headers()[TRANSFER_ENCODING], "chunked");
    let soon = bouncer.send(Duration::from_millis(1_900), Method::GET, "/v1/decisions", "");
    assert_eq!(first.body().as_ptr(), soon.body().as_ptr(), "not rendered again");

    assert_eq!(bouncer.values(2, "/v1/decisions").len(), 2_001, "rendered again after a second");
    let expired = bouncer.send(Duration::from_millis(2_500), Method::GET, "/v1/decisions", "");
    let rows: Vec<Value> = serde_json::from_slice(expired.body()).unwrap();
    assert_eq!(rows.len(), 2_000, "an expired row is not given out of the cache");
    bouncer.lapi.remove_value("0.0.0.0");
    assert_eq!(bouncer.values(3, "/v1/decisions").len(), 1_999);
}

#[test]
fn rows_shuffled_are_the_same_rows_and_the_same_seed_gives_the_same_order() {
    let read = |seed| {
        let options = LapiOptions { shuffle_rows: true, ..LapiOptions::default() };
        let mut bouncer = Bouncer { lapi: Lapi::new(options, seed), judge: Judge::default() };
        bouncer.lapi.add_all((0..50).map(|n| Decision::ban(format!("10.0.0.{n}"))));
        bouncer.values(0, "/v1/decisions")
    };
    assert_eq!(read(1), read(1));
    assert_ne!(read(1), read(2));
    let (mut one, mut two) = (read(1), read(2));
    one.sort();
    two.sort();
    assert_eq!(one, two);
}

#[test]
fn body_overridden_is_given_verbatim_and_raw_rows_ride_along() {
    let mut bouncer = Bouncer::new();
    bouncer.lapi.add(Decision::ban("10.0.0.1"));
    bouncer.lapi.add_raw_row(r#"{"value":null}"#);
    assert!(bouncer.get(0, "/v1/decisions").1.ends_with(r#""10.0.0.1"},{"value":null}]"#));
    bouncer.lapi.override_body(Some(Bytes::from_static(b"{}")));
    assert_eq!(bouncer.get(0, "/v1/decisions"), (200, "{}".to_owned()));
    bouncer.lapi.override_body(None);
    bouncer.lapi.clear();
    assert_eq!(bouncer.get(0, "/v1/decisions").1, "null");
}

#[test]
fn rows_made_up_come_after_the_stored_ones_and_only_in_an_unfiltered_answer() {
    let mut bouncer = Bouncer::new();
    bouncer.lapi.add_all([Decision::ban("10.0.0.1"), Decision::ban("x".repeat(5 << 20))]);
    bouncer.lapi.set_lazy_rows(3);
    let mut response = bouncer.send(Duration::ZERO, Method::GET, "/v1/decisions", "");
    let mut body = response.body().to_vec();
    let mut rows = response.extensions_mut().remove::<LazyRows>().unwrap();
    while let Some(block) = rows.block(100) {
        body.extend_from_slice(&block);
    }
    let rows: Vec<Value> = serde_json::from_slice(&body).unwrap();
    assert_eq!((rows.len(), rows[1]["value"].as_str().unwrap().len()), (5, 5 << 20));
    assert_eq!(bouncer.values(0, "/v1/decisions?type=ban").len(), 2);

    bouncer.lapi.clear();
    let response = bouncer.send(Duration::ZERO, Method::GET, "/v1/decisions", "");
    assert_eq!(response.body(), "", "no null before the rows");
    bouncer.lapi.set_lazy_rows(0);
    assert_eq!(bouncer.get(0, "/v1/decisions").1, "null");
}

#[test]
fn user_agent_without_exactly_one_slash_is_noted() {
    let mut bouncer = Bouncer::new();
    for agent in ["curl", "a/b/c", "/v1", "a/"] {
        let request =
            Request::get("/health").header("User-Agent", agent).body(Bytes::new()).unwrap();
        bouncer.lapi.handle(Duration::ZERO, &request, &mut bouncer.judge);
    }
    assert_eq!(bouncer.judge.violations().len(), 4);
}

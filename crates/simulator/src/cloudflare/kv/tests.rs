//! Stories of a client and KV, told through Cloudflare's front door.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Value, json};

use super::*;
use crate::cloudflare::{Cloudflare, Interference};
use crate::fault::FaultAction;
use crate::options::{BulkReply, PageEnd, Permission};

mod odd_reads;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

struct Account {
    cloudflare: Cloudflare,
    judge: Judge,
    now: Duration,
    namespace: String,
}

impl Account {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut CloudflareOptions)) -> Self {
        let mut options = CloudflareOptions::default();
        change(&mut options);
        let mut cloudflare = Cloudflare::new(options, SystemTime::UNIX_EPOCH, 1);
        let namespace = cloudflare.create_namespace("crowdsec");
        Self { cloudflare, judge: Judge::default(), now: Duration::ZERO, namespace }
    }

    /// Asks for a path below the namespaces of the account.
    fn request(
        &mut self,
        method: Method,
        path: &str,
        body: &str,
        action: Option<FaultAction>,
    ) -> Response<Bytes> {
        let CloudflareOptions { account_id, api_token, .. } = CloudflareOptions::default();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/client/v4/accounts/{account_id}/storage/kv/namespaces{path}"))
            .header("authorization", format!("Bearer {api_token}"));
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        let interference = Interference::of(action.as_ref());
        self.cloudflare.handle(self.now, &request, &interference, &mut self.judge)
    }

    /// Asks for a path below the namespace; status, and the first error's code or 0.
    fn send(&mut self, method: Method, path: &str, body: &str) -> (u16, u64, Value) {
        let path = format!("/{}{path}", self.namespace);
        read(&self.request(method, &path, body, None))
    }

    fn get(&mut self, path: &str) -> Value {
        let (status, _, body) = self.send(Method::GET, path, "");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Writes keys with their values for this many seconds.
    fn write(&mut self, pairs: &[(&str, &str)], ttl: u64) -> (u16, u64, Value) {
        let pair = |pair: &(&str, &str)| {
            let (key, value) = pair;
            json!({ "key": key, "value": value, "expiration_ttl": ttl })
        };
        let body = Value::from_iter(pairs.iter().map(pair)).to_string();
        self.send(Method::PUT, "/bulk", &body)
    }

    fn delete(&mut self, keys: &[&str]) -> (u16, u64, Value) {
        self.send(Method::POST, "/bulk/delete", &json!(keys).to_string())
    }

    fn later(&mut self, by: Duration) -> &mut Self {
        self.now += by;
        self.cloudflare.settle(self.now);
        self
    }

    /// All listed names, read page by page.
    fn list(&mut self, limit: usize, prefix: &str) -> Vec<String> {
        let mut listed = Vec::new();
        let mut cursor = String::new();
        loop {
            let (prefix, cursor_sent) = (percent_encoded(prefix), percent_encoded(&cursor));
            let page =
                self.get(&format!("/keys?limit={limit}&prefix={prefix}&cursor={cursor_sent}"));
            listed.extend(names(&page));
            match page["result_info"]["cursor"].as_str().unwrap_or_default() {
                "" => return listed,
                next => cursor = next.to_owned(),
            }
        }
    }

    fn stored(&self) -> BTreeMap<String, String> {
        let entries = self.cloudflare.kv_entries(&self.namespace);
        entries.into_iter().map(|(key, entry)| (key, entry.value)).collect()
    }

    fn preload(&mut self, keys: &[&str]) {
        for key in keys {
            let namespace = self.namespace.clone();
            self.cloudflare.kv_put(&namespace, key, "ban", Some(DAY), None);
        }
    }

    /// The rules that were broken since the last call.
    fn broken(&mut self) -> usize {
        let count = self.judge.violations().len();
        self.judge.clear();
        count
    }
}

fn read(response: &Response<Bytes>) -> (u16, u64, Value) {
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    let code = body["errors"][0]["code"].as_u64().unwrap_or_default();
    assert_eq!(body["success"], response.status().is_success());
    (response.status().as_u16(), code, body)
}

fn names(page: &Value) -> Vec<String> {
    let name = |key: &Value| key["name"].as_str().unwrap().to_owned();
    page["result"].as_array().unwrap().iter().map(name).collect()
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn pair_written_is_listed_without_its_value_until_it_expires() {
    let mut account = Account::new();
    account.later(Duration::from_millis(1_500));
    let body = r#"[{"key":"ip:192.0.2.1","value":"ban","expiration_ttl":60,"metadata":{"v":1}}]"#;
    let (status, _, written) = account.send(Method::PUT, "/bulk", body);
    assert_eq!(status, 200);
    assert_eq!(written["result"], json!({ "successful_key_count": 1, "unsuccessful_keys": [] }));
    let page = account.get("/keys");
    let expected = json!([{ "name": "ip:192.0.2.1", "expiration": 61, "metadata": { "v": 1 } }]);
    assert_eq!(page["result"], expected, "from the whole second on");
    assert_eq!(page["result_info"], json!({ "count": 1, "cursor": "" }));

    account.later(Duration::from_millis(59_499));
    assert_eq!(account.list(10, ""), ["ip:192.0.2.1"]);
    account.later(Duration::from_millis(1));
    assert!(account.list(10, "").is_empty());
    assert!(account.stored().is_empty());
    let namespace = account.namespace.clone();
    let last = account.cloudflare.kv_history(&namespace).last().unwrap();
    assert_eq!((last.at, last.cause), (Duration::from_secs(61), KvCause::Expiry));
    assert_eq!(account.broken(), 0);
}

#[test]
fn pair_overwritten_loses_expiration_and_metadata_and_eternal_ones_are_noted() {
    let mut account = Account::new();
    let namespace = account.namespace.clone();
    account.cloudflare.kv_put(&namespace, "a", "ban", Some(DAY), Some(json!({ "v": 1 })));
    let body = r#"[{"key":"a","value":"ban"},{"key":"b","value":"ban"}]"#;
    assert_eq!(account.send(Method::PUT, "/bulk", body).0, 200);
    let eternal = KvEntryView { value: "ban".to_owned(), expiration_unix: None, metadata: None };
    assert_eq!(account.cloudflare.kv_get(&namespace, "a"), Some(eternal));
    assert_eq!(account.broken(), 1, "once for the request");
    account.later(1_000 * DAY);
    assert_eq!(account.list(10, ""), ["a", "b"]);
}

#[test]
fn bulk_request_with_one_fault_stores_nothing() {
    let mut account = Account::new();
    let body = r#"[{"key":"a","value":"x","expiration_ttl":60},
                   {"key":"b","value":"x","expiration_ttl":59}]"#;
    let (status, code, _) = account.send(Method::PUT, "/bulk", body);
    assert_eq!((status, code), (400, 10034));
    assert!(account.stored().is_empty());
    let counters = account.cloudflare.kv_counters();
    assert_eq!((counters.pairs_written, counters.writes_refused), (0, 1));
}

#[test]
fn names_deleted_go_and_absent_ones_are_no_error() {
    let mut account = Account::new();
    account.preload(&["a", "b", "c"]);
    let (status, _, deleted) = account.delete(&["a", "nowhere"]);
    assert_eq!((status, &deleted["result"]["successful_key_count"]), (200, &json!(2)));
    assert_eq!(account.list(10, ""), ["b", "c"]);
    assert_eq!(account.delete(&[]).1, 10029);
    assert_eq!(account.broken(), 1);
    assert_eq!(account.send(Method::DELETE, "/bulk", r#"["b"]"#).0, 200);
    assert_eq!((account.list(10, "").len(), account.broken()), (1, 1), "deprecated");
    let counters = account.cloudflare.kv_counters();
    assert_eq!((counters.keys_deleted, counters.absent_deletes), (3, 1));
    assert_eq!((counters.bulk_deletes, counters.writes_refused), (2, 1));
}

#[test]
fn pair_written_again_unchanged_is_counted_and_no_violation() {
    let mut account = Account::new();
    account.write(&[("a", "ban"), ("b", "ban")], 3_600);
    account.later(SECOND).write(&[("a", "ban"), ("b", "captcha")], 3_600);
    account.later(2 * SECOND).write(&[("a", "ban")], 3_600);
    let counters = account.cloudflare.kv_counters();
    assert_eq!((counters.pairs_written, counters.identical_rewrites), (5, 1));
    assert_eq!((counters.bulk_writes, account.broken()), (3, 0));
    account.cloudflare.reset_write_counts();
    assert_eq!(account.cloudflare.kv_counters(), KvCounters::default());
}

#[test]
fn value_read_in_its_lag_is_what_was_stored_before() {
    let mut account = Account::with(|options| options.kv_value_lag = MINUTE);
    account.preload(&["old"]);
    let read = |account: &mut Account, key: &str| {
        let (status, code, _) = account.send(Method::GET, &format!("/metadata/{key}"), "");
        (status, code)
    };
    assert_eq!(read(&mut account, "old").0, 200, "what was preloaded has been there for long");
    account.write(&[("new", "ban")], 300);
    account.delete(&["old"]);
    assert_eq!((read(&mut account, "old").0, read(&mut account, "new").1), (200, 10009));
    account.later(59 * SECOND);
    assert_eq!((read(&mut account, "old").0, read(&mut account, "new").1), (200, 10009));
    assert_eq!(account.list(10, ""), ["new"], "listings have a lag of their own");
    account.later(SECOND);
    assert_eq!((read(&mut account, "old").1, read(&mut account, "new").0), (10009, 200));
}

#[test]
fn listing_with_lag_shows_the_past_while_values_are_current() {
    let mut account = Account::with(|options| options.kv_list_lag = MINUTE);
    account.preload(&["old"]);
    account.write(&[("new", "ban"), ("brief", "ban")], 60);
    account.delete(&["old"]);
    assert_eq!(account.list(10, ""), ["old"], "what was preloaded has been there for long");
    assert_eq!(account.stored().into_keys().collect::<Vec<_>>(), ["brief", "new"]);
    account.later(10 * SECOND).delete(&["brief"]);
    account.write(&[("new", "captcha")], 300);

    account.later(50 * SECOND);
    assert_eq!(account.list(10, ""), ["brief", "new"], "as it was a minute ago");
    assert_eq!(account.get("/keys")["result"][1]["expiration"], 60);
    assert_eq!(account.send(Method::GET, "/metadata/brief", "").1, 10009);
    account.later(10 * SECOND);
    assert_eq!(account.list(10, ""), ["new"]);
    assert_eq!(account.get("/keys")["result"][0]["expiration"], 310);

    account.later(240 * SECOND);
    assert!(account.stored().is_empty());
    account.later(59 * SECOND);
    assert_eq!(account.list(10, ""), ["new"], "an expiry is seen late too");
    account.later(SECOND);
    assert!(account.list(10, "").is_empty());
}

#[test]
fn pages_of_any_size_hold_every_key_of_the_prefix_once_in_the_order_of_bytes() {
    let mut account = Account::new();
    let mut expected: Vec<String> = (0..57).map(|n| format!("ip:10.0.0.{n}")).collect();
    expected.extend(["ip:", "ip:é", "ip:ﬀ", "ip:😀"].map(str::to_owned));
    expected.sort();
    let keys: Vec<&str> = expected.iter().rev().map(String::as_str).collect();
    account.preload(&keys);
    account.preload(&["io", "ip", "iq", "z"]);
    for limit in [10, 11, 61, 1_000] {
        assert_eq!(account.list(limit, "ip:"), expected, "{limit} a page");
    }
    assert_eq!(account.list(10, "").len(), expected.len() + 4);
    assert_eq!(account.list(10, "ip:10.0.0.5").len(), 8, ".5 and .50 to .56");
    assert!(account.list(10, "nothing").is_empty());
    assert_eq!(account.broken(), 0);
}

#[test]
fn page_last_ends_in_each_of_the_known_ways() {
    for (end, expected) in [
        (PageEnd::Empty, Some(json!({ "count": 1, "cursor": "" }))),
        (PageEnd::Null, Some(json!({ "count": 1, "cursor": null }))),
        (PageEnd::Absent, Some(json!({ "count": 1 }))),
        (PageEnd::NoResultInfo, None),
    ] {
        let mut account = Account::with(|options| options.kv_page_end = end);
        account.preload(&["a"]);
        assert_eq!(account.get("/keys").get("result_info"), expected.as_ref(), "{end:?}");
    }
}

#[test]
fn limit_out_of_bounds_or_cursor_wrong_or_old_is_refused_and_not_billed() {
    let mut account = Account::with(|options| options.cursor_lifetime = SECOND);
    let keys: Vec<String> = (0..20).map(|n| format!("ip:{n}")).collect();
    account.preload(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    for query in ["limit=9", "limit=1001", "limit=x", "limit=", "cursor=made-up"] {
        assert_eq!(account.send(Method::GET, &format!("/keys?{query}"), "").0, 400, "{query}");
        assert_eq!(account.broken(), 1, "{query}");
    }
    let raw = account.get("/keys?limit=10&prefix=ip:")["result_info"]["cursor"].clone();
    let raw = raw.as_str().unwrap();
    let cursor = percent_encoded(raw);
    let status = |account: &mut Account, query: &str| {
        account.send(Method::GET, &format!("/keys?limit=10&{query}"), "").0
    };
    assert_eq!(status(&mut account, &format!("prefix=ip:&cursor={raw}")), 400, "not encoded");
    assert_eq!(status(&mut account, &format!("cursor={cursor}")), 400, "without its prefix");
    assert_eq!(status(&mut account, &format!("prefix=ip:&cursor={cursor}")), 200);
    assert_eq!(account.broken(), 2);
    account.later(SECOND);
    assert_eq!(status(&mut account, &format!("prefix=ip:&cursor={cursor}")), 400, "expired");
    assert_eq!(account.broken(), 0, "nobody's fault");
    assert_eq!(account.cloudflare.kv_counters().list_calls, 2);
    account.get("/keys?per_page=10");
    assert_eq!(account.broken(), 1, "no such parameter");
}

#[test]
fn faults_on_pages_repeat_the_cursor_or_empty_the_page() {
    let mut account = Account::new();
    account.preload(&["a", "b"]);
    let path = format!("/{}/keys", account.namespace);
    let mut get = |cursor: &str, action| {
        let path = format!("{path}?cursor={}", percent_encoded(cursor));
        let page = read(&account.request(Method::GET, &path, "", Some(action))).2;
        assert_eq!(page["result_info"]["count"], names(&page).len());
        (names(&page), page["result_info"]["cursor"].as_str().unwrap_or_default().to_owned())
    };
    let (first, cursor) = get("", FaultAction::RepeatCursor);
    assert_eq!(get(&cursor, FaultAction::RepeatCursor), (first, cursor), "for ever");
    let (empty, cursor) = get("", FaultAction::EmptyPageWithCursor);
    assert_eq!(empty, [""; 0]);
    assert_eq!(get(&cursor, FaultAction::Refuse), (vec!["a".into(), "b".into()], String::new()));
}

#[test]
fn fault_of_unsuccessful_keys_leaves_and_names_the_first_ones() {
    let mut account = Account::new();
    account.preload(&["old"]);
    let bulk = format!("/{}/bulk", account.namespace);
    let pair = |key| json!({ "key": key, "value": "ban", "expiration_ttl": 60 });
    let pairs = json!([pair("a"), pair("b"), pair("c")]).to_string();
    let fault = || Some(FaultAction::UnsuccessfulKeys(2));
    let (status, _, written) = read(&account.request(Method::PUT, &bulk, &pairs, fault()));
    assert_eq!(status, 200);
    let expected = json!({ "successful_key_count": 1, "unsuccessful_keys": ["a", "b"] });
    assert_eq!(written["result"], expected);
    assert_eq!(account.list(10, ""), ["c", "old"]);

    let path = format!("{bulk}/delete");
    let deleted = read(&account.request(Method::POST, &path, r#"["old"]"#, fault())).2;
    let expected = json!({ "successful_key_count": 0, "unsuccessful_keys": ["old"] });
    assert_eq!(deleted["result"], expected, "fewer than the fault names");
    assert_eq!(account.list(10, ""), ["c", "old"]);
    let counters = account.cloudflare.kv_counters();
    assert_eq!((counters.pairs_written, counters.keys_deleted), (3, 1), "billed all the same");
}

#[test]
fn bulk_answer_may_tell_nothing() {
    for (reply, expected) in [(BulkReply::Null, Value::Null), (BulkReply::Empty, json!({}))] {
        let mut account = Account::with(|options| options.kv_bulk_reply = reply);
        assert_eq!(account.write(&[("a", "ban")], 60).2["result"], expected);
        assert_eq!(account.stored().len(), 1);
        assert_eq!(account.delete(&["a"]).2["result"], expected);
    }
}

#[test]
fn day_quota_of_each_kind_used_up_is_refused_until_midnight_and_stops_nothing_else() {
    let mut account = Account::with(|options| {
        options.kv_daily_writes = 2;
        options.kv_daily_deletes = 2;
        options.kv_daily_lists = 2;
        options.kv_daily_reads = 2;
    });
    account.later(DAY - MINUTE);
    let three = [("a", "ban"), ("b", "ban"), ("c", "ban")];
    let (status, code, _) = account.write(&three, 3_600);
    assert_eq!((status, code), (429, 10048), "larger than what is left");
    assert!(account.stored().is_empty(), "whole");
    assert_eq!(account.write(&three[..2], 3_600).0, 200);
    assert_eq!(account.send(Method::PUT, "/values/d?expiration_ttl=60", "x").1, 10048);

    assert_eq!(account.delete(&["a", "b", "c"]).1, 10048);
    assert_eq!(account.delete(&["nowhere", "a"]).0, 200);
    assert_eq!(account.send(Method::DELETE, "/values/b", "").1, 10048);

    assert_eq!((account.list(10, ""), account.list(10, "")), (vec!["b".into()], vec!["b".into()]));
    assert_eq!(account.send(Method::GET, "/keys", "").1, 10048);

    let keys = r#"{"keys":["a","b"]}"#;
    assert_eq!(account.send(Method::POST, "/bulk/get", keys).0, 200);
    assert_eq!(account.send(Method::GET, "/metadata/b", "").1, 10048);
    let counters = account.cloudflare.kv_counters();
    assert_eq!((counters.quota_refusals, counters.writes_refused), (6, 4));
    assert_eq!((counters.list_calls, counters.keys_read), (2, 2));

    account.later(MINUTE);
    assert_eq!(account.write(&three[..2], 3_600).0, 200);
    assert_eq!(account.list(10, ""), ["a", "b"]);
    assert_eq!(account.broken(), 0);
}

#[test]
fn key_written_twice_within_a_second_is_refused_if_asked_for() {
    let mut account = Account::with(|options| options.kv_key_write_interval = SECOND);
    account.preload(&["a"]);
    assert_eq!(account.write(&[("a", "captcha")], 60).0, 200);
    account.later(Duration::from_millis(999));
    assert_eq!(account.write(&[("b", "ban"), ("a", "ban")], 60).0, 429);
    assert_eq!((account.stored().len(), account.broken()), (1, 1));
    account.later(Duration::from_millis(1));
    assert_eq!(account.write(&[("b", "ban"), ("a", "ban")], 60).0, 200);
}

#[test]
fn single_key_is_read_written_and_deleted_by_its_encoded_name() {
    let mut account = Account::new();
    let path = "/values/ip%3A2001%3Adb8%3A%3A1%2F+64";
    let (status, _, written) =
        account.send(Method::PUT, &format!("{path}?expiration_ttl=60"), "\"any bytes\"");
    assert_eq!((status, &written["result"]), (200, &Value::Null));
    assert_eq!(account.stored().into_keys().collect::<Vec<_>>(), ["ip:2001:db8::1/+64"]);
    let namespace = account.namespace.clone();
    let raw = account.request(Method::GET, &format!("/{namespace}{path}"), "", None);
    assert_eq!(raw.body(), "\"any bytes\"");
    assert_eq!(
        (&raw.headers()["expiration"], raw.status().as_u16()),
        (&"60".parse().unwrap(), 200)
    );
    assert_eq!(account.get(&path.replace("values", "metadata"))["result"], Value::Null);

    assert_eq!(account.send(Method::DELETE, path, "").0, 200);
    assert_eq!(account.send(Method::DELETE, path, "").0, 200, "absent is no error");
    let (status, code, _) = account.send(Method::GET, path, "");
    assert_eq!((status, code), (404, 10009));
    assert_eq!(account.broken(), 0);
    for (path, expected) in [
        ("/values/a?expiration_ttl=59", 10034),
        ("/values/a?expiration_ttl=soon", 10034),
        ("/values/%2E%2E?expiration_ttl=60", 10012),
        ("/values/?expiration_ttl=60", 10012),
    ] {
        assert_eq!(account.send(Method::PUT, path, "x").1, expected, "{path}");
    }
    assert_eq!(account.send(Method::PUT, "/values/a/b", "x").1, 7003, "a slash not encoded");
}

#[test]
fn bulk_read_gives_text_or_json_with_or_without_metadata() {
    let mut account = Account::new();
    let namespace = account.namespace.clone();
    account.cloudflare.kv_put(&namespace, "a", "{\"n\":1}", Some(DAY), Some(json!(7)));
    account.cloudflare.kv_put(&namespace, "b", "ban", None, None);
    for (body, expected) in [
        (r#"{"keys":["a","b","c"]}"#, json!({ "a": "{\"n\":1}", "b": "ban", "c": null })),
        (
            r#"{"keys":["a","c"],"type":"json","withMetadata":true}"#,
            json!({ "a": { "value": { "n": 1 }, "metadata": 7, "expiration": 86_400 }, "c": null }),
        ),
    ] {
        let (_, _, got) = account.send(Method::POST, "/bulk/get", body);
        assert_eq!(got["result"]["values"], expected);
    }
    let body = r#"{"keys":["b"],"type":"json"}"#;
    assert_eq!(account.send(Method::POST, "/bulk/get", body).1, 10012, "not JSON");
}

#[test]
fn namespaces_are_created_listed_renamed_and_removed() {
    let mut account = Account::with(|options| options.kv_namespaces_max = 2);
    let (status, _, created) =
        read(&account.request(Method::POST, "", r#"{"title":"second"}"#, None));
    let id = created["result"]["id"].as_str().unwrap().to_owned();
    assert_eq!((status, id.len(), &created["result"]["title"]), (200, 32, &json!("second")));
    for (body, expected) in [
        (r#"{"title":"second"}"#, 10014),
        (r#"{"title":""}"#, 10019),
        ("{}", 10019),
        (r#"{"name":"x"}"#, 10012),
        (r#"{"title":"third"}"#, 10993),
    ] {
        assert_eq!(read(&account.request(Method::POST, "", body, None)).1, expected, "{body}");
    }
    let listed = read(&account.request(Method::GET, "?per_page=1&page=2", "", None)).2;
    assert_eq!(listed["result"][0]["title"], "second");
    assert_eq!(listed["result_info"]["total_count"], 2);
    let (status, code, _) = account.send(Method::PUT, "", r#"{"title":"second"}"#);
    assert_eq!((status, code), (400, 10014));
    assert_eq!(account.send(Method::PUT, "", r#"{"title":"first"}"#).2["result"]["title"], "first");
    assert_eq!(account.get("")["result"]["id"], account.namespace);
    assert_eq!(account.send(Method::DELETE, "", "").0, 200);
    let (status, code, _) = account.send(Method::GET, "", "");
    assert_eq!((status, code), (404, 10013));
}

#[test]
fn namespace_absent_or_malformed_path_or_method_wrong_is_refused_by_code() {
    let mut account = Account::new();
    let good = account.namespace.clone();
    let absent = hex_id(7);
    for (method, path, status, code, broken) in [
        (Method::GET, format!("/{absent}/keys"), 404, 10013, 0),
        (Method::PUT, format!("/{absent}/bulk"), 404, 10013, 1),
        (Method::GET, "/crowdsec/keys".to_owned(), 400, 10011, 1),
        (Method::GET, format!("/{}/keys", good.to_uppercase()), 400, 10011, 1),
        (Method::GET, format!("/{good}/nothing"), 400, 7003, 0),
        (Method::POST, format!("/{good}/bulk"), 405, 10000, 0),
        (Method::DELETE, format!("/{good}/keys"), 405, 10000, 0),
        (Method::PATCH, String::new(), 405, 10000, 0),
    ] {
        let answer = read(&account.request(method, &path, "", None));
        assert_eq!((answer.0, answer.1), (status, code), "{path}");
        assert_eq!(account.broken(), broken, "{path}");
    }
}

#[test]
fn token_that_may_only_read_kv_reads_and_writes_nothing() {
    let ask = |permission| {
        let mut account = Account::with(|options| {
            options.kv_permission = permission;
            // The two permissions are two.
            options.permission = Permission::None;
        });
        let get = account.send(Method::GET, "/keys", "").0;
        let bulk_get = account.send(Method::POST, "/bulk/get", r#"{"keys":["a"]}"#).0;
        let (write, code, _) = account.write(&[("a", "ban")], 60);
        (get, bulk_get, write, code)
    };
    assert_eq!(ask(Permission::Edit), (200, 200, 200, 0));
    assert_eq!(ask(Permission::Read), (200, 200, 403, 10000));
    assert_eq!(ask(Permission::None), (403, 403, 403, 10000));
}

#[test]
fn key_outside_the_own_prefix_touched_is_noted() {
    let mut account = Account::with(|options| {
        options.kv_own_prefix = "ip:".to_owned();
        options.kv_own_key = "ranges".to_owned();
    });
    account.preload(&["config"]);
    account.write(&[("ip:192.0.2.1", "ban"), ("ranges", "{}")], 60);
    account.delete(&["ip:192.0.2.1", "ranges"]);
    assert_eq!(account.broken(), 0);
    account.write(&[("config", "x"), ("ip", "x"), ("ranges2", "x")], 60);
    assert_eq!(account.broken(), 3);
    account.delete(&["config"]);
    assert_eq!(account.broken(), 1);
}

/// `urllib.parse.quote` as the older program uses it: a slash stays.
#[test]
fn requests_of_the_older_program_are_accepted() {
    let quote = |text: &str| text.replace('+', "%2B").replace('=', "%3D");
    let mut account = Account::with(|options| options.kv_key_write_interval = SECOND);
    let pair = |n: u32| {
        let key = format!("ip:{}", std::net::Ipv4Addr::from(n));
        json!({ "key": key, "value": "ban", "expiration_ttl": 14_400 })
    };
    let body = Value::from_iter((0..2_500).map(pair)).to_string();
    assert_eq!(account.send(Method::PUT, "/bulk", &body).0, 200);
    let mut keys = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut path = "/keys?prefix=ip:&limit=1000".to_owned();
        if !cursor.is_empty() {
            path += &format!("&cursor={}", quote(&cursor));
        }
        let page = account.get(&path);
        keys.extend(names(&page));
        match page["result_info"]["cursor"].as_str().unwrap_or_default() {
            "" => break,
            next => cursor = next.to_owned(),
        }
    }
    assert_eq!(keys.len(), 2_500);
    assert_eq!(account.send(Method::POST, "/bulk/delete", &json!(keys[..3]).to_string()).0, 200);
    assert_eq!((account.stored().len(), account.broken()), (2_497, 0));
}

#[test]
fn address_moved_by_one_write_was_never_absent_and_one_deleted_first_was() {
    let mut account = Account::new();
    let namespace = account.namespace.clone();
    account.preload(&["moved", "careless"]);
    account.later(SECOND);
    account.write(&[("moved", "captcha")], 60);
    account.delete(&["careless"]);
    account.later(SECOND);
    account.write(&[("careless", "captcha")], 60);
    account.later(SECOND);
    let span = Duration::ZERO..account.now;
    assert!(!account.cloudflare.kv_was_absent(&namespace, "moved", span.clone()));
    assert!(account.cloudflare.kv_was_absent(&namespace, "careless", span));
    let changes = account.cloudflare.kv_history(&namespace);
    let of_careless = changes.iter().filter(|change| change.key == "careless");
    let values: Vec<_> = of_careless.map(|change| change.value.as_deref()).collect();
    assert_eq!(values, [Some("ban"), None, Some("captcha")]);
}

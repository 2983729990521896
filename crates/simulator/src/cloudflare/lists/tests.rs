//! Stories of a client, the lists and their operations, told through Cloudflare's front door.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Value, json};

use super::*;
use crate::cloudflare::{Cloudflare, Interference};
use crate::fault::FaultAction;
use crate::options::{LimiterBody, PageEnd, Permission, TokenStatus};

mod limits;
mod reads;

const SECOND: Duration = Duration::from_secs(1);

struct Account {
    cloudflare: Cloudflare,
    judge: Judge,
    now: Duration,
    token: String,
    ban: String,
    captcha: String,
}

impl Account {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut CloudflareOptions)) -> Self {
        let mut options = CloudflareOptions::default();
        change(&mut options);
        let token = options.api_token.clone();
        let mut cloudflare = Cloudflare::new(options, SystemTime::UNIX_EPOCH, 1);
        let ban = cloudflare.create_list("ban");
        let captcha = cloudflare.create_list("captcha");
        Self { cloudflare, judge: Judge::default(), now: Duration::ZERO, token, ban, captcha }
    }

    fn request(
        &mut self,
        method: Method,
        path: &str,
        body: &str,
        action: Option<FaultAction>,
    ) -> Response<Bytes> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token));
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        let interference = Interference::of(action.as_ref());
        self.cloudflare.handle(self.now, &request, &interference, &mut self.judge)
    }

    /// Status, and the first error's code or 0.
    fn send(&mut self, method: Method, path: &str, body: &str) -> (u16, u64, Value) {
        let account = CloudflareOptions::default().account_id;
        let path = format!("/client/v4/accounts/{account}/rules/lists{path}");
        read(&self.request(method, &path, body, None))
    }

    fn write(&mut self, method: Method, list_id: &str, body: &str) -> (u16, u64, Value) {
        self.send(method, &format!("/{list_id}/items"), body)
    }

    fn operation(&mut self, accepted: &Value) -> Value {
        let id = accepted["result"]["operation_id"].as_str().unwrap().to_owned();
        self.send(Method::GET, &format!("/bulk_operations/{id}"), "").2["result"].clone()
    }

    fn later(&mut self, by: Duration) -> &mut Self {
        self.now += by;
        self
    }

    /// All values, read page by page.
    fn read_all(&mut self, list_id: &str, per_page: usize) -> Vec<String> {
        let mut values = Vec::new();
        let mut cursor = String::new();
        loop {
            let query = format!("?per_page={per_page}&cursor={}", percent_encoded(&cursor));
            let (status, _, page) = self.send(Method::GET, &format!("/{list_id}/items{query}"), "");
            assert_eq!(status, 200, "{page}");
            values.extend(ips(&page));
            match page["result_info"]["cursors"]["after"].as_str().unwrap_or_default() {
                "" => return values,
                next => cursor = next.to_owned(),
            }
        }
    }
}

fn read(response: &Response<Bytes>) -> (u16, u64, Value) {
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    let code = body["errors"][0]["code"].as_u64().unwrap_or_default();
    assert_eq!(body["success"], response.status().is_success());
    (response.status().as_u16(), code, body)
}

fn ips(page: &Value) -> Vec<String> {
    let ip = |item: &Value| item["ip"].as_str().unwrap().to_owned();
    page["result"].as_array().unwrap().iter().map(ip).collect()
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn items(values: &[&str]) -> String {
    Value::from_iter(values.iter().map(|value| json!({ "ip": value }))).to_string()
}

#[test]
fn write_accepted_is_seen_only_when_its_operation_has_completed() {
    let mut account = Account::new();
    let ban = account.ban.clone();
    account.cloudflare.preload(&ban, ["192.0.2.1"]);
    let (status, _, accepted) = account.write(Method::PUT, &ban, &items(&["2001:DB8::2/128"]));
    assert_eq!(status, 200);
    assert_eq!(account.operation(&accepted)["status"], "pending");
    account.later(Duration::from_millis(300));
    assert_eq!(account.operation(&accepted)["status"], "running");
    assert_eq!(account.read_all(&ban, 500), ["192.0.2.1"]);
    account.later(Duration::from_millis(400));
    let done = account.operation(&accepted);
    assert_eq!(
        (&done["status"], &done["completed"]),
        (&json!("completed"), &json!("1970-01-01T00:00:00Z"))
    );
    assert_eq!(account.read_all(&ban, 500), ["2001:db8::2"]);
    assert!(account.judge.violations().is_empty());
}

#[test]
fn second_write_while_one_is_unfinished_is_rejected_even_for_another_list() {
    let mut account = Account::new();
    let (ban, captcha) = (account.ban.clone(), account.captcha.clone());
    account.write(Method::POST, &ban, &items(&["192.0.2.1"]));
    let (status, code, _) = account.write(Method::POST, &captcha, &items(&["192.0.2.2"]));
    assert_eq!((status, code), (429, 10040));
    assert_eq!(account.judge.violations().len(), 1);
    account.later(SECOND);
    assert_eq!(account.write(Method::POST, &captcha, &items(&["192.0.2.2"])).0, 200);
    assert_eq!(account.judge.violations().len(), 1);
    let counters = account.cloudflare.with_write_counts(Counters::default());
    assert_eq!((counters.writes_accepted, counters.writes_refused), (2, 1));
}

#[test]
fn second_write_in_queue_mode_waits_its_turn() {
    let mut account = Account::with(|options| options.pending_mode = PendingMode::Queue);
    let (ban, captcha) = (account.ban.clone(), account.captcha.clone());
    let first = account.write(Method::POST, &ban, &items(&["192.0.2.1"])).2;
    let second = account.write(Method::POST, &captcha, &items(&["192.0.2.2"])).2;
    account.later(SECOND);
    assert_eq!(account.operation(&first)["status"], "completed");
    assert_eq!(account.operation(&second)["status"], "running");
    account.later(SECOND);
    assert_eq!(account.operation(&second)["status"], "completed");
    let times: Vec<_> =
        account.cloudflare.operations().iter().map(|operation| operation.finished).collect();
    assert_eq!(times, [700, 1_400].map(|ms| Some(Duration::from_millis(ms))));
    assert_eq!(account.judge.violations().len(), 1, "queued, and noted all the same");
}

#[test]
fn items_posted_are_merged_and_comments_overwritten() {
    let mut account = Account::with(|options| options.operation_delay = Duration::ZERO);
    let ban = account.ban.clone();
    account.cloudflare.preload_commented(&ban, "192.0.2.1", "old");
    let before = account.cloudflare.items(&ban);
    let body = r#"[{"ip":"192.0.2.1/32","comment":"new"},{"ip":"192.0.2.0/28"}]"#;
    account.write(Method::POST, &ban, body);
    let after = account.cloudflare.items(&ban);
    assert_eq!(
        after.iter().map(|item| &*item.ip).collect::<Vec<_>>(),
        ["192.0.2.0/28", "192.0.2.1"]
    );
    assert_eq!((&after[1].id, after[1].comment.as_deref()), (&before[0].id, Some("new")));
}

#[test]
fn items_put_get_new_ids_even_where_the_value_stays() {
    let mut account = Account::with(|options| options.operation_delay = Duration::ZERO);
    let ban = account.ban.clone();
    account.cloudflare.preload(&ban, ["192.0.2.1", "192.0.2.2"]);
    let before = account.cloudflare.items(&ban);
    account.write(Method::PUT, &ban, &items(&["192.0.2.1", "192.0.2.3"]));
    let after = account.cloudflare.items(&ban);
    assert_eq!(after[0].ip, before[0].ip);
    assert_ne!(after[0].id, before[0].id);
    let change = account.cloudflare.edge_history().last().unwrap();
    assert_eq!(
        (&*change.added, &*change.removed),
        (&["192.0.2.3".to_owned()][..], &["192.0.2.2".to_owned()][..])
    );
    assert_eq!(account.cloudflare.with_write_counts(Counters::default()).item_modifications, 3);
}

#[test]
fn items_deleted_by_id_go_and_unknown_ids_are_no_error() {
    let mut account = Account::with(|options| options.operation_delay = Duration::ZERO);
    let ban = account.ban.clone();
    account.cloudflare.preload(&ban, ["192.0.2.1", "192.0.2.2"]);
    let id = account.cloudflare.items(&ban)[0].id.clone();
    let body = json!({ "items": [{ "id": id }, { "id": hex_id(7) }] }).to_string();
    assert_eq!(account.write(Method::DELETE, &ban, &body).0, 200);
    assert_eq!(account.read_all(&ban, 500), ["192.0.2.2"]);
    assert_eq!(account.write(Method::DELETE, &ban, "").1, 10026);
    assert_eq!(account.write(Method::DELETE, &ban, r#"{"items":[]}"#).1, 10026);
}

#[test]
fn list_put_empty_is_emptied_and_noted() {
    let mut account = Account::with(|options| options.operation_delay = Duration::ZERO);
    let ban = account.ban.clone();
    account.cloudflare.preload(&ban, ["192.0.2.1"]);
    assert_eq!(account.write(Method::PUT, &ban, "[]").0, 200);
    assert_eq!(account.cloudflare.items(&ban), []);
    assert_eq!(account.judge.violations().len(), 1);
    assert_eq!(account.write(Method::POST, &ban, "[]").1, 10026);
}

#[test]
fn pages_of_any_size_hold_every_item_once_in_order() {
    let mut account = Account::new();
    let ban = account.ban.clone();
    let mut expected: Vec<String> = (0..57).map(|n| format!("10.0.0.{n}")).collect();
    expected.extend([
        "10.0.0.128/25".to_owned(),
        "2001:db8::1".to_owned(),
        "not an address".to_owned(),
    ]);
    account.cloudflare.preload(&ban, expected.iter().rev().cloned());
    for per_page in [1, 7, 20, 60, 500] {
        assert_eq!(account.read_all(&ban, per_page), expected, "{per_page} a page");
    }
    let (_, _, page) = account.send(Method::GET, &format!("/{ban}/items"), "");
    assert_eq!(ips(&page).len(), 25, "the default page");
    let (_, _, page) = account.send(Method::GET, &format!("/{ban}/items?search=10.0.0.1"), "");
    assert_eq!(ips(&page).len(), 12, "a prefix of the text: .1, .10 to .19, .128/25");
}

#[test]
fn cursor_before_given_back_leads_to_the_page_before() {
    let mut account = Account::new();
    let ban = account.ban.clone();
    account.cloudflare.preload(&ban, (0..9).map(|n| format!("10.0.0.{n}")));
    let path = format!("/{ban}/items?per_page=3");
    let mut page = account.send(Method::GET, &path, "").2;
    let first = ips(&page);
    assert!(page["result_info"]["cursors"].get("before").is_none());
    let mut seen = vec![first];
    for direction in ["after", "after", "before", "before"] {
        let cursor = page["result_info"]["cursors"][direction].as_str().unwrap();
        page =
            account.send(Method::GET, &format!("{path}&cursor={}", percent_encoded(cursor)), "").2;
        seen.push(ips(&page));
    }
    assert_eq!((&seen[3], &seen[4]), (&seen[1], &seen[0]));
}

#[test]
fn page_last_ends_in_each_of_the_known_ways() {
    for (end, expected) in [
        (PageEnd::Absent, Some(json!({ "cursors": {} }))),
        (PageEnd::Empty, Some(json!({ "cursors": { "after": "" } }))),
        (PageEnd::Null, Some(json!({ "cursors": { "after": null } }))),
        (PageEnd::NoResultInfo, None),
    ] {
        let mut account = Account::with(|options| options.page_end = end);
        let path = format!("/{}/items", account.ban);
        let page = account.send(Method::GET, &path, "").2;
        assert_eq!(page.get("result_info"), expected.as_ref(), "{end:?}");
    }
}

#[test]
fn page_too_large_or_cursor_wrong_or_old_is_refused() {
    let mut account = Account::with(|options| options.cursor_lifetime = SECOND);
    let (ban, captcha) = (account.ban.clone(), account.captcha.clone());
    account.cloudflare.preload(&ban, ["10.0.0.1", "10.0.0.2"]);
    for query in ["per_page=501", "per_page=0", "per_page=x", "cursor=made-up"] {
        let (status, code, _) = account.send(Method::GET, &format!("/{ban}/items?{query}"), "");
        assert_eq!((status, code), (400, 10027), "{query}");
    }
    assert_eq!(account.judge.violations().len(), 4);
    let page = account.send(Method::GET, &format!("/{ban}/items?per_page=1"), "").2;
    let raw = page["result_info"]["cursors"]["after"].as_str().unwrap().to_owned();
    let cursor = percent_encoded(&raw);
    let code = |account: &mut Account, path: String| account.send(Method::GET, &path, "").1;
    assert_eq!(code(&mut account, format!("/{captcha}/items?cursor={cursor}")), 10027, "foreign");
    assert_eq!(code(&mut account, format!("/{ban}/items?cursor={raw}")), 10027, "not encoded");
    assert_eq!(code(&mut account, format!("/{ban}/items?cursor={cursor}")), 0);
    account.later(SECOND);
    assert_eq!(code(&mut account, format!("/{ban}/items?cursor={cursor}")), 10027, "expired");
}

#[test]
fn page_of_1000_tolerated_still_holds_500() {
    let mut account = Account::with(|options| options.tolerate_large_pages = true);
    let ban = account.ban.clone();
    account.cloudflare.preload(&ban, (0..600_u32).map(|n| std::net::Ipv4Addr::from(n).to_string()));
    let page = account.send(Method::GET, &format!("/{ban}/items?per_page=1000"), "").2;
    assert_eq!(ips(&page).len(), 500);
    assert_eq!(account.read_all(&ban, 1_000).len(), 600);
}

#[test]
fn faults_on_pages_repeat_the_cursor_or_empty_the_page() {
    let mut account = Account::new();
    let ban = account.ban.clone();
    account.cloudflare.preload(&ban, ["10.0.0.1", "10.0.0.2"]);
    let account_id = CloudflareOptions::default().account_id;
    let mut get = |cursor: &str, action| {
        let path = format!(
            "/client/v4/accounts/{account_id}/rules/lists/{ban}/items?cursor={}",
            percent_encoded(cursor)
        );
        let page = read(&account.request(Method::GET, &path, "", Some(action))).2;
        (
            ips(&page),
            page["result_info"]["cursors"]["after"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let (first, cursor) = get("", FaultAction::RepeatCursor);
    assert_eq!(get(&cursor, FaultAction::RepeatCursor), (first, cursor), "for ever");
    let (empty, cursor) = get("", FaultAction::EmptyPageWithCursor);
    assert_eq!(empty, [""; 0]);
    assert_eq!(
        get(&cursor, FaultAction::Refuse).0,
        ["10.0.0.1", "10.0.0.2"],
        "behind the empty page"
    );
}

#[test]
fn operation_stuck_failing_or_vanished_behaves_so_until_released() {
    let account_id = CloudflareOptions::default().account_id;
    let mut account = Account::new();
    let ban = account.ban.clone();
    let path = format!("/client/v4/accounts/{account_id}/rules/lists/{ban}/items");
    let put = |account: &mut Account, value: &str, action| {
        read(&account.request(Method::PUT, &path, &items(&[value]), Some(action))).2
    };
    let failing = put(&mut account, "10.0.0.1", FaultAction::FailOperation("no luck".to_owned()));
    account.later(SECOND);
    let failed = account.operation(&failing);
    assert_eq!((&failed["status"], &failed["error"]), (&json!("failed"), &json!("no luck")));
    assert_eq!(account.cloudflare.items(&ban), [], "without effect");

    let vanishing = put(&mut account, "10.0.0.2", FaultAction::VanishOperation);
    let id = vanishing["result"]["operation_id"].as_str().unwrap().to_owned();
    account.later(SECOND);
    assert_eq!(account.send(Method::GET, &format!("/bulk_operations/{id}"), "").0, 404);
    assert_eq!(account.read_all(&ban, 500), ["10.0.0.2"], "with effect");

    let stuck = put(&mut account, "10.0.0.3", FaultAction::StuckOperation);
    account.later(Duration::from_secs(3_600));
    assert_eq!(account.operation(&stuck)["status"], "running");
    assert_eq!(account.write(Method::PUT, &ban, &items(&["10.0.0.4"])).0, 429);
    account.cloudflare.release_stuck_operations();
    assert_eq!(account.operation(&stuck)["status"], "completed");
    assert_eq!(account.cloudflare.operations().last().unwrap().finished, Some(account.now));
}

#[test]
fn items_beyond_the_capacity_fail_only_in_the_operation() {
    let mut account = Account::with(|options| {
        options.list_items_max = 3;
        options.account_items_max = 4;
    });
    let (ban, captcha) = (account.ban.clone(), account.captcha.clone());
    account.cloudflare.preload(&ban, ["10.0.0.1", "10.0.0.2"]);
    for (list, values, status) in [
        (&ban, &["10.0.0.3", "10.0.0.4"][..], "failed"),
        (&ban, &["10.0.0.1", "10.0.0.3"], "completed"),
        (&captcha, &["10.0.1.1", "10.0.1.2"], "failed"),
        (&captcha, &["10.0.1.1"], "completed"),
    ] {
        let accepted = account.write(Method::POST, list, &items(values)).2;
        account.later(SECOND);
        let operation = account.operation(&accepted);
        assert_eq!(operation["status"], status, "{values:?}");
        assert_eq!(operation.get("error").is_some(), status == "failed");
    }
    assert_eq!(account.cloudflare.operations()[0].error.as_deref(), Some(LIST_IS_FULL));
}

#[test]
fn limiter_with_a_floor_refuses_writes_until_it_has_passed_and_never_says_so_in_headers() {
    let floor = Duration::from_secs(72 * 3_600);
    for body in [LimiterBody::Envelope, LimiterBody::PlainText] {
        let mut account = Account::with(|options| {
            options.write_floor = floor;
            options.limiter_body = body;
        });
        let ban = account.ban.clone();
        let path = format!(
            "/client/v4/accounts/{}/rules/lists/{ban}/items",
            CloudflareOptions::default().account_id
        );
        let put = |account: &mut Account| {
            account.request(Method::PUT, &path, &items(&["10.0.0.1"]), None)
        };
        assert_eq!(put(&mut account).status(), 200);
        for hours in [1, 24, 46] {
            account.later(Duration::from_secs(hours * 3_600));
            let refused = put(&mut account);
            assert_eq!(refused.status(), 429);
            assert_eq!(refused.headers()["retry-after"], "60");
            assert!(refused.headers()["ratelimit"].to_str().unwrap().contains("r=1199"));
            let is_json = serde_json::from_slice::<Value>(refused.body()).is_ok();
            assert_eq!(is_json, body == LimiterBody::Envelope);
        }
        account.later(Duration::from_secs(3_600));
        assert_eq!(put(&mut account).status(), 200, "refused attempts cost nothing");
    }
}

#[test]
fn token_and_path_of_each_kind_get_the_observed_answer() {
    let mut account = Account::new();
    let (ban, good) = (account.ban.clone(), account.token.clone());
    let account_id = CloudflareOptions::default().account_id;
    let lists = format!("/client/v4/accounts/{account_id}/rules/lists");
    let other = "f".repeat(32);
    let unknown_token = "x".repeat(40);
    for (token, path, status, code) in [
        (good.as_str(), lists.clone(), 200, 0),
        (&unknown_token, lists.clone(), 401, 10000),
        ("short", lists.clone(), 400, 9106),
        (&good, format!("/client/v4/accounts/{other}/rules/lists"), 403, 10000),
        (&good, "/client/v4/accounts/short/rules/lists".to_owned(), 400, 7003),
        (&good, format!("{lists}/short"), 400, 7003),
        (&good, format!("/client/v4/accounts/{account_id}/rules/nothing"), 400, 7003),
        (&good, format!("{lists}/{other}"), 404, 10001),
        (&good, format!("{lists}/{other}/items"), 404, 10001),
        (&good, format!("{lists}/bulk_operations/{other}"), 404, 10001),
        (&good, format!("{lists}/{ban}/items/{other}"), 404, 10001),
        (&good, format!("{lists}/{ban}"), 200, 0),
    ] {
        account.token = token.to_owned();
        let (got_status, got_code, body) = read(&account.request(Method::GET, &path, "", None));
        assert_eq!((got_status, got_code), (status, code), "{token} {path}: {body}");
    }
    account.token = good;
    assert_eq!(account.send(Method::PATCH, "", "{}").0, 405);

    let request = Request::get(&lists).body(Bytes::new()).unwrap();
    let interference = Interference::default();
    let refused = account.cloudflare.handle(SECOND, &request, &interference, &mut account.judge);
    assert_eq!(read(&refused).1, 9106);
    assert!(account.judge.violations().iter().any(|rule| rule.contains("Authorization")));
}

#[test]
fn token_without_the_permission_is_forbidden() {
    let mut account = Account::with(|options| options.permission = Permission::Read);
    let ban = account.ban.clone();
    assert_eq!(account.send(Method::GET, &format!("/{ban}"), "").0, 200);
    let (status, code, _) = account.write(Method::POST, &ban, &items(&["10.0.0.1"]));
    assert_eq!((status, code), (403, 10000));
    account.cloudflare.configure(|options| options.permission = Permission::None);
    assert_eq!(account.send(Method::GET, &format!("/{ban}"), "").0, 403);
}

#[test]
fn list_created_described_and_deleted_through_the_api() {
    let mut account = Account::with(|options| options.lists_max = 3);
    let (status, _, created) =
        account.send(Method::POST, "", r#"{"name":"third","kind":"ip","description":"x"}"#);
    assert_eq!((status, &created["result"]["num_items"]), (200, &json!(0)));
    let id = created["result"]["id"].as_str().unwrap().to_owned();
    assert_eq!(account.send(Method::POST, "", r#"{"name":"third","kind":"ip"}"#).0, 400, "taken");
    assert_eq!(
        account.send(Method::POST, "", r#"{"name":"fourth","kind":"ip"}"#).0,
        400,
        "no room"
    );
    assert_eq!(account.send(Method::PUT, &format!("/{id}"), r#"{"name":"new"}"#).1, 10026);
    let described = account.send(Method::PUT, &format!("/{id}"), r#"{"description":"y"}"#).2;
    assert_eq!(described["result"]["description"], "y");
    assert_eq!(account.send(Method::GET, "", "").2["result"].as_array().unwrap().len(), 3);
    account.cloudflare.set_referencing_filters(&id, 1);
    assert_eq!(account.send(Method::DELETE, &format!("/{id}"), "").1, 10031, "in use");
    account.cloudflare.set_referencing_filters(&id, 0);
    assert_eq!(
        account.send(Method::DELETE, &format!("/{id}"), "").2["result"],
        json!({ "id": id })
    );
    assert_eq!(account.send(Method::GET, &format!("/{id}"), "").0, 404);
}

#[test]
fn address_moved_put_before_delete_is_never_absent_from_both_lists() {
    let mut account = Account::new();
    let (ban, captcha) = (account.ban.clone(), account.captcha.clone());
    account.cloudflare.preload(&captcha, ["10.0.0.1"]);
    account.write(Method::POST, &ban, &items(&["10.0.0.1"]));
    account.later(SECOND);
    let id = account.cloudflare.items(&captcha)[0].id.clone();
    account.write(Method::DELETE, &captcha, &json!({ "items": [{ "id": id }] }).to_string());
    account.later(SECOND);
    account.cloudflare.settle(account.now);
    let story: Vec<BTreeSet<String>> =
        account.cloudflare.whereabouts("10.0.0.1").into_iter().map(|(_, lists)| lists).collect();
    let set = |ids: &[&String]| ids.iter().copied().cloned().collect::<BTreeSet<_>>();
    assert_eq!(story, [set(&[&captcha]), set(&[&captcha, &ban]), set(&[&ban])]);
}

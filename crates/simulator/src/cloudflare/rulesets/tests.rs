//! Stories of a client and a zone's custom rules, told through Cloudflare's front door.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};

use super::*;
use crate::cloudflare::{Cloudflare, Interference};
use crate::journal::Judge;
use crate::options::Permission;

mod patch;

struct Account {
    cloudflare: Cloudflare,
    judge: Judge,
    token: String,
    zone: String,
    list: String,
}

impl Account {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut CloudflareOptions)) -> Self {
        let mut options = CloudflareOptions {
            waf_own_ref_prefix: "our_".to_owned(),
            ..CloudflareOptions::default()
        };
        change(&mut options);
        let token = options.api_token.clone();
        let mut cloudflare = Cloudflare::new(options, SystemTime::UNIX_EPOCH, 1);
        let zone = cloudflare.create_zone("example.com");
        let list = cloudflare.create_list("ban");
        Self { cloudflare, judge: Judge::default(), token, zone, list }
    }

    /// Status, the first error's code or 0, and the body or null.
    fn send(&mut self, method: Method, path: &str, body: Value) -> (u16, u64, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/client/v4{path}"))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(if body.is_null() { Bytes::new() } else { body.to_string().into() })
            .unwrap();
        let interference = Interference::default();
        let now = Duration::ZERO;
        let response = self.cloudflare.handle(now, &request, &interference, &mut self.judge);
        let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let code = body["errors"][0]["code"].as_u64().unwrap_or_default();
        (response.status().as_u16(), code, body)
    }

    fn zone(&mut self, method: Method, path: &str, body: Value) -> (u16, u64, Value) {
        let path = format!("/zones/{}/rulesets{path}", self.zone);
        self.send(method, &path, body)
    }

    fn create(&mut self, rules: Value) -> String {
        let body = json!({
            "name": "default", "kind": "zone", "phase": PHASE, "rules": rules,
        });
        let (status, _, created) = self.zone(Method::POST, "", body);
        assert_eq!(status, 200, "{created}");
        created["result"]["id"].as_str().unwrap().to_owned()
    }

    fn references(&self) -> Vec<String> {
        let rules = self.cloudflare.rules(&self.zone).unwrap_or_default();
        rules.into_iter().map(|rule| rule.reference).collect()
    }

    fn id_of(&self, reference: &str) -> String {
        let rules = self.cloudflare.rules(&self.zone).unwrap();
        rules.into_iter().find(|rule| rule.reference == reference).unwrap().id
    }

    /// What the judge noted since the last time.
    fn notes(&mut self) -> String {
        let notes = self.judge.violations().join("\n");
        self.judge.clear();
        notes
    }
}

const ENTRY_POINT: &str = "/phases/http_request_firewall_custom/entrypoint";

fn rule(reference: &str) -> Value {
    json!({ "ref": reference, "expression": "(ip.src in $ban)", "action": "block" })
}

#[test]
fn zone_without_rules_has_no_entry_point_until_a_ruleset_is_made() {
    let mut account = Account::new();
    assert_eq!(account.zone(Method::GET, ENTRY_POINT, Value::Null).1, 10003);
    let id = account.create(json!([rule("our_a")]));
    let (_, _, shown) = account.zone(Method::GET, ENTRY_POINT, Value::Null);
    assert_eq!((&shown["result"]["id"], &shown["result"]["version"]), (&json!(id), &json!("1")));
    assert_eq!(shown["result"]["rules"][0]["enabled"], true);
    let second = json!({ "name": "default", "kind": "zone", "phase": PHASE, "rules": [] });
    assert_eq!(account.zone(Method::POST, "", second).1, 20217, "one for the phase");
    assert_eq!(account.zone(Method::GET, "", Value::Null).2["result"][0].get("rules"), None);
    assert_eq!(account.zone(Method::DELETE, &format!("/{id}"), Value::Null).0, 204);
    assert_eq!(account.zone(Method::GET, ENTRY_POINT, Value::Null).1, 10003);
    assert!(account.notes().contains("\"our_a\" goes with its ruleset"));
}

#[test]
fn rule_added_stands_where_its_position_says_and_at_the_end_by_default() {
    let mut account = Account::new();
    let path = format!("/{}/rules", account.create(json!([rule("our_1"), rule("our_2")])));
    let first = account.id_of("our_1");
    for (position, expected) in [
        (json!({ "before": first }), "our_x our_1 our_2"),
        (json!({ "after": first }), "our_1 our_x our_2"),
        (json!({ "index": 2 }), "our_1 our_x our_2"),
        (json!({ "index": 9 }), "our_1 our_2 our_x"),
        (json!({ "before": "" }), "our_x our_1 our_2"),
        (json!({ "after": "" }), "our_1 our_2 our_x"),
        (Value::Null, "our_1 our_2 our_x"),
    ] {
        let mut body = rule("our_x");
        if !position.is_null() {
            body["position"] = position.clone();
        }
        let (status, _, answer) = account.zone(Method::POST, &path, body);
        assert_eq!((status, answer["result"]["rules"].as_array().unwrap().len()), (200, 3));
        assert_eq!(account.references().join(" "), expected, "{position}");
        let id = account.id_of("our_x");
        assert_eq!(account.zone(Method::DELETE, &format!("{path}/{id}"), Value::Null).0, 200);
    }
    assert_eq!(account.cloudflare.ruleset_version(&account.zone), 15);
    let mut body = rule("our_x");
    body["position"] = json!({ "before": "f".repeat(32) });
    assert_eq!(account.zone(Method::POST, &path, body).1, 10891, "no such neighbour");
    assert_eq!(account.notes(), "");
}

#[test]
fn rule_moved_keeps_its_definition_and_redefined_loses_what_was_not_sent() {
    let mut account = Account::new();
    let path = format!("/{}/rules", account.create(json!([rule("our_1"), rule("our_2")])));
    let second = format!("{path}/{}", account.id_of("our_2"));
    let first = json!({ "position": { "index": 1 } });
    assert_eq!(account.zone(Method::PATCH, &second, first).0, 200);
    assert_eq!(account.references(), ["our_2", "our_1"]);
    let mut body = rule("our_2");
    body["enabled"] = json!(false);
    body["logging"] = json!({ "enabled": true });
    assert_eq!(account.zone(Method::PATCH, &second, body.clone()).0, 200);
    assert!(!account.cloudflare.rules(&account.zone).unwrap()[0].enabled);
    assert_eq!(account.notes(), "");

    body.as_object_mut().unwrap().retain(|name, _| name == "expression" || name == "action");
    let (_, _, answer) = account.zone(Method::PATCH, &second, body);
    let redefined = &answer["result"]["rules"][0];
    assert_eq!(redefined["ref"], redefined["id"], "the id by default");
    assert_eq!((&redefined["enabled"], redefined.get("logging")), (&json!(true), None));
    assert!(account.notes().contains("\"our_2\" gets another ref"));
}

#[test]
fn all_rules_put_replaces_them_and_each_loss_is_noted() {
    let mut account = Account::new();
    let zone = account.zone.clone();
    let kept = account.cloudflare.add_rule(&zone, "skip", "ip.src eq 192.0.2.1");
    let lost = account.cloudflare.add_rule(&zone, "block", "http.host eq \"x\"");
    let mut same = rule("our_1");
    same["id"] = json!(kept);
    let body = json!({ "rules": [same, rule("our_2")] });
    assert_eq!(account.zone(Method::PUT, ENTRY_POINT, body).0, 200);
    assert_eq!(account.id_of("our_1"), kept);
    let notes = account.notes();
    assert!(notes.contains("a PUT of rules") && notes.contains(&lost), "{notes}");
    assert!(!notes.contains(&kept), "{notes}");

    let body = json!({ "description": "x" });
    assert_eq!(account.zone(Method::PUT, ENTRY_POINT, body).0, 200);
    assert_eq!((account.references().len(), account.notes().as_str()), (2, ""));
}

#[test]
fn foreign_rule_touched_is_noted() {
    let mut account = Account::new();
    let zone = account.zone.clone();
    let foreign = account.cloudflare.add_rule(&zone, "skip", "true");
    let (_, _, shown) = account.zone(Method::GET, ENTRY_POINT, Value::Null);
    let ruleset = shown["result"]["id"].as_str().unwrap().to_owned();
    let path = format!("/{ruleset}/rules/{foreign}");
    let body = json!({ "position": { "index": 1 } });
    assert_eq!(account.zone(Method::PATCH, &path, body).0, 200);
    assert!(account.notes().contains("is not the client's"));
    assert_eq!(account.zone(Method::DELETE, &path, Value::Null).0, 200);
    assert!(account.notes().contains("is not the client's"));
    let body = json!({ "expression": "true", "action": "log" });
    assert_eq!(account.zone(Method::POST, &format!("/{ruleset}/rules"), body).0, 200);
    assert!(account.notes().contains("without a ref"));
}

#[test]
fn rule_refused_for_quota_ref_or_list_changes_nothing() {
    let mut account = Account::with(|options| options.waf_rules_max = 2);
    let path = format!("/{}/rules", account.create(json!([rule("our_1")])));
    assert_eq!(account.zone(Method::POST, &path, rule("our_1")).1, 10895);
    let mut unknown = rule("our_2");
    unknown["expression"] = json!("(ip.src in $captcha)");
    assert_eq!(account.zone(Method::POST, &path, unknown.clone()).1, 10893);
    account.cloudflare.configure(|options| options.waf_accepts_unknown_lists = true);
    assert_eq!(account.zone(Method::POST, &path, unknown).0, 200);
    assert_eq!(account.zone(Method::POST, &path, rule("our_3")).1, 10894, "Free has five");
    assert_eq!(account.references(), ["our_1", "our_2"]);
}

#[test]
fn list_in_use_counts_its_rules_and_cannot_be_deleted() {
    let mut account = Account::new();
    let zone = account.zone.clone();
    let list = format!(
        "/accounts/{}/rules/lists/{}",
        CloudflareOptions::default().account_id,
        account.list
    );
    account.cloudflare.add_rule(&zone, "log", "ip.src in $ban and ip.src in $ban");
    let shown = account.send(Method::GET, &list, Value::Null).2;
    assert_eq!(shown["result"]["num_referencing_filters"], 1);
    assert_eq!(account.send(Method::DELETE, &list, Value::Null).1, 10031);
    let reference = account.references().remove(0);
    account.cloudflare.edit_rule(&zone, &reference, |rule| rule.expression = "true".to_owned());
    assert_eq!(account.send(Method::DELETE, &list, Value::Null).0, 200);
}

#[test]
fn zone_is_found_by_name_and_a_foreign_one_is_forbidden() {
    let mut account = Account::new();
    let (_, _, found) = account.send(Method::GET, "/zones?name=example.com", Value::Null);
    assert_eq!(found["result"][0]["id"], json!(account.zone));
    let (status, _, found) = account.send(Method::GET, "/zones?name=example.org", Value::Null);
    assert_eq!((status, found["result"].as_array().unwrap().len()), (200, 0));
    let foreign = format!("/zones/{}/rulesets", "f".repeat(32));
    assert_eq!(account.send(Method::GET, &foreign, Value::Null).1, 10000);
    assert_eq!(account.send(Method::GET, "/zones/short/rulesets", Value::Null).1, 7003);
}

#[test]
fn token_wrong_or_not_permitted_is_told_as_zones_tell_it() {
    let mut account = Account::with(|options| {
        options.zone_permission = Permission::None;
        options.waf_permission = Permission::Read;
    });
    assert_eq!(account.send(Method::GET, "/zones", Value::Null).1, 10000);
    assert_eq!(account.zone(Method::GET, ENTRY_POINT, Value::Null).1, 10003, "it may read");
    let body = json!({ "name": "default", "kind": "zone", "phase": PHASE, "rules": [] });
    let (status, code, _) = account.zone(Method::POST, "", body);
    assert_eq!((status, code), (403, 10000));
    account.token = "a".repeat(40);
    assert_eq!(account.send(Method::GET, "/zones", Value::Null).1, 9109);
    account.token = "short".to_owned();
    assert_eq!(account.send(Method::GET, "/zones", Value::Null).1, 6003);
}

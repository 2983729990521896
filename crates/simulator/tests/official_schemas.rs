//! The simulator's answers against Cloudflare's published schemas, so that the judge itself is judged.
//! The schemas are not part of the repository: their folder comes from EDGE_SYNC_FACTS, or lies in
//! `shared/facts` beside the repository; where they are absent the test says so and passes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};
use simulator::options::{
    BulkReply, Denial, LimiterBody, PageCursors, PageEnd, PendingMode, Permission, RefusalForm,
    TokenStatus,
};
use simulator::{Fault, FaultAction, Options, Outcome, Service, Simulator};

const FILE: &str = "cloudflare-openapi-subset.json";

/// The schema file's content; `None` if no folder was named and the usual one has no such file.
fn official_schemas() -> Option<Value> {
    let named = std::env::var_os("EDGE_SYNC_FACTS").map(PathBuf::from);
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/facts");
    let path = named.clone().unwrap_or(usual).join(FILE);
    match std::fs::read(&path) {
        Ok(text) => Some(serde_json::from_slice(&text).expect("the schema file is JSON")),
        Err(error) if named.is_some() => panic!("{}: {error}", path.display()),
        Err(error) => {
            println!("SKIPPED: {}: {error}; set EDGE_SYNC_FACTS to its folder", path.display());
            None
        }
    }
}

struct Schemas(Value);

impl Schemas {
    fn check(&self, name: &str, value: &Value) {
        let mistakes = self.mistakes(name, value);
        assert!(mistakes.is_empty(), "{name}: {mistakes:#?}\n{value:#}");
    }

    /// What in the value does not fit the schema of this name.
    fn mistakes(&self, name: &str, value: &Value) -> Vec<String> {
        let mut schema = self.0.clone();
        // A whole answer is described among the responses.
        let place = match name.strip_prefix("response ") {
            Some(name) => format!("responses/{name}/content/application~1json/schema"),
            None => format!("schemas/{name}"),
        };
        schema["$ref"] = json!(format!("#/components/{place}"));
        let validator = jsonschema::validator_for(&schema).expect("a usable schema");
        validator
            .iter_errors(value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }
}

/// An account that is asked over and over, and whose every answer is checked.
struct Account {
    world: Simulator,
    now: Duration,
    schemas: Schemas,
}

impl Account {
    fn new(schemas: &Value, options: Options) -> Self {
        Self {
            world: Simulator::new(options),
            now: Duration::ZERO,
            schemas: Schemas(schemas.clone()),
        }
    }

    fn send(&mut self, method: Method, path: &str, body: Value, schema: &str) -> Value {
        self.ask(method, &format!("/rules/lists{path}"), body, schema)
    }

    /// Asks for a path of the account; the answer must fit the schema.
    fn ask(&mut self, method: Method, path: &str, body: Value, schema: &str) -> Value {
        let path = format!("/accounts/{}{path}", self.world.options().cloudflare.account_id);
        self.ask_anything(method, &path, body, schema)
    }

    /// Asks for any path; the answer must fit the schema.
    fn ask_anything(&mut self, method: Method, path: &str, body: Value, schema: &str) -> Value {
        let options = &self.world.options().cloudflare;
        let request = Request::builder()
            .method(method)
            .uri(format!("/client/v4{path}"))
            .header("authorization", format!("Bearer {}", options.api_token))
            .header("content-type", "application/json")
            .body(if body.is_null() { Bytes::new() } else { body.to_string().into() })
            .unwrap();
        let reply = self.world.handle(self.now, Service::Cloudflare, request);
        let Outcome::Response(response) = reply.outcome else { panic!("no answer") };
        let value = serde_json::from_slice(response.body()).expect("a JSON answer");
        self.schemas.check(schema, &value);
        // A schema that takes anything would prove nothing.
        assert!(!self.schemas.mistakes(schema, &json!({ "success": 1 })).is_empty(), "{schema}");
        value
    }

    /// Asks whether the token is valid.
    fn verify(&mut self, path: &str, schema: &str) -> Value {
        let token = self.world.options().cloudflare.api_token.clone();
        let request = Request::get(path).header("authorization", format!("Bearer {token}"));
        let request = request.body(Bytes::new()).unwrap();
        let reply = self.world.handle(self.now, Service::Cloudflare, request);
        let Outcome::Response(response) = reply.outcome else { panic!("no answer") };
        let value = serde_json::from_slice(response.body()).expect("a JSON answer");
        self.schemas.check(schema, &value);
        assert!(!self.schemas.mistakes(schema, &json!({ "success": 1 })).is_empty(), "{schema}");
        value
    }

    /// Writes, and checks the operation from its beginning to its end.
    fn write(&mut self, method: Method, list: &str, body: Value) {
        // The official response schema cannot be met by any body; this is its evident meaning.
        let schema = "xfix_lists-async-response";
        let accepted = self.send(method, &format!("/{list}/items"), body, schema);
        let id = accepted["result"]["operation_id"].as_str().unwrap().to_owned();
        for _ in 0..5 {
            let path = format!("/bulk_operations/{id}");
            self.send(Method::GET, &path, Value::Null, "lists_bulk-operation-response-single");
            self.now += Duration::from_millis(200);
        }
    }
}

#[test]
fn every_answer_fits_its_official_schema() {
    let Some(schemas) = official_schemas() else { return };
    for (page_end, item_noise, page_cursors) in [
        (PageEnd::Absent, false, PageCursors::Position),
        (PageEnd::Empty, true, PageCursors::Offset),
        (PageEnd::NoResultInfo, true, PageCursors::Position),
    ] {
        let mut options = Options::default();
        options.cloudflare.page_cursors = page_cursors;
        options.cloudflare.page_end = page_end;
        options.cloudflare.item_noise = item_noise;
        options.cloudflare.pending_mode = PendingMode::Reject;
        options.cloudflare.limiter_body = LimiterBody::Envelope;
        tell_a_story(&mut Account::new(&schemas, options));
    }
}

fn tell_a_story(account: &mut Account) {
    let body = json!({ "name": "ban", "kind": "ip", "description": "x" });
    let created = account.send(Method::POST, "", body, "lists_list-response-collection");
    let list = created["result"]["id"].as_str().unwrap().to_owned();
    account.send(Method::GET, "", Value::Null, "lists_lists-response-collection");

    let items = json!([{ "ip": "192.0.2.1", "comment": "x" }, { "ip": "2001:db8::/32" }]);
    account.write(Method::POST, &list, items);
    account.write(Method::PUT, &list, json!([{ "ip": "192.0.2.2" }, { "ip": "192.0.2.3" }]));

    let path = format!("/{list}/items?per_page=1");
    let page =
        account.send(Method::GET, &path, Value::Null, "lists_items-list-response-collection");
    let id = page["result"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/{list}/items");
    account.send(Method::GET, &path, Value::Null, "lists_items-list-response-collection");
    let item = format!("/{list}/items/{id}");
    account.send(Method::GET, &item, Value::Null, "lists_item-response-single");
    account.write(Method::DELETE, &list, json!({ "items": [{ "id": id }] }));

    let failing = FaultAction::FailOperation("This list is at the maximum number of items".into());
    account.world.inject(Fault::once(Service::Cloudflare, failing));
    account.write(Method::PUT, &list, json!([{ "ip": "192.0.2.4" }]));

    // Values that are refused by decree, in each form.
    for form in [RefusalForm::Position, RefusalForm::Value, RefusalForm::Bare] {
        for value in ["192.0.2.5", "192.0.2.6"] {
            account.world.cloudflare().configure(|options| {
                options.refused_values = vec!["192.0.2.5".to_owned()];
                options.duplicate_values = vec!["192.0.2.6".to_owned()];
                options.refusal_form = form;
            });
            let (path, body) = (format!("/{list}/items"), json!([{ "ip": value }]));
            account.send(Method::POST, &path, body, "lists_api-response-common-failure");
        }
    }

    // What is refused has the failure schema: body, value, cursor, list, route.
    for (method, path, body) in [
        (Method::PUT, format!("/{list}/items"), json!({ "items": [] })),
        (Method::PUT, format!("/{list}/items"), json!([{ "ip": "0.0.0.0/0" }])),
        (Method::GET, format!("/{list}/items?per_page=1000"), Value::Null),
        (Method::GET, format!("/{}", "f".repeat(32)), Value::Null),
        (Method::GET, "/short".to_owned(), Value::Null),
    ] {
        account.send(method, &path, body, "lists_api-response-common-failure");
    }
    let path = format!("/{list}");
    account.send(Method::DELETE, &path, Value::Null, "lists_list-delete-response-collection");
}

#[test]
fn every_kv_answer_fits_its_official_schema() {
    let Some(schemas) = official_schemas() else { return };
    // `null` is seen at the end of a listing, but is not what the schema says.
    for (page_end, bulk_reply) in [
        (PageEnd::Empty, BulkReply::Full),
        (PageEnd::Absent, BulkReply::Empty),
        (PageEnd::NoResultInfo, BulkReply::Null),
    ] {
        let mut options = Options::default();
        options.cloudflare.kv_page_end = page_end;
        options.cloudflare.kv_bulk_reply = bulk_reply;
        options.cloudflare.kv_daily_lists = 2;
        tell_a_kv_story(&mut Account::new(&schemas, options));
    }
}

fn tell_a_kv_story(account: &mut Account) {
    const ROOT: &str = "/storage/kv/namespaces";
    const ANY: &str = "workers-kv_api-response-common";
    const NO_RESULT: &str = "workers-kv_api-response-common-no-result";
    const FAILURE: &str = "workers-kv_api-response-common-failure";
    let body = json!({ "title": "crowdsec", "jurisdiction": "eu" });
    let created = account.ask(Method::POST, ROOT, body, ANY);
    account.schemas.check("workers-kv_namespace", &created["result"]);
    let listed = account.ask(Method::GET, ROOT, Value::Null, "workers-kv_api-response-collection");
    account.schemas.check("workers-kv_namespace", &listed["result"][0]);
    let namespace = format!("{ROOT}/{}", created["result"]["id"].as_str().unwrap());
    account.ask(Method::GET, &namespace, Value::Null, ANY);
    account.ask(Method::PUT, &namespace, json!({ "title": "renamed" }), ANY);

    let pair = |n| json!({ "key": format!("ip:{n}"), "value": "ban", "expiration_ttl": 60 });
    let mut pairs: Vec<Value> = (0..11).map(pair).collect();
    pairs.push(json!({ "key": "full", "value": "7", "metadata": { "v": 1 } }));
    let pairs = Value::from(pairs);
    account.schemas.check("workers-kv_bulk_write", &pairs);
    let fault = FaultAction::UnsuccessfulKeys(1);
    account.world.inject(Fault::once(Service::Cloudflare, fault));
    let bulk = format!("{namespace}/bulk");
    for _ in 0..2 {
        let written = account.ask(Method::PUT, &bulk, pairs.clone(), NO_RESULT);
        if !written["result"].is_null() {
            account.schemas.check("workers-kv_bulk-result", &written["result"]);
        }
    }

    for path in ["?limit=10", "?prefix=full"] {
        let path = format!("{namespace}/keys{path}");
        let page = account.ask(Method::GET, &path, Value::Null, ANY);
        for key in page["result"].as_array().unwrap() {
            account.schemas.check("workers-kv_key", key);
        }
        if let Some(info) = page.get("result_info") {
            account.schemas.check("workers-kv_cursor_result_info", info);
        }
    }
    let path = format!("{namespace}/bulk/get");
    for (body, schema) in [
        (json!({ "keys": ["ip:1", "full"] }), "workers-kv_bulk-get-result"),
        (json!({ "keys": ["full"], "type": "json" }), "workers-kv_bulk-get-result"),
        (
            json!({ "keys": ["ip:1", "full", "absent"], "withMetadata": true }),
            "workers-kv_bulk-get-result-with-metadata",
        ),
    ] {
        let got = account.ask(Method::POST, &path, body, NO_RESULT);
        account.schemas.check(schema, &got["result"]);
    }
    account.ask(Method::GET, &format!("{namespace}/metadata/full"), Value::Null, ANY);
    let value = format!("{namespace}/values/full");
    account.ask(Method::PUT, &format!("{value}?expiration_ttl=60"), json!("x"), NO_RESULT);
    account.ask(Method::DELETE, &value, Value::Null, NO_RESULT);
    account.ask(Method::POST, &format!("{bulk}/delete"), json!(["ip:1", "absent"]), NO_RESULT);
    account.ask(Method::DELETE, &bulk, json!(["ip:2"]), NO_RESULT);

    // What is refused has the failure schema: body, lifetime, name, quota, key, namespace, route.
    for (method, path, body) in [
        (Method::PUT, "/bulk", json!({ "key": "a", "value": "b" })),
        (Method::PUT, "/bulk", json!([{ "key": "a", "value": "b", "expiration_ttl": 1 }])),
        (Method::POST, "/bulk/delete", json!([])),
        (Method::GET, "/keys?limit=1", Value::Null),
        (Method::GET, "/keys", Value::Null),
        (Method::GET, "/values/absent", Value::Null),
        (Method::GET, "/nothing", Value::Null),
    ] {
        account.ask(method, &format!("{namespace}{path}"), body, FAILURE);
    }
    account.ask(Method::GET, &format!("{ROOT}/short/keys"), Value::Null, FAILURE);
    account.ask(Method::DELETE, &namespace, Value::Null, NO_RESULT);
    account.ask(Method::GET, &namespace, Value::Null, FAILURE);
}

#[test]
fn every_ruleset_answer_fits_its_official_schema() {
    let Some(mut schemas) = official_schemas() else { return };
    // The schema's own actions have an underscore (`managed_challenge`), which its pattern forbids.
    schemas["components"]["schemas"]["rulesets_RuleAction"]["pattern"] = json!("^[a-z_]+$");
    let mut options = Options::default();
    options.cloudflare.waf_rules_max = 4;
    let mut account = Account::new(&schemas, options);
    account.world.cloudflare().create_list("ban");
    let zone = account.world.cloudflare().create_zone("example.com");
    tell_a_ruleset_story(&mut account, &format!("/zones/{zone}/rulesets"));
}

#[test]
fn every_refusal_of_a_rule_fits_its_official_schema() {
    let Some(schemas) = official_schemas() else { return };
    const FAILURE: &str = "response rulesets_Failure";
    let mut account = Account::new(&schemas, Options::default());
    account.world.cloudflare().create_list("ban");
    let zone = account.world.cloudflare().create_zone("example.com");
    let rule = account.world.cloudflare().add_rule(&zone, "block", "ip.src in $ban");
    let root = format!("/zones/{zone}/rulesets");
    let entry_point = format!("{root}/phases/http_request_firewall_custom/entrypoint");
    let found =
        account.ask_anything(Method::GET, &entry_point, Value::Null, "response rulesets_Ruleset");
    let ruleset = found["result"]["id"].as_str().unwrap().to_owned();
    let path = format!("{root}/{ruleset}/rules/{rule}");
    let long = format!("ip.src in {{{}}}", "192.0.2.1 ".repeat(500));
    for expression in ["", "ip.src in {192.0.2.1/24}", "ip.src in $nobody", "any(true)", &long] {
        let body = json!({ "ref": rule, "expression": expression, "action": "block" });
        account.ask_anything(Method::PATCH, &path, body, FAILURE);
    }
    account.world.cloudflare().configure(|options| {
        options.waf_permission = Permission::Read;
        options.denied = Denial::Uncoded;
    });
    let refused = account.ask_anything(Method::DELETE, &path, Value::Null, FAILURE);
    assert!(refused["errors"][0].get("code").is_none());
    account.world.cloudflare().configure(|options| options.denied = Denial::Unauthorized);
    account.ask_anything(Method::DELETE, &path, Value::Null, FAILURE);
}

fn tell_a_ruleset_story(account: &mut Account, root: &str) {
    const RULESET: &str = "response rulesets_Ruleset";
    const FAILURE: &str = "response rulesets_Failure";
    let entry_point = format!("{root}/phases/http_request_firewall_custom/entrypoint");
    account.ask_anything(Method::GET, &entry_point, Value::Null, FAILURE);
    let rule = |name: &str, action: &str| json!({ "ref": name, "action": action, "expression": "(ip.src in $ban)", "description": "x" });
    let body = json!({
        "name": "default",
        "kind": "zone",
        "phase": "http_request_firewall_custom",
        "rules": [rule("a", "block"), rule("b", "managed_challenge")],
    });
    let created = account.ask_anything(Method::POST, root, body.clone(), RULESET);
    account.ask_anything(Method::GET, &entry_point, Value::Null, RULESET);
    account.ask_anything(Method::GET, root, Value::Null, "response rulesets_Rulesets");
    let ruleset = format!("{root}/{}", created["result"]["id"].as_str().unwrap());
    account.ask_anything(Method::GET, &ruleset, Value::Null, RULESET);
    let rules = format!("{ruleset}/rules");
    let mut third = rule("c", "block");
    third["position"] = json!({ "index": 1 });
    third["action_parameters"] = json!({
        "response": { "status_code": 403, "content": "no", "content_type": "text/plain" },
    });
    let added = account.ask_anything(Method::POST, &rules, third, RULESET);
    let first = format!("{rules}/{}", added["result"]["rules"][0]["id"].as_str().unwrap());
    let moved = json!({ "position": { "after": "" } });
    account.ask_anything(Method::PATCH, &first, moved, RULESET);
    let mut off = rule("c", "log");
    off["enabled"] = json!(false);
    account.ask_anything(Method::PATCH, &first, off, RULESET);
    account.ask_anything(Method::DELETE, &first, Value::Null, RULESET);
    let all = json!({ "rules": [rule("d", "block")] });
    account.ask_anything(Method::PUT, &ruleset, all, RULESET);

    // What is refused: body, list, ref, rule, ruleset, second ruleset, zone, route.
    let absent = "f".repeat(32);
    for (method, path, body) in [
        (Method::POST, rules.clone(), json!({ "action": "block" })),
        (Method::POST, rules.clone(), json!({ "action": "log", "expression": "ip.src in $x" })),
        (Method::POST, rules.clone(), rule("d", "block")),
        (Method::DELETE, format!("{rules}/{absent}"), Value::Null),
        (Method::GET, format!("{root}/{absent}"), Value::Null),
        (Method::POST, root.to_owned(), body),
        (Method::GET, format!("/zones/{absent}/rulesets"), Value::Null),
        (Method::GET, format!("{root}/short"), Value::Null),
    ] {
        account.ask_anything(method, &path, body, FAILURE);
    }
}

#[test]
fn every_answer_about_a_token_fits_its_official_schema() {
    let Some(schemas) = official_schemas() else { return };
    for status in [TokenStatus::Active, TokenStatus::Disabled, TokenStatus::Expired] {
        let mut options = Options::default();
        options.cloudflare.token_status = status;
        options.cloudflare.token_lifetime = Duration::from_secs(3600);
        let account = format!("/client/v4/accounts/{}", options.cloudflare.account_id);
        let mut world = Account::new(&schemas, options);
        let verified = world.verify("/client/v4/user/tokens/verify", "iam_response_single_segment");
        assert!(verified["result"]["expires_on"].is_string());
        let other_class = format!("{account}/tokens/verify");
        world.verify(&other_class, "iam_api-response-common-failure");
    }
}

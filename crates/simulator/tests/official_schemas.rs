//! The simulator's answers against Cloudflare's published schemas, so that the judge itself is judged.
//! The schemas are not part of the repository: their folder comes from EDGE_SYNC_FACTS, or lies in
//! `shared/facts` beside the repository; where they are absent the test says so and passes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};
use simulator::options::{LimiterBody, PageEnd, PendingMode};
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
    /// What in the value does not fit the schema of this name.
    fn mistakes(&self, name: &str, value: &Value) -> Vec<String> {
        let mut schema = self.0.clone();
        schema["$ref"] = json!(format!("#/components/schemas/{name}"));
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
    fn send(&mut self, method: Method, path: &str, body: Value, schema: &str) -> Value {
        let options = &self.world.options().cloudflare;
        let request = Request::builder()
            .method(method)
            .uri(format!("/client/v4/accounts/{}/rules/lists{path}", options.account_id))
            .header("authorization", format!("Bearer {}", options.api_token))
            .header("content-type", "application/json")
            .body(if body.is_null() { Bytes::new() } else { body.to_string().into() })
            .unwrap();
        let reply = self.world.handle(self.now, Service::Cloudflare, request);
        let Outcome::Response(response) = reply.outcome else { panic!("no answer") };
        let value = serde_json::from_slice(response.body()).expect("a JSON answer");
        let mistakes = self.schemas.mistakes(schema, &value);
        assert!(mistakes.is_empty(), "{schema}: {mistakes:#?}\n{value:#}");
        // A schema that takes anything would prove nothing.
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
    for (page_end, item_noise) in
        [(PageEnd::Absent, false), (PageEnd::Empty, true), (PageEnd::NoResultInfo, true)]
    {
        let mut options = Options::default();
        options.cloudflare.page_end = page_end;
        options.cloudflare.item_noise = item_noise;
        options.cloudflare.pending_mode = PendingMode::Reject;
        options.cloudflare.limiter_body = LimiterBody::Envelope;
        let mut account = Account {
            world: Simulator::new(options),
            now: Duration::ZERO,
            schemas: Schemas(schemas.clone()),
        };
        tell_a_story(&mut account);
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

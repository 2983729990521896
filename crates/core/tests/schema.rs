//! Our write requests against Cloudflare's official schemas.
//!
//! The schemas are not part of the project. The test looks for `cloudflare-openapi-subset.json` in
//! the folder that `EDGE_SYNC_FACTS` names, or in `shared/facts` beside the checkout, and is skipped,
//! saying so, where there is none.
#![expect(clippy::disallowed_macros, reason = "a test may print that it is skipped")]

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::World;
use serde_json::{Value, json};

fn official() -> Option<Value> {
    let folder = std::env::var_os("EDGE_SYNC_FACTS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/facts"),
        PathBuf::from,
    );
    let path = folder.join("cloudflare-openapi-subset.json");
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(error) => {
            eprintln!("SKIPPED: the official schemas are not here: {}: {error}", path.display());
            None
        }
    }
}

/// The body, which must fit the schema of the operation: its path below the account, and its method.
#[track_caller]
fn checked(spec: &mut Value, path: &str, method: &str, body: &[u8]) -> Value {
    let (path, method) = (format!("~1accounts~1%7Baccount_id%7D~1{path}"), method.to_lowercase());
    let schema = format!("#/paths/{path}/{method}/requestBody/content/application~1json/schema");
    spec["$ref"] = json!(schema);
    let schema = jsonschema::validator_for(spec).unwrap();
    let body: Value = serde_json::from_slice(body).unwrap();
    if let Err(error) = schema.validate(&body) {
        panic!("{method} {path}: {body}: {error}");
    }
    body
}

#[tokio::test(start_paused = true)]
async fn every_write_body_sent_fits_the_official_schema() {
    let Some(mut spec) = official() else { return };
    let world = World::new();
    world.preload(&["192.0.2.1"], &["192.0.2.2"]);
    world.ban("203.0.113.7");
    world.ban("2001:db8::/48");
    world.run().await.unwrap(); // PUT ban, DELETE captcha
    world.ban("203.0.113.8");
    world.run().await.unwrap(); // POST ban

    let sent = world.sent.borrow();
    let writes: Vec<_> = sent.iter().filter(|(_, url, _)| url.contains("/rules/lists/")).collect();
    let verbs: Vec<_> = writes.iter().map(|(method, ..)| method.as_str()).collect();
    assert_eq!(verbs, ["PUT", "DELETE", "POST"]);
    for (method, url, body) in writes {
        let path = "rules~1lists~1%7Blist_id%7D~1items";
        let body = checked(&mut spec, path, method, body);
        // The schema lets extra keys pass; Cloudflare does not (code 10026).
        let items = body.get("items").unwrap_or(&body).as_array().unwrap();
        for key in items.iter().flat_map(|item| item.as_object().unwrap().keys()) {
            assert_eq!(key, if method == "DELETE" { "id" } else { "ip" }, "{method} {url}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_kv_write_body_sent_fits_the_official_schema_and_has_a_time_to_live() {
    let Some(mut spec) = official() else { return };
    let world = World::kv(|_| {});
    world.preload_key("ip:192.0.2.1", "ban", None, None);
    world.decide("ban", "2001:DB8::1", Duration::from_secs(1));
    world.captcha("203.0.113.7");
    world.run().await.unwrap();

    let sent = world.sent.borrow();
    let writes: Vec<_> = sent.iter().filter(|(_, url, _)| url.contains("/storage/kv/")).collect();
    let verbs: Vec<_> = writes.iter().map(|(method, ..)| method.as_str()).collect();
    assert_eq!(verbs, ["PUT", "POST"]);
    let namespace = "storage~1kv~1namespaces~1%7Bnamespace_id%7D~1bulk";
    let pairs = checked(&mut spec, namespace, "PUT", &writes[0].2);
    for pair in pairs.as_array().unwrap() {
        assert!(pair["expiration_ttl"].as_u64() >= Some(60), "{pair}");
        assert!(pair["metadata"].to_string().len() <= 1_024, "{pair}");
        let keys: Vec<_> = pair.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["expiration_ttl", "key", "metadata", "value"]);
    }
    let deleted = checked(&mut spec, &format!("{namespace}~1delete"), "POST", &writes[1].2);
    assert_eq!(deleted, json!(["ip:192.0.2.1"]));
}

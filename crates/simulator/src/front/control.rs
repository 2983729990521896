//! The control endpoint: the world's inside over HTTP, for demos, benchmarks and end-to-end tests that
//! run in another process. JSON out; JSON or plain lines in. Nothing here counts as a request.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::MutexGuard;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::http::{CONFUSED, Front};
use super::in_process::lock;
use crate::cloudflare::kv::KvEntryView;
use crate::cloudflare::rulesets::RulesEdit;
use crate::decisions::{Mix, generate_mix};
use crate::edge::{Verdict, Visitor};
use crate::fault::Fault;
use crate::lapi::Decision;
use crate::options::duration_text;
use crate::reply::Service;
use crate::world::Simulator;

/// What `GET /` says.
const HELP: &str = "\
GET    /options                 every knob, as name=value lines
GET    /decisions               LAPI's rows
POST   /decisions               add rows: [{\"value\":\"192.0.2.1\",\"type\":\"ban\",\"duration\":\"4h\"}]
POST   /decisions/generate      add made-up rows: {\"count\":1000,\"seed\":1,\"untidy\":false}
DELETE /decisions[?value=X]     remove the rows with this value, or all
PUT    /decisions/body          answer GET /v1/decisions with this body, whatever the rows say
DELETE /decisions/body          end that
GET    /lists                   Cloudflare's lists with their items
POST   /lists/ID/items          put values into a list at once, one a line, verbatim
DELETE /lists/ID/items          empty a list at once
GET    /zones                   Cloudflare's zones with their WAF custom rules
POST   /zones/ID/edits          change a zone's rules as others would, one edit a line:
                                disable REF
GET    /edge/ZONE/IP            what a visitor meets there, and met; ?country=CN&asn=64496
GET    /operations              Cloudflare's bulk operations
GET    /edge-history            every change of a list's content
GET    /kv                      what Cloudflare KV stores: {\"NAMESPACE\":{\"KEY\":{\"value\":\"ban\",
                                \"expiration\":1793000000,\"metadata\":{}}}}
POST   /kv/NAMESPACE            put keys there at once: {\"KEY\":{\"value\":\"ban\"}}
DELETE /kv/NAMESPACE            empty it at once
GET    /kv/NAMESPACE/history    every change of a value
GET    /kv-counters             what the client's use of KV has cost
GET    /faults                  the faults, one a line
POST   /faults                  add faults, one a line: cloudflare PUT /items times=1: silent
DELETE /faults                  heal the world
GET    /journal                 every request
GET    /counters                totals of each service
GET    /violations              rules that the client broke
DELETE /journal                 forget journal, counters and violations
GET    /clock                   time since the start
POST   /clock                   move the clock ahead: 4h
";

type Refusal = (StatusCode, String);

pub(super) fn router(front: Front) -> Router {
    Router::new()
        .route("/", get(async || HELP))
        .route("/options", get(options))
        .route("/decisions", get(get_decisions).post(post_decisions).delete(delete_decisions))
        .route("/decisions/generate", post(generate))
        .route("/decisions/body", put(put_body).delete(delete_body))
        .route("/lists", get(get_lists))
        .route("/lists/{id}/items", post(post_items).delete(delete_items))
        .route("/zones", get(get_zones))
        .route("/zones/{id}/edits", post(post_edits))
        .route("/edge/{zone}/{ip}", get(get_edge))
        .route("/operations", get(get_operations))
        .route("/edge-history", get(get_edge_history))
        .route("/kv", get(get_kv))
        .route("/kv/{namespace}", post(post_kv).delete(delete_kv))
        .route("/kv/{namespace}/history", get(get_kv_history))
        .route("/kv-counters", get(get_kv_counters))
        .route("/faults", get(get_faults).post(post_faults).delete(delete_faults))
        .route("/journal", get(get_journal).delete(delete_journal))
        .route("/counters", get(get_counters))
        .route("/violations", get(get_violations))
        .route("/clock", get(get_clock).post(post_clock))
        // 150,000 decisions are more than axum's two megabytes.
        .layer(DefaultBodyLimit::disable())
        .with_state(front)
}

impl Front {
    /// The world as it is now.
    fn world(&self) -> MutexGuard<'_, Simulator> {
        let mut world = lock(&self.world);
        world.tick(self.start.elapsed());
        world
    }
}

async fn options(State(front): State<Front>) -> String {
    format!("{}\n", front.world().options())
}

/// A row to add; it lives from now.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NewDecision {
    value: String,
    #[serde(rename = "type")]
    kind: String,
    scope: String,
    origin: String,
    scenario: String,
    #[serde(with = "duration_text")]
    duration: Duration,
}

impl Default for NewDecision {
    fn default() -> Self {
        let Decision { value, kind, scope, origin, scenario, until, .. } = Decision::default();
        Self { value, kind, scope, origin, scenario, duration: until }
    }
}

async fn get_decisions(State(front): State<Front>) -> Json<Value> {
    Json(json!(front.world().lapi().decisions()))
}

async fn post_decisions(
    State(front): State<Front>,
    Json(decisions): Json<Vec<NewDecision>>,
) -> Json<Value> {
    let mut world = front.world();
    let now = world.now();
    let count = decisions.len();
    world.lapi().add_all(decisions.into_iter().map(|new| Decision {
        id: 0,
        origin: new.origin,
        scenario: new.scenario,
        scope: new.scope,
        kind: new.kind,
        value: new.value,
        until: now + new.duration,
    }));
    Json(json!({ "added": count }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Generate {
    count: usize,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    untidy: bool,
}

async fn generate(State(front): State<Front>, Json(wish): Json<Generate>) -> Json<Value> {
    let mix = if wish.untidy { Mix::untidy() } else { Mix::default() };
    let mut decisions = generate_mix(wish.count, wish.seed, &mix);
    let mut world = front.world();
    let now = world.now();
    decisions.iter_mut().for_each(|decision| decision.until += now);
    world.lapi().add_all(decisions);
    Json(json!({ "added": wish.count }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    value: Option<String>,
}

async fn delete_decisions(State(front): State<Front>, Query(which): Query<Which>) -> Json<Value> {
    let mut world = front.world();
    let lapi = world.lapi();
    let removed = match which.value {
        Some(value) => lapi.remove_value(&value),
        None => {
            let count = lapi.decisions().len();
            lapi.clear();
            count
        }
    };
    Json(json!({ "removed": removed }))
}

async fn put_body(State(front): State<Front>, body: Bytes) -> StatusCode {
    front.world().lapi().override_body(Some(body));
    StatusCode::NO_CONTENT
}

async fn delete_body(State(front): State<Front>) -> StatusCode {
    front.world().lapi().override_body(None);
    StatusCode::NO_CONTENT
}

async fn get_lists(State(front): State<Front>) -> Json<Value> {
    let mut world = front.world();
    let cloudflare = world.cloudflare();
    let list = |(id, name): (String, String)| {
        let items = cloudflare.items(&id);
        json!({ "id": id, "name": name, "items": items })
    };
    Json(cloudflare.lists().into_iter().map(list).collect())
}

async fn post_items(
    State(front): State<Front>,
    Path(id): Path<String>,
    lines: String,
) -> Result<Json<Value>, Refusal> {
    let mut world = front.world();
    let cloudflare = world.cloudflare();
    known_list(cloudflare, &id)?;
    cloudflare.preload(&id, lines.lines());
    Ok(Json(json!({ "added": lines.lines().count() })))
}

async fn delete_items(
    State(front): State<Front>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    let mut world = front.world();
    let cloudflare = world.cloudflare();
    known_list(cloudflare, &id)?;
    cloudflare.empty(&id);
    Ok(StatusCode::NO_CONTENT)
}

fn known_list(cloudflare: &crate::Cloudflare, id: &str) -> Result<(), Refusal> {
    match cloudflare.lists().iter().any(|(known, _)| known == id) {
        true => Ok(()),
        false => Err((StatusCode::NOT_FOUND, format!("there is no list {id}\n"))),
    }
}

async fn get_zones(State(front): State<Front>) -> Json<Value> {
    let mut world = front.world();
    let cloudflare = world.cloudflare();
    let zone = |(id, name): (String, String)| {
        let rules = cloudflare.rules(&id);
        json!({ "id": id, "name": name, "rules": rules })
    };
    Json(cloudflare.zones().into_iter().map(zone).collect())
}

async fn post_edits(
    State(front): State<Front>,
    Path(id): Path<String>,
    lines: String,
) -> Result<Json<Value>, Refusal> {
    let edits: Result<Vec<RulesEdit>, String> = lines.lines().map(str::parse).collect();
    let edits = edits.map_err(|error| (CONFUSED, format!("{error}\n")))?;
    let mut world = front.world();
    let mut is_changed = |edit: &RulesEdit| world.cloudflare().edit_rules(&id, edit);
    let changed = edits.iter().filter(|edit| is_changed(edit)).count();
    Ok(Json(json!({ "changed": changed })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct From {
    country: Option<String>,
    asn: Option<u32>,
}

async fn get_edge(
    State(front): State<Front>,
    Path((zone, ip)): Path<(String, IpAddr)>,
    Query(from): Query<From>,
) -> Json<Value> {
    let mut world = front.world();
    let now = world.now();
    let nobody = Visitor::default();
    let country = from.country.unwrap_or(nobody.country);
    let visitor = Visitor::from(&country, from.asn.unwrap_or(nobody.asn));
    let edge = world.edge();
    let entry = |(at, verdict): (Duration, Verdict)| json!({ "at": humantime::format_duration(at).to_string(), "verdict": verdict });
    let story = edge.verdicts_over(&zone, ip, &visitor, Duration::ZERO..now);
    Json(json!({
        "verdict": edge.decide(&zone, ip, &visitor),
        "rule": edge.deciding_rule(&zone, now, ip, &visitor),
        "story": story.into_iter().map(entry).collect::<Vec<_>>(),
    }))
}

async fn get_operations(State(front): State<Front>) -> Json<Value> {
    Json(json!(front.world().cloudflare().operations()))
}

async fn get_edge_history(State(front): State<Front>) -> Json<Value> {
    Json(json!(front.world().cloudflare().edge_history()))
}

async fn get_kv(State(front): State<Front>) -> Json<Value> {
    let mut world = front.world();
    let cloudflare = world.cloudflare();
    let content = |(id, _): (String, String)| {
        let entries = cloudflare.kv_entries(&id);
        (id, json!(entries))
    };
    Json(cloudflare.namespaces().into_iter().map(content).collect())
}

async fn post_kv(
    State(front): State<Front>,
    Path(id): Path<String>,
    Json(entries): Json<BTreeMap<String, KvEntryView>>,
) -> Result<Json<Value>, Refusal> {
    let mut world = front.world();
    let cloudflare = world.cloudflare();
    known_namespace(cloudflare, &id)?;
    let count = entries.len();
    cloudflare.kv_preload(&id, entries);
    Ok(Json(json!({ "added": count })))
}

async fn delete_kv(
    State(front): State<Front>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    let mut world = front.world();
    let cloudflare = world.cloudflare();
    known_namespace(cloudflare, &id)?;
    cloudflare.kv_clear(&id);
    Ok(StatusCode::NO_CONTENT)
}

async fn get_kv_history(
    State(front): State<Front>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let mut world = front.world();
    let cloudflare = world.cloudflare();
    known_namespace(cloudflare, &id)?;
    Ok(Json(json!(cloudflare.kv_history(&id))))
}

fn known_namespace(cloudflare: &crate::Cloudflare, id: &str) -> Result<(), Refusal> {
    match cloudflare.namespaces().iter().any(|(known, _)| known == id) {
        true => Ok(()),
        false => Err((StatusCode::NOT_FOUND, format!("there is no namespace {id}\n"))),
    }
}

async fn get_kv_counters(State(front): State<Front>) -> Json<Value> {
    Json(json!(front.world().cloudflare().kv_counters()))
}

async fn get_faults(State(front): State<Front>) -> String {
    front.world().faults().map(|fault| format!("{fault}\n")).collect()
}

async fn post_faults(State(front): State<Front>, lines: String) -> Result<StatusCode, Refusal> {
    let faults: Result<Vec<Fault>, String> = lines.lines().map(str::parse).collect();
    let faults = faults.map_err(|error| (CONFUSED, format!("{error}\n")))?;
    let mut world = front.world();
    faults.into_iter().for_each(|fault| world.inject(fault));
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_faults(State(front): State<Front>) -> StatusCode {
    front.world().clear_faults();
    StatusCode::NO_CONTENT
}

async fn get_journal(State(front): State<Front>) -> Json<Value> {
    Json(json!(front.world().journal()))
}

async fn delete_journal(State(front): State<Front>) -> StatusCode {
    front.world().reset_records();
    StatusCode::NO_CONTENT
}

async fn get_counters(State(front): State<Front>) -> Json<Value> {
    let world = front.world();
    let counters =
        Service::ALL.map(|service| (service.to_string(), json!(world.counters(service))));
    Json(counters.into_iter().collect())
}

async fn get_violations(State(front): State<Front>) -> Json<Value> {
    Json(json!(front.world().violations()))
}

async fn get_clock(State(front): State<Front>) -> Json<Value> {
    let now = humantime::format_duration(front.world().now()).to_string();
    Json(json!({ "now": now }))
}

async fn post_clock(State(front): State<Front>, by: String) -> Result<Json<Value>, Refusal> {
    let by = humantime::parse_duration(by.trim())
        .map_err(|error| (CONFUSED, format!("{by:?} is no duration such as 4h: {error}\n")))?;
    front.world().advance(by);
    Ok(get_clock(State(front)).await)
}

//! Listings that do not tell the truth, and bulk requests whose answer says nothing of their effect.

use super::*;
use crate::options::{Options, PageCursors};
use crate::reply::{Outcome, Service};
use crate::world::Simulator;

/// A whole world, for the faults that are acted out above the service.
struct World {
    simulator: Simulator,
    namespace: String,
}

impl World {
    fn new(keys: usize, change: impl FnOnce(&mut CloudflareOptions)) -> Self {
        let mut options = Options::default();
        change(&mut options.cloudflare);
        let mut simulator = Simulator::new(options);
        let namespace = simulator.cloudflare().create_namespace("crowdsec");
        for n in 0..keys {
            simulator.cloudflare().kv_put(&namespace, &format!("k{n:02}"), "ban", None, None);
        }
        Self { simulator, namespace }
    }

    fn fault(&mut self, text: &str) {
        self.simulator.inject(text.parse().unwrap());
    }

    /// Status and body; 0 if there was no answer.
    fn ask(&mut self, method: Method, path: &str, body: &str) -> (u16, Value) {
        let options = &self.simulator.options().cloudflare;
        let request = Request::builder()
            .method(method)
            .uri(format!(
                "/client/v4/accounts/{}/storage/kv/namespaces/{}{path}",
                options.account_id, self.namespace
            ))
            .header("authorization", format!("Bearer {}", options.api_token))
            .header("content-type", "application/json")
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .unwrap();
        match self.simulator.handle(Duration::ZERO, Service::Cloudflare, request).outcome {
            Outcome::Response(response) => {
                let body = serde_json::from_slice(response.body()).unwrap_or_default();
                (response.status().as_u16(), body)
            }
            _ => (0, Value::Null),
        }
    }

    fn page(&mut self, cursor: &str) -> (Vec<String>, String) {
        let cursor = percent_encoded(cursor);
        let (status, page) =
            self.ask(Method::GET, &format!("/keys?limit=10&prefix=k&cursor={cursor}"), "");
        assert_eq!(status, 200, "{page}");
        let next = page["result_info"]["cursor"].as_str().unwrap_or_default();
        (names(&page), next.to_owned())
    }

    fn stored(&mut self) -> Vec<String> {
        let namespace = self.namespace.clone();
        self.simulator.cloudflare().kv_entries(&namespace).into_keys().collect()
    }
}

#[test]
fn listing_without_a_result_has_null_or_nothing() {
    for (fault, expected) in [("null-result", Some(&Value::Null)), ("no-result", None)] {
        let mut world = World::new(3, |_| {});
        world.fault(&format!("cloudflare GET /keys: {fault}"));
        let (status, body) = world.ask(Method::GET, "/keys", "");
        assert_eq!((status, &body["success"], body.get("result")), (200, &json!(true), expected));
    }
}

#[test]
fn pages_of_keys_repeat_a_key_or_themselves() {
    for cursors in [PageCursors::Position, PageCursors::Offset] {
        let mut world = World::new(25, |options| options.page_cursors = cursors);
        world.fault("cloudflare GET /keys times=1: repeat-item");
        world.fault("cloudflare GET /keys skip=1 times=2: repeat-page");
        let (first, cursor) = world.page("");
        assert_eq!((first.len(), &first[0]), (11, &first[10]));
        let (second, repeated) = world.page(&cursor);
        assert_eq!((second.len(), second[0].as_str()), (10, "k10"));
        let (again, once_more) = world.page(&repeated);
        assert_eq!(again, second);
        assert!(cursor != repeated && repeated != once_more);
        let (third, last) = world.page(&once_more);
        assert_eq!(third, second, "the fault is over, its cursor is not");
        assert_eq!(world.page(&last).0.len(), 5);
    }
}

#[test]
fn pages_of_keys_by_offset_shift_when_others_write_between_them() {
    for (cursors, fault, second) in [
        (PageCursors::Offset, "insert-item k", "k09"),
        (PageCursors::Offset, "remove-item k00", "k11"),
        (PageCursors::Position, "insert-item k", "k10"),
        (PageCursors::Position, "remove-item k00", "k10"),
    ] {
        let mut world = World::new(20, |options| options.page_cursors = cursors);
        world.fault(&format!("cloudflare GET /keys skip=1 times=1: {fault}"));
        let cursor = world.page("").1;
        assert_eq!(world.page(&cursor).0[0], second, "{cursors:?} {fault}");
    }
}

#[test]
fn bulk_write_failing_after_its_effect_or_before_it_leaves_the_deletion_that_follows_alone() {
    let pair = r#"[{"key":"new","value":"ban","expiration_ttl":60}]"#;
    for (fault, status, left) in [
        ("answer-after-effect 503 ", 503, &["k01", "new"][..]),
        ("drop-after-effect", 0, &["k01", "new"]),
        ("answer 503 ", 503, &["k01"]),
        ("drop-before-effect", 0, &["k01"]),
    ] {
        let mut world = World::new(2, |_| {});
        world.fault(&format!("cloudflare PUT /bulk: {fault}"));
        assert_eq!(world.ask(Method::PUT, "/bulk", pair).0, status);
        assert_eq!(world.ask(Method::POST, "/bulk/delete", r#"["k00"]"#).0, 200);
        assert_eq!(world.stored(), left, "{fault}");
    }
}

#[test]
fn writes_used_up_for_the_day_leave_deletions_and_listings_alone() {
    let mut world = World::new(2, |options| options.kv_daily_writes = 1);
    let pair = |n| format!(r#"[{{"key":"new{n}","value":"ban","expiration_ttl":60}}]"#);
    assert_eq!(world.ask(Method::PUT, "/bulk", &pair(0)).0, 200);
    let (status, refused) = world.ask(Method::PUT, "/bulk", &pair(1));
    assert_eq!((status, refused["errors"][0]["code"].as_u64()), (429, Some(10048)));
    assert_eq!(world.ask(Method::POST, "/bulk/delete", r#"["k00"]"#).0, 200);
    assert_eq!(world.page("").0, ["k01"]);
}

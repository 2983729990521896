//! Reads that do not tell the truth: stale content, answers without content, pages that repeat or shift,
//! and operations that cannot be asked for.

use super::*;
use crate::fault::Fault;
use crate::options::Options;
use crate::options::{ModifiedOn, PageCursors};
use crate::reply::{Outcome, Service};
use crate::world::Simulator;

/// A whole world, for the faults that are acted out above the service.
struct World {
    simulator: Simulator,
    now: Duration,
    list: String,
}

impl World {
    fn new(values: &[&str], change: impl FnOnce(&mut CloudflareOptions)) -> Self {
        let mut options = Options::default();
        change(&mut options.cloudflare);
        let mut simulator = Simulator::new(options);
        let list = simulator.cloudflare().create_list("ban");
        simulator.cloudflare().preload(&list, values.iter().copied());
        Self { simulator, now: Duration::ZERO, list }
    }

    fn fault(&mut self, text: &str) {
        self.simulator.inject(text.parse::<Fault>().unwrap());
    }

    fn ask(&mut self, method: Method, path: &str, body: &str) -> (u16, String) {
        let options = &self.simulator.options().cloudflare;
        let request = Request::builder()
            .method(method)
            .uri(format!("/client/v4/accounts/{}/rules/lists{path}", options.account_id))
            .header("authorization", format!("Bearer {}", options.api_token))
            .header("content-type", "application/json")
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .unwrap();
        match self.simulator.handle(self.now, Service::Cloudflare, request).outcome {
            Outcome::Response(response) => {
                let body = String::from_utf8(response.body().to_vec()).unwrap();
                (response.status().as_u16(), body)
            }
            other => panic!("{other:?}"),
        }
    }

    fn page(&mut self, per_page: usize, cursor: &str) -> (Vec<String>, String) {
        let cursor = percent_encoded(cursor);
        let path = format!("/{}/items?per_page={per_page}&cursor={cursor}", self.list);
        let (status, body) = self.ask(Method::GET, &path, "");
        assert_eq!(status, 200, "{body}");
        let page: Value = serde_json::from_str(&body).unwrap();
        let after = page["result_info"]["cursors"]["after"].as_str().unwrap_or_default();
        (ips(&page), after.to_owned())
    }
}

#[test]
fn list_read_in_the_lag_after_an_operation_shows_what_was_before_it() {
    let lag = Duration::from_secs(60);
    let mut account = Account::with(|options| options.list_read_lag = lag);
    let ban = account.ban.clone();
    let num_items = |account: &mut Account| {
        account.send(Method::GET, &format!("/{}", account.ban.clone()), "").2["result"]["num_items"]
            .clone()
    };
    account.cloudflare.preload(&ban, ["192.0.2.1"]);
    let accepted = account.write(Method::POST, &ban, &items(&["192.0.2.2"])).2;
    account.later(SECOND);
    assert_eq!(account.operation(&accepted)["status"], "completed");
    account.write(Method::POST, &ban, &items(&["192.0.2.3"]));
    account.later(Duration::from_millis(1_000));
    account.cloudflare.settle(account.now);
    assert_eq!(account.cloudflare.values(&ban).len(), 3, "what is enforced");
    assert_eq!(account.read_all(&ban, 1), ["192.0.2.1"]);
    let before = account.cloudflare.items(&ban)[0].id.clone();
    assert_eq!(account.send(Method::GET, &format!("/{ban}/items/{before}"), "").0, 200);
    assert_eq!(num_items(&mut account), 1);
    // The first ended at 0.7 s, the second at 1.7 s.
    account.later(Duration::from_millis(58_700));
    assert_eq!((account.read_all(&ban, 500).len(), num_items(&mut account)), (2, json!(2)));
    account.later(SECOND);
    assert_eq!((account.read_all(&ban, 500).len(), num_items(&mut account)), (3, json!(3)));
}

#[test]
fn modified_on_of_a_list_moves_at_acceptance_completion_or_never_and_with_what_others_do_or_not() {
    for (when, moments) in [
        (ModifiedOn::Acceptance, ["00:00:10", "00:00:10"]),
        (ModifiedOn::Completion, ["00:00:00", "00:00:15"]),
        (ModifiedOn::Ours, ["00:00:00", "00:00:15"]),
        (ModifiedOn::Never, ["00:00:00", "00:00:00"]),
    ] {
        let mut account = Account::with(|options| {
            options.modified_on = when;
            options.operation_delay = Duration::from_secs(5);
        });
        let ban = account.ban.clone();
        account.later(Duration::from_secs(10));
        account.write(Method::PUT, &ban, &items(&["192.0.2.1"]));
        for (seconds, time) in [2, 4].into_iter().zip(moments) {
            account.later(Duration::from_secs(seconds));
            let list = account.send(Method::GET, &format!("/{ban}"), "").2;
            assert_eq!(list["result"]["modified_on"], format!("1970-01-01T{time}Z"), "{when:?}");
        }
        account.cloudflare.preload(&ban, ["192.0.2.2"]);
        let list = account.send(Method::GET, &format!("/{ban}"), "").2;
        let time = match when {
            ModifiedOn::Never | ModifiedOn::Ours => moments[1],
            ModifiedOn::Acceptance | ModifiedOn::Completion => "00:00:16",
        };
        assert_eq!(list["result"]["modified_on"], format!("1970-01-01T{time}Z"), "{when:?}");
    }
}

#[test]
fn success_without_a_result_has_null_or_nothing_and_a_failure_stays() {
    for (fault, expected) in [("null-result", Some(&Value::Null)), ("no-result", None)] {
        let mut world = World::new(&["192.0.2.1"], |_| {});
        world.fault(&format!("cloudflare GET /items times=1: {fault}"));
        let path = format!("/{}/items", world.list);
        let (status, body) = world.ask(Method::GET, &path, "");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["success"], body.get("result")), (200, &json!(true), expected));
        assert!(world.ask(Method::GET, &path, "").1.contains("192.0.2.1"));
        world.fault(&format!("cloudflare: {fault}"));
        let (status, body) = world.ask(Method::GET, &format!("/{}", "f".repeat(32)), "");
        assert!(status == 404 && body.contains("10001"), "{body}");
    }
}

#[test]
fn page_with_its_first_item_twice_has_the_same_id_twice() {
    let mut world = World::new(&["192.0.2.1", "192.0.2.2", "192.0.2.3"], |_| {});
    world.fault("cloudflare GET /items: repeat-item");
    let path = format!("/{}/items?per_page=2", world.list);
    let page: Value = serde_json::from_str(&world.ask(Method::GET, &path, "").1).unwrap();
    assert_eq!(ips(&page), ["192.0.2.1", "192.0.2.2", "192.0.2.1"]);
    assert_eq!(page["result"][0]["id"], page["result"][2]["id"]);
    let after = page["result_info"]["cursors"]["after"].as_str().unwrap();
    assert_eq!(world.page(2, after).0, ["192.0.2.3", "192.0.2.3"], "and goes on as ever");
}

#[test]
fn page_repeated_under_new_cursors_never_ends_until_the_fault_does() {
    for cursors in [PageCursors::Position, PageCursors::Offset] {
        let values = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
        let mut world = World::new(&values, |options| options.page_cursors = cursors);
        world.fault("cloudflare GET /items skip=1 times=3: repeat-page");
        let mut seen = BTreeSet::new();
        let (_, mut cursor) = world.page(1, "");
        for _ in 0..3 {
            let (page, next) = world.page(1, &cursor);
            assert_eq!(page, ["192.0.2.2"]);
            assert!(seen.insert(next.clone()), "a cursor that was there before");
            cursor = next;
        }
        assert_eq!(world.page(1, &cursor).0, ["192.0.2.2"], "the last time");
    }
}

#[test]
fn pages_by_offset_shift_when_others_write_between_them_and_by_position_do_not() {
    let values = ["192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"];
    for (cursors, fault, second) in [
        (PageCursors::Offset, "insert-item 192.0.2.1", ["192.0.2.3", "192.0.2.4"]),
        (PageCursors::Offset, "remove-item 192.0.2.2", ["192.0.2.5", ""]),
        (PageCursors::Position, "insert-item 192.0.2.1", ["192.0.2.4", "192.0.2.5"]),
        (PageCursors::Position, "remove-item 192.0.2.2", ["192.0.2.4", "192.0.2.5"]),
        (PageCursors::Offset, "remove-item 192.0.2.9", ["192.0.2.4", "192.0.2.5"]),
    ] {
        let mut world = World::new(&values, |options| options.page_cursors = cursors);
        world.fault(&format!("cloudflare GET /items skip=1 times=1: {fault}"));
        let (first, cursor) = world.page(2, "");
        assert_eq!(first, ["192.0.2.2", "192.0.2.3"]);
        let mut page = world.page(2, &cursor).0;
        page.resize(2, String::new());
        assert_eq!(page, second, "{cursors:?} {fault}");
    }
}

#[test]
fn pages_by_offset_left_alone_hold_every_item_once_and_lead_back() {
    let mut account = Account::with(|options| options.page_cursors = PageCursors::Offset);
    let ban = account.ban.clone();
    let expected: Vec<String> = (0..23).map(|n| format!("10.0.0.{n}")).collect();
    account.cloudflare.preload(&ban, expected.iter().cloned());
    for per_page in [1, 7, 23, 500] {
        assert_eq!(account.read_all(&ban, per_page), expected, "{per_page} a page");
    }
    let path = format!("/{ban}/items?per_page=3");
    let mut page = account.send(Method::GET, &path, "").2;
    for (direction, first) in [("after", 3), ("after", 6), ("before", 3), ("before", 0)] {
        let cursor = page["result_info"]["cursors"][direction].as_str().unwrap();
        let path = format!("{path}&cursor={}", percent_encoded(cursor));
        page = account.send(Method::GET, &path, "").2;
        assert_eq!(ips(&page)[0], format!("10.0.0.{first}"));
    }
}

#[test]
fn operation_that_cannot_be_asked_for_goes_on_all_the_same() {
    for (fault, status, part) in [
        ("answer 404 {\"success\":false}", 404, "false"),
        ("answer 500 ", 500, ""),
        ("answer 403 [content-type: text/html] <html>", 403, "<html>"),
        ("operation-state paused", 200, "\"status\":\"paused\""),
        ("null-result", 200, "\"result\":null"),
    ] {
        let mut world = World::new(&["192.0.2.1"], |_| {});
        let path = format!("/{}/items", world.list);
        let accepted = world.ask(Method::PUT, &path, &items(&["192.0.2.2"])).1;
        let accepted: Value = serde_json::from_str(&accepted).unwrap();
        let id = accepted["result"]["operation_id"].as_str().unwrap();
        world.fault(&format!("cloudflare GET /bulk_operations: {fault}"));
        for _ in 0..2 {
            let (got, body) = world.ask(Method::GET, &format!("/bulk_operations/{id}"), "");
            assert!(got == status && body.contains(part), "{got} {body}");
            world.now += SECOND;
        }
        assert_eq!(world.page(500, "").0, ["192.0.2.2"], "{fault}");
        world.simulator.clear_faults();
        let (_, body) = world.ask(Method::GET, &format!("/bulk_operations/{id}"), "");
        assert!(body.contains("completed"), "{body}");
    }
}

#[test]
fn operation_slow_stays_pending_for_its_time_and_then_takes_effect() {
    let mut world = World::new(&["192.0.2.1"], |_| {});
    world.fault("cloudflare PUT /items times=1: slow-operation 26h");
    let path = format!("/{}/items", world.list);
    let accepted: Value =
        serde_json::from_str(&world.ask(Method::PUT, &path, &items(&["192.0.2.2"])).1).unwrap();
    let id = accepted["result"]["operation_id"].as_str().unwrap();
    let state = |world: &mut World| {
        let (_, body) = world.ask(Method::GET, &format!("/bulk_operations/{id}"), "");
        let body: Value = serde_json::from_str(&body).unwrap();
        body["result"]["status"].as_str().unwrap().to_owned()
    };
    for hours in [0, 1, 24] {
        world.now += Duration::from_secs(hours * 3_600);
        assert_eq!(state(&mut world), "pending");
        assert_eq!(world.page(500, "").0, ["192.0.2.1"]);
    }
    world.now += Duration::from_secs(3_600);
    assert_eq!(
        (state(&mut world).as_str(), world.page(500, "").0),
        ("completed", vec!["192.0.2.2".to_owned()])
    );

    world.fault("cloudflare PUT /items times=1: slow-operation 26h");
    world.ask(Method::PUT, &path, &items(&["192.0.2.3"]));
    world.simulator.clear_faults();
    world.now += SECOND;
    assert_eq!(world.page(500, "").0, ["192.0.2.3"], "a healed world is not slow");
}

#[test]
fn write_answered_with_an_error_after_its_effect_is_done_all_the_same() {
    let mut world = World::new(&[], |options| options.operation_delay = Duration::ZERO);
    world.fault(
        "cloudflare PUT /items times=1: answer-after-effect 502 [content-type: text/html] <html>",
    );
    let path = format!("/{}/items", world.list);
    let answer = world.ask(Method::PUT, &path, &items(&["192.0.2.2"]));
    assert_eq!(answer, (502, "<html>".to_owned()));
    assert_eq!(world.page(500, "").0, ["192.0.2.2"]);
}

//! A client that changes one expression, and what can come in between (facts: cloudflare-rules.md 1.5,
//! 4.1 and 4.2).

use super::*;
use crate::options::{DryRun, ExpressionEcho, LimiterBody, OmittedFields, Options};
use crate::reply::{Outcome, Service};
use crate::world::Simulator;

/// A zone with our two rules and somebody else's, as the client sees it.
struct World {
    simulator: Simulator,
    now: Duration,
    zone: String,
    path: String,
}

impl World {
    fn new(change: impl FnOnce(&mut CloudflareOptions)) -> Self {
        let mut options = Options::default();
        change(&mut options.cloudflare);
        let mut simulator = Simulator::new(options);
        let zone = simulator.cloudflare().create_zone("example.com");
        simulator.cloudflare().create_list("ban");
        simulator.cloudflare().add_rule(&zone, "log", "http.host eq \"x\"");
        let mut world = Self { simulator, now: Duration::ZERO, zone, path: String::new() };
        let ruleset = world.get(ENTRY_POINT)["id"].as_str().unwrap().to_owned();
        world.path = format!("/{ruleset}/rules");
        for reference in ["our_ban", "our_captcha"] {
            let body = rule(reference);
            let path = world.path.clone();
            let (status, answer) = world.send(Method::POST, &path, &body);
            assert_eq!(status, 200, "{answer}");
        }
        world.now += Duration::from_secs(1_000);
        world
    }

    fn fault(&mut self, text: &str) {
        self.simulator.inject(text.parse().unwrap());
    }

    /// Status and body; 0 if there was no answer.
    fn send(&mut self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/client/v4/zones/{}/rulesets{path}", self.zone))
            .header(
                "authorization",
                format!("Bearer {}", self.simulator.options().cloudflare.api_token),
            )
            .header("content-type", "application/json")
            .body(if body.is_null() { Bytes::new() } else { body.to_string().into() })
            .unwrap();
        match self.simulator.handle(self.now, Service::Cloudflare, request).outcome {
            Outcome::Response(response) => {
                let body = serde_json::from_slice(response.body()).unwrap_or_default();
                (response.status().as_u16(), body)
            }
            _ => (0, Value::Null),
        }
    }

    fn get(&mut self, path: &str) -> Value {
        let (status, answer) = self.send(Method::GET, path, &Value::Null);
        assert_eq!(status, 200, "{answer}");
        answer["result"].clone()
    }

    /// The rule of this `ref`, with every field that is to be sent back.
    fn seen(&mut self, reference: &str) -> Value {
        let rules = self.get(ENTRY_POINT)["rules"].clone();
        let mut rules = rules.as_array().unwrap().iter();
        rules.find(|rule| rule["ref"] == reference).cloned().unwrap_or_default()
    }

    /// What the client does: reads the rule and sends it back with another expression. Status, the
    /// first error's code and the answer.
    fn patch(&mut self, reference: &str, expression: &str) -> (u16, u64, Value) {
        let mut body = self.seen(reference);
        let path = format!("{}/{}", self.path, body["id"].as_str().unwrap());
        let fields = body.as_object_mut().unwrap();
        fields.retain(|name, _| !matches!(name.as_str(), "id" | "version" | "last_updated"));
        fields.insert("expression".to_owned(), json!(expression));
        let (status, answer) = self.send(Method::PATCH, &path, &body);
        (status, answer["errors"][0]["code"].as_u64().unwrap_or_default(), answer)
    }

    fn expression(&mut self, reference: &str) -> String {
        let rules = self.simulator.cloudflare().rules(&self.zone).unwrap();
        rules.into_iter().find(|rule| rule.reference == reference).unwrap().expression
    }

    fn version(&mut self) -> u64 {
        self.simulator.cloudflare().ruleset_version(&self.zone)
    }
}

#[test]
fn expression_illegal_is_refused_by_code_and_told_where_it_is_wrong() {
    let long = format!("ip.src in {{{}192.0.2.1}}", "192.0.2.1 ".repeat(410));
    assert_eq!(long.len(), 4_121);
    for (expression, code, part) in [
        (
            "ip.src in {192.0.2.5/24}",
            20127,
            "(1:12):\nip.src in {192.0.2.5/24}\n           ^ invalid",
        ),
        ("ip.src in {}", 20127, "(1:11)"),
        ("ip.src\tin $ban", 20127, "'ip.src\tin $ban' is not a valid value for expression"),
        (
            "",
            20125,
            "'' is not a valid value for expression because the expression cannot be blank",
        ),
        (" \n ", 20125, "blank"),
        ("ip.src in $captcha", 10893, "could not find list $captcha"),
        (&long, 10896, "too long"),
        ("len(http.host) gt 5", 10994, "not simulated"),
    ] {
        let mut world = World::new(|_| {});
        let version = world.version();
        let (status, got, answer) = world.patch("our_ban", expression);
        assert_eq!(got, code, "{expression}: {answer}");
        assert_eq!(status, if code == 10994 { 501 } else { 400 });
        let message = answer["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(part), "{message}");
        assert_eq!(world.expression("our_ban"), "(ip.src in $ban)", "it stays as it was");
        assert_eq!(world.version(), version);
        assert_eq!(world.simulator.violations().is_empty(), code == 10994);
    }
    let mut world = World::new(|options| options.waf_accepts_empty_sets = true);
    world.simulator.cloudflare().configure(|options| options.waf_expression_max = 12);
    assert_eq!(world.patch("our_ban", "ip.src in {}").0, 200);
    assert_eq!(world.patch("our_ban", "ip.src in { }").1, 10896);
}

#[test]
fn list_of_another_kind_is_none_for_an_address() {
    let mut world = World::new(|_| {});
    world.simulator.cloudflare().create_list_of_kind("asns", "asn");
    assert_eq!(world.patch("our_ban", "ip.src in $asns").1, 10893);
}

#[test]
fn rule_patched_answers_with_the_whole_ruleset_one_version_on() {
    let mut world = World::new(|_| {});
    let before = world.get(ENTRY_POINT);
    let (status, _, answer) = world.patch("our_ban", "(ip.src in $ban) or ip.src in {192.0.2.1}");
    assert_eq!(status, 200);
    let after = &answer["result"];
    assert_eq!((&before["version"], &after["version"]), (&json!("4"), &json!("5")));
    assert_eq!(after["rules"][1]["version"], "2");
    assert_ne!(after["rules"][1]["last_updated"], before["rules"][1]["last_updated"]);
    for other in [0, 2] {
        assert_eq!(after["rules"][other], before["rules"][other], "byte by byte");
    }
    assert_eq!(world.simulator.violations(), [""; 0]);
}

#[test]
fn patch_that_changes_nothing_makes_a_version_or_not() {
    for bumps in [true, false] {
        let mut world = World::new(|options| options.waf_equal_patch_bumps = bumps);
        let before = world.get(ENTRY_POINT);
        let (status, _, answer) = world.patch("our_ban", "(ip.src in $ban)");
        assert_eq!((status, answer["result"] == before), (200, !bumps));
        world.patch("our_ban", "(ip.src in $ban )");
        assert_eq!(world.version(), if bumps { 6 } else { 5 });
    }
}

#[test]
fn fields_left_out_are_reset_or_kept_and_noted() {
    for omitted in [OmittedFields::Reset, OmittedFields::Keep] {
        let mut world = World::new(|options| options.waf_patch_omitted = omitted);
        let zone = world.zone.clone();
        world.simulator.cloudflare().edit_rule(&zone, "our_ban", |rule| {
            rule.enabled = false;
            rule.description = "by hand".to_owned();
            rule.extra.insert("logging".to_owned(), json!({ "enabled": true }));
        });
        let id = world.seen("our_ban")["id"].as_str().unwrap().to_owned();
        let path = format!("{}/{id}", world.path);
        let body = json!({ "expression": "true", "action": "block" });
        let answer = world.send(Method::PATCH, &path, &body).1;
        let rule = &answer["result"]["rules"][1];
        let fields = [&rule["ref"], &rule["enabled"], &rule["description"]];
        match omitted {
            OmittedFields::Reset => assert_eq!(fields, [&json!(id), &json!(true), &json!("")]),
            OmittedFields::Keep => {
                assert_eq!(fields, [&json!("our_ban"), &json!(false), &json!("by hand")]);
            }
        }
        assert_eq!(rule.get("logging").is_some(), omitted == OmittedFields::Keep);
        let notes = world.simulator.violations().join("\n");
        for field in ["ref", "enabled", "description", "logging"] {
            assert!(notes.contains(&format!("{field} of \"our_ban\" is left out")), "{notes}");
        }
        let body = json!({ "expression": "true" });
        assert_eq!(world.send(Method::PATCH, &path, &body).0, 400, "without an action");
    }
}

#[test]
fn expression_echoed_with_other_blanks_says_the_same() {
    let mut world = World::new(|options| options.waf_echo = ExpressionEcho::Respaced);
    let sent = "(ip.src in $ban and not ip.src in {192.0.2.1 192.0.2.2}) or http.host eq \"a b\"";
    let answer = world.patch("our_ban", sent).2;
    let echoed = answer["result"]["rules"][1]["expression"].as_str().unwrap().to_owned();
    assert_ne!(echoed, sent);
    assert!(echoed.contains("\"a b\""), "{echoed}");
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&echoed), words(sent));
    assert_eq!(world.expression("our_ban"), sent, "what is in force");
    assert_eq!(world.patch("our_ban", &echoed).0, 200, "it can be sent back");
}

#[test]
fn somebody_elses_edit_before_the_patch_shows_in_its_answer_or_refuses_it() {
    for (edit, status, rules, version) in [
        ("add log true", 200, 4, 6),
        ("disable our_ban", 200, 3, 6),
        ("move-first our_captcha", 200, 3, 6),
        ("set our_captcha ip.src eq 192.0.2.1", 200, 3, 6),
        ("act our_captcha log", 200, 3, 6),
        ("delete our_captcha", 200, 2, 6),
        ("delete nobody", 200, 3, 5),
        ("double our_captcha", 200, 4, 6),
        ("delete our_ban", 404, 2, 5),
        ("double our_ban", 400, 4, 5),
        ("renew-ids", 404, 3, 5),
        ("delete-all", 404, 0, 0),
    ] {
        let mut world = World::new(|_| {});
        let foreign = world.get(ENTRY_POINT)["rules"][0].clone();
        world.fault(&format!("cloudflare PATCH times=1: edit-rules {edit}"));
        let (got, _, answer) = world.patch("our_ban", "(ip.src in $ban) or ip.src in {192.0.2.1}");
        assert_eq!(got, status, "{edit}: {answer}");
        let zone = world.zone.clone();
        let left = world.simulator.cloudflare().rules(&zone).unwrap_or_default();
        assert_eq!((left.len(), world.version()), (rules, version), "{edit}");
        if edit != "renew-ids" && rules > 0 {
            assert_eq!(json!(left[usize::from(edit.starts_with("move"))].id), foreign["id"]);
        }
    }
}

#[test]
fn ids_renewed_by_a_put_of_everything_leave_refs_that_were_given_and_renew_the_others() {
    let mut world = World::new(|_| {});
    let before = world.get(ENTRY_POINT)["rules"].clone();
    let zone = world.zone.clone();
    assert!(world.simulator.cloudflare().edit_rules(&zone, &RulesEdit::RenewIds));
    let after = world.get(ENTRY_POINT)["rules"].clone();
    for n in 0..3 {
        assert_ne!(before[n]["id"], after[n]["id"]);
        assert_eq!(before[n]["expression"], after[n]["expression"]);
    }
    assert_eq!(after[0]["ref"], after[0]["id"]);
    assert_eq!(after[1]["ref"], "our_ban");
    assert_eq!(world.patch("our_ban", "true").0, 200, "found again by its ref");
}

#[test]
fn patch_whose_answer_is_an_error_or_none_has_happened_or_not() {
    for (fault, status, has_happened) in [
        ("answer-after-effect 502 <html>", 502, true),
        ("drop-after-effect", 0, true),
        ("answer 503 ", 503, false),
        ("answer 409 {\"success\":false,\"errors\":[{\"message\":\"conflict\"}]}", 409, false),
        ("answer 429 [content-type: text/html] <html>", 429, false),
        (
            "answer 429 {\"success\":false,\"errors\":[{\"code\":971,\"message\":\"wait\"}]}",
            429,
            false,
        ),
        ("drop-before-effect", 0, false),
    ] {
        let mut world = World::new(|_| {});
        world.fault(&format!("cloudflare PATCH: {fault}"));
        world.fault("cloudflare PATCH: edit-rules add log true");
        assert_eq!(world.patch("our_ban", "true").0, status, "{fault}");
        assert_eq!(world.expression("our_ban") == "true", has_happened, "{fault}");
        let zone = world.zone.clone();
        let rules = world.simulator.cloudflare().rules(&zone).unwrap();
        assert_eq!(rules.len(), 4, "what others do happens beside any fault");
    }
}

#[test]
fn dry_run_checks_everything_and_keeps_nothing_unless_it_is_not_known() {
    for (mode, is_kept) in [(DryRun::Honoured, false), (DryRun::Ignored, true)] {
        let mut world = World::new(|options| options.waf_dry_run = mode);
        let before = world.get(ENTRY_POINT);
        let id = world.seen("our_ban")["id"].as_str().unwrap().to_owned();
        let path = |dry: &str| format!("{}/{id}?dry_run={dry}", world.path);
        let (dry, wet, odd) = (path("true"), path("false"), path("1"));
        let mut body = json!({ "ref": "our_ban", "expression": "true", "action": "block" });
        let (status, answer) = world.send(Method::PATCH, &dry, &body);
        assert_eq!((status, answer["result"].is_null()), (200, !is_kept));
        assert_eq!(world.get(ENTRY_POINT) != before, is_kept);
        assert_eq!(world.send(Method::PATCH, &odd, &body).0, 400);
        assert_eq!(world.send(Method::PATCH, &wet, &body).0, 200);
        assert_eq!(world.expression("our_ban"), "true");
        body["expression"] = json!("ip.src in $nobody");
        assert_eq!(world.send(Method::PATCH, &dry, &body).0, 400);
        let all = format!("{}?dry_run=true", world.path.trim_end_matches("/rules"));
        assert_eq!(
            world.send(Method::DELETE, &all, &Value::Null).0,
            if is_kept { 204 } else { 200 }
        );
        assert_eq!(world.version() == 0, is_kept);
    }
}

#[test]
fn limiter_of_one_zones_rules_leaves_reads_and_other_zones_alone() {
    for form in [LimiterBody::Envelope, LimiterBody::PlainText, LimiterBody::Html] {
        let mut world = World::new(|_| {});
        let zone = world.simulator.cloudflare().create_zone("example.org");
        world.simulator.cloudflare().configure(|options| {
            options.waf_write_floor = Duration::from_secs(60);
            options.waf_limiter_body = form;
        });
        assert_eq!(world.patch("our_ban", "true").0, 200);
        world.now += Duration::from_secs(59);
        let (status, code, _) = world.patch("our_ban", "false");
        assert_eq!((status, code), (429, if form == LimiterBody::Envelope { 971 } else { 0 }));
        let first = std::mem::replace(&mut world.zone, zone);
        let body = json!({ "name": "default", "kind": "zone", "phase": PHASE, "rules": [] });
        assert_eq!(world.send(Method::POST, "", &body).0, 200, "another zone");
        world.zone = first;
        world.now += Duration::from_secs(1);
        assert_eq!(world.patch("our_ban", "ip.src in").0, 400);
        assert_eq!(world.patch("our_ban", "false").0, 200, "what was refused costs nothing");
    }
}

#[test]
fn token_that_may_not_write_rules_is_refused_without_a_code_if_asked_for() {
    let mut account = Account::with(|options| {
        options.waf_permission = Permission::Read;
        options.denied = crate::options::Denial::Uncoded;
    });
    let body = json!({ "name": "default", "kind": "zone", "phase": PHASE, "rules": [] });
    let (status, code, answer) = account.zone(Method::POST, "", body);
    assert_eq!((status, code), (403, 0));
    assert_eq!(answer["errors"], json!([{ "message": "request is not authorized" }]));
}

use std::time::{Duration, SystemTime};

use super::*;
use crate::api::cloudflare::expression::ListName;
use crate::ports::{ResponseHead, TransportError};
use crate::settings::Settings;
use Remediation::{Ban, Captcha};

fn list() -> ListName {
    "crowdsec_ban".parse().unwrap()
}

fn expression(text: &str) -> Expression {
    Expression::parse(text, &list()).unwrap()
}

fn ruleset_of(version: &str, rules: &str) -> Ruleset {
    let text = format!(
        r#"{{"success":true,"errors":[],"messages":[],"result":{{"id":"r1","name":"default","kind":"zone",
            "version":"{version}","last_updated":"2026-01-01T00:00:00Z","rules":{rules}}}}}"#
    );
    decode_ruleset(&Answer::of(200, text)).unwrap()
}

const OTHER: &str = r#"{"id":"o1","version":"3","action":"skip","expression":"ssl","ref":"mine",
    "action_parameters":{"z":1,"a":[1e400,0.10]},"last_updated":"2026-01-01T00:00:00Z","enabled":true}"#;

/// Our rule, as a person has dressed it up.
const OURS: &str = r#"{"id":"b1","version":"7","action":"block","expression":"(ip.src in $crowdsec_ban)",
    "description":"hände weg","ref":"crowdsec_edge_sync_ban","enabled":false,"logging":null,
    "action_parameters":{"response":{"status_code":451,"z":0.10,"content":"<b>\u0041</b>"}},
    "categories":["x"],"last_updated":"2026-01-01T00:00:00Z"}"#;

fn body_of(request: &Request) -> String {
    String::from_utf8(request.body.clone().unwrap()).unwrap()
}

/// The account and the zone of these settings.
fn account() -> (Account, Id) {
    let get = |name: &str| {
        let value = match name {
            "lapi_url" => "http://lapi.test",
            "lapi_key" => "key",
            "cf_api_url" => "https://api.test",
            "cf_api_token" => "t0k",
            "cf_account_id" => "000000000000000000000000000000aa",
            "cf_ban_list_id" => "000000000000000000000000000000bb",
            "cf_rules_zones" => "000000000000000000000000000000cc",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let settings = Settings::parse(get, SystemTime::UNIX_EPOCH).unwrap();
    let account = Account::new(settings.cloudflare, settings.account, settings.token);
    (account, settings.targets.rules.unwrap().zones.remove(0))
}

fn patch_of(ruleset: &Ruleset, expression: &Expression) -> Request {
    let (account, zone) = account();
    change(&account, &zone, &ruleset.id, ruleset.rule(Ban).unwrap(), expression)
}

#[test]
fn patch_of_a_rule_sends_every_field_as_it_was_read_but_the_expression() {
    let ruleset = ruleset_of("7", &format!("[{OTHER},{OURS}]"));
    let request =
        patch_of(&ruleset, &expression("(ip.src in $crowdsec_ban) or ip.src in {1.1.1.1}"));
    assert_eq!(request.method, Method::Patch);
    assert_eq!(
        request.url,
        "https://api.test/client/v4/zones/000000000000000000000000000000cc/rulesets/r1/rules/b1"
    );
    assert!(request.headers.contains(&("authorization", "Bearer t0k".into())));
    assert_eq!(
        body_of(&request),
        concat!(
            r#"{"action":"block","#,
            r#""action_parameters":{"response":{"status_code":451,"z":0.10,"content":"<b>\u0041</b>"}},"#,
            r#""description":"hände weg","enabled":false,"#,
            r#""expression":"(ip.src in $crowdsec_ban) or ip.src in {1.1.1.1}","#,
            r#""ref":"crowdsec_edge_sync_ban"}"#,
        )
    );
    assert!(!ruleset.rule(Ban).unwrap().enabled);
}

#[test]
fn country_in_a_patch_is_escaped_as_json() {
    let ruleset = ruleset_of("7", &format!("[{OURS}]"));
    let text = r#"(ip.src in $crowdsec_ban) or ip.src.country in {"CN"}"#;
    let body: serde_json::Value =
        serde_json::from_str(&body_of(&patch_of(&ruleset, &expression(text)))).unwrap();
    assert_eq!(body["expression"], text);
}

#[test]
fn rule_of_ours_is_found_by_its_ref_and_only_if_it_is_one() {
    let twice = format!("[{OURS},{OURS}]");
    let (nameless, odd_id) = (OURS.replace(r#""id":"b1","#, ""), OURS.replace("b1", "../x"));
    let idle = OURS.replace(r#""action":"block","#, "");
    let garbled = OURS.replace(r#""action":"block""#, r#""action":"block event=summary""#);
    for (rules, is_whole) in [
        (format!("[{OURS}]"), Some(true)),
        ("[]".to_owned(), None),
        ("null".to_owned(), None),
        (format!("[{OTHER}]"), None),
        (twice, None),
        (format!("[{nameless}]"), Some(false)),
        (format!("[{odd_id}]"), Some(false)),
        (format!("[{idle}]"), Some(false)),
        (format!("[{garbled}]"), Some(false)),
    ] {
        let ruleset = ruleset_of("1", &rules);
        assert_eq!(ruleset.rule(Ban).map(Rule::is_whole), is_whole, "{rules}");
        assert!(ruleset.rule(Captcha).is_none());
    }
}

#[test]
fn answer_that_is_no_ruleset_is_an_error_and_none_is_none() {
    let none = r#"{"success":false,"errors":[{"code":10003,"message":"could not find entrypoint"}],"result":null}"#;
    assert!(decode_ruleset(&Answer::of(404, none)).unwrap().rules.is_empty());
    // A zone that is not there is not a zone without rules.
    for (status, body) in [
        (404, r#"{"success":false,"errors":[{"code":7003,"message":"no route"}],"result":null}"#),
        (404, "not found"),
        (500, none),
        (200, r#"{"success":true,"result":null}"#),
        (200, r#"{"success":true}"#),
        (200, r#"{"success":true,"result":{"id":"../r","version":"7","rules":[]}}"#),
        (200, r#"{"success":true,"result":{"id":"r1","version":"7","rules":[1]}}"#),
        (200, r#"{"success":true,"result":{"id":"r1","version":"7","rules":[{"ref":"a"#),
    ] {
        assert!(decode_ruleset(&Answer::of(status, body)).is_err(), "{status} {body}");
    }
}

#[test]
fn answer_to_a_patch_tells_whether_somebody_else_wrote() {
    let before = ruleset_of("7", &format!("[{OTHER},{OURS}]"));
    let text = "(ip.src in $crowdsec_ban) or ip.src in {1.1.1.1}";
    let written = OURS.replace("(ip.src in $crowdsec_ban)", text).replace(r#""7""#, r#""8""#);
    let check = |version: &str, rules: String| {
        ruleset_of(version, &rules).compare(&before, Ban, &expression(text))
    };
    let as_due = format!("[{OTHER},{written}]");
    assert_eq!(check("8", as_due.clone()), Changed::Cleanly);
    // The echo laid out anew, and a time of writing that moved alone, are nobody's doing.
    let laid_out = written.replace("{1.1.1.1}", "{ 1.1.1.1 }\\r\\n");
    let touched = OTHER.replace("2026-01-01", "2026-02-02");
    assert_eq!(check("8", format!("[{touched},{laid_out}]")), Changed::Cleanly);
    for (version, rules, says) in [
        ("9", as_due.clone(), Changed::Beside),
        ("7", as_due, Changed::Beside),
        ("8", format!("[{OTHER},{OURS}]"), Changed::NotMade),
        ("8", format!("[{OTHER},{}]", written.replace("false", "true")), Changed::Beside),
        ("8", format!("[{OTHER},{}]", written.replace("451", "403")), Changed::Beside),
        ("8", format!("[{OTHER},{}]", written.replace(text, "ssl")), Changed::NotMade),
        ("8", format!("[{OTHER}]"), Changed::NotMade),
        ("8", format!("[{OTHER},{written},{written}]"), Changed::NotMade),
        ("8", format!("[{written}]"), Changed::Beside),
        ("8", format!("[{written},{OTHER}]"), Changed::Beside),
        ("8", format!("[{OTHER},{written},{OTHER}]"), Changed::Beside),
        ("8", format!("[{},{written}]", OTHER.replace("ssl", "not ssl")), Changed::Beside),
        ("8", format!("[{},{written}]", OTHER.replace(r#""3""#, r#""4""#)), Changed::Beside),
        ("8", format!("[{},{written}]", OTHER.replace(r#""z":1"#, r#""z":2"#)), Changed::Beside),
    ] {
        assert_eq!(check(version, rules.clone()), says, "{version} {rules}");
    }
}

#[test]
fn failure_of_each_kind_has_its_consequence_by_the_status() {
    let coded = r#"{"success":false,"errors":[{"code":20127,"message":"m"}],"result":null}"#;
    let codeless = r#"{"success":false,"errors":[{"message":"request is not authorized"}]}"#;
    for (status, body, consequence) in [
        (400, coded, Consequence::KeepLastGood),
        (400, "<html>", Consequence::KeepLastGood),
        (200, coded, Consequence::KeepLastGood),
        (413, "too large", Consequence::KeepLastGood),
        (401, codeless, Consequence::NotPermitted),
        (403, codeless, Consequence::NotPermitted),
        (403, "<html>", Consequence::NotPermitted),
        (404, codeless, Consequence::FindAgain),
        (409, coded, Consequence::BackOff),
        (429, coded, Consequence::BackOff),
        (429, "<html>", Consequence::BackOff),
        (408, "", Consequence::ReadAgain),
        (500, coded, Consequence::ReadAgain),
        (502, "<html>", Consequence::ReadAgain),
        (200, "<html>", Consequence::ReadAgain),
        (200, r#"{"success":true,"result":null}"#, Consequence::ReadAgain),
        (302, "", Consequence::ReadAgain),
    ] {
        let error = decode_ruleset(&Answer::of(status, body)).unwrap_err();
        assert_eq!(Consequence::of(&error), consequence, "{status} {body}");
        assert_eq!(consequence.is_unchanged(), consequence != Consequence::ReadAgain);
    }
    let head = ResponseHead { status: 429, retry_after: Some(Duration::from_secs(9)), date: None };
    let error = decode_ruleset(&Answer { head, body: Vec::new() }).unwrap_err();
    assert_eq!(Consequence::of(&error), Consequence::BackOff);
    for (error, consequence) in [
        (TransportError::Denied, Consequence::KeepLastGood),
        (TransportError::Timeout(Duration::ZERO), Consequence::ReadAgain),
        (TransportError::Body(String::new()), Consequence::ReadAgain),
    ] {
        assert_eq!(Consequence::of(&error.into()), consequence);
    }
}

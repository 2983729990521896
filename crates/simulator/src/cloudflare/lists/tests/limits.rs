//! What Cloudflare refuses although the client did nothing wrong: values, places, too many writes, and
//! a token's rights.

use super::*;
use crate::options::{Denial, RefusalForm};

#[test]
fn value_refused_or_doubled_by_decree_refuses_the_request_and_tells_what_it_is_asked_to_tell() {
    let values = ["192.0.2.1", "192.0.2.2/32", "2001:db8::2"];
    for (form, refused, doubled) in [
        (RefusalForm::Position, "for ip at position 1: ", "for ip at position 2: "),
        (RefusalForm::Value, "192.0.2.2", "2001:db8::2"),
        (RefusalForm::Bare, "invalid value", "filters.api.duplicate_item_value"),
    ] {
        let mut account = Account::with(|options| options.refusal_form = form);
        let ban = account.ban.clone();
        for (knob, code, part) in [(false, 10035, refused), (true, 10028, doubled)] {
            account.cloudflare.configure(|options| {
                let list = |value: &str| vec![value.to_owned(), "no address".to_owned()];
                options.refused_values = if knob { vec![] } else { list("192.0.2.2") };
                options.duplicate_values = if knob { list("2001:DB8::2") } else { vec![] };
            });
            for method in [Method::POST, Method::PUT] {
                let (status, got, answer) = account.write(method, &ban, &items(&values));
                assert_eq!((status, got), (400, code), "{form:?}");
                let message = answer["errors"][0]["message"].as_str().unwrap();
                assert!(message.contains(part), "{form:?}: {message}");
                let names_it = message.chars().any(|c| c.is_ascii_digit());
                assert_eq!(names_it, form != RefusalForm::Bare, "{form:?}: {message}");
            }
            let other = if knob { values[1] } else { values[2] };
            assert_eq!(
                account.write(Method::POST, &ban, &items(&[other])).0,
                200,
                "the others are"
            );
            account.later(SECOND);
        }
        assert_eq!(account.judge.violations(), [""; 0], "it is not the client's fault");
    }
}

#[test]
fn account_full_of_other_peoples_lists_fails_the_operation_and_counts_them_all_in_num_items() {
    let mut account = Account::with(|options| options.account_items_max = 6);
    let ban = account.ban.clone();
    let redirects = account.cloudflare.create_list_of_kind("redirects", "redirect");
    account.cloudflare.preload(&redirects, ["a.example/x", "b.example/x", "c.example/x"]);
    account.cloudflare.preload(&account.captcha.clone(), ["192.0.2.9"]);
    let accepted = account.write(Method::PUT, &ban, &items(&["192.0.2.1", "192.0.2.2"])).2;
    account.later(SECOND);
    assert_eq!(account.operation(&accepted)["status"], "completed");
    let body = items(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    let (status, _, accepted) = account.write(Method::PUT, &ban, &body);
    assert_eq!(status, 200, "found out only later");
    account.later(SECOND);
    let failed = account.operation(&accepted);
    assert_eq!((&failed["status"], &failed["error"]), (&json!("failed"), &json!(LIST_IS_FULL)));

    let listed = account.send(Method::GET, "", "").2;
    let count =
        |list: &Value| (list["name"].as_str().unwrap().to_owned(), list["num_items"].as_u64());
    let counts: Vec<_> = listed["result"].as_array().unwrap().iter().map(count).collect();
    let expected = [("ban", 2), ("captcha", 1), ("redirects", 3)];
    assert_eq!(counts, expected.map(|(name, count)| (name.to_owned(), Some(count))));

    account.cloudflare.configure(|options| options.account_items_max = 7);
    let accepted = account.write(Method::PUT, &ban, &body).2;
    account.later(SECOND);
    assert_eq!(account.operation(&accepted)["status"], "completed", "another plan");
}

#[test]
fn limiter_that_begins_after_some_writes_lets_those_pass_and_then_one_in_the_floor() {
    let mut account = Account::with(|options| {
        options.write_floor = Duration::from_secs(72 * 3_600);
        options.write_floor_after = 3;
        options.operation_delay = Duration::ZERO;
    });
    let ban = account.ban.clone();
    let mut put = |hours: u64| {
        account.later(Duration::from_secs(hours * 3_600));
        account.write(Method::PUT, &ban, &items(&["10.0.0.1"])).0
    };
    assert_eq!(
        [put(0), put(0), put(1), put(0), put(71), put(1), put(0)],
        [200, 200, 200, 429, 429, 200, 429]
    );
    account.cloudflare.reset_write_counts();
    assert_eq!(account.write(Method::PUT, &ban, "[]").0, 429, "a measurement changes nothing");
}

#[test]
fn refusal_of_too_much_has_any_form_and_any_retry_after() {
    let path =
        format!("/client/v4/accounts/{}/rules/lists/", CloudflareOptions::default().account_id);
    for (form, content_type, retry_after) in [
        (LimiterBody::Envelope, "application/json", "18446744073709551615"),
        (LimiterBody::PlainText, "text/plain; charset=utf-8", "Wed, 21 Oct 2026 07:28:00 GMT"),
        (LimiterBody::Html, "text/html; charset=UTF-8", "-1"),
        (LimiterBody::Envelope, "application/json", ""),
    ] {
        let mut account = Account::with(|options| {
            options.write_floor = Duration::MAX;
            options.limiter_body = form;
            options.retry_after = retry_after.to_owned();
        });
        let path = format!("{path}{}/items", account.ban);
        let put = |account: &mut Account| account.request(Method::PUT, &path, "[]", None);
        account.later(SECOND);
        assert_eq!(put(&mut account).status(), 200);
        account.later(SECOND);
        let refused = put(&mut account);
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()["content-type"]),
            (429, &content_type.parse().unwrap())
        );
        let header =
            refused.headers().get("retry-after").map_or("", |value| value.to_str().unwrap());
        assert_eq!(header, retry_after);
    }
}

#[test]
fn token_that_may_no_longer_write_still_reads_and_a_fresh_one_does_both() {
    for (denied, status, code) in [
        (Denial::Forbidden, 403, 10000),
        (Denial::Unauthorized, 401, 10000),
        (Denial::Uncoded, 403, 0),
    ] {
        let fresh = "f".repeat(40);
        let mut account = Account::with(|options| options.fresh_token = fresh.clone());
        let ban = account.ban.clone();
        assert_eq!(account.write(Method::PUT, &ban, &items(&["192.0.2.1"])).0, 200);
        account.later(SECOND);
        account.cloudflare.configure(|options| {
            options.permission = Permission::Read;
            options.denied = denied;
        });
        let (got, got_code, answer) = account.write(Method::PUT, &ban, &items(&["192.0.2.2"]));
        assert_eq!((got, got_code), (status, code));
        let error = answer["errors"][0].as_object().unwrap();
        assert_eq!(error.contains_key("code"), code != 0, "{error:?}");
        assert_eq!(account.read_all(&ban, 500), ["192.0.2.1"]);
        account.token = fresh;
        assert_eq!(account.write(Method::PUT, &ban, &items(&["192.0.2.2"])).0, 200);
        account.cloudflare.configure(|options| options.token_status = TokenStatus::Expired);
        assert_eq!(account.send(Method::GET, "", "").0, 200, "its time is another's");
    }
}

#[test]
fn requests_beyond_the_limit_block_everything_for_a_while_and_say_so_in_either_code() {
    for (code, says) in
        [(971, "consider throttling"), (10_100, "More than 3 requests per 300 seconds")]
    {
        let mut account = Account::with(|options| {
            options.requests_max = 3;
            options.requests_code = code;
        });
        let ban = account.ban.clone();
        let mut get = |seconds: u64| {
            account.later(Duration::from_secs(seconds));
            let (status, code, answer) = account.send(Method::GET, &format!("/{ban}"), "");
            (status, code, answer["errors"][0]["message"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!([get(0).0, get(100).0, get(100).0], [200, 200, 200]);
        let refused = get(0);
        assert_eq!((refused.0, refused.1), (429, u64::from(code)), "{refused:?}");
        assert!(refused.2.contains(says), "{refused:?}");
        // Five minutes from the refusal, however seldom anybody asks.
        assert_eq!([get(299).0, get(1).0, get(0).0], [429, 200, 200]);
    }
}

#[test]
fn writes_and_items_beyond_half_a_days_limit_are_refused_until_the_window_has_moved() {
    for (writes, items_max) in [(2, 0), (0, 4)] {
        let mut account = Account::with(|options| {
            options.list_writes_max = writes;
            options.list_modifications_max = items_max;
            options.operation_delay = Duration::ZERO;
        });
        let ban = account.ban.clone();
        let mut put = |hours: u64| {
            account.later(Duration::from_secs(hours * 3_600));
            let (status, code, _) =
                account.write(Method::PUT, &ban, &items(&["10.0.0.1", "10.0.0.2"]));
            (status, code)
        };
        assert_eq!([put(0).0, put(6).0], [200, 200]);
        assert_eq!(put(0), (429, 10_040));
        // The first has left the window, and a refused one was never in it.
        assert_eq!([put(6).0, put(0).0], [200, 429]);
    }
}

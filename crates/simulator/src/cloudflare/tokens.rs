//! Verifying a token (facts: cloudflare.md 3): `/user/tokens/verify` knows the tokens of users,
//! `/accounts/{account_id}/tokens/verify` those of the account, and each calls the other's invalid.
//! What a token may do is not told.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Method, Request, Response, StatusCode};
use serde_json::json;

use super::codes::{ApiError, KnownError};
use super::envelope::success;
use super::{looks_like_a_token, method_not_allowed};
use crate::options::{CloudflareOptions, TokenClass, TokenStatus};

/// Not a token of this class; the code of the other class was seen, the same for an unknown one is ours.
const INVALID: KnownError = KnownError::new(StatusCode::UNAUTHORIZED, 1000, "Invalid API Token");
/// No header, or one that cannot hold a token.
const INVALID_HEADERS: KnownError =
    KnownError::new(StatusCode::BAD_REQUEST, 6003, "Invalid request headers");

/// The answer, if the request is for one of the two paths.
pub(super) fn verify(
    options: &CloudflareOptions,
    start: SystemTime,
    request: &Request<Bytes>,
) -> Option<Result<Response<Bytes>, Vec<ApiError>>> {
    let owner = request.uri().path().strip_prefix("/client/v4/")?.strip_suffix("/tokens/verify")?;
    let class = match owner.strip_prefix("accounts/") {
        None if owner == "user" => TokenClass::User,
        Some(id) if id == options.account_id => TokenClass::Account,
        _ => return None,
    };
    if request.method() != Method::GET {
        return Some(Err(method_not_allowed(request.method()).into()));
    }
    let header = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    Some(match header.and_then(|header| header.strip_prefix("Bearer ")) {
        Some(token) if is_known(options, token) && class == options.token_class => {
            let status = match token == options.fresh_token {
                true => TokenStatus::Active,
                false => options.token_status,
            };
            let mut result = json!({
                "id": "ed17574386854bf78a67040be0a770b0",
                "status": status,
            });
            if !options.token_lifetime.is_zero() {
                let end = start + options.token_lifetime;
                result["expires_on"] = json!(humantime::format_rfc3339_seconds(end).to_string());
            }
            Ok(success(StatusCode::OK, result))
        }
        Some(token) if is_known(options, token) || looks_like_a_token(token) => Err(INVALID.into()),
        _ => Err(INVALID_HEADERS.into()),
    })
}

fn is_known(options: &CloudflareOptions, token: &str) -> bool {
    !token.is_empty() && (token == options.api_token || token == options.fresh_token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const USER: &str = "/client/v4/user/tokens/verify";

    fn ask(options: &CloudflareOptions, path: &str, token: &str) -> (u16, Value) {
        let request = Request::get(path).header("authorization", format!("Bearer {token}"));
        let request = request.body(Bytes::new()).unwrap();
        let answer = verify(options, SystemTime::UNIX_EPOCH, &request).expect("one of the paths");
        match answer {
            Ok(answer) => {
                (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap())
            }
            Err(errors) => (errors[0].status.as_u16(), json!(errors[0].code)),
        }
    }

    #[test]
    fn token_verified_is_known_only_to_its_own_class() {
        let mut options = CloudflareOptions::default();
        let account = format!("/client/v4/accounts/{}/tokens/verify", options.account_id);
        for (class, known, unknown) in
            [(TokenClass::User, USER, &*account), (TokenClass::Account, &account, USER)]
        {
            options.token_class = class;
            let token = options.api_token.clone();
            let (status, body) = ask(&options, known, &token);
            assert_eq!((status, &body["result"]["status"]), (200, &json!("active")));
            assert_eq!(ask(&options, unknown, &token), (401, json!(1000)));
        }
    }

    #[test]
    fn token_verified_tells_its_status_and_its_end() {
        let options = CloudflareOptions {
            token_status: TokenStatus::Expired,
            token_lifetime: std::time::Duration::from_secs(60),
            ..CloudflareOptions::default()
        };
        let (_, body) = ask(&options, USER, &options.api_token);
        assert_eq!(body["result"]["status"], "expired");
        assert_eq!(body["result"]["expires_on"], "1970-01-01T00:01:00Z");
    }

    #[test]
    fn text_that_is_no_token_is_told_from_an_unknown_token() {
        let options = CloudflareOptions::default();
        assert_eq!(ask(&options, USER, &"a".repeat(40)), (401, json!(1000)));
        assert_eq!(ask(&options, USER, "short"), (400, json!(6003)));
    }
}

//! One request to Cloudflare's API and what came back, with the words for what went wrong. Knows the
//! envelope and which permission a path needs; not what is asked for.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use ureq::http::{Method, Request, StatusCode};

/// Longer than any answer takes that still comes.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Larger than a zone's thousand rules; an account has at most a thousand lists.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// How much of an answer is shown that is not the API's.
const EXCERPT_CHARS: usize = 120;

/// How to reach an account.
#[derive(Clone)]
pub struct Access {
    /// An origin: `https://api.cloudflare.com`.
    pub url: String,
    /// 32 hexadecimal digits.
    pub account: String,
    /// An API token.
    pub token: String,
}

/// The client of one account.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    access: Access,
}

impl fmt::Debug for Client {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.access.url).finish_non_exhaustive()
    }
}

/// A part of the API with a permission of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// The account's lists.
    Lists,
    /// Workers KV.
    Kv,
    /// Finding a zone by name.
    Zones,
    /// A zone's custom rules.
    Waf,
}

impl Area {
    /// The permission as the dashboard and as the API call it.
    fn permission(self) -> &'static str {
        match self {
            Self::Lists => {
                "Account > Account Filter Lists > Edit (in the API: Account Rule Lists Write)"
            }
            Self::Kv => {
                "Account > Workers KV Storage > Edit (in the API: Workers KV Storage Write)"
            }
            Self::Zones => "Zone > Zone > Read (in the API: Zone Read); or name the zone by its id",
            Self::Waf => "Zone > Zone WAF > Edit (in the API: Zone WAF Write) for this zone",
        }
    }
}

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer: of a write it is not known whether it happened.
    #[error("no answer to {call}")]
    Unreachable {
        /// Method and path.
        call: String,
        /// What happened.
        #[source]
        source: ureq::Error,
    },
    /// Something else than the API answered.
    #[error("{call} was answered with status {status}, but not by Cloudflare's API: {start}")]
    NotTheApi {
        /// Method and path.
        call: String,
        /// HTTP status.
        status: u16,
        /// The answer's beginning.
        start: String,
    },
    /// The API said no.
    #[error("Cloudflare refused {call}: status {status}, code {code}: {message}{}", hint(*.status, *.code, *.area))]
    Refused {
        /// Method and path.
        call: String,
        /// HTTP status.
        status: u16,
        /// Cloudflare's code of the first error; 0 if there is none.
        code: i64,
        /// Cloudflare's text.
        message: String,
        /// Which permission it is about, if it is about one.
        area: Area,
    },
}

impl CallError {
    /// Whether the API refused with this code.
    pub fn is_code(&self, wanted: i64) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == wanted)
    }

    /// Whether the request itself was refused, not the token and not for the time being: a quota, a
    /// name that is taken, an expression that is not understood.
    pub fn is_about_the_request(&self) -> bool {
        matches!(self, Self::Refused { status: 400..500, .. })
            && !matches!(self, Self::Refused { status: 401 | 403 | 429, .. })
    }
}

/// What to do about it.
fn hint(status: u16, code: i64, area: Area) -> String {
    match (status, code) {
        (400, 9106 | 6003) => "; SPIN_VARIABLE_CF_API_TOKEN does not have the form of an API token",
        (401 | 403, _) | (_, 10000 | 9109) => {
            let permission = area.permission();
            return format!(
                "; either SPIN_VARIABLE_CF_API_TOKEN is not valid (any more) or not for this \
                 account, or it lacks the permission {permission}"
            );
        }
        (429, _) => "; nothing more is taken for now: wait some minutes and run again",
        _ => "",
    }
    .to_owned()
}

#[derive(Deserialize)]
struct Envelope {
    success: bool,
    #[serde(default)]
    errors: Vec<ErrorEntry>,
    #[serde(default)]
    result: Value,
    result_info: Option<Info>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Info {
    cursor: Option<String>,
}

/// What a call gave.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) result: Value,
    /// Of a listing of keys: there is more. The last page has none, an empty one, or null.
    pub(super) cursor: Option<String>,
}

impl Client {
    /// A client for an account. Fails if the settings cannot be right; sends nothing.
    pub fn new(mut access: Access) -> Result<Self> {
        access.url.truncate(access.url.trim_end_matches('/').len());
        let host = access.url.split_once("://").map(|(_, host)| host);
        match host {
            Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@']) => {}
            _ => bail!(
                "SPIN_VARIABLE_CF_API_URL must be an origin such as https://api.cloudflare.com"
            ),
        }
        ensure!(
            is_id(&access.account),
            "SPIN_VARIABLE_CF_ACCOUNT_ID must be 32 hexadecimal digits; it stands in the address of \
             every dashboard page of the account"
        );
        ensure!(
            !access.token.is_empty() && access.token.bytes().all(|b| b.is_ascii_graphic()),
            "SPIN_VARIABLE_CF_API_TOKEN is empty or holds what no token holds"
        );
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            // The token goes to the API and nowhere else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("crowdsec-edge-sync-setup/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: config.into(), access })
    }

    /// The account's id.
    pub(super) fn account(&self) -> &str {
        &self.access.account
    }

    pub(super) fn get(&self, area: Area, path: &str) -> Result<Answer, CallError> {
        self.call(area, Method::GET, path, None)
    }

    /// Sends a request; `path` begins behind the API's version.
    pub(super) fn call(
        &self,
        area: Area,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, CallError> {
        let call = format!("{method} {path}");
        let unreachable = |source| CallError::Unreachable { call: call.clone(), source };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/client/v4{path}", self.access.url))
            .header("authorization", format!("Bearer {}", self.access.token));
        let sent = match body {
            None => request.body(()).map_err(ureq::Error::Http).and_then(|r| self.agent.run(r)),
            Some(body) => request
                .header("content-type", "application/json")
                .body(body.to_string())
                .map_err(ureq::Error::Http)
                .and_then(|request| self.agent.run(request)),
        };
        let mut response = sent.map_err(unreachable)?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(unreachable)?;
        if status == StatusCode::NO_CONTENT {
            return Ok(Answer { result: Value::Null, cursor: None });
        }
        let Ok(envelope) = serde_json::from_slice::<Envelope>(&body) else {
            // A refusal may be plain text, and is one all the same.
            let start = excerpt(&body);
            return Err(match status {
                StatusCode::TOO_MANY_REQUESTS => {
                    CallError::Refused { call, status: 429, code: 0, message: start, area }
                }
                _ => CallError::NotTheApi { call, status: status.as_u16(), start },
            });
        };
        if !status.is_success() || !envelope.success {
            let first = envelope.errors.into_iter().next();
            let (code, message) = first
                .map_or((0, "no reason given".to_owned()), |error| (error.code, error.message));
            let message = excerpt(message.as_bytes());
            let status = status.as_u16();
            return Err(CallError::Refused { call, status, code, message, area });
        }
        let cursor = envelope.result_info.and_then(|info| info.cursor);
        Ok(Answer { result: envelope.result, cursor: cursor.filter(|cursor| !cursor.is_empty()) })
    }
}

/// An identifier as Cloudflare writes them. Anything else would be another path.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// One line that is safe to print.
fn excerpt(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let clean = text.split_whitespace().collect::<Vec<_>>().join(" ");
    clean.chars().filter(|c| !c.is_control()).take(EXCERPT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        Access {
            url: "https://api.example".to_owned(),
            account: "0123456789abcdef0123456789abcdef".to_owned(),
            token: "secret-token".to_owned(),
        }
    }

    #[test]
    fn access_that_cannot_be_right_names_its_setting_and_no_secret() {
        assert!(Client::new(Access { url: "https://api.example/".into(), ..access() }).is_ok());
        for (setting, wrong) in [
            ("CF_API_URL", Access { url: String::new(), ..access() }),
            ("CF_API_URL", Access { url: "api.example".into(), ..access() }),
            ("CF_API_URL", Access { url: "https://api.example/client/v4".into(), ..access() }),
            ("CF_ACCOUNT_ID", Access { account: "secret-token".into(), ..access() }),
            ("CF_API_TOKEN", Access { token: String::new(), ..access() }),
            ("CF_API_TOKEN", Access { token: "secret-token\n".into(), ..access() }),
        ] {
            let error = format!("{:#}", Client::new(wrong).unwrap_err());
            assert!(error.contains(setting), "{setting}: {error}");
            assert!(!error.contains("secret-token"), "{error}");
        }
        assert!(!format!("{:?}", Client::new(access()).unwrap()).contains("secret-token"));
    }

    #[test]
    fn refusals_say_what_to_do() {
        for (status, code, area, says) in [
            (403, 10000, Area::Lists, "Account Rule Lists Write"),
            (401, 10000, Area::Kv, "Workers KV Storage Write"),
            (403, 9109, Area::Zones, "by its id"),
            (403, 10000, Area::Waf, "Zone WAF Write"),
            (400, 9106, Area::Lists, "form of an API token"),
            (429, 10040, Area::Lists, "run again"),
        ] {
            assert!(hint(status, code, area).contains(says), "{status} {code}");
        }
        assert_eq!(hint(400, 10026, Area::Lists), "");
    }
}

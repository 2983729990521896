//! One request to Cloudflare's API and what came back, by core's own client and with its words for what went
//! wrong. Knows which part of the API a path belongs to; not what is asked for.

use std::fmt;
use std::time::Duration;

use edge_sync_core::api::cloudflare::{self, Account, Resource};
use edge_sync_core::decision::Remediation;
use edge_sync_core::ports::{Method, Request};
use serde_json::Value;
use spin_app::ClientTls;

use crate::native::Http;

/// Longer than any answer takes that still comes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The client of one account.
#[derive(Clone, Debug)]
pub struct Client {
    http: Http,
    account: Account,
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
    fn resource(self) -> Resource {
        match self {
            Self::Lists => Resource::List(Remediation::Ban),
            Self::Kv => Resource::Namespace,
            Self::Zones => Resource::Zones,
            Self::Waf => Resource::Rules,
        }
    }
}

/// A call that did not do what it should.
#[derive(Debug)]
pub struct CallError {
    /// Method and path.
    call: String,
    area: Area,
    error: cloudflare::CallError,
}

impl CallError {
    /// Whether the API refused with this code.
    pub fn is_code(&self, wanted: i64) -> bool {
        self.error.has_code(wanted)
    }

    /// Whether the API refused.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.error, cloudflare::CallError::Refused { .. }) || self.error.is_throttled()
    }

    /// Whether the request itself was refused, not the token and not for the time being: a quota, a
    /// name that is taken, an expression that is not understood.
    pub fn is_about_the_request(&self) -> bool {
        let is_no = matches!(self.error.status(), Some(400..500));
        self.is_refused() && is_no && !matches!(self.error.status(), Some(401 | 403 | 429))
    }

    fn remedy(&self) -> Option<String> {
        match &self.error {
            cloudflare::CallError::Transport(error) => Some(error.remedy("cf_api_url")),
            error if error.is_throttled() => {
                Some("nothing more is taken for now: wait some minutes and run again".to_owned())
            }
            // A list that is not there any more: the next look tells.
            error if error.status() == Some(404) => None,
            error => error.remedy(self.area.resource()),
        }
    }
}

impl std::error::Error for CallError {}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, error, .. } = self;
        match error {
            cloudflare::CallError::Transport(error) => write!(f, "no answer to {call}: {error}")?,
            cloudflare::CallError::Refused { .. } => {
                write!(f, "Cloudflare refused {call}: {error}")?
            }
            cloudflare::CallError::NotTheApi { .. } => write!(f, "{call}: {error}")?,
        }
        match self.remedy() {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// What a call gave.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) result: Value,
    /// Of a listing of keys: there is more.
    pub(super) cursor: Option<String>,
}

impl Client {
    /// A client of `account`, which believes whom `tls` says. Sends nothing yet.
    pub fn new(account: Account, tls: ClientTls) -> Self {
        Self { http: Http::new(None, tls), account }
    }

    /// The account's id.
    pub(super) fn account(&self) -> &str {
        self.account.id().as_str()
    }

    pub(super) async fn get(&self, area: Area, path: &str) -> Result<Answer, CallError> {
        self.call(area, Method::Get, path, None).await
    }

    /// Sends a request; `path` begins behind the API's version.
    pub(super) async fn call(
        &self,
        area: Area,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, CallError> {
        let mut request: Request = self.account.beside(method, path);
        if let Some(body) = body {
            request = request.body("application/json", body.to_string().into_bytes());
        }
        let answer = self.http.ask(request, TIMEOUT).await.map_err(cloudflare::CallError::from);
        let decoded = answer.and_then(|answer| cloudflare::decode_any(&answer));
        let (result, cursor) = decoded.map_err(|error| {
            let call = format!("{} {path}", method.as_str());
            CallError { call, area, error }
        })?;
        Ok(Answer { result, cursor })
    }
}

/// An identifier as Cloudflare writes them. Anything else would be another path.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_sync_core::ports::{Answer, ResponseHead};

    fn error(status: u16, code: i64, area: Area) -> String {
        let body = format!(r#"{{"success":false,"errors":[{{"code":{code},"message":"no"}}]}}"#);
        let answer = Answer { head: ResponseHead::new(status, []), body: body.into_bytes() };
        let error = cloudflare::decode_any(&answer).unwrap_err();
        CallError { call: "POST /x".to_owned(), area, error }.to_string()
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
            let told = error(status, code, area);
            assert!(told.contains(says), "{status} {code}: {told}");
        }
        let told = "Cloudflare refused POST /x: HTTP 400: 10026 no";
        assert_eq!(error(400, 10026, Area::Lists), told);
    }
}

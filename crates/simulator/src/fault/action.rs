//! What can happen to a request, and its text form: `name` or `name argument`. Why the product must
//! survive each is the table in the module above.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What happens to a request that is hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultAction {
    /// No connection; the service does not see the request.
    Refuse,
    /// The request takes effect at once, its answer comes later by this much. Adds up over several
    /// faults, and goes together with any other action.
    Delay(Duration),
    /// The request takes effect; the connection closes without an answer.
    DropAfterEffect,
    /// The connection closes without an answer and without any effect.
    DropBeforeEffect,
    /// The request takes effect; the connection dies after `keep` bytes of the answer's body.
    CutBody {
        /// Bytes that still arrive.
        keep: usize,
    },
    /// This answer instead of the service's, without any effect.
    Answer {
        /// Its status.
        status: u16,
        /// Its headers.
        headers: Vec<(String, String)>,
        /// Its body.
        body: String,
    },
    /// The request takes effect; this answer comes instead of the service's.
    AnswerAfterEffect {
        /// Its status.
        status: u16,
        /// Its headers.
        headers: Vec<(String, String)>,
        /// Its body.
        body: String,
    },
    /// No effect, and nothing ever comes back.
    Silent,
    /// The answer says success, and its `result` is `null`.
    NullResult,
    /// The answer says success, and has no `result`.
    NoResult,
    /// The write is accepted, and its operation stays unfinished until the faults are cleared.
    StuckOperation,
    /// The write is accepted, and its operation stays pending for this long; then it takes effect.
    SlowOperation(Duration),
    /// The write is accepted, and its operation ends `failed` with this text and without effect.
    FailOperation(String),
    /// The write is accepted and takes effect, but its operation cannot be read.
    VanishOperation,
    /// The operation that is asked for goes on, and is told to be in this state.
    OperationState(String),
    /// The page's cursor leads to the same page again.
    RepeatCursor,
    /// The page's cursor is a new one each time, and leads to the same page again.
    RepeatPage,
    /// The page ends with its first entry once more.
    RepeatItem,
    /// The page is empty, and its cursor leads to the content.
    EmptyPageWithCursor,
    /// Before the request is handled somebody else puts this value on the list, or this key into the
    /// namespace, that its path names. Goes together with any other action.
    InsertItem(String),
    /// Before the request is handled somebody else takes this value off the list, or this key out of
    /// the namespace, that its path names. Goes together with any other action.
    RemoveItem(String),
    /// The first so many pairs or names of a KV bulk request have no effect and are named in the
    /// answer, which says success.
    UnsuccessfulKeys(usize),
}

impl FaultAction {
    /// An HTML error page, as Cloudflare's front gives when what is behind it fails.
    pub fn html(status: u16) -> Self {
        Self::Answer {
            status,
            headers: vec![("content-type".to_owned(), "text/html; charset=UTF-8".to_owned())],
            body: crate::cloudflare::envelope::html_page(status),
        }
    }

    /// Cloudflare's failure envelope with one error. With status 200 it is the `success:false` that
    /// must not be taken for success (facts 0.10).
    pub fn envelope(status: u16, code: u32, message: &str) -> Self {
        let body = serde_json::json!({
            "success": false,
            "errors": [{ "code": code, "message": message }],
            "messages": [],
            "result": null,
        });
        Self::Answer {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_string(),
        }
    }

    /// The Lists limiter: 429, code 10040, `retry-after: 60` (facts 1.8).
    pub fn rate_limited() -> Self {
        let message = crate::cloudflare::codes::RATE_LIMITED.message;
        let mut action = Self::envelope(429, 10040, message);
        if let Self::Answer { headers, .. } = &mut action {
            headers.push(("retry-after".to_owned(), "60".to_owned()));
        }
        action
    }

    /// The free plan's day quota of KV: 429, code 10048, good until 00:00 UTC (facts 2.7).
    pub fn day_quota_used_up() -> Self {
        let error = crate::cloudflare::kv::codes::DAY_QUOTA_USED_UP;
        Self::envelope(error.status.as_u16(), error.code, error.message)
    }

    /// The same answer, but the request takes effect: what comes back says nothing of what happened.
    /// Other actions stay as they are.
    #[must_use]
    pub fn after_effect(self) -> Self {
        match self {
            Self::Answer { status, headers, body } => {
                Self::AnswerAfterEffect { status, headers, body }
            }
            other => other,
        }
    }

    /// It is what somebody else does meanwhile, and leaves the request itself alone.
    pub(super) fn is_beside_the_request(&self) -> bool {
        matches!(self, Self::InsertItem(_) | Self::RemoveItem(_))
    }
}

impl fmt::Display for FaultAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse => f.write_str("refuse"),
            Self::Delay(delay) => write!(f, "delay {}", compact(*delay)),
            Self::DropAfterEffect => f.write_str("drop-after-effect"),
            Self::DropBeforeEffect => f.write_str("drop-before-effect"),
            Self::CutBody { keep } => write!(f, "cut-body {keep}"),
            Self::Answer { status, headers, body } => {
                f.write_str("answer ")?;
                write_answer(*status, headers, body, f)
            }
            Self::AnswerAfterEffect { status, headers, body } => {
                f.write_str("answer-after-effect ")?;
                write_answer(*status, headers, body, f)
            }
            Self::Silent => f.write_str("silent"),
            Self::NullResult => f.write_str("null-result"),
            Self::NoResult => f.write_str("no-result"),
            Self::StuckOperation => f.write_str("stuck-operation"),
            Self::SlowOperation(delay) => write!(f, "slow-operation {}", compact(*delay)),
            Self::FailOperation(text) => write!(f, "fail-operation {text}"),
            Self::VanishOperation => f.write_str("vanish-operation"),
            Self::OperationState(state) => write!(f, "operation-state {state}"),
            Self::RepeatCursor => f.write_str("repeat-cursor"),
            Self::RepeatPage => f.write_str("repeat-page"),
            Self::RepeatItem => f.write_str("repeat-item"),
            Self::EmptyPageWithCursor => f.write_str("empty-page-with-cursor"),
            Self::InsertItem(value) => write!(f, "insert-item {value}"),
            Self::RemoveItem(value) => write!(f, "remove-item {value}"),
            Self::UnsuccessfulKeys(count) => write!(f, "unsuccessful-keys {count}"),
        }
    }
}

/// `1h30m`: the argument of an action has no blanks.
fn compact(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

fn write_answer(
    status: u16,
    headers: &[(String, String)],
    body: &str,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    write!(f, "{status}")?;
    for (name, value) in headers {
        write!(f, " [{name}: {value}]")?;
    }
    match body {
        "" => Ok(()),
        body => write!(f, " {body}"),
    }
}

impl FromStr for FaultAction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        let wrong = |what: &str| format!("fault action {text:?}: {what}");
        let duration =
            || humantime::parse_duration(rest).map_err(|error| wrong(&error.to_string()));
        let number = |what: &str| rest.parse().map_err(|_| wrong(what));
        let answer = || {
            parse_answer(rest).ok_or_else(|| {
                wrong("must be: answer STATUS [header: value] … BODY, status 200 to 599")
            })
        };
        let action = match name {
            "refuse" => Self::Refuse,
            "drop-after-effect" => Self::DropAfterEffect,
            "drop-before-effect" => Self::DropBeforeEffect,
            "silent" => Self::Silent,
            "null-result" => Self::NullResult,
            "no-result" => Self::NoResult,
            "stuck-operation" => Self::StuckOperation,
            "vanish-operation" => Self::VanishOperation,
            "repeat-cursor" => Self::RepeatCursor,
            "repeat-page" => Self::RepeatPage,
            "repeat-item" => Self::RepeatItem,
            "empty-page-with-cursor" => Self::EmptyPageWithCursor,
            "delay"
            | "cut-body"
            | "answer"
            | "answer-after-effect"
            | "slow-operation"
            | "fail-operation"
            | "operation-state"
            | "insert-item"
            | "remove-item"
            | "unsuccessful-keys"
                if rest.is_empty() =>
            {
                return Err(wrong("has too little after its name"));
            }
            "delay" => return Ok(Self::Delay(duration()?)),
            "cut-body" => return Ok(Self::CutBody { keep: number("needs a number of bytes")? }),
            "answer" => return answer(),
            "answer-after-effect" => return answer().map(Self::after_effect),
            "slow-operation" => return Ok(Self::SlowOperation(duration()?)),
            "fail-operation" => return Ok(Self::FailOperation(rest.to_owned())),
            "operation-state" => return Ok(Self::OperationState(rest.to_owned())),
            "insert-item" => return Ok(Self::InsertItem(rest.to_owned())),
            "remove-item" => return Ok(Self::RemoveItem(rest.to_owned())),
            "unsuccessful-keys" => {
                return Ok(Self::UnsuccessfulKeys(number("needs a number of keys")?));
            }
            _ => return Err(wrong("is not one that is known")),
        };
        // The names above stand alone.
        match rest {
            "" => Ok(action),
            _ => Err(wrong("has too much after its name")),
        }
    }
}

fn parse_answer(text: &str) -> Option<FaultAction> {
    let (status, mut rest) = text.split_once(' ').unwrap_or((text, ""));
    let status = status.parse().ok().filter(|status| (200..600).contains(status))?;
    let mut headers = Vec::new();
    // A JSON array as body also begins with a bracket; only `[name: value]` is a header.
    while let Some((header, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let Some((name, value)) = header.split_once(": ") else { break };
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            break;
        }
        headers.push((name.to_owned(), value.to_owned()));
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    Some(FaultAction::Answer { status, headers, body: rest.to_owned() })
}

//! The error codes of lists and of the whole API, with their HTTP status and text (facts: cloudflare.md
//! 1.9 and 3); a further product has its own. Where the real code is unknown the constant says so: a
//! client must not key on those.

use http::StatusCode;

/// An error without a code (facts: cloudflare-rules.md 1.5).
pub const NO_CODE: u32 = 0;

/// An error that is always the same.
#[derive(Debug, Clone, Copy)]
pub struct KnownError {
    /// HTTP status.
    pub status: StatusCode,
    /// Cloudflare's code.
    pub code: u32,
    /// Cloudflare's text.
    pub message: &'static str,
}

/// One entry of `errors`, and the status of the answer that carries it.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: u32,
    pub(crate) message: String,
}

impl From<KnownError> for ApiError {
    fn from(error: KnownError) -> Self {
        Self { status: error.status, code: error.code, message: error.message.to_owned() }
    }
}

impl From<KnownError> for Vec<ApiError> {
    fn from(error: KnownError) -> Self {
        vec![error.into()]
    }
}

impl From<ApiError> for Vec<ApiError> {
    fn from(error: ApiError) -> Self {
        vec![error]
    }
}

impl KnownError {
    pub(super) const fn new(status: StatusCode, code: u32, message: &'static str) -> Self {
        Self { status, code, message }
    }

    /// The same error with more said about it.
    pub(crate) fn with(self, message: impl Into<String>) -> ApiError {
        ApiError { status: self.status, code: self.code, message: message.into() }
    }
}

const BAD: StatusCode = StatusCode::BAD_REQUEST;

/// No token, or one that cannot be one.
pub const MALFORMED_TOKEN: KnownError =
    KnownError::new(BAD, 9106, "Authentication failed (status: 400)");
/// A token that could be one, but is not.
pub const AUTHENTICATION: KnownError =
    KnownError::new(StatusCode::UNAUTHORIZED, 10000, "Authentication error");
/// A good token that may not do this here.
pub const FORBIDDEN: KnownError =
    KnownError::new(StatusCode::FORBIDDEN, 10000, "Authentication error");
/// The same, as it was seen for rulesets: without a code.
pub const NOT_AUTHORIZED: KnownError =
    KnownError::new(StatusCode::FORBIDDEN, NO_CODE, "request is not authorized");
/// No such list. The text is unknown.
pub const LIST_NOT_FOUND: KnownError =
    KnownError::new(StatusCode::NOT_FOUND, 10001, "filters.api.not_found: could not find list");
/// No such item. Code and text are unknown.
pub const ITEM_NOT_FOUND: KnownError =
    KnownError::new(StatusCode::NOT_FOUND, 10001, "filters.api.not_found: could not find item");
/// No such operation. Code and text are unknown.
pub const OPERATION_NOT_FOUND: KnownError = KnownError::new(
    StatusCode::NOT_FOUND,
    10001,
    "filters.api.not_found: could not find operation",
);
/// The body is not JSON, has the wrong shape, or a field that does not belong there.
pub const INVALID_JSON: KnownError = KnownError::new(BAD, 10026, "filters.api.invalid_json");
/// A cursor that was never given out or is too old; also a `per_page` out of bounds.
pub const INVALID_CURSOR: KnownError = KnownError::new(BAD, 10027, "invalid or expired cursor");
/// Two items of one request are the same after normalisation.
pub const DUPLICATE: KnownError = KnownError::new(BAD, 10028, "filters.api.duplicate_item_value");
/// A rule uses the list. The HTTP status is unknown.
pub const LIST_IN_USE: KnownError = KnownError::new(BAD, 10031, "filters.api.ip_list_in_use");
/// A value that the list does not take; the text carries the position.
pub const INVALID_VALUE: KnownError = KnownError::new(BAD, 10035, "invalid value");
/// The Lists limiter, and a write while another is pending (the code of the latter is unknown).
pub const RATE_LIMITED: KnownError = KnownError::new(
    StatusCode::TOO_MANY_REQUESTS,
    10040,
    "you have been ratelimited please wait and try again",
);
/// Too many requests, as it is said of late (facts 3).
pub const THROTTLED: KnownError = KnownError::new(
    StatusCode::TOO_MANY_REQUESTS,
    971,
    "Please wait and consider throttling your request speed",
);
/// The same some years ago; the text has the numbers.
pub const TOO_MANY_REQUESTS: KnownError =
    KnownError::new(StatusCode::TOO_MANY_REQUESTS, 10100, "More requests than may be made");
/// Items of several kinds in one request.
pub const MIXED_KINDS: KnownError = KnownError::new(BAD, 10056, "filters.api.mixed_item_kinds");
/// Items of a kind that the list does not hold.
pub const KIND_MISMATCH: KnownError = KnownError::new(BAD, 10058, "filters.api.item_kind_mismatch");
/// The name is taken. The code is unknown; this one is made up.
pub const NAME_TAKEN: KnownError = KnownError::new(BAD, 10998, "simulator: list name is taken");
/// The account has no room for another list. The code is unknown; this one is made up.
pub const TOO_MANY_LISTS: KnownError =
    KnownError::new(BAD, 10999, "simulator: maximum number of lists reached");

/// The pair that a malformed identifier or an unknown path gets.
pub(crate) fn no_route(path: &str) -> Vec<ApiError> {
    let routing = format!("Could not route to {path}, perhaps your object identifier is invalid?");
    vec![
        ApiError { status: BAD, code: 7003, message: routing },
        ApiError { status: BAD, code: 7000, message: "No route for that URI".to_owned() },
    ]
}

//! The error codes of zones and rulesets, with their HTTP status and text (facts: cloudflare.md 3 and
//! 4). Where the real code is unknown the constant says so: a client must not key on those.

use http::StatusCode;

use crate::cloudflare::codes::KnownError;

const BAD: StatusCode = StatusCode::BAD_REQUEST;

/// A token that could be one, but is not, as `/zones` says it.
pub const INVALID_TOKEN: KnownError =
    KnownError::new(StatusCode::FORBIDDEN, 9109, "Invalid access token");
/// A token that cannot be one, as `/zones` says it.
pub const INVALID_HEADERS: KnownError = KnownError::new(BAD, 6003, "Invalid request headers");
/// The phase has no entry point ruleset yet: normal, not a failure.
pub const NO_ENTRY_POINT: KnownError = KnownError::new(
    StatusCode::NOT_FOUND,
    10003,
    "could not find entrypoint ruleset in the http_request_firewall_custom phase",
);
/// The phase has its one ruleset already.
pub const TOO_MANY_RULESETS: KnownError = KnownError::new(
    BAD,
    20217,
    "'zone' is not a valid value for kind because exceeded maximum number of zone rulesets for \
     phase http_request_firewall_custom",
);
/// No such ruleset. The code is unknown; this one is made up.
pub const RULESET_NOT_FOUND: KnownError =
    KnownError::new(StatusCode::NOT_FOUND, 10890, "simulator: could not find ruleset");
/// No such rule. The code is unknown; this one is made up.
pub const RULE_NOT_FOUND: KnownError =
    KnownError::new(StatusCode::NOT_FOUND, 10891, "simulator: could not find rule");
/// The body does not have the shape it must have. The code is unknown; this one is made up.
pub const INVALID_BODY: KnownError = KnownError::new(BAD, 10892, "simulator: invalid request body");
/// The expression names a list that the account does not have. The code is unknown; this one is made
/// up. Clients were seen to look for this text.
pub const UNKNOWN_LIST: KnownError = KnownError::new(BAD, 10893, "simulator: could not find list");
/// An expression that cannot be parsed (facts: cloudflare-rules.md 1.5); the text tells where.
pub const INVALID_EXPRESSION: KnownError = KnownError::new(
    BAD,
    20127,
    "is not a valid value for expression because could not parse filter expression",
);
/// An expression of nothing, or of blanks.
pub const BLANK_EXPRESSION: KnownError = KnownError::new(
    BAD,
    20125,
    "is not a valid value for expression because the expression cannot be blank",
);
/// An expression of more characters than 4,096. Code and text are unknown; these are made up.
pub const LONG_EXPRESSION: KnownError =
    KnownError::new(BAD, 10896, "simulator: the expression is too long");
/// `dry_run` is neither true nor false. The code is unknown; this one is made up.
pub const INVALID_DRY_RUN: KnownError =
    KnownError::new(BAD, 10897, "simulator: dry_run must be true or false");
/// As it was seen for the API as a whole (facts: cloudflare.md 3); whether rulesets say the same is unknown.
pub const THROTTLED: KnownError = crate::cloudflare::codes::THROTTLED;
/// The plan's rules are used up. The code is unknown; this one is made up.
pub const TOO_MANY_RULES: KnownError =
    KnownError::new(BAD, 10894, "simulator: maximum number of rules reached");
/// Two rules of a ruleset with one `ref`. The code is unknown; this one is made up.
pub const DUPLICATE_REF: KnownError =
    KnownError::new(BAD, 10895, "simulator: two rules have the same ref");

//! The error codes of Workers KV, with their HTTP status and text (facts: cloudflare.md 2.7). Where the
//! real code is unknown the constant says so: a client must not key on those.

use http::StatusCode;

use crate::cloudflare::codes::KnownError;

const BAD: StatusCode = StatusCode::BAD_REQUEST;

/// No such key. Values and metadata say so; a deletion does not.
pub const KEY_NOT_FOUND: KnownError =
    KnownError::new(StatusCode::NOT_FOUND, 10009, "get: 'key not found'");
/// The namespace's identifier is not one.
pub const MALFORMED_NAMESPACE_ID: KnownError =
    KnownError::new(BAD, 10011, "could not parse UUID from request's namespace_id");
/// The body does not have the shape it must have. That keys, metadata and sizes out of bounds get this
/// code as well is assumed.
pub const INVALID_BODY: KnownError = KnownError::new(BAD, 10012, "invalid request body");
/// No such namespace.
pub const NAMESPACE_NOT_FOUND: KnownError =
    KnownError::new(StatusCode::NOT_FOUND, 10013, "namespace not found");
/// The title is taken.
pub const TITLE_TAKEN: KnownError =
    KnownError::new(BAD, 10014, "a namespace with this account ID and title already exists");
/// A namespace without a title.
pub const TITLE_REQUIRED: KnownError = KnownError::new(BAD, 10019, "title required");
/// A bulk request with an empty array.
pub const KEYS_REQUIRED: KnownError = KnownError::new(BAD, 10029, "minimum keys required: 1");
/// A key that would live for less than a minute.
pub const INVALID_EXPIRATION: KnownError = KnownError::new(BAD, 10034, "invalid expiration TTL");
/// The free plan's quota of the day. Waiting a minute does not help.
pub const DAY_QUOTA_USED_UP: KnownError = KnownError::new(
    StatusCode::TOO_MANY_REQUESTS,
    10048,
    "your account has reached the free usage limit for this operation for today",
);
/// `limit` is out of bounds. The code is unknown; this one is made up.
pub const INVALID_LIMIT: KnownError =
    KnownError::new(BAD, 10990, "simulator: limit must be between 10 and 1000");
/// A cursor that was never given out like this, or is too old. The code is unknown; this one is made up.
pub const INVALID_CURSOR: KnownError =
    KnownError::new(BAD, 10991, "simulator: invalid or expired cursor");
/// A key was written twice within a second. The code is unknown; this one is made up.
pub const KEY_WRITTEN_TOO_OFTEN: KnownError = KnownError::new(
    StatusCode::TOO_MANY_REQUESTS,
    10992,
    "simulator: a key can be written once in a second",
);
/// The account has no room for another namespace. The code is unknown; this one is made up.
pub const TOO_MANY_NAMESPACES: KnownError =
    KnownError::new(BAD, 10993, "simulator: maximum number of namespaces reached");
/// Something that the real service does and this one does not.
pub const NOT_SIMULATED: KnownError =
    KnownError::new(StatusCode::NOT_IMPLEMENTED, 10994, "simulator: this is not simulated");

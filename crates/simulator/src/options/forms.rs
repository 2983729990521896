//! The forms that an answer, a page or a token can have: the values of knobs that are words.

use serde::{Deserialize, Serialize};

/// Whose a token is; it shows only where tokens are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenClass {
    /// A user's, as the dashboard makes them by default.
    User,
    /// The account's own.
    Account,
}

/// Whether a token works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenStatus {
    /// It does.
    Active,
    /// Switched off.
    Disabled,
    /// Its time is over.
    Expired,
}

/// What the API token may do with a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Account Filter Lists, Workers KV Storage, Zone or Zone WAF: Edit.
    Edit,
    /// The same: Read. Writes are denied.
    Read,
    /// A valid token for something else. Everything is denied.
    None,
}

impl Permission {
    pub(crate) fn permits(self, is_read: bool) -> bool {
        match self {
            Self::Edit => true,
            Self::Read => is_read,
            Self::None => false,
        }
    }
}

/// What a second write meets while one is unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PendingMode {
    /// HTTP 429, code 10040.
    Reject,
    /// It is accepted and runs after the ones before it.
    Queue,
}

/// The forms of the last page's cursor: `result_info.cursors.after` of items, `result_info.cursor` of
/// keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PageEnd {
    /// The key is not there.
    Absent,
    /// An empty string.
    Empty,
    /// `null`.
    Null,
    /// The last page has no `result_info` at all.
    NoResultInfo,
}

/// The forms of `result` in the answer to a KV bulk request that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BulkReply {
    /// `{successful_key_count, unsuccessful_keys}`.
    Full,
    /// `null`.
    Null,
    /// `{}`.
    Empty,
}

/// The forms of a refusal by the write limiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimiterBody {
    /// The usual envelope with code 10040.
    Envelope,
    /// Plain text.
    PlainText,
    /// The error page of Cloudflare's front.
    Html,
}

/// What a refusal of a value (10035) or of a duplicate (10028) tells about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalForm {
    /// Its position in the request, from 0, as it was seen for prefixes (facts 1.4).
    Position,
    /// Its text.
    Value,
    /// Neither.
    Bare,
}

/// What a request gets that the token may not make (facts 3: all three were seen).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Denial {
    /// 403 with code 10000.
    Forbidden,
    /// 401 with code 10000.
    Unauthorized,
    /// 403 with an error that has a message and no code.
    Uncoded,
}

/// What a cursor remembers of the page before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PageCursors {
    /// Its last entry: what others add or remove meanwhile shifts nothing.
    Position,
    /// How many entries came before: what others add is seen as an entry twice, what they remove as an
    /// entry that is left out.
    Offset,
}

/// When a list's `modified_on` moves because of a write to its items (facts: cloudflare-rules.md 6:
/// unknown).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModifiedOn {
    /// When the write is accepted.
    Acceptance,
    /// When its operation completes.
    Completion,
    /// The same, and what others do does not move it.
    Ours,
    /// Not at all.
    Never,
}

/// What becomes of a rule's fields that a PATCH leaves out (facts: cloudflare-rules.md 4.1: some of
/// each).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OmittedFields {
    /// They get their defaults: a rule that was switched off is on again, its `ref` is its id.
    Reset,
    /// They stay.
    Keep,
}

/// How an expression is given back (facts: cloudflare-rules.md 1.4: very probably as it was sent).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpressionEcho {
    /// As it was sent.
    Verbatim,
    /// With other blanks.
    Respaced,
}

/// What `dry_run=true` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DryRun {
    /// Everything is checked and nothing is kept.
    Honoured,
    /// Nothing: the request is one like any other.
    Ignored,
}

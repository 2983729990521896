//! Cloudflare's knobs, and what each of the unkind ones asks of the product.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::forms::{
    BulkReply, Denial, DryRun, ExpressionEcho, LimiterBody, ModifiedOn, OmittedFields, PageCursors,
    PageEnd, PendingMode, Permission, RefusalForm, TokenClass, TokenStatus,
};
use super::{comma_text, duration_text};

/// Knobs of Cloudflare.
///
/// | knob | it happens when | the product must |
/// |---|---|---|
/// | `permission`, `kv_permission`, `waf_permission`, `zone_permission`, `denied` | a token is made with too little, or its rights are taken away: writes fail, reads go on | say which permission is missing; not try every two minutes |
/// | `fresh_token` | a person makes a better token | write again at once |
/// | `token_status` | a token ends | say so |
/// | `operation_delay`, `operation_lifetime`, `pending_mode` | Cloudflare is busy, other tools write | wait for one operation at a time, and not for ever |
/// | `write_floor`, `write_floor_after`, `limiter_body`, `retry_after` | the hidden limiter of lists, from the start or once an account has written a lot | spend the one write on what is most urgent; believe neither headers nor `retry-after` |
/// | `requests_max`, `requests_window`, `requests_block`, `requests_code` | other tools use the same token, or a run asks for too much | ask for little; say that it is throttled; not make it longer |
/// | `list_writes_max`, `list_modifications_max`, `list_window` | lists are written whole, again and again | write only what differs |
/// | `lists_max`, `list_items_max`, `account_items_max` | the plan is small, other people's lists are long | count what others hold; say what found no place |
/// | `refused_values`, `duplicate_values`, `refusal_form` | Cloudflare changes what it takes | leave that one out, not all the others; find it although it is not named |
/// | `list_read_lag` | a replica answers | not undo or repeat what it has just written |
/// | `modified_on` | it is not documented | skip a read only where it has been seen to move, and not for long |
/// | `page_end`, `page_items_max`, `page_cursors`, `cursor_lifetime`, `item_noise`, `tolerate_large_pages` | releases of the API differ | read to the end, and only to the end |
/// | `kv_daily_…` | the free plan's day is used up, each kind by itself | go on with the other kinds; wait for 00:00 UTC |
/// | `waf_rules_max`, `waf_expression_max`, `waf_accepts_unknown_lists`, `waf_accepts_empty_sets` | the plan is small, the text is long, the list is not there (yet) | write only what fits and is legal; leave out a clause that is empty; keep the last good text |
/// | `waf_patch_omitted` | PATCH replaces the definition | send every field back as it was read |
/// | `waf_echo`, `waf_equal_patch_bumps` | what is stored is not promised to be what was sent | compare by meaning, not by text; write only on change |
/// | `waf_dry_run` | a mock, a proxy or an old release does not know it | not believe that nothing happened |
/// | `waf_write_floor`, `waf_limiter_body` | the limiter of rulesets, of which no number is known | wait for that zone alone |
/// | `waf_edge_lag`, `list_edge_lag`, `edge_lag_varies` | it takes a while until every location has it | not drop one level before the other has arrived |
/// | `kv_list_lag`, `kv_value_lag`, `kv_key_write_interval`, `kv_page_end`, `kv_bulk_reply` | KV is eventually consistent | not write again what a listing does not show yet; not write an older value over a newer |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CloudflareOptions {
    /// The only account.
    pub account_id: String,
    /// The valid token that has the rights and the status below.
    pub api_token: String,
    /// Whose token it is.
    pub token_class: TokenClass,
    /// Whether the token still works.
    pub token_status: TokenStatus,
    /// When it expires, from the simulator's start; zero = never. It is told, and not acted on: that is
    /// what `token_status` is for.
    #[serde(with = "duration_text")]
    pub token_lifetime: Duration,
    /// Another valid token, which may do everything, whatever the permissions and `token_status` say
    /// of the first; empty = there is none.
    pub fresh_token: String,
    /// What the token may do.
    pub permission: Permission,
    /// What a request is told that the token may not make, of whatever product.
    pub denied: Denial,
    /// Time that every answer takes.
    #[serde(with = "duration_text")]
    pub latency: Duration,
    /// Time from the start of a bulk operation to its end; the first third of it reads `pending`.
    #[serde(with = "duration_text")]
    pub operation_delay: Duration,
    /// How long a finished operation can still be read; zero = for ever (facts 1.6: unknown).
    #[serde(with = "duration_text")]
    pub operation_lifetime: Duration,
    /// What a write meets while another one is unfinished (facts 1.6: three contradicting sources).
    pub pending_mode: PendingMode,
    /// How long after an operation completed its list is still read as it was before, its number of
    /// items too (facts 1.3: reported).
    #[serde(with = "duration_text")]
    pub list_read_lag: Duration,
    /// When a list's `modified_on` moves.
    pub modified_on: ModifiedOn,
    /// How the last page says that it is the last.
    pub page_end: PageEnd,
    /// The most items on a page, however many are asked for; a few make a short list one of many pages.
    pub page_items_max: usize,
    /// What the cursors of items and of keys remember.
    pub page_cursors: PageCursors,
    /// Give items the empty `hostname` and `redirect` objects that the API was seen to return.
    pub item_noise: bool,
    /// Status of an accepted write: the spec says 200, one page says 201.
    pub accepted_status: u16,
    /// Most custom lists in the account (Free 1, Pro and Business 10).
    pub lists_max: usize,
    /// Most items in one list.
    pub list_items_max: usize,
    /// Most items over all lists of the account, of any kind and whoever made them (10,000 below
    /// Enterprise).
    pub account_items_max: usize,
    /// Requests of every kind within `requests_window`; 0 = no limit. 1,200 are documented.
    pub requests_max: u64,
    /// Five minutes are documented.
    #[serde(with = "duration_text")]
    pub requests_window: Duration,
    /// How long everything is refused once there were more. Five minutes are documented.
    #[serde(with = "duration_text")]
    pub requests_block: Duration,
    /// What such a refusal is called: 971 of late, 10100 some years ago.
    pub requests_code: u32,
    /// Writes to lists within `list_window`; 0 = no limit. 30,000 are documented.
    pub list_writes_max: u64,
    /// Items that they name; 0 = no limit. A million is documented.
    pub list_modifications_max: u64,
    /// Twelve hours are documented.
    #[serde(with = "duration_text")]
    pub list_window: Duration,
    /// The hidden limiter: least time between two accepted item writes; zero = off. 72 h was seen.
    #[serde(with = "duration_text")]
    pub write_floor: Duration,
    /// So many writes are accepted before the limiter begins to look at the time between them.
    pub write_floor_after: u64,
    /// What a write refused by the limiter is told.
    pub limiter_body: LimiterBody,
    /// What every 429 says in `retry-after`, whatever it is: a number of seconds was seen. Empty = the
    /// header is not there.
    pub retry_after: String,
    /// Values that refuse a POST or PUT of items with code 10035.
    #[serde(with = "comma_text")]
    pub refused_values: Vec<String>,
    /// Values that refuse it with code 10028, as if they were there twice.
    #[serde(with = "comma_text")]
    pub duplicate_values: Vec<String>,
    /// What both refusals tell about the value.
    pub refusal_form: RefusalForm,
    /// How long a cursor is good; zero = for ever (facts 1.3: unknown).
    #[serde(with = "duration_text")]
    pub cursor_lifetime: Duration,
    /// Accept `per_page` above 500, but still give pages of 500: for running an old program that asks
    /// for 1,000 beside the new one. Pages of more than 500 do not exist, so both pay the same
    /// number of requests.
    pub tolerate_large_pages: bool,
    /// What the token may do with Workers KV.
    pub kv_permission: Permission,
    /// Most KV namespaces in the account.
    pub kv_namespaces_max: usize,
    /// How the last page of keys says that it is the last.
    pub kv_page_end: PageEnd,
    /// What the answer to a KV bulk request tells (facts 2.3: treat all of it as optional).
    pub kv_bulk_reply: BulkReply,
    /// How far list-keys is behind the writes. Up to a minute is documented.
    #[serde(with = "duration_text")]
    pub kv_list_lag: Duration,
    /// How far reads of values are. Up to a minute is documented.
    #[serde(with = "duration_text")]
    pub kv_value_lag: Duration,
    /// Least time between two writes of one key; zero = off. One second is documented.
    #[serde(with = "duration_text")]
    pub kv_key_write_interval: Duration,
    /// Keys that may be read in a day (UTC); 0 = no quota, like all quotas here. Free has 100,000.
    pub kv_daily_reads: u64,
    /// Pairs that may be written in a day. Free has 1,000.
    pub kv_daily_writes: u64,
    /// Names that may be deleted in a day. Free has 1,000.
    pub kv_daily_deletes: u64,
    /// Pages of keys that may be listed in a day. Free has 1,000.
    pub kv_daily_lists: u64,
    /// The client may touch only keys that begin with this; touching another is noted, not refused.
    pub kv_own_prefix: String,
    /// One more key that the client may touch, by its whole name.
    pub kv_own_key: String,
    /// What the token may do with zones: finding them by name.
    pub zone_permission: Permission,
    /// What the token may do with the zones' WAF.
    pub waf_permission: Permission,
    /// Most custom rules in a zone (Free 5, Pro 20, Business 100).
    pub waf_rules_max: usize,
    /// Take a rule for a list that does not exist (facts 4: unknown); it is refused otherwise.
    pub waf_accepts_unknown_lists: bool,
    /// Most characters of an expression.
    pub waf_expression_max: usize,
    /// Take `{}` for a set that nothing is in (facts: cloudflare-rules.md 1.3: unknown); it is refused
    /// otherwise.
    pub waf_accepts_empty_sets: bool,
    /// What becomes of the fields that a PATCH leaves out.
    pub waf_patch_omitted: OmittedFields,
    /// How expressions are given back.
    pub waf_echo: ExpressionEcho,
    /// A PATCH that changes nothing makes a new version all the same (facts: cloudflare-rules.md 4.2:
    /// unknown).
    pub waf_equal_patch_bumps: bool,
    /// What `dry_run=true` does.
    pub waf_dry_run: DryRun,
    /// Least time between two accepted writes of one zone's rules; zero = off.
    #[serde(with = "duration_text")]
    pub waf_write_floor: Duration,
    /// What a write is told that comes earlier.
    pub waf_limiter_body: LimiterBody,
    /// Time from a change of rules until the edge runs them, whoever changed them; but what a test sets
    /// up at the start has been there for long.
    #[serde(with = "duration_text")]
    pub waf_edge_lag: Duration,
    /// Time from the end of a bulk operation until the edge knows the list's new items.
    #[serde(with = "duration_text")]
    pub list_edge_lag: Duration,
    /// Each change takes any part of its lag, at random; still none overtakes another of its zone or
    /// list.
    pub edge_lag_varies: bool,
    /// The client may touch only rules whose `ref` begins with this; touching another is noted, not
    /// refused.
    pub waf_own_ref_prefix: String,
}

impl Default for CloudflareOptions {
    fn default() -> Self {
        Self {
            account_id: "5afe0000000000000000000000acc017".to_owned(),
            api_token: "simulated_token_with_forty_characters_00".to_owned(),
            token_class: TokenClass::User,
            token_status: TokenStatus::Active,
            token_lifetime: Duration::ZERO,
            fresh_token: String::new(),
            permission: Permission::Edit,
            denied: Denial::Forbidden,
            latency: Duration::ZERO,
            operation_delay: Duration::from_millis(700),
            operation_lifetime: Duration::ZERO,
            pending_mode: PendingMode::Reject,
            list_read_lag: Duration::ZERO,
            modified_on: ModifiedOn::Completion,
            page_end: PageEnd::Absent,
            page_items_max: 500,
            page_cursors: PageCursors::Position,
            item_noise: false,
            accepted_status: 200,
            lists_max: 10,
            list_items_max: 10_000,
            account_items_max: 10_000,
            requests_max: 0,
            requests_window: Duration::from_secs(300),
            requests_block: Duration::from_secs(300),
            requests_code: 971,
            list_writes_max: 0,
            list_modifications_max: 0,
            list_window: Duration::from_secs(12 * 3_600),
            write_floor: Duration::ZERO,
            write_floor_after: 0,
            limiter_body: LimiterBody::Envelope,
            retry_after: "60".to_owned(),
            refused_values: Vec::new(),
            duplicate_values: Vec::new(),
            refusal_form: RefusalForm::Position,
            cursor_lifetime: Duration::ZERO,
            tolerate_large_pages: false,
            kv_permission: Permission::Edit,
            kv_namespaces_max: 1_000,
            kv_page_end: PageEnd::Empty,
            kv_bulk_reply: BulkReply::Full,
            kv_list_lag: Duration::ZERO,
            kv_value_lag: Duration::ZERO,
            kv_key_write_interval: Duration::ZERO,
            kv_daily_reads: 0,
            kv_daily_writes: 0,
            kv_daily_deletes: 0,
            kv_daily_lists: 0,
            kv_own_prefix: String::new(),
            kv_own_key: String::new(),
            zone_permission: Permission::Edit,
            waf_permission: Permission::Edit,
            waf_rules_max: 100,
            waf_accepts_unknown_lists: false,
            waf_expression_max: 4_096,
            waf_accepts_empty_sets: false,
            waf_patch_omitted: OmittedFields::Reset,
            waf_echo: ExpressionEcho::Verbatim,
            waf_equal_patch_bumps: true,
            waf_dry_run: DryRun::Honoured,
            waf_write_floor: Duration::ZERO,
            waf_limiter_body: LimiterBody::Envelope,
            waf_edge_lag: Duration::ZERO,
            list_edge_lag: Duration::ZERO,
            edge_lag_varies: false,
            waf_own_ref_prefix: String::new(),
        }
    }
}

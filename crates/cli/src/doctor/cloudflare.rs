//! Cloudflare: the token, the lists and what uses them, the namespace (facts: cloudflare.md 1.1, 1.7,
//! 2.1 and 3). Not here: the rules of zones (`zones`).
//!
//! Verifying a token proves no permission, so each list and the namespace are asked for themselves.
//! That they can also be written shows only at a write: nothing here tries one, because refused writes
//! are what some accounts are punished for.

use super::ask::ask;
use super::{Finding, layout, zones};
use crate::native::Native;
use edge_sync_core::api::cloudflare::lists::{PAGE_ITEMS_MAX, items as items_of};
use edge_sync_core::api::cloudflare::{self, CallError, Resource};
use edge_sync_core::decision::Remediation;
use edge_sync_core::log::clip;
use edge_sync_core::ports::{Answer, Clock, Method, Request};
use edge_sync_core::run::budget::{Reading, SELDOM_SECS};
use edge_sync_core::run::status;
use edge_sync_core::settings::{Id, Lists, Settings};
use edge_sync_core::state::edge::Trust;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::{Instant, UNIX_EPOCH};

const TOKEN_CHECK: &str = "API token";
const CAPACITY_CHECK: &str = "list capacity";
const READING_CHECK: &str = "reading time";
const NAMESPACE_CHECK: &str = "KV namespace";

/// Items over all custom lists of an account below Enterprise.
const ACCOUNT_ITEMS_MAX: u64 = 10_000;
/// From this share of it on, in percent, capacity is worth a word.
const NEARLY_FULL_PERCENT: u64 = 90;

/// Fewer pages of a list, all that an account below Enterprise can have, are read in a moment.
const PAGES_MIN: u64 = 21;

/// Refused writes are what some accounts are punished for, so none is tried.
pub(super) const EDIT_NOT_TRIED: &str =
    "that the token may edit it was not verified, only reading was tried";

/// What it says of a token that it does not know, or that is of the other class.
const INVALID_TOKEN: i64 = 1000;
/// What it says of a header that cannot hold a token.
const INVALID_HEADERS: i64 = 6003;

pub(super) async fn examine(native: &Native, settings: &Settings) -> Vec<Finding> {
    let Settings { cloudflare, account, token, .. } = settings;
    let client = cloudflare::Account::new(cloudflare.clone(), account.clone(), token.clone());
    let account = Account { native, client };
    let token = account.token().await;
    // Nobody is let in with a token that is not one: all the rest would say the same again.
    let unknown = token.status == super::Status::Fail;
    let mut findings = vec![token];
    let mut names = zones::Names::default();
    if let Some(lists) = &settings.targets.lists {
        for (remediation, id) in lists.iter() {
            findings.push(match unknown {
                true => skipped(format!("{remediation} list")),
                false => account.list(remediation, id).await,
            });
        }
        let all: Option<Result<Vec<List>, CallError>> = match unknown {
            true => None,
            false => Some(account.get("/rules/lists").await),
        };
        let named = lists.iter().filter_map(|(remediation, id)| {
            let mut all = all.as_ref()?.as_ref().ok()?.iter();
            let list = all.find(|list| list.id == id.as_str())?;
            Some((remediation, list.name.parse().ok()?))
        });
        names = named.collect();
        let sizes: Vec<(u64, &Id)> = lists
            .iter()
            .filter_map(|(_, id)| {
                let mut all = all.as_ref()?.as_ref().ok()?.iter();
                Some((all.find(|list| list.id == id.as_str())?.num_items, id))
            })
            .collect();
        findings.push(match all {
            None => skipped(CAPACITY_CHECK),
            Some(all) => capacity(all, lists),
        });
        findings.extend(account.reading(&sizes, settings).await);
    }
    if let Some((rules, lists)) =
        settings.targets.rules.as_ref().zip(settings.targets.lists.as_ref())
    {
        match unknown {
            true => findings.push(skipped(zones::CHECK)),
            false => {
                let zones = zones::Zones { native, account: &account.client, lists, names, rules };
                findings.extend(zones.examine().await);
            }
        }
    }
    match &settings.targets.kv {
        None => {
            let off = "off (cf_kv_namespace_id is not set)";
            findings.push(Finding::skipped(NAMESPACE_CHECK, off));
        }
        Some(_) if unknown => findings.push(skipped(NAMESPACE_CHECK)),
        Some(kv) => {
            let namespace = account.namespace(&kv.namespace).await;
            let is_there = namespace.status == super::Status::Ok;
            findings.push(namespace);
            if is_there {
                findings.push(layout::examine(native, &account.client, kv).await);
            }
        }
    }
    findings
}

fn skipped(check: impl Into<String>) -> Finding {
    Finding::skipped(check, "cannot be told before the token is right")
}

struct Account<'a> {
    native: &'a Native,
    client: cloudflare::Account,
}

/// A token, as verifying it shows it.
#[derive(Deserialize)]
struct Token {
    status: String,
    expires_on: Option<String>,
}

/// A list, as far as it matters here.
#[derive(Deserialize)]
struct List {
    id: String,
    name: String,
    kind: String,
    num_items: u64,
    /// How many rules use it.
    num_referencing_filters: u64,
}

#[derive(Deserialize)]
struct Namespace {
    title: String,
}

impl Account<'_> {
    async fn token(&self) -> Finding {
        // Two classes of tokens, and no call that takes both.
        let mut last = None;
        let user = self.client.beside(Method::Get, "/user/tokens/verify");
        let account = self.client.request(Method::Get, "/tokens/verify");
        for (class, request) in [("user", user), ("account-owned", account)] {
            match self.result::<Token>(request).await {
                Ok(token) => return describe_token(class, &token),
                Err(error) => last = Some(error),
            }
            if !last.as_ref().is_some_and(|error| error.has_code(INVALID_TOKEN)) {
                break;
            }
        }
        let error = last.expect("both were asked");
        let detail = error.to_string();
        match &error {
            CallError::Transport(error) => {
                Finding::fail(TOKEN_CHECK, detail, error.remedy("cf_api_url"))
            }
            error if error.has_code(INVALID_HEADERS) => Finding::fail(
                TOKEN_CHECK,
                detail,
                "cf_api_token is not in the form of an API token; copy it again",
            ),
            error if error.has_code(INVALID_TOKEN) => Finding::fail(
                TOKEN_CHECK,
                detail,
                "cf_api_token was deleted, rolled, or is not a token but a Global API Key; make one \
                 with the permissions of the README, step 3",
            ),
            // An account's own token and another account's id, or a passing trouble: no proof.
            _ => Finding::warn(
                TOKEN_CHECK,
                format!("could not be verified: {detail}"),
                "see what is said of lists and namespace, and check cf_account_id",
            ),
        }
    }

    async fn list(&self, remediation: Remediation, id: &Id) -> Finding {
        let check = format!("{remediation} list");
        let variable = Lists::variable(remediation);
        let path = format!("/rules/lists/{id}");
        let list: List = match self.get(&path).await {
            Ok(list) => list,
            Err(error) => return refused(check, &error, Resource::List(remediation)),
        };
        let List { name, kind, num_items, num_referencing_filters, .. } = list;
        let name = clip(&name, 80);
        if kind != "ip" {
            return Finding::fail(
                check,
                format!("{name} is a list of kind {:?}, which holds no addresses", clip(&kind, 20)),
                format!(
                    "make a list of type IP (the kind cannot be changed) and set {variable} to its id"
                ),
            );
        }
        let items = plural(num_items, "item");
        if num_referencing_filters == 0 {
            let action = match remediation {
                Remediation::Ban => "Block",
                Remediation::Captcha => "Managed Challenge",
            };
            return Finding::warn(
                check,
                format!("{name}: {items}, but no rule uses the list: nobody is kept out by it"),
                format!(
                    "add the WAF custom rule `(ip.src in ${name})` with action {action} to each zone"
                ),
            );
        }
        let rules = plural(num_referencing_filters, "rule");
        Finding::ok(check, format!("{name}: {items}, used by {rules}; {EDIT_NOT_TRIED}"))
    }

    /// Whether reading lists of these sizes fits into a run. Nothing for small ones: nobody waits for them.
    async fn reading(&self, sizes: &[(u64, &Id)], settings: &Settings) -> Option<Finding> {
        let pages = |items: u64| items.div_ceil(PAGE_ITEMS_MAX as u64).max(1);
        let (items, longest) = sizes.iter().max_by_key(|(items, _)| *items)?;
        if pages(*items) < PAGES_MIN {
            return None;
        }
        let began = Instant::now();
        ask(self.native, items_of(&self.client, longest, None)).await.ok()?;
        let page = began.elapsed();
        let requests = sizes.iter().map(|(items, _)| pages(*items)).sum::<u64>() + 1;
        let now = self.native.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let lists = status(settings, self.native, now).ok().and_then(|status| status.lists);
        let edge = lists.and_then(|lists| lists.edge);
        let is_seldom = edge.is_some_and(|edge| edge.trust == Trust::Learned)
            && settings.edge_audit_secs >= SELDOM_SECS;
        let reading = Reading { pages: pages(*items), page, requests, is_cut: false, is_seldom };
        let takes = page.as_secs_f64() * reading.pages as f64;
        let detail = format!(
            "{}, {:.0} ms each: about {takes:.0} s a run",
            plural(reading.pages, "page"),
            page.as_secs_f64() * 1_000.0
        );
        Some(match reading.problem(settings) {
            Some(problem) => Finding::warn(READING_CHECK, detail, problem),
            None => Finding::ok(READING_CHECK, detail),
        })
    }

    async fn namespace(&self, id: &Id) -> Finding {
        let path = format!("/storage/kv/namespaces/{id}");
        match self.get::<Namespace>(&path).await {
            Ok(namespace) => {
                let title = clip(&namespace.title, 80);
                Finding::ok(NAMESPACE_CHECK, format!("{title} exists; {EDIT_NOT_TRIED}"))
            }
            Err(error) => refused(NAMESPACE_CHECK, &error, Resource::Namespace),
        }
    }

    /// The result of a GET to the account.
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.result(self.client.request(Method::Get, path)).await
    }

    async fn result<T: DeserializeOwned>(&self, request: Request) -> Result<T, CallError> {
        let answer = ask(self.native, request).await?;
        let (result, _) = cloudflare::decode_any(&answer)?;
        serde_json::from_value(result).map_err(|_| {
            let Answer { head, body } = answer;
            CallError::NotTheApi { head, start: clip(&String::from_utf8_lossy(&body), 120) }
        })
    }
}

fn capacity(all: Result<Vec<List>, CallError>, lists: &Lists) -> Finding {
    let all = match all {
        Ok(all) => all,
        Err(error) => {
            let first = lists.iter().next();
            let resource = first.map_or(Resource::Namespace, |(r, _)| Resource::List(r));
            return refused(CAPACITY_CHECK, &error, resource);
        }
    };
    let is_ours = |list: &&List| lists.iter().any(|(_, id)| id.as_str() == list.id);
    let items = |of: &mut dyn Iterator<Item = &List>| of.map(|list| list.num_items).sum::<u64>();
    let ours = items(&mut all.iter().filter(is_ours));
    let others = items(&mut all.iter().filter(|list| !is_ours(list)));
    let items_max = lists.items_max;
    let detail = format!(
        "{} of {items_max} (list_items_max), and {} in other lists of the account",
        plural(ours, "item"),
        plural(others, "item"),
    );
    let shared = ACCOUNT_ITEMS_MAX.saturating_sub(others);
    if others > 0 && items_max <= ACCOUNT_ITEMS_MAX && items_max > shared {
        let remedy = format!(
            "lower list_items_max to {shared}: below Enterprise all lists hold {ACCOUNT_ITEMS_MAX} \
             together, and a write beyond that fails"
        );
        return Finding::warn(CAPACITY_CHECK, detail, remedy);
    }
    match ours * 100 >= items_max * NEARLY_FULL_PERCENT {
        true => Finding::warn(
            CAPACITY_CHECK,
            detail,
            "the least important decisions may go without a place: want fewer (origins_exclude, \
             scenarios_exclude), or use Workers KV (cf_kv_namespace_id)",
        ),
        false => Finding::ok(CAPACITY_CHECK, detail),
    }
}

fn describe_token(class: &str, token: &Token) -> Finding {
    let status = clip(&token.status, 20);
    let expires = match &token.expires_on {
        Some(date) => format!(", until {}", clip(date, 30)),
        None => String::new(),
    };
    let detail = format!("{class} token, {status}{expires}");
    match status.as_str() {
        "active" => Finding::ok(TOKEN_CHECK, detail),
        _ => Finding::fail(
            TOKEN_CHECK,
            detail,
            "make a new token with the permissions of the README, step 3, and set cf_api_token",
        ),
    }
}

/// A list, namespace or zone that could not be asked for, with the core's own advice.
pub(super) fn refused(check: impl Into<String>, error: &CallError, resource: Resource) -> Finding {
    let remedy = match error {
        CallError::Transport(error) => error.remedy("cf_api_url"),
        error => error.remedy(resource).unwrap_or_else(|| {
            "try again in a few minutes; if it stays, see www.cloudflarestatus.com".to_owned()
        }),
    };
    Finding::fail(check, error.to_string(), remedy)
}

fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

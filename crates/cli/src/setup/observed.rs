//! What is there: read through the API before anything is planned. Everything of the account's lists
//! and of the zones' custom rules is kept, so that the plan can say what it leaves alone.

use anyhow::{Context, Result, bail};
use edge_sync_core::address::Address;
use edge_sync_core::api::cloudflare::kv::ranges_key;
use edge_sync_core::api::cloudflare::kv::shards::is_unit;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::api::{Area, Client, is_id};
use super::{NAMESPACE, PHASE, Wish};

/// Namespaces on a page, and keys: the most that the API gives.
const PER_PAGE: usize = 1_000;
/// "Could not find entrypoint ruleset": normal, not a failure.
const NO_ENTRY_POINT: i64 = 10003;

/// Everything that the plan needs to know.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// All lists of the account.
    pub lists: Vec<ListSeen>,
    /// The namespace with our title, if it was asked for and is there.
    pub namespace: Option<NamespaceSeen>,
    /// The zones that were asked for, in that order.
    pub zones: Vec<ZoneSeen>,
}

/// A list.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ListSeen {
    /// Names it in a path, and in the settings.
    pub id: String,
    /// Names it in a rule.
    pub name: String,
    /// `ip`, or another.
    pub kind: String,
    /// What its maker said of it.
    #[serde(default)]
    pub description: String,
    /// How many items it has.
    #[serde(default, rename = "num_items")]
    pub items: f64,
    /// How many rules use it, in all zones.
    #[serde(default, rename = "num_referencing_filters")]
    pub references: f64,
}

/// A KV namespace.
#[derive(Clone, Debug, Default)]
pub struct NamespaceSeen {
    /// Names it in the settings.
    pub id: String,
    /// A key in it that the sync did not write; only looked for before a removal.
    pub foreign_key: Option<String>,
}

/// A zone.
#[derive(Clone, Debug, Default)]
pub struct ZoneSeen {
    /// Names it in a path.
    pub id: String,
    /// As it was asked for: its name or its id.
    pub label: String,
    /// Its custom rules; `None` = it has no ruleset for them yet.
    pub ruleset: Option<RulesetSeen>,
}

/// The ruleset with a zone's custom rules.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RulesetSeen {
    /// Names it in a path.
    pub id: String,
    /// What its maker said of it.
    #[serde(default)]
    pub description: String,
    /// In their order.
    #[serde(default)]
    pub rules: Vec<RuleSeen>,
}

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct RuleSeen {
    /// Made by Cloudflare.
    pub id: String,
    /// Made by whoever made the rule; the id if they did not.
    #[serde(default, rename = "ref")]
    pub reference: String,
    /// When it applies.
    #[serde(default)]
    pub expression: String,
    /// What is done then.
    #[serde(default)]
    pub action: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Whether it applies at all.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Such as the page that a block shows. Kept when the rule is corrected.
    pub action_parameters: Option<Value>,
    /// The same.
    pub logging: Option<Value>,
}

fn yes() -> bool {
    true
}

/// Reads the account. `own_keys` is the prefix of the keys that the sync writes: given, the namespace
/// is searched for others.
pub async fn observe(client: &Client, wish: &Wish, own_keys: Option<&str>) -> Result<Observed> {
    let path = format!("/accounts/{}/rules/lists", client.account());
    let lists = match wish.lists().next() {
        Some(_) => {
            read(client, Area::Lists, &path).await.context("failed to read the account's lists")?
        }
        // The token may not be allowed to.
        None => Vec::new(),
    };
    let namespace = match wish.namespace {
        true => namespace(client, own_keys).await.context("failed to read the KV namespaces")?,
        false => None,
    };
    let mut zones = Vec::new();
    for label in &wish.zones {
        let zone = zone(client, label).await;
        let zone = zone.with_context(|| format!("failed to read zone {label}"))?;
        // Named once by id and once by name it is still one zone.
        if !zones.iter().any(|known: &ZoneSeen| known.id == zone.id) {
            zones.push(zone);
        }
    }
    Ok(Observed { lists, namespace, zones })
}

async fn namespace(client: &Client, own_keys: Option<&str>) -> Result<Option<NamespaceSeen>> {
    #[derive(Deserialize)]
    struct Namespace {
        id: String,
        title: String,
    }
    let root = format!("/accounts/{}/storage/kv/namespaces", client.account());
    for page in 1.. {
        let path = format!("{root}?page={page}&per_page={PER_PAGE}");
        let namespaces: Vec<Namespace> = read(client, Area::Kv, &path).await?;
        let is_last = namespaces.len() < PER_PAGE;
        if let Some(found) = namespaces.into_iter().find(|one| one.title == NAMESPACE) {
            let foreign_key = match own_keys {
                Some(prefix) => {
                    foreign_key(client, &format!("{root}/{}", found.id), prefix).await?
                }
                None => None,
            };
            return Ok(Some(NamespaceSeen { id: found.id, foreign_key }));
        }
        if is_last {
            break;
        }
    }
    Ok(None)
}

/// Whether the sync writes a key of this name, in either layout, or the program before it did.
fn is_own(name: &str, prefix: &str) -> bool {
    let rest = name.strip_prefix(prefix);
    name == ranges_key(prefix)
        || rest.is_some_and(|rest| is_unit(rest) || rest.parse::<Address>().is_ok())
}

async fn foreign_key(client: &Client, namespace: &str, own_prefix: &str) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct Key {
        name: String,
    }
    let mut cursor = String::new();
    loop {
        let path = format!("{namespace}/keys?limit={PER_PAGE}{cursor}");
        let answer = client.get(Area::Kv, &path).await?;
        let keys: Vec<Key> = serde_json::from_value(answer.result).context("not a list of keys")?;
        if let Some(key) = keys.into_iter().find(|key| !is_own(&key.name, own_prefix)) {
            return Ok(Some(key.name));
        }
        let Some(next) = answer.cursor else { return Ok(None) };
        cursor = format!("&cursor={}", utf8_percent_encode(&next, NON_ALPHANUMERIC));
    }
}

async fn zone(client: &Client, label: &str) -> Result<ZoneSeen> {
    let id = match is_id(label) {
        true => label.to_owned(),
        false => zone_id(client, label).await?,
    };
    let path = format!("/zones/{id}/rulesets/phases/{PHASE}/entrypoint");
    let ruleset = match client.get(Area::Waf, &path).await {
        Ok(answer) => Some(serde_json::from_value(answer.result).context("not a ruleset")?),
        Err(error) if error.is_code(NO_ENTRY_POINT) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(ZoneSeen { id, label: label.to_owned(), ruleset })
}

async fn zone_id(client: &Client, name: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Zone {
        id: String,
    }
    let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
    let path = format!("/zones?name={encoded}&account.id={}", client.account());
    let mut zones: Vec<Zone> = read(client, Area::Zones, &path).await?;
    match (zones.pop(), zones.len()) {
        (Some(zone), 0) if is_id(&zone.id) => Ok(zone.id),
        (None, _) => bail!(
            "the token sees no zone of this name in the account: check the name, give the token \
             the permission Zone > Zone > Read, or name the zone by its id"
        ),
        _ => bail!("several zones have this name: name the zone by its id"),
    }
}

async fn read<T: DeserializeOwned>(client: &Client, area: Area, path: &str) -> Result<T> {
    let answer = client.get(area, path).await?;
    serde_json::from_value(answer.result).with_context(|| format!("unexpected answer to {path}"))
}

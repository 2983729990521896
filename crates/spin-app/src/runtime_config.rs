//! Spin's runtime configuration, as far as there is here what it configures: where the key-value store
//! `default` keeps its values, and the TLS of outgoing requests ([`client_tls`]).
//!
//! ```toml
//! [key_value_store.default]
//! type = "redis"                # or "spin", with path = "…"
//! url = "redis://redis:6379"
//! ```
//!
//! Spelled as Spin 3 and 4 spell it. Everything else is refused and not passed over: who writes a setting
//! down counts on it.

use crate::client_tls;
use crate::key_value::DEFAULT_LABEL;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Where the values of the default store are.
#[derive(Debug)]
pub(crate) enum DefaultStore {
    /// Type `spin`: an SQLite file.
    File(PathBuf),
    /// Type `redis`.
    Redis(redis::Client),
}

/// What a file says.
#[derive(Default)]
pub(crate) struct RuntimeConfig {
    /// `None` = it leaves the default store as it is.
    pub(crate) store: Option<DefaultStore>,
    /// In the order of the file.
    pub(crate) client_tls: Vec<client_tls::Entry>,
}

/// Reads a file, and the files that it names.
pub(crate) fn read(path: &Path) -> Result<RuntimeConfig> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the runtime config file {}", path.display()))?;
    let config = parse(&text, path.parent().unwrap_or(Path::new("")));
    config.with_context(|| format!("the runtime config file {} cannot be used", path.display()))
}

/// `folder` is what relative paths start from: the folder of the file, as in Spin.
fn parse(text: &str, folder: &Path) -> Result<RuntimeConfig> {
    // Not with TOML's own words: they show the line, which may hold a password.
    let file: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(0, |span| text[..span.start].lines().count().max(1));
        anyhow!("line {line} is not TOML: {}", error.message())
    })?;
    for key in file.keys() {
        ensure!(
            key == "key_value_store" || key == "client_tls",
            "{key}: only supported are [key_value_store.{DEFAULT_LABEL}] and [[client_tls]]; give other \
             settings to Spin in a file of their own"
        );
    }
    let client_tls = file.get("client_tls").map(|entries| client_tls::parse(entries, folder));
    Ok(RuntimeConfig {
        store: parse_stores(&file, folder)?,
        client_tls: client_tls.transpose()?.unwrap_or_default(),
    })
}

fn parse_stores(file: &Table, folder: &Path) -> Result<Option<DefaultStore>> {
    let Some(stores) = file.get("key_value_store") else { return Ok(None) };
    let stores = stores.as_table().context("key_value_store: not a table")?;
    for label in stores.keys() {
        ensure!(
            label == DEFAULT_LABEL,
            "key_value_store.{label}: the only store is {DEFAULT_LABEL:?}"
        );
    }
    let Some(store) = stores.get(DEFAULT_LABEL) else { return Ok(None) };
    let store = store.as_table().context("key_value_store.default: not a table")?;
    parse_store(store, folder).map(Some).context(format!("key_value_store.{DEFAULT_LABEL}"))
}

fn parse_store(store: &Table, folder: &Path) -> Result<DefaultStore> {
    match text(store, "type")? {
        Some("spin") => {
            only(store, "spin", "path")?;
            let path = text(store, "path")?.filter(|path| !path.is_empty()).context(
                "path: missing; without one Spin keeps nothing from one start to the next",
            )?;
            let path = folder.join(path);
            ensure!(
                !path.is_dir(),
                "path: {} is a folder; a store of type \"spin\" is a file in SQLite's format",
                path.display()
            );
            Ok(DefaultStore::File(path))
        }
        Some("redis") => {
            only(store, "redis", "url")?;
            let url =
                text(store, "url")?.context("url: missing, such as \"redis://redis:6379\"")?;
            ensure!(
                !url.starts_with("rediss:"),
                "url: Redis over TLS (rediss://) is supported by Spin, but not here"
            );
            // The URL is not repeated: it may hold a password.
            let client = redis::Client::open(url)
                .map_err(|_| anyhow!("url: not a Redis URL such as \"redis://redis:6379/1\""))?;
            Ok(DefaultStore::Redis(client))
        }
        Some(other) => {
            bail!("type: {other:?} is not supported here, only \"spin\" and \"redis\"")
        }
        None => bail!("type: missing; supported are \"spin\" and \"redis\""),
    }
}

/// Refuses all keys but `type` and this one.
fn only(store: &Table, kind: &str, allowed: &str) -> Result<()> {
    match store.keys().find(|key| *key != "type" && *key != allowed) {
        None => Ok(()),
        Some(key) => bail!("{key}: a store of type {kind:?} has only {allowed:?}"),
    }
}

fn text<'t>(store: &'t Table, key: &str) -> Result<Option<&'t str>> {
    match store.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => bail!("{key}: not a text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<DefaultStore>> {
        parse(text, Path::new("config")).map(|config| config.store)
    }

    fn store(body: &str) -> Result<Option<DefaultStore>> {
        parsed(&format!("[key_value_store.default]\n{body}"))
    }

    #[test]
    fn redis_parse_keeps_server_and_database() {
        let store = store("type = \"redis\"\nurl = \"redis://:pass@redis.svc:6380/3\"").unwrap();
        let Some(DefaultStore::Redis(client)) = store else { panic!("not Redis") };
        let info = client.get_connection_info();
        assert_eq!(info.addr().to_string(), "redis.svc:6380");
        assert_eq!(info.redis_settings().db(), 3);
    }

    #[test]
    fn spin_parse_takes_a_path_from_the_folder_of_the_file() {
        for (path, expected) in [("state/kv", "config/state/kv"), ("/state", "/state")] {
            let store = store(&format!("type = \"spin\"\npath = \"{path}\"")).unwrap();
            let Some(DefaultStore::File(file)) = store else { panic!("not a file") };
            assert_eq!(file, Path::new(expected));
        }
    }

    #[test]
    fn nothing_about_the_store_parse_leaves_it_as_it_is() {
        assert!(parsed("").unwrap().is_none());
        assert!(parsed("[key_value_store]").unwrap().is_none());
    }

    #[test]
    fn anything_else_parse_names_the_key_and_what_is_supported() {
        let default = |body: &str| format!("[key_value_store.default]\n{body}");
        for (text, says) in [
            (default(""), "key_value_store.default: type: missing; supported are \"spin\""),
            (default("type = \"azure_cosmos\"\nkey = \"k\""), "type: \"azure_cosmos\" is not supp"),
            (default("type = 1"), "type: not a text"),
            (default("type = \"redis\""), "url: missing"),
            (default("type = \"redis\"\nurl = \"http://pass@a\""), "url: not a Redis URL"),
            (default("type = \"redis\"\nurl = \"rediss://a\""), "url: Redis over TLS"),
            (
                default("type = \"redis\"\nurl = \"redis://a\"\npath = \"x\""),
                "path: a store of type",
            ),
            (default("type = \"spin\""), "path: missing"),
            (default("type = \"spin\"\npath = \"\""), "path: missing"),
            (
                "[key_value_store.cache]\ntype = \"redis\"".to_owned(),
                "key_value_store.cache: the only",
            ),
            ("key_value_store = 1".to_owned(), "key_value_store: not a table"),
            ("state_dir = \"x\"".to_owned(), "state_dir: only supported are"),
            ("\nurl = pass".to_owned(), "line 2 is not TOML"),
        ] {
            let error = format!("{:#}", parsed(&text).unwrap_err());
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.contains("pass"), "{error}");
        }
    }

    #[test]
    fn folder_for_a_file_parse_refuses() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("kv.db")).unwrap();
        let text = "[key_value_store.default]\ntype = \"spin\"\npath = \"kv.db\"";
        let Err(error) = parse(text, folder.path()) else { panic!("read") };
        let error = format!("{error:#}");
        assert!(error.contains("is a folder"), "{error}");
    }

    #[test]
    fn file_absent_or_wrong_read_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runtime-config.toml");
        for content in [None, Some("x = 1")] {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let Err(error) = read(&path) else { panic!("read") };
            let error = format!("{error:#}");
            assert!(error.contains("runtime-config.toml"), "{error}");
        }
    }
}

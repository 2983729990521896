//! Whom a component believes, and as whom it comes, when it speaks TLS: `[[client_tls]]` of Spin's runtime
//! configuration. For a LAPI whose certificate is of a private authority, or that wants one of its bouncers.
//!
//! ```toml
//! [[client_tls]]
//! component_ids = ["crowdsec-edge-sync"]
//! hosts = ["lapi.internal"]                   # names or addresses, without a port
//! ca_roots_file = "ca.pem"                    # paths start from the folder of this file
//! client_cert_file = "bouncer.pem"            # only for mutual TLS
//! client_private_key_file = "bouncer.key"
//! ```
//!
//! Spelled and judged as Spin 3 and 4 do; the first entry that names a component and a host counts. Of the roots
//! only the platform's are not known here, and asking for them is refused.

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use toml::{Table, Value};

const KEYS: [&str; 7] = [
    "component_ids",
    "hosts",
    "ca_use_platform_roots",
    "ca_use_webpki_roots",
    "ca_roots_file",
    "client_cert_file",
    "client_private_key_file",
];

/// One component's TLS: for the hosts that were configured, and for all others.
#[derive(Clone)]
pub struct ClientTls {
    hosts: BTreeMap<String, Arc<ClientConfig>>,
    others: Arc<ClientConfig>,
}

impl ClientTls {
    /// What is used for a host (a name, or an address with or without brackets).
    pub fn config(&self, host: &str) -> Arc<ClientConfig> {
        Arc::clone(self.configured(host).unwrap_or(&self.others))
    }

    /// What was configured for a host.
    pub fn configured(&self, host: &str) -> Option<&Arc<ClientConfig>> {
        self.hosts.get(&plain(host))
    }
}

impl ClientTls {
    /// What a runtime configuration says about this component, without its manifest.
    pub fn read(runtime_config: &Path, component: &str) -> Result<Self> {
        Ok(of_component(&crate::runtime_config::read(runtime_config)?.client_tls, component))
    }
}

/// The public roots for every host, and no certificate of one's own.
impl Default for ClientTls {
    fn default() -> Self {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let others = config(roots, None).expect("public roots need nothing that can be missing");
        Self { hosts: BTreeMap::new(), others }
    }
}

impl fmt::Debug for ClientTls {
    /// Only for which hosts: a configuration holds a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.hosts.keys()).finish()
    }
}

/// One `[[client_tls]]`, read.
pub(crate) struct Entry {
    components: Vec<String>,
    hosts: Vec<String>,
    config: Arc<ClientConfig>,
}

/// What the entries say about one component.
pub(crate) fn of_component(entries: &[Entry], component: &str) -> ClientTls {
    let mut tls = ClientTls::default();
    for entry in entries.iter().filter(|entry| entry.components.iter().any(|id| id == component)) {
        for host in &entry.hosts {
            // The first that names it counts, as in Spin.
            tls.hosts.entry(host.clone()).or_insert_with(|| Arc::clone(&entry.config));
        }
    }
    tls
}

/// Reads the entries and their files. `folder` is what relative paths start from.
pub(crate) fn parse(entries: &Value, folder: &Path) -> Result<Vec<Entry>> {
    let entries = entries.as_array().context("client_tls: write it as [[client_tls]]")?;
    let entries = entries.iter().enumerate().map(|(index, entry)| {
        let entry = entry.as_table().context("not a table").and_then(|entry| one(entry, folder));
        entry.with_context(|| format!("client_tls, entry {}", index + 1))
    });
    entries.collect()
}

fn one(entry: &Table, folder: &Path) -> Result<Entry> {
    if let Some(key) = entry.keys().find(|key| !KEYS.contains(&key.as_str())) {
        bail!("{key}: an entry has only {}", KEYS.join(", "));
    }
    ensure!(
        !flag(entry, "ca_use_platform_roots")?.unwrap_or(false),
        "ca_use_platform_roots: supported by Spin, but not here; name the file of the roots in ca_roots_file"
    );
    let components = texts(entry, "component_ids")?;
    let hosts = texts(entry, "hosts")?;
    for host in &hosts {
        let authority: http::uri::Authority =
            host.parse().map_err(|_| anyhow!("hosts: {host:?} is no host name"))?;
        ensure!(authority.port().is_none(), "hosts: {host:?} has a port; write only the host");
    }
    let file = |key| Ok::<_, anyhow::Error>(text(entry, key)?.map(|path| folder.join(path)));
    let own_roots = match file("ca_roots_file")? {
        Some(path) => certificates(&path).context("ca_roots_file")?,
        None => Vec::new(),
    };
    let mut roots = RootCertStore::empty();
    // As in Spin: with roots of one's own, no others unless they are asked for.
    if flag(entry, "ca_use_webpki_roots")?.unwrap_or(own_roots.is_empty()) {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for root in own_roots {
        roots.add(root).context("ca_roots_file: a certificate that cannot be used")?;
    }
    ensure!(!roots.is_empty(), "no roots: give ca_roots_file, or leave ca_use_webpki_roots out");
    let client = match (file("client_cert_file")?, file("client_private_key_file")?) {
        (None, None) => None,
        (Some(chain), Some(key)) => Some((
            certificates(&chain).context("client_cert_file")?,
            private_key(&key).context("client_private_key_file")?,
        )),
        (Some(_), None) => bail!("client_cert_file without client_private_key_file"),
        (None, Some(_)) => bail!("client_private_key_file without client_cert_file"),
    };
    Ok(Entry {
        components,
        hosts: hosts.iter().map(|host| plain(host)).collect(),
        config: config(roots, client).context("client_cert_file and client_private_key_file")?,
    })
}

fn config(
    roots: RootCertStore,
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(Arc::new(match client {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    }))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let found = found.map_err(|error| anyhow!("{}: {error}", path.display()))?;
    ensure!(!found.is_empty(), "{}: has no certificate in PEM form", path.display());
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|_| anyhow!("{}: has no private key in PEM form", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("failed to read {}", path.display()))
}

/// A host as it is compared: without brackets, in small letters.
fn plain(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase()
}

fn texts(entry: &Table, key: &str) -> Result<Vec<String>> {
    let list = entry.get(key).with_context(|| format!("{key}: missing"))?;
    let texts = list.as_array().and_then(|list| {
        list.iter().map(|text| text.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
    });
    let texts = texts.with_context(|| format!("{key}: not a list of texts"))?;
    ensure!(!texts.is_empty(), "{key}: an empty list");
    Ok(texts)
}

fn text<'t>(entry: &'t Table, key: &str) -> Result<Option<&'t str>> {
    let value = entry.get(key);
    value.map(|value| value.as_str().with_context(|| format!("{key}: not a text"))).transpose()
}

fn flag(entry: &Table, key: &str) -> Result<Option<bool>> {
    let value = entry.get(key);
    value
        .map(|value| value.as_bool().with_context(|| format!("{key}: not true or false")))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The public roots alone do; the files are met end to end, by real handshakes.
    fn parsed(body: &str) -> Result<Vec<Entry>> {
        let table: Table = body.parse().unwrap();
        parse(&table["client_tls"], Path::new("nowhere"))
    }

    const WHERE: &str =
        "[[client_tls]]\ncomponent_ids = [\"a\", \"b\"]\nhosts = [\"LAPI.internal\", \"[::1]\"]\n";

    #[test]
    fn entry_read_counts_for_its_components_and_hosts_only() {
        let entries = parsed(WHERE).unwrap();
        let tls = of_component(&entries, "b");
        for host in ["lapi.internal", "LAPI.INTERNAL", "::1", "[::1]"] {
            assert!(tls.configured(host).is_some(), "{host}");
        }
        assert!(tls.configured("api.cloudflare.com").is_none());
        assert!(of_component(&entries, "c").configured("::1").is_none());
        assert_eq!(format!("{tls:?}"), "{\"::1\", \"lapi.internal\"}");
    }

    #[test]
    fn host_named_twice_read_has_what_is_said_first() {
        let entries = parsed(&format!("{WHERE}{WHERE}")).unwrap();
        let tls = of_component(&entries, "a");
        assert!(Arc::ptr_eq(tls.configured("::1").unwrap(), &entries[0].config));
        assert!(!Arc::ptr_eq(&tls.config("example.com"), &entries[0].config));
    }

    #[test]
    fn anything_else_read_names_the_entry_and_the_key() {
        for (body, says) in [
            ("client_tls = 1", "write it as [[client_tls]]"),
            ("client_tls = [1]", "entry 1: not a table"),
            ("[[client_tls]]", "component_ids: missing"),
            ("[[client_tls]]\ncomponent_ids = []", "component_ids: an empty list"),
            ("[[client_tls]]\ncomponent_ids = \"a\"", "component_ids: not a list of texts"),
            ("[[client_tls]]\ncomponent_ids = [\"a\"]", "hosts: missing"),
            (
                "[[client_tls]]\ncomponent_ids = [\"a\"]\nhosts = [\"a:443\"]",
                "\"a:443\" has a port",
            ),
            (
                "[[client_tls]]\ncomponent_ids = [\"a\"]\nhosts = [\"a b\"]",
                "\"a b\" is no host name",
            ),
            ("[[client_tls]]\nca_file = \"x\"", "ca_file: an entry has only component_ids"),
            ("[[client_tls]]\nca_use_platform_roots = true", "name the file of the roots"),
            (&format!("{WHERE}ca_use_webpki_roots = 1"), "ca_use_webpki_roots: not true or false"),
            (&format!("{WHERE}ca_use_webpki_roots = false"), "no roots"),
            (&format!("{WHERE}ca_roots_file = 1"), "ca_roots_file: not a text"),
            (&format!("{WHERE}ca_roots_file = \"ca.pem\""), "failed to read nowhere/ca.pem"),
            (&format!("{WHERE}client_cert_file = \"x\""), "without client_private_key_file"),
            (&format!("{WHERE}client_private_key_file = \"x\""), "without client_cert_file"),
        ] {
            let Err(error) = parsed(body) else { panic!("{body}: read") };
            let error = format!("{error:#}");
            assert!(error.contains(says) && error.starts_with("client_tls"), "{body}: {error}");
        }
    }

    #[test]
    fn file_without_what_it_should_hold_read_is_named_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x.pem"), "SECRET").unwrap();
        for (keys, says) in [
            ("ca_roots_file = \"x.pem\"", "x.pem: has no certificate in PEM form"),
            (
                "client_cert_file = \"x.pem\"\nclient_private_key_file = \"x.pem\"",
                "x.pem: has no certificate",
            ),
        ] {
            let table: Table = format!("{WHERE}{keys}").parse().unwrap();
            let Err(error) = parse(&table["client_tls"], folder.path()) else { panic!("{keys}") };
            let error = format!("{error:#}");
            assert!(error.contains(says) && !error.contains("SECRET"), "{error}");
        }
    }
}

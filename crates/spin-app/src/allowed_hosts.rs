//! Spin's `allowed_outbound_hosts`: which origins a component may reach. Owns the syntax and the
//! match, traps included, so that a manifest which works here works there; not the HTTP itself.

use crate::template::Template;
use anyhow::{Context, Result, anyhow, bail, ensure};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

/// What one component may reach.
#[derive(Clone, Debug)]
pub enum AllowedHosts {
    /// These origins.
    Only(Vec<AllowedHost>),
    /// An entry made from a variable is not valid. Spin finds that out at the first request, and from
    /// then on denies every one of them, allowed elsewhere in the list or not.
    Broken(String),
}

impl AllowedHosts {
    /// Expands and parses the entries as Spin does: a bad literal, or an entry that becomes empty,
    /// keeps the application from loading; any other bad expansion makes the list `Broken`.
    pub(crate) fn resolve(
        entries: &[Template],
        values: &BTreeMap<String, String>,
    ) -> Result<AllowedHosts> {
        let mut hosts = Vec::with_capacity(entries.len());
        let mut broken = None;
        for entry in entries {
            let text = entry.expand(|name| values.get(name).map(String::as_str))?;
            if text.trim().is_empty() {
                let names: Vec<_> = entry.variables().collect();
                bail!("an entry is empty (made from {:?}); it must be an origin", names.join(", "));
            }
            match AllowedHost::parse(&text) {
                Ok(host) => hosts.push(host),
                Err(error) if entry.is_literal() => return Err(error),
                Err(error) => {
                    broken.get_or_insert_with(|| format!("{error:#}"));
                }
            }
        }
        Ok(broken.map_or(AllowedHosts::Only(hosts), AllowedHosts::Broken))
    }

    /// `Err` says why not, in words that fit after "denied: ".
    pub fn check(&self, origin: &Origin) -> Result<(), String> {
        match self {
            AllowedHosts::Only(hosts) if hosts.iter().any(|host| host.allows(origin)) => Ok(()),
            AllowedHosts::Only(_) => Err("it is not among them".to_owned()),
            AllowedHosts::Broken(reason) => Err(format!("the list is not valid, {reason}")),
        }
    }
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// From the parts of an address.
    pub fn new(scheme: &str, authority: &http::uri::Authority) -> Self {
        Self {
            scheme: scheme.to_ascii_lowercase(),
            host: authority.host().to_ascii_lowercase(),
            port: authority.port_u16(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        match port {
            Some(port) => write!(f, "{scheme}://{host}:{port}"),
            None => write!(f, "{scheme}://{host}"),
        }
    }
}

/// One entry: `<scheme>://<host>[:<port>]`, each of which may be a wildcard.
#[derive(Clone, Debug, PartialEq)]
pub struct AllowedHost {
    /// None = any.
    scheme: Option<String>,
    host: HostRule,
    port: PortRule,
}

impl AllowedHost {
    fn parse(entry: &str) -> Result<Self> {
        let entry = entry.trim();
        let (scheme, rest) = entry.split_once("://").with_context(|| {
            format!("{entry:?} has no scheme; an entry is <scheme>://<host>[:<port>]")
        })?;
        let (host, rest) = rest.rsplit_once(':').unwrap_or((rest, ""));
        let (port, path) = rest.split_once('/').unwrap_or((rest, ""));
        ensure!(path.is_empty(), "{entry:?} has a path");
        ensure!(
            scheme == "*" || scheme.chars().all(char::is_alphabetic),
            "{entry:?} has a scheme that is not made of letters"
        );
        Ok(Self {
            scheme: (scheme != "*").then(|| scheme.to_owned()),
            host: HostRule::parse(host).with_context(|| format!("{entry:?}"))?,
            port: PortRule::parse(port, scheme).with_context(|| format!("{entry:?}"))?,
        })
    }

    fn allows(&self, origin: &Origin) -> bool {
        self.scheme.as_ref().is_none_or(|scheme| *scheme == origin.scheme)
            && self.host.allows(&origin.host)
            && self.port.allows(origin.port.or_else(|| default_port(&origin.scheme)))
    }
}

#[derive(Clone, Debug, PartialEq)]
enum HostRule {
    Any,
    /// With its leading dot.
    Subdomains(String),
    Exactly(String),
    Network(IpNet),
    /// `self`: the application's own HTTP routes, of which there are none here.
    Nothing,
}

impl HostRule {
    fn parse(host: &str) -> Result<Self> {
        let host = host.trim();
        if host == "*" {
            return Ok(Self::Any);
        }
        if host == "self" || host == "self.alt" {
            return Ok(Self::Nothing);
        }
        if let Ok(network) = host.parse::<IpNet>() {
            return Ok(Self::Network(network));
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Self::Network(address.into()));
        }
        let (name, path) = host.split_once('/').unwrap_or((host, ""));
        ensure!(path.is_empty(), "has a path");
        ensure!(!name.starts_with('{'), "lists of hosts are not supported");
        if let Some(domain) = name.strip_prefix("*.") {
            ensure!(!domain.contains('*'), "a wildcard stands only at the start of a host");
            return Ok(Self::Subdomains(format!(".{domain}")));
        }
        ensure!(!name.contains('*'), "a wildcard stands for a whole host or its subdomains");
        Ok(Self::Exactly(name.to_owned()))
    }

    fn allows(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Subdomains(suffix) => host.ends_with(suffix),
            Self::Exactly(name) => host == name,
            Self::Network(network) => {
                host.parse::<IpAddr>().is_ok_and(|address| network.contains(&address))
            }
            Self::Nothing => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum PortRule {
    Any,
    /// End excluded, as in Spin.
    Within(Range<u16>),
    Exactly(u16),
}

impl PortRule {
    fn parse(port: &str, scheme: &str) -> Result<Self> {
        let number = |text: &str| {
            text.parse::<u16>().map_err(|_| anyhow!("port {text:?} is not a number below 65536"))
        };
        match (port, port.split_once("..")) {
            ("", _) => default_port(scheme)
                .map(Self::Exactly)
                .with_context(|| format!("a port is needed: scheme {scheme:?} has no usual one")),
            ("*", _) => Ok(Self::Any),
            (_, Some((start, end))) => Ok(Self::Within(number(start)?..number(end)?)),
            (port, None) => Ok(Self::Exactly(number(port)?)),
        }
    }

    fn allows(&self, port: Option<u16>) -> bool {
        match self {
            Self::Any => true,
            Self::Within(range) => port.is_some_and(|port| range.contains(&port)),
            Self::Exactly(only) => port == Some(*only),
        }
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Origin {
        let uri: http::Uri = url.parse().unwrap();
        Origin::new(uri.scheme_str().unwrap(), uri.authority().unwrap())
    }

    fn resolve(entries: &[&str], values: &[(&str, &str)]) -> Result<AllowedHosts> {
        let entries: Vec<_> = entries.iter().map(|text| Template::parse(text).unwrap()).collect();
        let values = values.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        AllowedHosts::resolve(&entries, &values.collect())
    }

    #[test]
    fn entry_check_allows_only_its_origin() {
        for (entry, allowed, denied) in [
            (
                "http://a",
                &["http://a", "http://a:80", "http://A/x?y"][..],
                &["https://a", "http://a:8080", "http://b", "http://x.a"][..],
            ),
            ("https://a/", &["https://a", "https://a:443/v"], &["http://a:443", "https://a:80"]),
            ("http://a:8080/", &["http://a:8080"], &["http://a"]),
            ("*://a:*", &["http://a:1", "https://a"], &["http://b"]),
            ("http://*.a", &["http://x.a", "http://y.x.a"], &["http://a", "http://xa"]),
            ("*://*:*", &["http://a:1", "https://[::1]:2"], &[]),
            ("https://*", &["https://a"], &["https://a:8443", "http://a"]),
            ("http://a:1..3", &["http://a:1", "http://a:2"], &["http://a:3"]),
            ("http://10.0.0.0/8", &["http://10.1.2.3"], &["http://11.0.0.1", "http://a"]),
            ("http://127.0.0.1:80", &["http://127.0.0.1"], &["http://127.0.0.2"]),
            ("http://[::1]:80", &["http://[::1]"], &["http://[::2]"]),
            ("http://self", &[], &["http://self"]),
        ] {
            let hosts = resolve(&[entry], &[]).unwrap();
            for url in allowed {
                assert_eq!(hosts.check(&origin(url)), Ok(()), "{entry} should allow {url}");
            }
            for url in denied {
                assert!(hosts.check(&origin(url)).is_err(), "{entry} should deny {url}");
            }
        }
    }

    #[test]
    fn no_entries_check_denies() {
        assert!(resolve(&[], &[]).unwrap().check(&origin("http://a")).is_err());
    }

    #[test]
    fn bad_literal_resolve_refuses_to_load() {
        for entry in
            ["", "*", "a", "http://a/x", "http://a:80/x", "http://a:x", "tcp://a", "http://a*b"]
        {
            assert!(resolve(&[entry], &[]).is_err(), "{entry:?}");
        }
    }

    #[test]
    fn empty_expansion_resolve_refuses_to_load() {
        let error = resolve(&["{{ gateway_url }}"], &[("gateway_url", "")]).unwrap_err();
        assert!(error.to_string().contains("gateway_url"), "{error}");
    }

    #[test]
    fn expansion_with_path_check_denies_every_request() {
        let hosts = resolve(&["http://a", "{{ url }}"], &[("url", "http://b:1/lapi")]).unwrap();
        for url in ["http://a", "http://b:1"] {
            let reason = hosts.check(&origin(url)).unwrap_err();
            assert!(reason.contains("\"http://b:1/lapi\" has a path"), "{reason}");
        }
    }
}

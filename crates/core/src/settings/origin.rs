//! The origins of the APIs that the program talks to.

use std::fmt;

use crate::log::clip;

/// `scheme://host[:port]`, without a slash at the end.
///
/// Not more, because Spin makes `allowed_outbound_hosts` from the same variables and an entry with
/// a path denies every request at run time, as does one in capitals: the list is compared as it is
/// written, and the request's scheme and host are in small letters by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Scheme, host and port, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The reserved name (RFC 2606) that means "no Pushgateway". Not the empty string: Spin refuses to
/// load an application whose `allowed_outbound_hosts` expands to one.
pub const PUSHGATEWAY_OFF: &str = "http://pushgateway.invalid";

/// The text is not repeated in a problem beyond its scheme and host: people paste keys into the
/// wrong place, and put passwords into URLs.
pub(super) fn parse(text: &str) -> Result<Origin, String> {
    if text.is_empty() {
        return Err("is empty; set it to scheme://host[:port]".into());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("has no scheme; write http://host[:port] or https://host[:port]".into());
    };
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err("has another scheme than http and https".into());
    }
    let rest = rest.trim_end_matches('/');
    if rest.contains('@') {
        return Err(
            "has a user name or password in it; it must be only scheme://host[:port]".into()
        );
    }
    if let Some((origin, _)) = rest.split_once(['/', '?', '#']) {
        let shown = clip(origin, 80);
        return Err(format!(
            "has a path; it must be only {scheme}://{shown}, because Spin would deny every request to it"
        ));
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let shown = clip(&rest.to_ascii_lowercase(), 80);
        return Err(format!(
            "has capital letters; write {scheme}://{shown}, because Spin would deny every request to it"
        ));
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(bracketed) => {
            let (host, after) =
                bracketed.split_once(']').ok_or("has an IPv6 address that is not closed by ]")?;
            host.parse::<std::net::Ipv6Addr>()
                .map_err(|_| "has something else than an IPv6 address between the brackets")?;
            match after {
                "" => (host, None),
                _ => (host, Some(after.strip_prefix(':').unwrap_or("none"))),
            }
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let host_ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(host_ok) {
        return Err("has no host name, or one with a character that no host name has".into());
    }
    if let Some(port) = port
        && (port.starts_with('+') || !port.parse::<u16>().is_ok_and(|port| port > 0))
    {
        return Err("has a port that is not a number from 1 to 65535".into());
    }
    Ok(Origin(format!("{scheme}://{rest}")))
}

//! What a LAPI answer asks for, by the judge's own reading of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use super::rows::{Row, rows};
use super::terms::Terms;

/// What is asked for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Reading {
    pub(crate) at: Duration,
    /// By the clock of the run's host, in Unix seconds.
    pub(crate) unix: u64,
    /// What should be on the lists, each on the list that takes it.
    pub(crate) lists: BTreeMap<IpNet, Want>,
    /// What should be in KV.
    pub(crate) keys: BTreeMap<IpNet, Want>,
    /// Countries, by their letters, and autonomous systems, as `AS64496`.
    pub(crate) regions: BTreeMap<String, Want>,
}

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) strength: Strength,
    /// Decided here, not by the community, a subscribed list or an import.
    pub(crate) own: bool,
    /// By the clock of the run's host, in Unix seconds.
    pub(crate) ends: u64,
}

/// 0 = a visitor passes, 1 = he is challenged, 2 = he is refused.
pub(crate) type Strength = u8;
pub(crate) const PASS: Strength = 0;
pub(crate) const CHALLENGE: Strength = 1;
pub(crate) const BLOCK: Strength = 2;

/// An address or a network in the one form in which it is compared.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    let net = match text.split_once('/') {
        None => IpNet::from(text.parse::<IpAddr>().ok()?),
        Some((address, length)) => {
            let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
            let length = digits.then(|| length.parse().ok()).flatten()?;
            IpNet::new(address.parse().ok()?, length).ok()?
        }
    };
    if let IpNet::V6(v6) = net
        && v6.prefix_len() >= 96
        && let Some(v4) = v6.addr().to_ipv4_mapped()
    {
        return Some(Ipv4Net::new(v4, v6.prefix_len() - 96).ok()?.trunc().into());
    }
    Some(net.trunc())
}

pub(crate) fn is_single(net: &IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}

/// As Cloudflare writes it.
pub(crate) fn written(net: &IpNet) -> String {
    if is_single(net) { net.addr().to_string() } else { net.to_string() }
}

impl Reading {
    /// `None` = the body is no list of decisions.
    pub(crate) fn of(body: &[u8], terms: &Terms, at: Duration, unix: u64) -> Option<Self> {
        let rows = rows(body)?;
        let mut reading = Self { at, unix, ..Self::default() };
        // What holds no decision at all is the answer to something else.
        let is_decision =
            |row: &Row<'_>| row.value.is_some() && row.kind.is_some() && row.scope.is_some();
        if !rows.is_empty() && !rows.iter().any(is_decision) {
            return None;
        }
        for row in &rows {
            reading.add(row, terms);
        }
        Some(reading)
    }

    fn add(&mut self, row: &Row<'_>, terms: &Terms) {
        let (Some(value), Some(kind), Some(scope)) = (&row.value, &row.kind, &row.scope) else {
            return;
        };
        let origin = row.origin.as_deref().unwrap_or_default();
        let scenario = row.scenario.as_deref().unwrap_or_default();
        if terms.leaves_out(origin, scenario) {
            return;
        }
        let is = |word: &str, text: &str| text.eq_ignore_ascii_case(word);
        let strength = match kind {
            _ if is("ban", kind) => BLOCK,
            _ if is("captcha", kind) => CHALLENGE,
            _ => return,
        };
        let own = !["CAPI", "lists", "cscli-import"].iter().any(|word| is(word, origin))
            && !origin.get(..6).is_some_and(|beginning| is("lists:", beginning));
        let lasts = row.duration.as_deref().and_then(go_seconds).unwrap_or(3_600);
        let want = Want { strength, own, ends: self.unix + lasts };
        if is("country", scope) && terms.countries || is("as", scope) && terms.asns {
            let name = match is("as", scope) {
                true => format!("AS{}", value.to_ascii_uppercase().trim_start_matches("AS")),
                false => value.to_ascii_uppercase(),
            };
            merge(self.regions.entry(name).or_insert(want), want);
            return;
        }
        if !(is("ip", scope) || terms.ranges && is("range", scope)) {
            return;
        }
        let Some(net) = network(value) else { return };
        if terms.protects(&net) {
            return;
        }
        let widest = if matches!(net, IpNet::V4(_)) { 8 } else { 12 };
        if net.prefix_len() >= widest
            && let Some(strength) = terms.on_list(strength)
        {
            let want = Want { strength, ..want };
            merge(self.lists.entry(net).or_insert(want), want);
        }
        if terms.kv && (is_single(&net) || terms.ranges) {
            merge(self.keys.entry(net).or_insert(want), want);
        }
    }
}

fn merge(all: &mut Want, more: Want) {
    all.strength = all.strength.max(more.strength);
    all.own |= more.own;
    all.ends = all.ends.max(more.ends);
}

/// Go's durations, in whole seconds.
fn go_seconds(text: &str) -> Option<u64> {
    if text.starts_with('-') {
        return Some(0);
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit_end = rest[end..]
            .find(|c: char| c.is_ascii_digit())
            .map_or(rest.len(), |length| end + length);
        seconds += number
            * match &rest[end..unit_end] {
                "h" => 3_600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "µs" | "us" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    Some(seconds as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_any_spelling_read_is_one_network_or_none() {
        for (text, read) in [
            ("198.51.100.3", Some("198.51.100.3")),
            (" 198.51.100.3/32 ", Some("198.51.100.3")),
            ("::ffff:198.51.100.3", Some("198.51.100.3")),
            ("203.0.113.7/24", Some("203.0.113.0/24")),
            ("2001:DB8:0:0::9", Some("2001:db8::9")),
            ("2001:db8::1/64", Some("2001:db8::/64")),
            ("198.51.100.5/33", None),
            ("010.1.2.3", None),
            ("198.51.100.5/+8", None),
            ("no address", None),
        ] {
            assert_eq!(network(text).as_ref().map(written).as_deref(), read, "{text:?}");
        }
    }

    #[test]
    fn durations_of_go_read_are_whole_seconds() {
        for (text, seconds) in [
            ("3h59m55.872842946s", Some(14_395)),
            ("587.005257ms", Some(0)),
            ("1.5µs", Some(0)),
            ("0s", Some(0)),
            ("-1m0s", Some(0)),
            ("soon", None),
        ] {
            assert_eq!(go_seconds(text), seconds, "{text}");
        }
    }

    #[test]
    fn body_that_is_no_list_of_decisions_read_is_no_reading() {
        let read = |body: &str| Reading::of(body.as_bytes(), &Terms::default(), Duration::ZERO, 0);
        for body in ["{}", "", r#"[{"id":1"#, "<html>", r#"["ban"]"#, r#"[{"id":2}]"#] {
            assert_eq!(read(body), None, "{body}");
        }
        assert!(read("null").is_some() && read("[]").is_some(), "nobody is asked for");
    }
}

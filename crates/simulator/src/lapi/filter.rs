//! The query filters of `GET /v1/decisions` (facts: crowdsec.md 1.2), quirks included: what LAPI
//! does not know it ignores, and then returns everything.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::decision::Decision;
use super::version::LapiVersion;
use crate::query::Query;

/// The parsed filters of one request.
#[derive(Debug, Default)]
pub(super) struct Filter {
    kind: Option<String>,
    value: Option<String>,
    scopes: Option<Vec<String>>,
    origins: Option<Vec<String>>,
    containing: Option<Vec<String>>,
    not_containing: Option<Vec<String>>,
    network: Option<IpNet>,
    contained_in: bool,
    id_gt: Option<u64>,
    offset: usize,
    limit: Option<usize>,
    /// Parameters without any effect.
    pub(super) ignored: Vec<String>,
}

impl Filter {
    /// The error is LAPI's message; its status is 500, not 400.
    pub(super) fn parse(query: &Query, version: LapiVersion) -> Result<Self, String> {
        let list = |text: &str| Some(text.split(',').map(str::to_owned).collect::<Vec<_>>());
        let mut filter = Self::default();
        for name in query.names() {
            let value = query.first(name).unwrap_or_default();
            match name {
                "type" => filter.kind = Some(value.to_owned()),
                "value" => filter.value = Some(value.to_owned()),
                "scopes" => filter.scopes = list(value),
                "scope" if version >= LapiVersion::SCOPE_FILTER => filter.scopes = list(value),
                "origins" => filter.origins = list(value),
                "scenarios_containing" => filter.containing = list(&value.to_lowercase()),
                "scenarios_not_containing" => filter.not_containing = list(&value.to_lowercase()),
                "ip" | "range" => {
                    filter.network = Some(parse_network(value).ok_or_else(|| {
                        format!(
                            "unable to convert '{value}' to int: invalid address: invalid ip \
                             address / range"
                        )
                    })?);
                }
                "contains" => {
                    filter.contained_in = match value {
                        "1" | "t" | "T" | "true" | "True" | "TRUE" => false,
                        "0" | "f" | "F" | "false" | "False" | "FALSE" => true,
                        _ => {
                            return Err(format!(
                                "invalid contains value : strconv.ParseBool: parsing \
                                 {value:?}: invalid syntax: invalid filter"
                            ));
                        }
                    };
                }
                // Simulated rows do not exist here; asking for them changes nothing.
                "simulated" => {}
                "limit" | "offset" | "id_gt" if version >= LapiVersion::PAGING => {
                    let number: u64 =
                        value.parse().map_err(|_| format!("invalid {name} value: {value:?}"))?;
                    match name {
                        "limit" => filter.limit = Some(number as usize),
                        "offset" => filter.offset = number as usize,
                        _ => filter.id_gt = Some(number),
                    }
                }
                other => filter.ignored.push(other.to_owned()),
            }
        }
        for scope in filter.scopes.iter_mut().flatten() {
            // Known scopes are folded to the canonical form, so rows stored as "ip" are missed.
            if let Some(canonical) = ["Ip", "Range", "Country", "AS"]
                .into_iter()
                .find(|canonical| canonical.eq_ignore_ascii_case(scope))
            {
                *scope = canonical.to_owned();
            }
        }
        Ok(filter)
    }

    /// True if every row passes.
    pub(super) fn is_empty(&self) -> bool {
        self.kind.is_none()
            && self.value.is_none()
            && self.scopes.is_none()
            && self.origins.is_none()
            && self.containing.is_none()
            && self.not_containing.is_none()
            && self.network.is_none()
            && self.id_gt.is_none()
            && self.offset == 0
            && self.limit.is_none()
    }

    pub(super) fn lets_pass(&self, row: &Decision) -> bool {
        let among = |texts: &Option<Vec<String>>, text: &str| {
            texts.as_ref().is_none_or(|texts| texts.iter().any(|t| t == text))
        };
        let scenario_has = |parts: &Vec<String>| {
            let scenario = row.scenario.to_lowercase();
            parts.iter().any(|part| scenario.contains(part))
        };
        self.kind.as_ref().is_none_or(|kind| *kind == row.kind)
            && self.value.as_ref().is_none_or(|value| *value == row.value)
            && among(&self.scopes, &row.scope)
            && among(&self.origins, &row.origin)
            && self.containing.as_ref().is_none_or(scenario_has)
            && !self.not_containing.as_ref().is_some_and(scenario_has)
            && self.id_gt.is_none_or(|id| row.id > id)
            && self.network.is_none_or(|asked| {
                parse_network(&row.value).is_some_and(|net| match self.contained_in {
                    true => asked.contains(&net),
                    false => net.contains(&asked),
                })
            })
    }

    /// The part of `rows` rows that is returned.
    pub(super) fn page(&self, rows: usize) -> Range<usize> {
        let from = self.offset.min(rows);
        from..self.limit.map_or(rows, |limit| from.saturating_add(limit).min(rows))
    }
}

/// An address or a range by number, IPv4-mapped ones as IPv4.
fn parse_network(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address.to_canonical())),
        Err(_) => text.parse::<IpNet>().ok().map(|net| net.trunc()),
    }
}

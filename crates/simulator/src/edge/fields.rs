//! The fields of a request that an expression may name, as far as they are known here (facts:
//! cloudflare-rules.md 2). Of most of them the oracle does not know the value: what a rule says about a
//! path or a header neither matches nor fails to match.

/// What a field holds, and which value the oracle has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// `ip.src`.
    Source,
    /// `ip.src.country`.
    Country,
    /// `ip.src.asnum`.
    AsNumber,
    /// An address that is not known.
    OtherIp,
    /// Text that is not known.
    OtherText,
    /// A number that is not known.
    OtherInt,
    /// Something that is or is not, and is not known.
    OtherFlag,
}

/// The types of the language, as far as they matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Ip,
    Text,
    Int,
    Flag,
}

impl Field {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "ip.src" => Self::Source,
            // The older name has the same value.
            "ip.src.country" | "ip.geoip.country" => Self::Country,
            "ip.src.asnum" | "ip.geoip.asnum" => Self::AsNumber,
            "cf.edge.server_ip" => Self::OtherIp,
            "cf.hostname.metadata"
            | "cf.ray_id"
            | "cf.verified_bot_category"
            | "cf.worker.upstream_zone"
            | "http.cookie"
            | "http.host"
            | "http.referer"
            | "http.request.body.raw"
            | "http.request.full_uri"
            | "http.request.method"
            | "http.request.uri"
            | "http.request.uri.path"
            | "http.request.uri.path.extension"
            | "http.request.uri.query"
            | "http.request.version"
            | "http.user_agent"
            | "http.x_forwarded_for"
            | "ip.geoip.continent"
            | "ip.src.city"
            | "ip.src.continent"
            | "ip.src.region" => Self::OtherText,
            "cf.bot_management.score"
            | "cf.edge.server_port"
            | "cf.threat_score"
            | "cf.waf.score"
            | "http.request.body.size"
            | "http.request.timestamp.sec" => Self::OtherInt,
            "cf.bot_management.verified_bot"
            | "cf.client.bot"
            | "cf.tls_client_auth.cert_verified"
            | "ip.geoip.is_in_european_union"
            | "ip.src.is_in_european_union"
            | "ssl" => Self::OtherFlag,
            _ => return None,
        })
    }

    pub(super) fn holds(self) -> Type {
        match self {
            Self::Source | Self::OtherIp => Type::Ip,
            Self::Country | Self::OtherText => Type::Text,
            Self::AsNumber | Self::OtherInt => Type::Int,
            Self::OtherFlag => Type::Flag,
        }
    }
}

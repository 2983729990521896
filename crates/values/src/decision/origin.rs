//! Who made a decision: this installation, a list that it subscribes to, or the community.
//!
//! Source: facts crowdsec 1.1. Origins are free text (`cscli`, `crowdsec`, `CAPI`, `lists`, whatever a
//! watcher posts), and of a subscribed list the scenario is the list's name; CrowdSec's metrics
//! write that as `lists:<name>`.

use std::fmt;

/// How near a decision's maker is to the operator; the nearest goes first when places are scarce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Made here: by a scenario, by hand, by a tool of the operator's. Also everything unknown.
    Own,
    /// From a file that somebody imported (`cscli-import`): a list that others made.
    Imported,
    /// From a list that the operator chose to subscribe to.
    Subscribed,
    /// From CrowdSec's community list (`CAPI`).
    Community,
}

/// Who made a decision. `Display` is how CrowdSec's metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin<'a> {
    source: Source,
    name: &'a str,
    /// Empty if there is none.
    list: &'a str,
}

impl<'a> Origin<'a> {
    /// From a decision's origin and scenario.
    pub fn new(name: &'a str, scenario: &'a str) -> Self {
        let name = if name.is_empty() { "unknown" } else { name };
        let (kind, list) = match name.split_once(':') {
            Some((kind, list)) if is_lists(kind) => (kind, list),
            _ if is_lists(name) => (name, scenario),
            _ => (name, ""),
        };
        let source = if is_lists(kind) {
            Source::Subscribed
        } else if kind.eq_ignore_ascii_case("CAPI") {
            Source::Community
        } else if kind.eq_ignore_ascii_case("cscli-import") {
            Source::Imported
        } else {
            Source::Own
        };
        Self { source, name: kind, list }
    }

    /// How near it is.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Whether this is its name, as `Display` writes it.
    pub fn is_named(&self, shown: &str) -> bool {
        match shown.strip_prefix(self.name) {
            Some("") => self.list.is_empty(),
            Some(rest) => !self.list.is_empty() && rest.strip_prefix(':') == Some(self.list),
            None => false,
        }
    }

    /// Whether the operator means it by `word`: the origin, or `lists:<name>` for one list. Told
    /// apart without regard to case.
    pub fn is(&self, word: &str) -> bool {
        match word.split_once(':') {
            Some((kind, list)) if is_lists(kind) => {
                self.source == Source::Subscribed && self.list.eq_ignore_ascii_case(list)
            }
            _ => self.name.eq_ignore_ascii_case(word),
        }
    }
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if !self.list.is_empty() {
            write!(f, ":{}", self.list)?;
        }
        Ok(())
    }
}

fn is_lists(word: &str) -> bool {
    word.eq_ignore_ascii_case("lists")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_of_real_installations_are_told_apart_by_how_near_they_are() {
        for (name, scenario, source, shown) in [
            ("crowdsec", "crowdsecurity/ssh-bf", Source::Own, "crowdsec"),
            ("cscli", "manual 'ban'", Source::Own, "cscli"),
            ("cscli-import", "", Source::Imported, "cscli-import"),
            ("appsec", "", Source::Own, "appsec"),
            ("console", "", Source::Own, "console"),
            ("", "", Source::Own, "unknown"),
            ("lists", "firehol_greensnow", Source::Subscribed, "lists:firehol_greensnow"),
            ("lists:tor", "whatever", Source::Subscribed, "lists:tor"),
            ("lists", "", Source::Subscribed, "lists"),
            ("CAPI", "http:scan", Source::Community, "CAPI"),
            ("capi", "", Source::Community, "capi"),
        ] {
            let origin = Origin::new(name, scenario);
            assert_eq!((origin.source(), origin.to_string().as_str()), (source, shown), "{name}");
        }
    }

    #[test]
    fn word_of_an_operator_means_an_origin_or_one_list() {
        let list = Origin::new("lists", "firehol");
        assert!(list.is("lists") && list.is("Lists:Firehol") && !list.is("lists:tor"));
        let community = Origin::new("CAPI", "http:scan");
        assert!(community.is("capi") && !community.is("lists") && !community.is("crowdsec"));
    }
}

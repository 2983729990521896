//! What the operator changes while it all goes on: settings that decide what is desired, how much fits, and who is
//! protected.

use fastrand::Rng;

use super::{Draw, pick};
use crate::script::{Event, What};

/// Settings that say what is desired or what is held back, each with values that it takes.
const ANYWHERE: [(&str, &[&str]); 7] = [
    ("scopes", &["ip", "ip,range", "ip,range,country,as"]),
    ("skip_covered", &["true", "false"]),
    ("origins_exclude", &["CAPI", "crowdsec,lists", ""]),
    ("scenarios_exclude", &["http:*", "manual", ""]),
    ("removal_guard_percent", &["0", "30", "100"]),
    ("removal_guard_count", &["0", "3", "10"]),
    ("removal_confirm_runs", &["1", "2", "5"]),
];

/// The same for lists.
const LISTS: [(&str, &[&str]); 3] = [
    ("list_items_max", &["2", "4", "9", "10000"]),
    ("write_interval_seconds", &["0", "900", "7200"]),
    ("write_backoff_seconds", &["60", "600,1200", "1800,3600"]),
];

const KV: [(&str, &[&str]); 3] = [
    ("kv_expiry_tolerance_seconds", &["60", "600", "3600"]),
    ("kv_daily_writes_max", &["10", "40", "1000"]),
    ("kv_layout", &["shards", "both", "keys"]),
];

const RULES: [(&str, &[&str]); 1] = [("rules_characters_max", &["200", "300", "4000"])];

/// Besides what the pool calls the operator's own: networks that decisions are about.
const PROTECTED: [&str; 4] =
    ["203.0.113.0/29", "198.51.100.2", "198.51.100.0/24,2001:db8::/64", "2001:db8::/48"];

impl Draw {
    /// Dice of its own: the rest of the script stays what it was.
    pub(super) fn operator_edits(&mut self, mut rng: Rng) {
        if rng.u32(..100) >= 25 {
            return;
        }
        let last = self.script.events.last().map_or(0, |event| event.at);
        let own = self.pool.own.join(",");
        let targets = self.script.targets;
        for _ in 0..1 + rng.u32(..4) {
            let at = rng.u64(..=last);
            let (name, value) = match rng.u32(..10) {
                0..3 => {
                    let networks = pick(&mut rng, &PROTECTED);
                    let values = [String::new(), own.clone(), format!("{own},{networks}")];
                    ("never_block", pick(&mut rng, &values).clone())
                }
                kind => {
                    let of: &[(&str, &[&str])] = match kind {
                        3..5 if targets.zones > 0 => &RULES,
                        3..5 if targets.kv => &KV,
                        3..6 if targets.ban_list || targets.captcha_list => &LISTS,
                        _ => &ANYWHERE,
                    };
                    let (name, values) = *pick(&mut rng, of);
                    (name, (*pick(&mut rng, values)).to_owned())
                }
            };
            self.script.events.push(Event { at, what: What::Setting(name.to_owned(), value) });
        }
        self.script.events.sort_by_key(|event| event.at);
    }
}

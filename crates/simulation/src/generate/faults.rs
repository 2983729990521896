//! What goes wrong: faults of a moment and of a while, other people, clocks and stores.

use super::Draw;
use crate::script::{Item, Place, What};

/// Faults of the LAPI.
const LAPI: [&str; 14] = [
    "answer 200 [\"ban\"]",
    "refuse",
    "silent",
    "drop-after-effect",
    "cut-body 1",
    "cut-body 40",
    "cut-body 300",
    "delay 30s",
    "delay 70s",
    "answer 403 {\"message\":\"access forbidden\"}",
    "answer 500 oops",
    "answer 200 {}",
    "answer 200 <html></html>",
    "answer 502 <html></html>",
];

/// Faults of any Cloudflare request.
const ANY: [&str; 15] = [
    "refuse",
    "silent",
    "drop-before-effect",
    "drop-after-effect",
    "cut-body 0",
    "cut-body 30",
    "delay 8s",
    "delay 25s",
    "answer 500 {\"success\":false,\"errors\":[{\"code\":10000,\"message\":\"x\"}]}",
    "answer 502 <html></html>",
    "answer 429 slow down",
    "answer 200 {}",
    "answer 200 {\"success\":false,\"errors\":[{\"code\":7003,\"message\":\"no\"}],\"result\":null}",
    "null-result",
    "no-result",
];

/// Faults of pages.
const PAGE: [&str; 4] = ["repeat-cursor", "repeat-page", "repeat-item", "empty-page-with-cursor"];

/// Faults of list writes.
const WRITE: [&str; 12] = [
    "stuck-operation",
    "slow-operation 3m",
    "slow-operation 2h",
    "slow-operation 30h",
    "fail-operation internal error",
    "fail-operation the list is at the maximum number of items",
    "vanish-operation",
    "drop-after-effect",
    "answer-after-effect 502 <html></html>",
    "answer 400 {\"success\":false,\"errors\":[{\"code\":10009,\"message\":\"what\"}]}",
    "answer 403 {\"success\":false,\"errors\":[{\"code\":10000,\"message\":\"no\"}]}",
    "answer 429 {\"success\":false,\"errors\":[{\"code\":10040,\"message\":\"slow down\"}]}",
];

impl Draw {
    /// A fault of this moment.
    pub(super) fn trouble(&mut self) {
        match self.rng.u32(..100) {
            0..65 => {
                let times = 1 + self.rng.u32(..3);
                self.fault(Some(times));
            }
            65..72 => self.event(What::FaultsEnd),
            72..84 => self.others(),
            84..87 => {
                let step =
                    *super::pick(&mut self.rng, &[-90_000, -3_600, -100, 100, 3_600, 90_000]);
                self.event(What::ClockStep(step));
            }
            87..90 => self.event(What::StoreForgets),
            90..93 => {
                let keys = [
                    "lease",
                    "lists",
                    "guard",
                    "guard-lists",
                    "ends",
                    "kv-quota",
                    "rules",
                    "guard-kv",
                ];
                let key = self.one(&keys).to_owned();
                let garbage =
                    self.one(&["", "{}", "{\"v\":1}", "null", "\u{1}\u{2}", "{\"v\":99,\"x\":1}"]);
                self.event(What::StoreGarbles(key, garbage.to_owned()));
            }
            93..96 => {
                let own = self.pool.own.join(",");
                let now = self.one(&["", "own"]);
                self.event(What::Setting(
                    "never_block".to_owned(),
                    if now == "own" { own } else { String::new() },
                ));
            }
            96..98 => {
                let dry = self.one(&["true", "false"]).to_owned();
                self.event(What::Setting("dry_run".to_owned(), dry));
            }
            _ if self.script.targets.kv && self.chance(60) => {
                let layout = self.kv_layout_changes();
                self.event(layout);
            }
            _ => {
                let places = *super::pick(&mut self.rng, &[2_u32, 5, 10_000, 10_000]);
                self.event(What::Setting("list_items_max".to_owned(), places.to_string()));
            }
        }
    }

    /// Something that lasts for a while, or until the faults end.
    pub(super) fn trouble_of_the_episode(&mut self) {
        match self.rng.u32(..100) {
            0..40 => {
                let times = self.rng.bool().then(|| 1 + self.rng.u32(..20));
                self.fault(times);
            }
            40..60 => self.event(What::FaultsEnd),
            60..68 => {
                let right = self.one(&["read", "none", "edit", "edit"]);
                let of = match self.script.targets {
                    targets if targets.kv && !targets.ban_list => "kv_permission",
                    targets if targets.zones > 0 && self.rng.bool() => "waf_permission",
                    _ => "permission",
                };
                self.event(What::Knob(format!("cloudflare.{of}={right}")));
            }
            68..71 => {
                let status = self.one(&["disabled", "expired", "active", "active"]);
                self.event(What::Knob(format!("cloudflare.token_status={status}")));
            }
            71..79 => {
                let knob = self.one(&["refused_values", "duplicate_values"]);
                let value =
                    if self.chance(70) { self.pool.value(&mut self.rng) } else { String::new() };
                // Only what can be sent can be refused.
                let value = value.trim().trim_start_matches("::ffff:").to_owned();
                self.event(What::Knob(format!("cloudflare.{knob}={value}")));
            }
            79..88 => {
                let floor = self.one(&["0s", "0s", "20m", "3h", "72h"]);
                self.event(What::Knob(format!("cloudflare.write_floor={floor}")));
            }
            _ => self.others(),
        }
    }

    fn fault(&mut self, times: Option<u32>) {
        let times = times.map_or(String::new(), |times| format!(" times={times}"));
        let skip = match self.rng.u32(..4) {
            0 => format!(" skip={}", 1 + self.rng.u32(..4)),
            _ => String::new(),
        };
        let targets = self.script.targets;
        let on_kv = targets.kv && (!targets.ban_list && !targets.captcha_list || self.rng.bool());
        let on_rules = targets.zones > 0 && self.rng.bool();
        let text = match self.rng.u32(..100) {
            0..25 => format!("lapi GET{skip}{times}: {}", self.one(&LAPI)),
            _ if on_kv => self.kv_fault(&skip, &times),
            _ if on_rules => self.rules_fault(&skip, &times),
            25..40 => {
                let path = self.one(&["/items", "/rules/lists", "/bulk_operations"]);
                format!("cloudflare GET {path}{skip}{times}: {}", self.one(&ANY))
            }
            40..50 => format!("cloudflare GET /items{skip}{times}: {}", self.one(&PAGE)),
            50..58 => {
                let method = self.one(&["POST", "PUT", "DELETE"]);
                format!("cloudflare {method} /items{skip}{times}: {}", self.one(&ANY))
            }
            58..85 => {
                let method = self.one(&["POST", "PUT", "DELETE"]);
                format!("cloudflare {method} /items{skip}{times}: {}", self.one(&WRITE))
            }
            85..92 => {
                let state = self.one(&["operation-state paused", "answer 404 {\"success\":false,\"errors\":[{\"code\":10011,\"message\":\"no such operation\"}]}"]);
                format!("cloudflare GET /bulk_operations{skip}{times}: {state}")
            }
            _ => {
                let value = self.pool.item(&mut self.rng);
                let what = self.one(&["insert-item", "remove-item"]);
                let method = self.one(&["GET", "GET", "POST", "DELETE", "PUT"]);
                format!(
                    "cloudflare {method} /items{skip}{times}: {what} {}",
                    value.replace(' ', "-")
                )
            }
        };
        self.event(What::Fault(text));
    }

    fn others(&mut self) {
        if self.script.targets.zones > 0 && self.chance(50) {
            return self.others_edit_rules();
        }
        let on_kv = self.script.targets.kv && self.chance(50);
        let place = match self.rng.u32(..10) {
            _ if on_kv => Place::Kv,
            0..6 => Place::Ban,
            6..9 => Place::Captcha,
            _ => Place::OtherList,
        };
        let what = match (self.rng.u32(..10), place) {
            (_, Place::Kv) => self.others_in_kv(),
            (0, _) => What::OthersEmpty(place),
            (1..5, _) => What::OthersTake(place, self.pool.value(&mut self.rng)),
            _ => {
                let name = if self.chance(12) {
                    self.pool.foreign(&mut self.rng)
                } else {
                    self.pool.item(&mut self.rng)
                };
                What::OthersPut(Item { place, name, value: String::new(), lasts: None })
            }
        };
        self.event(what);
    }
}

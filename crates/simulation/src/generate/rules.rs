//! What is particular to the rules of zones.

use super::Draw;
use crate::script::What;

/// Faults of a change of a rule.
const PATCH: [&str; 10] = [
    "drop-after-effect",
    "drop-before-effect",
    "answer-after-effect 502 <html></html>",
    "answer 500 oops",
    "answer 429 slow down",
    "answer 429 <html></html>",
    "answer 409 {\"success\":false,\"errors\":[{\"message\":\"conflict\"}]}",
    "answer 400 {\"success\":false,\"errors\":[{\"code\":20127,\"message\":\"x\"}]}",
    "answer 403 {\"success\":false,\"errors\":[{\"message\":\"request is not authorized\"}]}",
    "delay 25s",
];

impl Draw {
    pub(super) fn rules_settings(&mut self) {
        if self.chance(50) {
            self.knob("cloudflare.write_floor", "72h");
        }
        if self.chance(25) {
            let most = self.one(&["200", "300", "600"]);
            self.set("rules_characters_max", most);
        }
        if self.chance(30) {
            self.set("scopes", "ip,range,country,as");
        }
        for (knob, values) in [
            ("waf_patch_omitted", &["reset", "keep"][..]),
            ("waf_echo", &["verbatim", "respaced"]),
            ("waf_equal_patch_bumps", &["true", "false"]),
            ("waf_accepts_empty_sets", &["true", "false"]),
        ] {
            let value = self.one(values);
            self.knob(&format!("cloudflare.{knob}"), value);
        }
        if self.chance(20) {
            let floor = self.one(&["1m", "10m"]);
            self.knob("cloudflare.waf_write_floor", floor);
        }
        if self.chance(30) {
            let lag = self.one(&["5s", "60s"]);
            self.knob("cloudflare.waf_edge_lag", lag);
            self.knob("cloudflare.list_edge_lag", lag);
        }
    }

    pub(super) fn rules_fault(&mut self, skip: &str, times: &str) -> String {
        match self.rng.u32(..10) {
            0..3 => {
                let action = self.one(&[
                    "refuse",
                    "silent",
                    "cut-body 30",
                    "answer 502 <html></html>",
                    "null-result",
                    "no-result",
                    "answer 404 {}",
                ]);
                format!("cloudflare GET /rulesets{skip}{times}: {action}")
            }
            3..5 => {
                let method = self.one(&["GET", "PATCH"]);
                format!("cloudflare {method} /zones{skip}{times}: edit-rules {}", self.edit())
            }
            _ => format!("cloudflare PATCH /zones{skip}{times}: {}", self.one(&PATCH)),
        }
    }

    pub(super) fn others_edit_rules(&mut self) {
        let zones = u32::from(self.script.targets.zones);
        let zone = self.rng.u32(..zones) as u8;
        let edit = self.edit();
        self.event(What::OthersEdit(zone, edit));
    }

    fn edit(&mut self) -> String {
        let edits = [
            "add block (ip.src in {192.0.2.99})",
            "add log (ip.src.country eq \"DE\")",
            "add block (ip.src in $crowdsec_ban)",
            "renew-ids",
            "move-first crowdsec_edge_sync_captcha",
            "move-last crowdsec_edge_sync_ban",
        ];
        self.one(&edits).to_owned()
    }
}

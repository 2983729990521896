//! What is particular to Workers KV.

use super::Draw;
use crate::script::{Item, Place, What};

/// Faults of KV's bulk requests.
const BULK: [&str; 9] = [
    "unsuccessful-keys 1",
    "unsuccessful-keys 5",
    "drop-after-effect",
    "drop-before-effect",
    "answer-after-effect 502 <html></html>",
    "answer 500 oops",
    "answer 429 {\"success\":false,\"errors\":[{\"code\":10048,\"message\":\"day\"}]}",
    "answer 400 {\"success\":false,\"errors\":[{\"code\":10012,\"message\":\"no\"}]}",
    "delay 25s",
];

/// `kv_layout`.
const LAYOUTS: [&str; 4] = ["shards", "shards", "both", "keys"];

impl Draw {
    /// Another layout from now on.
    pub(super) fn kv_layout_changes(&mut self) -> What {
        let layout = self.one(&LAYOUTS);
        What::Setting("kv_layout".to_owned(), layout.to_owned())
    }

    pub(super) fn kv_settings(&mut self) {
        if self.chance(25) {
            let writes = *super::pick(&mut self.rng, &[4_u32, 10, 40, 1_000]);
            self.set("kv_daily_writes_max", writes);
        }
        if self.chance(20) {
            let tolerance = self.one(&["60", "3600"]);
            self.set("kv_expiry_tolerance_seconds", tolerance);
        }
        if self.chance(25) {
            let lag = self.one(&["5s", "60s"]);
            self.knob("cloudflare.kv_list_lag", lag);
        }
        let end = self.one(&["absent", "empty", "null", "no-result-info"]);
        self.knob("cloudflare.kv_page_end", end);
        let reply = self.one(&["full", "null", "empty"]);
        self.knob("cloudflare.kv_bulk_reply", reply);
        if self.chance(20) {
            self.knob("cloudflare.kv_key_write_interval", "1s");
        }
        // Settings come once, and once more as they change, so that migrations go both ways.
        if self.chance(45) {
            let layout = self.one(&LAYOUTS);
            self.set("kv_layout", layout);
        }
        // Regions stand beside the ranges, in either layout.
        if self.chance(35) {
            let scopes = self.one(&["ip,range,country,as", "ip,range,country,as", "ip,country"]);
            self.set("scopes", scopes);
        }
        if self.chance(10) {
            let (writes, deletes) = (5 + self.rng.u32(..40), 5 + self.rng.u32(..40));
            self.knob("cloudflare.kv_daily_writes", writes);
            self.knob("cloudflare.kv_daily_deletes", deletes);
        }
    }

    pub(super) fn kv_before(&mut self) {
        let count = 1 + self.rng.usize(..8);
        for _ in 0..count {
            let item = self.key();
            self.script.before.push(item);
        }
    }

    fn key(&mut self) -> Item {
        let name = match self.rng.u32(..10) {
            0 => "other:key".to_owned(),
            1 => "ip:nobody".to_owned(),
            2 => "ranges".to_owned(),
            _ => format!("ip:{}", self.pool.value(&mut self.rng).trim()),
        };
        let value = self.one(&["ban", "captcha", "ban", "{}"]).to_owned();
        let lasts = self.rng.bool().then(|| self.now / 1_000 + 60 + self.rng.u64(..100_000));
        Item { place: Place::Kv, name, value, lasts }
    }

    pub(super) fn others_in_kv(&mut self) -> What {
        match self.rng.u32(..10) {
            0 => What::OthersEmpty(Place::Kv),
            1..5 => {
                What::OthersTake(Place::Kv, format!("ip:{}", self.pool.value(&mut self.rng).trim()))
            }
            _ => What::OthersPut(self.key()),
        }
    }

    pub(super) fn kv_fault(&mut self, skip: &str, times: &str) -> String {
        match self.rng.u32(..10) {
            0..3 => {
                let path = self.one(&["GET /keys", "GET /values", "POST /bulk/get"]);
                let action = self.one(&[
                    "refuse",
                    "silent",
                    "cut-body 30",
                    "answer 502 <html></html>",
                    "null-result",
                    "no-result",
                    "delay 25s",
                    "repeat-page",
                    "repeat-item",
                    "empty-page-with-cursor",
                    "repeat-cursor",
                ]);
                format!("cloudflare {path}{skip}{times}: {action}")
            }
            _ => {
                let request = self.one(&["PUT /bulk", "POST /bulk/delete", "/bulk"]);
                // Where the answer does not name them, nobody can know.
                let names_them =
                    self.script.knobs.iter().any(|knob| knob.ends_with("kv_bulk_reply=full"));
                let bulk = if names_them { &BULK[..] } else { &BULK[2..] };
                format!("cloudflare {request}{skip}{times}: {}", self.one(bulk))
            }
        }
    }
}

//! What is particular to Workers KV.

use fastrand::Rng;

use super::{Draw, pick};
use crate::script::{Decide, Event, Item, Place, Run, What};

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

/// Ranges, each with an address inside of it.
const RANGES: [(&str, &str); 5] = [
    ("203.0.113.0/24", "203.0.113.5"),
    ("203.0.113.0/29", "203.0.113.4"),
    ("198.51.100.0/28", "198.51.100.9"),
    ("192.0.2.32/27", "192.0.2.33"),
    ("2001:db8::/64", "2001:db8::3"),
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

    /// Ranges that come and go while somebody inside comes by himself; and runs a moment apart. Dice of its own: the
    /// rest of the script stays what it was.
    pub(super) fn kv_ranges_go(&mut self, mut rng: Rng) {
        if !self.script.targets.kv || rng.u32(..100) >= 40 {
            return;
        }
        let scopes = self.script.settings.get("scopes").map_or("", String::as_str);
        if !scopes.contains("range") {
            self.set("scopes", "ip,range");
        }
        if rng.bool() {
            self.knob("cloudflare.kv_key_write_interval", "1s");
        }
        if rng.u32(..100) < 10 {
            self.knob("cloudflare.kv_value_lag", pick(&mut rng, &["5s", "60s"]));
        }
        let is_run = |event: &&Event| matches!(event.what, What::Run(_));
        let runs: Vec<u64> =
            self.script.events.iter().filter(is_run).map(|event| event.at).collect();
        for _ in 0..2 + rng.u32(..6) {
            let at = *pick(&mut rng, &runs);
            let (net, inside) = *pick(&mut rng, &RANGES);
            let before = at.saturating_sub(1);
            // Some runs see the range before it goes.
            let mut add = vec![(at.saturating_sub(600_000), decides(&mut rng, net, true))];
            add.push((before, What::Lift(net.to_owned())));
            match rng.u32(..8) {
                0 => add.push((before, decides(&mut rng, net, false))),
                1 => add.push((before, decides(&mut rng, RANGES[0].0, true))),
                _ => {}
            }
            let is_ban = rng.bool();
            add.push((before, decides(&mut rng, inside, is_ban)));
            if rng.u32(..100) < self.wild {
                add.push((before, What::Fault(self.kv_fault("", " times=2"))));
            }
            if rng.u32(..100) < 40 {
                let (other, _) = *pick(&mut rng, &RANGES);
                let is_ban = rng.bool();
                add.push((at + 1, decides(&mut rng, other, is_ban)));
                add.push((at + 1 + rng.u64(..2_500), What::Run(Run::default())));
            }
            self.script.events.extend(add.into_iter().map(|(at, what)| Event { at, what }));
        }
        self.script.events.sort_by_key(|event| event.at);
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

fn decides(rng: &mut Rng, value: &str, is_ban: bool) -> What {
    What::Decide(Decide {
        value: value.to_owned(),
        kind: if is_ban { "ban" } else { "captcha" }.to_owned(),
        scope: if value.contains('/') { "Range" } else { "Ip" }.to_owned(),
        origin: pick(rng, &["crowdsec", "CAPI", "CAPI", "lists"]).to_string(),
        scenario: String::new(),
        lasts: 86_400 * 30,
    })
}

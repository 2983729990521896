//! The account: its plan, its limiter, how fast it is, and which of the API's forms it has.

use fastrand::Rng;

use super::{Draw, pick};

impl Draw {
    pub(super) fn account(&mut self) {
        if self.chance(35) {
            let floor = self.one(&["72h", "3h", "20m", "5m"]);
            self.knob("cloudflare.write_floor", floor);
            if self.chance(30) {
                let after = self.rng.u32(..8);
                self.knob("cloudflare.write_floor_after", after);
            }
            let body = self.one(&["envelope", "plain-text", "html"]);
            self.knob("cloudflare.limiter_body", body);
        }
        if self.chance(50) {
            self.knob("cloudflare.pending_mode", "queue");
        }
        let delay =
            self.one(&["0s", "0s", "700ms", "700ms", "700ms", "700ms", "5s", "5s", "40s", "10m"]);
        self.knob("cloudflare.operation_delay", delay);
        if self.chance(30) {
            let is_short = self.script.settings.contains_key("run_budget_seconds");
            let latency = self.one(&["150ms", "1s", "6s"]);
            self.knob("cloudflare.latency", if is_short { "150ms" } else { latency });
        }
        if self.chance(20) {
            let is_short = self.script.settings.contains_key("run_budget_seconds");
            let latency = self.one(&["400ms", "10s", "25s"]);
            self.knob("lapi.latency", if is_short { "400ms" } else { latency });
        }
        if self.chance(12) {
            let lag = self.one(&["3s", "20s", "60s"]);
            self.knob("cloudflare.list_read_lag", lag);
        }
        if self.chance(15) {
            let lifetime = self.one(&["1s", "20s", "1h"]);
            self.knob("cloudflare.operation_lifetime", lifetime);
        }
        let end = self.one(&["absent", "empty", "null", "no-result-info"]);
        self.knob("cloudflare.page_end", end);
        if self.chance(30) {
            self.knob("cloudflare.page_cursors", "offset");
        }
        if self.chance(30) {
            self.knob("cloudflare.item_noise", "true");
        }
        if self.chance(30) {
            self.knob("cloudflare.accepted_status", "201");
        }
        let form = self.one(&["position", "value", "bare"]);
        self.knob("cloudflare.refusal_form", form);
        let denied = self.one(&["forbidden", "unauthorized", "uncoded"]);
        self.knob("cloudflare.denied", denied);
        if self.chance(20) {
            let after = self.one(&["", "0", "3600", "18446744073709551615", "soon"]);
            self.knob("cloudflare.retry_after", after);
        }
        if self.chance(20) {
            self.knob("chunk_bytes", "17");
        }
        if self.chance(50) {
            self.knob("lapi.shuffle_rows", "true");
        }
        if self.chance(5) {
            let places = 4 + self.rng.u32(..20);
            self.knob("cloudflare.account_items_max", places);
        }
    }

    /// How many items a page has, so that short lists are of many pages and worth being remembered; and whether the
    /// lists' marks tell of every change. Dice of its own: the rest of the script stays what it was.
    pub(super) fn pages(&mut self, mut rng: Rng) {
        let is_slow = self.script.knobs.iter().any(|knob| knob.starts_with("cloudflare.latency"));
        if is_slow || rng.u32(..100) >= 50 {
            return;
        }
        self.knob("cloudflare.page_items_max", 1 + rng.u32(..3));
        let moves = pick(
            &mut rng,
            &["acceptance", "completion", "completion", "completion", "never", "ours"],
        );
        self.knob("cloudflare.modified_on", moves);
        if rng.u32(..100) < 30 {
            let seconds = pick(&mut rng, &["0", "300", "3600"]);
            self.set("edge_audit_seconds", seconds);
        }
    }
}

//! A seed makes a bad day. It draws everything beforehand, so that a script that is shrunk plays the rest
//! unchanged.
//!
//! A day is a row of episodes: runs two minutes apart, while things happen to them; between episodes pass
//! minutes, hours or days.

mod account;
mod edits;
mod faults;
mod kv;
mod rules;
mod values;

use fastrand::Rng;

use crate::script::{Decide, Event, Item, Place, Run, Script, StoreMood, Targets, What};
use values::Pool;

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Focus {
    /// The IP lists.
    pub lists: bool,
    /// Workers KV.
    pub kv: bool,
    /// The rules of zones.
    pub rules: bool,
    /// The longest time that the faults last, in days; 0 = as the seed wants.
    pub days: u64,
}

impl Default for Focus {
    fn default() -> Self {
        Self { lists: true, kv: true, rules: true, days: 0 }
    }
}

impl std::str::FromStr for Focus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut focus = Self { lists: false, kv: false, rules: false, days: 0 };
        for word in text.split(',') {
            match word.trim() {
                "lists" => focus.lists = true,
                "kv" => focus.kv = true,
                "rules" => focus.rules = true,
                other => return Err(format!("{other:?} is none of lists, kv, rules")),
            }
        }
        Ok(focus)
    }
}

/// Draws, and what is drawn.
struct Draw {
    rng: Rng,
    script: Script,
    /// Milliseconds since the start.
    now: u64,
    pool: Pool,
    /// How wild it is: the part of things that go wrong, in percent.
    wild: u32,
    /// Which values have a decision, as far as is known here.
    decided: Vec<(String, String)>,
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The script of a seed.
pub fn generate(seed: u64, focus: Focus) -> Script {
    let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5157);
    let wild = *pick(&mut rng, &[0, 10, 25, 25, 50, 80]);
    let targets = targets(&mut rng, focus);
    let pool = Pool::draw(&mut rng);
    let script = Script { seed, targets, ..Script::default() };
    let mut draw = Draw { rng, script, now: 0, pool, wild, decided: Vec::new() };
    draw.settings();
    draw.account();
    draw.pages(Rng::with_seed(seed ^ 0x0a9e5));
    draw.before();
    draw.episodes(focus.days);
    draw.kv_ranges_go(Rng::with_seed(seed ^ 0x4b76));
    draw.operator_edits(Rng::with_seed(seed ^ 0xed17));
    draw.script
}

fn targets(rng: &mut Rng, focus: Focus) -> Targets {
    let mut all = Vec::new();
    if focus.lists {
        all.extend(["lists"; 4]);
    }
    if focus.kv {
        all.extend(["kv"; 3]);
    }
    if focus.rules {
        all.extend(["rules"; 3]);
    }
    if focus.lists && focus.kv {
        all.push("both");
    }
    let mut targets = Targets::default();
    let what: &str = all[rng.usize(..all.len())];
    match what {
        "kv" => targets.kv = true,
        what => {
            targets.ban_list = true;
            targets.captcha_list = true;
            match rng.u32(..10) {
                // Each of the rules has its list.
                _ if what == "rules" => {}
                0 => targets.ban_list = false,
                1 => targets.captcha_list = false,
                _ => {}
            }
            targets.kv = what == "both";
            if what == "rules" {
                targets.zones = 1 + u8::from(rng.u32(..3) == 0);
            }
        }
    }
    targets
}

pub(crate) fn pick<'a, T>(rng: &mut Rng, all: &'a [T]) -> &'a T {
    &all[rng.usize(..all.len())]
}

impl Draw {
    fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(..100) < percent
    }

    fn one<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.rng.usize(..all.len())]
    }

    fn set(&mut self, name: &str, value: impl ToString) {
        self.script.settings.insert(name.to_owned(), value.to_string());
    }

    fn knob(&mut self, name: &str, value: impl std::fmt::Display) {
        self.script.knobs.push(format!("{name}={value}"));
    }

    fn event(&mut self, what: What) {
        self.script.events.push(Event { at: self.now, what });
    }

    fn settings(&mut self) {
        if self.chance(40) {
            let percent = self.one(&["0", "30", "50", "100"]);
            self.set("removal_guard_percent", percent);
            let count = self.one(&["0", "3", "10", "10"]);
            self.set("removal_guard_count", count);
            let runs = self.one(&["1", "2", "3", "5"]);
            self.set("removal_confirm_runs", runs);
            let seconds = self.one(&["0", "300", "1800"]);
            self.set("removal_confirm_seconds", seconds);
        }
        if self.chance(30) {
            let backoff = self.one(&["60", "60,120,240", "600,1200", "1800,3600"]);
            self.set("write_backoff_seconds", backoff);
        }
        if self.chance(20) {
            let interval = self.one(&["300", "900", "7200"]);
            self.set("write_interval_seconds", interval);
        }
        if self.chance(20) {
            self.set("run_budget_seconds", "60");
        }
        if self.chance(12) {
            let places = 2 + self.rng.u32(..14);
            self.set("list_items_max", places);
        }
        if self.chance(40) {
            self.set("scopes", "ip,range");
            if self.chance(25) {
                self.set("skip_covered", "false");
            }
        }
        if self.chance(50) {
            let own = self.pool.own.join(",");
            self.set("never_block", own);
        }
        if self.chance(5) {
            self.set("origins_exclude", "CAPI");
        }
        if self.chance(5) {
            self.set("scenarios_exclude", "http:*");
        }
        if self.chance(30) {
            self.set("pushgateway_url", "on");
        }
        let Targets { ban_list, captcha_list, .. } = self.script.targets;
        if ban_list != captcha_list && self.chance(50) {
            self.set(if ban_list { "captcha_as_ban" } else { "ban_as_captcha" }, "true");
        }
        if self.script.targets.kv {
            self.kv_settings();
        }
        if self.script.targets.zones > 0 {
            self.rules_settings();
        }
    }

    /// What another program, a person or an earlier installation left.
    fn before(&mut self) {
        if self.script.targets.kv && !self.chance(60) {
            self.kv_before();
        }
        if self.chance(55) {
            return;
        }
        let count = 1 + self.rng.usize(..12);
        for _ in 0..count {
            let name = if self.chance(10) {
                self.pool.foreign(&mut self.rng)
            } else {
                self.pool.item(&mut self.rng)
            };
            let place = if self.chance(70) { Place::Ban } else { Place::Captcha };
            self.script.before.push(Item { place, name, value: String::new(), lasts: None });
        }
    }

    fn episodes(&mut self, days: u64) {
        let some = 1 + self.rng.usize(..12);
        for _ in 0..some {
            self.decide();
        }
        let episodes = 2 + self.rng.usize(..7);
        let longest = if days > 0 {
            days * DAY
        } else {
            *pick(&mut self.rng, &[6 * HOUR, 2 * DAY, 8 * DAY, 21 * DAY])
        };
        for _ in 0..episodes {
            self.episode();
            let gap = match self.rng.u32(..10) {
                0..3 => MINUTE + self.rng.u64(..20 * MINUTE),
                3..7 => 10 * MINUTE + self.rng.u64(..3 * HOUR),
                7..9 => HOUR + self.rng.u64(..30 * HOUR),
                _ => DAY + self.rng.u64(..4 * DAY),
            };
            self.now += gap.min(longest);
            if self.now > longest {
                break;
            }
        }
    }

    fn episode(&mut self) {
        if self.rng.u32(..100) < self.wild {
            self.trouble_of_the_episode();
        }
        let runs = 2 + self.rng.usize(..9);
        for _ in 0..runs {
            self.now += self.rng.u64(..20 * SECOND);
            let changes = match self.rng.u32(..10) {
                0..4 => 0,
                4..8 => 1,
                _ => 1 + self.rng.usize(..4),
            };
            for _ in 0..changes {
                self.change();
            }
            if self.rng.u32(..130) < self.wild {
                self.trouble();
            }
            self.run();
            self.now += match self.rng.u32(..20) {
                0 => 1 + self.rng.u64(..2 * SECOND),
                1 => 7 * MINUTE,
                _ => 2 * MINUTE,
            };
        }
    }

    fn run(&mut self) {
        let mut run = Run::default();
        if self.rng.u32(..400) < self.wild {
            run.killed_at = Some(1 + self.rng.u32(..12));
            run.killed_after_effect = self.rng.bool();
        }
        if self.rng.u32(..300) < self.wild {
            run.store = match self.rng.u32(..5) {
                0 => StoreMood::Absent,
                1 => StoreMood::Errors(1 + self.rng.u32(..16)),
                2 => StoreMood::LosesWrite(1 + self.rng.u32(..8)),
                3 => StoreMood::Stale(1 + self.rng.u32(..8)),
                _ => StoreMood::Works,
            };
        }
        if self.rng.u32(..1_500) < self.wild {
            run.skew = *pick(&mut self.rng, &[-7_200, -130, -10, 10, 130, 3_600]);
        }
        self.event(What::Run(run));
    }

    /// Something that CrowdSec does.
    fn change(&mut self) {
        match self.rng.u32(..100) {
            0..50 => self.decide(),
            50..80 => self.lift(),
            80..84 => {
                let many = 12 + self.rng.usize(..40);
                let origin = self.one(&["CAPI", "lists", "crowdsec"]);
                for _ in 0..many {
                    let value = self.pool.fresh(&mut self.rng);
                    self.decide_on(value, origin);
                }
            }
            84..88 => {
                let origin = self.one(&["CAPI", "lists", "crowdsec", "cscli"]).to_owned();
                let lasts = 3_600 * (1 + self.rng.u64(..200));
                self.event(What::Reinsert(origin, lasts));
            }
            88..91 => self.event(What::LoseDatabase),
            91..95 => self.event(What::RestoreDatabase),
            95..97 => {
                let row = self.one(&[
                    r#"{"id":1,"value":null,"type":"ban","scope":"Ip","duration":"4h"}"#,
                    r#"{"id":2}"#,
                    r#"{"id":3,"origin":"cscli","type":"ban","scope":"Ip","value":"198.51.100.3","duration":"soon"}"#,
                    r#"{"id":4,"origin":7,"type":"ban","scope":"Username","value":"root","duration":"4h"}"#,
                    r#"{"id":5,"origin":"CAPI","type":"BAN","scope":"IP","value":"2001:DB8::1/128","duration":"-131.478625ms"}"#,
                    r#"{"id":6,"origin":"lists:x","scenario":null,"type":"ban","scope":"range","value":"203.0.113.4","duration":"875999h59m58.87283113s"}"#,
                    r#"{"id":7,"origin":"","type":"captcha","scope":"Ip","value":"203.0.113.0/24","duration":"587.005257ms"}"#,
                    r#"{"id":8,"origin":"cscli","type":"ban","scope":"","value":"198.51.100.1","duration":"4h"}"#,
                    r#"{"id":9,"origin":"crowdsec","type":"ban","scope":"Ip","value":"198.51.100.2","duration":"2562047h47m16.854775807s"}"#,
                ]);
                self.event(What::RawRow(row.to_owned()));
            }
            // Many at once, which is what the guard is for.
            _ => {
                let all: Vec<String> =
                    self.decided.iter().map(|(value, _)| value.clone()).collect();
                let keep = self.rng.usize(..4);
                for value in all.into_iter().skip(keep) {
                    self.event(What::Lift(value));
                }
                self.decided.truncate(keep);
            }
        }
    }

    fn decide(&mut self) {
        let value = if self.chance(4) {
            self.pool.own(&mut self.rng)
        } else {
            self.pool.value(&mut self.rng)
        };
        let origin = self.one(&["crowdsec", "cscli", "CAPI", "CAPI", "lists", "cscli-import"]);
        self.decide_on(value, origin);
    }

    fn decide_on(&mut self, value: String, origin: &str) {
        // In KV they are a few lines of one value; so that they meet each other there are more of them.
        let scopes = self.script.settings.get("scopes").map_or("", String::as_str);
        let often = if self.script.targets.kv && scopes.contains("country") { 12 } else { 3 };
        let (country, system) = (self.chance(often), self.chance(often));
        let lasts = match self.rng.u32(..10) {
            0 => 30 + self.rng.u64(..600),
            1..6 => 4 * 3_600,
            6..8 => 86_400 + self.rng.u64(..86_400),
            _ => 86_400 * (7 + self.rng.u64(..350)),
        };
        let kind = match self.rng.u32(..20) {
            0..13 => "ban",
            13..18 => "captcha",
            18 => "Captcha",
            _ => "throttle",
        };
        let (value, scope) = match (country, system) {
            (true, _) => (self.one(&["CN", "t1", "de", "Atlantis"]).to_owned(), "Country"),
            (_, true) => (self.one(&["64496", "AS64511", "as64500", "-1"]).to_owned(), "AS"),
            _ if value.contains('/') && self.chance(70) => (value, "Range"),
            _ => (value, *pick(&mut self.rng, &["Ip", "Ip", "Ip", "ip"])),
        };
        let scenario = self.one(&["crowdsecurity/ssh-bf", "http:scan", "manual", ""]);
        self.decided.push((value.clone(), origin.to_owned()));
        self.event(What::Decide(Decide {
            value,
            kind: kind.to_owned(),
            scope: scope.to_owned(),
            origin: origin.to_owned(),
            scenario: scenario.to_owned(),
            lasts,
        }));
    }

    fn lift(&mut self) {
        if self.decided.is_empty() {
            return;
        }
        let at = self.rng.usize(..self.decided.len());
        let (value, _) = self.decided.swap_remove(at);
        self.event(What::Lift(value));
    }
}

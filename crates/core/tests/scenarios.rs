//! Stories: a script in `scenarios/` and, in `snapshots/`, what a person would see.
//!
//! | command | |
//! |---|---|
//! | `ban ADDRESS [FOR]`, `captcha ADDRESS [FOR]` | a decision comes, for some time (default: for ever) |
//! | `decision JSON` | a row in LAPI's answer, verbatim |
//! | `lift ADDRESS` | its decisions go |
//! | `lapi BODY` | LAPI answers this instead; `lapi` alone ends it |
//! | `targets TARGET…` | sync into these: `lists` (the default), `kv` |
//! | `ban-list ADDRESS…`, `captcha-list ADDRESS…` | items that are at the edge already |
//! | `kv-key NAME VALUE [FOR]` | a key of somebody else's: without our metadata, eternal without a time |
//! | `set NAME VALUE` | a setting |
//! | `zones COUNT` | so many zones, with the two rules that setup makes, are named by the setting |
//! | `somebody EDIT` | somebody changes the rules of the first zone: see `simulator::RulesEdit` |
//! | `fault FAULT`, `heal` | see `simulator::fault` |
//! | `knob NAME=VALUE` | an option of Cloudflare's |
//! | `wait TIME` | time passes |
//! | `run` | one run: `|` its log, `=` its result, `!` rules of the remote APIs that it broke |
//! | `edge`, `kv` | what is on the lists; the keys in the namespace and for how long |
//! | `rules` | what our rules say in the first zone |
//! | `visit ADDRESS…` | what these meet at the edge, zone by zone |
//! | `requests`, `metrics` | those of the last run |

mod common;

use std::fmt::Write as _;
use std::time::Duration;

use common::World;
use simulator::{Decision, Fate};

#[test]
fn every_story_goes_as_it_was_told() {
    insta::glob!("scenarios/*.txt", |path| {
        let script = std::fs::read_to_string(path).unwrap();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        let told = runtime.unwrap().block_on(play(&script));
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(told);
        });
    });
}

async fn play(script: &str) -> String {
    let mut world = World::new();
    let mut out = String::new();
    let mut before_run = 0;
    for line in script.lines() {
        let _ = writeln!(out, "{line}");
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "" | "#" => {}
            "ban" | "captcha" => {
                let decision = decision(command, rest, world.front.elapsed());
                world.front.world().lapi().add(decision);
            }
            "decision" => world.front.world().lapi().add_raw_row(rest),
            "lift" => {
                assert!(world.front.world().lapi().remove_value(rest) > 0, "{line}");
            }
            "lapi" => {
                let body = (!rest.is_empty()).then(|| bytes::Bytes::from(rest.to_owned()));
                world.front.world().lapi().override_body(body);
            }
            "targets" => world.target(&rest.split(' ').collect::<Vec<_>>()),
            "kv-key" => {
                let words: Vec<_> = rest.split(' ').collect();
                let lasts = words.get(2).map(|time| humantime::parse_duration(time).unwrap());
                let expires = lasts.map(|lasts| world.front.elapsed() + lasts);
                world.preload_key(words[0], words[1], expires, None);
            }
            "ban-list" => world.preload(&rest.split(' ').collect::<Vec<_>>(), &[]),
            "captcha-list" => world.preload(&[], &rest.split(' ').collect::<Vec<_>>()),
            "set" => {
                let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
                world.set(name, value);
            }
            "zones" => make_zones(&mut world, rest.parse().unwrap()),
            "somebody" => {
                let mut simulator = world.front.world();
                let (zone, _) = simulator.cloudflare().zones().remove(0);
                assert!(simulator.cloudflare().edit_rules(&zone, &rest.parse().unwrap()), "{line}");
            }
            "rules" => {
                let mut simulator = world.front.world();
                let (zone, _) = simulator.cloudflare().zones().remove(0);
                for rule in simulator.cloudflare().rules(&zone).unwrap() {
                    let off = if rule.enabled { "" } else { ", switched off" };
                    let _ = writeln!(out, "  {}{off}: {}", rule.reference, rule.expression);
                }
            }
            "visit" => {
                let mut simulator = world.front.world();
                let zones = simulator.cloudflare().zones();
                for address in rest.split(' ') {
                    let ip = address.parse().unwrap();
                    let meets = |(zone, _): &(String, String), edge: &simulator::Edge| {
                        edge.decide(zone, ip, &simulator::Visitor::default()).to_string()
                    };
                    let edge = simulator.edge();
                    let met: Vec<_> = zones.iter().map(|zone| meets(zone, edge)).collect();
                    let _ = writeln!(out, "  {address}: {}", met.join(", "));
                }
            }
            "fault" => world.fault(&name_zones(&world, rest, true)),
            "heal" => world.front.world().clear_faults(),
            "knob" => {
                let mut options = world.front.world().options().clone();
                options.set(rest).unwrap();
                world.front.world().cloudflare().configure(|knobs| *knobs = options.cloudflare);
            }
            "wait" => tokio::time::sleep(humantime::parse_duration(rest).unwrap()).await,
            "run" => {
                before_run = world.front.world().journal().len();
                let began = world.front.elapsed();
                let result = world.run().await;
                for (at, line) in world.take_lines() {
                    let at = (at - began).as_secs_f64();
                    let level = format!("{:?}", line.level).to_uppercase();
                    let text = name_zones(&world, line.text(), false);
                    let _ = writeln!(out, "  | +{at:.1}s {level:<5} {text}");
                }
                let _ = writeln!(out, "  = {}", if result.is_ok() { "ok" } else { "error" });
                for broken in world.take_violations() {
                    let _ = writeln!(out, "  ! {broken}");
                }
            }
            "edge" => {
                let (ban, captcha) = world.edge();
                let _ = writeln!(out, "  ban: {}", ban.join(" "));
                let _ = writeln!(out, "  captcha: {}", captcha.join(" "));
            }
            "kv" => {
                let now = world.unix_now();
                for (key, entry) in world.keys() {
                    let left = match entry.expiration_unix {
                        Some(at) => format!("{} s left", at - now),
                        None => "for ever".to_owned(),
                    };
                    let whose = if entry.metadata.is_some() { "" } else { ", not by us" };
                    let _ = writeln!(out, "  {key} = {}, {left}{whose}", entry.value);
                }
            }
            "requests" => {
                for entry in &world.journal(|_| true)[before_run..] {
                    let target = name_zones(&world, &entry.target, false);
                    let target = target.replace(&world.ban_list, "BAN");
                    let target = target.replace(&world.captcha_list, "CAPTCHA");
                    let target = target.rsplit("/accounts/").next().unwrap_or_default();
                    let target = target.split_once("/rules").map_or(target, |(_, rest)| rest);
                    let target = match target.split_once("/storage/kv/namespaces/") {
                        Some((_, path)) => &path.replace(&world.namespace, "/kv"),
                        None => target,
                    };
                    let target = match target.split_once("bulk_operations/") {
                        Some(_) => "/lists/bulk_operations/…",
                        None => target,
                    };
                    let _ = writeln!(
                        out,
                        "  {} {} {target} -> {}",
                        entry.service,
                        entry.method,
                        fate(&entry.fate)
                    );
                }
            }
            "metrics" => {
                let exposition = world.front.world().pushgateway().exposition();
                let ours = exposition.lines().filter(|line| line.starts_with("crowdsec_"));
                for line in ours {
                    let line = line.replace(r#"instance="",job="crowdsec-cf-list-sync""#, "");
                    let line = line.replace(r#"instance="",job="crowdsec-kv-sync""#, "");
                    let line = name_zones(&world, &line, false);
                    let line = line.replace(",,", ",").replace("{,", "{").replace(",}", "}");
                    let line = line.replace("{}", "");
                    let _ = writeln!(out, "  {line}");
                }
            }
            _ => panic!("no such command: {line}"),
        }
    }
    out
}

fn make_zones(world: &mut World, count: usize) {
    let mut ids = Vec::new();
    for n in 1..=count {
        let mut simulator = world.front.world();
        let cloudflare = simulator.cloudflare();
        let zone = cloudflare.create_zone(&format!("{n}.example"));
        for (action, list, name) in [
            ("block", "crowdsec_ban", "crowdsec_edge_sync_ban"),
            ("managed_challenge", "crowdsec_captcha", "crowdsec_edge_sync_captcha"),
        ] {
            let id = cloudflare.add_rule(&zone, action, &format!("(ip.src in ${list})"));
            cloudflare.edit_rule(&zone, &id, |rule| rule.reference = name.to_owned());
        }
        ids.push(zone);
    }
    world.set("cf_rules_zones", &ids.join(","));
}

/// The ids of zones as names, `ZONE1`, or the other way round.
fn name_zones(world: &World, text: &str, back: bool) -> String {
    let zones = world.front.world().cloudflare().zones();
    zones.iter().zip(1..).fold(text.to_owned(), |text, ((id, _), n)| {
        let name = format!("ZONE{n}");
        if back { text.replace(&name, id) } else { text.replace(id, &name) }
    })
}

fn fate(fate: &Fate) -> String {
    match fate {
        Fate::Status(status) => status.to_string(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// A decision that is made `now` and holds for the time at the end of `rest`.
fn decision(kind: &str, rest: &str, now: Duration) -> Decision {
    let (value, time) = rest.split_once(' ').unwrap_or((rest, "10000d"));
    let until = now + humantime::parse_duration(time).unwrap();
    match kind {
        "ban" => Decision::ban(value).until(until),
        _ => Decision::captcha(value).until(until),
    }
}

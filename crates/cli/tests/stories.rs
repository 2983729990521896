//! What an operator sees: commands and their whole output, of worlds in which something is going on. The store is
//! the file that a run has left, as Spin keeps it. How long ago the last run was is cut out.

mod common;

use common::World;
use serde_json::Value;
use simulator::Decision;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the decisions of these stories hold.
const LASTS: Duration = Duration::from_secs(4 * 3_600);

/// A world whose only target is KV.
async fn kv_alone() -> World {
    let mut world = lists().await;
    let namespace = world.namespace.clone();
    for (name, value) in [
        ("cf_kv_namespace_id", namespace.as_str()),
        ("cf_ban_list_id", ""),
        ("cf_captcha_list_id", ""),
    ] {
        world.set(name, value);
    }
    world
}

/// A world with the lists only, and its own address protected.
async fn lists() -> World {
    let mut world = World::new().await;
    world.set("cf_kv_namespace_id", "");
    world.set("pushgateway_url", "http://pushgateway.invalid");
    world.set("never_block", "198.51.100.7");
    world
}

fn ban(world: &World, addresses: &[&str]) {
    let bans = addresses
        .iter()
        .map(|address| Decision::ban(*address).until(LASTS).scenario("crowdsecurity/ssh-bf"));
    world.simulator().lapi().add_all(bans);
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A story: each command with what it prints and how it ends. What it prints as JSON fits its schema.
async fn story(world: &World, commands: &[&str]) -> String {
    let mut told = String::new();
    for command in commands {
        let arguments: Vec<_> = command.split(' ').collect();
        let (code, said) = world.tool(&arguments).await;
        for line in said.lines().filter(|line| line.split_whitespace().count() > 2) {
            assert!(line.chars().count() <= 80, "{line}");
        }
        told.push_str(&format!("$ edge-sync {command}\n{}", still(&said)));
        told.push_str(&format!("[exit code {code}]\n\n"));
        let schema = match arguments[0] {
            "plan" => include_str!("../schemas/plan.json"),
            "why" => include_str!("../schemas/why.json"),
            "status" => include_str!("../schemas/status.json"),
            _ => continue,
        };
        let plain = arguments.iter().filter(|argument| !argument.starts_with("--"));
        let arguments: Vec<_> = plain.copied().chain(["--json"]).collect();
        let (_, said) = world.tool(&arguments).await;
        // Without settings there is nothing, and without a store no status.
        let Ok(json) = serde_json::from_str::<Value>(&said) else {
            assert!(code == 1 && said.starts_with("edge-sync: "), "{said}");
            continue;
        };
        let schema: Value = serde_json::from_str(schema).unwrap();
        let schema = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<_> = schema.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{command}: {errors:?}\n{said}");
    }
    told
}

/// Without what is another at every look: how long ago, and how long it took.
fn still(said: &str) -> String {
    let lines = said.lines().map(|line| {
        let line = match line.split_once(" s ago") {
            Some((before, after)) => {
                let before = before.trim_end_matches(|c: char| c.is_ascii_digit());
                format!("{before}… ago{after}")
            }
            None => line.to_owned(),
        };
        match line.split_once("took ") {
            Some((before, _)) => format!("{before}took …\n"),
            None => line + "\n",
        }
    });
    lines.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_contact_with_a_list_of_somebody_elses() {
    let world = lists().await;
    ban(&world, &["203.0.113.7", "203.0.113.8"]);
    let own = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    world.simulator().cloudflare().preload(&world.ban_list, own);
    let before = story(&world, &["status", "plan --exit-code", "why 192.0.2.1", "doctor"]).await;
    world.run().await;
    let after = story(&world, &["status", "plan", "why 192.0.2.1", "why 203.0.113.7"]).await;
    insta::assert_snapshot!(before + &after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_as_desired() {
    let world = lists().await;
    ban(&world, &["203.0.113.7"]);
    world.run().await;
    world.run().await;
    let commands = ["plan --exit-code", "why 203.0.113.7", "why 203.0.113.9", "status"];
    insta::assert_snapshot!(story(&world, &commands).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_that_was_throttled_is_waited_out_by_every_command() {
    let world = lists().await;
    ban(&world, &["203.0.113.7"]);
    world.fault("cloudflare POST: answer 429 {\"success\":false,\"errors\":[{\"code\":10040,\"message\":\"please wait\"}]}");
    world.run().await;
    let commands = ["plan --exit-code", "why 203.0.113.7", "status", "doctor"];
    insta::assert_snapshot!(story(&world, &commands).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guard_holds_removals_until_enough_runs_have_found_them() {
    let mut world = lists().await;
    world.set("removal_confirm_runs", "2");
    world.set("removal_confirm_seconds", "0");
    ban(&world, &["203.0.113.7"]);
    world.run().await;
    world.simulator().lapi().clear();
    let before = story(&world, &["plan", "why 203.0.113.7"]).await;
    world.run().await;
    let after = story(&world, &["status", "plan", "why 203.0.113.7"]).await;
    insta::assert_snapshot!(before + &after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lapi_that_is_down_leaves_unknown_and_not_empty() {
    let world = lists().await;
    ban(&world, &["203.0.113.7"]);
    world.run().await;
    world.fault("lapi: answer 500 database is locked");
    let commands = ["plan --exit-code", "why 203.0.113.7", "why 203.0.113.7 --json", "status"];
    insta::assert_snapshot!(story(&world, &commands).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_down_are_told_apart() {
    let world = lists().await;
    world.fault("lapi: answer 403 access forbidden");
    world.fault("cloudflare GET /rules/lists: answer 403 {\"success\":false,\"errors\":[{\"code\":10000,\"message\":\"no\"}]}");
    insta::assert_snapshot!(story(&world, &["plan", "why 203.0.113.7"]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_that_are_kept_out_each_for_its_reason() {
    let mut world = lists().await;
    world.set("scopes", "ip,range");
    world.set("list_items_max", "2");
    world.set("origins_exclude", "lists:tor");
    {
        let mut simulator = world.simulator();
        let lapi = simulator.lapi();
        lapi.add(Decision::ban("198.51.100.0/24").until(LASTS).scope("Range"));
        lapi.add(Decision::ban("198.51.100.7").until(LASTS).scenario("crowdsecurity/http-probing"));
        lapi.add(Decision::ban("203.0.113.9").until(LASTS).origin("lists").scenario("tor"));
        lapi.add(Decision::ban("203.0.113.1").until(LASTS));
        lapi.add(Decision::ban("203.0.113.2").until(LASTS));
        lapi.add(
            Decision::captcha("203.0.113.3").until(LASTS).origin("CAPI").scenario("http:scan"),
        );
        lapi.add(
            Decision::ban("192.0.2.7")
                .until(LASTS)
                .scenario("forged\nlevel=info \u{1b}[2J\u{202e}"),
        );
    }
    let why = ["198.51.100.7", "198.51.100.9", "203.0.113.9", "203.0.113.3", "192.0.2.7"];
    let why: Vec<_> = why.iter().map(|address| format!("why {address}")).collect();
    let commands: Vec<_> = why.iter().map(String::as_str).chain(["plan"]).collect();
    insta::assert_snapshot!(story(&world, &commands).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn day_of_kv_that_is_used_up_is_waited_out() {
    let world = kv_alone().await;
    ban(&world, &["203.0.113.7"]);
    let day = now() / 86_400;
    let quota = format!(r#"{{"v":2,"day":{day},"written":40,"writes_exhausted_at":{}}}"#, now());
    world.remember("kv-quota", &quota);
    let told = story(&world, &["plan", "why 203.0.113.7", "status"]).await;
    insta::assert_snapshot!(without_midnight(&told));
}

/// What is remembered is of some minutes ago, so that a layout is complete for long enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migration_between_layouts_is_told_step_by_step() {
    let mut world = kv_alone().await;
    ban(&world, &["203.0.113.7", "203.0.113.8"]);
    world.run().await;
    world.set("kv_layout", "shards");
    let begin = story(&world, &["plan --exit-code", "why 203.0.113.7"]).await;
    world.run().await;
    let written = story(&world, &["plan --exit-code", "why 203.0.113.7"]).await;
    // As if it had been written an hour ago, and switched now.
    let switched = |world: &World, since: u64| {
        let mut simulator = world.simulator();
        let cloudflare = simulator.cloudflare();
        let mut all = cloudflare.kv_entries(&world.namespace);
        let wide = all.get_mut("ip:wide").expect("it was written");
        wide.value = format!("edge-sync wide 1 {since} shards {since} beside\n");
        cloudflare.kv_clear(&world.namespace);
        cloudflare.kv_preload(&world.namespace, all);
    };
    switched(&world, now());
    let kept = story(&world, &["plan --exit-code"]).await;
    switched(&world, now() - 3_600);
    world.remember("kv-quota", "{}");
    let removed = story(&world, &["plan --exit-code"]).await;
    world.set("kv_layout", "both");
    let both = story(&world, &["plan --exit-code", "why 203.0.113.7"]).await;
    insta::assert_snapshot!(begin + &written + &kept + &removed + &both);
}

/// Without the time until midnight, and without the line breaks that depend on how long that is.
fn without_midnight(told: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in told.lines() {
        match lines.last_mut().filter(|_| line.starts_with("    ") && !line.contains("now    then"))
        {
            Some(last) => *last += &format!(" {}", line.trim_start()),
            None => lines.push(line.to_owned()),
        }
    }
    let until = "00:00 UTC, in ";
    let lines = lines.iter().map(|line| match line.split_once(until) {
        Some((before, after)) => {
            let rest = after.find(" (").map_or("", |at| &after[at..]);
            format!("{before}{until}…{rest}\n")
        }
        None => format!("{line}\n"),
    });
    lines.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operation_left_by_a_killed_run_comes_first() {
    let world = lists().await;
    ban(&world, &["203.0.113.7"]);
    world.remember("lists", r#"{"v":1,"operation":"4f8c"}"#);
    world.remember("lease", &format!(r#"{{"v":1,"holder":7,"until":{}}}"#, now() + 90));
    insta::assert_snapshot!(still_lease(
        &story(&world, &["plan", "why 203.0.113.7", "status"]).await
    ));
}

/// A lease that runs out while the story is told.
fn still_lease(told: &str) -> String {
    told.replace("1 min more", "2 min more").replace("at most 1 min", "at most 2 min")
}

/// A zone with the two rules that setup makes; gives its id, which is another in every world.
fn zone(world: &World) -> String {
    let mut simulator = world.simulator();
    let cloudflare = simulator.cloudflare();
    let zone = cloudflare.create_zone("example.com");
    for (action, list) in [("block", "ban"), ("managed_challenge", "captcha")] {
        let id = cloudflare.add_rule(&zone, action, &format!("(ip.src in $crowdsec_{list})"));
        cloudflare.edit_rule(&zone, &id, |rule| {
            rule.reference = format!("crowdsec_edge_sync_{list}");
        });
    }
    zone
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_say_what_the_locked_list_cannot() {
    let mut world = lists().await;
    let zone = zone(&world);
    world.set("cf_rules_zones", &zone);
    ban(&world, &["203.0.113.7", "203.0.113.8"]);
    world.run().await;
    world.fault("cloudflare POST /items: answer 429 slow down");
    world.fault("cloudflare PUT /items: answer 429 slow down");
    world.fault("cloudflare DELETE /items: answer 429 slow down");
    world.simulator().lapi().remove_value("203.0.113.8");
    ban(&world, &["203.0.113.9"]);
    let due = story(&world, &["plan --exit-code", "why 203.0.113.9"]).await;
    world.run().await;
    let commands = ["plan", "why 203.0.113.9", "why 203.0.113.8", "why 203.0.113.7", "status"];
    let said = story(&world, &commands).await;
    world.simulator().cloudflare().edit_rule(&zone, "crowdsec_edge_sync_ban", |rule| {
        rule.expression = "ip.src in $crowdsec_ban or cf.threat_score gt 20".to_owned();
    });
    let changed = story(&world, &["plan"]).await;
    world.fault("cloudflare GET /rulesets: answer 403 no");
    let unread = story(&world, &["plan"]).await;
    insta::assert_snapshot!((due + &said + &changed + &unread).replace(&zone, "ZONE"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zones_whose_changes_wait_are_told_with_what_they_wait_for() {
    let mut world = lists().await;
    let zones: Vec<_> = (0..5).map(|_| zone(&world)).collect();
    world.set("cf_rules_zones", zones.join(","));
    let busy = r#"{"setback":{"kind":"busy","times":1,"at":NOW,"token":0}}"#;
    let refused = r#"{"setback":{"kind":"refused","times":3,"at":NOW,"token":0},
        "refused":{"0123456789abcdef":NOW,"0123456789abcdee":NOW}}"#;
    let without_new =
        r#"{"refused":{"0123456789abcdef":NOW},"regions_refused_at":NOW,"regions_refused":1}"#;
    let without_any = r#"{"regions_refused_at":NOW,"regions_refused":2}"#;
    let met = [busy, refused, without_new, without_any];
    let met: Vec<_> = zones.iter().zip(met).map(|(zone, met)| format!("{zone:?}:{met}")).collect();
    let met = met.join(",").replace("NOW", &now().to_string());
    world.remember("rules", &format!(r#"{{"v":1,"zones":{{{met}}}}}"#));
    let mut told = story(&world, &["status"]).await;
    // What cannot be understood is not remembered.
    world.remember("rules", r#"{"v":1,"zones":[]}"#);
    told.push_str(&story(&world, &["status"]).await);
    // The token may change the lists and not the rules.
    ban(&world, &["203.0.113.7"]);
    world.fault("cloudflare POST /items: answer 429 slow down");
    world.fault("cloudflare PUT /items: answer 429 slow down");
    world.fault("cloudflare PATCH: answer 403 {\"success\":false,\"errors\":[{\"message\":\"request is not authorized\"}]}");
    world.set("cf_rules_zones", &zones[4]);
    world.run().await;
    told.push_str(&story(&world, &["status"]).await);
    world.set("cf_api_token", "another-token-of-this-user-0123456789abcd");
    told.push_str(&story(&world, &["status"]).await);
    for (at, zone) in zones.iter().enumerate() {
        told = told.replace(zone, &format!("ZONE{at}"));
    }
    insta::assert_snapshot!(told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_and_variables_that_are_wrong_are_all_named_at_once() {
    let mut world = lists().await;
    world.set("scopes", "country");
    world.set("lapi_key", "");
    world.set("dryrun", "true");
    insta::assert_snapshot!(story(&world, &["plan", "status"]).await);
}

/// The tool must build in minutes: nothing that compiles or runs wasm is in its tree.
#[test]
fn tree_of_the_tool_has_no_wasm_engine() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tree = std::process::Command::new(cargo);
    tree.args(["tree", "--package", "edge-sync", "--edges", "normal,build", "--prefix", "none"]);
    let output = tree.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let tree = String::from_utf8(output.stdout).unwrap();
    let crates: std::collections::BTreeSet<_> =
        tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(crates.contains("edge-sync-core") && crates.contains("rusqlite"), "{tree}");
    let engines = ["wasmtime", "cranelift", "wasmi", "wasmer", "wit-bindgen", "host"];
    let found = crates.iter().filter(|name| engines.iter().any(|engine| name.starts_with(engine)));
    assert_eq!(found.collect::<Vec<_>>(), [&""; 0]);
    assert!(crates.len() < 200, "{} crates", crates.len());
}

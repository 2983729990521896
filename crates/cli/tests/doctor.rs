//! What the doctor says of a world in which all is well, and of ones in which one thing is not: every
//! sentence, in a snapshot for each world.

mod common;

use common::World;
use edge_sync::commands::doctor::render;
use edge_sync::doctor::{Finding, Status, examine};
use simulator::lapi::LapiVersion;
use simulator::options::{Permission, TokenClass, TokenStatus};
use simulator::{Options, RuleView};
use std::time::{SystemTime, UNIX_EPOCH};

/// A world in which there is nothing to say.
async fn healthy() -> World {
    healthy_with(|_| {}).await
}

async fn healthy_with(change: impl FnOnce(&mut Options)) -> World {
    let mut world = World::with(change).await;
    world.set("never_block", "198.51.100.7");
    let last = r#"{"v":1,"began":NOW,"ended":NOW,"lapi_read_at":NOW,"all_read_at":NOW,
        "lists":{"outcome":"in_sync","success":true,"said":""}}"#;
    world.remember("run", &last.replace("NOW", &(now() - 90).to_string()));
    {
        let mut simulator = world.simulator();
        let lapi = simulator.lapi();
        lapi.add_all(["203.0.113.7", "203.0.113.8"].map(simulator::Decision::ban));
        let cloudflare = simulator.cloudflare();
        cloudflare.preload(&world.ban_list, ["203.0.113.7", "203.0.113.8"]);
        cloudflare.set_referencing_filters(&world.ban_list, 2);
        cloudflare.set_referencing_filters(&world.captcha_list, 1);
    }
    world
}

async fn findings(world: &World) -> Vec<Finding> {
    examine(&world.options()).await.unwrap()
}

/// What a pipe gets, with the names of services for their addresses.
async fn said(world: &World) -> String {
    let findings = findings(world).await;
    for Finding { status, remedy, detail, .. } in &findings {
        let needs_one = matches!(status, Status::Warn | Status::Fail);
        assert_eq!(remedy.is_some(), needs_one, "{detail}: {remedy:?}");
    }
    let shown = anstream::adapter::strip_str(&render(&findings)).to_string();
    assert!(
        shown.lines().all(|line| line.chars().count() <= 80 || !line.trim().contains(' ')),
        "{shown}"
    );
    // A system has its own words for a name that it does not know, and a path its own length.
    let lines: Vec<_> = findings
        .iter()
        .map(|finding| {
            let Finding { check, status, detail, remedy } = finding;
            let remedy = remedy.as_ref().map(|remedy| format!(" -> {remedy}")).unwrap_or_default();
            format!("{:<7}  {check}: {detail}{remedy}\n", status.as_str())
        })
        .collect();
    let count = shown.lines().last().unwrap();
    let mut said = world.named(&(lines.concat() + count + "\n"));
    // Each system has its own words for it.
    if let Some((before, after)) = said.split_once("failed to lookup address information: ") {
        let (_, after) = after.split_once(" -> ").expect("a remedy");
        said = format!("{before}no such name -> {after}");
    }
    said
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn world_without_fault_is_well_and_nothing_was_written() {
    let world = healthy().await;
    insta::assert_snapshot!("all_well", said(&world).await);
    let simulator = world.simulator();
    let writes = simulator.journal().iter().filter(|entry| entry.method != "GET").count();
    assert_eq!((writes, simulator.violations().len()), (0, 0), "{:?}", simulator.violations());
}

#[tokio::test]
async fn layout_of_kv_is_told_by_its_marker() {
    let mut world = healthy().await;
    let since = now() - 3 * 3_600;
    let mut all = String::new();
    for (setting, marker) in [
        ("shards", None),
        ("shards", Some(format!("edge-sync wide 1 1 keys {since} beside\n"))),
        ("shards", Some(format!("edge-sync wide 1 1 shards {since} beside\n"))),
        ("both", Some(format!("edge-sync wide 1 1 shards {since} beside\n"))),
        ("shards", Some(format!("edge-sync wide 1 1 shards {since} alone\n"))),
        ("keys", Some(format!("edge-sync wide 1 1 shards {since} alone\n"))),
        ("keys", Some("mine".to_owned())),
    ] {
        world.set("kv_layout", setting);
        let namespace = world.namespace.clone();
        if let Some(marker) = &marker {
            world.simulator().cloudflare().kv_put(&namespace, "ip:wide", marker, None, None);
        }
        let said = said(&world).await;
        let line = said.lines().find(|line| line.contains("KV layout: ")).unwrap();
        let marker = marker.as_deref().map_or("none", str::trim_end);
        let marker = marker.replace(&since.to_string(), "T");
        all.push_str(&format!("kv_layout={setting}, {marker}\n  {line}\n"));
    }
    world.fault(
        r#"cloudflare GET /values: answer 429 {"success":false,"errors":[{"code":10048,"message":"used up"}],"result":null}"#,
    );
    let said = said(&world).await;
    all.push_str(said.lines().find(|line| line.contains("KV layout: ")).unwrap());
    insta::assert_snapshot!("layouts", all);
}

#[tokio::test]
async fn account_owned_token_is_as_good_as_a_users() {
    let world = healthy_with(|options| options.cloudflare.token_class = TokenClass::Account).await;
    assert!(said(&world).await.contains("account-owned token, active"));
    assert!(findings(&world).await.iter().all(|finding| finding.status == Status::Ok));
}

#[tokio::test]
async fn old_lapi_is_told_by_a_route_that_it_lacks() {
    for (version, says) in
        [(LapiVersion::DEBIAN, "older than 1.6.3"), (LapiVersion(1, 6, 3), "1.6.3 or newer")]
    {
        let world = healthy_with(|options| options.lapi.version = version).await;
        assert!(said(&world).await.contains(says), "{version}");
    }
}

#[tokio::test]
async fn many_decisions_are_not_read_to_check_the_key() {
    let world = healthy().await;
    let addresses = (0..5_000).map(|n| format!("10.0.{}.{}", n >> 8, n & 255));
    world.simulator().lapi().add_all(addresses.map(simulator::Decision::ban));
    assert!(findings(&world).await.iter().all(|finding| finding.status == Status::Ok));
    let simulator = world.simulator();
    let journal = simulator.journal().iter();
    let asked: Vec<_> = journal.filter(|e| e.target.contains("/v1/decisions")).collect();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].target.contains("?ip="), "{asked:?}");
}

/// Every way in which a world may be ill, one at a time.
#[tokio::test]
async fn each_fault_is_found_and_comes_with_its_remedy() {
    type Spoil = fn(&mut World);
    let by_world: [(&str, Spoil); 19] = [
        ("settings_bad", |world| {
            world.set("lapi_url", "lapi:8080/");
            world.set("lapi_key", "");
            world.set("cf_ban_list_id", "crowdsec_ban");
            world.set("run_budget_seconds", "5");
        }),
        ("settings_that_spin_refuses", |world| world.set("pushgateway_url", "")),
        ("settings_mistyped", |world| world.set("dryrun", "true")),
        ("never_block_empty", |world| world.set("never_block", "")),
        ("store_absent", |world| std::fs::remove_file(world.store()).unwrap()),
        ("settings_dry_run", |world| world.set("dry_run", "true")),
        ("lapi_unreachable", |world| world.set("lapi_url", "http://127.0.0.1:1")),
        ("lapi_name_unknown", |world| world.set("lapi_url", "http://crowdsec.invalid:8080")),
        ("lapi_key_wrong", |world| world.set("lapi_key", "another-key")),
        ("lapi_is_something_else", |world| world.fault("lapi: answer 404 <html>nothing</html>")),
        ("token_unknown", |world| world.set("cf_api_token", "a".repeat(40))),
        ("token_malformed", |world| world.set("cf_api_token", "short")),
        ("account_of_others", |world| world.set("cf_account_id", "b".repeat(32))),
        ("list_of_another_kind", |world| {
            let id = world.simulator().cloudflare().create_list_of_kind("urls", "redirect");
            world.set("cf_ban_list_id", id);
        }),
        ("list_absent", |world| world.set("cf_captcha_list_id", "c".repeat(32))),
        ("list_that_no_rule_uses", |world| {
            let ban_list = world.ban_list.clone();
            world.simulator().cloudflare().set_referencing_filters(&ban_list, 0);
        }),
        ("lists_nearly_full", |world| {
            let addresses = (0..9_500).map(|n| format!("10.0.{}.{}", n >> 8, n & 255));
            world.simulator().cloudflare().preload(&world.ban_list, addresses);
        }),
        ("namespace_absent", |world| world.set("cf_kv_namespace_id", "d".repeat(32))),
        ("pushgateway_down", |world| world.set("pushgateway_url", "http://127.0.0.1:1")),
    ];
    for (name, spoil) in by_world {
        let mut world = healthy().await;
        spoil(&mut world);
        insta::assert_snapshot!(name, said(&world).await);
    }
}

#[tokio::test]
async fn token_that_was_or_may_nothing_is_told_apart() {
    let expired = |options: &mut Options| options.cloudflare.token_status = TokenStatus::Expired;
    let lists_only = |options: &mut Options| options.cloudflare.kv_permission = Permission::None;
    let kv_only = |options: &mut Options| options.cloudflare.permission = Permission::None;
    type Change = dyn Fn(&mut Options);
    let by_world: [(&str, &Change); 3] = [
        ("token_expired", &expired),
        ("token_for_lists_only", &lists_only),
        ("token_for_kv_only", &kv_only),
    ];
    for (name, change) in by_world {
        insta::assert_snapshot!(name, said(&healthy_with(change).await).await);
    }
}

#[tokio::test]
async fn remembered_values_are_told_in_words() {
    let world = healthy().await;
    let now = now();
    let lists = r#"{"v":1,"refused":2,"refused_at":NOW,"throttled_at":NOW,"refused_since":NOW}"#;
    world.remember("lists", &lists.replace("NOW", &now.to_string()));
    world.remember("lease", &format!(r#"{{"v":1,"holder":7,"until":{}}}"#, now - 1));
    let day = now / 86_400;
    world.remember("kv-quota", &format!(r#"{{"v":2,"day":{day},"written":9,"deleted":3}}"#));
    insta::assert_snapshot!("remembered", remembered(&world).await);

    // What a run cannot understand it does not remember, and neither do we.
    for (key, value) in
        [("lists", r#"{"v":2}"#), ("lease", "[]"), ("kv-quota", "\u{0}"), ("run", "x")]
    {
        world.remember(key, value);
    }
    insta::assert_snapshot!("remembered_nothing", remembered(&world).await);
}

/// What is said of the store and all that is in it.
async fn remembered(world: &World) -> String {
    let said = said(world).await;
    let at = said.find("ok       key-value store").expect("the store");
    said[at..].to_owned()
}

#[tokio::test]
async fn first_contact_with_what_others_put_there_is_told_with_how_many() {
    let world = healthy().await;
    world.remember("run", "nothing yet");
    world.simulator().cloudflare().preload(&world.captcha_list, ["198.51.100.1", "198.51.100.2"]);
    let said = remembered(&world).await;
    assert!(said.contains("not CrowdSec's: 2 items on the lists"), "{said}");
    assert!(said.contains("no run has ended yet"), "{said}");
}

#[tokio::test]
async fn store_that_is_something_else_is_a_warning_and_never_ok() {
    let world = healthy().await;
    std::fs::write(world.store(), "x".repeat(2_000)).unwrap();
    let findings = findings(&world).await;
    let store = findings.last().unwrap();
    assert_eq!((store.check.as_str(), store.status), ("key-value store", Status::Warn));
    assert!(store.detail.contains("it is not an SQLite file; not known without it"), "{store:?}");
}

#[tokio::test]
async fn targets_not_in_use_are_skipped_and_not_asked_for() {
    let mut world = healthy().await;
    for name in ["cf_captcha_list_id", "cf_kv_namespace_id"] {
        world.set(name, "");
    }
    world.set("pushgateway_url", "http://pushgateway.invalid");
    insta::assert_snapshot!("ban_list_only", said(&world).await);
}

#[tokio::test]
async fn account_owned_token_with_anothers_account_is_not_called_invalid() {
    let mut world =
        healthy_with(|options| options.cloudflare.token_class = TokenClass::Account).await;
    world.set("cf_account_id", "b".repeat(32));
    let findings = findings(&world).await;
    let of = |check: &str| findings.iter().find(|finding| finding.check == check).unwrap();
    assert_eq!(of("API token").status, Status::Warn, "{findings:?}");
    assert_eq!(of("ban list").status, Status::Fail);
    assert!(of("ban list").remedy.as_ref().unwrap().contains("cf_account_id"));
}

/// A healthy world with a zone, whose two rules are ours and have a delta; gives the zone's id.
async fn with_a_zone(change: impl FnOnce(&mut Options)) -> (World, String) {
    let mut world = healthy_with(change).await;
    let zone = {
        let mut simulator = world.simulator();
        let cloudflare = simulator.cloudflare();
        let zone = cloudflare.create_zone("example.com");
        cloudflare.add_rule(&zone, "skip", "ip.src eq 192.0.2.1");
        for (action, list, delta) in [
            ("block", "ban", " or ip.src in {192.0.2.7 192.0.2.8}"),
            ("managed_challenge", "captcha", ""),
        ] {
            let text = format!("(ip.src in $crowdsec_{list}){delta}");
            let id = cloudflare.add_rule(&zone, action, &text);
            cloudflare.edit_rule(&zone, &id, |rule| {
                rule.reference = format!("crowdsec_edge_sync_{list}");
            });
        }
        cloudflare.set_referencing_filters(&world.ban_list, 1);
        zone
    };
    world.set("cf_rules_zones", &zone);
    (world, zone)
}

/// What is said of zones, and nothing else.
async fn said_of_zones(world: &World, zone: &str) -> String {
    let said = said(world).await;
    let lines = said.lines().filter(|line| line.contains("zone") || line.contains("rule changes"));
    lines.map(|line| line.replace(zone, "ZONE") + "\n").collect()
}

#[tokio::test]
async fn zone_without_fault_is_well_and_nothing_was_written() {
    let (world, zone) = with_a_zone(|_| {}).await;
    insta::assert_snapshot!("zone_all_well", said_of_zones(&world, &zone).await);
    assert!(findings(&world).await.iter().all(|finding| finding.status == Status::Ok));
    let simulator = world.simulator();
    assert!(simulator.journal().iter().all(|entry| entry.method == "GET"));
    assert_eq!(simulator.violations(), [""; 0]);
}

/// Every way in which a zone may be ill, and two at once, in one snapshot.
#[tokio::test]
async fn each_fault_of_a_zone_is_found_and_comes_with_its_remedy() {
    const BAN: &str = "crowdsec_edge_sync_ban";
    fn edit(world: &World, zone: &str, edit: &str) {
        let edit = edit.parse().expect("an edit");
        assert!(world.simulator().cloudflare().edit_rules(zone, &edit));
    }
    fn rule(world: &World, zone: &str, change: impl FnOnce(&mut RuleView)) {
        world.simulator().cloudflare().edit_rule(zone, BAN, change);
    }
    type Spoil = fn(&mut World, &str);
    let by_world: [(&str, Spoil); 18] = [
        ("the token may not read", |world, _| {
            world.fault("cloudflare GET /rulesets: answer 403 {\"success\":false,\"errors\":[{\"message\":\"request is not authorized\"}]}");
        }),
        ("there is no such zone", |world, _| {
            world.fault("cloudflare GET /rulesets: answer 404 {\"success\":false,\"errors\":[{\"code\":7003,\"message\":\"Could not route\"}]}");
        }),
        ("Cloudflare is ill", |world, _| {
            world.fault("cloudflare GET /rulesets: answer 502 <html>")
        }),
        ("no answer", |world, _| world.fault("cloudflare GET /rulesets: drop-before-effect")),
        ("the token is none", |world, _| world.set("cf_api_token", "a".repeat(40))),
        ("the lists cannot be read", |world, _| {
            world.fault("cloudflare GET /rules/lists: answer 500 <html>");
        }),
        ("no custom rules", |world, zone| edit(world, zone, "delete-all")),
        ("the rule is not there", |world, zone| edit(world, zone, &format!("delete {BAN}"))),
        ("the rule is there twice", |world, zone| edit(world, zone, &format!("double {BAN}"))),
        ("another expression", |world, zone| {
            rule(world, zone, |rule| rule.expression.push_str(" or ssl"));
        }),
        ("another list", |world, zone| {
            rule(world, zone, |rule| rule.expression = "(ip.src in $crowdsec_captcha)".to_owned());
        }),
        ("another action", |world, zone| rule(world, zone, |rule| rule.action = "log".to_owned())),
        ("the wrong order", |world, zone| edit(world, zone, &format!("move-last {BAN}"))),
        ("switched off, and full", |world, zone| {
            let fresh: Vec<_> = (0..250).map(|n| format!("198.51.100.{n}")).collect();
            rule(world, zone, |rule| {
                rule.enabled = false;
                rule.expression =
                    format!("(ip.src in $crowdsec_ban) or ip.src in {{{}}}", fresh.join(" "));
            });
        }),
        ("one list only", |world, zone| {
            world.set("cf_captcha_list_id", "");
            edit(world, zone, &format!("delete {BAN}"));
        }),
        ("lists of other names", |world, zone| {
            let [bans, challenges] = ["bans", "challenges"].map(|name| {
                let id = world.simulator().cloudflare().create_list(name);
                world.simulator().cloudflare().set_referencing_filters(&id, 1);
                id
            });
            world.set("cf_ban_list_id", bans);
            world.set("cf_captcha_list_id", challenges);
            edit(world, zone, "delete crowdsec_edge_sync_captcha");
        }),
        ("Terraform", |world, zone| {
            rule(world, zone, |rule| rule.description = "Managed by Terraform".to_owned());
        }),
        ("what changes met", |world, zone| {
            let now = now();
            let texts = format!(r#"{{"0123456789abcdef":{now}}}"#);
            let zones = format!(
                r#"{{"{zone}":{{"setback":{{"kind":"busy","times":2,"at":{now},"token":0}},"refused":{texts},"regions_refused_at":{now},"regions_refused":1}}}}"#
            );
            world.remember("rules", &format!(r#"{{"v":1,"zones":{zones}}}"#));
        }),
    ];
    let mut told = String::new();
    for (name, spoil) in by_world {
        let (mut world, zone) = with_a_zone(|_| {}).await;
        spoil(&mut world, &zone);
        told.push_str(&format!("# {name}\n{}\n", said_of_zones(&world, &zone).await));
    }
    insta::assert_snapshot!("zones", told);
}

/// The program itself: exit code and JSON.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn program_exits_by_the_worst_finding_and_prints_json() {
    let mut world = healthy().await;
    for (key, code) in [(None, 0), (Some("another-key"), 1)] {
        if let Some(key) = key {
            world.set("lapi_key", key);
        }
        let (exit, stdout) = world.tool(&["doctor", "--json"]).await;
        assert_eq!(exit, code, "{stdout}");
        let findings: Vec<serde_json::Value> = serde_json::from_str(&stdout).unwrap();
        let failed = findings.iter().filter(|finding| finding["status"] == "fail");
        let failed: Vec<_> = failed.map(|finding| finding["check"].as_str().unwrap()).collect();
        assert_eq!(failed, if code == 0 { vec![] } else { vec!["LAPI key"] });
        for finding in &findings {
            let keys: Vec<_> = finding.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["check", "detail", "remedy", "status"]);
        }
    }
}

#[tokio::test]
async fn list_of_more_pages_than_most_have_is_read_once_and_the_time_of_a_run_is_told() {
    let world = healthy_with(|options| {
        options.cloudflare.account_items_max = 200_000;
        options.cloudflare.list_items_max = 200_000;
    })
    .await;
    let reading = |findings: Vec<Finding>| findings.into_iter().find(|f| f.check == "reading time");
    assert_eq!(reading(findings(&world).await), None);
    let addresses = (0..120_000).map(|n| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255));
    world.simulator().cloudflare().preload(&world.ban_list, addresses);
    let found = reading(findings(&world).await).unwrap();
    assert_eq!(found.status, Status::Ok, "{found:?}");
    assert!(found.detail.starts_with("241 pages, "), "{}", found.detail);

    let addresses = (0..80_000).map(|n| format!("11.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255));
    world.simulator().cloudflare().preload(&world.captcha_list, addresses);
    let found = reading(findings(&world).await).unwrap();
    assert_eq!(found.status, Status::Warn, "{found:?}");
    let remedy = found.remedy.unwrap();
    assert!(remedy.starts_with("402 requests a run are 1,206 in five minutes"), "{remedy}");
}

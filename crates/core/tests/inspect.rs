//! What a person is told who asks what would happen, or why.

mod common;

use common::World;
use edge_sync_core::decision::Remediation;
use edge_sync_core::ports::Clock;
use edge_sync_core::run::{Inspection, Until, Wanted, inspect, status};
use edge_sync_core::settings::Settings;
use simulator::Decision;
use std::time::Duration;

fn settings(world: &World) -> Settings {
    Settings::parse(|name| world.settings.get(name).cloned(), world.wall()).unwrap()
}

async fn look(world: &World, address: &str) -> Inspection {
    inspect(&settings(world), world, Some(address.parse().unwrap())).await
}

#[tokio::test(start_paused = true)]
async fn address_asked_for_is_shown_with_every_decision_and_where_it_stands() {
    let mut world = World::new();
    world.target(&["lists", "kv"]);
    world.set("scopes", "ip,range");
    world.ban("203.0.113.7");
    world.captcha("203.0.113.7");
    world.front.world().lapi().add(Decision::ban("203.0.113.0/24").scope("Range").origin("CAPI"));
    world.front.world().lapi().add(Decision::ban("203.0.113.7").scope("username"));
    world.ban("198.51.100.1");
    world.preload(&[], &["203.0.113.7"]);
    let about = look(&world, "203.0.113.7").await.about.unwrap();
    let seen: Vec<_> = about
        .decisions
        .as_ref()
        .unwrap()
        .iter()
        .map(|seen| (seen.value.as_str(), seen.remediation.as_str(), seen.left_out))
        .collect();
    assert_eq!(
        seen,
        [
            ("203.0.113.7", "ban", None),
            ("203.0.113.7", "captcha", None),
            ("203.0.113.0/24", "ban", None),
            ("203.0.113.7", "ban", Some("scope")),
        ]
    );
    let lists = serde_json::to_value(about.lists).unwrap();
    assert_eq!(
        lists,
        serde_json::json!({
            "desired": "nothing", "at_edge": ["captcha"], "inside": [],
            "verdict": {
                "covered_by": "203.0.113.0/24", "without_place": false, "set_aside": false,
                "change": [["captcha", "covered"]], "was_wanted": null, "held": null,
                "is_let_go": false, "wait": null,
            },
        })
    );
    let kv = serde_json::to_value(about.kv).unwrap();
    let nothing_yet = serde_json::json!({
        "desired": "ban", "at_edge": false, "value": null, "expires": null, "inside": [],
        "other": null,
        "verdict": {
            "change": "new_ban", "was_wanted": null, "held": null, "is_let_go": false,
            "waits_for_budget": false,
        },
    });
    assert_eq!(kv, nothing_yet);
    assert!(world.sent.borrow().is_empty(), "nothing was written");
    assert!(world.store.borrow().as_ref().unwrap().is_empty(), "nothing was remembered");
}

#[tokio::test(start_paused = true)]
async fn address_inside_a_range_in_kv_is_shown_with_it_and_the_range_by_itself() {
    let mut world = World::kv(|_| {});
    world.set("scopes", "ip,range");
    world.captcha("203.0.113.7");
    world.ban("203.0.113.0/24");
    world.run().await.unwrap();
    let about = look(&world, "203.0.113.7").await.about.unwrap().kv.unwrap();
    let range = "203.0.113.0/24".parse().unwrap();
    assert_eq!(
        (about.value, about.inside),
        (Some(Remediation::Captcha), vec![(range, Remediation::Ban)])
    );
    let about = look(&world, "203.0.113.99/24").await.about.unwrap().kv.unwrap();
    assert_eq!((about.desired, about.at_edge), (Some(Wanted::Ban), Some(true)));
    assert_eq!((about.value, about.inside), (Some(Remediation::Ban), vec![]));
}

#[tokio::test(start_paused = true)]
async fn rule_that_kept_an_address_out_is_named() {
    let mut world = World::new();
    world.set("never_block", "203.0.113.7");
    world.set("list_items_max", "1");
    world.set("origins_exclude", "CAPI");
    world.ban("203.0.113.7");
    world.ban("203.0.113.8");
    world.captcha("203.0.113.9");
    world.front.world().lapi().add(Decision::ban("203.0.113.10").origin("CAPI"));

    let owner = look(&world, "203.0.113.7").await.about.unwrap();
    assert_eq!(
        (owner.protected, owner.decisions.unwrap()[0].left_out),
        (Some("never_block"), Some("protected"))
    );
    assert_eq!(owner.lists.unwrap().desired, Some(Wanted::Nothing));

    let dropped = look(&world, "203.0.113.9").await.about.unwrap().lists.unwrap();
    assert_eq!(dropped.desired, Some(Wanted::Captcha));
    assert!(dropped.verdict.unwrap().without_place);

    let kept = look(&world, "203.0.113.8").await.about.unwrap().lists.unwrap().verdict.unwrap();
    assert!(!kept.without_place);
    assert_eq!((kept.change.len(), kept.wait), (1, None));

    let unwanted = look(&world, "203.0.113.10").await.about.unwrap();
    assert_eq!(unwanted.decisions.unwrap()[0].left_out, Some("origin"));
}

#[tokio::test(start_paused = true)]
async fn address_in_a_range_that_holds_an_owners_is_told_why_the_range_does_not_count() {
    let mut world = World::new();
    world.set("scopes", "ip,range");
    world.set("never_block", "203.0.113.7");
    world.front.world().lapi().add(Decision::ban("203.0.113.0/24").scope("Range"));
    let about = look(&world, "203.0.113.9").await.about.unwrap();
    assert_eq!(about.protected, None);
    let seen = &about.decisions.unwrap()[0];
    assert_eq!((seen.left_out, seen.protected), (Some("protected"), Some("never_block")));
}

#[tokio::test(start_paused = true)]
async fn removal_that_the_guard_holds_is_shown_with_when_it_goes_until_it_does() {
    let world = World::new();
    world.preload(&["203.0.113.7"], &[]);
    let looked = look(&world, "203.0.113.7").await;
    let lists = looked.lists.unwrap();
    let guard = lists.guard.unwrap();
    assert_eq!((guard.held, guard.rule), (1, "empty"));
    assert_eq!(guard.until, Until { runs: 5, seconds: 1800 });
    assert_eq!((lists.not_crowdsecs, lists.lists[0].held.len()), (Some(1), 1));
    let verdict = looked.about.unwrap().lists.unwrap().verdict.unwrap();
    assert_eq!((verdict.held, verdict.was_wanted), (Some(guard.until), Some(false)));

    let settings = settings(&world);
    let held = |world: &World| {
        let status = status(&settings, world, world.unix_now()).unwrap();
        status.lists.unwrap().guard.map(|guard| guard.until.runs)
    };
    for left in (1..5).rev() {
        world.run().await.unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
        let until = look(&world, "203.0.113.7").await;
        let until = until.about.unwrap().lists.unwrap().verdict.unwrap();
        assert_eq!(held(&world), Some(left), "the last of {left} runs");
        match left {
            1 => assert!(until.held.is_none() && until.is_let_go, "with the next run"),
            _ => assert_eq!(until.held.map(|until| until.runs), Some(left)),
        }
    }
    world.run().await.unwrap();
    assert_eq!(held(&world), None);
    assert_eq!(world.edge(), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn side_that_cannot_be_read_is_unknown_and_told_with_its_remedy() {
    let mut world = World::new();
    world.target(&["lists", "kv"]);
    world.preload(&["203.0.113.7"], &[]);
    world.fault("cloudflare GET /rules/lists: answer 403 forbidden");
    let looked = look(&world, "203.0.113.7").await;
    assert!(looked.lists.is_none() && looked.kv.is_some() && looked.skipped.is_some());
    let about = looked.about.unwrap().lists.unwrap();
    assert_eq!((about.desired, about.at_edge, about.verdict), (Some(Wanted::Nothing), None, None));
    let failed = looked.sides.iter().filter(|side| side.error.is_some());
    let failed: Vec<_> = failed.map(|side| (side.side, side.remedy.is_some())).collect();
    assert_eq!(failed, [("lists", true)]);

    world.fault("lapi: refuse");
    let looked = look(&world, "203.0.113.7").await;
    assert!(looked.skipped.is_none() && looked.lists.is_none() && looked.kv.is_none());
    let about = looked.about.unwrap();
    assert_eq!(about.decisions, None, "and not: there are none");
    let kv = about.kv.unwrap();
    assert_eq!((kv.desired, kv.at_edge, kv.verdict), (None, Some(false), None));
}

#[tokio::test(start_paused = true)]
async fn last_run_is_remembered_with_how_it_ended_and_what_it_could_read() {
    let world = World::new();
    world.ban("203.0.113.7");
    let settings = settings(&world);
    let last = |world: &World| status(&settings, world, world.unix_now()).unwrap().last;
    assert_eq!(last(&world), None);
    world.run().await.unwrap();
    let first = last(&world).unwrap();
    let end = first.lists.clone().unwrap();
    assert_eq!((end.outcome.as_str(), end.success, first.dry_run), ("applied", true, false));
    assert_eq!((first.lapi_read_at, first.all_read_at), (first.ended, first.ended));

    tokio::time::sleep(Duration::from_secs(120)).await;
    world.fault("lapi: refuse");
    world.run().await.unwrap();
    let second = last(&world).unwrap();
    let end = second.lists.unwrap();
    assert_eq!((end.outcome.as_str(), end.success), ("skipped", false));
    assert!(!end.said.is_empty());
    assert_eq!((second.lapi_read_at, second.all_read_at), (first.ended, first.ended));
    assert!(second.ended > first.ended);
}

//! What a person is told who asks what would happen, or why.

use crate::common::World;
use edge_sync_core::decision::Remediation;
use edge_sync_core::ports::Clock;
use edge_sync_core::run::{Inspection, Looked, inspect};
use edge_sync_core::settings::Settings;
use simulator::Decision;

async fn look(world: &World, address: &str) -> Inspection {
    let settings = Settings::parse(|name| world.settings.get(name).cloned(), world.wall()).unwrap();
    inspect(&settings, world, Some(address.parse().unwrap())).await
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
            "desired": null, "covered_by": "203.0.113.0/24", "without_place": false,
            "at_edge": ["captcha"], "inside": [], "change": [["captcha", "covered"]], "held": false,
        })
    );
    let kv = serde_json::to_value(about.kv).unwrap();
    let nothing_yet = serde_json::json!({ "desired": "ban", "at_edge": false, "value": null, "expires": null, "inside": [] });
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
    assert_eq!((about.desired, about.at_edge), (Some(Remediation::Ban), true));
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
        (owner.protected, owner.decisions[0].left_out),
        (Some("never_block"), Some("protected"))
    );
    assert_eq!(owner.lists.unwrap().desired, None);

    let dropped = look(&world, "203.0.113.9").await.about.unwrap().lists.unwrap();
    assert!(dropped.desired.is_some() && dropped.without_place);

    let kept = look(&world, "203.0.113.8").await.about.unwrap().lists.unwrap();
    assert!(!kept.without_place);
    assert_eq!(kept.change.len(), 1);

    let unwanted = look(&world, "203.0.113.10").await.about.unwrap();
    assert_eq!(unwanted.decisions[0].left_out, Some("origin"));
}

#[tokio::test(start_paused = true)]
async fn removals_that_the_guard_would_hold_are_shown_as_held() {
    let mut world = World::new();
    world.preload(&["203.0.113.7"], &[]);
    let looked = look(&world, "203.0.113.7").await;
    assert!(looked.about.unwrap().lists.unwrap().held);
    let Some(Looked::Seen(lists)) = looked.lists else { panic!("the lists can be read") };
    assert!(lists.refusal.is_some());
    assert_eq!((lists.plan.drift(), lists.plan.held(), lists.operations.len()), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn side_that_cannot_be_read_is_said_and_the_other_is_shown() {
    let mut world = World::new();
    world.target(&["lists", "kv"]);
    world.ban("203.0.113.7");
    world.fault("cloudflare GET /rules/lists: answer 403 forbidden");
    let looked = look(&world, "203.0.113.7").await;
    assert!(matches!(looked.lists, Some(Looked::Failed { .. })));
    assert!(matches!(looked.kv, Some(Looked::Seen(_))));
    world.fault("lapi: refuse");
    let looked = look(&world, "203.0.113.7").await;
    assert!(matches!(looked.skipped, Looked::Failed { .. }));
}

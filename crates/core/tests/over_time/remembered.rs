//! The lists as they were last read: when they stand for what is at the edge, and when they do not.

use std::time::Duration;

use edge_sync_core::log::Level;
use edge_sync_core::run::inspect;
use edge_sync_core::settings::Settings;
use proptest::prelude::*;
use simulator::options::ModifiedOn;
use simulator::{Entry, Service};

use crate::common::World;

const RUN: Duration = Duration::from_secs(120);

/// Lists of many pages although they are short: a page has two items.
fn world(modified_on: ModifiedOn) -> World {
    let world = World::with(|options| {
        options.cloudflare.page_items_max = 2;
        options.cloudflare.modified_on = modified_on;
    });
    (1..=10).for_each(|n| world.ban(&format!("192.0.2.{n}")));
    world
}

/// The requests to Cloudflare in one run, two minutes after the one before.
async fn run(world: &World) -> Vec<Entry> {
    tokio::time::sleep(RUN).await;
    let before = world.journal(to_cloudflare).len();
    let _ = world.take_lines();
    let _ = world.run().await;
    world.journal(to_cloudflare).split_off(before)
}

fn to_cloudflare(entry: &Entry) -> bool {
    entry.service == Service::Cloudflare
}

fn pages(requests: &[Entry]) -> usize {
    requests.iter().filter(|entry| entry.method == "GET" && entry.target.contains("/items")).count()
}

fn writes(requests: &[Entry]) -> Vec<&str> {
    requests
        .iter()
        .filter(|entry| entry.method != "GET")
        .map(|entry| entry.method.as_str())
        .collect()
}

/// A world whose account has shown that `modified_on` follows the items, and whose lists are remembered.
async fn remembering(modified_on: ModifiedOn) -> World {
    let world = world(modified_on);
    for _ in 0..3 {
        run(&world).await;
    }
    world.ban("192.0.2.11");
    run(&world).await;
    assert_eq!(pages(&run(&world).await), 7, "after a write of ours all is read");
    world
}

#[tokio::test(start_paused = true)]
async fn large_lists_once_written_are_read_once_more_and_then_by_one_request_a_run() {
    let world = World::new();
    for n in 0..2_500 {
        world.ban(&format!("11.0.{}.{}", n / 250, n % 250 + 1));
    }
    assert_eq!(writes(&run(&world).await), ["POST"]);
    let second = run(&world).await;
    assert_eq!((pages(&second), second.len()), (6, 8), "between two marks");
    for _ in 0..4 {
        let steady = run(&world).await;
        assert_eq!((pages(&steady), steady.len()), (0, 1), "{steady:#?}");
        let texts = world.texts(Level::Info);
        assert!(
            texts.iter().any(
                |text| text.contains("in sync") && text.contains("unchanged since it was read")
            ),
            "{texts:?}"
        );
        assert_eq!(world.metric("crowdsec_cf_list_sync_success"), Some(1.0));
    }
    let audit = run(&world).await;
    assert_eq!(
        (pages(&audit), audit.len()),
        (6, 7),
        "ten minutes: all is read, and it was the same"
    );
    assert_eq!(pages(&run(&world).await), 0);
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn short_lists_are_read_without_a_word_about_marks() {
    let world = World::new();
    world.ban("192.0.2.1");
    run(&world).await;
    for _ in 0..8 {
        let requests = run(&world).await;
        assert_eq!((pages(&requests), requests.len()), (2, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn audit_of_0_seconds_set_reads_everything_in_every_run() {
    let mut world = remembering(ModifiedOn::Completion).await;
    assert_eq!(pages(&run(&world).await), 0);
    world.set("edge_audit_seconds", "0");
    for _ in 0..3 {
        let requests = run(&world).await;
        assert_eq!((pages(&requests), requests.len()), (7, 7));
    }
}

#[tokio::test(start_paused = true)]
async fn new_ban_is_appended_without_reading_and_then_all_is_read() {
    let world = remembering(ModifiedOn::Completion).await;
    world.ban("192.0.2.99");
    let requests = run(&world).await;
    assert_eq!((pages(&requests), writes(&requests)), (0, vec!["POST"]));
    assert!(world.edge().0.contains(&"192.0.2.99".to_owned()));
    assert_eq!(pages(&run(&world).await), 7);
    assert_eq!(pages(&run(&world).await), 0);
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn ban_lifted_is_taken_off_by_a_run_that_has_read_the_lists() {
    let world = remembering(ModifiedOn::Completion).await;
    world.front.world().lapi().remove_value("192.0.2.3");
    let requests = run(&world).await;
    assert_eq!((pages(&requests), writes(&requests)), (7, vec!["DELETE"]));
    assert!(!world.edge().0.contains(&"192.0.2.3".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn ban_for_lists_without_room_for_it_is_decided_on_what_was_read() {
    let mut world = remembering(ModifiedOn::Completion).await;
    world.set("list_items_max", "12");
    world.ban("192.0.2.98");
    world.ban("192.0.2.99");
    let requests = run(&world).await;
    assert_eq!((pages(&requests), writes(&requests)), (7, vec!["POST"]));
    run(&world).await;
    // In sync as far as it fits is no reason to read.
    assert_eq!(pages(&run(&world).await), 0);
}

#[tokio::test(start_paused = true)]
async fn edit_by_others_is_seen_by_the_next_run_where_it_moves_the_mark() {
    let world = remembering(ModifiedOn::Completion).await;
    assert_eq!(pages(&run(&world).await), 0);
    world.preload(&["198.51.100.1"], &[]);
    let requests = run(&world).await;
    assert_eq!((pages(&requests), writes(&requests)), (7, vec!["DELETE"]));
}

#[tokio::test(start_paused = true)]
async fn edit_by_others_that_moves_no_mark_is_found_in_ten_minutes_and_ends_the_trust_for_good() {
    let world = remembering(ModifiedOn::Ours).await;
    assert_eq!(pages(&run(&world).await), 0);
    // As many items as before, or their number would tell.
    for (value, is_there) in [("192.0.2.5", false), ("198.51.100.1", true)] {
        world.front.world().cloudflare().set_item(&world.ban_list, value, is_there);
    }
    let mut found = None;
    for nth in 1..=5 {
        let requests = run(&world).await;
        if pages(&requests) > 0 {
            found = Some(nth);
            assert!(
                world.texts(Level::Warn).iter().any(|text| text.contains("modified_on has not"))
            );
            break;
        }
        assert_eq!(writes(&requests), [""; 0], "nothing is done because of it");
    }
    assert!(found.is_some_and(|nth| nth <= 5), "{found:?}");
    assert!(world.edge().0.contains(&"192.0.2.5".to_owned()), "and it is mended");
    for _ in 0..3 {
        world.ban("192.0.2.77");
        assert!(pages(&run(&world).await) > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn account_whose_modified_on_never_moves_is_read_in_full_by_every_run() {
    let world = world(ModifiedOn::Never);
    for n in 20..30 {
        world.ban(&format!("192.0.2.{n}"));
        assert!(pages(&run(&world).await) > 0);
        assert!(pages(&run(&world).await) > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn run_after_one_that_failed_reads_everything() {
    let world = remembering(ModifiedOn::Completion).await;
    assert_eq!(pages(&run(&world).await), 0);
    world.fault("lapi times=9: answer 500 down");
    run(&world).await;
    world.front.world().clear_faults();
    assert_eq!(pages(&run(&world).await), 7);
    assert_eq!(pages(&run(&world).await), 0);
}

#[tokio::test(start_paused = true)]
async fn marks_that_cannot_be_asked_for_are_no_failure() {
    let world = remembering(ModifiedOn::Completion).await;
    // The first request of a run; one that is refused is not repeated.
    world.fault("cloudflare GET /rules/lists times=1: answer 403 no");
    let requests = run(&world).await;
    assert_eq!((pages(&requests), requests.len()), (7, 8));
    assert_eq!(world.metric("crowdsec_cf_list_sync_success"), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn part_of_the_content_that_the_store_lost_or_spoilt_is_read_anew() {
    for harm in ["lost", "spoilt", "older"] {
        let world = remembering(ModifiedOn::Completion).await;
        let before = world.store.borrow().clone();
        world.ban("192.0.2.99");
        for _ in 0..2 {
            run(&world).await;
        }
        {
            let mut store = world.store.borrow_mut();
            let store = store.as_mut().unwrap();
            let parts: Vec<_> =
                store.keys().filter(|key| key.starts_with("edge-items")).cloned().collect();
            assert!(parts.len() > 1, "{parts:?}");
            for key in parts {
                match harm {
                    "lost" => drop(store.remove(&key)),
                    "spoilt" => store.get_mut(&key).unwrap()[0] ^= 1,
                    _ => drop(store.insert(
                        key.clone(),
                        before.as_ref().unwrap().get(&key).cloned().unwrap_or_default(),
                    )),
                }
            }
        }
        assert!(pages(&run(&world).await) >= 7, "{harm}");
        assert_eq!(world.metric("crowdsec_cf_list_sync_drift"), Some(0.0), "{harm}");
        assert_eq!(pages(&run(&world).await), 0, "{harm}");
    }
}

#[tokio::test(start_paused = true)]
async fn other_lists_in_the_settings_are_not_taken_for_those_that_are_remembered() {
    let mut world = remembering(ModifiedOn::Completion).await;
    let other = world.front.world().cloudflare().create_list("another");
    world.set("cf_ban_list_id", &other);
    let requests = run(&world).await;
    assert!(pages(&requests) > 0);
    assert_eq!(writes(&requests), ["POST"]);
}

#[tokio::test(start_paused = true)]
async fn dry_run_and_a_person_who_asks_see_what_is_there() {
    let mut world = remembering(ModifiedOn::Completion).await;
    let settings =
        Settings::parse(|name| world.settings.get(name).cloned(), std::time::UNIX_EPOCH).unwrap();
    let before = world.journal(to_cloudflare).len();
    inspect_world(&world, &settings).await;
    assert_eq!(pages(&world.journal(to_cloudflare)[before..]), 7);
    world.set("dry_run", "true");
    assert_eq!(pages(&run(&world).await), 7);
}

/// What a full read would find to do: additions and removals.
async fn inspect_world(world: &World, settings: &Settings) -> Option<(u64, u64)> {
    let seen = inspect(settings, world, None).await;
    let view = serde_json::to_value(seen.lists?).unwrap();
    let lists = view["lists"].as_array().unwrap();
    let count = |name: &str| {
        lists.iter().map(|list| list[name].as_array().map_or(0, |of| of.len() as u64)).sum()
    };
    Some((count("add"), count("remove") + count("held")))
}

#[derive(Debug, Clone)]
enum Event {
    Ban(u8),
    Lift(u8),
    OthersAdd(u8),
    OthersRemove(u8),
    OthersSwap(u8, u8),
    LostAnswer,
    Forgets,
    ForgetsContent,
    Waits(u16),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..40_u8).prop_map(Event::Ban),
        2 => (0..40_u8).prop_map(Event::Lift),
        1 => (0..40_u8).prop_map(Event::OthersAdd),
        1 => (0..40_u8).prop_map(Event::OthersRemove),
        1 => (0..40_u8, 0..40_u8).prop_map(|(a, b)| Event::OthersSwap(a, b)),
        1 => Just(Event::LostAnswer),
        1 => Just(Event::Forgets),
        1 => Just(Event::ForgetsContent),
        2 => (1..900_u16).prop_map(Event::Waits),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// The law of what is remembered: a run that has read nothing does what one that reads everything would, unless
    /// others have changed a list under the same mark; then it takes nothing off, and within the audit's time
    /// everything is read.
    #[test]
    fn run_on_what_is_remembered_does_what_a_full_read_would(
        events in prop::collection::vec(event(), 1..25),
        lies in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let modified_on = if lies { ModifiedOn::Ours } else { ModifiedOn::Completion };
            let world = remembering(modified_on).await;
            let settings = Settings::parse(|name| world.settings.get(name).cloned(), std::time::UNIX_EPOCH).unwrap();
            let address = |n: u8| format!("192.0.2.{n}");
            let (mut read_at, mut was_edited) = (world.front.elapsed(), false);
            for event in events {
                let others = |n: u8, is_there: bool| {
                    world.front.world().cloudflare().set_item(&world.ban_list, &address(n), is_there);
                };
                match event {
                    Event::Ban(n) => world.ban(&address(n)),
                    Event::Lift(n) => drop(world.front.world().lapi().remove_value(&address(n))),
                    Event::OthersAdd(n) => others(n, true),
                    Event::OthersRemove(n) => others(n, false),
                    Event::OthersSwap(one, other) => {
                        others(one, true);
                        others(other, false);
                    }
                    Event::LostAnswer => world.fault("cloudflare POST /items times=1: drop-after-effect"),
                    Event::Forgets => *world.store.borrow_mut() = Some(std::collections::BTreeMap::new()),
                    Event::ForgetsContent => {
                        world.store.borrow_mut().as_mut().unwrap().remove("edge-items");
                    }
                    Event::Waits(secs) => tokio::time::sleep(Duration::from_secs(secs.into())).await,
                }
                was_edited |= matches!(event, Event::OthersAdd(_) | Event::OthersRemove(_) | Event::OthersSwap(..));
                tokio::time::sleep(RUN).await;
                let full = inspect_world(&world, &settings).await;
                let before = world.journal(to_cloudflare).len();
                let _ = world.take_lines();
                let _ = world.run().await;
                let requests = world.journal(to_cloudflare).split_off(before);
                if pages(&requests) > 0 {
                    (read_at, was_edited) = (world.front.elapsed(), false);
                    continue;
                }
                let age = (world.front.elapsed() - read_at).as_secs();
                assert!(age < 600 + 150, "{age} s");
                assert!(!writes(&requests).iter().any(|method| matches!(*method, "DELETE" | "PUT")));
                if !(lies && was_edited) {
                    let (additions, removals) = full.expect("everything can be read");
                    assert_eq!(removals, 0, "it would take something off");
                    let appends = writes(&requests).len();
                    let lines = world.take_lines();
                    let waits = lines.iter().any(|(_, line)| line.text().contains("waits") || line.text().contains("in a row"));
                    assert!(appends == usize::from(additions > 0) || waits, "{additions} {requests:#?}");
                }
            }
        });
    }
}

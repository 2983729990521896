//! Laws that hold for any two states, as properties.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::World;
use edge_sync_core::address::Address;
use proptest::prelude::*;
use simulator::Service;

/// A small pool, so that sets overlap and addresses move between lists; odd spellings included.
fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        (0u8..12).prop_map(|n| format!("203.0.113.{n}")),
        (0u8..6).prop_map(|n| format!("203.0.113.{n}/32")),
        (0u8..6).prop_map(|n| format!("::ffff:203.0.113.{n}")),
        (0u16..6).prop_map(|n| format!("2001:DB8:0:0::{n:x}")),
        (0u8..4).prop_map(|n| format!("198.51.{n}.7/24")),
        Just("0.0.0.0/0".to_owned()),
        Just("not an address".to_owned()),
    ]
}

fn addresses() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(address(), 0..14)
}

/// What the lists should hold, by another reading of the rules than the core's.
fn expected(ban: &[String], captcha: &[String]) -> (BTreeSet<String>, BTreeSet<String>) {
    let canonical = |texts: &[String]| -> BTreeSet<String> {
        let taken = texts.iter().filter(|text| text.as_str() != "0.0.0.0/0");
        taken.filter_map(|t| t.parse::<Address>().ok()).map(|a| a.to_string()).collect()
    };
    let (ban, captcha) = (canonical(ban), canonical(captcha));
    let captcha = captcha.difference(&ban).cloned().collect();
    (ban, captcha)
}

#[derive(Debug, Clone)]
struct States {
    before: (Vec<String>, Vec<String>),
    desired: (Vec<String>, Vec<String>),
    queue: bool,
}

fn states() -> impl Strategy<Value = States> {
    ((addresses(), addresses()), (addresses(), addresses()), any::<bool>())
        .prop_map(|(before, desired, queue)| States { before, desired, queue })
}

fn world(states: &States) -> World {
    let world = World::with(|options| {
        let mode = if states.queue { "queue" } else { "reject" };
        options.set(&format!("cloudflare.pending_mode={mode}")).unwrap();
        options.cloudflare.item_noise = true;
    });
    let (ban, captcha) = expected(&states.before.0, &states.before.1);
    let as_refs = |set: &BTreeSet<String>| -> Vec<String> { set.iter().cloned().collect() };
    let (ban, captcha) = (as_refs(&ban), as_refs(&captcha));
    world.preload(
        &ban.iter().map(String::as_str).collect::<Vec<_>>(),
        &captcha.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    states.desired.0.iter().for_each(|value| world.ban(value));
    states.desired.1.iter().for_each(|value| world.captcha(value));
    world
}

fn assert_converged(world: &World, states: &States) {
    let (ban, captcha) = world.edge();
    let edge: (BTreeSet<String>, BTreeSet<String>) =
        (ban.into_iter().collect(), captcha.into_iter().collect());
    assert_eq!(edge, expected(&states.desired.0, &states.desired.1));
}

fn simulated<F: Future<Output = ()>>(future: F) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn applied_and_planned_again_is_empty(states in states()) {
        simulated(async {
            let world = world(&states);
            world.run().await.unwrap();
            assert_converged(&world, &states);
            let writes = world.writes();
            world.run().await.unwrap();
            assert_eq!(world.writes(), writes, "a second run found something to do");
            world.assert_no_violations();
        });
    }

    #[test]
    fn address_on_either_list_before_and_after_is_never_absent_from_both(states in states()) {
        simulated(async {
            let world = world(&states);
            let held = |ban: Vec<String>, captcha: Vec<String>| -> BTreeSet<String> {
                ban.into_iter().chain(captcha).collect()
            };
            let (ban, captcha) = world.edge();
            let before = held(ban, captcha);
            world.run().await.unwrap();
            let (ban, captcha) = world.edge();
            let after = held(ban, captcha);
            let mut simulator = world.front.world();
            for address in before.intersection(&after) {
                let whereabouts = simulator.cloudflare().whereabouts(address);
                assert!(whereabouts.iter().all(|(_, lists)| !lists.is_empty()), "{address}: {whereabouts:?}");
            }
        });
    }

    #[test]
    fn run_uses_the_fewest_operations(states in states()) {
        simulated(async {
            let world = world(&states);
            let before = world.edge();
            world.run().await.unwrap();
            let after = world.edge();
            let lists = usize::from(before.0 != after.0) + usize::from(before.1 != after.1);
            // One for each list that differs; one more only if addresses move in both directions.
            assert!(world.writes() <= lists + 1, "{} writes for {lists} lists", world.writes());
            assert!(world.writes() >= lists);
        });
    }

    #[test]
    fn lapi_unreadable_never_changes_anything(states in states(), keep in 0usize..400) {
        simulated(async {
            let world = world(&states);
            let before = world.edge();
            // Cut anywhere before its end; a body that is not cut is no case of this law.
            world.fault(&format!("lapi: cut-body {keep}"));
            let _ = world.run().await;
            if world.journal(|e| e.service == Service::Lapi).iter().all(|e| format!("{:?}", e.fate).starts_with("Cut")) {
                assert_eq!(world.edge(), before);
                assert_eq!(world.writes(), 0);
            }
        });
    }

    #[test]
    fn any_single_fault_heals_within_two_runs(
        states in states(),
        skip in 0u32..14,
        action in prop::sample::select(vec![
            "refuse", "drop-before-effect", "drop-after-effect", "cut-body 10", "silent",
            "delay 30s", "stuck-operation", "vanish-operation", "answer 500 <html>",
            "answer 429 [retry-after: 60] slow", "fail-operation no",
        ]),
        service in prop::sample::select(vec!["lapi", "cloudflare"]),
    ) {
        simulated(async {
            let world = world(&states);
            world.fault(&format!("{service} skip={skip} times=1: {action}"));
            let _ = world.run().await;
            assert!(world.front.elapsed() <= Duration::from_secs(110));
            world.front.world().clear_faults();
            // After a refused list write the first step of the ladder has to pass.
            let wait = if action.starts_with("answer 429") { 1_800 } else { 120 };
            for _ in 0..2 {
                tokio::time::sleep(Duration::from_secs(wait)).await;
                world.run().await.unwrap();
            }
            assert_converged(&world, &states);
        });
    }
}

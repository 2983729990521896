//! Runs that are broken off or meet each other: a later run always finds its way, and meanwhile no
//! address that stays blocked is ever off both lists.

use std::sync::Arc;

use end_to_end::World;
use end_to_end::world::{self, cron};
use futures_util::future::join_all;
use host::{Decision, Outcome};
use simulator::cloudflare::lists::Verb;

/// Before: ban 1 and 2, captcha 3. After: ban 2, 3 and 4, captcha 1. So 1 and 3 change places, which
/// takes three operations.
async fn world() -> World {
    let world = World::new().await;
    world.ban(&["203.0.113.2", "203.0.113.3", "203.0.113.4"]);
    world.captcha(&["203.0.113.1"]);
    world.preload(&["203.0.113.1", "203.0.113.2"], &["203.0.113.3"]);
    world
}

#[track_caller]
fn assert_converged(world: &World) {
    world.assert_edge(&["203.0.113.2", "203.0.113.3", "203.0.113.4"], &["203.0.113.1"]);
    for address in ["203.0.113.1", "203.0.113.2", "203.0.113.3"] {
        let whereabouts = world.simulator().cloudflare().whereabouts(address);
        let always = whereabouts.iter().all(|(_, lists)| !lists.is_empty());
        assert!(always, "{address} was off both lists: {whereabouts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_killed_at_any_request_a_clean_run_converges() {
    let whole = world().await;
    let requests = whole.run_well().await.run.requests;
    assert_converged(&whole);
    let verbs: Vec<Verb> =
        whole.simulator().cloudflare().operations().iter().map(|o| o.verb).collect();
    assert_eq!(verbs, [Verb::Append, Verb::Replace, Verb::Delete], "the longest kind of plan");

    // Polls are counted too, and how many there are depends on time: some may not be reached.
    let indexes = 1..=requests;
    let kills = indexes.flat_map(|at| [(at, Decision::TrapBefore), (at, Decision::TrapAfter)]);
    let killed = join_all(kills.map(async |(at, kill)| {
        let mut world = world().await;
        world.on_request(Arc::new(move |seen| match seen.number == at {
            true => kill,
            false => Decision::Continue,
        }));
        let app = world.load().unwrap();
        let ran = world::run(&app, cron()).await;
        let killed = matches!(ran.run.outcome, Outcome::Trapped(_));
        assert!(killed || ran.run.requests < at, "{kill:?} {at}: {:?}", ran.run.outcome);

        world.two_minutes_later();
        world.on_request(Arc::new(|_| Decision::Continue));
        let clean = world.run().await;
        // Where it is the first that sees an operation complete, the lists may still be shown as before that.
        if clean.run.stdout.contains("an operation of an earlier run completed a moment ago") {
            world.two_minutes_later();
            world.run_well().await;
        } else {
            assert_eq!(clean.summary().get("success"), "1", "{}", clean.run.stdout);
        }
        assert_converged(&world);
        world.assert_no_violations();
        usize::from(killed)
    }))
    .await;
    // Two reads of lists, one of LAPI, three writes with a poll each: no less than that was broken.
    assert!(killed.iter().sum::<usize>() >= 2 * 9, "{killed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_begun_in_the_same_second_end_and_a_later_one_converges() {
    for pending in ["reject", "queue"] {
        let world = World::with(|options| {
            options.set(&format!("cloudflare.pending_mode={pending}")).unwrap();
        })
        .await;
        world.ban(&["203.0.113.2", "203.0.113.3", "203.0.113.4"]);
        world.captcha(&["203.0.113.1"]);
        world.preload(&["203.0.113.1", "203.0.113.2"], &["203.0.113.3"]);
        let app = world.load().unwrap();
        let trigger = cron();
        let (first, second) = tokio::join!(world::run(&app, trigger), world::run(&app, trigger));
        for ran in [&first, &second] {
            assert!(matches!(ran.run.outcome, Outcome::Ok), "{pending}: {:?}", ran.run.outcome);
        }
        // The store has no compare-and-set, so which of them yields is chance, and both may.
        let yields =
            |ran: &world::Ran| ["yielded", "partial"].contains(&ran.summary().get("outcome"));
        assert!(yields(&first) || yields(&second), "{pending}: {first:?} {second:?}");
        world.assert_no_violations();

        world.two_minutes_later();
        world::run(&app, cron()).await;
        assert_converged(&world);
        world.two_minutes_later();
        let ran = world::run(&app, cron()).await;
        assert_eq!(ran.summary().get("outcome"), "in_sync", "{pending}");
    }
}

//! Nothing that a run prints, returns or pushes holds the LAPI key or the API token.

use end_to_end::World;
use end_to_end::world::Ran;
use futures_util::future::join_all;
use host::Outcome;

const TOKEN: &str = "simulated_token_with_forty_characters_00";
const KEY: &str = "simulated-bouncer-key";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_that_fails_in_any_way_never_shows_a_secret() {
    let faults = [
        "lapi: answer 403 {\"message\":\"access forbidden\"}",
        "lapi: answer 301 [location: /v1/decisions] moved",
        "lapi: answer 200 <html>no</html>",
        "cloudflare: answer 401 no",
        "cloudflare: answer 403 <html>no</html>",
        "cloudflare PUT: drop-after-effect",
        "cloudflare PUT: answer 429 slow",
        "pushgateway: answer 500 no",
    ];
    join_all(faults.map(async |fault| {
        let world = world().await;
        world.fault(fault);
        assert_no_secret_shown(&world, fault).await;
        // Nor is one sent to a service that it is not meant for.
        world.assert_no_violations();
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secret_given_in_a_wrong_form_is_not_shown() {
    for (name, value) in [
        ("lapi_url", format!("http://{KEY}@127.0.0.1:1")),
        ("lapi_key", format!("{KEY} {KEY}")),
        ("cf_api_token", format!("Bearer {TOKEN}")),
    ] {
        let mut world = world().await;
        world.set(name, value);
        assert_no_secret_shown(&world, name).await.assert_failed(name);
    }
}

async fn world() -> World {
    let world = World::new().await;
    world.ban(&["203.0.113.7"]);
    world.preload(&["198.51.100.1"], &[]);
    world
}

async fn assert_no_secret_shown(world: &World, case: &str) -> Ran {
    let ran = world.run().await;
    let returned = match &ran.run.outcome {
        Outcome::Failed(words) => words.as_str(),
        Outcome::Ok => "",
        other => panic!("{case}: {other:?}"),
    };
    let pushed = world.simulator().pushgateway().exposition();
    for said in [&ran.run.stdout, &ran.run.stderr, returned, pushed.as_str()] {
        assert!(!said.contains(TOKEN) && !said.contains(KEY), "{case}: {said}");
    }
    ran
}

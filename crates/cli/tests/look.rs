//! What `plan` and `why` tell a person, of one world in which everything happens at once.

mod common;

use common::World;
use edge_sync_core::run::Inspection;
use host::commands::look::look;
use host::commands::{plan, why};
use simulator::Decision;
use std::time::Duration;

/// Too many decisions for the places, an owner who is banned, ranges, and two items too many.
async fn busy() -> World {
    let mut world = World::with(|_| {}).await;
    for (name, value) in
        [("scopes", "ip,range"), ("list_items_max", "5"), ("never_block", "198.51.100.7")]
    {
        world.settings.insert(name.to_owned(), value.to_owned());
    }
    {
        let mut simulator = world.simulator();
        let far = Duration::from_secs(1 << 30);
        let lapi = simulator.lapi();
        lapi.add(Decision::ban("198.51.100.7").until(far).scenario("crowdsecurity/http-probing"));
        lapi.add(Decision::ban("203.0.113.0/24").until(far).scope("Range"));
        lapi.add(Decision::captcha("203.0.113.9").until(far));
        lapi.add(Decision::captcha("192.0.2.77").until(far));
        for n in 1..=6 {
            let community =
                Decision::ban(format!("9.9.9.{n}")).origin("CAPI").scenario("http:scan");
            lapi.add(community.until(far));
        }
        let cloudflare = simulator.cloudflare();
        cloudflare.preload(&world.ban_list, ["9.9.9.1", "192.0.2.77"]);
        cloudflare.preload(&world.captcha_list, ["203.0.113.9"]);
    }
    world
}

async fn inspect(world: &World, address: Option<&str>) -> Inspection {
    let address = address.map(|address| address.parse().unwrap());
    look(&world.options(), address).await.unwrap()
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[tokio::test]
async fn plan_of_a_busy_world_shows_rows_changes_writes_and_who_goes_without() {
    let world = busy().await;
    let inspection = inspect(&world, None).await;
    insta::assert_snapshot!(still(&plain(&plan::render(&inspection, 4))));
    let json = serde_json::to_value(&inspection).unwrap();
    assert_eq!(json["lists"]["plan"]["lists"][0]["list"], "ban");
    assert!(world.simulator().journal().iter().all(|entry| entry.method == "GET"));
}

#[tokio::test]
async fn why_names_the_decisions_the_place_and_the_rule() {
    let world = busy().await;
    let mut said = String::new();
    for address in
        ["198.51.100.7", "203.0.113.9", "9.9.9.1", "9.9.9.6", "192.0.2.77", "2001:DB8::1"]
    {
        let inspection = inspect(&world, Some(address)).await;
        said.push_str(&plain(&why::render(&inspection)));
        said.push('\n');
    }
    insta::assert_snapshot!(still(&said));
}

/// Without what is another at every look: how long a decision still holds, and how wide that is.
fn still(said: &str) -> String {
    let is_duration = |word: &str| {
        let numbers = word.strip_suffix('s').unwrap_or("x").split(['h', 'm', '.']);
        word.contains('m') && numbers.into_iter().all(|n| n.bytes().all(|b| b.is_ascii_digit()))
    };
    let lines = said.lines().map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let words = words.iter().enumerate().map(|(at, word)| {
            let seconds = at > 0 && words[at - 1] == "for" && words.get(at + 1) == Some(&"s");
            if seconds || is_duration(word) { "…" } else { word }
        });
        words.collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn side_that_cannot_be_read_is_said_once() {
    let world = busy().await;
    world.simulator().inject("lapi: answer 500 database is locked".parse().unwrap());
    let inspection = inspect(&world, Some("9.9.9.1")).await;
    let said = plain(&why::render(&inspection));
    assert_eq!(said.matches("cannot be read").count(), 1, "{said}");
    assert!(said.contains("HTTP 500"), "{said}");
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_all_named() {
    let mut world = busy().await;
    world.settings.insert("scopes".to_owned(), "country".to_owned());
    world.settings.insert("list_items_max".to_owned(), "0".to_owned());
    let error = look(&world.options(), None).await.unwrap_err().to_string();
    assert!(error.contains("scopes") && error.contains("list_items_max"), "{error}");
}

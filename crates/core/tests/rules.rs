//! The rules as a delta on top of the lists: what the edge does, by the simulator's oracle.

mod common;

use std::net::IpAddr;
use std::time::Duration;

use common::World;
use simulator::{Service, Verdict, Visitor};

const INTERVAL: Duration = Duration::from_secs(120);

/// Zones with our two rules, as setup makes them.
fn with_zones(world: &mut World, zones: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..zones {
        let mut simulator = world.front.world();
        let zone = simulator.cloudflare().create_zone(&format!("zone-{n}.example"));
        for (action, list, name) in [
            ("block", "crowdsec_ban", "crowdsec_edge_sync_ban"),
            ("managed_challenge", "crowdsec_captcha", "crowdsec_edge_sync_captcha"),
        ] {
            let id =
                simulator.cloudflare().add_rule(&zone, action, &format!("(ip.src in ${list})"));
            simulator.cloudflare().edit_rule(&zone, &id, |rule| rule.reference = name.to_owned());
        }
        ids.push(zone);
    }
    world.set("cf_rules_zones", &ids.join(","));
    ids
}

fn verdict(world: &World, zone: &str, ip: &str) -> Verdict {
    let ip: IpAddr = ip.parse().unwrap();
    world.front.world().edge().decide(zone, ip, &Visitor::default())
}

fn patches(world: &World) -> usize {
    world.journal(|e| e.service == Service::Cloudflare && e.method == "PATCH").len()
}

#[tokio::test(start_paused = true)]
async fn account_that_takes_list_writes_gets_no_change_of_a_rule() {
    let mut world = World::new();
    let zones = with_zones(&mut world, 2);
    world.ban("203.0.113.7");
    world.captcha("203.0.113.8");
    for _ in 0..4 {
        world.run().await.unwrap();
        tokio::time::sleep(INTERVAL).await;
    }
    assert_eq!(patches(&world), 0);
    assert_eq!(verdict(&world, &zones[0], "203.0.113.7"), Verdict::Block);
    assert_eq!(verdict(&world, &zones[1], "203.0.113.8"), Verdict::Challenge);
}

#[tokio::test(start_paused = true)]
async fn list_that_is_locked_has_its_changes_in_force_by_the_rules_and_drains_when_it_opens() {
    let mut world = World::with(|options| {
        options.cloudflare.write_floor = Duration::from_secs(72 * 3_600);
    });
    let zones = with_zones(&mut world, 2);
    world.ban("203.0.113.1");
    world.run().await.unwrap();
    tokio::time::sleep(INTERVAL).await;
    world.ban("203.0.113.7");
    world.captcha("203.0.113.8");
    world.front.world().lapi().remove_value("203.0.113.1");
    world.run().await.unwrap();
    for zone in &zones {
        assert_eq!(verdict(&world, zone, "203.0.113.7"), Verdict::Block);
        assert_eq!(verdict(&world, zone, "203.0.113.8"), Verdict::Challenge);
    }
    println!("{:#?}", world.take_lines().iter().map(|l| l.1.text().to_owned()).collect::<Vec<_>>());
    println!(
        "{:#?}",
        world
            .front
            .world()
            .cloudflare()
            .rules(&zones[0])
            .unwrap()
            .iter()
            .map(|r| r.expression.clone())
            .collect::<Vec<_>>()
    );
}

//! Ban before challenge, and nobody on neither for a moment.

use std::time::Duration;

use simulator::Verdict::{Block, Challenge, Pass};

use crate::fixture::{BAN, Zones};

/// Zones whose edge has a delay, so that two changes are two moments there too.
async fn moving(bans: &[&str], captchas: &[&str]) -> Zones {
    let zones = Zones::new(1);
    bans.iter().for_each(|address| zones.ban(address));
    captchas.iter().for_each(|address| zones.captcha(address));
    zones.run().await.unwrap();
    zones.lock();
    zones.fault("cloudflare PATCH: delay 3s");
    zones
}

fn switch(zones: &Zones, address: &str, is_ban: bool) {
    zones.lift(address);
    if is_ban { zones.ban(address) } else { zones.captcha(address) }
}

#[tokio::test(start_paused = true)]
async fn address_that_goes_from_one_rule_to_the_other_is_never_on_neither() {
    for (bans, captchas) in [
        (&["203.0.113.1"][..], &[][..]),
        (&[], &["203.0.113.2"]),
        (&["203.0.113.1"], &["203.0.113.2"]),
        (&["203.0.113.1", "203.0.113.3"], &["203.0.113.2", "203.0.113.4"]),
    ] {
        let zones = moving(bans, captchas).await;
        let from = zones.front.elapsed();
        bans.iter().for_each(|address| switch(&zones, address, false));
        captchas.iter().for_each(|address| switch(&zones, address, true));
        for run in 0..4 {
            let patches = zones.patches().len();
            let _ = zones.next().await;
            assert!(zones.patches().len() - patches <= 2, "one for each rule");
            if run == 0 {
                // Also while a person goes each way, everybody is where he should be or banned longer.
                captchas.iter().for_each(|address| assert_eq!(zones.verdict(address), Block));
            }
        }
        let until = zones.front.elapsed();
        for address in bans {
            assert_eq!(zones.verdict(address), Challenge);
        }
        for address in captchas {
            assert_eq!(zones.verdict(address), Block);
        }
        for address in bans.iter().chain(captchas) {
            let mut world = zones.front.world();
            let ip = address.parse().unwrap();
            let nobody = simulator::Visitor::default();
            let story = world.edge().verdicts_over(&zones.ids[0], ip, &nobody, from..until);
            assert!(story.iter().all(|(_, verdict)| *verdict != Pass), "{address}: {story:?}");
            assert!(story.len() <= 2, "no flicker: {address}: {story:?}");
        }
        zones.assert_no_violations();
    }
}

#[tokio::test(start_paused = true)]
async fn run_killed_between_the_two_changes_leaves_nobody_on_neither_and_the_next_goes_on() {
    for lost in ["refuse", "drop-after-effect", "drop-before-effect", "answer 503 busy"] {
        for (bans, captchas) in [
            (&["203.0.113.1"][..], &["203.0.113.2"][..]),
            (&["203.0.113.1"], &[]),
            (&[], &["203.0.113.2"]),
        ] {
            // Who is banned instead of challenged needs no change but the ban's.
            let changes = 1 + usize::from(!bans.is_empty());
            for skip in 0..changes {
                let zones = moving(bans, captchas).await;
                let from = zones.front.elapsed();
                bans.iter().for_each(|address| switch(&zones, address, false));
                captchas.iter().for_each(|address| switch(&zones, address, true));
                zones.fault(&format!("cloudflare PATCH skip={skip} times=1: {lost}"));
                zones.next().await.unwrap_err();
                for _ in 0..3 {
                    let _ = zones.next().await;
                }
                let until = zones.front.elapsed();
                for (addresses, wanted) in [(bans, Challenge), (captchas, Block)] {
                    for address in addresses {
                        assert_eq!(zones.verdict(address), wanted, "{lost} {skip}");
                        let mut world = zones.front.world();
                        let open = world.edge().time_while(
                            &zones.ids[0],
                            address.parse().unwrap(),
                            &simulator::Visitor::default(),
                            from..until,
                            |is| is == Pass,
                        );
                        assert_eq!(open, Duration::ZERO, "{lost} {skip} {address}");
                    }
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn address_without_room_in_the_rule_that_it_goes_to_stays_in_the_one_that_it_leaves() {
    for to_ban in [true, false] {
        let mut zones = Zones::new(1);
        zones.set("rules_characters_max", "200");
        let one = |address: &str| if to_ban { zones.captcha(address) } else { zones.ban(address) };
        one("198.51.100.1");
        zones.run().await.unwrap();
        zones.lock();
        one("198.51.100.2");
        zones.next().await.unwrap();
        let held = if to_ban { Challenge } else { Block };
        zones.assert_verdicts(&[("198.51.100.1", held), ("198.51.100.2", held)]);
        // The other rule is filled with what sorts before it, and is its equal.
        for n in 100..130 {
            let address = format!("100.200.100.{n}");
            if to_ban { zones.ban(&address) } else { zones.captcha(&address) }
        }
        let _ = zones.next().await;
        // For less long, so that those who are there go before them.
        for address in ["198.51.100.1", "198.51.100.2"] {
            zones.lift(address);
            let kind = if to_ban { "ban" } else { "captcha" };
            zones.decide(kind, address, Duration::from_secs(7_200));
        }
        for _ in 0..3 {
            let _ = zones.next().await;
            zones.assert_verdicts(&[("198.51.100.1", held), ("198.51.100.2", held)]);
        }
        assert!(!zones.success() && zones.expression(0, BAN).len() <= 200);
        // With room they go.
        zones.set("rules_characters_max", "4000");
        for _ in 0..3 {
            let _ = zones.next().await;
        }
        let wanted = if to_ban { Block } else { Challenge };
        zones.assert_verdicts(&[("198.51.100.1", wanted), ("198.51.100.2", wanted)]);
        assert!(zones.success());
    }
}

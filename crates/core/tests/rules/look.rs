//! What a person is told about the rules who asks what would happen, or why.

use edge_sync_core::ports::Clock;
use edge_sync_core::run::{Delta, InRule, Inspection, inspect};
use edge_sync_core::settings::Settings;

use edge_sync_core::decision::Remediation::{Ban, Captcha};

use crate::fixture::{BAN, INTERVAL, Zones, locked};

async fn look(zones: &Zones, address: &str) -> Inspection {
    let settings = Settings::parse(|name| zones.settings.get(name).cloned(), zones.wall()).unwrap();
    inspect(&settings, &**zones, Some(address.parse().unwrap())).await
}

fn in_rules(looked: &Inspection) -> &[InRule] {
    &looked.about.as_ref().unwrap().rules
}

#[tokio::test(start_paused = true)]
async fn look_shows_what_a_run_would_say_in_each_zone_and_what_waits_for_the_list() {
    let zones = Zones::new(2);
    zones.ban("203.0.113.1");
    zones.run().await.unwrap();
    // What can be written at once is not said by the rules.
    zones.ban("203.0.113.7");
    let looked = look(&zones, "203.0.113.7").await;
    assert!(looked.rules.as_ref().unwrap().iter().all(|zone| zone.rules[0].fresh.is_empty()));
    zones.lock();
    zones.lift("203.0.113.1");
    zones.next().await.unwrap();
    zones.captcha("203.0.113.8");
    let looked = look(&zones, "203.0.113.7").await;
    let views = looked.rules.as_ref().unwrap();
    assert_eq!(
        views.iter().map(|view| &view.zone).collect::<Vec<_>>(),
        [&zones.ids[0], &zones.ids[1]]
    );
    let [ban, captcha] = &views[0].rules[..] else { panic!("{views:?}") };
    assert_eq!((ban.rule, ban.due, captcha.rule, captcha.due), (Ban, false, Captcha, true));
    assert_eq!((ban.fresh.len(), ban.lifted.len(), captcha.fresh.len()), (1, 1, 1));
    assert_eq!(ban.characters, zones.expression(0, BAN).len() as u64);
    assert_eq!(in_rules(&looked).len(), 2, "in each zone");
    let one = &in_rules(&looked)[0];
    assert_eq!((one.rule, one.now, one.wanted), (Ban, Some(Delta::Fresh), Some(Delta::Fresh)));
    let looked = look(&zones, "203.0.113.1").await;
    assert_eq!(in_rules(&looked)[0].now, Some(Delta::Lifted));
    let looked = look(&zones, "203.0.113.8").await;
    let one = &in_rules(&looked)[0];
    assert_eq!((one.rule, one.now, one.wanted), (Captcha, None, Some(Delta::Fresh)));
    assert_eq!(in_rules(&look(&zones, "203.0.113.9").await), []);
    // A look changes nothing, and a run does what it has shown.
    let patches = zones.patches().len();
    zones.next().await.unwrap();
    assert_eq!(zones.patches().len(), patches + 2);
}

#[tokio::test(start_paused = true)]
async fn look_long_after_a_list_was_written_and_before_it_was_read_keeps_the_delta_as_a_run_would()
{
    let zones = locked(1).await;
    zones.ban("203.0.113.7");
    zones.next().await.unwrap();
    zones.unlock();
    let operations = zones.operations();
    for _ in 0..1_500 {
        zones.next().await.unwrap();
        if zones.operations() > operations {
            break;
        }
    }
    assert!(zones.ban_list().contains(&"203.0.113.7".to_owned()));
    // What is there may have been there for a moment only.
    for _ in 0..2 {
        tokio::time::sleep(INTERVAL).await;
        let looked = look(&zones, "203.0.113.7").await;
        assert_eq!(in_rules(&looked)[0].wanted, Some(Delta::Fresh));
    }
    zones.next().await.unwrap();
    tokio::time::sleep(INTERVAL).await;
    let looked = look(&zones, "203.0.113.7").await;
    let one = &in_rules(&looked)[0];
    assert_eq!((one.now, one.wanted), (Some(Delta::Fresh), None));
}

#[tokio::test(start_paused = true)]
async fn look_at_a_rule_without_room_or_that_is_not_ours_says_so() {
    let mut zones = locked(2).await;
    zones.set("rules_characters_max", "200");
    zones.edit(0, &format!("set {BAN} (ip.src in $crowdsec_ban and ssl)"));
    (10..40).for_each(|n| zones.ban(&format!("198.51.100.{n}")));
    let _ = zones.next().await;
    let looked = look(&zones, "198.51.100.39").await;
    let views = looked.rules.as_ref().unwrap();
    assert!(views[0].rules[0].problem.as_ref().unwrap().contains(BAN));
    assert_eq!(views[1].rules[0].problem, None);
    let waiting = views[1].rules[0].waiting.len();
    assert_eq!(waiting + views[1].rules[0].fresh.len(), 30);
    let is_waiting = views[1].rules[0].waiting.contains(&"198.51.100.39".to_owned());
    assert_eq!(in_rules(&looked)[0].waiting, is_waiting);
    // Without LAPI what is wrong with the rules is said all the same.
    zones.fault("lapi: refuse");
    let looked = look(&zones, "198.51.100.39").await;
    assert!(looked.rules.unwrap()[0].rules[0].problem.is_some());
}

//! After each kind of failure of a write, one answer; and which change gets the write that is accepted.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::common::World;
use edge_sync_core::log::Level;
use simulator::{Decision, Service};

const INTERVAL: Duration = Duration::from_secs(120);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

async fn run_after(world: &World, wait: Duration) {
    tokio::time::sleep(wait).await;
    let _ = world.take_lines();
    let _ = world.run().await;
}

async fn runs(world: &World, count: u32) {
    for _ in 0..count {
        run_after(world, INTERVAL).await;
    }
}

fn address(n: u32) -> String {
    Ipv4Addr::from_bits(0x0b00_0000 + n).to_string()
}

fn community(world: &World, range: std::ops::Range<u32>) {
    let all = range.map(|n| Decision::ban(address(n)).origin("CAPI").until(1_000 * DAY));
    world.front.world().lapi().add_all(all.collect::<Vec<_>>());
}

fn community_challenge(world: &World, n: u32) {
    let challenge = Decision::captcha(address(n)).origin("CAPI").until(1_000 * DAY);
    world.front.world().lapi().add(challenge);
}

fn configure(world: &World, knob: &str) {
    let mut options = world.front.world().options().clone();
    options.set(knob).unwrap();
    world.front.world().cloudflare().configure(|knobs| *knobs = options.cloudflare);
}

fn success(world: &World) -> Option<f64> {
    world.metric("crowdsec_cf_list_sync_success")
}

/// Whether a text of this level or above has `what`.
fn says(world: &World, what: &str) -> bool {
    world.texts(Level::Info).iter().any(|text| text.contains(what))
}

/// In step, then throttled for good: an account whose writes are scarce, with the knob that does it.
async fn world_with_scarce_writes() -> World {
    let world = World::new();
    for n in 1..=5 {
        world.ban(&format!("203.0.113.{n}"));
        world.captcha(&format!("198.51.100.{n}"));
    }
    world.run().await.unwrap();
    world.fault("cloudflare POST times=1: answer 429 slow down");
    world.ban("203.0.113.100");
    run_after(&world, INTERVAL).await;
    run_after(&world, HOUR).await;
    assert!(world.edge().0.contains(&"203.0.113.100".to_owned()));
    world
}

/// From now on one more write is accepted.
fn one_more_write(world: &World) {
    let accepted = world.front.world().counters(Service::Cloudflare).writes_accepted;
    configure(world, &format!("cloudflare.write_floor_after={}", accepted + 1));
    world.front.world().cloudflare().configure(|knobs| knobs.write_floor = 3 * DAY);
}

#[tokio::test(start_paused = true)]
async fn one_write_is_accepted_and_it_is_the_lift_of_a_captcha_before_a_community_ban() {
    let world = world_with_scarce_writes().await;
    one_more_write(&world);
    community(&world, 0..3);
    world.front.world().lapi().remove_value("198.51.100.3");
    run_after(&world, INTERVAL).await;
    let (ban, captcha) = world.edge();
    assert!(!captcha.contains(&"198.51.100.3".to_owned()), "lifted");
    assert_eq!(ban.len(), 6, "the community waits");
}

#[tokio::test(start_paused = true)]
async fn one_write_is_accepted_and_it_carries_everything_else_that_its_list_needs() {
    let world = world_with_scarce_writes().await;
    one_more_write(&world);
    community(&world, 0..3);
    world.ban("203.0.113.101");
    world.front.world().lapi().remove_value("203.0.113.1");
    run_after(&world, INTERVAL).await;
    let ban = world.edge().0;
    assert!(ban.contains(&address(2)) && ban.contains(&"203.0.113.101".to_owned()));
    assert!(!ban.contains(&"203.0.113.1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn own_ban_is_first_though_an_address_of_its_list_has_to_wait_for_the_other() {
    let world = world_with_scarce_writes().await;
    one_more_write(&world);
    world.front.world().lapi().remove_value("203.0.113.1");
    world.captcha("203.0.113.1");
    world.front.world().lapi().remove_value("203.0.113.2");
    world.ban("203.0.113.101");
    run_after(&world, INTERVAL).await;
    let (ban, captcha) = world.edge();
    assert!(ban.contains(&"203.0.113.101".to_owned()), "the one write");
    assert!(!ban.contains(&"203.0.113.2".to_owned()), "what it could carry");
    assert!(ban.contains(&"203.0.113.1".to_owned()), "no gap");
    assert_eq!(captcha.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn removals_that_ran_out_wait_for_company_where_writes_are_scarce_and_at_most_a_day() {
    let world = world_with_scarce_writes().await;
    world.decide("ban", "203.0.113.200", HOUR);
    run_after(&world, INTERVAL).await;
    let writes = world.writes();
    for _ in 0..24 {
        run_after(&world, HOUR).await;
    }
    assert_eq!(world.writes(), writes, "it has run out, and waits");
    assert_eq!(success(&world), Some(1.0));
    run_after(&world, 2 * HOUR).await;
    assert_eq!(world.writes(), writes + 1);
    assert!(!world.edge().0.contains(&"203.0.113.200".to_owned()));
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn removal_whose_company_is_refused_until_it_is_gone_has_waited_all_that_time() {
    let world = world_with_scarce_writes().await;
    world.decide("ban", "203.0.113.200", HOUR);
    run_after(&world, INTERVAL).await;
    // A rewrite would carry both, and is refused until the new ban is over too.
    world.front.world().cloudflare().configure(|knobs| knobs.write_floor = 60 * DAY);
    run_after(&world, HOUR).await;
    world.decide("ban", "203.0.113.201", 26 * HOUR);
    for _ in 0..27 {
        run_after(&world, HOUR).await;
    }
    let ban = world.edge().0;
    assert!(
        ban.contains(&"203.0.113.200".to_owned()) && !ban.contains(&"203.0.113.201".to_owned())
    );
    world.front.world().cloudflare().configure(|knobs| knobs.write_floor = Duration::ZERO);
    for _ in 0..6 {
        run_after(&world, HOUR).await;
    }
    assert!(!world.edge().0.contains(&"203.0.113.200".to_owned()), "not a day more");
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn removal_waits_a_day_for_company_however_long_an_addition_was_refused_before() {
    let world = world_with_scarce_writes().await;
    // Both end between two runs.
    world.decide("ban", "203.0.113.200", 20 * HOUR + HOUR / 2);
    run_after(&world, INTERVAL).await;
    world.front.world().cloudflare().configure(|knobs| knobs.write_floor = 60 * DAY);
    run_after(&world, HOUR).await;
    world.decide("ban", "203.0.113.201", 19 * HOUR + HOUR / 4);
    for _ in 0..22 {
        run_after(&world, HOUR).await;
    }
    world.front.world().cloudflare().configure(|knobs| knobs.write_floor = Duration::ZERO);
    for _ in 0..12 {
        run_after(&world, HOUR).await;
    }
    let ban = world.edge().0;
    assert!(ban.contains(&"203.0.113.200".to_owned()), "it has run out half a day ago");
    assert!(!ban.contains(&"203.0.113.201".to_owned()), "it never came");
    for _ in 0..12 {
        run_after(&world, HOUR).await;
    }
    assert!(!world.edge().0.contains(&"203.0.113.200".to_owned()));
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn removals_that_the_guard_holds_when_what_they_waited_with_goes_do_not_wait_another_day() {
    let world = world_with_scarce_writes().await;
    community(&world, 0..20);
    world.decide("ban", "203.0.113.200", HOUR);
    run_after(&world, INTERVAL).await;
    for _ in 0..24 {
        run_after(&world, HOUR).await;
    }
    for n in 0..20 {
        world.front.world().lapi().remove_value(&address(n));
    }
    for _ in 0..3 {
        run_after(&world, HOUR).await;
    }
    let ban = world.edge().0;
    assert!(!ban.contains(&"203.0.113.200".to_owned()), "its day is over");
    assert!(ban.contains(&address(0)) && says(&world, "guard:"));
    for _ in 0..3 {
        run_after(&world, HOUR).await;
    }
    assert!(!world.edge().0.contains(&address(0)));
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn owner_is_tried_once_in_half_an_hour_while_the_ladder_stays_as_it_is() {
    let mut world = world_with_scarce_writes().await;
    world.fault("cloudflare POST: answer 429 slow down");
    world.fault("cloudflare PUT: answer 429 slow down");
    world.fault("cloudflare DELETE: answer 429 slow down");
    world.ban("203.0.113.101");
    // Up to the last step, six hours.
    runs(&world, 400).await;
    world.set("never_block", "203.0.113.1");
    let before = world.writes();
    runs(&world, 60).await;
    let tried = world.writes() - before;
    assert!((4..=5).contains(&tried), "{tried} in two hours");
    world.front.world().clear_faults();
    runs(&world, 15).await;
    assert!(!world.edge().0.contains(&"203.0.113.1".to_owned()));
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn value_refused_with_its_position_or_its_name_is_set_aside_and_the_rest_goes_at_once() {
    for form in ["position", "value", "bare"] {
        let world = World::new();
        community(&world, 0..40);
        let mut options = world.front.world().options().clone();
        options.set(&format!("cloudflare.refusal_form={form}")).unwrap();
        options.set(&format!("cloudflare.refused_values={}", address(17))).unwrap();
        world.front.world().cloudflare().configure(|knobs| *knobs = options.cloudflare);
        let limit = if form == "bare" { 16 } else { 2 };
        runs(&world, limit).await;
        assert_eq!(world.edge().0.len(), 39, "{form}");
        assert!(
            says(
                &world,
                &format!(
                    "set aside for a day, because Cloudflare refuses them as values: \"{}\"",
                    address(17)
                )
            ),
            "{form}"
        );
        let writes = world.writes();
        runs(&world, 30).await;
        assert_eq!((world.writes(), success(&world)), (writes, Some(0.0)), "{form}: it is missing");
        assert!(says(&world, "1 desired address not on the lists"), "{form}");
        configure(&world, "cloudflare.refused_values=");
        run_after(&world, DAY).await;
        run_after(&world, INTERVAL).await;
        assert_eq!(world.edge().0.len(), 40, "{form}: a day later");
        assert_eq!(success(&world), Some(1.0), "{form}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_bad_value_among_ten_thousand_that_is_never_named_is_found() {
    let world = World::new();
    community(&world, 0..10_000);
    let mut options = world.front.world().options().clone();
    options.set(&format!("cloudflare.refused_values={}", address(7_777))).unwrap();
    options.set("cloudflare.refusal_form=bare").unwrap();
    world.front.world().cloudflare().configure(|knobs| *knobs = options.cloudflare);
    for run in 1.. {
        run_after(&world, INTERVAL).await;
        if world.edge().0.len() == 9_999 {
            break;
        }
        assert!(run < 16, "{} after {run} runs", world.edge().0.len());
    }
    assert!(says(&world, "set aside for a day"));
}

/// A world whose Cloudflare names nothing, and refuses this.
fn world_that_refuses(value: &str) -> World {
    World::with(|options| {
        options.set("cloudflare.refusal_form=bare").unwrap();
        options.set(&format!("cloudflare.refused_values={value}")).unwrap();
    })
}

#[tokio::test(start_paused = true)]
async fn value_that_cloudflare_takes_after_all_lets_everybody_in_and_is_no_hindrance_later() {
    let world = world_that_refuses(&address(700));
    community(&world, 0..1_000);
    // Down to a few suspects.
    runs(&world, 8).await;
    assert!(world.edge().0.len() < 1_000);
    configure(&world, "cloudflare.refused_values=");
    runs(&world, 8).await;
    assert_eq!((world.edge().0.len(), success(&world)), (1_000, Some(1.0)));
    let writes = world.writes();
    community(&world, 1_000..2_000);
    runs(&world, 1).await;
    assert_eq!((world.edge().0.len(), world.writes()), (2_000, writes + 1));
}

#[tokio::test(start_paused = true)]
async fn value_is_found_while_own_bans_come_with_every_run_and_they_are_not_late() {
    let world = world_that_refuses("203.0.113.99");
    world.captcha("203.0.113.99");
    community(&world, 0..500);
    for run in 0..20u32 {
        world.ban(&format!("198.51.100.{run}"));
        run_after(&world, INTERVAL).await;
    }
    let (ban, captcha) = world.edge();
    assert_eq!((ban.len(), captcha.len()), (520, 0));
    let aside = "because Cloudflare refuses the value: \"203.0.113.99\"; it is tried";
    assert!(says(&world, aside), "{:#?}", world.texts(Level::Info));
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn write_refused_otherwise_is_tried_on_the_ladder_and_never_every_two_minutes() {
    let world = World::new();
    world.ban("203.0.113.7");
    world.fault("cloudflare POST: answer 400 {\"success\":false,\"errors\":[{\"code\":10001,\"message\":\"bad\"}]}");
    runs(&world, 30 * 24).await;
    // 0, 0.5, 1.5, 3.5, 7.5, 13.5, 19.5 h.
    assert_eq!(world.writes(), 7, "a day");
    assert_eq!(success(&world), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn token_that_may_not_write_is_tried_every_half_hour_and_a_new_one_at_once() {
    for status in [401, 403] {
        let mut world = World::with(|options| {
            options.cloudflare.fresh_token = "another_token_with_forty_characters_0000".to_owned();
        });
        world.ban("203.0.113.7");
        world.fault(&format!("cloudflare POST times=5: answer {status} {{\"success\":false,\"errors\":[{{\"code\":10000,\"message\":\"no\"}}]}}"));
        runs(&world, 60).await;
        assert_eq!(world.writes(), 4, "two hours");
        world.front.world().clear_faults();
        world.set("cf_api_token", "another_token_with_forty_characters_0000");
        run_after(&world, INTERVAL).await;
        assert_eq!(world.edge().0, ["203.0.113.7"], "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn write_without_an_answer_is_tried_again_soon_and_then_less_often() {
    for fault in ["answer 502 <html>", "drop-before-effect"] {
        let world = World::new();
        world.ban("203.0.113.7");
        world.fault(&format!("cloudflare POST: {fault}"));
        runs(&world, 60).await;
        // 0, 2, 6, 14, 30, 60, 90 min and the two minutes of a run.
        assert!((6..=8).contains(&world.writes()), "{fault}: {} in two hours", world.writes());
        world.front.world().clear_faults();
        runs(&world, 16).await;
        assert_eq!(world.edge().0, ["203.0.113.7"], "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn operation_that_fails_again_and_again_climbs_the_ladder() {
    let world = World::new();
    world.ban("203.0.113.7");
    world.fault("cloudflare POST: fail-operation no");
    runs(&world, 30 * 24).await;
    assert_eq!(world.writes(), 7, "a day");
    assert_eq!(success(&world), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn lists_that_others_fill_teach_how_many_items_fit_for_a_day() {
    let world = World::new();
    let others = world.front.world().cloudflare().create_list("others");
    let filled: Vec<String> = (0..4_000).map(|n| address(1_000_000 + n)).collect();
    world.front.world().cloudflare().preload(&others, filled.iter().map(String::as_str));
    community(&world, 0..7_000);
    run_after(&world, INTERVAL).await;
    assert!(says(&world, "the lists are full: 6,000 fit"), "{:?}", world.texts(Level::Info));
    assert_eq!(success(&world), Some(0.0));
    runs(&world, 20).await;
    assert_eq!(world.edge().0.len(), 6_000);
    assert_eq!(success(&world), Some(0.0), "it leaves a thousand out");
    assert!(
        says(&world, "only 6,000 items fit") && says(&world, "1,000 of what is desired go without")
    );
    world.front.world().cloudflare().empty(&others);
    run_after(&world, DAY).await;
    run_after(&world, INTERVAL).await;
    assert_eq!((world.edge().0.len(), success(&world)), (7_000, Some(1.0)));
}

#[tokio::test(start_paused = true)]
async fn full_account_that_takes_a_write_in_three_days_spends_the_next_on_what_fits() {
    let world = World::new();
    let others = world.front.world().cloudflare().create_list("others");
    let filled: Vec<String> = (0..9_992).map(|n| address(1_000_000 + n)).collect();
    world.front.world().cloudflare().preload(&others, filled.iter().map(String::as_str));
    world.front.world().cloudflare().configure(|knobs| knobs.write_floor = 3 * DAY);
    community(&world, 0..12);
    for _ in 0..4 * 24 {
        run_after(&world, HOUR).await;
    }
    assert_eq!(world.edge().0.len(), 8, "the second that was accepted");
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn operation_that_cannot_be_asked_for_is_given_up_after_an_hour() {
    for fault in [
        "answer 404 {\"success\":false,\"errors\":[{\"code\":10000,\"message\":\"no\"}]}",
        "answer 403 {\"success\":false,\"errors\":[]}",
        "answer 500 <html>",
        "operation-state dreaming",
        "null-result",
    ] {
        let world = World::new();
        world.ban("203.0.113.7");
        world.fault(&format!("cloudflare GET /bulk_operations: {fault}"));
        run_after(&world, INTERVAL).await;
        world.ban("203.0.113.8");
        runs(&world, 20).await;
        assert_eq!(world.writes(), 1, "{fault}");
        runs(&world, 12).await;
        assert_eq!(world.edge().0, ["203.0.113.7", "203.0.113.8"], "{fault}");
        world.assert_no_violations();
    }
}

#[tokio::test(start_paused = true)]
async fn operation_that_answers_pending_is_given_up_after_a_day() {
    let world = World::new();
    world.ban("203.0.113.7");
    world.fault("cloudflare GET /bulk_operations: operation-state pending");
    run_after(&world, INTERVAL).await;
    world.ban("203.0.113.8");
    for _ in 0..23 {
        run_after(&world, HOUR).await;
        assert_eq!(world.writes(), 1);
    }
    run_after(&world, HOUR).await;
    run_after(&world, HOUR).await;
    assert!(world.edge().0.contains(&"203.0.113.8".to_owned()));
    world.assert_no_violations();
}

#[tokio::test(start_paused = true)]
async fn store_that_forgets_with_an_edge_that_is_not_empty_is_said_once_a_run() {
    let world = World::new();
    world.ban("203.0.113.7");
    world.run().await.unwrap();
    assert!(!says(&world, "a store that forgets"), "the edge was empty");
    for _ in 0..2 {
        *world.store.borrow_mut() = Some(Default::default());
        run_after(&world, INTERVAL).await;
        let texts = world.texts(Level::Info);
        assert_eq!(texts.iter().filter(|text| text.contains("a store that forgets")).count(), 1);
    }
    run_after(&world, INTERVAL).await;
    assert!(!says(&world, "a store that forgets"));
}

#[tokio::test(start_paused = true)]
async fn address_that_a_range_covers_stays_when_the_range_is_refused_and_goes_after_it_came() {
    for (list, kind) in [("ban", "ban"), ("captcha", "ban"), ("ban", "captcha")] {
        let mut world = World::new();
        world.set("scopes", "ip,range");
        let on = |which| if list == which { vec!["203.0.113.7"] } else { vec![] };
        world.preload(&on("ban"), &on("captcha"));
        let range = Decision::ban("203.0.113.0/24").kind(kind).scope("Range").until(1_000 * DAY);
        world.front.world().lapi().add(range);
        let at_edge = |world: &World| {
            let (ban, captcha) = world.edge();
            ban.into_iter().chain(captcha).collect::<Vec<_>>()
        };
        for method in ["POST", "PUT"] {
            world.fault(&format!("cloudflare {method} times=1: answer 429 slow down"));
        }
        world.fault("cloudflare DELETE times=1: answer 429 slow down");
        run_after(&world, INTERVAL).await;
        assert_eq!(
            at_edge(&world),
            ["203.0.113.7"],
            "{kind} range, {list}: the first write refused"
        );
        for _ in 0..40 {
            run_after(&world, HOUR).await;
            assert!(at_edge(&world).iter().any(|a| a == "203.0.113.7" || a == "203.0.113.0/24"));
        }
        assert_eq!(at_edge(&world), ["203.0.113.0/24"], "{kind} range, {list}");
        let history = world.front.world().cloudflare().edge_history().to_vec();
        let came = history.iter().position(|c| c.added.iter().any(|a| a == "203.0.113.0/24"));
        let went = history.iter().position(|c| c.removed.iter().any(|a| a == "203.0.113.7"));
        assert!(came <= went, "{kind} range, {list}: {history:?}");
        world.assert_no_violations();
    }
}

#[tokio::test(start_paused = true)]
async fn interval_stored_by_a_clock_that_was_put_back_is_never_longer_than_counted_from_now() {
    let mut world = World::new();
    world.set("write_interval_seconds", "600");
    let stored = br#"{"v":1,"accepted_at":99999999999}"#.to_vec();
    *world.store.borrow_mut() = Some([("lists".to_owned(), stored)].into());
    community(&world, 0..1);
    runs(&world, 5).await;
    assert_eq!(world.writes(), 0);
    let rewritten = world.store.borrow().as_ref().unwrap()["lists"].clone();
    assert!(!String::from_utf8(rewritten).unwrap().contains("99999999999"));
    runs(&world, 2).await;
    assert_eq!(world.writes(), 1, "ten minutes after the first run");
}

#[tokio::test(start_paused = true)]
async fn what_a_run_had_no_time_for_goes_with_the_next_and_waits_for_no_interval_of_its_own() {
    let mut world = World::new();
    world.set("write_interval_seconds", "7200");
    world.set("run_budget_seconds", "60");
    community(&world, 0..1);
    run_after(&world, INTERVAL).await;
    community(&world, 1..3);
    community_challenge(&world, 9);
    configure(&world, "cloudflare.operation_delay=20s");
    run_after(&world, INTERVAL).await;
    assert!(says(&world, "batched: nothing urgent") && world.writes() == 1);
    run_after(&world, 2 * HOUR).await;
    assert!(says(&world, "no time left in this run for 1 of 2 bulk operations"));
    assert_eq!(world.writes(), 2);
    run_after(&world, INTERVAL).await;
    assert_eq!((world.edge().0.len(), world.edge().1.len(), world.writes()), (3, 1, 3));
    // From then on the interval counts again, also where the rest has gone by itself.
    community(&world, 3..4);
    runs(&world, 10).await;
    assert_eq!(world.writes(), 3);
    run_after(&world, 2 * HOUR).await;
    assert_eq!(world.writes(), 4);
}

#[tokio::test(start_paused = true)]
async fn rest_of_a_run_whose_write_was_throttled_waits_for_the_interval_that_an_earlier_one_began()
{
    let mut world = World::new();
    world.set("write_interval_seconds", "7200");
    community(&world, 0..1);
    run_after(&world, INTERVAL).await;
    world.ban("203.0.113.1");
    community_challenge(&world, 9);
    world.fault("cloudflare POST times=1: answer 429 slow down");
    run_after(&world, INTERVAL).await;
    assert_eq!(world.writes(), 2);
    world.front.world().lapi().remove_value("203.0.113.1");
    // The ladder's half hour is over.
    runs(&world, 30).await;
    assert_eq!(world.writes(), 2);
    run_after(&world, 2 * HOUR).await;
    assert_eq!((world.edge().1.len(), world.writes()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn rest_that_a_run_had_no_time_for_and_nobody_wants_any_more_leaves_the_interval_to_others() {
    let mut world = World::new();
    world.set("write_interval_seconds", "7200");
    world.set("run_budget_seconds", "60");
    community(&world, 0..1);
    community_challenge(&world, 9);
    configure(&world, "cloudflare.operation_delay=20s");
    run_after(&world, INTERVAL).await;
    assert!(says(&world, "no time left in this run for 1 of 2 bulk operations"));
    world.front.world().lapi().remove_value(&address(9));
    run_after(&world, INTERVAL).await;
    community(&world, 1..2);
    runs(&world, 10).await;
    assert_eq!(world.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn owner_freed_beside_the_ladder_ends_it_and_what_is_missing_still_is_no_success() {
    let mut world = World::new();
    world.ban("203.0.113.7");
    world.captcha("203.0.113.8");
    world.run().await.unwrap();
    world.fault("cloudflare POST: answer 429 slow down");
    world.captcha("203.0.113.9");
    // Up to the second step, an hour.
    runs(&world, 18).await;
    world.set("never_block", "203.0.113.7");
    for run in 0.. {
        run_after(&world, INTERVAL).await;
        if world.edge().0.is_empty() {
            break;
        }
        assert!(run < 16, "half an hour");
    }
    assert_eq!((world.edge().1.len(), success(&world)), (1, Some(0.0)));
    assert!(says(&world, "the rest goes with the next run"), "{:#?}", world.texts(Level::Info));
    world.front.world().clear_faults();
    run_after(&world, INTERVAL).await;
    assert_eq!((world.edge().1.len(), success(&world)), (2, Some(1.0)));
    world.assert_no_violations();
}

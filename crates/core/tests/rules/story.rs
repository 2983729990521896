//! The story of the field: an account that takes one write in 72 hours, for two weeks.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use simulator::{Verdict, Visitor};

use crate::fixture::{INTERVAL, Zones, locked};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// An address's ban.
struct Ban {
    address: IpAddr,
    from: Duration,
    until: Duration,
}

struct Weeks {
    zones: Zones,
    bans: Vec<Ban>,
    /// When each run began and ended.
    runs: Vec<(Duration, Duration)>,
}

impl Weeks {
    /// Five changes an hour: bans of four hours, of which some are lifted before their time. Fifty addresses
    /// are banned all the while.
    async fn play(with_delta: bool) -> Self {
        let mut zones = Zones::with(3, |options| {
            options.cloudflare.write_floor = Duration::from_secs(72 * 3_600)
        });
        if !with_delta {
            zones.set("cf_rules_zones", "");
        }
        for n in 0..50 {
            zones.ban(&Ipv4Addr::from_bits(0xc633_6400 + n).to_string());
        }
        let (mut bans, mut runs) = (Vec::<Ban>::new(), Vec::new());
        for run in 0..14 * 24 * 30u32 {
            let now = zones.front.elapsed();
            if run % 6 == 3 {
                let change = run / 6;
                if change % 5 == 4 {
                    // The third last is lifted, hours before its time.
                    let index = bans.len() - 3;
                    zones.lift(&bans[index].address.to_string());
                    bans[index].until = now;
                } else {
                    let address = Ipv4Addr::from_bits(0xcb00_7100 + change);
                    zones.decide("ban", &address.to_string(), 4 * HOUR);
                    bans.push(Ban { address: address.into(), from: now, until: now + 4 * HOUR });
                }
            }
            let began = zones.front.elapsed();
            let _ = zones.run().await;
            let _ = zones.take_lines();
            runs.push((began, zones.front.elapsed()));
            tokio::time::sleep(INTERVAL).await;
        }
        Self { zones, bans, runs }
    }

    /// When the first run that could know of a change at this time was over.
    fn known(&self, change: Duration) -> Duration {
        let run = self.runs.iter().find(|(began, _)| *began >= change);
        run.map_or(Duration::MAX, |(_, ended)| *ended)
    }

    /// For how long addresses were in the wrong state, added up over addresses and zones, from the end of
    /// the first run that could know it.
    fn wrong(&self) -> [Duration; 2] {
        let end = self.runs.last().unwrap().1;
        let mut wrong = [Duration::ZERO; 2];
        let mut world = self.zones.front.world();
        let edge = world.edge();
        for Ban { address, from, until } in &self.bans {
            let spans = [
                (self.known(*from).min(*until)..(*until).min(end), Verdict::Block),
                (self.known(*until).min(end)..end, Verdict::Pass),
            ];
            for (span, wanted) in spans {
                for zone in &self.zones.ids {
                    let nobody = Visitor::default();
                    let time =
                        edge.time_while(zone, *address, &nobody, span.clone(), |is| is != wanted);
                    wrong[usize::from(wanted == Verdict::Pass)] += time;
                }
            }
        }
        wrong
    }
}

#[tokio::test(start_paused = true)]
async fn limiter_of_72_hours_leaves_no_change_out_of_force_with_the_delta() {
    let mut figures = Vec::new();
    for with_delta in [true, false] {
        let weeks = Weeks::play(with_delta).await;
        let minutes = weeks.wrong().map(|wrong| wrong.as_secs() / 60);
        let accepted = weeks.zones.operations();
        let (attempts, patches) = (weeks.zones.list_writes(), weeks.zones.patches().len());
        println!(
            "{}: {} changes in two weeks; address-minutes open {}, closed {}; list writes {accepted} of {attempts} tried, changes of rules {patches} in three zones",
            if with_delta { "with the delta" } else { "without the delta" },
            weeks.bans.len() * 2,
            minutes[0],
            minutes[1],
        );
        weeks.zones.assert_no_violations();
        figures.push((minutes, accepted, attempts, patches));
    }
    let [(with, accepted, attempts, patches), (without, ..)] = figures[..] else { unreachable!() };
    assert_eq!(with, [0, 0]);
    assert!(accepted <= 10 && attempts < 60, "{accepted} of {attempts}");
    // A change in each zone for each addition and each end, and hardly more.
    assert!(patches < 3 * (1_680 * 2 + 50), "{patches}");
    assert!(without[0] > 10_000 && without[1] > 1_000, "{without:?}");
}

#[tokio::test(start_paused = true)]
async fn owner_banned_for_a_year_while_the_list_is_locked_is_free_one_run_after_the_decision_goes()
{
    for by_setting in [false, true] {
        let mut zones = Zones::new(2);
        zones.decide("ban", "203.0.113.7", 363 * DAY);
        zones.run().await.unwrap();
        assert_eq!(zones.verdict("203.0.113.7"), Verdict::Block);
        zones.lock();
        if by_setting {
            zones.set("never_block", "203.0.113.7");
        } else {
            zones.lift("203.0.113.7");
        }
        zones.next().await.unwrap();
        assert_eq!(zones.verdict("203.0.113.7"), Verdict::Pass);
        // So it stays, while the list has him for days, and when it lets him go.
        for _ in 0..720 {
            zones.next().await.unwrap();
            assert_eq!(zones.verdict("203.0.113.7"), Verdict::Pass);
        }
        zones.unlock();
        for _ in 0..2 * 720 {
            zones.next().await.unwrap();
        }
        assert_eq!(zones.verdict("203.0.113.7"), Verdict::Pass);
        assert!(zones.ban_list().is_empty() && zones.is_drained(), "{:?}", zones.expressions(0));
        zones.assert_no_violations();
    }
}

#[tokio::test(start_paused = true)]
async fn owner_never_blocked_who_is_not_yet_on_the_list_is_not_in_the_delta_either() {
    let mut zones = locked(1).await;
    zones.set("never_block", "203.0.113.7");
    zones.ban("203.0.113.7");
    zones.ban("203.0.113.8");
    zones.next().await.unwrap();
    zones.assert_verdicts(&[("203.0.113.7", Verdict::Pass), ("203.0.113.8", Verdict::Block)]);
}

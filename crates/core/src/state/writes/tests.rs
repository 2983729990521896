//! Every row of the table of `writes`, and what two of them do together.

use super::*;

const T: u64 = 1_793_000_000;
const TOKEN: u32 = 7;
const HOUR: u64 = 3_600;

fn pace() -> Pace {
    let backoff = [1_800, 3_600, 7_200, 14_400, 21_600].map(Duration::from_secs).to_vec();
    Pace { backoff, interval: Duration::from_secs(600) }
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// The wait right after it began, in seconds.
fn wait(history: &WriteHistory, now: u64) -> Option<(u64, Cause)> {
    history.wait(&pace(), TOKEN, now).map(|(left, cause)| (left.as_secs(), cause))
}

/// The waits of so many attempts, each made as soon as it may be.
fn waits(answer: impl Fn(&mut WriteHistory, u64), attempts: usize) -> Vec<(u64, Cause)> {
    let (mut history, mut now) = (WriteHistory::default(), T);
    let mut waits = Vec::new();
    for _ in 0..attempts {
        answer(&mut history, now);
        let (secs, cause) = wait(&history, now).expect("it waits");
        assert_eq!(wait(&history, now + secs - 1), Some((1, cause)));
        assert_eq!(wait(&history, now + secs), None, "the wait ends");
        now += secs;
        waits.push((secs, cause));
    }
    waits
}

fn all(cause: Cause, secs: &[u64]) -> Vec<(u64, Cause)> {
    secs.iter().map(|secs| (*secs, cause)).collect()
}

#[test]
fn nothing_remembered_waits_for_nothing() {
    let history = WriteHistory::default();
    assert_eq!(wait(&history, T), None);
    assert_eq!((history.operation(), history.items_max(9, 0, T)), (None, 9));
    assert_eq!((history.last_suspect(), history.may_rewrite(T)), (None, true));
    assert!(!history.is_scarce(T) && history.company_left(T).is_none());
    assert!(!history.is_scarce(100), "of a clock that begins in 1970 neither");
    assert_eq!(history.interval_left(&pace(), T), None);
}

#[test]
fn throttled_write_climbs_the_ladder_and_stays_on_its_last_step() {
    let waits = waits(|history, now| history.throttled(false, &pace(), now), 7);
    let ladder = [1_800, 3_600, 7_200, 14_400, 21_600, 21_600, 21_600];
    assert_eq!(waits, all(Cause::Throttled, &ladder));
}

#[test]
fn operation_that_fails_after_it_was_accepted_climbs_the_ladder() {
    let answer = |history: &mut WriteHistory, now| {
        history.accepted("op", &pace(), now);
        history.failed(&pace(), now);
        assert_eq!(history.operation(), None);
    };
    assert_eq!(waits(answer, 3), all(Cause::Failed, &[1_800, 3_600, 7_200]));
}

#[test]
fn write_refused_otherwise_waits_the_first_step_doubled_up_to_the_last() {
    let waits = waits(|history, now| history.refused_otherwise(400, TOKEN, now), 6);
    assert_eq!(waits, all(Cause::Refused, &[1_800, 3_600, 7_200, 14_400, 21_600, 21_600]));
}

#[test]
fn token_that_may_not_write_waits_the_first_step_until_it_is_another() {
    for status in [401, 403] {
        let answer = |history: &mut WriteHistory, now| {
            history.refused_otherwise(status, TOKEN, now);
            assert_eq!(history.wait(&pace(), TOKEN + 1, now), None, "another token");
        };
        assert_eq!(waits(answer, 3), all(Cause::Denied, &[1_800; 3]));
    }
}

#[test]
fn write_not_answered_waits_two_minutes_doubled_up_to_the_first_step() {
    let waits = waits(|history, now| history.unanswered(TOKEN, now), 6);
    assert_eq!(waits, all(Cause::Unanswered, &[120, 240, 480, 960, 1_800, 1_800]));
}

#[test]
fn write_that_goes_well_ends_every_wait() {
    let mut history = WriteHistory::default();
    history.throttled(false, &pace(), T);
    history.refused_otherwise(400, TOKEN, T);
    history.accepted("op", &pace(), T + 60);
    assert_eq!(history.operation(), Some("op"));
    history.completed(T + 61);
    assert_eq!((wait(&history, T + 61), history.operation(), history.refused()), (None, None, 0));
    assert_eq!(history.interval_left(&pace(), T + 61), Some(Duration::from_secs(599)));
    assert_eq!(history.interval_left(&pace(), T + 660), None);
}

#[test]
fn lists_may_have_lost_something_while_an_operation_that_takes_is_under_way_or_has_just_ended() {
    let mut history = WriteHistory::default();
    assert!(!history.may_have_lost(T), "nothing was written");
    history.accepted("op", &pace(), T);
    history.takes(true);
    assert!(history.may_have_lost(T + 3_000));
    history.completed(T + 3_000);
    assert!(history.may_have_lost(T + 3_059) && !history.may_have_lost(T + 3_060));
    history.accepted("op", &pace(), T + 4_000);
    history.takes(false);
    assert!(!history.may_have_lost(T + 4_001), "it only adds");
}

#[test]
fn what_a_run_had_no_time_for_waits_for_no_interval_until_it_is_written() {
    let mut history = WriteHistory::default();
    history.accepted("op", &pace(), T);
    history.note_unfinished(true);
    assert_eq!(history.interval_left(&pace(), T + 1), None);
    history.accepted("op", &pace(), T + 1);
    assert_eq!(history.interval_left(&pace(), T + 2), Some(Duration::from_secs(599)));
}

#[test]
fn longer_of_two_waits_counts() {
    let mut history = WriteHistory::default();
    history.throttled(false, &pace(), T);
    history.unanswered(TOKEN, T + 1_795);
    assert_eq!(wait(&history, T + 1_795), Some((120, Cause::Unanswered)));
    history.throttled(false, &pace(), T + 1_800);
    assert_eq!(wait(&history, T + 1_800), Some((3_600, Cause::Throttled)));
}

#[test]
fn value_that_is_named_is_set_aside_for_a_day_and_nothing_waits() {
    let mut history = WriteHistory::default();
    history.value_refused(address("1.0.0.1"), TOKEN, T);
    assert_eq!(wait(&history, T), None);
    assert_eq!(history.set_aside().get(&address("1.0.0.1")), Some(&(T + 24 * HOUR)));
    history.settle(T + 24 * HOUR - 1);
    assert_eq!(history.set_aside().len(), 1);
    history.settle(T + 24 * HOUR);
    assert!(history.set_aside().is_empty());
}

#[test]
fn value_on_the_list_already_that_is_refused_is_not_rewritten_for_a_day() {
    let mut history = WriteHistory::default();
    history.kept_value_refused(TOKEN, T);
    assert_eq!((wait(&history, T), history.may_rewrite(T)), (None, false));
    assert!(history.may_rewrite(T + 24 * HOUR));
}

#[test]
fn values_refused_again_and_again_are_no_matter_of_values_and_wait() {
    let mut named = WriteHistory::default();
    for n in 0..200u32 {
        let address = std::net::Ipv4Addr::from_bits(0x0100_0000 + n).to_string().parse().unwrap();
        named.value_refused(address, TOKEN, T);
    }
    assert_eq!(wait(&named, T).unwrap().1, Cause::Refused);
    assert_eq!(named.set_aside().len(), SET_ASIDE_MAX);
    let mut unnamed = WriteHistory::default();
    let some = (None, Suspects { count: 9, last: None });
    (0..60).for_each(|_| unnamed.some_value_refused(some, false, TOKEN, T));
    assert_eq!(wait(&unnamed, T).unwrap().1, Cause::Refused);
}

#[test]
fn owner_is_tried_every_half_hour_without_moving_the_ladder() {
    let mut history = WriteHistory::default();
    (0..4).for_each(|_| history.throttled(false, &pace(), T));
    let (first, _) = wait(&history, T).unwrap();
    assert!(!history.owner_may_be_tried(T + 1_799), "the last attempt was a moment ago");
    for half_hour in 1..8 {
        let now = T + 1_800 * half_hour;
        assert!(history.owner_may_be_tried(now));
        history.throttled(true, &pace(), now);
        assert!(!history.owner_may_be_tried(now + 1_799));
        assert_eq!(wait(&history, now), Some((first - 1_800 * half_hour, Cause::Throttled)));
    }
    history.owner_refused(T + 20_000);
    assert!(!history.owner_may_be_tried(T + 21_000));
}

#[test]
fn account_is_scarce_for_seven_days_after_a_throttled_write_and_not_after_another_failure() {
    let mut history = WriteHistory::default();
    history.refused_otherwise(400, TOKEN, T);
    history.failed(&pace(), T);
    assert!(!history.is_scarce(T));
    history.throttled(false, &pace(), T);
    assert!(history.is_scarce(T + 7 * 24 * HOUR - 1));
    assert!(!history.is_scarce(T + 7 * 24 * HOUR));
}

#[test]
fn removals_wait_for_company_a_day_at_most_and_only_where_writes_are_scarce() {
    let mut history = WriteHistory::default();
    history.note_company(true, T);
    assert_eq!(history.company_left(T), None, "writes are plenty");
    history.throttled(false, &pace(), T);
    assert_eq!(history.company_left(T + HOUR), Some(Duration::from_secs(23 * HOUR)));
    history.note_company(true, T + 10 * HOUR);
    assert_eq!(history.company_left(T + 24 * HOUR), None);
    history.note_company(false, T + 24 * HOUR);
    history.note_company(true, T + 30 * HOUR);
    assert_eq!(history.company_left(T + 30 * HOUR), Some(Duration::from_secs(24 * HOUR)));
}

#[test]
fn account_that_opens_after_the_whole_ladder_is_tried_rarely_the_next_time() {
    let (mut history, mut now, mut attempts) = (WriteHistory::default(), T, 0);
    history.accepted("op", &pace(), now);
    history.completed(now);
    let mut learned = 0;
    for _ in 0..3 {
        let opens = now + 72 * HOUR;
        now += 120;
        attempts = 0;
        while now < opens {
            history.throttled(false, &pace(), now);
            attempts += 1;
            now += wait(&history, now).unwrap().0.max(120);
        }
        history.accepted("op", &pace(), now);
        history.completed(now);
        learned = history.spacing;
    }
    assert!((70 * HOUR..80 * HOUR).contains(&learned), "{learned}");
    assert!(attempts <= 10, "{attempts}");
}

#[test]
fn time_in_which_nobody_wanted_to_write_is_not_learned() {
    // Before the first refusal, and between two.
    for idle in [0, 240 * HOUR] {
        let (mut history, mut now) = (WriteHistory::default(), T);
        history.accepted("op", &pace(), now);
        history.completed(now);
        now += idle;
        for attempt in 0..6 {
            history.throttled(false, &pace(), now);
            now += wait(&history, now).unwrap().0;
            if attempt == 2 {
                now += idle;
            }
        }
        history.accepted("op", &pace(), now + idle);
        assert!(history.spacing <= 24 * HOUR, "{} after {idle}", history.spacing);
    }
}

#[test]
fn capacity_that_was_learned_is_believed_for_a_day_and_never_raises_the_settings() {
    let mut history = WriteHistory::default();
    history.learn_capacity(7_000, T);
    assert_eq!(history.items_max(10_000, 0, T + 24 * HOUR - 1), 7_000);
    assert_eq!(history.items_max(500, 0, T), 500);
    assert_eq!(history.items_max(10_000, 8_000, T), 8_000, "what is there fits");
    assert_eq!(history.items_max(500, 8_000, T), 500, "the settings' word holds");
    assert_eq!(history.items_max(10_000, 0, T + 24 * HOUR), 10_000);
    history.throttled(false, &pace(), T + 23 * HOUR);
    assert_eq!(history.items_max(10_000, 0, T + 47 * HOUR - 1), 7_000, "a day without a write");
    assert_eq!(history.items_max(10_000, 0, T + 47 * HOUR), 10_000);
}

#[test]
fn operation_out_of_sight_is_given_up_after_an_hour_and_a_pending_one_after_a_day() {
    for (sight, limit) in [(Sight::Lost, HOUR), (Sight::Pending, 24 * HOUR)] {
        let mut history = WriteHistory::default();
        history.accepted("op", &pace(), T);
        assert!(!history.out_of_sight(sight, T + limit - 1));
        assert_eq!(history.operation(), Some("op"));
        assert!(history.out_of_sight(sight, T + limit));
        assert_eq!(history.operation(), None);
    }
}

#[test]
fn lists_may_lose_something_until_a_write_that_takes_has_been_seen_to_end_and_was_so_in_an_earlier_run()
 {
    let write = |takes, lost: bool| {
        let mut history = WriteHistory::default();
        match lost {
            true => history.unanswered(TOKEN, T),
            false => history.accepted("op", &pace(), T),
        }
        history.takes(takes);
        history
    };
    assert!(!WriteHistory::default().may_take());
    for lost in [true, false] {
        assert!(write(true, lost).may_take() && !write(false, lost).may_take());
    }
    let mut history = write(true, false);
    history.completed(T);
    assert!(!history.may_take(), "what it has taken is known");
    let mut history = write(true, false);
    history.failed(&pace(), T);
    assert!(!history.may_take());
    let mut history = write(true, false);
    history.completed_since(T);
    assert!(history.may_take(), "the lists may be shown as before it");
    history.accepted("next", &pace(), T);
    history.takes(false);
    assert!(!history.may_take());
}

#[test]
fn lists_may_show_what_has_gone_for_a_minute_after_an_operation_that_took_was_seen_to_complete() {
    let mut history = WriteHistory::default();
    assert!(!history.may_show_gone(T));
    history.accepted("op", &pace(), T);
    history.takes(true);
    assert!(!history.may_show_gone(T + 1), "nothing has gone");
    history.completed(T + 5);
    assert!(history.may_show_gone(T + 64) && !history.may_show_gone(T + 65));
    history.accepted("next", &pace(), T + 30);
    history.takes(false);
    history.completed(T + 31);
    assert!(history.may_show_gone(T + 64) && !history.may_show_gone(T + 65));
    // A clock that was put back begins the minute anew.
    history.settle(T - HOUR);
    assert!(history.may_show_gone(T - HOUR) && !history.may_show_gone(T - HOUR + 60));
}

#[test]
fn times_of_a_clock_that_was_put_back_count_from_now() {
    let later = T + 1_000 * HOUR;
    let mut history = WriteHistory::default();
    history.throttled(false, &pace(), later);
    history.unanswered(TOKEN, later);
    history.accepted("op", &pace(), later);
    history.note_company(true, later);
    history.value_refused(address("1.0.0.1"), TOKEN, later);
    history.kept_value_refused(TOKEN, later);
    history.learn_capacity(5, later);
    history.settle(T);
    assert_eq!(wait(&history, T), Some((1_800, Cause::Throttled)));
    assert_eq!(history.interval_left(&pace(), T), Some(pace().interval));
    assert_eq!(history.company_left(T), Some(Duration::from_secs(24 * HOUR)));
    assert_eq!(history.set_aside().values().copied().collect::<Vec<_>>(), [T + 24 * HOUR]);
    assert!(history.may_rewrite(T + 24 * HOUR) && !history.may_rewrite(T));
    assert_eq!((history.items_max(9, 0, T), history.items_max(9, 0, T + 24 * HOUR)), (5, 9));
    assert!(history.owner_may_be_tried(T + 1_800));
    assert!(history.out_of_sight(Sight::Lost, T + HOUR));
    let settled = history.clone();
    history.settle(T);
    assert_eq!(history, settled);
}

#[test]
fn another_failure_and_that_of_another_token_begin_from_the_first_step() {
    let mut history = WriteHistory::default();
    let mut refused = |token, kind: fn(&mut WriteHistory, u32)| {
        kind(&mut history, token);
        history.wait(&pace(), token, T).map(|(left, _)| left.as_secs())
    };
    let otherwise = |history: &mut WriteHistory, token| history.refused_otherwise(400, token, T);
    let unanswered = |history: &mut WriteHistory, token| history.unanswered(token, T);
    assert_eq!(refused(TOKEN, otherwise), Some(1_800));
    assert_eq!(refused(TOKEN, otherwise), Some(3_600));
    assert_eq!(refused(TOKEN + 1, otherwise), Some(1_800), "another token");
    assert_eq!(refused(TOKEN + 1, unanswered), Some(120), "another failure");
}

/// Some do at most one write in 72 hours: one that was refused only once then has not become another account.
#[test]
fn account_that_opens_late_counts_as_such_until_it_takes_a_write_without_a_refusal() {
    let mut history = WriteHistory::default();
    let mut now = T;
    for _ in 0..6 {
        history.throttled(false, &pace(), now);
        now += wait(&history, now).unwrap().0;
    }
    let write = |history: &mut WriteHistory, now| {
        history.accepted("op", &pace(), now);
        history.completed(now);
        history.spacing
    };
    assert!(write(&mut history, now) >= 13 * HOUR, "the whole ladder");
    history.throttled(false, &pace(), now + HOUR);
    let opens_in = wait(&history, now + HOUR).unwrap().0;
    assert!(opens_in > 1_800, "it does not begin from the first step: {opens_in}");
    now += HOUR + opens_in;
    assert_eq!(write(&mut history, now), opens_in, "from the one refusal on");
    assert_eq!(write(&mut history, now + HOUR), 0, "none this time");
}

/// It stands in the stores of earlier versions. The values are those that FNV's authors give for 64 bits.
#[test]
fn checksum_is_fnv_1a_folded_to_32_bits() {
    for (token, fnv) in [
        ("", 0xcbf2_9ce4_8422_2325_u64),
        ("a", 0xaf63_dc4c_8601_ec8c),
        ("foobar", 0x8594_4171_f739_67e8),
    ] {
        let [high, low] = [(fnv >> 32) as u32, fnv as u32];
        assert_eq!(checksum(token), high ^ low, "{token:?}");
    }
}

#[test]
fn checksum_tells_tokens_apart_and_not_the_token() {
    assert_ne!(checksum("a-token"), checksum("b-token"));
    assert_eq!(checksum("a-token"), checksum("a-token"));
}

//! What the simulation itself promises.

use simulation::defects::{Defect, plant};
use simulation::generate::{Focus, generate};
use simulation::{Played, play, shrink};

fn focus(only: &str) -> Focus {
    only.parse().unwrap()
}

#[test]
fn seed_played_twice_gives_the_same_bytes() {
    for seed in 1..=12 {
        let script = generate(seed, Focus::default());
        assert_eq!(script, generate(seed, Focus::default()));
        let bytes = |Played { digest, story, runs, requests, marks, .. }: Played| {
            (digest, story, runs, requests, marks)
        };
        let first = bytes(play(&script, true));
        assert_eq!(first, bytes(play(&script, true)), "seed {seed}");
        assert_eq!(first.0, play(&script, false).digest, "whether it is told changes nothing");
    }
}

#[test]
fn script_written_to_a_file_and_read_back_is_the_same_script() {
    for seed in 1..=50 {
        let script = generate(seed, Focus::default());
        let text = serde_json::to_string_pretty(&script).unwrap();
        assert_eq!(serde_json::from_str::<simulation::script::Script>(&text).unwrap(), script);
    }
}

/// The cheap ones; `simulate --defects` finds all of them.
#[test]
fn defects_planted_are_found_within_a_few_seeds() {
    for defect in [
        Defect::IgnoresGuard,
        Defect::IgnoresNeverBlock,
        Defect::AddsProtected,
        Defect::ForgetsWrites,
        Defect::WritesTwice,
        Defect::RewriteLosesItem,
        Defect::DeletesTooMuch,
        Defect::SwallowsFailure,
        Defect::AlwaysSuccess,
        Defect::PrintsToken,
        Defect::KvShardLosesLine,
        Defect::KvLosesRegions,
        Defect::KvLosesExceptions,
    ] {
        let found = Defect::ALL.iter().find(|(known, _, _)| *known == defect);
        let only = found.map_or("lists", |(_, _, only)| only);
        let breaks = |seed: &u64| {
            let script = generate(*seed, focus(only));
            plant(Some(defect));
            let with = play(&script, false).violation;
            plant(None);
            with.is_some_and(|with| {
                play(&script, false).violation.is_none_or(|without| without.promise != with.promise)
            })
        };
        assert!((1..=40).any(|seed| breaks(&seed)), "{defect:?} is not found");
    }
}

#[test]
fn violation_shrunk_breaks_the_same_promise_with_fewer_events() {
    let script = generate(1, focus("lists"));
    plant(Some(Defect::AlwaysSuccess));
    let before = play(&script, false).violation.map(|violation| violation.promise);
    let small = shrink(&script, 300);
    let after = play(&small, false).violation.map(|violation| violation.promise);
    plant(None);
    assert!(before.is_some());
    assert_eq!(after, before);
    assert!(small.events.len() * 2 < script.events.len(), "{}", small.events.len());
}

use super::super::tests::Memory;
use super::*;

const NOW: u64 = 1_793_000_000;

fn mark(items: u64, second: u32) -> Mark {
    Mark::new(items, &format!("2026-01-02T03:04:{second:02}Z"))
}

/// An account that is trusted, with a content that is kept under this mark.
fn trusting(marks: &[Mark]) -> EdgeHistory {
    let mut history = EdgeHistory::default();
    history.bind(7);
    history.wrote([Some(mark(0, 59))].into_iter());
    history.learn(marks);
    assert_eq!(history.read(PAGES_MIN, Some(marks), 99, NOW), Audit::New);
    assert!(history.may_keep());
    history.kept(marks, 99);
    history
}

#[test]
fn account_whose_mark_moves_with_a_write_is_trusted_and_no_other() {
    for (before, now, trust) in [
        (vec![Some(mark(1, 1))], vec![mark(2, 2)], Trust::Learned),
        // The number of items is no sign: others may have added as many.
        (vec![Some(mark(1, 1))], vec![mark(2, 1)], Trust::Unknown),
        (vec![Some(mark(1, 1)), None], vec![mark(2, 2), mark(5, 5)], Trust::Learned),
        (vec![Some(mark(1, 1)), Some(mark(5, 5))], vec![mark(2, 2), mark(6, 5)], Trust::Unknown),
        (vec![], vec![mark(2, 2)], Trust::Unknown),
    ] {
        let mut history = EdgeHistory::default();
        history.wrote(before.clone().into_iter());
        history.learn(&now);
        assert_eq!(history.trust(), trust, "{before:?}");
        assert!(!history.wants_marks(), "learned once: {before:?}");
    }
}

#[test]
fn mark_is_as_old_as_it_says_to_the_second_and_one_without_a_date_is_never_old() {
    let is_of = |modified_on| Mark::new(5, modified_on).is_of("2026-01-02T03:04:05Z");
    for (modified_on, old) in [
        ("2026-01-02T03:04:05Z", true),
        ("2026-01-02T03:04:05.999999Z", true),
        ("2026-01-02T03:04:06Z", false),
        ("2025-12-31T23:59:59Z", true),
        ("2026-01-02", false),
        ("", false),
    ] {
        assert_eq!(is_of(modified_on), old, "{modified_on:?}");
    }
    assert!(Mark::new(5, "x").counts(5) && !Mark::new(5, "x").counts(6));
}

#[test]
fn trust_that_ended_stays_ended() {
    let mut history = trusting(&[mark(1, 1)]);
    assert_eq!(history.read(PAGES_MIN, Some(&[mark(1, 1)]), 100, NOW), Audit::Another);
    assert!(!history.is_kept(&[mark(1, 1)], 600, NOW), "whatever comes of it");
    history.distrust();
    history.wrote([Some(mark(1, 1))].into_iter());
    history.learn(&[mark(2, 2)]);
    assert_eq!(history.trust(), Trust::Ended);
    assert!(!history.may_keep());
}

#[test]
fn content_is_kept_for_its_marks_and_its_time_alone() {
    let (marks, mut history) = ([mark(1, 1)], trusting(&[mark(1, 1)]));
    assert!(history.is_kept(&marks, 600, NOW + 599));
    assert!(!history.is_kept(&marks, 600, NOW + 600));
    assert!(!history.is_kept(&marks, 0, NOW));
    for other in [&[mark(2, 1)][..], &[mark(1, 2)], &[], &[mark(1, 1), mark(1, 1)]] {
        assert!(!history.is_kept(other, 600, NOW), "{other:?}");
    }
    let mut written = history.clone();
    written.forget();
    assert!(!written.is_kept(&marks, 600, NOW));
    history.bind(7);
    assert!(history.is_kept(&marks, 600, NOW));
    history.bind(8);
    assert!(!history.is_kept(&marks, 600, NOW), "of other lists");
}

#[test]
fn clock_put_back_lets_content_stand_no_longer_than_its_time_from_then_on() {
    let mut history = trusting(&[mark(1, 1)]);
    history.settle(NOW - 50_000);
    assert!(history.is_kept(&[mark(1, 1)], 600, NOW - 50_000 + 599));
    assert!(!history.is_kept(&[mark(1, 1)], 600, NOW - 50_000 + 600));
}

#[test]
fn few_pages_are_not_worth_their_marks() {
    let mut history = EdgeHistory::default();
    history.read(PAGES_MIN - 1, None, 1, NOW);
    assert!(!history.wants_marks());
    history.read(PAGES_MIN, None, 1, NOW);
    assert!(history.wants_marks());
}

fn items(addresses: &[&str]) -> AddressMap<ItemId> {
    let mut items = AddressMap::default();
    for (address, n) in addresses.iter().zip(0_u8..) {
        items.push(address.parse().unwrap(), ItemId::from([n; 16]));
    }
    items.settle(|_, _| ());
    items
}

#[test]
fn content_kept_is_loaded_under_the_same_text_and_no_other() {
    let store = Memory::default();
    let (ban, captcha) = (items(&["1.1.1.1", "10.0.0.0/8", "2001:db8::1"]), items(&[]));
    assert_eq!(keep(&store, "of these\n", &[(&ban, 5), (&captcha, 0)]), Ok(true));
    let loaded = load(&store, "of these\n", 2).unwrap();
    assert_eq!(loaded, [(ban, 5), (captcha, 0)]);
    for (of, count) in
        [("of others\n", 2), ("of these\n", 1), ("of these\n", 3), ("of th", 2), ("", 2)]
    {
        assert_eq!(load(&store, of, count), None, "{of:?} {count}");
    }
}

#[test]
fn content_with_an_id_of_another_form_is_not_kept_and_what_was_kept_stays_whole() {
    let store = Memory::default();
    let before = items(&["1.1.1.1"]);
    keep(&store, "a", &[(&before, 1)]).unwrap();
    let mut odd = items(&["2.2.2.2"]);
    odd.push("3.3.3.3".parse().unwrap(), ItemId::from("an id"));
    assert_eq!(keep(&store, "b", &[(&odd, 1)]), Ok(false));
    assert_eq!(load(&store, "a", 1), Some(vec![(before, 1)]));
}

#[test]
fn content_of_150_000_items_takes_less_than_40_bytes_an_item_in_parts_of_256_kib() {
    let store = Memory::default();
    let mut all = AddressMap::default();
    for n in 0_u32..150_000 {
        let address = std::net::Ipv4Addr::from_bits(0x0b00_0000 + n * 7).to_string();
        all.push(address.parse().unwrap(), ItemId::from(u128::from(n).to_be_bytes()));
    }
    keep(&store, "a", &[(&all, 1)]).unwrap();
    let values = store.values.borrow();
    let bytes: usize = values.values().map(Vec::len).sum();
    assert!(bytes < 40 * 150_000, "{bytes}");
    assert!(values.values().all(|value| value.len() <= parts::PART_BYTES_MAX));
    drop(values);
    assert_eq!(load(&store, "a", 1), Some(vec![(all, 1)]));
}

#[test]
fn content_that_others_wrote_is_nothing_and_asks_for_no_memory() {
    let store = Memory::default();
    let head = |numbers: [u64; 3]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>();
    let entry = |address: [u8; 5]| [&address[..], &[0; 16]].concat();
    for (what, bytes) in [
        ("more items than bytes", head([0, u64::MAX, 0])),
        (
            "out of order",
            [head([0, 2, 0]), entry([2, 0, 0, 1, 32]), entry([1, 0, 0, 1, 32])].concat(),
        ),
        ("twice", [head([0, 2, 0]), entry([2, 0, 0, 1, 32]), entry([2, 0, 0, 1, 32])].concat()),
        ("no address", [head([0, 1, 0]), entry([1, 0, 0, 1, 33])].concat()),
        ("bits beyond the prefix", [head([0, 1, 0]), entry([1, 0, 0, 1, 8])].concat()),
        ("more behind it", [head([0, 1, 0]), entry([1, 0, 0, 1, 32]), vec![0]].concat()),
        ("cut", vec![0; 11]),
    ] {
        let generation = parts::next_generation(&store, ITEMS_KEY);
        parts::save(&store, ITEMS_KEY, generation, &bytes).unwrap();
        assert_eq!(load(&store, "", 1), None, "{what}");
    }
}

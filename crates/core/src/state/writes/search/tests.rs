//! How many writes it takes to find a value that is refused and not named, whatever happens meanwhile.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::super::*;

const T: u64 = 1_793_000_000;
const TOKEN: u32 = 7;
const DAY: u64 = 24 * 3_600;

fn address(n: u32) -> Address {
    IpAddr::from(Ipv4Addr::from_bits(0x0b00_0000 + n)).into()
}

fn pace() -> Pace {
    Pace { backoff: vec![Duration::from_secs(1_800)], interval: Duration::ZERO }
}

/// An address, and the list that it is for.
type Addition = (u32, Address);

/// What is yet to be added, the most urgent first, and Cloudflare, which names nothing.
struct Story {
    history: WriteHistory,
    additions: Vec<Addition>,
    refused: BTreeSet<Address>,
    lists: u32,
    /// Requests that were sent.
    writes: u32,
    /// How many came up later.
    came: u32,
}

impl Story {
    /// So many additions for so many lists, and which of them are refused.
    fn new(count: u32, refused: &[u32], lists: u32) -> Self {
        Self {
            history: WriteHistory::default(),
            additions: (0..count).map(|n| (n % lists, address(n))).collect(),
            refused: refused.iter().copied().map(address).collect(),
            lists,
            writes: 0,
            came: 0,
        }
    }

    /// Another one, so many before it.
    fn comes_up(&mut self, at: usize) -> Address {
        let n = 1_000_000 + self.came;
        self.came += 1;
        let at = at.min(self.additions.len());
        self.additions.insert(at, (n % self.lists, address(n)));
        address(n)
    }

    fn is_lifted(&mut self, address: Address) {
        self.additions.retain(|(_, one)| *one != address);
    }

    /// The operations of a run, in the order of the lists, with what the schedule knows of them. Its own tests hold
    /// that it is so.
    fn schedule(&self) -> (Vec<Vec<Addition>>, u64, Suspects) {
        let last = self.history.last_suspect();
        let at = self.additions.iter().position(|(_, one)| Some(*one) == last);
        let all = self.additions.len() as u64;
        let cut = at.map(|at| self.history.cut(at as u64));
        let none = Cut { suspects: 0, carried: all, is_last_alone: false };
        let Cut { suspects, carried, is_last_alone } = cut.unwrap_or(none);
        assert!(carried <= all && (carried > 0 || all == 0), "{carried} of {all}");
        let sent = &self.additions[..carried as usize];
        let mut operations = Vec::new();
        for list in 0..self.lists {
            let of_list = sent.iter().copied().filter(|(on, _)| *on == list);
            let (alone, others): (Vec<_>, Vec<_>) =
                of_list.partition(|(_, one)| is_last_alone && Some(*one) == last);
            operations.extend([others, alone].into_iter().filter(|items| !items.is_empty()));
        }
        (operations, carried, Suspects { count: suspects, last })
    }

    fn run(&mut self) {
        let (operations, carried, suspects) = self.schedule();
        let mut added = 0;
        for items in operations {
            self.writes += 1;
            if items.iter().any(|(_, one)| self.refused.contains(one)) {
                let only = (items.len() == 1).then(|| items[0].1);
                let last = items.last().map(|(_, one)| *one);
                let suspects = Suspects { count: carried - added, last };
                self.history.some_value_refused((only, suspects), false, TOKEN, T);
                if let Some(only) = only {
                    self.is_lifted(only);
                }
                return;
            }
            self.take(&items);
            added += items.len() as u64;
            self.history.completed(T);
            let count = suspects.count.saturating_sub(added);
            self.history.narrow(Suspects { count, ..suspects });
        }
    }

    /// A run that is killed after its first operation was accepted.
    fn is_killed(&mut self) {
        let (operations, ..) = self.schedule();
        if let Some(items) = operations.first()
            && !items.iter().any(|(_, one)| self.refused.contains(one))
        {
            self.take(items);
        }
        self.writes += 1;
        self.history.accepted("op", &pace(), T);
        self.history.completed_since(T);
    }

    fn take(&mut self, items: &[Addition]) {
        let items: BTreeSet<Address> = items.iter().map(|(_, one)| *one).collect();
        self.additions.retain(|(_, one)| !items.contains(one));
    }

    /// Runs until all is taken, `meanwhile` before each, and gives how many writes that took.
    fn runs(&mut self, mut meanwhile: impl FnMut(&mut Self, u32)) -> u32 {
        for run in 0..100 {
            meanwhile(self, run);
            if self.additions.is_empty() {
                return self.writes;
            }
            self.run();
            assert_eq!(self.history.wait(&pace(), TOKEN, T), None, "at once");
        }
        panic!("{} are left: {:?}", self.additions.len(), self.history);
    }

    fn found(&self) -> BTreeSet<Address> {
        self.history.set_aside().keys().copied().collect()
    }
}

#[test]
fn refused_values_among_ten_thousand_are_found_by_fifteen_writes_each() {
    for (refused, writes) in [
        (vec![0], 16),
        (vec![4_999], 16),
        (vec![5_000], 16),
        (vec![7_777], 15),
        (vec![9_999], 15),
        (vec![0, 1, 2], 46),
        (vec![0, 5_000, 9_999], 44),
        (vec![9_997, 9_998, 9_999], 18),
    ] {
        let mut story = Story::new(10_000, &refused, 1);
        assert_eq!(story.runs(|_, _| ()), writes, "{refused:?}, with the rest");
        assert_eq!(story.found(), story.refused, "{refused:?}");
    }
}

#[test]
fn refused_values_on_two_lists_are_found_whichever_list_is_written_first() {
    // A half that is taken is two requests there.
    for (refused, writes) in [
        (vec![0], 16),
        (vec![1], 16),
        (vec![4_999], 16),
        (vec![9_998], 28),
        (vec![9_999], 15),
        (vec![1, 4_998, 9_999], 51),
    ] {
        let mut story = Story::new(10_000, &refused, 2);
        assert_eq!(story.runs(|_, _| ()), writes, "{refused:?}, with the rest");
        assert_eq!(story.found(), story.refused, "{refused:?}");
    }
}

#[test]
fn value_that_is_taken_after_all_or_lifted_ends_the_search_with_all_on_the_lists() {
    for refused in [0, 500, 999] {
        for (is_lifted, when) in (0..12).flat_map(|when| [(false, when), (true, when)]) {
            let mut story = Story::new(1_000, &[refused], 1);
            let writes = story.runs(|story, run| {
                if run == when {
                    story.refused.clear();
                    if is_lifted {
                        story.is_lifted(address(refused));
                    }
                }
            });
            assert!(writes <= 14, "{refused} from run {when} on, {is_lifted}: {writes}");
            assert_eq!(story.history.no_rewrite_until, 0, "nothing that is there was refused");
        }
    }
}

/// So many with each run, for hours: who looks for the value among the first so many never sees it alone.
#[test]
fn search_ends_although_others_come_up_with_every_run() {
    for (each, at_most) in [(1, 14), (3, 15), (10, 21), (100, 31)] {
        for (lists, refused) in [0, 1, 500, 998, 999].into_iter().flat_map(|n| [(1, n), (2, n)]) {
            // In front, everywhere, and behind.
            for place in [0, 7_919, 1_000_000] {
                let mut story = Story::new(1_000, &[refused], lists);
                for run in 1.. {
                    story.run();
                    if story.found() == story.refused {
                        break;
                    }
                    let so_far = format!("{refused} {lists} {each} {place}: {:?}", story.history);
                    assert!(run < at_most && story.found().is_empty(), "{so_far}");
                    for n in 0..each {
                        story.comes_up(place * (n + run) % (story.additions.len() + 1));
                    }
                }
            }
        }
    }
}

#[test]
fn search_goes_on_after_a_write_that_nobody_saw_and_begins_anew_when_the_last_suspect_is_lifted() {
    let mut story = Story::new(8, &[3], 1);
    story.run();
    story.run();
    let suspects = |story: &Story| (story.history.suspects, story.history.last_suspect());
    assert_eq!(suspects(&story), (4, Some(address(3))));
    story.is_killed();
    assert_eq!(suspects(&story), (4, Some(address(3))), "of which two are left");
    story.run();
    assert_eq!(suspects(&story), (1, Some(address(3))));
    let mut lifted = Story::new(8, &[6], 1);
    lifted.run();
    lifted.is_lifted(address(7));
    lifted.run();
    assert_eq!(suspects(&lifted), (7, Some(address(6))), "all that are left");
}

/// Whatever happens for a while: then it takes no more writes than a search from the beginning.
#[test]
fn search_ends_after_everything_at_once() {
    for seed in 0..300 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let lists = dice.u32(1..=2);
        let mut story = Story::new(200, &[dice.u32(..200), dice.u32(..200)], lists);
        for _ in 0..dice.u32(..40) {
            let at = dice.usize(..=story.additions.len());
            match dice.u32(..10) {
                0 => story.is_killed(),
                1 => drop(story.comes_up(0)),
                2 | 3 => drop(story.comes_up(at)),
                4 => {
                    let another = story.comes_up(at);
                    story.refused.insert(another);
                }
                5 => {
                    let some = story.additions.get(at).map(|(_, one)| *one);
                    some.into_iter().for_each(|one| story.is_lifted(one));
                }
                6 => drop(story.refused.pop_first()),
                _ => story.run(),
            }
        }
        let left = story.additions.iter().filter(|(_, one)| story.refused.contains(one)).count();
        let before = story.writes;
        story.refused.retain(|one| story.additions.iter().any(|(_, other)| one == other));
        let found = story.found();
        let writes = story.runs(|_, _| ()) - before;
        assert!(writes <= lists * 9 * (left as u32 + 1), "{seed}: {writes} for {left}");
        let new: BTreeSet<Address> = story.found().difference(&found).copied().collect();
        assert_eq!(new, story.refused, "{seed}: nobody else is set aside");
    }
}

/// How often it can be refused before one is accepted, and is told from what is no matter of values.
#[test]
fn three_values_in_front_of_ten_thousand_are_within_the_refusals_that_are_a_matter_of_values() {
    let mut story = Story::new(10_000, &[0, 1, 2], 1);
    while story.found().len() < 3 {
        story.run();
        assert_eq!(story.history.wait(&pace(), TOKEN, T), None);
    }
    assert_eq!((story.writes, story.history.values_refused), (45, 45));
}

#[test]
fn rewrite_that_is_refused_without_a_name_is_no_rewrite_for_a_day_or_until_one_that_comes_was_it() {
    let mut history = WriteHistory::default();
    let all = Suspects { count: 2, last: Some(address(1)) };
    history.some_value_refused((None, all), true, TOKEN, T);
    assert_eq!(history.cut(1).carried, 1);
    let mut found = history.clone();
    assert!(!history.may_rewrite(T));
    history.narrow(Suspects { count: 0, last: all.last });
    assert_eq!(history.last_suspect(), None);
    assert!(!history.may_rewrite(T + DAY - 1), "all was taken: it would send again what is there");
    assert!(history.may_rewrite(T + DAY));
    history.some_value_refused((Some(address(0)), all), false, TOKEN, T);
    assert!(!history.may_rewrite(T + DAY - 1), "another one, that nobody searched for");
    found.some_value_refused((Some(address(0)), all), false, TOKEN, T);
    assert!(found.may_rewrite(T));
}

#[test]
fn search_of_an_earlier_version_begins_anew() {
    let old = r#"{"v":1,"halved":13,"values_refused":13}"#;
    let history: WriteHistory = serde_json::from_str(old).unwrap();
    assert_eq!((history.last_suspect(), history.may_rewrite(T)), (None, true));
    let mut history = WriteHistory::default();
    history.narrow(Suspects { count: 3, last: Some(address(2)) });
    let stored = serde_json::to_string(&history).unwrap();
    assert_eq!(serde_json::from_str::<WriteHistory>(&stored).unwrap(), history);
}

//! Lists: nobody who is desired leaves the edge by our hand; what is protected never comes, and goes first;
//! what nobody understands stays; and nothing is written where nothing differs.

mod changes;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;
use serde_json::Value;
use simulator::Simulator;

use super::reading::{
    BLOCK, CHALLENGE, PASS, Reading, Strength, Want, is_single, network, written,
};
use super::{Ids, Judge, Sent, Terms, View};

/// For so long a list may be shown as it was before an operation.
const LAG: Duration = Duration::from_secs(60);

/// The strength of each list: the ban list's, the captcha list's.
pub(super) const STRENGTHS: [Strength; 2] = [BLOCK, CHALLENGE];

/// What is on the lists, and which of our operations did what.
pub(crate) struct Lists {
    ids: [String; 2],
    content: [Content; 2],
    operations: BTreeMap<String, Rc<Operation>>,
    seen_changes: usize,
    seen_operations: usize,
    /// An operation once failed because the account was full: capacity may be learned.
    pub(super) has_been_full: bool,
    /// When the last of those was seen to fail.
    pub(super) full_at: Option<Duration>,
    pub(super) taken: Taken,
    /// What was in a write that was refused because of a value.
    pub(super) refused: BTreeSet<IpNet>,
    /// The same, and when that was, also of what was taken since: by a run whose store does not tell the others.
    pub(super) once_refused: BTreeMap<IpNet, Duration>,
    /// When the last of those was.
    pub(super) refused_at: Option<Duration>,
}

/// What was taken off a list within the last day, by which run, and when last; by others, `None`. One spelling may be
/// taken by others and the second by a run.
#[derive(Clone, Default)]
pub(super) struct Taken(BTreeMap<(IpNet, Option<usize>), Duration>);

impl Taken {
    /// Whether another than this run has taken it, or a range around it, since the run read the lists; or shortly before,
    /// if the run does not know what that one did, for the lists may still have been shown as they were.
    pub(super) fn by_another(
        &self,
        net: &IpNet,
        run: usize,
        read_at: Option<Duration>,
        is_known: impl Fn(Option<usize>) -> bool,
    ) -> bool {
        let is_late = |of: Option<usize>, at: Duration| {
            read_at.is_none_or(|read| at >= read || at + LAG >= read && !is_known(of))
        };
        let mut taken = self.0.iter();
        taken.any(|((taken, of), at)| taken.contains(net) && *of != Some(run) && is_late(*of, *at))
    }

    fn extend(&mut self, taken: impl Iterator<Item = IpNet>, of: Option<usize>, at: Duration) {
        // No operation lasts longer.
        self.0.retain(|_, before| *before + DAY > at);
        self.0.extend(taken.map(|net| ((net, of), at)));
    }
}

/// One list.
#[derive(Default)]
struct Content {
    /// Texts, and when each came.
    items: BTreeMap<String, Duration>,
    /// How many items each network has: two spellings are two.
    networks: BTreeMap<IpNet, u32>,
    ranges: BTreeSet<IpNet>,
    /// How many items are no network.
    foreign: usize,
}

/// The pages of a list that a run read.
pub(super) struct Pages {
    at: Duration,
    pages: Vec<Bytes>,
    /// What is on them. Most runs write nothing, and then nobody asks.
    items: OnceCell<Vec<Shown>>,
}

/// An item on a page.
struct Shown {
    id: String,
    text: String,
    net: Option<IpNet>,
}

impl Pages {
    /// None so far, of a list that was asked for at this time.
    pub(super) fn new(at: Duration) -> Self {
        Self { at, pages: Vec::new(), items: OnceCell::new() }
    }

    pub(super) fn add(&mut self, page: Bytes) {
        self.pages.push(page);
        self.items = OnceCell::new();
    }

    /// The items, those that are there twice once.
    fn items(&self) -> &[Shown] {
        self.items.get_or_init(|| {
            let mut items = Vec::new();
            let mut ids = BTreeSet::new();
            for page in &self.pages {
                let page: Value = serde_json::from_slice(page).unwrap_or_default();
                for item in page["result"].as_array().into_iter().flatten() {
                    if let (Some(id), Some(text)) = (item["id"].as_str(), item["ip"].as_str())
                        && ids.insert(id.to_owned())
                    {
                        let (id, text) = (id.to_owned(), text.to_owned());
                        items.push(Shown { net: network(&text), id, text });
                    }
                }
            }
            items
        })
    }
}

/// A bulk operation of ours.
struct Operation {
    run: usize,
    accepted: Duration,
    reading: Option<Rc<Reading>>,
    read_at: Option<Duration>,
    terms: Rc<Terms>,
    is_put: bool,
}

impl Content {
    fn add(&mut self, text: &str, at: Duration) {
        if self.items.insert(text.to_owned(), at).is_some() {
            return;
        }
        let Some(net) = network(text) else {
            self.foreign += 1;
            return;
        };
        *self.networks.entry(net).or_default() += 1;
        if !is_single(&net) {
            self.ranges.insert(net);
        }
    }

    fn remove(&mut self, text: &str) {
        if self.items.remove(text).is_none() {
            return;
        }
        let Some(net) = network(text) else {
            self.foreign -= 1;
            return;
        };
        if let Some(count) = self.networks.get_mut(&net) {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&net);
                self.ranges.remove(&net);
            }
        }
    }

    fn covers(&self, net: &IpNet) -> bool {
        self.networks.contains_key(net) || self.ranges.iter().any(|range| range.contains(net))
    }
}

impl Lists {
    pub(super) fn new(ids: &Ids) -> Self {
        Self {
            ids: ids.lists.clone(),
            content: Default::default(),
            operations: BTreeMap::new(),
            seen_changes: 0,
            seen_operations: 0,
            has_been_full: false,
            full_at: None,
            taken: Taken::default(),
            refused: BTreeSet::new(),
            once_refused: BTreeMap::new(),
            refused_at: None,
        }
    }

    pub(super) fn index(&self, id: &str) -> Option<usize> {
        self.ids.iter().position(|known| known == id && !id.is_empty())
    }

    /// What the lists do with a visitor from this network.
    pub(super) fn strength(&self, net: &IpNet) -> Strength {
        let mut lists = STRENGTHS.into_iter().zip(&self.content);
        lists.find(|(_, content)| content.covers(net)).map_or(PASS, |(strength, _)| strength)
    }

    /// Which lists have it, or a range around it.
    fn covers(&self, net: &IpNet) -> [bool; 2] {
        self.content.each_ref().map(|content| content.covers(net))
    }

    pub(super) fn networks(&self) -> BTreeSet<IpNet> {
        self.content.iter().flat_map(|content| content.networks.keys().copied()).collect()
    }

    pub(super) fn on(&self, list: usize) -> impl Iterator<Item = &IpNet> {
        self.content[list].networks.keys()
    }

    /// Whether an item of this list is just this.
    pub(super) fn holds(&self, list: usize, net: &IpNet) -> bool {
        self.content[list].networks.contains_key(net)
    }

    /// Whether it is on the list that is to have it.
    pub(super) fn is_in_place(&self, net: &IpNet, want: &Want) -> bool {
        self.holds(usize::from(want.strength != BLOCK), net)
    }

    /// Whether those inside of a range need no place for its sake, as far as the run knows. One that was refused as a value
    /// covers nobody for a day, though others have put it there: whoever is desired inside has a place of his own.
    pub(super) fn counts_as_cover(&self, range: &IpNet, reading: &Reading) -> bool {
        let is_believed = self.refused_at.is_some_and(|at| reading.at < at + DAY);
        !(is_believed && self.refused.contains(range))
    }

    /// Whether every run knows that those inside of a range need no place for its sake.
    pub(super) fn surely_covers(&self, range: &IpNet, reading: &Reading) -> bool {
        self.once_refused.get(range).is_none_or(|at| reading.at >= *at + DAY)
    }

    /// Whether somebody may have to go without.
    pub(super) fn is_scarce(&self, reading: &Reading, terms: &Terms) -> bool {
        self.has_been_full || self.needed(reading) + self.foreign() + 1 > terms.items_max
    }

    /// How many networks are asked for or there.
    pub(super) fn needed(&self, reading: &Reading) -> usize {
        let [first, second] = &self.content;
        let is_new = || {
            // Both in order.
            let mut asked_for = reading.lists.keys().peekable();
            move |net: &&IpNet| {
                while asked_for.next_if(|asked_for| *asked_for < *net).is_some() {}
                asked_for.peek() != Some(net)
            }
        };
        let beside = first.networks.keys().filter(is_new()).count();
        let second = second.networks.keys().filter(is_new());
        let beside_both = second.filter(|net| !first.networks.contains_key(*net)).count();
        reading.lists.len() + beside + beside_both
    }

    pub(super) fn count(&self) -> usize {
        self.content.iter().map(|content| content.items.len()).sum()
    }

    /// Whether there is no free place at all, and somebody waits on one list for his place on the other.
    pub(super) fn has_no_place_to_move(&self, reading: &Reading, terms: &Terms) -> bool {
        self.count() >= terms.items_max && self.moving(reading) > 0
    }

    /// How many wait on one list for their place on the other, or leave it for a range.
    pub(super) fn moving(&self, reading: &Reading) -> usize {
        let waits = |(net, want): &(&IpNet, &Want)| {
            let is_on = |strength| {
                let lists = STRENGTHS.into_iter().zip(&self.content);
                let mut lists = lists.filter(|(of, _)| *of == strength);
                lists.any(|(_, content)| content.networks.contains_key(net))
            };
            let other = if want.strength == BLOCK { CHALLENGE } else { BLOCK };
            is_on(other) && !is_on(want.strength)
        };
        reading.lists.iter().filter(waits).count()
    }

    pub(super) fn foreign(&self) -> usize {
        self.content.iter().map(|content| content.foreign).sum()
    }

    /// Spellings of these beyond the first, which have to go some time.
    pub(super) fn surplus(&self, of: impl Fn(&IpNet) -> bool) -> usize {
        let networks = self.content.iter().flat_map(|content| &content.networks);
        networks.filter(|(net, _)| of(net)).map(|(_, count)| *count as usize - 1).sum()
    }

    /// Which operations a request of this run began.
    pub(super) fn new_operations(
        &mut self,
        simulator: &mut Simulator,
        run: usize,
        runs: &BTreeMap<usize, View>,
    ) {
        let operations = simulator.cloudflare().operations();
        for operation in &operations[self.seen_operations..] {
            let Some(view) = runs.get(&run) else { continue };
            let list = self.ids.iter().position(|id| *id == operation.list_id);
            let read_at = list.and_then(|list| view.items[list].as_ref()).map(|pages| pages.at);
            let operation = (
                operation.id.clone(),
                Operation {
                    run,
                    accepted: operation.accepted,
                    reading: view.reading.clone(),
                    read_at,
                    terms: Rc::clone(&view.terms),
                    is_put: operation.verb == simulator::cloudflare::lists::Verb::Replace,
                },
            );
            self.operations.insert(operation.0, Rc::new(operation.1));
        }
        self.seen_operations = operations.len();
    }
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Items of a request's body.
pub(super) fn bodies(sent: &Sent) -> Vec<String> {
    let body: Value = serde_json::from_slice(&sent.body).unwrap_or_default();
    let items = body.as_array().into_iter().flatten();
    items.filter_map(|item| item["ip"].as_str().map(str::to_owned)).collect()
}

impl Judge {
    /// What a write to a list asks for.
    pub(super) fn list_write(&mut self, sent: &Sent, list: usize, simulator: &mut Simulator) {
        let there = self.lists.count();
        if let Some(view) = self.runs.get_mut(&sent.run) {
            view.list_writes += 1;
            view.was_over |= view.list_writes == 1 && there > view.terms.items_max;
        }
        let Some(view) = self.runs.get(&sent.run) else { return };
        let terms = Rc::clone(&view.terms);
        let (is_first, is_blind) = (view.list_writes == 1, view.is_blind);
        let Some(reading) = view.reading.clone() else { return };
        // Two lists, one more for what moves both ways and one for an owner before all else; two more for a list with
        // somebody else's item, which is never rewritten, and within a day after a value was refused that is so of both, for
        // it may be one that a rewrite would send again; what moves on full lists does so in parts; and where more is there
        // than may be, something goes first.
        let was_over = view.was_over;
        let needed = reading.lists.len() + self.lists.foreign() + self.lists.moving(&reading);
        // All that comes, beside all that is there: what is held stays.
        let comes = |(net, want): &(&IpNet, &Want)| !self.lists.is_in_place(net, want);
        let coming = reading.lists.iter().filter(comes).count();
        let is_scarce =
            self.lists.is_scarce(&reading, &terms) || needed.max(there + coming) > terms.items_max;
        let in_parts = self.runs.get_mut(&sent.run).is_some_and(|view| {
            view.moves_in_parts |= is_scarce;
            view.moves_in_parts
        });
        let Some(view) = self.runs.get(&sent.run) else { return };
        let parts = if in_parts { 4 } else { usize::from(was_over) };
        let is_foreign = |content: &&Content| content.items.keys().any(|it| network(it).is_none());
        let is_refused = self.lists.refused_at.is_some_and(|at| sent.at < at + DAY);
        let foreign = self.lists.content.iter().filter(|of| is_refused || is_foreign(of)).count();
        let most = 5 + 2 * foreign + parts;
        if view.list_writes > most && !cfg!(feature = "small-requests") {
            let text = format!("the {}th write to lists in one run", view.list_writes);
            return self.fail("few writes", sent.run, sent.at, text);
        }
        let content = &self.lists.content[list];
        let gone: BTreeSet<String> = match sent.method {
            "POST" => BTreeSet::new(),
            "PUT" => {
                // Another spelling is the same item.
                let stays: BTreeSet<_> = bodies(sent).iter().map(|text| network(text)).collect();
                // What came after it was read is unseen, and so is what a replica did not show yet.
                let read = view.items[list].as_ref().map(|pages| pages.at);
                let lag = simulator.options().cloudflare.list_read_lag;
                let shown = &self.seen_by(sent.run)[list];
                let is_shown = |(text, at): &(&String, &Duration)| {
                    read.is_none_or(|read| **at + lag <= read)
                        || network(text).is_some_and(|net| shown.contains(&net))
                };
                let texts = content.items.iter().filter(is_shown).map(|(text, _)| text);
                texts.filter(|text| !stays.contains(&network(text))).cloned().collect()
            }
            _ => deleted(sent, &self.lists.ids[list], simulator),
        };
        if sent.method != "DELETE" {
            for net in bodies(sent).iter().filter_map(|text| network(text)) {
                if terms.protects(&net) && !content.networks.contains_key(&net) {
                    let text = format!("{} is put on a list", written(&net));
                    return self.fail("what is protected never comes", sent.run, sent.at, text);
                }
            }
        }
        let mut spellings: BTreeMap<IpNet, u32> = BTreeMap::new();
        for net in gone.iter().filter_map(|text| network(text)) {
            *spellings.entry(net).or_default() += 1;
        }
        // Another spelling of it may stay.
        let leaves = |(net, gone): &(IpNet, u32)| {
            content.networks.get(net).is_none_or(|there| gone >= there)
        };
        let networks: BTreeSet<IpNet> =
            spellings.into_iter().filter(leaves).map(|(net, _)| net).collect();
        let on_edge = self.lists.content.iter().flat_map(|content| content.networks.keys());
        let owners: BTreeSet<IpNet> = on_edge.filter(|net| terms.protects(net)).copied().collect();
        let frees = networks.iter().any(|net| terms.protects(net));
        if let Some(view) = self.runs.get_mut(&sent.run) {
            view.freed_owner |= frees;
            view.has_put |= sent.method == "PUT";
            view.has_put_and_deleted |= view.has_put && sent.method == "DELETE";
        }
        // A replica may still have shown who is gone already, and the run cannot know better.
        let frees = frees || self.would_free(sent, list, &terms);
        if is_first && !self.runs[&sent.run].disturbed {
            let seen = self.seen_by(sent.run);
            let is_shut_out = |net: &IpNet, simulator: &mut Simulator| {
                // Lifted by the rules he is free already.
                self.in_zones(&terms, net, simulator).is_none_or(|strength| strength != PASS)
            };
            let owners =
                owners.into_iter().filter(|net| seen.iter().any(|list| list.contains(net)));
            let owners: BTreeSet<IpNet> =
                owners.filter(|net| is_shut_out(net, simulator)).collect();
            let few = !self.past.had_many_owners(&terms)
                && owners.len() as u64 <= terms.guard_count.min(10)
                || terms.guard_runs <= 1
                || terms.is_approved;
            if !owners.is_empty() && few && !frees {
                let all: Vec<String> = owners.iter().map(written).collect();
                let text = format!(
                    "{} is at the edge, and the first write is for something else",
                    all.join(", ")
                );
                return self.fail("what is protected goes first", sent.run, sent.at, text);
            }
        }
        if let Some(text) = self.write_without_drift(sent.run, &reading, &terms) {
            return self.fail("no write where nothing differs", sent.run, sent.at, text);
        }
        self.guard_lists(sent, list, &networks, &reading, &terms);
        if !is_blind {
            self.may_write_now(sent, frees, simulator);
        }
    }

    /// Whether an owner's address goes from the list as this run read it: all its spellings.
    fn would_free(&self, sent: &Sent, list: usize, terms: &Terms) -> bool {
        let read = self.runs.get(&sent.run).and_then(|view| view.items[list].as_ref());
        let shown = read.map(Pages::items).unwrap_or_default();
        let shown = shown.iter().filter_map(|item| Some((item.id.as_str(), item.net?)));
        let owners: Vec<(&str, IpNet)> = shown.filter(|(_, net)| terms.protects(net)).collect();
        if owners.is_empty() {
            return false;
        }
        let (named, sent_again) = (named(sent), bodies(sent));
        let stays = |(id, net): &(&str, IpNet)| match sent.method {
            "DELETE" => !named.contains(*id),
            "PUT" => sent_again.iter().any(|text| network(text) == Some(*net)),
            _ => true,
        };
        let stay: BTreeSet<IpNet> =
            owners.iter().filter(|one| stays(one)).map(|(_, net)| *net).collect();
        owners.iter().any(|(_, net)| !stay.contains(net))
    }

    /// The networks on each list, as this run read them.
    pub(super) fn seen_by(&self, run: usize) -> [BTreeSet<IpNet>; 2] {
        let shown = |list: usize| {
            let read = self.runs.get(&run).and_then(|view| view.items[list].as_ref());
            read.map(Pages::items).unwrap_or_default()
        };
        [0, 1].map(|list| shown(list).iter().filter_map(|item| item.net).collect())
    }

    /// What was on each list when this run read it, and was not shown.
    pub(super) fn unseen_by(&self, run: usize) -> [BTreeSet<IpNet>; 2] {
        let mut seen = self.seen_by(run);
        std::array::from_fn(|list| {
            let read = self.runs.get(&run).and_then(|view| view.items[list].as_ref());
            let was_there = |at: &Duration| read.is_some_and(|pages| *at < pages.at);
            let items = self.lists.content[list].items.iter().filter(|(_, at)| was_there(at));
            let seen = std::mem::take(&mut seen[list]);
            items.filter_map(|(text, _)| network(text)).filter(|net| !seen.contains(net)).collect()
        })
    }

    fn write_without_drift(&self, run: usize, reading: &Reading, terms: &Terms) -> Option<String> {
        let view = self.runs.get(&run)?;
        if view.disturbed || view.list_writes > 1 || reading.lists.len() > terms.items_max {
            return None;
        }
        let mut count = 0;
        let mut seen = BTreeSet::new();
        for (list, strength) in STRENGTHS.into_iter().enumerate() {
            let Some(pages) = &view.items[list] else { continue };
            for Shown { net, text, .. } in pages.items() {
                let net = (*net)?;
                let is_wanted =
                    reading.lists.get(&net).is_some_and(|want| want.strength == strength);
                if !is_wanted || !seen.insert(net) || *text != written(&net) {
                    return None;
                }
                count += 1;
            }
        }
        let covered = |net: &IpNet| {
            let covers = |range: &IpNet| self.lists.counts_as_cover(range, reading);
            terms.ranges && terms.skips_covered && covered_by(reading, net, covers)
        };
        let wanted =
            reading.lists.keys().filter(|net| seen.contains(*net) || !covered(net)).count();
        // Whether the run knows that a range was refused is not known here.
        let may_be_covered = |net: &IpNet| terms.ranges && self::covered(reading, net);
        let any_covered = terms.skips_covered && seen.iter().any(may_be_covered);
        (count == wanted && !any_covered)
            .then(|| format!("all {count} items that it read are as LAPI wants them"))
    }
}

pub(super) fn covered(reading: &Reading, net: &IpNet) -> bool {
    covered_by(reading, net, |_| true)
}

/// The same, by one of these ranges.
pub(super) fn covered_by(reading: &Reading, net: &IpNet, counts: impl Fn(&IpNet) -> bool) -> bool {
    let Some(own) = reading.lists.get(net) else { return false };
    reading.lists.iter().any(|(range, want)| {
        range != net && range.contains(net) && want.strength >= own.strength && counts(range)
    })
}

/// Whether a range that is asked for contains it.
pub(super) fn within(reading: &Reading, net: &IpNet) -> bool {
    reading.lists.keys().any(|range| range != net && range.contains(net))
}

/// The ids that a DELETE names.
fn named(sent: &Sent) -> BTreeSet<String> {
    let body: Value = serde_json::from_slice(&sent.body).unwrap_or_default();
    let items = body["items"].as_array().into_iter().flatten();
    items.filter_map(|item| item["id"].as_str().map(str::to_owned)).collect()
}

/// The values of the items that a DELETE names, and that are there.
fn deleted(sent: &Sent, list: &str, simulator: &mut Simulator) -> BTreeSet<String> {
    let ids = named(sent);
    let items = simulator.cloudflare().items(list);
    items.into_iter().filter(|item| ids.contains(&item.id)).map(|item| item.ip).collect()
}

pub(super) fn word(strength: Strength) -> &'static str {
    match strength {
        PASS => "let through",
        CHALLENGE => "challenged",
        _ => "refused",
    }
}

//! When a write is begun and how its end is seen, against answers that stand in a row. What whole runs do is
//! under `tests/`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::time::{Duration, SystemTime};

use super::Stopped;
use crate::api::cloudflare::Account;
use crate::api::cloudflare::expression::Expression;
use crate::api::cloudflare::kv::{RangeEntry, Ranges};
use crate::api::cloudflare::rules::decode_ruleset;
use crate::decide::kv as decide_kv;
use crate::decision::Each;
use crate::decision::Remediation::{Ban, Captcha};
use crate::desired::Desired;
use crate::log::Line;
use crate::observed::kv::{ObservedKeys, ObservedKv};
use crate::observed::lists::{Observed, ObservedList};
use crate::observed::rules::ZoneRules;
use crate::plan::rules::{Patch, Patches};
use crate::plan::{kv as plan_kv, lists as plan_lists};
use crate::ports::{
    Answer, Body, Clock, Log, Request, ResponseHead, Store, StoreError, Transport, TransportError,
};
use crate::review::review;
use crate::schedule::{kv as schedule_kv, lists as schedule_lists};
use crate::session::Session;
use crate::settings::Settings;
use crate::small::SmallMap;
use crate::state::quota::Quota;
use crate::state::writes::WriteHistory;
use crate::state::{Ends, Remembered, RulesHistory};

const NOW: u64 = 1_793_000_000;
const MOMENT: Duration = Duration::from_millis(1);

/// A Cloudflare that gives these answers one after the other; `None`, and whatever comes after the last, is never
/// answered. Time passes only where somebody waits.
#[derive(Default)]
struct Edge {
    elapsed: Cell<Duration>,
    answers: RefCell<VecDeque<Option<(u16, String)>>>,
    sent: RefCell<Vec<String>>,
    bodies: RefCell<Vec<String>>,
}

struct Whole(Option<Vec<u8>>);

impl Body for Whole {
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        Ok(self.0.take())
    }
}

impl Transport for Edge {
    type Body = Whole;

    async fn send(&self, request: Request) -> Result<(ResponseHead, Whole), TransportError> {
        self.sent.borrow_mut().push(request.method.as_str().to_owned());
        let body = String::from_utf8(request.body.unwrap_or_default()).unwrap();
        self.bodies.borrow_mut().push(body);
        let answer = self.answers.borrow_mut().pop_front().flatten();
        let Some((status, body)) = answer else { return std::future::pending().await };
        let Answer { head, body } = Answer::of(status, body);
        Ok((head, Whole(Some(body))))
    }
}

impl Clock for Edge {
    fn monotonic(&self) -> Duration {
        self.elapsed.get()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW) + self.elapsed.get()
    }

    async fn sleep(&self, duration: Duration) {
        self.elapsed.set(self.elapsed.get() + duration);
    }
}

impl Log for Edge {
    fn log(&self, _: &Line) {}
}

impl Store for Edge {
    fn get(&self, _: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn set(&self, _: &str, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Edge {
    fn of(answers: &[Option<String>]) -> Self {
        let answers = answers.iter().map(|answer| Some((200, answer.clone()?))).collect();
        Self { answers: RefCell::new(answers), ..Self::default() }
    }
}

fn good(result: &str) -> Option<String> {
    Some(format!(r#"{{"success":true,"errors":[],"messages":[],"result":{result}}}"#))
}

fn accepted(id: &str) -> Option<String> {
    good(&format!(r#"{{"operation_id":"{id}"}}"#))
}

fn state(status: &str) -> Option<String> {
    good(&format!(r#"{{"status":"{status}","error":"the maximum number of items is reached"}}"#))
}

/// With the guard off.
fn settings() -> Settings {
    Settings::of(&[
        ("cf_ban_list_id", "11111111111111111111111111111111"),
        ("cf_captcha_list_id", "22222222222222222222222222222222"),
        ("cf_kv_namespace_id", "33333333333333333333333333333333"),
        ("removal_confirm_runs", "1"),
    ])
}

fn account(settings: &Settings) -> Account {
    let Settings { cloudflare, account, token, .. } = settings;
    Account::new(cloudflare.clone(), account.clone(), token.clone())
}

/// Adds a ban and a challenge, which are two operations, beside `there` other items.
async fn write_lists(edge: &Edge, there: &[&str], until: Duration) -> (super::lists::Applied, u64) {
    let settings = settings();
    let lists = settings.targets.lists.as_ref().unwrap();
    let desired = Desired::of(&[there, &["192.0.2.1"]].concat(), &["192.0.2.2", "192.0.2.3"]);
    let observed = Observed::of(ObservedList::of(there), ObservedList::default());
    let (ends, set_aside) = (Ends::default(), SmallMap::default());
    let rules = plan_lists::Rules {
        now: NOW,
        items_max: lists.items_max,
        protected: &settings.protected,
        ends: &ends,
        set_aside: &set_aside,
    };
    let plan = plan_lists::diff(&desired, &observed, rules);
    let approved = review(plan, None, |_| false, &settings.guard, NOW).approved;
    let mut history = Remembered::<WriteHistory>::load(edge, NOW);
    let inputs = schedule_lists::Inputs {
        observed: &observed,
        history: &history,
        pace: &settings.pace,
        token: 0,
        rules: &schedule_lists::ByRules::default(),
        now: NOW,
    };
    let schedule = schedule_lists::schedule(&approved, inputs);
    let target = super::lists::Target {
        account: &account(&settings),
        lists,
        pace: &settings.pace,
        token: 0,
        room: approved.room(),
    };
    let session = Session::start(edge);
    let applied = super::lists::apply(&session, &target, &schedule, &mut history, until).await;
    (applied, history.items_max(lists.items_max, 0, NOW))
}

fn waits(stopped: Option<&Stopped>) -> &str {
    match stopped {
        Some(Stopped::Waiting(why)) => why,
        _ => "",
    }
}

#[tokio::test]
async fn operation_on_a_list_is_begun_only_if_there_is_time_to_see_its_end() {
    let room = super::lists::WRITE_ROOM;
    for (until, writes) in [(room, 1), (room - MOMENT, 0)] {
        let edge = Edge::of(&[accepted("a"), state("completed")]);
        let (applied, _) = write_lists(&edge, &[], until).await;
        assert_eq!((applied.writes, applied.completed.len()), (writes, writes as usize));
        let left = 2 - writes;
        let why = format!("no time left in this run for {left} of 2 bulk operations");
        assert!(waits(applied.stopped.as_ref()).starts_with(&why), "{:?}", applied.stopped);
    }
}

/// It may be at work: the next run reads what became of it.
#[tokio::test]
async fn operation_of_which_nothing_is_heard_until_the_end_is_no_failure() {
    let edge = Edge::of(&[accepted("a")]);
    let (applied, _) = write_lists(&edge, &[], Duration::from_secs(100)).await;
    assert!(
        waits(applied.stopped.as_ref()).contains("was not completed within 25.0 s"),
        "{:?}",
        applied.stopped
    );
    assert_eq!((applied.writes, applied.completed.len()), (1, 0));
}

/// Of so many items over all lists of the account.
async fn capacity_beside(others: Option<u64>) -> u64 {
    let list = |items| {
        format!(
            r#"[{{"id":"9","name":"other","num_items":{items},"num_referencing_filters":0,"modified_on":""}}]"#
        )
    };
    let all = others.map_or_else(|| Some("no JSON".to_owned()), |items| good(&list(items)));
    let answers = [accepted("a"), state("completed"), accepted("b"), state("failed"), all];
    let edge = Edge::of(&answers);
    let there = ["198.51.100.1", "198.51.100.2", "198.51.100.3"];
    let (applied, learned) = write_lists(&edge, &there, Duration::from_secs(100)).await;
    assert!(matches!(applied.stopped, Some(Stopped::Failed(_))), "{:?}", applied.stopped);
    assert_eq!(applied.completed.len(), 1);
    learned
}

/// Three were there, one more came in the first operation, and two more were too many in the second.
#[tokio::test]
async fn lists_that_are_full_teach_what_others_leave_or_else_what_is_there() {
    assert_eq!(capacity_beside(Some(10_000 - 5)).await, 5, "others leave five places");
    assert_eq!(capacity_beside(Some(10_000 - 6)).await, 4, "they leave six, which were too many");
    assert_eq!(capacity_beside(Some(10_000 - 2)).await, 4, "what is there fits, whatever they say");
    assert_eq!(capacity_beside(Some(0)).await, 4);
    assert_eq!(capacity_beside(None).await, 4, "nobody can say");
}

/// Writes one key.
async fn write_key(edge: &Edge, until: Duration) -> super::kv::AppliedKeys {
    let settings = settings();
    let kv = settings.targets.kv.as_ref().unwrap();
    let ends = Ends::default();
    let rules = plan_kv::Rules {
        prefix: &kv.prefix,
        tolerance: kv.tolerance,
        protected: &settings.protected,
        ends: &ends,
        now: NOW,
        began: NOW,
        ahead_since: None,
    };
    let desired = Desired::of_keys(&[("192.0.2.1", Ban, 3_600)]);
    let plan = plan_kv::diff(&desired, &ObservedKeys::default(), rules);
    let approved = review(plan, None, |_| false, &settings.guard, NOW).approved;
    let mut quota = Remembered::<Quota>::load(edge, NOW);
    let max: Option<NonZeroU64> = None;
    let mut budget = schedule_kv::Budget::new(&quota, max, NOW);
    let mut schedule = schedule_kv::schedule(&approved, &kv.prefix, false, &mut budget);
    let account = account(&settings);
    let target = super::kv::Target { account: &account, namespace: &kv.namespace, daily_max: max };
    super::kv::apply(&Session::start(edge), &target, &mut schedule, &mut quota, until).await
}

#[tokio::test]
async fn keys_are_sent_only_if_there_is_time_for_the_answer() {
    let limit = super::kv::WRITE_TIMEOUT;
    let taken = || good(r#"{"successful_key_count":1,"unsuccessful_keys":[]}"#);
    let written = write_key(&Edge::of(&[taken()]), limit).await;
    assert_eq!((written.writes, written.written, written.stopped), (1, 1, None));
    for until in [limit - MOMENT, Duration::ZERO] {
        let edge = Edge::of(&[taken()]);
        let applied = write_key(&edge, until).await;
        assert_eq!((applied.writes, edge.sent.borrow().len()), (0, 0));
        assert!(waits(applied.stopped.as_ref()).starts_with("no time left in this run"));
    }
}

/// What is sent where a range goes, or goes beside another, and two keys come of which one is inside of it: the keys
/// in each request, and of the ranges those that stand in it.
async fn lift_range(
    ranges: &[&str],
    wanted: &[&str],
    daily_max: u64,
    answers: &[Option<String>],
) -> (Vec<String>, super::kv::AppliedKeys) {
    let rows = [
        ("cf_kv_namespace_id", "33333333333333333333333333333333"),
        ("scopes", "ip,range"),
        ("removal_confirm_runs", "1"),
        ("kv_daily_writes_max", &daily_max.to_string()),
    ];
    let settings = Settings::of(&rows);
    let kv = settings.targets.kv.as_ref().unwrap();
    let (edge, ends) = (Edge::of(answers), Ends::default());
    let entry = RangeEntry { value: Ban, expires: NOW + 3_660 };
    let mut keys = ObservedKeys::default();
    keys.set_ranges(Ranges::Ours {
        written: NOW - 3_600,
        entries: ranges.iter().map(|range| (range.parse().unwrap(), entry)).collect(),
        regions: Default::default(),
    });
    let observed = ObservedKv { keys: Some(keys), shards: None };
    let wanted: Vec<_> = wanted.iter().map(|value| (*value, Ban, 3_600)).collect();
    let mut quota = Remembered::<Quota>::load(&edge, NOW);
    let remembered = decide_kv::Remembered { quota: &quota, held: None, ends: &ends };
    let when = decide_kv::When { began: NOW, now: NOW };
    let states = (&Desired::of_keys(&wanted), &observed);
    let mut schedule = decide_kv::decide(&settings, kv, states, remembered, when).schedule;
    let (account, daily_max) = (account(&settings), kv.daily_writes_max);
    let target = super::kv::Target { account: &account, namespace: &kv.namespace, daily_max };
    let session = Session::start(&edge);
    let until = Duration::from_secs(100);
    let applied = super::kv::apply(&session, &target, &mut schedule, &mut quota, until).await;
    let said = |body: &String| {
        let items: Vec<serde_json::Value> = serde_json::from_str(body).unwrap();
        let names = items.iter().map(|item| match (item["key"].as_str(), &item["value"]) {
            (Some("ranges"), value) => {
                let value: serde_json::Value =
                    serde_json::from_str(value.as_str().unwrap()).unwrap();
                let all = value["ranges"].as_array().unwrap().iter();
                let all: Vec<_> = all.map(|range| range["range"].as_str().unwrap()).collect();
                format!("ranges={}", all.join(","))
            }
            (Some(key), _) => key.to_owned(),
            (None, _) => item.as_str().unwrap().to_owned(),
        });
        names.collect::<Vec<_>>().join(" ")
    };
    let sent = edge.bodies.borrow().iter().map(said).collect();
    (sent, applied)
}

fn not_taken(key: &str) -> Option<String> {
    good(&format!(r#"{{"successful_key_count":1,"unsuccessful_keys":["{key}"]}}"#))
}

#[tokio::test]
async fn range_goes_after_who_is_inside_and_stays_where_he_is_not_taken() {
    let (net, other) = ("203.0.113.0/24", "198.51.100.0/24");
    let (inside, outside) = ("ip:203.0.113.7", "ip:192.0.2.1");
    let comes = ["203.0.113.7", "192.0.2.1"];
    let both = format!("{outside} {inside}");
    let taken = || good(r#"{"successful_key_count":2,"unsuccessful_keys":[]}"#);
    let refused = Some(r#"{"success":false,"errors":[{"code":10012,"message":"no"}]}"#.to_owned());
    let lost: Vec<Option<String>> = vec![None, taken(), taken()];
    for (answers, goes, again) in [
        (vec![taken(), taken()], true, None),
        (vec![not_taken(outside), not_taken(outside), taken()], true, Some(outside)),
        (vec![not_taken(inside), taken(), taken()], true, Some(inside)),
        (vec![not_taken(inside), not_taken(inside), taken()], false, Some(inside)),
        (vec![not_taken(inside), refused.clone(), taken()], false, Some(inside)),
        // Nobody knows whom it means.
        (vec![not_taken("ip:9.9.9.9"), taken()], false, None),
        (vec![refused, taken()], false, None),
        (lost, false, None),
    ] {
        let mut before = vec![both.clone()];
        before.extend(again.map(str::to_owned));
        // Alone: its key is deleted, or nothing is sent.
        let (sent, _) = lift_range(&[net], &comes, 0, &answers).await;
        let mut all = before.clone();
        all.extend(goes.then(|| "ranges".to_owned()));
        assert_eq!(sent, all, "{answers:?}");
        // Beside another that comes, which is written in any case.
        let (sent, _) = lift_range(&[net], &[comes[0], comes[1], other], 0, &answers).await;
        let ranges = if goes { other.to_owned() } else { format!("{other},{net}") };
        before.push(format!("ranges={ranges}"));
        assert_eq!(sent, before, "{answers:?}");
    }
}

/// It was to be deleted, which takes no write; with one of them kept it is one.
#[tokio::test]
async fn range_that_stays_beside_another_that_goes_is_written_only_within_the_budget() {
    let (net, other) = ("203.0.113.0/24", "198.51.100.0/24");
    for (max, writes) in [(3, true), (2, false), (0, true)] {
        let inside = "ip:203.0.113.7";
        let good = good(r#"{"successful_key_count":1,"unsuccessful_keys":[]}"#);
        let answers = [not_taken(inside), not_taken(inside), good];
        let (sent, applied) = lift_range(&[net, other], &["203.0.113.7"], max, &answers).await;
        let mut expected = vec![inside.to_owned(), inside.to_owned()];
        expected.extend(writes.then(|| format!("ranges={net}")));
        assert_eq!(sent, expected, "{max}");
        assert_eq!((applied.written, applied.deleted), (0, u64::from(writes)));
        assert!(applied.stopped.is_some());
    }
}

/// Changes one rule.
async fn write_rule(edge: &Edge, until: Duration) -> super::rules::AppliedRules {
    let settings = settings();
    let names: Each<_> = [(Ban, "b"), (Captcha, "c")]
        .into_iter()
        .map(|(list, name)| (list, name.parse().unwrap()))
        .collect();
    let ruleset = good(RULESET).unwrap();
    let ruleset = decode_ruleset(&Answer::of(200, ruleset)).unwrap();
    let observed = ZoneRules::new(ruleset, &names);
    let list = observed.expression(Ban).unwrap().list();
    let to = Expression::parse("ip.src in $b or ip.src in {192.0.2.1}", list).unwrap();
    let patches = Patches { steps: vec![Patch { rule: Ban, to }], ..Patches::default() };
    let account = account(&settings);
    let target = super::rules::Target {
        account: &account,
        zone: &settings.account,
        observed: &observed,
        token: 0,
    };
    let mut history = Remembered::<RulesHistory>::load(edge, NOW);
    super::rules::apply(&Session::start(edge), &target, patches, &mut history, until).await
}

const RULESET: &str = r#"{"id":"r","version":"1","rules":[{"id":"1","ref":"crowdsec_edge_sync_ban","action":"block","enabled":true,"expression":"ip.src in $b"}]}"#;

#[tokio::test]
async fn rule_is_changed_only_if_there_is_time_for_the_answer() {
    let limit = Duration::from_secs(10);
    assert_eq!(write_rule(&Edge::of(&[]), limit).await.writes, 1);
    for until in [limit - MOMENT, Duration::ZERO] {
        let applied = write_rule(&Edge::of(&[]), until).await;
        assert_eq!(applied.writes, 0);
        assert_eq!(
            applied.waits.as_deref(),
            Some("no time left in this run; the next run goes on")
        );
    }
}

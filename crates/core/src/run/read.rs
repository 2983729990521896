//! Reads all sides at once: LAPI's decisions into [`Desired`], Cloudflare's lists into [`Observed`], its
//! KV values into [`ObservedKv`].
//!
//! "Could not be read" is an error type and never an empty state: from [`Unavailable`] no desired
//! state can be made, so nothing can be removed because of it.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use futures_util::future::{OptionFuture, join_all, join4, try_join};

use crate::address::Address;
use crate::api::cloudflare::expression::ListName;
use crate::api::cloudflare::kv::shards::{self as units, Layout};
use crate::api::cloudflare::lists::AccountList;
use crate::api::cloudflare::rules::Ruleset;
use crate::api::cloudflare::{CallError, Page, Resource, kv, lists, rules as cloudflare_rules};
use crate::api::lapi::{self, Lapi};
use crate::decision::{BodyError, Decision, DecisionReader, Remediation};
use crate::desired::{Desired, TooMany};
use crate::failure::Failure;
use crate::log::clip;
use crate::observed::kv::{ObservedKeys, ObservedKv, ObservedShards};
use crate::observed::lists::{Observed, ObservedList};
use crate::observed::rules::{ObservedRules, ZoneRules};
use crate::ports::{Answer, Body, Host, Request, TransportError};
use crate::report::Outcome;
use crate::session::{Again, Api, Session, attempts, call, collect, within};
use crate::settings::protected::Protected;
use crate::settings::{Id, Kv, KvLayout, Lists, Rules, Settings};
use crate::small::SmallMap;
use crate::state::edge::Mark;

use super::clients::Clients;

/// One attempt at LAPI's answer. A LAPI on half a core takes 12-25 s to its first byte, and 60 s is
/// what its users end up with (facts crowdsec part 3).
const LAPI_TIMEOUT: Duration = Duration::from_secs(60);
/// One attempt at a page of a list.
const PAGE_TIMEOUT: Duration = Duration::from_secs(20);
/// Pages of one list. The largest account has 500,000 items, 1,000 full pages (facts cloudflare
/// 1.7); a page may be empty, so there may be some more, but not for ever.
const PAGES_MAX: u32 = 2_000;

/// LAPI's decisions could not be read: what is desired is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unavailable {
    /// No whole answer came.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// An answer with another status than 200.
    #[error("{said}")]
    Status {
        /// The status.
        status: u16,
        /// What it means.
        said: String,
        /// `retry-after`; only a proxy in front of LAPI sends it.
        retry_after: Option<Duration>,
    },
    /// A body that is not a list of decisions to its last byte.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// More decisions than are taken.
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

impl Unavailable {
    fn again(&self) -> Again {
        match self {
            Self::Transport(TransportError::Denied) => Again::Never,
            Self::Transport(_) | Self::Body(BodyError::CutOff { .. }) => Again::AfterBackoff,
            Self::Status { status: 429, retry_after: Some(told), .. } => Again::After(*told),
            Self::Status { status, .. } if *status == 429 || *status >= 500 => Again::AfterBackoff,
            Self::Status { .. } | Self::Body(_) | Self::TooMany(_) => Again::Never,
        }
    }
}

/// Why there is no desired state: LAPI cannot be read, which a run survives, or it has more than is taken,
/// which somebody must mend.
#[derive(Debug, Clone)]
pub(super) enum NotDesired {
    Unreadable(String),
    /// LAPI refuses the key, and never took it.
    WrongKey(String),
    TooMany,
}

impl NotDesired {
    /// `lapi` is where it was asked; `was_ever_read` tells whether a read has ever succeeded, as far as is
    /// remembered. A 403 also comes from a LAPI that cannot read its database (facts crowdsec 1.3): only
    /// where it was the only answer ever is it the key.
    pub(super) fn of(unavailable: Unavailable, lapi: &Lapi, was_ever_read: bool) -> Self {
        let said = match &unavailable {
            Unavailable::Transport(error) => {
                format!("{lapi} (lapi_url): {error}; {}", error.remedy("lapi_url"))
            }
            other => format!("{lapi} (lapi_url): {other}"),
        };
        let said = clip(&said, 400);
        match unavailable {
            Unavailable::TooMany(TooMany) => Self::TooMany,
            Unavailable::Status { status: 403, .. } if !was_ever_read => Self::WrongKey(said),
            _ => Self::Unreadable(said),
        }
    }
}

impl From<NotDesired> for Outcome {
    fn from(why: NotDesired) -> Self {
        match why {
            NotDesired::Unreadable(why) => Self::Skipped(why),
            NotDesired::WrongKey(said) => Self::Failed(Failure::WrongKey(said)),
            NotDesired::TooMany => Self::Failed(Failure::TooMany(TooMany)),
        }
    }
}

/// Sees every decision as it is read. The run watches nothing; `inspect` watches for one address.
pub(crate) trait Watch: Clone {
    fn see(&mut self, decision: &Result<Decision<'_>, serde_json::Error>);
}

impl Watch for () {
    fn see(&mut self, _: &Result<Decision<'_>, serde_json::Error>) {}
}

/// What was read, each side by itself: a target that cannot be read does not stop the other.
pub(crate) struct Readings<W> {
    pub(crate) desired: Result<Desired, Unavailable>,
    /// `None` if no list is in use.
    pub(crate) lists: Option<Result<ReadLists, Failure>>,
    /// `None` if KV is not in use.
    pub(crate) keys: Option<Result<ObservedKv, Failure>>,
    /// `None` if no zone is named.
    pub(crate) rules: Option<ObservedRules>,
    /// What was watched, as far as LAPI could be read.
    pub(crate) watch: W,
}

/// The content of the lists, and how it is known.
pub(crate) struct ReadLists {
    pub(crate) content: Rc<Observed>,
    /// The lists' marks from before, if they were asked for and could be read.
    pub(crate) marks: Option<Vec<Mark>>,
    /// Whether they were so old already that no later change can have the same.
    pub(crate) is_settled: bool,
    /// How many pages were read; `None` = the content is remembered, under these marks.
    pub(crate) pages: Option<u32>,
}

/// A mark says the time to the second, and lists are read with some lag.
const SETTLED: Duration = Duration::from_secs(60);

/// What a run remembers of the lists.
pub(crate) trait Memory {
    /// Whether their marks are asked for, before their items are read.
    fn wants_marks(&self) -> bool;
    /// The content that is remembered under these marks.
    fn content(&self, marks: &[Mark]) -> Option<Observed>;
}

/// Nothing is remembered: a person who asks wants to see what is there.
impl Memory for () {
    fn wants_marks(&self) -> bool {
        false
    }

    fn content(&self, _: &[Mark]) -> Option<Observed> {
        None
    }
}

/// Reads all sides at the same time, nothing begun after `until`.
/// `set_aside` are the addresses that Cloudflare refuses as values.
pub(crate) async fn all<H: Host, W: Watch>(
    session: &Session<'_, H>,
    clients: &Clients,
    settings: &Settings,
    (memory, set_aside): (&impl Memory, &SmallMap<Address, u64>),
    watch: W,
    until: Duration,
) -> Readings<W> {
    let targets = &settings.targets;
    // One request says the lists' marks and their names, by which rules use them.
    let asks = targets.rules.is_some() || memory.wants_marks();
    let described = async {
        let request = clients.account.lists();
        let described = asks.then(|| call(session, request, decode_described, PAGE_TIMEOUT, until));
        OptionFuture::from(described).await
    };
    let lists = targets.lists.as_ref().map(async |lists| {
        let described = described.await;
        let known = described.as_ref().and_then(|described| described.as_ref().ok());
        let marks = known.filter(|_| memory.wants_marks()).and_then(|known| known.marks(lists));
        let is_settled =
            known.zip(marks.as_ref()).is_some_and(|(known, marks)| known.is_after(marks));
        let content = marks.as_ref().and_then(|marks| memory.content(marks));
        let read = match content {
            Some(content) => {
                Ok(ReadLists { content: Rc::new(content), marks, is_settled, pages: None })
            }
            None => in_full(session, clients, lists, (marks, is_settled), until).await,
        };
        (read, described)
    });
    // On the heap: two layouts are read one after the other, and a future is as large as the largest of its steps.
    let keys = targets
        .kv
        .as_ref()
        .map(|kv| Box::pin(namespace(session, clients, (kv, &settings.protected), until)));
    let rulesets = targets.rules.iter().flat_map(|rules| &rules.zones);
    let rulesets = join_all(rulesets.map(|zone| ruleset(session, clients, zone, until)));
    let rulesets = async { (rulesets.await, session.elapsed()) };
    let (desired, lists, keys, (rulesets, read_at)) = join4(
        desired(session, clients, (settings, set_aside), &watch, until),
        OptionFuture::from(lists),
        OptionFuture::from(keys),
        rulesets,
    )
    .await;
    let (lists, described) = lists.unzip();
    let rules = targets.rules.as_ref().zip(targets.lists.as_ref()).zip(described.flatten());
    let rules = rules.map(|((rules, lists), described)| ObservedRules {
        read_at,
        ..zones(rules, lists, described, rulesets)
    });
    let (desired, watch) = match desired {
        Ok((desired, seen)) => (Ok(desired), seen),
        Err(unavailable) => (Err(unavailable), watch),
    };
    Readings { desired, lists, keys, rules, watch }
}

async fn desired<H: Host, W: Watch>(
    session: &Session<'_, H>,
    clients: &Clients,
    settings: (&Settings, &SmallMap<Address, u64>),
    watch: &W,
    until: Duration,
) -> Result<(Desired, W), Unavailable> {
    session
        .retry(until, Unavailable::again, async || {
            let limit = LAPI_TIMEOUT.min(until.saturating_sub(session.elapsed()));
            within(session.host(), limit, decisions(session, clients, settings, watch.clone()))
                .await?
        })
        .await
}

async fn decisions<H: Host, W: Watch>(
    session: &Session<'_, H>,
    clients: &Clients,
    (settings, set_aside): (&Settings, &SmallMap<Address, u64>),
    mut watch: W,
) -> Result<(Desired, W), Unavailable> {
    let (head, mut body) = session.send(Api::Lapi, clients.lapi.decisions()).await?;
    if head.status != 200 {
        // Only its beginning is looked at; that it is long or breaks off says nothing more.
        let body = collect(body, 64 << 10).await.unwrap_or_default();
        return Err(Unavailable::Status {
            status: head.status,
            said: lapi::describe_status(head.status, &body),
            retry_after: head.retry_after,
        });
    }
    let mut reader = DecisionReader::default();
    let mut desired = Desired::default();
    while let Some(chunk) = body.chunk().await? {
        reader.push(&chunk, |decision| {
            watch.see(&decision);
            desired.add(decision, settings);
        })?;
        desired.bounded()?;
    }
    reader.finish()?;
    desired.settle(settings, set_aside)?;
    Ok((desired, watch))
}

/// Reads all pages of all lists. `marks` are those of before.
pub(super) async fn in_full<H: Host>(
    session: &Session<'_, H>,
    clients: &Clients,
    targets: &Lists,
    (marks, is_settled): (Option<Vec<Mark>>, bool),
    until: Duration,
) -> Result<ReadLists, Failure> {
    let reads = targets.iter().map(async |(remediation, id)| {
        let content = list(session, clients, remediation, id, until).await;
        content.map(|(content, pages)| (remediation, content, pages))
    });
    let (mut observed, mut all) = (Observed::default(), 0);
    for content in join_all(reads).await {
        let (remediation, content, pages) = content?;
        observed.insert(remediation, content);
        all += pages;
    }
    Ok(ReadLists { content: Rc::new(observed), marks, is_settled, pages: Some(all) })
}

/// What Cloudflare says of all lists of the account, and when.
pub(super) struct Described {
    all: Vec<AccountList>,
    date: Option<SystemTime>,
}

fn decode_described(answer: &Answer) -> Result<Described, CallError> {
    lists::decode_lists(answer).map(|all| Described { all, date: answer.head.date })
}

impl Described {
    /// What it says of the list with this id.
    fn of(&self, id: &Id) -> Option<&AccountList> {
        self.all.iter().find(|list| list.id == id.as_str())
    }

    /// The marks of the lists in use; `None` if one of them is not there.
    pub(super) fn marks(&self, in_use: &Lists) -> Option<Vec<Mark>> {
        let mark = |list: &AccountList| Mark::new(list.num_items, &list.modified_on);
        in_use.iter().map(|(_, id)| self.of(id).map(mark)).collect()
    }

    /// Whether all `marks` were so old when Cloudflare said them that no later change can have the same.
    fn is_after(&self, marks: &[Mark]) -> bool {
        let latest = self.date.and_then(|date| date.checked_sub(SETTLED));
        let latest = latest.map(|date| humantime::format_rfc3339_seconds(date).to_string());
        latest.is_some_and(|latest| marks.iter().all(|mark| mark.is_of(&latest)))
    }
}

/// Asks for the marks once more.
pub(super) async fn described<H: Host>(
    session: &Session<'_, H>,
    clients: &Clients,
    until: Duration,
) -> Result<Described, CallError> {
    call(session, clients.account.lists(), decode_described, PAGE_TIMEOUT, until).await
}

async fn list<H: Host>(
    session: &Session<'_, H>,
    clients: &Clients,
    remediation: Remediation,
    id: &Id,
    until: Duration,
) -> Result<(ObservedList, u32), Failure> {
    let mut content = ObservedList::default();
    let request = |cursor: Option<&str>| lists::items(&clients.account, id, cursor);
    let resource = Resource::List(remediation);
    let add = |item| content.add(item);
    let pages = pages(session, resource, until, request, lists::decode_items, add).await?;
    content.settle();
    Ok((content, pages))
}

/// Both layouts, as far as they matter: a listing costs a request for each thousand keys, so that one is made
/// only while keys may be there; and the shards are read for `kv_layout=keys` only if the listing shows them.
async fn namespace<H: Host>(
    session: &Session<'_, H>,
    clients: &Clients,
    (target, protected): (&Kv, &Protected),
    until: Duration,
) -> Result<ObservedKv, Failure> {
    let mut observed = ObservedKv::default();
    // Twice the same, so that the component has one copy of each.
    for reads_shards in [target.layout != KvLayout::Keys, target.layout == KvLayout::Keys] {
        if !reads_shards {
            observed.keys = Some(keys(session, clients, target, until).await?);
            continue;
        }
        if observed.keys.as_ref().is_some_and(|keys| !keys.has_units()) {
            break;
        }
        let read = shards(session, clients, (target, protected), until).await?;
        let is_alone = target.layout == KvLayout::Shards
            && read.marker.is_some_and(|marker| marker.serves == Layout::Shards && marker.alone);
        observed.shards = Some(read);
        if is_alone {
            break;
        }
    }
    Ok(observed)
}

async fn shards<H: Host>(
    session: &Session<'_, H>,
    clients: &Clients,
    (target, protected): (&Kv, &Protected),
    until: Duration,
) -> Result<ObservedShards, Failure> {
    let mut observed = ObservedShards::default();
    let now = session.unix_now();
    let mut take = |answer: &Answer| {
        observed = ObservedShards::default();
        let mut each = |address, entry, at| observed.add(address, entry, at, (protected, now));
        let units = units::decode_units(answer, &target.prefix, &mut each)?;
        observed.set_units(units);
        Ok(())
    };
    let request = units::units(&clients.account, &target.namespace, &target.prefix);
    attempts(session, request, &mut take, (PAGE_TIMEOUT, units::ANSWER_BYTES_MAX), until)
        .await
        .map_err(|source| Failure::Read { resource: Resource::Values, source })?;
    Ok(observed)
}

async fn keys<H: Host>(
    session: &Session<'_, H>,
    clients: &Clients,
    target: &Kv,
    until: Duration,
) -> Result<ObservedKeys, Failure> {
    let mut observed = ObservedKeys::default();
    let request = |cursor: Option<&str>| {
        kv::keys(&clients.account, &target.namespace, &target.prefix, cursor)
    };
    let each = |key| observed.add(key, &target.prefix);
    let keys = pages(session, Resource::Namespace, until, request, kv::decode_keys, each);
    let (_, ranges) = try_join(keys, ranges(session, clients, target, until)).await?;
    observed.set_ranges(ranges);
    Ok(observed)
}

/// Our rules in every zone; one zone that could not be read stops no other. The lists' names stand in the rules,
/// their ids in the settings: what Cloudflare says of the lists tells both.
fn zones(
    rules: &Rules,
    in_use: &Lists,
    described: Result<Described, CallError>,
    rulesets: Vec<Result<Ruleset, Failure>>,
) -> ObservedRules {
    let mut observed = ObservedRules::default();
    let mut unnamed = None;
    for (list, id) in in_use.iter() {
        let found = described.as_ref().ok().and_then(|described| described.of(id));
        match found.map(|found| (found, found.name.parse::<ListName>())) {
            Some((found, Ok(name))) => {
                observed.references.insert(list, found.num_referencing_filters);
                observed.names.insert(list, name);
            }
            _ => unnamed = Some(list),
        }
    }
    for (zone, read) in rules.zones.iter().zip(rulesets) {
        let read = match (read, unnamed) {
            (Err(failure), _) => Err(failure),
            (Ok(_), Some(list)) => Err(Failure::Zone {
                zone: zone.to_string(),
                what: format!("the name of the {list} list cannot be read, by which rules use it"),
                source: described.as_ref().err().cloned(),
            }),
            (Ok(ruleset), None) => Ok(ZoneRules::new(ruleset, &observed.names)),
        };
        observed.zones.push((zone.clone(), read));
    }
    observed
}

/// The custom rules of one zone.
pub(super) async fn ruleset<H: Host>(
    session: &Session<'_, H>,
    clients: &Clients,
    zone: &Id,
    until: Duration,
) -> Result<Ruleset, Failure> {
    let request = cloudflare_rules::entrypoint(&clients.account, zone);
    let read = call(session, request, cloudflare_rules::decode_ruleset, PAGE_TIMEOUT, until).await;
    read.map_err(|source| Failure::Zone {
        zone: zone.to_string(),
        what: "failed to read its rules".to_owned(),
        source: Some(source),
    })
}

/// Read also when no range is wanted: that is how the last ones go.
async fn ranges<H: Host>(
    session: &Session<'_, H>,
    clients: &Clients,
    target: &Kv,
    until: Duration,
) -> Result<kv::Ranges, Failure> {
    let mut ranges = kv::Ranges::Absent;
    let mut take = |answer: &Answer| kv::decode_ranges(answer).map(|read| ranges = read);
    let request = kv::ranges(&clients.account, &target.namespace, &target.prefix);
    attempts(session, request, &mut take, (PAGE_TIMEOUT, kv::VALUE_BYTES_MAX), until)
        .await
        .map_err(|source| Failure::Read { resource: Resource::Values, source })?;
    Ok(ranges)
}

/// Reads a listing page by page until there is no cursor: a page may be empty and have one. `each` takes
/// an entry and tells whether it is new. A page that is not empty and has nothing new is a page that came
/// before: the listing is not what it seems, and must not be taken for the whole.
async fn pages<H: Host, T>(
    session: &Session<'_, H>,
    resource: Resource,
    until: Duration,
    request: impl Fn(Option<&str>) -> Request,
    decode: impl Fn(&Answer) -> Result<Page<T>, CallError>,
    mut each: impl FnMut(T) -> bool,
) -> Result<u32, Failure> {
    let mut cursor: Option<String> = None;
    let began = session.elapsed();
    for read in 0..PAGES_MAX {
        session.note_listing(read.into(), session.elapsed().saturating_sub(began));
        let page = call(session, request(cursor.as_deref()), &decode, PAGE_TIMEOUT, until)
            .await
            .map_err(|source| Failure::Read { resource, source })?;
        let (mut entries, mut new) = (0, 0);
        for entry in page.items {
            entries += 1;
            new += u64::from(each(entry));
        }
        if entries > 0 && new == 0 {
            break;
        }
        match page.next {
            None => {
                session.note_listing(read as u64 + 1, session.elapsed().saturating_sub(began));
                return Ok(read + 1);
            }
            next if next == cursor => break,
            next => cursor = next,
        }
    }
    Err(Failure::EndlessPages { resource })
}

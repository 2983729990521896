//! The lists as they were last read, in a run: when what is remembered may stand for them, and what is remembered
//! next.
//!
//! On what is remembered a run may find everything in sync, or append. Whatever takes something off, and every write
//! where the lists are full, is decided on pages that were read. See [`crate::state::edge`] for the marks.

use std::cell::Cell;
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use crate::api::cloudflare::lists::PAGE_ITEMS_MAX;
use crate::log::{Level, Line};
use crate::observed::lists::{Observed, ObservedList};
use crate::ports::Host;
use crate::schedule::lists::{Effect, Operation};
use crate::session::Session;
use crate::settings::{Lists, Settings};
use crate::state::edge::{self, Audit, Mark, PAGES_MIN};
use crate::state::writes::checksum;
use crate::state::{EdgeHistory, LastRun, Remembered, WriteHistory};

use super::budget::SELDOM_SECS;
use super::clients::Clients;
use super::read::{self, Memory, ReadLists};

/// See the module.
pub(super) struct Edge<'a, H> {
    host: &'a H,
    settings: &'a Settings,
    lists: &'a Lists,
    history: Remembered<EdgeHistory>,
    /// Whether what is kept may stand for the lists in this run.
    may_stand: bool,
    /// What should be kept is not there, or not whole.
    is_lost: Cell<bool>,
    began: u64,
}

impl<'a, H: Host> Edge<'a, H> {
    /// What is remembered; `None` if nothing is to be: without lists, with `edge_audit_seconds=0`, in a dry run.
    pub(super) fn load(
        host: &'a H,
        settings: &'a Settings,
        writes: &WriteHistory,
        began: u64,
    ) -> Option<Self> {
        let lists = settings.targets.lists.as_ref()?;
        if settings.edge_audit_secs == 0 || settings.dry_run {
            return None;
        }
        let mut history = Remembered::<EdgeHistory>::load(host, began);
        let _ = history.change(host, |history| history.bind(checksum_of(settings, lists)));
        // After a failure everything is read.
        let last = Remembered::<LastRun>::load(host, began);
        let was_well = last.lists.as_ref().is_some_and(|end| end.success);
        let may_stand = was_well && writes.is_known(began);
        let is_lost = Cell::default();
        Some(Self { host, settings, lists, history, may_stand, is_lost, began })
    }

    /// How many seconds ago the lists were last read whole.
    pub(super) fn age(&self) -> u64 {
        self.began.saturating_sub(self.history.read_at())
    }

    /// Whether the lists are read whole only now and then.
    pub(super) fn is_trusted(&self) -> bool {
        self.history.may_keep() && self.settings.edge_audit_secs >= SELDOM_SECS
    }

    /// Learns from the marks that were asked for before anything was written.
    pub(super) fn learn(&mut self, marks: Option<&[Mark]>) {
        if let Some(marks) = marks {
            let _ = self.history.change(self.host, |history| history.learn(marks));
        }
    }

    /// Before `operations` are sent: from now on nothing that is kept is worth anything. The marks of before, if
    /// something can be learned from them.
    pub(super) async fn before_writes(
        &mut self,
        session: &Session<'_, H>,
        clients: &Clients,
        read: &ReadLists,
        operations: &[Operation],
        until: Duration,
    ) -> Option<Vec<Mark>> {
        let _ = self.history.change(self.host, EdgeHistory::forget);
        let added: u64 = operations.iter().map(|operation| operation.effect().added).sum();
        let pages = (read.content.count() + added) / PAGE_ITEMS_MAX as u64;
        if read.marks.is_some() || pages < u64::from(PAGES_MIN) {
            return read.marks.clone();
        }
        // They were short until now: this is the write that makes them long.
        let described = read::described(session, clients, until).await;
        described.ok()?.marks(self.lists)
    }

    /// These operations were seen to complete.
    pub(super) fn after_writes(&mut self, before: Option<Vec<Mark>>, completed: &[Effect]) {
        let lists =
            self.lists.iter().map(|(list, _)| completed.iter().any(|done| done.list == list));
        let marks = before.into_iter().flatten().zip(lists);
        let before = marks.map(|(mark, is_written)| is_written.then_some(mark));
        let _ = self.history.change(self.host, |history| history.wrote(before));
    }

    /// All pages were read, and nothing was written yet: compares what they say with what is kept, and keeps it if
    /// it `may_be_kept` and can be told from any other content.
    pub(super) async fn audit(
        &mut self,
        session: &Session<'_, H>,
        clients: &Clients,
        read: &ReadLists,
        may_be_kept: bool,
        until: Duration,
    ) {
        let Some(pages) = read.pages else { return };
        let (marks, digest, began) = (read.marks.as_deref(), read.content.digest(), self.began);
        let mut audit = Audit::New;
        let took = |history: &mut EdgeHistory| audit = history.read(pages, marks, digest, began);
        let saved = self.history.change(self.host, took);
        let Some(marks) = marks.filter(|_| saved.is_ok() && read.is_settled) else { return };
        let is_worth = match audit {
            Audit::Same if !self.is_lost.get() => false,
            Audit::Same | Audit::New => {
                may_be_kept && self.history.may_keep() && is_whole(&read.content, marks)
            }
            Audit::Another => true,
        };
        if !is_worth {
            return;
        }
        let after = read::described(session, clients, until).await;
        let after = after.ok().and_then(|described| described.marks(self.lists));
        if after.as_deref() != Some(marks) {
            return;
        }
        if audit == Audit::Another {
            let text = "the lists have changed and Cloudflare's modified_on has not: from now on they are read whole by every run";
            self.host.log(&Line::new(Level::Warn, "edge", text));
            let _ = self.history.change(self.host, EdgeHistory::distrust);
            return;
        }
        let secs = |list: &ObservedList| {
            let since = list.newest().and_then(|newest| newest.duration_since(UNIX_EPOCH).ok());
            since.map_or(0, |since| since.as_secs())
        };
        let lists: Vec<_> =
            read.content.lists().map(|(_, list)| (list.items(), secs(list))).collect();
        let name = name(self.settings, self.lists, marks);
        if edge::keep(self.host, &name, &lists) == Ok(true) {
            let _ = self.history.change(self.host, |history| history.kept(marks, digest));
        }
    }
}

/// Tells this account and these lists from others.
pub(super) fn checksum_of(settings: &Settings, lists: &Lists) -> u32 {
    checksum(&name(settings, lists, &[]))
}

/// What is kept is of this account, of these lists, and of the content with these marks.
fn name(settings: &Settings, lists: &Lists, marks: &[Mark]) -> String {
    let mut name = format!("1 {}", settings.account);
    for (list, id) in lists.iter() {
        let _ = write!(name, " {list} {id}");
    }
    for mark in marks {
        let _ = write!(name, " {mark}");
    }
    name.push('\n');
    name
}

/// Whether these are all items that Cloudflare counts, and there is no more to know of them.
fn is_whole(content: &Observed, marks: &[Mark]) -> bool {
    let mut lists = content.lists().map(|(_, list)| list).zip(marks);
    lists.all(|(list, mark)| list.is_plain() && mark.counts(list.len()))
}

impl<H: Host> Memory for Option<Edge<'_, H>> {
    fn wants_marks(&self) -> bool {
        self.as_ref().is_some_and(|edge| edge.history.wants_marks())
    }

    fn content(&self, marks: &[Mark]) -> Option<Observed> {
        let edge = self.as_ref().filter(|edge| edge.may_stand)?;
        if !edge.history.is_kept(marks, edge.settings.edge_audit_secs, edge.began) {
            return None;
        }
        let lists = edge.lists.iter().map(|(list, _)| list);
        let kept = edge::load(edge.host, &name(edge.settings, edge.lists, marks), marks.len());
        edge.is_lost.set(kept.is_none());
        let kept = kept?;
        let mut content = Observed::default();
        for (list, (items, newest)) in lists.zip(kept) {
            let newest = (newest > 0).then(|| UNIX_EPOCH + Duration::from_secs(newest));
            content.insert(list, ObservedList::remembered(items, newest));
        }
        Some(content)
    }
}

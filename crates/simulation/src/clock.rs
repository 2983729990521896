//! Simulated time: it stands still while a run computes, and leaps to the next deadline when all of them
//! wait.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A clock that many sleep by.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    now: Cell<Duration>,
    next: Cell<u64>,
    deadlines: RefCell<BinaryHeap<Reverse<(Duration, u64)>>>,
    sleepers: RefCell<BTreeMap<u64, Waker>>,
}

impl Clock {
    pub(crate) fn now(&self) -> Duration {
        self.now.get()
    }

    /// The next deadline, of a sleeper who is still there.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let mut deadlines = self.deadlines.borrow_mut();
        let sleepers = self.sleepers.borrow();
        while let Some(Reverse((at, id))) = deadlines.peek() {
            if sleepers.contains_key(id) {
                return Some(*at);
            }
            deadlines.pop();
        }
        None
    }

    /// Moves to `at` and wakes whoever slept until then.
    pub(crate) fn advance_to(&self, at: Duration) {
        self.now.set(self.now.get().max(at));
        let mut deadlines = self.deadlines.borrow_mut();
        while let Some(Reverse((deadline, id))) = deadlines.peek().copied() {
            if deadline > self.now.get() {
                break;
            }
            deadlines.pop();
            if let Some(waker) = self.sleepers.borrow_mut().remove(&id) {
                waker.wake();
            }
        }
    }

    pub(crate) fn sleep(self: &Rc<Self>, duration: Duration) -> Sleep {
        let at = self.now.get().saturating_add(duration);
        Sleep { clock: Rc::clone(self), at, id: None }
    }
}

/// Ends at its deadline. Dropped before, it leaves no trace.
pub(crate) struct Sleep {
    clock: Rc<Clock>,
    at: Duration,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.at <= self.clock.now() {
            return Poll::Ready(());
        }
        let (clock, at) = (Rc::clone(&self.clock), self.at);
        let id = *self.id.get_or_insert_with(|| {
            let id = clock.next.get();
            clock.next.set(id + 1);
            clock.deadlines.borrow_mut().push(Reverse((at, id)));
            id
        });
        clock.sleepers.borrow_mut().insert(id, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.clock.sleepers.borrow_mut().remove(&id);
        }
    }
}

//! The search for a value that Cloudflare refuses without saying which: by halves, one with each write.
//!
//! The suspects are the first so many of all additions, the most urgent first. A write carries all of them but their
//! second half: if it is accepted that half is left, if not what it carried. Who comes up meanwhile has not been
//! refused yet, and goes with it. So that the suspects are not taken for others then, the last of them is
//! remembered; one that is left alone goes in an operation by itself, behind the others.
//!
//! It ends when one alone is refused, or when all were taken: then the value is taken after all, or nobody wants it
//! any more, or it was one that a rewrite would have kept. It ends too when nobody wants the last suspect any more:
//! if the next write, of everything, is refused for that, it begins anew.

use crate::address::Address;

use super::{BELIEVED_SECS, WriteHistory};

/// A value that Cloudflare refuses is among the first so many of the additions that are left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Suspects {
    /// So many; 0 = none.
    pub count: u64,
    /// The last of them.
    pub last: Option<Address>,
}

/// What of the additions the next write carries while a value is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// So many are suspected, with who came up before the last of them.
    pub suspects: u64,
    /// The write carries so many.
    pub carried: u64,
    /// The last of these is the only one that is left of those that were refused.
    pub is_last_alone: bool,
}

impl WriteHistory {
    /// The last suspect. Where it is not to be added any more, nothing is searched for.
    pub fn last_suspect(&self) -> Option<Address> {
        self.last_suspect
    }

    /// What the next write carries while so many additions come before the last suspect.
    pub fn cut(&self, before_last: u64) -> Cut {
        let suspects = before_last + 1;
        // Fewer are left if a run was killed that had sent some.
        let refused = self.suspects.min(suspects);
        Cut { suspects, carried: suspects - refused / 2, is_last_alone: refused == 1 }
    }

    /// Cloudflare refuses a value and does not say which. `only` is the one that it can be, if there is one; it is
    /// one of `suspects` else, or, if a list `is_rewritten`, one that is there already.
    pub(crate) fn some_value_refused(
        &mut self,
        (only, suspects): (Option<Address>, Suspects),
        is_rewritten: bool,
        token: u32,
        now: u64,
    ) {
        if let Some(address) = only {
            if self.suspects > 0 {
                // That was it, and nothing that is there.
                self.no_rewrite_until = 0;
            }
            return self.value_refused(address, token, now);
        }
        if is_rewritten {
            self.no_rewrite_until = now.saturating_add(BELIEVED_SECS);
        }
        self.narrow(suspects);
        self.count_refused_value(token, now);
    }

    /// These are the suspects that are left.
    pub(crate) fn narrow(&mut self, suspects: Suspects) {
        self.suspects = suspects.count;
        self.last_suspect = suspects.last.filter(|_| suspects.count > 0);
    }
}

#[cfg(test)]
mod tests;

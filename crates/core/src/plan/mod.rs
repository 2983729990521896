//! What differs between desired and observed, target by target, and why.
//!
//! A plan is immutable, sorted and complete: the same inputs give the same plan. It says neither what may
//! be done (`review`) nor what is done first (`schedule`).

mod batch;
pub mod kv;
pub mod lists;
pub mod rules;

pub use batch::{BATCH_ITEMS_MAX, Batch, REPLACE_ITEMS_MAX};

/// How urgent a change is, the most urgent first. Where writes are scarce, this decides which change gets
/// the one write that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// An owner's address leaves the edge.
    Owner,
    /// A ban that was decided here comes.
    OwnBan,
    /// What was decided here, or nobody knows where, is lifted before its time: a false positive keeps a
    /// visitor out.
    Lift,
    /// A ban of the community, of a subscribed list or of an import comes.
    CommunityBan,
    /// A challenge comes.
    Captcha,
    /// Everything else: run out, surplus, covered, displaced, moved away, a later expiry.
    Rest,
}

impl Class {
    /// All, the most urgent first.
    pub const ALL: [Self; 6] =
        [Self::Owner, Self::OwnBan, Self::Lift, Self::CommunityBan, Self::Captcha, Self::Rest];

    /// Whether it must not wait for a quieter moment.
    pub fn is_urgent(self) -> bool {
        self <= Self::Lift
    }
}

/// Why something changes, in every target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// It leaves: it is never to be blocked.
    Protected,
    /// It comes: a banned address is not there.
    NewBan,
    /// It changes: a banned address is only challenged.
    BanOverCaptcha,
    /// It leaves: no decision asks for it any more, before its time or for all that is known.
    Lifted,
    /// It comes: a challenged address is not there, or is banned.
    Captcha,
    /// It leaves for another place at the edge: the other list, or a range.
    Moved,
    /// It leaves: the time of its decision is over.
    RanOut,
    /// It leaves: it is desired, and others need the place more.
    Displaced,
    /// It leaves: a range that is at least as strong covers it.
    Covered,
    /// It leaves: the same address is there twice, in two spellings.
    Surplus,
    /// It is written again: somebody else wrote the key, so its value is not known.
    Adopted,
    /// It is written again: it expires too early or too late.
    Refresh,
    /// It leaves: the key's name is an address in a spelling that nobody looks up.
    Misspelt,
}

impl Why {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 13] = [
        Self::Protected,
        Self::NewBan,
        Self::BanOverCaptcha,
        Self::Lifted,
        Self::Captcha,
        Self::Moved,
        Self::RanOut,
        Self::Displaced,
        Self::Covered,
        Self::Surplus,
        Self::Adopted,
        Self::Refresh,
        Self::Misspelt,
    ];

    /// Its name in logs, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::NewBan => "new_ban",
            Self::BanOverCaptcha => "ban_over_captcha",
            Self::Lifted => "lifted",
            Self::Captcha => "captcha",
            Self::Moved => "moved",
            Self::RanOut => "ran_out",
            Self::Displaced => "displaced",
            Self::Covered => "covered",
            Self::Surplus => "surplus",
            Self::Adopted => "adopted",
            Self::Refresh => "refresh",
            Self::Misspelt => "misspelt",
        }
    }

    /// Whether a removal for this reason opens the edge for somebody without that time alone explains it:
    /// what the guard counts. Not what moves or is covered, which goes only after what replaces it; nor
    /// a second spelling, which keeps the first.
    pub fn opens(self) -> bool {
        matches!(self, Self::Protected | Self::Lifted | Self::Displaced)
    }
}

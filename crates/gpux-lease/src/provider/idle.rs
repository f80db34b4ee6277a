//! A lease with nothing left to do whose renter is not heard: it signed ahead for work and is away. Such a lease is billed for a few
//! seconds more, held for a while, and ended; what its renter does not know of yet waits for it as long as it had signed ahead.
//! And a lease whose rank of a gang stands, which bills nothing: it waits for the word to go, but not for ever.
//!
//! Called by `provider.rs` and `advance.rs`.

use super::{ProviderLease, ProviderState};
use crate::lifecycle::{End, EscrowView, Work};
use gpux_types::{Millis, UnixSeconds};
use serde::{Deserialize, Serialize};

/// How long a lease with nothing left to do is billed while its renter is not heard: several of the renter's looks at it, and as much
/// as either side may lose in any case.
pub(crate) const IDLE_LIMIT: Millis = Millis::from_secs(10);
/// How long a rank may stand. Longer than a gang takes to gather at most: the renter is the one that gives up.
pub(crate) const STAND_LIMIT: Millis = Millis::from_secs(2_700);
/// How long the settlement waits at most for a renter that signed ahead. What was kept for it takes room that nobody pays for.
const UNTOLD_LIMIT: Millis = Millis::from_secs(3 * 86_400);

/// How far the provider is with the parts that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Given {
    /// Some are to be run, run, or have outputs that are not kept yet.
    #[default]
    Unfinished,
    /// What there is to do waits for the renter's word: it stands, its program not executed.
    Standing,
    /// All are over, and the renter does not know of some.
    Untold,
    /// All are over, and the renter knows.
    Told,
}

impl ProviderLease {
    /// How far the parts are that it was given, as last seen.
    #[must_use]
    pub const fn given(&self) -> Given {
        self.account.given
    }

    /// The end as the renter may hear of it: not before it heard of its results, lest it give these up and have them made again.
    #[must_use]
    pub fn told_end(&self) -> Option<End> {
        self.end().filter(|_| !self.waits_to_tell())
    }

    pub(super) fn take_given(&mut self, now: Millis, given: Given) {
        let now = self.now.max(now);
        let begun = |holds: bool, since: Option<Millis>| holds.then(|| since.unwrap_or(now));
        let over = matches!(given, Given::Untold | Given::Told);
        self.account.idle_since = begun(over, self.account.idle_since);
        self.account.standing_since = begun(given == Given::Standing, self.account.standing_since);
        self.account.given = given;
    }

    /// Whether what stands was not told to go for too long, or nobody is left who could: its renter was not heard for as long as
    /// frozen work is held.
    pub(super) fn stands_in_vain(&self) -> bool {
        self.account.standing_since.is_some_and(|since| {
            let unheard = self.now >= since.max(self.account.heard).saturating_add(self.config.hold);
            unheard || self.now >= since.saturating_add(STAND_LIMIT)
        })
    }

    pub(super) fn hear_renter(&mut self, now: Millis) {
        self.account.heard = self.now.max(now);
    }

    /// Whether nothing is left to do for a while, in which nothing was heard of the renter either. Work that never began bills nothing.
    pub(super) fn stands_idle(&self) -> bool {
        let begun = self.account.work != Work::Idle;
        let quiet = |since: Millis| self.now >= since.max(self.account.heard).saturating_add(IDLE_LIMIT);
        begun && self.account.idle_since.is_some_and(quiet)
    }

    /// Whether the settlement waits until the renter heard of its results: what is kept for it goes some time after the settlement.
    pub(super) fn waits_to_tell(&self) -> bool {
        let (ProviderState::Closing { since, .. }, EscrowView::Open { expiry, .. }) = (self.state, self.account.escrow)
        else {
            return false;
        };
        let ahead = self
            .config
            .tariff
            .covered(self.signed())
            .saturating_sub(self.account.metered);
        let last = UnixSeconds(expiry.0.saturating_sub(self.config.expiry_margin_secs));
        // Every renter is an interval ahead; one that is further said that it goes away.
        self.account.given == Given::Untold
            && ahead > self.config.tariff.interval
            && self.now < since.saturating_add(ahead.saturating_add(self.config.hold).min(UNTOLD_LIMIT))
            && self.account.block.is_some_and(|block| block.at(self.now) < last)
    }
}

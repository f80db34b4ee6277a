//! What the chain still lacks of what a side wants: desired against actual, from the slot alone.
//!
//! Each daemon asks once a minute, with the slot as it was just read, and performs the answer. Effects are idempotent, so that
//! asking too often costs nothing; what was sent and got lost, in a pool, in a reorganisation or in a bug, is sent again without
//! anybody having noticed that it was lost. Nothing here changes a machine.

use crate::lifecycle::EscrowView;
use crate::provider::{ProviderEffect, ProviderLease, ProviderState};
use crate::renter::{RenterEffect, RenterLease, RenterState};
use gpux_types::Amount;

impl ProviderLease {
    /// What the provider wants of a slot that looks so in the newest block, of which `claimed` was paid out, and is not there.
    #[must_use]
    pub fn unmet(&self, view: EscrowView, claimed: Amount) -> Option<ProviderEffect> {
        let EscrowView::Open { .. } = view else { return None };
        use ProviderState as S;
        match self.state() {
            S::Settling { amount, .. } => Some(self.settlement(amount)),
            S::Running | S::Frozen { .. } | S::Stopping { .. } | S::Closing { .. } => {
                self.last_draw().filter(|draw| drawn(draw) > claimed)
            }
            S::Waiting { .. }
            | S::Preparing { .. }
            | S::Ready { .. }
            | S::Offering { .. }
            | S::Refusing { .. }
            | S::Ended { .. } => None,
        }
    }
}

const fn drawn(effect: &ProviderEffect) -> Amount {
    match effect {
        ProviderEffect::Draw { amount, .. } => *amount,
        ProviderEffect::Prepare
        | ProviderEffect::AskReceipt { .. }
        | ProviderEffect::AllowWork
        | ProviderEffect::Renew
        | ProviderEffect::Freeze
        | ProviderEffect::Thaw
        | ProviderEffect::StopWork { .. }
        | ProviderEffect::SignClosing { .. }
        | ProviderEffect::Settle { .. }
        | ProviderEffect::Forget
        | ProviderEffect::WakeAt(_) => Amount::ZERO,
    }
}

impl RenterLease {
    /// What the renter wants of a slot that looks so in the newest block, and is not there.
    #[must_use]
    pub fn unmet(&self, view: EscrowView) -> Option<RenterEffect> {
        use {EscrowView as E, RenterState as S};
        match (self.state(), view) {
            (S::Opening, E::Absent) => Some(RenterEffect::Deposit),
            (S::Ending { .. }, E::Open { .. }) => self.closing().map(|amount| RenterEffect::Close { amount }),
            (S::Reclaimable { .. }, E::Open { .. }) => Some(self.fetched_back()),
            (
                S::Quoted { .. }
                | S::Opening
                | S::Open
                | S::Running
                | S::Lost { .. }
                | S::Unfunded { .. }
                | S::Ending { .. }
                | S::Reclaimable { .. }
                | S::Settled { .. }
                | S::Reclaimed { .. }
                | S::Failed { .. },
                E::Absent | E::Open { .. } | E::Closed { .. },
            ) => None,
        }
    }
}

//! Which nonce an intent is signed under.
//!
//! The rule (docs/decisions/0010): an intent is bound to the nonce that it was first signed under until a final block
//! has used up that nonce, and what used it up is none of the intent's transactions, or one that was reverted. Until
//! then it may be signed again only under the same nonce, of which the chain takes one transaction. What a chain node
//! says of bytes that it was given, such as that it refuses them, never unbinds. One exception: a nonce that is out of
//! reach (`reach.rs`) binds nothing that takes effect once by itself.

use super::{Book, Track, reach::is_out_of_reach};
use crate::{call::IntentKey, sender::prepare::Prepared};
use gpux_types::Address;

/// Under which nonce an intent may be signed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Any that is free.
    Free,
    /// This one alone.
    Bound(u64),
    /// None, until it is final what this nonce went to.
    Undecided(u64),
}

/// A nonce, and the permit nonce that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) nonce: u64,
    pub(super) permit: Option<u64>,
}

impl Book {
    /// What binds this intent, when the chain counts `mined` transactions of the wallet.
    pub(super) fn claim(&self, key: &IntentKey, mined: u64) -> Claim {
        let Some(track) = self.tracks.get(key) else {
            return Claim::Free;
        };
        let nonce = track.nonce();
        let counted = mined.max(self.used_up());
        if track.is_refused() && is_out_of_reach(nonce, counted) {
            let escrow = self.chain.config().escrow;
            let call = track.newest().call();
            return match call.filter(|call| call.is_once_by_itself(escrow)) {
                Some(_) => Claim::Free,
                None => Claim::Undecided(nonce),
            };
        }
        if !track.is_refused() || nonce < counted || self.is_held(nonce) {
            return Claim::Undecided(nonce);
        }
        Claim::Bound(nonce)
    }

    /// Where the prepared call goes: the lowest nonce that no transaction on its way holds, so that no gap stays. Permits
    /// are used up in the order of the nonces; a call whose permit would come out of order goes after all others.
    pub(super) fn place(&self, prepared: &Prepared, bound: Option<u64>, token: Option<Address>) -> Place {
        let counted = prepared.count.max(prepared.mined).max(self.used_up());
        let nonce = bound.unwrap_or_else(|| self.free_from(counted));
        let Some((token, first)) = token.zip(prepared.permit_nonce) else {
            return Place { nonce, permit: None };
        };
        let mut used = self.permits_used(token, prepared.head.number);
        used.retain(|(other, _)| !is_out_of_reach(*other, counted));
        let permit = lowest_free(first, |permit| used.iter().any(|(_, used)| *used == permit));
        let in_order = |(other, used): &(u64, u64)| *used < first || (*other < nonce) == (*used < permit);
        if bound.is_some() || used.iter().all(in_order) {
            return Place {
                nonce,
                permit: Some(permit),
            };
        }
        let after = |last: Option<u64>, first: u64| last.map_or(first, |last| last.saturating_add(1).max(first));
        Place {
            nonce: after(
                self.pending()
                    .map(Track::nonce)
                    .filter(|nonce| !is_out_of_reach(*nonce, counted))
                    .max(),
                counted,
            ),
            permit: Some(after(used.iter().map(|(_, permit)| *permit).max(), first)),
        }
    }

    /// The lowest nonce from this one on that no transaction on its way holds.
    pub(super) fn free_from(&self, counted: u64) -> u64 {
        lowest_free(counted.max(self.used_up()), |nonce| self.is_held(nonce))
    }

    /// The nonce after those that this wallet's own transactions have used up in blocks that we know of: a chain node
    /// that lags behind counts less.
    pub(super) fn used_up(&self) -> u64 {
        let mined = self.tracks.values().filter(|track| track.is_mined());
        let mined = mined.map(|track| track.nonce().saturating_add(1)).max().unwrap_or(0);
        mined.max(self.finals.used_up())
    }

    fn is_held(&self, nonce: u64) -> bool {
        self.pending().any(|track| track.nonce() == nonce)
    }

    /// Nonces and permit nonces of transactions whose effects a reader at `block` has not seen.
    fn permits_used(&self, token: Address, block: u64) -> Vec<(u64, u64)> {
        let unseen = self.tracks.values().filter(|track| track.is_unseen(block));
        let permits = unseen.filter_map(|track| track.newest().entry.permit.map(|permit| (track.nonce(), permit)));
        permits
            .filter(|(_, permit)| permit.token == token)
            .map(|(nonce, permit)| (nonce, permit.nonce))
            .collect()
    }
}

fn lowest_free(from: u64, is_taken: impl Fn(u64) -> bool) -> u64 {
    let mut free = from;
    while is_taken(free) && free < u64::MAX {
        free += 1;
    }
    free
}

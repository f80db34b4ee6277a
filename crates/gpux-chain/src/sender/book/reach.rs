//! How far a chain node's count of the wallet's transactions is believed, and what becomes of intents that were bound to a
//! nonce too far ahead while such a count was believed all the same.
//!
//! A nonce that is [`MOST_WAITING`] or less ahead is reached: what lies between is used up (`settle.rs`). One that is
//! further is out of reach.

use super::{Book, Effect, Poll, SendError, Status, Track, answer};
use crate::{call::IntentKey, journal::EntryState, rpc::RpcError, sender::prepare::MOST_WAITING};
use std::{mem, time::Duration};
use tokio::time::Instant;

/// So many times `bump_after`, ten minutes, a count is told that cannot be ours before it is believed: another program
/// may have used the wallet, or its journal be an old copy.
const BELIEVED_AFTER: u32 = 20;

/// What is known of how many transactions the wallet can have.
#[derive(Default)]
pub(super) struct Reach {
    /// That so many were told for so long, and nothing less, that it is believed.
    vouched: u64,
    /// Since when more are told than can be, and the least of these counts.
    above: Option<(Instant, u64)>,
}

/// True for a nonce that stays unreached when the chain counts so many.
pub(super) fn is_out_of_reach(nonce: u64, counted: u64) -> bool {
    nonce.saturating_sub(counted) > MOST_WAITING
}

impl Book {
    /// The most transactions that the wallet can have; `None` when nothing was ever sent, and any count is believed.
    fn ceiling(&self) -> Option<u64> {
        let known = self.used_up().max(self.reach.vouched);
        let known = if known > 0 {
            known
        } else {
            self.tracks.values().map(Track::nonce).min()?
        };
        Some(known.saturating_add(1).saturating_add(MOST_WAITING))
    }

    /// Whether so many transactions of the wallet can be.
    ///
    /// # Errors
    /// When they cannot, and that was not told for long enough.
    pub(super) fn check_count(&mut self, now: Instant, count: u64) -> Result<(), RpcError> {
        if self.ceiling().is_none_or(|ceiling| count <= ceiling) {
            self.reach.above = None;
            return Ok(());
        }
        let (since, least) = self.reach.above.unwrap_or((now, count));
        let least = least.min(count);
        self.reach.above = Some((since, least));
        if now.duration_since(since) < self.config.bump_after * BELIEVED_AFTER {
            return Err(RpcError::Implausible {
                method: "eth_getTransactionCount",
                what: "it counts far more of the wallet's transactions than were ever sent from here",
            });
        }
        tracing::warn!(
            count,
            "another program used this wallet: its count is believed, as it was told for long"
        );
        self.reach = Reach {
            vouched: least,
            above: None,
        };
        if count > least.saturating_add(1).saturating_add(MOST_WAITING) {
            return self.check_count(now, count);
        }
        Ok(())
    }

    pub(super) fn check_poll(&mut self, now: Instant, poll: &Poll) -> Result<(), RpcError> {
        self.check_count(now, poll.count.max(poll.firm_count.unwrap_or_default()))
    }

    /// An intent waits with a nonce that the chain does not come to. What takes effect once by itself is signed again under
    /// one that it does: the lower nonce comes first, and the other can do nothing after it. Of anything else two could take
    /// effect: it keeps its nonce, and waits without holding up others.
    pub(super) fn on_out_of_reach(&mut self, now: Instant, key: &IntentKey) -> Vec<Effect> {
        let escrow = self.chain.config().escrow;
        let Some(track) = self.tracks.get_mut(key).filter(|track| track.is_pending()) else {
            return Vec::new();
        };
        let since = *track.lost_since.get_or_insert(now);
        let is_early = now.duration_since(since) < self.config.bump_after;
        if is_early || track.simulating || track.handing_over {
            return Vec::new();
        }
        match track.newest().call().filter(|call| call.is_once_by_itself(escrow)) {
            Some(call) => {
                track.simulating = true;
                let key = key.clone();
                vec![Effect::Simulate { key, call }]
            }
            None => self.set_aside(key),
        }
    }

    /// Hands it over no more, as if it had been refused, and lets others have its nonce.
    pub(super) fn set_aside(&mut self, key: &IntentKey) -> Vec<Effect> {
        let Some(track) = self.tracks.get_mut(key) else {
            return Vec::new();
        };
        let nonce = track.nonce();
        tracing::warn!(%key, nonce, "a transaction does not get into a block, and is handed over no more");
        track.set_status(Status::Refused);
        track.lost_since = None;
        let undecided = SendError::Undecided {
            key: key.clone(),
            nonce,
        };
        answer(mem::take(&mut track.replies), Err(undecided));
        let entries = track.all_are(EntryState::Refused);
        entries.into_iter().map(Effect::Record).collect()
    }

    /// How long until a transaction that is turned away is estimated once more: twice as long each time, an hour at most.
    pub(super) fn estimated_again_after(&self, times: u32) -> Duration {
        self.config.bump_after * 2_u32.pow(times.min(7))
    }
}

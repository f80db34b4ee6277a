//! What becomes of intents whose nonce went to another transaction, and of nonces that nobody uses. `follow` calls it.

use super::{
    Again, Book, Effect, Poll, SendError, Status, Track, follow::BLOCKS_WITHOUT, version::Fees, version::Version,
};
use crate::{
    call::IntentKey,
    journal::EntryState,
    sender::{book::USUAL_TIP, prepare::MOST_WAITING},
};
use tokio::time::Instant;

/// A nonce that transactions wait behind and that nobody holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hole {
    nonce: u64,
    since: Instant,
    from_block: u64,
}

impl Book {
    /// The nonce of an intent is used up and none of its transactions has a receipt. Counts and receipts may come from
    /// different chain nodes behind one address, of which one lags: only what final blocks say is believed, and only when
    /// it is said again a while later.
    pub(super) fn on_nonce_used(&mut self, now: Instant, key: &IntentKey, poll: &Poll) -> Vec<Effect> {
        let Some(track) = self.tracks.get_mut(key) else {
            return Vec::new();
        };
        if poll.firm_count.is_none_or(|count| count <= track.nonce()) {
            track.lost_since = None;
            return Vec::new();
        }
        let since = *track.lost_since.get_or_insert(now);
        if now.duration_since(since) < self.config.bump_after || track.simulating || track.handing_over {
            return Vec::new();
        }
        if track.is_refused() || key.is_fill() {
            return self.give_up(key);
        }
        match track.newest().call() {
            Some(call) => {
                track.simulating = true;
                let key = key.clone();
                vec![Effect::Simulate { key, call }]
            }
            None => self.give_up(key),
        }
    }

    /// None of its transactions can take effect any more: nothing binds the intent.
    fn give_up(&mut self, key: &IntentKey) -> Vec<Effect> {
        let Some(track) = self.tracks.remove(key) else {
            return Vec::new();
        };
        track.set_status(Status::Refused);
        let entries = track.all_are(EntryState::Superseded);
        entries.into_iter().map(Effect::Record).collect()
    }

    /// Signs a call again under a fresh nonce, if it still works: its own nonce went for ever to a transaction that is not
    /// this intent's.
    pub(super) fn on_simulated(
        &mut self,
        now: Instant,
        key: &IntentKey,
        result: Result<Again, SendError>,
    ) -> Vec<Effect> {
        let Some(track) = self.tracks.get_mut(key) else {
            return Vec::new();
        };
        track.simulating = false;
        // A receipt was found meanwhile, or the nonce is not used up after all.
        if !track.is_pending() || track.lost_since.is_none() {
            return Vec::new();
        }
        track.lost_since = Some(now);
        let again = match result {
            Ok(again) => again,
            Err(SendError::Reverted { reason, .. }) => {
                tracing::warn!(%key, %reason, "another program used this wallet's nonce, and the call no longer works");
                return self.give_up(key);
            }
            Err(error) => {
                tracing::warn!(%key, %error, "simulating a call whose nonce another program used");
                return Vec::new();
            }
        };
        let limit = self.config.max_fee_per_gas;
        let Ok(fees) = Fees::offer(again.head.base_fee, again.tip, limit) else {
            tracing::warn!(%key, limit, "gas costs more than is allowed; a call waits for it to become cheaper");
            return Vec::new();
        };
        self.resynchronise();
        let nonce = self.free_from(again.count);
        let Some(track) = self.tracks.get_mut(key) else {
            return Vec::new();
        };
        tracing::warn!(%key, nonce, "another program used this wallet's nonce; signing again under the next one");
        let version = track.newest().renumbered(&*self.signer, nonce, again.gas_limit, fees);
        self.by_hash.insert(version.entry.hash, key.clone());
        vec![track.add(key, version)]
    }

    /// Uses up the next nonce when others wait behind it and nobody holds it for a while: it was refused, or its
    /// transaction was taken back and is gone. Without this they would wait for ever.
    pub(super) fn fill_hole(&mut self, now: Instant, poll: &Poll) -> Option<Effect> {
        let next = poll.count;
        let held = next < self.used_up()
            || self
                .tracks
                .values()
                .any(|track| track.nonce() == next && !track.is_refused());
        let behind = |track: &Track| track.nonce() > next && track.nonce() - next <= MOST_WAITING;
        if held || !self.pending().any(behind) {
            self.hole = None;
            return None;
        }
        let hole = self.hole.filter(|hole| hole.nonce == next).unwrap_or(Hole {
            nonce: next,
            since: now,
            from_block: poll.head.number,
        });
        self.hole = Some(hole);
        let blocks_went_by = poll.head.number >= hole.from_block.saturating_add(BLOCKS_WITHOUT);
        if now.duration_since(hole.since) < self.config.bump_after || !blocks_went_by {
            return None;
        }
        let fees = Fees::offer(poll.head.base_fee, USUAL_TIP, self.config.max_fee_per_gas).ok()?;
        self.hole = None;
        tracing::warn!(
            nonce = next,
            "transactions wait behind a nonce that nobody uses; using it up"
        );
        let key = IntentKey::fill(next);
        if let Some(refused) = self.tracks.get_mut(&key) {
            refused.set_status(Status::Pending);
            return refused.hand_over_again(&key);
        }
        let version = Version::filler(self.chain.config().chain_id, &*self.signer, next, fees);
        self.by_hash.insert(version.entry.hash, key.clone());
        let track = self.tracks.entry(key.clone()).or_insert_with(Track::new);
        Some(track.add(&key, version))
    }
}

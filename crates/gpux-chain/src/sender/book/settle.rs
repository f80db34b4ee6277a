//! What becomes of intents whose nonce went to another transaction, of bytes that are refused although they may be out,
//! and of nonces that nobody uses. `follow` calls it.

use super::{
    Again, Book, Effect, Poll, SendError, Status, Track, USUAL_TIP,
    follow::BLOCKS_WITHOUT,
    reach::is_out_of_reach,
    version::{Fees, Version},
};
use crate::{call::IntentKey, journal::EntryState};
use std::collections::BTreeSet;
use tokio::time::Instant;

/// So many nonces are used up together, a part of what may be on its way at once.
const FILLED_AT_ONCE: usize = 16;

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

    /// Next in line and turned away, although a chain node may have taken it before: with the gas limit that it was given it
    /// gets into no block, as it seems. What it takes is found out again; at times the same bytes are handed over.
    pub(super) fn estimate_again(&mut self, now: Instant, key: &IntentKey) -> Option<Effect> {
        let (times, last) = self.tracks.get(key)?.estimated;
        let rest = self.estimated_again_after(times);
        let track = self.tracks.get_mut(key)?;
        if track.simulating || last.is_some_and(|last| now.duration_since(last) < rest) {
            return track.hand_over_again(key);
        }
        let call = track.newest().call()?;
        track.estimated = (times.saturating_add(1), Some(now));
        track.simulating = true;
        let key = key.clone();
        Some(Effect::Simulate { key, call })
    }

    /// Signs a call again, if it still works: under a fresh nonce if its own is lost, under the same one if it is turned
    /// away with the gas limit that it has.
    pub(super) fn on_simulated(
        &mut self,
        now: Instant,
        key: &IntentKey,
        result: Result<Again, SendError>,
    ) -> Vec<Effect> {
        let checked = result.and_then(|again| {
            let (checked, key) = (self.check_count(now, again.count), key.clone());
            checked.map_err(|source| SendError::Rpc { key, source })?;
            Ok(again)
        });
        let counted = self.counted;
        let Some(track) = self.tracks.get_mut(key) else {
            return Vec::new();
        };
        track.simulating = false;
        let is_lost = track.lost_since.is_some();
        // A receipt was found meanwhile, or the nonce is not used up after all, or a chain node has it.
        if !track.is_pending() || track.handing_over || (!is_lost && !track.turned_away) {
            return Vec::new();
        }
        let is_used = is_lost && !is_out_of_reach(track.nonce(), counted);
        track.lost_since = is_lost.then_some(now);
        match checked {
            Ok(again) => self.sign_again(key, &again, is_lost),
            Err(SendError::Reverted { reason, .. }) => {
                tracing::warn!(%key, %reason, "a call that was signed before no longer works");
                if is_used {
                    self.give_up(key)
                } else {
                    self.set_aside(key)
                }
            }
            Err(error) => {
                tracing::warn!(%key, %error, "simulating a call that was signed before");
                Vec::new()
            }
        }
    }

    fn sign_again(&mut self, key: &IntentKey, again: &Again, is_lost: bool) -> Vec<Effect> {
        let limit = self.config.max_fee_per_gas;
        let Ok(fees) = Fees::offer(again.head.base_fee, again.tip, limit) else {
            tracing::warn!(%key, limit, "gas costs more than is allowed; a call waits for it to become cheaper");
            return Vec::new();
        };
        if is_lost {
            self.resynchronise();
        }
        let next = self.free_from(again.count);
        let Some(track) = self.tracks.get_mut(key) else {
            return Vec::new();
        };
        let newest = track.newest();
        let nonce = if is_lost { next } else { newest.nonce() };
        let version = newest.renumbered(&*self.signer, nonce, again.gas_limit, fees);
        if !is_lost && !newest.differs_in_cost(&version) {
            return track.hand_over_again(key).into_iter().collect();
        }
        let before = newest.nonce();
        tracing::warn!(%key, before, nonce, gas_limit = again.gas_limit, "signing a call again");
        self.by_hash.insert(version.entry.hash, key.clone());
        vec![track.add(key, version)]
    }

    /// Uses up the next nonces when others wait behind them and nobody holds them for a while: one was refused, its
    /// transaction was taken back and is gone, or a chain node counted too much. Without this they would wait for ever.
    pub(super) fn fill_hole(&mut self, now: Instant, poll: &Poll) -> Vec<Effect> {
        let next = poll.count;
        let waits_behind = |track: &Track| track.nonce() > next && !is_out_of_reach(track.nonce(), next);
        let behind = self.pending().filter(|track| waits_behind(track));
        let held = |track: &Track| track.nonce() == next && !track.is_refused();
        let Some(last) = behind
            .map(Track::nonce)
            .max()
            .filter(|_| next >= self.used_up() && !self.tracks.values().any(held))
        else {
            self.hole = None;
            return Vec::new();
        };
        let hole = self.hole.filter(|hole| hole.nonce == next).unwrap_or(Hole {
            nonce: next,
            since: now,
            from_block: poll.head.number,
        });
        self.hole = Some(hole);
        let blocks_went_by = poll.head.number >= hole.from_block.saturating_add(BLOCKS_WITHOUT);
        if now.duration_since(hole.since) < self.config.bump_after || !blocks_went_by {
            return Vec::new();
        }
        let Ok(fees) = Fees::offer(poll.head.base_fee, USUAL_TIP, self.config.max_fee_per_gas) else {
            return Vec::new();
        };
        self.hole = None;
        // The caller of what was refused may still try again under a nonce that is not the next one.
        let bound: BTreeSet<u64> = self.tracks.values().map(Track::nonce).collect();
        (next..last)
            .filter(|nonce| *nonce == next || !bound.contains(nonce))
            .take(FILLED_AT_ONCE)
            .filter_map(|nonce| self.fill(nonce, fees))
            .collect()
    }

    fn fill(&mut self, nonce: u64, fees: Fees) -> Option<Effect> {
        tracing::warn!(nonce, "transactions wait behind a nonce that nobody uses; using it up");
        let key = IntentKey::fill(nonce);
        if let Some(refused) = self.tracks.get_mut(&key) {
            refused.set_status(Status::Pending);
            return refused.hand_over_again(&key);
        }
        let version = Version::filler(self.chain.config().chain_id, &*self.signer, nonce, fees);
        self.by_hash.insert(version.entry.hash, key.clone());
        let track = self.tracks.entry(key.clone()).or_insert_with(Track::new);
        Some(track.add(&key, version))
    }
}

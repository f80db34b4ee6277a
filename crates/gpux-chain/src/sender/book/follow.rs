//! The half of the book that follows transactions after they were signed: what a chain node said to them, what polls
//! tell of them, and what is offered for those that wait.

use super::{
    Book, Done, Effect, Poll, PollJob, PublishError, SendError, Sent, Status, Track, answer, reach::is_out_of_reach,
    track::Waits,
};
use crate::{
    call::IntentKey,
    confirm::Depth,
    journal::{EntryState, JournalEntry},
    mined::{Mined, RawReceipt},
    rpc::{Retry, RpcError},
};
use gpux_types::B256;
use std::{mem, time::Duration};
use tokio::time::Instant;

/// How often a transaction that is in a block, and that nobody waits for, is looked after until it is final.
const IDLE_POLL: Duration = Duration::from_secs(12);
/// So many blocks must go by without a transaction before more is offered for it: the first may have been made before it
/// arrived. Where no blocks are made, no fee helps.
pub(super) const BLOCKS_WITHOUT: u64 = 2;
/// The first poll after a transaction comes after this part of the interval; the time then doubles up to the interval.
const FIRST_POLL_PART: u32 = 16;

/// What a chain node's refusal of signed bytes means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// It has them.
    Known,
    /// Their nonce is taken, by themselves or by another transaction: the next polls will tell.
    NonceTaken,
    /// They will not get in.
    ForGood,
}

impl Refused {
    /// Chain nodes have no codes for these; the words are those of geth, op-geth, reth, Erigon, Nethermind and anvil.
    fn of(error: &RpcError) -> Option<Self> {
        let message = error
            .refusal()
            .filter(|_| !error.is_outage())?
            .message
            .to_ascii_lowercase();
        let any = |words: &[&str]| words.iter().any(|words| message.contains(words));
        Some(
            if any(&[
                "already known",
                "known transaction",
                "already imported",
                "alreadyknown",
                "already exists",
            ]) {
                Self::Known
            } else if any(&[
                "nonce too low",
                "nonce is too low",
                "underpriced",
                "oldnonce",
                "already been used",
            ]) {
                Self::NonceTaken
            } else {
                Self::ForGood
            },
        )
    }
}

impl Book {
    pub(super) fn poll_soon(&mut self, now: Instant) {
        self.poll_at = Some(now);
        self.poll_delay = self.chain.config().poll_interval / FIRST_POLL_PART;
    }

    pub(super) fn on_published(
        &mut self,
        now: Instant,
        key: &IntentKey,
        hash: B256,
        result: Result<(), PublishError>,
    ) -> Vec<Effect> {
        self.poll_soon(now);
        let Some(track) = self
            .tracks
            .get_mut(key)
            .filter(|track| track.newest().entry.hash == hash)
        else {
            return Vec::new();
        };
        match result {
            Ok(()) => (track.delivered, track.maybe_out, track.turned_away) = (true, true, false),
            Err(PublishError::Journal(source)) => return self.on_not_journaled(key, source),
            Err(PublishError::Rpc(error)) => match Refused::of(&error) {
                Some(Refused::Known | Refused::NonceTaken) => {
                    (track.delivered, track.maybe_out, track.turned_away) = (true, true, false);
                }
                // An older version, or these bytes at an earlier time, may be in the pool.
                Some(Refused::ForGood) if track.maybe_out => (track.delivered, track.turned_away) = (true, true),
                Some(Refused::ForGood) => return self.on_refused(key, error),
                // Perhaps it arrived. The journal has it, and it is handed over until somebody answers.
                None => {
                    tracing::warn!(%key, error = %error, "the chain node did not answer to a transaction");
                    (track.delivered, track.maybe_out) = (false, true);
                }
            },
        }
        track.handing_over = false;
        answer(mem::take(&mut track.replies), Ok(Sent { hash }));
        Vec::new()
    }

    /// The bytes never left this machine, but the journal may have kept them.
    fn on_not_journaled(&mut self, key: &IntentKey, source: std::io::Error) -> Vec<Effect> {
        tracing::error!(%key, error = %source, "a signed transaction could not be journaled and was not sent");
        let Some(track) = self.tracks.get_mut(key) else {
            return Vec::new();
        };
        if track.maybe_out && track.versions.len() > 1 {
            track.versions.pop();
            track.handing_over = false;
            let hash = track.newest().entry.hash;
            answer(mem::take(&mut track.replies), Ok(Sent { hash }));
            return Vec::new();
        }
        let unsent = &track.newest().entry;
        let same = track
            .versions
            .iter()
            .filter(|version| version.entry.hash == unsent.hash);
        // The same bytes may have been refused before.
        let state = if same.count() > 1 {
            EntryState::Refused
        } else {
            EntryState::Superseded
        };
        vec![Effect::Fail {
            key: key.clone(),
            entries: vec![unsent.clone().with(state)],
            unsent: true,
            error: Box::new(SendError::Journal {
                key: key.clone(),
                source,
            }),
        }]
    }

    /// The intent stays bound to its nonce: whoever refused the bytes has seen them.
    fn on_refused(&mut self, key: &IntentKey, source: RpcError) -> Vec<Effect> {
        let Some(track) = self.tracks.get_mut(key) else {
            return Vec::new();
        };
        tracing::warn!(%key, nonce = track.nonce(), error = %source, "the chain node refused a transaction");
        vec![Effect::Fail {
            key: key.clone(),
            entries: track.all_are(EntryState::Refused),
            unsent: false,
            error: Box::new(SendError::Rpc {
                key: key.clone(),
                source,
            }),
        }]
    }

    /// Until here the nonce was in use. `unsent`: the newest version never left this machine.
    pub(super) fn on_failed(&mut self, key: &IntentKey, unsent: bool, error: SendError) {
        self.resynchronise();
        let Some(track) = self.tracks.get_mut(key) else {
            return;
        };
        track.handing_over = false;
        let replies = mem::take(&mut track.replies);
        if unsent && track.versions.len() == 1 {
            track.set_status(Status::Refused);
            self.tracks.remove(key);
            answer(replies, Err(error));
            return;
        }
        if unsent {
            track.versions.pop();
        }
        if track.is_pending() {
            track.set_status(Status::Refused);
            answer(replies, Err(error));
        } else {
            // Refused, and in a block all the same.
            let hash = track.newest().entry.hash;
            answer(replies, Ok(Sent { hash }));
        }
    }

    /// Asks about everything that could have changed. A refused transaction could only be in a block once its nonce is
    /// used up.
    pub(super) fn on_poll_due(&mut self) -> Vec<Effect> {
        self.poll_at = None;
        let asked = self.tracks.iter().filter(|(_, track)| self.may_have_moved(track));
        let hashes = asked.map(|(key, track)| {
            (
                key.clone(),
                track.versions.iter().map(|version| version.entry.hash).collect(),
            )
        });
        let hashes: Vec<_> = hashes.collect();
        if hashes.is_empty() && !self.finals.is_in_doubt() {
            return Vec::new();
        }
        self.polling = true;
        let depths = self.tracks.values().any(|track| !track.is_pending());
        let firm_count = self
            .tracks
            .values()
            .any(|track| !track.is_mined() && track.nonce() < self.counted);
        vec![Effect::Poll(PollJob {
            wallet: self.signer.address(),
            hashes,
            depths,
            firm_count,
        })]
    }

    fn may_have_moved(&self, track: &Track) -> bool {
        track.may_have_left() && (!track.is_refused() || track.nonce() < self.counted.max(self.used_up()))
    }

    pub(super) fn on_polled(&mut self, now: Instant, result: Result<Poll, RpcError>) -> Vec<Effect> {
        self.polling = false;
        let interval = self.chain.config().poll_interval;
        let checked = result.and_then(|poll| self.check_poll(now, &poll).map(|()| poll));
        let poll = match checked {
            Ok(poll) => poll,
            Err(error) => {
                tracing::warn!(error = %error, "asking about sent transactions");
                let rest = match error.retry() {
                    Retry::After(rest) => rest.max(interval),
                    Retry::Now | Retry::Never => interval,
                };
                self.poll_at = Some(now + rest);
                return Vec::new();
            }
        };
        self.counted = poll.count;
        let mut effects = Vec::new();
        for (key, receipts) in &poll.receipts {
            if self.tracks.get(key).is_some_and(|track| !track.may_have_left()) {
                continue;
            }
            effects.extend(match self.telling(key, receipts) {
                Some(receipt) => self.on_receipt(now, key, receipt, &poll),
                None => self.on_no_receipt(now, key, &poll),
            });
        }
        effects.extend(self.doubt_finals(now, &poll));
        effects.extend(self.fill_hole(now, &poll));
        let next = self.next_poll(interval);
        // A transaction published meanwhile may have asked for an earlier poll.
        let next = next.map(|delay| now + delay);
        self.poll_at = [self.poll_at, next].into_iter().flatten().min();
        effects
    }

    fn next_poll(&mut self, interval: Duration) -> Option<Duration> {
        if self.pending().next().is_some() {
            let delay = self.poll_delay;
            self.poll_delay = (delay * 2).min(interval);
            return Some(delay);
        }
        let awaited = self.tracks.values().any(|track| track.progress.receiver_count() > 0);
        let rest = if awaited { interval } else { interval.max(IDLE_POLL) };
        let wanted = self.finals.is_in_doubt() || self.tracks.values().any(|track| self.may_have_moved(track));
        wanted.then_some(rest)
    }

    /// The receipt that says what has become of the intent: that of a success under any nonce, else one under the nonce
    /// that it has now. What was reverted under a former one is not what it waits for.
    fn telling<'a>(&self, key: &IntentKey, receipts: &'a [RawReceipt]) -> Option<&'a RawReceipt> {
        let track = self.tracks.get(key)?;
        let is_of = |receipt: &RawReceipt, nonce: Option<u64>| {
            track.versions.iter().any(|version| {
                version.entry.hash == receipt.transaction_hash && nonce.is_none_or(|nonce| version.nonce() == nonce)
            })
        };
        let success = receipts
            .iter()
            .find(|receipt| receipt.succeeded() && is_of(receipt, None));
        success.or_else(|| receipts.iter().find(|receipt| is_of(receipt, Some(track.nonce()))))
    }

    fn on_receipt(&mut self, now: Instant, key: &IntentKey, receipt: &RawReceipt, poll: &Poll) -> Vec<Effect> {
        let Some(track) = self.tracks.get_mut(key) else {
            return Vec::new();
        };
        let is_told = |entry: &JournalEntry| entry.hash == receipt.transaction_hash;
        let entries = track.versions.iter().map(|version| &version.entry);
        let Some(entry) = entries.clone().find(|entry| is_told(entry)).cloned() else {
            return Vec::new();
        };
        let mined = self.chain.price(receipt, Some(&entry.raw));
        let (mut depth, succeeded) = (depth_of(&mined, poll), mined.succeeded);
        if depth == Depth::Finalized && !succeeded {
            // What was reverted for ever may be signed anew under another nonce: that must be said twice.
            let since = *track.reverted_since.get_or_insert(now);
            if now.duration_since(since) < self.config.bump_after {
                depth = Depth::Safe;
            }
        } else {
            track.reverted_since = None;
        }
        if depth == Depth::Finalized {
            let become_of = |entry: JournalEntry| {
                if is_told(&entry) {
                    entry.with(EntryState::Final { succeeded })
                } else {
                    entry.with(EntryState::Superseded)
                }
            };
            let entries: Vec<_> = entries.cloned().map(become_of).collect();
            track.set_mined(mined, depth);
            answer(mem::take(&mut track.replies), Ok(Sent { hash: entry.hash }));
            self.tracks.remove(key);
            for entry in entries.iter().cloned() {
                self.finals.keep(entry);
            }
            self.done.insert(key.clone(), Done::of(&entry, succeeded));
            return entries.into_iter().map(Effect::Record).collect();
        }
        let news = track.set_mined(mined, depth);
        track.maybe_out = true;
        (track.lost_since, track.waits) = (None, None);
        if news {
            vec![Effect::Record(entry.with(EntryState::Mined { succeeded }))]
        } else {
            Vec::new()
        }
    }

    fn on_no_receipt(&mut self, now: Instant, key: &IntentKey, poll: &Poll) -> Vec<Effect> {
        let Some(track) = self.tracks.get_mut(key) else {
            return Vec::new();
        };
        track.reverted_since = None;
        if track.is_mined() {
            tracing::warn!(%key, "a reorganisation took a transaction out of its block; sending the same bytes again");
            track.set_status(Status::Pending);
            return track.hand_over_again(key).into_iter().collect();
        }
        let nonce = track.nonce();
        if poll.count > nonce {
            track.waits = None;
            return self.on_nonce_used(now, key, poll);
        }
        if is_out_of_reach(nonce, poll.count) {
            return self.on_out_of_reach(now, key);
        }
        track.lost_since = None;
        let effect = if track.delivered {
            self.on_waiting(now, key, poll)
        } else {
            track.hand_over_again(key)
        };
        effect.into_iter().collect()
    }

    /// What to do about a transaction that the chain node has and that is in no block: the same bytes once more, as a node
    /// may have dropped them; a higher fee, when blocks went by without it although it is next in line.
    fn on_waiting(&mut self, now: Instant, key: &IntentKey, poll: &Poll) -> Option<Effect> {
        let track = self.tracks.get_mut(key).filter(|track| track.is_pending())?;
        let head = &poll.head;
        let waits = track.waits.get_or_insert(Waits {
            since: now,
            from_block: head.number,
            handed_over_again: false,
        });
        if now.duration_since(waits.since) < self.config.bump_after || track.handing_over {
            return None;
        }
        let overlooked = head.number >= waits.from_block.saturating_add(BLOCKS_WITHOUT);
        let tried_again = waits.handed_over_again;
        (waits.since, waits.handed_over_again) = (now, true);
        let is_next = track.nonce() == poll.count;
        if track.turned_away && is_next && overlooked {
            return self.estimate_again(now, key);
        }
        let newest = track.newest();
        let fees = newest.fees();
        let too_cheap = fees.max < head.base_fee.saturating_add(fees.tip);
        let bumped = (is_next && overlooked && (too_cheap || tried_again)).then(|| {
            let limit = self.config.max_fee_per_gas;
            newest.bumped(&*self.signer, track.first_tip(), head.base_fee, limit)
        });
        let Some(version) = bumped.flatten() else {
            return track.hand_over_again(key);
        };
        tracing::info!(%key, hash = %version.entry.hash, "offering a higher fee for a transaction that waits");
        self.by_hash.insert(version.entry.hash, key.clone());
        Some(track.add(key, version))
    }
}

fn depth_of(mined: &Mined, poll: &Poll) -> Depth {
    let reaches = |number: Option<u64>| number.is_some_and(|number| number >= mined.block);
    if reaches(poll.finalized) {
        Depth::Finalized
    } else if reaches(poll.safe) {
        Depth::Safe
    } else {
        Depth::Latest
    }
}

//! The half of the book that follows transactions after they were signed.

use super::{Book, Done, Effect, Poll, PollJob, Progress, PublishError, SendError, Sent, Status, Track, answer};
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
/// How long a nonce must seem to have gone elsewhere before it is believed: chain nodes behind one address may be a
/// block apart.
const LOST_FOR: Duration = Duration::from_secs(2);
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
        let replies = mem::take(&mut track.replies);
        match result {
            Ok(()) => track.delivered = true,
            Err(PublishError::Journal(source)) => return self.on_not_journaled(key, replies, source),
            Err(PublishError::Rpc(error)) => match Refused::of(&error) {
                Some(Refused::Known | Refused::NonceTaken) => track.delivered = true,
                // An older version, or these bytes at an earlier time, may be in the pool.
                Some(Refused::ForGood) if track.was_sent_before() => track.delivered = true,
                Some(Refused::ForGood) => return self.on_refused(key, replies, error),
                // Perhaps it arrived. The journal has it, and it is handed over until somebody answers.
                None => {
                    tracing::warn!(%key, error = %error, "the chain node did not answer to a transaction");
                    track.delivered = false;
                }
            },
        }
        answer(replies, Ok(Sent { hash }));
        Vec::new()
    }

    fn on_not_journaled(&mut self, key: &IntentKey, replies: Vec<super::Reply>, source: std::io::Error) -> Vec<Effect> {
        tracing::error!(%key, error = %source, "a signed transaction could not be journaled and was not sent");
        if let Some(track) = self.tracks.get_mut(key) {
            track.versions.pop();
            if track.versions.is_empty() {
                self.tracks.remove(key);
            }
        }
        self.resynchronise();
        answer(
            replies,
            Err(SendError::Journal {
                key: key.clone(),
                source,
            }),
        );
        Vec::new()
    }

    fn on_refused(&mut self, key: &IntentKey, replies: Vec<super::Reply>, source: RpcError) -> Vec<Effect> {
        self.resynchronise();
        let Some(track) = self.tracks.remove(key) else {
            return Vec::new();
        };
        track.progress.send_replace(Progress {
            status: Status::Refused,
        });
        answer(
            replies,
            Err(SendError::Rpc {
                key: key.clone(),
                source,
            }),
        );
        vec![Effect::Record(JournalEntry {
            state: EntryState::Superseded,
            ..track.newest().entry.clone()
        })]
    }

    pub(super) fn on_poll_due(&mut self) -> Vec<Effect> {
        self.poll_at = None;
        let hashes = self.tracks.iter().map(|(key, track)| {
            (
                key.clone(),
                track.versions.iter().map(|version| version.entry.hash).collect(),
            )
        });
        let hashes: Vec<_> = hashes.collect();
        if hashes.is_empty() {
            return Vec::new();
        }
        self.polling = true;
        let depths = self.tracks.values().any(|track| !track.is_pending());
        vec![Effect::Poll(PollJob {
            wallet: self.signer.address(),
            hashes,
            depths,
        })]
    }

    pub(super) fn on_polled(&mut self, now: Instant, result: Result<Poll, RpcError>) -> Vec<Effect> {
        self.polling = false;
        let interval = self.chain.config().poll_interval;
        let poll = match result {
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
        let mut effects = Vec::new();
        for (key, receipt) in &poll.receipts {
            match receipt {
                Some(receipt) => effects.extend(self.on_receipt(key, receipt, &poll)),
                None => effects.extend(self.on_no_receipt(now, key, &poll)),
            }
        }
        let next = self.next_poll(interval);
        // A transaction published meanwhile may have asked for an earlier poll.
        let next = next.map(|delay| now + delay);
        self.poll_at = [self.poll_at, next].into_iter().flatten().min();
        effects
    }

    fn next_poll(&mut self, interval: Duration) -> Option<Duration> {
        if self.tracks.values().any(Track::is_pending) {
            let delay = self.poll_delay;
            self.poll_delay = (delay * 2).min(interval);
            return Some(delay);
        }
        let awaited = self.tracks.values().any(|track| track.progress.receiver_count() > 0);
        let rest = if awaited { interval } else { interval.max(IDLE_POLL) };
        (!self.tracks.is_empty()).then_some(rest)
    }

    fn on_receipt(&mut self, key: &IntentKey, receipt: &RawReceipt, poll: &Poll) -> Vec<Effect> {
        let Some(track) = self.tracks.get_mut(key) else {
            return Vec::new();
        };
        let (ours, others): (Vec<_>, Vec<_>) = track
            .versions
            .iter()
            .map(|version| &version.entry)
            .partition(|entry| entry.hash == receipt.transaction_hash);
        let others: Vec<_> = others.into_iter().cloned().collect();
        let Some(entry) = ours.into_iter().next().cloned() else {
            return Vec::new();
        };
        let mined = self.chain.price(receipt, Some(&entry.raw));
        let (depth, succeeded) = (depth_of(&mined, poll), mined.succeeded);
        let news = track.set_mined(mined, depth);
        let record = |entry: JournalEntry, state| Effect::Record(JournalEntry { state, ..entry });
        if depth == Depth::Finalized {
            self.done.insert(key.clone(), Done::of(&entry, succeeded));
            self.tracks.remove(key);
            let superseded = others.into_iter().map(|entry| record(entry, EntryState::Superseded));
            return std::iter::once(record(entry, EntryState::Final { succeeded }))
                .chain(superseded)
                .collect();
        }
        if news {
            vec![record(entry, EntryState::Mined { succeeded })]
        } else {
            Vec::new()
        }
    }

    fn on_no_receipt(&mut self, now: Instant, key: &IntentKey, poll: &Poll) -> Option<Effect> {
        let track = self.tracks.get_mut(key)?;
        if !track.is_pending() {
            tracing::warn!(%key, "a reorganisation took a transaction out of its block; sending the same bytes again");
            track.progress.send_replace(Progress {
                status: Status::Pending,
            });
            return track.hand_over_again(key, now);
        }
        if poll.count > track.newest().entry.nonce {
            let since = *track.lost_since.get_or_insert(now);
            return if now.duration_since(since) >= LOST_FOR {
                self.renumber(now, key, poll.count)
            } else {
                None
            };
        }
        track.lost_since = None;
        if !track.delivered {
            return track.hand_over_again(key, now);
        }
        if now.duration_since(track.sent_at) < self.config.bump_after {
            return None;
        }
        match track
            .newest()
            .bumped(&*self.signer, poll.head.base_fee, self.config.max_fee_per_gas)
        {
            None => track.hand_over_again(key, now),
            Some(version) => {
                tracing::info!(%key, hash = %version.entry.hash, "offering a higher fee for a transaction that waits");
                Some(self.add_version(now, key, version)?)
            }
        }
    }

    /// Signs the call again under a fresh nonce: its own went to a transaction that this program did not send.
    fn renumber(&mut self, now: Instant, key: &IntentKey, counted: u64) -> Option<Effect> {
        let track = self.tracks.get_mut(key)?;
        track.lost_since = None;
        self.resynchronise();
        let nonce = self.nonce(counted);
        let version = self.tracks.get(key)?.newest().renumbered(&*self.signer, nonce);
        self.next_nonce = Some(nonce.saturating_add(1));
        tracing::warn!(%key, nonce, "another program used this wallet's nonce; signing again under the next one");
        self.add_version(now, key, version)
    }

    fn add_version(&mut self, now: Instant, key: &IntentKey, version: super::Version) -> Option<Effect> {
        self.by_hash.insert(version.entry.hash, key.clone());
        let track = self.tracks.get_mut(key)?;
        track.sent_at = now;
        let effect = version.publish(key, true);
        track.versions.push(version);
        Some(effect)
    }
}

impl Track {
    /// True when the chain node may have got an earlier version, or this one before.
    fn was_sent_before(&self) -> bool {
        self.versions.len() > 1 || self.handed_over > 1
    }

    /// True when this is news for the journal.
    fn set_mined(&mut self, mined: Mined, depth: Depth) -> bool {
        let (before_hash, before_depth) = match &self.progress.borrow().status {
            Status::Mined { mined, depth } => (Some(mined.block_hash), Some(*depth)),
            Status::Pending | Status::Refused => (None, None),
        };
        let news = before_hash != Some(mined.block_hash);
        if news || before_depth != Some(depth) {
            self.progress.send_replace(Progress {
                status: Status::Mined {
                    mined: Box::new(mined),
                    depth,
                },
            });
        }
        news
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

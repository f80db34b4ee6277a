//! The sender's memory and all of its decisions, without waiting for anything: an event comes in, effects go out.
//!
//! Only `task` calls it. Time is an argument.

mod finals;
mod follow;
mod nonces;
mod reach;
mod settle;
#[cfg(test)]
mod tests;
mod track;
mod version;

use super::{
    Command, SendError, SenderConfig, Sent,
    jobs::{Poll, PollJob, PublishError},
    prepare::{Again, PrepareJob, Prepared, TRANSFER_GAS},
};
use crate::{
    call::{Intent, IntentKey, RawCall},
    client::Chain,
    confirm::Depth,
    journal::{EntryState, JournalEntry, PermitUse, Pull},
    keys::DigestSigner,
    mined::Mined,
    rpc::RpcError,
};
use alloy::primitives::Bytes;
use finals::Finals;
use gpux_types::{Address, Amount, B256};
use nonces::{Claim, Place};
use reach::Reach;
use settle::Hole;
use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};
use track::Track;
use version::Version;

pub(super) use version::{Fees, USUAL_TIP};

pub(super) type Reply = oneshot::Sender<Result<Sent, SendError>>;

/// Where a transaction is, for those who wait for it.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    pub(super) status: Status,
}

/// Where a transaction is.
#[derive(Debug, Clone)]
pub(super) enum Status {
    /// In no block that we know of.
    Pending,
    /// In a block, and how firmly that stands.
    Mined { mined: Box<Mined>, depth: Depth },
    /// Refused by the chain node. It is handed over no more, unless somebody asks for it again.
    Refused,
}

/// Where to look for a transaction.
#[derive(Debug)]
pub(super) enum Followed {
    OnItsWay(watch::Receiver<Progress>),
    /// Final, or never ours: ask the chain for this hash.
    Elsewhere(B256),
}

/// Something that happened.
pub(super) enum Event {
    Command(Command),
    Prepared {
        key: IntentKey,
        epoch: u64,
        result: Box<Result<Prepared, SendError>>,
    },
    Published {
        key: IntentKey,
        hash: B256,
        result: Result<(), PublishError>,
    },
    /// That it failed is journaled, as far as it can be.
    Failed {
        key: IntentKey,
        unsent: bool,
        error: Box<SendError>,
    },
    /// Whether a call whose nonce was lost still works.
    Simulated {
        key: IntentKey,
        result: Result<Again, SendError>,
    },
    Polled(Result<Poll, RpcError>),
    PollDue,
}

/// Something to be done; each but `Record` answers with an event.
pub(super) enum Effect {
    Prepare {
        key: IntentKey,
        epoch: u64,
        job: PrepareJob,
    },
    /// Journal the entry, if there is one, then hand the bytes to the chain node.
    Publish {
        key: IntentKey,
        hash: B256,
        raw: Bytes,
        entry: Option<Box<JournalEntry>>,
    },
    Record(JournalEntry),
    /// Journal that it failed, before anybody hears of it: told first, and cut off by a crash, it would go on.
    Fail {
        key: IntentKey,
        entries: Vec<JournalEntry>,
        /// Whether the newest version never left this machine.
        unsent: bool,
        error: Box<SendError>,
    },
    /// Find out whether a call still works whose nonce was lost.
    Simulate {
        key: IntentKey,
        call: RawCall,
    },
    Poll(PollJob),
}

struct Waiting {
    intent: Intent,
    replies: Vec<Reply>,
}

/// An intent whose transaction is final.
#[derive(Clone, Copy)]
struct Done {
    hash: B256,
    nonce: u64,
    succeeded: bool,
}

impl Done {
    fn of(entry: &JournalEntry, succeeded: bool) -> Self {
        Self {
            hash: entry.hash,
            nonce: entry.nonce,
            succeeded,
        }
    }

    /// True when an entry of the same key is a new attempt, and not another version of the one that is done.
    fn is_followed_by(self, entry: &JournalEntry) -> bool {
        !self.succeeded && entry.nonce > self.nonce
    }
}

pub(super) struct Book {
    chain: Chain,
    signer: Arc<dyn DigestSigner>,
    config: SenderConfig,
    tracks: BTreeMap<IntentKey, Track>,
    preparing: BTreeMap<IntentKey, Waiting>,
    done: HashMap<IntentKey, Done>,
    by_hash: HashMap<B256, IntentKey>,
    finals: Finals,
    reach: Reach,
    /// How many of the wallet's transactions the chain node counted in blocks when it was last asked.
    counted: u64,
    /// A nonce that others wait behind and that nobody holds.
    hole: Option<Hole>,
    /// Grows with every failure: what was read before it is read again.
    epoch: u64,
    poll_at: Option<Instant>,
    poll_delay: Duration,
    /// One poll at a time: the answers of two could arrive in the wrong order.
    polling: bool,
}

impl Book {
    /// The book that the journal's entries of this wallet and chain make.
    pub(super) fn new(
        chain: Chain,
        signer: Arc<dyn DigestSigner>,
        config: SenderConfig,
        entries: Vec<JournalEntry>,
    ) -> io::Result<Self> {
        let (chain_id, wallet) = (chain.config().chain_id, signer.address());
        let mut book = Self {
            poll_delay: chain.config().poll_interval,
            chain,
            signer,
            config,
            tracks: BTreeMap::new(),
            preparing: BTreeMap::new(),
            done: HashMap::new(),
            by_hash: HashMap::new(),
            finals: Finals::default(),
            reach: Reach::default(),
            counted: 0,
            hole: None,
            epoch: 0,
            poll_at: None,
            polling: false,
        };
        for entry in entries
            .into_iter()
            .filter(|entry| entry.chain_id == chain_id && entry.wallet == wallet)
        {
            book.load(entry)?;
        }
        Ok(book)
    }

    fn load(&mut self, entry: JournalEntry) -> io::Result<()> {
        let invalid = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
        if entry.version > JournalEntry::VERSION {
            return Err(invalid("a journal entry is of a newer version of this program"));
        }
        self.by_hash.insert(entry.hash, entry.key.clone());
        match entry.state {
            EntryState::Superseded => self.finals.keep(entry),
            EntryState::Final { succeeded } => {
                let track = self.tracks.remove(&entry.key);
                let versions = track.into_iter().flat_map(|track| track.versions);
                versions.for_each(|version| self.finals.keep(version.entry));
                self.finish(entry, succeeded);
            }
            EntryState::Signed | EntryState::Mined { .. } | EntryState::Refused => {
                if let Some(done) = self.done.get(&entry.key).copied() {
                    if !done.is_followed_by(&entry) {
                        self.finals.keep(entry);
                        return Ok(());
                    }
                    self.done.remove(&entry.key);
                }
                self.track(entry)
                    .ok_or(invalid("a journal entry holds no transaction"))?;
            }
        }
        Ok(())
    }

    fn track(&mut self, entry: JournalEntry) -> Option<()> {
        let (key, refused) = (entry.key.clone(), entry.state == EntryState::Refused);
        let version = Version::decode(entry)?;
        let track = self.tracks.entry(key).or_insert_with(Track::new);
        track.versions.push(version);
        track.maybe_out |= !refused;
        let status = if track.maybe_out {
            Status::Pending
        } else {
            Status::Refused
        };
        track.set_status(status);
        Some(())
    }

    fn finish(&mut self, entry: JournalEntry, succeeded: bool) {
        self.done.insert(entry.key.clone(), Done::of(&entry, succeeded));
        self.finals.keep(entry);
    }

    /// What to do first: hand over again what may not have arrived before the last end.
    pub(super) fn start(&mut self, now: Instant) -> Vec<Effect> {
        self.finals.look_again();
        if !self.tracks.is_empty() || self.finals.is_in_doubt() {
            self.poll_soon(now);
        }
        self.tracks
            .iter_mut()
            .filter_map(|(key, track)| track.hand_over_again(key))
            .collect()
    }

    /// Transactions in no block that we know of, and not refused.
    fn pending(&self) -> impl Iterator<Item = &Track> {
        self.tracks.values().filter(|track| track.is_pending())
    }

    /// When the next poll is due.
    pub(super) fn poll_at(&self) -> Option<Instant> {
        self.poll_at.filter(|_| !self.polling)
    }

    pub(super) fn wallet(&self) -> Address {
        self.signer.address()
    }

    pub(super) fn handle(&mut self, now: Instant, event: Event) -> Vec<Effect> {
        match event {
            Event::Command(Command::Send { intent, reply }) => self.on_send(now, *intent, reply),
            Event::Command(Command::Follow { hash, reply }) => {
                // Whoever asked has gone if this fails.
                let _ = reply.send(self.on_follow(now, hash));
                Vec::new()
            }
            Event::Command(Command::HasSigned { key, reply }) => {
                // Whoever asked has gone if this fails.
                let _ = reply.send(self.has_signed(&key));
                Vec::new()
            }
            Event::Command(Command::CouldTakeEffect { key, reply }) => {
                // Whoever asked has gone if this fails.
                let _ = reply.send(self.could_take_effect(&key));
                Vec::new()
            }
            Event::Prepared { key, epoch, result } => self.on_prepared(now, &key, epoch, *result),
            Event::Published { key, hash, result } => self.on_published(now, &key, hash, result),
            Event::Failed { key, unsent, error } => {
                self.on_failed(&key, unsent, *error);
                Vec::new()
            }
            Event::Simulated { key, result } => self.on_simulated(now, &key, result),
            Event::Polled(result) => self.on_polled(now, result),
            Event::PollDue => self.on_poll_due(),
        }
    }

    fn on_send(&mut self, now: Instant, intent: Intent, reply: Reply) -> Vec<Effect> {
        let key = intent.key.clone();
        match self.done.get(&key) {
            Some(done) if done.succeeded => {
                let _ = reply.send(Ok(Sent { hash: done.hash }));
                // Whoever asks again has not seen its effect.
                self.finals.look_again();
                self.poll_soon(now);
                return Vec::new();
            }
            Some(_) => {
                self.done.remove(&key);
            }
            None => {}
        }
        if let Some(waiting) = self.preparing.get_mut(&key) {
            waiting.replies.push(reply);
            return Vec::new();
        }
        match self.tracks.get_mut(&key) {
            Some(track) if !track.is_over() => return track.answer_again(&key, reply),
            Some(_) => {
                if let Claim::Undecided(nonce) = self.claim(&key, self.counted) {
                    self.poll_soon(now);
                    let _ = reply.send(Err(SendError::Undecided { key, nonce }));
                    return Vec::new();
                }
            }
            None => {}
        }
        let in_flight = self.preparing.len() + self.pending().count();
        if in_flight >= self.config.max_in_flight {
            let _ = reply.send(Err(SendError::Busy {
                key,
                limit: self.config.max_in_flight,
            }));
            return Vec::new();
        }
        self.prepare(Waiting {
            intent,
            replies: vec![reply],
        })
    }

    fn has_signed(&self, key: &IntentKey) -> bool {
        self.preparing.contains_key(key)
            || self.tracks.get(key).is_some_and(|track| !track.is_over())
            || self.done.get(key).is_some_and(|done| done.succeeded)
    }

    /// A track ends only with a final block.
    fn could_take_effect(&self, key: &IntentKey) -> bool {
        self.preparing.contains_key(key)
            || self.tracks.contains_key(key)
            || self.done.get(key).is_some_and(|done| done.succeeded)
    }

    fn prepare(&mut self, waiting: Waiting) -> Vec<Effect> {
        let intent = waiting.intent.clone();
        let key = intent.key.clone();
        let reserved = intent
            .call
            .pull()
            .map_or(Amount::ZERO, |(token, ..)| self.reserved(token));
        self.preparing.insert(key.clone(), waiting);
        let job = PrepareJob {
            intent,
            reserved,
            signer: self.signer.clone(),
            config: self.config.clone(),
        };
        vec![Effect::Prepare {
            key,
            epoch: self.epoch,
            job,
        }]
    }

    /// What transactions on their way, and those being prepared, pull of a token.
    fn reserved(&self, token: Address) -> Amount {
        let preparing = self.preparing.values().filter_map(|waiting| waiting.intent.call.pull());
        let preparing = preparing
            .filter(|(pulled, ..)| *pulled == token)
            .map(|(_, amount, _)| amount);
        preparing
            .chain(self.pending_pulls(token))
            .fold(Amount::ZERO, Amount::saturating_add)
    }

    fn pending_pulls(&self, token: Address) -> impl Iterator<Item = Amount> {
        let pulls = self.pending().filter_map(|track| track.newest().entry.pull);
        pulls.filter(move |pull| pull.token == token).map(|pull| pull.amount)
    }

    fn on_follow(&mut self, now: Instant, hash: B256) -> Followed {
        let Some(key) = self.by_hash.get(&hash) else {
            return Followed::Elsewhere(hash);
        };
        if let Some(track) = self.tracks.get(key) {
            let receiver = track.progress.subscribe();
            let soon = now + self.chain.config().poll_interval;
            self.poll_at = Some(self.poll_at.map_or(soon, |at| at.min(soon)));
            return Followed::OnItsWay(receiver);
        }
        Followed::Elsewhere(self.done.get(key).map_or(hash, |done| done.hash))
    }

    fn on_prepared(
        &mut self,
        now: Instant,
        key: &IntentKey,
        epoch: u64,
        result: Result<Prepared, SendError>,
    ) -> Vec<Effect> {
        let Some(waiting) = self.preparing.remove(key) else {
            return Vec::new();
        };
        // Refused before, and meanwhile in a final block all the same.
        if let Some(done) = self.done.get(key).filter(|done| done.succeeded) {
            answer(waiting.replies, Ok(Sent { hash: done.hash }));
            return Vec::new();
        }
        let result = result.and_then(|prepared| {
            let checked = self.check_count(now, prepared.count.max(prepared.mined));
            let key = key.clone();
            checked.map_err(|source| SendError::Rpc { key, source })?;
            self.counted = prepared.mined;
            Ok(prepared)
        });
        let signed = match result {
            Err(error) => Err(error),
            // Something failed since these facts were read: the nonces among them may be wrong.
            Ok(_) if epoch != self.epoch => return self.prepare(waiting),
            Ok(prepared) => match self.tracks.get_mut(key) {
                // Refused before, and in a block all the same.
                Some(track) if !track.is_over() => {
                    let replies = waiting.replies.into_iter();
                    return replies.flat_map(|reply| track.answer_again(key, reply)).collect();
                }
                Some(_) | None => self.commit(&prepared),
            },
        };
        match signed {
            Err(error) => {
                if matches!(error, SendError::Undecided { .. }) {
                    self.poll_soon(now);
                }
                answer(waiting.replies, Err(error));
                Vec::new()
            }
            Ok(version) => {
                self.by_hash.insert(version.entry.hash, key.clone());
                let track = self.tracks.entry(key.clone()).or_insert_with(Track::new);
                track.replies.extend(waiting.replies);
                vec![track.add(key, version)]
            }
        }
    }

    /// Gives nonces and signs, if nothing binds the intent and the wallet can pay for everything on its way and this as
    /// well.
    fn commit(&self, prepared: &Prepared) -> Result<Version, SendError> {
        let key = prepared.intent.key.clone();
        let bound = match self.claim(&key, prepared.mined) {
            Claim::Free => None,
            Claim::Bound(nonce) => Some(nonce),
            Claim::Undecided(nonce) => return Err(SendError::Undecided { key, nonce }),
        };
        let pull = prepared
            .intent
            .call
            .pull()
            .map(|(token, amount, _)| Pull { token, amount });
        if let Some(pull) = pull {
            let need = self.pending_pulls(pull.token).fold(pull.amount, Amount::saturating_add);
            if prepared.token_balance < need {
                return Err(SendError::InsufficientBalance {
                    key,
                    have: prepared.token_balance,
                    need,
                });
            }
        }
        let limit = self.config.max_fee_per_gas;
        let fees = Fees::offer(prepared.head.base_fee, prepared.tip, limit).map_err(|need| SendError::FeeTooHigh {
            key: key.clone(),
            need,
            limit,
        })?;
        let place = self.place(prepared, bound, pull.map(|pull| pull.token));
        let permit = place.permit.zip(pull).map(|(nonce, pull)| PermitUse {
            token: pull.token,
            nonce,
        });
        let version = Version::sign(&self.chain, &*self.signer, prepared, place, (fees, permit)).map_err(|source| {
            SendError::Encode {
                key: key.clone(),
                source,
            }
        })?;
        let pending = self.pending().map(|track| self.cost(track.newest()));
        let need = pending.fold(self.cost(&version), u128::saturating_add);
        if prepared.native < need {
            return Err(SendError::InsufficientNative {
                key,
                have: prepared.native,
                need,
                least: prepared.head.base_fee.saturating_mul(TRANSFER_GAS.into()),
            });
        }
        Ok(version)
    }

    /// The most that a transaction can take out of the wallet, in wei. L1 data at twice of what it cost when the chain was
    /// connected: it may have become dearer; where nothing is charged for it, nothing.
    fn cost(&self, version: &Version) -> u128 {
        let scalars = self.chain.l1_scalars();
        let l1 = if scalars.assumed {
            0
        } else {
            scalars.estimate(&version.entry.raw).wei.saturating_mul(2)
        };
        version.max_cost().saturating_add(l1)
    }

    /// What was read before may be wrong from here on.
    fn resynchronise(&mut self) {
        self.epoch += 1;
    }
}

/// Answers everybody who waits for the same intent.
fn answer(replies: Vec<Reply>, result: Result<Sent, SendError>) {
    let mut replies = replies.into_iter();
    let Some(first) = replies.next() else { return };
    for reply in replies {
        let again = match &result {
            Ok(sent) => Ok(*sent),
            Err(error) => Err(SendError::FailedBesides {
                key: error.key().clone(),
            }),
        };
        let _ = reply.send(again);
    }
    let _ = first.send(result);
}

//! The sender's memory and all of its decisions, without waiting for anything: an event comes in, effects go out.
//!
//! Only `task` calls it. Time is an argument.

mod follow;
mod track;
mod version;

use super::{
    Command, SendError, SenderConfig, Sent,
    jobs::{Poll, PollJob, PublishError},
    prepare::{PrepareJob, Prepared},
};
use crate::{
    call::{Intent, IntentKey},
    client::Chain,
    confirm::Depth,
    journal::{EntryState, JournalEntry, PermitUse, Pull},
    keys::DigestSigner,
    mined::Mined,
    rpc::RpcError,
};
use alloy::primitives::Bytes;
use gpux_types::{Address, Amount, B256};
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
use version::{Fees, Version};

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
    /// Refused by the chain node; its nonce was given away.
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
    /// The nonce after the last one that was given; `None` when the chain must say.
    next_nonce: Option<u64>,
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
            next_nonce: None,
            epoch: 0,
            poll_at: None,
            polling: false,
        };
        let now = Instant::now();
        for entry in entries
            .into_iter()
            .filter(|entry| entry.chain_id == chain_id && entry.wallet == wallet)
        {
            book.load(entry, now)?;
        }
        Ok(book)
    }

    fn load(&mut self, entry: JournalEntry, now: Instant) -> io::Result<()> {
        let invalid = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
        if entry.version != JournalEntry::VERSION {
            return Err(invalid("a journal entry has another version"));
        }
        self.by_hash.insert(entry.hash, entry.key.clone());
        match entry.state {
            EntryState::Superseded => {}
            EntryState::Final { succeeded } => {
                self.tracks.remove(&entry.key);
                self.done.insert(entry.key.clone(), Done::of(&entry, succeeded));
            }
            EntryState::Signed | EntryState::Mined { .. } => {
                if let Some(done) = self.done.get(&entry.key).copied() {
                    if !done.is_followed_by(&entry) {
                        return Ok(());
                    }
                    self.done.remove(&entry.key);
                }
                self.track(entry, now)
                    .ok_or(invalid("a journal entry holds no transaction"))?;
            }
        }
        Ok(())
    }

    fn track(&mut self, entry: JournalEntry, now: Instant) -> Option<()> {
        let key = entry.key.clone();
        let version = Version::decode(entry)?;
        let track = self.tracks.entry(key).or_insert_with(|| Track::new(now));
        track.versions.push(version);
        Some(())
    }

    /// What to do first: hand over again what may not have arrived before the last end.
    pub(super) fn start(&mut self, now: Instant) -> Vec<Effect> {
        if !self.tracks.is_empty() {
            self.poll_soon(now);
        }
        self.tracks
            .iter_mut()
            .filter_map(|(key, track)| track.hand_over_again(key, now))
            .collect()
    }

    /// When the next poll is due.
    pub(super) fn poll_at(&self) -> Option<Instant> {
        self.poll_at.filter(|_| !self.polling)
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
            Event::Prepared { key, epoch, result } => self.on_prepared(now, &key, epoch, *result),
            Event::Published { key, hash, result } => self.on_published(now, &key, hash, result),
            Event::Polled(result) => self.on_polled(now, result),
            Event::PollDue => self.on_poll_due(),
        }
    }

    fn on_send(&mut self, now: Instant, intent: Intent, reply: Reply) -> Vec<Effect> {
        let key = intent.key.clone();
        match self.done.get(&key) {
            Some(done) if done.succeeded => {
                let _ = reply.send(Ok(Sent { hash: done.hash }));
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
        if self.tracks.get(&key).is_some_and(Track::is_over) {
            self.tracks.remove(&key);
        }
        if let Some(track) = self.tracks.get_mut(&key) {
            return track.answer_again(&key, now, reply);
        }
        let in_flight = self.preparing.len() + self.tracks.values().filter(|track| track.is_pending()).count();
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
        let pulls = self
            .tracks
            .values()
            .filter(|track| track.is_pending())
            .filter_map(|track| track.newest().entry.pull);
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
        let prepared = match result {
            Err(error) => {
                answer(waiting.replies, Err(error));
                return Vec::new();
            }
            // Something failed since these facts were read: the nonces among them may be wrong.
            Ok(_) if epoch != self.epoch => return self.prepare(waiting),
            Ok(prepared) => prepared,
        };
        match self.commit(&prepared) {
            Err(error) => {
                answer(waiting.replies, Err(error));
                Vec::new()
            }
            Ok(version) => {
                let mut track = Track::new(now);
                track.replies = waiting.replies;
                self.next_nonce = Some(version.entry.nonce.saturating_add(1));
                self.by_hash.insert(version.entry.hash, key.clone());
                let effect = version.publish(key, true);
                track.versions.push(version);
                self.tracks.insert(key.clone(), track);
                vec![effect]
            }
        }
    }

    /// Gives nonces and signs, if the wallet can pay for everything on its way and this as well.
    fn commit(&self, prepared: &Prepared) -> Result<Version, SendError> {
        let key = prepared.intent.key.clone();
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
        let fees = Fees::offer(prepared.head.base_fee, prepared.tip, self.config.max_fee_per_gas).map_err(|need| {
            SendError::FeeTooHigh {
                key: key.clone(),
                need,
                limit: self.config.max_fee_per_gas,
            }
        })?;
        let permit = prepared.permit_nonce.zip(pull).map(|(nonce, pull)| PermitUse {
            token: pull.token,
            nonce: self.permit_nonce(pull.token, nonce, prepared.head.number),
        });
        let version = Version::sign(
            &self.chain,
            &*self.signer,
            prepared,
            self.nonce(prepared.count),
            (fees, permit),
        );
        let pending = self
            .tracks
            .values()
            .filter(|track| track.is_pending())
            .map(|track| track.newest().max_cost());
        let need = pending.fold(version.max_cost(), u128::saturating_add);
        if prepared.native < need {
            return Err(SendError::InsufficientNative {
                key,
                have: prepared.native,
                need,
            });
        }
        Ok(version)
    }

    /// The next nonce: after what the chain counts, what was given last, and what is on its way.
    fn nonce(&self, counted: u64) -> u64 {
        let on_its_way = self.tracks.values().filter(|track| track.is_pending());
        let after = on_its_way
            .map(|track| track.newest().entry.nonce.saturating_add(1))
            .max();
        counted.max(self.next_nonce.unwrap_or(0)).max(after.unwrap_or(0))
    }

    /// The next permit nonce of a token: after what the chain counts and what transactions use that it has not seen.
    fn permit_nonce(&self, token: Address, counted: u64, seen_block: u64) -> u64 {
        let unseen = self.tracks.values().filter(|track| track.is_unseen(seen_block));
        let permits = unseen
            .filter_map(|track| track.newest().entry.permit)
            .filter(|permit| permit.token == token);
        permits
            .map(|permit| permit.nonce.saturating_add(1))
            .max()
            .map_or(counted, |next| next.max(counted))
    }

    /// What was read before may be wrong from here on.
    fn resynchronise(&mut self) {
        self.epoch += 1;
        self.next_nonce = None;
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

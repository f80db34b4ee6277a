//! One wallet's part of a chain, with chain nodes that lose, refuse, keep what they refused, and lag; a journal whose
//! disk fails; and a sender that is cut off at any step. It drives a real book by its effects.

use super::super::{Book, Effect, Event, Status};
use crate::{
    call::{Call, Intent, IntentKey},
    client::{Chain, ChainConfig, Head},
    fees::L1Scalars,
    journal::{EntryState, Journal, JournalEntry, MemoryJournal},
    keys::HotKey,
    mined::RawReceipt,
    rpc::{Refusal, Rpc, RpcError},
    sender::{
        Command, SendError, SenderConfig, Sent,
        jobs::{Poll, PollJob, PublishError},
        prepare::{Again, PrepareJob, Prepared},
    },
    token::TokenInfo,
};
use alloy::{
    consensus::{Signed, TxEip1559, transaction::RlpEcdsaDecodableTx},
    primitives::Bytes,
};
use gpux_types::{Address, Amount, B256, Token, UnixSeconds};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    io, mem,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::oneshot, time::Instant};

/// What the histories allow for gas at most, in wei.
const LIMIT: u128 = 2_000_000_000;
/// The base fee of the blocks with these numbers, over and over, in multiples of 0.001 gwei: up to above the limit.
const BASE_FEES: [u128; 7] = [1, 1, 2, 10, 300, 1_500, 2_100];

/// What happens to signed bytes on their way to the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publish {
    Accepted,
    NoAnswer { arrived: bool },
    Refused { kept: bool },
    NotJournaled { kept: bool },
}

/// What every answer of the chain node is from now on, whatever is behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// A call takes so much gas that no other node would take its bytes; this one takes all and drops them.
    Gas,
    /// Whatever was handed over is in a final block.
    Receipts,
    /// The wallet has so many transactions more.
    Counts(u64),
}

/// One step of a history. Numbers choose among what there is.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Send(u8),
    /// Does one of the things that the book asked for.
    Run {
        which: u8,
        publish: Publish,
        lag: u8,
    },
    Poll,
    Block {
        transactions: u8,
        choice: u8,
    },
    OutsideTransaction,
    Reorganisation,
    Finalize,
    Wait(u16),
    /// The chain node lies from here on, or no more.
    Lie(Option<Lie>),
    /// The program ends and starts from its journal.
    Restart,
}

/// A world that breaks what the book relies on, or a book that does less than it should: each makes one check fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// The journal says of refused bytes that they can never take effect.
    RefusalsAreForgotten,
    /// The journal does not say that bytes were refused.
    RefusalsAreSentAgain,
    /// Counts of final blocks are those of the newest.
    FirmCountIsTheNewest,
    /// Nothing is sent to use up a nonce.
    HolesAreLeft,
    /// The book is told of another limit.
    LimitIsUnknown,
    /// No call can be estimated a second time.
    NothingIsEstimatedAgain,
    /// The book never hears that the chain counts less than what it called final.
    FinalsAreNotDoubted,
    /// Withdrawals are sent as something that two transactions would do twice.
    NothingIsOnceByItself,
}

impl Bug {
    /// Whether it shows only after a chain node lied.
    pub(super) fn is_about_lies(self) -> bool {
        matches!(
            self,
            Self::NothingIsEstimatedAgain | Self::FinalsAreNotDoubted | Self::NothingIsOnceByItself
        )
    }
}

#[derive(Clone)]
struct Transaction {
    nonce: u64,
    /// `None`: another program's.
    hash: Option<B256>,
    succeeded: bool,
}

pub(super) struct World {
    chain: Chain,
    signer: Arc<HotKey>,
    config: SenderConfig,
    journal: MemoryJournal,
    pub(super) book: Book,
    pub(super) now: Instant,
    bug: Option<Bug>,
    pub(super) effects: Vec<Effect>,
    blocks: Vec<Vec<Transaction>>,
    finalized: usize,
    /// Bytes that some chain node has: it may put them into a block at any time.
    pool: BTreeMap<B256, u64>,
    keys: BTreeMap<B256, IntentKey>,
    fees: Vec<(u128, u128)>,
    answers: Vec<(IntentKey, oneshot::Receiver<Result<Sent, SendError>>)>,
    failed: BTreeSet<IntentKey>,
    lie: Option<Lie>,
    /// Refused and kept, not taken by a disk that kept it, or said to be final.
    lied_about: BTreeSet<IntentKey>,
}

pub(super) fn key(number: u8) -> IntentKey {
    IntentKey::new(format!("intent:{number}")).unwrap()
}

/// No honest chain node takes a transaction that may use more gas.
const BLOCK_GAS: u64 = 30_000_000;

pub(super) fn chain() -> Chain {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = ChainConfig {
        rpc_url: "http://127.0.0.1:1".into(),
        chain_id: 10,
        escrow: Address::repeat_byte(1),
        node_directory: Address::repeat_byte(2),
        token: Address::repeat_byte(3),
        poll_interval: Duration::from_secs(1),
        call_timeout: Duration::from_secs(1),
    };
    let token = TokenInfo {
        address: config.token,
        token: Token {
            symbol: "T".into(),
            decimals: 6,
        },
        permit: None,
    };
    let rpc = Rpc::new(&config.rpc_url, config.call_timeout).unwrap();
    Chain::checked(rpc, config, token, L1Scalars::ASSUMED)
}

fn outage() -> RpcError {
    RpcError::Timeout {
        method: "test",
        limit: Duration::from_secs(1),
    }
}

pub(super) fn refusal(message: &str) -> RpcError {
    RpcError::Refused {
        method: "eth_sendRawTransaction",
        refusal: Refusal {
            code: -32_000,
            message: message.into(),
            data: None,
        },
    }
}

impl World {
    pub(super) fn new(bug: Option<Bug>) -> Self {
        let (chain, signer) = (chain(), Arc::new(HotKey::generate()));
        let config = SenderConfig {
            max_fee_per_gas: if bug == Some(Bug::LimitIsUnknown) {
                50 * LIMIT
            } else {
                LIMIT
            },
            ..SenderConfig::default()
        };
        let book = Book::new(chain.clone(), signer.clone(), config.clone(), Vec::new()).unwrap();
        Self {
            chain,
            signer,
            config,
            journal: MemoryJournal::default(),
            book,
            now: Instant::now(),
            bug,
            effects: Vec::new(),
            blocks: vec![Vec::new()],
            finalized: 1,
            pool: BTreeMap::new(),
            keys: BTreeMap::new(),
            fees: Vec::new(),
            answers: Vec::new(),
            failed: BTreeSet::new(),
            lie: None,
            lied_about: BTreeSet::new(),
        }
    }

    pub(super) fn step(&mut self, step: &Step) {
        match *step {
            Step::Send(number) => self.send(number),
            Step::Run { which, publish, lag } => {
                if !self.effects.is_empty() {
                    let effect = self.effects.swap_remove(usize::from(which) % self.effects.len());
                    self.run(effect, publish, lag);
                }
            }
            Step::Poll => self.poll(),
            Step::Block { transactions, choice } => self.block(transactions, choice),
            Step::OutsideTransaction => {
                let outside = Transaction {
                    nonce: self.count(self.blocks.len()),
                    hash: None,
                    succeeded: true,
                };
                self.blocks.push(vec![outside]);
            }
            Step::Reorganisation => {
                if self.blocks.len() > self.finalized {
                    self.blocks.pop();
                }
            }
            Step::Finalize => self.finalized = self.blocks.len(),
            Step::Wait(secs) => self.now += Duration::from_secs(secs.into()),
            Step::Lie(lie) => self.lie = lie,
            Step::Restart => self.restart(),
        }
        self.hear_answers();
    }

    pub(super) fn handle(&mut self, event: Event) {
        let effects = self.book.handle(self.now, event);
        self.effects.extend(effects);
    }

    pub(super) fn send(&mut self, number: u8) {
        let (key, (reply, answer)) = (key(number), oneshot::channel());
        self.failed.remove(&key);
        self.answers.push((key.clone(), answer));
        let to = Address::repeat_byte(number);
        let call = if self.is_once(number) && self.bug != Some(Bug::NothingIsOnceByItself) {
            let token = self.chain.config().token;
            Call::Withdraw { token, payee: to }
        } else {
            let wei = number.into();
            Call::TransferNative { to, wei }
        };
        let intent = Box::new(Intent { key, call });
        self.handle(Event::Command(Command::Send { intent, reply }));
    }

    fn hear_answers(&mut self) {
        for (key, mut answer) in mem::take(&mut self.answers) {
            match answer.try_recv() {
                Ok(Ok(_) | Err(SendError::Undecided { .. })) | Err(oneshot::error::TryRecvError::Closed) => {}
                Ok(Err(_)) => {
                    self.failed.insert(key);
                }
                Err(oneshot::error::TryRecvError::Empty) => self.answers.push((key, answer)),
            }
        }
    }

    fn poll(&mut self) {
        if self.book.poll_at().is_some_and(|at| at <= self.now) {
            self.handle(Event::PollDue);
        }
    }

    fn restart(&mut self) {
        self.effects.clear();
        let entries = self.journal.load().unwrap();
        self.book = Book::new(self.chain.clone(), self.signer.clone(), self.config.clone(), entries).unwrap();
        self.effects = self.book.start(self.now);
    }

    pub(super) fn run(&mut self, effect: Effect, publish: Publish, lag: u8) {
        match effect {
            Effect::Prepare { key, epoch, job } => {
                let result = Box::new(self.prepare(job, publish, lag));
                self.handle(Event::Prepared { key, epoch, result });
            }
            Effect::Publish { key, hash, raw, entry } => {
                let result = self.publish(&key, raw, entry, publish);
                self.handle(Event::Published { key, hash, result });
            }
            Effect::Record(entry) => self.record(entry),
            Effect::Fail {
                key,
                entries,
                unsent,
                error,
            } => {
                for entry in entries {
                    self.record(entry);
                }
                self.handle(Event::Failed { key, unsent, error });
            }
            Effect::Simulate { key, .. } => {
                let silent = publish == (Publish::NoAnswer { arrived: false });
                let result = if silent || self.bug == Some(Bug::NothingIsEstimatedAgain) {
                    Err(SendError::Rpc {
                        key: key.clone(),
                        source: outage(),
                    })
                } else {
                    Ok(Again {
                        head: self.head(),
                        tip: 1,
                        count: self.told(self.pending_count(self.blocks.len())),
                        gas_limit: self.gas_limit(),
                    })
                };
                self.handle(Event::Simulated { key, result });
            }
            Effect::Poll(job) => {
                let result = if publish == (Publish::NoAnswer { arrived: false }) {
                    Err(outage())
                } else {
                    Ok(self.answer_poll(job, lag))
                };
                self.handle(Event::Polled(result));
            }
        }
    }

    fn record(&self, entry: JournalEntry) {
        let refused = entry.state == EntryState::Refused;
        let entry = match self.bug {
            Some(Bug::RefusalsAreForgotten) if refused => entry.with(EntryState::Superseded),
            Some(Bug::RefusalsAreSentAgain) if refused => entry.with(EntryState::Signed),
            _ => entry,
        };
        self.journal.record(&entry).unwrap();
    }

    fn prepare(&self, job: PrepareJob, publish: Publish, lag: u8) -> Result<Prepared, SendError> {
        if publish == (Publish::NoAnswer { arrived: false }) {
            return Err(SendError::Rpc {
                key: job.intent.key,
                source: outage(),
            });
        }
        let seen = self.seen(lag);
        Ok(Prepared {
            intent: job.intent,
            head: self.head(),
            // One of the chain nodes asks for far too much.
            tip: if lag > 200 { 99_000_000_000 } else { 1_000_000 },
            count: self.told(self.pending_count(seen)),
            mined: self.told(self.count(seen)),
            native: u128::MAX,
            token_balance: Amount::MAX,
            permit_nonce: None,
            permit_deadline: 0,
            gas_limit: self.gas_limit(),
        })
    }

    fn gas_limit(&self) -> u64 {
        if self.lie == Some(Lie::Gas) {
            200_000_000
        } else {
            100_000
        }
    }

    /// What is said to be the count when it is this.
    fn told(&self, count: u64) -> u64 {
        match self.lie {
            Some(Lie::Counts(more)) => count + more,
            Some(Lie::Gas | Lie::Receipts) | None => count,
        }
    }

    fn publish(
        &mut self,
        key: &IntentKey,
        raw: Bytes,
        entry: Option<Box<JournalEntry>>,
        how: Publish,
    ) -> Result<(), PublishError> {
        let not_journaled = matches!(how, Publish::NotJournaled { .. });
        if let Some(entry) = entry {
            if how != (Publish::NotJournaled { kept: false }) {
                self.journal.record(&entry).unwrap();
            }
            if not_journaled {
                self.lied_about.insert(key.clone());
                return Err(PublishError::Journal(io::ErrorKind::Other.into()));
            }
        }
        let signed: Signed<TxEip1559> = TxEip1559::eip2718_decode(&mut raw.as_ref()).unwrap();
        let (tx, _, hash) = signed.into_parts();
        self.fees.push((tx.max_fee_per_gas, tx.max_priority_fee_per_gas));
        self.keys.insert(hash, key.clone());
        if self.bug == Some(Bug::HolesAreLeft) && key.is_fill() {
            return Ok(());
        }
        if self.lie == Some(Lie::Gas) {
            return Ok(());
        }
        if tx.gas_limit > BLOCK_GAS {
            return Err(PublishError::Rpc(refusal("exceeds block gas limit")));
        }
        let arrives = matches!(
            how,
            Publish::Accepted
                | Publish::NotJournaled { .. }
                | Publish::NoAnswer { arrived: true }
                | Publish::Refused { kept: true }
        );
        if arrives {
            self.pool.insert(hash, tx.nonce);
        }
        match how {
            Publish::Refused { kept } => {
                if kept {
                    self.lied_about.insert(key.clone());
                }
                Err(PublishError::Rpc(refusal("insufficient funds for gas * price + value")))
            }
            Publish::NoAnswer { .. } => Err(PublishError::Rpc(outage())),
            _ if tx.nonce < self.count(self.blocks.len()) => Err(PublishError::Rpc(refusal("nonce too low"))),
            Publish::Accepted | Publish::NotJournaled { .. } => Ok(()),
        }
    }

    fn block(&mut self, transactions: u8, choice: u8) {
        let mut block = Vec::new();
        let first = self.count(self.blocks.len());
        for (nonce, number) in (first..).zip(0..transactions) {
            let candidates: Vec<B256> = self
                .pool
                .iter()
                .filter(|(_, held)| **held == nonce)
                .map(|(hash, _)| *hash)
                .collect();
            let Some(hash) = candidates.get(usize::from(choice) % candidates.len().max(1)) else {
                break;
            };
            let again = self.keys.get(hash).is_some_and(|key| self.is_done_once(key, &block));
            let succeeded = !again && !(choice.wrapping_add(number)).is_multiple_of(4);
            block.push(Transaction {
                nonce,
                hash: Some(*hash),
                succeeded,
            });
        }
        self.blocks.push(block);
    }

    /// The odd ones: two of their transactions do no more than one. Not where a bug is to do something twice.
    fn is_once(&self, number: u8) -> bool {
        number % 2 == 1 && self.bug.is_none_or(Bug::is_about_lies)
    }

    /// Whether it took effect, and is of those that do so once.
    fn is_done_once(&self, of: &IntentKey, block: &[Transaction]) -> bool {
        let mut blocks = self.blocks.iter().flatten().chain(block);
        let is_its = |transaction: &Transaction| transaction.hash.and_then(|hash| self.keys.get(&hash)) == Some(of);
        let number = (0..u8::MAX).find(|number| key(*number) == *of);
        number.is_some_and(|number| self.is_once(number))
            && blocks.any(|transaction| transaction.succeeded && is_its(transaction))
    }

    pub(super) fn empty_block(&mut self) {
        self.blocks.push(Vec::new());
    }

    /// The wallet's transactions in the first so many blocks.
    fn count(&self, blocks: usize) -> u64 {
        let nonces = self.blocks.iter().take(blocks).flatten();
        nonces.map(|transaction| transaction.nonce + 1).max().unwrap_or(0)
    }

    fn pending_count(&self, blocks: usize) -> u64 {
        let mut count = self.count(blocks);
        while self.pool.values().any(|nonce| *nonce == count) {
            count += 1;
        }
        count
    }

    /// How many blocks a chain node has that lags, but has what is final.
    fn seen(&self, lag: u8) -> usize {
        let newer = self.blocks.len() - self.finalized;
        self.blocks.len() - usize::from(lag) % (newer + 1)
    }

    fn head(&self) -> Head {
        Head {
            number: self.blocks.len() as u64 - 1,
            hash: B256::ZERO,
            parent: B256::ZERO,
            timestamp: UnixSeconds(1),
            base_fee: BASE_FEES[self.blocks.len() % BASE_FEES.len()] * 1_000_000,
        }
    }

    /// The count and the receipts are told by nodes that lag differently.
    fn answer_poll(&mut self, job: PollJob, lag: u8) -> Poll {
        let seen = self.seen(lag / 16);
        let mut receipts = Vec::new();
        for (key, hashes) in job.hashes {
            let mut found: Vec<_> = hashes.iter().filter_map(|hash| self.receipt(*hash, seen)).collect();
            if let (Some(Lie::Receipts), true, Some(hash)) = (self.lie, found.is_empty(), hashes.last()) {
                self.lied_about.insert(key.clone());
                found.push(receipt(*hash, 0, true));
            }
            receipts.push((key, found));
        }
        let finalized = Some(self.finalized as u64 - 1);
        let firm = if self.bug == Some(Bug::FirmCountIsTheNewest) {
            self.blocks.len()
        } else {
            self.finalized
        };
        Poll {
            head: self.head(),
            safe: finalized,
            finalized,
            count: match self.bug {
                Some(Bug::FinalsAreNotDoubted) => self.count(self.seen(lag)).max(self.book.finals.used_up()),
                _ => self.told(self.count(self.seen(lag))),
            },
            firm_count: job.firm_count.then(|| self.count(firm)),
            receipts,
        }
    }

    fn receipt(&self, hash: B256, blocks: usize) -> Option<RawReceipt> {
        for (number, block) in self.blocks.iter().take(blocks).enumerate() {
            let Some(found) = block.iter().find(|transaction| transaction.hash == Some(hash)) else {
                continue;
            };
            return Some(receipt(hash, number, found.succeeded));
        }
        None
    }

    /// From here on the chain node answers and lies no more, nobody sends, and blocks are made and final.
    pub(super) fn come_to_rest(&mut self) {
        self.lie = None;
        for _ in 0..60 {
            self.now += Duration::from_secs(40);
            for _ in 0..6 {
                for effect in mem::take(&mut self.effects) {
                    self.run(effect, Publish::Accepted, 0);
                }
                self.poll();
                self.block(20, 1);
            }
            self.finalized = self.blocks.len();
            self.hear_answers();
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let mut effects: BTreeMap<&IntentKey, u32> = BTreeMap::new();
        for transaction in self.blocks.iter().flatten().filter(|transaction| transaction.succeeded) {
            if let Some(key) = transaction.hash.and_then(|hash| self.keys.get(&hash)) {
                *effects.entry(key).or_default() += 1;
            }
        }
        if let Some((key, times)) = effects.iter().find(|(_, times)| **times > 1) {
            return Err(format!("OnceAtMost: {key} took effect {times} times"));
        }
        let undone = |key: &&&IntentKey| self.failed.contains(**key) && !self.lied_about.contains(**key);
        if let Some(key) = effects.keys().find(undone) {
            return Err(format!(
                "FailedStaysUndone: {key} was reported as failed and took effect"
            ));
        }
        let too_high = |(max, tip): &&(u128, u128)| *max > LIMIT || *tip > LIMIT / 10;
        if let Some((max, tip)) = self.fees.iter().find(too_high) {
            return Err(format!("FeesWithinLimit: {max} and {tip} were offered"));
        }
        Ok(())
    }

    /// After [`World::come_to_rest`].
    pub(super) fn check_rest(&self) -> Result<(), String> {
        for (key, track) in &self.book.tracks {
            if matches!(track.progress.borrow().status, Status::Pending) {
                let (nonce, count) = (track.nonce(), self.count(self.blocks.len()));
                return Err(format!(
                    "NoGapStays: {key} waits with nonce {nonce}, the chain counts {count}"
                ));
            }
        }
        Ok(())
    }

    /// After that: what is new gets into a block, and so does what takes effect once, if its caller asks again and again.
    pub(super) fn check_that_it_goes_on(&mut self) -> Result<(), String> {
        // The last is nothing that takes effect once, but new.
        let wanted = [1, 3, 6];
        let is_done = |book: &Book, number: u8| book.done.get(&key(number)).is_some_and(|done| done.succeeded);
        for _ in 0..6 {
            let mut missing = wanted.to_vec();
            missing.retain(|number| !is_done(&self.book, *number));
            for number in &missing {
                self.send(*number);
            }
            if !missing.is_empty() {
                self.come_to_rest();
            }
        }
        self.check_rest()?;
        match wanted.into_iter().find(|number| !is_done(&self.book, *number)) {
            Some(number) => Err(format!("NoGapStays: intent {number} does not get into a block")),
            None => Ok(()),
        }
    }

    /// Nonces of what was handed to the chain and kept by it.
    pub(super) fn pooled(&self) -> Vec<u64> {
        let mut nonces: Vec<_> = self.pool.values().copied().collect();
        nonces.sort_unstable();
        nonces
    }

    pub(super) fn journaled(&self) -> Vec<JournalEntry> {
        self.journal.load().unwrap()
    }

    pub(super) fn offered(&self) -> &[(u128, u128)] {
        &self.fees
    }
}

pub(super) fn receipt(hash: B256, number: usize, succeeded: bool) -> RawReceipt {
    let receipt = json!({
        "transactionHash": hash,
        "blockHash": B256::with_last_byte(u8::try_from(number % 250).unwrap()),
        "blockNumber": format!("{number:#x}"),
        "status": if succeeded { "0x1" } else { "0x0" },
        "from": Address::ZERO,
        "gasUsed": "0x1",
        "effectiveGasPrice": "0x1",
        "logs": [],
    });
    serde_json::from_value(receipt).unwrap()
}

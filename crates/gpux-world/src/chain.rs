//! The chain of a world: a block every two seconds of simulated time, a pool, reorganisations, delays and spikes of fees.
//!
//! It is never at fault: what each daemon hears of it, late, wrong or not at all, is `rpc.rs`. The judge reads it directly.

use crate::{
    bug::Bug,
    chance::Chance,
    coverage::Reached,
    evm::{At, Outcome, State, Transaction},
    trace::{Trace, trace},
};
use alloy::{
    consensus::{Transaction as _, TxEip1559, transaction::RlpEcdsaDecodableTx as _},
    primitives::{Address, B256, Bytes, TxKind, U256, keccak256},
};
use std::{collections::BTreeMap, time::Duration};

/// Seconds between two blocks.
pub(crate) const BLOCK_SECS: u64 = 2;
/// How many blocks lie upon a safe one, and upon a final one. On OP they are many more; what matters is that all three differ.
pub(crate) const SAFE: u64 = 6;
const FINAL: u64 = 12;
/// How many states are kept.
const KEPT: usize = 40;
/// Wei per gas of a quiet chain, and how much dearer a spike makes it.
const BASE_FEE: u64 = 1_000_000;
const SPIKE: u64 = 400;
/// The id of devnets, where a grace of seconds is allowed; depths are configured.
pub(crate) const CHAIN_ID: u64 = 901;
/// The date on which every world begins.
pub(crate) const BEGINNING: u64 = 1_800_000_000;

/// One block, with everything as it was after it.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) number: u64,
    pub(crate) hash: B256,
    pub(crate) parent: B256,
    pub(crate) timestamp: u64,
    pub(crate) base_fee: u64,
    pub(crate) transactions: Vec<(Transaction, Outcome)>,
    pub(crate) state: Option<State>,
}

impl Block {
    pub(crate) const fn at(&self) -> At {
        At {
            number: self.number,
            timestamp: self.timestamp,
            base_fee: self.base_fee,
        }
    }
}

/// A transaction that waits.
#[derive(Debug, Clone)]
struct Waiting {
    transaction: Transaction,
    not_before: Duration,
}

/// Why a transaction does not get into the pool, in the words that nodes use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    NotOne,
    NonceTooLow,
    Underpriced,
    Known,
    NoFunds,
}

impl Refused {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::NotOne => "rlp: invalid transaction",
            Self::NonceTooLow => "nonce too low",
            Self::Underpriced => "replacement transaction underpriced",
            Self::Known => "already known",
            Self::NoFunds => "insufficient funds for gas * price + value",
        }
    }
}

/// What may go wrong with the chain itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ChainTroubles {
    /// In a thousand blocks, so many are the end of a fork that is thrown away.
    pub(crate) reorganisations: u64,
    /// In a thousand transactions, so many wait for up to half a minute.
    pub(crate) delays: u64,
    /// In a thousand blocks, so many begin half a minute of high fees.
    pub(crate) spikes: u64,
    /// In a thousand transactions of a fork that is thrown away, so many are forgotten by every pool.
    pub(crate) forgotten: u64,
}

/// The contracts of a world.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contracts {
    pub(crate) escrow: Address,
    pub(crate) directory: Address,
    pub(crate) token: Address,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct SimChain {
    pub(crate) contracts: Contracts,
    pub(crate) troubles: ChainTroubles,
    pub(crate) bug: Option<Bug>,
    blocks: Vec<Block>,
    pool: BTreeMap<(Address, u64), Waiting>,
    chance: Chance,
    trace: Trace,
    spike_until: u64,
    events: BTreeMap<B256, Reached>,
    /// What the escrow told of each lease, as it came, in blocks that were thrown away too.
    pub(crate) told: BTreeMap<B256, Vec<Reached>>,
    /// How many different transactions of each account came.
    sent: BTreeMap<Address, usize>,
}

impl SimChain {
    /// A chain with the contracts on it, and money for some: coins and tokens.
    pub(crate) fn new(chance: Chance, trace: Trace, rich: &[(Address, u64)]) -> Self {
        let deployer = Address::repeat_byte(0xd0);
        let mut state = State::new(CHAIN_ID);
        state.give(deployer, U256::from(10u64).pow(U256::from(20)));
        let at = At {
            number: 1,
            timestamp: BEGINNING,
            base_fee: BASE_FEE,
        };
        let all = [
            include_str!("../../../contracts/abi/Escrow.json"),
            include_str!("../../../contracts/abi/NodeDirectory.json"),
            include_str!("../../../contracts/abi/TestUsdc.json"),
        ];
        let [escrow, directory, token] = all.map(|built| deploy(&mut state, at, deployer, built));
        for (who, units) in rich {
            state.give(*who, U256::from(10u64).pow(U256::from(19)));
            let mint = call_data(
                "mint(address,uint256)",
                &[B256::left_padding_from(who.as_slice()), word(*units)],
            );
            let nonce = state.nonce(deployer);
            let done = state.run(at, &plain(deployer, TxKind::Call(token), nonce, mint));
            debug_assert!(
                done.is_some_and(|done| done.succeeded),
                "the test token mints for anybody"
            );
        }
        let genesis = Block {
            number: 1,
            hash: keccak256(b"the first block"),
            parent: B256::ZERO,
            timestamp: BEGINNING,
            base_fee: BASE_FEE,
            transactions: Vec::new(),
            state: Some(state),
        };
        Self {
            contracts: Contracts {
                escrow,
                directory,
                token,
            },
            troubles: ChainTroubles::default(),
            bug: None,
            blocks: vec![genesis],
            pool: BTreeMap::new(),
            chance,
            trace,
            spike_until: 0,
            events: events(),
            told: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }

    /// The newest block, or the one so many before it.
    pub(crate) fn back(&self, blocks: u64) -> &Block {
        let last = self.blocks.len().saturating_sub(1);
        let at = last.saturating_sub(usize::try_from(blocks).unwrap_or(usize::MAX));
        // A pruned state is asked for by nobody honest; the oldest kept one answers.
        let kept = self
            .blocks
            .get(at..)
            .and_then(|rest| rest.iter().find(|block| block.state.is_some()));
        kept.or_else(|| self.blocks.last())
            .unwrap_or_else(|| unreachable!("there is a first block"))
    }

    pub(crate) fn head(&self) -> &Block {
        self.back(0)
    }

    /// The block of a tag, as seen by a node that lags so many blocks.
    pub(crate) fn tagged(&self, tag: &str, lag: u64) -> &Block {
        match tag {
            "safe" => self.back(lag.saturating_add(SAFE)),
            "finalized" => self.back(lag.saturating_add(FINAL)),
            _ => self.back(lag),
        }
    }

    pub(crate) fn numbered(&self, number: u64) -> Option<&Block> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        self.blocks.get(index)
    }

    /// The block of a transaction that a node sees which lags so many blocks.
    pub(crate) fn mined(&self, hash: B256, lag: u64) -> Option<(&Block, usize)> {
        let newest = self.head().number.saturating_sub(lag);
        self.blocks
            .iter()
            .rev()
            .filter(|block| block.number <= newest)
            .find_map(|block| {
                let index = block
                    .transactions
                    .iter()
                    .position(|(transaction, _)| transaction.hash == hash)?;
                Some((block, index))
            })
    }

    pub(crate) fn raw(&self, hash: B256) -> Option<Bytes> {
        let waiting = self.pool.values().map(|waiting| &waiting.transaction);
        let mined = self
            .blocks
            .iter()
            .flat_map(|block| block.transactions.iter().map(|(transaction, _)| transaction));
        waiting
            .chain(mined)
            .find(|transaction| transaction.hash == hash)
            .map(|transaction| transaction.raw.clone())
    }

    /// How many transactions an account has, those that wait in a row included.
    pub(crate) fn pending_count(&self, account: Address) -> u64 {
        let mut nonce = self.head().state.as_ref().map_or(0, |state| state.nonce(account));
        while self.pool.contains_key(&(account, nonce)) {
            nonce += 1;
        }
        nonce
    }

    /// Takes signed bytes into the pool.
    pub(crate) fn submit(&mut self, raw: &Bytes, now: Duration) -> Result<B256, Refused> {
        let transaction = read(raw).ok_or(Refused::NotOne)?;
        let hash = transaction.hash;
        let state = self.head().state.as_ref();
        if transaction.nonce < state.map_or(0, |state| state.nonce(transaction.from)) {
            return Err(Refused::NonceTooLow);
        }
        let most = U256::from(transaction.max_fee).saturating_mul(U256::from(transaction.gas_limit));
        if state.is_none_or(|state| state.balance(transaction.from) < most) {
            return Err(Refused::NoFunds);
        }
        let place = (transaction.from, transaction.nonce);
        if let Some(known) = self.pool.get(&place) {
            let known = &known.transaction;
            if known.hash == hash {
                return Err(Refused::Known);
            }
            let tenth_more = |old: u128, new: u128| new >= old.saturating_add(old / 10);
            if !tenth_more(known.max_fee, transaction.max_fee) || !tenth_more(known.tip, transaction.tip) {
                return Err(Refused::Underpriced);
            }
        }
        let delay = if self.bug == Some(Bug::HastyNode) {
            // Longer than a watcher takes to read every slot again.
            Duration::from_secs(200)
        } else if self.chance.in_thousand(self.troubles.delays) {
            self.trace.reach(Reached::Delayed);
            self.chance.millis(4_000, 30_000)
        } else {
            Duration::ZERO
        };
        trace!(
            self.trace,
            "chain: {} waits, from {} nonce {}",
            short(hash),
            short_address(place.0),
            place.1
        );
        let not_before = now.saturating_add(delay);
        *self.sent.entry(place.0).or_default() += 1;
        self.pool.insert(
            place,
            Waiting {
                transaction,
                not_before,
            },
        );
        Ok(hash)
    }

    /// How many different transactions came of an account.
    pub(crate) fn count_sent(&self, from: Address) -> usize {
        self.sent.get(&from).copied().unwrap_or(0)
    }

    /// Makes the next block, after a reorganisation where chance wants one.
    pub(crate) fn tick(&mut self, now: Duration) {
        let due = BEGINNING.saturating_add(now.as_secs());
        if self.chance.in_thousand(self.troubles.reorganisations) && self.blocks.len() > 8 {
            let depth = self.chance.between(1, SAFE);
            self.reorganise(depth, now);
        }
        if self.chance.in_thousand(self.troubles.spikes) {
            self.spike_until = due.saturating_add(30);
            self.trace.reach(Reached::FeesRose);
            trace!(self.trace, "chain: fees rise");
        }
        self.make(due, now, 0);
    }

    fn make(&mut self, timestamp: u64, now: Duration, fork: u64) {
        let head = self.head();
        let base_fee = if timestamp < self.spike_until {
            BASE_FEE.saturating_mul(SPIKE)
        } else {
            BASE_FEE
        };
        let (number, parent, timestamp) = (head.number + 1, head.hash, timestamp.max(head.timestamp + 1));
        let at = At {
            number,
            timestamp,
            base_fee,
        };
        let mut state = head.state.clone().unwrap_or_else(|| State::new(CHAIN_ID));
        let transactions = self.include(at, &mut state, now);
        self.plant(at, &mut state);
        let hash = keccak256([parent.as_slice(), &timestamp.to_be_bytes(), &fork.to_be_bytes()].concat());
        self.blocks.push(Block {
            number,
            hash,
            parent,
            timestamp,
            base_fee,
            transactions,
            state: Some(state),
        });
        if let Some(old) = self
            .blocks
            .len()
            .checked_sub(KEPT)
            .and_then(|old| self.blocks.get_mut(old))
        {
            old.state = None;
        }
    }

    /// Runs what waits and may be in a block now, in order of account and nonce.
    fn include(&mut self, at: At, state: &mut State, now: Duration) -> Vec<(Transaction, Outcome)> {
        let mut transactions = Vec::new();
        let due = self.pool.iter().filter(|(_, waiting)| waiting.not_before <= now);
        let places: Vec<(Address, u64)> = due.map(|(place, _)| *place).collect();
        for place in places {
            let Some(waiting) = self.pool.get(&place) else { continue };
            let transaction = waiting.transaction.clone();
            if transaction.nonce < state.nonce(place.0) {
                self.pool.remove(&place);
                continue;
            }
            if transaction.nonce > state.nonce(place.0) || transaction.max_fee < u128::from(at.base_fee) {
                continue;
            }
            if self.bug == Some(Bug::NoSettlement)
                && state
                    .clone()
                    .run(at, &transaction)
                    .is_some_and(|outcome| pays_out(&outcome, self.contracts))
            {
                continue;
            }
            let Some(outcome) = state.run(at, &transaction) else {
                continue;
            };
            self.pool.remove(&place);
            trace!(
                self.trace,
                "chain: block {} has {} ok={} gas={}",
                at.number,
                short(transaction.hash),
                outcome.succeeded,
                outcome.gas_used
            );
            self.count(&outcome);
            transactions.push((transaction, outcome));
        }
        transactions
    }

    /// Counts what the escrow told.
    fn count(&mut self, outcome: &Outcome) {
        for log in outcome.logs.iter().filter(|log| log.address == self.contracts.escrow) {
            let reached = log.topics().first().and_then(|topic| self.events.get(topic).copied());
            if let (Some(what), Some(lease)) = (reached, log.topics().get(1)) {
                self.trace.reach(what);
                self.told.entry(*lease).or_default().push(what);
            }
        }
    }

    /// Does what a planted bug does to the state.
    fn plant(&self, at: At, state: &mut State) {
        let (claimed, status) = (U256::from(1) << 96, U256::from(1) << 232);
        let is = |value: U256, wanted: u8| (value >> 232) & U256::from(0xff) == U256::from(wanted);
        match self.bug {
            Some(Bug::Minting) if at.number == 20 => {
                let to = B256::left_padding_from(self.contracts.escrow.as_slice());
                let mint = call_data("mint(address,uint256)", &[to, word(1)]);
                let deployer = Address::repeat_byte(0xd1);
                state.give(deployer, U256::from(10u64).pow(U256::from(20)));
                state.run(at, &plain(deployer, TxKind::Call(self.contracts.token), 0, mint));
            }
            Some(Bug::TamperedSlots) => state.tamper(self.contracts.escrow, |value| {
                let low = (U256::from(1) << 96) - U256::from(1);
                let deposit = value & low;
                let more = (deposit + U256::from(1)) * claimed;
                let other: U256 = low << 96;
                is(value, 1).then(|| (value & !other) | more)
            }),
            Some(Bug::Reopening) if at.number.is_multiple_of(30) => {
                state.tamper(self.contracts.escrow, |value| is(value, 2).then(|| value - status))
            }
            Some(_) | None => {}
        }
    }

    /// The newest state as if all that waits had been made.
    pub(crate) fn hasty(&self) -> Option<State> {
        let mut state = self.head().state.clone()?;
        for waiting in self.pool.values() {
            state.run(self.head().at(), &waiting.transaction);
        }
        Some(state)
    }

    /// Throws the newest blocks away and makes others in their place; what was in them waits again, or is forgotten.
    fn reorganise(&mut self, depth: u64, now: Duration) {
        self.trace.reach(Reached::Reorganised);
        trace!(self.trace, "chain: the newest {depth} blocks are thrown away");
        let mut timestamps = Vec::new();
        for _ in 0..depth {
            let Some(block) = self.blocks.pop() else { break };
            timestamps.push(block.timestamp);
            for (transaction, _) in block.transactions {
                if self.chance.in_thousand(self.troubles.forgotten) {
                    self.trace.reach(Reached::Forgotten);
                    trace!(self.trace, "chain: {} is forgotten", short(transaction.hash));
                    continue;
                }
                let not_before = now.saturating_add(self.chance.millis(0, 6_000));
                let place = (transaction.from, transaction.nonce);
                self.pool.insert(
                    place,
                    Waiting {
                        transaction,
                        not_before,
                    },
                );
            }
        }
        for timestamp in timestamps.into_iter().rev() {
            let fork = self.chance.next();
            self.make(timestamp, now, fork);
        }
    }

    /// A view of the newest block: what the judge reads.
    pub(crate) fn view(&self, to: Address, signature: &str, words: &[B256]) -> Vec<U256> {
        let head = self.head();
        let Some(state) = &head.state else { return Vec::new() };
        let output = state.view(head.at(), to, call_data(signature, words)).output;
        output.chunks(32).map(U256::from_be_slice).collect()
    }

    /// How much of the token an account has.
    pub(crate) fn tokens(&self, account: Address) -> u128 {
        let words = [B256::left_padding_from(account.as_slice())];
        let answer = self.view(self.contracts.token, "balanceOf(address)", &words);
        answer.first().map_or(0, |units| units.saturating_to())
    }
}

/// The escrow's events, by their topics.
fn events() -> BTreeMap<B256, Reached> {
    let named = [
        (
            "LeaseOpened(bytes32,address,address,address,uint96,uint40)",
            Reached::Opened,
        ),
        ("LeaseToppedUp(bytes32,address,uint96,uint96,uint40)", Reached::ToppedUp),
        ("LeaseDrawn(bytes32,uint96,uint96,uint96)", Reached::Drawn),
        ("LeaseSettled(bytes32,uint96,uint96,uint96)", Reached::Settled),
        ("LeaseClosed(bytes32,uint96,uint96,uint96)", Reached::Closed),
        ("LeaseReclaimed(bytes32,uint96)", Reached::Reclaimed),
    ];
    named.into_iter().map(|(text, what)| (keccak256(text), what)).collect()
}

pub(crate) fn short(hash: B256) -> String {
    hash.to_string().chars().take(10).collect()
}

fn short_address(address: Address) -> String {
    address.to_string().chars().take(8).collect()
}

/// Whether the escrow paid tokens out.
fn pays_out(outcome: &Outcome, contracts: Contracts) -> bool {
    let escrow = B256::left_padding_from(contracts.escrow.as_slice());
    let paid = |log: &alloy::primitives::Log| log.address == contracts.token && log.topics().get(1) == Some(&escrow);
    outcome.logs.iter().any(paid)
}

pub(crate) fn word(number: u64) -> B256 {
    B256::from(U256::from(number))
}

/// A call by the text of its function; every argument is one word.
pub(crate) fn call_data(signature: &str, words: &[B256]) -> Bytes {
    let selector = keccak256(signature.as_bytes());
    let mut data: Vec<u8> = selector.iter().take(4).copied().collect();
    for word in words {
        data.extend_from_slice(word.as_slice());
    }
    data.into()
}

fn plain(from: Address, to: TxKind, nonce: u64, input: Bytes) -> Transaction {
    Transaction {
        hash: B256::ZERO,
        raw: Bytes::new(),
        from,
        to,
        nonce,
        gas_limit: 10_000_000,
        max_fee: u128::from(BASE_FEE),
        tip: 0,
        value: U256::ZERO,
        input,
    }
}

fn deploy(state: &mut State, at: At, deployer: Address, built: &str) -> Address {
    let built: serde_json::Value = serde_json::from_str(built).unwrap_or_default();
    let code = built
        .get("bytecode")
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default();
    let nonce = state.nonce(deployer);
    let input = code.parse().unwrap_or_default();
    let done = state.run(at, &plain(deployer, TxKind::Create, nonce, input));
    debug_assert!(
        done.is_some_and(|done| done.succeeded),
        "the committed bytecode deploys"
    );
    deployer.create(nonce)
}

/// The signed transaction in these bytes.
fn read(raw: &Bytes) -> Option<Transaction> {
    let mut rest: &[u8] = raw;
    let signed = TxEip1559::eip2718_decode(&mut rest).ok().filter(|_| rest.is_empty())?;
    Some(Transaction {
        hash: *signed.hash(),
        raw: raw.clone(),
        from: signed.recover_signer().ok()?,
        to: signed.tx().kind(),
        nonce: signed.tx().nonce(),
        gas_limit: signed.tx().gas_limit(),
        max_fee: signed.tx().max_fee_per_gas(),
        tip: signed.tx().max_priority_fee_per_gas().unwrap_or_default(),
        value: signed.tx().value(),
        input: signed.tx().input().clone(),
    })
}

//! Sending transactions from one wallet: one task owns the nonce, journals before it sends, and follows what it sent.
//!
//! ```text
//! SenderHandle --commands--> SenderTask (owns Book) --jobs--> prepare: read balances, simulate     (concurrent)
//!      ^                          |    ^                      publish: journal, then broadcast      (concurrent)
//!      '---- watch: progress -----'    '------- events ------ poll:    heads and receipts           (one at a time)
//! ```
//!
//! The task's `select!` only names events; [`book::Book`] decides without waiting for anything; the jobs do the I/O and
//! answer with another event. So three sends prepare and travel at the same time, and their nonces still follow each
//! other.
//!
//! Invariants: signed bytes are in the journal before they are on the wire. One intent key never has two signed
//! transactions that could both take effect: another version either has the same nonce, or is made only after a final
//! block has used up the first one's nonce without effect for the intent (`book/nonces.rs`, docs/decisions/0010). No
//! nonce stays free below one that is in use. What is offered for gas never passes the configured limit.

mod book;
mod estimate;
mod jobs;
mod prepare;
mod task;

use crate::{
    call::{EncodeCallError, Intent, IntentKey},
    client::Chain,
    confirm::Depth,
    journal::Journal,
    keys::DigestSigner,
    mined::Mined,
    revert::RevertReason,
    rpc::{Retry, RpcError},
};
use book::{Book, Followed, Progress, Status};
use gpux_types::{Address, Amount, B256};
use std::{io, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

pub use estimate::Estimate;
pub use task::SenderTask;

/// Commands that wait for the task. When it is full, senders wait: the task is busy for microseconds at a time.
const COMMAND_QUEUE: usize = 64;

/// How one wallet sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderConfig {
    /// How long a transaction waits before something is done about it: it is handed over again, and where blocks went by
    /// without it, offered with higher fees. Default: 30 s.
    pub bump_after: Duration,
    /// The most wei per gas that is ever offered, a tenth of it as the sequencer's tip. Default: 2 gwei.
    pub max_fee_per_gas: u128,
    /// How long a signed permit is valid, in block time. Default: one day.
    pub permit_lifetime: Duration,
    /// How many transactions may be on their way at once. Default: 64.
    pub max_in_flight: usize,
}

impl SenderConfig {
    /// 2 gwei. What a call takes at most is its gas limit times this, and L1 data: the deposit of one lease, of 165,000 gas,
    /// 0.00033 of the chain's coin, which is 1.3 tokens where the coin is worth 4,000. On OP chains gas usually costs a
    /// hundredth to a thousandth of it.
    pub const MAX_FEE_PER_GAS: u64 = 2_000_000_000;
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self {
            bump_after: Duration::from_secs(30),
            max_fee_per_gas: Self::MAX_FEE_PER_GAS.into(),
            permit_lifetime: Duration::from_secs(86_400),
            max_in_flight: 64,
        }
    }
}

/// A transaction that was signed, journaled and handed to the chain node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its hash, or that of its newest version.
    pub hash: B256,
}

/// A transaction that was not sent: nothing was spent, unless a chain node puts into a block what it refused. Such a
/// transaction is followed all the same, and sending the intent again answers with it.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The contract refuses it. It was only simulated.
    #[error("simulating {key}: {reason}")]
    Reverted {
        /// What was to be done.
        key: IntentKey,
        /// Why it cannot be.
        reason: RevertReason,
    },
    /// It has no form that the contract takes.
    #[error("encoding {key}")]
    Encode {
        /// What was to be done.
        key: IntentKey,
        /// Why it has none.
        source: EncodeCallError,
    },
    /// The wallet has too little of the token.
    #[error("sending {key}: the wallet has {have} units of the token, {need} are needed")]
    InsufficientBalance {
        /// What was to be done.
        key: IntentKey,
        /// What the wallet has.
        have: Amount,
        /// What this and the transactions on their way need together.
        need: Amount,
    },
    /// The wallet has too little of the chain's own coin for the fee.
    #[error("sending {key}: the wallet has {have} wei, the fee needs up to {need}")]
    InsufficientNative {
        /// What was to be done.
        key: IntentKey,
        /// What the wallet has.
        have: u128,
        /// What this and the transactions on their way may need together: it rests on what a chain node estimated, and
        /// becomes less when they are done.
        need: u128,
        /// What any transaction needs. With less the wallet is as good as empty.
        least: u128,
    },
    /// The escrow may pull too little and the token has no permits: approve first.
    #[error("sending {key}: the escrow may pull {have} units of the token, {need} are needed, and it takes no permit")]
    NeedsAllowance {
        /// What was to be done.
        key: IntentKey,
        /// The standing allowance.
        have: Amount,
        /// What is needed.
        need: Amount,
    },
    /// Gas costs more than the configuration allows.
    #[error("sending {key}: gas costs {need} wei, the configured limit is {limit}")]
    FeeTooHigh {
        /// What was to be done.
        key: IntentKey,
        /// The price of gas now.
        need: u128,
        /// [`SenderConfig::max_fee_per_gas`].
        limit: u128,
    },
    /// An earlier transaction for the same intent was refused or reverted and could still take effect.
    #[error("sending {key}: an earlier transaction for it could still take effect, until nonce {nonce} is final")]
    Undecided {
        /// What was to be done.
        key: IntentKey,
        /// The earlier transaction's nonce.
        nonce: u64,
    },
    /// Too many transactions are on their way.
    #[error("sending {key}: {limit} transactions are on their way already")]
    Busy {
        /// What was to be done.
        key: IntentKey,
        /// [`SenderConfig::max_in_flight`].
        limit: usize,
    },
    /// The chain node gave no good answer while the transaction was prepared, or refused it.
    #[error("sending {key}")]
    Rpc {
        /// What was to be done.
        key: IntentKey,
        /// Why.
        source: RpcError,
    },
    /// The journal could not be written, so nothing was sent.
    #[error("journaling {key}")]
    Journal {
        /// What was to be done.
        key: IntentKey,
        /// Why.
        source: io::Error,
    },
    /// The same intent was being sent for somebody else, who was told why it failed.
    #[error("sending {key}: the same intent was being sent and failed")]
    FailedBesides {
        /// What was to be done.
        key: IntentKey,
    },
    /// The sender's task has ended. What was journaled goes on after the next start.
    #[error("sending {key}: the sender has stopped")]
    Stopped {
        /// What was to be done.
        key: IntentKey,
    },
}

impl SendError {
    /// What was to be done.
    #[must_use]
    pub fn key(&self) -> &IntentKey {
        match self {
            Self::Reverted { key, .. }
            | Self::Encode { key, .. }
            | Self::InsufficientBalance { key, .. }
            | Self::InsufficientNative { key, .. }
            | Self::NeedsAllowance { key, .. }
            | Self::FeeTooHigh { key, .. }
            | Self::Undecided { key, .. }
            | Self::Busy { key, .. }
            | Self::Rpc { key, .. }
            | Self::Journal { key, .. }
            | Self::FailedBesides { key }
            | Self::Stopped { key } => key,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Rpc { source, .. } => source.retry(),
            Self::Busy { .. } => Retry::After(Duration::from_secs(1)),
            Self::FailedBesides { .. } => Retry::Now,
            Self::FeeTooHigh { .. } | Self::Undecided { .. } => Retry::After(Duration::from_secs(30)),
            Self::InsufficientNative { have, least, .. } if have >= least => Retry::After(Duration::from_secs(30)),
            Self::Reverted { .. }
            | Self::Encode { .. }
            | Self::InsufficientBalance { .. }
            | Self::InsufficientNative { .. }
            | Self::NeedsAllowance { .. }
            | Self::Journal { .. }
            | Self::Stopped { .. } => Retry::Never,
        }
    }
}

/// A transaction that will not be confirmed, or not by this sender.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// It is in a block and did nothing but cost its fee. Until that block is final it may be taken back, or have been a
    /// lie, and the transaction take effect after all; then the same intent may be sent again.
    #[error("confirming the transaction {}: it was reverted in block {}", mined.hash, mined.block)]
    Reverted {
        /// What it cost.
        mined: Box<Mined>,
        /// How firmly that block stands.
        depth: Depth,
    },
    /// The chain node refused it, or the call no longer works. The same intent may be sent again. Whether the transaction
    /// could take effect all the same, [`SenderHandle::could_take_effect`] tells.
    #[error("confirming the transaction {hash}: the chain node refused it")]
    Refused {
        /// Its hash.
        hash: B256,
    },
    /// This wallet never sent it, and it is in no block.
    #[error("confirming the transaction {hash}: this wallet did not send it")]
    Unknown {
        /// The hash asked for.
        hash: B256,
    },
    /// The chain node gave no good answer about an old transaction.
    #[error("confirming the transaction {hash}")]
    Rpc {
        /// The hash asked for.
        hash: B256,
        /// Why.
        source: RpcError,
    },
    /// The sender's task has ended.
    #[error("confirming the transaction {hash}: the sender has stopped")]
    Stopped {
        /// The hash asked for.
        hash: B256,
    },
}

impl ConfirmError {
    /// True when a final block says that the transaction did nothing and never will. All else may still turn out well,
    /// and its money is not free: [`SenderHandle::could_take_effect`] tells when it is.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Reverted {
                depth: Depth::Finalized,
                ..
            }
        )
    }
}

enum Command {
    Send {
        intent: Box<Intent>,
        reply: oneshot::Sender<Result<Sent, SendError>>,
    },
    Follow {
        hash: B256,
        reply: oneshot::Sender<Followed>,
    },
    HasSigned {
        key: IntentKey,
        reply: oneshot::Sender<bool>,
    },
    CouldTakeEffect {
        key: IntentKey,
        reply: oneshot::Sender<bool>,
    },
}

/// Sends and follows transactions of one wallet. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SenderHandle {
    commands: mpsc::Sender<Command>,
    chain: Chain,
    address: Address,
}

/// A sender for `signer`, and the task that the caller must run for it. What the journal holds is sent again.
///
/// # Errors
/// When the journal cannot be read, or holds entries of another version, chain or wallet.
pub fn sender(
    chain: Chain,
    signer: Arc<dyn DigestSigner>,
    journal: Arc<dyn Journal>,
    config: SenderConfig,
) -> io::Result<(SenderHandle, SenderTask)> {
    let (commands, inbox) = mpsc::channel(COMMAND_QUEUE);
    let handle = SenderHandle {
        commands,
        chain: chain.clone(),
        address: signer.address(),
    };
    let book = Book::new(chain.clone(), signer, config, journal.load()?)?;
    Ok((handle, SenderTask::new(book, chain, journal, inbox)))
}

impl SenderHandle {
    /// The wallet's address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// Simulates the intent's call, signs it, journals it and hands it to the chain node. An intent that was sent
    /// before, also before a restart, is not signed again: its bytes are handed over again if they are in no block.
    ///
    /// # Errors
    /// When it was not sent; then nothing was spent.
    pub async fn send(&self, intent: Intent) -> Result<Sent, SendError> {
        let key = intent.key.clone();
        let (reply, answer) = oneshot::channel();
        let stopped = || SendError::Stopped { key: key.clone() };
        self.commands
            .send(Command::Send {
                intent: Box::new(intent),
                reply,
            })
            .await
            .map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Whether the intent has a transaction that is on its way, or is done; `None` when the task has ended.
    pub async fn has_signed(&self, key: &IntentKey) -> Option<bool> {
        let (reply, answer) = oneshot::channel();
        let key = key.clone();
        self.commands.send(Command::HasSigned { key, reply }).await.ok()?;
        answer.await.ok()
    }

    /// Whether the intent has taken effect or still could: false when nothing was ever signed for it, and once a final
    /// block says that nothing which was can do anything any more. Unlike [`Self::has_signed`], what was refused, or
    /// reverted in a block that is not final, counts: its money is not free. `None` when the task has ended.
    pub async fn could_take_effect(&self, key: &IntentKey) -> Option<bool> {
        let (reply, answer) = oneshot::channel();
        let key = key.clone();
        self.commands.send(Command::CouldTakeEffect { key, reply }).await.ok()?;
        answer.await.ok()
    }

    /// Waits until the transaction, or another version of it, is in a block of this depth. That it was reverted in such a
    /// block may be undone unless the depth is [`Depth::Finalized`]: see [`ConfirmError::is_final`].
    ///
    /// # Errors
    /// When it was reverted or refused, or the task has ended.
    pub async fn confirmed(&self, hash: B256, depth: Depth) -> Result<Mined, ConfirmError> {
        let (reply, answer) = oneshot::channel();
        let stopped = |_| ConfirmError::Stopped { hash };
        self.commands
            .send(Command::Follow { hash, reply })
            .await
            .map_err(|_| ConfirmError::Stopped { hash })?;
        let mut progress = match answer.await.map_err(stopped)? {
            Followed::OnItsWay(progress) => progress,
            Followed::Elsewhere(hash) => return self.confirmed_elsewhere(hash).await,
        };
        let deep_enough = |progress: &Progress| match &progress.status {
            Status::Pending => false,
            Status::Mined { depth: reached, .. } => *reached >= depth,
            Status::Refused => true,
        };
        let progress = progress
            .wait_for(deep_enough)
            .await
            .map_err(|_| ConfirmError::Stopped { hash })?
            .status
            .clone();
        match progress {
            Status::Mined { mined, .. } if mined.succeeded => Ok(*mined),
            Status::Mined { mined, depth } => Err(ConfirmError::Reverted { mined, depth }),
            Status::Pending | Status::Refused => Err(ConfirmError::Refused { hash }),
        }
    }

    /// A transaction that is final, or was never this wallet's: the chain alone knows.
    async fn confirmed_elsewhere(&self, hash: B256) -> Result<Mined, ConfirmError> {
        match self.chain.mined(hash).await {
            Ok(Some(mined)) if mined.succeeded => Ok(mined),
            Ok(Some(mined)) => {
                let depth = self.chain.depth_of(&mined).await;
                let depth = depth.map_err(|source| ConfirmError::Rpc { hash, source })?;
                let mined = Box::new(mined);
                Err(ConfirmError::Reverted { mined, depth })
            }
            Ok(None) => Err(ConfirmError::Unknown { hash }),
            Err(source) => Err(ConfirmError::Rpc { hash, source }),
        }
    }
}

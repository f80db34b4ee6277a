//! Ethereum and Optimism for GPUX: the escrow's bindings, reading the chain, sending transactions, watching leases,
//! fees, keys, the contracts of this build, and the devnet.
//!
//! This crate alone knows Ethereum's JSON-RPC. It holds no rule about leases: those are `gpux-lease`'s.

mod abi;
mod built;
mod call;
mod chains;
mod client;
mod collector;
mod confirm;
mod connect;
mod deploy;
mod devnet;
mod directory;
mod events;
mod fees;
mod import;
mod journal;
mod keys;
mod keystore;
mod mined;
mod revert;
mod rpc;
mod sender;
mod token;
mod watcher;

pub use built::{CodeMismatch, Contract};
pub use call::{
    Call, CloseLeg, EncodeCallError, Intent, IntentKey, InvalidIntentKey, JobTerms, NodeTerms, OpenLeg, TopUpLeg,
};
pub use chains::{CHAINS, Deployment, KnownChain};
pub use client::{Chain, ChainConfig, Head, Slot, SlotStatus};
pub use collector::Collector;
pub use confirm::{ConfirmPolicy, Depth};
pub use connect::ConnectError;
pub use deploy::{DeployError, DeployStep, DeployTarget, Deployer};
pub use devnet::{Devnet, DevnetConfig, DevnetError, DevnetInfo, DevnetToken, Funding, ProcessRef, find_anvil};
pub use directory::{Announcement, Announcements};
pub use events::{EscrowEvent, LeaseLog};
pub use fees::{L1FeeEstimate, L1Scalars, fastlz_len};
pub use import::KeyFileKind;
pub use journal::{EntryState, FileJournal, Journal, JournalEntry, MemoryJournal, PermitUse, Pull};
pub use keys::{
    DigestSigner, HotKey, InvalidKey, KeyContentError, KeyFileError, Signature, WalletKey, keystore_address,
};
pub use keystore::KdfCost;
pub use mined::Mined;
pub use revert::{CollectorRevert, DirectoryRevert, EscrowRevert, RevertReason, TokenRevert};
pub use rpc::{ChainNode, NodeAnswer, Refusal, Retry, RpcClientError, RpcError};
pub use sender::{ConfirmError, Estimate, SendError, SenderConfig, SenderHandle, SenderTask, Sent, sender};
pub use token::{PermitDomain, TokenError, TokenInfo};
pub use watcher::{LeaseSeen, WatchCursor, WatcherConfig, WatcherHandle, WatcherTask, watcher};

//! The daemon: renter, provider and local API in one process.
//!
//! Rules about money, time and the order of events live in the pure crates; this crate joins them to the chain, the network,
//! the containers and the disk. Start at [`run_daemon`], then `node.rs` for what the parts share.
#![forbid(unsafe_code)]

mod adapters;
mod clock;
mod config;
pub mod contracts;
mod daemon;
pub mod devnet;
mod dir;
mod directory;
mod doctor;
mod embed;
mod entropy;
mod fault;
mod fees;
mod http;
mod market;
mod node;
mod page;
mod peer;
mod provider;
mod receive;
mod records;
pub mod relay;
mod renter;
mod send;
mod store;
mod wallet;
mod watch;

pub use adapters::Adapters;
pub use clock::Clock;
pub use config::{
    ApiSection, ChainChoice, ChainSection, ChooseChainError, DaemonConfig, GpuSection, LoadConfigError, NetworkSection,
    ProvideSection, WalletSection, WatchSection,
};
pub use daemon::{DaemonError, install_tls, run_daemon, run_daemon_on};
pub use dir::{ApiAddress, DaemonDir, spawn_daemon, tail_of_file};
pub use embed::Daemon;
pub use entropy::Entropy;
pub use fault::error_chain;
pub use gpux_chain::KeyFileKind;
pub use gpux_runtime::run_if_hidden;
pub use node::LocalRuntime;
pub use peer::Peers;
pub use provider::TakeOverError;
pub use receive::receive;
pub use store::{Store, StoreError, WriteFault, WriteTap};
pub use wallet::{KeySource, WalletError, import_wallet, key_file_kind, new_wallet, wallet_address};

use gpux_chain::{ConfirmPolicy, LeaseSeen, SlotStatus};
use gpux_lease::EscrowView;
use gpux_types::Amount;
use std::io;
use tokio::runtime::{Handle, RuntimeFlavor};

/// Does on a thread that may wait for the disk what would hold up others. On a runtime of one thread there is none to spare,
/// and what runs there runs the same way each time.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return work();
    }
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// How often each lease's task compares what it wants with what its slot shows. The watcher reads every slot as often.
const RECONCILE_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

/// What the chain says of a lease, as the machines take it: the newest deposit, and how much of it is as deep as it must be.
fn escrow_view(seen: &LeaseSeen, confirm: &ConfirmPolicy) -> EscrowView {
    let latest = &seen.latest;
    match latest.status {
        SlotStatus::None => EscrowView::Absent,
        SlotStatus::Open => {
            let open_at = |depth| {
                let slot = seen.at(depth);
                if slot.status == SlotStatus::Open {
                    slot.deposit
                } else {
                    Amount::ZERO
                }
            };
            EscrowView::Open {
                deposit: latest.deposit,
                assured: confirm.assured(open_at),
                drawn: latest.claimed,
                expiry: latest.expiry,
            }
        }
        SlotStatus::Closed => {
            let deep = seen.at(confirm.depth_for(latest.deposit));
            if deep.status == SlotStatus::Closed {
                EscrowView::Closed { paid: deep.claimed }
            } else {
                // Closed in the newest block only: still open as far as it can be relied on, by what was paid in at that depth.
                EscrowView::Open {
                    deposit: latest.deposit,
                    assured: deep.deposit,
                    drawn: if deep.status == SlotStatus::Open {
                        deep.claimed
                    } else {
                        Amount::ZERO
                    },
                    expiry: latest.expiry,
                }
            }
        }
    }
}

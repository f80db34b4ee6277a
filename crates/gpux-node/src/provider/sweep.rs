//! Deploys the collector that this provider's leases are paid to, and sends on what lies at its collectors, to their payout
//! addresses, when that is worth a transaction. One task, from the provider's signer.
//!
//! A tower takes nothing for a collector that is not there, and deploys none. The escrow pays a collector when its provider draws
//! or settles, or a renter closes. Anybody may send the money on; while the provider lives it does so itself. What was
//! configured earlier is swept as well: collectors are remembered.

use super::{Provider, Towers, chain};
use crate::{
    fees::{self, Burden},
    node::Node,
    store::StoreError,
};
use gpux_chain::{Call, Collector, ConfirmError, Depth, Intent, IntentKey, RpcError, SendError, SenderHandle};
use gpux_types::{Address, Amount};
use std::{sync::Arc, time::Duration};

/// The name under which every collector that was ever configured is kept.
const COLLECTORS: &str = "collectors";
/// How often it is looked. Nothing waits for it.
const EVERY: Duration = Duration::from_secs(60);
/// A sweep, and the deployment of a collector.
const SWEEP: Burden = Burden {
    gas: 45_000,
    bytes: 180,
};
const DEPLOY: Burden = Burden {
    gas: 1_000_000,
    bytes: 4_000,
};

/// A transaction of a collector that was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectorError {
    /// The chain could not be asked.
    #[error("reading what is at the collector {collector}")]
    Read {
        /// Which.
        collector: Address,
        /// Why.
        source: RpcError,
    },
    /// It was not sent.
    #[error("sending to the collector {collector}")]
    Send {
        /// Which.
        collector: Address,
        /// Why.
        source: SendError,
    },
    /// It did nothing.
    #[error("following a transaction of the collector {collector}")]
    Confirm {
        /// Which.
        collector: Address,
        /// Why.
        source: ConfirmError,
    },
}

/// Every collector that was ever configured, the one that is now among them.
pub(super) fn collectors(node: &Node, provider: &Provider) -> Result<Vec<Collector>, StoreError> {
    let mut known: Vec<Collector> = node.store.fact(COLLECTORS)?.unwrap_or_default();
    let now = provider.towers.as_ref().map(Towers::collector);
    if let Some(now) = now.filter(|now| !known.contains(now)) {
        known.push(now);
        node.store.put_fact(COLLECTORS, &known)?;
    }
    Ok(known)
}

/// Looks after the collectors until the node stops.
pub(super) async fn keep(node: Arc<Node>, towers: Option<Towers>, collectors: Vec<Collector>) {
    let wanted = async || match &towers {
        Some(towers) => towers.collector_is_missed().await,
        None => std::future::pending().await,
    };
    loop {
        // Cancel-safe: a transaction that was sent goes on after the next start.
        tokio::select! {
            biased;
            () = node.cancel.cancelled() => return,
            () = look(&node, towers.as_ref(), &collectors) => {}
        }
        // Cancel-safe: a token stays cancelled, a notification that is not taken stays, the pause is computed anew.
        tokio::select! {
            biased;
            () = node.cancel.cancelled() => return,
            () = wanted() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn look(node: &Node, towers: Option<&Towers>, collectors: &[Collector]) {
    if let Some(towers) = towers {
        // Each time: a reorganisation may take it away.
        let missing = |why| towers.note_collector(Err(why));
        match deploy(node, towers.collector(), missing).await {
            Ok(()) => towers.note_collector(Ok(())),
            Err(error) => {
                let why = crate::error_chain(&error);
                tracing::warn!(error = %why, "deploying the collector that leases are paid to");
                // A chain node that does not answer says nothing of what was there before.
                if towers.collector_is_there().is_err() {
                    missing(why);
                }
            }
        }
    }
    for collector in collectors {
        if let Err(error) = sweep(node, *collector).await {
            tracing::warn!(error = %crate::error_chain(&error), "sending on what lies at a collector");
        }
    }
}

async fn sweep(node: &Node, made: Collector) -> Result<(), CollectorError> {
    let collector = made.address();
    let read = |source| CollectorError::Read { collector, source };
    let balance = node.chain.token_balance(collector).await.map_err(read)?;
    if balance == Amount::ZERO {
        return Ok(());
    }
    let deployed = node.chain.has_code(collector).await.map_err(read)?;
    let burden = if deployed { SWEEP } else { SWEEP.and(DEPLOY) };
    let least = node
        .chain
        .token()
        .token
        .parse(chain::LEAST_DRAW)
        .unwrap_or(Amount::ZERO);
    let worth = fees::fee_of(node, burden).map(|fee| gpux_lease::draw_from(fee, least));
    if worth.is_none_or(|worth| balance < worth) {
        return Ok(());
    }
    // One that was configured earlier may never have come to be.
    deploy(node, made, drop).await?;
    let seen = node.chain.head().await.map_err(read)?.timestamp;
    let intent = Intent {
        key: IntentKey::sweep(collector, seen),
        call: Call::Sweep {
            collector,
            token: node.chain.token().address,
        },
    };
    make(&node.provider_sender, collector, intent).await?;
    tracing::info!(%collector, %balance, payout = %made.payout, "swept");
    Ok(())
}

/// Deploys a collector unless it is there, and waits until it is; says so while it waits.
async fn deploy(node: &Node, made: Collector, missing: impl FnOnce(String)) -> Result<(), CollectorError> {
    let collector = made.address();
    let read = |source| CollectorError::Read { collector, source };
    if node.chain.has_code(collector).await.map_err(read)? {
        return Ok(());
    }
    missing("its deployment is on its way".to_owned());
    let intent = Intent {
        key: IntentKey::deploy(collector),
        call: Call::DeployCollector(made),
    };
    match make(&node.provider_sender, collector, intent).await {
        // Somebody else was first.
        Err(_) if node.chain.has_code(collector).await.map_err(read)? => Ok(()),
        done => done.inspect(|()| tracing::info!(%collector, "deployed")),
    }
}

/// Sends, and waits for the newest block.
pub(crate) async fn make(sender: &SenderHandle, collector: Address, intent: Intent) -> Result<(), CollectorError> {
    let sent = sender.send(intent).await;
    let sent = sent.map_err(|source| CollectorError::Send { collector, source })?;
    let done = sender.confirmed(sent.hash, Depth::Latest).await;
    done.map(drop)
        .map_err(|source| CollectorError::Confirm { collector, source })
}

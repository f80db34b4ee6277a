//! Everything that the daemon's parts share: handles and nothing else. Each handle's state has one owner elsewhere.

use crate::{
    clock::Clock,
    config::{Assurance, DaemonConfig},
    dir::DaemonDir,
    entropy::Entropy,
    fault::{fault, internal},
    market::Market,
    provider::Provider,
    records::Records,
    renter::{Experience, Renter},
    store::Store,
    watch::Watch,
};
use gpux_api::{DaemonView, ErrorBody, ErrorCode, WalletView};
use gpux_chain::{Chain, SenderHandle, WalletKey, WatcherHandle};
use gpux_net::PeerNet;
use gpux_runtime::{ImageStore, LayerStore, Runtime};
use gpux_types::Amount;
use std::sync::Arc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Containers on this machine, where it can run them.
#[derive(Clone)]
pub struct LocalRuntime {
    /// Runs them.
    pub runtime: Arc<dyn Runtime>,
    /// Their images' unpacked layers.
    pub layers: LayerStore,
}

impl std::fmt::Debug for LocalRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalRuntime")
            .field("layers", &self.layers)
            .finish_non_exhaustive()
    }
}

/// The running daemon.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: DaemonConfig,
    pub(crate) dir: DaemonDir,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    /// Tells every task to end.
    pub(crate) cancel: CancellationToken,
    /// Every task; the daemon waits for all of them.
    pub(crate) tasks: TaskTracker,
    pub(crate) store: Store,
    pub(crate) wallet: Arc<WalletKey>,
    pub(crate) chain: Chain,
    /// How deep deposits must lie to count.
    pub(crate) assurance: Assurance,
    /// What one whole coin of the chain is worth in the token: how fees are weighed.
    pub(crate) coin_price: Amount,
    /// The most wei that is ever offered for a unit of gas.
    pub(crate) max_fee_per_gas: u128,
    /// Sends the wallet's transactions.
    pub(crate) sender: SenderHandle,
    /// Sends the provider signer's transactions; the wallet's own when the node does not provide.
    pub(crate) provider_sender: SenderHandle,
    pub(crate) watcher: WatcherHandle,
    pub(crate) net: Arc<dyn PeerNet>,
    pub(crate) market: Market,
    pub(crate) images: ImageStore,
    /// `None` where this machine cannot run containers; `why_no_runtime` says why.
    pub(crate) local: Option<LocalRuntime>,
    pub(crate) why_no_runtime: Option<String>,
    pub(crate) provider: Option<Provider>,
    pub(crate) renter: Renter,
    /// How nodes kept their word to this renter.
    pub(crate) experience: Experience,
    pub(crate) records: Records,
    pub(crate) watch: Watch,
}

impl Node {
    /// The daemon for people.
    pub(crate) fn daemon_view(&self) -> DaemonView {
        let provided = self.provider.as_ref().map_or(0, |provider| provider.load().2);
        let leases = self.renter.open_leases() + provided;
        DaemonView {
            schema: "gpux.daemon/v1".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            node: self.net.node_id(),
            ticket: self.net.ticket().to_string(),
            wallet: self.wallet.address().to_string(),
            chain_id: self.config.chain.chain_id,
            escrow: self.config.chain.escrow.to_string(),
            provides: self.provider.is_some(),
            offers: u32::try_from(self.market.count(self.clock.now())).unwrap_or(u32::MAX),
            leases: u32::try_from(leases).unwrap_or(u32::MAX),
        }
    }

    /// Does `work`, which reads or parses much, on a thread that may take its time: neither gossip nor calls wait for it.
    pub(crate) async fn apart<T: Send + 'static>(
        self: &Arc<Self>,
        attempted: &str,
        work: impl FnOnce(&Self) -> Result<T, ErrorBody> + Send + 'static,
    ) -> Result<T, ErrorBody> {
        let node = self.clone();
        let done = crate::blocking(move || Ok(work(&node))).await;
        done.map_err(|error| internal(attempted, &error))?
    }

    /// The wallet with what it has now.
    pub(crate) async fn wallet_view(&self) -> Result<WalletView, ErrorBody> {
        let unreachable = |error| {
            fault(
                ErrorCode::Unreachable,
                "asking the chain for the wallet's balance",
                &error,
            )
            .retryable()
        };
        let address = self.wallet.address();
        let balance = self.chain.token_balance(address).await.map_err(unreachable)?;
        let native = self.chain.native_balance(address).await.map_err(unreachable)?;
        let token = self.chain.token();
        Ok(WalletView {
            schema: "gpux.wallet/v1".into(),
            address: address.to_string(),
            chain_id: self.config.chain.chain_id,
            token: token.token.clone(),
            token_address: token.address.to_string(),
            balance,
            native_wei: native.to_string(),
        })
    }
}

//! A devnet with funded wallets, which ends with the test.

use gpux_chain::{
    Call, Chain, ChainConfig, Depth, Devnet, DevnetConfig, DigestSigner, Funding, HotKey, Intent, IntentKey, Journal,
    MemoryJournal, Mined, SendError, SenderConfig, SenderHandle, find_anvil, sender,
};
use gpux_lease::{Terms, receipt_digest};
use gpux_types::{Address, Amount, B256, BasisPoints, LeaseId, UnixSeconds};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// One DAI in its smallest units.
const DAI: u128 = 1_000_000_000_000_000_000;
/// Ten of the chain's coin in wei.
const TEN_COINS: u128 = 10_000_000_000_000_000_000;

pub(crate) fn dai(whole: u128) -> Amount {
    Amount::new(whole * DAI).unwrap()
}

pub(crate) fn anvil() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = std::env::var_os("PATH");
    find_anvil(&[root], path.as_deref()).expect("anvil is installed: run `npm ci` in contracts/")
}

pub(crate) fn install_tls() {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

pub(crate) struct World {
    pub(crate) devnet: Devnet,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) chain: Chain,
    pub(crate) renter: Arc<HotKey>,
    pub(crate) provider: Arc<HotKey>,
    pub(crate) receipts: HotKey,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.devnet.info().anvil.kill();
    }
}

impl World {
    /// A block for every transaction.
    pub(crate) async fn instant() -> Self {
        Self::start(None, DevnetConfig::CHAIN_ID).await
    }

    /// No block until the test makes one.
    pub(crate) async fn manual() -> Self {
        Self::start(Some(86_400), DevnetConfig::CHAIN_ID).await
    }

    /// The contracts on a chain of this id, and a block for every transaction.
    pub(crate) async fn of_chain(chain_id: u64) -> Self {
        Self::start(None, chain_id).await
    }

    async fn start(block_secs: Option<u64>, chain_id: u64) -> Self {
        install_tls();
        let dir = tempfile::tempdir().unwrap();
        let (renter, provider) = (Arc::new(HotKey::generate()), Arc::new(HotKey::generate()));
        let funding = [(&renter, dai(100)), (&provider, Amount::ZERO)].map(|(key, dai)| Funding {
            address: key.address(),
            wei: TEN_COINS,
            dai,
            usdc: Amount::ZERO,
        });
        let config = DevnetConfig {
            anvil: anvil(),
            dir: dir.path().into(),
            chain_id,
            block_secs,
            funding: funding.to_vec(),
        };
        let devnet = Devnet::start(config).await.unwrap();
        let chain = Chain::connect(config_of(&devnet)).await.unwrap();
        Self {
            devnet,
            dir,
            chain,
            renter,
            provider,
            receipts: HotKey::generate(),
            cancel: CancellationToken::new(),
            tasks: JoinSet::new(),
        }
    }

    pub(crate) fn sender(&mut self, signer: Arc<dyn DigestSigner>) -> SenderHandle {
        let journal = Arc::new(MemoryJournal::default());
        self.sender_with(signer, journal, SenderConfig::default()).0
    }

    /// A sender and what ends it.
    pub(crate) fn sender_with(
        &mut self,
        signer: Arc<dyn DigestSigner>,
        journal: Arc<dyn Journal>,
        config: SenderConfig,
    ) -> (SenderHandle, CancellationToken) {
        let (handle, task) = sender(self.chain.clone(), signer, journal, config).unwrap();
        let cancel = self.cancel.child_token();
        self.tasks.spawn(task.run(cancel.clone()));
        (handle, cancel)
    }

    pub(crate) fn renter_sender(&mut self) -> SenderHandle {
        self.sender(self.renter.clone())
    }

    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    pub(crate) fn cancelled(&self) -> CancellationToken {
        self.cancel.clone()
    }

    pub(crate) fn terms(&self, salt: u8) -> Terms {
        Terms {
            renter: self.renter.address(),
            receipt_key: self.receipts.address(),
            provider: Address::repeat_byte(0x77),
            provider_signer: self.provider.address(),
            token: self.chain.token().address,
            builder: Address::repeat_byte(0x88),
            builder_share: BasisPoints::new(500).unwrap(),
            grace_secs: 30,
            salt: B256::repeat_byte(salt),
        }
    }

    pub(crate) fn lease(&self, salt: u8) -> LeaseId {
        self.terms(salt).lease_id(&self.chain.escrow())
    }

    pub(crate) async fn in_an_hour(&self) -> UnixSeconds {
        self.chain.head().await.unwrap().timestamp.plus_secs(3_600)
    }

    pub(crate) async fn open(&self, salt: u8, deposit: Amount) -> Intent {
        let expiry = self.in_an_hour().await;
        let call = Call::Open {
            terms: self.terms(salt),
            deposit,
            expiry,
            permit: true,
        };
        Intent {
            key: IntentKey::open(self.lease(salt)),
            call,
        }
    }

    pub(crate) fn top_up(&self, salt: u8, amount: Amount, new_expiry: Option<UnixSeconds>) -> Intent {
        let call = Call::TopUp {
            terms: self.terms(salt),
            amount,
            new_expiry,
            permit: true,
        };
        Intent {
            key: IntentKey::top_up(self.lease(salt), 1),
            call,
        }
    }

    pub(crate) fn settle(&self, salt: u8, cumulative: Amount) -> Intent {
        let lease = self.lease(salt);
        let signature = self
            .receipts
            .sign_digest(receipt_digest(&self.chain.escrow(), lease, cumulative));
        let call = Call::Settle {
            terms: self.terms(salt),
            amount: cumulative,
            cumulative,
            signature: Some(signature),
        };
        Intent {
            key: IntentKey::settle(lease),
            call,
        }
    }

    /// All DAI of everybody who can have some after one lease.
    pub(crate) async fn all_dai(&self) -> Amount {
        let terms = self.terms(0);
        let mut total = Amount::ZERO;
        for owner in [terms.renter, terms.provider, terms.builder, self.chain.escrow().address] {
            total = total.saturating_add(self.chain.token_balance(owner).await.unwrap());
        }
        total
    }

    /// How many transactions an account has in blocks.
    pub(crate) async fn transactions_of(&self, account: Address) -> u64 {
        let mut total = 0;
        let newest = self.chain.head().await.unwrap().number;
        for number in 0..=newest {
            total += self
                .block_senders(number)
                .await
                .iter()
                .filter(|sender| **sender == account)
                .count() as u64;
        }
        total
    }

    /// Makes the chain's time `to`, in a block of its own.
    pub(crate) async fn jump(&self, to: UnixSeconds) {
        let now = self.chain.head().await.unwrap().timestamp;
        let by = to.0.saturating_sub(now.0);
        self.ask("evm_increaseTime", serde_json::json!([by])).await;
        self.ask("evm_mine", serde_json::json!([])).await;
    }

    /// Gives an account what fees need.
    pub(crate) async fn give_coins(&self, account: Address) {
        let coins = format!("{TEN_COINS:#x}");
        self.ask("anvil_setBalance", serde_json::json!([account, coins])).await;
    }

    pub(crate) async fn ask(&self, method: &str, params: serde_json::Value) -> serde_json::Value {
        let question = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = reqwest::Client::new()
            .post(&self.devnet.info().rpc_url)
            .json(&question)
            .send()
            .await
            .unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    async fn block_senders(&self, number: u64) -> Vec<Address> {
        let params = serde_json::json!([format!("{number:#x}"), true]);
        let block = self.ask("eth_getBlockByNumber", params).await;
        let transactions = block["transactions"].as_array().unwrap();
        transactions
            .iter()
            .map(|transaction| transaction["from"].as_str().unwrap().parse().unwrap())
            .collect()
    }
}

pub(crate) fn config_of(devnet: &Devnet) -> ChainConfig {
    let config = ChainConfig::devnet(devnet.info(), devnet.info().token("DAI").unwrap().address);
    ChainConfig {
        poll_interval: Duration::from_millis(20),
        ..config
    }
}

/// What has not happened after 20 s does not happen.
pub(crate) async fn within<T>(happening: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, happening)
        .await
        .expect("it happens within 20 s")
}

/// Looks again and again until it is so.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    let looking = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(looking).await;
}

/// Sends and waits for the newest block.
pub(crate) async fn done(sender: &SenderHandle, intent: Intent) -> Result<Mined, SendError> {
    let sent = within(sender.send(intent)).await?;
    let confirmed = within(sender.confirmed(sent.hash, Depth::Latest));
    Ok(confirmed.await.expect("what was simulated works in the next block"))
}

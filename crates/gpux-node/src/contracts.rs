//! Putting the contracts of this build on a chain, and looking whether they are there: `gpux contracts`. It works where no daemon
//! can, on a chain that has no contracts yet, with the wallet and the journal of the daemon's folder.
//!
//! Invariant: while it sends, no daemon of the folder does: it holds the folder's lock, and so the wallet's nonces have one owner.

use crate::{
    config::{ChainChoice, DaemonConfig, LoadConfigError, Target, WalletSection, target},
    daemon::{DaemonError, lock},
    dir::DaemonDir,
    fault::{error_chain, fault},
    store::Store,
    wallet,
};
use gpux_api::{ContractState, ContractView, ContractsView, ErrorBody, ErrorCode, FeeEstimateView, FeeView};
use gpux_chain::{
    CodeMismatch, ConnectError, Contract, DeployError, DeployStep, DeployTarget, Deployer, Estimate, Mined, SendError,
    SenderConfig,
};
use gpux_types::Address;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// The longest that one call to the chain node may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether the contracts of this build are on the chosen chain, to the last byte. Needs no wallet.
///
/// # Errors
/// When no chain is chosen, or it cannot be reached, or is another one.
pub async fn verify(dir: &DaemonDir, choice: ChainChoice) -> Result<ContractsView, ErrorBody> {
    let (target, deployer) = reach(dir, choice).await?;
    let mut view = empty(&target);
    for contract in Contract::OF_A_MARKET {
        let at = place(&target, contract);
        let found = deployer.look(contract, at).await.map_err(|error| refused(&error))?;
        view.contracts.push(looked_at(contract, at, found));
    }
    Ok(view)
}

/// A deployment that was planned: nothing is signed yet.
#[derive(Debug)]
pub struct Deployment {
    dir: DaemonDir,
    target: Target,
    deployer: Deployer,
    steps: Vec<DeployStep>,
    view: ContractsView,
}

/// What would be deployed on the chosen chain by the wallet of `dir`, and what it would cost.
///
/// # Errors
/// When no chain is chosen, it cannot be reached or is another one, there is no wallet, or it has too little for the fees.
pub async fn plan(dir: &DaemonDir, choice: ChainChoice) -> Result<Deployment, ErrorBody> {
    let (target, deployer) = reach(dir, choice).await?;
    let wallet = gpux_chain::keystore_address(&dir.wallet()).map_err(|error| {
        fault(ErrorCode::NotFound, "looking for a wallet to deploy with", &error)
            .with_hint("make one with `gpux wallet new`")
    })?;
    let wallet = wallet.ok_or_else(|| {
        let message = format!(
            "reading the wallet {}: the keystore does not name its address",
            dir.wallet().display()
        );
        ErrorBody::new(ErrorCode::InvalidInput, message).with_hint("make it again with `gpux wallet import`")
    })?;
    let limit = target.max_fee_per_gas.get().into();
    let steps = deployer.plan(wallet, limit).await.map_err(|error| refused(&error))?;
    let has = deployer.native_balance(wallet).await;
    let has =
        has.map_err(|error| fault(ErrorCode::Unreachable, "asking for the wallet's balance", &error).retryable())?;
    let most = steps
        .iter()
        .filter_map(|step| step.estimate)
        .fold(0_u128, |sum, estimate| sum.saturating_add(estimate.most));
    if has < most {
        let message = format!(
            "deploying the contracts: the wallet {wallet} has {has} wei, and the fees take up to {most}; nothing was sent"
        );
        return Err(ErrorBody::new(ErrorCode::InsufficientFunds, message)
            .with_hint("send a little of the chain's own coin to the wallet (`gpux wallet address`)"));
    }
    let mut view = empty(&target);
    view.contracts = steps.iter().map(planned).collect();
    view.wallet = Some(wallet.to_string());
    view.native_wei = Some(has.to_string());
    view.most_wei = Some(most.to_string());
    Ok(Deployment {
        dir: dir.clone(),
        target,
        deployer,
        steps,
        view,
    })
}

impl Deployment {
    /// What it will do, for people.
    #[must_use]
    pub const fn view(&self) -> &ContractsView {
        &self.view
    }

    /// Deploys what is missing, one contract after the other, and checks each. Cut off, it goes on when it is called again.
    ///
    /// # Errors
    /// When a daemon runs in the folder, the wallet cannot be opened, or a contract was not deployed.
    pub async fn run(self, say: &dyn Fn(&str)) -> Result<ContractsView, ErrorBody> {
        let _lock = lock(&self.dir).map_err(|error| locked(&error))?;
        let section = wallet_section(&self.dir)?;
        let key = wallet::open(&self.dir, &section);
        let key = key.map_err(|error| fault(ErrorCode::NotAuthorised, "deploying the contracts", &error))?;
        let store = Store::open(&self.dir.database());
        let store = store.map_err(|error| fault(ErrorCode::Internal, "opening the journal of transactions", &error))?;
        let config = SenderConfig {
            max_fee_per_gas: self.target.max_fee_per_gas.get().into(),
            ..SenderConfig::default()
        };
        let sender = self.deployer.sender(Arc::new(key), Arc::new(store), config);
        let (sender, task) =
            sender.map_err(|error| fault(ErrorCode::Internal, "reading the journal of transactions", &error))?;
        let cancel = CancellationToken::new();
        let _stop = cancel.clone().drop_guard();
        let task = tokio::spawn(task.run(cancel.clone()));
        let mut view = self.view;
        let mut fees = 0_u128;
        for (step, shown) in self.steps.iter().zip(&mut view.contracts) {
            if step.estimate.is_some() {
                say(&format!("deploying the {} at {}", step.contract.name(), step.address));
            }
            let done = self.deployer.deploy(&sender, step.contract).await;
            let mined = done.map_err(|error| refused(&error))?;
            shown.state = ContractState::Verified;
            if let Some(mined) = mined {
                fees = fees
                    .saturating_add(mined.l2_fee)
                    .saturating_add(mined.l1_fee.unwrap_or(0));
                shown.transaction = Some(fee_view(&mined));
            }
        }
        cancel.cancel();
        // It has nothing left to do; a panic of it was told where it happened.
        let _ = task.await;
        view.fees_wei = Some(fees.to_string());
        Ok(view)
    }
}

async fn reach(dir: &DaemonDir, choice: ChainChoice) -> Result<(Target, Deployer), ErrorBody> {
    let target = target(&dir.config(), choice).map_err(|error| unclear(&error))?;
    let deployer = Deployer::connect(DeployTarget {
        rpc_url: target.rpc_url.clone(),
        chain_id: target.chain_id,
        poll_interval: target.poll.into(),
        call_timeout: CALL_TIMEOUT,
    });
    let deployer = deployer.await.map_err(|error| {
        let body = fault(ErrorCode::Unreachable, "reaching the chain", &error);
        if matches!(error, ConnectError::WrongChain { .. }) {
            body.with_hint("check chain.rpc_url, or --rpc-url and --chain")
        } else {
            body.with_hint("check chain.rpc_url, or --rpc-url").retryable()
        }
    })?;
    Ok((target, deployer))
}

fn unclear(error: &LoadConfigError) -> ErrorBody {
    fault(ErrorCode::InvalidInput, "choosing the chain", error)
        .with_hint("give --chain NAME, or --chain ID with --rpc-url URL, or write a [chain] section into config.toml")
}

/// Where a contract is, as far as anybody has said so, else where this build would put it.
fn place(target: &Target, contract: Contract) -> Address {
    let told = match contract {
        Contract::Escrow => target.escrow,
        Contract::NodeDirectory => target.node_directory,
        Contract::TestDai | Contract::TestUsdc => None,
    };
    told.unwrap_or_else(|| contract.address())
}

/// The configuration's section about the wallet, where there is a configuration: the rest may be about a chain without contracts.
fn wallet_section(dir: &DaemonDir) -> Result<WalletSection, ErrorBody> {
    DaemonConfig::load_wallet(&dir.config()).map_err(|error| unclear(&error))
}

fn locked(error: &DaemonError) -> ErrorBody {
    let body = fault(error.code(), "deploying the contracts", error);
    if matches!(error, DaemonError::Running(_)) {
        body.with_hint("a daemon that runs there sends from the same wallet: end it first, or give --dir the folder of another wallet")
    } else {
        body
    }
}

fn refused(error: &DeployError) -> ErrorBody {
    let code = match error {
        DeployError::Send { source, .. } => match source {
            SendError::InsufficientNative { .. } => ErrorCode::InsufficientFunds,
            SendError::FeeTooHigh { .. } => ErrorCode::OverBudget,
            SendError::Journal { .. } => ErrorCode::Internal,
            SendError::Reverted { .. }
            | SendError::Encode { .. }
            | SendError::InsufficientBalance { .. }
            | SendError::NeedsAllowance { .. }
            | SendError::Undecided { .. }
            | SendError::Busy { .. }
            | SendError::Rpc { .. }
            | SendError::FailedBesides { .. }
            | SendError::Stopped { .. } => ErrorCode::Unreachable,
        },
        DeployError::NoProxy { .. }
        | DeployError::Look { .. }
        | DeployError::Other { .. }
        | DeployError::Confirm { .. } => ErrorCode::Unreachable,
    };
    let body = fault(code, "putting the contracts on the chain", error);
    if matches!(error, DeployError::NoProxy { .. }) {
        body.with_hint("GPUX's contracts are only deployed through that proxy, which every OP chain has at this address: choose a chain that has it")
    } else if matches!(error, DeployError::Other { .. }) {
        body.with_hint("nothing else can be at that address: ask another endpoint")
    } else if code == ErrorCode::OverBudget {
        body.with_hint("wait, or raise chain.max_fee_per_gas")
    } else {
        body.with_hint("run it again: it goes on where it was").retryable()
    }
}

fn empty(target: &Target) -> ContractsView {
    ContractsView {
        schema: "gpux.contracts/v1".into(),
        chain: target.known.map(|known| known.name.to_owned()),
        chain_id: target.chain_id,
        contracts: Vec::new(),
        wallet: None,
        native_wei: None,
        most_wei: None,
        fees_wei: None,
    }
}

/// The key of the configuration that names the contract.
const fn key(contract: Contract) -> &'static str {
    match contract {
        Contract::Escrow => "escrow",
        Contract::NodeDirectory => "node_directory",
        Contract::TestDai | Contract::TestUsdc => "token",
    }
}

fn looked_at(contract: Contract, at: Address, found: Result<(), CodeMismatch>) -> ContractView {
    let (state, why) = match found {
        Ok(()) => (ContractState::Verified, None),
        Err(CodeMismatch::Absent) => (ContractState::Absent, None),
        Err(mismatch) => (ContractState::Different, Some(error_chain(&mismatch))),
    };
    ContractView {
        contract: key(contract).into(),
        address: at.to_string(),
        state,
        why,
        estimate: None,
        transaction: None,
    }
}

fn planned(step: &DeployStep) -> ContractView {
    let found = step.estimate.map_or(Ok(()), |_| Err(CodeMismatch::Absent));
    ContractView {
        estimate: step.estimate.as_ref().map(estimate_view),
        ..looked_at(step.contract, step.address, found)
    }
}

/// An estimate for people.
pub(crate) fn estimate_view(estimate: &Estimate) -> FeeEstimateView {
    FeeEstimateView {
        gas: estimate.gas,
        now_wei: estimate.now().to_string(),
        most_wei: estimate.most.to_string(),
    }
}

/// What a transaction cost, for people.
pub(crate) fn fee_view(mined: &Mined) -> FeeView {
    let estimate = mined.l1_fee_estimate.as_ref().map(|estimate| estimate.wei);
    FeeView {
        hash: mined.hash.to_string(),
        block: mined.block,
        gas_used: mined.gas_used,
        l2_fee_wei: mined.l2_fee.to_string(),
        l1_fee_wei: mined.l1_fee.or(estimate).map(|wei| wei.to_string()),
        l1_estimated: mined.l1_fee.is_none(),
    }
}

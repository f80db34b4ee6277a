//! The Ethereum machine: accounts and contracts in memory, run by `revm` on the committed bytecode of the real contracts.
//!
//! Knows no blocks and no pool: those are `chain.rs`. A state is a value; keeping one for each block is how reorganisations
//! and the older views of a lagging node are made.

use alloy::primitives::{Address, B256, Bytes, Log, TxKind, U256, keccak256};
use revm::{
    Context, ExecuteCommitEvm as _, ExecuteEvm as _, MainBuilder as _, MainContext as _,
    context::TxEnv,
    context_interface::result::ExecutionResult,
    database::{CacheDB, EmptyDB},
    database_interface::DatabaseRef as _,
    primitives::hardfork::SpecId,
    state::AccountInfo,
};

/// More gas than any call of ours takes.
const CALL_GAS: u64 = 15_000_000;

/// Where in the chain something is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    pub(crate) number: u64,
    pub(crate) timestamp: u64,
    pub(crate) base_fee: u64,
}

/// A signed transaction, as far as the machine needs it.
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    pub(crate) hash: B256,
    pub(crate) raw: Bytes,
    pub(crate) from: Address,
    pub(crate) to: TxKind,
    pub(crate) nonce: u64,
    pub(crate) gas_limit: u64,
    pub(crate) max_fee: u128,
    pub(crate) tip: u128,
    pub(crate) value: U256,
    pub(crate) input: Bytes,
}

/// What running something came to.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) succeeded: bool,
    pub(crate) gas_used: u64,
    pub(crate) output: Bytes,
    pub(crate) logs: Vec<Log>,
}

/// Accounts and contracts at one moment.
#[derive(Debug, Clone)]
pub(crate) struct State {
    chain_id: u64,
    db: CacheDB<EmptyDB>,
}

impl State {
    pub(crate) fn new(chain_id: u64) -> Self {
        Self {
            chain_id,
            db: CacheDB::new(EmptyDB::new()),
        }
    }

    /// Gives an account coins out of nothing.
    pub(crate) fn give(&mut self, account: Address, wei: U256) {
        let mut info = self.account(account);
        info.balance = info.balance.saturating_add(wei);
        self.db.insert_account_info(account, info);
    }

    /// Changes what a contract stores, where `change` says so: for planted bugs.
    pub(crate) fn tamper(&mut self, contract: Address, change: impl Fn(U256) -> Option<U256>) {
        let Some(account) = self.db.cache.accounts.get_mut(&contract) else {
            return;
        };
        for value in account.storage.values_mut() {
            if let Some(other) = change(*value) {
                *value = other;
            }
        }
    }

    fn account(&self, account: Address) -> AccountInfo {
        self.db.basic_ref(account).ok().flatten().unwrap_or_default()
    }

    pub(crate) fn balance(&self, account: Address) -> U256 {
        self.account(account).balance
    }

    pub(crate) fn nonce(&self, account: Address) -> u64 {
        self.account(account).nonce
    }

    pub(crate) fn code(&self, account: Address) -> Bytes {
        let info = self.account(account);
        let code = self.db.code_by_hash_ref(info.code_hash);
        code.map_or_else(|_| Bytes::new(), |code| code.original_bytes())
    }

    /// Runs a transaction and keeps what it did. `None` when it cannot be in a block.
    pub(crate) fn run(&mut self, at: At, transaction: &Transaction) -> Option<Outcome> {
        let tx = TxEnv {
            tx_type: 2,
            caller: transaction.from,
            gas_limit: transaction.gas_limit,
            gas_price: transaction.max_fee,
            gas_priority_fee: Some(transaction.tip),
            kind: transaction.to,
            value: transaction.value,
            data: transaction.input.clone(),
            nonce: transaction.nonce,
            chain_id: Some(self.chain_id),
            ..TxEnv::default()
        };
        let chain_id = self.chain_id;
        let mut evm = Context::mainnet()
            .with_db(&mut self.db)
            .modify_cfg_chained(|cfg| {
                cfg.set_spec_and_mainnet_gas_params(SpecId::CANCUN);
                cfg.chain_id = chain_id;
            })
            .modify_block_chained(|block| set_block(block, at, at.base_fee))
            .build_mainnet();
        let result = evm.transact_commit(tx).ok().map(outcome);
        self.db.cache.logs.clear();
        result
    }

    /// What a call from one to another would do; nothing is kept.
    fn call(&self, at: At, (from, to): (Address, Address), input: Bytes, gas: u64) -> Outcome {
        let tx = TxEnv {
            caller: from,
            gas_limit: gas,
            kind: TxKind::Call(to),
            data: input,
            nonce: self.nonce(from),
            chain_id: Some(self.chain_id),
            ..TxEnv::default()
        };
        let chain_id = self.chain_id;
        let mut evm = Context::mainnet()
            .with_ref_db(&self.db)
            .modify_cfg_chained(|cfg| {
                cfg.set_spec_and_mainnet_gas_params(SpecId::CANCUN);
                cfg.chain_id = chain_id;
                cfg.disable_nonce_check = true;
            })
            .modify_block_chained(|block| set_block(block, at, 0))
            .build_mainnet();
        evm.transact(tx).map_or_else(
            |_| Outcome {
                succeeded: false,
                gas_used: 0,
                output: Bytes::new(),
                logs: Vec::new(),
            },
            |done| outcome(done.result),
        )
    }

    /// What a view answers.
    pub(crate) fn view(&self, at: At, to: Address, input: Bytes) -> Outcome {
        self.call(at, (Address::ZERO, to), input, CALL_GAS)
    }

    /// The gas that a call needs, or what it reverts with.
    pub(crate) fn estimate(&self, at: At, from: Address, to: Address, input: &Bytes) -> Result<u64, Bytes> {
        let first = self.call(at, (from, to), input.clone(), CALL_GAS);
        if !first.succeeded {
            return Err(first.output);
        }
        // Calls keep back a part of their gas: what was used may not be enough to have.
        let mut gas = first.gas_used.saturating_add(first.gas_used / 10);
        while gas < CALL_GAS {
            let again = self.call(at, (from, to), input.clone(), gas);
            if again.succeeded && again.logs.len() == first.logs.len() {
                return Ok(gas);
            }
            gas = gas.saturating_add(gas / 4);
        }
        Ok(CALL_GAS)
    }
}

fn set_block(block: &mut revm::context::BlockEnv, at: At, base_fee: u64) {
    block.number = U256::from(at.number);
    block.timestamp = U256::from(at.timestamp);
    block.basefee = base_fee;
    block.gas_limit = 60_000_000;
    block.prevrandao = Some(keccak256(at.number.to_be_bytes()));
}

fn outcome(result: ExecutionResult) -> Outcome {
    Outcome {
        succeeded: result.is_success(),
        gas_used: result.tx_gas_used(),
        output: result.output().cloned().unwrap_or_default(),
        logs: result.into_logs(),
    }
}

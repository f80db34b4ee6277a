//! One daemon's chain node: the world's chain behind JSON-RPC, which may be late, silent, failing, behind, or lying.

use crate::{
    bug::Bug,
    chain::{Block, SimChain},
    chance::Chance,
    life::Life,
    trace::{Trace, trace},
};
use alloy::primitives::{Address, B256, Bytes, U64, U256};
use futures_util::{FutureExt as _, future::BoxFuture};
use gpux_chain::{ChainNode, NodeAnswer};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a chain node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    /// It answers.
    #[default]
    Well,
    /// It answers nothing.
    Silent,
    /// It fails every call.
    Failing,
    /// It is so many blocks behind.
    Behind(u64),
    /// It says that the newest block is hours ahead of what it is.
    Ahead,
}

/// The chain as all nodes share it.
pub(crate) type SharedChain = Arc<Mutex<SimChain>>;

/// What one daemon asks. It outlives the daemon's lives; each life has a door of its own to it.
#[derive(Debug, Clone)]
pub(crate) struct SimNode {
    pub(crate) chain: SharedChain,
    pub(crate) mood: Arc<Mutex<Mood>>,
    pub(crate) chance: Chance,
    pub(crate) trace: Trace,
    pub(crate) life: Arc<Life>,
}

impl ChainNode for SimNode {
    fn answer(&self, request: Vec<u8>) -> BoxFuture<'static, NodeAnswer> {
        let node = self.clone();
        async move {
            node.life.lives().await;
            tokio::time::sleep(node.chance.millis(5, 60)).await;
            node.life.lives().await;
            let mood = *node.mood.lock().unwrap_or_else(PoisonError::into_inner);
            let body = match mood {
                Mood::Silent => std::future::pending().await,
                Mood::Failing => {
                    return NodeAnswer {
                        status: 503,
                        body: b"try later".to_vec(),
                    };
                }
                Mood::Well | Mood::Behind(_) | Mood::Ahead => node.serve(&request, mood),
            };
            tokio::time::sleep(node.chance.millis(5, 60)).await;
            node.life.lives().await;
            NodeAnswer {
                status: 200,
                body: body.to_string().into_bytes(),
            }
        }
        .boxed()
    }
}

/// A refusal in JSON-RPC's words.
struct Refusal {
    code: i64,
    message: String,
    data: Option<Bytes>,
}

impl Refusal {
    fn new(code: i64, message: &str) -> Self {
        Self {
            code,
            message: message.to_owned(),
            data: None,
        }
    }
}

impl SimNode {
    fn chain(&self) -> MutexGuard<'_, SimChain> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, request: &[u8], mood: Mood) -> Value {
        let request: Value = serde_json::from_slice(request).unwrap_or_default();
        let method = request.get("method").and_then(Value::as_str).unwrap_or_default();
        let params = request
            .get("params")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let lag = if let Mood::Behind(blocks) = mood { blocks } else { 0 };
        let answer = self.method(method, &params, lag);
        let id = request.get("id").cloned().unwrap_or_default();
        match answer {
            Ok(mut result) => {
                if mood == Mood::Ahead && method == "eth_getBlockByNumber" && params.first() == Some(&json!("latest")) {
                    lie(&mut result);
                }
                json!({ "jsonrpc": "2.0", "id": id, "result": result })
            }
            Err(refusal) => {
                let mut error = json!({ "code": refusal.code, "message": refusal.message });
                if let (Some(data), Some(fields)) = (refusal.data, error.as_object_mut()) {
                    fields.insert("data".to_owned(), json!(data));
                }
                json!({ "jsonrpc": "2.0", "id": id, "error": error })
            }
        }
    }

    fn method(&self, method: &str, params: &[Value], lag: u64) -> Result<Value, Refusal> {
        let tag = |index: usize| params.get(index).and_then(Value::as_str).unwrap_or("latest").to_owned();
        let address = || -> Address { param(params, 0) };
        match method {
            "eth_chainId" => Ok(json!(U64::from(crate::chain::CHAIN_ID))),
            "eth_maxPriorityFeePerGas" => Ok(json!(U256::from(100_000))),
            "eth_getBlockByNumber" => Ok(self.block(&tag(0), lag)),
            "eth_getCode" => Ok(json!(self.on_state(&tag(1), lag, |_, state| state.code(address())))),
            "eth_getBalance" => Ok(json!(self.on_state(&tag(1), lag, |_, state| state.balance(address())))),
            "eth_getTransactionCount" if tag(1) == "pending" && lag == 0 => {
                Ok(json!(U64::from(self.chain().pending_count(address()))))
            }
            "eth_getTransactionCount" => Ok(json!(U64::from(
                self.on_state(&tag(1), lag, |_, state| state.nonce(address()))
            ))),
            "eth_call" | "eth_estimateGas" => self.run(method, params, &tag(1), lag),
            "eth_sendRawTransaction" => {
                let sent = self.chain().submit(&param(params, 0), self.trace.now());
                sent.map(|hash| json!(hash))
                    .map_err(|refused| Refusal::new(-32_000, refused.text()))
            }
            "eth_getTransactionReceipt" => Ok(self.receipt(param(params, 0), lag)),
            "eth_getRawTransactionByHash" => Ok(json!(self.chain().raw(param(params, 0)))),
            "eth_getLogs" => Ok(self.logs(params.first().unwrap_or(&Value::Null), lag)),
            other => {
                trace!(self.trace, "chain: nobody taught it {other}");
                Err(Refusal::new(-32_601, "the method does not exist"))
            }
        }
    }

    fn on_state<T: Default>(&self, tag: &str, lag: u64, look: impl FnOnce(&Block, &crate::evm::State) -> T) -> T {
        let chain = self.chain();
        let block = chain.tagged(tag, lag);
        block.state.as_ref().map_or_else(T::default, |state| look(block, state))
    }

    fn block(&self, tag: &str, lag: u64) -> Value {
        let chain = self.chain();
        let block = match tag
            .strip_prefix("0x")
            .and_then(|number| u64::from_str_radix(number, 16).ok())
        {
            Some(number) if number.saturating_add(lag) > chain.head().number => None,
            Some(number) => chain.numbered(number),
            None => Some(chain.tagged(tag, lag)),
        };
        block.map_or(Value::Null, |block| {
            json!({
                "number": U64::from(block.number),
                "hash": block.hash,
                "parentHash": block.parent,
                "timestamp": U64::from(block.timestamp),
                "baseFeePerGas": U256::from(block.base_fee),
            })
        })
    }

    fn run(&self, method: &str, params: &[Value], tag: &str, lag: u64) -> Result<Value, Refusal> {
        let call = params.first().unwrap_or(&Value::Null);
        let field = |name: &str| call.get(name).cloned().unwrap_or_default();
        let from: Address = serde_json::from_value(field("from")).unwrap_or_default();
        let to: Address = serde_json::from_value(field("to")).unwrap_or_default();
        let input: Bytes = serde_json::from_value(field("input")).unwrap_or_default();
        let reverted = |data: Bytes| Refusal {
            data: Some(data),
            ..Refusal::new(3, "execution reverted")
        };
        let chain = self.chain();
        let block = chain.tagged(tag, lag);
        let hasty = chain.bug == Some(Bug::HastyNode) && tag == "latest";
        let hasty = if hasty { chain.hasty() } else { None };
        let Some(state) = hasty.as_ref().or(block.state.as_ref()) else {
            return Err(Refusal::new(-32_000, "header not found"));
        };
        if method == "eth_estimateGas" {
            let gas = state.estimate(block.at(), from, to, &input);
            return gas.map(|gas| json!(U64::from(gas))).map_err(reverted);
        }
        let done = state.view(block.at(), to, input);
        if done.succeeded {
            Ok(json!(done.output))
        } else {
            Err(reverted(done.output))
        }
    }

    fn receipt(&self, hash: B256, lag: u64) -> Value {
        let chain = self.chain();
        let Some((block, index)) = chain.mined(hash, lag) else {
            return Value::Null;
        };
        let Some((transaction, outcome)) = block.transactions.get(index) else {
            return Value::Null;
        };
        let price = u128::from(block.base_fee)
            .saturating_add(transaction.tip)
            .min(transaction.max_fee);
        json!({
            "transactionHash": hash,
            "blockHash": block.hash,
            "blockNumber": U64::from(block.number),
            "status": U64::from(u64::from(outcome.succeeded)),
            "from": transaction.from,
            "gasUsed": U64::from(outcome.gas_used),
            "effectiveGasPrice": U256::from(price),
            "logs": logs_of(block, index),
        })
    }

    fn logs(&self, filter: &Value, lag: u64) -> Value {
        let chain = self.chain();
        let newest = chain.head().number.saturating_sub(lag);
        let bound = |name: &str| {
            filter
                .get(name)
                .and_then(|number| serde_json::from_value::<U64>(number.clone()).ok())
        };
        let from: u64 = bound("fromBlock").map_or(newest, |number| number.to());
        let to: u64 = bound("toBlock").map_or(newest, |number| number.to()).min(newest);
        let address: Option<Address> = filter
            .get("address")
            .and_then(|it| serde_json::from_value(it.clone()).ok());
        let topics = filter
            .get("topics")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let mut found = Vec::new();
        for number in from.max(1)..=to {
            let Some(block) = chain.numbered(number) else { break };
            for index in 0..block.transactions.len() {
                found.extend(
                    logs_of(block, index)
                        .into_iter()
                        .filter(|log| fits(log, address, &topics)),
                );
            }
        }
        Value::Array(found)
    }
}

fn param<T: Default + serde::de::DeserializeOwned>(params: &[Value], index: usize) -> T {
    let value = params.get(index).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

/// The newest block as a liar tells it: further on, and hours later.
fn lie(block: &mut Value) {
    let Some(fields) = block.as_object_mut() else { return };
    let add = |fields: &mut serde_json::Map<String, Value>, name: &str, more: u64| {
        let old: U64 = fields
            .get(name)
            .and_then(|old| serde_json::from_value(old.clone()).ok())
            .unwrap_or_default();
        fields.insert(name.to_owned(), json!(U64::from(old.to::<u64>().saturating_add(more))));
    };
    add(fields, "number", 900);
    add(fields, "timestamp", 4 * 3_600);
    fields.insert("hash".to_owned(), json!(B256::repeat_byte(0xee)));
}

fn logs_of(block: &Block, index: usize) -> Vec<Value> {
    let before: usize = block
        .transactions
        .iter()
        .take(index)
        .map(|(_, outcome)| outcome.logs.len())
        .sum();
    let Some((transaction, outcome)) = block.transactions.get(index) else {
        return Vec::new();
    };
    let logs = outcome.logs.iter().enumerate().map(|(at, log)| {
        json!({
            "address": log.address,
            "topics": log.topics(),
            "data": log.data.data,
            "blockNumber": U64::from(block.number),
            "blockHash": block.hash,
            "transactionHash": transaction.hash,
            "logIndex": U64::from(u64::try_from(before + at).unwrap_or(u64::MAX)),
            "removed": false,
        })
    });
    logs.collect()
}

/// Whether a log is one that a filter names: each place of `topics` is nothing, one topic, or a choice of them.
fn fits(log: &Value, address: Option<Address>, topics: &[Value]) -> bool {
    let from: Option<Address> = log
        .get("address")
        .and_then(|it| serde_json::from_value(it.clone()).ok());
    let has = log.get("topics").and_then(Value::as_array).cloned().unwrap_or_default();
    let right_address = address.is_none() || address == from;
    right_address
        && topics.iter().enumerate().all(|(place, wanted)| match wanted {
            Value::Null => true,
            Value::Array(choice) => has.get(place).is_some_and(|topic| choice.contains(topic)),
            one @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                has.get(place) == Some(one)
            }
        })
}

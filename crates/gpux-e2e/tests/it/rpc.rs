//! The chain, asked directly: what the product says about money is checked against it.

use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

/// The topic of ERC-20's `Transfer(address,address,uint256)`.
const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
/// The selector of ERC-20's `balanceOf(address)`.
const BALANCE_OF: &str = "0x70a08231";

/// The selector of the test tokens' `mint(address,uint256)`.
const MINT: &str = "0x40c10f19";
/// Anvil's first account, which deployed everything.
const DEPLOYER: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

/// A JSON-RPC endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    host: String,
}

/// Tokens that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) amount: u128,
    pub(crate) transaction: String,
}

/// All that an address could have lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Purse {
    pub(crate) tokens: u128,
    wei: u128,
    transactions_sent: u128,
}

impl Rpc {
    pub(crate) fn new(url: &str) -> Self {
        let host = url.strip_prefix("http://").expect("a plain HTTP endpoint");
        Self {
            host: host.trim_end_matches('/').to_owned(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.host)
    }

    pub(crate) fn call(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let mut stream = TcpStream::connect(&self.host).expect("the chain answers");
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let head = format!(
            "POST / HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, document) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        let document: Value = serde_json::from_str(document).expect("a JSON answer");
        assert!(document.get("error").is_none(), "{method}: {document}");
        document["result"].clone()
    }

    /// The newest block's time, in seconds since the epoch.
    pub(crate) fn time(&self) -> u64 {
        let block = self.call("eth_getBlockByNumber", json!(["latest", false]));
        u64::try_from(number(&block["timestamp"])).unwrap()
    }

    /// Makes the chain's time `to`, in a block of its own.
    pub(crate) fn jump(&self, to: u64) {
        let by = to.saturating_sub(self.time());
        self.call("evm_increaseTime", json!([by]));
        self.call("evm_mine", json!([]));
        assert!(self.time() >= to, "the chain's time did not move");
    }

    /// What `address` has.
    pub(crate) fn purse(&self, token: &str, address: &str) -> Purse {
        let data = format!("{BALANCE_OF}{:0>64}", address.trim_start_matches("0x"));
        Purse {
            tokens: number(&self.call("eth_call", json!([{"to": token, "data": data}, "latest"]))),
            wei: number(&self.call("eth_getBalance", json!([address, "latest"]))),
            transactions_sent: number(&self.call("eth_getTransactionCount", json!([address, "pending"]))),
        }
    }

    /// Gives `address` new test tokens, from the account that anvil itself signs for.
    pub(crate) fn mint(&self, token: &str, address: &str, units: u128) {
        let data = format!("{MINT}{:0>64}{units:064x}", address.trim_start_matches("0x"));
        self.call(
            "eth_sendTransaction",
            json!([{"from": DEPLOYER, "to": token, "data": data}]),
        );
    }

    /// Every transfer of the token since the first block, in order.
    pub(crate) fn transfers(&self, token: &str) -> Vec<Transfer> {
        let filter = json!([{"address": token, "fromBlock": "0x0", "toBlock": "latest", "topics": [TRANSFER]}]);
        let logs = self.call("eth_getLogs", filter);
        let logs = logs.as_array().expect("a list of logs");
        logs.iter()
            .map(|log| Transfer {
                from: address(&log["topics"][1]),
                to: address(&log["topics"][2]),
                amount: number(&log["data"]),
                transaction: log["transactionHash"].as_str().unwrap().to_owned(),
            })
            .collect()
    }
}

fn number(value: &Value) -> u128 {
    let text = value.as_str().expect("a number in hexadecimal");
    u128::from_str_radix(text.trim_start_matches("0x"), 16).expect("a number that fits 128 bits")
}

/// The address in the low 20 bytes of a topic.
fn address(topic: &Value) -> String {
    let text = topic.as_str().expect("a topic");
    format!("0x{}", &text[text.len() - 40..])
}

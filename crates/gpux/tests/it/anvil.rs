//! A chain without any of our contracts on it: anvil as the chain of an id, on a free port of the loopback.

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Ends with the test.
pub(crate) struct Anvil {
    process: Child,
    pub(crate) url: String,
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn contracts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts")
}

impl Anvil {
    pub(crate) fn of_chain(chain_id: u64) -> Self {
        let mut anvil = Command::new(contracts().join("tools/anvil"));
        anvil.args([
            "--optimism",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--chain-id",
            &chain_id.to_string(),
        ]);
        anvil.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = anvil.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let listening = lines.find_map(|line| line.unwrap().strip_prefix("Listening on ").map(str::to_owned));
        // What it says later goes nowhere; without a reader it would end.
        std::thread::spawn(move || lines.for_each(drop));
        gpux_node::install_tls();
        Self {
            url: format!("http://{}", listening.expect("anvil listens")),
            process,
            runtime: tokio::runtime::Runtime::new().unwrap(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    pub(crate) fn ask(&self, method: &str, params: Value) -> Value {
        let question = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer: Value = self.runtime.block_on(async {
            let sent = self.http.post(&self.url).json(&question).send().await.unwrap();
            sent.json().await.unwrap()
        });
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Gives an account one whole coin.
    pub(crate) fn give_coin(&self, account: &str) {
        self.ask("anvil_setBalance", json!([account, "0xde0b6b3a7640000"]));
    }

    /// Changes one byte of the code at an address.
    pub(crate) fn change_code(&self, address: &str, byte: usize) {
        let code = self.ask("eth_getCode", json!([address, "latest"]));
        let mut code = code.as_str().unwrap().to_owned().into_bytes();
        let digit = &mut code[2 + 2 * byte];
        *digit = if *digit == b'0' { b'1' } else { b'0' };
        let code = String::from_utf8(code).unwrap();
        self.ask("anvil_setCode", json!([address, code]));
    }

    /// How many transactions an account has sent.
    pub(crate) fn transactions_of(&self, account: &str) -> u64 {
        let count = self.ask("eth_getTransactionCount", json!([account, "latest"]));
        u64::from_str_radix(count.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }
}

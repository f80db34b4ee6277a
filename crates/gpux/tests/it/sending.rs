//! `gpux wallet send` over a real daemon and a real chain.

use crate::{
    anvil::Anvil,
    home::{Ended, Home},
};
use serde_json::{Value, json};
use std::{
    process::Stdio,
    time::{Duration, Instant},
};

const PASSWORD: &str = "correct horse battery";
const TO: &str = "0x00000000000000000000000000000000C0FFee42";

/// A chain with our contracts and a token on it, and a folder whose wallet has a coin and 100 tokens.
struct World {
    home: Home,
    anvil: Anvil,
    wallet: String,
    token: String,
    escrow: String,
}

impl Drop for World {
    fn drop(&mut self) {
        self.end_daemon("-TERM");
    }
}

/// A word of a call's data.
fn word(hex: &str) -> String {
    format!("{:0>64}", hex.trim_start_matches("0x"))
}

impl World {
    fn new() -> Self {
        let (home, anvil) = (Home::new(), Anvil::of_chain(31_337));
        home.file("password", PASSWORD);
        home.file("wallet.password", PASSWORD);
        let made = home.run(&["wallet", "new", "--password-file", "password"]);
        let wallet = made.out.trim().to_owned();
        anvil.give_coin(&wallet);
        let deployed = home.run(&[
            "contracts",
            "deploy",
            "--chain",
            "31337",
            "--rpc-url",
            &anvil.url,
            "-y",
            "--json",
        ]);
        let contracts: Value = serde_json::from_str(&deployed.out).unwrap();
        let place = |at: usize| contracts["contracts"][at]["address"].as_str().unwrap().to_owned();
        let token = deploy_token(&anvil);
        let mint = format!("0x40c10f19{}{}", word(&wallet), word("5f5e100"));
        send_as_anvil(&anvil, json!({ "to": token, "input": mint }));
        let config = format!(
            "[chain]\nchain_id = 31337\nrpc_url = \"{}\"\nescrow = \"{}\"\nnode_directory = \"{}\"\ntoken = \"{token}\"\npoll = 50\n\
             [network]\nbind = [\"127.0.0.1:0\"]\ndirectory = false\n",
            anvil.url,
            place(0),
            place(1)
        );
        home.file("config.toml", &config);
        let escrow = place(0);
        Self {
            home,
            anvil,
            wallet,
            token,
            escrow,
        }
    }

    fn send(&self, words: &[&str]) -> Ended {
        self.home.run(&[&["wallet", "send"], words, &["--json"]].concat())
    }

    fn refused(&self, words: &[&str], status: i32, says: &str) {
        let ended = self.send(words);
        assert_eq!(ended.status, status, "{words:?}: {ended:?}");
        let message = ended.error()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(says), "{words:?}: {message}");
    }

    /// The smallest units of the token that an account has.
    fn tokens_of(&self, account: &str) -> u64 {
        let data = format!("0x70a08231{}", word(account));
        let answer = self
            .anvil
            .ask("eth_call", json!([{ "to": self.token, "input": data }, "latest"]));
        u64::from_str_radix(&answer.as_str().unwrap()[50..], 16).unwrap()
    }

    fn coins_of(&self, account: &str) -> u64 {
        let wei = self.anvil.ask("eth_getBalance", json!([account, "latest"]));
        u64::from_str_radix(wei.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }

    /// Ends the folder's daemon, if one runs, and waits until it has.
    fn end_daemon(&self, signal: &str) {
        let Ok(text) = std::fs::read_to_string(self.home.path().join("daemon.json")) else {
            return;
        };
        let running: Value = serde_json::from_str(&text).unwrap();
        let pid = running["pid"].to_string();
        // It may have ended by itself.
        let _ = std::process::Command::new("kill")
            .args([signal, &pid])
            .stderr(Stdio::null())
            .status();
        let stat = format!("/proc/{pid}/stat");
        let is_there = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        wait_until(|| !is_there());
    }
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "it has not happened within 30 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends from an account whose key anvil has.
fn send_as_anvil(anvil: &Anvil, mut transaction: Value) -> Value {
    transaction["from"] = anvil.ask("eth_accounts", json!([]))[0].clone();
    transaction["gas"] = json!("0x5b8d80");
    let hash = anvil.ask("eth_sendTransaction", json!([transaction]));
    let receipt = || anvil.ask("eth_getTransactionReceipt", json!([hash]));
    wait_until(|| !receipt().is_null());
    receipt()
}

fn deploy_token(anvil: &Anvil) -> String {
    let built: Value = serde_json::from_str(include_str!("../../../../contracts/abi/TestUsdc.json")).unwrap();
    let receipt = send_as_anvil(anvil, json!({ "input": built["bytecode"] }));
    receipt["contractAddress"].as_str().unwrap().to_owned()
}

fn document(ended: &Ended) -> Value {
    assert_eq!(ended.status, 0, "{ended:?}");
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(document["schema"], "gpux.send/v1");
    document
}

#[test]
fn money_is_sent_after_a_yes_once_by_its_name_and_with_a_bill() {
    let world = World::new();
    let before = world.anvil.transactions_of(&world.wallet);
    world.refused(&[TO, "12.5"], 2, "nobody is there to say yes");
    assert_eq!(world.anvil.transactions_of(&world.wallet), before);

    let sent = document(&world.send(&[TO, "12.5 USDC", "--once", "rent", "-y"]));
    assert_eq!(
        (&sent["state"], &sent["amount"], &sent["to"]),
        (&json!("mined"), &json!("12500000"), &json!(TO))
    );
    assert!(sent["transaction"]["gas_used"].as_u64().unwrap() > 21_000, "{sent}");
    let again = document(&world.send(&[TO, "12.5", "--once", "rent", "-y"]));
    assert_eq!(again["hash"], sent["hash"], "asked again, it is the same transaction");
    world.refused(&[TO, "12.6", "--once", "rent", "-y"], 1, "another payment");
    assert_eq!(world.tokens_of(TO), 12_500_000);

    let coin = document(&world.send(&[TO, "0.25", "--coin", "-y"]));
    assert_eq!(
        (&coin["token"]["symbol"], world.coins_of(TO)),
        (&json!("ETH"), 250_000_000_000_000_000)
    );
    assert_eq!(
        world.anvil.transactions_of(&world.wallet),
        before + 2,
        "one for each payment"
    );
    let plain = world.home.run(&["wallet", "send", &TO.to_lowercase(), "1", "-y"]);
    assert!(
        plain.talk.contains("has no checksum") && plain.out.contains("sent 1 USDC"),
        "{plain:?}"
    );
}

#[test]
fn what_would_lose_money_is_refused_and_nothing_is_sent() {
    let world = World::new();
    let before = world.anvil.transactions_of(&world.wallet);
    let mistyped = TO.replace("C0FF", "c0FF");
    world.refused(&[&mistyped, "1", "-y"], 2, "checksum does not hold");
    world.refused(&["alice.eth", "1", "-y"], 2, "it is no address");
    for (to, what) in [
        (world.escrow.clone(), "it is the escrow"),
        (world.token.to_lowercase(), "it is the token's contract"),
        (world.wallet.clone(), "this wallet's own address"),
        (
            "0x0000000000000000000000000000000000000000".to_owned(),
            "belongs to the chain itself",
        ),
    ] {
        world.refused(&[&to, "1", "-y", "--force"], 2, what);
        world.refused(&[&to, "0.1", "-y", "--coin"], 2, what);
    }
    world.refused(&[TO, "0", "-y"], 2, "the amount is zero");
    world.refused(&[TO, "1.0000001", "-y"], 2, "reading an amount");
    world.refused(&[TO, "100.000001", "-y", "--force"], 4, "the wallet has 100 USDC");
    world.refused(&[TO, "1", "--coin", "-y"], 4, "were asked for");
    world.refused(&[TO, "1", "--once", "two words", "-y"], 2, "letters, digits");
    assert_eq!(world.anvil.transactions_of(&world.wallet), before);
}

#[test]
fn a_daemon_that_is_killed_before_the_block_pays_once_however_often_it_is_asked_again() {
    let world = World::new();
    document(&world.send(&[TO, "1", "-y"]));
    let before = world.anvil.transactions_of(&world.wallet);
    world.anvil.ask("evm_setAutomine", json!([false]));
    let words = ["wallet", "send", TO, "12.5", "--once", "rent", "-y", "--json"];
    let follow = || {
        let mut command = world.home.command(&words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let first = follow();
    let waiting = || world.anvil.ask("txpool_status", json!([]))["pending"] != "0x0";
    wait_until(waiting);
    world.end_daemon("-KILL");
    let cut = Ended::of(first.wait_with_output().unwrap());
    assert_ne!(cut.status, 0, "{cut:?}");
    // The chain forgets what waited, as nodes that restart do: the new daemon hands over the same bytes.
    world.anvil.ask("anvil_dropAllTransactions", json!([]));
    let second = follow();
    wait_until(waiting);
    world.anvil.ask("evm_mine", json!([]));
    let sent = document(&Ended::of(second.wait_with_output().unwrap()));
    assert_eq!(sent["state"], "mined");
    for _ in 0..3 {
        world.anvil.ask("evm_mine", json!([]));
    }
    let again = document(&world.home.run(&words));
    assert_eq!(again["hash"], sent["hash"]);
    assert_eq!(world.anvil.transactions_of(&world.wallet), before + 1);
    assert_eq!(world.tokens_of(TO), 13_500_000);
}

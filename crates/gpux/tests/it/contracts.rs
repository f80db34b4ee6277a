//! `gpux contracts`, from a wallet of a folder on chains that have nothing of ours.

use crate::{anvil::Anvil, home::Home};
use serde_json::Value;

const PASSWORD: &str = "correct horse battery";

/// A folder with a wallet that has a coin on `anvil`, and its address.
fn funded(home: &Home, anvil: &Anvil) -> String {
    home.file("password", PASSWORD);
    home.file("wallet.password", PASSWORD);
    let made = home.run(&["wallet", "new", "--password-file", "password", "--json"]);
    assert_eq!(made.status, 0, "{made:?}");
    let address: Value = serde_json::from_str(&made.out).unwrap();
    let address = address["address"].as_str().unwrap().to_owned();
    anvil.give_coin(&address);
    address
}

fn configure(home: &Home, chain: &str, anvil: &Anvil) {
    home.file(
        "config.toml",
        &format!("[chain]\n{chain}\nrpc_url = \"{}\"\n", anvil.url),
    );
}

fn document(out: &str) -> Value {
    let document: Value = serde_json::from_str(out).unwrap();
    assert_eq!(document["schema"], "gpux.contracts/v1");
    document
}

#[test]
fn contracts_are_deployed_after_a_plan_and_a_yes_and_are_at_the_same_place_on_every_chain() {
    let mut places = Vec::new();
    for (chain, name) in [
        (10, Some("optimism")),
        (11_155_420, Some("optimism-sepolia")),
        (31_337, None),
    ] {
        let (home, anvil) = (Home::new(), Anvil::of_chain(chain));
        let wallet = funded(&home, &anvil);
        configure(
            &home,
            &name.map_or(format!("chain_id = {chain}"), |name| format!("name = \"{name}\"")),
            &anvil,
        );

        let missing = home.run(&["contracts", "verify", "--json"]);
        assert_eq!(missing.status, 8, "{missing:?}");
        assert_eq!(document(&missing.out)["contracts"][0]["state"], "absent");
        let unasked = home.run(&["contracts", "deploy", "--json"]);
        assert_eq!(
            (unasked.status, unasked.error()["code"].as_str()),
            (2, Some("invalid_input"))
        );
        assert_eq!(anvil.transactions_of(&wallet), 0, "nobody said yes");

        let deployed = home.run(&["contracts", "deploy", "--yes", "--json"]);
        assert_eq!(deployed.status, 0, "{deployed:?}");
        let view = document(&deployed.out);
        assert_eq!(
            (&view["chain_id"], &view["wallet"]),
            (&chain.into(), &wallet.clone().into())
        );
        assert_eq!(view["chain"].as_str(), name);
        for contract in view["contracts"].as_array().unwrap() {
            assert_eq!(contract["state"], "verified");
            assert!(contract["transaction"]["hash"].as_str().unwrap().starts_with("0x"));
        }
        places.push([0, 1].map(|at| view["contracts"][at]["address"].as_str().unwrap().to_owned()));

        let again = home.run(&["contracts", "deploy", "--yes"]);
        assert!(again.talk.contains("nothing to deploy"), "{again:?}");
        assert_eq!(anvil.transactions_of(&wallet), 2, "one for each contract");
        assert_eq!(home.run(&["contracts", "verify"]).status, 0);
    }
    assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
}

#[test]
fn one_byte_that_differs_is_found_and_a_daemon_does_not_start_on_it() {
    let (home, anvil) = (Home::new(), Anvil::of_chain(31_337));
    funded(&home, &anvil);
    configure(&home, "chain_id = 31337", &anvil);
    let deployed = home.run(&["contracts", "deploy", "-y", "--json"]);
    assert_eq!(deployed.status, 0, "{deployed:?}");
    let escrow = document(&deployed.out)["contracts"][0]["address"]
        .as_str()
        .unwrap()
        .to_owned();
    let directory = document(&deployed.out)["contracts"][1]["address"]
        .as_str()
        .unwrap()
        .to_owned();
    anvil.change_code(&escrow, 200);

    let verified = home.run(&["contracts", "verify"]);
    assert_eq!(verified.status, 8, "{verified:?}");
    assert!(
        verified.out.contains("DIFFERENT") && verified.out.contains("byte 200"),
        "{}",
        verified.out
    );
    // At the honest one's address nothing else can be: whoever says so is not believed, and nothing is paid.
    let deploy = home.run(&["contracts", "deploy", "-y"]);
    assert_eq!(deploy.status, 8, "{deploy:?}");

    let config = format!(
        "[chain]\nchain_id = 31337\nrpc_url = \"{}\"\nescrow = \"{escrow}\"\nnode_directory = \"{directory}\"\ntoken = \"{escrow}\"\n",
        anvil.url
    );
    home.file("config.toml", &config);
    let daemon = home.run(&["daemon"]);
    assert_eq!(daemon.status, 8, "{daemon:?}");
    assert!(daemon.talk.contains("byte 200 of its code"), "{}", daemon.talk);
}

#[test]
fn another_chain_and_a_wallet_without_a_coin_are_refused_before_anything_is_sent() {
    let (home, anvil) = (Home::new(), Anvil::of_chain(10));
    let wallet = funded(&home, &anvil);
    for verb in ["deploy", "verify"] {
        let ended = home.run(&[
            "contracts",
            verb,
            "--chain",
            "optimism-sepolia",
            "--rpc-url",
            &anvil.url,
            "--json",
        ]);
        assert_eq!(
            (ended.status, ended.error()["code"].as_str()),
            (8, Some("unreachable")),
            "{verb}"
        );
        let message = ended.error()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("expected chain 11155420, got chain 10"), "{message}");
    }
    anvil.ask("anvil_setBalance", serde_json::json!([wallet, "0x1"]));
    let poor = home.run(&[
        "contracts",
        "deploy",
        "--chain",
        "10",
        "--rpc-url",
        &anvil.url,
        "--yes",
        "--json",
    ]);
    assert_eq!(
        (poor.status, poor.error()["code"].as_str()),
        (4, Some("insufficient_funds")),
        "{poor:?}"
    );
    assert_eq!(anvil.transactions_of(&wallet), 0);
}

#[test]
fn a_daemon_on_a_named_network_without_contracts_says_what_to_do() {
    let home = Home::new();
    for name in ["optimism", "optimism-sepolia"] {
        home.file("config.toml", &format!("[chain]\nname = \"{name}\"\n"));
        let ended = home.run(&["daemon", "--json"]);
        assert_eq!(
            (ended.status, ended.error()["code"].as_str()),
            (2, Some("invalid_input")),
            "{ended:?}"
        );
        let message = ended.error()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("gpux contracts deploy"), "{message}");
    }
    home.file("config.toml", "[chain]\nname = \"moon\"\n");
    let ended = home.run(&["contracts", "verify", "--json"]);
    assert_eq!(
        (ended.status, ended.error()["code"].as_str()),
        (2, Some("invalid_input"))
    );
}

//! The contracts of this version on a chain, and the chain's own coin.

use super::{AMOUNT_DIGITS, table::Table};
use gpux_api::{ContractState, ContractView, ContractsView};
use gpux_types::{Amount, Token};

/// An amount of the chain's own coin, of wei as documents have them, rounded up: fees are never shown as less than they are.
pub(super) fn coin(wei: &str) -> String {
    let amount = wei.parse::<u128>().ok().and_then(|wei| Amount::new(wei).ok());
    super::money_at_most(&ether(), amount.unwrap_or(Amount::MAX))
}

/// An amount of the chain's own coin that somebody has, rounded down.
pub(super) fn coin_had(wei: &str) -> String {
    let amount = wei.parse::<u128>().ok().and_then(|wei| Amount::new(wei).ok());
    ether().format_short(amount.unwrap_or(Amount::MAX), AMOUNT_DIGITS)
}

fn ether() -> Token {
    Token {
        symbol: "ETH".to_owned(),
        decimals: 18,
    }
}

/// What is where, and what is missing.
pub(crate) fn contracts(view: &ContractsView) -> String {
    let mut text = match &view.chain {
        Some(name) => format!("chain {} ({name})\n", view.chain_id),
        None => format!("chain {}\n", view.chain_id),
    };
    let mut table = Table::new(&["CONTRACT", "ADDRESS", "STATE", ">COSTS NOW", ">AT MOST"]);
    for contract in &view.contracts {
        let estimate = contract.estimate.as_ref();
        table.row([
            contract.contract.clone(),
            contract.address.clone(),
            state(contract).to_owned(),
            estimate.map_or(String::new(), |fee| coin(&fee.now_wei)),
            estimate.map_or(String::new(), |fee| coin(&fee.most_wei)),
        ]);
    }
    text.push_str(&table.text("  "));
    for contract in &view.contracts {
        if let Some(why) = &contract.why {
            text.push_str(&format!("  {} {}: {why}\n", contract.contract, contract.address));
        }
    }
    if let (Some(wallet), Some(has)) = (&view.wallet, &view.native_wei) {
        text.push_str(&format!("  wallet {wallet} has {}\n", coin_had(has)));
    }
    text
}

/// Whether to pay for what is missing.
pub(crate) fn deploy_question(view: &ContractsView) -> String {
    let missing = view
        .contracts
        .iter()
        .filter(|contract| contract.state == ContractState::Absent)
        .count();
    format!(
        "Deploy {} for at most {} in fees?",
        super::count(missing, "contract"),
        coin(view.most_wei.as_deref().unwrap_or("0"))
    )
}

/// The bill, and what to write into a configuration.
pub(crate) fn deployed(view: &ContractsView) -> String {
    let mut table = Table::new(&["CONTRACT", "TRANSACTION", ">BLOCK", ">GAS", ">FEE"]);
    for contract in &view.contracts {
        let paid = contract.transaction.as_ref();
        table.row([
            contract.contract.clone(),
            paid.map_or("was there".to_owned(), |fee| fee.hash.clone()),
            paid.map_or(String::new(), |fee| fee.block.to_string()),
            paid.map_or(String::new(), |fee| fee.gas_used.to_string()),
            paid.map_or(String::new(), |fee| coin(&fee.l2_fee_wei)),
        ]);
    }
    let mut text = table.text("  ");
    text.push_str(&format!(
        "deployed and compared with this version to the last byte; fees {}\n",
        coin(view.fees_wei.as_deref().unwrap_or("0"))
    ));
    text.push_str("for config.toml:\n[chain]\n");
    match &view.chain {
        Some(name) => text.push_str(&format!("name = \"{name}\"\n")),
        None => text.push_str(&format!("chain_id = {}\n", view.chain_id)),
    }
    for contract in &view.contracts {
        text.push_str(&format!("{} = \"{}\"\n", contract.contract, contract.address));
    }
    text
}

const fn state(contract: &ContractView) -> &'static str {
    match contract.state {
        ContractState::Absent => "not there",
        ContractState::Verified => "verified",
        ContractState::Different => "DIFFERENT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_api::{FeeEstimateView, FeeView};

    fn view() -> ContractsView {
        let contract = |contract: &str, address: &str| ContractView {
            contract: contract.into(),
            address: address.into(),
            state: ContractState::Absent,
            why: None,
            estimate: Some(FeeEstimateView {
                gas: 1,
                now_wei: "4700000000000000".into(),
                most_wei: "11770000000000001".into(),
            }),
            transaction: None,
        };
        ContractsView {
            schema: "gpux.contracts/v1".into(),
            chain: Some("optimism".into()),
            chain_id: 10,
            contracts: vec![contract("escrow", "0xA1"), contract("node_directory", "0xB2")],
            wallet: Some("0xC3".into()),
            native_wei: Some("999999999999999999".into()),
            most_wei: Some("11770000000000001".into()),
            fees_wei: Some("4600000000000000".into()),
        }
    }

    #[test]
    fn what_is_paid_is_never_shown_as_less_and_what_is_there_never_as_more() {
        let text = contracts(&view());
        assert_eq!(
            text,
            "chain 10 (optimism)\n  CONTRACT        ADDRESS  STATE       COSTS NOW       AT MOST\n\
             \x20 escrow          0xA1     not there  0.0047 ETH  0.011771 ETH\n\
             \x20 node_directory  0xB2     not there  0.0047 ETH  0.011771 ETH\n\
             \x20 wallet 0xC3 has 0.999999 ETH\n"
        );
        assert_eq!(
            deploy_question(&view()),
            "Deploy 2 contracts for at most 0.011771 ETH in fees?"
        );
    }

    #[test]
    fn a_bill_ends_with_lines_that_a_configuration_takes() {
        let mut view = view();
        for contract in &mut view.contracts {
            contract.state = ContractState::Verified;
        }
        view.contracts[0].transaction = Some(FeeView {
            hash: "0xD4".into(),
            block: 7,
            gas_used: 4_600_000,
            l2_fee_wei: "4600000000000000".into(),
            l1_fee_wei: None,
            l1_estimated: true,
        });
        let text = deployed(&view);
        assert!(
            text.contains("escrow          0xD4             7  4600000  0.0046 ETH"),
            "{text}"
        );
        assert!(text.contains("node_directory  was there"), "{text}");
        let (_, config) = text.split_once("for config.toml:\n").unwrap();
        assert_eq!(
            config,
            "[chain]\nname = \"optimism\"\nescrow = \"0xA1\"\nnode_directory = \"0xB2\"\n"
        );
    }
}

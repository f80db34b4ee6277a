//! The golden document of `gpux contracts`.

use gpux_api::{ContractState, ContractView, ContractsView, FeeEstimateView, FeeView};
use serde_json::json;

#[test]
fn contracts_are_told_with_what_they_cost_in_wei_as_text() {
    let mut escrow = ContractView {
        contract: "escrow".into(),
        address: "0xcDa08436aaC8Cc653370b1DB5ae661990B3958b5".into(),
        state: ContractState::Absent,
        why: None,
        estimate: Some(FeeEstimateView {
            gas: 4_700_000,
            now_wei: "4700000000000000".into(),
            most_wei: "11770000000000000".into(),
        }),
        transaction: None,
    };
    let mut view = ContractsView {
        schema: "gpux.contracts/v1".into(),
        chain: Some("optimism".into()),
        chain_id: 10,
        contracts: vec![escrow.clone()],
        wallet: Some("0x00000000000000000000000000000000000000AA".into()),
        native_wei: Some("1000000000000000000".into()),
        most_wei: Some("11770000000000000".into()),
        fees_wei: None,
    };
    let planned = json!({
        "schema": "gpux.contracts/v1", "chain": "optimism", "chain_id": 10,
        "contracts": [{
            "contract": "escrow", "address": "0xcDa08436aaC8Cc653370b1DB5ae661990B3958b5", "state": "absent",
            "estimate": { "gas": 4_700_000, "now_wei": "4700000000000000", "most_wei": "11770000000000000" }
        }],
        "wallet": "0x00000000000000000000000000000000000000AA", "native_wei": "1000000000000000000",
        "most_wei": "11770000000000000"
    });
    assert_eq!(serde_json::to_value(&view).unwrap(), planned);
    assert_eq!(serde_json::from_value::<ContractsView>(planned).unwrap(), view);

    escrow.state = ContractState::Verified;
    escrow.estimate = None;
    escrow.transaction = Some(FeeView {
        hash: "0x01".into(),
        block: 7,
        gas_used: 4_600_000,
        l2_fee_wei: "4600000000000000".into(),
        l1_fee_wei: None,
        l1_estimated: true,
    });
    view.contracts = vec![escrow];
    let done = serde_json::to_value(&view).unwrap();
    let transaction = json!({
        "hash": "0x01", "block": 7, "gas_used": 4_600_000, "l2_fee_wei": "4600000000000000", "l1_fee_wei": null, "l1_estimated": true
    });
    assert_eq!(done["contracts"][0]["transaction"], transaction);
    assert_eq!(serde_json::to_value(ContractState::Different).unwrap(), "different");
}

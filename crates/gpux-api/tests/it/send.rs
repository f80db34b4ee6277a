//! The golden documents of `gpux wallet send`, and of an address that is paid to.

use gpux_api::{AddressView, FeeEstimateView, FeeView, SendPlanView, SendRequest, SendState, SendView};
use gpux_types::{Amount, Token};
use serde_json::json;

fn usdc() -> Token {
    Token {
        symbol: "USDC".into(),
        decimals: 6,
    }
}

#[test]
fn a_payment_is_planned_and_told_in_smallest_units_and_wei_as_text() {
    let plan = SendPlanView {
        schema: "gpux.send-plan/v1".into(),
        once: "rent".into(),
        to: "0xAb".into(),
        has_checksum: true,
        is_contract: false,
        chain_id: 10,
        chain: Some("optimism".into()),
        token: usdc(),
        token_address: Some("0xCd".into()),
        amount: Amount::new(12_500_000).unwrap(),
        balance: Amount::new(100_000_000).unwrap(),
        set_aside: Amount::ZERO,
        estimate: Some(FeeEstimateView {
            gas: 60_000,
            now_wei: "60000000000".into(),
            most_wei: "150000000000".into(),
        }),
        sent_before: false,
    };
    let expected = json!({
        "schema": "gpux.send-plan/v1", "once": "rent", "to": "0xAb", "has_checksum": true, "is_contract": false,
        "chain_id": 10, "chain": "optimism", "token": { "symbol": "USDC", "decimals": 6 }, "token_address": "0xCd",
        "amount": "12500000", "balance": "100000000", "set_aside": "0",
        "estimate": { "gas": 60_000, "now_wei": "60000000000", "most_wei": "150000000000" }, "sent_before": false
    });
    assert_eq!(serde_json::to_value(&plan).unwrap(), expected);
    assert_eq!(serde_json::from_value::<SendPlanView>(expected).unwrap(), plan);

    let sent = SendView {
        schema: "gpux.send/v1".into(),
        once: "rent".into(),
        to: "0xAb".into(),
        token: usdc(),
        amount: Amount::new(12_500_000).unwrap(),
        state: SendState::Mined,
        hash: "0x01".into(),
        transaction: Some(FeeView {
            hash: "0x01".into(),
            block: 7,
            gas_used: 52_000,
            l2_fee_wei: "52000000000".into(),
            l1_fee_wei: Some("9".into()),
            l1_estimated: false,
        }),
    };
    let expected = json!({
        "schema": "gpux.send/v1", "once": "rent", "to": "0xAb", "token": { "symbol": "USDC", "decimals": 6 },
        "amount": "12500000", "state": "mined", "hash": "0x01",
        "transaction": {
            "hash": "0x01", "block": 7, "gas_used": 52_000, "l2_fee_wei": "52000000000", "l1_fee_wei": "9", "l1_estimated": false
        }
    });
    assert_eq!(serde_json::to_value(&sent).unwrap(), expected);
    assert_eq!(serde_json::from_value::<SendView>(expected).unwrap(), sent);
    assert_eq!(serde_json::to_value(SendState::OnItsWay).unwrap(), "on_its_way");
}

#[test]
fn a_wish_to_send_takes_no_unknown_word_and_what_is_absent_is_the_careful_choice() {
    let wish: SendRequest = serde_json::from_value(json!({ "to": "0xAb", "amount": "1" })).unwrap();
    assert!(!wish.coin && !wish.force && wish.once.is_none());
    let unknown = json!({ "to": "0xAb", "amount": "1", "yes": true });
    assert!(serde_json::from_value::<SendRequest>(unknown).is_err());
}

#[test]
fn an_address_has_its_chain_only_where_one_is_known() {
    let bare = AddressView::from("0xAb".to_owned());
    let expected = json!({ "schema": "gpux.address/v1", "address": "0xAb" });
    assert_eq!(serde_json::to_value(&bare).unwrap(), expected);
    assert_eq!(serde_json::from_value::<AddressView>(expected).unwrap(), bare);
}

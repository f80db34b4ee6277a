//! Golden documents of a node's owner.

use crate::documents::assert_no_float;
use gpux_api::{EarningsView, NodeView, PricesRequest, TakingRequest};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Fails unless the document is written as it was read.
fn assert_written<T: Serialize + DeserializeOwned>(document: &Value) {
    let read: T = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(&serde_json::to_value(&read).unwrap(), document);
    assert_no_float(document);
}

#[test]
fn a_node_is_written_so() {
    let some = json!({ "cpu": "1.5", "memory": "1536MiB", "disk": "1B" });
    let amount = "123456789012345678901";
    let rates = json!({ "cpu_core": amount, "memory_gib": "1", "disk_gib": "0" });
    assert_written::<NodeView>(&json!({
        "schema": "gpux.node/v1",
        "node": "cd".repeat(32),
        "up": 61_000,
        "taking": "paused",
        "token": { "symbol": "DAI", "decimals": 18 },
        "prices": {
            "asked": rates, "configured": rates,
            "standing": {
                "of": some, "own": amount, "others": 3, "cheaper": 1,
                "p10": "1", "p50": amount, "p90": null,
            },
        },
        "total": some, "free": some,
        "leases": [{
            "id": "ab".repeat(32), "state": "awaiting_receipt", "renter": "0x01", "node": "ef".repeat(32),
            "resources": some, "price": amount, "metered": 1_500, "signed": amount, "expiry": 1_800_000_000,
        }],
        "quotes": 2,
        "neighbours": 4,
        "asked": { "quotes": 5, "leases": 2, "refused": { "no_capacity": 1 } },
        "why_idle": [{ "found": "new leases are paused", "hint": "`gpux node resume`" }, { "found": "none asked" }],
    }));
}

#[test]
fn earnings_are_written_so() {
    let amount = "123456789012345678901";
    assert_written::<EarningsView>(&json!({
        "schema": "gpux.earnings/v1",
        "token": { "symbol": "DAI", "decimals": 18 },
        "since": 1_799_000_000, "until": 1_800_000_000,
        "leases": 3, "earned": amount, "metered": 4_500, "disputed": 1,
        "reasons": { "completed": 2, "deposit_used": 1 },
        "days": [{ "day": 1_799_971_200, "leases": 3, "earned": amount, "metered": 4_500 }],
        "open": { "leases": 1, "signed": "7" },
        "fees": { "transactions": 3, "counted": 2, "wei": "21000000000000" },
    }));
}

#[test]
fn an_owners_request_with_an_unknown_field_is_refused() {
    assert!(serde_json::from_value::<TakingRequest>(json!({ "taking": "open", "until": 1 })).is_err());
    assert!(serde_json::from_value::<TakingRequest>(json!({ "taking": "drained" })).is_err());
    assert!(
        serde_json::from_value::<PricesRequest>(json!({ "cpu": 0.05 })).is_err(),
        "an amount is a text"
    );
    let nothing: PricesRequest = serde_json::from_value(json!({})).unwrap();
    assert_eq!(nothing, PricesRequest::default());
}

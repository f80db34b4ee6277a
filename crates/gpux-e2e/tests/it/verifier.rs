//! The demo's verifier, which shares no code with the crates, asked about the money of a job of these tests.

use super::market::Market;
use serde_json::{Value, json};
use std::{fs, process::Command};

const VERIFIER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/verifier");

/// Fails the test unless the verifier finds so many transactions on the chain and every amount of the bill in them. Nothing
/// else may have happened on the chain between the first deposit and the last lease's end.
pub(crate) fn assert_money(market: &Market, job: &str, transactions: u32) {
    let cost: Value = market.ask(&["cost", job]);
    let out = market.path().join("verified");
    fs::create_dir_all(&out).unwrap();
    let verify = |summary: &Value| {
        fs::write(out.join("summary.json"), summary.to_string()).unwrap();
        let mut verifier = Command::new("python3");
        verifier.args(["-B", VERIFIER, "--money-only", "--rpc", &market.rpc.url()]);
        verifier.args(["--escrow", &market.escrow, "--token", &market.token]);
        verifier
            .args(["--transactions", &transactions.to_string(), "--out"])
            .arg(&out);
        let done = verifier.output().expect("python3 is installed");
        (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    let mut summary = summary(market, &cost);
    let (status, said) = verify(&summary);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("verify: all 4 checks hold"), "{said}");
    // One unit more than was paid: the verifier must be able to say no.
    let earned = &mut summary["leases"][0]["earned"];
    *earned = (number(earned) + 1).to_string().into();
    let (status, said) = verify(&summary);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("FAIL  money") && said.contains("FAIL  bill"), "{said}");
}

fn number(amount: &Value) -> u128 {
    amount.as_str().unwrap().parse().unwrap()
}

/// What the verifier reads: the bill in the form of `demo/summary.schema.json`, without frames.
fn summary(market: &Market, cost: &Value) -> Value {
    let leases: Vec<Value> = cost["leases"].as_array().unwrap().iter().map(lease).collect();
    json!({
        "schema": "gpux.demo-summary/v1",
        "network": {
            "rpc": market.rpc.url(), "chain_id": cost["chain_id"], "escrow": cost["escrow"], "token": cost["token_address"],
            "symbol": cost["token"]["symbol"], "decimals": cost["token"]["decimals"],
        },
        "job": { "id": cost["job"], "name": cost["name"] },
        "leases": leases,
        "frames": [],
        "totals": {
            "paid_in": cost["paid_in"], "earned": cost["earned"], "builder": cost["builder"], "refund": cost["refund"],
        },
        "transactions": cost["transactions"],
        "timings": [],
    })
}

fn lease(cost: &Value) -> Value {
    let fields = [
        "hash",
        "kind",
        "block",
        "amount",
        "gas_used",
        "l2_fee_wei",
        "l1_fee_wei",
        "l1_estimated",
    ];
    let transaction = |all: &Value| -> Value {
        let kept = fields.iter().map(|field| ((*field).to_owned(), all[*field].clone()));
        Value::Object(kept.collect())
    };
    let transactions: Vec<Value> = cost["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(transaction)
        .collect();
    json!({
        "id": format!("0x{}", cost["lease"].as_str().unwrap()), "node": cost["node"], "provider": cost["provider"],
        "price_per_hour": cost["price"], "deposit": cost["deposit"], "topped_up": cost["topped_up"],
        "earned": cost["earned"], "builder": cost["builder"], "refund": cost["refund"], "metered_ms": cost["metered"],
        "transactions": transactions,
    })
}

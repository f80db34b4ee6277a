//! Golden documents: names of fields and schemas stay, amounts are texts in the smallest unit, and nothing is a float.

use gpux_api::{
    Actor, CostView, EndView, JobState, JobView, LeaseCost, LeaseState, LeaseView, OfferView, OffersView, PartsView,
    PlanRequest, PreflightView, RunRequest, TopUpRequest, TransactionKind, TransactionView,
};
use gpux_types::{Amount, ByteSize, Cpu, JobId, LeaseId, Millis, NodeId, PricePerHour, Resources, Token, UnixSeconds};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// More than a float can hold: a reader that makes numbers of amounts loses its last digits.
const AMOUNT: u128 = 123_456_789_012_345_678_901;

fn amount() -> Amount {
    Amount::new(AMOUNT).unwrap()
}

fn dai() -> Token {
    Token {
        symbol: "DAI".into(),
        decimals: 18,
    }
}

pub(crate) fn job() -> JobView {
    let end = Some(EndView {
        reason: "the work is done".into(),
        actor: Actor::Renter,
        exit_code: Some(0),
    });
    let lease = LeaseView {
        id: LeaseId([0xab; 32]),
        node: NodeId([0xcd; 32]),
        provider: "0x01".into(),
        state: LeaseState::Settled,
        price: PricePerHour(amount()),
        deposit: amount(),
        topped_up: Amount::ZERO,
        signed: amount(),
        expiry: UnixSeconds(1_800_000_000),
        metered: Millis(1_500),
        parts_done: 2,
        parts_running: 0,
        prepared: ByteSize(1 << 20),
        to_prepare: ByteSize(1 << 20),
        low: false,
        at_risk: None,
        end: end.clone(),
    };
    JobView {
        schema: "gpux.job/v1".into(),
        id: JobId([0x12; 16]),
        name: "first-light".into(),
        state: JobState::Succeeded,
        accepted_at: UnixSeconds(1_800_000_000),
        elapsed: Millis(2_500),
        token: dai(),
        parts: PartsView {
            total: 2,
            done: 2,
            ..PartsView::default()
        },
        leases: vec![lease],
        output: "/tmp/out".into(),
        outputs: Vec::new(),
        ranks: Vec::new(),
        checks: None,
        waits: None,
        end,
    }
}

fn cost() -> CostView {
    let transaction = TransactionView {
        lease: LeaseId([0xab; 32]),
        kind: TransactionKind::TopUp,
        hash: "0x02".into(),
        block: Some(7),
        amount: amount(),
        sender: None,
        gas_used: Some(69_512),
        l2_fee_wei: Some("1".into()),
        l1_fee_wei: None,
        l1_estimated: true,
    };
    let lease = LeaseCost {
        at_risk: None,
        lease: LeaseId([0xab; 32]),
        node: NodeId([0xcd; 32]),
        provider: "0x01".into(),
        price: PricePerHour(amount()),
        deposit: amount(),
        topped_up: amount(),
        earned: amount(),
        builder: amount(),
        refund: amount(),
        signed: amount(),
        metered: Millis(1),
        expiry: UnixSeconds(1),
        transactions: vec![transaction],
    };
    CostView {
        schema: "gpux.cost/v1".into(),
        job: JobId([0x12; 16]),
        name: "first-light".into(),
        token: dai(),
        token_address: "0x03".into(),
        chain_id: 10,
        escrow: "0x04".into(),
        leases: vec![lease],
        paid_in: amount(),
        earned: amount(),
        builder: amount(),
        refund: amount(),
        held: Amount::ZERO,
        balanced: true,
        transactions: 9,
        fees_wei: "1000".into(),
        l1_estimated: false,
    }
}

fn offers() -> OffersView {
    let some = Resources {
        cpu: Cpu { millicores: 1_500 },
        memory: ByteSize(3 << 29),
        disk: ByteSize(1),
    };
    OffersView {
        schema: "gpux.offers/v1".into(),
        token: dai(),
        offers: vec![OfferView {
            node: NodeId([0xcd; 32]),
            provider: "0x01".into(),
            region: None,
            total: some,
            free: some,
            largest: Some(some),
            price: PricePerHour(amount()),
            cpu_score: 1_000,
            age: Millis(10),
        }],
        next: None,
    }
}

/// Fails when any number of `value` is not an integer.
pub(crate) fn assert_no_float(value: &Value) {
    match value {
        Value::Number(number) => assert!(number.is_i64() || number.is_u64(), "{number} is a float"),
        Value::Array(items) => items.iter().for_each(assert_no_float),
        Value::Object(fields) => fields.values().for_each(assert_no_float),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// The document, after showing that it reads back as it was written and holds no float.
fn written<T: Serialize + DeserializeOwned>(document: &T) -> Value {
    let value = serde_json::to_value(document).unwrap();
    let read: T = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), value);
    assert_no_float(&value);
    value
}

#[test]
fn a_job_is_written_so() {
    let end = json!({ "reason": "the work is done", "actor": "renter", "exit_code": 0 });
    let amount = "123456789012345678901";
    let expected = json!({
        "schema": "gpux.job/v1",
        "id": "12".repeat(16),
        "name": "first-light",
        "state": "succeeded",
        "accepted_at": 1_800_000_000,
        "elapsed": 2_500,
        "token": { "symbol": "DAI", "decimals": 18 },
        "parts": { "total": 2, "queued": 0, "running": 0, "done": 2, "failed": 0 },
        "leases": [{
            "id": "ab".repeat(32), "node": "cd".repeat(32), "provider": "0x01", "state": "settled",
            "price": amount, "deposit": amount, "topped_up": "0", "signed": amount,
            "expiry": 1_800_000_000, "metered": 1_500, "parts_done": 2, "parts_running": 0,
            "prepared": "1MiB", "to_prepare": "1MiB", "end": end,
        }],
        "output": "/tmp/out",
        "outputs": [],
        "end": end,
    });
    assert_eq!(written(&job()), expected);
}

#[test]
fn a_bill_is_written_so() {
    let amount = "123456789012345678901";
    let expected = json!({
        "schema": "gpux.cost/v1",
        "job": "12".repeat(16),
        "name": "first-light",
        "token": { "symbol": "DAI", "decimals": 18 },
        "token_address": "0x03",
        "chain_id": 10,
        "escrow": "0x04",
        "leases": [{
            "lease": "ab".repeat(32), "node": "cd".repeat(32), "provider": "0x01", "price": amount,
            "deposit": amount, "topped_up": amount, "earned": amount, "builder": amount, "refund": amount,
            "signed": amount, "metered": 1, "expiry": 1,
            "transactions": [{
                "lease": "ab".repeat(32), "kind": "top_up", "hash": "0x02", "block": 7, "amount": amount,
                "sender": null, "gas_used": 69_512, "l2_fee_wei": "1", "l1_fee_wei": null, "l1_estimated": true,
            }],
        }],
        "paid_in": amount, "earned": amount, "builder": amount, "refund": amount, "held": "0",
        "balanced": true, "transactions": 9, "fees_wei": "1000", "l1_estimated": false,
    });
    assert_eq!(written(&cost()), expected);
}

#[test]
fn offers_are_written_so() {
    let some = json!({ "cpu": "1.5", "memory": "1536MiB", "disk": "1B" });
    let expected = json!({
        "schema": "gpux.offers/v1",
        "token": { "symbol": "DAI", "decimals": 18 },
        "offers": [{
            "node": "cd".repeat(32), "provider": "0x01", "region": null, "total": some, "free": some, "largest": some,
            "price": "123456789012345678901", "cpu_score": 1_000, "age": 10,
        }],
    });
    assert_eq!(written(&offers()), expected);
}

#[test]
fn an_amount_that_is_a_number_is_refused() {
    let mut value = serde_json::to_value(cost()).unwrap();
    value["paid_in"] = json!(1);
    assert!(serde_json::from_value::<CostView>(value.clone()).is_err());
    value["paid_in"] = json!("1.5");
    assert!(serde_json::from_value::<CostView>(value).is_err());
}

#[test]
fn a_request_with_an_unknown_field_is_refused() {
    let request = json!({ "amount": "0.5", "extend": true, "extra": 1 });
    assert!(serde_json::from_value::<TopUpRequest>(request).is_err());
    let plan = json!({ "job_file": "", "directory": "/", "working_directory": "/", "extra": 1 });
    assert!(serde_json::from_value::<PlanRequest>(plan).is_err());
    assert!(serde_json::from_value::<RunRequest>(json!({ "plan": {}, "agreed_total": "1" })).is_err());
}

#[test]
fn what_a_request_may_leave_out_has_a_stated_meaning() {
    let top_up: TopUpRequest = serde_json::from_value(json!({ "amount": "0.5" })).unwrap();
    assert!(!top_up.extend && top_up.agreed_total.is_none());
    let plan = json!({ "job_file": "x", "directory": "/", "working_directory": "/" });
    let plan: PlanRequest = serde_json::from_value(plan).unwrap();
    assert!(plan.set.is_empty() && plan.nodes.is_none() && plan.max_total.is_none() && plan.output.is_none());
}

#[test]
fn states_are_lower_case_words() {
    for (state, word) in [
        (JobState::Quoting, "quoting"),
        (JobState::Starting, "starting"),
        (JobState::Running, "running"),
        (JobState::Settling, "settling"),
        (JobState::Succeeded, "succeeded"),
        (JobState::Failed, "failed"),
        (JobState::Stopped, "stopped"),
    ] {
        assert_eq!(serde_json::to_value(state).unwrap(), json!(word));
    }
    assert_eq!(
        written(&PreflightView::Skipped { reason: "x".into() }),
        json!({ "state": "skipped", "reason": "x" })
    );
    assert_eq!(written(&PreflightView::None), json!({ "state": "none" }));
}

//! Golden documents of the commands that are not in the other files: every field, as it is written.

use gpux_api::{
    Actor, AddressView, AwayLease, AwayView, ContextView, ContextsView, DaemonView, DevnetView, DoctorCheck,
    DoctorView, EndView, ExitView, FilesView, GpuModelView, GpuRegionView, GpusView, JobDetails, JobList, LastLogView,
    LeasePlan, LeaseSide, LogLine, LogView, MistakeView, MoveView, PlanView, PreflightFinding, PreflightView,
    ProcessView, ReceiptView, ReceiptsView, RecordStanding, RejectedOffer, RejectionCounts, RetriedPart, StatementView,
    TermsView, TopUpReply, TransactionKind, TransactionView, ValidationView, WalletView,
};
use gpux_types::{
    Amount, BasisPoints, ByteSize, Cpu, JobId, LeaseId, Millis, NodeId, PartIndex, PricePerHour, Resources, Token,
    UnixSeconds,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// More than a float can hold.
const AMOUNT: &str = "123456789012345678901";

fn amount() -> Amount {
    Amount::new(AMOUNT.parse().unwrap()).unwrap()
}

fn dai() -> Token {
    Token {
        symbol: "DAI".into(),
        decimals: 18,
    }
}

/// Shows that the document is written as `expected`, and that this reads back as the document.
fn assert_written<T: Serialize + DeserializeOwned>(document: &T, expected: &Value) {
    assert_eq!(&serde_json::to_value(document).unwrap(), expected);
    let read: T = serde_json::from_value(expected.clone()).unwrap();
    assert_eq!(&serde_json::to_value(&read).unwrap(), expected);
}

#[test]
fn a_plan_is_written_so() {
    let lease = LeasePlan {
        node: NodeId([0xcd; 32]),
        provider: "0x01".into(),
        region: Some("eu-nl".into()),
        price: PricePerHour(amount()),
        deposit: amount(),
        cpu_score: 1_000,
        reliability: 250,
    };
    let plan = PlanView {
        schema: "gpux.plan/v1".into(),
        name: "first-light".into(),
        image: "oci:build/image:render".into(),
        parts: 48,
        checks: 7,
        resources: Resources {
            cpu: Cpu { millicores: 500 },
            memory: ByteSize(1 << 30),
            disk: ByteSize(2 << 30),
        },
        token: dai(),
        leases: vec![lease],
        offers: 2,
        alternatives: Vec::new(),
        rejected: vec![RejectedOffer {
            node: NodeId([0xef; 32]),
            reasons: vec!["too dear".into()],
        }],
        rejections: Some(RejectionCounts {
            offers: 1,
            by_reason: [("price".to_owned(), 1)].into(),
        }),
        max_duration: Millis(1_800_000),
        deposit: amount(),
        worst_case: amount(),
        balance: amount(),
        builder_share: 500,
        preflight: PreflightView::Passed {
            findings: vec![PreflightFinding {
                level: "warning".into(),
                message: "no camera moves".into(),
            }],
        },
        output: "/home/me/first-light".into(),
    };
    let expected = json!({
        "schema": "gpux.plan/v1", "name": "first-light", "image": "oci:build/image:render", "parts": 48, "checks": 7,
        "resources": { "cpu": "0.5", "memory": "1GiB", "disk": "2GiB" },
        "token": { "symbol": "DAI", "decimals": 18 },
        "leases": [{
            "node": "cd".repeat(32), "provider": "0x01", "region": "eu-nl", "price": AMOUNT, "deposit": AMOUNT,
            "cpu_score": 1_000, "reliability": 250,
        }],
        "offers": 2, "alternatives": [], "rejected": [{ "node": "ef".repeat(32), "reasons": ["too dear"] }],
        "rejections": { "offers": 1, "by_reason": { "price": 1 } },
        "max_duration": 1_800_000, "deposit": AMOUNT, "worst_case": AMOUNT, "balance": AMOUNT, "builder_share": 500,
        "preflight": { "state": "passed", "findings": [{ "level": "warning", "message": "no camera moves" }] },
        "output": "/home/me/first-light",
    });
    assert_written(&plan, &expected);
}

#[test]
fn a_list_of_jobs_is_written_so() {
    let jobs = JobList {
        schema: "gpux.jobs/v1".into(),
        jobs: Vec::new(),
        next: Some("ab".repeat(16)),
    };
    let next = "ab".repeat(16);
    assert_written(&jobs, &json!({ "schema": "gpux.jobs/v1", "jobs": [], "next": next }));
}

#[test]
fn a_line_of_a_log_is_written_so() {
    let line = LogView::from(LogLine {
        node: NodeId([0xcd; 32]),
        part: PartIndex(3),
        values: Some("13-16".into()),
        text: "frame 14".into(),
    });
    let expected = json!({
        "schema": "gpux.log-line/v1", "node": "cd".repeat(32), "part": 3, "values": "13-16", "text": "frame 14",
    });
    assert_written(&line, &expected);
}

#[test]
fn a_top_up_is_written_so() {
    let reply = TopUpReply {
        schema: "gpux.topup/v1".into(),
        leases: vec![TransactionView {
            lease: LeaseId([0xab; 32]),
            kind: TransactionKind::TopUp,
            hash: "0x02".into(),
            block: None,
            amount: amount(),
            sender: Some("0x03".into()),
            gas_used: None,
            l2_fee_wei: None,
            l1_fee_wei: None,
            l1_estimated: false,
        }],
    };
    let expected = json!({
        "schema": "gpux.topup/v1",
        "leases": [{
            "lease": "ab".repeat(32), "kind": "top_up", "hash": "0x02", "block": null, "amount": AMOUNT,
            "sender": "0x03", "gas_used": null, "l2_fee_wei": null, "l1_fee_wei": null, "l1_estimated": false,
        }],
    });
    assert_written(&reply, &expected);
}

#[test]
fn what_is_signed_ahead_is_written_so() {
    let away = AwayView {
        schema: "gpux.away/v1".into(),
        done: true,
        at_risk: amount(),
        leases: vec![AwayLease {
            lease: LeaseId([0xab; 32]),
            node: NodeId([0xcd; 32]),
            horizon: Millis(7_200_000),
            signed_ahead: amount(),
            at_risk: amount(),
        }],
    };
    let expected = json!({
        "schema": "gpux.away/v1", "done": true, "at_risk": AMOUNT,
        "leases": [{
            "lease": "ab".repeat(32), "node": "cd".repeat(32), "horizon": 7_200_000, "signed_ahead": AMOUNT,
            "at_risk": AMOUNT,
        }],
    });
    assert_written(&away, &expected);
}

fn statement() -> StatementView {
    StatementView {
        reason: "completed".into(),
        reason_text: "the work is done".into(),
        by: Actor::Renter,
        metered: Millis(1_500),
        exits: vec![ExitView { code: 0, parts: 2 }],
        other_parts: 1,
        last_log: Some(LastLogView {
            part: PartIndex(1),
            attempt: 0,
            length: 12,
            hash: "0x04".into(),
        }),
        signed: amount(),
        deposit: amount(),
        topped_up: Amount::ZERO,
        earned: amount(),
        builder: Amount::ZERO,
        refund: Amount::ZERO,
        transactions: vec![MoveView {
            kind: TransactionKind::TopUp,
            hash: "0x05".into(),
            amount: amount(),
        }],
        transactions_omitted: 0,
        date: UnixSeconds(1_800_000_000),
        digest: "0x06".into(),
        signature: "0x07".into(),
    }
}

#[test]
fn receipts_are_written_so() {
    let terms = TermsView {
        chain_id: 10,
        escrow: "0x08".into(),
        renter: "0x09".into(),
        receipt_key: "0x0a".into(),
        provider: "0x0b".into(),
        provider_signer: "0x0c".into(),
        token: "0x0d".into(),
        builder: "0x0e".into(),
        builder_share: BasisPoints::ZERO,
        grace_secs: 86_400,
        salt: "0x0f".into(),
    };
    let receipts = ReceiptsView {
        next: None,
        schema: "gpux.receipts/v1".into(),
        token: dai(),
        receipts: vec![ReceiptView {
            lease: LeaseId([0xab; 32]),
            side: LeaseSide::Renter,
            job: JobId([0x12; 16]),
            name: "first-light".into(),
            node: NodeId([0xcd; 32]),
            standing: RecordStanding::OneSided,
            differs: Vec::new(),
            price: PricePerHour(amount()),
            terms,
            renter: Some(statement()),
            provider: None,
        }],
    };
    let expected = json!({
        "schema": "gpux.receipts/v1",
        "token": { "symbol": "DAI", "decimals": 18 },
        "receipts": [{
            "lease": "ab".repeat(32), "side": "renter", "job": "12".repeat(16), "name": "first-light",
            "node": "cd".repeat(32), "standing": "one_sided", "differs": [], "price": AMOUNT,
            "terms": {
                "chain_id": 10, "escrow": "0x08", "renter": "0x09", "receipt_key": "0x0a", "provider": "0x0b",
                "provider_signer": "0x0c", "token": "0x0d", "builder": "0x0e", "builder_share": 0,
                "grace_secs": 86_400, "salt": "0x0f",
            },
            "renter": {
                "reason": "completed", "reason_text": "the work is done", "by": "renter", "metered": 1_500,
                "exits": [{ "code": 0, "parts": 2 }], "other_parts": 1,
                "last_log": { "part": 1, "attempt": 0, "length": 12, "hash": "0x04" },
                "signed": AMOUNT, "deposit": AMOUNT, "topped_up": "0", "earned": AMOUNT, "builder": "0", "refund": "0",
                "transactions": [{ "kind": "top_up", "hash": "0x05", "amount": AMOUNT }],
                "transactions_omitted": 0, "date": 1_800_000_000, "digest": "0x06", "signature": "0x07",
            },
            "provider": null,
        }],
    });
    assert_written(&receipts, &expected);
}

#[test]
fn a_wallet_and_an_address_are_written_so() {
    let wallet = WalletView {
        schema: "gpux.wallet/v1".into(),
        address: "0x01".into(),
        chain_id: 10,
        token: dai(),
        token_address: "0x02".into(),
        balance: amount(),
        native_wei: "1000000000000000000".into(),
    };
    let expected = json!({
        "schema": "gpux.wallet/v1", "address": "0x01", "chain_id": 10, "token": { "symbol": "DAI", "decimals": 18 },
        "token_address": "0x02", "balance": AMOUNT, "native_wei": "1000000000000000000",
    });
    assert_written(&wallet, &expected);
    let address = AddressView::from("0x01".to_owned());
    assert_written(&address, &json!({ "schema": "gpux.address/v1", "address": "0x01" }));
}

#[test]
fn what_doctor_finds_is_written_so() {
    let check = |ok: bool, hint: Option<&str>| DoctorCheck {
        name: "chain".into(),
        ok,
        found: "block 7".into(),
        hint: hint.map(str::to_owned),
    };
    let doctor = DoctorView {
        schema: "gpux.doctor/v1".into(),
        checks: vec![check(true, None), check(false, Some("start it"))],
    };
    let expected = json!({
        "schema": "gpux.doctor/v1",
        "checks": [
            { "name": "chain", "ok": true, "found": "block 7" },
            { "name": "chain", "ok": false, "found": "block 7", "hint": "start it" },
        ],
    });
    assert_written(&doctor, &expected);
}

#[test]
fn a_devnet_and_a_daemon_are_written_so() {
    let devnet = DevnetView {
        schema: "gpux.devnet/v1".into(),
        chain_id: 901,
        rpc_url: "http://127.0.0.1:8545".into(),
        escrow: "0x01".into(),
        token: "0x02".into(),
        token_symbol: "DAI".into(),
        renter_dir: "/home/me/.gpux/devnet/renter".into(),
        processes: vec![ProcessView {
            name: "renter".into(),
            pid: 7,
            start_ticks: 8,
            alive: true,
            dir: "/home/me/.gpux/devnet/renter".into(),
        }],
    };
    let expected = json!({
        "schema": "gpux.devnet/v1", "chain_id": 901, "rpc_url": "http://127.0.0.1:8545", "escrow": "0x01",
        "token": "0x02", "token_symbol": "DAI", "renter_dir": "/home/me/.gpux/devnet/renter",
        "processes": [{
            "name": "renter", "pid": 7, "start_ticks": 8, "alive": true, "dir": "/home/me/.gpux/devnet/renter",
        }],
    });
    assert_written(&devnet, &expected);
    let daemon = DaemonView {
        schema: "gpux.daemon/v1".into(),
        version: "0.1.0".into(),
        pid: 7,
        node: NodeId([0xcd; 32]),
        ticket: "t".into(),
        wallet: "0x01".into(),
        chain_id: 901,
        escrow: "0x02".into(),
        provides: false,
        offers: 3,
        leases: 1,
    };
    let expected = json!({
        "schema": "gpux.daemon/v1", "version": "0.1.0", "pid": 7, "node": "cd".repeat(32), "ticket": "t",
        "wallet": "0x01", "chain_id": 901, "escrow": "0x02", "provides": false, "offers": 3, "leases": 1,
    });
    assert_written(&daemon, &expected);
}

#[test]
fn documents_of_this_machine_alone_are_written_so() {
    let mistake = MistakeView {
        line: Some(3),
        column: Some(1),
        message: "unknown key \"imagee\"".into(),
    };
    let wrong = ValidationView::wrong("gpux.yaml".into(), mistake);
    let expected = json!({
        "schema": "gpux.validation/v1", "file": "gpux.yaml", "valid": false, "name": null, "nodes": null,
        "parts": null, "explanation": null,
        "mistake": { "line": 3, "column": 1, "message": "unknown key \"imagee\"" },
    });
    assert_written(&wrong, &expected);
    let files = FilesView::from(vec!["gpux.yaml".to_owned()]);
    assert_written(&files, &json!({ "schema": "gpux.files/v1", "files": ["gpux.yaml"] }));
    let contexts = ContextsView::from(vec![ContextView {
        name: Some("default".into()),
        folder: "/home/me/.gpux".into(),
        current: true,
        running: false,
    }]);
    let expected = json!({
        "schema": "gpux.contexts/v1",
        "contexts": [{ "name": "default", "folder": "/home/me/.gpux", "current": true, "running": false }],
    });
    assert_written(&contexts, &expected);
}

#[test]
fn the_gpus_of_a_market_are_written_so() {
    let price = PricePerHour(amount());
    let view = GpusView {
        schema: "gpux.gpus/v1".into(),
        token: dai(),
        models: vec![GpuModelView {
            model: "rtx-4090".into(),
            nodes: 1,
            total: 8,
            free: 3,
            largest: 2,
            p10: price,
            p50: price,
            p90: price,
            regions: vec![GpuRegionView {
                region: None,
                nodes: 1,
                total: 8,
                free: 3,
                cheapest: price,
            }],
        }],
    };
    let expected = json!({
        "schema": "gpux.gpus/v1", "token": { "symbol": "DAI", "decimals": 18 },
        "models": [{
            "model": "rtx-4090", "nodes": 1, "total": 8, "free": 3, "largest": 2, "p10": AMOUNT, "p50": AMOUNT,
            "p90": AMOUNT,
            "regions": [{ "region": null, "nodes": 1, "total": 8, "free": 3, "cheapest": AMOUNT }],
        }],
    });
    assert_written(&view, &expected);
}

#[test]
fn all_of_a_job_is_written_so() {
    let details = JobDetails {
        schema: "gpux.job-details/v1".into(),
        job: crate::documents::job(),
        ends_by_itself: Some(UnixSeconds(1_800_000_600)),
        retried: vec![RetriedPart {
            part: PartIndex(3),
            values: None,
            tries: 2,
            lease: LeaseId([0xab; 32]),
            node: NodeId([0xcd; 32]),
            failed: true,
            why: Some(EndView {
                reason: "exited with 3".into(),
                actor: Actor::Renter,
                exit_code: Some(3),
            }),
        }],
        retried_in_all: 1,
    };
    let expected = json!({
        "schema": "gpux.job-details/v1",
        "job": serde_json::to_value(crate::documents::job()).unwrap(),
        "ends_by_itself": 1_800_000_600,
        "retried": [{
            "part": 3, "tries": 2, "lease": "ab".repeat(32), "node": "cd".repeat(32), "failed": true,
            "why": { "reason": "exited with 3", "actor": "renter", "exit_code": 3 },
        }],
        "retried_in_all": 1,
    });
    assert_written(&details, &expected);
}

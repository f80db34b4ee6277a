//! Which exit status says what: each code its own, but for a followed `gpux run`, whose statuses are its job's and 125.

use crate::{
    daemon::{self, Answers},
    home::{Ended, Home},
};
use serde_json::{Value, json};

/// Every code that a daemon refuses with, and the status that it has elsewhere.
const CODES: &[(&str, i32)] = &[
    ("internal", 1),
    ("conflict", 1),
    ("invalid_input", 2),
    ("preflight_failed", 2),
    ("no_match", 3),
    ("insufficient_funds", 4),
    ("over_budget", 4),
    ("not_authorised", 5),
    ("not_found", 6),
    ("timed_out", 7),
    ("unreachable", 8),
    ("provider_fault", 10),
];
const ID: &str = "12121212121212121212121212121212";

fn plan() -> String {
    json!({
        "schema": "gpux.plan/v1", "name": "shot", "image": "oci:image:shot", "parts": 1,
        "resources": { "cpu": "2", "memory": "4GiB", "disk": "10GiB" }, "token": { "symbol": "DAI", "decimals": 18 },
        "leases": [], "alternatives": [], "rejected": [], "max_duration": 1, "deposit": "1", "worst_case": "1",
        "balance": "1", "builder_share": 0, "preflight": { "state": "none" }, "output": "/tmp/shot",
    })
    .to_string()
}

fn job(state: &str, end: &Value) -> String {
    json!({
        "schema": "gpux.job/v1", "id": ID, "name": "shot", "state": state, "accepted_at": 1, "elapsed": 1,
        "token": { "symbol": "DAI", "decimals": 18 },
        "parts": { "total": 1, "queued": 0, "running": 0, "done": 0, "failed": 1 },
        "leases": [], "output": "/tmp/shot", "outputs": [], "end": end,
    })
    .to_string()
}

fn cost() -> String {
    json!({
        "schema": "gpux.cost/v1", "job": ID, "name": "shot", "token": { "symbol": "DAI", "decimals": 18 },
        "token_address": "0x03", "chain_id": 10, "escrow": "0x04", "leases": [], "paid_in": "1", "earned": "0",
        "builder": "0", "refund": "1", "held": "0", "balanced": true, "transactions": 2, "fees_wei": "1",
        "l1_estimated": false,
    })
    .to_string()
}

/// A followed run of a job that ends so.
fn run_to(state: &str, end: &Value) -> Ended {
    let home = Home::new();
    let answers: Answers = [
        (("POST", "/v1/plan"), (200, plan())),
        (("POST", "/v1/jobs"), (200, job("starting", &Value::Null))),
        (
            ("GET", "/v1/jobs/12121212121212121212121212121212/watch"),
            (200, format!("{}\n", job(state, end))),
        ),
        (
            (
                "GET",
                "/v1/jobs/12121212121212121212121212121212/logs?failed=true&tail=50",
            ),
            (200, String::new()),
        ),
        (("GET", "/v1/jobs/12121212121212121212121212121212/cost"), (200, cost())),
    ]
    .into();
    daemon::listen(home.path(), answers);
    home.file("shot.yaml", "gpux: 1\n");
    home.run(&["run", "shot.yaml", "-y"])
}

#[test]
fn every_failure_of_a_followed_run_that_is_not_its_jobs_ends_with_125_and_keeps_its_code() {
    for (code, status) in CODES {
        let home = Home::new();
        let error = json!({ "code": code, "message": "m", "hint": "h", "retryable": false, "docs": "d" });
        let refusal = (409, json!({ "error": error }).to_string());
        daemon::listen(home.path(), [(("POST", "/v1/plan"), refusal)].into());
        home.file("shot.yaml", "gpux: 1\n");
        for (words, status) in [
            (&["run", "shot.yaml", "-y"][..], 125),
            (&["run", "shot.yaml", "-y", "--logs"], 125),
            (&["run", "shot.yaml", "-y", "--detach"], *status),
            (&["plan", "shot.yaml"], *status),
        ] {
            let told = home.run(&[words, &["--json"]].concat());
            assert_eq!((told.status, told.error()), (status, error.clone()), "{words:?}");
            assert_eq!(home.run(words).status, status, "{words:?} {code}");
        }
    }
}

#[test]
fn a_followed_run_that_cannot_be_understood_ends_with_125_too() {
    let home = Home::new();
    for (words, status) in [
        (&["run"][..], 125),
        (&["run", "--frobnicate", "x.yaml"], 125),
        (&["--json", "run", "x.yaml", "--set", "novalue"], 125),
        (&["run", "-d", "--frobnicate", "x.yaml"], 2),
        (&["run", "missing.yaml", "-y"], 125),
        (&["plan", "missing.yaml"], 2),
        (&["frobnicate", "run"], 2),
        (&["run", "--help"], 0),
    ] {
        let ended = home.run(words);
        assert_eq!(ended.status, status, "{words:?}: {}", ended.talk);
    }
}

#[test]
fn a_job_that_ends_without_an_exit_code_of_its_own_ends_its_run_with_125() {
    let end = |actor: &str, code: Option<i32>| json!({ "reason": "r", "actor": actor, "exit_code": code });
    for (state, actor, code, status) in [
        ("failed", "renter", Some(7), 7),
        ("failed", "renter", Some(255), 255),
        ("failed", "renter", Some(0), 125),
        ("failed", "renter", Some(-1), 125),
        ("failed", "provider", None, 125),
        ("failed", "chain", None, 125),
        ("stopped", "renter", None, 125),
    ] {
        let ended = run_to(state, &end(actor, code));
        assert_eq!(
            ended.status, status,
            "{state} by the {actor} with {code:?}: {}",
            ended.talk
        );
    }
    assert_eq!(run_to("succeeded", &Value::Null).status, 0);
}

//! What programs see of a followed job: the events of `docs/spec/run-events.md`, to the letter, and nothing else anywhere.

use crate::{
    daemon::{self, Answers},
    home::{Ended, Home},
};
use gpux_api::{JobView, RunEvent, RunEventKind};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const ID: &str = "12121212121212121212121212121212";

fn token() -> Value {
    json!({ "symbol": "DAI", "decimals": 18 })
}

fn plan() -> Value {
    json!({
        "schema": "gpux.plan/v1", "name": "shot", "image": "oci:image:shot", "parts": 2,
        "resources": { "cpu": "2", "memory": "4GiB", "disk": "10GiB" }, "token": token(),
        "leases": [{
            "node": "aa".repeat(32), "provider": "0x01", "region": "eu-nl", "price": "200000000000000000",
            "deposit": "100000000000000000", "cpu_score": 1_000, "reliability": 500,
        }],
        "offers": 3, "alternatives": [], "rejected": [], "max_duration": 1_800_000, "deposit": "100000000000000000",
        "worst_case": "100000000000000000", "balance": "1000000000000000000", "builder_share": 0,
        "preflight": { "state": "none" }, "output": "/home/you/shot",
    })
}

/// A view of the job: its state, time, the lease's state and receipt, and what is done.
fn view(state: &str, elapsed: u64, lease: (&str, &str), done: u32, end: &Value) -> Value {
    let (lease, signed) = lease;
    let output = json!({
        "path": "0001.png", "part": 0, "node": "aa".repeat(32), "lease": "ab".repeat(32), "hash": "ef".repeat(32),
        "size": "1MiB",
    });
    let outputs: Vec<&Value> = (0..done).map(|_| &output).collect();
    let over = state == "failed";
    json!({
        "schema": "gpux.job/v1", "id": ID, "name": "shot", "state": state, "accepted_at": 1_800_000_000,
        "elapsed": elapsed, "token": token(),
        "parts": {
            "total": 2, "queued": 0, "running": if over { 0 } else { 2 - done }, "done": done,
            "failed": if over { 1 } else { 0 },
        },
        "leases": [{
            "id": "ab".repeat(32), "node": "aa".repeat(32), "provider": "0x01", "state": lease,
            "price": "200000000000000000", "deposit": "100000000000000000", "topped_up": "0", "signed": signed,
            "expiry": 1_800_002_100, "metered": if done > 0 { 9_000 } else { 0 }, "parts_done": done,
            "parts_running": if over { 0 } else { 2 - done }, "prepared": "0B", "to_prepare": "8MiB", "end": null,
        }],
        "output": "/home/you/shot", "outputs": outputs, "end": end,
    })
}

fn cost() -> Value {
    json!({
        "schema": "gpux.cost/v1", "job": ID, "name": "shot", "token": token(), "token_address": "0x03", "chain_id": 10,
        "escrow": "0x04", "leases": [], "paid_in": "100000000000000000", "earned": "500000000000000", "builder": "0",
        "refund": "99500000000000000", "held": "0", "balanced": true, "transactions": 2, "fees_wei": "1000",
        "l1_estimated": false,
    })
}

/// A job that writes one file, fails, and is settled, as its daemon tells it.
pub(crate) fn answers() -> Answers {
    let accepted = view("starting", 0, ("opening", "0"), 0, &Value::Null);
    let end = json!({ "reason": "part 1 failed too often", "actor": "renter", "exit_code": 7 });
    let views = [
        accepted.clone(),
        view("running", 2_100, ("running", "277777777777777"), 0, &Value::Null),
        view("running", 9_300, ("running", "555555555555555"), 1, &Value::Null),
        view("failed", 10_400, ("settled", "555555555555555"), 1, &end),
    ];
    let views: Vec<String> = views.iter().map(|view| format!("{view}\n")).collect();
    let line = json!({ "node": "aa".repeat(32), "part": 1, "text": "there is no camera" });
    let answers = [
        (("POST", "/v1/plan"), (200, plan().to_string())),
        (("POST", "/v1/jobs"), (200, accepted.to_string())),
        (
            ("GET", "/v1/jobs/12121212121212121212121212121212/watch"),
            (200, views.concat()),
        ),
        (
            (
                "GET",
                "/v1/jobs/12121212121212121212121212121212/logs?failed=true&tail=50",
            ),
            (200, format!("{line}\n")),
        ),
        (
            ("GET", "/v1/jobs/12121212121212121212121212121212/logs?follow=true"),
            (200, format!("{line}\n{line}\n")),
        ),
        (
            ("GET", "/v1/jobs/12121212121212121212121212121212/cost"),
            (200, cost().to_string()),
        ),
    ];
    answers.into()
}

/// Runs that job.
fn run(words: &[&str]) -> Ended {
    let home = Home::new();
    daemon::listen(home.path(), answers());
    home.file("shot.yaml", "gpux: 1\n");
    home.run(&[&["run", "shot.yaml"], words].concat())
}

fn events(ended: &Ended) -> Vec<RunEvent> {
    ended
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn names(ended: &Ended) -> Vec<String> {
    let name = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap()["event"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    ended.out.lines().map(name).collect()
}

fn document(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec").join(name)
}

#[test]
fn a_followed_job_is_told_to_programs_as_the_document_says() {
    let ended = run(&["-y", "--json"]);
    assert_eq!(ended.talk, "", "nothing is said to people");
    assert_eq!(ended.status, 7, "the part's own exit code");
    let text = std::fs::read_to_string(document("run-events.md")).unwrap();
    let (_, example) = text.split_once("```json\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    assert_eq!(ended.out, example, "docs/spec/run-events.md shows something else");
}

#[test]
fn the_last_event_has_the_whole_job_and_its_bill() {
    let ended = run(&["-y", "--json"]);
    let Some(RunEvent {
        what: RunEventKind::Ended { job, cost },
        ..
    }) = events(&ended).pop()
    else {
        unreachable!("{}", ended.out);
    };
    assert_eq!(job.end.unwrap().exit_code, Some(7));
    assert_eq!((job.outputs.len(), cost.transactions), (1, 2));
}

#[test]
fn with_logs_every_line_is_an_event_and_none_is_repeated_at_the_end() {
    let ended = run(&["-y", "--json", "--logs"]);
    assert_eq!(ended.talk, "");
    let lines = names(&ended).iter().filter(|name| *name == "log").count();
    assert_eq!(lines, 2, "{}", ended.out);
    assert_eq!(names(&ended).last().unwrap(), "ended", "no word comes after the end");
    assert_eq!(events(&ended).len(), names(&ended).len());
}

#[test]
fn without_a_yes_a_program_gets_the_plan_and_a_refusal() {
    let ended = run(&["--json"]);
    assert_eq!((ended.status, names(&ended)), (125, vec!["plan".to_owned()]));
    let error: Value = serde_json::from_str(&ended.talk).unwrap();
    assert_eq!(error["error"]["code"], "invalid_input");
}

#[test]
fn a_detached_run_prints_the_jobs_document_alone() {
    let ended = run(&["-y", "--json", "--detach"]);
    assert_eq!((ended.status, ended.talk.as_str()), (0, ""));
    let job: JobView = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(job.schema, "gpux.job/v1");
}

#[test]
fn people_see_no_events() {
    let ended = run(&["-y"]);
    assert_eq!((ended.status, ended.out.as_str()), (7, "/home/you/shot\n"));
    assert!(
        ended.talk.contains("there is no camera") && ended.talk.contains("1/2 parts"),
        "{}",
        ended.talk
    );
}

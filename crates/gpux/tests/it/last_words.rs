//! Who waits for a job that fails, or asks why it did, sees the end of what failed.

use crate::{
    daemon::{self, Answers},
    home::Home,
};
use serde_json::{Value, json};

const ID: &str = "12121212121212121212121212121212";
const FAILED: &str = "/v1/jobs/12121212121212121212121212121212/logs?failed=true&tail=50";

/// The home of a daemon whose job `shot` failed after writing a line.
fn home() -> Home {
    let end = json!({ "reason": "part 0 exited with 3", "actor": "renter", "exit_code": 3 });
    let job = json!({
        "schema": "gpux.job/v1", "id": ID, "name": "shot", "state": "failed", "accepted_at": 1, "elapsed": 1,
        "token": { "symbol": "DAI", "decimals": 18 },
        "parts": { "total": 1, "queued": 0, "running": 0, "done": 0, "failed": 1 },
        "leases": [], "output": "/tmp/shot", "outputs": [], "end": end,
    });
    let line = json!({ "schema": "gpux.log-line/v1", "node": "aa".repeat(32), "part": 0, "text": "no such scene" });
    let answers: Answers = [
        (("GET", "/v1/jobs/shot"), (200, job.to_string())),
        (("GET", "/v1/jobs/shot/watch"), (200, format!("{job}\n"))),
        (("GET", FAILED), (200, format!("{line}\n"))),
    ]
    .into();
    let home = Home::new();
    daemon::listen(home.path(), answers);
    home
}

#[test]
fn waiting_for_a_job_that_fails_shows_the_last_lines_of_what_failed() {
    let waited = home().run(&["wait", "shot"]);
    assert_eq!(waited.status, 9);
    assert!(waited.talk.contains("part 0] no such scene"), "{}", waited.talk);
    assert!(
        waited.out.contains("shot failed: part 0 exited with 3"),
        "{}",
        waited.out
    );
    let told = home().run(&["wait", "shot", "--json"]);
    assert_eq!((told.status, told.talk.as_str()), (9, ""));
    let document: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(document["schema"], "gpux.job/v1", "one document and nothing else");
}

#[test]
fn a_diagnosis_says_who_ended_it_and_shows_the_last_lines_of_what_failed() {
    let told = home().run(&["logs", "shot", "--diagnose"]);
    assert_eq!(told.status, 0);
    assert!(
        told.talk.contains("shot failed: part 0 exited with 3 (by the renter)"),
        "{}",
        told.talk
    );
    assert_eq!(told.out, "[aaaaaaaa part 0] no such scene\n");
    let lines = home().run(&["logs", "shot", "--diagnose", "--json"]);
    assert_eq!((lines.status, lines.talk.as_str()), (0, ""));
    assert!(lines.out.contains("gpux.log-line/v1"), "{}", lines.out);
}

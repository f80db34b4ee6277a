//! How a job that fails by itself ends for scripts.

use super::{job, market::Market};
use gpux_api::{JobState, RunEvent, RunEventKind};
use std::fs;

/// What the failing part says before it ends.
const LAST_WORDS: &str = "there is no camera in this scene";

#[test]
fn the_exit_code_of_the_first_part_that_failed_is_that_of_gpux_run() {
    let market = Market::start(2);
    let script = format!(
        "if [ $GPUX_ARRAY_INDEX -eq 1 ]; then sleep 1; echo {LAST_WORDS}; exit 7; fi; sleep 60; echo > /out/late.txt"
    );
    let file = market.path().join("broken.yaml");
    fs::write(&file, job::file("broken", 2, 2, &script)).unwrap();
    let ended = market.run(&["run", file.to_str().unwrap(), "-y"]);
    assert_eq!(ended.status.code(), Some(7), "{ended:?}");
    let talk = String::from_utf8(ended.stderr).unwrap();
    assert!(talk.contains(LAST_WORDS), "it shows why: {talk}");

    let job = market.job("broken");
    assert_eq!(job.end.as_ref().and_then(|end| end.exit_code), Some(7), "{:?}", job.end);
    assert_eq!(job.state, JobState::Failed);
    let waited = market.run(&["wait", "broken"]);
    assert_eq!(waited.status.code(), Some(9), "waiting tells that it failed");
    let cost = market.cost("broken");
    assert!(cost.balanced && cost.held.units() == 0, "{cost:?}");

    let told = market.run(&["run", file.to_str().unwrap(), "-y", "--json"]);
    assert_eq!(told.status.code(), Some(7), "{told:?}");
    assert!(
        told.stderr.is_empty(),
        "programs are told events and nothing else: {told:?}"
    );
    assert_events(&String::from_utf8(told.stdout).unwrap());
}

/// The events of a job that failed: from its plan, over the words of its failed part, to its end.
fn assert_events(text: &str) {
    let events: Vec<RunEventKind> = text
        .lines()
        .map(|line| serde_json::from_str::<RunEvent>(line).unwrap().what)
        .collect();
    assert!(matches!(events.first(), Some(RunEventKind::Plan { .. })), "{text}");
    assert!(matches!(events.get(1), Some(RunEventKind::Accepted { .. })), "{text}");
    let said = |event: &RunEventKind| matches!(event, RunEventKind::Log { line } if line.text == LAST_WORDS);
    assert_eq!(events.iter().filter(|event| said(event)).count(), 1, "{text}");
    let Some(RunEventKind::Ended { job, cost }) = events.last() else {
        unreachable!("{text}");
    };
    assert_eq!(job.end.as_ref().and_then(|end| end.exit_code), Some(7));
    assert!(cost.balanced, "{cost:?}");
}

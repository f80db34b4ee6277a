//! Following a job is one thing, the job another.

use super::{job::Job, market::Market, process::Process};
use gpux_api::{JobState, RunEvent, RunEventKind};
use std::{process::Stdio, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn ctrl_c_ends_the_command_that_follows_and_leaves_the_job_alone() {
    const JOB: Job = Job {
        name: "left-alone",
        nodes: 1,
        parts: 1,
        seconds: 10,
    };
    let market = Market::start(1);
    let (file, output) = (market.write_job(&JOB), market.output(&JOB));
    let mut command = market.command(&["run", &file, "-y", "--json", "--output", &output]);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut follower = command.spawn().unwrap();
    market.await_job(&mut follower, "left-alone");
    market.job_when("left-alone", "its part to run", MINUTE, |job| {
        job.state == JobState::Running
    });
    Process::of(follower.id()).expect("it follows").signal("INT");
    let ended = follower.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
    assert!(ended.stderr.is_empty(), "{ended:?}");
    let text = String::from_utf8(ended.stdout).unwrap();
    let last: RunEvent = serde_json::from_str(text.lines().last().expect("events")).unwrap();
    let RunEventKind::Detached { job: id, name } = last.what else {
        unreachable!("{text}");
    };

    let job = market.job("left-alone");
    assert_eq!((job.id, job.name), (id, name));
    assert!(!job.state.is_over(), "it goes on: {:?}", job.state);
    let waited = market.run(&["wait", "left-alone"]);
    assert_eq!(waited.status.code(), Some(0), "{waited:?}");
    market.assert_outputs(&JOB);
}

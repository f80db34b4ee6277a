//! Tasks: one command on one node, from its file to its exit code.

use super::{job, market::Market};
use gpux_api::JobState;
use std::fs;

/// A task file whose command is `script`, which must hold no double quotes.
fn file(name: &str, nodes: u32, script: &str) -> String {
    format!(
        r#"gpux: 1
kind: task
name: {name}
image: oci:image:e2e
nodes: {nodes}
resources: {{ cpu: 0.5, memory: 256MiB, disk: 64MiB }}
task: {{ collect: /out/*.txt }}
run: ["{}", "-euc", "{script}"]
budget: {{ max_duration: 10m }}
"#,
        job::SHELL
    )
}

#[test]
fn a_task_hands_back_what_it_made_and_its_exit_code_is_that_of_gpux_run() {
    let market = Market::start(1);
    let run = |name: &str, script: &str| {
        let path = market.path().join(format!("{name}.yaml"));
        fs::write(&path, file(name, 1, script)).unwrap();
        let output = market.path().join(format!("{name}-out"));
        let ended = market.run(&[
            "run",
            path.to_str().unwrap(),
            "-y",
            "--output",
            output.to_str().unwrap(),
        ]);
        (ended, output)
    };
    let script = "test $GPUX_DEADLINE -gt 1700000000; echo $GPUX_NODE_RANK of $GPUX_NUM_NODES > /out/made.txt";
    let (ended, output) = run("well", script);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(fs::read_to_string(output.join("made.txt")).unwrap(), "0 of 1\n");
    assert_eq!(market.job("well").state, JobState::Succeeded);

    let (ended, _) = run("badly", "exit 3");
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
    let end = market.job("badly").end.expect("it failed");
    assert_eq!(
        (end.reason.as_str(), end.exit_code),
        ("the task exited with 3", Some(3))
    );
}

//! Tasks: one command on one node, from its file to its exit code; and gangs, whose ranks start together or not at all.

use super::{job, market::Market};
use gpux_api::{Actor, JobList, JobState, JobView, RankState};
use gpux_types::{Amount, Millis};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

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

/// Runs a task to its end; its results are in the folder.
fn run(market: &Market, name: &str, nodes: u32, script: &str) -> (Output, PathBuf) {
    let path = market.path().join(format!("{name}.yaml"));
    fs::write(&path, file(name, nodes, script)).unwrap();
    let output = market.path().join(format!("{name}-out"));
    let ended = market.run(&[
        "run",
        path.to_str().unwrap(),
        "-y",
        "--output",
        output.to_str().unwrap(),
    ]);
    (ended, output)
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

#[test]
fn a_compose_file_runs_as_it_does_at_home() {
    let market = Market::start(1);
    fs::create_dir(market.path().join("data")).unwrap();
    fs::write(market.path().join("data/word.txt"), "heard").unwrap();
    let path = market.path().join("compose.yaml");
    let text = r#"
services:
  at_home:
    image: oci:image:e2e
    command: -euc 'read word < /in/data/word.txt || true; echo "$$word, $$LEVEL" > /out/made.txt'
    environment: [LEVEL=3]
    volumes: ["./data:/in/data:ro", "./results:/out"]
    deploy: { resources: { limits: { cpus: "0.5", memory: 256m } } }
x-gpux: { task: { collect: /out/*.txt }, budget: { max_duration: 10m } }
"#;
    fs::write(&path, text).unwrap();
    let ended = market.run(&["run", path.to_str().unwrap(), "-y"]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let made = fs::read_to_string(market.path().join("results/made.txt")).unwrap();
    assert_eq!(
        made, "heard, 3\n",
        "the image's entrypoint ran the command of the service"
    );
    assert_eq!(market.job("at-home").state, JobState::Succeeded);
}

/// Each rank's state and why it ended, in their order.
fn ranks(job: &JobView) -> Vec<(RankState, Option<&str>)> {
    job.ranks.iter().map(|rank| (rank.state, rank.why.as_deref())).collect()
}

#[test]
fn a_gang_starts_together_hands_back_each_ranks_files_and_stops_together() {
    let market = Market::start(3);
    // Their nodes are of one machine, and so of one clock.
    let script = "read up rest < /proc/uptime; echo $up > /out/began.txt; sleep 1";
    let (ended, output) = run(&market, "together", 3, script);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let began: Vec<f64> = (0..3).map(|rank| began(&output, rank)).collect();
    let spread =
        began.iter().fold(f64::MIN, |max, at| max.max(*at)) - began.iter().fold(f64::MAX, |min, at| min.min(*at));
    assert!(spread < 1.0, "{began:?}");
    assert_eq!(ranks(&market.job("together")), [(RankState::Done, None); 3]);

    let script = "if [ $GPUX_NODE_RANK -eq 1 ]; then sleep 1; exit 3; fi; sleep 60; echo > /out/late.txt";
    let (ended, output) = run(&market, "broken", 3, script);
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
    let job = market.job("broken");
    let end = job.end.as_ref().expect("it failed");
    assert_eq!(end.reason, "rank 1 exited with 3; GPUX stopped the others");
    assert_eq!((end.actor, end.exit_code), (Actor::Renter, Some(3)));
    let stopped = (RankState::Stopped, Some("stopped by GPUX because rank 1 exited with 3"));
    let failed = (RankState::Failed, Some("rank 1 exited with 3"));
    assert_eq!(ranks(&job), [stopped, failed, stopped]);
    let talk = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(
        talk.matches("stopped by GPUX because rank 1 exited with 3").count(),
        2,
        "{talk}"
    );
    assert!(!output.join("rank-0").exists(), "nothing of a stopped rank is a result");
    let cost = market.cost("broken");
    assert!(
        cost.balanced && cost.earned > Amount::ZERO && cost.held == Amount::ZERO,
        "{cost:?}"
    );
}

/// When a rank began, in seconds since the machine started.
fn began(output: &Path, rank: u32) -> f64 {
    let path = output.join(format!("rank-{rank}/began.txt"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim().parse().unwrap()
}

#[test]
fn a_gang_whose_third_node_fails_to_start_bills_nobody() {
    let market = Market::start(3);
    // Its disk does not take what a lease needs.
    let scratch = market.daemon("provider-3").dir.join("scratch");
    let _ = fs::remove_dir_all(&scratch);
    fs::write(&scratch, "in the way").unwrap();
    let (ended, output) = run(&market, "incomplete", 3, "echo > /out/billed.txt");
    assert_eq!(ended.status.code(), Some(125), "not the command's own: {ended:?}");
    let job = market.job("incomplete");
    assert_eq!(job.state, JobState::Failed);
    let end = job.end.as_ref().expect("it failed");
    assert!(
        end.reason.contains("no rank was started, and nothing is billed"),
        "{end:?}"
    );
    assert_eq!(end.actor, Actor::Provider);
    let cost = market.cost("incomplete");
    assert_eq!(
        (cost.earned, cost.builder, cost.held),
        (Amount::ZERO, Amount::ZERO, Amount::ZERO)
    );
    assert_eq!(cost.refund, cost.paid_in, "all of it is back");
    assert!(cost.paid_in > Amount::ZERO && cost.balanced, "{cost:?}");
    assert!(job.leases.iter().all(|lease| lease.metered == Millis::ZERO), "{job:?}");
    assert!(!output.join("rank-0").exists());
    let failed = job.ranks.iter().filter(|rank| rank.state == RankState::Failed).count();
    assert_eq!(failed, 1, "{:?}", job.ranks);
}

#[test]
fn one_line_runs_a_command_on_three_nodes_under_a_drawn_name() {
    let market = Market::start(3);
    let script = "test $LEVEL = loud; echo $GPUX_NODE_RANK > /out/rank.txt";
    let line = [
        "run", "-y", "--nodes", "3", "--cpu", "0.5..", "--memory", "256MiB..", "--disk", "64MiB", "--for", "10m",
    ];
    let rest = [
        "--env",
        "LEVEL=loud",
        "--collect",
        "/out/*.txt",
        "oci:image:e2e",
        "--",
        job::SHELL,
        "-euc",
        script,
    ];
    let words: Vec<&str> = line.into_iter().chain(rest).collect();
    let ended = market.run(&words);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let list: JobList = market.ask(&["ps", "--all"]);
    let [job] = list.jobs.as_slice() else {
        unreachable!("{list:?}");
    };
    let name: Vec<&str> = job.name.split('-').collect();
    assert!(
        matches!(name.as_slice(), [_, _, number] if number.parse::<u32>().is_ok()),
        "{}",
        job.name
    );
    let output = market.path().join(&job.name);
    for rank in 0..3 {
        let path = output.join(format!("rank-{rank}/rank.txt"));
        assert_eq!(fs::read_to_string(path).unwrap(), format!("{rank}\n"));
    }
    let wrong = market.run(&["run", "-y", "--cpu", "2", "oci:image:e2e"]);
    assert_eq!(wrong.status.code(), Some(125), "a line needs a command: {wrong:?}");
}

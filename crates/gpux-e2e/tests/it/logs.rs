//! What a job's processes write reaches the renter's terminal while they run.

use super::{job::Job, market::Market};
use std::{collections::BTreeSet, fs};

const JOB: Job = Job {
    name: "talk",
    nodes: 2,
    parts: 5,
    seconds: 1,
};

#[test]
fn run_with_logs_prints_every_line_of_every_part_once_and_nothing_else_before_the_end() {
    let market = Market::start(2);
    let file = market.path().join("talk.yaml");
    let text = JOB.text().replace("i=0;", "echo said $GPUX_ARRAY_INDEX; i=0;");
    fs::write(&file, text).unwrap();
    let words = [
        "run",
        file.to_str().unwrap(),
        "-y",
        "--logs",
        "--output",
        &market.output(&JOB),
    ];
    let output = market.run(&words);
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = printed.lines().filter(|line| line.contains("said")).collect();
    let said: BTreeSet<String> = (0..JOB.parts)
        .map(|index| format!("part {index}] said {index}"))
        .collect();
    let found: BTreeSet<String> = lines
        .iter()
        .filter_map(|line| line.split_once(' ').map(|(_, rest)| rest.to_owned()))
        .collect();
    assert_eq!(found, said, "{printed}");
    assert_eq!(lines.len(), 5, "each line once:\n{printed}");
    let first = printed.lines().next().unwrap_or_default();
    assert!(first.contains("said"), "the job's own words come first:\n{printed}");
    market.assert_outputs(&JOB);
}

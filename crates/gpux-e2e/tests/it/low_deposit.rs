//! A job that lasts longer than its deposits.

use super::{job::Job, market::Market};
use gpux_api::{CostView, JobState, JobView, TransactionKind};
use std::{fs, time::Duration};

const JOB: Job = Job {
    name: "longer",
    nodes: 1,
    parts: 3,
    seconds: 30,
};

#[test]
fn a_deposit_that_runs_low_is_added_to_within_what_was_set_aside_and_the_job_ends_well() {
    let market = Market::start(1);
    let file = market.write_job(&JOB);
    // The deposit pays for two parts of three.
    let text = JOB.text().replace("max_duration: 10m", "max_duration: 1m");
    fs::write(&file, text).unwrap();
    let output = market.output(&JOB);
    let words = [
        "run",
        &file,
        "-y",
        "--detach",
        "--top-up-within",
        "0.02",
        "--output",
        &output,
    ];
    let job: JobView = market.ask(&words);
    let limit = Duration::from_secs(240);
    market.job_when(
        "longer",
        "the renter to be told that the deposit runs low",
        limit,
        |job| job.leases.iter().any(|lease| lease.low),
    );
    let over = market.job_when("longer", "the end", limit, |job| {
        matches!(job.state, JobState::Succeeded | JobState::Failed)
    });
    assert_eq!(over.state, JobState::Succeeded, "{over:?}");
    market.assert_outputs(&JOB);
    let cost: CostView = market.cost("longer");
    assert!(cost.balanced, "{cost:?}");
    let bill = cost.leases.first().expect("one lease");
    let kinds: Vec<TransactionKind> = bill.transactions.iter().map(|one| one.kind).collect();
    assert_eq!(kinds.first(), Some(&TransactionKind::Deposit));
    assert!(kinds.contains(&TransactionKind::TopUp), "{kinds:?}");
    assert!(
        bill.earned > bill.deposit,
        "the deposit alone would not have paid for it: {bill:?}"
    );
    assert!(
        bill.topped_up <= job.token.parse("0.02").unwrap(),
        "within the limit: {bill:?}"
    );
}

//! A job whose leases share their transactions.

use super::{job::Job, market::Market, verifier};
use gpux_api::{JobState, LeaseState, TopUpReply, TransactionKind};
use std::{collections::HashSet, process::Stdio, time::Duration};

const JOB: Job = Job {
    name: "three",
    nodes: 3,
    parts: 6,
    seconds: 5,
};

#[test]
fn a_batched_job_on_three_nodes_with_a_top_up_takes_three_transactions_and_pays_out_to_the_last_unit() {
    let market = Market::start(3);
    let (file, output) = (market.write_job(&JOB), market.output(&JOB));
    let mut command = market.command(&["run", &file, "-y", "--batch", "--output", &output]);
    let mut follower = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let all_run = |job: &gpux_api::JobView| {
        let running = job.leases.iter().filter(|lease| lease.state == LeaseState::Running);
        running.count() == 3
    };
    super::wait::wait_for("the job to be known", Duration::from_secs(60), || {
        let list: gpux_api::JobList = market.ask(&["ps", "--all"]);
        list.jobs.into_iter().find(|job| job.name == JOB.name).map(drop)
    });
    market.job_when("three", "all nodes to work", Duration::from_secs(60), all_run);
    let added: TopUpReply = market.ask(&["topup", "three", "0.01", "-y"]);
    assert_eq!(added.leases.len(), 3, "each lease was topped up: {added:?}");
    let status = follower.wait().unwrap();
    assert_eq!(status.code(), Some(0), "gpux run ends well");

    assert_eq!(market.job("three").state, JobState::Succeeded);
    market.assert_outputs(&JOB);
    let cost = market.cost("three");
    assert!(cost.balanced, "{cost:?}");
    assert_eq!(cost.held.units(), 0, "nothing is left in the escrow");
    assert_eq!(cost.transactions, 3, "{cost:?}");
    for lease in &cost.leases {
        let kinds: Vec<TransactionKind> = lease.transactions.iter().map(|transaction| transaction.kind).collect();
        assert_eq!(
            kinds,
            [
                TransactionKind::Deposit,
                TransactionKind::TopUp,
                TransactionKind::Closing
            ]
        );
        assert!(lease.earned.units() > 0 && lease.refund.units() > 0);
        assert!(
            lease.earned <= lease.price.cost_of(lease.metered),
            "paid for what was metered: {lease:?}"
        );
    }
    let escrow = &market.escrow;
    let transfers = market.rpc.transfers(&market.token);
    let touching = transfers
        .iter()
        .filter(|transfer| transfer.from == *escrow || transfer.to == *escrow);
    let hashes: HashSet<&str> = touching.map(|transfer| transfer.transaction.as_str()).collect();
    assert_eq!(hashes.len(), 3, "three transactions moved money");
    verifier::assert_money(&market, "three", 3);
}

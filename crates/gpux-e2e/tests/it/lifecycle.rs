//! A job from its first offer to its last refund, with nothing in the way.

use super::{job::Job, market::Market, secrets, verifier};
use gpux_api::{CostView, JobState, LeaseCost, LeaseState, TopUpReply, TransactionKind};
use gpux_types::{Amount, Millis};
use std::{collections::HashSet, time::Duration};

const JOB: Job = Job {
    name: "nine",
    nodes: 3,
    parts: 9,
    seconds: 5,
};

#[test]
fn a_job_on_three_nodes_with_a_top_up_takes_nine_transactions_and_pays_out_to_the_last_unit() {
    let market = Market::start_that_tells_all(3);
    let mut follower = market.follow(&JOB);
    let all_run = |job: &gpux_api::JobView| {
        let running = job
            .leases
            .iter()
            .filter(|lease| lease.state == LeaseState::Running)
            .count();
        running == 3
    };
    market.job_when("nine", "all nodes to work", Duration::from_secs(60), all_run);
    let added: TopUpReply = market.ask(&["topup", "nine", "0.01", "-y"]);
    assert_eq!(added.leases.len(), 3, "each lease was topped up: {added:?}");
    let bills = bills_while_it_runs(&market);
    let status = follower.wait().unwrap();
    assert_eq!(status.code(), Some(0), "gpux run ends well");

    // Which the end of the market looks for, in logs that tell all.
    let renter = market.daemon("renter").dir;
    assert_eq!(secrets::receipt_keys(&renter).len(), 1, "one job, one key");

    let job = market.job("nine");
    assert_eq!(job.state, JobState::Succeeded);
    assert_eq!(job.outputs.len(), 9);
    let nodes: HashSet<String> = job.outputs.iter().map(|output| output.node.to_string()).collect();
    assert_eq!(nodes.len(), 3, "every node made something");
    market.assert_outputs(&JOB);
    let last = market.cost("nine");
    assert_bill(&market, &last);
    for bill in &bills {
        assert_at_risk(bill, &last);
    }
    verifier::assert_money(&market, "nine", 9);
}

/// What `gpux cost` says again and again of a job whose leases all run.
fn bills_while_it_runs(market: &Market) -> Vec<CostView> {
    let mut bills = Vec::new();
    while market.job("nine").parts.done < JOB.parts {
        let bill = market.cost("nine");
        if bill.leases.iter().all(|lease| lease.at_risk.is_some()) {
            bills.push(bill);
        }
    }
    assert!(bills.len() > 3, "it was asked while it ran");
    bills
}

/// What each side had at risk in that moment is within two intervals of rent, and no more than that was lost when all was paid.
fn assert_at_risk(bill: &CostView, last: &CostView) {
    /// Ten seconds, and what a clock that is slewed may be ahead after this job.
    const TWO_INTERVALS: Millis = Millis(10_050);

    assert!(bill.balanced, "{bill:?}");
    assert_eq!(
        bill.paid_in, bill.held,
        "all of it is in the escrow while nothing was drawn"
    );
    assert_eq!(bill.paid_in, last.paid_in);
    for (lease, paid) in bill.leases.iter().zip(&last.leases) {
        assert_eq!(lease.lease, paid.lease);
        let risk = lease.at_risk.expect("it runs");
        let bound = lease.price.cost_of(TWO_INTERVALS);
        assert!(
            risk.renter_now <= risk.renter_most && risk.renter_most <= bound,
            "{lease:?}"
        );
        assert!(
            risk.provider_now <= risk.provider_most && risk.provider_most <= bound,
            "{lease:?}"
        );
        assert!(
            risk.renter_most.units() > 0 && risk.provider_most.units() > 0,
            "{lease:?}"
        );
        let worked = lease.price.cost_of(lease.metered);
        assert_eq!(
            risk.provider_now,
            worked.saturating_sub(lease.signed),
            "worked, not signed for"
        );
        // What the renter had counted as worked by then was paid, and so was all work but what the provider had at risk.
        let counted = lease.signed.saturating_sub(risk.renter_now);
        assert!(counted <= paid.earned, "{lease:?} ended as {paid:?}");
        assert!(
            worked.saturating_sub(risk.provider_now) <= paid.earned,
            "{lease:?} ended as {paid:?}"
        );
        assert!(
            lease.signed.saturating_sub(paid.earned) <= bound,
            "{lease:?} ended as {paid:?}"
        );
    }
    let sum = |of: fn(&LeaseCost) -> Amount| last.leases.iter().map(|lease| of(lease).units()).sum::<u128>();
    assert_eq!(sum(|lease| lease.earned) + sum(|lease| lease.refund), bill.held.units());
}

/// The bill says nine transactions, and the chain moved what it says: nothing more, nothing less.
fn assert_bill(market: &Market, cost: &CostView) {
    assert!(cost.balanced, "{cost:?}");
    assert_eq!(cost.held.units(), 0, "nothing is left in the escrow");
    assert_eq!(cost.transactions, 9);
    for lease in &cost.leases {
        let kinds: Vec<TransactionKind> = lease.transactions.iter().map(|transaction| transaction.kind).collect();
        let expected = [
            TransactionKind::Deposit,
            TransactionKind::TopUp,
            TransactionKind::Settlement,
        ];
        assert_eq!(kinds, expected);
        assert_eq!(lease.topped_up.units(), 10_000_000_000_000_000, "a hundredth of a DAI");
        assert!(lease.earned.units() > 0 && lease.refund.units() > 0);
        assert!(
            lease.earned <= lease.price.cost_of(lease.metered),
            "paid for what was metered: {lease:?}"
        );
    }
    let escrow = &market.escrow;
    let transfers = market.rpc.transfers(&market.token);
    let into: u128 = transfers
        .iter()
        .filter(|transfer| transfer.to == *escrow)
        .map(|transfer| transfer.amount)
        .sum();
    let out: u128 = transfers
        .iter()
        .filter(|transfer| transfer.from == *escrow)
        .map(|transfer| transfer.amount)
        .sum();
    assert_eq!(into, cost.paid_in.units());
    assert_eq!(out, into, "all that went in came out");
    let touching = transfers
        .iter()
        .filter(|transfer| transfer.from == *escrow || transfer.to == *escrow);
    let hashes: HashSet<&str> = touching.map(|transfer| transfer.transaction.as_str()).collect();
    assert_eq!(hashes.len(), 9, "nine transactions moved money");
}

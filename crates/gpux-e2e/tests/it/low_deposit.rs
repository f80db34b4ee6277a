//! A job that lasts longer than its deposits.

use super::{job::Job, market::Market};
use gpux_api::{CostView, JobState, JobView, PlanView, TransactionKind, WalletView};
use gpux_types::Amount;
use std::{fs, time::Duration};

const JOB: Job = Job {
    name: "longer",
    nodes: 1,
    parts: 3,
    seconds: 30,
};

#[test]
fn a_deposit_that_runs_low_is_added_to_within_the_jobs_limit_and_the_job_ends_well() {
    let market = Market::start(1);
    let file = market.write_job(&JOB);
    // The deposit pays for two parts of three.
    let budget = "max_duration: 1m, max_total: 0.024, at_zero: top-up";
    let text = JOB.text().replace("max_duration: 10m", budget);
    fs::write(&file, text).unwrap();
    let output = market.output(&JOB);
    let plan: PlanView = market.ask(&["plan", &file]);
    let most = plan.token.parse("0.024").unwrap();
    assert!(plan.deposit < plan.worst_case && plan.worst_case == most, "{plan:?}");
    let job: JobView = market.ask(&["run", &file, "-y", "--detach", "--output", &output]);
    let limit = Duration::from_secs(240);
    market.job_when(
        "longer",
        "the renter to be told that the deposit runs low",
        limit,
        |job| job.leases.iter().any(|lease| lease.low),
    );
    assert_kept_for_top_ups(&market);
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
        bill.deposit.saturating_add(bill.topped_up) <= most && job.token == plan.token,
        "within the limit: {bill:?}"
    );
}

/// Nobody sends by mistake what the job may still take: some of it is set aside, and all but one unit would go.
fn assert_kept_for_top_ups(market: &Market) {
    let wallet: WalletView = market.ask(&["wallet", "balance"]);
    let amount = wallet
        .token
        .format(wallet.balance.saturating_sub(Amount::new(1).expect("one unit")));
    let sent = market.run(&[
        "wallet",
        "send",
        "0x0b2C639c533813f4Aa9D7837CAf62653d097Ff85",
        &amount,
        "-y",
    ]);
    assert_eq!(sent.status.code(), Some(4), "{sent:?}");
    let told = String::from_utf8_lossy(&sent.stderr);
    assert!(
        told.contains("open jobs may still need") && told.contains("--force"),
        "{told}"
    );
    let after: WalletView = market.ask(&["wallet", "balance"]);
    assert_eq!(after.native_wei, wallet.native_wei, "nothing was sent");
}

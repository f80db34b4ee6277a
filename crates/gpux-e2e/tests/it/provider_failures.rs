//! What becomes of a job when a provider dies under it.

use super::{
    job::Job,
    market::Market,
    process::{Process, jobs, kill_everything, shims},
    wait::{stays, wait_for},
};
use gpux_api::{JobState, LeaseState, LeaseView, TransactionKind};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// The grace of leases on a devnet.
const GRACE_SECS: u64 = 30;

#[test]
fn the_parts_of_a_killed_provider_go_to_the_others_and_its_deposit_comes_back() {
    const JOB: Job = Job {
        name: "orphans",
        nodes: 3,
        parts: 12,
        seconds: 4,
    };
    /// The renter's patience with a silent node, the lost part done again elsewhere, and settlements; far from the expiry.
    const FINDS_OUT_WITHIN: Duration = Duration::from_secs(90);

    let market = Market::start(3);
    let mut follower = market.follow(&JOB);
    let victim = market.daemon("provider-3");
    market.job_when("orphans", "the victim to deliver something", MINUTE, |job| {
        market.lease_on(job, &victim).parts_done >= 1
    });
    // In the middle of its next part: one that is about to end would be gone before it is killed.
    wait_for("the victim to work on the next part", MINUTE, || {
        jobs(&victim.dir).into_iter().find(|work| work.age_secs() < 2.0)
    });
    kill_everything(victim.process, &victim.dir);
    assert!(shims(&victim.dir).is_empty());

    let status = wait_for("gpux run to end", FINDS_OUT_WITHIN, || follower.try_wait().unwrap());
    assert_eq!(
        status.code(),
        Some(0),
        "gpux run ends well, and does not wait for the lost deposit"
    );
    let done = market.job("orphans");
    assert_eq!(done.state, JobState::Succeeded);
    assert_eq!(done.parts.done, JOB.parts);
    market.assert_outputs(&JOB);
    let lost = market.lease_on(&done, &victim);
    assert_eq!(
        market.cost("orphans").held,
        lost.deposit,
        "the escrow holds the lost node's deposit, and no more"
    );

    market.rpc.jump(lost.expiry.0 + GRACE_SECS + 1);
    market.job_when("orphans", "the lost deposit to come back", MINUTE, |job| {
        let back = |lease: &LeaseView| lease.id == lost.id && lease.state == LeaseState::Reclaimed;
        job.leases.iter().any(back)
    });
    let cost = market.cost("orphans");
    assert!(cost.balanced, "{cost:?}");
    assert_eq!(cost.held.units(), 0);
    let bill = cost
        .leases
        .iter()
        .find(|bill| bill.lease == lost.id)
        .expect("a bill for the lost lease");
    let kinds: Vec<TransactionKind> = bill.transactions.iter().map(|transaction| transaction.kind).collect();
    assert_eq!(kinds, [TransactionKind::Deposit, TransactionKind::Reclaim]);
    assert_eq!(bill.refund, bill.deposit, "all of it came back");
    assert_eq!(bill.earned.units(), 0);
}

#[test]
fn a_restarted_provider_thaws_the_same_container_and_bills_no_frozen_time() {
    const JOB: Job = Job {
        name: "frozen",
        nodes: 1,
        parts: 1,
        seconds: 25,
    };
    /// How long after its last renewal a shim freezes the work: two intervals, with time for the kernel and for us.
    const FREEZES_WITHIN: Duration = Duration::from_secs(12);
    /// Less than the renter's patience of 30 s, together with the above.
    const KEPT_FROZEN: Duration = Duration::from_secs(12);

    let mut market = Market::start(1);
    market.start_job(&JOB);
    let provider = market.daemon("provider-1");
    let work = wait_for("the part to run", MINUTE, || jobs(&provider.dir).first().copied());
    let shim = shims(&provider.dir);
    market.job_when("frozen", "the renter to know that it runs", MINUTE, |job| {
        job.state == JobState::Running
    });

    provider.process.signal("KILL");
    wait_for("the shim to freeze the work", FREEZES_WITHIN, || {
        work.is_frozen().then_some(())
    });
    let frozen_at = work.age_secs();
    stays("the work frozen without its daemon", KEPT_FROZEN, || work.is_frozen());
    market.restart("provider-1");
    let lasted = wait_for("the work to be thawed", Duration::from_secs(15), || {
        (!work.is_frozen()).then(|| work.age_secs() - frozen_at)
    });
    assert!(work.runs(), "it is the same process");
    assert_eq!(shims(&provider.dir), shim, "under the same shim");
    let ran = wait_for("the part to end", MINUTE, || still_runs(work));

    let job = market.job_when("frozen", "the job to end", MINUTE, |job| job.state.is_over());
    assert_eq!(job.state, JobState::Succeeded, "{:?}", job.end);
    market.assert_outputs(&JOB);
    let cost = market.cost("frozen");
    assert!(cost.balanced, "{cost:?}");
    let bill = cost.leases.first().expect("one lease");
    let metered = bill.metered.0 as f64 / 1000.0;
    // The second in which it was frozen passed meanwhile, so it may have worked one less.
    assert!(
        metered >= f64::from(JOB.seconds) - 1.0,
        "it worked that long: {metered}"
    );
    assert!(
        metered <= ran - lasted + 4.0,
        "metered {metered} s of {ran} s, of which {lasted} s were frozen"
    );
    assert!(bill.earned <= bill.price.cost_of(bill.metered), "{bill:?}");
}

/// How old the process was when it was last seen, once it is gone.
fn still_runs(work: Process) -> Option<f64> {
    let age = work.age_secs();
    (!work.runs()).then_some(age)
}

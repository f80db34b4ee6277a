//! What is left after the power went: a machine's files are on a disk of its own that forgets, in one instant, all that was written
//! and not synced.

use super::{
    disk::Disk,
    job::{self, Job},
    market::Market,
    process::kill_everything,
    wait::wait_for,
};
use gpux_api::{JobState, JobView, LeaseCost, TransactionKind};
use gpux_types::{Amount, LeaseId, Millis};
use std::{collections::BTreeMap, fs, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_renter_whose_power_is_cut_keeps_each_result_and_receipt_that_it_acknowledged() {
    const JOB: Job = Job {
        name: "blackout",
        nodes: 2,
        parts: 12,
        seconds: 3,
    };
    let mut market = Market::start(2);
    let mut disk = Disk::in_place_of(&mut market, "renter");
    let output = market.daemon("renter").dir.join("results");
    let file = market.write_job(&JOB);
    market.ask::<JobView>(&["run", &file, "-y", "--detach", "--output", output.to_str().unwrap()]);
    let before = market.job_when("blackout", "the first results", MINUTE, |job| job.parts.done >= 2);
    disk.cut();
    let renter = market.daemon("renter");
    renter.process.signal("KILL");
    disk.again(&renter);
    market.restart("renter");

    let after = market.job("blackout");
    for known in &before.outputs {
        assert!(
            after.outputs.contains(known),
            "a result is forgotten: {known:?} of {after:?}"
        );
        let text = fs::read_to_string(output.join(&known.path)).unwrap();
        assert_eq!(text.len() as u64, known.size.0, "{known:?} is not what it was");
    }
    let (signed_before, signed_after) = (signed(&before), signed(&after));
    for (lease, amount) in signed_before {
        assert!(
            signed_after.get(&lease) >= Some(&amount),
            "a receipt over {amount:?} is forgotten"
        );
    }
    let ended = market.run(&["wait", "blackout"]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(market.job("blackout").parts.done, JOB.parts);
    for index in 0..JOB.parts {
        let (name, expected) = job::output_of(index);
        assert_eq!(fs::read_to_string(output.join(name)).unwrap(), expected);
    }
    let cost = market.cost("blackout");
    assert!(cost.balanced && cost.held.units() == 0, "{cost:?}");
    assert_eq!(
        cost.transactions, 4,
        "two deposits and two settlements: nothing was sent twice"
    );
}

#[test]
fn a_provider_whose_power_is_cut_is_paid_what_it_worked_and_the_lost_part_is_done_elsewhere() {
    const JOB: Job = Job {
        name: "darkness",
        nodes: 2,
        parts: 4,
        seconds: 12,
    };
    /// The meter is on the disk each second.
    const UNSYNCED: Millis = Millis::from_secs(1);

    let mut market = Market::start(2);
    let mut disk = Disk::in_place_of(&mut market, "provider-2");
    market.start_job(&JOB);
    let victim = market.daemon("provider-2");
    let before = market.job_when("darkness", "the victim's second receipt", MINUTE, |job| {
        let running = job.state == JobState::Running;
        running && market.lease_on(job, &victim).metered > Millis::from_secs(5)
    });
    disk.cut();
    kill_everything(victim.process, &victim.dir);
    disk.again(&victim);
    market.restart("provider-2");

    let lease = market.lease_on(&before, &victim);
    let due = lease.price.cost_of(Millis(lease.metered.0.saturating_sub(UNSYNCED.0)));
    let bill = wait_for("the settlement of what it had worked", 2 * MINUTE, || {
        let mut bills = market.cost("darkness").leases.into_iter();
        let settled = |bill: &LeaseCost| {
            bill.transactions
                .iter()
                .any(|done| done.kind == TransactionKind::Settlement)
        };
        bills.find(|bill| bill.lease == lease.id).filter(settled)
    });
    assert!(bill.earned >= due, "{} of at least {due}", bill.earned);
    assert!(bill.earned <= bill.signed, "{bill:?}");
    let job = market.job_when("darkness", "the job to end", 2 * MINUTE, |job| job.state.is_over());
    assert_eq!(job.state, JobState::Succeeded, "{job:?}");
    market.assert_outputs(&JOB);
    let cost = market.cost("darkness");
    assert!(cost.balanced && cost.held.units() == 0, "{cost:?}");
}

fn signed(job: &JobView) -> BTreeMap<LeaseId, Amount> {
    job.leases.iter().map(|lease| (lease.id, lease.signed)).collect()
}

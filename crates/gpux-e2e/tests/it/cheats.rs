//! What one side can take from the other at most when it plays false. Each test keeps a ledger of its own and sets it against
//! what the chain moved.

use super::{
    job::{self, Job},
    ledger::Ledger,
    market::{Daemon, Market},
    process::{jobs, shims},
    receipts::assert_csv,
    wait::wait_for,
};
use gpux_api::{Actor, JobState, LeasePlan, PlanView, ReceiptsView, RecordStanding};
use gpux_types::{Amount, LeaseId, Millis, PricePerHour};
use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

const MINUTE: Duration = Duration::from_secs(60);
/// How far receipts run ahead.
const INTERVAL: Duration = Duration::from_secs(5);

fn rent(price: PricePerHour, time: Duration) -> Amount {
    price.cost_of(Millis(time.as_millis().try_into().unwrap()))
}

/// What the escrow paid to the daemon's owner.
fn paid_to(market: &Market, daemon: &Daemon) -> Option<Amount> {
    let address = market.address(daemon);
    let payments = market.payments();
    let its = payments.iter().find(|payment| payment.to == address);
    its.map(|payment| Amount::new(payment.amount).unwrap())
}

/// Fails the test unless work was given for nothing, as must be when receipts stop, and no more of it than may be.
fn assert_loss(price: PricePerHour, worked: Duration, paid: Amount) {
    const TWO_INTERVALS: Duration = Duration::from_secs(10);
    const SOME: Duration = Duration::from_secs(2);

    let owed = rent(price, worked);
    assert!(paid <= owed, "{worked:?} were worked for {owed}, and {paid} were paid");
    let unpaid = owed.saturating_sub(paid);
    assert!(
        unpaid <= rent(price, TWO_INTERVALS),
        "{worked:?} were worked for {owed}, and only {paid} were paid"
    );
    assert!(
        unpaid >= rent(price, SOME),
        "{worked:?} were worked for {owed}, and {paid} were paid: receipts went on"
    );
}

#[test]
fn a_renter_that_stops_signing_costs_each_provider_at_most_two_intervals() {
    const JOB: Job = Job {
        name: "unsigned",
        nodes: 2,
        parts: 2,
        seconds: 600,
    };
    /// The hold, counted from a restart, the wait for a last receipt, and the settlement's blocks, with room for a busy machine.
    const SETTLES_WITHIN: Duration = Duration::from_secs(200);

    let mut market = Market::start(2);
    market.start_job(&JOB);
    let mut ledgers: Vec<(Daemon, Ledger)> = Vec::new();
    for provider in market.providers().cloned() {
        let work = wait_for("its part to run", MINUTE, || jobs(&provider.dir).first().copied());
        ledgers.push((provider, Ledger::of(work)));
    }
    let look = |ledgers: &mut Vec<(Daemon, Ledger)>| ledgers.iter_mut().for_each(|(_, ledger)| ledger.look());
    let job = wait_for("second receipts for both leases", MINUTE, || {
        look(&mut ledgers);
        let job = market.job("unsigned");
        let paid = |lease: &gpux_api::LeaseView| lease.signed > rent(lease.price, INTERVAL);
        job.leases.iter().all(paid).then_some(job)
    });

    // It is there, with its sockets open, and answers nothing. In the same moment one provider's daemon dies, which is the
    // worst that can happen to it: nobody but the shim's dead-man switch is left to freeze its work.
    let renter = market.daemon("renter").process;
    renter.signal("STOP");
    market.daemon("provider-2").process.signal("KILL");
    wait_for("the work of both to be frozen", Duration::from_secs(30), || {
        look(&mut ledgers);
        let mut works = ledgers.iter().map(|(_, ledger)| ledger.work);
        works.all(|work| work.is_frozen()).then_some(())
    });
    assert!(renter.is_stopped(), "the renter's daemon is there all the time");
    market.restart("provider-2");
    wait_for("both providers to settle", SETTLES_WITHIN, || {
        look(&mut ledgers);
        // Each settlement pays its provider and refunds the renter.
        (market.payments().len() == 4).then_some(())
    });

    for (provider, ledger) in &ledgers {
        assert!(!ledger.work.runs(), "its work was stopped before it was settled");
        let paid = paid_to(&market, provider).expect("a settlement that pays");
        assert_loss(market.lease_on(&job, provider).price, ledger.worked(), paid);
    }
    renter.signal("CONT");
    let job = market.job_when("unsigned", "the renter to learn of it", MINUTE, |job| {
        job.state.is_over()
    });
    assert_ne!(job.state, JobState::Succeeded);
    let cost = market.cost("unsigned");
    assert!(cost.balanced, "{cost:?}");
    assert_eq!(cost.held.units(), 0);
}

#[test]
fn a_provider_that_asks_too_much_gets_what_the_renters_own_clock_supports_and_no_more() {
    const JOB: Job = Job {
        name: "greedy",
        nodes: 2,
        parts: 2,
        seconds: 30,
    };

    let mut market = Market::start(2);
    market.corrupt("provider-2", "meter");
    let (honest, cheat) = (market.daemon("provider-1"), market.daemon("provider-2"));
    let mut follower = market.follow(&JOB);
    // The renter's clock for this lease starts with its first receipt: this is before it.
    let mut before = Instant::now();
    wait_for("the first receipt for the cheat", MINUTE, || {
        let looked = Instant::now();
        let job = market.job("greedy");
        if job.leases.len() < 2 || market.lease_on(&job, &cheat).signed == Amount::ZERO {
            before = looked;
            return None;
        }
        Some(())
    });
    // Rent runs until the containers are gone, and their shim with them.
    let elapsed = wait_for("the cheat's work to be gone", 2 * MINUTE, || {
        shims(&cheat.dir).is_empty().then(|| before.elapsed())
    });
    let status = follower.wait().unwrap();
    let paid = paid_to(&market, &cheat).expect("a settlement that pays");
    assert_eq!(status.code(), Some(0), "the job ends well");
    market.assert_outputs(&JOB);

    let job = market.job("greedy");
    let lease = market.lease_on(&job, &cheat);
    assert!(
        Duration::from(lease.metered) > elapsed * 3 / 2,
        "it did ask for what it never worked: {:?} in {elapsed:?}",
        lease.metered
    );
    let slack = (elapsed / 100).min(Duration::from_secs(4) + elapsed / 2_000);
    let most = rent(lease.price, elapsed + slack + INTERVAL);
    assert!(paid <= most, "paid {paid} for {elapsed:?}, which supports {most}");
    assert_disputed(&market, lease.id);
    let due = rent(
        market.lease_on(&job, &honest).price,
        Duration::from_secs(JOB.seconds.into()),
    );
    let paid = paid_to(&market, &honest).expect("a settlement that pays");
    assert!(paid >= due, "the honest one was paid its due of {due}: {paid}");
    let cost = market.cost("greedy");
    assert!(cost.balanced, "{cost:?}");
    assert_eq!(cost.held.units(), 0);
}

/// Both sides signed how that lease ended, each its own words, and people and programs are told in what they differ.
fn assert_disputed(market: &Market, lease: LeaseId) {
    let receipt = wait_for("both sides to sign, each its own", MINUTE, || {
        let view: ReceiptsView = market.ask(&["receipts", "greedy"]);
        let mut receipts = view.receipts.into_iter();
        receipts.find(|receipt| receipt.lease == lease && receipt.standing == RecordStanding::Disputed)
    });
    assert!(
        receipt.differs.iter().any(|what| what == "metered"),
        "the meter is what it lied about: {:?}",
        receipt.differs
    );
    let (provider, renter) = (receipt.provider.unwrap(), receipt.renter.unwrap());
    assert_ne!(provider.digest, renter.digest);
    assert_csv(market, &["receipts", "--csv"], lease, "disputed");
}

#[test]
fn a_provider_that_hands_back_files_which_the_job_does_not_collect_is_not_believed() {
    let mut market = Market::start(2);
    market.corrupt("provider-2", "names");
    let script = "echo part $GPUX_ARRAY_INDEX > /out/part-$GPUX_ARRAY_INDEX.txt; echo hidden > /out/.bashrc; sleep 2";
    let file = market.path().join("names.yaml");
    fs::write(&file, job::file("names", 2, 4, script)).unwrap();
    let output = market.path().join("names-out");
    let (file, output) = (file.to_str().unwrap(), output.to_str().unwrap());
    let ran = market
        .command(&["run", file, "-y", "--output", output])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(0), "the honest node did all of it: {ran:?}");

    let job = market.job("names");
    assert_eq!(job.parts.done, 4);
    assert_eq!(
        market.lease_on(&job, &market.daemon("provider-2")).parts_done,
        0,
        "nothing of it was taken"
    );
    assert_eq!(market.lease_on(&job, &market.daemon("provider-1")).parts_done, 4);
    let entries = fs::read_dir(output).unwrap();
    let mut found: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    let expected: Vec<String> = (0..4).map(|index| job::output_of(index).0).collect();
    assert_eq!(found, expected, "nothing else was written to {output}");
}

#[test]
fn a_provider_that_hands_back_wrong_results_is_outvoted_and_all_of_it_is_done_again() {
    let mut market = Market::start(3);
    market.corrupt("provider-2", "results");
    let script = "sleep 1; echo part $GPUX_ARRAY_INDEX > /out/part-$GPUX_ARRAY_INDEX.txt";
    let text = job::file("forged", 3, 6, script);
    let verified = "  over: pieces\n  verify: { sample: 100%, by: second-node }\n";
    let file = market.path().join("forged.yaml");
    fs::write(&file, text.replace("  over: pieces\n", verified)).unwrap();
    let output = market.path().join("forged-out");
    let (file, out) = (file.to_str().unwrap(), output.to_str().unwrap());
    let ran = market.command(&["run", file, "-y", "--output", out]).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");

    for index in 0..6 {
        let (name, text) = job::output_of(index);
        assert_eq!(fs::read_to_string(output.join(name)).unwrap(), text);
    }
    let job = market.job("forged");
    let checks = job.checks.expect("it asks for checks");
    assert!(checks.outvoted > 0 && checks.agreed >= 6, "{checks:?}");
    assert_eq!((checks.doubtful, checks.not_made), (0, 0), "{checks:?}");
    let cheat = market.lease_on(&job, &market.daemon("provider-2"));
    assert_eq!(cheat.parts_done, 0, "nothing of it counts");
    let end = cheat.end.as_ref().expect("its end");
    assert_eq!(
        (end.reason.as_str(), end.actor),
        ("its result was not that of two other nodes", Actor::Provider)
    );
    assert!(market.cost("forged").balanced);
    wait_for("the renter to think less of it", MINUTE, || {
        let plan: PlanView = market.ask(&["plan", file]);
        let known = plan.leases.iter().find(|lease| lease.node == cheat.node)?;
        (known.reliability < LeasePlan::UNKNOWN).then_some(())
    });
}

//! What becomes of a job when its renter's daemon dies.

use super::{
    job::Job,
    market::{Daemon, Market},
    process::{Process, jobs, shims},
    receipts::assert_csv,
    wait::{stays, wait_for},
};
use gpux_api::{AwayView, JobState, ReceiptsView, RecordStanding};
use gpux_types::{LeaseId, Millis};
use serde_json::Value;
use std::{fs, path::Path, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);
/// How far receipts run ahead.
const INTERVAL: Millis = Millis::from_secs(5);
/// Two intervals of work: the most that either side may lose.
const TWO_INTERVALS: Millis = Millis::from_secs(10);

#[test]
fn a_renter_that_comes_back_within_the_hold_loses_no_output_and_no_money() {
    const JOB: Job = Job {
        name: "comeback",
        nodes: 3,
        parts: 9,
        seconds: 6,
    };
    let mut market = Market::start(3);
    market.start_job(&JOB);
    let before = market.job_when("comeback", "the first outputs", MINUTE, |job| job.parts.done >= 1);
    let first = before.outputs.first().expect("an output").clone();
    let path = Path::new(&before.output).join(&first.path);
    let written = fs::metadata(&path).unwrap().modified().unwrap();

    market.daemon("renter").process.signal("KILL");
    let held = wait_for("all work to be held", Duration::from_secs(30), || {
        let work: Vec<_> = market.providers().flat_map(|provider| jobs(&provider.dir)).collect();
        let processes: Vec<_> = market.providers().flat_map(|provider| shims(&provider.dir)).collect();
        (processes.len() == 3 && work.iter().all(|process| process.is_frozen())).then_some(work)
    });
    market.restart("renter");
    wait_for("the work to go on", Duration::from_secs(30), || {
        held.iter().all(|process| !process.is_frozen()).then_some(())
    });

    let ended = market.run(&["wait", "comeback"]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let job = market.job("comeback");
    assert_eq!(job.state, JobState::Succeeded);
    assert_eq!(job.parts.done, 9);
    market.assert_outputs(&JOB);
    assert!(
        job.outputs.contains(&first),
        "what had been delivered is still the part's result"
    );
    assert_eq!(
        fs::metadata(&path).unwrap().modified().unwrap(),
        written,
        "it was not fetched or written again"
    );
    let cost = market.cost("comeback");
    assert!(cost.balanced, "{cost:?}");
    assert_eq!(cost.held.units(), 0);
    assert_eq!(cost.transactions, 6, "three deposits and three settlements");
}

#[test]
fn providers_whose_renter_never_comes_back_freeze_then_stop_and_settle_with_the_newest_receipt() {
    const JOB: Job = Job {
        name: "abandoned",
        nodes: 2,
        parts: 2,
        seconds: 600,
    };
    /// Two intervals, the hold, the wait for a last receipt, and the blocks of the settlement, with room for a busy machine.
    const SETTLES_WITHIN: Duration = Duration::from_secs(180);

    let mut market = Market::start(2);
    let work = start_and_pay_a_while(&market, &JOB);
    market.daemon("renter").process.signal("KILL");
    wait_for("all work to be frozen", Duration::from_secs(30), || {
        work.iter().all(|process| process.is_frozen()).then_some(())
    });
    let paid = wait_for("both providers to settle", SETTLES_WITHIN, || {
        // Each settlement pays its provider and refunds the renter.
        Some(market.payments()).filter(|paid| paid.len() == 4)
    });
    assert!(
        work.iter().all(|process| !process.runs()),
        "the work was stopped before it was settled"
    );
    for provider in market.providers() {
        assert_one_sided(&market, provider);
    }
    // Only to read what it had signed: everything is settled.
    market.restart("renter");
    let job = market.job_when("abandoned", "the renter to learn of it", MINUTE, |job| {
        job.state.is_over()
    });
    assert_ne!(job.state, JobState::Succeeded);
    let cost = market.cost("abandoned");
    assert!(cost.balanced, "{cost:?}");
    for bill in &cost.leases {
        assert_eq!(bill.earned, bill.signed, "paid what the newest receipt says: {bill:?}");
        assert!(
            paid.iter()
                .any(|payment| payment.amount == bill.earned.units() && payment.to == bill.provider.to_lowercase()),
            "the chain paid it: {paid:?}"
        );
        let metered = metered(&market, bill.lease);
        let unpaid = bill.price.cost_of(metered).saturating_sub(bill.earned);
        assert!(
            unpaid <= bill.price.cost_of(TWO_INTERVALS),
            "{metered:?} were worked, more than two intervals beyond what was paid: {bill:?}"
        );
    }
}

/// A provider keeps its own word for the end of a lease whose renter does not answer.
fn assert_one_sided(market: &Market, provider: &Daemon) {
    let dir = provider.dir.display().to_string();
    let kept = wait_for("the provider's own record", MINUTE, || {
        let view: ReceiptsView = market.ask(&["receipts", "--dir", &dir]);
        view.receipts.into_iter().next().filter(|kept| kept.provider.is_some())
    });
    assert_eq!(
        (kept.standing, kept.renter.is_none()),
        (RecordStanding::OneSided, true),
        "{kept:?}"
    );
    let own = kept.provider.expect("it signed");
    assert_eq!((own.reason.as_str(), own.by), ("unpaid", gpux_api::Actor::Renter));
    assert_eq!(own.earned, own.signed, "all that was signed was paid");
    assert_csv(market, &["receipts", "--csv", "--dir", &dir], kept.lease, "one_sided");
}

#[test]
fn work_goes_on_while_the_renter_is_away_for_no_longer_than_it_signed_ahead() {
    const JOB: Job = Job {
        name: "holiday",
        nodes: 1,
        parts: 1,
        seconds: 600,
    };
    const AWAY: Duration = Duration::from_secs(45);
    /// Without receipts ahead the work is frozen within two intervals; this is twice as long.
    const GOES_ON: Duration = Duration::from_secs(20);

    let mut market = Market::start(1);
    let work = start_and_pay_a_while(&market, &JOB);
    let away = market.run(&["away", JOB.name, "45s", "-y", "--json"]);
    assert_eq!(away.status.code(), Some(0), "{away:?}");
    let told: AwayView = serde_json::from_slice(&away.stdout).unwrap();
    let [ahead] = told.leases.as_slice() else {
        unreachable!("{told:?}");
    };
    market.daemon("renter").process.signal("KILL");
    stays("the work at work", GOES_ON, || {
        work.iter().all(|process| !process.is_frozen())
    });
    wait_for("the work to be frozen once the horizon is over", AWAY, || {
        work.iter().all(|process| process.is_frozen()).then_some(())
    });
    market.restart("renter");
    let stopped = market.run(&["stop", JOB.name]);
    assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
    market.job_when(JOB.name, "the settlement", MINUTE, |job| job.state.is_over());
    let cost = market.cost(JOB.name);
    assert!(cost.balanced, "{cost:?}");
    for bill in &cost.leases {
        assert!(
            bill.earned >= bill.price.cost_of(GOES_ON.into()),
            "the time away is paid: {bill:?}"
        );
        assert!(
            bill.earned <= ahead.signed_ahead.saturating_add(bill.price.cost_of(TWO_INTERVALS)),
            "no more than was signed ahead, and what came after the return: {bill:?} {ahead:?}"
        );
    }
}

#[test]
fn a_renter_that_is_away_pays_for_no_idle_node_and_finds_its_results_waiting() {
    const JOB: Job = Job {
        name: "overnight",
        nodes: 1,
        parts: 1,
        seconds: 25,
    };
    /// The work, the idle node and the hold, with room for a busy machine.
    const ENDS_WITHIN: Duration = Duration::from_secs(220);
    /// What is billed at most: the work, ten seconds of an idle node, and the start of the part and of each look.
    const BILLED: Millis = Millis::from_secs(25 + 10 + 6);

    let mut market = Market::start(1);
    let work = start_and_pay_a_while(&market, &JOB);
    let away = market.run(&["away", JOB.name, "8m", "-y"]);
    assert_eq!(away.status.code(), Some(0), "{away:?}");
    market.daemon("renter").process.signal("KILL");
    wait_for("the part to end", MINUTE, || {
        work.iter().all(|process| !process.runs()).then_some(())
    });
    wait_for("the provider to end the lease", ENDS_WITHIN, || {
        let mut providers = market.providers();
        providers.all(|provider| shims(&provider.dir).is_empty()).then_some(())
    });
    stays("the settlement waiting for the renter", Duration::from_secs(10), || {
        market.payments().is_empty()
    });

    market.restart("renter");
    let ended = market.run(&["wait", JOB.name]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    market.assert_outputs(&JOB);
    let cost = market.cost(JOB.name);
    assert!(cost.balanced, "{cost:?}");
    assert_eq!(
        cost.transactions, 2,
        "one deposit and one settlement: nothing ran twice"
    );
    for bill in &cost.leases {
        assert!(bill.earned <= bill.price.cost_of(BILLED), "{bill:?}");
    }
}

/// Starts a job of as many parts as there are providers; gives its processes once each lease has a second receipt: the
/// first is for one interval before any work.
fn start_and_pay_a_while(market: &Market, job: &Job) -> Vec<Process> {
    market.start_job(job);
    market.job_when(job.name, "second receipts for all leases", MINUTE, |job| {
        let mut leases = job.leases.iter();
        leases.all(|lease| lease.signed > lease.price.cost_of(INTERVAL))
    });
    let mut work = Vec::new();
    for provider in market.providers() {
        let here = jobs(&provider.dir);
        assert!(!here.is_empty(), "a part runs on {}", provider.dir.display());
        work.extend(here);
    }
    work
}

/// What the shim of the lease had metered when its work ended.
fn metered(market: &Market, lease: LeaseId) -> Millis {
    let name = lease.to_string();
    let files = market
        .providers()
        .map(|provider| provider.dir.join("runtime/leases").join(&name).join("final.json"));
    let text = files
        .filter_map(|file| fs::read(file).ok())
        .next()
        .expect("a record of how the lease ended");
    let record: Value = serde_json::from_slice(&text).unwrap();
    Millis(record["record"]["usage"]["metered"].as_u64().expect("milliseconds"))
}

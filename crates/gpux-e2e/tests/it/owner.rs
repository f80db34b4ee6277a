//! What the owner of a node that sells can do while it does: change prices, take no new leases, wait for the last one, and see
//! what it earned.

use super::{
    job::Job,
    market::{Market, PATIENCE},
    wait::wait_for,
};
use gpux_api::{
    EarningsView, ErrorCode, ErrorDocument, JobList, JobState, NodeView, OffersView, ProvidedState, Taking,
};
use std::{path::Path, process::Output};

const JOB: Job = Job {
    name: "tenant",
    nodes: 1,
    parts: 1,
    seconds: 15,
};

/// The words of a verb about the node of `dir`.
fn words<'a>(dir: &'a Path, verb: &[&'a str]) -> Vec<&'a str> {
    [&["--dir", dir.to_str().unwrap(), "node"], verb].concat()
}

fn node(market: &Market, dir: &Path, verb: &[&str]) -> NodeView {
    market.ask(&words(dir, verb))
}

fn error_of(output: &Output) -> ErrorDocument {
    let text = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_else(|_| panic!("{output:?}"))
}

#[test]
fn an_owner_raises_the_price_pauses_and_drains_a_node_while_its_lease_goes_on_as_agreed() {
    let mut market = Market::start(1);
    let dir = market.daemon("provider-1").dir;
    market.start_job(&JOB);
    let before = wait_for("the lease to run", PATIENCE, || {
        let node = node(&market, &dir, &["status"]);
        let runs = node.leases.iter().any(|lease| lease.state == ProvidedState::Running);
        runs.then_some(node)
    });
    let offers: OffersView = market.ask(&["offers"]);
    let offered = offers.offers[0].price;
    let raised = node(&market, &dir, &["price", "--cpu", "7.5"]);
    assert!(raised.prices.asked.cpu_core > before.prices.asked.cpu_core);
    assert_eq!(raised.prices.configured, before.prices.asked);
    assert_eq!(raised.prices.asked.memory_gib, before.prices.asked.memory_gib);
    wait_for("the renter to hear the new price", PATIENCE, || {
        let offers: OffersView = market.ask(&["offers"]);
        offers.offers.first().filter(|offer| offer.price > offered).map(drop)
    });

    let paused = node(&market, &dir, &["pause"]);
    assert_eq!((paused.taking, paused.leases.len()), (Taking::Paused, 1));
    wait_for("the renter to hear no offer", PATIENCE, || {
        let offers: OffersView = market.ask(&["offers"]);
        offers.offers.is_empty().then_some(())
    });
    let impatient = market.run(&words(&dir, &["drain", "--timeout", "1s", "--json"]));
    assert_eq!(error_of(&impatient).error.code, ErrorCode::TimedOut);
    let drained = node(&market, &dir, &["drain"]);
    assert!(drained.leases.is_empty());

    let job = wait_for("the job to be over", PATIENCE, || {
        let list: JobList = market.ask(&["ps", "--all"]);
        list.jobs.into_iter().find(|job| job.state.is_over())
    });
    assert_eq!(job.state, JobState::Succeeded, "draining ended nothing: {job:?}");
    market.assert_outputs(&JOB);
    let cost = market.cost(JOB.name);
    assert_eq!(cost.leases[0].price, before.leases[0].price, "a lease keeps its price");
    let earned = wait_for("the record of the lease", PATIENCE, || {
        let view: EarningsView = market.ask(&words(&dir, &["earnings"]));
        (view.leases == 1).then_some(view)
    });
    assert_eq!((earned.earned, earned.open.leases), (cost.earned, 0));
    assert_eq!(earned.days.len(), 1);

    what_the_owner_decided_outlives_the_daemon(&mut market, &dir, &raised);
}

fn what_the_owner_decided_outlives_the_daemon(market: &mut Market, dir: &Path, raised: &NodeView) {
    let stopped = market.run(&words(dir, &["drain", "--stop"]));
    assert!(stopped.status.success(), "{stopped:?}");
    let process = market.daemon("provider-1").process;
    wait_for("the daemon to end", PATIENCE, || (!process.runs()).then_some(()));
    let refused = market.run(&words(dir, &["status", "--json"]));
    assert_eq!(
        error_of(&refused).error.code,
        ErrorCode::Unreachable,
        "a question starts no node"
    );

    market.restart("provider-1");
    let again = node(market, dir, &["status"]);
    assert_eq!(
        (again.taking, &again.prices.asked),
        (Taking::Paused, &raised.prices.asked)
    );
    assert_eq!(again.why_idle[0].found, "new leases are paused");
    let open = node(market, dir, &["resume"]);
    assert_eq!(open.taking, Taking::Open);
    let reset = node(market, dir, &["price", "--reset"]);
    assert_eq!(reset.prices.asked, reset.prices.configured);
    wait_for("the renter to hear the offer again", PATIENCE, || {
        let offers: OffersView = market.ask(&["offers"]);
        (offers.offers.len() == 1).then_some(())
    });
    let none = market.run(&["node", "status", "--json"]);
    assert_eq!(
        error_of(&none).error.code,
        ErrorCode::Conflict,
        "the renter sells nothing"
    );
}

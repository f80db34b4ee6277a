//! What a provider's machine had earned when it was gone for ever, and what a living one sends on.

use super::{
    job::Job,
    market::{Daemon, Market, PATIENCE, replacing},
    process::kill_everything,
    wait::wait_for,
};
use gpux_api::{DoctorCheck, DoctorView, LeaseState, LeaseView, OffersView};
use gpux_types::Millis;
use serde_json::{Value, json};
use std::{fs, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);
/// How far receipts run ahead.
const INTERVAL: Millis = Millis::from_secs(5);
/// The newest handover is at most a minute old, and its receipt two intervals.
const LOST_AT_MOST: Millis = Millis::from_secs(75);
/// Long enough that the renter does not reclaim while the tower is watched at its work.
const GRACE_SECS: u64 = 3_600;
/// Where the provider wants its money: nobody's wallet here.
const PAYOUT: &str = "0x00000000000000000000000000000000000a110e";
/// Two DAI.
const GIFT: u128 = 2_000_000_000_000_000_000;

#[test]
fn a_tower_collects_for_a_provider_whose_machine_is_gone_for_ever() {
    const JOB: Job = Job {
        name: "bereaved",
        nodes: 1,
        parts: 1,
        seconds: 600,
    };
    let mut market = Market::start(2);
    let collector = watched_provider(&mut market);
    let (victim, tower) = (market.daemon("provider-1"), market.daemon("provider-2"));
    let tower_wallet = market.address(&tower);
    let sent_by_tower = || {
        market
            .rpc
            .call("eth_getTransactionCount", json!([tower_wallet, "latest"]))
    };

    market.start_job(&JOB);
    let on_victim = |lease: &&LeaseView| lease.provider.to_lowercase() == collector;
    market.job_when(JOB.name, "a second receipt", MINUTE, |job| {
        let mut leases = job.leases.iter().filter(on_victim);
        leases.any(|lease| lease.signed > lease.price.cost_of(INTERVAL))
    });
    wait_for("the tower to have it", MINUTE, || {
        let check = check(&market, &tower, "watch");
        check.found.starts_with("watches 1 leases for 1 nodes").then_some(())
    });
    let before = market.job(JOB.name);
    let before = before
        .leases
        .iter()
        .find(on_victim)
        .expect("a lease on the victim")
        .clone();
    destroy(&victim);
    assert_eq!(sent_by_tower(), "0x0");
    assert!(paid(&market, &collector, PAYOUT).is_empty());
    market.rpc.jump(before.expiry.0 + GRACE_SECS / 2 + 1);
    let payout = wait_for("the tower to collect", MINUTE, || {
        paid(&market, &collector, PAYOUT).first().copied()
    });
    let received: u128 = paid(&market, &market.escrow, &collector).iter().sum();
    let reward: u128 = paid(&market, &collector, &tower_wallet).iter().sum();
    assert!(
        reward > 0 && reward <= received / 100,
        "the tower has {reward} of {received}"
    );
    assert_eq!(payout, received - reward, "and the payout address all the rest");
    assert_eq!(sent_by_tower(), "0x1", "one draw: the collector was there");
    let lost = before.signed.units().saturating_sub(received);
    let most = before.price.cost_of(LOST_AT_MOST).units();
    assert!(lost <= most, "{received} of {} came in", before.signed);
    the_rest_comes_back(&market, JOB.name, &before, received);
}

fn destroy(victim: &Daemon) {
    kill_everything(victim.process, &victim.dir);
    for file in [
        "state.sqlite",
        "state.sqlite-wal",
        "signer.key",
        "endpoint.key",
        "wallet.json",
    ] {
        // What is not there is as gone as it should be.
        let _ = fs::remove_file(victim.dir.join(file));
    }
}

fn the_rest_comes_back(market: &Market, job: &str, before: &LeaseView, received: u128) {
    market.rpc.jump(before.expiry.0 + GRACE_SECS + 1);
    market.job_when(job, "the rest to come back", MINUTE, |job| {
        let back = |lease: &LeaseView| lease.id == before.id && lease.state == LeaseState::Reclaimed;
        job.leases.iter().any(back)
    });
    let cost = market.cost(job);
    let bill = cost
        .leases
        .iter()
        .find(|bill| bill.lease == before.id)
        .expect("its bill");
    assert_eq!(bill.refund.units(), bill.deposit.units() - received, "{bill:?}");
    assert!(cost.balanced, "{cost:?}");
}

#[test]
fn what_lies_at_the_collector_of_a_living_provider_is_sent_on_by_itself() {
    /// The provider looks each minute.
    const SENT_WITHIN: Duration = Duration::from_secs(120);
    let mut market = Market::start(2);
    let collector = watched_provider(&mut market);
    let check = check(&market, &market.daemon("provider-1"), "towers");
    assert!(check.ok && check.found.contains("1 watch-towers"), "{check:?}");
    market.rpc.mint(&market.token, &collector, GIFT);
    let sent = wait_for("it to be swept", SENT_WITHIN, || {
        paid(&market, &collector, PAYOUT).first().copied()
    });
    assert_eq!(sent, GIFT);
}

/// Makes provider-2 the watch-tower of provider-1; gives the collector that is paid from then on, once the renter has heard.
fn watched_provider(market: &mut Market) -> String {
    // Fees of this chain are far above a hundredth of a minute's rent: a coin is worth next to nothing to this tower.
    let serve = "serve = true\ncoin_price = \"0.000001\"";
    market.reconfigure("provider-2", replacing(&[("serve = false", serve)]));
    let running = fs::read(market.daemon("provider-2").dir.join("daemon.json")).unwrap();
    let running: Value = serde_json::from_slice(&running).unwrap();
    let towers = format!(
        "payout = \"{PAYOUT}\"\ncoin_price = \"0.000001\"\ntowers = [{}]",
        running["ticket"]
    );
    let grace = format!("grace_secs = {GRACE_SECS}");
    let words = [("towers = []", towers.as_str()), ("grace_secs = 30", grace.as_str())];
    market.reconfigure("provider-1", replacing(&words));
    // The longest grace that a renter takes is its own.
    market.reconfigure("renter", replacing(&[("grace_secs = 30", &grace)]));
    let found = wait_for("the provider to deploy its collector", MINUTE, || {
        let check = check(market, &market.daemon("provider-1"), "towers");
        check.ok.then_some(check.found)
    });
    let (_, collector) = found.rsplit_once(' ').expect("an address");
    let collector = collector.to_lowercase();
    wait_for("the renter to hear of it", PATIENCE, || {
        let offers: OffersView = market.ask(&["offers"]);
        let paid: Vec<String> = offers
            .offers
            .iter()
            .map(|offer| offer.provider.to_lowercase())
            .collect();
        (paid.contains(&collector) && paid.len() == 2).then_some(())
    });
    collector
}

/// What `gpux doctor` of that daemon says under a name.
fn check(market: &Market, daemon: &Daemon, name: &str) -> DoctorCheck {
    let dir = daemon.dir.to_str().unwrap();
    let said = market.run(&["--dir", dir, "doctor", "--json"]);
    let doctor: DoctorView = serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
    let mut checks = doctor.checks.into_iter();
    checks.find(|check| check.name == name).expect("a check of that name")
}

/// What went from one address to another, in order.
fn paid(market: &Market, from: &str, to: &str) -> Vec<u128> {
    let transfers = market.rpc.transfers(&market.token).into_iter();
    let between = transfers.filter(|transfer| transfer.from == from.to_lowercase() && transfer.to == to);
    between.map(|transfer| transfer.amount).collect()
}

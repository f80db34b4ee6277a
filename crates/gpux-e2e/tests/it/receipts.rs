//! What is left of a lease when it is over: a record that both sides signed, and that both show the same.

use super::{job::Job, market::Market, wait::wait_for};
use gpux_api::{ReceiptView, ReceiptsView, RecordStanding};
use gpux_types::LeaseId;
use std::time::Duration;

const JOB: Job = Job {
    name: "kept",
    nodes: 1,
    parts: 2,
    seconds: 4,
};

#[test]
fn both_sides_sign_the_same_words_for_a_lease_that_did_its_work_and_both_keep_them() {
    let market = Market::start(1);
    let mut follower = market.follow(&JOB);
    assert_eq!(follower.wait().unwrap().code(), Some(0), "gpux run ends well");
    let cost = market.cost(JOB.name);
    let signed = wait_for("both sides to sign", Duration::from_secs(60), || {
        let view: ReceiptsView = market.ask(&["receipts", JOB.name]);
        view.receipts
            .into_iter()
            .find(|receipt| receipt.standing == RecordStanding::Agreed)
    });
    assert_the_facts(&signed, &cost);

    let provider = market.providers().next().unwrap().dir.display().to_string();
    let theirs = wait_for("the provider to keep it", Duration::from_secs(20), || {
        let view: ReceiptsView = market.ask(&["receipts", "--dir", &provider]);
        view.receipts
            .into_iter()
            .find(|receipt| receipt.standing == RecordStanding::Agreed)
    });
    assert_eq!(theirs.lease, signed.lease);
    assert_eq!(theirs.terms, signed.terms);
    assert_eq!((theirs.provider, theirs.renter), (signed.provider, signed.renter));

    let csv = market.run(&["receipts", "--csv"]);
    let csv = String::from_utf8(csv.stdout).unwrap();
    let lines: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 2, "a header and one lease: {csv}");
    assert!(
        lines[1].contains(&signed.lease.to_string()) && lines[1].contains(",agreed,"),
        "{csv}"
    );
}

/// A table for spreadsheets has a line for the lease that says how its record stands.
pub(crate) fn assert_csv(market: &Market, words: &[&str], lease: LeaseId, standing: &str) {
    let csv = String::from_utf8(market.run(words).stdout).unwrap();
    let standing = format!(",{standing},");
    assert!(
        csv.split_terminator("\r\n")
            .any(|line| line.contains(&lease.to_string()) && line.contains(&standing)),
        "{standing} of {lease}: {csv}"
    );
}

fn assert_the_facts(signed: &ReceiptView, cost: &gpux_api::CostView) {
    let (Some(provider), Some(renter)) = (&signed.provider, &signed.renter) else {
        unreachable!("an agreed record has both: {signed:?}");
    };
    assert_eq!(provider.digest, renter.digest, "both signed the same words");
    assert_ne!(provider.signature, renter.signature, "each with its own key");
    let [lease] = cost.leases.as_slice() else {
        unreachable!("one lease: {cost:?}");
    };
    assert_eq!(signed.lease, lease.lease);
    assert_eq!(
        (provider.reason.as_str(), provider.by),
        ("completed", gpux_api::Actor::Renter)
    );
    assert_eq!(provider.earned, lease.earned);
    assert_eq!(provider.refund, lease.refund);
    assert_eq!(provider.deposit, lease.deposit);
    assert!(provider.earned.units() > 0 && provider.earned <= provider.signed);
    let hashes = |transactions: Vec<&String>| transactions.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(
        hashes(provider.transactions.iter().map(|moved| &moved.hash).collect()),
        hashes(lease.transactions.iter().map(|transaction| &transaction.hash).collect()),
    );
    let exits: Vec<(i32, u32)> = provider.exits.iter().map(|exit| (exit.code, exit.parts)).collect();
    assert_eq!((exits.as_slice(), provider.other_parts), ([(0, 2)].as_slice(), 0));
    assert!(provider.last_log.is_some(), "the log of the last part: {provider:?}");
}

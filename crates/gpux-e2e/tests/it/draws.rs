//! A lease that earns so much that its provider does not wait for the end to be paid.

use super::{job::Job, market::Market, wait::wait_for};
use gpux_api::{CostView, JobState, ReceiptsView, RecordStanding, TransactionKind};
use std::{
    fs,
    time::{Duration, Instant},
};

const JOB: Job = Job {
    name: "dear",
    nodes: 1,
    parts: 1,
    seconds: 30,
};
const LIMIT: Duration = Duration::from_secs(240);

/// A price at which a token is earned each seven seconds, and a coin that is worth next to nothing, so that one token is what a
/// draw must bring.
fn dear(config: &str) -> String {
    let lines = config.lines().map(|line| match line {
        "[chain]" => "[chain]\nexposure = \"0\"".to_owned(),
        "[provide]" => "[provide]\ncoin_price = \"0.000001\"".to_owned(),
        line if line.starts_with("price_cpu") => "price_cpu = \"1000\"".to_owned(),
        line => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_dear_lease_is_drawn_on_the_way_and_settled_for_the_rest() {
    let mut market = Market::start(1);
    let began = Instant::now();
    market.reconfigure("provider-1", dear);
    market.await_offer("provider-1", began);
    let file = market.write_job(&JOB);
    fs::write(&file, JOB.text().replace("max_duration: 10m", "max_duration: 3m")).unwrap();
    let output = market.output(&JOB);
    let _: gpux_api::JobView = market.ask(&["run", &file, "-y", "--detach", "--output", &output]);
    let on_the_way = wait_for("a draw on the chain while the work goes on", LIMIT, || {
        let paid = market.payments();
        (!paid.is_empty()).then_some(paid)
    });
    let provider = market.address(&market.daemon("provider-1"));
    assert!(
        on_the_way.iter().all(|paid| paid.to == provider),
        "nothing is refunded yet"
    );
    let over = market.job_when("dear", "the end", LIMIT, |job| {
        matches!(job.state, JobState::Succeeded | JobState::Failed)
    });
    assert_eq!(over.state, JobState::Succeeded, "{over:?}");

    let cost: CostView = market.cost("dear");
    assert!(cost.balanced && cost.held.units() == 0, "{cost:?}");
    let bill = cost.leases.first().expect("one lease");
    let kinds: Vec<TransactionKind> = bill.transactions.iter().map(|one| one.kind).collect();
    let [TransactionKind::Deposit, draws @ .., TransactionKind::Settlement] = kinds.as_slice() else {
        unreachable!("a deposit, draws and a settlement: {kinds:?}");
    };
    assert!(
        !draws.is_empty() && draws.iter().all(|kind| *kind == TransactionKind::Draw),
        "{kinds:?}"
    );
    let token = over.token.parse("1").unwrap();
    for draw in bill.transactions.iter().filter(|one| one.kind == TransactionKind::Draw) {
        assert!(draw.amount >= token, "small change waits for the settlement: {draw:?}");
    }
    let paid = market.payments();
    let to = |address: &str| -> u128 {
        let its = paid.iter().filter(|paid| paid.to == address);
        its.map(|paid| paid.amount).sum()
    };
    assert_eq!(
        to(&provider),
        bill.earned.units(),
        "draws and settlement are all that was earned"
    );
    let renter = market.address(&market.daemon("renter"));
    assert_eq!(to(&renter), bill.refund.units());

    let kept = wait_for("both sides to sign the same", LIMIT, || {
        let view: ReceiptsView = market.ask(&["receipts", "dear"]);
        let mut receipts = view.receipts.into_iter();
        receipts.find(|receipt| receipt.standing == RecordStanding::Agreed)
    });
    let stated = kept.provider.expect("an agreed record has it");
    assert_eq!((stated.earned, stated.refund), (bill.earned, bill.refund));
    let moved: Vec<&String> = stated.transactions.iter().map(|moved| &moved.hash).collect();
    let known: Vec<&String> = bill.transactions.iter().map(|one| &one.hash).collect();
    assert_eq!(moved, known, "every draw is in the record");
}

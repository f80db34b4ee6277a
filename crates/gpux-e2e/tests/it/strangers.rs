//! Peers that lie about what they are, sell or hand back: nobody believes them, and honest nodes do the work.

use super::{
    job::{self, Job},
    market::Market,
    wait::{stays, wait_for},
};
use gpux_api::{ErrorCode, ErrorDocument, LeaseState, OffersView, PlanView, WalletView};
use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
    time::Duration,
};

const MINUTE: Duration = Duration::from_secs(60);

/// Starts the stranger: two nodes of which each has one offer that may be believed.
fn join(market: &mut Market) {
    let dir = market.path().join("stranger");
    fs::create_dir(&dir).unwrap();
    let config = market.daemon("renter").dir.join("config.toml");
    fs::copy(config, dir.join("config.toml")).unwrap();
    let mut stranger = Command::new(env!("CARGO_BIN_EXE_gpux-e2e-stranger"));
    stranger.arg(&dir).stdin(Stdio::null()).stdout(Stdio::null());
    market.adopt(stranger.spawn().unwrap());
}

#[test]
fn forged_offers_are_not_heard_and_a_quote_for_another_wallet_buys_nothing() {
    const JOB: Job = Job {
        name: "wary",
        nodes: 1,
        parts: 2,
        seconds: 1,
    };
    let mut market = Market::start(1);
    let honest: OffersView = market.ask(&["offers"]);
    let wallet: WalletView = market.ask(&["wallet", "balance"]);
    join(&mut market);
    let nodes = |offers: &OffersView| -> BTreeSet<String> {
        offers.offers.iter().map(|offer| offer.node.to_string()).collect()
    };
    // What the stranger forges was said before its last offer, and in the same way.
    let heard = wait_for("both good offers of the stranger", MINUTE, || {
        let offers: OffersView = market.ask(&["offers"]);
        (offers.offers.len() == 3).then_some(offers)
    });
    let known = &honest.offers[0];
    stays("what was heard", Duration::from_secs(3), || {
        let offers: OffersView = market.ask(&["offers"]);
        let same = offers.offers.iter().find(|offer| offer.node == known.node);
        nodes(&offers) == nodes(&heard)
            && same.is_some_and(|offer| (&offer.provider, offer.price) == (&known.provider, known.price))
    });

    let file = market.write_job(&JOB);
    let plan: PlanView = market.ask(&["plan", &file]);
    assert_ne!(
        plan.leases[0].node, known.node,
        "the stranger is the cheapest: {plan:?}"
    );
    let purse = || market.rpc.purse(&market.token, &wallet.address);
    let before = purse();
    let refused = market.run(&["run", &file, "-y", "--nodes", "2", "--json"]);
    assert_eq!(refused.status.code(), Some(125), "{refused:?}");
    let told = String::from_utf8_lossy(&refused.stderr);
    let ErrorDocument { error, .. } = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(error.code, ErrorCode::NoMatch, "{error:?}");
    for said in [
        "1 of 2 nodes gave one",
        "checking a quote's signature",
        "nothing was spent",
    ] {
        assert!(error.message.contains(said), "{said:?}: {error:?}");
    }
    assert_eq!(purse(), before, "no deposit, no transaction");

    // Nobody who is dearer takes the stranger's place unasked; asked again, the plan leaves the stranger out.
    let ran = market.run(&["run", &file, "-y", "--output", &market.output(&JOB)]);
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    market.assert_outputs(&JOB);
    let job = market.job(JOB.name);
    let [lease] = job.leases.as_slice() else {
        unreachable!("{job:?}");
    };
    assert_eq!(
        (lease.node, lease.state),
        (known.node, LeaseState::Settled),
        "the honest one did it"
    );
    assert_eq!(market.cost(JOB.name).transactions, 2);
}

#[test]
fn a_provider_that_hands_back_corrupt_blobs_gets_no_part_done_and_none_of_it_is_written() {
    let mut market = Market::start(2);
    market.corrupt("provider-2", "blobs");
    // Too large to be kept beside the store's index; the second file is asked for when the first is in the store.
    let script = "busybox yes part $GPUX_ARRAY_INDEX | busybox head -c 60000 > /out/large-$GPUX_ARRAY_INDEX.txt; \
         echo small $GPUX_ARRAY_INDEX > /out/small-$GPUX_ARRAY_INDEX.txt; sleep 1";
    let file = market.path().join("blobs.yaml");
    fs::write(&file, job::file("blobs", 2, 2, script)).unwrap();
    let output = market.path().join("blobs-out");
    let (file, words) = (file.to_str().unwrap(), output.to_str().unwrap());
    let ran = market.run(&["run", file, "-y", "--output", words]);
    assert_eq!(ran.status.code(), Some(0), "the honest node did all of it: {ran:?}");

    let job = market.job("blobs");
    assert_eq!(market.lease_on(&job, &market.daemon("provider-1")).parts_done, 2);
    assert_eq!(market.lease_on(&job, &market.daemon("provider-2")).parts_done, 0);
    for index in 0..2 {
        let line = format!("part {index}\n");
        let expected: String = line.repeat(60_000 / line.len() + 1).chars().take(60_000).collect();
        let found = fs::read_to_string(output.join(format!("large-{index}.txt"))).unwrap();
        assert!(found == expected, "part {index} is not what it wrote");
    }
    assert_eq!(fs::read_dir(&output).unwrap().count(), 4, "nothing else was written");
    let log = fs::read_to_string(market.daemon("renter").dir.join("daemon.log")).unwrap();
    assert!(
        log.contains("fetching outputs"),
        "the renter's log says what it refused:\n{log}"
    );
    assert!(market.cost("blobs").balanced);
}

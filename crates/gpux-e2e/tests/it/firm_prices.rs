//! What was agreed to is the most that is paid, whatever the nodes do between the plan and the deposits.

use super::{job::Job, market::Market};
use gpux_api::{ErrorCode, ErrorDocument, WalletView};
use serde_json::Value;

const JOB: Job = Job {
    name: "bargain",
    nodes: 1,
    parts: 1,
    seconds: 1,
};

#[test]
fn a_dearer_node_does_not_take_the_place_of_one_that_gives_no_price() {
    let market = Market::start(2);
    let wallet: WalletView = market.ask(&["wallet", "balance"]);
    let purse = market.rpc.purse(&market.token, &wallet.address);
    let file = market.write_job(&JOB);
    let plan: Value = market.ask(&["plan", &file]);
    let cheap = plan["leases"][0]["provider"].as_str().unwrap().to_lowercase();
    let bait = market
        .providers()
        .find(|daemon| market.address(daemon) == cheap)
        .unwrap();
    // Its offer stays, and it answers nobody.
    bait.process.signal("STOP");
    let output = market.run(&["run", &file, "-y", "--json"]);
    bait.process.signal("CONT");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let told = stderr.lines().last().unwrap();
    let ErrorDocument { error, .. } = serde_json::from_str(told).unwrap();
    assert_eq!(error.code, ErrorCode::NoMatch, "{error:?}");
    assert!(error.message.contains("would pass what you agreed to"), "{error:?}");
    assert_eq!(
        market.rpc.purse(&market.token, &wallet.address),
        purse,
        "nothing was spent"
    );
}

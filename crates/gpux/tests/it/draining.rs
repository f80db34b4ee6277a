//! `gpux node drain`: when it waits, and what it never does before it is done.

use crate::{daemon, home::Home};
use serde_json::{Value, json};

/// A paused node with so many quotes that hold, and no lease. It is not to be stopped: nothing answers to that.
fn home_of(quotes: u32) -> Home {
    let small = json!({ "cpu": "1", "memory": "1GiB", "disk": "1GiB" });
    let rates = json!({ "cpu_core": "1", "memory_gib": "1", "disk_gib": "1" });
    let node = json!({
        "schema": "gpux.node/v1", "node": "cd".repeat(32), "up": 1, "taking": "paused",
        "token": { "symbol": "DAI", "decimals": 18 },
        "prices": {
            "asked": rates, "configured": rates,
            "standing": { "of": small, "own": "1", "others": 0, "cheaper": 0, "p10": null, "p50": null, "p90": null },
        },
        "total": small, "free": small, "leases": [], "quotes": quotes, "neighbours": 1,
        "asked": { "quotes": 1, "leases": 0, "refused": {} }, "why_idle": [],
    });
    let home = Home::new();
    let answers = [
        (("GET", "/v1/node"), (200, node.to_string())),
        (("POST", "/v1/node/taking"), (200, node.to_string())),
    ];
    daemon::listen(home.path(), answers.into());
    home
}

#[test]
fn a_node_is_not_drained_nor_stopped_while_a_quote_holds() {
    let home = home_of(2);
    let ended = home.run(&["node", "drain", "--stop", "--timeout", "1200ms", "--json"]);
    assert_eq!((ended.status, ended.error()["code"].as_str()), (7, Some("timed_out")));
    let message = ended.error()["message"].to_string();
    assert!(message.contains("it still has 2 quotes"), "{message}");
    let talk = home.run(&["node", "drain", "--timeout", "1s"]).talk;
    assert!(
        talk.starts_with("no new leases are taken; waiting for 2 quotes"),
        "{talk}"
    );
}

#[test]
fn a_node_without_leases_and_quotes_is_drained_at_once() {
    let ended = home_of(0).run(&["node", "drain", "--json"]);
    assert_eq!((ended.status, ended.talk.as_str()), (0, ""));
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(document["quotes"], 0);
}

//! What becomes of the daemon's answers: documents pass through whole, refusals keep their code, nonsense is told as such.

use crate::{daemon, home::Home};
use serde_json::{Value, json};

const OFFERS: (&str, &str) = ("GET", "/v1/offers");

fn offers() -> Value {
    json!({
        "schema": "gpux.offers/v1",
        "token": { "symbol": "DAI", "decimals": 18 },
        "offers": [{
            "node": "aa".repeat(32), "provider": "0x488C46ea", "region": "eu-nl",
            "total": { "cpu": "4", "memory": "8GiB", "disk": "100GiB" },
            "free": { "cpu": "4", "memory": "8GiB", "disk": "100GiB" },
            "price": "167400000000000000", "cpu_score": 1_043, "age": 2_340,
        }],
    })
}

fn home_with(status: u16, body: impl Into<String>) -> Home {
    let home = Home::new();
    daemon::listen(home.path(), [(OFFERS, (status, body.into()))].into());
    home
}

#[test]
fn json_is_the_daemons_document() {
    let ended = home_with(200, offers().to_string()).run(&["offers", "--json"]);
    assert_eq!((ended.status, ended.talk.as_str()), (0, ""));
    assert_eq!(serde_json::from_str::<Value>(&ended.out).unwrap(), offers());
}

#[test]
fn people_get_a_table_of_the_same_document() {
    let ended = home_with(200, offers().to_string()).run(&["offers"]);
    assert_eq!((ended.status, ended.talk.as_str()), (0, ""));
    assert!(
        ended.out.contains("aaaaaaaa") && ended.out.contains("0.1674"),
        "{}",
        ended.out
    );
}

#[test]
fn a_list_is_put_together_from_its_pages_or_ends_where_its_reader_wants() {
    let home = Home::new();
    let page = |next: Option<&str>| {
        let mut page = offers();
        if let Some(next) = next {
            page["next"] = next.into();
        }
        (200, page.to_string())
    };
    let answers = [
        (OFFERS, page(Some("7-aa"))),
        (("GET", "/v1/offers?after=7-aa"), page(None)),
        (("GET", "/v1/offers?limit=1"), page(Some("7-aa"))),
        (("GET", "/v1/offers?limit=1000"), page(Some("7-aa"))),
        (("GET", "/v1/offers?limit=1000&after=7-aa"), page(None)),
    ];
    daemon::listen(home.path(), answers.into());
    for (words, entries, more) in [
        (vec!["offers"], 2, false),
        (vec!["offers", "--limit", "1"], 1, true),
        (vec!["offers", "--limit", "1100"], 2, false),
    ] {
        let json = home.run(&[words.as_slice(), &["--json"]].concat());
        let document: Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(document["offers"].as_array().unwrap().len(), entries, "{words:?}");
        assert_eq!(document["next"].is_string(), more, "{words:?}");
        let talk = home.run(&words).talk;
        assert_eq!(talk.contains("there are more"), more, "{words:?}: {talk}");
    }
}

#[test]
fn a_refusal_keeps_its_code_message_and_hint() {
    for (code, status) in [
        ("no_match", 3),
        ("over_budget", 4),
        ("unreachable", 8),
        ("provider_fault", 10),
    ] {
        let error = json!({ "code": code, "message": "m", "hint": "h", "retryable": true, "docs": "d" });
        let home = home_with(409, json!({ "error": error }).to_string());
        let ended = home.run(&["offers", "--json"]);
        assert_eq!((ended.status, ended.error()), (status, error), "{code}");
        assert_eq!(home.run(&["offers"]).talk.lines().next(), Some("error: m"));
    }
}

#[test]
fn an_answer_that_is_no_document_is_an_internal_failure() {
    for (status, body) in [(200, "nonsense"), (200, "{}"), (500, "nonsense"), (500, "")] {
        let ended = home_with(status, body).run(&["offers", "--json"]);
        assert_eq!(
            (ended.status, ended.error()["code"].as_str()),
            (1, Some("internal")),
            "{status} {body}"
        );
    }
}

#[test]
fn without_a_terminal_nothing_is_spent_unless_yes_was_typed() {
    let home = Home::new();
    let job = json!({
        "schema": "gpux.job/v1", "id": "12".repeat(16), "name": "shot", "state": "running", "accepted_at": 1,
        "elapsed": 1, "token": { "symbol": "DAI", "decimals": 18 },
        "parts": { "total": 1, "queued": 0, "running": 1, "done": 0, "failed": 0 },
        "leases": [{
            "id": "ab".repeat(32), "node": "aa".repeat(32), "provider": "0x01", "state": "running", "price": "1",
            "deposit": "1", "topped_up": "0", "signed": "0", "expiry": 1, "metered": 1, "parts_done": 0,
            "parts_running": 1, "prepared": "1MiB", "to_prepare": "1MiB", "end": null,
        }],
        "output": "/tmp/x", "outputs": [], "end": null,
    });
    let reply = json!({ "schema": "gpux.topup/v1", "leases": [] });
    let answers = [
        (("GET", "/v1/jobs/shot"), (200, job.to_string())),
        (
            ("POST", "/v1/jobs/12121212121212121212121212121212/topup"),
            (200, reply.to_string()),
        ),
    ];
    daemon::listen(home.path(), answers.into());
    let refused = home.run(&["topup", "shot", "0.5", "--json"]);
    let error = refused.error();
    assert_eq!(
        (refused.status, error["message"].as_str()),
        (2, Some("spending: nobody is there to say yes; nothing was spent"))
    );
    let agreed = home.run(&["topup", "shot", "0.5", "-y", "--json"]);
    assert_eq!((agreed.status, agreed.talk.as_str()), (0, ""));
    assert_eq!(serde_json::from_str::<Value>(&agreed.out).unwrap(), reply);
    let wrong = home.run(&["topup", "shot", "much", "-y", "--json"]);
    assert_eq!(
        (wrong.status, wrong.error()["code"].as_str()),
        (2, Some("invalid_input"))
    );
}

//! Wrong wishes get a clear answer and cost nothing.

use super::{
    job::{self, Job},
    market::Market,
    wait::wait_for,
};
use gpux_api::{ErrorCode, ErrorDocument, LeaseState, WalletView};
use serde_json::Value;
use std::{fs, path::PathBuf, process::Output, time::Duration};

const JOB: Job = Job {
    name: "small",
    nodes: 1,
    parts: 1,
    seconds: 1,
};

/// The exit status of a followed `gpux run` that failed before its job did.
const FOLLOWED: i32 = 125;

/// One wrong wish.
struct Case {
    what: &'static str,
    /// What of the good job file is replaced with what.
    change: (&'static str, &'static str),
    words: &'static [&'static str],
    code: ErrorCode,
    /// What message and hint together must say.
    says: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        what: "an unknown key",
        change: ("resources:", "resorces:"),
        words: &["-y"],
        code: ErrorCode::InvalidInput,
        says: &["resorces", "did you mean", "resources"],
    },
    Case {
        what: "a wrong unit",
        change: ("256MiB", "256 bananas"),
        words: &["-y"],
        code: ErrorCode::InvalidInput,
        says: &["line 6", "256 bananas", "512MiB"],
    },
    Case {
        what: "an image that does not exist",
        change: ("oci:image:e2e", "oci:nowhere:e2e"),
        words: &["-y"],
        code: ErrorCode::InvalidInput,
        says: &["image", "nowhere"],
    },
    Case {
        what: "a tag that does not exist",
        change: ("oci:image:e2e", "oci:image:other"),
        words: &["-y"],
        code: ErrorCode::InvalidInput,
        says: &["other", "e2e"],
    },
    Case {
        what: "an image with a corrupt layer",
        change: ("oci:image:e2e", "oci:torn:e2e"),
        words: &["-y"],
        code: ErrorCode::InvalidInput,
        says: &["finding the image", "torn", "sha256"],
    },
    Case {
        what: "more nodes than the market has",
        change: ("nodes: 1", "nodes: 7"),
        words: &["-y"],
        code: ErrorCode::NoMatch,
        says: &[
            "finding 7 nodes",
            "nothing was spent",
            "1 node would match with nodes: 1",
        ],
    },
    Case {
        what: "more memory than any node has",
        change: ("256MiB", "9000GiB"),
        words: &["-y"],
        code: ErrorCode::NoMatch,
        says: &["would match with memory", "nothing was spent"],
    },
    Case {
        what: "a budget below the price",
        change: ("max_duration: 10m", "max_duration: 10m, max_price: 0.000001/hour"),
        words: &["-y"],
        code: ErrorCode::OverBudget,
        says: &["nothing was spent"],
    },
    Case {
        what: "a total below the deposits",
        change: ("small", "small"),
        words: &["-y", "--max-total", "0.000001"],
        code: ErrorCode::OverBudget,
        says: &["nothing was spent"],
    },
    Case {
        what: "nobody there to say yes",
        change: ("small", "small"),
        words: &[],
        code: ErrorCode::InvalidInput,
        says: &["nobody is there to say yes", "nothing was spent", "-y"],
    },
];

#[test]
fn wrong_wishes_get_a_clear_answer_and_cost_nothing() {
    let mut market = Market::start(1);
    let wallet: WalletView = market.ask(&["wallet", "balance"]);
    let good = JOB.text();
    let purse = market.rpc.purse(&market.token, &wallet.address);
    assert!(purse.tokens > 0, "there is something to lose");
    job::write_image(&market.path().join("torn"));
    job::tear(&market.path().join("torn"));
    for case in CASES {
        let text = good.replacen(case.change.0, case.change.1, 1);
        let file = market.path().join("wrong.yaml");
        fs::write(&file, text).unwrap();
        let words: Vec<&str> = ["run", file.to_str().unwrap(), "--json"]
            .into_iter()
            .chain(case.words.iter().copied())
            .collect();
        let refused = market.run(&words);
        assert_eq!(refused.status.code(), Some(FOLLOWED), "{}: {refused:?}", case.what);
        assert_refused(case.what, &refused, case.code, case.says);
        assert_eq!(
            market.rpc.purse(&market.token, &wallet.address),
            purse,
            "{} cost something",
            case.what
        );
    }
    let unknown = market.run(&["wait", "no-such-job", "--json"]);
    assert_refused(
        "an unknown job",
        &unknown,
        ErrorCode::NotFound,
        &["no-such-job", "gpux ps"],
    );
    empty_wallet_cannot_rent(&mut market);
    other_chain_is_refused(&market);
    assert_eq!(market.rpc.purse(&market.token, &wallet.address), purse);
    closed_job_cannot_be_topped_up(&market, &wallet.address);
}

/// The command failed with the code, its exit status, and words that help.
fn assert_refused(what: &str, output: &Output, code: ErrorCode, says: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let document = stderr
        .lines()
        .last()
        .and_then(|line| serde_json::from_str::<ErrorDocument>(line).ok());
    let Some(ErrorDocument { error, .. }) = document else {
        panic!("{what}: the last line of standard error is no error document: {output:?}");
    };
    assert_eq!(error.code, code, "{what}: {error:?}");
    let status = output.status.code();
    assert!(
        [Some(FOLLOWED), Some(i32::from(code.exit_status()))].contains(&status),
        "{what}: {error:?}"
    );
    let told = format!("{} {}", error.message, error.hint.unwrap_or_default());
    for word in says {
        assert!(told.contains(word), "{what} does not say {word:?}: {told}");
    }
}

/// A renter without tokens, beside the market's own.
fn empty_wallet_cannot_rent(market: &mut Market) {
    let dir = new_renter(market, "poor", |config| config);
    market.start_daemon(&dir);
    let (dir, file) = (dir.to_str().unwrap().to_owned(), market.write_job(&JOB));
    wait_for("the poor renter to hear the offer", Duration::from_secs(60), || {
        let output = market.run(&["--dir", &dir, "offers", "--json"]);
        let offers: Value = serde_json::from_slice(&output.stdout).ok()?;
        (offers["offers"].as_array()?.len() == 1).then_some(())
    });
    let output = market.run(&["--dir", &dir, "run", &file, "-y", "--json"]);
    let says = ["wallet", "it has 0", "nothing was spent"];
    assert_refused("an empty wallet", &output, ErrorCode::InsufficientFunds, &says);
}

fn other_chain_is_refused(market: &Market) {
    let dir = new_renter(market, "lost", |config| {
        config
            .replace("name = \"devnet\"\n", "")
            .replace("chain_id = 901", "chain_id = 10")
            .replace("grace_secs = 30", "grace_secs = 86400")
    });
    let output = market.run(&["--dir", dir.to_str().unwrap(), "daemon", "--json"]);
    assert_refused("a wrong chain", &output, ErrorCode::Unreachable, &["901", "10"]);
}

/// A folder with the renter's configuration, changed, and a wallet of its own.
fn new_renter(market: &Market, name: &str, change: impl Fn(String) -> String) -> PathBuf {
    let dir = market.path().join(name);
    fs::create_dir(&dir).unwrap();
    let config = fs::read_to_string(market.daemon("renter").dir.join("config.toml")).unwrap();
    fs::write(dir.join("config.toml"), change(config)).unwrap();
    let password = dir.join("wallet.password");
    fs::write(&password, "correct horse battery staple").unwrap();
    let words = [
        "--dir",
        dir.to_str().unwrap(),
        "wallet",
        "new",
        "--password-file",
        password.to_str().unwrap(),
    ];
    let _: Value = market.ask(&words);
    dir
}

fn closed_job_cannot_be_topped_up(market: &Market, wallet: &str) {
    market.start_job(&JOB);
    let over = market.job_when("small", "the job to end", Duration::from_secs(60), |job| {
        job.state.is_over()
    });
    assert_eq!(over.leases.first().map(|lease| lease.state), Some(LeaseState::Settled));
    let purse = market.rpc.purse(&market.token, wallet);
    let output = market.run(&["topup", "small", "0.01", "-y", "--json"]);
    assert_refused(
        "a top-up of a closed job",
        &output,
        ErrorCode::Conflict,
        &["small", "nothing was spent"],
    );
    assert_eq!(market.rpc.purse(&market.token, wallet), purse);
}

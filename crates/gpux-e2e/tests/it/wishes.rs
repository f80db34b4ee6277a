//! What can be wished of a job before it runs, and what an app says about it: plans, checks, inputs, parameters, last steps.

use super::market::Market;
use gpux_api::{ErrorCode, ErrorDocument, JobState, PlanView, PreflightView, WalletView};
use std::{fs, process::Output};

/// An app that checks its greeting, greets with the words of a file, and puts all greetings together at the end, unless it
/// is to break.
const APP: &str = r#"gpux: 1
kind: array
name: greetings
image: oci:image:e2e
nodes: 1
resources: { cpu: 0.5, memory: 256MiB, disk: 64MiB }
inputs:
  words: { path: words.txt, to: /in/words.txt }
params:
  pieces: 1-9
  greeting: hello
array:
  over: pieces
  chunk: 4
  collect: /out/*.txt
preflight: ["/bin/sh", "-euc", "if [ $GPUX_PARAM_GREETING = rude ]; then
  echo '{\"level\": \"error\", \"message\": \"that is rude\"}'; exit 3; fi;
  echo '{\"level\": \"warning\", \"message\": \"nobody may listen\"}'"]
run: ["/bin/sh", "-euc", "read words < /in/words.txt;
  echo $GPUX_PARAM_GREETING $words $GPUX_FRAME_START $GPUX_FRAME_END > /out/part-$GPUX_ARRAY_INDEX.txt"]
then: ["/bin/sh", "-euc", "for file in /collected/*.txt; do read line < $file; echo $line; done > /out/all.txt;
  if [ $GPUX_PARAM_GREETING = servus ]; then echo nobody came; exit 4; fi"]
budget: { max_duration: 10m }
"#;

#[test]
fn a_job_is_planned_checked_changed_and_put_together_as_wished() {
    let market = Market::start(2);
    fs::write(market.path().join("greetings.yaml"), APP).unwrap();
    fs::write(market.path().join("words.txt"), "nobody\n").unwrap();
    fs::write(market.path().join("other.txt"), "dear world\n").unwrap();
    let wallet: WalletView = market.ask(&["wallet", "balance"]);
    let purse = || market.rpc.purse(&market.token, &wallet.address);
    let before = purse();
    a_plan_says_who_is_too_dear(&market);
    a_refused_check_ends_it(&market);
    assert_eq!(purse(), before, "neither a plan nor a refused job spends anything");
    a_changed_input_and_parameter_reach_the_work_and_a_warning_stops_nothing(&market);
    assert_ne!(purse(), before, "a job does, or this test shows nothing");
    a_failing_last_step_gives_its_exit_code_and_keeps_what_was_made(&market);
}

fn talk(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn a_plan_says_who_is_too_dear(market: &Market) {
    let all: PlanView = market.ask(&["plan", "greetings.yaml", "--why"]);
    assert_eq!(
        (all.schema.as_str(), all.parts, all.worst_case),
        ("gpux.plan/v1", 3, all.deposit)
    );
    let ([cheap], [dear]) = (all.leases.as_slice(), all.alternatives.as_slice()) else {
        unreachable!("{all:?}");
    };
    assert!(cheap.price < dear.price && all.rejected.is_empty(), "{all:?}");
    let limit = all.token.format(cheap.price.0);
    let text = APP.replace(
        "max_duration: 10m",
        &format!("max_duration: 10m, max_price: {limit}/hour"),
    );
    fs::write(market.path().join("frugal.yaml"), text).unwrap();
    let frugal: PlanView = market.ask(&["plan", "frugal.yaml", "--why"]);
    let [rejected] = frugal.rejected.as_slice() else {
        unreachable!("{frugal:?}");
    };
    assert_eq!(rejected.node, dear.node);
    let why = rejected.reasons.first().expect("a reason");

    let shown = String::from_utf8(market.run(&["plan", "frugal.yaml", "--why"]).stdout).unwrap();
    assert!(shown.contains(&format!("{}: {why}", dear.node.short())), "{shown}");
    let shown = String::from_utf8(market.run(&["plan", "frugal.yaml"]).stdout).unwrap();
    assert!(
        shown.contains("2 offers known") && shown.contains("nobody may listen"),
        "{shown}"
    );
    let total = market.run(&["plan", "greetings.yaml", "--max-total", "0.000001", "--json"]);
    assert_eq!(total.status.code(), Some(4), "a plan over the total: {total:?}");
}

fn a_refused_check_ends_it(market: &Market) {
    let words = ["greetings.yaml", "--set", "greeting=rude", "--json"];
    for (verb, status) in [(&["plan"][..], 2), (&["run", "-y"], 125)] {
        let refused = market.run(&[verb, &words].concat());
        assert_eq!(refused.status.code(), Some(status), "{refused:?}");
        let ErrorDocument { error, .. } = serde_json::from_str(&talk(&refused)).unwrap();
        assert_eq!(error.code, ErrorCode::PreflightFailed);
        assert!(error.message.contains("that is rude; nothing was spent"), "{error:?}");
    }
}

fn a_changed_input_and_parameter_reach_the_work_and_a_warning_stops_nothing(market: &Market) {
    let words = [
        "run",
        "greetings.yaml",
        "-y",
        "--input",
        "words=other.txt",
        "--set",
        "greeting=moin",
        "--set",
        "pieces=4-5,7",
    ];
    let ran = market.run(&words);
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    assert!(talk(&ran).contains("warning: nobody may listen"), "{}", talk(&ran));
    let output = market.path().join("greetings");
    assert_eq!(
        String::from_utf8(ran.stdout).unwrap().trim_end(),
        output.to_str().unwrap()
    );
    let read = |name: &str| fs::read_to_string(output.join(name)).unwrap();
    assert_eq!(read("part-0.txt"), "moin dear world 4 5\n");
    assert_eq!(
        read("all.txt"),
        "moin dear world 4 5\nmoin dear world 7 7\n",
        "its last step saw both"
    );
    let again: PlanView = market.ask(&["plan", "greetings.yaml"]);
    assert!(
        matches!(&again.preflight, PreflightView::Passed { findings } if findings.len() == 1),
        "{:?}",
        again.preflight
    );
}

fn a_failing_last_step_gives_its_exit_code_and_keeps_what_was_made(market: &Market) {
    let words = [
        "run",
        "greetings.yaml",
        "-y",
        "--set",
        "greeting=servus",
        "--set",
        "pieces=5",
        "--output",
        "broken",
    ];
    let ran = market.run(&words);
    assert_eq!(ran.status.code(), Some(4), "{ran:?}");
    let told = talk(&ran);
    assert!(
        told.contains("the last step failed: it ended with 4: nobody came"),
        "{told}"
    );
    let made = fs::read_to_string(market.path().join("broken/part-0.txt")).unwrap();
    assert_eq!(made, "servus nobody 5 5\n", "the default input, and what was paid for");
    // A second job of the name has a number behind it.
    let job = market.job("greetings-2");
    assert_eq!((job.state, job.parts.done), (JobState::Failed, 1));
    let waited = market.run(&["wait", "greetings-2"]);
    assert_eq!(waited.status.code(), Some(9), "{waited:?}");
    let cost = market.cost("greetings-2");
    assert!(
        cost.balanced && cost.held.units() == 0 && cost.earned.units() > 0,
        "{cost:?}"
    );
}

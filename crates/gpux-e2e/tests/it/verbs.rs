//! The verbs about a job that runs, as a person and as a script type them, on one market.

use super::{
    job,
    market::Market,
    process::{Process, jobs},
    wait::wait_for,
};
use gpux_api::{
    Actor, CostView, DevnetView, DoctorView, ErrorCode, ErrorDocument, GpusView, JobDetails, JobList, JobState,
    JobView, LeaseState, LogView,
};
use std::{
    fs::{self, File},
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

const MINUTE: Duration = Duration::from_secs(60);
const NAME: &str = "talker";

/// Two parts that say three lines each. The first then writes its file and ends; the second goes on until it is stopped.
const SCRIPT: &str = "echo part $GPUX_ARRAY_INDEX begins; echo two; echo three; sleep 3; \
     if [ $GPUX_ARRAY_INDEX = 0 ]; then echo part 0 > /out/part; mv /out/part /out/part-0.txt; exit 0; fi; \
     while :; do sleep 1; done";

#[test]
fn every_verb_about_a_running_job_does_and_says_what_it_promises() {
    let mut market = Market::start(2);
    the_doctor_finds_nothing_wrong(&market);
    let file = market.path().join("talker.yaml");
    fs::write(&file, job::file(NAME, 2, 2, SCRIPT)).unwrap();
    let output = market.path().join("out");
    let words = [
        "run",
        file.to_str().unwrap(),
        "-y",
        "--output",
        output.to_str().unwrap(),
    ];
    let mut run = market.command(&words);
    let talk = File::create(market.path().join("run.talk")).unwrap();
    let mut run = run.stdout(Stdio::null()).stderr(talk).spawn().unwrap();
    market.await_job(&mut run, NAME);
    let mut follower = market.command(&["logs", "-f", NAME]);
    let follower = follower.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();

    let work = a_file_is_here_seconds_after_it_was_written_while_others_are_made(&market, &output);
    logs_show_the_parts_and_lines_that_are_asked_for(&market);
    waiting_ends_in_time_and_leaves_the_job_alone(&market);
    lists_and_bills_show_what_goes_on(&market);
    stopping_ends_the_work_settles_and_gives_the_rest_back(&market, work);

    let told = follower.wait_with_output().unwrap();
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    assert_eq!(lines_of(&told).len(), 6, "all lines, once: {told:?}");
    assert_eq!(
        run.wait().unwrap().code(),
        Some(125),
        "no process of the job ended by itself"
    );
    let talk = fs::read_to_string(market.path().join("run.talk")).unwrap();
    assert!(talk.contains("talker stopped: wrong-scene (by the renter)"), "{talk}");

    the_daemon_is_started_by_the_command_that_needs_one(&market);
    the_doctor_says_what_is_broken_and_what_to_do(&mut market);
}

/// What was printed, without who said it: `part 1] two`.
fn lines_of(output: &Output) -> Vec<String> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines()
        .map(|line| line.split_once(' ').expect("a node before the part").1.to_owned())
        .collect()
}

/// The error document of a command that failed.
fn error_of(output: &Output) -> ErrorDocument {
    let text = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_else(|_| panic!("{output:?}"))
}

fn the_doctor_finds_nothing_wrong(market: &Market) {
    let told = market.run(&["doctor"]);
    let text = String::from_utf8(told.stdout).unwrap();
    assert_eq!(told.status.code(), Some(0), "{text}");
    assert!(text.ends_with("all is well\n") && !text.contains("FAIL"), "{text}");
    let view: DoctorView = market.ask(&["doctor"]);
    assert!(view.checks.iter().all(|check| check.ok), "{view:?}");
    let names: Vec<&str> = view.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "chain",
            "fees",
            "wallet",
            "peers",
            "offers",
            "containers",
            "disk",
            "transfer"
        ]
    );
    let provider = market.daemon("provider-1").dir;
    let view: DoctorView = market.ask(&["--dir", provider.to_str().unwrap(), "doctor"]);
    assert!(view.checks.iter().any(|check| check.name == "provider"), "{view:?}");
}

/// Returns the work that still goes on.
fn a_file_is_here_seconds_after_it_was_written_while_others_are_made(market: &Market, output: &Path) -> Process {
    /// From the end of the process that wrote it.
    const WITHIN: Duration = Duration::from_secs(3);

    let works: Vec<Process> = wait_for("both parts to run", MINUTE, || {
        let works = market.providers().flat_map(|provider| jobs(&provider.dir));
        Some(works.collect::<Vec<_>>()).filter(|works| works.len() == 2)
    });
    let other = wait_for("the first part to end", MINUTE, || {
        let mut running = works.iter().copied().filter(|work| work.runs());
        running.next().filter(|_| running.next().is_none())
    });
    let text = wait_for("its file on the renter's disk", WITHIN, || {
        fs::read_to_string(output.join("part-0.txt")).ok()
    });
    assert_eq!(text, "part 0\n");
    assert!(other.runs(), "the other part is still being made");
    other
}

fn logs_show_the_parts_and_lines_that_are_asked_for(market: &Market) {
    let says = |part: u32| {
        [
            format!("part {part}] part {part} begins"),
            format!("part {part}] two"),
            format!("part {part}] three"),
        ]
    };
    let all = market.run(&["logs", NAME]);
    assert_eq!(all.status.code(), Some(0), "{all:?}");
    assert_eq!(lines_of(&all), [says(0), says(1)].concat());
    assert_eq!(lines_of(&market.run(&["logs", NAME, "--part", "1"])), says(1));
    let last = market.run(&["logs", NAME, "--tail", "1"]);
    assert_eq!(lines_of(&last), ["part 0] three", "part 1] three"]);

    let node = market.job(NAME).outputs[0].node.to_string();
    assert_eq!(
        lines_of(&market.run(&["logs", NAME, "--node", &node[..12]])),
        says(0),
        "of that node alone"
    );
    for (wrong, status) in [("not-hex", 2), ("ffffffffffffffffffff", 6)] {
        let refused = market.run(&["logs", NAME, "--node", wrong, "--json"]);
        assert_eq!(refused.status.code(), Some(status), "{refused:?}");
    }

    let told = market.run(&["logs", NAME, "--part", "0", "--tail", "2", "--json"]);
    let text = String::from_utf8(told.stdout).unwrap();
    let views: Vec<LogView> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<(&str, u32, &str)> = views
        .iter()
        .map(|view| (view.schema.as_str(), view.line.part.0, view.line.text.as_str()))
        .collect();
    assert_eq!(said, [("gpux.log-line/v1", 0, "two"), ("gpux.log-line/v1", 0, "three")]);
    let unknown = market.run(&["logs", "nobody", "--json"]);
    assert_eq!(unknown.status.code(), Some(6), "{unknown:?}");
}

fn waiting_ends_in_time_and_leaves_the_job_alone(market: &Market) {
    let waited = market.run(&["wait", NAME, "--timeout", "1s"]);
    assert_eq!(waited.status.code(), Some(7), "{waited:?}");
    let said = String::from_utf8_lossy(&waited.stderr);
    assert!(
        said.contains("it is not over yet, and goes on") && said.contains("what to do"),
        "{said}"
    );
    let waited = market.run(&["wait", NAME, "--timeout", "100ms", "--json"]);
    assert_eq!(waited.status.code(), Some(7), "{waited:?}");
    let ErrorDocument { schema, error } = error_of(&waited);
    assert_eq!((schema.as_str(), error.code), ("gpux.error/v1", ErrorCode::TimedOut));
    assert!(waited.stdout.is_empty(), "{waited:?}");
    assert!(!market.job(NAME).state.is_over());
}

fn lists_and_bills_show_what_goes_on(market: &Market) {
    let shown = String::from_utf8(market.run(&["ps"]).stdout).unwrap();
    assert!(
        shown.contains("talker") && shown.contains("running") && shown.contains("1/2"),
        "{shown}"
    );
    let list: JobList = market.ask(&["ps"]);
    assert_eq!(list.schema, "gpux.jobs/v1");
    let [job] = list.jobs.as_slice() else {
        unreachable!("{list:?}");
    };
    assert_eq!(
        (job.state, job.parts.done, job.parts.running),
        (JobState::Running, 1, 1)
    );

    let details: JobDetails = market.ask(&["get", NAME]);
    assert_eq!((details.job.id, details.retried_in_all), (job.id, 0));
    let last = job.leases.iter().map(|lease| lease.expiry).max();
    assert!(
        details.ends_by_itself.is_some() && details.ends_by_itself == last,
        "{details:?}"
    );
    let opened = String::from_utf8(market.run(&["open", NAME]).stdout).unwrap();
    assert_eq!(opened.trim_end(), job.output);
    let gpus: GpusView = market.ask(&["gpus"]);
    assert!(gpus.models.is_empty(), "a node without a GPU sells none: {gpus:?}");

    let cost: CostView = market.ask(&["cost", NAME]);
    assert_eq!(cost.schema, "gpux.cost/v1");
    assert_eq!(
        (cost.transactions, cost.held),
        (2, cost.paid_in),
        "two deposits: {cost:?}"
    );
    assert!(cost.held.units() > 0 && cost.balanced, "{cost:?}");
    let shown = String::from_utf8(market.run(&["cost", NAME]).stdout).unwrap();
    assert!(
        shown.contains("still held") && shown.contains("2 transactions"),
        "{shown}"
    );
}

fn stopping_ends_the_work_settles_and_gives_the_rest_back(market: &Market, work: Process) {
    let told: JobView = market.ask(&["stop", NAME, "--reason", "wrong-scene"]);
    assert_eq!((told.schema.as_str(), told.name.as_str()), ("gpux.job/v1", NAME));
    let waited = market.run(&["wait", NAME, "--json"]);
    assert_eq!(waited.status.code(), Some(9), "{waited:?}");
    assert!(!work.runs(), "its process is gone");
    let job: JobView = serde_json::from_slice(&waited.stdout).unwrap();
    let end = job.end.expect("why it ended");
    assert_eq!(
        (job.state, end.reason.as_str(), end.actor),
        (JobState::Stopped, "wrong-scene", Actor::Renter)
    );
    assert!(
        job.leases.iter().all(|lease| lease.state == LeaseState::Settled),
        "{:?}",
        job.leases
    );

    let cost = market.cost(NAME);
    assert!(
        cost.balanced && cost.held.units() == 0 && cost.transactions == 4,
        "{cost:?}"
    );
    for lease in &cost.leases {
        assert!(lease.earned.units() > 0, "paid for what it worked: {lease:?}");
        assert!(
            lease.earned <= lease.price.cost_of(lease.metered),
            "and no more: {lease:?}"
        );
        assert!(lease.refund > lease.earned, "most of ten minutes came back: {lease:?}");
    }
    let paid: u128 = market.payments().iter().map(|payment| payment.amount).sum();
    assert_eq!(paid, cost.paid_in.units(), "the chain paid all of it out");

    assert_eq!(
        market.run(&["stop", NAME]).status.code(),
        Some(0),
        "once more changes nothing"
    );
    let shown = String::from_utf8(market.run(&["ps"]).stdout).unwrap();
    assert!(shown.starts_with("no jobs"), "{shown}");
    let shown = String::from_utf8(market.run(&["ps", "--all"]).stdout).unwrap();
    assert!(shown.contains("stopped") && shown.contains("wrong-scene"), "{shown}");
}

fn the_daemon_is_started_by_the_command_that_needs_one(market: &Market) {
    let renter = market.daemon("renter").process;
    renter.signal("TERM");
    wait_for("the renter's daemon to end", MINUTE, || (!renter.runs()).then_some(()));
    let list: JobList = market.ask(&["ps", "--all"]);
    let states: Vec<JobState> = list.jobs.iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Stopped], "it took up what the last one knew");
    let started = renter_of(market);
    assert!(started.alive && started.pid != renter.pid, "{started:?}");
}

/// The renter's daemon, as the devnet knows it now.
fn renter_of(market: &Market) -> gpux_api::ProcessView {
    let devnet: DevnetView = market.ask(&["devnet", "status"]);
    let mut processes = devnet.processes.into_iter();
    processes.find(|process| process.name == "renter").expect("a renter")
}

fn the_doctor_says_what_is_broken_and_what_to_do(market: &mut Market) {
    let nowhere = market.run(&["--dir", "/nowhere/at/all", "doctor", "--json"]);
    assert_eq!(nowhere.status.code(), Some(2), "{nowhere:?}");
    assert!(
        error_of(&nowhere)
            .error
            .hint
            .is_some_and(|hint| hint.contains("gpux devnet up"))
    );

    let devnet: DevnetView = market.ask(&["devnet", "status"]);
    let chain = devnet
        .processes
        .iter()
        .find(|process| process.name == "chain")
        .expect("a chain");
    Process::of(chain.pid).expect("the chain runs").signal("KILL");
    let told = market.run(&["doctor"]);
    let text = String::from_utf8(told.stdout).unwrap();
    assert_eq!(told.status.code(), Some(1), "{text}");
    assert!(
        text.contains("FAIL chain:") && text.contains("what to do: check chain.rpc_url"),
        "{text}"
    );
    assert!(
        text.contains("ok   peers:") && text.ends_with("of 8 checks failed\n"),
        "{text}"
    );
    let told = market.run(&["doctor", "--json"]);
    assert_eq!(told.status.code(), Some(1), "{told:?}");
    let view: DoctorView = serde_json::from_slice(&told.stdout).unwrap();
    let chain = view
        .checks
        .iter()
        .find(|check| check.name == "chain")
        .expect("a check of the chain");
    assert!(!chain.ok && chain.hint.is_some(), "{chain:?}");

    // Without a daemon it starts one, which cannot do without the chain.
    let renter = Process::of(renter_of(market).pid).expect("the renter's daemon runs");
    renter.signal("KILL");
    wait_for("the renter's daemon to end", MINUTE, || (!renter.runs()).then_some(()));
    let told = market.run(&["doctor", "--json"]);
    assert_eq!(told.status.code(), Some(8), "{told:?}");
    let error = error_of(&told).error;
    assert!(error.message.contains("connecting to the chain"), "{error:?}");
    assert!(error.hint.is_some_and(|hint| hint.contains("daemon.log")));
}

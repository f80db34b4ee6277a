//! What a renter loses when its own disk is full while results are ready: nothing, and no node is blamed for it.

use super::{disk::Disk, job, market::Market};
use gpux_api::{DoctorView, JobState, JobView, LeaseState};
use gpux_types::{ByteSize, Millis};
use std::{fs, path::Path, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);
/// What the part writes: no disk of these tests has room for it beside its filler.
const RESULT: ByteSize = ByteSize(24 << 20);

/// Starts a job of one part that works for `seconds`, writes bytes that no other run would, and tells their hash.
fn start(market: &Market, name: &str, seconds: u32, output: &Path) {
    let script = format!(
        "i=0; while [ $i -lt {seconds} ]; do sleep 1; i=$((i+1)); done; \
         busybox dd if=/dev/urandom of=/out/whole bs=1M count=24; mv /out/whole /out/result.txt; \
         busybox sha256sum /out/result.txt"
    );
    let file = market.path().join(format!("{name}.yaml"));
    fs::write(&file, job::file(name, 1, 1, &script)).unwrap();
    let (file, output) = (file.to_str().unwrap(), output.to_str().unwrap());
    market.ask::<JobView>(&["run", file, "-y", "--detach", "--output", output]);
}

/// The job once a result waits for its renter's disk.
fn waits(market: &Market, name: &str) -> JobView {
    let job = market.job_when(name, "the renter to say that its disk is full", MINUTE, |job| {
        assert!(!job.state.is_over(), "{job:?}");
        job.waits.is_some()
    });
    let said = job.waits.clone().unwrap_or_default();
    assert!(said.contains("part 0") && said.contains("free"), "{said}");
    let doctor = market.run(&["doctor", "--json"]);
    assert_eq!(doctor.status.code(), Some(1), "{doctor:?}");
    let doctor: DoctorView = serde_json::from_slice(&doctor.stdout).unwrap();
    let disk = doctor.checks.iter().find(|check| check.name == "disk");
    assert!(
        disk.is_some_and(|check| !check.ok && check.found.contains(name)),
        "{doctor:?}"
    );
    job
}

/// Checks that the job ended well with what its one run wrote, and that it was paid for once.
fn assert_one_run(market: &Market, name: &str, output: &Path) {
    let ended = market.run(&["wait", name]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let job = market.job(name);
    assert_eq!((job.state, job.parts.done, &job.waits), (JobState::Succeeded, 1, &None));
    let [lease] = job.leases.as_slice() else {
        panic!("one lease: {job:?}");
    };
    assert_eq!((lease.state, lease.parts_done), (LeaseState::Settled, 1), "{lease:?}");

    let log = market.run(&["logs", name, "--part", "0"]);
    let log = String::from_utf8(log.stdout).unwrap();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("/out/result.txt")).collect();
    let result = output.join("result.txt");
    assert_eq!(fs::metadata(&result).unwrap().len(), RESULT.0);
    let hash = job::sha256(&result);
    assert!(told.len() == 1 && told[0].contains(&hash), "{hash} of {told:?}");
    let left: Vec<_> = fs::read_dir(output)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        !left.iter().any(|name| name.to_string_lossy().ends_with(".part")),
        "{left:?}"
    );

    let cost = market.cost(name);
    assert!(cost.balanced && cost.held.units() == 0, "{cost:?}");
    assert_eq!(cost.transactions, 2, "one deposit and one settlement");
}

#[test]
fn a_result_that_finds_its_renters_disk_full_is_taken_once_there_is_room_and_its_part_runs_once() {
    let mut market = Market::start(1);
    let disk = Disk::of_daemon(&mut market, "renter", "160M");
    let output = disk.at.join("results");
    start(&market, "brim", 4, &output);
    market.job_when("brim", "the part to run", MINUTE, |job| {
        job.leases.iter().any(|lease| lease.metered > Millis::from_secs(1))
    });
    // Results and receipts go to the same disk.
    disk.fill();
    let job = waits(&market, "brim");
    assert_eq!(job.parts.done, 0);
    disk.make_room();
    assert_one_run(&market, "brim", &output);
}

#[test]
fn a_lease_whose_last_result_waits_for_its_renters_disk_is_not_paid_for_idling() {
    /// The part, half a minute of patience, and the end.
    const WORKED_AT_MOST: Millis = Millis::from_secs(60);

    let market = Market::start(1);
    let disk = Disk::in_memory(&market, "small", "96M");
    let output = disk.at.join("results");
    start(&market, "idle", 4, &output);
    disk.fill();
    waits(&market, "idle");
    let job = market.job_when("idle", "its lease to be settled", 2 * MINUTE, |job| {
        assert!(!job.state.is_over(), "{job:?}");
        job.leases.iter().all(|lease| lease.state == LeaseState::Settled)
    });
    assert!(job.waits.is_some() && job.parts.done == 0, "{job:?}");
    assert!(job.leases.iter().all(|lease| lease.metered < WORKED_AT_MOST), "{job:?}");
    disk.make_room();
    assert_one_run(&market, "idle", &output);
}

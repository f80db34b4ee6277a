//! What every runtime promises, one promise a function; the name is the promise.
//!
//! Longer than other files, because it is one list: every promise of the trait in one place, each a short function.
//!
//! The functions know nothing but the trait and the probe's verbs. What only a real kernel can promise (no privileges, no
//! network, nothing left on the host) is tested beside the embedded runtime.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a suite of tests: a broken promise is to end the test that checks it"
)]

use std::io::Read as _;
use std::time::Duration;

use gpux_runtime::{CreateLeaseError, EndedBy, LeaseEnd, PartSpec, PartState, RuntimeCallError, StartPartError, Work};
use gpux_types::{ByteSize, Millis};

use super::ground::{Ground, key, probe, state_of};

/// Makes a test of every promise. The argument names an async function that makes a [`Ground`].
#[macro_export]
macro_rules! runtime_conformance {
    ($ground:path) => {
        $crate::runtime_conformance! { $ground:
            exit_codes_and_signals_are_told
            a_program_that_cannot_be_executed_is_not_started_and_says_why
            a_part_is_started_once_however_often_it_is_asked_for
            a_part_that_stands_is_not_metered_and_goes_once_when_told_to
            a_part_that_stands_and_is_stopped_is_never_executed
            a_frozen_lease_lets_nothing_go_and_its_end_ends_what_stands
            parts_run_side_by_side
            a_part_gets_the_images_words_and_its_own
            running_out_of_memory_is_told_of_the_part_that_did
            a_full_disk_is_an_error_of_the_part_and_of_nobody_else
            both_outputs_are_kept_and_read_from_any_offset
            a_flood_of_output_is_cut_and_its_end_is_kept
            the_meter_runs_from_the_first_exec_until_the_lease_is_gone
            freezing_stops_the_program_and_the_meter_and_thawing_lets_them_go_on
            silence_freezes_and_then_kills
            a_renewed_lease_is_left_alone
            a_stopped_part_may_end_by_itself_and_is_killed_when_it_does_not
            a_part_is_killed_when_its_time_is_up
            outputs_are_found_and_opened
            hostile_outputs_are_neither_listed_nor_opened
            a_crowd_of_processes_is_limited
            inputs_can_be_read_and_not_written
            neither_parts_nor_leases_see_each_others_files
            a_destroyed_lease_leaves_its_final_usage_and_its_logs
            unknown_leases_and_parts_are_named
        }
    };
    ($ground:path: $($promise:ident)*) => {
        $(
            #[tokio::test]
            async fn $promise() {
                let ground = $ground().await;
                $crate::runtime::conformance::$promise(&ground).await;
            }
        )*
    };
}

fn exited(state: &PartState) -> (i32, Option<i32>) {
    match state {
        PartState::Exited { code, signal, .. } => (*code, *signal),
        other => panic!("not exited: {other:?}"),
    }
}

fn ended_by(state: &PartState) -> EndedBy {
    match state {
        PartState::Exited { ended_by, .. } => *ended_by,
        other => panic!("not exited: {other:?}"),
    }
}

fn out_of_memory(state: &PartState) -> bool {
    match state {
        PartState::Exited { out_of_memory, .. } => *out_of_memory,
        other => panic!("not exited: {other:?}"),
    }
}

/// See its name.
pub async fn exit_codes_and_signals_are_told(ground: &Ground) {
    let lease = ground.lease(ground.spec()).await;
    for (part, code) in [(0, 0), (1, 1), (2, 7), (3, 255)] {
        let state = ground.run(lease, part, &["exit", &code.to_string()]).await;
        assert_eq!(exited(&state), (code, None));
        assert_eq!((ended_by(&state), out_of_memory(&state)), (EndedBy::Itself, false));
    }
    let crashed = ground.run(lease, 4, &["crash"]).await;
    assert_eq!(exited(&crashed), (128 + 11, Some(11)));
    ground.destroy(lease).await;
}

/// See its name.
pub async fn a_program_that_cannot_be_executed_is_not_started_and_says_why(ground: &Ground) {
    let lease = ground.lease(ground.spec()).await;
    for (part, program, expected) in [(0, "/missing", 2), (1, "missing-too", 2), (2, "/not-a-program", 13)] {
        let spec = PartSpec {
            argv: vec![program.into()],
            ..probe(part, &[])
        };
        let state = ground.runtime.start_part(lease, spec).await.unwrap();
        match state {
            PartState::NotStarted { errno, message } => {
                assert_eq!(errno, expected, "{message}");
                assert!(message.contains(program), "{message}");
            }
            other => panic!("{program} was started: {other:?}"),
        }
    }
    let status = ground.runtime.status(lease).await.unwrap();
    assert_eq!(status.work, Work::Idle, "nothing was executed, so nothing is paid");
    assert_eq!(status.metered, Millis::ZERO);
    assert_eq!(exited(&ground.run(lease, 3, &["exit", "0"]).await), (0, None));
    ground.destroy(lease).await;
}

/// See its name.
pub async fn a_part_is_started_once_however_often_it_is_asked_for(ground: &Ground) {
    let spec = ground.spec();
    let lease = ground.lease(spec.clone()).await;
    ground
        .runtime
        .create_lease(spec.clone())
        .await
        .expect("the same lease again is fine");
    let other = gpux_runtime::LeaseSpec {
        log_limit: ByteSize(1),
        ..spec
    };
    let conflict = ground.runtime.create_lease(other).await;
    assert!(
        matches!(conflict, Err(CreateLeaseError::Conflict { .. })),
        "{conflict:?}"
    );

    let first = ground.start(lease, 0, &["nap", "600000"]).await;
    assert!(matches!(first, PartState::Running { .. }), "{first:?}");
    assert_eq!(
        ground.start(lease, 0, &["nap", "600000"]).await,
        first,
        "the same process"
    );
    let conflict = ground.runtime.start_part(lease, probe(0, &["exit", "1"])).await;
    assert!(matches!(conflict, Err(StartPartError::Conflict { .. })), "{conflict:?}");
    let again = PartSpec {
        attempt: 1,
        ..probe(0, &["exit", "1"])
    };
    ground
        .runtime
        .start_part(lease, again)
        .await
        .expect("another attempt is another part");
    ground.destroy(lease).await;
}

/// See its name.
pub async fn a_part_that_stands_is_not_metered_and_goes_once_when_told_to(ground: &Ground) {
    let (lease, runtime) = (ground.lease(ground.spec()).await, &ground.runtime);
    let spec = probe(0, &["exit", "7"]);
    for _ in 0..2 {
        let stands = runtime.stand_part(lease, spec.clone()).await.unwrap();
        assert_eq!(stands, PartState::Standing, "asked for twice it stands once");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let status = runtime.status(lease).await.unwrap();
    assert_eq!(
        (status.work, status.metered),
        (Work::Idle, Millis::ZERO),
        "nothing was executed"
    );
    assert_eq!(state_of(&status, 0), Some(&PartState::Standing));
    let other = runtime.stand_part(lease, probe(0, &["exit", "8"])).await;
    assert!(matches!(other, Err(StartPartError::Conflict { .. })), "{other:?}");

    let gone = runtime.go_part(lease, key(0)).await.unwrap();
    assert!(
        matches!(gone, PartState::Running { .. } | PartState::Exited { .. }),
        "{gone:?}"
    );
    let state = ground.ended(lease, 0).await;
    assert_eq!(exited(&state), (7, None));
    assert_eq!(
        runtime.go_part(lease, key(0)).await.unwrap(),
        state,
        "it went, and stays as it ended"
    );
    let unknown = runtime.go_part(lease, key(9)).await;
    assert!(matches!(unknown, Err(StartPartError::Call { .. })), "{unknown:?}");
    let missing = PartSpec {
        argv: vec!["/missing".into()],
        ..probe(1, &[])
    };
    assert_eq!(runtime.stand_part(lease, missing).await.unwrap(), PartState::Standing);
    let gone = runtime.go_part(lease, key(1)).await.unwrap();
    assert!(
        matches!(gone, PartState::NotStarted { errno: 2, .. }),
        "only exec tells: {gone:?}"
    );
    ground.destroy(lease).await;
}

/// See its name.
pub async fn a_part_that_stands_and_is_stopped_is_never_executed(ground: &Ground) {
    let (lease, runtime) = (ground.lease(ground.spec()).await, &ground.runtime);
    runtime.stand_part(lease, probe(0, &["exit", "0"])).await.unwrap();
    runtime.stop_part(lease, key(0), Millis::from_secs(60)).await.unwrap();
    let state = ground.ended(lease, 0).await;
    assert!(matches!(state, PartState::NotStarted { errno: 0, .. }), "{state:?}");
    assert_eq!(runtime.go_part(lease, key(0)).await.unwrap(), state, "too late");
    let status = runtime.status(lease).await.unwrap();
    assert_eq!((status.work, status.metered), (Work::Idle, Millis::ZERO));
    assert_eq!(
        exited(&ground.run(lease, 1, &["exit", "0"]).await),
        (0, None),
        "the next one runs"
    );
    ground.destroy(lease).await;
}

/// See its name.
pub async fn a_frozen_lease_lets_nothing_go_and_its_end_ends_what_stands(ground: &Ground) {
    let (lease, runtime) = (ground.lease(ground.spec()).await, &ground.runtime);
    runtime.stand_part(lease, probe(0, &["exit", "0"])).await.unwrap();
    runtime.freeze(lease).await.unwrap();
    let refused = runtime.go_part(lease, key(0)).await.unwrap_err();
    assert!(refused.is_frozen(), "{refused}");
    runtime.thaw(lease).await.unwrap();
    let status = runtime.status(lease).await.unwrap();
    assert_eq!(
        (status.work, status.metered),
        (Work::Idle, Millis::ZERO),
        "it stands as before"
    );
    let usage = runtime.destroy_lease(lease).await.unwrap();
    assert_eq!((usage.metered, usage.end), (Millis::ZERO, LeaseEnd::Destroyed));
    let last = &usage.parts[0].state;
    assert!(matches!(last, PartState::NotStarted { .. }), "it never ran: {last:?}");
}

/// See its name.
pub async fn parts_run_side_by_side(ground: &Ground) {
    let lease = ground.lease(ground.spec()).await;
    for part in 0..3 {
        let state = ground.start(lease, part, &["wait-for-term", "5"]).await;
        assert!(matches!(state, PartState::Running { .. }), "{state:?}");
    }
    for part in [1, 0, 2] {
        ground.printed(lease, part, "ready").await;
        ground
            .runtime
            .stop_part(lease, key(part), Millis(20_000))
            .await
            .unwrap();
        assert_eq!(exited(&ground.ended(lease, part).await), (5, None));
    }
    ground.destroy(lease).await;
}

/// See its name.
pub async fn a_part_gets_the_images_words_and_its_own(ground: &Ground) {
    let lease = ground.lease(ground.spec()).await;
    let from_image = PartSpec {
        argv: Vec::new(),
        ..probe(0, &[])
    };
    ground.runtime.start_part(lease, from_image).await.unwrap();
    ground.ended(lease, 0).await;
    assert_eq!(ground.log(lease, 0).await, "the image's own words\n");

    let spec = PartSpec {
        argv: vec!["probe".into(), "env".into()],
        env: vec![("GPUX_PART".into(), "1".into()), ("FROM_IMAGE".into(), "no".into())],
        ..probe(1, &[])
    };
    ground.runtime.start_part(lease, spec).await.unwrap();
    ground.ended(lease, 1).await;
    let log = ground.log(lease, 1).await;
    for line in ["GPUX_PART=1", "FROM_IMAGE=no", "PATH=/bin:/"] {
        assert!(log.lines().any(|found| found == line), "{line} in {log}");
    }
    assert_eq!(
        log.lines().count(),
        5,
        "and HOME and TMPDIR, and nothing of the host: {log}"
    );
    ground.destroy(lease).await;
}

/// See its name.
pub async fn running_out_of_memory_is_told_of_the_part_that_did(ground: &Ground) {
    let lease = ground.lease(ground.spec()).await;
    let eater = ground.run(lease, 0, &["eat"]).await;
    assert_eq!((exited(&eater), out_of_memory(&eater)), ((128 + 9, Some(9)), true));
    let parent = ground.run(lease, 1, &["eat-in-child"]).await;
    assert_eq!((exited(&parent), out_of_memory(&parent)), ((0, None), true));
    let modest = ground.run(lease, 2, &["exit", "3"]).await;
    assert_eq!((exited(&modest), out_of_memory(&modest)), ((3, None), false));
    ground.destroy(lease).await;
}

/// See its name.
pub async fn a_full_disk_is_an_error_of_the_part_and_of_nobody_else(ground: &Ground) {
    let lease = ground.lease(ground.spec()).await;
    let other = ground.lease(ground.spec()).await;
    for (part, path) in [(0, "/out/big"), (1, "/tmp/big"), (2, "/big")] {
        let full = ground.run(lease, part, &["fill", path]).await;
        assert_eq!(exited(&full), (28, None), "ENOSPC at {path}");
    }
    let used = ground.runtime.status(lease).await.unwrap().disk_used;
    assert!(used > ByteSize(20 << 20), "{used}");
    let spacious = ground.run(other, 0, &["write", "/out/small", "text"]).await;
    assert_eq!(exited(&spacious), (0, None));
    ground.destroy(lease).await;
    ground.destroy(other).await;
}

/// See its name.
pub async fn both_outputs_are_kept_and_read_from_any_offset(ground: &Ground) {
    let lease = ground.lease(ground.spec()).await;
    ground.run(lease, 0, &["both"]).await;
    let all = "to standard output\nto standard error\n";
    assert_eq!(ground.log(lease, 0).await, all);
    let tail = ground.log_from(lease, 0, 19).await;
    assert_eq!(
        (tail.bytes.as_slice(), tail.start, tail.ended),
        (&all.as_bytes()[19..], 19, true)
    );
    assert_eq!(tail.next, all.len() as u64);

    ground.start(lease, 1, &["wait-for-term", "0"]).await;
    ground.printed(lease, 1, "ready\n").await;
    assert!(!ground.log_from(lease, 1, 0).await.ended, "more may come");
    ground.destroy(lease).await;
}

/// See its name.
pub async fn a_flood_of_output_is_cut_and_its_end_is_kept(ground: &Ground) {
    let mut spec = ground.spec();
    spec.log_limit = ByteSize(256 * 1024);
    let lease = ground.lease(spec).await;
    let bytes = 20_000_000_u64;
    ground.run(lease, 0, &["flood", &bytes.to_string()]).await;
    let first = ground.log_from(lease, 0, 0).await;
    assert!(first.start >= bytes - 256 * 1024, "the oldest is gone: {}", first.start);
    let log = ground.log(lease, 0).await;
    assert!(log.ends_with("\nlast line\n"), "the newest is there");
    assert!(log.len() <= 256 * 1024 && log.len() >= 100 * 1024, "{}", log.len());
    ground.destroy(lease).await;
}

/// See its name.
pub async fn the_meter_runs_from_the_first_exec_until_the_lease_is_gone(ground: &Ground) {
    let lease = ground.lease(ground.spec()).await;
    let before = ground.runtime.status(lease).await.unwrap();
    assert_eq!((before.work, before.metered), (Work::Idle, Millis::ZERO));
    ground.run(lease, 0, &["nap", "300"]).await;
    let first = ground.runtime.status(lease).await.unwrap();
    assert_eq!(first.work, Work::Running, "a gap between parts is paid");
    assert!(first.metered >= Millis(300), "{first:?}");
    ground.run(lease, 1, &["nap", "200"]).await;
    let second = ground.runtime.status(lease).await.unwrap();
    assert!(
        second.metered >= first.metered.saturating_add(Millis(200)),
        "{second:?}"
    );
    let usage = ground.destroy(lease).await;
    assert!(usage.metered >= second.metered);
    assert!(usage.metered < Millis(10_000), "{usage:?}");
}

/// Whether a part cannot be started because its lease is frozen.
async fn is_frozen_for(ground: &Ground, lease: gpux_types::LeaseId, part: u32) -> bool {
    let refused = ground.runtime.start_part(lease, probe(part, &["exit", "0"])).await;
    refused.is_err_and(|error| error.is_frozen())
}

/// See its name.
pub async fn freezing_stops_the_program_and_the_meter_and_thawing_lets_them_go_on(ground: &Ground) {
    let lease = ground.lease(ground.spec()).await;
    let running = ground.start(lease, 0, &["count", "10"]).await;
    ground.printed(lease, 0, "3\n").await;
    ground.runtime.freeze(lease).await.unwrap();
    ground
        .runtime
        .freeze(lease)
        .await
        .expect("freezing what is frozen is fine");
    let frozen = ground
        .until(lease, "frozen", |status| status.work == Work::Frozen)
        .await;
    assert_eq!(
        state_of(&frozen, 0),
        Some(&running),
        "a frozen part still runs, under the same number"
    );
    assert!(is_frozen_for(ground, lease, 1).await, "nothing starts then");

    // What the program wrote before it was frozen may still be on its way.
    let mut printed = ground.log_from(lease, 0, 0).await.next;
    let still = loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = ground.log_from(lease, 0, 0).await.next;
        if now == printed {
            break ground.runtime.status(lease).await.unwrap();
        }
        printed = now;
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    let later = ground.runtime.status(lease).await.unwrap();
    assert_eq!(
        ground.log_from(lease, 0, 0).await.next,
        printed,
        "no output while frozen"
    );
    assert_eq!(later.metered, still.metered, "no rent while frozen");

    ground.runtime.thaw(lease).await.unwrap();
    ground
        .runtime
        .thaw(lease)
        .await
        .expect("thawing what is thawed is fine");
    let thawed = ground
        .until(lease, "running", |status| status.work == Work::Running)
        .await;
    assert!(
        thawed.metered.saturating_sub(still.metered) < Millis(300),
        "the frozen time is not added later"
    );
    let next = ground
        .log_from(lease, 0, 0)
        .await
        .bytes
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count();
    ground.printed(lease, 0, &format!("\n{next}\n")).await;
    ground.destroy(lease).await;
}

/// See its name.
pub async fn silence_freezes_and_then_kills(ground: &Ground) {
    let mut spec = ground.spec();
    (spec.renew_within, spec.hold) = (Millis(500), Millis(700));
    let lease = ground.lease(spec).await;
    ground.start(lease, 0, &["count", "10"]).await;
    let frozen = ground
        .until(lease, "frozen", |status| status.work == Work::Frozen)
        .await;
    assert!(frozen.metered <= Millis(600), "{frozen:?}");
    let gone = ground.until(lease, "gone", |status| status.work == Work::Gone).await;
    assert!(
        gone.metered <= Millis(600),
        "neither the hold nor the killing is paid: {gone:?}"
    );
    let killed = state_of(&gone, 0).expect("it was started");
    assert_eq!(
        (exited(killed), ended_by(killed)),
        ((128 + 9, Some(9)), EndedBy::LeaseEnd)
    );
    let usage = ground.destroy(lease).await;
    assert_eq!((usage.end, usage.metered), (LeaseEnd::NotRenewed, gone.metered));
}

/// See its name.
pub async fn a_renewed_lease_is_left_alone(ground: &Ground) {
    let mut spec = ground.spec();
    (spec.renew_within, spec.hold) = (Millis(400), Millis(400));
    let lease = ground.lease(spec).await;
    ground.start(lease, 0, &["count", "10"]).await;
    for _ in 0..20 {
        ground.runtime.renew(lease).await.unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(ground.runtime.status(lease).await.unwrap().work, Work::Running);
    }
    // A renewal in time keeps a frozen lease from being killed, and thaws nothing.
    ground
        .until(lease, "frozen", |status| status.work == Work::Frozen)
        .await;
    for _ in 0..20 {
        ground.runtime.renew(lease).await.unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(ground.runtime.status(lease).await.unwrap().work, Work::Frozen);
    }
    ground.runtime.thaw(lease).await.unwrap();
    assert_eq!(ground.runtime.status(lease).await.unwrap().work, Work::Running);
    ground.destroy(lease).await;
}

/// See its name.
pub async fn a_stopped_part_may_end_by_itself_and_is_killed_when_it_does_not(ground: &Ground) {
    let lease = ground.lease(ground.spec()).await;
    ground.start(lease, 0, &["wait-for-term", "9"]).await;
    ground.start(lease, 1, &["ignore-term"]).await;
    ground.printed(lease, 0, "ready").await;
    ground.printed(lease, 1, "ready").await;
    ground.runtime.stop_part(lease, key(0), Millis(20_000)).await.unwrap();
    let polite = ground.ended(lease, 0).await;
    assert_eq!((exited(&polite), ended_by(&polite)), ((9, None), EndedBy::Stop));
    ground.runtime.stop_part(lease, key(1), Millis(200)).await.unwrap();
    let stubborn = ground.ended(lease, 1).await;
    assert_eq!(
        (exited(&stubborn), ended_by(&stubborn)),
        ((128 + 9, Some(9)), EndedBy::Stop)
    );
    ground
        .runtime
        .stop_part(lease, key(1), Millis(200))
        .await
        .expect("stopping what is over is fine");
    ground.destroy(lease).await;
}

/// See its name.
pub async fn a_part_is_killed_when_its_time_is_up(ground: &Ground) {
    let lease = ground.lease(ground.spec()).await;
    let spec = PartSpec {
        max_duration: Some(Millis(300)),
        ..probe(0, &["nap", "600000"])
    };
    ground.runtime.start_part(lease, spec).await.unwrap();
    let state = ground.ended(lease, 0).await;
    assert_eq!(
        (exited(&state), ended_by(&state)),
        ((128 + 9, Some(9)), EndedBy::TimeLimit)
    );
    ground.destroy(lease).await;
}

/// See its name.
pub async fn outputs_are_found_and_opened(ground: &Ground) {
    let lease = ground.lease(ground.spec()).await;
    let words = [
        "then",
        "write",
        "/out/b.png",
        "bb",
        ";",
        "write",
        "/out/a.png",
        "a",
        ";",
        "write",
        "/out/note.txt",
        "n",
        ";",
        "make-dir",
        "/out/deep",
        ";",
        "write",
        "/out/deep/c.png",
        "ccc",
        ";",
        "write-slowly",
        "/out/slow.png",
        "600000",
    ];
    ground.start(lease, 0, &words).await;
    ground.printed(lease, 0, "half").await;
    let found = ground.runtime.outputs(lease, key(0), "/out/*.png").await.unwrap();
    let facts: Vec<_> = found
        .iter()
        .map(|file| (file.path.as_str(), file.size.0, file.complete))
        .collect();
    assert_eq!(
        facts,
        [
            ("/out/a.png", 1, true),
            ("/out/b.png", 2, true),
            ("/out/slow.png", 11, false)
        ]
    );
    let deep = ground.runtime.outputs(lease, key(0), "/out/**").await.unwrap();
    assert_eq!(deep.len(), 5);

    let mut text = String::new();
    let mut file = ground
        .runtime
        .open_output(lease, key(0), "/out/deep/c.png")
        .await
        .unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "ccc");
    assert!(ground.runtime.open_output(lease, key(0), "/out/missing").await.is_err());

    // Another attempt starts with an empty folder, and the first one's stays.
    let again = PartSpec {
        attempt: 1,
        ..probe(0, &["exit", "0"])
    };
    let second = again.key();
    ground.runtime.start_part(lease, again).await.unwrap();
    assert!(
        ground
            .runtime
            .outputs(lease, second, "/out/**")
            .await
            .unwrap()
            .is_empty()
    );
    ground.destroy(lease).await;
    assert!(
        ground.runtime.outputs(lease, key(0), "/out/**").await.is_err(),
        "the disk is gone"
    );
}

/// See its name.
pub async fn hostile_outputs_are_neither_listed_nor_opened(ground: &Ground) {
    let lease = ground.lease(ground.spec()).await;
    let words = [
        "then",
        "link",
        "/etc/passwd",
        "/out/a",
        ";",
        "link",
        "..",
        "/out/b",
        ";",
        "link",
        "/proc/self/environ",
        "/out/c",
        ";",
        "pipe",
        "/out/d",
        ";",
        "write",
        "/out/good",
        "good",
    ];
    assert_eq!(exited(&ground.run(lease, 0, &words).await), (0, None));
    let found = ground.runtime.outputs(lease, key(0), "/out/**").await.unwrap();
    let paths: Vec<_> = found.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["/out/good"]);
    for path in [
        "/out/a",
        "/out/b/good",
        "/out/c",
        "/out/d",
        "/out/../probe",
        "/out",
        "/probe",
        "good",
        "",
    ] {
        assert!(ground.runtime.open_output(lease, key(0), path).await.is_err(), "{path}");
    }
    ground.destroy(lease).await;
}

/// See its name.
pub async fn a_crowd_of_processes_is_limited(ground: &Ground) {
    let mut spec = ground.spec();
    // The limit on processes is to hold before the one on memory does.
    spec.resources.memory = ByteSize(4 << 30);
    let lease = ground.lease(spec).await;
    assert_eq!(exited(&ground.run(lease, 0, &["crowd"]).await), (0, None));
    let log = ground.log(lease, 0).await;
    let (count, errno) = log.trim().split_once(' ').expect("two numbers");
    assert_eq!(errno, "11", "EAGAIN");
    let count: u32 = count.parse().expect("a number");
    assert!((100..5_000).contains(&count), "{count}");
    assert_eq!(
        exited(&ground.run(lease, 1, &["exit", "0"]).await),
        (0, None),
        "there is room again"
    );
    ground.destroy(lease).await;
}

/// See its name.
pub async fn inputs_can_be_read_and_not_written(ground: &Ground) {
    let mut spec = ground.spec();
    spec.inputs = vec![ground.input("scene.blend", "a scene")];
    let source = spec.inputs[0].source.clone();
    let lease = ground.lease(spec.clone()).await;
    ground.run(lease, 0, &["read", "/in/scene.blend"]).await;
    assert_eq!(ground.log(lease, 0).await, "a scene");
    let refused = ground.run(lease, 1, &["write", "/in/scene.blend", "mine now"]).await;
    assert_eq!(exited(&refused), (30, None), "EROFS");
    assert_eq!(std::fs::read_to_string(source).unwrap(), "a scene");
    ground.destroy(lease).await;

    spec.lease = ground.spec().lease;
    spec.inputs[0].target = "/proc/self".into();
    let refused = ground.runtime.create_lease(spec).await;
    assert!(matches!(refused, Err(CreateLeaseError::BadSpec { .. })), "{refused:?}");
}

/// See its name.
pub async fn neither_parts_nor_leases_see_each_others_files(ground: &Ground) {
    let (one, two) = (ground.lease(ground.spec()).await, ground.lease(ground.spec()).await);
    let words = [
        "then", "write", "/tmp/x", "x", ";", "write", "/out/x", "x", ";", "write", "/x", "x",
    ];
    assert_eq!(exited(&ground.run(one, 0, &words).await), (0, None));
    for (lease, part) in [(one, 1), (two, 0)] {
        for (offset, path) in [(0, "/tmp/x"), (10, "/out/x"), (20, "/x")] {
            let state = ground.run(lease, part + offset, &["read", path]).await;
            assert_eq!(exited(&state), (2, None), "{path}");
        }
    }
    ground.destroy(one).await;
    assert_eq!(
        exited(&ground.run(two, 1, &["exit", "0"]).await),
        (0, None),
        "the other goes on"
    );
    ground.destroy(two).await;
}

/// See its name.
pub async fn a_destroyed_lease_leaves_its_final_usage_and_its_logs(ground: &Ground) {
    let spec = ground.spec();
    let lease = ground.lease(spec.clone()).await;
    ground.run(lease, 0, &["print", "words to keep"]).await;
    ground.start(lease, 1, &["nap", "600000"]).await;
    let usage = ground.destroy(lease).await;
    assert_eq!(
        (usage.lease, usage.end, usage.parts.len()),
        (lease, LeaseEnd::Destroyed, 2)
    );
    assert_eq!(exited(&usage.parts[0].state), (0, None));
    assert_eq!(exited(&usage.parts[1].state), (128 + 9, Some(9)));
    assert_eq!(ended_by(&usage.parts[1].state), EndedBy::LeaseEnd);
    assert_eq!(ground.destroy(lease).await, usage, "the same again");

    let status = ground.runtime.status(lease).await.unwrap();
    assert_eq!(
        (status.work, status.metered, status.shim),
        (Work::Gone, usage.metered, None)
    );
    assert_eq!(ground.log(lease, 0).await, "words to keep\n");
    let refused = ground.runtime.start_part(lease, probe(2, &["exit", "0"])).await;
    assert!(refused.is_err());
    let refused = ground.runtime.renew(lease).await;
    assert!(matches!(refused, Err(RuntimeCallError::Over { .. })), "{refused:?}");
    let refused = ground.runtime.create_lease(spec).await;
    assert!(matches!(refused, Err(CreateLeaseError::Over { .. })), "{refused:?}");

    ground.runtime.forget_lease(lease).await.unwrap();
    ground
        .runtime
        .forget_lease(lease)
        .await
        .expect("forgetting what is forgotten is fine");
    let unknown = ground.runtime.status(lease).await;
    assert!(
        matches!(unknown, Err(RuntimeCallError::UnknownLease { .. })),
        "{unknown:?}"
    );
}

/// See its name.
pub async fn unknown_leases_and_parts_are_named(ground: &Ground) {
    let stranger = ground.spec().lease;
    let unknown = ground.runtime.renew(stranger).await;
    assert!(
        matches!(unknown, Err(RuntimeCallError::UnknownLease { lease }) if lease == stranger),
        "{unknown:?}"
    );
    assert!(ground.runtime.destroy_lease(stranger).await.is_err());
    let lease = ground.lease(ground.spec()).await;
    let unknown = ground.runtime.outputs(lease, key(9), "/out/*").await;
    assert!(
        matches!(unknown, Err(RuntimeCallError::UnknownPart { .. })),
        "{unknown:?}"
    );
    let unknown = ground.runtime.logs(lease, key(9), 0).await;
    assert!(
        matches!(unknown, Err(RuntimeCallError::UnknownPart { .. })),
        "{unknown:?}"
    );
    let unknown = ground.runtime.stop_part(lease, key(9), Millis(1)).await;
    assert!(
        matches!(unknown, Err(RuntimeCallError::UnknownPart { .. })),
        "{unknown:?}"
    );
    ground.destroy(lease).await;
}

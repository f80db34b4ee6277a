//! What a lease's parts do, one fact a test.

use super::*;
use gpux_proto::{BlobSpec, OutputSpec};
use gpux_runtime::{EndedBy, ProcessIdentity};
use gpux_types::{ByteSize, PartIndex};

/// More than any of these tests has parts.
const SLOTS: usize = 8;

fn spec(part: u32) -> PartSpec {
    PartSpec {
        part: PartIndex(part),
        attempt: 1,
        environment: Vec::new(),
    }
}

fn key_of(part: u32) -> PartKey {
    PartKey {
        part: PartIndex(part),
        attempt: 1,
    }
}

fn running() -> PartState {
    PartState::Running {
        process: ProcessIdentity { pid: 1, start_ticks: 1 },
    }
}

fn exited() -> PartState {
    PartState::Exited {
        code: 0,
        signal: None,
        out_of_memory: false,
        ended_by: EndedBy::Itself,
    }
}

fn end(part: u32) -> PartReport {
    PartReport::Ended {
        lease: LeaseId([1; 32]),
        part: PartIndex(part),
        attempt: 1,
        exit_code: 0,
        out_of_memory: false,
        outputs: Vec::new(),
    }
}

#[test]
fn a_part_with_a_large_environment_is_not_kept() {
    let mut part = spec(0);
    part.environment = vec![("NAME".into(), "x".repeat(4_000))];
    assert!(is_bounded(&part));
    part.environment.push(("OTHER".into(), "x".repeat(200)));
    assert!(!is_bounded(&part));
    part.environment = vec![(String::new(), String::new()); 65];
    assert!(!is_bounded(&part));
}

#[test]
fn nothing_starts_before_work_is_allowed_and_nothing_starts_twice() {
    let mut parts = Parts::default();
    parts.give(spec(0), Gate::Open).unwrap();
    parts.give(spec(0), Gate::Open).unwrap();
    assert!(parts.steps(0).is_empty());
    assert_eq!(parts.steps(SLOTS), [Step::Start(spec(0))]);
    assert!(parts.steps(SLOTS).is_empty(), "it is under way");
    parts.started(key_of(0), &running());
    assert_eq!(parts.steps(SLOTS), [Step::TellStarted(key_of(0))]);
    assert!(parts.steps(SLOTS).is_empty(), "told once");
}

#[test]
fn a_part_that_is_put_off_starts_once_work_is_allowed_again() {
    let mut parts = Parts::default();
    parts.give(spec(0), Gate::Open).unwrap();
    assert_eq!(parts.steps(SLOTS), [Step::Start(spec(0))]);
    parts.put_off(key_of(0));
    assert!(parts.steps(0).is_empty(), "the work is frozen");
    assert_eq!(parts.steps(SLOTS), [Step::Start(spec(0))]);
    parts.started(key_of(0), &running());
    parts.put_off(key_of(0));
    assert_eq!(
        parts.steps(SLOTS),
        [Step::TellStarted(key_of(0))],
        "what runs is not put off"
    );
}

#[test]
fn an_end_is_told_until_the_renter_has_it_and_again_when_it_asks() {
    let mut parts = Parts::default();
    parts.give(spec(0), Gate::Open).unwrap();
    parts.steps(SLOTS);
    parts.started(key_of(0), &exited());
    assert_eq!(parts.steps(SLOTS), [Step::Collect(key_of(0), exited())]);
    parts.collected(end(0));
    assert_eq!(parts.steps(SLOTS), [Step::TellEnd(key_of(0), end(0))]);
    parts.told(key_of(0), Told::Nothing);
    assert_eq!(parts.steps(SLOTS), [Step::TellEnd(key_of(0), end(0))]);
    parts.told(key_of(0), Told::End);
    assert!(parts.steps(SLOTS).is_empty());
    parts.give(spec(0), Gate::Open).unwrap();
    assert_eq!(parts.steps(SLOTS), [Step::TellEnd(key_of(0), end(0))]);
}

#[test]
fn a_part_that_is_not_wanted_any_more_is_ended_once_and_never_told_of() {
    let mut parts = Parts::default();
    parts.give(spec(0), Gate::Open).unwrap();
    parts.give(spec(1), Gate::Open).unwrap();
    parts.steps(SLOTS);
    parts.started(key_of(0), &running());
    parts.cancel(key_of(0));
    parts.cancel(key_of(1));
    assert_eq!(
        parts.steps(SLOTS),
        [Step::Stop(key_of(0))],
        "one that is being started is waited for"
    );
    assert!(parts.steps(SLOTS).is_empty(), "it is under way");
    parts.stopped(key_of(0), false);
    assert_eq!(
        parts.steps(SLOTS),
        [Step::Stop(key_of(0))],
        "asked again when it could not be asked"
    );
    parts.stopped(key_of(0), true);
    parts.started(key_of(1), &running());
    assert_eq!(parts.steps(SLOTS), [Step::Stop(key_of(1))]);
    parts.seen(key_of(0), &exited());
    parts.seen(key_of(1), &exited());
    assert!(parts.steps(SLOTS).is_empty(), "nothing is collected, and nothing told");
}

#[test]
fn a_part_that_is_cancelled_before_it_starts_never_runs() {
    let mut parts = Parts::default();
    parts.give(spec(0), Gate::Open).unwrap();
    parts.cancel(key_of(0));
    parts.cancel(key_of(1));
    parts.give(spec(1), Gate::Open).unwrap();
    assert!(
        parts.steps(SLOTS).is_empty(),
        "neither one that waits nor one that comes later"
    );
    let mut parts: Parts = serde_json::from_str(&serde_json::to_string(&parts).unwrap()).unwrap();
    parts.forget_running_steps();
    assert!(parts.steps(SLOTS).is_empty(), "nor after a restart");
}

#[test]
fn a_restart_starts_again_what_was_being_started_and_keeps_what_ran() {
    let mut parts = Parts::default();
    parts.give(spec(0), Gate::Open).unwrap();
    parts.give(spec(1), Gate::Open).unwrap();
    parts.steps(SLOTS);
    parts.started(key_of(1), &running());
    let mut parts: Parts = serde_json::from_str(&serde_json::to_string(&parts).unwrap()).unwrap();
    parts.forget_running_steps();
    assert!(parts.steps(SLOTS).contains(&Step::Start(spec(0))));
    parts.seen(key_of(1), &exited());
    assert!(parts.steps(SLOTS).contains(&Step::Collect(key_of(1), exited())));
}

/// A part whose variables are as long as they may be, most of them as long on the disk as they can get.
fn large(part: u32) -> PartSpec {
    let value = "\u{1}".repeat(3_000) + &"\"\\".repeat(400);
    let part = PartSpec {
        environment: vec![("NAME".into(), value)],
        ..spec(part)
    };
    assert!(is_bounded(&part));
    part
}

fn written_down(parts: &Parts) -> usize {
    serde_json::to_string(parts).unwrap().len()
}

#[test]
fn what_a_renter_makes_this_node_keep_of_parts_that_wait_is_bounded() {
    let mut parts = Parts::default();
    let taken = (0..20_000)
        .take_while(|part| parts.give(large(*part), Gate::Open).is_ok())
        .count();
    assert!((40..60).contains(&taken), "{taken}");
    assert!(written_down(&parts) <= MAX_BYTES, "{}", written_down(&parts));
    assert_eq!(
        parts.give(spec(0), Gate::Open),
        Ok(()),
        "one that is here is no new one"
    );
    let mut parts = Parts::default();
    let taken = (0..20_000)
        .take_while(|part| parts.give(spec(*part), Gate::Open).is_ok())
        .count();
    assert!((4_000..5_000).contains(&taken), "{taken}");
    (20_000..40_000).for_each(|part| parts.cancel(key_of(part)));
    assert!(written_down(&parts) <= MAX_BYTES, "{}", written_down(&parts));
}

fn ended_with_outputs(part: u32, count: u32) -> PartReport {
    let PartReport::Ended {
        lease, part, attempt, ..
    } = end(part)
    else {
        unreachable!("an end is one")
    };
    let output = |index: u32| OutputSpec {
        path: format!("frame-\u{1}-{index}.png"),
        blob: BlobSpec {
            hash: BlobHash([0xff; 32]),
            size: ByteSize(u64::MAX),
        },
    };
    PartReport::Ended {
        lease,
        part,
        attempt,
        exit_code: -1,
        out_of_memory: false,
        outputs: (0..count).map(output).collect(),
    }
}

#[test]
fn parts_that_are_done_with_make_room_and_their_ends_stay_counted() {
    let mut parts = Parts::default();
    for part in 0..2_000 {
        parts.give(spec(part), Gate::Open).unwrap();
        assert_eq!(parts.steps(1).len(), 1, "part {part} starts");
        parts.started(key_of(part), &exited());
        parts.steps(1);
        parts.collected(ended_with_outputs(part, 10));
        parts.steps(1);
        parts.told(key_of(part), Told::End);
        if part % 200 == 0 {
            assert!(written_down(&parts) <= MAX_BYTES, "{}", written_down(&parts));
        }
    }
    assert!(parts.parts.len() > 400, "{}", parts.parts.len());
    let kept = u32::try_from(parts.parts.len()).unwrap();
    assert_eq!(parts.forgotten.exits, BTreeMap::from([(-1, 2_000 - kept)]));
    assert_eq!(parts.exits(), (BTreeMap::from([(-1, 2_000)]), 0), "none is lost");
    assert_eq!(parts.outputs().count(), parts.parts.len() * 10);
    let oldest = parts.parts.first().map(|part| part.spec.part);
    assert_eq!(oldest, Some(PartIndex(2_000 - kept)), "the oldest went");
}

#[test]
fn no_more_parts_run_than_the_lease_has_cores() {
    assert_eq!(
        [100, 1_000, 1_999, 4_000].map(|millicores| slots(Cpu { millicores })),
        [1, 1, 1, 4]
    );
    let mut parts = Parts::default();
    (0..4).for_each(|part| parts.give(spec(part), Gate::Open).unwrap());
    assert_eq!(parts.steps(2), [Step::Start(spec(0)), Step::Start(spec(1))]);
    parts.started(key_of(0), &running());
    assert_eq!(parts.steps(2), [Step::TellStarted(key_of(0))], "both slots are taken");
    parts.started(key_of(1), &exited());
    assert_eq!(
        parts.steps(2),
        [Step::Collect(key_of(1), exited()), Step::Start(spec(2))],
        "what is over holds no core"
    );
}

#[test]
fn only_what_a_restart_would_not_find_again_is_worth_a_write() {
    let mut parts = Parts::default();
    parts.give(spec(0), Gate::Open).unwrap();
    assert!(parts.take_changed());
    parts.give(spec(0), Gate::Open).unwrap();
    parts.steps(SLOTS);
    parts.put_off(key_of(0));
    parts.steps(SLOTS);
    assert!(!parts.take_changed(), "it waits or is being started");
    parts.started(key_of(0), &running());
    assert!(parts.take_changed());
    parts.seen(key_of(0), &running());
    assert!(!parts.take_changed());
    parts.seen(key_of(0), &exited());
    assert!(parts.take_changed());
    parts.seen(key_of(0), &exited());
    parts.steps(SLOTS);
    assert!(!parts.take_changed());
    parts.collected(end(0));
    assert!(parts.take_changed());
    parts.told(key_of(0), Told::Nothing);
    assert!(!parts.take_changed());
    parts.told(key_of(0), Told::End);
    assert!(parts.take_changed());
    parts.cancel(key_of(1));
    assert!(!parts.take_changed(), "a note about a try that never came");
    parts.give(spec(1), Gate::Open).unwrap();
    assert!(parts.take_changed(), "now it came");
    parts.give(spec(2), Gate::Open).unwrap();
    assert!(parts.take_changed());
    parts.cancel(key_of(2));
    assert!(parts.take_changed());
    parts.cancel(key_of(2));
    assert!(!parts.take_changed());
}

#[test]
fn what_ended_by_itself_is_counted_by_its_code_and_the_rest_together() {
    let mut parts = Parts::default();
    (0..4).for_each(|part| parts.give(spec(part), Gate::Open).unwrap());
    assert_eq!((parts.exits(), parts.last_run()), ((BTreeMap::new(), 4), None));
    parts.steps(4);
    parts.started(key_of(0), &exited());
    parts.collected(end(0));
    parts.started(key_of(1), &running());
    parts.started(key_of(2), &PartState::Lost);
    parts.collected(failed(LeaseId([1; 32]), key_of(2), false, String::new()));
    parts.cancel(key_of(3));
    let one = BTreeMap::from([(0, 1)]);
    assert_eq!((parts.exits(), parts.last_run()), ((one, 3), Some(key_of(1))));
    parts.seen(key_of(1), &exited());
    let two = BTreeMap::from([(0, 2)]);
    assert_eq!(parts.exits(), (two.clone(), 2));
    parts.cancel(key_of(9));
    assert_eq!(parts.exits(), (two, 2), "a try that was never given did not end");
}

#[test]
fn notes_about_tries_that_never_came_are_few_and_displace_no_part() {
    let mut parts = Parts::default();
    while parts
        .give(large(u32::try_from(parts.parts.len()).unwrap()), Gate::Open)
        .is_ok()
    {}
    parts
        .parts
        .iter_mut()
        .for_each(|part| part.stage = Stage::Over { report: end(0) });
    let ran = parts.parts.len();
    (20_000..40_000).for_each(|part| parts.cancel(key_of(part)));
    let notes = parts.parts.iter().filter(|part| part.note).count();
    assert!((1..=MAX_NOTES).contains(&notes), "{notes}");
    assert_eq!(parts.parts.len() - notes, ran);
    assert!(
        parts.parts.iter().any(|part| key(&part.spec) == key_of(39_999)),
        "the newest stay"
    );
    assert_eq!(parts.exits(), (BTreeMap::from([(0, u32::try_from(ran).unwrap())]), 0));
}

#[test]
fn how_far_the_parts_are_is_told_by_the_one_that_is_least_far() {
    let mut parts = Parts::default();
    assert_eq!(parts.given(), Given::Told, "nothing was given");
    parts.give(spec(0), Gate::Open).unwrap();
    parts.give(spec(1), Gate::Open).unwrap();
    assert_eq!(parts.given(), Given::Unfinished, "they wait for their turn");
    let _ = parts.steps(1);
    parts.started(key_of(0), &running());
    parts.cancel(key_of(1));
    let _ = parts.steps(1);
    assert_eq!(parts.given(), Given::Unfinished, "one runs");
    parts.seen(key_of(0), &exited());
    assert_eq!(parts.given(), Given::Unfinished, "its outputs are not kept yet");
    let _ = parts.steps(1);
    parts.collected(end(0));
    assert_eq!(parts.given(), Given::Untold);
    let _ = parts.steps(1);
    parts.told(key_of(0), Told::Nothing);
    assert_eq!(parts.given(), Given::Untold, "the renter could not be reached");
    let _ = parts.steps(1);
    parts.told(key_of(0), Told::End);
    assert_eq!(parts.given(), Given::Told);
    parts.give(spec(0), Gate::Open).unwrap();
    assert_eq!(parts.given(), Given::Untold, "the renter lost the news");
}

/// A rank of attempt `attempt`, and its key.
fn rank(attempt: u32) -> (PartSpec, PartKey) {
    let spec = PartSpec { attempt, ..spec(0) };
    let key = key(&spec);
    (spec, key)
}

#[test]
fn a_rank_stands_until_its_gate_is_open_and_goes_once() {
    let (spec, key) = rank(0);
    let mut parts = Parts::default();
    parts.give(spec.clone(), Gate::Closed).unwrap();
    assert_eq!(parts.given(), Given::Unfinished, "its container is not made yet");
    assert_eq!(parts.steps(SLOTS), [Step::Stand(spec.clone())]);
    parts.started(key, &PartState::Standing);
    assert_eq!(parts.steps(SLOTS), [Step::TellStanding(key)]);
    parts.told(key, Told::Nothing);
    assert_eq!(parts.steps(SLOTS), [Step::TellStanding(key)], "until the renter knows");
    parts.told(key, Told::Stands);
    assert!(parts.steps(SLOTS).is_empty());
    assert_eq!(parts.given(), Given::Standing);

    assert!(parts.open_gate(key) && parts.open_gate(key));
    assert_eq!(parts.given(), Given::Unfinished);
    assert!(parts.steps(0).is_empty(), "the work is frozen");
    assert_eq!(parts.steps(SLOTS), [Step::Go(key)]);
    parts.put_off(key);
    assert_eq!(parts.steps(SLOTS), [Step::Go(key)], "it was frozen a moment later");
    parts.started(key, &running());
    assert_eq!(parts.steps(SLOTS), [Step::TellStarted(key)]);
    assert!(parts.open_gate(key), "told again");
    assert!(parts.steps(SLOTS).is_empty(), "it went");
}

#[test]
fn a_rank_stands_only_when_nothing_of_the_attempt_before_is_left() {
    let ((first, first_key), (second, second_key)) = (rank(0), rank(1));
    let mut parts = Parts::default();
    parts.give(first, Gate::Closed).unwrap();
    parts.steps(SLOTS);
    parts.started(first_key, &PartState::Standing);
    parts.open_gate(first_key);
    parts.steps(SLOTS);
    parts.started(first_key, &running());
    parts.steps(SLOTS);
    parts.give(second.clone(), Gate::Closed).unwrap();
    assert_eq!(
        parts.steps(SLOTS),
        [Step::Stop(first_key)],
        "the second says that the first is not wanted"
    );
    parts.stopped(first_key, true);
    assert!(parts.steps(SLOTS).is_empty(), "it was asked to end, and still runs");
    parts.seen(first_key, &exited());
    assert_eq!(parts.steps(SLOTS), [Step::Stand(second)]);
    assert!(
        !parts.open_gate(PartKey {
            attempt: 2,
            ..second_key
        }),
        "never given"
    );
}

#[test]
fn a_rank_that_is_not_wanted_any_more_is_ended_where_it_stands_and_never_goes() {
    let (spec, key) = rank(0);
    let mut parts = Parts::default();
    parts.give(spec, Gate::Closed).unwrap();
    parts.steps(SLOTS);
    parts.started(key, &PartState::Standing);
    parts.steps(SLOTS);
    parts.told(key, Told::Stands);
    parts.cancel(key);
    parts.open_gate(key);
    assert_eq!(parts.steps(SLOTS), [Step::Stop(key)]);
    parts.stopped(key, true);
    let never = PartState::NotStarted {
        errno: 0,
        message: "killed".into(),
    };
    parts.seen(key, &never);
    assert!(parts.steps(SLOTS).is_empty());
    assert_eq!(parts.given(), Given::Told);
}

#[test]
fn a_rank_whose_container_dies_while_it_stands_is_told_of_as_failed() {
    let (spec, key) = rank(0);
    let mut parts = Parts::default();
    parts.give(spec, Gate::Closed).unwrap();
    parts.steps(SLOTS);
    parts.started(key, &PartState::Standing);
    parts.steps(SLOTS);
    parts.told(key, Told::Stands);
    parts.open_gate(key);
    assert_eq!(parts.steps(SLOTS), [Step::Go(key)]);
    parts.seen(key, &PartState::Lost);
    assert!(parts.steps(SLOTS).is_empty(), "its going is under way");
    parts.started(key, &PartState::Lost);
    assert_eq!(parts.steps(SLOTS), [Step::Collect(key, PartState::Lost)]);
}

#[test]
fn a_restart_finds_a_rank_that_stands_and_lets_it_go_again_if_it_was_told_to() {
    let (spec, key) = rank(0);
    let mut parts = Parts::default();
    parts.give(spec.clone(), Gate::Closed).unwrap();
    parts.steps(SLOTS);
    let restarted = |parts: &Parts| {
        let text = serde_json::to_string(parts).unwrap();
        let mut parts: Parts = serde_json::from_str(&text).unwrap();
        parts.forget_running_steps();
        parts
    };
    let mut again = restarted(&parts);
    assert_eq!(again.steps(SLOTS), [Step::Stand(spec)], "standing twice stands once");
    again.started(key, &PartState::Standing);
    again.steps(SLOTS);
    again.told(key, Told::Stands);
    assert!(restarted(&again).steps(SLOTS).is_empty(), "it waits on");
    again.open_gate(key);
    assert_eq!(restarted(&again).steps(SLOTS), [Step::Go(key)]);
}

//! The part queue under random nodes: what it asked for is followed from its effects alone, as the daemon would.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const SLOTS: u32 = 2;
/// Of every result: these jobs compare none.
const DIGEST: BlobHash = BlobHash([0; 32]);

fn lease(number: u8) -> LeaseId {
    LeaseId([number; 32])
}

fn policy(release: ReleaseRule) -> PartPolicy {
    PartPolicy {
        provider_fault_retries: 2,
        error_retries: 1,
        strikes: 3,
        release,
    }
}

/// What must hold whatever the nodes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Invariant {
    /// A lease that is heard never has more parts than slots.
    SlotsAreKept,
    /// A part has one result, or none, for ever.
    OneResultForEachPart,
    /// No try is named twice, and a part's tries count up.
    TriesAreNew,
    /// Nothing goes to a lease that is lost, closed or unknown.
    OnlyHeardLeasesGetParts,
    /// No part waits while a lease that could take it has a free slot.
    NoPartWaitsForNothing,
    /// The end is told once, when every part is over.
    EndIsToldOnce,
    /// News that is heard again changes nothing.
    ReplayChangesNothing,

    /// With a lease that works, every job ends.
    JobsEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    /// The queue believes in one slot more than there is.
    OneSlotTooMany,
    /// A second result is kept too.
    KeepsEveryResult,
    /// A try's name is used again.
    ReusesTries,
    /// Lost leases stay in use.
    IgnoresLoss,
    /// Failed parts are dropped instead of queued.
    ForgetsFailedParts,
    /// The end is told with each event after it.
    TellsTheEndAgain,
    /// A repeated failure counts again.
    CountsFailuresTwice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Ready(u8),
    Lost(u8),
    Closed(u8),
    /// Something that runs on the lease ends so.
    Ends(u8, usize, Option<PartFault>),
    Restarted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Yes,
    No,
    Closed,
}

struct World {
    queue: PartQueue,
    bug: Option<Bug>,
    count: u32,
    heard: BTreeMap<LeaseId, Heard>,
    /// What runs on each lease, as its node knows it.
    running: BTreeMap<(LeaseId, PartIndex), u32>,
    attempts: BTreeMap<PartIndex, u32>,
    over: BTreeMap<PartIndex, ()>,
    ended: bool,
}

type Checked = Result<(), (Invariant, String)>;

impl World {
    fn new(count: u32, bug: Option<Bug>) -> Self {
        Self {
            queue: PartQueue::new(policy(ReleaseRule::WhenDone), count),
            bug,
            count,
            heard: BTreeMap::new(),
            running: BTreeMap::new(),
            attempts: BTreeMap::new(),
            over: BTreeMap::new(),
            ended: false,
        }
    }

    fn step(&mut self, step: Step) -> Checked {
        match step {
            Step::Ready(number) => {
                let now = self.heard.entry(lease(number)).or_insert(Heard::Yes);
                if *now == Heard::No {
                    *now = Heard::Yes;
                }
                let slots = SLOTS + u32::from(self.bug == Some(Bug::OneSlotTooMany));
                self.tell(PartEvent::LeaseReady {
                    lease: lease(number),
                    slots,
                })
            }
            Step::Lost(number) => {
                if let Some(heard) = self.heard.get_mut(&lease(number)).filter(|heard| **heard == Heard::Yes) {
                    *heard = Heard::No;
                }
                if self.bug == Some(Bug::IgnoresLoss) {
                    Ok(())
                } else {
                    self.tell(PartEvent::LeaseLost { lease: lease(number) })
                }
            }
            Step::Closed(number) => {
                self.close(lease(number));
                self.tell(PartEvent::LeaseClosed { lease: lease(number) })
            }
            Step::Ends(number, pick, fault) => {
                let here: Vec<_> = self
                    .running
                    .iter()
                    .filter(|((at, _), _)| *at == lease(number))
                    .collect();
                let Some(((_, part), attempt)) =
                    here.get(pick % here.len().max(1)).map(|(key, value)| (**key, **value))
                else {
                    return Ok(());
                };
                self.running.remove(&(lease(number), part));
                self.end(lease(number), part, attempt, fault)
            }
            Step::Restarted => {
                let text = serde_json::to_string(&self.queue).unwrap();
                let read: PartQueue = serde_json::from_str(&text).unwrap();
                assert_eq!(read, self.queue, "the journal reads back what was written");
                self.queue = read;
                self.tell(PartEvent::Restarted)
            }
        }
    }

    fn end(&mut self, lease: LeaseId, part: PartIndex, attempt: u32, fault: Option<PartFault>) -> Checked {
        if self.heard.get(&lease) == Some(&Heard::Closed) {
            return Ok(());
        }
        match fault {
            None => self.tell(PartEvent::Finished {
                lease,
                part,
                attempt,
                digest: DIGEST,
            }),
            Some(_) if self.bug == Some(Bug::ForgetsFailedParts) => Ok(()),
            Some(fault) => self.tell(PartEvent::Failed {
                lease,
                part,
                attempt,
                fault,
            }),
        }
    }

    fn close(&mut self, lease: LeaseId) {
        if let Some(heard) = self.heard.get_mut(&lease) {
            *heard = Heard::Closed;
        }
        self.running.retain(|(at, _), _| *at != lease);
    }

    fn tell(&mut self, event: PartEvent) -> Checked {
        let mut effects = self
            .queue
            .handle(event)
            .map_err(|error| (Invariant::TriesAreNew, error.to_string()))?;
        if event != PartEvent::Restarted {
            let mut again = self.queue.clone();
            let event_again = match (event, self.bug) {
                (
                    PartEvent::Failed {
                        lease,
                        part,
                        attempt,
                        fault,
                    },
                    Some(Bug::CountsFailuresTwice),
                ) => {
                    let next = again.running_on(&lease).find(|(other, _)| *other != part);
                    let (part, attempt) = next.unwrap_or((part, attempt));
                    PartEvent::Failed {
                        lease,
                        part,
                        attempt,
                        fault,
                    }
                }
                (event, _) => event,
            };
            let quiet = again.handle(event_again).is_ok_and(|effects| effects.is_empty());
            if !quiet || again != self.queue {
                return Err((Invariant::ReplayChangesNothing, format!("{event:?}")));
            }
        }
        if let (
            Some(Bug::KeepsEveryResult),
            PartEvent::Finished {
                lease, part, attempt, ..
            },
        ) = (self.bug, event)
        {
            effects.insert(0, PartEffect::Keep { lease, part, attempt });
        }
        if self.bug == Some(Bug::TellsTheEndAgain) && self.ended {
            effects.push(PartEffect::Finish(self.queue.summary()));
        }
        let restarted = event == PartEvent::Restarted;
        effects
            .into_iter()
            .try_for_each(|effect| self.perform(effect, restarted))?;
        self.check()
    }

    fn perform(&mut self, effect: PartEffect, restarted: bool) -> Checked {
        match effect {
            PartEffect::Assign { lease, part, attempt } => {
                let known = self.running.insert((lease, part), attempt);
                if restarted && (known == Some(attempt) || known.is_none()) {
                    return Ok(());
                }
                let attempt = if self.bug == Some(Bug::ReusesTries) { 0 } else { attempt };
                let next = self.attempts.entry(part).or_insert(0);
                if attempt != *next {
                    return Err((Invariant::TriesAreNew, format!("{part} got try {attempt}, not {next}")));
                }
                *next += 1;
                if self.heard.get(&lease) != Some(&Heard::Yes) {
                    return Err((Invariant::OnlyHeardLeasesGetParts, lease.short()));
                }
            }
            PartEffect::Cancel { lease, part, .. } => {
                self.running.remove(&(lease, part));
            }
            PartEffect::Keep { part, .. } | PartEffect::GiveUp { part, .. } => {
                if self.over.insert(part, ()).is_some() {
                    return Err((Invariant::OneResultForEachPart, part.to_string()));
                }
            }
            PartEffect::Release { lease } | PartEffect::Drop { lease } => self.close(lease),
            PartEffect::Finish(_) => {
                let all = self.over.len() == self.count as usize;
                if (self.ended && !restarted) || !all {
                    return Err((
                        Invariant::EndIsToldOnce,
                        format!("{} of {} are over", self.over.len(), self.count),
                    ));
                }
                self.ended = true;
            }
            PartEffect::Starved => {}
            PartEffect::Draw | PartEffect::Discard { .. } | PartEffect::Outvoted { .. } => {
                unreachable!("nothing is checked here")
            }
        }
        Ok(())
    }

    fn on(&self, lease: &LeaseId) -> u32 {
        u32::try_from(self.running.keys().filter(|(at, _)| at == lease).count()).unwrap()
    }

    fn check(&self) -> Checked {
        let heard = || {
            self.heard
                .iter()
                .filter(|(_, heard)| **heard == Heard::Yes)
                .map(|(lease, _)| lease)
        };
        for lease in heard() {
            if self.on(lease) > SLOTS {
                return Err((
                    Invariant::SlotsAreKept,
                    format!("{} on {}", self.on(lease), lease.short()),
                ));
            }
        }
        let waiting = (0..self.count)
            .map(PartIndex)
            .filter(|part| self.queue.part(*part) == Some(PartState::Queued));
        let only_one = heard().count() == 1;
        let free = heard().any(|lease| self.on(lease) < SLOTS);
        if only_one && free && waiting.count() > 0 {
            return Err((Invariant::NoPartWaitsForNothing, String::new()));
        }
        Ok(())
    }

    /// A lease that works to the end ends every job, whatever came before.
    fn finish(&mut self) -> Checked {
        let last = 200;
        self.step(Step::Ready(last))?;
        for _ in 0..self.count * 8 {
            for number in [0, 1, 2, 3, last] {
                self.step(Step::Ends(number, 0, None))?;
            }
        }
        for number in 0..4 {
            self.step(Step::Closed(number))?;
        }
        for _ in 0..self.count * 8 {
            self.step(Step::Ends(last, 0, None))?;
        }
        if self.ended {
            Ok(())
        } else {
            Err((Invariant::JobsEnd, format!("{:?}", self.queue.summary())))
        }
    }
}

fn run(count: u32, steps: &[Step], bug: Option<Bug>) -> Checked {
    let mut world = World::new(count, bug);
    steps.iter().try_for_each(|step| world.step(*step))?;
    world.finish()
}

fn any_step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![3 => Just(None), 1 => Just(Some(PartFault::Error)), 1 => Just(Some(PartFault::Provider))];
    prop_oneof![
        3 => (0u8..4).prop_map(Step::Ready),
        1 => (0u8..4).prop_map(Step::Lost),
        1 => (0u8..4).prop_map(Step::Closed),
        8 => (0u8..4, 0usize..4, fault).prop_map(|(lease, pick, fault)| Step::Ends(lease, pick, fault)),
        1 => Just(Step::Restarted),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_events_breaks_an_invariant(count in 1u32..12, steps in prop::collection::vec(any_step(), 0..60)) {
        if let Err((invariant, detail)) = run(count, &steps, None) {
            return Err(TestCaseError::fail(format!("{invariant:?}: {detail}")));
        }
    }
}

#[test]
fn each_planted_bug_breaks_its_invariant() {
    use Invariant as I;
    let ends = |fault| Step::Ends(0, 0, fault);
    let stuck = vec![Step::Ready(200), Step::Ends(200, 0, Some(PartFault::Error))];
    let failing = vec![
        Step::Ready(0),
        ends(Some(PartFault::Error)),
        ends(Some(PartFault::Provider)),
        ends(None),
    ];
    let losing = vec![
        Step::Ready(0),
        Step::Lost(0),
        Step::Ready(1),
        Step::Ends(0, 0, None),
        Step::Ends(1, 0, None),
    ];
    let planted = [
        (Bug::OneSlotTooMany, I::SlotsAreKept, 5, failing.clone()),
        (Bug::KeepsEveryResult, I::OneResultForEachPart, 5, losing.clone()),
        (Bug::ReusesTries, I::TriesAreNew, 5, losing.clone()),
        (Bug::IgnoresLoss, I::OnlyHeardLeasesGetParts, 5, losing),
        (Bug::ForgetsFailedParts, I::NoPartWaitsForNothing, 5, stuck.clone()),
        (Bug::ForgetsFailedParts, I::JobsEnd, 1, stuck),
        (Bug::TellsTheEndAgain, I::EndIsToldOnce, 5, vec![Step::Ready(0)]),
        (Bug::CountsFailuresTwice, I::ReplayChangesNothing, 5, failing),
    ];
    for (bug, invariant, count, steps) in planted {
        run(count, &steps, None).unwrap();
        let Err((broken, detail)) = run(count, &steps, Some(bug)) else {
            panic!("{bug:?} was not noticed")
        };
        assert_eq!(broken, invariant, "{bug:?}: {detail}");
    }
}

#[test]
fn parts_go_out_in_order_over_the_leases() {
    let mut queue = PartQueue::new(policy(ReleaseRule::WhenDone), 3);
    let first = queue
        .handle(PartEvent::LeaseReady {
            lease: lease(1),
            slots: 1,
        })
        .unwrap();
    assert_eq!(
        first,
        [PartEffect::Assign {
            lease: lease(1),
            part: PartIndex(0),
            attempt: 0
        }]
    );
    let second = queue
        .handle(PartEvent::LeaseReady {
            lease: lease(2),
            slots: 1,
        })
        .unwrap();
    assert_eq!(
        second,
        [PartEffect::Assign {
            lease: lease(2),
            part: PartIndex(1),
            attempt: 0
        }]
    );
    assert_eq!(
        queue.summary(),
        PartsSummary {
            queued: 1,
            running: 2,
            done: 0,
            given_up: 0
        }
    );
}

#[test]
fn a_lost_nodes_part_goes_elsewhere_and_its_late_result_is_kept_when_it_is_first() {
    let mut queue = PartQueue::new(policy(ReleaseRule::WhenDone), 1);
    queue
        .handle(PartEvent::LeaseReady {
            lease: lease(1),
            slots: 1,
        })
        .unwrap();
    queue
        .handle(PartEvent::LeaseReady {
            lease: lease(2),
            slots: 1,
        })
        .unwrap();
    let moved = queue.handle(PartEvent::LeaseLost { lease: lease(1) }).unwrap();
    assert_eq!(
        moved,
        [PartEffect::Assign {
            lease: lease(2),
            part: PartIndex(0),
            attempt: 1
        }]
    );
    let late = PartEvent::Finished {
        lease: lease(1),
        part: PartIndex(0),
        attempt: 0,
        digest: DIGEST,
    };
    let effects = queue.handle(late).unwrap();
    assert!(effects.contains(&PartEffect::Keep {
        lease: lease(1),
        part: PartIndex(0),
        attempt: 0
    }));
    assert!(effects.contains(&PartEffect::Cancel {
        lease: lease(2),
        part: PartIndex(0),
        attempt: 1
    }));
    let second = queue
        .handle(PartEvent::Finished {
            lease: lease(2),
            part: PartIndex(0),
            attempt: 1,
            digest: DIGEST,
        })
        .unwrap();
    assert_eq!(second, [], "a late duplicate is ignored");
}

#[test]
fn a_part_that_fails_by_itself_is_given_up_sooner_than_one_that_a_provider_fails() {
    for (fault, tries) in [(PartFault::Error, 2), (PartFault::Provider, 3)] {
        let mut queue = PartQueue::new(
            PartPolicy {
                strikes: 10,
                ..policy(ReleaseRule::WhenDone)
            },
            1,
        );
        queue
            .handle(PartEvent::LeaseReady {
                lease: lease(1),
                slots: 1,
            })
            .unwrap();
        for attempt in 0..tries {
            assert_eq!(
                queue.part(PartIndex(0)),
                Some(PartState::Running),
                "{fault:?} {attempt}"
            );
            queue
                .handle(PartEvent::Failed {
                    lease: lease(1),
                    part: PartIndex(0),
                    attempt,
                    fault,
                })
                .unwrap();
        }
        assert_eq!(queue.part(PartIndex(0)), Some(PartState::GivenUp { fault }));
    }
}

#[test]
fn a_failed_part_goes_to_a_lease_that_it_did_not_fail_on() {
    let mut queue = PartQueue::new(policy(ReleaseRule::WhenDone), 2);
    queue
        .handle(PartEvent::LeaseReady {
            lease: lease(1),
            slots: 1,
        })
        .unwrap();
    queue
        .handle(PartEvent::LeaseReady {
            lease: lease(2),
            slots: 1,
        })
        .unwrap();
    let failed = PartEvent::Failed {
        lease: lease(1),
        part: PartIndex(0),
        attempt: 0,
        fault: PartFault::Provider,
    };
    assert_eq!(queue.handle(failed).unwrap(), [], "it waits for the other lease");
    let freed = queue
        .handle(PartEvent::Finished {
            lease: lease(2),
            part: PartIndex(1),
            attempt: 0,
            digest: DIGEST,
        })
        .unwrap();
    assert!(
        freed.contains(&PartEffect::Assign {
            lease: lease(2),
            part: PartIndex(0),
            attempt: 1
        }),
        "{freed:?}"
    );
}

#[test]
fn a_lease_that_fails_thrice_in_a_row_is_dropped_and_a_job_without_leases_starves() {
    let patient = PartPolicy {
        provider_fault_retries: 10,
        ..policy(ReleaseRule::WhenDone)
    };
    let mut queue = PartQueue::new(patient, 5);
    queue
        .handle(PartEvent::LeaseReady {
            lease: lease(1),
            slots: 1,
        })
        .unwrap();
    let mut effects = Vec::new();
    for _ in 0..3 {
        let (part, attempt) = queue.running_on(&lease(1)).next().unwrap();
        effects = queue
            .handle(PartEvent::Failed {
                lease: lease(1),
                part,
                attempt,
                fault: PartFault::Provider,
            })
            .unwrap();
    }
    assert_eq!(effects, [PartEffect::Drop { lease: lease(1) }, PartEffect::Starved]);
}

#[test]
fn an_idle_lease_is_released_when_the_rule_says_so() {
    let mut queue = PartQueue::new(policy(ReleaseRule::WhenIdle), 2);
    queue
        .handle(PartEvent::LeaseReady {
            lease: lease(1),
            slots: 1,
        })
        .unwrap();
    queue
        .handle(PartEvent::LeaseReady {
            lease: lease(2),
            slots: 1,
        })
        .unwrap();
    let effects = queue
        .handle(PartEvent::Finished {
            lease: lease(1),
            part: PartIndex(0),
            attempt: 0,
            digest: DIGEST,
        })
        .unwrap();
    assert!(
        effects.contains(&PartEffect::Release { lease: lease(1) }),
        "{effects:?}"
    );
}

#[test]
fn a_try_that_was_never_given_is_refused() {
    let mut queue = PartQueue::new(policy(ReleaseRule::WhenDone), 2);
    queue
        .handle(PartEvent::LeaseReady {
            lease: lease(1),
            slots: 1,
        })
        .unwrap();
    for (number, part, attempt) in [(2, 0, 0), (1, 0, 1), (1, 1, 0), (1, 99, 0)] {
        let news = PartEvent::Finished {
            lease: lease(number),
            part: PartIndex(part),
            attempt,
            digest: DIGEST,
        };
        assert!(queue.handle(news).is_err(), "{news:?}");
    }
}

#[test]
fn an_empty_job_is_finished_at_once() {
    let mut queue = PartQueue::new(policy(ReleaseRule::WhenDone), 0);
    assert!(queue.is_finished());
    let effects = queue
        .handle(PartEvent::LeaseReady {
            lease: lease(1),
            slots: 1,
        })
        .unwrap();
    assert_eq!(effects, [PartEffect::Release { lease: lease(1) }]);
}

#[test]
fn a_job_starves_only_when_as_many_leases_as_it_was_planned_over_are_closed_ready_or_not() {
    let mut queue = PartQueue::new(policy(ReleaseRule::WhenDone), 1).over(2);
    let refused = PartEvent::LeaseClosed { lease: lease(1) };
    assert_eq!(queue.handle(refused), Ok(vec![]));
    assert_eq!(queue.handle(refused), Ok(vec![]), "the other may still come");
    let other = PartEvent::LeaseClosed { lease: lease(2) };
    assert_eq!(queue.handle(other), Ok(vec![PartEffect::Starved]));
    assert_eq!(queue.handle(other), Ok(vec![]));
    assert_eq!(
        queue.handle(PartEvent::Restarted),
        Ok(vec![
            PartEffect::Release { lease: lease(1) },
            PartEffect::Release { lease: lease(2) },
            PartEffect::Starved,
        ])
    );
}

//! Checks among honest nodes and liars, followed from the queue's effects alone.

use super::*;
use crate::parts::{PartEvent, PartFault, PartPolicy, PartsSummary, ReleaseRule};
use proptest::prelude::*;

const SLOTS: u32 = 2;
/// Leases of the random part; the honest ones that end it come on top.
const EARLY: u8 = 4;
const LATE: [u8; 6] = [10, 11, 12, 13, 14, 15];

fn lease(number: u8) -> LeaseId {
    LeaseId([number; 32])
}

fn queue(parts: u32, sample: u16, leases: u32) -> PartQueue {
    let policy = PartPolicy {
        provider_fault_retries: 1_000,
        error_retries: 1_000,
        strikes: 1_000,
        release: ReleaseRule::WhenDone,
    };
    let owners = (0..=u8::MAX).map(|number| (lease(number), Address::repeat_byte(number)));
    PartQueue::new(policy, parts).over(leases).checked(CheckPolicy {
        sample,
        owners: owners.collect(),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Invariant {
    /// What a liar handed back is no result in the end.
    NoLieStays,
    /// Nobody loses its lease whose results are right.
    OnlyLiarsAreOutvoted,
    /// No node checks itself.
    NobodyChecksItself,
    /// A part has one result at a time, and what is thrown away was one.
    OneResultForEachPart,
    /// News that is heard again changes nothing.
    ReplayChangesNothing,
    /// Every job ends.
    JobsEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    /// All results look alike to the queue.
    ComparesNothing,
    /// An honest node is believed to lie.
    BlamesTheChecker,
    /// What is thrown away stays.
    KeepsWhatIsDiscarded,
    /// An outvoted lease is believed again.
    HearsTheOutvoted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Ready(u8),
    Lost(u8),
    Closed(u8),
    Ends(u8, usize, Option<PartFault>),
    Restarted,
}

struct World {
    queue: PartQueue,
    bug: Option<Bug>,
    liar: LeaseId,
    count: u32,
    secret: u64,
    closed: BTreeSet<LeaseId>,
    running: BTreeMap<(LeaseId, PartIndex), u32>,
    kept: BTreeMap<PartIndex, LeaseId>,
    ended: bool,
}

type Checked = Result<(), (Invariant, String)>;

impl World {
    fn new(count: u32, secret: u64, bug: Option<Bug>) -> Self {
        Self {
            queue: queue(count, 10_000, 7),
            bug,
            liar: lease(1),
            count,
            secret,
            closed: BTreeSet::new(),
            running: BTreeMap::new(),
            kept: BTreeMap::new(),
            ended: false,
        }
    }

    /// What that lease makes of a part.
    fn digest(&self, by: LeaseId, part: PartIndex) -> BlobHash {
        let honest = BlobHash([u8::try_from(part.0).unwrap(); 32]);
        let lies = match self.bug {
            Some(Bug::ComparesNothing) => false,
            // All but one tell the same lie.
            Some(Bug::BlamesTheChecker) => by != lease(10),
            Some(Bug::KeepsWhatIsDiscarded | Bug::HearsTheOutvoted) | None => by == self.liar,
        };
        if lies { BlobHash([0xff; 32]) } else { honest }
    }

    fn step(&mut self, step: Step) -> Checked {
        match step {
            Step::Ready(number) => self.tell(PartEvent::LeaseReady {
                lease: lease(number),
                slots: SLOTS,
            }),
            Step::Lost(number) => self.tell(PartEvent::LeaseLost { lease: lease(number) }),
            Step::Closed(number) => {
                self.close(lease(number));
                self.tell(PartEvent::LeaseClosed { lease: lease(number) })
            }
            Step::Ends(number, pick, fault) => {
                let here = self.running.iter().filter(|((at, _), _)| *at == lease(number));
                let here: Vec<_> = here.map(|((_, part), attempt)| (*part, *attempt)).collect();
                let Some((part, attempt)) = here.get(pick % here.len().max(1)).copied() else {
                    return Ok(());
                };
                self.running.remove(&(lease(number), part));
                self.end(lease(number), (part, attempt), fault)
            }
            Step::Restarted => {
                let text = serde_json::to_string(&self.queue).unwrap();
                self.queue = serde_json::from_str(&text).unwrap();
                self.tell(PartEvent::Restarted)
            }
        }
    }

    fn end(&mut self, lease: LeaseId, (part, attempt): (PartIndex, u32), fault: Option<PartFault>) -> Checked {
        let digest = self.digest(lease, part);
        self.tell(match fault {
            None => PartEvent::Finished {
                lease,
                part,
                attempt,
                digest,
            },
            Some(fault) => PartEvent::Failed {
                lease,
                part,
                attempt,
                fault,
            },
        })
    }

    fn close(&mut self, lease: LeaseId) {
        self.closed.insert(lease);
        self.running.retain(|(at, _), _| *at != lease);
    }

    fn tell(&mut self, event: PartEvent) -> Checked {
        let effects = self.queue.handle(event);
        let effects = effects.map_err(|error| (Invariant::OneResultForEachPart, error.to_string()))?;
        if event != PartEvent::Restarted {
            let mut again = self.queue.clone();
            let quiet = again.handle(event).is_ok_and(|effects| effects.is_empty());
            if !quiet || again != self.queue {
                return Err((Invariant::ReplayChangesNothing, format!("{event:?}")));
            }
        }
        effects.into_iter().try_for_each(|effect| self.perform(effect))
    }

    fn perform(&mut self, effect: PartEffect) -> Checked {
        match effect {
            PartEffect::Assign { lease, part, attempt } => {
                if self.kept.get(&part) == Some(&lease) {
                    return Err((Invariant::NobodyChecksItself, format!("{part} on {}", lease.short())));
                }
                self.running.insert((lease, part), attempt);
            }
            PartEffect::Cancel { lease, part, .. } => {
                self.running.remove(&(lease, part));
            }
            PartEffect::Keep { lease, part, .. } => {
                if self.kept.insert(part, lease).is_some() {
                    return Err((Invariant::OneResultForEachPart, part.to_string()));
                }
            }
            PartEffect::Discard { lease, part, .. } => {
                let kept = self.bug == Some(Bug::KeepsWhatIsDiscarded);
                let was = if kept {
                    self.kept.get(&part).copied()
                } else {
                    self.kept.remove(&part)
                };
                if was != Some(lease) {
                    return Err((
                        Invariant::OneResultForEachPart,
                        format!("{part} was not {}", lease.short()),
                    ));
                }
            }
            PartEffect::Outvoted { lease } => {
                if lease != self.liar {
                    return Err((Invariant::OnlyLiarsAreOutvoted, lease.short()));
                }
                self.close(lease);
                if self.bug == Some(Bug::HearsTheOutvoted) {
                    self.queue.checks.as_mut().unwrap().outvoted.clear();
                }
            }
            PartEffect::Draw => return self.tell(PartEvent::Drawn { secret: self.secret }),
            PartEffect::Release { lease } | PartEffect::Drop { lease } => self.close(lease),
            PartEffect::Finish(_) => self.ended = true,
            PartEffect::GiveUp { .. } | PartEffect::Starved => {}
        }
        Ok(())
    }

    /// Honest leases end every job.
    fn finish(&mut self) -> Checked {
        for number in LATE {
            self.step(Step::Ready(number))?;
        }
        for number in 0..EARLY {
            self.step(Step::Ready(number))?;
        }
        for _ in 0..self.count * 16 {
            for number in (0..EARLY).chain(LATE) {
                self.step(Step::Ends(number, 0, None))?;
            }
        }
        if !self.ended {
            return Err((Invariant::JobsEnd, format!("{:?}", self.queue.checks())));
        }
        let lies = self.kept.iter().find(|(_, by)| **by == self.liar);
        lies.map_or(Ok(()), |(part, _)| Err((Invariant::NoLieStays, part.to_string())))
    }
}

fn run(count: u32, secret: u64, steps: &[Step], bug: Option<Bug>) -> Checked {
    let mut world = World::new(count, secret, bug);
    steps.iter().try_for_each(|step| world.step(*step))?;
    world.finish()
}

fn any_step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![6 => Just(None), 1 => Just(Some(PartFault::Error)), 1 => Just(Some(PartFault::Provider))];
    prop_oneof![
        4 => (0..EARLY).prop_map(Step::Ready),
        1 => (0..EARLY).prop_map(Step::Lost),
        1 => (0..EARLY).prop_map(Step::Closed),
        10 => (0..EARLY, 0usize..4, fault).prop_map(|(lease, pick, fault)| Step::Ends(lease, pick, fault)),
        1 => Just(Step::Restarted),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_liar_among_honest_nodes_is_found_whatever_happens(
        count in 1u32..8, secret: u64, steps in prop::collection::vec(any_step(), 0..80),
    ) {
        if let Err((invariant, detail)) = run(count, secret, &steps, None) {
            return Err(TestCaseError::fail(format!("{invariant:?}: {detail}")));
        }
    }
}

#[test]
fn each_planted_bug_breaks_its_invariant() {
    use Invariant as I;
    // The liar has a result, and a second one on its way when it is outvoted.
    let ends = |number| Step::Ends(number, 0, None);
    let lying = vec![Step::Ready(1), ends(1), ends(1), ends(1), ends(1)];
    let planted = [
        (Bug::ComparesNothing, I::NoLieStays),
        (Bug::BlamesTheChecker, I::OnlyLiarsAreOutvoted),
        (Bug::KeepsWhatIsDiscarded, I::OneResultForEachPart),
    ];
    for (bug, invariant) in planted {
        run(4, 7, &lying, None).unwrap();
        let Err((broken, detail)) = run(4, 7, &lying, Some(bug)) else {
            panic!("{bug:?} was not noticed")
        };
        assert_eq!(broken, invariant, "{bug:?}: {detail}");
    }
}

#[test]
fn nothing_of_an_outvoted_lease_counts_whenever_it_comes() {
    for (bug, noticed) in [(None, false), (Some(Bug::HearsTheOutvoted), true)] {
        let mut world = World::new(2, 7, bug);
        world.step(Step::Ready(1)).unwrap();
        world.step(Step::Lost(1)).unwrap();
        let told = (PartIndex(0), 0);
        world.end(world.liar, told, None).unwrap();
        for number in LATE {
            world.step(Step::Ready(number)).unwrap();
        }
        for number in LATE.into_iter().chain(LATE).chain(LATE) {
            world.step(Step::Ends(number, 0, None)).unwrap();
            if world.closed.contains(&world.liar) {
                break;
            }
        }
        assert!(world.closed.contains(&world.liar));
        assert_ne!(world.kept.get(&told.0), Some(&world.liar));
        // It tells again what was thrown away.
        world.end(world.liar, told, None).unwrap();
        let believed = world.kept.get(&told.0) == Some(&world.liar);
        assert_eq!(believed, noticed, "{bug:?}");
    }
}

/// All parts done by two leases, the first half by the one.
fn done(parts: u32, sample: u16) -> PartQueue {
    let mut queue = queue(parts, sample, 2);
    for number in [1, 2] {
        let lease = lease(number);
        queue
            .handle(PartEvent::LeaseReady {
                lease,
                slots: parts / 2,
            })
            .unwrap();
    }
    for number in [1, 2] {
        let here: Vec<_> = queue.running_on(&lease(number)).collect();
        for (part, attempt) in here {
            let digest = BlobHash([7; 32]);
            let lease = lease(number);
            let finished = PartEvent::Finished {
                lease,
                part,
                attempt,
                digest,
            };
            let effects = queue.handle(finished).unwrap();
            let last = queue.summary().done == parts;
            assert_eq!(effects.contains(&PartEffect::Draw), last, "{effects:?}");
        }
    }
    queue
}

fn drawn(queue: &mut PartQueue, secret: u64) -> Vec<(LeaseId, PartIndex)> {
    let effects = queue.handle(PartEvent::Drawn { secret }).unwrap();
    let assigned = effects.into_iter().filter_map(|effect| {
        if let PartEffect::Assign { lease, part, .. } = effect {
            Some((lease, part))
        } else {
            None
        }
    });
    assigned.collect()
}

#[test]
fn the_sample_is_drawn_when_all_is_done_and_holds_some_of_each_lease() {
    let mut seen = BTreeSet::new();
    for secret in 0..40 {
        let mut queue = done(40, 500);
        assert!(!queue.is_finished(), "a check is missing");
        let checks = drawn(&mut queue, secret);
        assert_eq!(checks.len(), 2, "5 % of twenty, of each");
        assert_eq!(queue.checks().unwrap().drawn, 2);
        seen.extend(checks.into_iter().map(|(_, part)| part));
    }
    assert!(seen.len() > 30, "any part may be drawn: {seen:?}");
}

#[test]
fn the_secret_alone_decides_and_a_second_one_changes_nothing() {
    let (mut one, mut other) = (done(40, 1_000), done(40, 1_000));
    assert_eq!(drawn(&mut one, 5), drawn(&mut other, 5));
    assert_eq!(drawn(&mut one, 6), []);
    assert_eq!(one, other);
}

fn check(queue: &mut PartQueue, number: u8, digest: u8) -> Vec<PartEffect> {
    let lease = lease(number);
    let (part, attempt) = queue.running_on(&lease).next().unwrap();
    let digest = BlobHash([digest; 32]);
    let finished = PartEvent::Finished {
        lease,
        part,
        attempt,
        digest,
    };
    queue.handle(finished).unwrap()
}

#[test]
fn equal_results_end_the_job_well() {
    let mut queue = done(2, 10_000);
    assert_eq!(drawn(&mut queue, 1).len(), 2);
    check(&mut queue, 1, 7);
    let effects = check(&mut queue, 2, 7);
    assert!(effects.iter().any(|effect| matches!(effect, PartEffect::Finish(_))));
    let summary = queue.checks().unwrap();
    assert_eq!((summary.drawn, summary.agreed), (2, 2));
}

#[test]
fn two_nodes_that_differ_and_no_third_leave_a_doubt_and_blame_nobody() {
    let mut queue = done(2, 10_000);
    drawn(&mut queue, 1);
    check(&mut queue, 1, 8);
    let effects = check(&mut queue, 2, 9);
    assert!(effects.iter().any(|effect| matches!(effect, PartEffect::Finish(_))));
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, PartEffect::Outvoted { .. }))
    );
    assert_eq!(queue.doubtful().collect::<Vec<_>>(), [PartIndex(0), PartIndex(1)]);
}

#[test]
fn a_result_that_nobody_is_left_to_check_is_counted_as_such() {
    let mut queue = done(2, 10_000);
    queue.handle(PartEvent::LeaseClosed { lease: lease(2) }).unwrap();
    drawn_none(&mut queue);
    let summary = queue.checks().unwrap();
    // The other lease can do again what the closed one did.
    assert_eq!((summary.drawn, summary.not_made), (2, 1));
}

fn drawn_none(queue: &mut PartQueue) {
    let effects = queue.handle(PartEvent::Drawn { secret: 1 }).unwrap();
    let assigned = effects
        .iter()
        .filter(|effect| matches!(effect, PartEffect::Assign { .. }));
    assert_eq!(assigned.count(), 1, "{effects:?}");
}

#[test]
fn another_owners_node_checks_where_there_is_one() {
    for (owner, checker) in [(1, 3), (9, 2)] {
        let owners = [(lease(1), 1), (lease(2), owner), (lease(3), 3)];
        let mut queue = queue(1, 10_000, 3);
        queue.checks.as_mut().unwrap().owners = owners
            .into_iter()
            .map(|(lease, owner)| (lease, Address::repeat_byte(owner)))
            .collect();
        for number in [1, 2, 3] {
            let lease = lease(number);
            queue.handle(PartEvent::LeaseReady { lease, slots: 1 }).unwrap();
        }
        check(&mut queue, 1, 7);
        assert_eq!(drawn(&mut queue, 1), [(lease(checker), PartIndex(0))]);
    }
}

#[test]
fn a_job_without_checks_is_asked_for_no_secret() {
    let mut queue = queue(1, 10_000, 1);
    queue.checks = None;
    queue
        .handle(PartEvent::LeaseReady {
            lease: lease(1),
            slots: 1,
        })
        .unwrap();
    let effects = check(&mut queue, 1, 7);
    let summary = PartsSummary {
        done: 1,
        ..PartsSummary::default()
    };
    assert!(effects.contains(&PartEffect::Finish(summary)), "{effects:?}");
}

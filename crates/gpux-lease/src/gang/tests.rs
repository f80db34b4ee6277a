//! The gang against nodes that follow the rules of a provider, on a wire that loses order, repeats, and drops what goes to a node
//! that is not heard. What runs where is the world's own ledger; the gang is known by its effects alone.
//!
//! One number makes one world; a world that breaks prints it.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// What must hold whatever happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Invariant {
    /// No rank starts before every rank of its attempt stood.
    AllStandBeforeAnyStarts,
    /// A gang that says that it never went has run nowhere: nobody is billed for it.
    UnstartedGangsAreFree,
    /// No two attempts run at the same time.
    OneAttemptRuns,
    /// A try of a rank starts once.
    TriesStartOnce,
    /// The rank that is blamed is the one that failed first in the last attempt.
    FirstFailureDecides,
    /// A rank has one result in each attempt.
    OneResultForEachTry,
    /// News that is heard again changes nothing.
    ReplayChangesNothing,
    /// An end stays what it is.
    EndsStay,
    /// Once nothing troubles it, every gang ends, and nothing of it runs or stands then.
    GangsEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    /// A node says that its rank stands before it does.
    StandsTooEarly,
    /// A node does not wait for the word to go.
    StartsAtOnce,
    /// A node makes a container while the one before still runs.
    StandsBesideTheOld,
    /// A node starts a try again when it is told again.
    StartsAgain,
    /// The daemon forgets to tell a rank to go.
    ForgetsAGo,
    /// The daemon does what the gang asks for before that is on the disk, and dies.
    ActsBeforeTheJournal,
    /// The daemon does not tell of a lease that ended.
    IgnoresClosedLeases,
    /// The daemon takes one rank's failure for its neighbour's.
    BlamesAnother,
    /// The daemon keeps a result again when it is told again.
    KeepsTwice,
    /// The daemon never looks at the clock.
    NeverTicks,
}

const BUGS: [(Bug, &[Invariant]); 10] = [
    (Bug::StandsTooEarly, &[Invariant::AllStandBeforeAnyStarts]),
    (
        Bug::StartsAtOnce,
        &[Invariant::AllStandBeforeAnyStarts, Invariant::OneAttemptRuns],
    ),
    (Bug::StandsBesideTheOld, &[Invariant::OneAttemptRuns]),
    (Bug::StartsAgain, &[Invariant::TriesStartOnce]),
    (Bug::ForgetsAGo, &[Invariant::GangsEnd]),
    (Bug::ActsBeforeTheJournal, &[Invariant::UnstartedGangsAreFree]),
    (Bug::IgnoresClosedLeases, &[Invariant::GangsEnd]),
    (Bug::BlamesAnother, &[Invariant::FirstFailureDecides]),
    (Bug::KeepsTwice, &[Invariant::OneResultForEachTry]),
    (Bug::NeverTicks, &[Invariant::GangsEnd]),
];

type Checked = Result<(), (Invariant, String)>;

/// SplitMix64: one number, one world.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Queued,
    Standing,
    Running,
    Over,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    stage: Stage,
    go: bool,
    cancelled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    NotYet,
    Yes,
    No,
}

/// A provider's node with the lease of one rank.
struct Node {
    heard: Heard,
    closed: bool,
    /// By attempt.
    parts: BTreeMap<u32, Part>,
    reports: Vec<GangEvent>,
    /// Whether it says that its container stands, without ever making one.
    stuck: bool,
}

#[derive(Debug, Clone, Copy)]
enum Message {
    Stand(RankKey),
    Go(RankKey),
    Cancel(RankKey),
    Stop(LeaseId),
}

struct World {
    gang: Gang,
    /// As the disk has it.
    journal: Gang,
    bug: Option<Bug>,
    dice: Dice,
    now: Millis,
    nodes: Vec<Node>,
    wire: Vec<Message>,
    stood: BTreeSet<(u32, PartIndex)>,
    started: BTreeSet<(u32, PartIndex)>,
    kept: BTreeSet<(u32, PartIndex)>,
    /// The first failure of each attempt that was told to the gang.
    first: BTreeMap<u32, PartIndex>,
    end: Option<GangEnd>,
}

const LIMIT: Millis = Millis::from_secs(600);

fn lease(rank: usize) -> LeaseId {
    LeaseId([u8::try_from(rank).unwrap() + 1; 32])
}

fn index(rank: PartIndex) -> usize {
    usize::try_from(rank.0).unwrap()
}

impl World {
    fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut dice = Dice(seed);
        let count = 2 + dice.below(3);
        let policy = GangPolicy {
            provider_fault_retries: u32::try_from(dice.below(3)).unwrap(),
            error_retries: u32::try_from(dice.below(3)).unwrap(),
            gather_limit: LIMIT,
        };
        let gang = Gang::new(policy, (0..count).map(lease));
        let nodes = (0..count).map(|_| Node {
            heard: Heard::NotYet,
            closed: false,
            parts: BTreeMap::new(),
            reports: Vec::new(),
            stuck: dice.one_in(40),
        });
        let nodes = nodes.collect();
        Self {
            journal: gang.clone(),
            gang,
            bug,
            dice,
            now: Millis::ZERO,
            nodes,
            wire: Vec::new(),
            stood: BTreeSet::new(),
            started: BTreeSet::new(),
            kept: BTreeSet::new(),
            first: BTreeMap::new(),
            end: None,
        }
    }

    fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Anything that can happen.
    fn step(&mut self) -> Checked {
        let node = self.dice.below(self.count());
        match self.dice.below(100) {
            0..=34 => self.deliver(),
            35..=54 => self.report(node),
            55..=74 => self.work(node),
            75..=84 => self.ready(node),
            85..=88 => self.lose(node),
            89 => self.close(node),
            90..=93 => self.restart(),
            94..=96 => self.end_one(node),
            _ => {
                let secs = 1 + self.dice.roll() % 60;
                self.pass(Millis::from_secs(secs))
            }
        }
    }

    fn ready(&mut self, node: usize) -> Checked {
        if self.nodes[node].closed {
            return Ok(());
        }
        self.nodes[node].heard = Heard::Yes;
        self.tell(GangEvent::LeaseReady { lease: lease(node) })
    }

    fn lose(&mut self, node: usize) -> Checked {
        if self.nodes[node].heard != Heard::Yes {
            return Ok(());
        }
        self.nodes[node].heard = Heard::No;
        self.tell(GangEvent::LeaseLost { lease: lease(node) })
    }

    fn close(&mut self, node: usize) -> Checked {
        if self.dice.one_in(2) {
            return Ok(());
        }
        self.stop(node);
        if self.bug == Some(Bug::IgnoresClosedLeases) {
            return Ok(());
        }
        self.tell(GangEvent::LeaseClosed { lease: lease(node) })
    }

    /// Everything of a lease goes with it.
    fn stop(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.closed = true;
        node.parts.values_mut().for_each(|part| part.stage = Stage::Over);
        node.reports.clear();
    }

    fn pass(&mut self, time: Millis) -> Checked {
        self.now = self.now.saturating_add(time);
        if self.gang.is_late(self.now) && self.bug != Some(Bug::NeverTicks) {
            return self.tell(GangEvent::Ticked);
        }
        Ok(())
    }

    fn restart(&mut self) -> Checked {
        let text = serde_json::to_string(&self.journal).unwrap();
        self.gang = serde_json::from_str(&text).unwrap();
        assert_eq!(self.gang, self.journal, "the journal reads back what was written");
        // The clock starts anew with the daemon.
        self.now = Millis::from_secs(self.dice.roll() % 10);
        self.tell(GangEvent::Restarted)
    }

    fn deliver(&mut self) -> Checked {
        if self.wire.is_empty() {
            return Ok(());
        }
        let at = self.dice.below(self.wire.len());
        let message = if self.dice.one_in(4) {
            self.wire[at]
        } else {
            self.wire.swap_remove(at)
        };
        let (Message::Stand(RankKey { lease: to, .. })
        | Message::Go(RankKey { lease: to, .. })
        | Message::Cancel(RankKey { lease: to, .. })
        | Message::Stop(to)) = message;
        let number = (0..self.count()).find(|node| lease(*node) == to).unwrap();
        if let Message::Stop(_) = message {
            self.stop(number);
            return Ok(());
        }
        let node = &mut self.nodes[number];
        if node.closed || node.heard != Heard::Yes {
            return Ok(());
        }
        let new = |cancelled| Part {
            stage: if cancelled { Stage::Over } else { Stage::Queued },
            go: false,
            cancelled,
        };
        match message {
            Message::Stand(key) => {
                node.parts.entry(key.attempt).or_insert(new(false));
                if self.bug == Some(Bug::StandsTooEarly) {
                    node.reports.push(GangEvent::Stood(key));
                }
            }
            Message::Cancel(key) => node.parts.entry(key.attempt).or_insert(new(true)).cancelled = true,
            Message::Go(key) => match node.parts.get_mut(&key.attempt) {
                Some(part) if part.stage == Stage::Over && self.bug == Some(Bug::StartsAgain) => {
                    (part.stage, part.go) = (Stage::Standing, true);
                }
                Some(part) => part.go = true,
                None => node.reports.push(GangEvent::Failed {
                    key,
                    fault: PartFault::Provider,
                    exit_code: None,
                }),
            },
            Message::Stop(_) => {}
        }
        Ok(())
    }

    /// What a provider does by itself with what it was given.
    fn work(&mut self, number: usize) -> Checked {
        let bug = self.bug;
        let node = &mut self.nodes[number];
        if node.closed || node.stuck {
            return Ok(());
        }
        let busy = node
            .parts
            .values()
            .any(|part| matches!(part.stage, Stage::Standing | Stage::Running));
        let free = !busy || bug == Some(Bug::StandsBesideTheOld);
        for (attempt, part) in &mut node.parts {
            let rank = PartIndex(u32::try_from(number).unwrap());
            let key = RankKey {
                lease: lease(number),
                rank,
                attempt: *attempt,
            };
            match part.stage {
                Stage::Queued | Stage::Standing | Stage::Running if part.cancelled => part.stage = Stage::Over,
                Stage::Queued if free => {
                    part.stage = Stage::Standing;
                    self.stood.insert((key.attempt, rank));
                    node.reports.push(GangEvent::Stood(key));
                }
                Stage::Standing if part.go || bug == Some(Bug::StartsAtOnce) => {
                    part.stage = Stage::Running;
                    return self.started(key);
                }
                Stage::Queued | Stage::Standing | Stage::Running | Stage::Over => continue,
            }
            return Ok(());
        }
        Ok(())
    }

    fn started(&mut self, key: RankKey) -> Checked {
        let all = (0..self.count()).all(|rank| {
            let rank = PartIndex(u32::try_from(rank).unwrap());
            self.stood.contains(&(key.attempt, rank))
        });
        if !all {
            return Err((Invariant::AllStandBeforeAnyStarts, format!("{key:?}")));
        }
        let other = self.nodes.iter().flat_map(|node| &node.parts);
        let mut other = other.filter(|(attempt, part)| part.stage == Stage::Running && **attempt != key.attempt);
        if let Some((attempt, _)) = other.next() {
            return Err((Invariant::OneAttemptRuns, format!("{key:?} beside attempt {attempt}")));
        }
        if !self.started.insert((key.attempt, key.rank)) {
            return Err((Invariant::TriesStartOnce, format!("{key:?}")));
        }
        Ok(())
    }

    /// Something of a node ends: a program well or badly, or a container that stands and dies.
    fn end_one(&mut self, number: usize) -> Checked {
        let how = self.dice.below(5);
        self.end_as(number, how)
    }

    fn end_as(&mut self, number: usize, how: usize) -> Checked {
        let node = &mut self.nodes[number];
        let alive = node.parts.iter_mut().map(|(attempt, part)| (*attempt, part));
        let Some((attempt, part)) = alive
            .filter(|(_, part)| matches!(part.stage, Stage::Standing | Stage::Running))
            .last()
        else {
            return Ok(());
        };
        let key = RankKey {
            lease: lease(number),
            rank: PartIndex(u32::try_from(number).unwrap()),
            attempt,
        };
        let ran = part.stage == Stage::Running;
        part.stage = Stage::Over;
        if part.cancelled {
            return Ok(());
        }
        node.reports.push(match how {
            0..=2 if ran => GangEvent::Finished(key),
            3 if ran => GangEvent::Failed {
                key,
                fault: PartFault::Error,
                exit_code: Some(3),
            },
            _ => GangEvent::Failed {
                key,
                fault: PartFault::Provider,
                exit_code: None,
            },
        });
        Ok(())
    }

    fn report(&mut self, number: usize) -> Checked {
        let node = &mut self.nodes[number];
        if node.heard != Heard::Yes || node.reports.is_empty() {
            return Ok(());
        }
        let at = self.dice.below(node.reports.len());
        let event = if self.dice.one_in(4) {
            node.reports[at]
        } else {
            node.reports.remove(at)
        };
        if let GangEvent::Failed { key, .. } = event {
            let awaited = self.gang.ranks().any(|seen| seen.key == key && is_alive(seen.state));
            if awaited {
                self.first.entry(key.attempt).or_insert(key.rank);
            }
        }
        if let GangEvent::Failed {
            mut key,
            fault,
            exit_code,
        } = event
            && self.bug == Some(Bug::BlamesAnother)
        {
            let other = (index(key.rank) + 1) % self.count();
            (key.rank, key.lease) = (PartIndex(u32::try_from(other).unwrap()), lease(other));
            return self.tell(GangEvent::Failed { key, fault, exit_code });
        }
        self.tell(event)
    }

    /// Gives the gang an event; checks what it answers, writes it down, and does what it asks for.
    fn tell(&mut self, event: GangEvent) -> Checked {
        let known = self.gang.handle(self.now, event);
        let mut effects = known.map_err(|error| (Invariant::ReplayChangesNothing, error.to_string()))?;
        self.check_replay(event)?;
        if let (Some(Bug::KeepsTwice), GangEvent::Finished(key)) = (self.bug, event) {
            effects.push(GangEffect::Keep(key));
        }
        if self.bug == Some(Bug::ForgetsAGo) && self.dice.one_in(2) {
            effects.retain(|effect| !matches!(effect, GangEffect::Go(_)));
        }
        if self.bug != Some(Bug::ActsBeforeTheJournal)
            || !effects.iter().any(|effect| matches!(effect, GangEffect::Go(_)))
        {
            self.journal = self.gang.clone();
        }
        self.check_end()?;
        let restarted = event == GangEvent::Restarted;
        effects
            .into_iter()
            .try_for_each(|effect| self.perform(effect, restarted))
    }

    fn check_replay(&self, event: GangEvent) -> Checked {
        // These two ask again for what was asked for.
        if let GangEvent::Restarted | GangEvent::LeaseReady { .. } = event {
            return Ok(());
        }
        let mut again = self.gang.clone();
        let quiet = again.handle(self.now, event).is_ok_and(|effects| effects.is_empty());
        if quiet && again == self.gang {
            Ok(())
        } else {
            Err((Invariant::ReplayChangesNothing, format!("{event:?}")))
        }
    }

    fn perform(&mut self, effect: GangEffect, restarted: bool) -> Checked {
        match effect {
            GangEffect::Stand(key) => self.wire.push(Message::Stand(key)),
            GangEffect::Go(key) => self.wire.push(Message::Go(key)),
            GangEffect::Cancel(key) => self.wire.push(Message::Cancel(key)),
            GangEffect::Keep(key) => {
                if !self.kept.insert((key.attempt, key.rank)) {
                    return Err((Invariant::OneResultForEachTry, format!("{key:?}")));
                }
            }
            GangEffect::Release { lease } => self.wire.push(Message::Stop(lease)),
            GangEffect::Fail { failure, .. } => {
                if let GangFailure::Rank { rank, .. } = failure
                    && !restarted
                    && self.first.values().last() != Some(&rank)
                {
                    return Err((Invariant::FirstFailureDecides, format!("{rank}, not {:?}", self.first)));
                }
                self.wire
                    .extend((0..self.count()).map(|rank| Message::Stop(lease(rank))));
            }
            GangEffect::Finish => {}
        }
        Ok(())
    }

    fn check_end(&mut self) -> Checked {
        let end = self.gang.end();
        if self.end.is_some() && end != self.end {
            return Err((Invariant::EndsStay, format!("{:?}, then {end:?}", self.end)));
        }
        self.end = end;
        match end {
            Some(GangEnd::Failed { went: false, .. }) if !self.started.is_empty() => {
                Err((Invariant::UnstartedGangsAreFree, format!("{:?} ran", self.started)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Nothing troubles the world any more: every node is heard, everything arrives, every program ends well.
    fn finish(&mut self) -> Checked {
        for _ in 0..60 {
            for node in 0..self.count() {
                if self.nodes[node].heard != Heard::Yes {
                    self.ready(node)?;
                }
                self.work(node)?;
                self.end_runner(node)?;
                while !self.nodes[node].reports.is_empty() {
                    self.report(node)?;
                }
            }
            while !self.wire.is_empty() {
                self.deliver()?;
            }
            self.pass(Millis::from_secs(60))?;
        }
        let alive = self.nodes.iter().flat_map(|node| node.parts.values());
        let alive = alive
            .filter(|part| matches!(part.stage, Stage::Standing | Stage::Running))
            .count();
        match self.gang.end() {
            Some(_) if alive == 0 => Ok(()),
            end => Err((Invariant::GangsEnd, format!("{end:?}, {alive} alive, {:?}", self.gang))),
        }
    }

    fn end_runner(&mut self, node: usize) -> Checked {
        let runs = self.nodes[node].parts.values().any(|part| part.stage == Stage::Running);
        if runs { self.end_as(node, 0) } else { Ok(()) }
    }
}

fn run(seed: u64, bug: Option<Bug>) -> Result<World, (Invariant, String)> {
    let mut world = World::new(seed, bug);
    let steps = 20 + world.dice.below(200);
    for _ in 0..steps {
        world.step()?;
    }
    world.finish()?;
    Ok(world)
}

#[test]
fn gangs_keep_their_promises_over_ten_thousand_worlds() {
    let (mut done, mut went, mut free, mut again) = (0, 0, 0, 0);
    for seed in 0..10_000 {
        let world = run(seed, None).unwrap_or_else(|(invariant, what)| panic!("seed {seed}: {invariant:?}: {what}"));
        match world.gang.end() {
            Some(GangEnd::Done) => done += 1,
            Some(GangEnd::Failed { went: true, .. }) => went += 1,
            Some(GangEnd::Failed { went: false, .. }) => free += 1,
            Some(GangEnd::Stopped) | None => {}
        }
        again += u32::from(world.gang.attempt > 0);
    }
    // Worlds that never get there would show nothing.
    assert!(
        done > 1_000 && went > 1_000 && free > 1_000 && again > 1_000,
        "{done} {went} {free} {again}"
    );
}

#[test]
fn each_planted_bug_breaks_the_promise_that_it_is_about() {
    for (bug, wanted) in BUGS {
        let broken = (0..20_000).find_map(|seed| run(seed, Some(bug)).err());
        let (invariant, what) = broken.unwrap_or_else(|| panic!("{bug:?} was not noticed"));
        assert!(wanted.contains(&invariant), "{bug:?} breaks {invariant:?}: {what}");
    }
}

/// A gang of three, and the try of each rank in its newest attempt.
fn three(provider_fault_retries: u32) -> (Gang, impl Fn(u32, u32) -> RankKey) {
    let policy = GangPolicy {
        provider_fault_retries,
        error_retries: 0,
        gather_limit: LIMIT,
    };
    let key = |rank: u32, attempt| RankKey {
        lease: lease(usize::try_from(rank).unwrap()),
        rank: PartIndex(rank),
        attempt,
    };
    (Gang::new(policy, (0..3).map(lease)), key)
}

fn tell(gang: &mut Gang, event: GangEvent) -> Vec<GangEffect> {
    gang.handle(Millis::ZERO, event).unwrap()
}

#[test]
fn a_node_that_is_not_heard_is_waited_for_before_anybody_goes() {
    let (mut gang, key) = three(0);
    for rank in 0..3 {
        tell(&mut gang, GangEvent::LeaseReady { lease: lease(rank) });
    }
    tell(&mut gang, GangEvent::Stood(key(0, 0)));
    tell(&mut gang, GangEvent::Stood(key(1, 0)));
    tell(&mut gang, GangEvent::LeaseLost { lease: lease(0) });
    assert_eq!(tell(&mut gang, GangEvent::Stood(key(2, 0))), []);
    assert!(!gang.went(), "no node can have worked");
    let effects = tell(&mut gang, GangEvent::LeaseReady { lease: lease(0) });
    let go = [0, 1, 2].map(|rank| GangEffect::Go(key(rank, 0)));
    assert_eq!(effects[1..], go, "after it was asked once more whether it stands");
    assert!(gang.went());
}

#[test]
fn a_lease_that_ends_before_the_start_ends_the_gang_for_which_nobody_worked() {
    let (mut gang, key) = three(5);
    tell(&mut gang, GangEvent::LeaseReady { lease: lease(0) });
    tell(&mut gang, GangEvent::Stood(key(0, 0)));
    let rank = PartIndex(2);
    let effects = tell(&mut gang, GangEvent::LeaseClosed { lease: lease(2) });
    let failure = GangFailure::LeaseEnded { rank };
    assert_eq!(effects, [GangEffect::Fail { failure, went: false }]);
    let states: Vec<RankState> = gang.ranks().map(|seen| seen.state).collect();
    assert_eq!(states, [RankState::Stopped, RankState::Stopped, RankState::Failed]);
}

#[test]
fn after_a_nodes_fault_all_ranks_are_tried_again_under_the_next_attempt() {
    let (mut gang, key) = three(1);
    for rank in 0..3 {
        tell(&mut gang, GangEvent::LeaseReady { lease: lease(rank) });
    }
    for rank in 0..3 {
        tell(&mut gang, GangEvent::Stood(key(rank, 0)));
    }
    let fails = |attempt| GangEvent::Failed {
        key: key(1, attempt),
        fault: PartFault::Provider,
        exit_code: None,
    };
    let effects = tell(&mut gang, fails(0));
    let cancels = [0, 1, 2].map(|rank| GangEffect::Cancel(key(rank, 0)));
    let stands = [0, 1, 2].map(|rank| GangEffect::Stand(key(rank, 1)));
    assert_eq!(effects[..3], cancels);
    assert_eq!(effects[3..], stands);
    assert_eq!(tell(&mut gang, fails(0)), [], "told again");
    assert!(matches!(
        tell(&mut gang, fails(1))[..],
        [GangEffect::Fail { went: true, .. }]
    ));
    assert!(
        gang.handle(Millis::ZERO, fails(2)).is_err(),
        "an attempt that never was"
    );
}

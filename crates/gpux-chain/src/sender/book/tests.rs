//! Facts about the book, and random histories of a wallet: what is refused, mined, taken back, lost and cut off, in any
//! order, against a simulated chain. The book is the real one; of the chain there is only what concerns one wallet.

mod cases;
mod world;

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use world::{Bug, Lie, Publish, Step, World};

fn publish() -> impl Strategy<Value = Publish> {
    prop_oneof![
        6 => Just(Publish::Accepted),
        1 => Just(Publish::NoAnswer { arrived: false }),
        1 => Just(Publish::NoAnswer { arrived: true }),
        2 => Just(Publish::Refused { kept: false }),
        1 => Just(Publish::Refused { kept: true }),
        1 => Just(Publish::NotJournaled { kept: false }),
        1 => Just(Publish::NotJournaled { kept: true }),
    ]
}

fn honest_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5_u8).prop_map(Step::Send),
        12 => (any::<u8>(), publish(), any::<u8>()).prop_map(|(which, publish, lag)| Step::Run { which, publish, lag }),
        3 => Just(Step::Poll),
        3 => (0..4_u8, any::<u8>()).prop_map(|(transactions, choice)| Step::Block { transactions, choice }),
        1 => Just(Step::OutsideTransaction),
        1 => Just(Step::Reorganisation),
        2 => Just(Step::Finalize),
        3 => (1..200_u16).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let lie = prop_oneof![
        Just(Lie::Gas),
        Just(Lie::Receipts),
        Just(Lie::Counts(40)),
        Just(Lie::Counts(1_000_000))
    ];
    prop_oneof![
        31 => honest_step(),
        1 => lie.prop_map(|lie| Step::Lie(Some(lie))),
        2 => Just(Step::Lie(None)),
    ]
}

fn run(steps: &[Step], bug: Option<Bug>) -> Result<(), TestCaseError> {
    let mut world = World::new(bug);
    for step in steps {
        world.step(step);
        world.check().map_err(TestCaseError::fail)?;
    }
    world.come_to_rest();
    world.check().map_err(TestCaseError::fail)?;
    world.check_rest().map_err(TestCaseError::fail)?;
    if bug.is_some_and(|bug| !bug.is_about_lies()) {
        return Ok(());
    }
    world.check_that_it_goes_on().map_err(TestCaseError::fail)?;
    world.check().map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(Config { cases: 300, ..Config::default() })]

    /// `OnceAtMost`: no two transactions of one intent take effect. `FailedStaysUndone`: what was reported as failed does
    /// not take effect, unless the chain node kept what it refused, or the disk what it did not take. `NoGapStays`: once
    /// the chain node behaves, all that was sent gets into blocks, or waits for good reason without holding up others, and
    /// what is sent then does. `FeesWithinLimit`: no offer passes the limit.
    #[test]
    fn no_history_pays_twice_leaves_a_gap_or_passes_the_fee_limit(steps in vec(step(), 1..120)) {
        run(&steps, None)?;
    }
}

/// How the random histories break this invariant when the bug is planted; it may break others as well.
fn found(bug: Bug, invariant: &str) -> String {
    let config = Config {
        cases: 20_000,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let steps = if bug.is_about_lies() {
        step().boxed()
    } else {
        honest_step().boxed()
    };
    let found = runner.run(&vec(steps, 60..120), |steps| match run(&steps, Some(bug)) {
        Err(error) if error.to_string().contains(invariant) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    });
    found.expect_err(&format!("{bug:?} is found")).to_string()
}

#[test]
fn each_planted_bug_breaks_its_invariant() {
    for (bug, invariant) in [
        (Bug::RefusalsAreForgotten, "OnceAtMost"),
        (Bug::FirmCountIsTheNewest, "OnceAtMost"),
        (Bug::RefusalsAreSentAgain, "FailedStaysUndone"),
        (Bug::HolesAreLeft, "NoGapStays"),
        (Bug::NothingIsEstimatedAgain, "NoGapStays"),
        (Bug::FinalsAreNotDoubted, "NoGapStays"),
        (Bug::NothingIsOnceByItself, "NoGapStays"),
        (Bug::LimitIsUnknown, "FeesWithinLimit"),
    ] {
        let found = found(bug, invariant);
        assert!(found.contains(invariant), "{bug:?}: {found}");
    }
}

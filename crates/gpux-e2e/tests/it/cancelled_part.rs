//! What becomes of a part that two nodes have, once one of them has finished it.

use super::{
    job::Job,
    market::Market,
    process::{Process, jobs},
    wait::wait_for,
};
use gpux_api::{JobState, JobView};
use std::time::Duration;

/// A daemon that a test stopped, so that nothing of it hangs when the test fails.
struct Stopped(Process);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.signal("CONT");
    }
}

#[test]
fn the_slower_try_of_a_part_is_ended_and_its_node_goes_on_with_another() {
    const JOB: Job = Job {
        name: "twice",
        nodes: 2,
        parts: 5,
        seconds: 30,
    };
    const MINUTES: Duration = Duration::from_secs(180);
    /// Less than what the slower try still has to do: its shim froze it after at most two intervals.
    const ENDED_WITHIN: Duration = Duration::from_secs(15);

    let market = Market::start(2);
    market.start_job(&JOB);
    let slow = market.daemon("provider-2");
    let work = wait_for("the slow node's part to run", MINUTES, || {
        jobs(&slow.dir).first().copied()
    });
    slow.process.signal("STOP");
    let stopped = Stopped(slow.process);
    wait_for("the shim to freeze the work", MINUTES, || {
        work.is_frozen().then_some(())
    });
    // The other node does its own part, the next one, and then the lost one.
    market.job_when(
        "twice",
        "the other node to do the lost part too",
        MINUTES,
        |job: &JobView| job.parts.done == 3,
    );
    assert!(work.is_frozen(), "the slower try is still there");
    drop(stopped);
    wait_for("the slower try to be ended", ENDED_WITHIN, || {
        (!work.runs()).then_some(())
    });
    let next = wait_for("the slow node to go on", ENDED_WITHIN, || {
        jobs(&slow.dir).into_iter().find(|next| *next != work)
    });
    assert!(next.runs());
    let done = market.job_when("twice", "the end", MINUTES, |job| job.state == JobState::Succeeded);
    assert_eq!(done.parts.done, JOB.parts);
    market.assert_outputs(&JOB);
    assert!(market.cost("twice").balanced);
}

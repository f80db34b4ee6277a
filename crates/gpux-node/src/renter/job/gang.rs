//! The ranks of a gang: made on their nodes, let go together, ended together.
//!
//! What is to be done is the gang's to say (`gpux_lease::Gang`); this file calls the nodes, and tells people why it ended.

use super::{
    JobInput, JobTask,
    calls::{TRIES, call_until},
};
use crate::renter::{pieces::PieceEvent, view};
use gpux_api::{Actor, EndView};
use gpux_lease::{GangEffect, GangFailure, PartFault, RankKey, RenterEvent};
use gpux_proto::{CancelPart, GoPart, Request};

impl JobTask {
    /// Does what the gang asks for; the gang is on the disk as it is now.
    pub(super) fn perform_gang(&mut self, effect: GangEffect) {
        match effect {
            GangEffect::Stand(RankKey { lease, rank, attempt }) => {
                self.give((lease, rank, attempt), Request::Stand);
            }
            GangEffect::Go(key) => self.go(key),
            GangEffect::Cancel(RankKey { lease, rank, attempt }) => {
                let part = rank;
                self.cancel(CancelPart { lease, part, attempt });
            }
            // Kept where the result was taken, in `fetched`.
            GangEffect::Keep(_) => {}
            GangEffect::Release { lease } => {
                self.lease_event(lease, RenterEvent::PartsDrained);
            }
            GangEffect::Fail { failure, went } => {
                let nodes = self.record.leases.len();
                self.end_job(end_of(failure, went, nodes));
            }
            GangEffect::Finish => {
                tracing::info!(job = %self.record.name, "every rank ended well");
                self.start_last_step();
            }
        }
    }

    /// Lets a rank's program go. A node that does not hear of it is told again when it is heard; one that refuses has lost it.
    fn go(&mut self, key: RankKey) {
        let Some(live) = self.leases.get(&key.lease) else {
            return;
        };
        let go = GoPart {
            lease: key.lease,
            part: key.rank,
            attempt: key.attempt,
        };
        let (node, peer) = (self.node.clone(), live.record.node);
        self.effects.spawn(async move {
            match call_until(&node, peer, &Request::Go(go), TRIES).await {
                Ok(_) => JobInput::Done,
                Err(error) => {
                    tracing::warn!(lease = %go.lease.short(), rank = %go.part, error = %crate::error_chain(&error), "letting a rank go");
                    JobInput::PartRefused {
                        lease: go.lease,
                        part: go.part,
                        attempt: go.attempt,
                    }
                }
            }
        });
    }

    /// Lets the gang notice that it gathers for too long.
    pub(super) fn tick_pieces(&mut self) {
        if self.record.queue.is_due(self.node.clock.now()) {
            self.piece_event(PieceEvent::Ticked);
        }
    }
}

/// Why a job ends whose gang failed.
fn end_of(failure: GangFailure, went: bool, nodes: usize) -> EndView {
    let (actor, exit_code) = match failure {
        GangFailure::Rank {
            fault: PartFault::Error,
            exit_code,
            ..
        } => (Actor::Renter, exit_code),
        GangFailure::Rank { .. } | GangFailure::LeaseEnded { .. } | GangFailure::Late { .. } => (Actor::Provider, None),
    };
    let others = match nodes {
        0 | 1 => "",
        2 => "; GPUX stopped the other",
        _ => "; GPUX stopped the others",
    };
    let bill = if went {
        ""
    } else {
        ": no rank was started, and nothing is billed"
    };
    EndView {
        reason: format!("{}{others}{bill}", view::gang_failure(failure)),
        actor,
        exit_code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_types::PartIndex;

    #[test]
    fn the_first_rank_that_failed_gives_the_job_its_reason_and_its_exit_code() {
        let rank = PartIndex(1);
        let exited = GangFailure::Rank {
            rank,
            fault: PartFault::Error,
            exit_code: Some(3),
        };
        let end = end_of(exited, true, 3);
        assert_eq!(end.reason, "rank 1 exited with 3; GPUX stopped the others");
        assert_eq!((end.actor, end.exit_code), (Actor::Renter, Some(3)));
        let end = end_of(GangFailure::LeaseEnded { rank }, false, 2);
        assert_eq!(
            end.reason,
            "the lease of rank 1 ended; GPUX stopped the other: no rank was started, and nothing is billed"
        );
        assert_eq!((end.actor, end.exit_code), (Actor::Provider, None));
    }
}

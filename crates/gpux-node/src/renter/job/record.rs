//! What the renter states of each of a job's leases that is over, for its closing record.
//!
//! It names only what it knows itself: its receipts, its results, and for the end its own word, or the provider's where that is
//! about the provider.

use super::{JobTask, Live};
use crate::{records::Over, renter::view};
use gpux_lease::{Actor, Amounts, End, EndReason, ExitCount, RenterState, Side, Statement};
use gpux_types::{LeaseId, UnixSeconds};

impl JobTask {
    /// Drafts the closing records of leases that are over, once their nodes told the last reading or are not waited for.
    pub(super) fn record_ends(&mut self) {
        let ended = |live: &Live| {
            let held_money = matches!(
                live.record.machine.state(),
                RenterState::Settled { .. } | RenterState::Reclaimed { .. }
            );
            held_money && !live.recorded && !live.wants_final_reading()
        };
        let ended: Vec<LeaseId> = self
            .leases
            .iter()
            .filter(|(_, live)| ended(live))
            .map(|(lease, _)| *lease)
            .collect();
        for lease in ended {
            self.record_end(lease);
        }
    }

    fn record_end(&mut self, lease: LeaseId) {
        let date = self.node.clock.date();
        let Some(live) = self.leases.get_mut(&lease) else {
            return;
        };
        let over = Over {
            side: Side::Renter,
            terms: live.record.terms.clone(),
            tariff: live.record.machine.config().tariff,
            job: self.record.id,
            name: self.record.name.clone(),
            node: live.record.node,
            from_block: self.record.from_block,
            closed: true,
            draft: draft(live, date),
        };
        // Tried again with the next thing that happens, and after a restart.
        match self.node.records.draft(&self.node, over) {
            Ok(()) => live.recorded = true,
            Err(error) => {
                tracing::error!(lease = %lease.short(), error = %crate::error_chain(&error), "drafting a closing record")
            }
        }
    }
}

fn draft(live: &Live, date: UnixSeconds) -> Statement {
    let record = &live.record;
    let unknown = End::new(EndReason::ClosedOnChain, Actor::Chain);
    let well = ExitCount {
        code: 0,
        parts: record.parts_done,
    };
    Statement {
        lease: record.lease,
        end: view::own_end(record, live.report.as_ref()).unwrap_or(unknown),
        metered: record.metered,
        exits: Some(well).filter(|exit| exit.parts > 0).into_iter().collect(),
        other_parts: 0,
        last_log: None,
        signed: record.machine.signed(),
        amounts: Amounts::default(),
        moves: Vec::new(),
        moves_omitted: 0,
        date,
    }
}

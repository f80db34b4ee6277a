//! Top-ups that nobody asks for: deposits that run low are added to from what the renter set aside, and never beyond it.
//!
//! How much and when is `gpux-lease`'s rule ([`Runway`](gpux_lease::Runway)); here it is asked with each poll, written down,
//! and sent like any other top-up.

use super::{
    JobTask,
    leases::Unchanged,
    top_up::{self, Undone, is_send},
};
use crate::renter::{
    record::{Fund, LeaseRecord},
    view,
};
use gpux_job::{AtZero, Budget};
use gpux_lease::{RenterEvent, RenterState, TopUp};
use gpux_types::{Amount, LeaseId, Millis};

/// How long to wait after a top-up that failed.
const AGAIN: Millis = Millis::from_secs(60);

impl Fund {
    /// What the job file's own word sets aside: all that its limit leaves over the first deposits.
    pub(in crate::renter) fn at_zero(budget: &Budget, total: Option<Amount>, leases: &[LeaseRecord]) -> Option<Self> {
        let deposits = leases.iter().map(|lease| lease.deposit);
        let deposits = deposits.fold(Amount::ZERO, Amount::saturating_add);
        let limit = total.filter(|_| budget.at_zero == AtZero::TopUp)?;
        Some(Self {
            limit: limit.saturating_sub(deposits),
            spent: Amount::ZERO,
        })
    }
}

impl JobTask {
    pub(super) fn add_to_low_deposits(&mut self) {
        if self.record.end.is_some() || self.record.queue.is_finished() {
            return;
        }
        let running = |live: &super::Live| matches!(live.record.machine.state(), RenterState::Running) && !live.closed;
        let leases = self.leases.iter().filter(|(_, live)| running(live));
        let leases: Vec<LeaseId> = leases.map(|(lease, _)| *lease).collect();
        let alike = u32::try_from(leases.len()).unwrap_or(u32::MAX);
        let Some(fund) = self.record.fund else { return };
        let left = fund.limit.saturating_sub(fund.spent);
        let left = self.room().map_or(left, |room| room.min(left));
        let now = self.node.clock.now();
        for lease in leases {
            let Some(live) = self.leases.get(&lease) else { continue };
            if live.adding.is_some() || now < live.add_again {
                continue;
            }
            let tariff = live.record.machine.config().tariff;
            if let Some(amount) = view::runway(&live.record).next_top_up(&tariff, left, alike) {
                self.add(lease, amount);
            }
        }
    }

    fn add(&mut self, lease: LeaseId, amount: Amount) {
        let (Some(live), Some(fund)) = (self.leases.get_mut(&lease), self.record.fund.as_mut()) else {
            return;
        };
        // Written down before it is sent: what was spent is never forgotten.
        fund.spent = fund.spent.saturating_add(amount);
        live.adding = Some(amount);
        let record = &live.record;
        let event = RenterEvent::TopUpRequested(TopUp {
            number: record.machine.next_top_up(),
            amount,
            new_expiry: top_up::later(record, amount, self.node.clock.date()),
        });
        if !self.keep_job() {
            self.addition_ended(lease, Some(&Undone::unsigned("it could not be written down first")));
            return;
        }
        let why = match self.change_lease(lease, event, |_| {}) {
            Ok(effects) if effects.iter().any(is_send) => {
                let token = &self.node.chain.token().token;
                tracing::info!(lease = %lease.short(), added = %token.format(amount), "the deposit ran low");
                return;
            }
            Ok(_) | Err(Unchanged::Refused) => "another top-up is on its way",
            Err(Unchanged::NotKept) => "it could not be written down first",
        };
        self.addition_ended(lease, Some(&Undone::unsigned(why)));
    }

    /// What was being added by itself is there, or is not: then it may be spent again, unless it was signed. A chain node that told
    /// a lie about it would otherwise have it spent twice.
    pub(super) fn addition_ended(&mut self, lease: LeaseId, failed: Option<&Undone>) {
        let now = self.node.clock.now();
        let Some(live) = self.leases.get_mut(&lease) else {
            return;
        };
        let Some(amount) = live.adding.take() else { return };
        if let (Some(undone), Some(fund)) = (failed, self.record.fund.as_mut()) {
            tracing::warn!(lease = %lease.short(), why = %undone.why, "adding to a deposit that runs low");
            live.add_again = now.saturating_add(AGAIN);
            if !undone.signed {
                fund.spent = fund.spent.saturating_sub(amount);
                self.keep_job();
            }
        }
    }
}

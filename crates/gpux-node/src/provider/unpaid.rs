//! Leases that never held money: how many wait for a late deposit, and that nothing else stays of them. Whoever asks for a lease and
//! stops it again, in a loop and with nothing to lose, leaves neither files nor layers nor rows nor tasks behind.

use super::{inputs, lease::LeaseTask, outputs, room};
use crate::store::Role;
use gpux_lease::{EscrowView, ProviderState};
use gpux_types::{LeaseId, Millis};
use std::collections::VecDeque;

/// How many leases wait for a deposit that may still come although they were given up. The oldest ends when there is one more: its
/// deposit is given back then when the renter tells of it.
const MAX_LINGERING: usize = 64;

/// The leases of a node that wait so.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    /// The oldest first.
    leases: VecDeque<LeaseId>,
}

impl Lingering {
    /// One more; gives the one that is to end for it.
    pub(super) fn enter(&mut self, lease: LeaseId) -> Option<LeaseId> {
        self.leases.push_back(lease);
        (self.leases.len() > MAX_LINGERING)
            .then(|| self.leases.pop_front())
            .flatten()
    }

    /// One waits no more.
    pub(super) fn leave(&mut self, lease: LeaseId) {
        self.leases.retain(|known| *known != lease);
    }
}

impl LeaseTask {
    pub(super) const fn is_refusing(&self) -> bool {
        matches!(self.record.machine.state(), ProviderState::Refusing { .. })
    }

    /// Counts the lease among those that wait for a late deposit, or not any more.
    pub(super) fn note_lingering(&mut self) {
        if self.lingers != self.is_refusing() {
            self.lingers = self.is_refusing();
            self.provider.lingers(self.record.lease, self.lingers);
        }
    }

    /// What the lease held is sold again once its work is gone, and is surely not being made ready any more.
    pub(super) fn release_when_gone(&mut self) {
        if self.record.machine.work() != gpux_lease::Work::Gone || self.released {
            return;
        }
        if let Some(underway) = self.preparing.as_ref().filter(|underway| !underway.is_over()) {
            underway.stop();
            return;
        }
        self.released = true;
        self.disk = None;
        self.provider.release(self.record.lease);
        let (node, lease) = (self.node.clone(), self.record.lease);
        let request = self.record.request.clone();
        let worked = self.record.machine.receipt().is_some();
        self.effects.spawn(async move {
            // Without a receipt nothing ran: there is nothing to fetch back, nor to read.
            if worked {
                inputs::keep(&node, &request).await;
            } else {
                outputs::remove(&node, lease).await;
            }
            room::let_go(&node, &request.job.image, worked).await;
            super::lease::LeaseInput::Done
        });
    }

    /// Whether no money was ever worked for, and none is there.
    pub(super) fn is_unpaid(&self) -> bool {
        let machine = &self.record.machine;
        let untouched = machine.receipt().is_none() && machine.metered() == Millis::ZERO;
        untouched && machine.escrow() == EscrowView::Absent
    }

    /// Ends a lease that never held money as if it had never been asked for. Should a deposit come all the same, the quote has lapsed.
    pub(super) async fn forget_unpaid(&mut self) {
        let lease = self.record.lease;
        outputs::remove(&self.node, lease).await;
        room::let_go(&self.node, &self.record.request.job.image, false).await;
        if let Err(error) = self.node.store.drop_lease(Role::Provider, lease) {
            // The next daemon takes it up and tries again.
            tracing::warn!(lease = %lease.short(), error = %crate::error_chain(&error), "forgetting a lease that was never paid for");
        }
        self.provider.forget(lease);
        let now = self.node.clock.now();
        self.provider.give_up(self.record.terms.renter, lease, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn lease(byte: u8) -> LeaseId {
        LeaseId([byte; 32])
    }

    #[test]
    fn one_more_that_waits_for_a_late_deposit_ends_the_oldest() {
        let mut lingering = Lingering::default();
        for byte in 0..64 {
            assert_eq!(lingering.enter(lease(byte)), None);
        }
        assert_eq!(lingering.enter(lease(64)), Some(lease(0)));
        lingering.leave(lease(1));
        assert_eq!(lingering.enter(lease(65)), None, "there is room");
        assert_eq!(lingering.enter(lease(66)), Some(lease(2)));
        assert_eq!(lingering.leases.len(), MAX_LINGERING);
    }

    #[test]
    fn nothing_stays_in_the_database_of_what_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("gpux.db")).unwrap();
        for role in [Role::Provider, Role::Renter] {
            store.put_lease(role, lease(1), &"a lease", false).unwrap();
        }
        store.drop_lease(Role::Provider, lease(1)).unwrap();
        assert_eq!(store.lease::<String>(Role::Provider, lease(1)).unwrap(), None);
        let other: Option<String> = store.lease(Role::Renter, lease(1)).unwrap();
        assert_eq!(other.as_deref(), Some("a lease"), "the other side's own");
    }
}

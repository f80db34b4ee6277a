//! Journal first: a lease's record is on the disk before anything is done that cannot be taken back or that costs. Called by the
//! lease's task; it decides nothing else.
//!
//! While the disk takes nothing the work is not renewed, so its dead-man switch holds it within two intervals, and nothing is
//! signed, sent or let run. Once the record is written, what was held back is asked for anew.

use super::lease::{LeaseTask, PartReply};
use super::parts::Gate;
use crate::store::{Role, Store};
use gpux_lease::ProviderEffect;
use gpux_proto::{ErrorCode, PartSpec, PeerError};
use gpux_runtime::PartKey;
use gpux_types::{LeaseId, Millis};
use serde::Serialize;

/// How soon a record that could not be written is written again, when nothing happens before.
pub(super) const WRITE_AGAIN: Millis = Millis::from_secs(1);

/// What of one lease is not on the disk yet.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Whether the record differs from the disk's in what must be there.
    behind: bool,
    /// Whether effects were held back.
    withheld: bool,
}

impl Journal {
    /// The record changed in what must be on the disk.
    pub(super) const fn note_change(&mut self) {
        self.behind = true;
    }

    /// Whether something is not on the disk that must be.
    pub(super) const fn is_behind(&self) -> bool {
        self.behind
    }

    /// Writes the record if it must be; false when it could not be written.
    pub(super) fn write<T: Serialize>(&mut self, store: &Store, lease: LeaseId, record: (&T, bool)) -> bool {
        if self.behind {
            let (record, over) = record;
            match store.put_lease(Role::Provider, lease, record, over) {
                Ok(()) => self.behind = false,
                Err(error) => {
                    tracing::error!(lease = %lease.short(), error = %crate::error_chain(&error), "keeping a lease; its work is held until it can be kept");
                }
            }
        }
        !self.behind
    }

    /// The effects that may be performed now; the others are held back.
    pub(super) fn let_through(&mut self, mut effects: Vec<ProviderEffect>) -> Vec<ProviderEffect> {
        if self.behind {
            let all = effects.len();
            effects.retain(may_precede);
            self.withheld |= effects.len() < all;
        }
        effects
    }

    /// Whether effects that were held back may be asked for anew; true once.
    pub(super) const fn takes_up(&mut self) -> bool {
        let due = self.withheld && !self.behind;
        if due {
            self.withheld = false;
        }
        due
    }
}

/// Whether an effect may be performed although what led to it is not on the disk.
const fn may_precede(effect: &ProviderEffect) -> bool {
    match effect {
        // Only takes away, or only looks: done twice, or for nothing, it costs the provider nothing.
        ProviderEffect::Freeze
        | ProviderEffect::StopWork { .. }
        | ProviderEffect::AskReceipt { .. }
        | ProviderEffect::Forget
        | ProviderEffect::WakeAt(_) => true,
        // A closing amount is one for ever, and a transaction is sent under a number that must not come again for another amount.
        ProviderEffect::SignClosing { .. } | ProviderEffect::Draw { .. } | ProviderEffect::Settle { .. } => false,
        // Work goes on at the provider's cost, on a receipt that a crash would lose.
        ProviderEffect::AllowWork | ProviderEffect::Renew | ProviderEffect::Thaw => false,
        // Fetches up to gigabytes, onto a disk that takes nothing.
        ProviderEffect::Prepare => false,
    }
}

impl LeaseTask {
    /// Whether the lease is on the disk as it is now, as far as it must be.
    pub(super) fn keep(&mut self) -> bool {
        if self.record.parts.take_changed() {
            self.journal.note_change();
        }
        let record = (&self.record, self.is_over() && self.recorded);
        self.journal.write(&self.node.store, self.record.lease, record)
    }

    /// A part counts as taken when it is on the disk: a renter asks for no part again that was taken.
    pub(super) fn part_given(&mut self, spec: PartSpec, gate: Gate, reply: PartReply) {
        let key = PartKey {
            part: spec.part,
            attempt: spec.attempt,
        };
        let taken = self.record.parts.give(spec, gate);
        let answer = match taken {
            Err(full) => Err(PeerError::new(ErrorCode::TooMany, full.to_string())),
            Ok(()) if self.keep() => Ok(()),
            Ok(()) => {
                self.record.parts.take_back(key);
                Err(PeerError::new(
                    ErrorCode::Internal,
                    "the part could not be kept; try again",
                ))
            }
        };
        // A caller that is gone asks again.
        let _ = reply.send(answer);
    }

    /// Opens the gate of a rank. The renter hears that it is open once that is on the disk: from then on the rank goes, whatever
    /// becomes of this daemon.
    pub(super) fn part_goes(&mut self, wanted: PartKey, reply: PartReply) {
        let answer = if !self.record.parts.open_gate(wanted) {
            Err(PeerError::new(ErrorCode::BadRequest, "there is no such rank here"))
        } else if self.keep() {
            Ok(())
        } else {
            self.record.parts.close_gate(wanted);
            Err(PeerError::new(
                ErrorCode::Internal,
                "the word to go could not be kept; try again",
            ))
        };
        // A caller that is gone asks again.
        let _ = reply.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpux_lease::{Actor, End, EndReason};
    use gpux_types::Amount;

    const LEASE: LeaseId = LeaseId([7; 32]);

    fn every_effect() -> Vec<ProviderEffect> {
        let amount = Amount::MAX;
        let end = End::new(EndReason::Unpaid, Actor::Renter);
        let receipt = None;
        vec![
            ProviderEffect::Prepare,
            ProviderEffect::AskReceipt { cumulative: amount },
            ProviderEffect::AllowWork,
            ProviderEffect::Renew,
            ProviderEffect::Freeze,
            ProviderEffect::Thaw,
            ProviderEffect::StopWork { end },
            ProviderEffect::SignClosing { amount },
            ProviderEffect::Settle { amount, receipt },
            ProviderEffect::Forget,
            ProviderEffect::WakeAt(Millis(1)),
        ]
    }

    fn kept(store: &Store) -> Vec<String> {
        store.open_leases(Role::Provider).unwrap().readable
    }

    #[test]
    fn a_full_disk_holds_back_what_costs_or_binds_until_the_record_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("gpux.db")).unwrap();
        let mut journal = Journal::default();
        journal.note_change();
        assert!(journal.write(&store, LEASE, (&"first receipt", false)));
        assert_eq!(journal.let_through(every_effect()), every_effect(), "all is written");

        store.limit_to_present_size(true);
        let second = "second receipt".repeat(10_000);
        journal.note_change();
        assert!(!journal.write(&store, LEASE, (&second, false)));
        let through = journal.let_through(every_effect());
        assert!(
            matches!(
                through.as_slice(),
                [
                    ProviderEffect::AskReceipt { .. },
                    ProviderEffect::Freeze,
                    ProviderEffect::StopWork { .. },
                    ProviderEffect::Forget,
                    ProviderEffect::WakeAt(_)
                ]
            ),
            "nothing is let run, signed or sent: {through:?}"
        );
        assert!(!journal.takes_up(), "not before it is written");
        assert_eq!(kept(&store), ["first receipt"], "the disk has what it had");

        store.limit_to_present_size(false);
        assert!(journal.write(&store, LEASE, (&second, false)));
        assert_eq!(kept(&store), [second]);
        assert!(journal.takes_up());
        assert!(!journal.takes_up(), "once");
        assert_eq!(journal.let_through(every_effect()), every_effect());
    }

    #[test]
    fn what_did_not_change_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("gpux.db")).unwrap();
        let mut journal = Journal::default();
        assert!(journal.write(&store, LEASE, (&"nothing", false)));
        assert!(kept(&store).is_empty());
    }
}

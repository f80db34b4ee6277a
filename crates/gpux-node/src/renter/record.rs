//! What is kept of a job and of each of its leases over restarts.

use super::{pieces::Pieces, trouble::Trouble};
use crate::store::known_version;
use gpux_api::{EndView, OutputView};
use gpux_job::Job;
use gpux_lease::{RenterLease, SignedClosing, Terms, TopUp};
use gpux_proto::{JobSpec, OutputSpec, QuoteRequest, SignedQuote};
use gpux_types::{Amount, JobId, LeaseId, Millis, NodeId, PartIndex, PricePerHour, UnixSeconds};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, path::PathBuf};

/// The layout of these records, stored in each; a newer one is not read.
pub(super) const RECORD_VERSION: u16 = 1;

/// The bytes of a hot key. Never printed.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Secret(pub(super) [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// One job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct JobRecord {
    #[serde(deserialize_with = "known_version::<_, RECORD_VERSION>")]
    pub(super) version: u16,
    pub(super) id: JobId,
    pub(super) name: String,
    pub(super) accepted_at: UnixSeconds,
    pub(super) ended_at: Option<UnixSeconds>,
    pub(super) job: Job,
    pub(super) spec: JobSpec,
    /// Signs this job's receipts and nothing else.
    pub(super) receipt_key: Secret,
    pub(super) output: PathBuf,
    /// No transaction of this job is older.
    pub(super) from_block: u64,
    /// Whether its leases share transactions, and which did.
    #[serde(default)]
    pub(super) batches: Option<Batches>,
    /// The most that its leases may be paid, top-ups included.
    #[serde(default)]
    pub(super) max_total: Option<Amount>,
    /// What deposits that run low are topped up from by themselves.
    #[serde(default)]
    pub(super) fund: Option<Fund>,
    pub(super) queue: Pieces,
    pub(super) leases: Vec<LeaseId>,
    pub(super) outputs: Vec<OutputView>,
    /// Where the newest try of each part is or was.
    pub(super) tries: BTreeMap<PartIndex, Try>,
    /// Results that are with their nodes and that this machine's disk did not take.
    #[serde(default)]
    pub(super) waiting: Vec<Waiting>,
    pub(super) finishing: Finishing,
    /// Why the job ends, once it does; the first reason counts.
    pub(super) end: Option<EndView>,
    /// The exit code of the first part that failed.
    pub(super) first_exit: Option<i32>,
    /// Whether the user asked for the end.
    pub(super) stopped: bool,
    /// Whether everything is done for people: the parts, the last step, and every lease whose node still answers.
    pub(super) over: bool,
}

/// What the renter set aside for top-ups that nobody asks for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Fund {
    pub(super) limit: Amount,
    /// Sent, or being sent. Written down before it is.
    pub(super) spent: Amount,
}

/// What the leases of a job do together. Each list is written down before its transaction is sent, so that a restart sends
/// the same one again and never another with the same money.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Batches {
    /// The leases that each transaction opens; empty before that.
    pub(super) opened: Vec<Vec<LeaseId>>,
    /// The top-ups of each transaction.
    pub(super) topped_up: Vec<Vec<(LeaseId, TopUp)>>,
    /// The leases that each transaction closes.
    pub(super) closed: Vec<Vec<LeaseId>>,
}

/// The newest try of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Try {
    pub(super) lease: LeaseId,
    pub(super) node: NodeId,
    pub(super) attempt: u32,
    pub(super) failed: bool,
    /// Why it failed, or, of one that did not, why there was another before it.
    #[serde(default)]
    pub(super) why: Option<Trouble>,
}

/// A try of a part that ended well, whose outputs are to be fetched: once this machine's disk takes them, or because they were on
/// their way when their lease ended, and its node is asked no more for the part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) lease: LeaseId,
    pub(super) part: PartIndex,
    pub(super) attempt: u32,
    pub(super) outputs: Vec<OutputSpec>,
    /// What the disk said last, where it refused them.
    pub(super) why: Option<String>,
    /// Since when, by the clock of this run.
    #[serde(skip)]
    pub(super) since: Option<Millis>,
}

impl Waiting {
    /// Which try.
    pub(super) const fn key(&self) -> (LeaseId, PartIndex, u32) {
        (self.lease, self.part, self.attempt)
    }
}

/// Where the job's last step (`then`) stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Finishing {
    /// Parts are still to be done.
    NotYet,
    /// All parts are done and the last step runs.
    Running,
    /// Done, or there is none, or the job failed before it.
    Done,
}

/// One lease of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LeaseRecord {
    #[serde(deserialize_with = "known_version::<_, RECORD_VERSION>")]
    pub(super) version: u16,
    pub(super) lease: LeaseId,
    pub(super) job: JobId,
    pub(super) node: NodeId,
    pub(super) request: QuoteRequest,
    pub(super) quote: SignedQuote,
    pub(super) terms: Terms,
    pub(super) price: PricePerHour,
    pub(super) deposit: Amount,
    /// When the quote was asked for: it holds for a while from then on.
    #[serde(default)]
    pub(super) quoted_at: UnixSeconds,
    pub(super) expiry: UnixSeconds,
    pub(super) topped_up: Amount,
    /// Top-ups that were signed and then said to be none: whoever has their bytes may still send them.
    #[serde(default)]
    pub(super) doubtful: Amount,
    pub(super) machine: RenterLease,
    /// The newest reading of the provider's meter.
    pub(super) metered: Millis,
    /// Whether that reading is the last: the work was gone then.
    pub(super) final_reading: bool,
    pub(super) parts_done: u32,
    /// The provider's closing amount, once it gave one.
    #[serde(default)]
    pub(super) closing: Option<SignedClosing>,
}

impl LeaseRecord {
    /// All that was paid in or may be on its way, as this machine knows and as the chain says, whichever is more.
    pub(super) fn paid_in(&self) -> Amount {
        use gpux_lease::RenterState as S;
        if let S::Unfunded { .. } | S::Failed { .. } = self.machine.state() {
            return Amount::ZERO;
        }
        let pending = self
            .machine
            .pending_top_up()
            .map_or(Amount::ZERO, |top_up| top_up.amount);
        let own = [self.topped_up, self.doubtful, pending];
        let own = own.into_iter().fold(self.deposit, Amount::saturating_add);
        own.max(self.machine.escrow().deposit())
    }

    /// Whether the record on the disk, which is `journal`, must be written before anything is done for what changed since.
    pub(super) fn must_be_written(&self, journal: &Self) -> bool {
        let facts = |record: &Self| (record.topped_up, record.doubtful, record.expiry, record.closing);
        self.machine.must_be_written(&journal.machine) || facts(self) != facts(journal)
    }

    /// Until when the work may run, as far as is known.
    pub(super) fn newest_expiry(&self) -> UnixSeconds {
        match self.machine.escrow() {
            gpux_lease::EscrowView::Open { expiry, .. } => self.expiry.max(expiry),
            gpux_lease::EscrowView::Absent | gpux_lease::EscrowView::Closed { .. } => self.expiry,
        }
    }

    /// Whether nothing will happen to the lease any more.
    pub(super) fn is_over(&self) -> bool {
        use gpux_lease::RenterState as S;
        matches!(
            self.machine.state(),
            S::Settled { .. } | S::Reclaimed { .. } | S::Failed { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Role, tests::of_version_1};

    #[test]
    fn the_job_and_the_leases_that_version_1_kept_are_understood() {
        let (_dir, store) = of_version_1();
        let jobs: Vec<JobRecord> = store.jobs().unwrap().readable;
        let [job] = jobs.as_slice() else {
            unreachable!("{jobs:?}");
        };
        assert_eq!(
            (job.version, job.name.as_str(), job.stopped, job.over),
            (1, "talker", true, true)
        );
        assert_eq!(job.end.as_ref().map(|end| end.reason.as_str()), Some("wrong-scene"));
        assert_eq!((job.leases.len(), job.outputs.len()), (2, 1));
        for lease in &job.leases {
            let record: LeaseRecord = store.lease(Role::Renter, *lease).unwrap().expect("its record");
            assert_eq!((record.version, record.lease, record.job), (1, *lease, job.id));
            assert!(record.is_over() && record.deposit > Amount::ZERO, "{record:?}");
        }
    }

    #[test]
    fn what_may_have_been_paid_in_counts_as_paid_in() {
        let (_dir, store) = of_version_1();
        let jobs: Vec<JobRecord> = store.jobs().unwrap().readable;
        let lease = jobs.first().and_then(|job| job.leases.first()).unwrap();
        let mut record: LeaseRecord = store.lease(Role::Renter, *lease).unwrap().expect("its record");
        let amount = |units| Amount::new(units).unwrap();
        record.topped_up = amount(5);
        let known = record.deposit.saturating_add(amount(5));
        assert_eq!(record.paid_in(), known);
        let before = record.clone();
        record.doubtful = amount(3);
        assert!(record.must_be_written(&before));
        assert_eq!(
            record.paid_in(),
            known.saturating_add(amount(3)),
            "its bytes are out there"
        );
        let more = known.saturating_add(amount(40));
        record.machine = RenterLease::quoted(record.machine.config().clone(), Millis::ZERO);
        let seen = gpux_lease::EscrowView::Open {
            deposit: more,
            assured: more,
            drawn: Amount::ZERO,
            expiry: UnixSeconds(1),
        };
        record
            .machine
            .handle(Millis::ZERO, gpux_lease::RenterEvent::EscrowSeen(seen))
            .unwrap();
        assert_eq!(record.paid_in(), more, "the chain knows of more");
    }
}

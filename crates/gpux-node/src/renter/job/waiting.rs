//! Results that are not here although their part is done: this machine's disk did not take them, or their lease ended while they
//! were on their way. They stay with their nodes, are fetched again, also after a restart, and where the disk is at fault people are told.
//!
//! The part is done, so it is not run again and no node gets a strike. A lease that has nothing else to do is ended: its node keeps
//! the outputs for ten minutes more, and an idle lease costs its rent. The part queue is not told of that end while its results wait,
//! or it would give the part to another node.

use super::{JobTask, fetch::FetchError};
use crate::renter::{
    pieces::{PieceEvent, TryKey},
    record::Waiting,
};
use gpux_lease::{RenterEvent, RenterState};
use gpux_proto::OutputSpec;
use gpux_types::{LeaseId, Millis};

/// How long a lease is kept that has nothing to do but to wait for its renter's disk.
const IDLE_AT_MOST: Millis = Millis::from_secs(30);

impl JobTask {
    /// Notes that the outputs of a try are fetched again once this machine takes them.
    pub(super) fn wait_for_disk(&mut self, key: TryKey, outputs: Vec<OutputSpec>, error: &FetchError) {
        let (lease, part, attempt) = key;
        let why = crate::error_chain(error);
        let now = self.node.clock.now();
        if let Some(waiting) = self.record.waiting.iter_mut().find(|waiting| waiting.key() == key) {
            waiting.why = Some(why);
            waiting.since.get_or_insert(now);
            return;
        }
        tracing::error!(lease = %lease.short(), %part, %why, "this machine cannot take a result; it is fetched again until it can");
        self.record.waiting.push(Waiting {
            lease,
            part,
            attempt,
            outputs,
            why: Some(why),
            since: Some(now),
        });
        // A full disk may not take this either. Without it a restart asks the node again.
        self.keep_job();
    }

    /// Notes what is on its way from a lease that ended: a restart has nobody to ask for the part again, and knows whence to fetch.
    pub(super) fn note_what_is_fetched(&mut self, ended: LeaseId) {
        let noted: Vec<TryKey> = self.record.waiting.iter().map(Waiting::key).collect();
        let fetched = self.fetching.iter();
        let unnoted = fetched.filter(|(key, _)| key.0 == ended && !noted.contains(key));
        let now = self.node.clock.now();
        self.record.waiting.extend(unnoted.map(|(key, outputs)| {
            let (lease, part, attempt) = *key;
            Waiting {
                lease,
                part,
                attempt,
                outputs: outputs.clone(),
                why: None,
                since: Some(now),
            }
        }));
        self.keep_job();
    }

    /// Whether results of that lease are on their way, or wait for this machine's disk.
    pub(super) fn awaits_results(&self, lease: LeaseId) -> bool {
        let on_their_way = self.fetching.keys().any(|(from, ..)| *from == lease);
        on_their_way || self.record.waiting.iter().any(|waiting| waiting.lease == lease)
    }

    /// Forgets that a try's outputs wait: they are here, or cannot be had any more.
    pub(super) fn waits_no_more(&mut self, key: TryKey) -> Option<Waiting> {
        let at = self.record.waiting.iter().position(|waiting| waiting.key() == key)?;
        Some(self.record.waiting.remove(at))
    }

    /// Tells the part queue of a lease's end that was kept from it while its results were awaited.
    pub(super) fn tell_end_put_off(&mut self, lease: LeaseId) {
        use RenterState as S;
        let state = self.leases.get(&lease).map(|live| live.record.machine.state());
        let goes_on = matches!(
            state,
            None | Some(S::Quoted { .. } | S::Opening | S::Open | S::Running | S::Lost { .. })
        );
        if !goes_on && !self.awaits_results(lease) {
            self.piece_event(PieceEvent::LeaseClosed { lease });
        }
    }

    /// Fetches again what waits, and ends the leases that have nothing else to do.
    pub(super) fn fetch_what_waits(&mut self) {
        if self.record.waiting.is_empty() {
            return;
        }
        if self.record.end.is_some() {
            self.record.waiting.clear();
            return;
        }
        let now = self.node.clock.now();
        for waiting in &mut self.record.waiting {
            waiting.since.get_or_insert(now);
        }
        self.end_idle_leases(now);
        for waiting in self.record.waiting.clone() {
            if !self.fetching.contains_key(&waiting.key()) {
                self.bring(waiting.key(), waiting.outputs);
            }
        }
    }

    fn end_idle_leases(&mut self, now: Millis) {
        if self.record.queue.summary().queued > 0 {
            // There is more to do once there is room.
            return;
        }
        let patient = |waiting: &Waiting| {
            let since = waiting.since.unwrap_or(now);
            now.saturating_sub(since) < IDLE_AT_MOST
        };
        let idle = self.leases.iter().filter(|(lease, live)| {
            let state = live.record.machine.state();
            let mut runs = self.record.queue.running_on(lease).into_iter().peekable();
            matches!(state, RenterState::Open | RenterState::Running)
                && runs.peek().is_some()
                && runs.all(|(part, attempt)| {
                    let key = (**lease, part, attempt);
                    let waiting = self.record.waiting.iter().find(|waiting| waiting.key() == key);
                    waiting.is_some_and(|waiting| !patient(waiting))
                })
        });
        for lease in idle.map(|(lease, _)| *lease).collect::<Vec<_>>() {
            tracing::warn!(lease = %lease.short(), "its results wait for this machine's disk; nothing else is left for it to do");
            self.lease_event(lease, RenterEvent::PartsDrained);
        }
    }
}

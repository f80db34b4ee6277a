//! Somebody on the network who keeps no promise: floods, repeats what it overheard under its own and under others' names, asks for
//! receipts of leases that are not its own, and opens what was opened before.
//!
//! It floods with hundreds of words at once.
//!
//! It holds no key of anybody else; what it sends under another name is what a peer of that name sends again.

use crate::{
    chance::Chance,
    coverage::Reached,
    network::{Overheard, SimNetwork},
};
use gpux_lease::Work;
use gpux_proto::{MeterReport, Request, StopRequest};
use gpux_types::{Amount, LeaseId, Millis, NodeId};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Adversary {
    me: NodeId,
    chance: Chance,
}

impl Adversary {
    pub(crate) fn new(chance: Chance) -> Self {
        Self {
            me: NodeId(chance.bytes()),
            chance,
        }
    }

    /// Sends a few words to somebody.
    pub(crate) fn act(&self, network: &SimNetwork) {
        let overheard = network.overheard();
        let mut words = self.chance.between(0, 6);
        if self.chance.in_thousand(20) {
            network.trace.reach(Reached::Flooded);
            words = 300;
        }
        for _ in 0..words {
            let count = u64::try_from(overheard.len()).unwrap_or(0);
            let pick = usize::try_from(self.chance.between(0, count.max(1))).unwrap_or(0);
            let Some(Overheard { from, to, request }) = overheard.get(pick).cloned() else {
                return;
            };
            let (from, to, request) = match self.chance.between(0, 5) {
                // Word for word, as a network or a renter that re-uses ids does.
                0 | 1 => {
                    let stale = matches!(request, Request::Closing(_));
                    let told = if stale {
                        Reached::StaleClosing
                    } else {
                        Reached::Repeated
                    };
                    network.trace.reach(told);
                    (from, to, request)
                }
                // The same by a stranger.
                2 => (self.me, to, request),
                // Stops and receipts that are not its own to ask for.
                3 => (
                    self.me,
                    to,
                    Request::Stop(StopRequest {
                        lease: lease(&request),
                        reason: "now".to_owned(),
                    }),
                ),
                _ => {
                    let report = MeterReport {
                        lease: lease(&request),
                        asked: Amount::MAX,
                        metered: Millis(u64::MAX),
                        work: Work::Running,
                    };
                    (self.me, from, Request::Meter(report))
                }
            };
            let network = network.clone();
            tokio::spawn(async move {
                // Nobody waits for what an adversary is told.
                let _ = network.carry(from, to, &request).await;
            });
        }
    }
}

/// The lease that a request is about.
fn lease(request: &Request) -> LeaseId {
    match request {
        Request::Lease(asked) => asked
            .quote
            .verify(&asked.request)
            .map_or(LeaseId([0; 32]), |(_, lease)| lease),
        Request::Part(lease, _) | Request::Stand(lease, _) | Request::Status(lease) | Request::WillClose(lease) => {
            *lease
        }
        Request::Go(go) => go.lease,
        Request::Meter(report) => report.lease,
        Request::Stop(stop) => stop.lease,
        Request::Record(signed) => signed.statement.lease,
        Request::Quote(_)
        | Request::CancelPart(_)
        | Request::PartReport(_)
        | Request::Closing(_)
        | Request::Watch(_)
        | Request::Release(_) => LeaseId([0; 32]),
    }
}

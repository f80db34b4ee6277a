//! Renters that do not keep to the receipts: what goes in and out of the door of such a node's daemon, which itself is as ever.
//!
//! Their keys sign what their daemon decides, so that every receipt is a true one: it is low, old, or never given.

use crate::{bug::Bug, coverage::Reached, network::SimNetwork};
use gpux_proto::{ErrorCode, PeerError, Request, Response};
use gpux_types::{Amount, LeaseId, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// How a node answers asks for receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// It signs for seven tenths of what it is asked.
    Lower,
    /// It gives its first receipt again, every other time.
    Old,
    /// It gives so many and no more.
    Nothing(u64),
}

/// The manners of the nodes that have none of the best, and what they gave so far.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    of: BTreeMap<NodeId, Manners>,
    given: BTreeMap<LeaseId, (Response, u64)>,
    /// The leases whose first closing amount was lost.
    lost: BTreeSet<LeaseId>,
    pub(crate) bug: Option<Bug>,
}

impl SimNetwork {
    /// From now on a node answers so.
    pub(crate) fn behaves(&self, node: NodeId, manners: Manners) {
        self.lock().doors.of.insert(node, manners);
    }

    /// What the daemon behind the door is asked.
    pub(crate) fn through_the_door(&self, node: NodeId, request: &mut Request) {
        let lower = self.lock().doors.of.get(&node) == Some(&Manners::Lower);
        if let Request::Meter(report) = request
            && lower
        {
            self.trace.reach(Reached::SignedLower);
            let less = report.asked.units() * 7 / 10;
            report.asked = Amount::new(less).unwrap_or_default();
        }
    }

    /// Whether a planted bug keeps a request from the daemon.
    pub(crate) fn loses(&self, request: &Request) -> bool {
        let Request::Closing(offer) = request else { return false };
        let mut inner = self.lock();
        inner.doors.bug == Some(Bug::LostClosing) && inner.doors.lost.insert(offer.lease)
    }

    /// What the door lets out as its answer.
    pub(crate) fn out_of_the_door(&self, node: NodeId, request: &Request, answer: Response) -> Response {
        let (Request::Meter(report), Response::Receipt { signature, .. }) = (request, &answer) else {
            return answer;
        };
        let old = self.chance.in_thousand(500);
        let mut inner = self.lock();
        if inner.doors.bug == Some(Bug::BlankCheque) {
            let (cumulative, signature) = (report.asked, *signature);
            return Response::Receipt { cumulative, signature };
        }
        let Some(manners) = inner.doors.of.get(&node).copied() else {
            return answer;
        };
        let first = (answer.clone(), 0);
        let (first, given) = inner.doors.given.entry(report.lease).or_insert(first);
        *given += 1;
        match manners {
            Manners::Nothing(most) if *given > most => {
                self.trace.reach(Reached::SignedNothing);
                Response::Error(PeerError::new(ErrorCode::NotCovered, "nothing more"))
            }
            Manners::Old if old && *given > 1 => {
                self.trace.reach(Reached::SignedOld);
                first.clone()
            }
            Manners::Lower | Manners::Old | Manners::Nothing(_) => answer,
        }
    }
}

//! A renter that goes away for a while: what is signed ahead for that, once a person said yes to what is at risk.
//!
//! The rule is the lease machine's ([`RenterEvent::GoesAway`]); here it is shown, asked for, and handed to each lease.

use super::{JobTask, Live, leases::Unchanged};
use gpux_api::{AwayLease, AwayRequest, AwayView, ErrorBody, ErrorCode};
use gpux_lease::{RenterEvent, RenterState, away_at_risk};
use gpux_types::{Amount, LeaseId, Millis};
use tokio::sync::oneshot;

impl JobTask {
    pub(super) fn away_asked(&mut self, request: AwayRequest, reply: oneshot::Sender<Result<AwayView, ErrorBody>>) {
        // A command that went away wants no answer.
        let _ = reply.send(self.go_away(request));
    }

    fn go_away(&mut self, request: AwayRequest) -> Result<AwayView, ErrorBody> {
        let leases = self.leases.iter().filter(|(_, live)| can_go_on(live));
        let mut leases: Vec<AwayLease> = leases
            .map(|(lease, live)| view(*lease, live, request.horizon))
            .collect();
        let name = self.record.name.clone();
        if leases.is_empty() {
            let message = format!("leaving job {name} alone: none of its leases is open; nothing was signed");
            return Err(ErrorBody::new(ErrorCode::Conflict, message));
        }
        let mut at_risk = most(&leases);
        if let Some(agreed) = request.agreed {
            // Who comes back puts nothing more at risk.
            if at_risk > agreed && request.horizon > Millis::ZERO {
                let token = &self.node.chain.token().token;
                let message = format!(
                    "leaving job {name} alone: {} would be at risk, and you agreed to {}; nothing was signed",
                    token.format(at_risk),
                    token.format(agreed)
                );
                return Err(ErrorBody::new(ErrorCode::OverBudget, message).retryable());
            }
            tracing::info!(job = %name, horizon = ?request.horizon, %at_risk, "the renter goes away, or is back");
            // Signed ahead is what is written down, and no other lease is told as if it were.
            leases.retain(|lease| {
                let gone = RenterEvent::GoesAway { horizon: lease.horizon };
                self.change_lease(lease.lease, gone, |_| {}) != Err(Unchanged::NotKept)
            });
            if leases.is_empty() {
                let message = format!("leaving job {name} alone: this machine's disk takes nothing now");
                let body = ErrorBody::new(ErrorCode::Internal, message);
                return Err(body.with_hint("make room on the disk and try again").retryable());
            }
            at_risk = most(&leases);
            for lease in &mut leases {
                let machine = self.leases.get(&lease.lease).map(|live| &live.record.machine);
                let upto = machine.and_then(|machine| Some(machine.config().tariff.due(machine.ahead()?)));
                // A little less where the expiry is near: time has passed since it was shown.
                lease.signed_ahead = lease.signed_ahead.min(upto.unwrap_or_default());
            }
        }
        Ok(AwayView {
            schema: "gpux.away/v1".into(),
            done: request.agreed.is_some(),
            at_risk,
            leases,
        })
    }
}

fn most(leases: &[AwayLease]) -> Amount {
    let each = leases.iter().map(|lease| lease.at_risk);
    each.fold(Amount::ZERO, Amount::saturating_add)
}

fn can_go_on(live: &Live) -> bool {
    use RenterState as S;
    matches!(live.record.machine.state(), S::Open | S::Running | S::Lost { .. }) && !live.closed
}

fn view(lease: LeaseId, live: &Live, horizon: Millis) -> AwayLease {
    let machine = &live.record.machine;
    let (tariff, deposit) = (machine.config().tariff, machine.escrow().deposit());
    let horizon = horizon.min(machine.until_expiry());
    let upto = machine.counted().saturating_add(horizon);
    AwayLease {
        lease,
        node: live.record.node,
        horizon,
        signed_ahead: tariff.due(upto).min(deposit),
        at_risk: away_at_risk(&tariff, (machine.signed(), deposit), machine.counted(), horizon).most,
    }
}

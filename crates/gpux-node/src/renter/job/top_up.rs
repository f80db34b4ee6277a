//! More money for running leases.

use super::{JobInput, JobTask, TopUpReply};
use gpux_api::{ErrorBody, ErrorCode, TransactionKind, TransactionView};
use gpux_chain::{Call, Depth, Intent, IntentKey};
use gpux_lease::{RenterEffect, RenterEvent, TopUp};
use gpux_types::{Amount, LeaseId, UnixSeconds};
use std::collections::BTreeSet;

/// The longest that an expiry may lie ahead, a minute short of the escrow's own limit of 90 days.
const LONGEST_AHEAD_SECS: u64 = 90 * 86_400 - 60;

/// A top-up of several leases that is not over.
pub(super) struct Pending {
    waiting: BTreeSet<(LeaseId, u32)>,
    done: Vec<TransactionView>,
    failed: Option<String>,
    reply: TopUpReply,
}

impl JobTask {
    /// Adds `amount` to each lease, unless that is more in all than was agreed to.
    pub(super) fn top_up_asked(&mut self, (amount, agreed): (Amount, Option<Amount>), extend: bool, reply: TopUpReply) {
        let checked = self
            .check_top_up(amount)
            .and_then(|()| self.check_agreed(amount, agreed));
        if let Err(refusal) = checked {
            // A command that went away wants no answer.
            let _ = reply.send(Err(refusal));
            return;
        }
        let ids: Vec<LeaseId> = self.leases.keys().copied().collect();
        let mut waiting = BTreeSet::new();
        for lease in ids {
            let Some(live) = self.leases.get(&lease) else { continue };
            let record = &live.record;
            let number = record.machine.next_top_up();
            let new_expiry = extend.then(|| {
                later(
                    record.expiry,
                    record.price.time_for(amount).as_secs(),
                    self.node.clock.date(),
                )
            });
            let event = RenterEvent::TopUpRequested(TopUp {
                number,
                amount,
                new_expiry: new_expiry.filter(|at| *at > record.expiry),
            });
            let sent = self
                .lease_event(lease, event)
                .iter()
                .any(|effect| matches!(effect, RenterEffect::SendTopUp(_)));
            if sent {
                waiting.insert((lease, number));
            }
        }
        if waiting.is_empty() {
            let body = ErrorBody::new(
                ErrorCode::Conflict,
                format!(
                    "topping up job {}: none of its leases is open any more; nothing was spent",
                    self.record.name
                ),
            );
            let _ = reply.send(Err(
                body.with_hint("start the job again with a larger budget.max_duration")
            ));
            return;
        }
        self.top_up = Some(Pending {
            waiting,
            done: Vec::new(),
            failed: None,
            reply,
        });
    }

    fn check_top_up(&self, amount: Amount) -> Result<(), ErrorBody> {
        let name = &self.record.name;
        if self.top_up.is_some() {
            let body = ErrorBody::new(
                ErrorCode::Conflict,
                format!("topping up job {name}: another top-up is still on its way"),
            );
            return Err(body.with_hint("try again in a few seconds").retryable());
        }
        if amount == Amount::ZERO {
            return Err(ErrorBody::new(
                ErrorCode::InvalidInput,
                format!("topping up job {name}: the amount is zero"),
            ));
        }
        let token = &self.node.chain.token().token;
        let Some(limit) = self
            .record
            .job
            .budget
            .max_total
            .as_ref()
            .and_then(|total| total.in_token(token).ok())
        else {
            return Ok(());
        };
        let paid = self.leases.values().fold(Amount::ZERO, |sum, live| {
            sum.saturating_add(live.record.deposit)
                .saturating_add(live.record.topped_up)
        });
        let open = self.leases.values().filter(|live| !live.record.is_over());
        let total = open.fold(paid, |sum, _| sum.saturating_add(amount));
        if total <= limit {
            return Ok(());
        }
        let message = format!(
            "topping up job {name}: {} in all would pass budget.max_total of {}; nothing was spent",
            token.format(total),
            token.format(limit)
        );
        Err(ErrorBody::new(ErrorCode::OverBudget, message)
            .with_hint("top up by less; the limit stands in the job file"))
    }

    /// Leases may have come since somebody looked and said yes.
    fn check_agreed(&self, amount: Amount, agreed: Option<Amount>) -> Result<(), ErrorBody> {
        let open = self.leases.values().filter(|live| live.record.machine.takes_top_up());
        let total = open.fold(Amount::ZERO, |sum, _| sum.saturating_add(amount));
        let Some(agreed) = agreed.filter(|agreed| total > *agreed) else {
            return Ok(());
        };
        let token = &self.node.chain.token().token;
        let message = format!(
            "topping up job {}: its open leases take {} in all now, and {} was agreed to; nothing was spent",
            self.record.name,
            token.format(total),
            token.format(agreed)
        );
        Err(ErrorBody::new(ErrorCode::OverBudget, message).with_hint("look at `gpux ps` and top up again"))
    }

    pub(super) fn send_top_up(&mut self, lease: LeaseId, top_up: TopUp) {
        let Some(live) = self.leases.get(&lease) else { return };
        let call = Call::TopUp {
            terms: live.record.terms.clone(),
            amount: top_up.amount,
            new_expiry: top_up.new_expiry,
            permit: true,
        };
        let intent = Intent {
            key: IntentKey::top_up(lease, top_up.number),
            call,
        };
        let node = self.node.clone();
        self.effects.spawn(async move {
            let result = match node.sender.send(intent).await {
                Ok(sent) => node
                    .sender
                    .confirmed(sent.hash, Depth::Latest)
                    .await
                    .map_err(|error| crate::error_chain(&error)),
                Err(error) => Err(crate::error_chain(&error)),
            };
            let result = result
                .map(|mined| crate::renter::cost::transaction(lease, TransactionKind::TopUp, top_up.amount, &mined));
            JobInput::TopUpEnded {
                lease,
                number: top_up.number,
                result,
            }
        });
    }

    pub(super) fn top_up_ended(&mut self, lease: LeaseId, number: u32, result: Result<TransactionView, String>) {
        self.addition_ended(lease, result.as_ref().err());
        if let (Ok(transaction), Some(live)) = (&result, self.leases.get_mut(&lease)) {
            live.record.topped_up = live.record.topped_up.saturating_add(transaction.amount);
        }
        self.lease_event(lease, RenterEvent::TopUpEnded { number });
        let escrow = self.leases.get(&lease).map(|live| live.record.machine.escrow());
        if let (Some(gpux_lease::EscrowView::Open { expiry, .. }), Some(live)) = (escrow, self.leases.get_mut(&lease)) {
            live.record.expiry = live.record.expiry.max(expiry);
        }
        self.keep_lease(lease);
        let Some(pending) = &mut self.top_up else { return };
        pending.waiting.remove(&(lease, number));
        match result {
            Ok(transaction) => pending.done.push(transaction),
            Err(why) => pending.failed = Some(why),
        }
        if pending.waiting.is_empty()
            && let Some(pending) = self.top_up.take()
        {
            let answer = match pending.failed {
                None => Ok(pending.done),
                Some(why) => Err(ErrorBody::new(
                    ErrorCode::Unreachable,
                    format!(
                        "topping up job {}: {} of its leases were topped up, then: {why}",
                        self.record.name,
                        pending.done.len()
                    ),
                )),
            };
            let _ = pending.reply.send(answer);
        }
    }
}

pub(super) fn later(expiry: UnixSeconds, secs: u64, now: UnixSeconds) -> UnixSeconds {
    expiry.plus_secs(secs).min(now.plus_secs(LONGEST_AHEAD_SECS))
}

//! More money for running leases.

use super::{JobInput, JobTask, TopUpReply, leases::Unchanged, together};
use crate::{node::Node, renter::record::LeaseRecord};
use gpux_api::{ErrorBody, ErrorCode, TransactionKind, TransactionView};
use gpux_chain::{Call, Intent, IntentKey, Mined};
use gpux_lease::{RenterEffect, RenterEvent, TopUp};
use gpux_types::{Amount, LeaseId, UnixSeconds};
use std::{collections::BTreeSet, time::Duration};

/// How long to wait before the disk is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// The longest that an expiry may lie ahead, a minute short of the escrow's own limit of 90 days.
pub(in crate::renter) const LONGEST_AHEAD_SECS: u64 = 90 * 86_400 - 60;

/// What became of a top-up.
pub(in crate::renter) type Outcome = Result<TransactionView, Undone>;

/// A top-up that is not on the chain.
#[derive(Debug, Clone)]
pub(in crate::renter) struct Undone {
    pub(super) why: String,
    /// Whether it was signed: whoever has its bytes may still send them, so that its amount may be paid after all.
    pub(super) signed: bool,
}

impl Undone {
    pub(super) fn unsigned(why: &str) -> Self {
        Self {
            why: why.to_owned(),
            signed: false,
        }
    }
}

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
        let (mut waiting, mut not_kept) = (BTreeSet::new(), false);
        for lease in ids {
            let Some(live) = self.leases.get(&lease) else { continue };
            let record = &live.record;
            let number = record.machine.next_top_up();
            let new_expiry = extend.then(|| later(record, amount, self.node.clock.date())).flatten();
            let event = RenterEvent::TopUpRequested(TopUp {
                number,
                amount,
                new_expiry,
            });
            match self.change_lease(lease, event, |_| {}) {
                Ok(effects) if effects.iter().any(is_send) => {
                    waiting.insert((lease, number));
                }
                Ok(_) | Err(Unchanged::Refused) => {}
                Err(Unchanged::NotKept) => not_kept = true,
            }
        }
        if waiting.is_empty() && not_kept {
            let message = format!(
                "topping up job {}: this machine's disk takes nothing now; nothing was spent",
                self.record.name
            );
            let body = ErrorBody::new(ErrorCode::Internal, message);
            let _ = reply.send(Err(body.with_hint("make room on the disk and try again").retryable()));
            return;
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
        let (total, room) = (self.for_each_open(amount), self.room());
        let Some(room) = room.filter(|room| total > *room) else {
            return Ok(());
        };
        let token = &self.node.chain.token().token;
        let message = format!(
            "topping up job {name}: {} more in all would pass its limit, which leaves {}; nothing was spent",
            token.format(total),
            token.format(room)
        );
        Err(ErrorBody::new(ErrorCode::OverBudget, message)
            .with_hint("top up by less; the limit is budget.max_total of the job file, or --max-total"))
    }

    fn for_each_open(&self, amount: Amount) -> Amount {
        let open = self.leases.values().filter(|live| live.record.machine.takes_top_up());
        open.fold(Amount::ZERO, |sum, _| sum.saturating_add(amount))
    }

    /// What may still be paid into the leases of the job, however it is asked for. `None`: there is no limit.
    pub(super) fn room(&self) -> Option<Amount> {
        let paid = self.leases.values().map(|live| live.record.paid_in());
        let paid = paid.fold(Amount::ZERO, Amount::saturating_add);
        self.record.max_total.map(|limit| limit.saturating_sub(paid))
    }

    /// Leases may have come since somebody looked and said yes.
    fn check_agreed(&self, amount: Amount, agreed: Option<Amount>) -> Result<(), ErrorBody> {
        let total = self.for_each_open(amount);
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
            let mined = mined(&node, intent).await;
            let outcome = mined
                .map(|mined| crate::renter::cost::transaction(lease, TransactionKind::TopUp, top_up.amount, &mined));
            JobInput::TopUpsEnded(vec![(lease, top_up.number, outcome)])
        });
    }

    /// Adds a top-up to what is known of its lease; once, however often it is heard of.
    fn count_top_up(&mut self, lease: LeaseId, number: u32, outcome: &Outcome) -> Result<(), Unchanged> {
        let pending = self
            .leases
            .get(&lease)
            .and_then(|live| live.record.machine.pending_top_up());
        let Some(top_up) = pending.filter(|top_up| top_up.number == number) else {
            return Ok(());
        };
        self.change_lease(lease, RenterEvent::TopUpEnded { number }, |record| match outcome {
            Ok(transaction) => {
                record.topped_up = record.topped_up.saturating_add(transaction.amount);
                record.expiry = record.newest_expiry().max(top_up.new_expiry.unwrap_or_default());
            }
            Err(undone) if undone.signed => record.doubtful = record.doubtful.saturating_add(top_up.amount),
            Err(_) => {}
        })?;
        self.addition_ended(lease, outcome.as_ref().err());
        Ok(())
    }

    pub(super) fn top_up_ended(&mut self, lease: LeaseId, number: u32, outcome: Outcome) {
        if self.count_top_up(lease, number, &outcome) == Err(Unchanged::NotKept) {
            // Nobody else tells it.
            self.effects.spawn(async move {
                tokio::time::sleep(AGAIN).await;
                JobInput::TopUpsEnded(vec![(lease, number, outcome)])
            });
            return;
        }
        let Some(pending) = &mut self.top_up else { return };
        if !pending.waiting.remove(&(lease, number)) {
            // One that nobody asked for.
            return;
        }
        match outcome {
            Ok(transaction) => pending.done.push(transaction),
            Err(undone) => pending.failed = Some(undone.why),
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

/// Whether a lease asks for a top-up to be sent.
pub(super) const fn is_send(effect: &RenterEffect) -> bool {
    matches!(effect, RenterEffect::SendTopUp(_))
}

/// Sends, and waits for the newest block.
pub(super) async fn mined(node: &Node, intent: Intent) -> Result<Mined, Undone> {
    let key = intent.key.clone();
    match together::mined(node, intent).await {
        Ok(mined) => Ok(mined),
        Err(why) => Err(Undone {
            why,
            signed: node.sender.could_take_effect(&key).await != Some(false),
        }),
    }
}

/// The expiry that `amount` more moves a lease to; `None` when it moves it nowhere.
pub(super) fn later(record: &LeaseRecord, amount: Amount, now: UnixSeconds) -> Option<UnixSeconds> {
    let expiry = record.newest_expiry();
    let later = expiry.plus_secs(record.price.time_for(amount).as_secs());
    Some(later.min(now.plus_secs(LONGEST_AHEAD_SECS))).filter(|at| *at > expiry)
}

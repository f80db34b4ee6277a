//! The renter's daemon: its machine, its journal, and what it does with the machine's effects; and how a cheat does it.

use super::{Lease, SLOTS, effects_before, lease_id, tariff};
use crate::parts::PartEvent;
use crate::renter::{RenterEffect, RenterEvent, RenterState, TopUp};
use crate::simulation::bug::Bug;
use crate::simulation::chain::{Call, GENESIS, Status};
use crate::simulation::ledger::{Invariant, Violation, broken};
use crate::simulation::network::{Message, Said};
use crate::simulation::world::World;
use crate::simulation::{CrashPoint, Logged, RenterKind};
use gpux_types::{Amount, Millis, UnixSeconds};

impl Lease {
    pub(in crate::simulation) fn tell_renter(
        &mut self,
        world: &mut World,
        event: RenterEvent,
    ) -> Result<(), Violation> {
        if !self.renter_up(world) {
            return Ok(());
        }
        let node = self.plan.renter;
        let now = world.daemons[node].now(world.at_ms);
        world.note(now, self.index, Logged::Renter(event));
        if let (RenterEvent::ReceiptAsked { cumulative, .. }, Some(Bug::SignsBeforeDeposit)) = (event, world.bug) {
            self.ledger.receipt_signed(world.at_ms, cumulative)?;
        }
        let Ok(effects) = self.renter.machine.handle(now, event) else {
            return Ok(());
        };
        self.check_renter_again(world, event)?;
        let crash = world.daemons[node].crash.take();
        if let Some((CrashPoint::BeforeJournal, down_ms)) = crash {
            world.crash(node, down_ms);
            return Ok(());
        }
        let same_state = self.renter.machine.state() == self.renter.journal.state();
        let written = world.bug != Some(Bug::SignedIsNotJournaled) || !same_state;
        if written && self.renter.machine.must_be_written(&self.renter.journal) {
            self.renter.journal = self.renter.machine.clone();
        }
        self.ledger.renter_stands(world.at_ms, self.renter_ended())?;
        let kept = effects_before(crash, effects.len());
        for effect in effects.into_iter().take(kept) {
            self.perform_renter(world, event, effect)?;
        }
        if let Some((_, down_ms)) = crash {
            world.crash(node, down_ms);
        }
        Ok(())
    }

    pub(super) fn check_renter_again(&self, world: &World, event: RenterEvent) -> Result<(), Violation> {
        let now = world.daemons[self.plan.renter].now(world.at_ms);
        let mut again = self.renter.machine.clone();
        let event_again = if let RenterEvent::TopUpRequested(top_up) = event
            && world.bug == Some(Bug::EveryTopUpIsNew)
        {
            let _ = again.handle(now, RenterEvent::TopUpEnded { number: top_up.number });
            RenterEvent::TopUpRequested(TopUp {
                number: again.next_top_up(),
                ..top_up
            })
        } else {
            event
        };
        let repeated = again.handle(now, event_again).is_ok() && again == self.renter.machine;
        if repeated {
            return Ok(());
        }
        let detail = format!("{event:?} again made {:?} of {:?}", again, self.renter.machine);
        Err(broken(Invariant::ReplayChangesNothing, world.at_ms, detail))
    }

    pub(super) fn perform_renter(
        &mut self,
        world: &mut World,
        event: RenterEvent,
        effect: RenterEffect,
    ) -> Result<(), Violation> {
        use RenterEffect as Do;
        let (lease, job) = (lease_id(self.index), self.plan.job);
        match effect {
            Do::Deposit => self.deposit(world),
            Do::SignReceipt { cumulative } => self.sign(world, event, cumulative)?,
            Do::SendTopUp(TopUp { number, amount, .. }) => {
                world.call(self.plan.renter, self.index, Call::TopUp { number, amount })
            }
            Do::AskStop { end } => self.send(world, Message::ToProvider(Said::Stop { end })),
            // Left to the provider, who settles after its wait. Its own money every renter wants back.
            Do::Close { .. } if !self.wants_to_close() => {}
            Do::Close { amount } => world.call(self.plan.renter, self.index, Call::Close { amount, signed: true }),
            Do::Reclaim if world.bug == Some(Bug::NeverReclaims) => {}
            Do::Reclaim => world.call(self.plan.renter, self.index, Call::Reclaim),
            Do::WakeAt(at) => self.renter.wake = Some(at),
            Do::OfferParts => world.news.push((job, PartEvent::LeaseReady { lease, slots: SLOTS })),
            Do::RequeueParts if world.bug == Some(Bug::NeverRequeues) => {}
            Do::RequeueParts => {
                let lost = matches!(self.renter.machine.state(), RenterState::Lost { .. });
                world.news.push(if lost {
                    (job, PartEvent::LeaseLost { lease })
                } else {
                    (job, PartEvent::LeaseClosed { lease })
                });
            }
            Do::Forget => {}
        }
        Ok(())
    }

    const fn wants_to_close(&self) -> bool {
        matches!(self.plan.deal.renter, RenterKind::Honest)
            || matches!(self.renter.machine.state(), RenterState::Reclaimable { .. })
    }

    pub(super) fn opening(&self) -> Call {
        let deal = &self.plan.deal;
        Call::Open {
            deposit: tariff(deal).due(Millis::from_secs(deal.deposit_secs)),
            expiry: UnixSeconds(GENESIS + deal.expiry_secs),
        }
    }

    pub(super) fn deposit(&mut self, world: &mut World) {
        if self.deposit_sent && !self.resends(world) {
            return;
        }
        self.deposit_sent = true;
        world.call(self.plan.renter, self.index, self.opening());
    }

    pub(super) fn resends(&self, world: &World) -> bool {
        self.plan.deal.renter != RenterKind::NeverResends && world.bug != Some(Bug::NeverResends)
    }

    /// The sender brings back by itself what a reorganisation took out of its block.
    pub(super) fn rebroadcast(&self, world: &mut World) {
        if self.deposit_sent && self.resends(world) && world.chain.slot(self.index).status == Status::None {
            world.call(self.plan.renter, self.index, self.opening());
        }
    }

    pub(super) fn sign(&mut self, world: &mut World, event: RenterEvent, cumulative: Amount) -> Result<(), Violation> {
        let tariff = tariff(&self.plan.deal);
        let deposit = world.chain.slot(self.index).deposit;
        let cumulative = match (world.bug, event) {
            (Some(Bug::SignsWhatIsAsked), RenterEvent::ReceiptAsked { cumulative: asked, .. }) => {
                cumulative.max(asked.min(deposit))
            }
            (
                Some(Bug::BelievesTheMeter),
                RenterEvent::ReceiptAsked {
                    cumulative: asked,
                    metered,
                    ..
                },
            ) => cumulative.max(asked.min(tariff.ask(metered, deposit))),
            _ => cumulative,
        };
        let first = *self.first_receipt.get_or_insert(cumulative);
        let cumulative = match self.plan.deal.renter {
            RenterKind::StopsSigning { at_ms } if world.at_ms >= at_ms => return Ok(()),
            RenterKind::SignsLess { secs } => {
                let first = tariff.ask(Millis::ZERO, cumulative);
                cumulative
                    .saturating_sub(tariff.due(Millis::from_secs(secs)))
                    .max(first)
            }
            RenterKind::SignsOld => first,
            RenterKind::Honest
            | RenterKind::StopsSigning { .. }
            | RenterKind::NeverResends
            | RenterKind::GoesSilent { .. }
            | RenterKind::Grabs => cumulative,
        };
        self.ledger.receipt_signed(world.at_ms, cumulative)?;
        self.send(world, Message::ToProvider(Said::Receipt { cumulative }));
        Ok(())
    }
}

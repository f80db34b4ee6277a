//! The provider's daemon: its machine, its journal, and what it does with the machine's effects; and how a cheat does it.

use super::{Lease, STOP_MS, Task, effects_before, lease_id, tariff};
use crate::lifecycle::EscrowView;
use crate::provider::{ProviderEffect, ProviderEvent};
use crate::receipt::VerifiedReceipt;
use crate::simulation::bug::Bug;
use crate::simulation::chain::Call;
use crate::simulation::ledger::{Invariant, Violation, broken};
use crate::simulation::network::{Message, Told};
use crate::simulation::world::World;
use crate::simulation::{CrashPoint, Logged, ProviderKind};
use gpux_types::{Amount, Millis};

impl Lease {
    pub(in crate::simulation) fn tell_provider(
        &mut self,
        world: &mut World,
        event: ProviderEvent,
    ) -> Result<(), Violation> {
        self.handle_at_provider(world, event)?;
        if !self.provider_up(world) {
            return Ok(());
        }
        let exposed = self.provider.machine.exposed();
        let share = match world.bug {
            Some(Bug::ExposureIsPerLease) => exposed.wanted,
            _ => world.exposures[self.plan.provider].share(lease_id(self.index), exposed),
        };
        if share == self.provider.machine.exposure() {
            return Ok(());
        }
        self.handle_at_provider(world, ProviderEvent::ExposureShared(share))
    }

    pub(super) fn handle_at_provider(&mut self, world: &mut World, event: ProviderEvent) -> Result<(), Violation> {
        if !self.provider_up(world) {
            return Ok(());
        }
        let event = misread(event, world.bug);
        let node = self.plan.provider;
        let now = world.daemons[node].now(world.at_ms);
        world.note(now, self.index, Logged::Provider(event));
        let Ok(effects) = self.provider.machine.handle(now, event) else {
            return Ok(());
        };
        let mut again = self.provider.machine.clone();
        let repeated = again.handle(now, event).is_ok() && again == self.provider.machine;
        if !repeated {
            let detail = format!("{event:?} again made {:?} of {:?}", again, self.provider.machine);
            return Err(broken(Invariant::ReplayChangesNothing, world.at_ms, detail));
        }
        let crash = world.daemons[node].crash.take();
        if let Some((CrashPoint::BeforeJournal, down_ms)) = crash {
            world.crash(node, down_ms);
            return Ok(());
        }
        if self.provider.machine.must_be_written(&self.provider.journal) {
            self.journal_provider(world.bug);
        }
        self.ledger.provider_stands(world.at_ms, self.provider_ended())?;
        if let ProviderEvent::ReceiptReceived(receipt) = event {
            self.ledger.receipt_held(world.at_ms, receipt.cumulative(), &self.shim);
        }
        if let (ProviderEvent::Metered { .. }, Some(Bug::RenewsUnpaidWork | Bug::NeverFreezes)) = (event, world.bug) {
            self.shim.renew();
        }
        let kept = effects_before(crash, effects.len());
        self.perform_all_for_provider(world, effects.into_iter().take(kept).collect())?;
        if let Some((_, down_ms)) = crash {
            world.crash(node, down_ms);
        }
        Ok(())
    }

    pub(super) fn journal_provider(&mut self, bug: Option<Bug>) {
        match bug {
            Some(Bug::EndIsNotJournaled) if self.provider_ended() => {}
            Some(Bug::ReceiptIsNotJournaled) => {
                let mut value = serde_json::to_value(&self.provider.machine).unwrap();
                value["account"]["receipt"] = serde_json::Value::Null;
                self.provider.journal = serde_json::from_value(value).unwrap();
            }
            _ => self.provider.journal = self.provider.machine.clone(),
        }
    }

    pub(super) fn perform_all_for_provider(
        &mut self,
        world: &mut World,
        effects: Vec<ProviderEffect>,
    ) -> Result<(), Violation> {
        effects
            .into_iter()
            .try_for_each(|effect| self.perform_provider(world, effect))
    }

    pub(super) fn perform_provider(&mut self, world: &mut World, effect: ProviderEffect) -> Result<(), Violation> {
        use ProviderEffect as Do;
        let soon = world.at_ms + world.chance.below(STOP_MS);
        let bug = world.bug;
        match effect {
            Do::Prepare => {
                let late = world.chance_of_slow_start();
                self.tasks.push((soon + 1_000 + late, Task::Prepare));
            }
            Do::AskReceipt { cumulative } => {
                self.ledger.receipt_asked(world.at_ms, cumulative)?;
                self.ask(world, cumulative);
            }
            Do::AllowWork if self.tries.is_empty() => {}
            Do::AllowWork => self.shim.execute(),
            Do::Renew => self.shim.renew(),
            Do::Freeze if bug == Some(Bug::NeverFreezes) => {}
            Do::Freeze => self.shim.freeze(),
            Do::Thaw if bug == Some(Bug::NeverThaws) => {}
            Do::Thaw => self.shim.thaw(),
            Do::StopWork { .. } => {
                if bug == Some(Bug::ClosesTooEarly) {
                    self.ledger.closing_given(world.at_ms, Amount::ZERO, &self.shim)?;
                }
                self.tasks.push((soon, Task::Destroy));
            }
            Do::Draw { amount, receipt, .. } => {
                self.ledger.claimed(world.at_ms, amount, &self.shim, &world.chain)?;
                world.call(self.plan.provider, self.index, Call::Draw { amount, receipt });
            }
            Do::Settle { amount, receipt } => self.settle(world, amount, receipt)?,
            Do::WakeAt(at) => self.provider.wake = Some(at),
            Do::SignClosing { amount } => {
                self.ledger.closing_given(world.at_ms, amount, &self.shim)?;
                if let Some(end) = self.provider.machine.end() {
                    self.send(world, Message::ToRenter(Told::Closing { amount, end }));
                }
            }
            Do::Forget => {}
        }
        Ok(())
    }

    pub(super) fn ask(&mut self, world: &mut World, cumulative: Amount) {
        let (metered, work) = (self.told_meter(), self.provider.machine.work());
        let tariff = tariff(&self.plan.deal);
        let cumulative = match self.plan.deal.provider {
            ProviderKind::Honest | ProviderKind::AsksEarly | ProviderKind::SettlesWildly => cumulative,
            ProviderKind::AsksTooMuch { secs } => cumulative.saturating_add(tariff.due(Millis::from_secs(secs))),
            ProviderKind::InflatesMeter { .. } | ProviderKind::FakesProgress => {
                cumulative.max(tariff.ask(metered, Amount::MAX))
            }
        };
        let ask = Told::Ask {
            cumulative,
            metered,
            work,
        };
        self.send(world, Message::ToRenter(ask));
    }

    pub(super) fn settle(
        &mut self,
        world: &mut World,
        amount: Amount,
        receipt: Option<VerifiedReceipt>,
    ) -> Result<(), Violation> {
        let due = tariff(&self.plan.deal).due(self.shim.metered());
        let amount = match world.bug {
            Some(Bug::ClaimIgnoresDeposit) => {
                let deposit = world.chain.slot(self.index).deposit;
                amount.max(deposit.saturating_add(amount))
            }
            Some(Bug::ClaimIgnoresReceipt) => due,
            Some(Bug::GivesBackWhatCameBack) if self.ledger.was_reorganised() => Amount::ZERO,
            Some(Bug::ClaimIgnoresMeter) => receipt.map_or(amount, |receipt| receipt.cumulative()),
            _ => amount,
        };
        if self.plan.deal.provider == ProviderKind::Honest {
            self.ledger.claimed(world.at_ms, amount, &self.shim, &world.chain)?;
            world.call(self.plan.provider, self.index, Call::Settle { amount, receipt });
        } else {
            let amount = receipt.map_or(amount, |receipt| receipt.cumulative());
            world.call(self.plan.provider, self.index, Call::Settle { amount, receipt });
        }
        Ok(())
    }

    /// A provider that claims in the middle of its work, more than it may and then what it may.
    pub(in crate::simulation) fn settle_wildly(&mut self, world: &mut World) {
        let wild = self.plan.deal.provider == ProviderKind::SettlesWildly && self.provider_up(world);
        if wild && self.shim.delivered_ms > 20_000 {
            let receipt = self.provider.machine.receipt().copied();
            let signed = receipt.map_or(Amount::ZERO, |receipt| receipt.cumulative());
            for amount in [signed.saturating_add(signed), signed] {
                world
                    .chain
                    .force(self.index, Call::Settle { amount, receipt }, world.at_ms);
            }
        }
    }
}

fn misread(event: ProviderEvent, bug: Option<Bug>) -> ProviderEvent {
    match (event, bug) {
        (ProviderEvent::EscrowSeen(view @ EscrowView::Open { deposit, expiry, .. }), Some(Bug::DepositCountsTwice)) => {
            let twice = deposit.saturating_add(deposit);
            ProviderEvent::EscrowSeen(EscrowView::Open {
                deposit: twice,
                assured: twice,
                drawn: view.drawn(),
                expiry,
            })
        }
        (event, _) => event,
    }
}

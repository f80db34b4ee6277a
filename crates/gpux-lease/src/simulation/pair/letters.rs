//! What the two daemons of a lease write to each other, and what each does with a letter that comes.

use super::{Lease, Running, lease_id};
use crate::lifecycle::{Actor, EndReason};
use crate::parts::PartEvent;
use crate::provider::ProviderEvent;
use crate::receipt::VerifiedReceipt;
use crate::renter::RenterEvent;
use crate::simulation::bug::Bug;
use crate::simulation::ledger::Violation;
use crate::simulation::network::{Letter, Message, Said, Told, Try};
use crate::simulation::world::World;
use crate::simulation::{LeasePlan, ProviderKind, RenterKind};
use gpux_types::{BlobHash, LeaseId, Millis, PartIndex};

impl Lease {
    pub(super) fn send(&self, world: &mut World, message: Message) {
        let LeasePlan { renter, provider, .. } = self.plan;
        let (from, to) = match message {
            Message::ToRenter(_) => (provider, renter),
            Message::ToProvider(_) => (renter, provider),
        };
        if let RenterKind::GoesSilent { at_ms } = self.plan.deal.renter
            && from == renter
            && world.at_ms >= at_ms
        {
            return;
        }
        let lease = self.index;
        world.post(Letter {
            lease,
            from,
            to,
            message,
        });
    }

    /// What the provider's daemon says that its meter shows.
    pub(super) fn told_meter(&self) -> Millis {
        let metered = self.provider.machine.metered();
        match self.plan.deal.provider {
            ProviderKind::InflatesMeter { percent } => Millis(metered.0 + metered.0 * percent / 100),
            ProviderKind::Honest
            | ProviderKind::AsksTooMuch { .. }
            | ProviderKind::AsksEarly
            | ProviderKind::FakesProgress
            | ProviderKind::SettlesWildly => metered,
        }
    }

    pub(in crate::simulation) fn deliver(&mut self, world: &mut World, message: Message) -> Result<(), Violation> {
        match message {
            Message::ToRenter(told) if self.renter_up(world) => self.hear(world, told),
            Message::ToProvider(said) if self.provider_up(world) => self.obey(world, said),
            Message::ToRenter(_) | Message::ToProvider(_) => Ok(()),
        }
    }

    pub(super) fn hear(&mut self, world: &mut World, told: Told) -> Result<(), Violation> {
        match told {
            Told::Ask {
                cumulative,
                metered,
                work,
            } => self.tell_renter(
                world,
                RenterEvent::ReceiptAsked {
                    cumulative,
                    metered,
                    work,
                },
            ),
            Told::Status {
                metered,
                work,
                end,
                over,
            } => {
                self.tell_renter(world, RenterEvent::Reported { metered, work })?;
                if let Some(end) = end {
                    self.tell_renter(world, RenterEvent::ProviderEnded { end })?;
                }
                if self.renter_up(world) {
                    let news = over.into_iter().map(|over| self.news(world, over));
                    let news: Vec<_> = news.collect();
                    world.news.extend(news);
                }
                Ok(())
            }
            Told::Closing { amount, end } => self.tell_renter(world, RenterEvent::ClosingOffered { amount, end }),
        }
    }

    pub(super) fn news(&self, world: &World, over: Try) -> (usize, PartEvent) {
        let Try { part, attempt, worked } = over;
        let lease = lease_id(self.index);
        let fault = crate::parts::PartFault::Error;
        let event = if worked || world.bug == Some(Bug::FailedPartsAreDone) {
            PartEvent::Finished {
                lease,
                part,
                attempt,
                digest: BlobHash([0; 32]),
            }
        } else {
            PartEvent::Failed {
                lease,
                part,
                attempt,
                fault,
            }
        };
        (self.plan.job, event)
    }

    pub(super) fn obey(&mut self, world: &mut World, said: Said) -> Result<(), Violation> {
        self.wanted_ms = world.at_ms;
        match said {
            Said::Receipt { cumulative } => {
                let receipt = VerifiedReceipt::unsigned(LeaseId::default(), cumulative);
                self.tell_provider(world, ProviderEvent::ReceiptReceived(receipt))
            }
            Said::Stop { end } if end.reason == EndReason::Completed => {
                self.tell_provider(world, ProviderEvent::PartsDrained)
            }
            Said::Stop { .. } => self.tell_provider(world, ProviderEvent::StopRequested { by: Actor::Renter }),
            Said::Poll { wanted } => {
                self.take_parts(wanted);
                self.tell_provider(world, ProviderEvent::RenterHeard)?;
                self.see_parts(world)?;
                if self.provider.machine.allows_work() && !self.tries.is_empty() {
                    self.shim.execute();
                }
                let over = self.tries.iter().filter_map(|running| {
                    running.over.map(|worked| Try {
                        part: running.part,
                        attempt: running.attempt,
                        worked,
                    })
                });
                let status = Told::Status {
                    metered: self.told_meter(),
                    work: self.provider.machine.work(),
                    end: self.provider.machine.told_end(),
                    over: over.collect(),
                };
                self.send(world, Message::ToRenter(status));
                Ok(())
            }
        }
    }

    pub(super) fn take_parts(&mut self, wanted: Vec<(PartIndex, u32)>) {
        for running in self.tries.iter_mut().filter(|running| running.over.is_some()) {
            // The renter waits for it no more.
            running.told |= !wanted.contains(&(running.part, running.attempt));
        }
        for (part, attempt) in wanted {
            let known = |running: &Running| (running.part, running.attempt) == (part, attempt);
            if !self.tries.iter().any(known) {
                self.tries.push(Running {
                    part,
                    attempt,
                    left_ms: self.part_ms,
                    over: None,
                    told: false,
                });
            }
        }
    }
}

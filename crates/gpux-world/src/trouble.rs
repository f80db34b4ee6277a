//! What goes wrong in a world, when, and until when. Called by the world at each of its steps.

use crate::{
    bug::Bug,
    chain::{ChainTroubles, SAFE},
    chance::Chance,
    coverage::Reached,
    life::Life,
    manners::Manners,
    network::Link,
    plan::Event,
    rpc::Mood,
    trace::trace,
    world::{QUIET, World},
};
use std::{sync::PoisonError, time::Duration};

/// What is over at its time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Heal {
    Mood(usize),
    Disk(usize),
    Link(usize, usize),
}

impl World {
    pub(crate) fn begin_troubles(&self) {
        let troubles = self.plan.troubles;
        self.commons.network.everywhere(Link {
            cut: false,
            lost: troubles.network,
            twice: troubles.network,
            late: troubles.network * 100,
            far: 0,
        });
        let mut chain = self.commons.chain.lock().unwrap_or_else(PoisonError::into_inner);
        chain.troubles = ChainTroubles {
            reorganisations: troubles.chain,
            delays: troubles.chain * 8,
            spikes: troubles.chain,
            forgotten: troubles.chain * 100,
        };
        chain.bug = self.plan.bug;
        drop(chain);
        let mut network = self.commons.network.lock();
        network.doors.bug = self.plan.bug;
        network.forgotten_quotes = troubles.forgotten_quotes;
        network.told_late = troubles.told_late;
        drop(network);
        let ways = Chance::new(self.plan.seed, "manners");
        for host in self.hosts.iter().filter(|host| !host.nature.provides) {
            let manners = match ways.between(0, 3) {
                0 => Manners::Lower,
                1 => Manners::Old,
                _ => Manners::Nothing(ways.between(1, 8)),
            };
            if ways.in_thousand(troubles.manners) {
                trace!(self.commons.trace, "{}: signs as one who is {manners:?}", host.name);
                self.commons.network.behaves(host.node, manners);
            }
        }
    }

    /// Does what a planted bug does to hosts at its time.
    pub(crate) fn plant(&mut self, step: u32) {
        let renter = self.plan.providers;
        match self.plan.bug {
            // The renter falls silent in the middle: work is to be frozen.
            Some(Bug::NoFreeze) if step == 80 => self.vanish(renter),
            Some(Bug::ForgetfulDisk) if step == 90 => {
                if let Some(host) = self.hosts.first_mut() {
                    host.kill();
                    self.starts.insert(0, self.now());
                }
            }
            Some(Bug::RottenOutputs) => {
                for number in 0..self.plan.renters {
                    let output = self.commons.dir.join(format!("results-{number}/part-1.txt"));
                    if output.exists() {
                        // The judge says so if it cannot be.
                        let _ = std::fs::write(output, "nothing of the kind");
                    }
                }
            }
            Some(_) | None => {}
        }
    }

    /// What the plan wants now.
    pub(crate) fn happen(&mut self) {
        let now = self.now();
        let planned = std::mem::take(&mut self.plan.events);
        let (due, later): (Vec<_>, Vec<_>) = planned.into_iter().partition(|(at, _)| *at <= now);
        self.plan.events = later;
        for (_, event) in due {
            match event {
                Event::EndpointAway { host, lasts, silent } => {
                    let mood = if silent { Mood::Silent } else { Mood::Failing };
                    self.fall_ill(host, mood, now + lasts);
                }
                Event::DiesAtWrite { host, write, before } => match self.life(host) {
                    Some(life) => life.crash_in(write, before),
                    None => self.plan.events.push((now, event)),
                },
                Event::ClockStepped { host, secs } => {
                    if let Some(host) = self.hosts.get(host) {
                        host.set_date_off(secs);
                    }
                }
            }
        }
    }

    fn life(&self, number: usize) -> Option<&Life> {
        let (life, _) = self.hosts.get(number)?.alive.as_ref()?;
        Some(life)
    }

    /// A host's chain node is so until then.
    fn fall_ill(&mut self, number: usize, mood: Mood, until: Duration) {
        let Some(host) = self.hosts.get(number) else { return };
        self.commons.trace.reach(Reached::ChainNodeIll);
        trace!(self.commons.trace, "{}: its chain node is {mood:?}", host.name);
        host.mood(mood);
        self.heals.push((until, Heal::Mood(number)));
    }

    /// Perhaps somebody sets a machine's date.
    fn set_dates(&self) {
        for host in &self.hosts {
            if self.clocks.in_thousand(self.plan.troubles.clocks) {
                let ahead = self.clocks.in_thousand(500);
                let secs = i64::try_from(self.clocks.between(60, 900)).unwrap_or(0);
                host.set_date_off(if ahead { secs } else { -secs });
            }
        }
    }

    /// Perhaps something goes wrong now.
    pub(crate) fn trouble(&mut self) {
        let troubles = self.plan.troubles;
        let now = self.now();
        let count = u64::try_from(self.hosts.len()).unwrap_or(1);
        self.set_dates();
        for number in 0..self.hosts.len() {
            let until = now + self.chance.millis(1_000, 20_000);
            if self.chance.in_thousand(troubles.crashes)
                && let Some((life, _)) = self.hosts.get(number).and_then(|host| host.alive.as_ref())
            {
                life.crash_in(self.chance.between(1, 4), self.chance.in_thousand(500));
            }
            if self.chance.in_thousand(troubles.vanishing) && self.now() > QUIET {
                self.vanish(number);
            }
            self.trouble_machine(number, until);
            if self.chance.in_thousand(troubles.rpc) {
                let moods = [
                    Mood::Silent,
                    Mood::Failing,
                    Mood::Behind(self.chance.between(1, SAFE)),
                    Mood::Ahead,
                ];
                let mood = usize::try_from(self.chance.between(0, 4)).unwrap_or(0);
                let mood = moods.get(mood).copied().unwrap_or_default();
                self.fall_ill(number, mood, until);
            }
            if self.chance.in_thousand(troubles.partitions) {
                let other = usize::try_from(self.chance.between(0, count)).unwrap_or(0);
                let both = self.chance.in_thousand(500);
                self.commons.trace.reach(Reached::Parted);
                self.part(number, other, true);
                self.heals.push((until, Heal::Link(number, other)));
                if both {
                    self.part(other, number, true);
                    self.heals.push((until, Heal::Link(other, number)));
                }
            }
        }
    }

    /// Perhaps a disk is full, a shim is killed, or the power is lost.
    fn trouble_machine(&mut self, number: usize, until: Duration) {
        let troubles = self.plan.troubles;
        let Some(host) = self.hosts.get_mut(number) else { return };
        if self.chance.in_thousand(troubles.disk) {
            trace!(self.commons.trace, "{}: its disk is full", host.name);
            host.disk.fill(true);
            self.heals.push((until, Heal::Disk(number)));
        }
        if self.chance.in_thousand(troubles.shims)
            && let Some(lease) = host.at_work().first()
        {
            self.commons.trace.reach(Reached::ShimKilled);
            trace!(
                self.commons.trace,
                "{}: the shim of {} is killed",
                host.name,
                lease.short()
            );
            host.double.lose_shim(*lease);
        }
        if self.chance.in_thousand(troubles.power) && host.alive.is_some() {
            self.commons.trace.reach(Reached::PowerLost);
            trace!(self.commons.trace, "{}: the power is lost", host.name);
            host.lose_power();
            self.starts.insert(number, until);
        }
    }

    /// A host's daemon ends for ever.
    fn vanish(&mut self, number: usize) {
        if let Some(host) = self.hosts.get_mut(number) {
            self.commons.trace.reach(Reached::Vanished);
            trace!(self.commons.trace, "{}: vanishes for ever", host.name);
            host.kill();
            host.gone = true;
            self.starts.remove(&number);
        }
    }

    fn part(&self, from: usize, to: usize, cut: bool) {
        if let (Some(from), Some(to)) = (self.hosts.get(from), self.hosts.get(to)) {
            trace!(self.commons.trace, "net: {} -> {} cut={cut}", from.name, to.name);
            self.commons.network.cut(from.node, to.node, cut);
        }
    }

    pub(crate) fn heal(&mut self) {
        let now = self.now();
        let calm = now >= self.plan.troubled;
        let (due, later) = std::mem::take(&mut self.heals)
            .into_iter()
            .partition(|(until, _)| calm || *until <= now);
        self.heals = later;
        let due: Vec<(Duration, Heal)> = due;
        for (_, heal) in due {
            match heal {
                Heal::Mood(host) => {
                    if let Some(host) = self.hosts.get(host) {
                        host.mood(Mood::Well);
                    }
                }
                Heal::Disk(host) => {
                    if let Some(host) = self.hosts.get(host) {
                        host.disk.fill(false);
                    }
                }
                Heal::Link(from, to) => self.part(from, to, false),
            }
        }
        if calm {
            self.commons.network.heal();
            let mut network = self.commons.network.lock();
            (network.forgotten_quotes, network.told_late) = (0, 0);
            drop(network);
            let mut chain = self.commons.chain.lock().unwrap_or_else(PoisonError::into_inner);
            chain.troubles = ChainTroubles::default();
        }
    }
}

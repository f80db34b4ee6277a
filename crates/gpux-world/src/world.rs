//! A world: hosts with their daemons, a chain and a network between them, and the troubles of one seed.
//!
//! Everything runs on one thread, on tokio's paused clock, which jumps to the next event when nothing is left to do: two
//! simulated minutes take as long as their work does. All that is random comes from the seed.

use crate::{
    adversary::Adversary,
    bug::Bug,
    chain::{BLOCK_SECS, SimChain},
    chance::Chance,
    coverage::Reached,
    ground,
    host::{Commons, SimHost, folder, keys},
    judge::Judge,
    mallory::{self, Mallory},
    network::{ANNOUNCE, SimNetwork},
    plan::{Plan, Report},
    rpc::SharedChain,
    trace::{Trace, trace},
    trouble::Heal,
};
use gpux_types::{LeaseId, Millis};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How often the world acts.
const STEP: Duration = Duration::from_millis(500);
/// What each wallet has of the token at the beginning: 500 whole ones.
const RICH: u64 = 500_000_000;
/// By when every job has been started.
pub(crate) const QUIET: Duration = Duration::from_secs(45);
/// How long it goes on once all is over: ends lie deep then, and both sides sign how it ended.
const AFTERWARDS: Duration = Duration::from_secs(50);
/// How long after the troubles everything must have come to its end.
const PATIENCE: Duration = Duration::from_secs(2_400);

/// Lives through one world.
///
/// # Errors
/// When the world itself cannot be made: its folder or its runtime.
pub fn run(plan: &Plan) -> std::io::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    runtime.block_on(async {
        let mut world = World::new(plan)?;
        world.live().await;
        Ok(world.report())
    })
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) commons: Commons,
    pub(crate) hosts: Vec<SimHost>,
    pub(crate) judge: Judge,
    pub(crate) chance: Chance,
    /// When and how far dates are set.
    pub(crate) clocks: Chance,
    adversary: Adversary,
    mallory: Mallory,
    /// When a host's daemon starts again.
    pub(crate) starts: BTreeMap<usize, Duration>,
    /// When a trouble of a host or of a link is over.
    pub(crate) heals: Vec<(Duration, Heal)>,
    pub(crate) jobs: Vec<Arc<Mutex<String>>>,
    /// What renters sign ahead, as their daemons said.
    pub(crate) ahead: Arc<Mutex<Vec<(LeaseId, Millis)>>>,
    lives: u64,
    /// Parts that are done in the end, and all.
    parts: (u32, u32),
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new(plan: &Plan) -> std::io::Result<Self> {
        let (folder, trace) = (folder()?, Trace::new());
        ground::write_image(&folder.path().join("image"))?;
        let names: Vec<(String, bool)> = (0..plan.providers)
            .map(|number| (format!("provider-{number}"), true))
            .chain((0..plan.renters).map(|number| (format!("renter-{number}"), false)))
            .collect();
        let mut rich = Vec::new();
        for (name, _) in &names {
            let (wallet, signer) = keys(plan.seed, name);
            rich.extend([(wallet.address(), RICH), (signer.address(), 0)]);
        }
        let strangers = mallory::wallets(plan.seed);
        rich.extend(strangers.iter().map(|wallet| (wallet.address(), RICH)));
        let chain = SimChain::new(Chance::new(plan.seed, "chain"), trace.clone(), &rich);
        let contracts = chain.contracts;
        let chain: SharedChain = Arc::new(Mutex::new(chain));
        let commons = Commons {
            seed: plan.seed,
            // A fixed name inside the trace, whatever the folder is called.
            dir: folder.path().to_owned(),
            chain,
            contracts,
            network: SimNetwork::new(Chance::new(plan.seed, "network"), trace.clone()),
            trace,
        };
        let (natures, closings) = (Chance::new(plan.seed, "natures"), Chance::new(plan.seed, "closings"));
        let hosts = names.iter().map(|(name, provides)| {
            let nature = plan.nature((&natures, &closings), *provides);
            SimHost::new(commons.clone(), name, nature)
        });
        let hosts = hosts.collect::<Result<Vec<_>, _>>()?;
        let owners = rich.iter().map(|(owner, _)| *owner).collect();
        let count = names.len() + strangers.len();
        let minted = u128::from(RICH) * u128::try_from(count).unwrap_or_default();
        let mallory = Mallory::new(plan.seed, commons.chain.clone(), commons.trace.clone());
        Ok(Self {
            plan: plan.clone(),
            commons,
            starts: (0..hosts.len()).map(|host| (host, Duration::ZERO)).collect(),
            hosts,
            judge: Judge::new(minted, owners, plan.troubled),
            chance: Chance::new(plan.seed, "troubles"),
            clocks: Chance::new(plan.seed, "clocks"),
            adversary: Adversary::new(Chance::new(plan.seed, "adversary")),
            mallory,
            heals: Vec::new(),
            jobs: Vec::new(),
            ahead: Arc::default(),
            lives: 0,
            parts: (0, 0),
            _folder: folder,
        })
    }

    pub(crate) fn now(&self) -> Duration {
        self.commons.trace.now()
    }

    async fn live(&mut self) {
        self.begin_troubles();
        let (mut step, mut over) = (0u32, None);
        let deadline = if self.plan.bug == Some(Bug::EarlyEnd) {
            Duration::from_secs(30)
        } else {
            self.plan.troubled + PATIENCE
        };
        while self.now() < deadline && self.judge.broken.is_empty() {
            self.start_daemons().await;
            if step == 12 {
                self.start_jobs();
            }
            tokio::time::sleep(STEP).await;
            step += 1;
            self.note_crashes();
            let secs_per_block = u32::try_from(BLOCK_SECS).unwrap_or(2) * 2;
            if step.is_multiple_of(secs_per_block) {
                self.block().await;
            }
            if u64::from(step).is_multiple_of(ANNOUNCE.as_secs() * 2) {
                self.commons.network.gossip();
            }
            if self.now() < self.plan.troubled {
                self.trouble();
                self.let_strangers_act();
            } else if step.is_multiple_of(20) && self.now() > QUIET && self.is_over() {
                let since = *over.get_or_insert(self.now());
                if self.now() >= since + AFTERWARDS {
                    break;
                }
            }
            self.heal();
            self.happen();
            self.plant(step);
        }
        if self.judge.broken.is_empty() {
            self.judge.at_the_end(&self.commons.network, &self.hosts);
        }
        let funded: Vec<_> = (0..self.plan.renters)
            .filter(|number| self.has_fund(*number))
            .filter_map(|number| Some(self.hosts.get(self.plan.providers + number)?.node))
            .collect();
        {
            let chain = self.commons.chain.lock().unwrap_or_else(PoisonError::into_inner);
            self.judge.count(&chain, &self.commons.network, &funded);
        }
        for broken in &self.judge.broken {
            trace!(self.commons.trace, "BROKEN {broken}");
        }
        for host in &mut self.hosts {
            let jobs = host.alive.as_ref().map(|(_, daemon)| daemon.jobs().jobs);
            for job in jobs.unwrap_or_default() {
                self.parts = (self.parts.0 + job.parts.done, self.parts.1 + job.parts.total);
            }
            host.kill();
        }
    }

    fn let_strangers_act(&self) {
        let (network, troubles) = (&self.commons.network, &self.plan.troubles);
        if self.chance.in_thousand(troubles.adversary) {
            self.adversary.act(network);
        }
        if self.chance.in_thousand(troubles.spam) {
            self.mallory.ask(network);
        }
        if troubles.stops > 0 && self.chance.in_thousand(troubles.stops) {
            self.mallory.ask_and_stop(network);
        }
    }

    pub(crate) async fn start_daemons(&mut self) {
        let now = self.now();
        let due: Vec<usize> = self
            .starts
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(host, _)| *host)
            .collect();
        for number in due {
            let Some(host) = self.hosts.get_mut(number) else {
                continue;
            };
            self.lives += 1;
            match host.start().await {
                Ok(()) => {
                    self.starts.remove(&number);
                }
                Err(why) => {
                    trace!(self.commons.trace, "{}: does not start: {why}", host.name);
                    self.starts.insert(number, now + Duration::from_secs(3));
                }
            }
        }
    }

    fn note_crashes(&mut self) {
        let now = self.now();
        for (number, host) in self.hosts.iter_mut().enumerate() {
            if host.alive.as_ref().is_some_and(|(life, _)| life.is_over()) {
                self.commons.trace.reach(Reached::Crashed);
                host.kill();
                let after = self.chance.millis(500, 15_000);
                self.starts.insert(number, now + after);
            }
        }
    }

    pub(crate) async fn block(&mut self) {
        let now = self.now();
        self.mallory.go_on(&self.commons.network);
        for (lease, horizon) in std::mem::take(&mut *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)) {
            self.judge.goes_away(lease, horizon);
        }
        self.judge.read_work(&self.hosts).await;
        let mut chain = self.commons.chain.lock().unwrap_or_else(PoisonError::into_inner);
        chain.tick(now);
        self.judge.look(&chain, &self.commons.network, &self.hosts);
    }

    fn is_over(&self) -> bool {
        let all_up = self.starts.is_empty();
        let over = |host: &SimHost| {
            host.gone
                || host
                    .alive
                    .as_ref()
                    .is_some_and(|(_, daemon)| daemon.jobs().jobs.iter().all(|job| job.state.is_over()))
        };
        all_up && self.hosts.iter().all(over) && self.judge.all_closed()
    }

    fn report(&self) -> Report {
        let (leases, paid) = self.judge.totals();
        let trace = &self.commons.trace;
        let mut jobs: Vec<String> = Vec::new();
        for said in &self.jobs {
            jobs.push(said.lock().unwrap_or_else(PoisonError::into_inner).clone());
        }
        Report {
            seed: self.plan.seed,
            hash: trace.hash(),
            simulated: trace.now(),
            lines: trace.count(),
            broken: self.judge.broken.clone(),
            trace: trace.text(),
            leases,
            paid,
            parts: self.parts,
            jobs,
            lives: self.lives,
            coverage: trace.coverage(),
        }
    }
}

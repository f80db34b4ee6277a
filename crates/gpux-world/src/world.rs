//! A world: hosts with their daemons, a chain and a network between them, and the troubles of one seed.
//!
//! Everything runs on one thread, on tokio's paused clock, which jumps to the next event when nothing is left to do: two
//! simulated minutes take as long as their work does. All that is random comes from the seed.

use crate::{
    adversary::Adversary,
    bug::Bug,
    chain::{BLOCK_SECS, ChainTroubles, SAFE, SimChain},
    chance::Chance,
    ground,
    host::{Commons, Nature, SimHost, folder, keys},
    judge::{Broken, Judge},
    network::{ANNOUNCE, Link, SimNetwork},
    rpc::{Mood, SharedChain},
    trace::{Trace, trace},
};
use gpux_api::{PlanRequest, RunRequest};
use gpux_types::Amount;
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
const QUIET: Duration = Duration::from_secs(45);
/// How long after the troubles everything must have come to its end.
const PATIENCE: Duration = Duration::from_secs(2_400);

/// One world's plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Everything random comes from it.
    pub seed: u64,
    /// How many nodes sell.
    pub providers: usize,
    /// How many nodes rent; each starts one job.
    pub renters: usize,
    /// For how long things go wrong.
    pub troubled: Duration,
    /// What goes wrong.
    pub troubles: Troubles,
    /// What is built wrong on purpose.
    pub bug: Option<Bug>,
}

/// What goes wrong in a world. Numbers are times in a thousand steps, messages or blocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Troubles {
    /// Daemons crash at a write, before or after it.
    pub crashes: u64,
    /// Messages are lost, doubled and late.
    pub network: u64,
    /// Two nodes cannot hear each other, one way or both, for up to 20 s.
    pub partitions: u64,
    /// Reorganisations, delayed transactions, spikes of fees.
    pub chain: u64,
    /// Chain nodes are silent, failing, behind or lying for up to 20 s.
    pub rpc: u64,
    /// Containers start slowly.
    pub containers: u64,
    /// Writes find the disk full, in a thousand. No seed has it yet.
    pub disk: u64,
    /// A stranger floods, repeats what it overheard, asks for what is not its own.
    pub adversary: u64,
    /// Nodes, renting or selling, go silent for ever.
    pub vanishing: u64,
    /// In a thousand nodes that sell, so many have a meter that runs too fast.
    pub cheats: u64,
}

impl Troubles {
    /// The troubles of a seed: each kind in some worlds and not in others, so that each is also met alone.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let chance = Chance::new(seed, "which troubles");
        let some = |most: u64| {
            if chance.in_thousand(500) {
                chance.between(1, most + 1)
            } else {
                0
            }
        };
        Self {
            crashes: some(8),
            network: some(60),
            partitions: some(12),
            chain: some(25),
            rpc: some(10),
            containers: some(2),
            disk: 0,
            adversary: some(300),
            vanishing: some(1),
            cheats: some(500),
        }
    }
}

/// What became of a world.
#[derive(Debug, Clone)]
pub struct Report {
    /// The hash of its trace.
    pub hash: String,
    /// Simulated time.
    pub simulated: Duration,
    /// Lines of its trace.
    pub lines: u64,
    /// What does not hold.
    pub broken: Vec<Broken>,
    /// The newest lines of the trace.
    pub trace: String,
    /// How many leases were funded.
    pub leases: usize,
    /// What was paid for them, in the token's smallest unit.
    pub paid: u128,
    /// How each job ended.
    pub jobs: Vec<String>,
    /// How many times a daemon was started.
    pub lives: u64,
}

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

struct World {
    plan: Plan,
    commons: Commons,
    hosts: Vec<SimHost>,
    judge: Judge,
    chance: Chance,
    adversary: Adversary,
    /// When a host's daemon starts again.
    starts: BTreeMap<usize, Duration>,
    /// When a trouble of a host or of a link is over.
    heals: Vec<(Duration, Heal)>,
    jobs: Vec<Arc<Mutex<String>>>,
    lives: u64,
    _folder: tempfile::TempDir,
}

#[derive(Debug, Clone, Copy)]
enum Heal {
    Mood(usize),
    Link(usize, usize),
}

impl World {
    fn new(plan: &Plan) -> std::io::Result<Self> {
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
        let natures = Chance::new(plan.seed, "natures");
        let hosts = names.iter().map(|(name, provides)| {
            let mut nature = Nature::honest(*provides);
            nature.slow = natures.between(0, 1 + plan.troubles.containers * 1_500);
            nature.full = plan.troubles.disk;
            nature.bug = plan.bug;
            if *provides && natures.in_thousand(plan.troubles.cheats) {
                (nature.meter, nature.honest) = (natures.between(110, 300), false);
            }
            if plan.bug == Some(Bug::FastMeter) {
                nature.meter = 200;
            }
            SimHost::new(commons.clone(), name, nature)
        });
        let hosts = hosts.collect::<Result<Vec<_>, _>>()?;
        let owners = rich.iter().map(|(owner, _)| *owner).collect();
        let minted = u128::from(RICH) * u128::try_from(names.len()).unwrap_or_default();
        Ok(Self {
            plan: plan.clone(),
            commons,
            starts: (0..hosts.len()).map(|host| (host, Duration::ZERO)).collect(),
            hosts,
            judge: Judge::new(minted, owners),
            chance: Chance::new(plan.seed, "troubles"),
            adversary: Adversary::new(Chance::new(plan.seed, "adversary")),
            heals: Vec::new(),
            jobs: Vec::new(),
            lives: 0,
            _folder: folder,
        })
    }

    fn now(&self) -> Duration {
        self.commons.trace.now()
    }

    async fn live(&mut self) {
        self.begin_troubles();
        let mut step = 0u32;
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
                if self.chance.in_thousand(self.plan.troubles.adversary) {
                    self.adversary.act(&self.commons.network);
                }
            } else if step.is_multiple_of(20) && self.now() > QUIET && self.is_over() {
                break;
            }
            self.heal();
            self.plant(step);
        }
        if self.judge.broken.is_empty() {
            self.judge.at_the_end(&self.commons.network, &self.hosts);
        }
        for broken in &self.judge.broken {
            trace!(self.commons.trace, "BROKEN {broken}");
        }
        for host in &mut self.hosts {
            host.kill();
        }
    }

    async fn start_daemons(&mut self) {
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
                host.kill();
                let after = self.chance.millis(500, 15_000);
                self.starts.insert(number, now + after);
            }
        }
    }

    async fn block(&mut self) {
        let now = self.now();
        self.judge.read_work(&self.hosts).await;
        let mut chain = self.commons.chain.lock().unwrap_or_else(PoisonError::into_inner);
        chain.tick(now);
        self.judge.look(&chain, &self.commons.network, &self.hosts);
    }

    fn start_jobs(&mut self) {
        for number in 0..self.plan.renters {
            let Some(host) = self.hosts.get(self.plan.providers + number) else {
                continue;
            };
            let Some((_, daemon)) = host.alive.clone() else {
                continue;
            };
            let (request, said) = (self.job(number), Arc::new(Mutex::new("not started".to_owned())));
            self.jobs.push(said.clone());
            let (trace, name) = (self.commons.trace.clone(), host.name.clone());
            let wait = self.chance.millis(0, 10_000);
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                for _ in 0..5 {
                    let told = match daemon.run(request.clone()).await {
                        Ok(job) => format!("{} started", job.name),
                        Err(error) => format!("refused: {}", error.message),
                    };
                    trace!(trace, "{name}: {told}");
                    let started = told.ends_with("started");
                    *said.lock().unwrap_or_else(PoisonError::into_inner) = told;
                    if started {
                        break;
                    }
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
            });
        }
    }

    fn job(&self, number: usize) -> RunRequest {
        let chance = Chance::new(self.plan.seed, &format!("job {number}"));
        let nodes = chance.between(1, 1 + u64::try_from(self.plan.providers.min(3)).unwrap_or(1));
        let parts = chance.between(2, 9);
        let nap = chance.between(800, 14_000);
        let minutes = chance.between(3, 9);
        let dir = self.commons.dir.display();
        let job_file = format!(
            "gpux: 1\nkind: array\nname: job-{number}\nimage: oci:{dir}/image:{tag}\nnodes: {nodes}\n\
             resources: {{ cpu: 1, memory: 1GB, disk: 100MB }}\nparams: {{ n: 1-{parts} }}\n\
             array: {{ over: n, collect: \"/out/*.txt\" }}\n\
             run: [/probe, then, nap, \"{nap}\", \";\", write, /out/part-$GPUX_ARRAY_VALUE.txt, made by $GPUX_ARRAY_VALUE]\n\
             retry: {{ on: [provider-fault, error], max: 5 }}\n\
             budget: {{ max_price: 400 USDC/hour, max_total: 250 USDC, max_duration: {minutes}m }}\n",
            tag = ground::TAG,
        );
        let output = self.commons.dir.join(format!("results-{number}"));
        RunRequest {
            plan: PlanRequest {
                job_file,
                directory: dir.to_string(),
                working_directory: dir.to_string(),
                set: BTreeMap::new(),
                inputs: BTreeMap::new(),
                nodes: None,
                max_total: None,
                output: Some(output.display().to_string()),
            },
            agreed_total: Amount::MAX,
            batch: chance.in_thousand(400),
            top_up_within: None,
        }
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

    fn begin_troubles(&self) {
        let troubles = self.plan.troubles;
        self.commons.network.everywhere(Link {
            cut: false,
            lost: troubles.network,
            twice: troubles.network,
            late: troubles.network * 100,
        });
        let mut chain = self.commons.chain.lock().unwrap_or_else(PoisonError::into_inner);
        chain.troubles = ChainTroubles {
            reorganisations: troubles.chain,
            delays: troubles.chain * 8,
            spikes: troubles.chain,
            forgotten: troubles.chain * 10,
        };
        chain.bug = self.plan.bug;
    }

    /// Does what a planted bug does to hosts at its time.
    fn plant(&mut self, step: u32) {
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

    /// Perhaps something goes wrong now.
    fn trouble(&mut self) {
        let troubles = self.plan.troubles;
        let now = self.now();
        let count = u64::try_from(self.hosts.len()).unwrap_or(1);
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
            if self.chance.in_thousand(troubles.rpc)
                && let Some(host) = self.hosts.get(number)
            {
                let moods = [
                    Mood::Silent,
                    Mood::Failing,
                    Mood::Behind(self.chance.between(1, SAFE)),
                    Mood::Ahead,
                ];
                let mood = usize::try_from(self.chance.between(0, 4)).unwrap_or(0);
                let mood = moods.get(mood).copied().unwrap_or_default();
                trace!(self.commons.trace, "{}: its chain node is {mood:?}", host.name);
                host.mood(mood);
                self.heals.push((until, Heal::Mood(number)));
            }
            if self.chance.in_thousand(troubles.partitions) {
                let other = usize::try_from(self.chance.between(0, count)).unwrap_or(0);
                let both = self.chance.in_thousand(500);
                self.part(number, other, true);
                self.heals.push((until, Heal::Link(number, other)));
                if both {
                    self.part(other, number, true);
                    self.heals.push((until, Heal::Link(other, number)));
                }
            }
        }
    }

    /// A host's daemon ends for ever.
    fn vanish(&mut self, number: usize) {
        if let Some(host) = self.hosts.get_mut(number) {
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

    fn heal(&mut self) {
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
                Heal::Link(from, to) => self.part(from, to, false),
            }
        }
        if calm {
            self.commons.network.heal();
            let mut chain = self.commons.chain.lock().unwrap_or_else(PoisonError::into_inner);
            chain.troubles = ChainTroubles::default();
        }
    }

    fn report(&self) -> Report {
        let (leases, paid) = self.judge.totals();
        let trace = &self.commons.trace;
        let mut jobs: Vec<String> = Vec::new();
        for said in &self.jobs {
            jobs.push(said.lock().unwrap_or_else(PoisonError::into_inner).clone());
        }
        Report {
            hash: trace.hash(),
            simulated: trace.now(),
            lines: trace.count(),
            broken: self.judge.broken.clone(),
            trace: trace.text(),
            leases,
            paid,
            jobs,
            lives: self.lives,
        }
    }
}

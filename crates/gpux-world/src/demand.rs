//! How long it takes from a demand to a signed deposit: a market of some tens of nodes on links of a hundred milliseconds there and
//! back, of which a few are gone, slow or lie about their prices.
//!
//! Everything but time and the network is real, as in every world. What is timed begins where the local API hands the demand to the
//! daemon, and ends when the chain's node has as many signed deposits of the renter as the job has leases.

use crate::{
    ground,
    network::{ANNOUNCE, Link},
    plan::{Plan, Troubles},
    world::World,
};
use gpux_api::{PlanRequest, RunRequest};
use gpux_types::Amount;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How often the world acts.
const STEP: Duration = Duration::from_millis(500);
/// One way between any two nodes, without what chance adds.
const ONE_WAY: u64 = 50;
/// And to and from slow ones: beyond every patience that a demand of a second can have.
const SLOW_WAY: u64 = 2_000;
/// Between two demands of one renter.
const BETWEEN: Duration = Duration::from_secs(4);
/// After the last demand: the slowest nodes have heard by then that they are not wanted.
const AFTERWARDS: Duration = Duration::from_secs(12);

/// A market, and how much is asked of it.
#[derive(Debug, Clone, Copy)]
pub struct Demands {
    /// Everything random comes from it.
    pub seed: u64,
    /// How many nodes sell.
    pub providers: usize,
    /// Of them, how many are gone, though their offers are not yet.
    pub dead: usize,
    /// How many answer late.
    pub slow: usize,
    /// How many give a price above their offer.
    pub lying: usize,
    /// How many nodes rent.
    pub renters: usize,
    /// How many jobs each of them starts.
    pub each: u32,
}

/// What became of the demands.
#[derive(Debug, Clone, Default)]
pub struct Demanded {
    /// How long each took that was met, in their order.
    pub took: Vec<Duration>,
    /// Why the others were not.
    pub refused: Vec<String>,
    /// The wallets' quotes that were still held in the end, by nodes that answer.
    pub held: usize,
    /// What of the invariants of every world does not hold.
    pub broken: Vec<String>,
}

/// Lives through one such market.
///
/// # Errors
/// When the world itself cannot be made: its folder or its runtime.
pub fn demand(demands: &Demands) -> std::io::Result<Demanded> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    runtime.block_on(async {
        let plan = Plan {
            seed: demands.seed,
            providers: demands.providers,
            renters: demands.renters,
            troubled: Duration::ZERO,
            troubles: Troubles::default(),
            events: Vec::new(),
            bug: None,
        };
        let mut world = World::new(&plan)?;
        Ok(world.meet(demands).await)
    })
}

impl World {
    async fn meet(&mut self, demands: &Demands) -> Demanded {
        self.start_daemons().await;
        for step in 0..40u32 {
            self.step(step).await;
        }
        self.spoil(demands);
        let met = Arc::new(Mutex::new(Demanded::default()));
        let mut renters = Vec::new();
        for number in 0..demands.renters {
            renters.push(tokio::spawn(self.renter(number, demands.each, met.clone())));
        }
        let mut step = 40;
        while renters.iter().any(|renter| !renter.is_finished()) {
            self.step(step).await;
            step += 1;
        }
        let mut demanded = met.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let daemons = self.hosts.iter().filter_map(|host| host.alive.as_ref());
        demanded.held = daemons.map(|(_, daemon)| daemon.quotes_held()).sum();
        demanded.broken = self.judge.broken.iter().map(ToString::to_string).collect();
        for host in &mut self.hosts {
            host.kill();
        }
        demanded
    }

    async fn step(&mut self, step: u32) {
        tokio::time::sleep(STEP).await;
        if step.is_multiple_of(4) {
            self.block().await;
        }
        if u64::from(step).is_multiple_of(ANNOUNCE.as_secs() * 2) {
            self.commons.network.gossip();
        }
    }

    /// Makes links as long as they are to be, and nodes as bad: the first ones, which are as cheap as any other.
    fn spoil(&self, demands: &Demands) {
        let network = &self.commons.network;
        network.everywhere(Link {
            far: ONE_WAY,
            ..Link::default()
        });
        let mut bad = self.hosts.iter();
        for host in bad.by_ref().take(demands.dead) {
            network.lock().gone.insert(host.node);
        }
        for host in bad.by_ref().take(demands.slow) {
            network.slow_down(host.node, SLOW_WAY);
        }
        for host in bad.take(demands.lying) {
            network.lock().liars.insert(host.node);
        }
    }

    /// What one renter does: it asks for one to three nodes, again and again.
    fn renter(&self, number: usize, each: u32, met: Arc<Mutex<Demanded>>) -> impl Future<Output = ()> + use<> {
        let host = self.hosts.get(self.plan.providers + number);
        let daemon = host.and_then(|host| host.alive.clone());
        let wallet = host.map(|host| host.wallet.address());
        let (chain, trace) = (self.commons.chain.clone(), self.commons.trace.clone());
        let dir = self.commons.dir.clone();
        async move {
            let (Some((_, daemon)), Some(wallet)) = (daemon, wallet) else {
                return;
            };
            tokio::time::sleep(Duration::from_millis(700) * u32::try_from(number).unwrap_or(0)).await;
            let sent = || {
                let chain = chain.lock().unwrap_or_else(PoisonError::into_inner);
                chain.count_sent(wallet)
            };
            for round in 0..each {
                let nodes = 1 + round % 3;
                let name = format!("job-{number}-{round}");
                let output = dir.join(&name).display().to_string();
                let (before, began) = (sent(), trace.now());
                let started = daemon.run(job(&dir.display().to_string(), &name, nodes, output)).await;
                if let Err(error) = &started {
                    let mut met = met.lock().unwrap_or_else(PoisonError::into_inner);
                    met.refused.push(error.message.clone());
                } else {
                    let wanted = before + usize::try_from(nodes).unwrap_or(0);
                    while sent() < wanted {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    let took = trace.now().saturating_sub(began);
                    met.lock().unwrap_or_else(PoisonError::into_inner).took.push(took);
                }
                tokio::time::sleep(BETWEEN).await;
            }
            tokio::time::sleep(AFTERWARDS).await;
        }
    }
}

fn job(dir: &str, name: &str, nodes: u32, output: String) -> RunRequest {
    let job_file = format!(
        "gpux: 1\nkind: array\nname: {name}\nimage: oci:{dir}/image:{tag}\nnodes: {nodes}\n\
         resources: {{ cpu: 0.1, memory: 64MiB, disk: 64MiB }}\nparams: {{ n: 1-{nodes} }}\n\
         array: {{ over: n }}\nrun: [/probe, nap, \"100\"]\n\
         budget: {{ max_price: 400 USDC/hour, max_duration: 1m }}\n",
        tag = ground::TAG,
    );
    RunRequest {
        plan: PlanRequest {
            job_file,
            directory: dir.to_owned(),
            working_directory: dir.to_owned(),
            output: Some(output),
            ..PlanRequest::default()
        },
        agreed_total: Amount::MAX,
        batch: false,
        top_up_within: None,
    }
}

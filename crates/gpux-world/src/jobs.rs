//! The jobs of a world's renters: what they want, and what they do while it is done.

use crate::{
    bug::Bug,
    chance::Chance,
    ground,
    life::Life,
    steps::{Away, Steps},
    trace::trace,
    world::World,
};
use gpux_api::{PlanRequest, RunRequest};
use gpux_types::{Amount, Millis};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

impl World {
    pub(crate) fn start_jobs(&mut self) {
        for number in 0..self.plan.renters {
            let Some(host) = self.hosts.get(self.plan.providers + number) else {
                continue;
            };
            let Some((life, daemon)) = host.alive.clone() else {
                continue;
            };
            let (request, said) = (self.job(number), Arc::new(Mutex::new("not started".to_owned())));
            self.jobs.push(said.clone());
            let (trace, name) = (self.commons.trace.clone(), host.name.clone());
            let wait = self.chance.millis(0, 10_000);
            let go_on = self.after_the_start(number, life);
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
                        go_on.follow(&daemon).await;
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
        // Some are so long, for what is paid in first, that their deposits run low, or that drawing pays.
        let long = self.is_long(number);
        let nodes = if long { 1 } else { nodes };
        let parts = if long {
            chance.between(8, 14)
        } else {
            chance.between(2, 9)
        };
        let nap = chance.between(if long { 9_000 } else { 800 }, 14_000);
        let minutes = if long && self.has_fund(number) {
            1
        } else {
            chance.between(3, 9)
        };
        let dir = self.commons.dir.display();
        let (kind, nodes, own, work) = if self.is_gang(number) {
            let nodes = self.plan.providers.min(2 + number % 2);
            let work = "task: { collect: \"/out/*.txt\" }".to_owned();
            ("task", u64::try_from(nodes).unwrap_or(2), "$GPUX_NODE_RANK", work)
        } else {
            let work = format!("params: {{ n: 1-{parts} }}\narray: {{ over: n, collect: \"/out/*.txt\" }}");
            ("array", nodes, "$GPUX_ARRAY_VALUE", work)
        };
        let job_file = format!(
            "gpux: 1\nkind: {kind}\nname: job-{number}\nimage: oci:{dir}/image:{tag}\nnodes: {nodes}\n\
             resources: {{ cpu: 1, memory: 1GB, disk: 100MB }}\n{work}\n\
             run: [/probe, then, nap, \"{nap}\", \";\", write, /out/part-{own}.txt, made by {own}]\n\
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
                why: false,
            },
            agreed_total: Amount::MAX,
            batch: chance.in_thousand(400),
            top_up_within: self.has_fund(number).then(|| "60".to_owned()),
        }
    }

    /// Whether a renter's job is a gang.
    fn is_gang(&self, number: usize) -> bool {
        let chance = Chance::new(self.plan.seed, &format!("kind of job {number}"));
        self.plan.providers > 1 && !self.is_long(number) && chance.in_thousand(self.plan.troubles.gangs)
    }

    /// Whether a renter's job is a long one.
    fn is_long(&self, number: usize) -> bool {
        Chance::new(self.plan.seed, &format!("length of job {number}")).in_thousand(350)
    }

    /// Whether a renter sets money aside for top-ups.
    pub(crate) fn has_fund(&self, number: usize) -> bool {
        Chance::new(self.plan.seed, &format!("fund of job {number}")).in_thousand(400)
    }

    /// What a renter does with its job once it runs.
    fn after_the_start(&self, number: usize, life: Arc<Life>) -> Steps {
        let chance = Chance::new(self.plan.seed, &format!("steps of job {number}"));
        let far = self.plan.bug == Some(Bug::FarHorizon);
        let away = (far || chance.in_thousand(self.plan.troubles.absences)).then(|| Away {
            after: if far {
                Duration::from_secs(12)
            } else {
                chance.millis(5_000, 60_000)
            },
            horizon: Millis::from_secs(if far { 20 } else { chance.between(10, 60) }),
            times: if far { 10 } else { 1 },
        });
        let top_up = (!self.has_fund(number) && chance.in_thousand(500)).then(|| chance.millis(8_000, 80_000));
        Steps {
            job: format!("job-{number}"),
            life,
            top_up,
            away,
            ahead: self.ahead.clone(),
            trace: self.commons.trace.clone(),
        }
    }
}

//! What would run where, for how much at most. Nothing is spent and nobody is asked.

use super::{
    image, local,
    why::{Why, why},
};
use crate::{fault::fault, node::Node};
use gpux_api::{
    ErrorBody, ErrorCode, LeasePlan, PlanRequest, PlanView, PreflightFinding, PreflightView, RejectedOffer,
    RejectionCounts,
};
use gpux_job::{AtZero, GpuNeed, Job, JobFile, Overrides, Together, Work};
use gpux_market::{Candidate, Closeness, GpuWish, Known, Plan, Reliability, Request, Topology};
use gpux_runtime::ResolvedImage;
use gpux_types::{Amount, BasisPoints, Millis, Token, shown};
use std::path::{Path, PathBuf};

/// How much longer than the job's limit a deposit pays for, so that the provider never has to stop it early.
pub(super) const RESERVE: Millis = Millis::from_secs(30);
/// How many lines of the app's check are shown.
const MAX_FINDINGS: usize = 100;

/// A plan with what starting it needs.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) view: PlanView,
    pub(super) job: Job,
    pub(super) image: ResolvedImage,
    pub(super) market: Plan,
    pub(super) output: PathBuf,
    /// What was asked of the market.
    pub(super) wanted: Request,
    /// What this renter knew of nodes.
    pub(super) known: Known,
}

/// Plans a job.
pub(crate) async fn plan(node: &Node, request: PlanRequest) -> Result<Planned, ErrorBody> {
    let job = resolve_job(&request)?;
    let token = node.chain.token().token.clone();
    let wanted = market_request(node, &job, &request, &token)?;
    for input in &job.inputs {
        image::check_input(input).await?;
    }
    let image = image::resolve(node, &job.image).await?;
    let known = node.experience.known(node.clock.date());
    let (market, offers) = node.market.with_book(node.clock.now(), |book| {
        (gpux_market::plan(&wanted, book, &known), book.len())
    });
    if !market.is_match() {
        let why = why(node, (&wanted, &known), &market).await?;
        return Err(no_match(&wanted, &market, &why, &token));
    }
    let deposit = market.total_deposit();
    let balance = node.chain.token_balance(node.wallet.address()).await;
    let balance = balance.map_err(|error| {
        fault(
            ErrorCode::Unreachable,
            "asking the chain for the wallet's balance",
            &error,
        )
        .retryable()
    })?;
    if balance < deposit {
        return Err(cannot_pay(node, &token, deposit, balance));
    }
    let preflight = preflight(node, &job, &image).await?;
    let output = job
        .output
        .clone()
        .unwrap_or_else(|| Path::new(&request.working_directory).join(job.name.to_string()));
    let mut view = view(&job, &market, token, balance);
    if job.budget.at_zero == AtZero::TopUp {
        view.worst_case = wanted.max_total.unwrap_or(deposit).max(deposit);
    }
    view.offers = as_count(offers);
    view.preflight = preflight;
    view.output = output.display().to_string();
    if request.why {
        tell(&mut view, &why(node, (&wanted, &known), &market).await?);
    }
    Ok(Planned {
        view,
        job,
        image,
        market,
        output,
        wanted,
        known,
    })
}

/// The plan for people, without what only this machine knows.
fn view(job: &Job, market: &Plan, token: Token, balance: Amount) -> PlanView {
    let deposit = market.total_deposit();
    PlanView {
        schema: "gpux.plan/v1".into(),
        name: job.name.to_string(),
        image: job.image.to_string(),
        parts: job.part_count(),
        checks: match &job.work {
            Work::Array(array) => array.checks_at_most(job.nodes.get()),
            Work::Task(_) => 0,
        },
        resources: job.resources,
        leases: market.chosen.iter().map(lease_plan).collect(),
        offers: 0,
        alternatives: Vec::new(),
        rejected: Vec::new(),
        rejections: None,
        token,
        max_duration: job.budget.max_duration,
        deposit,
        worst_case: deposit,
        balance,
        builder_share: job.builder.map_or(0, |builder| builder.share.points()),
        preflight: PreflightView::None,
        output: String::new(),
    }
}

/// Adds to a plan what is told only when it was asked for.
fn tell(view: &mut PlanView, why: &Why) {
    let by_reason = why.rejected.by_reason.iter();
    view.alternatives = why.alternatives.iter().map(lease_plan).collect();
    view.rejections = Some(RejectionCounts {
        offers: as_count(why.rejected.offers),
        by_reason: by_reason
            .map(|(reason, offers)| ((*reason).to_owned(), as_count(*offers)))
            .collect(),
    });
    let first = why.rejected.first.iter();
    view.rejected = first.map(|rejection| rejected(rejection, &view.token)).collect();
}

fn as_count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn resolve_job(request: &PlanRequest) -> Result<Job, ErrorBody> {
    let wrong = |error: &dyn std::error::Error| fault(ErrorCode::InvalidInput, "reading the job file", error);
    let file = JobFile::parse(&request.job_file).map_err(|error| wrong(&error))?;
    let mut overrides = Overrides {
        nodes: request.nodes,
        ..Overrides::default()
    };
    let working = Path::new(&request.working_directory);
    for (name, value) in &request.set {
        overrides
            .set_param(&format!("{name}={value}"))
            .map_err(|error| wrong(&error))?;
    }
    for (name, path) in &request.inputs {
        overrides
            .set_input(&format!("{name}={path}"), working)
            .map_err(|error| wrong(&error))?;
    }
    overrides.output = request.output.as_ref().map(PathBuf::from);
    file.resolve(&overrides, Path::new(&request.directory))
        .map_err(|error| wrong(&error))
}

fn market_request(node: &Node, job: &Job, request: &PlanRequest, token: &Token) -> Result<Request, ErrorBody> {
    let wrong = |error: &dyn std::error::Error| fault(ErrorCode::InvalidInput, "reading the budget", error);
    let max_price = job
        .budget
        .max_price
        .as_ref()
        .map(|price| price.in_token(token))
        .transpose();
    let max_total = job
        .budget
        .max_total
        .as_ref()
        .map(|total| total.in_token(token))
        .transpose();
    let typed = request
        .max_total
        .as_ref()
        .map(|total| token.parse(total))
        .transpose()
        .map_err(|error| wrong(&error))?;
    let max_total: Option<Amount> = max_total.map_err(|error| wrong(&error))?;
    let escrow = node.chain.escrow();
    Ok(Request {
        nodes: job.nodes,
        enough: job.placement.enough,
        spares: 0,
        topology: topology(job.placement.together),
        resources: job.resources,
        gpus: job.gpu.as_ref().map(gpu_wish),
        min_reliability: Reliability::NONE,
        duration: job.budget.max_duration,
        chain_id: escrow.chain_id,
        escrow: escrow.address,
        token: node.chain.token().address,
        grace_secs: node.config.chain.grace_secs,
        builder_share: job.builder.map_or(BasisPoints::ZERO, |builder| builder.share),
        reserve: RESERVE,
        max_price: max_price.map_err(|error| wrong(&error))?,
        max_total: max_total.into_iter().chain(typed).min(),
        features: job.placement.features.clone(),
        region: job.placement.region.clone(),
        exclude: node.market.left_out(node.clock.now()),
    })
}

fn topology(together: Together) -> Topology {
    let (closeness, required) = match together {
        Together::Any => (Closeness::Any, false),
        Together::Region => (Closeness::Region, true),
        Together::SameSite => (Closeness::Site, true),
        Together::PreferRegion => (Closeness::Region, false),
        Together::PreferSameSite => (Closeness::Site, false),
    };
    Topology { closeness, required }
}

fn gpu_wish(need: &GpuNeed) -> GpuWish {
    GpuWish {
        model: need.model.clone(),
        count: need.count,
        memory: need.memory,
    }
}

fn no_match(wanted: &Request, plan: &Plan, found: &Why, token: &Token) -> ErrorBody {
    use gpux_market::Shortfall;
    let over = matches!(plan.shortfall, Some(Shortfall::OverTotal { .. }));
    let code = if over || found.rejected.only_too_dear() {
        ErrorCode::OverBudget
    } else {
        ErrorCode::NoMatch
    };
    let why = plan
        .shortfall
        .as_ref()
        .map_or_else(|| "nothing matches".to_owned(), |shortfall| shortfall.text(token));
    let nodes = if wanted.nodes.get() == 1 {
        "a node".to_owned()
    } else {
        format!("{} nodes", wanted.nodes)
    };
    let failed = found.rejected.by_reason.iter();
    let failed: Vec<String> = failed.map(|(reason, offers)| format!("{reason} {offers}")).collect();
    let failed = match failed.as_slice() {
        [] => String::new(),
        failed => format!(
            " (of {} offers that do not: {})",
            found.rejected.offers,
            failed.join(", ")
        ),
    };
    let message = format!("finding {nodes} on the market: {why}{failed}; nothing was spent");
    let mut body = ErrorBody::new(code, message);
    let nearest: Vec<String> = found.nearest.iter().map(|nearest| nearest.text(token)).collect();
    if nearest.is_empty() {
        body = body.with_hint("`gpux offers` lists what is on the market; more may come");
    } else {
        body = body.with_hint(nearest.join("; or "));
    }
    body.retryable()
}

fn cannot_pay(node: &Node, token: &Token, deposit: Amount, balance: Amount) -> ErrorBody {
    let message = format!(
        "checking the wallet {}: the deposits are {} and it has {}; nothing was spent",
        node.wallet.address(),
        token.format(deposit),
        token.format(balance)
    );
    ErrorBody::new(ErrorCode::InsufficientFunds, message).with_hint(format!(
        "send {} to the wallet on chain {}, or lower budget.max_duration",
        token.symbol, node.config.chain.chain_id
    ))
}

fn lease_plan(candidate: &Candidate) -> LeasePlan {
    let offer = &candidate.offer;
    LeasePlan {
        node: offer.node,
        provider: offer.provider.to_string(),
        region: offer.region.as_ref().map(ToString::to_string),
        price: candidate.cost.gross,
        deposit: candidate.cost.deposit,
        cpu_score: offer.cpu_score,
        reliability: candidate.reliability.as_per_mille(),
    }
}

fn rejected(rejection: &gpux_market::Rejection, token: &Token) -> RejectedOffer {
    let reasons = rejection.reasons.iter().map(|reason| reason.text(token)).collect();
    RejectedOffer {
        node: rejection.offer.node,
        reasons,
    }
}

/// Runs the app's own check on this machine, where it can.
async fn preflight(node: &Node, job: &Job, image: &ResolvedImage) -> Result<PreflightView, ErrorBody> {
    let Some(command) = &job.preflight else {
        return Ok(PreflightView::None);
    };
    let Some(runtime) = &node.local else {
        let reason = node
            .why_no_runtime
            .clone()
            .unwrap_or_else(|| "this machine cannot run containers".to_owned());
        return Ok(PreflightView::Skipped { reason });
    };
    let run = local::LocalRun {
        image,
        command,
        environment: job.environment(None),
        inputs: image::mounts(job).collect(),
        output: None,
    };
    let end = local::run(runtime, run).await;
    let end = end.map_err(|error| {
        fault(ErrorCode::Internal, "running the app's own check", &error)
            .with_hint("`gpux doctor` checks this machine's runtime")
    })?;
    let findings = findings(&end.log);
    if end.exit_code == 0 {
        return Ok(PreflightView::Passed { findings });
    }
    let said: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.level == "error")
        .map(|finding| finding.message.as_str())
        .collect();
    let said = if said.is_empty() {
        last_lines(&end.log)
    } else {
        said.join("; ")
    };
    Err(ErrorBody::new(
        ErrorCode::PreflightFailed,
        format!("checking the job with the app's own check: {said}; nothing was spent"),
    ))
}

/// What the check said: JSON lines with `level` and `message`; other lines are the app's talk.
fn findings(log: &str) -> Vec<PreflightFinding> {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<PreflightFinding>(line).ok());
    lines.take(MAX_FINDINGS).map(clean).collect()
}

fn clean(finding: PreflightFinding) -> PreflightFinding {
    PreflightFinding {
        level: shown(&finding.level, 500),
        message: shown(&finding.message, 500),
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let last = lines.get(lines.len().saturating_sub(5)..).unwrap_or_default();
    shown(&last.join(" / "), 1_000)
}

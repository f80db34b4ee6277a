//! `gpux topup`.

use crate::{
    args::{Global, TopUpArgs},
    failure::Failure,
    out, show,
};
use gpux_api::{ErrorCode, JobView, LeaseState, TopUpReply, TopUpRequest};

pub(super) async fn run(global: &Global, args: TopUpArgs) -> Result<u8, Failure> {
    let client = super::connect(global).await?;
    let job: JobView = client.get(&format!("/jobs/{}", args.job.job)).await?;
    let each = job.token.parse(&args.amount).map_err(|error| {
        crate::failure::failed(ErrorCode::InvalidInput, "topping up", &error).with_hint("give digits such as 0.5")
    })?;
    let open = job.leases.iter().filter(|lease| holds_money(lease.state)).count();
    let total = (0..open).fold(gpux_types::Amount::ZERO, |sum, _| sum.saturating_add(each));
    let question = format!(
        "Add {} to each of {open} leases of {}: {} in all?",
        job.token.format(each),
        job.name,
        job.token.format(total)
    );
    if open > 0 {
        out::confirm_spending(global, args.yes, &question)?;
    }
    let request = TopUpRequest {
        amount: args.amount,
        extend: !args.keep_expiry,
    };
    let reply: TopUpReply = client.post(&format!("/jobs/{}/topup", job.id), &request).await?;
    out::print(global, &reply, |reply| show::top_up(reply, &job.token))?;
    Ok(0)
}

const fn holds_money(state: LeaseState) -> bool {
    matches!(
        state,
        LeaseState::Preparing | LeaseState::Running | LeaseState::Frozen | LeaseState::Unreachable
    )
}

//! `gpux topup`.

use crate::{
    args::{Global, TopUpArgs},
    failure::Failure,
    out, show,
};
use gpux_api::{ErrorCode, JobView, TopUpReply, TopUpRequest};

pub(super) async fn run(global: &Global, args: TopUpArgs) -> Result<u8, Failure> {
    let client = super::connect(global).await?;
    let job: JobView = client.get(&format!("/jobs/{}", args.job.job)).await?;
    let each = job.token.parse(&args.amount).map_err(|error| {
        crate::failure::failed(ErrorCode::InvalidInput, "topping up", &error).with_hint("give digits such as 0.5")
    })?;
    let open = job.leases.iter().filter(|lease| lease.state.takes_top_up()).count();
    let total = (0..open).fold(gpux_types::Amount::ZERO, |sum, _| sum.saturating_add(each));
    let question = format!(
        "Add {} to each of {open} leases of {}: {} in all?",
        job.token.format(each),
        job.name,
        job.token.format(total)
    );
    out::confirm_spending(global, args.yes, &question)?;
    let request = TopUpRequest {
        amount: args.amount,
        extend: !args.keep_expiry,
        agreed_total: Some(total),
    };
    let reply: TopUpReply = client.post(&format!("/jobs/{}/topup", job.id), &request).await?;
    out::print(global, &reply, |reply| show::top_up(reply, &job.token))?;
    Ok(0)
}

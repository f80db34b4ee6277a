//! `gpux wallet send`.

use crate::{
    args::{Global, SendArgs},
    failure::Failure,
    out, show,
};
use gpux_api::{ErrorCode, SendPlanView, SendRequest, SendState, SendView};

pub(super) async fn run(global: &Global, args: SendArgs) -> Result<u8, Failure> {
    let client = super::super::connect(global).await?;
    let mut request = SendRequest {
        to: args.to,
        amount: args.amount,
        coin: args.coin,
        force: args.force,
        once: args.once,
    };
    let plan: SendPlanView = client.post("/wallet/send/plan", &request).await?;
    out::talk(global, &show::send_plan(&plan));
    out::confirm_spending(global, args.yes || plan.sent_before, &show::send_question(&plan))?;
    request.once = Some(plan.once);
    let sent: SendView = client.post("/wallet/send", &request).await?;
    out::print(global, &sent, show::sent)?;
    Ok(match sent.state {
        SendState::Mined => 0,
        SendState::OnItsWay => ErrorCode::TimedOut.exit_status(),
    })
}

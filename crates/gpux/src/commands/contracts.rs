//! `gpux contracts`.

use crate::{
    args::{ChainArgs, ContractsVerb, Global},
    failure::Failure,
    home, out, show,
};
use gpux_api::{ContractState, ContractsView, ErrorCode};
use gpux_node::{ChainChoice, DaemonDir, contracts};

pub(super) async fn run(global: &Global, verb: ContractsVerb) -> Result<u8, Failure> {
    let dir = DaemonDir::new(&home::daemon_dir(global.dir.as_deref())?);
    match verb {
        ContractsVerb::Deploy { chain, yes } => deploy(global, &dir, choice(chain), yes).await,
        ContractsVerb::Verify {
            chain,
            escrow,
            node_directory,
        } => {
            let choice = ChainChoice {
                escrow,
                node_directory,
                ..choice(chain)
            };
            let view = contracts::verify(&dir, choice).await?;
            let good = is_verified(&view);
            out::print(global, &view, show::contracts)?;
            Ok(if good { 0 } else { ErrorCode::Unreachable.exit_status() })
        }
    }
}

async fn deploy(global: &Global, dir: &DaemonDir, choice: ChainChoice, yes: bool) -> Result<u8, Failure> {
    let planned = contracts::plan(dir, choice).await?;
    if is_verified(planned.view()) {
        out::talk(global, "nothing to deploy: this version's contracts are there");
        out::print(global, planned.view(), show::contracts)?;
        return Ok(0);
    }
    out::talk(global, &show::contracts(planned.view()));
    out::confirm_spending(global, yes, &show::deploy_question(planned.view()))?;
    let view = planned.run(&|line| out::talk(global, &format!("  {line}"))).await?;
    out::print(global, &view, show::deployed)?;
    Ok(0)
}

fn is_verified(view: &ContractsView) -> bool {
    view.contracts
        .iter()
        .all(|contract| contract.state == ContractState::Verified)
}

fn choice(args: ChainArgs) -> ChainChoice {
    ChainChoice {
        chain: args.chain,
        rpc_url: args.rpc_url,
        ..ChainChoice::default()
    }
}

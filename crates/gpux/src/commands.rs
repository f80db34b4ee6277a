//! One file per verb: what was typed becomes one call of the daemon, and its answer is shown.

mod away;
mod completion;
mod context;
mod contracts;
mod cost;
mod daemon;
mod devnet;
mod doctor;
mod get;
mod gpus;
mod init;
mod job;
mod logs;
mod man;
mod node;
mod offers;
mod open;
mod plan;
mod ps;
mod receipts;
mod relay;
mod run;
mod stop;
mod topup;
mod validate;
mod wait;
mod wallet;

pub(crate) use completion::{job_names, was_asked};

use crate::{
    args::{Arguments, Global, Verb},
    client::Client,
    failure::{Failure, failed},
    home, out,
};
use gpux_api::{ErrorCode, Paged};

/// Does what was asked and gives the exit status.
pub(crate) fn run(arguments: Arguments) -> Result<u8, Failure> {
    gpux_node::install_tls();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| failed(ErrorCode::Internal, "starting threads", &error))?;
    runtime.block_on(dispatch(arguments.global, arguments.verb))
}

async fn dispatch(global: Global, verb: Verb) -> Result<u8, Failure> {
    match verb {
        Verb::Daemon(args) => daemon::run(&global, &args).await,
        Verb::Devnet(verb) => devnet::run(&global, verb).await,
        Verb::Init(args) => init::run(&global, &args),
        Verb::Validate(args) => validate::run(&global, &args),
        Verb::Offers(args) => offers::run(&global, &args).await,
        Verb::Gpus => gpus::run(&global).await,
        Verb::Plan(args) => plan::run(&global, args).await,
        Verb::Run(args) => run::run(&global, args).await,
        Verb::Ps(args) => ps::run(&global, &args).await,
        Verb::Get(args) => get::run(&global, &args).await,
        Verb::Open(args) => open::run(&global, &args).await,
        Verb::Logs(args) => logs::run(&global, args).await,
        Verb::Wait(args) => wait::run(&global, args).await,
        Verb::Topup(args) => topup::run(&global, args).await,
        Verb::Away(args) => away::run(&global, &args).await,
        Verb::Stop(args) => stop::run(&global, args).await,
        Verb::Cost(args) => cost::run(&global, &args).await,
        Verb::Receipts(args) => receipts::run(&global, &args).await,
        Verb::Wallet(verb) => wallet::run(&global, verb).await,
        Verb::Contracts(verb) => contracts::run(&global, verb).await,
        Verb::Node(verb) => node::run(&global, verb).await,
        Verb::Relay(args) => relay::run(args).await,
        Verb::Doctor => doctor::run(&global).await,
        Verb::Context(verb) => context::run(&global, verb).await,
        Verb::Completion(args) => completion::run(&args),
        Verb::Man(args) => man::run(&global, &args),
    }
}

/// Says that a list goes on, where only its beginning was asked for.
fn tell_of_more(global: &Global, list: &impl Paged) {
    if list.next().is_some() {
        out::talk(global, "there are more: give a larger --limit, or none");
    }
}

/// The daemon that the command means, started when none runs.
async fn connect(global: &Global) -> Result<Client, Failure> {
    Client::connect(&home::daemon_dir(global.dir.as_deref())?).await
}

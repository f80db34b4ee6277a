//! One file per verb: what was typed becomes one call of the daemon, and its answer is shown.

mod completion;
mod cost;
mod daemon;
mod devnet;
mod doctor;
mod job;
mod logs;
mod offers;
mod plan;
mod ps;
mod run;
mod stop;
mod topup;
mod wait;
mod wallet;

use crate::{
    args::{Arguments, Global, Verb},
    client::Client,
    failure::{Failure, failed},
    home,
};
use gpux_api::ErrorCode;
use serde::Serialize;
use std::io::Write;

/// Does what was asked and gives the exit status.
pub(crate) fn run(arguments: Arguments) -> Result<u8, Failure> {
    gpux_node::install_tls();
    let Arguments { global, verb } = arguments;
    match verb {
        Verb::Completion { shell } => completion::run(shell),
        Verb::Daemon(args) => daemon::run(&global, &args),
        verb => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let runtime = runtime.map_err(|error| failed(ErrorCode::Internal, "starting the command's threads", &error))?;
            runtime.block_on(talk(global, verb))
        }
    }
}

async fn talk(global: Global, verb: Verb) -> Result<u8, Failure> {
    match verb {
        Verb::Devnet(verb) => devnet::run(&global, verb).await,
        Verb::Offers => offers::run(&global).await,
        Verb::Plan(args) => plan::run(&global, args).await,
        Verb::Run(args) => run::run(&global, args).await,
        Verb::Ps(args) => ps::run(&global, &args).await,
        Verb::Logs(args) => logs::run(&global, args).await,
        Verb::Wait(args) => wait::run(&global, args).await,
        Verb::Topup(args) => topup::run(&global, args).await,
        Verb::Stop(args) => stop::run(&global, args).await,
        Verb::Cost(args) => cost::run(&global, &args).await,
        Verb::Wallet(verb) => wallet::run(&global, verb).await,
        Verb::Doctor => doctor::run(&global).await,
        Verb::Completion { .. } | Verb::Daemon(_) => Ok(0),
    }
}

/// The daemon that the command means, started when none runs.
async fn connect(global: &Global) -> Result<Client, Failure> {
    Client::connect(&home::daemon_dir(global.dir.as_deref())?).await
}

/// Prints data: `document` as JSON when that was asked for, else what `human` writes.
fn print<T: Serialize>(global: &Global, document: &T, human: impl FnOnce(&T) -> String) -> Result<(), Failure> {
    let text = if global.json {
        serde_json::to_string_pretty(document).map_err(|error| failed(ErrorCode::Internal, "writing JSON", &error))?
    } else {
        human(document)
    };
    write_out(&text)
}

/// Writes a line of data; a reader that went away is no failure.
fn write_out(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(failed(ErrorCode::Internal, "writing to standard output", &error))
        }
        _ => Ok(()),
    }
}

/// Asks a question on the terminal. `None` when nobody is there to answer.
fn ask(question: &str) -> Option<bool> {
    use std::io::IsTerminal;
    if !std::io::stdin().is_terminal() {
        return None;
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok()?;
    Some(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Says yes, asks, or refuses to spend when nobody can be asked.
fn confirm_spending(yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    match ask(question) {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::new(ErrorCode::NotAuthorised, "spending: you said no; nothing was spent")),
        None => Err(Failure::new(ErrorCode::InvalidInput, "spending: nobody is there to say yes; nothing was spent")
            .with_hint("give -y to agree to the plan, with --max-total to cap it")),
    }
}

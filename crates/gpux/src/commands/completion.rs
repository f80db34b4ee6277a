//! `gpux completion`, and what a live script asks while somebody types.
//!
//! There are two scripts because neither serves both. The plain one is complete in itself: a package can ship it, and it works
//! whatever the daemon does, but it knows no names. The live one calls this program at each Tab; between a script and a program
//! of another version nothing is promised, so it is sourced when the shell starts and never kept in a file.

use crate::{
    args::{Arguments, CompletionArgs},
    client::Client,
    failure::{Failure, failed},
    home, out, show,
};
use clap::CommandFactory;
use clap_complete::{CompleteEnv, CompletionCandidate, env::Shells};
use gpux_api::{ErrorCode, JobList};
use std::{ffi::OsString, time::Duration};

/// In which variable a live script names its shell when it calls this program.
const VARIABLE: &str = "GPUX_COMPLETE";
/// How long somebody who pressed Tab waits for names.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) fn run(args: &CompletionArgs) -> Result<u8, Failure> {
    let mut script = Vec::new();
    if args.live {
        let shells = Shells::builtins();
        let shell = shells.completer(&args.shell.to_string()).ok_or_else(|| {
            let text = format!("printing a script: there is no live one for {}", args.shell);
            Failure::new(ErrorCode::InvalidInput, text)
        })?;
        let written = shell.write_registration(VARIABLE, "gpux", "gpux", "gpux", &mut script);
        written.map_err(|error| failed(ErrorCode::Internal, "printing a script", &error))?;
    } else {
        clap_complete::generate(args.shell, &mut Arguments::command(), "gpux", &mut script);
    }
    out::write_data(&String::from_utf8_lossy(&script))?;
    Ok(0)
}

/// Whether a live script called, which is answered then. To be asked before any thread is there: it changes the environment.
pub(crate) fn was_asked(typed: &[OsString]) -> bool {
    let here = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(Arguments::command)
        .var(VARIABLE)
        .completer("gpux")
        .try_complete(typed, here.as_deref());
    // Whoever pressed Tab reads no errors.
    asked.unwrap_or(true)
}

/// The names of the jobs of a daemon that runs. None is started, and nobody waits long for one that does not answer.
pub(crate) fn job_names() -> Vec<CompletionCandidate> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    gpux_node::install_tls();
    let jobs = async {
        let dir = home::daemon_dir(home::dir_of_environment().as_deref()).ok()?;
        let client = Client::running(&dir).await.ok()??;
        client.get::<JobList>("/jobs").await.ok()
    };
    let list = runtime.block_on(async { tokio::time::timeout(PATIENCE, jobs).await });
    let jobs = list.ok().flatten().map(|list| list.jobs).unwrap_or_default();
    let names = jobs.into_iter().map(|job| {
        let state = show::state_word(job.state);
        CompletionCandidate::new(job.name).help(Some(state.into()))
    });
    names.collect()
}

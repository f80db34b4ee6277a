//! `gpux daemon`: runs the daemon in the foreground until it is told to stop.

use crate::{
    args::{DaemonArgs, Global},
    failure::Failure,
    home,
};

pub(super) async fn run(global: &Global, args: &DaemonArgs) -> Result<u8, Failure> {
    let dir = home::daemon_dir(global.dir.as_deref())?;
    start_log(args.verbose, !args.detached);
    // Its failure is told once, at the edge, on standard error, which is the log of a detached daemon.
    let ended = gpux_node::run_daemon(&dir).await;
    ended.map_err(|error| Failure::new(error.code(), crate::failure::chain(&error)))?;
    Ok(0)
}

pub(super) fn start_log(verbose: u8, colours: bool) {
    use std::io::IsTerminal;
    use tracing_subscriber::EnvFilter;
    let default = match verbose {
        0 => "warn,gpux=info,gpux_node=info,gpux_chain=info,gpux_net=info,gpux_runtime=info",
        1 => "info,gpux=debug,gpux_node=debug,gpux_chain=debug,gpux_net=debug,gpux_runtime=debug",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("GPUX_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let colours =
        colours && std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .init();
}

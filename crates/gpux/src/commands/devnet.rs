//! `gpux devnet`: a whole market on this machine.

use crate::{
    args::{DevnetToken, DevnetUpArgs, DevnetVerb, Global},
    failure::{Failure, chain},
    home, out, show,
};
use gpux_api::DevnetView;
use gpux_node::devnet::{DevnetMarketError, DevnetOptions};

pub(super) async fn run(global: &Global, verb: DevnetVerb) -> Result<u8, Failure> {
    let dir = home::devnet_dir()?;
    match verb {
        DevnetVerb::Up(args) => up(global, &dir, args).await?,
        DevnetVerb::Down { purge } => {
            let stopped = gpux_node::devnet::down(&dir, purge).await;
            let stopped = stopped.map_err(|error| failure(&error))?;
            home::set_context(None)?;
            out::print(global, &stopped, |view| {
                format!("stopped {} processes", view.processes.len())
            })?;
        }
        DevnetVerb::Status => {
            let view = gpux_node::devnet::status(&dir);
            let view = view.map_err(|error| failure(&error).with_hint("start one with `gpux devnet up`"))?;
            out::print(global, &view, show::devnet)?;
        }
    }
    Ok(0)
}

async fn up(global: &Global, dir: &std::path::Path, args: DevnetUpArgs) -> Result<(), Failure> {
    let options = DevnetOptions {
        providers: args.providers,
        block_time: args.block_time,
        token: match args.token {
            DevnetToken::Dai => "DAI",
            DevnetToken::Usdc => "USDC",
        },
    };
    let started = gpux_node::devnet::up(dir, &options, &|line| out::talk(global, &format!("  {line}"))).await;
    let view: DevnetView = started.map_err(|error| failure(&error))?;
    home::set_context(Some(&view.renter_dir))?;
    out::print(global, &view, show::devnet)
}

/// Its errors say themselves what was attempted.
fn failure(error: &DevnetMarketError) -> Failure {
    Failure::new(error.code(), chain(error))
}

//! `gpux node`: the verbs of whoever owns a node that sells.

use crate::{
    args::{DrainArgs, EarningsArgs, Global, NodeVerb, PriceArgs},
    client::Client,
    failure::{Failure, INTERRUPTED},
    home, out, show,
};
use gpux_api::{DaemonView, EarningsView, ErrorCode, NodeView, PricesRequest, Taking, TakingRequest};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often a node that is being drained is looked at.
const PACE: Duration = Duration::from_secs(1);

pub(super) async fn run(global: &Global, verb: NodeVerb) -> Result<u8, Failure> {
    match verb {
        NodeVerb::Status => show_node(global, &running(global).await?.get("/node").await?),
        NodeVerb::Price(args) => price(global, args).await,
        NodeVerb::Pause => take(global, Taking::Paused).await,
        NodeVerb::Resume => take(global, Taking::Open).await,
        NodeVerb::Drain(args) => drain(global, &args).await,
        NodeVerb::Earnings(args) => earnings(global, &args).await,
    }
}

/// The daemon that runs. A node that sells is started by its owner or its machine, never by a question about it.
async fn running(global: &Global) -> Result<Client, Failure> {
    let dir = home::daemon_dir(global.dir.as_deref())?;
    let client = Client::running(&dir).await?;
    client.ok_or_else(|| {
        let text = format!("asking the node of {}: its daemon does not run", dir.display());
        let start = format!(
            "start it with `gpux daemon --dir {}`; --dir names another node's folder",
            dir.display()
        );
        Failure::new(ErrorCode::Unreachable, text).with_hint(start)
    })
}

fn show_node(global: &Global, node: &NodeView) -> Result<u8, Failure> {
    out::print(global, node, show::node)?;
    Ok(0)
}

async fn take(global: &Global, taking: Taking) -> Result<u8, Failure> {
    let node: NodeView = running(global)
        .await?
        .post("/node/taking", &TakingRequest { taking })
        .await?;
    out::print(global, &node, show::taking)?;
    Ok(0)
}

async fn price(global: &Global, args: PriceArgs) -> Result<u8, Failure> {
    let client = running(global).await?;
    let asks = args.reset || args.cpu.is_some() || args.memory.is_some() || args.disk.is_some();
    let node: NodeView = if asks {
        let request = PricesRequest {
            cpu: args.cpu,
            memory: args.memory,
            disk: args.disk,
            reset: args.reset,
        };
        client.post("/node/prices", &request).await?
    } else {
        client.get("/node").await?
    };
    out::print(global, &node, show::prices)?;
    Ok(0)
}

async fn drain(global: &Global, args: &DrainArgs) -> Result<u8, Failure> {
    let client = running(global).await?;
    let request = TakingRequest { taking: Taking::Paused };
    let mut node: NodeView = client.post("/node/taking", &request).await?;
    let limit = args
        .timeout
        .map_or(Duration::from_secs(u64::from(u32::MAX)), Into::into);
    let limit = tokio::time::sleep(limit);
    tokio::pin!(limit);
    let mut told = None;
    while !node.is_drained() {
        let left = show::drained(&node);
        if told.as_ref() != Some(&left) {
            out::talk(global, &left);
            told = Some(left);
        }
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => {
                out::talk(global, "the node stays paused; its leases go on; `gpux node resume` takes new ones again");
                return Ok(INTERRUPTED);
            }
            () = &mut limit => {
                let text = format!("draining the node: it still has {}, which go on", show::what_is_left(&node));
                let hint = "wait longer, or `gpux node resume`; the node stays paused";
                return Err(Failure::new(ErrorCode::TimedOut, text).with_hint(hint));
            }
            () = tokio::time::sleep(PACE) => {}
        }
        node = client.get("/node").await?;
    }
    if args.stop {
        let _: DaemonView = client.post("/stop", &()).await?;
    }
    out::print(global, &node, |_| show::is_drained(args.stop).to_owned())?;
    Ok(0)
}

async fn earnings(global: &Global, args: &EarningsArgs) -> Result<u8, Failure> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    let since = if args.all {
        0
    } else {
        now.saturating_sub(args.since.as_secs())
    };
    let view: EarningsView = running(global)
        .await?
        .get(&format!("/node/earnings?since={since}"))
        .await?;
    out::print(global, &view, show::earnings)?;
    Ok(0)
}

//! Looks at everything that a lease needs and says what is not well.

use crate::{node::Node, renter::KEPT_FREE};
use gpux_api::{DoctorCheck, DoctorView, Taking};
use gpux_types::ByteSize;

/// The least native coin that lets a wallet send a handful of transactions, in wei.
const LEAST_NATIVE: u128 = 100_000_000_000_000;
/// One whole native coin, in wei.
const COIN: u128 = 1_000_000_000_000_000_000;

/// Examines the daemon and what it depends on.
pub(crate) async fn examine(node: &Node) -> DoctorView {
    let mut checks = vec![
        chain(node).await,
        fees(node).await,
        money(node).await,
        peers(node),
        offers(node),
        runtime(node),
        disk(node),
        transfer(node),
    ];
    if let Some(provider) = &node.provider {
        let (total, free, leases) = provider.load();
        checks.push(check(
            "provider",
            true,
            format!(
                "offers {} CPU and {}, {} CPU free, {leases} leases{}",
                total.cpu,
                total.memory,
                free.cpu,
                if provider.taking() == Taking::Paused {
                    "; new ones are paused"
                } else {
                    ""
                }
            ),
            None,
        ));
    }
    checks.extend(towers(node));
    checks.extend(watching(node));
    DoctorView {
        schema: "gpux.doctor/v1".into(),
        checks,
    }
}

fn check(name: &str, ok: bool, found: String, hint: Option<&str>) -> DoctorCheck {
    DoctorCheck {
        name: name.into(),
        ok,
        found,
        hint: hint.map(Into::into),
    }
}

async fn chain(node: &Node) -> DoctorCheck {
    let hint = Some("check chain.rpc_url in config.toml, and that the endpoint answers");
    match node.chain.head().await {
        Ok(head) => check(
            "chain",
            true,
            format!("chain {} at block {}", node.config.chain.chain_id, head.number),
            None,
        ),
        Err(error) => check("chain", false, crate::error_chain(&error), hint),
    }
}

async fn fees(node: &Node) -> DoctorCheck {
    let hint = Some("send a little of the chain's own coin to the wallet: transactions need it for fees");
    match node.chain.native_balance(node.wallet.address()).await {
        Ok(wei) => check(
            "fees",
            wei >= LEAST_NATIVE,
            format!(
                "{}.{:06} of the chain's coin",
                wei / COIN,
                wei % COIN / (COIN / 1_000_000)
            ),
            hint,
        ),
        Err(error) => check("fees", false, crate::error_chain(&error), hint),
    }
}

async fn money(node: &Node) -> DoctorCheck {
    let token = &node.chain.token().token;
    match node.chain.token_balance(node.wallet.address()).await {
        Ok(balance) => {
            let enough = balance > gpux_types::Amount::ZERO || node.provider.is_some();
            check(
                "wallet",
                enough,
                token.format_short(balance, 6),
                Some("send the token of deposits to the wallet (`gpux wallet address`)"),
            )
        }
        Err(error) => check("wallet", false, crate::error_chain(&error), None),
    }
}

fn peers(node: &Node) -> DoctorCheck {
    let count = node.net.neighbours().len();
    let hint =
        "give network.bootstrap in config.toml the ticket of a peer (`gpux doctor` on that machine shows its own)";
    check(
        "peers",
        count > 0,
        format!("{count} neighbours; this node is {}", node.net.ticket()),
        Some(hint),
    )
}

fn offers(node: &Node) -> DoctorCheck {
    let count = node.market.count(node.clock.now());
    check(
        "offers",
        count > 0,
        format!("{count} heard"),
        Some("offers come from neighbours: mend `peers` first"),
    )
}

/// Who collects for this provider should its machine die.
fn towers(node: &Node) -> Option<DoctorCheck> {
    let towers = node.provider.as_ref()?.towers.as_ref()?;
    if let Err(why) = towers.collector_is_there() {
        let found = format!(
            "nothing is handed over: the collector {} is not there yet: {why}",
            towers.address()
        );
        let hint = format!(
            "the signer {} deploys it once: it needs a little of the chain's own coin",
            node.provider_sender.address()
        );
        return Some(check("towers", false, found, Some(&hint)));
    }
    let (count, troubles) = towers.troubles();
    let found = match troubles.as_slice() {
        [] => format!(
            "{count} watch-towers; leases are paid to the collector {}",
            towers.address()
        ),
        troubles => format!(
            "of {count} watch-towers these did not take the newest: {}",
            troubles.join("; ")
        ),
    };
    let hint = "the tower's owner sets watch.serve = true; its ticket is in `gpux doctor` on its machine";
    Some(check("towers", troubles.is_empty(), found, Some(hint)))
}

/// What this node watches for others.
fn watching(node: &Node) -> Option<DoctorCheck> {
    let (serves, leases, nodes) = node.watch.load();
    (serves || leases > 0).then(|| {
        let found = format!("watches {leases} leases for {nodes} nodes");
        check(
            "watch",
            serves,
            found,
            Some("watch.serve is off: these are watched to their end, and no others"),
        )
    })
}

/// Whether results and receipts can be written.
fn disk(node: &Node) -> DoctorCheck {
    let hint = Some("make room; results that wait are fetched by themselves then");
    let mut jobs = node.renter.list().jobs.into_iter();
    if let Some((name, waits)) = jobs.find_map(|job| Some((job.name, job.waits?))) {
        return check("disk", false, format!("job {name}: {waits}"), hint);
    }
    match crate::dir::free(node.dir.path()) {
        Ok(free) => {
            let found = format!("{free} free below {}", node.dir.path().display());
            check("disk", free >= KEPT_FREE, found, hint)
        }
        Err(error) => check("disk", false, crate::error_chain(&error), hint),
    }
}

/// What went over the network of images, inputs and outputs, and what is kept of inputs.
fn transfer(node: &Node) -> DoctorCheck {
    let (stats, (kept, going)) = (node.net.stats(), node.net.cached());
    let (sent, received) = (stats.blob_bytes_sent, stats.blob_bytes_received);
    let mut found = format!(
        "{} ({sent} bytes) of images, inputs and outputs sent and {} ({received} bytes) received since the start",
        ByteSize(sent),
        ByteSize(received)
    );
    if node.provider.is_some() {
        let kept = ByteSize(kept.saturating_add(going));
        found.push_str(&format!("; {kept} kept of renters' inputs"));
    }
    check("transfer", true, found, None)
}

fn runtime(node: &Node) -> DoctorCheck {
    match (&node.local, &node.why_no_runtime) {
        (Some(_), _) => check("containers", true, "this machine can run containers".into(), None),
        (None, why) => {
            let found = why.clone().unwrap_or_else(|| "no container runtime".into());
            check(
                "containers",
                node.provider.is_none(),
                found,
                Some("providers run the daemon as root on Linux; renters need it only for an app's own check"),
            )
        }
    }
}

//! The wallet, the checks and the devnet.

use super::{money, table::Table};
use gpux_api::{DevnetView, DoctorView, WalletView};

pub(crate) fn wallet(view: &WalletView) -> String {
    let wei = view.native_wei.parse::<u128>().unwrap_or(0);
    format!(
        "{}\n  {} on chain {}\n  {}.{:06} ETH for fees",
        view.address,
        money(&view.token, view.balance),
        view.chain_id,
        wei / 1_000_000_000_000_000_000,
        wei / 1_000_000_000_000 % 1_000_000
    )
}

pub(crate) fn doctor(view: &DoctorView) -> String {
    let mut text = String::new();
    for check in &view.checks {
        text.push_str(&format!(
            "{} {}: {}\n",
            if check.ok { "ok  " } else { "FAIL" },
            check.name,
            check.found
        ));
        if let Some(hint) = check.hint.as_ref().filter(|_| !check.ok) {
            text.push_str(&format!("     what to do: {hint}\n"));
        }
    }
    match view.checks.iter().filter(|check| !check.ok).count() {
        0 => text.push_str("all is well\n"),
        bad => text.push_str(&format!(
            "{bad} of {} failed\n",
            super::count(view.checks.len(), "check")
        )),
    }
    text
}

pub(crate) fn devnet(view: &DevnetView) -> String {
    let mut text = format!(
        "devnet on chain {} at {}\n  escrow {}\n  token  {} {}\n",
        view.chain_id, view.rpc_url, view.escrow, view.token_symbol, view.token
    );
    let mut table = Table::new(&["PROCESS", ">PID", "STATE", "FOLDER"]);
    for process in &view.processes {
        let state = if process.alive { "running" } else { "gone" };
        table.row([
            process.name.clone(),
            process.pid.to_string(),
            state.to_owned(),
            process.dir.display().to_string(),
        ]);
    }
    text.push_str(&table.text("  "));
    text.push_str("commands now talk to its renter; try `gpux offers`\n");
    text
}

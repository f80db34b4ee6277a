//! Offers and plans.

use super::{AMOUNT_DIGITS, PRICE_DIGITS, clock, column, count, money, money_at_most, short, table::Table};
use gpux_api::{LeasePlan, OffersView, PlanView, PreflightView};
use gpux_types::Token;

pub(crate) fn offers(view: &OffersView) -> String {
    if view.offers.is_empty() {
        return "no offers heard yet; `gpux doctor` shows whether this node has neighbours".to_owned();
    }
    let price = format!(">ALL THAT IS FREE ({}/h)", view.token.symbol);
    let headings = [
        "NODE",
        "PROVIDER",
        "REGION",
        ">FREE CPU",
        ">IN ONE LEASE",
        ">MEMORY",
        ">DISK",
        ">CPU SCORE",
        &price,
        ">HEARD",
    ];
    let mut table = Table::new(&headings);
    for offer in &view.offers {
        table.row([
            offer.node.short(),
            short(&offer.provider),
            offer.region.clone().unwrap_or_else(|| "-".into()),
            format!("{} of {}", offer.free.cpu, offer.total.cpu),
            offer.largest.unwrap_or(offer.free).cpu.to_string(),
            offer.free.memory.to_string(),
            offer.free.disk.to_string(),
            offer.cpu_score.to_string(),
            column(&view.token, offer.price.0, PRICE_DIGITS),
            format!("{} ago", clock(offer.age)),
        ]);
    }
    table.text("")
}

pub(crate) fn plan(view: &PlanView, why: bool) -> String {
    let resources = &view.resources;
    let mut text = format!(
        "Job {} · {} over {} · each {} CPU, {} memory, {} disk\n\n",
        view.name,
        count(usize::try_from(view.parts).unwrap_or(usize::MAX), "part"),
        count(view.leases.len(), "node"),
        resources.cpu,
        resources.memory,
        resources.disk
    );
    text.push_str(&lease_table(view));
    if why {
        text.push_str(&experience(view));
    }
    text.push_str(&rejections(view, why));
    text.push('\n');
    let line = |name: &str, value: String| format!(" {name:<22}{value}\n");
    text.push_str(&line("Lasts at most", clock(view.max_duration)));
    text.push_str(&line(
        "Deposit to escrow",
        if view.worst_case > view.deposit {
            money_at_most(&view.token, view.deposit)
        } else {
            format!(
                "{}  (the most that can be spent)",
                money_at_most(&view.token, view.deposit)
            )
        },
    ));
    if view.worst_case > view.deposit {
        text.push_str(&line(
            "Topped up by itself",
            format!(
                "until {} in all  (the most that can be spent)",
                money_at_most(&view.token, view.worst_case)
            ),
        ));
    }
    text.push_str(&checks(view));
    text.push_str(&line("You have", money(&view.token, view.balance)));
    if view.builder_share > 0 {
        let share = format!(
            "{}.{:02} % to the app's builder, on top of the providers' prices",
            view.builder_share / 100,
            view.builder_share % 100
        );
        text.push_str(&line("Builder", share));
    }
    text.push_str(&line(
        "Billing",
        "by the second from the start of your first process; preparation is free".to_owned(),
    ));
    text.push_str(&line(
        "Comes back",
        "what was not used, with the settlement of each lease".to_owned(),
    ));
    text.push_str(&line("Outputs", view.output.clone()));
    text.push_str(&preflight(&view.preflight));
    text
}

/// What is run again to compare; nothing of a job that asks for no checks.
fn checks(view: &PlanView) -> String {
    if view.checks == 0 {
        return String::new();
    }
    let parts = count(usize::try_from(view.checks).unwrap_or(usize::MAX), "part");
    let what = format!("at most {parts} run again on another node, to compare; within the deposits");
    format!(" {:<22}{what}\n", "Checks")
}

fn lease_table(view: &PlanView) -> String {
    let price = format!(">PRICE ({}/h)", view.token.symbol);
    let deposit = format!(">DEPOSIT ({})", view.token.symbol);
    let mut table = Table::new(&[">#", "NODE", "PROVIDER", "REGION", ">CPU SCORE", &price, &deposit, ""]);
    let chosen = view.leases.iter().map(|lease| (lease, "<- chosen"));
    let others = view.alternatives.iter().take(5).map(|lease| (lease, ""));
    for (index, (lease, mark)) in chosen.chain(others).enumerate() {
        table.row(lease_row(index + 1, lease, mark, &view.token));
    }
    table.text(" ")
}

fn lease_row(number: usize, lease: &LeasePlan, mark: &str, token: &Token) -> [String; 8] {
    [
        number.to_string(),
        lease.node.short(),
        short(&lease.provider),
        lease.region.clone().unwrap_or_else(|| "-".into()),
        lease.cpu_score.to_string(),
        column(token, lease.price.0, PRICE_DIGITS),
        column(token, lease.deposit, AMOUNT_DIGITS),
        mark.to_owned(),
    ]
}

/// How the nodes kept their word so far, of those that this renter knows.
fn experience(view: &PlanView) -> String {
    let known = view.leases.iter().chain(&view.alternatives);
    let known = known.filter(|lease| lease.reliability != LeasePlan::UNKNOWN);
    let lines = known.map(|lease| {
        let (node, kept) = (lease.node.short(), lease.reliability);
        format!(" -  {node}: kept its word {kept} of 1000 times as you have seen it\n")
    });
    lines.collect()
}

fn rejections(view: &PlanView, why: bool) -> String {
    let Some(counts) = view.rejections.as_ref().filter(|_| why) else {
        let known = count(usize::try_from(view.offers).unwrap_or(usize::MAX), "offer");
        return format!(
            " -  {known} known (gpux plan --why FILE shows which come next, and why others do not match)\n"
        );
    };
    if counts.offers == 0 {
        return String::new();
    }
    let by_reason = counts
        .by_reason
        .iter()
        .map(|(reason, offers)| format!("{reason} {offers}"));
    let offers = count(usize::try_from(counts.offers).unwrap_or(usize::MAX), "offer");
    let mut text = format!(" -  {offers} rejected: {}\n", by_reason.collect::<Vec<_>>().join(", "));
    for offer in &view.rejected {
        text.push_str(&format!(" -  {}: {}\n", offer.node.short(), offer.reasons.join("; ")));
    }
    text
}

fn preflight(view: &PreflightView) -> String {
    match view {
        PreflightView::None => String::new(),
        PreflightView::Skipped { reason } => format!(" {:<22}skipped: {reason}\n", "App's own check"),
        PreflightView::Passed { findings } => {
            let mut text = format!(" {:<22}passed\n", "App's own check");
            for finding in findings {
                text.push_str(&format!(" {:<22}{}: {}\n", "", finding.level, finding.message));
            }
            text
        }
    }
}

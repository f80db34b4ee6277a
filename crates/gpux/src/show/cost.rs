//! The bill.

use super::{clock, money, price, short, table::Table};
use gpux_api::{CostView, LeaseCost, TopUpReply, TransactionKind, TransactionView};
use gpux_types::Token;

const fn kind_word(kind: TransactionKind) -> &'static str {
    match kind {
        TransactionKind::Deposit => "deposit",
        TransactionKind::TopUp => "top-up",
        TransactionKind::Settlement => "settlement",
        TransactionKind::Reclaim => "reclaim",
    }
}

pub(crate) fn bill(cost: &CostView) -> String {
    let mut text = format!("Bill of {} · escrow {} on chain {}\n", cost.name, cost.escrow, cost.chain_id);
    for lease in &cost.leases {
        text.push_str(&lease_bill(cost, lease));
    }
    text.push('\n');
    text.push_str(&totals(cost));
    text
}

fn lease_bill(cost: &CostView, lease: &LeaseCost) -> String {
    let mut text = format!(
        "\nLease {} · node {} · provider {} · {} · {} metered\n",
        lease.lease.short(),
        lease.node.short(),
        short(&lease.provider),
        price(&cost.token, lease.price),
        clock(lease.metered)
    );
    let mut table = Table::new(&["", "TRANSACTION", ">BLOCK", ">AMOUNT", ">GAS", ">L2 FEE (gwei)", ">L1 FEE (gwei)"]);
    for transaction in &lease.transactions {
        table.row(transaction_row(&cost.token, transaction));
    }
    text.push_str(&table.text("  "));
    text.push_str(&format!(
        "  earned {}, builder {}, refund {}\n",
        money(&cost.token, lease.earned),
        money(&cost.token, lease.builder),
        money(&cost.token, lease.refund)
    ));
    text
}

fn transaction_row(token: &Token, transaction: &TransactionView) -> [String; 7] {
    let l1 = transaction.l1_fee_wei.as_deref().map_or_else(|| "-".to_owned(), gwei);
    [
        kind_word(transaction.kind).to_owned(),
        transaction.hash.clone(),
        transaction.block.map_or_else(|| "pending".to_owned(), |block| block.to_string()),
        money(token, transaction.amount),
        transaction.gas_used.map_or_else(|| "-".to_owned(), |gas| gas.to_string()),
        transaction.l2_fee_wei.as_deref().map_or_else(|| "-".to_owned(), gwei),
        if transaction.l1_estimated { format!("{l1} est.") } else { l1 },
    ]
}

/// Whole gwei with three digits behind the point.
fn gwei(wei: &str) -> String {
    let Ok(wei) = wei.parse::<u128>() else { return wei.to_owned() };
    format!("{}.{:03}", wei / 1_000_000_000, wei / 1_000_000 % 1_000)
}

fn totals(cost: &CostView) -> String {
    let line = |name: &str, value: String| format!("  {name:<20}{value}\n");
    let mut text = line("paid in", money(&cost.token, cost.paid_in));
    text.push_str(&line("to providers", money(&cost.token, cost.earned)));
    text.push_str(&line("to the builder", money(&cost.token, cost.builder)));
    text.push_str(&line("refunded", money(&cost.token, cost.refund)));
    if cost.held.units() > 0 {
        text.push_str(&line("still held", money(&cost.token, cost.held)));
    }
    let balance = if cost.balanced { "all money in equals all money out, to the last unit" } else { "MONEY IN AND OUT DIFFER" };
    text.push_str(&line("balance", balance.to_owned()));
    text.push_str(&line("fees you paid", format!("{} gwei of the chain's coin", gwei(&cost.fees_wei))));
    if cost.l1_estimated {
        text.push_str(&line("", "L1 fees are estimated, not charged: this chain charges none".to_owned()));
    }
    text.push_str(&format!("{} transactions\n", cost.transactions));
    text
}

pub(crate) fn top_up(reply: &TopUpReply, token: &Token) -> String {
    let lines = reply.leases.iter().map(|leg| format!("topped up lease {} by {} · {}\n", leg.lease.short(), money(token, leg.amount), leg.hash));
    lines.collect()
}

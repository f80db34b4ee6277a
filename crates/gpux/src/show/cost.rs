//! The bill.

use super::{AMOUNT_DIGITS, clock, column, count, money, money_at_most, price, short, table::Table};
use gpux_api::{AtRiskView, CostView, LeaseCost, TopUpReply, TransactionKind, TransactionView};
use gpux_types::Token;

const fn kind_word(kind: TransactionKind) -> &'static str {
    match kind {
        TransactionKind::Deposit => "deposit",
        TransactionKind::TopUp => "top-up",
        TransactionKind::Draw => "draw",
        TransactionKind::Settlement => "settlement",
        TransactionKind::Closing => "closing",
        TransactionKind::Reclaim => "reclaim",
    }
}

pub(crate) fn bill(cost: &CostView) -> String {
    let mut text = format!(
        "Bill of {} · escrow {} on chain {}\n",
        cost.name, cost.escrow, cost.chain_id
    );
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
    let amount = format!(">AMOUNT ({})", cost.token.symbol);
    let mut table = Table::new(&[
        "",
        "TRANSACTION",
        ">BLOCK",
        &amount,
        ">GAS",
        ">L2 FEE (gwei)",
        ">L1 FEE (gwei)",
    ]);
    for transaction in &lease.transactions {
        table.row(transaction_row(&cost.token, transaction));
    }
    text.push_str(&table.text("  "));
    if let Some(risk) = &lease.at_risk {
        text.push_str(&at_risk(&cost.token, risk));
    }
    text.push_str(&format!(
        "  earned {}, builder {}, refund {}\n",
        money(&cost.token, lease.earned),
        money(&cost.token, lease.builder),
        money(&cost.token, lease.refund)
    ));
    text
}

/// What each side would lose if the other did its worst.
fn at_risk(token: &Token, risk: &AtRiskView) -> String {
    let line = |who: &str, now, most| {
        let most = money_at_most(token, most);
        format!("  at risk: {who} {} now, {most} at most\n", money(token, now))
    };
    line("you", risk.renter_now, risk.renter_most) + &line("the provider", risk.provider_now, risk.provider_most)
}

fn transaction_row(token: &Token, transaction: &TransactionView) -> [String; 7] {
    let l1 = transaction.l1_fee_wei.as_deref().map_or_else(|| "-".to_owned(), gwei);
    [
        kind_word(transaction.kind).to_owned(),
        transaction.hash.clone(),
        transaction
            .block
            .map_or_else(|| "pending".to_owned(), |block| block.to_string()),
        column(token, transaction.amount, AMOUNT_DIGITS),
        transaction
            .gas_used
            .map_or_else(|| "-".to_owned(), |gas| gas.to_string()),
        transaction.l2_fee_wei.as_deref().map_or_else(|| "-".to_owned(), gwei),
        if transaction.l1_estimated {
            format!("{l1} est.")
        } else {
            l1
        },
    ]
}

/// Whole gwei with three digits behind the point.
fn gwei(wei: &str) -> String {
    let Ok(wei) = wei.parse::<u128>() else {
        return wei.to_owned();
    };
    format!("{}.{:03}", wei / 1_000_000_000, wei / 1_000_000 % 1_000)
}

/// Whole coins with nine digits behind the point.
fn ether(wei: &str) -> String {
    let Ok(wei) = wei.parse::<u128>() else {
        return "?".to_owned();
    };
    format!(
        "{}.{:09}",
        wei / 1_000_000_000_000_000_000,
        wei / 1_000_000_000 % 1_000_000_000
    )
}

/// The sums with every digit, so that a reader can add them up.
fn totals(cost: &CostView) -> String {
    let mut sums = vec![
        ("paid in", cost.paid_in),
        ("to providers", cost.earned),
        ("to the builder", cost.builder),
        ("refunded", cost.refund),
    ];
    if cost.held.units() > 0 {
        sums.push(("still held", cost.held));
    }
    let mut table = Table::new(&["TOTAL", &format!(">{}", cost.token.symbol)]);
    for (name, amount) in sums {
        table.row([
            name.to_owned(),
            column(&cost.token, amount, usize::from(cost.token.decimals)),
        ]);
    }
    let mut text = table.text("  ");
    let balance = if cost.balanced {
        "all money in equals all money out, to the last unit"
    } else {
        "MONEY IN AND MONEY OUT DIFFER"
    };
    text.push_str(&format!("  {balance}\n\n"));
    text.push_str(&format!(
        "  fees that you paid: {} gwei ({} ETH)\n",
        gwei(&cost.fees_wei),
        ether(&cost.fees_wei)
    ));
    if cost.l1_estimated {
        text.push_str("  L1 fees are estimates: this chain charges none\n");
    }
    text.push_str(&format!(
        "  {}\n",
        count(usize::try_from(cost.transactions).unwrap_or(usize::MAX), "transaction")
    ));
    text
}

pub(crate) fn top_up(reply: &TopUpReply, token: &Token) -> String {
    let lines = reply.leases.iter().map(|leg| {
        format!(
            "topped up lease {} by {} · {}\n",
            leg.lease.short(),
            money(token, leg.amount),
            leg.hash
        )
    });
    lines.collect()
}

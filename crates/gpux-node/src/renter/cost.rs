//! The bill of a job, recomputed from the chain's own events and receipts each time it is asked for.

use super::{JobHandle, Node};
use crate::{fault::fault, records::book};
use gpux_api::{CostView, ErrorBody, ErrorCode, JobView, LeaseCost, LeaseView, TransactionKind, TransactionView};
use gpux_chain::Mined;
use gpux_lease::{Amounts, MoveKind};
use gpux_types::{Amount, LeaseId};
use std::collections::BTreeMap;

/// A transaction of a lease as the API tells it.
pub(super) fn transaction(lease: LeaseId, kind: TransactionKind, amount: Amount, mined: &Mined) -> TransactionView {
    let charged = mined.l1_fee.map(|wei| wei.to_string());
    let estimated = mined.l1_fee_estimate.as_ref().map(|estimate| estimate.wei.to_string());
    TransactionView {
        lease,
        kind,
        hash: mined.hash.to_string(),
        block: Some(mined.block),
        amount,
        sender: Some(mined.from.to_string()),
        gas_used: Some(mined.gas_used),
        l2_fee_wei: Some(mined.l2_fee.to_string()),
        l1_estimated: charged.is_none() && estimated.is_some(),
        l1_fee_wei: charged.or(estimated),
    }
}

/// The bill.
pub(crate) async fn cost(node: &Node, handle: &JobHandle) -> Result<CostView, ErrorBody> {
    let job = &handle.view();
    let mut leases = Vec::with_capacity(job.leases.len());
    for lease in &job.leases {
        leases.push(lease_cost(node, handle.from_block, lease).await?);
    }
    let sum = |of: fn(&LeaseCost) -> Amount| {
        leases
            .iter()
            .fold(Amount::ZERO, |sum, lease| sum.saturating_add(of(lease)))
    };
    let paid_in = sum(|lease| lease.deposit.saturating_add(lease.topped_up));
    let (earned, builder, refund) = (
        sum(|lease| lease.earned),
        sum(|lease| lease.builder),
        sum(|lease| lease.refund),
    );
    let held = held(node, job).await?;
    let out = earned
        .saturating_add(builder)
        .saturating_add(refund)
        .saturating_add(held);
    // A call for many leases stands in the bill of each and costs its fee once.
    let transactions: BTreeMap<&str, &TransactionView> = leases
        .iter()
        .flat_map(|lease| &lease.transactions)
        .map(|transaction| (transaction.hash.as_str(), transaction))
        .collect();
    let own = node.wallet.address().to_string();
    let fees = transactions
        .values()
        .filter(|transaction| transaction.sender.as_ref() == Some(&own))
        .filter_map(|transaction| paid_fee(transaction));
    let fees = fees.fold(0u128, u128::saturating_add);
    let escrow = node.chain.escrow();
    Ok(CostView {
        schema: "gpux.cost/v1".into(),
        job: job.id,
        name: job.name.clone(),
        token: job.token.clone(),
        token_address: node.chain.token().address.to_string(),
        chain_id: escrow.chain_id,
        escrow: escrow.address.to_string(),
        paid_in,
        earned,
        builder,
        refund,
        held,
        balanced: paid_in == out,
        transactions: u32::try_from(transactions.len()).unwrap_or(u32::MAX),
        fees_wei: fees.to_string(),
        l1_estimated: transactions.values().any(|transaction| transaction.l1_estimated),
        leases,
    })
}

/// What a transaction cost in fees, as far as the chain charged them.
fn paid_fee(transaction: &TransactionView) -> Option<u128> {
    let l2: u128 = transaction.l2_fee_wei.as_ref()?.parse().ok()?;
    let l1: u128 = match &transaction.l1_fee_wei {
        Some(wei) if !transaction.l1_estimated => wei.parse().ok()?,
        _ => 0,
    };
    Some(l2.saturating_add(l1))
}

async fn held(node: &Node, job: &JobView) -> Result<Amount, ErrorBody> {
    let mut held = Amount::ZERO;
    for lease in &job.leases {
        let slot = node
            .chain
            .lease(lease.id, gpux_chain::Depth::Latest)
            .await
            .map_err(unreachable)?;
        if slot.status == gpux_chain::SlotStatus::Open {
            held = held.saturating_add(slot.deposit.saturating_sub(slot.claimed));
        }
    }
    Ok(held)
}

fn unreachable(error: gpux_chain::RpcError) -> ErrorBody {
    fault(ErrorCode::Unreachable, "asking the chain for the bill", &error).retryable()
}

async fn lease_cost(node: &Node, from_block: u64, lease: &LeaseView) -> Result<LeaseCost, ErrorBody> {
    let logs = node.chain.lease_logs(lease.id, from_block).await.map_err(unreachable)?;
    let mut amounts = Amounts::default();
    let mut transactions = Vec::with_capacity(logs.len());
    for log in &logs {
        let Some((kind, amount)) = book(&mut amounts, &log.event) else {
            continue;
        };
        let mined = node.chain.mined(log.transaction).await.map_err(unreachable)?;
        transactions.extend(mined.map(|mined| transaction(lease.id, transaction_kind(kind), amount, &mined)));
    }
    Ok(LeaseCost {
        lease: lease.id,
        node: lease.node,
        provider: lease.provider.clone(),
        price: lease.price,
        deposit: amounts.deposit,
        topped_up: amounts.topped_up,
        earned: amounts.earned,
        builder: amounts.builder,
        refund: amounts.refund,
        signed: lease.signed,
        metered: lease.metered,
        expiry: lease.expiry,
        at_risk: lease.at_risk,
        transactions,
    })
}

/// The word of bills for what a transaction did.
pub(crate) const fn transaction_kind(kind: MoveKind) -> TransactionKind {
    match kind {
        MoveKind::Deposit => TransactionKind::Deposit,
        MoveKind::TopUp => TransactionKind::TopUp,
        MoveKind::Draw => TransactionKind::Draw,
        MoveKind::Settlement => TransactionKind::Settlement,
        MoveKind::Closing => TransactionKind::Closing,
        MoveKind::Reclaim => TransactionKind::Reclaim,
    }
}

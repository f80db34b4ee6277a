//! How closing records look to people and programs.

use super::{Kept, role};
use crate::{
    fault::internal,
    node::Node,
    renter::{actor, transaction_kind},
};
use gpux_api::{
    ErrorBody, ErrorCode, ExitView, LastLogView, LeaseSide, MoveView, ReceiptView, ReceiptsView, RecordStanding,
    StatementView, TermsView,
};
use gpux_lease::{EscrowRef, Side, SignedStatement, Standing, Terms, statement_digest};
use gpux_types::UnixSeconds;

/// The records of this node, the newest first; of one job or lease only where `wanted` names it, whole or by the beginning of
/// its name or id. It reads every record: not for the runtime's own threads.
pub(crate) fn receipts(node: &Node, wanted: Option<&str>) -> Result<ReceiptsView, ErrorBody> {
    let mut all = Vec::new();
    for side in [Side::Renter, Side::Provider] {
        let kept = node.store.records::<Kept>(role(side));
        all.extend(kept.map_err(|error| internal("reading closing records", &error))?);
    }
    if let Some(wanted) = wanted {
        all = chosen(all, wanted);
        if all.is_empty() && node.renter.find(wanted).is_err() {
            return Err(unknown(wanted));
        }
    }
    all.sort_by_key(|kept| std::cmp::Reverse(date(kept)));
    Ok(ReceiptsView {
        schema: "gpux.receipts/v1".into(),
        token: node.chain.token().token.clone(),
        receipts: all.iter().filter_map(receipt).collect(),
    })
}

fn date(kept: &Kept) -> Option<UnixSeconds> {
    Some(kept.record.of(kept.side)?.statement.date)
}

fn unknown(wanted: &str) -> ErrorBody {
    let message =
        format!("finding receipts of {wanted:?}: this node knows no such job, and no lease of that id that is over");
    ErrorBody::new(ErrorCode::NotFound, message).with_hint("`gpux receipts` lists all")
}

fn chosen(all: Vec<Kept>, wanted: &str) -> Vec<Kept> {
    let digits = wanted.strip_prefix("0x").unwrap_or(wanted);
    let (exact, begins): (Vec<Kept>, Vec<Kept>) = all
        .into_iter()
        .filter(|kept| {
            let ids = [kept.lease.to_string(), kept.job.to_string()];
            !digits.is_empty() && (kept.name.starts_with(wanted) || ids.iter().any(|id| id.starts_with(digits)))
        })
        .partition(|kept| kept.name == wanted);
    if exact.is_empty() { begins } else { exact }
}

/// Nothing until this side has signed, which it does as soon as the chain tells what moved.
fn receipt(kept: &Kept) -> Option<ReceiptView> {
    let (standing, differs) = match kept.record.standing(&kept.tariff) {
        Standing::Unsigned => return None,
        Standing::OneSided(_) => (RecordStanding::OneSided, Vec::new()),
        Standing::Agreed => (RecordStanding::Agreed, Vec::new()),
        Standing::Disputed(differ) => (RecordStanding::Disputed, differ),
    };
    Some(ReceiptView {
        lease: kept.lease,
        side: match kept.side {
            Side::Renter => LeaseSide::Renter,
            Side::Provider => LeaseSide::Provider,
        },
        job: kept.job,
        name: kept.name.clone(),
        node: kept.node,
        standing,
        differs: differs.iter().map(ToString::to_string).collect(),
        price: kept.tariff.price,
        terms: terms(&kept.terms, &kept.escrow),
        renter: kept.record.renter.as_ref().map(|said| statement(said, &kept.escrow)),
        provider: kept.record.provider.as_ref().map(|said| statement(said, &kept.escrow)),
    })
}

fn terms(terms: &Terms, escrow: &EscrowRef) -> TermsView {
    TermsView {
        chain_id: escrow.chain_id,
        escrow: escrow.address.to_string(),
        renter: terms.renter.to_string(),
        receipt_key: terms.receipt_key.to_string(),
        provider: terms.provider.to_string(),
        provider_signer: terms.provider_signer.to_string(),
        token: terms.token.to_string(),
        builder: terms.builder.to_string(),
        builder_share: terms.builder_share,
        grace_secs: terms.grace_secs,
        salt: terms.salt.to_string(),
    }
}

fn statement(signed: &SignedStatement, escrow: &EscrowRef) -> StatementView {
    let said = &signed.statement;
    let exits = said.exits.iter().map(|exit| ExitView {
        code: exit.code,
        parts: exit.parts,
    });
    let transactions = said.moves.iter().map(|moved| MoveView {
        kind: transaction_kind(moved.kind),
        hash: moved.transaction.to_string(),
        amount: moved.amount,
    });
    StatementView {
        reason: said.end.reason.word().to_owned(),
        reason_text: said.end.reason.to_string(),
        by: actor(said.end.by),
        metered: said.metered,
        exits: exits.collect(),
        other_parts: said.other_parts,
        last_log: said.last_log.map(|log| LastLogView {
            part: log.part,
            attempt: log.attempt,
            length: log.length,
            hash: log.hash.to_string(),
        }),
        signed: said.signed,
        deposit: said.amounts.deposit,
        topped_up: said.amounts.topped_up,
        earned: said.amounts.earned,
        builder: said.amounts.builder,
        refund: said.amounts.refund,
        transactions: transactions.collect(),
        transactions_omitted: said.moves_omitted,
        date: said.date,
        digest: statement_digest(escrow, said).to_string(),
        signature: signed.signature.to_string(),
    }
}

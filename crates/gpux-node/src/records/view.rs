//! How closing records look to people and programs.

use super::{Kept, role};
use crate::{
    fault::internal,
    node::Node,
    page::Page,
    renter::{actor, transaction_kind},
};
use gpux_api::{
    ErrorBody, ErrorCode, ExitView, LastLogView, LeaseSide, MoveView, ReceiptView, ReceiptsView, RecordStanding,
    StatementView, TermsView,
};
use gpux_lease::{EscrowRef, Side, SignedStatement, Standing, Terms, statement_digest};
use gpux_types::{LeaseId, UnixSeconds};
use std::cmp::Reverse;

/// A page of the records of this node, the newest first; of one job or lease only where `wanted` names it, whole or by the
/// beginning of its name or id. It reads every record: not for the runtime's own threads.
pub(crate) fn receipts(node: &Node, wanted: Option<&str>, page: &Page) -> Result<ReceiptsView, ErrorBody> {
    let after = page.place(place_of)?;
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
    let places = all.iter().filter_map(|kept| Some((place(kept)?, kept)));
    let mut wanted: Vec<(Place, &Kept)> = places
        .filter(|(place, _)| after.is_none_or(|after| *place > after))
        .collect();
    wanted.sort_unstable_by_key(|(place, _)| *place);
    let more = wanted.len() > page.limit();
    wanted.truncate(page.limit());
    let last = wanted.last().filter(|_| more);
    Ok(ReceiptsView {
        schema: "gpux.receipts/v1".into(),
        token: node.chain.token().token.clone(),
        next: last.map(|((date, lease, role), _)| format!("{}-{lease}-{role}", date.0.0)),
        receipts: wanted.iter().filter_map(|(_, kept)| receipt(kept)).collect(),
    })
}

/// Where a record stands in the list: the newest first, and the two sides of a lease with oneself apart.
type Place = (Reverse<UnixSeconds>, LeaseId, u8);

/// Nothing until this side has signed.
fn place(kept: &Kept) -> Option<Place> {
    let date = kept.record.of(kept.side)?.statement.date;
    let side = match kept.side {
        Side::Renter => 0,
        Side::Provider => 1,
    };
    Some((Reverse(date), kept.lease, side))
}

fn place_of(text: &str) -> Option<Place> {
    let (date, rest) = text.split_once('-')?;
    let (lease, side) = rest.split_once('-')?;
    let date = UnixSeconds(date.parse().ok()?);
    Some((Reverse(date), lease.parse().ok()?, side.parse().ok()?))
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

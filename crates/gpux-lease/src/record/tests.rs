//! Closing records against the shared vectors, and what two sides can and cannot make of each other's words.

use super::*;
use crate::lifecycle::Actor;
use crate::receipt::{Receipt, SignedClosing};
use crate::terms::{EscrowRef, Terms, VerifySignatureError, closing_digest, receipt_digest};
use alloy_primitives::Signature;
use gpux_types::{BasisPoints, PricePerHour};
use proptest::prelude::*;
use serde_json::Value;

fn text<T: std::str::FromStr>(value: &Value) -> T
where
    T::Err: std::fmt::Debug,
{
    value.as_str().unwrap().parse().unwrap()
}

fn number<T: TryFrom<i64>>(value: &Value) -> T
where
    T::Error: std::fmt::Debug,
{
    value.as_i64().unwrap().try_into().unwrap()
}

fn units(value: &Value) -> Amount {
    Amount::new(text(value)).unwrap()
}

fn snake<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn statement(lease: LeaseId, words: &Value) -> Statement {
    let list = |name: &str| words[name].as_array().unwrap().clone();
    Statement {
        lease,
        end: End::new(snake(&words["reason"]), snake(&words["by"])),
        metered: Millis(text(&words["meteredMs"])),
        exits: list("exits")
            .iter()
            .map(|exit| ExitCount {
                code: number(&exit["code"]),
                parts: number(&exit["parts"]),
            })
            .collect(),
        other_parts: number(&words["otherParts"]),
        last_log: list("lastLog").first().map(|log| LastLog {
            part: PartIndex(number(&log["part"])),
            attempt: number(&log["attempt"]),
            length: text(&log["length"]),
            hash: text(&log["hash"]),
        }),
        signed: units(&words["signedAmount"]),
        amounts: Amounts {
            deposit: units(&words["deposit"]),
            topped_up: units(&words["toppedUp"]),
            earned: units(&words["earned"]),
            builder: units(&words["builderEarned"]),
            refund: units(&words["refund"]),
        },
        moves: list("moves")
            .iter()
            .map(|moved| Move {
                kind: snake(&moved["kind"]),
                transaction: text(&moved["transactionHash"]),
                amount: units(&moved["amount"]),
            })
            .collect(),
        moves_omitted: number(&words["movesOmitted"]),
        date: UnixSeconds(text(&words["date"])),
    }
}

struct Vector {
    name: String,
    terms: Terms,
    escrow: EscrowRef,
    digest: B256,
    provider: SignedStatement,
    renter: SignedStatement,
}

fn vectors() -> Vec<Vector> {
    let file: Value = serde_json::from_str(include_str!("../../../../docs/spec/vectors/closing-records.json")).unwrap();
    let read = |value: &Value| {
        let words = &value["terms"];
        let statement = statement(text(&value["leaseId"]), &value["statement"]);
        let signed = |name: &str| SignedStatement {
            statement: statement.clone(),
            signature: text(&value[name]),
        };
        Vector {
            name: text(&value["name"]),
            terms: Terms {
                renter: text(&words["renter"]),
                receipt_key: text(&words["receiptKey"]),
                provider: text(&words["provider"]),
                provider_signer: text(&words["providerSigner"]),
                token: text(&words["token"]),
                builder: text(&words["builder"]),
                builder_share: BasisPoints::new(number(&words["builderBps"])).unwrap(),
                grace_secs: number(&words["grace"]),
                salt: text(&words["salt"]),
            },
            escrow: EscrowRef {
                chain_id: number(&value["chainId"]),
                address: text(&value["escrow"]),
            },
            digest: text(&value["digest"]),
            provider: signed("provider"),
            renter: signed("renter"),
        }
    };
    file["vectors"].as_array().unwrap().iter().map(read).collect()
}

#[test]
fn the_shared_vectors_hold_and_each_side_signs_with_its_own_key() {
    let vectors = vectors();
    assert!(vectors.len() >= 3);
    for vector in vectors {
        let Vector { terms, escrow, .. } = &vector;
        let (provider, renter) = (&vector.provider, &vector.renter);
        assert_eq!(
            statement_digest(escrow, &provider.statement),
            vector.digest,
            "{}",
            vector.name
        );
        provider.verify(Side::Provider, terms, escrow).unwrap();
        renter.verify(Side::Renter, terms, escrow).unwrap();
        for (signed, side) in [(provider, Side::Renter), (renter, Side::Provider)] {
            assert!(
                matches!(
                    signed.verify(side, terms, escrow),
                    Err(VerifyStatementError::Signature {
                        source: VerifySignatureError::WrongSigner { .. },
                        ..
                    })
                ),
                "{}: one side cannot sign for the other",
                vector.name
            );
        }
    }
}

#[test]
fn a_record_is_never_a_receipt_or_a_closing_amount() {
    for Vector {
        terms,
        escrow,
        renter,
        provider,
        digest,
        ..
    } in vectors()
    {
        let (lease, cumulative) = (renter.statement.lease, renter.statement.signed);
        assert_ne!(digest, receipt_digest(&escrow, lease, cumulative));
        assert_ne!(digest, closing_digest(&escrow, lease, cumulative));
        let receipt = Receipt {
            lease,
            cumulative,
            signature: renter.signature,
        };
        receipt.verify(&terms, &escrow).unwrap_err();
        let closing = SignedClosing {
            lease,
            amount: cumulative,
            signature: provider.signature,
        };
        closing.verify(&terms, &escrow).unwrap_err();
    }
}

#[test]
fn a_statement_of_another_lease_or_with_endless_lists_is_refused() {
    let Vector {
        terms,
        escrow,
        provider,
        ..
    } = vectors().swap_remove(0);
    let other = EscrowRef {
        chain_id: escrow.chain_id + 1,
        ..escrow
    };
    assert!(matches!(
        provider.verify(Side::Provider, &terms, &other),
        Err(VerifyStatementError::OtherLease { .. })
    ));
    let mut long = provider.clone();
    long.statement.exits = vec![ExitCount { code: 0, parts: 1 }; MAX_EXITS + 1];
    assert!(matches!(
        long.verify(Side::Provider, &terms, &escrow),
        Err(VerifyStatementError::TooLong { .. })
    ));
    let mut changed = provider;
    changed.statement.amounts.earned = Amount::ZERO;
    changed.verify(Side::Provider, &terms, &escrow).unwrap_err();
}

/// One unit a millisecond.
fn tariff() -> Tariff {
    Tariff::new(PricePerHour(Amount::new(3_600_000).unwrap()))
}

fn amount(units: u128) -> Amount {
    Amount::new(units).unwrap()
}

/// Ten seconds of work, fifteen signed for, of a deposit of a minute.
fn honest() -> Statement {
    let moved = |kind, byte, units| Move {
        kind,
        transaction: B256::repeat_byte(byte),
        amount: amount(units),
    };
    Statement {
        lease: LeaseId([7; 32]),
        end: End::new(EndReason::Completed, Actor::Renter),
        metered: Millis(10_000),
        exits: vec![ExitCount { code: 0, parts: 3 }],
        other_parts: 0,
        last_log: None,
        signed: amount(15_000),
        amounts: Amounts {
            deposit: amount(50_000),
            topped_up: amount(10_000),
            earned: amount(9_000),
            builder: amount(1_000),
            refund: amount(50_000),
        },
        moves: vec![
            moved(MoveKind::Deposit, 1, 50_000),
            moved(MoveKind::TopUp, 2, 10_000),
            moved(MoveKind::Settlement, 3, 10_000),
        ],
        moves_omitted: 0,
        date: UnixSeconds(1_000_000),
    }
}

/// Each way in which a provider's words can be wrong, and what the renter should say to it.
type Lie = (Difference, fn(&mut Statement));
const LIES: &[Lie] = &[
    (Difference::Lease, |said| said.lease = LeaseId([8; 32])),
    (Difference::End, |said| {
        said.end = End::new(EndReason::Unpaid, Actor::Renter)
    }),
    (Difference::End, |said| {
        said.end = End::new(EndReason::Stopped, Actor::Provider)
    }),
    (Difference::Metered, |said| said.metered = Millis(25_002)),
    (Difference::Exits, |said| {
        said.exits = vec![ExitCount { code: 0, parts: 2 }]
    }),
    (Difference::Exits, |said| {
        said.exits = vec![ExitCount { code: 1, parts: 9 }]
    }),
    (Difference::Signed, |said| said.signed = amount(15_001)),
    (Difference::Deposit, |said| said.amounts.deposit = amount(1)),
    (Difference::TopUps, |said| said.amounts.topped_up = amount(1)),
    (Difference::Earned, |said| said.amounts.earned = amount(1)),
    (Difference::Builder, |said| said.amounts.builder = amount(1)),
    (Difference::Refund, |said| said.amounts.refund = amount(1)),
    (Difference::Transactions, |said| said.moves.truncate(2)),
    (Difference::Transactions, |said| said.moves[0].transaction = B256::ZERO),
    (Difference::Transactions, |said| said.moves_omitted = 1),
    (Difference::Date, |said| said.date = UnixSeconds(1_000_000 + 86_401)),
];

#[test]
fn every_lie_that_the_renter_can_see_is_named_and_its_own_words_are_signed_then() {
    let mine = honest();
    for (index, (difference, lie)) in LIES.iter().enumerate() {
        let mut said = honest();
        lie(&mut said);
        assert_eq!(differences(&mine, &said, &tariff()), [*difference], "lie {index}");
        assert_eq!(answer(mine.clone(), &said, &tariff()), mine, "lie {index}");
    }
    let mut greedy = honest();
    greedy.amounts.earned = amount(16_000);
    let differ = differences(&mine, &greedy, &tariff());
    assert_eq!(differ, [Difference::PaidBeyondSigned, Difference::Earned]);
}

#[test]
fn what_only_the_provider_can_know_is_its_word() {
    let mine = honest();
    let mut said = honest();
    said.metered = Millis(25_000);
    said.exits = vec![ExitCount { code: 0, parts: 4 }, ExitCount { code: 137, parts: 1 }];
    said.other_parts = 2;
    said.signed = amount(12_000);
    said.date = UnixSeconds(1_000_000 - 86_400);
    said.end = End::new(EndReason::Stopped, Actor::Renter);
    said.last_log = Some(LastLog {
        part: PartIndex(1),
        attempt: 1,
        length: 9,
        hash: B256::ZERO,
    });
    assert_eq!(differences(&mine, &said, &tariff()), []);
    assert_eq!(answer(mine, &said, &tariff()), said);
}

#[test]
fn a_renter_that_saw_only_a_closed_slot_takes_any_word_but_that_it_did_not_pay_or_asked_for_it() {
    let mut mine = honest();
    mine.end = End::new(EndReason::ClosedOnChain, Actor::Provider);
    for (reason, by, agrees) in [
        (EndReason::ShimLost, Actor::Provider, true),
        (EndReason::DepositUsed, Actor::Renter, true),
        (EndReason::Stopped, Actor::Provider, true),
        (EndReason::Unpaid, Actor::Provider, false),
        (EndReason::Stopped, Actor::Renter, false),
        (EndReason::Completed, Actor::Renter, false),
    ] {
        let mut said = honest();
        said.end = End::new(reason, by);
        assert_eq!(differences(&mine, &said, &tariff()).is_empty(), agrees, "{reason}");
    }
}

fn signed(statement: Statement) -> SignedStatement {
    SignedStatement {
        statement,
        signature: Signature::test_signature(),
    }
}

#[test]
fn a_record_says_who_signed_and_what_differs() {
    let mut record = ClosingRecord::default();
    assert_eq!(record.standing(&tariff()), Standing::Unsigned);
    assert!(record.take(Side::Provider, signed(honest())));
    assert_eq!(record.standing(&tariff()), Standing::OneSided(Side::Provider));
    let mut other = honest();
    other.amounts.refund = Amount::ZERO;
    assert!(record.take(Side::Renter, signed(other)));
    assert_eq!(record.standing(&tariff()), Standing::Disputed(vec![Difference::Refund]));
    assert!(record.take(Side::Renter, signed(honest())));
    assert_eq!(record.standing(&tariff()), Standing::Agreed);
}

#[test]
fn lists_are_bounded_and_nothing_is_counted_twice_or_left_out() {
    let (exits, other) = count_exits((0..100).map(|code| (code, 1)).chain([(0, 2), (7, 1)]));
    assert_eq!(exits.len(), MAX_EXITS);
    assert_eq!(exits[0], ExitCount { code: 0, parts: 3 });
    let listed: u32 = exits.iter().map(|exit| exit.parts).sum();
    assert_eq!(listed + other, 103);
    let moves: Vec<Move> = (0..100u8)
        .map(|byte| Move {
            kind: MoveKind::TopUp,
            transaction: B256::repeat_byte(byte),
            amount: Amount::ZERO,
        })
        .collect();
    let (listed, omitted) = list_moves(moves.clone());
    assert_eq!((listed.len(), omitted), (MAX_MOVES, 36));
    assert_eq!((listed.first(), listed.last()), (moves.first(), moves.last()));
    assert_eq!(list_moves(listed.clone()), (listed, 0));
}

fn any_statement() -> impl Strategy<Value = Statement> {
    let numbers = (0u128..40_000, 0u128..20_000, 0u64..40_000, 0u32..5, 0u64..200_000);
    numbers.prop_map(|(earned, signed, metered, parts, date)| Statement {
        metered: Millis(metered),
        exits: vec![ExitCount { code: 0, parts }],
        signed: amount(signed),
        amounts: Amounts {
            earned: amount(earned),
            ..honest().amounts
        },
        date: UnixSeconds(date),
        ..honest()
    })
}

proptest! {
    #[test]
    fn the_order_in_which_words_arrive_does_not_matter_and_hearing_them_again_changes_nothing(
        provider in any_statement(), mine in any_statement(),
    ) {
        let renter = signed(answer(mine, &provider, &tariff()));
        let provider = signed(provider);
        let (mut one, mut two) = (ClosingRecord::default(), ClosingRecord::default());
        one.take(Side::Provider, provider.clone());
        one.take(Side::Renter, renter.clone());
        two.take(Side::Renter, renter.clone());
        two.take(Side::Provider, provider.clone());
        prop_assert_eq!(&one, &two);
        prop_assert!(!one.take(Side::Provider, provider) && !one.take(Side::Renter, renter));
        prop_assert_eq!(one, two);
    }

    #[test]
    fn what_both_signed_stays_for_ever(first in any_statement(), later in any_statement()) {
        let mut record = ClosingRecord::default();
        record.take(Side::Provider, signed(first.clone()));
        record.take(Side::Renter, signed(first));
        let agreed = record.clone();
        prop_assert!(!record.take(Side::Provider, signed(later.clone())));
        prop_assert!(!record.take(Side::Renter, signed(later)));
        prop_assert_eq!(record, agreed);
    }

    #[test]
    fn the_renter_never_signs_for_more_than_its_receipts(mine in any_statement(), theirs in any_statement()) {
        let answer = answer(mine.clone(), &theirs, &tariff());
        if answer != mine {
            prop_assert!(answer.amounts.claimed() <= mine.signed);
            prop_assert!(answer.signed <= mine.signed);
            prop_assert_eq!(answer.amounts, mine.amounts);
        }
    }
}

//! Statements as typed data: what is signed, by whom, and how a stranger's signature is checked.

use super::{Move, MoveKind, Side, Statement};
use crate::terms::{EscrowRef, Terms, VerifySignatureError, uint96, verify_signer};
use alloy_primitives::{B256, Signature};
use alloy_sol_types::{SolStruct, eip712_domain};
use gpux_types::LeaseId;
use serde::{Deserialize, Serialize};

mod sol_types {
    alloy_sol_types::sol! {
        struct ClosingRecord {
            bytes32 leaseId;
            string reason;
            string by;
            uint64 meteredMs;
            Exit[] exits;
            uint32 otherParts;
            LastLog[] lastLog;
            uint96 signedAmount;
            uint96 deposit;
            uint96 toppedUp;
            uint96 earned;
            uint96 builderEarned;
            uint96 refund;
            Move[] moves;
            uint32 movesOmitted;
            uint64 date;
        }

        struct Exit {
            int32 code;
            uint32 parts;
        }

        struct LastLog {
            uint32 part;
            uint32 attempt;
            uint64 length;
            bytes32 hash;
        }

        struct Move {
            string kind;
            bytes32 transactionHash;
            uint96 amount;
        }
    }
}

/// The EIP-712 digest of a statement, in a domain of its own: never that of a receipt, a closing amount or terms.
#[must_use]
pub fn statement_digest(escrow: &EscrowRef, statement: &Statement) -> B256 {
    let domain = eip712_domain! {
        name: "GPUX closing record",
        version: "1",
        chain_id: escrow.chain_id,
        verifying_contract: escrow.address,
    };
    let Statement {
        lease,
        end,
        metered,
        exits,
        other_parts,
        last_log,
        signed,
        amounts,
        moves,
        moves_omitted,
        date,
    } = statement;
    let words = sol_types::ClosingRecord {
        leaseId: (*lease).into(),
        reason: end.reason.word().to_owned(),
        by: end.by.word().to_owned(),
        meteredMs: metered.0,
        exits: exits.iter().map(exit).collect(),
        otherParts: *other_parts,
        lastLog: last_log.iter().map(log).collect(),
        signedAmount: uint96(*signed),
        deposit: uint96(amounts.deposit),
        toppedUp: uint96(amounts.topped_up),
        earned: uint96(amounts.earned),
        builderEarned: uint96(amounts.builder),
        refund: uint96(amounts.refund),
        moves: moves.iter().map(moved).collect(),
        movesOmitted: *moves_omitted,
        date: date.0,
    };
    words.eip712_signing_hash(&domain)
}

const fn exit(exit: &super::ExitCount) -> sol_types::Exit {
    sol_types::Exit {
        code: exit.code,
        parts: exit.parts,
    }
}

const fn log(log: &super::LastLog) -> sol_types::LastLog {
    sol_types::LastLog {
        part: log.part.0,
        attempt: log.attempt,
        length: log.length,
        hash: log.hash,
    }
}

fn moved(moved: &Move) -> sol_types::Move {
    sol_types::Move {
        kind: moved.kind.word().to_owned(),
        transactionHash: moved.transaction,
        amount: uint96(moved.amount),
    }
}

impl MoveKind {
    /// Its word in signatures, documents and tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::TopUp => "top_up",
            Self::Draw => "draw",
            Self::Settlement => "settlement",
            Self::Closing => "closing",
            Self::Reclaim => "reclaim",
        }
    }
}

/// A statement with the signature of one side: the receipt key for the renter, the signer for the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedStatement {
    /// What is said.
    pub statement: Statement,
    /// Over [`statement_digest`].
    pub signature: Signature,
}

/// Why a side's statement is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyStatementError {
    /// It speaks of another lease.
    #[error("checking a closing record of lease {got}: expected lease {expected}")]
    OtherLease {
        /// The lease of the terms.
        expected: LeaseId,
        /// The lease that it names.
        got: LeaseId,
    },
    /// It lists more than a statement may.
    #[error("checking a closing record of lease {lease}: it lists too much")]
    TooLong {
        /// The lease.
        lease: LeaseId,
    },
    /// Its signature proves nothing.
    #[error("checking the signature of a closing record of lease {lease}")]
    Signature {
        /// The lease.
        lease: LeaseId,
        /// What is wrong with it.
        source: VerifySignatureError,
    },
}

impl SignedStatement {
    /// Checks that `side` of `terms` signed it.
    ///
    /// # Errors
    /// When it is of another lease, lists too much, or another key signed it.
    pub fn verify(&self, side: Side, terms: &Terms, escrow: &EscrowRef) -> Result<(), VerifyStatementError> {
        let (expected, got) = (terms.lease_id(escrow), self.statement.lease);
        if got != expected {
            return Err(VerifyStatementError::OtherLease { expected, got });
        }
        if !self.statement.is_bounded() {
            return Err(VerifyStatementError::TooLong { lease: got });
        }
        let signer = match side {
            Side::Renter => terms.receipt_key,
            Side::Provider => terms.provider_signer,
        };
        verify_signer(statement_digest(escrow, &self.statement), &self.signature, signer)
            .map_err(|source| VerifyStatementError::Signature { lease: got, source })
    }
}

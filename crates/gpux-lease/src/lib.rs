//! The life of a lease on both sides: terms, metering, receipts and the order of events.
//!
//! Every rule about when work may run and what is owed lives here as a total, pure function; time is an argument.
#![forbid(unsafe_code)]

mod terms;

pub use terms::{
    EscrowRef, Terms, VerifySignatureError, closing_digest, receipt_digest, recover_signer, verify_signer,
};

//! The life of a lease on both sides: terms, metering, receipts and the order of events.
//!
//! Every rule about when work may run and what is owed lives here as a total, pure function; time is an argument.
#![forbid(unsafe_code)]

mod exposure;
mod gang;
mod handover;
mod lifecycle;
mod meter;
#[cfg(test)]
mod model_check;
mod parts;
mod provider;
mod receipt;
mod reconcile;
mod record;
mod renter;
mod risk;
mod runway;
mod settlement;
#[cfg(test)]
mod simulation;
mod terms;

pub use exposure::{Exposed, Exposure};
pub use gang::{
    GATHER_LIMIT, Gang, GangEffect, GangEnd, GangEvent, GangFailure, GangPolicy, RankKey, RankSeen, RankState,
};
pub use handover::{
    Admission, Claimable, FinalSlot, HANDOVER_EVERY, Handover, HandoverPace, TowerStep, VerifyHandoverError,
    WatchLimits, WatchRefusal, WatchedSlot, Watching, admit, check_slot, is_worth_collecting, may_be_over, not_before,
    reward, tower_step,
};
pub use lifecycle::{Actor, End, EndReason, EscrowView, JOURNAL_VERSION, UnexpectedEvent, Work};
pub use meter::{FREEZE_MARGIN, HOLD, INTERVAL, Tariff, WorkClock, draw_from, sign, slack};
pub use parts::{
    CheckPolicy, ChecksSummary, PartEffect, PartEvent, PartFault, PartPolicy, PartQueue, PartState, PartsSummary,
    ReleaseRule, UnknownPart,
};
pub use provider::{
    CLOSING_WAIT, Closing, FreezeCause, Given, Preparation, ProviderConfig, ProviderEffect, ProviderEvent,
    ProviderLease, ProviderState,
};
pub use receipt::{Receipt, SignedClosing, VerifiedReceipt, VerifyReceiptError};
pub use record::{
    Amounts, ClosingRecord, Difference, ExitCount, LOG_TAIL, LastLog, MAX_EXITS, MAX_MOVES, Move, MoveKind, Side,
    SignedStatement, Standing, Statement, VerifyStatementError, answer, count_exits, differences, list_moves,
    statement_digest,
};
pub use renter::{QUOTE_HOLDS, RenterConfig, RenterEffect, RenterEvent, RenterLease, RenterState, TopUp};
pub use risk::{AtRisk, away_at_risk, provider_at_risk, renter_at_risk};
pub use runway::Runway;
pub use settlement::Settlement;
pub use terms::{
    EscrowRef, Opening, Terms, VerifySignatureError, closing_digest, opening_nonce, receipt_digest, recover_signer,
    verify_signer,
};

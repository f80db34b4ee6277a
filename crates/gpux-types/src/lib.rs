//! Ids, money, time and resources: the words that every other crate of GPUX speaks.
//!
//! Pure data with checked arithmetic. Nothing here reads a clock, a file or the network.
#![forbid(unsafe_code)]

mod ids;
mod limits;
mod money;
mod resources;
mod tag;
mod text;
mod time;

pub use alloy_primitives::{Address, B256};
pub use ids::{BlobHash, JobId, LeaseId, NodeId, ParseIdError, PartIndex, QuoteId};
pub use limits::{MAX_ARGUMENTS, MAX_INPUTS, MAX_LAYERS, MAX_VARIABLES};
pub use money::{Amount, BasisPoints, MoneyError, ParseAmountError, PricePerHour, Token};
pub use resources::{ByteSize, Cpu, ParseResourceError, Resources};
pub use tag::{ParseTagError, Tag};
pub use text::{is_obeyed, shown};
pub use time::{Millis, ParseDurationError, UnixSeconds};

//! The market as one renter sees it: the book of offers, the plan for a request, and what it would cost.
//!
//! Matching is local and pure: the same request over the same book gives the same plan, every offer that is not chosen
//! says why, and a request that cannot be met names the nearest change with which it would be. Nothing here signs,
//! sends or reads a clock.
#![forbid(unsafe_code)]

mod book;
mod change;
mod cost;
mod matching;
mod nearest;
mod offer;
mod plan;
mod rates;
mod request;
mod stats;
mod tag;

pub use book::{InsertError, Inserted, OfferBook};
pub use change::{Change, Nearest};
pub use cost::{LeaseCost, deposit_for};
pub use matching::Reason;
pub use offer::{Offer, OfferError};
pub use plan::{Candidate, Plan, Rejection, Reliability, Shortfall, plan};
pub use rates::Rates;
pub use request::Request;
pub use stats::{PriceStats, price_stats};
pub use tag::{ParseTagError, Tag};

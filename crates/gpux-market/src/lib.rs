//! The market as one renter sees it: the book of offers, the plan for a request, and what it would cost.
//!
//! Matching is local and pure: the same request over the same book gives the same plan, every offer that does not match
//! can say why, and a request that cannot be met names the nearest change with which it would be. Nothing here signs,
//! sends or reads a clock.
//!
//! | file | owns |
//! |---|---|
//! | `offer`, `rates`, `gpu`, `place` | what a provider says |
//! | `book`, `index` | the offers that live, and finding the best of them |
//! | `request`, `matching`, `cost` | what a renter wants, whether one offer has it, what it costs |
//! | `score`, `finder`, `gang`, `plan` | which nodes to take together |
//! | `choose` | the same among the few that said a firm price |
//! | `explain`, `nearest`, `change`, `stats` | answers for people |
#![forbid(unsafe_code)]

mod book;
mod change;
mod choose;
mod cost;
mod explain;
mod finder;
mod gang;
mod gpu;
mod index;
mod matching;
mod nearest;
mod offer;
mod place;
mod plan;
mod rates;
mod request;
mod score;
mod stats;

pub use book::{InsertError, Inserted, OfferBook};
pub use change::{Change, Nearest};
pub use choose::choose;
pub use cost::{LeaseCost, deposit_for};
pub use explain::{MAX_NEAREST, Rejected, Rejection, nearest_changes, rejected, rejections};
pub use gpu::{GpuWish, Gpus, is_of_gpus, site_tag};
pub use gpux_types::{ParseTagError, Tag};
pub use matching::Reason;
pub use offer::{Offer, OfferError};
pub use place::{Closeness, Topology};
pub use plan::{Candidate, Plan, Shortfall, plan};
pub use rates::Rates;
pub use request::Request;
pub use score::{Known, Reliability, node_score, set_score};
pub use stats::{ModelStats, PriceStats, model_stats, percentiles, price_stats};

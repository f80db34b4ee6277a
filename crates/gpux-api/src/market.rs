//! Offers and plans.

use gpux_types::{Amount, Millis, NodeId, PricePerHour, Resources, Token};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The offers that this node knows.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct OffersView {
    /// `gpux.offers/v1`.
    #[schemars(extend("const" = "gpux.offers/v1"))]
    pub schema: String,
    /// The token that prices are in.
    pub token: Token,
    /// From the cheapest to the dearest.
    pub offers: Vec<OfferView>,
    /// Where the next page begins. Absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One offer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct OfferView {
    /// The node.
    pub node: NodeId,
    /// Its provider's wallet.
    pub provider: String,
    /// Where it says that it is.
    pub region: Option<String>,
    /// What it has in all for renters.
    pub total: Resources,
    /// What of it is free.
    pub free: Resources,
    /// The most of it that one lease can get: what is free may lie in pieces. Absent of daemons that do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest: Option<Resources>,
    /// What one hour of everything that is free costs, net.
    pub price: PricePerHour,
    /// The measured speed of one core, in points: 1,000 is the reference core.
    pub cpu_score: u32,
    /// How long ago the offer was heard.
    pub age: Millis,
}

/// A job file with what the command line changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// The text of the job file.
    pub job_file: String,
    /// The directory that paths in it are relative to.
    pub directory: String,
    /// Where the command was typed: outputs go below it unless the job file or `--output` says otherwise.
    pub working_directory: String,
    /// `--set name=value`.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// `--input name=path`.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    /// `--nodes`.
    #[serde(default)]
    pub nodes: Option<u32>,
    /// `--max-total`, in the token's units as people write them.
    #[serde(default)]
    pub max_total: Option<String>,
    /// `--output`: where outputs go; else the job file's own word.
    #[serde(default)]
    pub output: Option<String>,
    /// `--why`: whether the plan shall also tell which offers come next, and why others do not match. It takes a look at every
    /// offer, so it is made only when asked for.
    #[serde(default)]
    pub why: bool,
}

/// What would run where, for how much at most.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PlanView {
    /// `gpux.plan/v1`.
    #[schemars(extend("const" = "gpux.plan/v1"))]
    pub schema: String,
    /// The job's name.
    pub name: String,
    /// What it runs from.
    pub image: String,
    /// How many parts it has.
    pub parts: u32,
    /// At most how many of them are run once more on another node, to compare their results. Written only where some are.
    #[serde(default, skip_serializing_if = "is_none")]
    pub checks: u32,
    /// What each lease holds.
    pub resources: Resources,
    /// The token that amounts are in.
    pub token: Token,
    /// The leases that would be opened.
    pub leases: Vec<LeasePlan>,
    /// How many offers are known.
    #[serde(default)]
    pub offers: u32,
    /// The next best offers that match and were not chosen. Empty unless `why` was asked.
    pub alternatives: Vec<LeasePlan>,
    /// Offers that do not match, each with every reason: the first 50 by node. Empty unless `why` was asked.
    pub rejected: Vec<RejectedOffer>,
    /// How many offers fail each bound, over all offers. Absent unless `why` was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejections: Option<RejectionCounts>,
    /// The longest that the leases last.
    pub max_duration: Millis,
    /// The sum of the deposits.
    pub deposit: Amount,
    /// The most that can be spent: the same, since nothing can take more than the deposits without another yes; or the job's
    /// limit where it says that deposits are topped up by themselves.
    pub worst_case: Amount,
    /// What the wallet has.
    pub balance: Amount,
    /// The builder's share in basis points, on top of the providers' prices.
    pub builder_share: u16,
    /// What the app's own check said.
    pub preflight: PreflightView,
    /// Where outputs will be.
    pub output: String,
}

/// One lease of a plan.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LeasePlan {
    /// The node.
    pub node: NodeId,
    /// Its provider's wallet.
    pub provider: String,
    /// Where it says that it is.
    pub region: Option<String>,
    /// What the renter pays for an hour, with the builder's share.
    pub price: PricePerHour,
    /// The deposit.
    pub deposit: Amount,
    /// The measured speed of one core, in points.
    pub cpu_score: u32,
    /// How often the node kept its word to this renter in the last 30 days, in thousandths; 500 of one that it does not know.
    #[serde(default = "unknown")]
    pub reliability: u16,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_none(count: &u32) -> bool {
    *count == 0
}

const fn unknown() -> u16 {
    LeasePlan::UNKNOWN
}

impl LeasePlan {
    /// The reliability of a node that this renter does not know.
    pub const UNKNOWN: u16 = 500;
}

/// An offer that does not match.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RejectedOffer {
    /// The node.
    pub node: NodeId,
    /// Every reason, with what was wanted and what is there.
    pub reasons: Vec<String>,
}

/// How many offers do not match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RejectionCounts {
    /// In all.
    pub offers: u32,
    /// By the bound that they fail, such as `price` or `memory`. One that fails several counts in each.
    pub by_reason: BTreeMap<String, u32>,
}

/// What the app's own check said before any money moved.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PreflightView {
    /// The app has none.
    None,
    /// It was skipped, for the reason given.
    Skipped {
        /// Why.
        reason: String,
    },
    /// It ran and let the job through.
    Passed {
        /// What it noticed.
        findings: Vec<PreflightFinding>,
    },
}

/// One line of an app's check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PreflightFinding {
    /// `error` refuses the job, `warning` and `info` do not.
    pub level: String,
    /// What was found.
    pub message: String,
}

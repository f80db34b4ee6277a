//! A node as its owner sees it: whether it sells, at which price, to whom, and what it earned.

use gpux_types::{Amount, LeaseId, Millis, NodeId, PricePerHour, Resources, Token, UnixSeconds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether a node takes new leases. Leases that it has go on either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Taking {
    /// It offers itself.
    #[default]
    Open,
    /// Its owner wants no new leases: its offer is withdrawn and it gives no quotes.
    Paused,
}

/// A node that sells.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct NodeView {
    /// `gpux.node/v1`.
    #[schemars(extend("const" = "gpux.node/v1"))]
    pub schema: String,
    /// The node.
    pub node: NodeId,
    /// How long its daemon has run.
    pub up: Millis,
    /// Whether it takes new leases.
    pub taking: Taking,
    /// The token of prices.
    pub token: Token,
    /// What it asks, and how that stands in the market.
    pub prices: PricesView,
    /// Everything that it shares.
    pub total: Resources,
    /// What of it is not leased.
    pub free: Resources,
    /// The leases that it has, the oldest first.
    pub leases: Vec<ProvidedLease>,
    /// How many quotes hold at present: each can become a lease, also while no new leases are taken, and lapses in seconds.
    pub quotes: u32,
    /// How many nodes it is connected to.
    pub neighbours: u32,
    /// What renters asked of it since its daemon started.
    pub asked: AskedView,
    /// Why it may have no jobs, the weightiest first. Empty while it has one.
    pub why_idle: Vec<IdleReason>,
}

impl NodeView {
    /// Whether nothing is left that could be owed for: no lease, and no quote that could become one.
    #[must_use]
    pub const fn is_drained(&self) -> bool {
        matches!(self.taking, Taking::Paused) && self.leases.is_empty() && self.quotes == 0
    }
}

/// Net prices, each for an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RatesView {
    /// Of one core.
    pub cpu_core: PricePerHour,
    /// Of one GiB of memory.
    pub memory_gib: PricePerHour,
    /// Of one GiB of disk.
    pub disk_gib: PricePerHour,
}

/// What a node asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PricesView {
    /// What it asks of whoever asks now. Leases and quotes that were given keep their price.
    pub asked: RatesView,
    /// What its configuration says; other than `asked` only where `gpux node price` was used since.
    pub configured: RatesView,
    /// How that stands in the market.
    pub standing: StandingView,
}

/// How a node's price stands beside those of the other nodes that share as much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StandingView {
    /// What is compared: a small lease, as a job file without `resources` asks for it.
    pub of: Resources,
    /// What this node asks for it.
    pub own: PricePerHour,
    /// How many other nodes this one has heard of that could hold it.
    pub others: u32,
    /// How many of these ask less.
    pub cheaper: u32,
    /// What a tenth of the other nodes asks at most; absent when there is none.
    pub p10: Option<PricePerHour>,
    /// What half of them asks at most.
    pub p50: Option<PricePerHour>,
    /// What nine tenths of them ask at most.
    pub p90: Option<PricePerHour>,
}

/// What renters asked of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AskedView {
    /// How many quotes were given.
    pub quotes: u64,
    /// How many leases were taken on.
    pub leases: u64,
    /// How many requests for quotes were refused, by the reason's code.
    pub refused: BTreeMap<String, u64>,
}

/// Why a node may have no jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IdleReason {
    /// What was found.
    pub found: String,
    /// What its owner can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Where a lease stands at its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProvidedState {
    /// Image and inputs are on their way. Not billed.
    Preparing,
    /// Ready; the deposit is not there or not deep enough yet. Not billed.
    AwaitingDeposit,
    /// Ready; the renter has not signed yet. Not billed.
    AwaitingReceipt,
    /// Work may run.
    Running,
    /// Work stands still until the renter signs. Not billed.
    Frozen,
    /// The work is being stopped.
    Stopping,
    /// The work is gone; the payment is on its way.
    Settling,
    /// Over.
    Ended,
}

/// A lease that a node has given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProvidedLease {
    /// Which.
    pub id: LeaseId,
    /// Where it stands.
    pub state: ProvidedState,
    /// The renter's wallet.
    pub renter: String,
    /// The renter's node.
    pub node: NodeId,
    /// What it holds.
    pub resources: Resources,
    /// Its price, net, whatever the node asks by now.
    pub price: PricePerHour,
    /// Metered time.
    pub metered: Millis,
    /// What the renter's newest receipt is worth, with the builder's share.
    pub signed: Amount,
    /// When the deposit's time is over; absent while there is no deposit.
    pub expiry: Option<UnixSeconds>,
}

/// `gpux node pause` and `resume`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TakingRequest {
    /// Whether to take new leases from now on, also after a restart.
    pub taking: Taking,
}

/// `gpux node price`: what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PricesRequest {
    /// Net price of one core for an hour, in the token's units as people write them.
    #[serde(default)]
    pub cpu: Option<String>,
    /// Of one GiB of memory.
    #[serde(default)]
    pub memory: Option<String>,
    /// Of one GiB of disk.
    #[serde(default)]
    pub disk: Option<String>,
    /// Goes back to what the configuration says, before what else is asked.
    #[serde(default)]
    pub reset: bool,
}

/// Of which time earnings are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EarningsQuery {
    /// Only of leases that ended since; from the beginning when it is absent.
    pub since: UnixSeconds,
}

/// What a node earned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EarningsView {
    /// `gpux.earnings/v1`.
    #[schemars(extend("const" = "gpux.earnings/v1"))]
    pub schema: String,
    /// The token of amounts.
    pub token: Token,
    /// Leases that ended before are not counted.
    pub since: UnixSeconds,
    /// When this was asked.
    pub until: UnixSeconds,
    /// How many leases ended in that time.
    pub leases: u32,
    /// What the escrow paid for them, without builders' shares.
    pub earned: Amount,
    /// How long their work was metered, together.
    pub metered: Millis,
    /// How many of them the two sides describe differently.
    pub disputed: u32,
    /// Why they ended: the reason's word and how many.
    pub reasons: BTreeMap<String, u32>,
    /// Each day of UTC on which one ended, the oldest first.
    pub days: Vec<DayEarnings>,
    /// Leases that are not settled, whenever they began.
    pub open: OpenEarnings,
    /// What this node's payments cost in fees, in wei of the chain's coin.
    pub fees: FeesView,
}

/// What ended on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DayEarnings {
    /// The day's first second.
    pub day: UnixSeconds,
    /// How many leases.
    pub leases: u32,
    /// What was paid for them.
    pub earned: Amount,
    /// How long they were metered.
    pub metered: Millis,
}

/// What is earned and not paid yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct OpenEarnings {
    /// How many leases.
    pub leases: u32,
    /// What their newest receipts are worth, with builders' shares.
    pub signed: Amount,
}

/// What transactions cost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct FeesView {
    /// How many transactions of this node paid it.
    pub transactions: u32,
    /// How many of them are in the sum: the newest, and those that the chain still tells of.
    pub counted: u32,
    /// Their sum, in wei.
    pub wei: String,
}

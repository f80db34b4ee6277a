//! Jobs, their leases and their parts.

use crate::{market::PlanRequest, rank::RankView};
use gpux_types::{
    Amount, BlobHash, ByteSize, JobId, LeaseId, Millis, NodeId, PartIndex, PricePerHour, Token, UnixSeconds,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Starts a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// The job, as it was planned.
    pub plan: PlanRequest,
    /// The most that the person said yes to: nothing is opened when the plan has become dearer since.
    pub agreed_total: Amount,
    /// Whether all leases are opened, topped up and closed together: three transactions, whatever their number, rather than
    /// three for each. Absent: no.
    #[serde(default)]
    pub batch: bool,
    /// The most that is added to deposits that run low, by itself and in all, as people write it, such as `2.50`. Absent:
    /// nothing.
    #[serde(default)]
    pub top_up_within: Option<String>,
}

/// All jobs, the newest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct JobList {
    /// `gpux.jobs/v1`.
    #[schemars(extend("const" = "gpux.jobs/v1"))]
    pub schema: String,
    /// The jobs.
    pub jobs: Vec<JobView>,
    /// Where the next page begins. Absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Asking the chosen nodes for firm prices.
    Quoting,
    /// The deposits are on their way, or the nodes prepare; no process of the user's runs yet.
    Starting,
    /// At least one process of the user's has been started.
    Running,
    /// All parts are over; leases are being settled.
    Settling,
    /// All parts succeeded, and every lease whose node still answers is over; one whose node vanished is reclaimed later.
    Succeeded,
    /// Over without success.
    Failed,
    /// Stopped by the renter.
    Stopped,
}

impl JobState {
    /// Whether nothing will happen any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Stopped)
    }
}

/// Who made something end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The renter, or the job itself.
    Renter,
    /// The provider.
    Provider,
    /// Neither: the way between them.
    Network,
    /// The chain.
    Chain,
}

/// Why something ended, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndView {
    /// A sentence.
    pub reason: String,
    /// By whom.
    pub actor: Actor,
    /// The exit code of the first part that failed, or of the last step.
    pub exit_code: Option<i32>,
}

/// One job.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct JobView {
    /// `gpux.job/v1`.
    #[schemars(extend("const" = "gpux.job/v1"))]
    pub schema: String,
    /// Its id.
    pub id: JobId,
    /// Its name for people, unique on this node.
    pub name: String,
    /// Where it stands.
    pub state: JobState,
    /// When it was accepted.
    pub accepted_at: UnixSeconds,
    /// How long it has been going, or went.
    pub elapsed: Millis,
    /// The token of its amounts.
    pub token: Token,
    /// Its parts.
    pub parts: PartsView,
    /// Its leases.
    pub leases: Vec<LeaseView>,
    /// The ranks of a task on more than one node. Written only of such a job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<RankView>,
    /// How the checks of its results went so far. Written only of a job that asks for checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<ChecksView>,
    /// Where its outputs are.
    pub output: String,
    /// The outputs that are here.
    pub outputs: Vec<OutputView>,
    /// What this machine must be given before it can take results that are ready, such as room on its disk. Written only while
    /// it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// Why it ended.
    pub end: Option<EndView>,
}

/// How many parts are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartsView {
    /// In all.
    pub total: u32,
    /// Not given to a node, or waiting for another try.
    pub queued: u32,
    /// Given to a node.
    pub running: u32,
    /// Over, with their outputs on this machine's disk.
    pub done: u32,
    /// Given up.
    pub failed: u32,
}

/// Results that were done again on another node, to compare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChecksView {
    /// How many were drawn; those that are counted nowhere below are under way.
    pub drawn: u32,
    /// Another node made the same.
    pub agreed: u32,
    /// Two others made another one: it was thrown away, with all else of its node, and done again.
    pub outvoted: u32,
    /// Another node made another one, and no third was left to decide.
    pub doubtful: u32,
    /// No other node was left to do it again.
    pub not_made: u32,
}

/// One lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseView {
    /// Its id.
    pub id: LeaseId,
    /// The node.
    pub node: NodeId,
    /// What the escrow pays: the provider's payout address, or its collector.
    pub provider: String,
    /// Where it stands.
    pub state: LeaseState,
    /// What the renter pays for an hour, with the builder's share.
    pub price: PricePerHour,
    /// The first deposit.
    pub deposit: Amount,
    /// Added since.
    pub topped_up: Amount,
    /// The newest receipt.
    pub signed: Amount,
    /// When the escrow ends it.
    pub expiry: UnixSeconds,
    /// Metered time, as the provider last told it.
    pub metered: Millis,
    /// How many parts this node finished.
    pub parts_done: u32,
    /// How many it holds now.
    pub parts_running: u32,
    /// Bytes fetched while it prepares.
    pub prepared: ByteSize,
    /// Bytes to fetch.
    pub to_prepare: ByteSize,
    /// Whether its deposit pays for so little more work that it is time to top up. Written only when it is so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub low: bool,
    /// What each side has at risk, while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_risk: Option<AtRiskView>,
    /// Why it ended.
    pub end: Option<EndView>,
}

/// What each side of a lease would lose if the other did its worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AtRiskView {
    /// The renter in this moment: signed for, not worked yet.
    pub renter_now: Amount,
    /// The renter in the worst moment: two intervals of rent, and what it signed ahead.
    pub renter_most: Amount,
    /// The provider in this moment: worked, not signed for yet.
    pub provider_now: Amount,
    /// The provider in the worst moment: two intervals of rent. What it chose to risk on deposits that are not deep enough is
    /// its own affair and not in here.
    pub provider_most: Amount,
}

/// Says that the renter goes away and that the work of a job is to go on meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwayRequest {
    /// For how long, in milliseconds. Nothing: the renter is back, whatever it agreed to.
    pub horizon: Millis,
    /// The most at risk that the person said yes to. Absent: nothing is done, and the answer tells what would be at risk.
    #[serde(default)]
    pub agreed: Option<Amount>,
}

/// What is signed ahead, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AwayView {
    /// `gpux.away/v1`.
    #[schemars(extend("const" = "gpux.away/v1"))]
    pub schema: String,
    /// Whether it was done.
    pub done: bool,
    /// What the renter has at risk then, over all leases.
    pub at_risk: Amount,
    /// Each lease that goes on.
    pub leases: Vec<AwayLease>,
}

/// One lease of a renter that goes away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AwayLease {
    /// Which.
    pub lease: LeaseId,
    /// Its node.
    pub node: NodeId,
    /// For how long work can go on: not beyond the expiry.
    pub horizon: Millis,
    /// Up to which amount receipts are signed then: not beyond the deposit.
    pub signed_ahead: Amount,
    /// What the renter has at risk then.
    pub at_risk: Amount,
}

/// Where a lease stands, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// The deposit is on its way.
    Opening,
    /// The deposit is in; the node fetches and unpacks. Nothing is billed.
    Preparing,
    /// A process of the user's was started; billed.
    Running,
    /// Frozen for want of a receipt; not billed.
    Frozen,
    /// The node has not answered for a while.
    Unreachable,
    /// The work is over; the settlement is on its way.
    Settling,
    /// Paid and refunded.
    Settled,
    /// Waiting for its expiry and grace to get everything back.
    Reclaimable,
    /// Everything came back.
    Reclaimed,
    /// It never held money.
    Failed,
}

impl LeaseState {
    /// Whether the lease can be given more money.
    #[must_use]
    pub const fn takes_top_up(self) -> bool {
        match self {
            Self::Preparing | Self::Running | Self::Frozen | Self::Unreachable => true,
            Self::Opening | Self::Settling | Self::Settled | Self::Reclaimable | Self::Reclaimed | Self::Failed => {
                false
            }
        }
    }
}

/// One file that came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutputView {
    /// Below the job's output directory.
    pub path: String,
    /// Its part.
    pub part: PartIndex,
    /// The node that made it.
    pub node: NodeId,
    /// The lease that paid for it.
    pub lease: LeaseId,
    /// Its BLAKE3 hash.
    pub hash: BlobHash,
    /// Its length.
    pub size: ByteSize,
}

/// Which lines of a job's logs are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogsQuery {
    /// Goes on until the job is over.
    pub follow: bool,
    /// Only of this part; of all when it is absent.
    pub part: Option<u32>,
    /// Only the last lines of each part; all when it is absent.
    pub tail: Option<usize>,
    /// Only of parts that failed.
    pub failed: bool,
    /// Only of the node whose id begins so; of all when it is absent.
    pub node: Option<String>,
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// The node.
    pub node: NodeId,
    /// The part.
    pub part: PartIndex,
    /// Its values of the array's param, such as `9-12`, where a part may have more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<String>,
    /// The text, without control characters other than tabs.
    pub text: String,
}

/// A line of a log as a document of its own: what `gpux logs --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogView {
    /// `gpux.log-line/v1`.
    #[schemars(extend("const" = "gpux.log-line/v1"))]
    pub schema: String,
    /// The line.
    #[serde(flatten)]
    pub line: LogLine,
}

impl From<LogLine> for LogView {
    fn from(line: LogLine) -> Self {
        Self {
            schema: "gpux.log-line/v1".to_owned(),
            line,
        }
    }
}

/// Adds money to every running lease of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopUpRequest {
    /// For each lease, in the token's units as people write them.
    pub amount: String,
    /// Moves the expiry by as much as the amount pays for.
    #[serde(default)]
    pub extend: bool,
    /// The most for all leases together that was agreed to; nothing is spent when it would be more.
    #[serde(default)]
    pub agreed_total: Option<Amount>,
}

/// What a top-up did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopUpReply {
    /// `gpux.topup/v1`.
    #[schemars(extend("const" = "gpux.topup/v1"))]
    pub schema: String,
    /// For each lease, the amount and the transaction.
    pub leases: Vec<crate::cost::TransactionView>,
}

/// Ends a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StopJobRequest {
    /// For the record.
    #[serde(default)]
    pub reason: String,
}

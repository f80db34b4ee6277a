//! All of a job, and the GPUs of a market: what is asked for by one command alone.

use crate::job::{EndView, JobView};
use gpux_types::{LeaseId, NodeId, PartIndex, PricePerHour, Token, UnixSeconds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// All that is known of a job without asking anybody.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct JobDetails {
    /// `gpux.job-details/v1`.
    #[schemars(extend("const" = "gpux.job-details/v1"))]
    pub schema: String,
    /// The job as it stands.
    pub job: JobView,
    /// When its last lease ends by itself; absent when the job is over.
    pub ends_by_itself: Option<UnixSeconds>,
    /// Parts whose newest try is not the first, or failed: the first 1,000.
    pub retried: Vec<RetriedPart>,
    /// How many such parts there are.
    pub retried_in_all: u32,
}

/// A part that did not go well at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetriedPart {
    /// Which.
    pub part: PartIndex,
    /// Its values of the array's param, such as `9-12`, where a part may have more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<String>,
    /// How often it was tried.
    pub tries: u32,
    /// Which lease has the newest try, or had it.
    pub lease: LeaseId,
    /// That lease's node.
    pub node: NodeId,
    /// Whether the newest try failed.
    pub failed: bool,
    /// Why it failed, or why the one before it did. Absent of jobs that ran before it was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<EndView>,
}

/// The GPUs that are sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpusView {
    /// `gpux.gpus/v1`.
    #[schemars(extend("const" = "gpux.gpus/v1"))]
    pub schema: String,
    /// The token that prices are in.
    pub token: Token,
    /// Every model, by name.
    pub models: Vec<GpuModelView>,
}

/// One model of GPU. Prices are net, of one GPU for an hour, each node counted once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuModelView {
    /// The model.
    pub model: String,
    /// How many nodes sell it.
    pub nodes: u32,
    /// How many GPUs they share.
    pub total: u64,
    /// How many of these can be leased now.
    pub free: u64,
    /// The most that one lease on one node can get now.
    pub largest: u32,
    /// A tenth of the nodes asks this or less.
    pub p10: PricePerHour,
    /// Half of the nodes asks this or less.
    pub p50: PricePerHour,
    /// Nine tenths of the nodes ask this or less.
    pub p90: PricePerHour,
    /// Where they are, as their providers say.
    pub regions: Vec<GpuRegionView>,
}

/// One model in one region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuRegionView {
    /// The region; absent for nodes that tell none.
    pub region: Option<String>,
    /// How many nodes sell it there.
    pub nodes: u32,
    /// How many GPUs they share.
    pub total: u64,
    /// How many of these can be leased now.
    pub free: u64,
    /// The least that is asked for one GPU and hour.
    pub cheapest: PricePerHour,
}

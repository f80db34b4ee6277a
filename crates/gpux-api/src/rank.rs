//! The ranks of a gang, for people and programs.

use gpux_types::{LeaseId, NodeId, PartIndex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a rank is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RankState {
    /// Its node prepares, or makes its container.
    Waiting,
    /// Its container is made; its program waits for the others. Nothing is billed.
    Standing,
    /// It was told to go.
    Running,
    /// It ended well.
    Done,
    /// It failed first, and the gang with it.
    Failed,
    /// GPUX ended it, because another rank failed or the job ended.
    Stopped,
}

/// One rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RankView {
    /// Its number, from 0.
    pub rank: PartIndex,
    /// Its node.
    pub node: NodeId,
    /// The lease that pays for it.
    pub lease: LeaseId,
    /// Which attempt of the gang this is, from 0.
    pub attempt: u32,
    /// Where it is.
    pub state: RankState,
    /// Why it failed or was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

//! Where the nodes of a job shall be, what they must be able to do, and how few of them will do: `network` and `placement`.

use crate::error::{ResolveError, ResolveProblem};
use gpux_types::Tag;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::{Location, Spanned};
use std::{collections::BTreeSet, num::NonZeroU32};

/// The most features that a job asks for: what an offer can name.
const MAX_FEATURES: usize = 32;

/// How close together the nodes of a job shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Together {
    /// Anywhere.
    #[default]
    Any,
    /// In one region, or not at all.
    Region,
    /// In one site of one owner, or not at all.
    SameSite,
    /// In one region rather than further apart, for a little more money.
    PreferRegion,
    /// In one site rather than further apart, for a little more money.
    PreferSameSite,
}

/// What a job asks of its nodes beyond their size.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Placement {
    /// How close together.
    pub together: Together,
    /// Where each of them is.
    pub region: Option<Tag>,
    /// What each of them is able to do.
    pub features: BTreeSet<Tag>,
    /// So many of them are enough where not all can be had. Never more than the nodes of the job.
    pub enough: Option<NonZeroU32>,
}

/// How the nodes are connected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Network")]
pub(crate) struct NetworkFile {
    /// How close together the nodes shall be; any when not given.
    pub(crate) topology: Together,
}

/// Which nodes will do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Placement")]
pub(crate) struct PlacementFile {
    /// The region that every node must name, such as eu-west.
    #[schemars(with = "Option<String>")]
    pub(crate) region: Option<Tag>,
    /// What every node must be able to do, as its owner says.
    #[schemars(with = "BTreeSet<String>")]
    pub(crate) features: BTreeSet<Tag>,
    /// An array starts with so few of its nodes where not all can be had; all are needed when not given.
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub(crate) enough: Option<Spanned<u32>>,
}

impl PlacementFile {
    /// What it means for a job of so many nodes, an array or not.
    pub(crate) fn resolve(
        &self,
        network: &NetworkFile,
        nodes: NonZeroU32,
        array: bool,
    ) -> Result<Placement, ResolveError> {
        if self.features.len() > MAX_FEATURES {
            let (got, limit) = (self.features.len(), MAX_FEATURES);
            let problem = ResolveProblem::Features { got, limit };
            return Err(ResolveError::at(Location::UNKNOWN, problem));
        }
        let enough = |enough: &Spanned<u32>| {
            let (got, most) = (enough.value, nodes.get());
            if !array {
                return Err(ResolveError::at(enough.referenced, ResolveProblem::EnoughOfTask));
            }
            let fits = NonZeroU32::new(got).filter(|_| got <= most);
            fits.ok_or_else(|| ResolveError::at(enough.referenced, ResolveProblem::Enough { got, most }))
        };
        Ok(Placement {
            together: network.topology,
            region: self.region.clone(),
            features: self.features.clone(),
            enough: self.enough.as_ref().map(enough).transpose()?,
        })
    }
}

impl Placement {
    /// What is asked for, each in words; nothing when anything will do.
    pub(crate) fn facts(&self) -> Vec<String> {
        let together = match self.together {
            Together::Any => None,
            Together::Region => Some("all in one region"),
            Together::SameSite => Some("all in one site"),
            Together::PreferRegion => Some("in one region if that costs little more"),
            Together::PreferSameSite => Some("in one site if that costs little more"),
        };
        let region = self.region.as_ref().map(|region| format!("in {region}"));
        let features: Vec<&str> = self.features.iter().map(Tag::as_str).collect();
        let features = (!features.is_empty()).then(|| format!("able to do {}", features.join(", ")));
        let enough = self.enough.map(|enough| format!("{enough} of them are enough"));
        [together.map(str::to_owned), region, features, enough]
            .into_iter()
            .flatten()
            .collect()
    }
}

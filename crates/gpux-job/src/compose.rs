//! A Compose file with one service, read as a job file: what a container is stays where Compose has it, what a market is asked for
//! stands under `x-gpux`. Called by [`JobFile::parse`] where a text has `services` and no `gpux`.
//!
//! What Compose means by a key is kept, or the key is refused: a file never runs here as something else than it runs at home.
//! Source: <https://github.com/compose-spec/compose-spec>.

mod service;
mod value;

use crate::{
    builder::BuilderFile,
    command::CommandText,
    error::{JobFileError, JobFileProblem, Place},
    file::{ArrayFile, BudgetFile, InputFile, JobFile, Kind, ResourcesFile, RetryFile, TaskFile, Version, options},
    names::{JobName, Label},
    param::ParamFile,
    placement::{NetworkFile, PlacementFile},
    text::{Text, cut, given},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_saphyr::{Location, Spanned};
use service::{ServiceFile, Volume};
use std::{collections::BTreeMap, str::FromStr};

/// What Compose has and this version has not, and what to do now.
const ELSEWHERE: &[(&str, &str)] = &[
    ("configs", "write x-gpux: { inputs: … }"),
    ("depends_on", "this version runs one service"),
    (
        "devices",
        "write deploy: { resources: { reservations: { devices: … } } }",
    ),
    ("env_file", "write the variables under environment"),
    ("extends", "write the service out"),
    ("include", "write the service out"),
    ("network_mode", "this version has no open ports"),
    ("networks", "this version has no open ports"),
    ("ports", "this version has no open ports"),
    ("privileged", "containers have no rights over a node's machine"),
    ("replicas", "write x-gpux: { nodes: … }"),
    ("secrets", "this version has no secrets"),
    (
        "tmpfs",
        "write x-gpux: { resources: { disk: … } }; /tmp can be written to",
    ),
    ("user", "the image says which user it runs as"),
    ("working_dir", "the image says in which folder it runs"),
];

/// Whether a text is meant as a Compose file.
///
/// # Errors
/// When it is not YAML that a job file may use.
pub(crate) fn is_compose(text: &str) -> Result<bool, JobFileError> {
    /// The keys that tell the two apart.
    #[derive(Deserialize)]
    struct Head {
        #[serde(default)]
        gpux: Option<IgnoredAny>,
        #[serde(default)]
        services: Option<IgnoredAny>,
    }
    let head: Head =
        serde_saphyr::from_str_with_options(text, options()).map_err(|error| JobFileError::from_yaml(&error, &[]))?;
    Ok(head.services.is_some() && head.gpux.is_none())
}

/// The job file that a Compose file says.
///
/// # Errors
/// The first thing found wrong, with its line and column.
pub(crate) fn parse(text: &str) -> Result<JobFile, JobFileError> {
    let file: ComposeFile = serde_saphyr::from_str_with_options(text, options())
        .map_err(|error| JobFileError::from_yaml(&error, ELSEWHERE))?;
    let services: Vec<&String> = file.services.keys().collect();
    let [only] = services.as_slice() else {
        let names = services.iter().map(|name| cut(name)).collect::<Vec<_>>();
        let found = match names.as_slice() {
            [] => "there is none".to_owned(),
            [first, .., last] if names.len() > 4 => format!("there are {}, from {first} to {last}", names.len()),
            _ => format!("there are {}", names.join(" and ")),
        };
        return Err(value_error(
            None,
            format!("services: a job is one service, and {found}"),
        ));
    };
    let name = file.name.as_ref().map_or(only.as_str(), |name| name.0.as_str());
    // Compose's names may have underscores, and a job's is part of a host name.
    let name = name.replace('_', "-").parse::<JobName>();
    let name = name.map_err(|error| value_error(None, error.to_string()))?;
    match file.services.into_values().next() {
        Some(service) => job_file(name, service.value, file.market),
        None => Err(value_error(None, "services: there is none".to_owned())),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ComposeFile {
    #[serde(default, deserialize_with = "given")]
    name: Option<Text<String>>,
    #[serde(default, rename = "version")]
    _version: IgnoredAny,
    services: BTreeMap<String, Spanned<ServiceFile>>,
    #[serde(default, rename = "x-gpux")]
    market: MarketFile,
}

/// `x-gpux`: the keys of a job file but for those that a service has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MarketFile {
    gpux: Text<Version>,
    kind: Text<Kind>,
    #[serde(deserialize_with = "given")]
    nodes: Option<Spanned<u32>>,
    #[serde(deserialize_with = "given")]
    resources: Option<Spanned<ResourcesFile>>,
    network: NetworkFile,
    placement: PlacementFile,
    inputs: BTreeMap<Label, Spanned<InputFile>>,
    params: BTreeMap<Label, Spanned<ParamFile>>,
    #[serde(deserialize_with = "given")]
    array: Option<Spanned<ArrayFile>>,
    #[serde(deserialize_with = "given")]
    task: Option<Spanned<TaskFile>>,
    #[serde(deserialize_with = "given")]
    then: Option<Spanned<CommandText>>,
    #[serde(deserialize_with = "given")]
    preflight: Option<Spanned<CommandText>>,
    #[serde(deserialize_with = "given")]
    retry: Option<RetryFile>,
    budget: BudgetFile,
    #[serde(deserialize_with = "given")]
    builder: Option<BuilderFile>,
    #[serde(deserialize_with = "given")]
    output: Option<Text<String>>,
}

impl Default for MarketFile {
    fn default() -> Self {
        Self {
            gpux: Text(Version),
            kind: Text(Kind::Task),
            nodes: None,
            resources: None,
            network: NetworkFile::default(),
            placement: PlacementFile::default(),
            inputs: BTreeMap::new(),
            params: BTreeMap::new(),
            array: None,
            task: None,
            then: None,
            preflight: None,
            retry: None,
            budget: BudgetFile::default(),
            builder: None,
            output: None,
        }
    }
}

fn job_file(name: JobName, service: ServiceFile, market: MarketFile) -> Result<JobFile, JobFileError> {
    let mut inputs = market.inputs;
    let output = mount(&mut inputs, &service.volumes, market.output)?;
    Ok(JobFile {
        gpux: market.gpux,
        kind: market.kind,
        name,
        image: service.image(),
        nodes: market.nodes,
        resources: market.resources.or_else(|| service.resources()),
        network: market.network,
        placement: market.placement,
        environment: service.environment(),
        inputs,
        params: market.params,
        array: market.array,
        task: market.task,
        run: service.command(),
        then: market.then,
        preflight: market.preflight,
        retry: market.retry.or_else(|| service.retry()).unwrap_or_default(),
        budget: market.budget,
        builder: market.builder,
        output,
    })
}

/// Adds what a service only reads to the inputs; gives where results go: the one folder that it writes, if there is one.
fn mount(
    inputs: &mut BTreeMap<Label, Spanned<InputFile>>,
    volumes: &[Spanned<Volume>],
    output: Option<Text<String>>,
) -> Result<Option<Text<String>>, JobFileError> {
    let mut output = output;
    for volume in volumes {
        let place = volume.referenced;
        match &volume.value {
            Volume::Read(input) => {
                let label =
                    free_label(inputs, input.to.as_str()).map_err(|message| value_error(Some(place), message))?;
                inputs.insert(label, Spanned::new(input.clone(), place, place));
            }
            Volume::Results(folder) if output.is_none() => output = Some(Text(folder.clone())),
            Volume::Results(_) => {
                let message = "results go to one folder: a second one is mounted, or x-gpux.output names it";
                return Err(value_error(Some(place), message.to_owned()));
            }
        }
    }
    Ok(output)
}

/// The name of a mounted input: the last part of where it is seen, with a number behind where that is taken.
fn free_label(inputs: &BTreeMap<Label, Spanned<InputFile>>, to: &str) -> Result<Label, String> {
    let last = to.rsplit('/').next().unwrap_or_default();
    let fits = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '_'
        }
    };
    let mut name: String = last.chars().map(fits).take(48).collect();
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.insert_str(0, "in_");
    }
    let names = std::iter::once(name.clone()).chain((2..=inputs.len() + 2).map(|number| format!("{name}_{number}")));
    let mut labels = names.filter_map(|name| Label::from_str(&name).ok());
    let free = labels.find(|label| !inputs.contains_key(label));
    free.ok_or_else(|| format!("volumes: {} gives an input no name", cut(to)))
}

fn value_error(place: Option<Location>, message: String) -> JobFileError {
    JobFileError {
        place: place.and_then(Place::of),
        problem: JobFileProblem::Value(message),
    }
}

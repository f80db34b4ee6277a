//! From what was written to what it means: defaults, overrides, and the references between keys.

use crate::{
    bounds::Bounds,
    collect::Collect,
    command::{Command, CommandText},
    error::{Advice, ResolveError, ResolveProblem},
    file::{ArrayFile, BudgetFile, JobFile, Kind},
    image::ImageSource,
    job::{Array, AtZero, Budget, Builder, Input, Job, Retry, Task, Work},
    limits,
    names::Label,
    overrides::Overrides,
    param::{ParamFile, ParamKind},
    path::within,
};
use gpux_types::{Millis, Resources};
use serde_saphyr::{Location, Spanned};
use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

/// The most tries of one part.
const MAX_RETRIES: u32 = 100;
/// The shortest lease that is worth its transactions.
const MIN_DURATION: Millis = Millis::from_secs(60);
/// The longest lease: the escrow accepts no expiry beyond 90 days.
const MAX_DURATION: Millis = Millis::from_secs(90 * 86_400);
/// Where `then` finds what was collected; no input may lie there.
const COLLECTED: &str = "/collected";

impl JobFile {
    /// The job that this file means with `overrides`. Relative paths of the file are taken from `base_dir`, the file's
    /// own folder; nothing is opened.
    ///
    /// # Errors
    /// The first thing found wrong, with its line and column where the file is to blame.
    pub fn resolve(&self, overrides: &Overrides, base_dir: &Path) -> Result<Job, ResolveError> {
        let params = self.resolve_params(overrides)?;
        let work = self.resolve_work(&params)?;
        let inputs = self.resolve_inputs(overrides, base_dir, &work)?;
        let environment = self
            .environment
            .iter()
            .map(|(name, text)| (name.clone(), text.value.0.clone()))
            .collect();
        limits::environment(&environment).map_err(ResolveError::nowhere)?;
        let nodes = self.resolve_nodes(overrides)?;
        let array = matches!(work, Work::Array(_));
        let job = Job {
            name: self.name.clone(),
            image: self.image.0.below(base_dir),
            nodes,
            resources: self.resolve_resources()?,
            gpu: self
                .resources
                .as_ref()
                .and_then(|it| it.value.gpu.clone())
                .map(|gpu| gpu.0),
            placement: self.placement.resolve(&self.network, nodes, array)?,
            environment,
            inputs,
            params,
            work,
            run: command("run", &self.run)?,
            then: self.then.as_ref().map(|then| command("then", then)).transpose()?,
            preflight: self
                .preflight
                .as_ref()
                .map(|preflight| command("preflight", preflight))
                .transpose()?,
            retry: self.resolve_retry()?,
            budget: self.budget.resolve(overrides)?,
            builder: self.builder.as_ref().map(|it| Builder {
                address: it.address.0.0,
                share: it.share.0.0,
            }),
            output: self.resolve_output(overrides, base_dir)?,
        };
        only_utf8(&job)?;
        self.can_be_verified(&job)?;
        Ok(job)
    }

    /// Whether there is something to compare, and another node to do it again.
    fn can_be_verified(&self, job: &Job) -> Result<(), ResolveError> {
        let Some(verify) = self.array.as_ref().and_then(|array| array.value.verify.as_ref()) else {
            return Ok(());
        };
        let fewest = job.placement.enough.unwrap_or(job.nodes).get();
        let problem = match (job.work.collect(), fewest) {
            (None, _) => ResolveProblem::NothingToVerify,
            (Some(_), 0 | 1) => ResolveProblem::NobodyToVerify,
            (Some(_), _) => return Ok(()),
        };
        Err(ResolveError::at(verify.referenced, problem))
    }

    fn resolve_params(&self, overrides: &Overrides) -> Result<BTreeMap<Label, String>, ResolveError> {
        if let Some(name) = overrides.params.keys().find(|name| !self.params.contains_key(*name)) {
            let advice = Advice::for_word(name.as_str(), self.params.keys().map(Label::as_str));
            return Err(ResolveError::nowhere(ResolveProblem::UnknownParam {
                name: name.clone(),
                advice,
            }));
        }
        let mut params = BTreeMap::new();
        for (name, param) in &self.params {
            let value = self.resolve_param(name, param, overrides.params.get(name))?;
            params.insert(name.clone(), value);
        }
        limits::params(&params).map_err(ResolveError::nowhere)?;
        Ok(params)
    }

    fn resolve_param(
        &self,
        name: &Label,
        param: &Spanned<ParamFile>,
        set: Option<&String>,
    ) -> Result<String, ResolveError> {
        let (default, declared) = match &param.value {
            ParamFile::Short(scalar) => (Some(scalar), None),
            ParamFile::Long(table) => (table.default.as_ref().map(|default| &default.value), table.kind),
        };
        let own = default.map_or(ParamKind::Text, |scalar| scalar.kind);
        let ranged = self.array.as_ref().is_some_and(|array| array.value.over.value == *name);
        let kind = declared.unwrap_or(if ranged { ParamKind::Text } else { own });
        let place = if set.is_some() {
            Location::UNKNOWN
        } else {
            param.referenced
        };
        let bounds = Bounds::of(&param.value, if ranged { ParamKind::Range } else { kind });
        bounds
            .check_itself(name.as_str())
            .map_err(|error| ResolveError::at(param.referenced, error))?;
        let missing = || ResolveError::at(param.referenced, ResolveProblem::MissingParam(name.clone()));
        let value = set.or(default.map(|scalar| &scalar.text)).ok_or_else(missing)?;
        kind.check(name.as_str(), value)
            .map_err(|error| ResolveError::at(place, error))?;
        bounds
            .check(name.as_str(), value)
            .map_err(|error| ResolveError::at(place, error))?;
        Ok(value.clone())
    }

    /// The section of the file's kind, and no other.
    fn resolve_work(&self, params: &BTreeMap<Label, String>) -> Result<Work, ResolveError> {
        let other = |key: &'static str, place: Location| Err(ResolveError::at(place, ResolveProblem::OtherKind(key)));
        match (self.kind.0, &self.array, &self.task) {
            (Kind::Array, _, Some(task)) => other("task", task.referenced),
            (Kind::Task, Some(array), _) => other("array", array.referenced),
            (Kind::Array, Some(array), None) => Ok(Work::Array(self.resolve_array(&array.value, params)?)),
            (Kind::Array, None, None) => Err(ResolveError::nowhere(ResolveProblem::MissingKey("array"))),
            (Kind::Task, None, task) => {
                let collect = task.as_ref().and_then(|task| task.value.collect.as_ref());
                let collect = resolve_collect(Work::TASK_COLLECT, collect)?;
                Ok(Work::Task(Task { collect }))
            }
        }
    }

    fn resolve_array(&self, array: &ArrayFile, params: &BTreeMap<Label, String>) -> Result<Array, ResolveError> {
        let over = &array.over;
        let unknown = || {
            let advice = Advice::for_word(over.value.as_str(), params.keys().map(Label::as_str));
            ResolveError::at(
                over.referenced,
                ResolveProblem::UnknownOver {
                    name: over.value.clone(),
                    advice,
                },
            )
        };
        let text = params.get(&over.value).ok_or_else(unknown)?;
        let values = text.parse().map_err(|source| {
            let place = self
                .params
                .get(&over.value)
                .map_or(over.referenced, |param| param.referenced);
            ResolveError::at(
                place,
                ResolveProblem::Range {
                    name: over.value.clone(),
                    source,
                },
            )
        })?;
        let chunk = array.chunk.as_ref().map_or(Ok(NonZeroU32::MIN), |chunk| {
            let empty = || ResolveError::at(chunk.referenced, ResolveProblem::EmptyChunk);
            NonZeroU32::new(chunk.value).ok_or_else(empty)
        });
        Ok(Array {
            over: over.value.clone(),
            values,
            chunk: chunk?,
            collect: resolve_collect(Work::ARRAY_COLLECT, array.collect.as_ref())?,
            verify: array.verify.as_ref().map(|verify| verify.value),
        })
    }

    fn resolve_inputs(&self, overrides: &Overrides, base_dir: &Path, work: &Work) -> Result<Vec<Input>, ResolveError> {
        if let Some(name) = overrides.inputs.keys().find(|name| !self.inputs.contains_key(*name)) {
            let advice = Advice::for_word(name.as_str(), self.inputs.keys().map(Label::as_str));
            return Err(ResolveError::nowhere(ResolveProblem::UnknownInput {
                name: name.clone(),
                advice,
            }));
        }
        limits::entries("inputs", self.inputs.len()).map_err(ResolveError::nowhere)?;
        let mut taken = vec![("the folder of collected files".to_owned(), COLLECTED.to_owned())];
        taken.extend(
            work.collect()
                .map(|collect| (work.collect_key().to_owned(), collect.dir().to_owned())),
        );
        let mut inputs = Vec::new();
        for (name, input) in &self.inputs {
            let to = input.value.to.as_str();
            let one = format!("input {name}");
            limits::local_path(&format!("path of {one}"), &input.value.path.0)
                .map_err(|error| ResolveError::at(input.referenced, error))?;
            if let Some((other, _)) = taken.iter().find(|(_, place)| within(to, place) || within(place, to)) {
                let problem = ResolveProblem::Overlap {
                    one,
                    other: other.clone(),
                };
                return Err(ResolveError::at(input.referenced, problem));
            }
            taken.push((one, to.to_owned()));
            let path = overrides
                .inputs
                .get(name)
                .cloned()
                .unwrap_or_else(|| base_dir.join(&input.value.path.0));
            inputs.push(Input {
                name: name.clone(),
                path,
                to: input.value.to.clone(),
            });
        }
        Ok(inputs)
    }

    fn resolve_output(&self, overrides: &Overrides, base_dir: &Path) -> Result<Option<PathBuf>, ResolveError> {
        if let Some(output) = &self.output {
            limits::local_path("output", &output.0).map_err(ResolveError::nowhere)?;
        }
        Ok(overrides
            .output
            .clone()
            .or_else(|| self.output.as_ref().map(|output| base_dir.join(&output.0))))
    }

    fn resolve_nodes(&self, overrides: &Overrides) -> Result<NonZeroU32, ResolveError> {
        let written = self
            .nodes
            .as_ref()
            .map_or((1, Location::UNKNOWN), |nodes| (nodes.value, nodes.referenced));
        let (got, place) = overrides.nodes.map_or(written, |nodes| (nodes, Location::UNKNOWN));
        let limit = limits::MAX_NODES;
        let nodes = NonZeroU32::new(got).filter(|_| got <= limit);
        nodes.ok_or_else(|| ResolveError::at(place, ResolveProblem::Nodes { got, limit }))
    }

    fn resolve_resources(&self) -> Result<Resources, ResolveError> {
        let place = self
            .resources
            .as_ref()
            .map_or(Location::UNKNOWN, |resources| resources.referenced);
        let written = self
            .resources
            .as_ref()
            .map(|resources| resources.value.clone())
            .unwrap_or_default();
        let resources = Resources {
            cpu: written.cpu.0,
            memory: written.memory.0,
            disk: written.disk.0,
        };
        let none = [
            ("cpu", resources.cpu.millicores == 0),
            ("memory", resources.memory.0 == 0),
            ("disk", resources.disk.0 == 0),
        ];
        match none.into_iter().find(|(_, none)| *none) {
            Some((name, _)) => Err(ResolveError::at(place, ResolveProblem::NoResource(name))),
            None => Ok(resources),
        }
    }

    fn resolve_retry(&self) -> Result<Retry, ResolveError> {
        let (got, limit) = (self.retry.max.value, MAX_RETRIES);
        if got > limit {
            return Err(ResolveError::at(
                self.retry.max.referenced,
                ResolveProblem::Retries { got, limit },
            ));
        }
        Ok(Retry {
            on: self.retry.on.iter().copied().collect(),
            max: got,
        })
    }
}

impl BudgetFile {
    fn resolve(&self, overrides: &Overrides) -> Result<Budget, ResolveError> {
        let written = self
            .max_duration
            .as_ref()
            .map(|duration| (duration.value.0, duration.referenced));
        let given = overrides
            .max_duration
            .map(|duration| (duration, Location::UNKNOWN))
            .or(written);
        let (got, place) = given.ok_or_else(|| ResolveError::nowhere(ResolveProblem::NoDuration))?;
        let (min, max) = (MIN_DURATION, MAX_DURATION);
        if !(min..=max).contains(&got) {
            return Err(ResolveError::at(place, ResolveProblem::Duration { got, min, max }));
        }
        Ok(Budget {
            max_price: self.max_price.clone(),
            max_total: self.max_total.clone(),
            max_duration: got,
            at_zero: self.resolve_at_zero()?,
        })
    }

    /// Nothing tops up by itself without a limit.
    fn resolve_at_zero(&self) -> Result<AtZero, ResolveError> {
        match &self.at_zero {
            None => Ok(AtZero::Stop),
            Some(at_zero) if at_zero.value == AtZero::TopUp && self.max_total.is_none() => {
                Err(ResolveError::at(at_zero.referenced, ResolveProblem::NoLimit))
            }
            Some(at_zero) => Ok(at_zero.value),
        }
    }
}

/// Judged here and not where patterns are read: jobs of earlier versions stay readable.
fn resolve_collect(key: &'static str, written: Option<&Spanned<Collect>>) -> Result<Option<Collect>, ResolveError> {
    if let Some(useless) = written.filter(|collect| !collect.value.is_below_out()) {
        let pattern = useless.value.clone();
        let problem = ResolveProblem::NothingCollected { key, pattern };
        return Err(ResolveError::at(useless.referenced, problem));
    }
    Ok(written.map(|collect| collect.value.clone()))
}

fn command(what: &str, command: &Spanned<CommandText>) -> Result<Command, ResolveError> {
    let CommandText(value) = &command.value;
    limits::command(what, value).map_err(|error| ResolveError::at(command.referenced, error))?;
    Ok(value.clone())
}

/// Whether every path of the job can go through JSON, as the daemon's interfaces need.
fn only_utf8(job: &Job) -> Result<(), ResolveError> {
    let image = match &job.image {
        ImageSource::Layout { dir, .. } => Some(dir),
        ImageSource::Registry { .. } => None,
    };
    let paths = job
        .inputs
        .iter()
        .map(|input| &input.path)
        .chain(image)
        .chain(&job.output);
    let not_utf8 = |path: &&PathBuf| path.to_str().is_none();
    paths.into_iter().find(not_utf8).map_or(Ok(()), |path| {
        Err(ResolveError::nowhere(ResolveProblem::NotUtf8(
            path.to_string_lossy().into_owned(),
        )))
    })
}

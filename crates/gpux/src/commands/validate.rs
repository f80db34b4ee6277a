//! `gpux validate`: reads a job file as the daemon would, on this machine alone. The rules are those of `gpux-job`.

use super::plan::{absolute, read_job_file};
use crate::{
    args::{Global, ValidateArgs},
    failure::{Failure, chain, failed},
    out, show,
};
use gpux_api::{ErrorCode, MistakeView, ValidationView};
use gpux_job::{Job, JobFile, Overrides, Place};
use std::{error::Error, path::Path};

pub(super) fn run(global: &Global, args: &ValidateArgs) -> Result<u8, Failure> {
    let path = absolute(&args.file)?;
    let text = read_job_file(&path)?;
    let overrides = overrides(args)?;
    let base = path.parent().unwrap_or(Path::new("/"));
    let file = args.file.display().to_string();
    let view = match resolve(&text, &overrides, base) {
        Ok(job) => valid(file, &job),
        Err(mistake) => ValidationView::wrong(file, mistake),
    };
    out::print(global, &view, |view| show::validation(view, &text))?;
    Ok(if view.valid {
        0
    } else {
        ErrorCode::InvalidInput.exit_status()
    })
}

fn valid(file: String, job: &Job) -> ValidationView {
    ValidationView {
        schema: "gpux.validation/v1".to_owned(),
        file,
        valid: true,
        name: Some(job.name.to_string()),
        nodes: Some(job.nodes.get()),
        parts: Some(job.part_count()),
        explanation: Some(job.explain()),
        mistake: None,
    }
}

fn overrides(args: &ValidateArgs) -> Result<Overrides, Failure> {
    let wrong = |error: &dyn Error| failed(ErrorCode::InvalidInput, "reading what was typed", error);
    let mut overrides = Overrides {
        nodes: args.nodes,
        ..Overrides::default()
    };
    for (name, value) in &args.set {
        let set = overrides.set_param(&format!("{name}={value}"));
        set.map_err(|error| wrong(&error))?;
    }
    let here = absolute(Path::new("."))?;
    for (name, path) in &args.input {
        let set = overrides.set_input(&format!("{name}={path}"), &here);
        set.map_err(|error| wrong(&error))?;
    }
    Ok(overrides)
}

fn resolve(text: &str, overrides: &Overrides, base: &Path) -> Result<Job, MistakeView> {
    let file = JobFile::parse(text).map_err(|error| mistake(error.place, &error.problem))?;
    file.resolve(overrides, base)
        .map_err(|error| mistake(error.place, &error.problem))
}

fn mistake(place: Option<Place>, problem: &dyn Error) -> MistakeView {
    MistakeView {
        line: place.map(|place| place.line),
        column: place.map(|place| place.column),
        message: chain(problem),
    }
}

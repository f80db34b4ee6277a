//! `gpux plan`, and how a job file is read for it and for `gpux run`.

use crate::{
    args::{Global, JobArgs},
    failure::{Failure, failed},
    out, show,
};
use gpux_api::{ErrorCode, PlanRequest, PlanView};
use gpux_job::OneLine;
use std::{
    hash::{BuildHasher as _, RandomState},
    io::Read,
    path::{Path, PathBuf},
};

/// The longest job file that is read.
const MAX_JOB_FILE_BYTES: u64 = 256 << 10;

pub(super) async fn run(global: &Global, args: JobArgs) -> Result<u8, Failure> {
    let why = args.why;
    let request = request(args)?;
    let plan: PlanView = super::connect(global).await?.post("/plan", &request).await?;
    out::print(global, &plan, |plan| show::plan(plan, why))?;
    Ok(0)
}

/// What the daemon plans from: the job file with what was typed beside it. Paths become absolute here, since the daemon
/// works in another folder.
pub(super) fn request(args: JobArgs) -> Result<PlanRequest, Failure> {
    let here = absolute(Path::new("."))?;
    let (job_file, directory) = match args.line.of_image(args.file.display().to_string()) {
        Some(line) => (written(&line)?, here.clone()),
        None => {
            let file = absolute(&args.file)?;
            let directory = file.parent().unwrap_or(Path::new("/")).to_owned();
            (read_job_file(&file)?, directory)
        }
    };
    let directory = directory.display().to_string();
    let mut inputs = std::collections::BTreeMap::new();
    for (name, path) in args.input {
        inputs.insert(name, absolute(Path::new(&path))?.display().to_string());
    }
    let output = args
        .output
        .as_deref()
        .map(absolute)
        .transpose()?
        .map(|path| path.display().to_string());
    Ok(PlanRequest {
        job_file,
        directory,
        working_directory: here.display().to_string(),
        set: args.set.into_iter().collect(),
        inputs,
        nodes: args.nodes,
        max_total: args.max_total,
        output,
        why: args.why,
    })
}

/// The job file of a task that was typed in one line.
fn written(line: &OneLine) -> Result<String, Failure> {
    // As good as any: it only names the job.
    let number = RandomState::new().hash_one(std::process::id());
    let text = line.job_file(number);
    text.map_err(|error| failed(ErrorCode::InvalidInput, "reading the line", &error))
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| failed(ErrorCode::InvalidInput, &format!("finding {}", path.display()), &error))
}

pub(super) fn read_job_file(path: &Path) -> Result<String, Failure> {
    let attempted = format!("reading the job file {}", path.display());
    let file = std::fs::File::open(path).map_err(|error| failed(ErrorCode::InvalidInput, &attempted, &error))?;
    let mut text = String::new();
    let read = file.take(MAX_JOB_FILE_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| failed(ErrorCode::InvalidInput, &attempted, &error))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_JOB_FILE_BYTES {
        return Err(Failure::new(
            ErrorCode::InvalidInput,
            format!("{attempted}: it is over {} KiB", MAX_JOB_FILE_BYTES >> 10),
        ));
    }
    Ok(text)
}

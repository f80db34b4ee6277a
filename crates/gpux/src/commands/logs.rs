//! `gpux logs`.

use crate::{
    args::{Global, LogsArgs},
    client::Client,
    failure::{Failure, INTERRUPTED},
    out, show,
};
use futures_util::StreamExt;
use gpux_api::{ErrorCode, JobView, LogLine, LogView};

/// Which lines of which job.
pub(super) struct Request {
    /// Its name, its id, or a unique beginning of either.
    pub(super) job: String,
    /// Go on until the job is over.
    pub(super) follow: bool,
    /// Only this part.
    pub(super) part: Option<u32>,
    /// Only parts on the node whose id begins so.
    pub(super) node: Option<String>,
    /// Only so many last lines of each part.
    pub(super) tail: Option<usize>,
}

pub(super) async fn run(global: &Global, args: LogsArgs) -> Result<u8, Failure> {
    let client = super::connect(global).await?;
    if args.diagnose {
        return diagnose(global, &client, &args.job.job).await;
    }
    let request = Request {
        job: args.job.job,
        follow: args.follow,
        part: args.part,
        node: args.node,
        tail: args.tail,
    };
    print(&client, &request, |line| {
        if global.json {
            out::print_line(&LogView::from(line))
        } else {
            out::write_data(&show::log_line(&line))
        }
    })
    .await
}

/// Hands lines to `show` as they come, until there are no more or the user presses Ctrl-C.
pub(super) async fn print(
    client: &Client,
    request: &Request,
    mut show: impl FnMut(LogLine) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    let mut path = format!("/jobs/{}/logs?follow={}", request.job, request.follow);
    if let Some(part) = request.part {
        path.push_str(&format!("&part={part}"));
    }
    if let Some(node) = request
        .node
        .as_deref()
        .filter(|node| node.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        path.push_str(&format!("&node={}", node.to_ascii_lowercase()));
    } else if request.node.is_some() {
        let failure = Failure::new(
            ErrorCode::InvalidInput,
            "reading what was typed: a node's id has hexadecimal digits",
        );
        return Err(failure.with_hint("`gpux get JOB` lists the job's nodes"));
    }
    if let Some(lines) = request.tail {
        path.push_str(&format!("&tail={lines}"));
    }
    let mut lines = client.stream::<LogLine>(&path).await?;
    loop {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => return Ok(INTERRUPTED),
            line = lines.next() => match line {
                Some(line) => show(line?)?,
                None => return Ok(0),
            },
        }
    }
}

/// Tells how the job and its leases ended, and prints the last lines of what failed.
async fn diagnose(global: &Global, client: &Client, name: &str) -> Result<u8, Failure> {
    let job: JobView = client.get(&format!("/jobs/{name}")).await?;
    out::talk(global, &show::diagnosis(&job));
    let path = format!("/jobs/{}/logs?failed=true&tail={}", job.id, super::job::LAST_LINES);
    let mut lines = client.stream::<LogLine>(&path).await?;
    while let Some(line) = lines.next().await {
        let line = line?;
        if global.json {
            out::print_line(&LogView::from(line))?;
        } else {
            out::write_data(&show::log_line(&line))?;
        }
    }
    Ok(0)
}

//! `gpux logs`.

use crate::{
    args::{Global, LogsArgs},
    client::Client,
    failure::{Failure, INTERRUPTED},
    out, show,
};
use futures_util::StreamExt;
use gpux_api::{LogLine, LogView};

/// Which lines of which job.
pub(super) struct Request {
    /// Its name, its id, or a unique beginning of either.
    pub(super) job: String,
    /// Go on until the job is over.
    pub(super) follow: bool,
    /// Only this part.
    pub(super) part: Option<u32>,
    /// Only so many last lines of each part.
    pub(super) tail: Option<usize>,
}

pub(super) async fn run(global: &Global, args: LogsArgs) -> Result<u8, Failure> {
    let client = super::connect(global).await?;
    let request = Request {
        job: args.job.job,
        follow: args.follow,
        part: args.part,
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

//! `gpux logs`.

use crate::{
    args::{Global, LogsArgs},
    failure::{Failure, INTERRUPTED},
    out, show,
};
use futures_util::StreamExt;
use gpux_api::LogLine;

pub(super) async fn run(global: &Global, args: LogsArgs) -> Result<u8, Failure> {
    let client = super::connect(global).await?;
    let mut path = format!("/jobs/{}/logs?follow={}", args.job.job, args.follow);
    if let Some(part) = args.part {
        path.push_str(&format!("&part={part}"));
    }
    if let Some(lines) = args.tail {
        path.push_str(&format!("&tail={lines}"));
    }
    let mut lines = client.stream::<LogLine>(&path).await?;
    loop {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => return Ok(INTERRUPTED),
            line = lines.next() => match line {
                Some(line) => print_line(global, &line?)?,
                None => return Ok(0),
            },
        }
    }
}

fn print_line(global: &Global, line: &LogLine) -> Result<(), Failure> {
    if global.json {
        let text = serde_json::to_string(line);
        let text =
            text.map_err(|error| crate::failure::failed(gpux_api::ErrorCode::Internal, "writing JSON", &error))?;
        return out::write_data(&text);
    }
    out::write_data(&show::log_line(line))
}

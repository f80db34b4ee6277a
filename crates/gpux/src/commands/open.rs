//! `gpux open`: the folder of a job's results. There is no page of a job to open yet.

use crate::{
    args::{Global, JobName},
    failure::Failure,
    home, out,
};
use gpux_api::JobView;
use std::{
    io::IsTerminal,
    process::{Command, Stdio},
};

/// What opens a folder on desktops that follow freedesktop.org.
const OPENER: &str = "xdg-open";

pub(super) async fn run(global: &Global, args: &JobName) -> Result<u8, Failure> {
    let job: JobView = super::connect(global)
        .await?
        .get(&format!("/jobs/{}", args.job))
        .await?;
    out::print(global, &job, |job| job.output.clone())?;
    if !global.json && std::io::stdout().is_terminal() && home::has_desktop() {
        let mut opener = Command::new(OPENER);
        opener.arg(&job.output).stdin(Stdio::null()).stdout(Stdio::null());
        // The folder's name is printed: who has no opener can go there.
        if opener.stderr(Stdio::null()).spawn().is_err() {
            out::talk(global, &format!("  {OPENER} cannot be started"));
        }
    }
    Ok(0)
}

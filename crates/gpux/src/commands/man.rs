//! `gpux man`: the manual, made from what can be typed.

use crate::{
    args::{Arguments, Global, ManArgs},
    failure::{Failure, failed},
    out,
};
use clap::CommandFactory;
use gpux_api::{ErrorCode, FilesView};
use std::path::Path;

pub(super) fn run(global: &Global, args: &ManArgs) -> Result<u8, Failure> {
    let mut files = Vec::new();
    let mut all = Arguments::command().disable_help_subcommand(true);
    all.build();
    let written = std::fs::create_dir_all(&args.dir).and_then(|()| write(all, &args.dir, &mut files));
    let attempted = format!("writing the manual into {}", args.dir.display());
    written.map_err(|error| failed(ErrorCode::InvalidInput, &attempted, &error))?;
    files.sort();
    out::print(global, &FilesView::from(files), |view| view.files.join("\n"))?;
    Ok(0)
}

/// Writes the pages of a command and of all below it.
fn write(command: clap::Command, dir: &Path, files: &mut Vec<String>) -> std::io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write(below.clone(), dir, files)?;
    }
    let page = clap_mangen::Man::new(command).manual("GPUX").generate_to(dir)?;
    files.push(page.display().to_string());
    Ok(())
}

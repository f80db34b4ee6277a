//! `gpux init`: a job file to start from. The templates are files of their own, and a test validates each.

use crate::{
    args::{Global, InitArgs, Template},
    failure::{Failure, failed},
    out,
};
use gpux_api::{ErrorCode, FilesView};
use std::io::{ErrorKind, Write};

impl Template {
    const fn text(self) -> &'static str {
        match self {
            Self::Hello => include_str!("../../templates/hello.yaml"),
            Self::Task => include_str!("../../templates/task.yaml"),
            Self::Render => include_str!("../../templates/render.yaml"),
            Self::Compose => include_str!("../../templates/compose.yaml"),
        }
    }
}

pub(super) fn run(global: &Global, args: &InitArgs) -> Result<u8, Failure> {
    let path = args.output.display().to_string();
    let file = std::fs::File::create_new(&args.output);
    let written = file.and_then(|mut file| file.write_all(args.template.text().as_bytes()));
    written.map_err(|error| {
        let failure = failed(ErrorCode::InvalidInput, &format!("writing the job file {path}"), &error);
        if error.kind() == ErrorKind::AlreadyExists {
            failure.with_hint("it stays as it is; give -o FILE to write another")
        } else {
            failure
        }
    })?;
    out::print(global, &FilesView::from(vec![path.clone()]), |_| path.clone())?;
    out::talk(
        global,
        &format!("  edit it, then:  gpux validate {path}\n                  gpux plan {path}"),
    );
    Ok(0)
}

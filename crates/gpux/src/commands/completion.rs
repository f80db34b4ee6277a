//! `gpux completion`.

use crate::{args::Arguments, failure::Failure, out};
use clap::CommandFactory;

pub(super) fn run(shell: clap_complete::Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "gpux", &mut script);
    out::write_data(&String::from_utf8_lossy(&script))?;
    Ok(0)
}

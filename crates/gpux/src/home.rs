//! Which folder a command means. The only place of this crate that asks the environment where home is.
//!
//! Order: `--dir` (or `GPUX_DIR`), then the context that `gpux devnet up` wrote, then the home folder itself.

use crate::failure::{Failure, failed};
use gpux_api::ErrorCode;
use std::path::{Path, PathBuf};

/// The name of the file in the home folder that names the folder which commands talk to.
const CONTEXT_FILE: &str = "context";

/// `GPUX_HOME`, or `~/.gpux`.
pub(crate) fn home() -> Result<PathBuf, Failure> {
    if let Some(home) = std::env::var_os("GPUX_HOME") {
        return Ok(PathBuf::from(home));
    }
    let user = std::env::home_dir().filter(|dir| !dir.as_os_str().is_empty());
    user.map(|dir| dir.join(".gpux")).ok_or_else(|| {
        Failure::new(ErrorCode::InvalidInput, "finding the home folder: HOME is not set")
            .with_hint("set GPUX_HOME or give --dir")
    })
}

/// The daemon's folder that commands talk to.
pub(crate) fn daemon_dir(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(dir) = given {
        return Ok(dir.to_owned());
    }
    let home = home()?;
    match std::fs::read_to_string(home.join(CONTEXT_FILE)) {
        Ok(text) => Ok(PathBuf::from(text.trim_end())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(home),
        Err(error) => Err(failed(
            ErrorCode::InvalidInput,
            "reading the context file in the home folder",
            &error,
        )),
    }
}

/// Makes commands talk to `dir`, or to the home folder again.
pub(crate) fn set_context(dir: Option<&Path>) -> Result<(), Failure> {
    let home = home()?;
    let file = home.join(CONTEXT_FILE);
    let result = match dir {
        Some(dir) => {
            std::fs::create_dir_all(&home).and_then(|()| std::fs::write(&file, format!("{}\n", dir.display())))
        }
        None => match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    };
    result.map_err(|error| {
        failed(
            ErrorCode::Internal,
            "writing the context file in the home folder",
            &error,
        )
    })
}

/// Where the devnet's folders are.
pub(crate) fn devnet_dir() -> Result<PathBuf, Failure> {
    Ok(home()?.join("devnet"))
}

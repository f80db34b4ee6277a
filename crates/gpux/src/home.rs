//! Which folder a command means. The only place of this crate that asks the environment where home is.
//!
//! Order: `--dir` (or `GPUX_DIR`), then the context that `gpux context use` or `gpux devnet up` wrote, then the home folder itself.

use crate::failure::{Failure, failed};
use gpux_api::ErrorCode;
use gpux_job::JobName;
use std::{
    io,
    path::{Path, PathBuf},
};

/// The name of the file in the home folder that names the folder which commands talk to.
const CONTEXT_FILE: &str = "context";
/// The folder in the home folder with a file for each name that was given, which holds the path of a daemon's folder.
const CONTEXTS_FOLDER: &str = "contexts";
/// What the home folder itself is called.
const DEFAULT: &str = "default";
/// What the folder of the devnet's renter is called.
const DEVNET: &str = "devnet";

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
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(home),
        Err(error) => Err(failed(
            ErrorCode::InvalidInput,
            "reading the context file in the home folder",
            &error,
        )),
    }
}

/// The folder that the environment names.
pub(crate) fn dir_of_environment() -> Option<PathBuf> {
    std::env::var_os("GPUX_DIR").map(PathBuf::from)
}

/// Whether somebody sits before a screen of this machine.
pub(crate) fn has_desktop() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    set("WAYLAND_DISPLAY") || set("DISPLAY")
}

/// A daemon's folder and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Context {
    /// Its name, where it has one.
    pub(crate) name: Option<String>,
    /// The folder.
    pub(crate) folder: PathBuf,
}

/// The folders that have names: the home folder, the devnet's renter where there is a devnet, and what was given one.
pub(crate) fn contexts() -> Result<Vec<Context>, Failure> {
    let home = home()?;
    let named = |name: &str, folder: PathBuf| Context {
        name: Some(name.to_owned()),
        folder,
    };
    let mut all = vec![named(DEFAULT, home.clone())];
    if let Ok(view) = gpux_node::devnet::status(&devnet_dir()?) {
        all.push(named(DEVNET, view.renter_dir));
    }
    let wrong = |error: &io::Error| {
        failed(
            ErrorCode::InvalidInput,
            "reading the contexts in the home folder",
            error,
        )
    };
    let entries = match std::fs::read_dir(home.join(CONTEXTS_FOLDER)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(all),
        Err(error) => return Err(wrong(&error)),
    };
    let mut given = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| wrong(&error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.parse::<JobName>().is_ok() {
            let folder = std::fs::read_to_string(entry.path()).map_err(|error| wrong(&error))?;
            given.push(named(&name, PathBuf::from(folder.trim_end())));
        }
    }
    given.sort_by(|one, other| one.name.cmp(&other.name));
    all.extend(given);
    Ok(all)
}

/// Makes commands talk to the daemon of `context`.
pub(crate) fn use_context(context: &Context) -> Result<(), Failure> {
    let is_home = context.folder == home()?;
    set_context(if is_home { None } else { Some(&context.folder) })
}

/// Gives a folder a name. Names are spelled as those of jobs.
pub(crate) fn name_context(name: &str, folder: &Path) -> Result<(), Failure> {
    let attempted = format!("naming {} {name:?}", folder.display());
    let refuse = |why: &str| Failure::new(ErrorCode::InvalidInput, format!("{attempted}: {why}"));
    if name.parse::<JobName>().is_err() {
        return Err(refuse(
            "a name has lower-case letters, digits and inner hyphens, at most 63",
        ));
    }
    if name == DEVNET || contexts()?.iter().any(|known| known.name.as_deref() == Some(name)) {
        return Err(refuse("the name is taken").with_hint("`gpux context ls` lists all, `gpux context rm` forgets one"));
    }
    if !folder.is_dir() {
        return Err(refuse("there is no such folder"));
    }
    let names = home()?.join(CONTEXTS_FOLDER);
    let written = std::fs::create_dir_all(&names)
        .and_then(|()| std::fs::write(names.join(name), format!("{}\n", folder.display())));
    written.map_err(|error| failed(ErrorCode::Internal, &attempted, &error))
}

/// Forgets a name. Commands that talk to its folder go on doing so.
pub(crate) fn forget_context(context: &Context) -> Result<(), Failure> {
    let name = context.name.as_deref().unwrap_or_default();
    let attempted = format!("forgetting the context {name:?}");
    if [DEFAULT, DEVNET].contains(&name) {
        let text = format!("{attempted}: it was not made by `gpux context create`");
        return Err(
            Failure::new(ErrorCode::InvalidInput, text).with_hint("`gpux devnet down --purge` removes a devnet")
        );
    }
    std::fs::remove_file(home()?.join(CONTEXTS_FOLDER).join(name))
        .map_err(|error| failed(ErrorCode::Internal, &attempted, &error))
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
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
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

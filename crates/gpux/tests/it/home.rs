//! A home folder of its own for each test, and the binary that runs in it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// A home folder in which nothing is.
pub(crate) struct Home(TempDir);

/// What a command wrote and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) talk: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The binary with nothing of the tests' own environment that it would heed.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpux"));
        command.args(words).current_dir(self.path()).stdin(Stdio::null());
        for name in ["GPUX_DIR", "GPUX_LOG", "NO_COLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command.env("GPUX_HOME", self.path());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        Ended::of(self.command(words).output().unwrap())
    }
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            talk: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The error document on standard error, which must be all that was written.
    pub(crate) fn error(&self) -> serde_json::Value {
        assert_eq!(self.out, "", "a command that fails prints no data");
        let document: serde_json::Value = serde_json::from_str(&self.talk).unwrap();
        document["error"].clone()
    }
}

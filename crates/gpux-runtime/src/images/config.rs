//! What an image's configuration says about the process to run, and the digests of its unpacked layers.
//!
//! The configuration comes from a stranger: read within bounds, and nothing of it reaches privileged code except as plain words for
//! the container's own process.

use super::digest::Digest;
use serde::{Deserialize, Serialize};

/// Most bytes of a configuration. Real ones have a few KiB; the largest seen in public registries stay below 1 MiB.
pub const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// Most words (environment, entrypoint and command together) that a configuration may hold.
const MAX_WORDS: usize = 4_096;

/// What the image says about the process that it is for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageConfig {
    /// `NAME=value` words.
    pub env: Vec<String>,
    /// The first words of the command line; the job's own command follows them.
    pub entrypoint: Vec<String>,
    /// The command when the job names none.
    pub cmd: Vec<String>,
    /// The absolute folder to start in; empty means `/`.
    pub working_dir: String,
    /// `USER[:GROUP]`, by name or number; empty means 0.
    pub user: String,
}

/// Why a configuration was not understood.
#[derive(Debug, thiserror::Error)]
pub enum ReadConfigError {
    /// Too large.
    #[error("reading an image configuration of {bytes} bytes: the most is {MAX_CONFIG_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// Not the JSON that the image specification describes.
    #[error("reading an image configuration")]
    Json(#[from] serde_json::Error),
    /// For another kind of machine.
    #[error("reading an image configuration for {os}/{architecture}: this machine runs linux/{here}")]
    Platform {
        /// The image's operating system.
        os: String,
        /// The image's architecture.
        architecture: String,
        /// This machine's architecture.
        here: &'static str,
    },
    /// Too many words, or a zero byte in one.
    #[error("reading an image configuration: {what} cannot be passed to a process")]
    Words {
        /// Which words.
        what: &'static str,
    },
}

/// A configuration as read: what to run, and the digests of the unpacked layers from the lowest to the topmost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedConfig {
    /// What to run.
    pub config: ImageConfig,
    /// One per layer.
    pub diff_ids: Vec<Digest>,
}

/// This machine's architecture as images call it.
#[must_use]
pub const fn image_architecture() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "amd64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        std::env::consts::ARCH
    }
}

impl ParsedConfig {
    /// Reads the JSON of an image configuration.
    ///
    /// # Errors
    /// When it is too large, not understood, or made for another kind of machine.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadConfigError> {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if len > MAX_CONFIG_BYTES {
            return Err(ReadConfigError::TooLarge { bytes: len });
        }
        let raw: RawConfig = serde_json::from_slice(bytes)?;
        let here = image_architecture();
        if raw.os != "linux" || raw.architecture != here {
            return Err(ReadConfigError::Platform {
                os: raw.os.chars().take(40).collect(),
                architecture: raw.architecture.chars().take(40).collect(),
                here,
            });
        }
        let process = raw.config.unwrap_or_default();
        let config = ImageConfig {
            env: process.env.unwrap_or_default(),
            entrypoint: process.entrypoint.unwrap_or_default(),
            cmd: process.cmd.unwrap_or_default(),
            working_dir: process.working_dir.unwrap_or_default(),
            user: process.user.unwrap_or_default(),
        };
        config.check()?;
        Ok(Self {
            config,
            diff_ids: raw.rootfs.diff_ids,
        })
    }
}

impl ImageConfig {
    fn check(&self) -> Result<(), ReadConfigError> {
        let words = || self.env.iter().chain(&self.entrypoint).chain(&self.cmd);
        let refuse = |what| Err(ReadConfigError::Words { what });
        if words().count() > MAX_WORDS {
            return refuse("more than 4,096 words");
        }
        if words()
            .chain([&self.working_dir, &self.user])
            .any(|word| word.contains('\0'))
        {
            return refuse("a zero byte");
        }
        if !self.working_dir.is_empty() && !self.working_dir.starts_with('/') {
            return refuse("a working directory that is not absolute");
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct RawConfig {
    architecture: String,
    os: String,
    config: Option<RawProcess>,
    rootfs: RawRootfs,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct RawProcess {
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
}

#[derive(Deserialize)]
struct RawRootfs {
    diff_ids: Vec<Digest>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(process: &str) -> String {
        let here = image_architecture();
        format!(
            r#"{{"architecture":"{here}","os":"linux","config":{process},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#
        )
    }

    #[test]
    fn the_words_of_a_real_configuration_are_read() {
        let text =
            config(r#"{"Env":["A=b"],"Entrypoint":["/x"],"Cmd":null,"WorkingDir":"/w","User":"1:2","Labels":{}}"#);
        let read = ParsedConfig::read(text.as_bytes()).unwrap().config;
        assert_eq!(
            (read.env, read.entrypoint, read.cmd),
            (vec!["A=b".into()], vec!["/x".into()], vec![])
        );
        assert_eq!((read.working_dir.as_str(), read.user.as_str()), ("/w", "1:2"));
        assert_eq!(
            ParsedConfig::read(config("null").as_bytes()).unwrap().config,
            ImageConfig::default()
        );
    }

    #[test]
    fn words_that_no_process_can_have_are_refused() {
        for process in [
            r#"{"Cmd":["a\u0000b"]}"#.to_owned(),
            r#"{"WorkingDir":"../etc"}"#.to_owned(),
            format!(r#"{{"Env":[{}]}}"#, vec![r#""A=b""#; MAX_WORDS + 1].join(",")),
        ] {
            let error = ParsedConfig::read(config(&process).as_bytes()).unwrap_err();
            assert!(matches!(error, ReadConfigError::Words { .. }), "{error}");
        }
    }

    #[test]
    fn an_image_for_another_machine_is_named_as_such() {
        let text = config("null").replace(image_architecture(), "s390x");
        let error = ParsedConfig::read(text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("linux/s390x"), "{error}");
    }
}

//! The last steps before exec: run inside the container, by its first process, after everything is set.
//!
//! `libcontainer` calls it through its `Executor`. At this point the process has no privileges, sees the part's root
//! file system alone and may be judged by what it does; it still holds the report's pipe, which exec closes.

#![expect(unsafe_code, reason = "exec and signal dispositions have no safe wrappers")]

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};

use super::launch::{Report, c_string, tell};
use super::seccomp::Filter;

/// Signals that Linux has; their set is 8 bytes long.
const SIGNALS: i32 = 64;

/// A word that no process can be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadWord {
    #[error("the program has no name: neither the part nor the image names one")]
    NoProgram,
    #[error("{word:?} holds a zero byte")]
    Zero { word: String, source: std::ffi::NulError },
}

/// What to execute, ready for the kernel.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    name: String,
    /// Paths to try, in order.
    candidates: Vec<CString>,
    argv: Vec<CString>,
    env: Vec<CString>,
    filter: Filter,
    report: Arc<OwnedFd>,
}

impl Program {
    /// Prepares the words. A name without a slash is looked for in the folders of `PATH`, as a shell does.
    pub(crate) fn new(argv: &[String], env: &[String], filter: Filter, report: File) -> Result<Self, BadWord> {
        let name = argv.first().filter(|name| !name.is_empty()).ok_or(BadWord::NoProgram)?;
        let path = env
            .iter()
            .find_map(|word| word.strip_prefix("PATH="))
            .unwrap_or_default();
        let candidates = if name.contains('/') {
            vec![to_c(name)?]
        } else {
            path.split(':')
                .map(|dir| to_c(&format!("{}/{name}", if dir.is_empty() { "." } else { dir })))
                .collect::<Result<_, _>>()?
        };
        Ok(Self {
            name: name.clone(),
            candidates,
            argv: argv.iter().map(|word| to_c(word)).collect::<Result<_, _>>()?,
            env: env.iter().map(|word| to_c(word)).collect::<Result<_, _>>()?,
            filter,
            report: Arc::new(report.into()),
        })
    }

    /// Returns only when it failed.
    fn run(&self) -> io::Error {
        let ready = reset_signals()
            .and_then(|()| self.tell(&Report::Executing))
            .and_then(|()| self.filter.install());
        if let Err(error) = ready {
            return error;
        }
        let argv = pointers(&self.argv);
        let env = pointers(&self.env);
        let mut worst = io::Error::from_raw_os_error(libc::ENOENT);
        for candidate in &self.candidates {
            let error = exec(candidate, &argv, &env);
            match error.raw_os_error() {
                // Not there: look on.
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                // There but not for us: look on, and say so if nothing better comes.
                Some(libc::EACCES) => worst = error,
                _ => return error,
            }
        }
        worst
    }

    fn tell(&self, line: &Report) -> io::Result<()> {
        tell(&mut File::from(self.report.as_fd().try_clone_to_owned()?), line)
    }
}

fn to_c(word: &str) -> Result<CString, BadWord> {
    c_string(word).map_err(|source| BadWord::Zero {
        word: word.chars().take(80).collect(),
        source,
    })
}

impl Executor for Program {
    fn exec(&self, _: &Spec) -> Result<(), ExecutorError> {
        let error = self.run();
        let line = Report::Failed {
            errno: error.raw_os_error().unwrap_or(0),
            message: format!("executing {}: {error}", self.name),
        };
        // With the report broken nobody is left to tell; the exit code says the rest.
        let _ = self.tell(&line);
        // SAFETY: ends the process at once. Returning would let the library report the same failure a second time, to a
        // pipe that it has closed.
        unsafe { libc::_exit(127) }
    }

    /// Nothing is checked beforehand: only the kernel knows whether it will execute a file.
    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }

    /// The environment is handed to exec itself; this process's own was empty from the start.
    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }
}

/// Signals as a program expects them: the shim ignores some, and what is ignored stays so across exec.
fn reset_signals() -> io::Result<()> {
    // Handler, flags, restorer and mask as the kernel has them, all zero: the default disposition.
    let default = [0_u64; 4];
    for signal in 1..=SIGNALS {
        if matches!(signal, libc::SIGKILL | libc::SIGSTOP) {
            continue;
        }
        // SAFETY: the kernel reads one `sigaction`, which is at most this large, and runs no code of ours by it. Not the
        // C library's call, which refuses the two signals that it keeps for itself: whoever started the daemon may have
        // ignored them as well.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null::<u8>(),
                8_usize,
            )
        };
    }
    // SAFETY: the set is plain data, filled by the first call before the second reads it.
    let result = unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut())
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The null-terminated list that exec takes; valid as long as the words are.
fn pointers(words: &[CString]) -> Vec<*const libc::c_char> {
    words
        .iter()
        .map(|word| word.as_ptr())
        .chain(std::iter::once(std::ptr::null()))
        .collect()
}

fn exec(path: &CStr, argv: &[*const libc::c_char], env: &[*const libc::c_char]) -> io::Error {
    // SAFETY: the path and both lists are null-terminated and point to C strings that their owners keep alive; on
    // success nothing of this process is left, on failure nothing was changed.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

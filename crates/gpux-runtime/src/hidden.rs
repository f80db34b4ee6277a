//! Hidden verbs: what this binary does when the runtime starts it as a child of its own.
//!
//! The binary's `main` asks [`run_if_hidden`] before it starts any thread or async runtime: namespaces and user ids are changed
//! here, which needs a process with one thread.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the hidden verb that `args` (with the program's name first) names; `None` when it names none.
#[must_use]
pub fn run_if_hidden(args: &[OsString]) -> Option<ExitCode> {
    let (verb, rest) = args.get(1..)?.split_first()?;
    match verb.to_str()? {
        crate::mounts::USER_NAMESPACE_VERB => Some(crate::mounts::wait_as_user_namespace()),
        crate::shim::SHIM_VERB => Some(crate::shim::run_shim(rest)),
        crate::layers::UNPACK_VERB => Some(crate::layers::unpack_in_jail(rest)),
        _ => None,
    }
}

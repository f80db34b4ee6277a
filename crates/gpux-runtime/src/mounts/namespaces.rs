//! Namespaces of the calling thread: the two calls that the jail of the unpacking child needs.
//!
//! Must only run in a process with one thread: namespaces belong to threads.

#![expect(
    unsafe_code,
    reason = "rustix marks `unshare` unsafe because of CLONE_FILES, and has no safe form"
)]

use rustix::io;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use std::os::fd::BorrowedFd;

/// Gives the calling thread its own mounts, network (without interfaces), IPC objects and host name.
pub(crate) fn unshare_for_jail() -> io::Result<()> {
    let flags = UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    // SAFETY: the call is unsafe only for `CLONE_FILES`, which would part the descriptor tables of threads; it is not among the flags.
    unsafe { unshare_unsafe(flags) }
}

/// Moves the calling process, which must have one thread, into a user namespace.
pub(crate) fn enter_user_namespace(namespace: BorrowedFd<'_>) -> io::Result<()> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::User))
}

//! The jail of the unpacking child: after [`enter`], the process sees one folder, has no network, no rights over files but those of
//! the store's own ids, and a short list of system calls.
//!
//! Runs in a process with one thread, before it has read a byte of the layer.

use super::report::{LayerFault, UnpackTask};
use crate::mounts::{UidRange, UserNamespace, enter_user_namespace, unshare_for_jail};
use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall, error::SeccompError};
use rustix::fs::Mode;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount_bind, mount_change, mount_remount, unmount,
};
use rustix::process::{
    Gid, Resource, Rlimit, Signal, Uid, chdir, pivot_root, set_parent_process_death_signal, setrlimit, umask,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};
use std::fmt::Display;
use std::os::fd::AsFd as _;
use std::path::Path;

/// Most private memory of the child. The largest zstd window that is accepted takes 128 MiB.
const MAX_MEMORY: u64 = 512 << 20;

/// Most open files. The child walks trees of at most a few hundred levels.
const MAX_FILES: u64 = 512;

/// Every system call that unpacking needs; any other kills the process.
const ALLOWED_CALLS: &[&str] = &[
    "brk",
    "clock_gettime",
    "close",
    "exit",
    "exit_group",
    "fchmod",
    "fchown",
    "fchownat",
    "fcntl",
    "fstat",
    "fsync",
    "ftruncate",
    "futex",
    "getdents64",
    "getrandom",
    "linkat",
    "lseek",
    "madvise",
    "mkdirat",
    "mknodat",
    "mremap",
    "munmap",
    "newfstatat",
    "openat",
    "openat2",
    "poll",
    "read",
    "readv",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "sigaltstack",
    "statx",
    "symlinkat",
    "unlinkat",
    "utimensat",
    "write",
    "writev",
];

/// Calls that may map memory, but never executable memory: the third argument must not hold `PROT_EXEC`.
const MAPPING_CALLS: &[&str] = &["mmap", "mprotect"];

fn step<T, E: Display>(name: &str, result: Result<T, E>) -> Result<T, LayerFault> {
    result.map_err(|error| LayerFault::Jail {
        step: name.to_owned(),
        reason: error.to_string(),
    })
}

/// Locks the calling process into `task.target`, which becomes its `/`.
pub(super) fn enter(task: &UnpackTask) -> Result<(), LayerFault> {
    let store = UidRange {
        first: task.store_first,
    };
    // The binary that runs now, even if its file was replaced meanwhile.
    let ids = step(
        "user namespace",
        UserNamespace::of_process(Path::new("/proc/self/exe"), store),
    )?;
    step("own namespaces", unshare_for_jail())?;
    change_root(&task.target)?;
    limit_resources(task.limits.file.0)?;
    step("entering the user namespace", enter_user_namespace(ids.as_fd()))?;
    drop(ids);
    become_store_root()?;
    // Only now: a change of user forgets it. A parent that ended before is noticed by the end of the input.
    step(
        "following the parent",
        set_parent_process_death_signal(Some(Signal::KILL)),
    )?;
    // Modes are the layer's, not those that the daemon was started with.
    umask(Mode::empty());
    step("no new privileges", set_no_new_privs(true))?;
    step("system call filter", filter_calls())
}

/// Makes `target` the root of a mount namespace in which nothing else is mounted.
fn change_root(target: &Path) -> Result<(), LayerFault> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    step("private mounts", mount_change("/", private))?;
    step("binding the folder", mount_bind(target, target))?;
    let flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    step("narrowing the folder's mount", mount_remount(target, flags, c""))?;
    step("entering the folder", chdir(target))?;
    step("changing the root", pivot_root(".", "."))?;
    step("leaving the old root", unmount(".", UnmountFlags::DETACH))?;
    step("entering the new root", chdir("/"))
}

fn limit_resources(file_bytes: u64) -> Result<(), LayerFault> {
    let limits = [
        (Resource::Data, MAX_MEMORY),
        (Resource::Nofile, MAX_FILES),
        (Resource::Core, 0),
        (Resource::Fsize, file_bytes.saturating_add(4_096)),
    ];
    for (resource, limit) in limits {
        let limit = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        step("resource limits", setrlimit(resource, limit))?;
    }
    Ok(())
}

/// Becomes user 0 of the namespace, that is the first id of the store, with rights over the store's own files only.
fn become_store_root() -> Result<(), LayerFault> {
    step("groups", set_thread_groups(&[]))?;
    step("group", set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT))?;
    step("user", set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT))?;
    let kept = CapabilitySet::CHOWN | CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER | CapabilitySet::FSETID;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    step("capabilities", set_capabilities(None, sets))
}

fn filter_calls() -> Result<(), SeccompError> {
    let mut filter = ScmpFilterContext::new(ScmpAction::KillProcess)?;
    for name in ALLOWED_CALLS {
        filter.add_rule(ScmpAction::Allow, ScmpSyscall::from_name(name)?)?;
    }
    let not_executable = ScmpArgCompare::new(2, ScmpCompareOp::MaskedEqual(4), 0);
    for name in MAPPING_CALLS {
        filter.add_rule_conditional(ScmpAction::Allow, ScmpSyscall::from_name(name)?, &[not_executable])?;
    }
    filter.load()
}

//! The system calls that a part may make.
//!
//! What Docker's default profile allows to a container without capabilities, for the machine's own architecture alone:
//! programs of another word size cannot run. A call that is not listed answers ENOSYS, so that a C library that is newer
//! than this list falls back to an older call; the well-known ones that only administrators need answer EPERM.
//!
//! The program for the kernel is made once per lease and installed by each part right before exec: making it takes
//! longer than everything else that a part's start does in user space.

#![expect(unsafe_code, reason = "installing a filter has no safe wrapper")]

use std::fs::File;
use std::io::{self, Read as _, Seek as _};

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use rustix::fs::{MemfdFlags, memfd_create};

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    #[error("building the filter of system calls")]
    Build(#[from] SeccompError),
    #[error("exporting the filter of system calls")]
    Export(#[from] io::Error),
}

/// Calls that every program may make. Names that this architecture does not have are skipped.
const ALLOWED: &str = "
    accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir chmod chown
    clock_adjtime clock_getres clock_gettime clock_nanosleep close close_range connect copy_file_range creat
    dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
    epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fallocate
    fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock
    fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex futex_requeue futex_wait futex_waitv futex_wake
    futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid geteuid getgid
    getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid
    getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr inotify_add_watch
    inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_setup
    io_submit ioctl ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset landlock_restrict_self
    lchown lgetxattr link linkat listen listmount listxattr llistxattr lremovexattr lseek lsetxattr lstat
    madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap
    modify_ldt mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal msgctl
    msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat open openat
    openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll prctl
    pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv process_vm_writev pselect6 ptrace pwrite64
    pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages
    removexattr rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask
    rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp
    select semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto set_robust_list set_thread_area
    set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid setpriority setregid setresgid
    setresuid setreuid setrlimit setsid setsockopt setuid setxattr shmat shmctl shmdt shmget shutdown
    sigaltstack signalfd signalfd4 socketpair splice stat statfs statmount statx symlink symlinkat sync
    sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime
    timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill truncate umask uname unlink unlinkat
    utime utimensat utimes vfork vmsplice wait4 waitid write writev
    get_mempolicy mbind set_mempolicy set_mempolicy_home_node
";

/// Calls that programs probe and expect to be forbidden, not missing.
const FORBIDDEN: &str = "
    acct add_key bpf chroot clock_settime delete_module fanotify_init finit_module fsconfig fsmount fsopen fspick
    init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl
    lookup_dcookie migrate_pages mount mount_setattr move_mount move_pages nfsservctl open_by_handle_at open_tree
    perf_event_open pidfd_getfd pivot_root process_madvise quotactl quotactl_fd reboot request_key setdomainname sethostname setns
    settimeofday swapoff swapon syslog umount2 unshare userfaultfd vhangup
";

/// Values of `personality` that change nothing of consequence: the present one, Linux, Linux with 32-bit addresses,
/// and asking.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Flags of `clone` that make namespaces.
const NAMESPACE_FLAGS: u64 = 0x7e02_0080;

/// A filter as the kernel takes it.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    program: Vec<libc::sock_filter>,
}

impl Filter {
    /// Makes the filter for this machine's architecture.
    pub(crate) fn build() -> Result<Self, FilterError> {
        let mut context = ScmpFilterContext::new(ScmpAction::Errno(libc::ENOSYS))?;
        for name in ALLOWED.split_whitespace() {
            if let Some(call) = native(name) {
                context.add_rule(ScmpAction::Allow, call)?;
            }
        }
        for name in FORBIDDEN.split_whitespace() {
            if let Some(call) = native(name) {
                context.add_rule(ScmpAction::Errno(libc::EPERM), call)?;
            }
        }
        add_conditional(&mut context)?;
        export(&context)
    }

    /// Binds the calling thread and all that it becomes to the filter, for ever. It must have no-new-privileges set.
    /// Allocates nothing.
    pub(crate) fn install(&self) -> io::Result<()> {
        let len = libc::c_ushort::try_from(self.program.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        let program = libc::sock_fprog {
            len,
            filter: self.program.as_ptr().cast_mut(),
        };
        // SAFETY: the kernel reads `len` instructions from `filter` during the call and writes nothing; both live longer
        // than it. Why not safe: libseccomp only loads what it has just compiled.
        let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

fn native(name: &str) -> Option<ScmpSyscall> {
    // A name of another architecture resolves to a negative pseudo number.
    ScmpSyscall::from_name(name).ok().filter(|call| i32::from(*call) >= 0)
}

fn add_conditional(context: &mut ScmpFilterContext) -> Result<(), FilterError> {
    let rule = |context: &mut ScmpFilterContext, action, name, compare: &[ScmpArgCompare]| match native(name) {
        Some(call) => context.add_rule_conditional(action, call, compare).map(drop),
        None => Ok(()),
    };
    // `clone3` hides its flags behind a pointer, so nothing can be said about them; missing, it is replaced by `clone`.
    rule(
        context,
        ScmpAction::Allow,
        "clone",
        &[ScmpArgCompare::new(0, ScmpCompareOp::MaskedEqual(NAMESPACE_FLAGS), 0)],
    )?;
    for value in PERSONALITIES {
        rule(
            context,
            ScmpAction::Allow,
            "personality",
            &[ScmpArgCompare::new(0, ScmpCompareOp::Equal, value)],
        )?;
    }
    // A socket to the hypervisor would leave the network namespace.
    let vsock = u64::from(libc::AF_VSOCK.unsigned_abs());
    for op in [ScmpCompareOp::Less, ScmpCompareOp::Greater] {
        rule(
            context,
            ScmpAction::Allow,
            "socket",
            &[ScmpArgCompare::new(0, op, vsock)],
        )?;
    }
    Ok(())
}

/// Lets libseccomp write the program to memory and reads it back: 8 bytes an instruction, in the machine's byte order.
fn export(context: &ScmpFilterContext) -> Result<Filter, FilterError> {
    let fd = memfd_create("filter", MemfdFlags::CLOEXEC).map_err(io::Error::from)?;
    let mut file = File::from(fd);
    context.export_bpf(&mut file)?;
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    let (instructions, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() || instructions.is_empty() {
        return Err(io::Error::from(io::ErrorKind::InvalidData).into());
    }
    let program = instructions
        .iter()
        .map(|&[c0, c1, jt, jf, k0, k1, k2, k3]| libc::sock_filter {
            code: u16::from_ne_bytes([c0, c1]),
            jt,
            jf,
            k: u32::from_ne_bytes([k0, k1, k2, k3]),
        })
        .collect();
    Ok(Filter { program })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_fits_what_the_kernel_takes() {
        let filter = Filter::build().unwrap();
        assert!(filter.program.len() > 100);
        assert!(filter.program.len() <= 4096, "BPF_MAXINSNS");
    }

    #[test]
    fn no_call_is_both_allowed_and_forbidden() {
        let forbidden: Vec<&str> = FORBIDDEN.split_whitespace().collect();
        for name in ALLOWED.split_whitespace() {
            assert!(!forbidden.contains(&name), "{name}");
        }
    }
}

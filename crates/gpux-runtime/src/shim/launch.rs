//! Starting one part: from the fork to its exec.
//!
//! The shim forks; the child, which has one thread and inherits what the shim has in memory, mounts the part's root
//! file system in a mount namespace of its own, lets `libcontainer` make the container, brings up the loopback link,
//! lets the program go and ends; where the part is to stand, the launcher waits for a byte of the shim's before that. `libcontainer` changes its caller's folder, name and signals, which is why its caller
//! is never the shim. The container's first process is born as the shim's own child.
//!
//! ```text
//! shim ──fork──> launcher ──libcontainer──> intermediate ──> init ──exec──> program
//!   ^                │                                         │
//!   └── report ──────┴─────────────────────────────────────────┘   a pipe that closes itself at exec
//! ```
//!
//! The report's lines are [`Report`]s; its end after [`Report::Executing`] means that the program was executed.
//!
//! Invariant: nothing mounted for a part is mounted in the shim's namespace, so it goes with the part's last process.

#![expect(
    unsafe_code,
    reason = "fork, unshare, and ioctls on an interface have no safe wrappers"
)]

use std::error::Error;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::notify_socket::{NOTIFY_FILE, NotifySocket};
use libcontainer::syscall::syscall::SyscallType;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fchown, mkdirat, openat, openat2};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Resource, Signal, getrlimit, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use serde::{Deserialize, Serialize};

use super::program::Program;
use super::seccomp::Filter;
use super::setup::Stage;
use super::spec::{self, SpecParts};
use super::user::{self, User};
use crate::mounts::{RootfsRequest, mount_rootfs_for_good};
use crate::records::LeaseRecord;
use crate::runtime::{PartKey, PartSpec};

/// One line of a launch's report.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The container's first process is there, under this number.
    Made { pid: u32 },
    /// All is done but the exec, for which the launcher waits.
    Standing,
    /// It is about to execute the program.
    Executing,
    /// It will not.
    Failed { errno: i32, message: String },
}

/// A launch that has begun.
#[derive(Debug)]
pub(crate) struct Launch {
    /// The forked child; a child of the shim until it is waited for.
    pub(crate) launcher: Pid,
    /// The reading end of the report.
    pub(crate) report: OwnedFd,
    /// The reading end of the part's output.
    pub(crate) output: OwnedFd,
    /// The writing end of the word to go, where the launcher waits for one.
    pub(crate) go: Option<OwnedFd>,
}

/// How far a launch goes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Launched {
    /// To the exec.
    Going,
    /// To just before it.
    Standing,
}

/// What a launch needs of its lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaunchContext<'a> {
    pub(crate) record: &'a LeaseRecord,
    pub(crate) stage: &'a Stage,
    pub(crate) filter: &'a Filter,
    /// The part's own cgroup.
    pub(crate) cgroup: &'a Path,
}

/// Forks the launcher of a part. Returns in the shim only.
pub(crate) fn launch(context: LaunchContext<'_>, part: &PartSpec, how: Launched) -> io::Result<Launch> {
    let (report, report_in) = pipe_with(PipeFlags::CLOEXEC)?;
    let (output, output_in) = pipe_with(PipeFlags::CLOEXEC)?;
    let (awaited, go) = match how {
        Launched::Going => (None, None),
        Launched::Standing => {
            let (awaited, go) = pipe_with(PipeFlags::CLOEXEC)?;
            (Some(awaited), Some(go))
        }
    };
    rustix::io::ioctl_fionbio(&report, true)?;
    rustix::io::ioctl_fionbio(&output, true)?;
    let shim = rustix::process::getpid();
    // SAFETY: the child runs on a copy of this thread alone. The only other thread, the scribe, holds no lock but the
    // allocator's, which the C library sets right in the child. The child never returns from the branch below.
    match unsafe { libc::fork() } {
        0 => {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let pipes = Pipes {
                    report: File::from(report_in),
                    output: output_in,
                    go: awaited.map(File::from),
                };
                run_launcher(context, part, shim, pipes)
            }));
            let code = i32::from(!matches!(outcome, Ok(Ok(()))));
            // SAFETY: ends this process without running what the shim had registered for its own end.
            unsafe { libc::_exit(code) }
        }
        pid => match Pid::from_raw(pid) {
            Some(launcher) if pid > 0 => Ok(Launch {
                launcher,
                report,
                output,
                go,
            }),
            Some(_) | None => Err(io::Error::last_os_error()),
        },
    }
}

/// Writes one line of a report.
pub(super) fn tell(report: &mut File, line: &Report) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    report.write_all(&bytes)
}

/// The launcher's ends of what it shares with the shim.
struct Pipes {
    report: File,
    output: OwnedFd,
    /// Where the word to go comes from, if one is waited for.
    go: Option<File>,
}

/// The launcher's whole life. A failure is told before it returns.
fn run_launcher(context: LaunchContext<'_>, part: &PartSpec, shim: Pid, mut pipes: Pipes) -> io::Result<()> {
    let told = pipes.report.try_clone()?;
    let started = set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| LaunchError::system("watching the shim", errno))
        .and_then(|()| {
            if rustix::process::getppid() == Some(shim) {
                start(context, part, &mut pipes, told)
            } else {
                Err(LaunchError::system("watching the shim", Errno::SRCH))
            }
        });
    match started {
        Ok(()) => Ok(()),
        Err(error) => {
            let line = Report::Failed {
                errno: errno_of(&error),
                message: chain(&error),
            };
            tell(&mut pipes.report, &line)?;
            Err(io::ErrorKind::Other.into())
        }
    }
}

/// Why a part's container was not made.
#[derive(Debug, thiserror::Error)]
enum LaunchError {
    #[error("{attempted}")]
    System { attempted: String, source: io::Error },
    #[error("mounting the part's root file system")]
    Rootfs(#[source] Box<dyn Error + Send + Sync>),
    #[error("choosing the part's user")]
    User(#[from] user::UserError),
    #[error("passing the part's words to its program")]
    Words(#[from] super::program::BadWord),
    #[error("making the part's container")]
    Container(#[source] libcontainer::error::LibcontainerError),
    #[error("letting the part's program go")]
    Notify(#[source] libcontainer::notify_socket::NotifyListenerError),
}

impl LaunchError {
    fn system(attempted: &str, source: impl Into<io::Error>) -> Self {
        Self::System {
            attempted: attempted.to_owned(),
            source: source.into(),
        }
    }

    fn path(verb: &str, path: &Path) -> impl Fn(io::Error) -> Self {
        let attempted = format!("{verb} {}", path.display());
        move |source| Self::System {
            attempted: attempted.clone(),
            source,
        }
    }
}

/// The messages of an error and of its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The number of the first system error among the causes; 0 when there is none.
fn errno_of(error: &(dyn Error + 'static)) -> i32 {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(number) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return number;
        }
        cause = error.source();
    }
    0
}

fn start(context: LaunchContext<'_>, part: &PartSpec, pipes: &mut Pipes, told: File) -> Result<(), LaunchError> {
    // SAFETY: the call is unsafe only for `CLONE_FILES`, which is not among the flags.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }
        .map_err(|errno| LaunchError::system("making the part's mount namespace", errno))?;
    let key = part.key();
    let (rootfs, user) = make_root(context, key)?;
    let root = openat(
        CWD,
        &rootfs,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|errno| LaunchError::path("opening", &rootfs)(errno.into()))?;
    let cwd = working_dir(context.record, part);
    ensure_dir(&root, &cwd, context.record.lease_ids.first)?;
    let folders = make_folders(context, key, &user)?;

    let image = &context.record.spec.image;
    let argv: Vec<String> = if part.argv.is_empty() {
        image.entrypoint.iter().chain(&image.cmd).cloned().collect()
    } else {
        part.argv.clone()
    };
    let env = spec::environment(&image.env, &part.env, user.home.as_deref());
    let program = Program::new(&argv, &env, context.filter.clone(), told)?;
    let hard_files = getrlimit(Resource::Nofile).maximum.unwrap_or(1 << 20);
    let value = spec::build(&SpecParts {
        hostname: context.stage.hostname(),
        rootfs: &rootfs,
        cgroup: context.cgroup,
        ids: context.record.lease_ids,
        user: &user,
        cwd: &cwd,
        argv: &argv,
        env: &env,
        memory: context.record.spec.resources.memory.0,
        hard_files,
        folders: &folders,
        inputs: context.stage.inputs(),
    });
    let bundle = context.stage.bundle(key);
    write_bundle(&bundle, &value)?;
    run_container(context.stage, key, program, pipes)
}

/// Mounts the part's root file system and finds its user in it.
fn make_root(context: LaunchContext<'_>, key: PartKey) -> Result<(PathBuf, User), LaunchError> {
    let boxed = |error: Box<dyn Error + Send + Sync>| LaunchError::Rootfs(error);
    let upper = context
        .stage
        .disk()
        .new_upper(&key.to_string())
        .map_err(|error| boxed(error.into()))?;
    let target = context.stage.root(key);
    fs::create_dir(&target).map_err(LaunchError::path("making", &target))?;
    mount_rootfs_for_good(&RootfsRequest {
        layers: &context.record.spec.layers,
        ids: context.stage.layer_ids(),
        upper: &upper.upper,
        work: &upper.work,
        target: &target,
    })
    .map_err(|error| boxed(error.into()))?;
    let root = openat(
        CWD,
        &target,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|errno| LaunchError::path("opening", &target)(errno.into()))?;
    let user = user::resolve(root.as_fd(), &context.record.spec.image.user)?;
    Ok((target, user))
}

/// The part's own writable folders on the lease's disk, and where the part sees them.
fn make_folders(
    context: LaunchContext<'_>,
    key: PartKey,
    user: &User,
) -> Result<[(PathBuf, &'static str); 2], LaunchError> {
    let base = context.record.lease_ids.first;
    let out = context.stage.out(key);
    let tmp = context.stage.tmp(key);
    let parent = out.parent().unwrap_or(&out);
    // The container library walks there as the lease's own user, who must pass but not list.
    fs::DirBuilder::new()
        .mode(0o711)
        .create(parent)
        .map_err(LaunchError::path("making", parent))?;
    for (path, uid, gid, mode) in [(&out, user.uid, user.gid, 0o755), (&tmp, 0, 0, 0o1777)] {
        fs::create_dir(path)
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
            .and_then(|()| chown(path, Some(base + uid), Some(base + gid)))
            .map_err(LaunchError::path("making", path))?;
    }
    Ok([(out, gpux_job::OUT), (tmp, "/tmp")])
}

fn working_dir(record: &LeaseRecord, part: &PartSpec) -> PathBuf {
    let image = &record.spec.image.working_dir;
    match &part.working_dir {
        Some(dir) => dir.clone(),
        None if image.is_empty() => PathBuf::from("/"),
        None => PathBuf::from(image),
    }
}

/// Makes a folder of the root file system, with those above it, where it is missing. Every step stays within the root,
/// whatever links the image has there.
fn ensure_dir(root: &OwnedFd, path: &Path, owner: u32) -> Result<(), LaunchError> {
    let failed = |errno: Errno| LaunchError::path("making the working folder", path)(errno.into());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut walked = PathBuf::from("/");
    for component in path.components().skip(1) {
        let above = openat2(root, &walked, flags, Mode::empty(), resolve).map_err(failed)?;
        walked.push(component);
        match openat2(root, &walked, flags, Mode::empty(), resolve) {
            Ok(_) => continue,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let name = component.as_os_str();
        mkdirat(&above, name, Mode::from_raw_mode(0o755)).map_err(failed)?;
        let made = openat2(
            &above,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        )
        .map_err(failed)?;
        let (uid, gid) = (rustix::fs::Uid::from_raw(owner), rustix::fs::Gid::from_raw(owner));
        fchown(made, Some(uid), Some(gid)).map_err(failed)?;
    }
    Ok(())
}

fn write_bundle(bundle: &Path, value: &serde_json::Value) -> Result<(), LaunchError> {
    let config = bundle.join("config.json");
    fs::create_dir(bundle)
        .and_then(|()| fs::write(&config, value.to_string()))
        .map_err(LaunchError::path("writing", &config))
}

fn run_container(stage: &Stage, key: PartKey, program: Program, pipes: &mut Pipes) -> Result<(), LaunchError> {
    let sharing = |error| LaunchError::system("sharing the output pipe", error);
    let output = pipes.output.try_clone().map_err(sharing)?;
    let errors = pipes.output.try_clone().map_err(sharing)?;
    let null = File::open("/dev/null").map_err(|error| LaunchError::system("opening /dev/null", error))?;
    let container = ContainerBuilder::new(key.to_string(), SyscallType::default())
        .with_root_path(stage.states())
        .map_err(LaunchError::Container)?
        .with_executor(program)
        .with_stdin(null)
        .with_stdout(output)
        .with_stderr(errors)
        .as_init(stage.bundle(key))
        .with_systemd(false)
        .with_detach(true)
        // The first process is the shim's own child from its birth on.
        .as_sibling(true)
        .build()
        .map_err(LaunchError::Container)?;
    let pid = container
        .pid()
        .and_then(|pid| u32::try_from(pid.as_raw()).ok())
        .ok_or_else(|| LaunchError::system("finding the container's process", Errno::SRCH))?;
    let telling = |error| LaunchError::system("telling the shim", error);
    tell(&mut pipes.report, &Report::Made { pid }).map_err(telling)?;
    bring_up_loopback(pid)?;
    if let Some(go) = &mut pipes.go {
        tell(&mut pipes.report, &Report::Standing).map_err(telling)?;
        go.read_exact(&mut [0])
            .map_err(|error| LaunchError::system("waiting for the word to go", error))?;
    }
    NotifySocket::new(stage.states().join(key.to_string()).join(NOTIFY_FILE))
        .notify_container_start()
        .map_err(LaunchError::Notify)
}

/// Brings up `lo` in the network namespace of a process. The launcher stays there: it has nothing else to do.
fn bring_up_loopback(pid: u32) -> Result<(), LaunchError> {
    let failed = |source: io::Error| LaunchError::system("bringing up the loopback link", source);
    let namespace = File::open(format!("/proc/{pid}/ns/net")).map_err(failed)?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|errno| failed(errno.into()))?;
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").map_err(failed)?;
    set_up(&socket, c"lo").map_err(failed)
}

/// Sets `IFF_UP` on an interface of the socket's network namespace.
fn set_up(socket: &std::net::UdpSocket, name: &std::ffi::CStr) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    // SAFETY: `ifreq` is plain data for which zeros are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let up = libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
    // SAFETY: both calls read and write one `ifreq`, which lives longer; the socket is open. The union's flags are what
    // the first call fills in and the second reads. Why not safe: no crate in the tree wraps these two requests.
    unsafe {
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) != 0 {
            return Err(io::Error::last_os_error());
        }
        request.ifr_ifru.ifru_flags |= up;
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Reads a report as it comes.
#[derive(Debug, Default)]
pub(crate) struct ReportReader {
    bytes: Vec<u8>,
    /// Bytes of whole lines that were handed out.
    taken: usize,
}

/// Most bytes of a report: a launcher that writes more is broken.
const MAX_REPORT: usize = 64 * 1024;

impl ReportReader {
    /// Takes what is there; `true` at the end of the report.
    pub(crate) fn fill(&mut self, fd: &OwnedFd) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(fd, &mut buffer) {
                Ok(0) => return Ok(true),
                Ok(read) => self.bytes.extend(buffer.iter().take(read)),
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if self.bytes.len() > MAX_REPORT {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }

    /// The next whole line.
    pub(crate) fn next_line(&mut self) -> Option<Report> {
        let rest = self.bytes.get(self.taken..)?;
        let len = rest.iter().position(|&byte| byte == b'\n')?;
        let line = serde_json::from_slice(rest.get(..len)?).ok();
        self.taken += len + 1;
        line
    }
}

/// A C string, or the reason why not.
pub(super) fn c_string(word: &str) -> Result<CString, std::ffi::NulError> {
    CString::new(word)
}

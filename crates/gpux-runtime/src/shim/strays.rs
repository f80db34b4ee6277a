//! Children that nobody waits for: what a failed launch leaves to the subreaper.

#![expect(unsafe_code, reason = "rustix does not tell whose exit waitid has found")]

use rustix::process::Pid;

/// A child that has ended and was not waited for, left as it is.
pub(crate) fn ended_child() -> Option<Pid> {
    // SAFETY: `siginfo_t` is plain data for which zeros are a valid value; the call fills it or leaves it, and its
    // number of the process is read only as such. With WNOWAIT nothing is taken from whoever waits for that child.
    let pid = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        if libc::waitid(libc::P_ALL, 0, &raw mut info, flags) != 0 {
            return None;
        }
        info.si_pid()
    };
    Pid::from_raw(pid)
}

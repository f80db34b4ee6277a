//! Who a part runs as: the image's `USER[:GROUP]`, by number or by name.
//!
//! Names are looked up in the image's own `/etc/passwd` and `/etc/group`, which a stranger wrote: opened within the root
//! file system only, read up to a bound, and understood line by line. The outcome is three numbers, each below 65,536.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

use crate::mounts::UID_RANGE_LEN;

/// Most bytes read of a file of users. Real ones have a few KiB.
const MAX_BYTES: u64 = 1 << 20;

/// Most extra groups: what the kernel takes is 65,536, what users have is a handful.
const MAX_GROUPS: usize = 256;

/// Who to run as.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    /// The user's folder, for `HOME`.
    pub(crate) home: Option<String>,
}

/// Why the image's user is nobody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("finding the user {name:?} in the image's /etc/passwd")]
    NoUser { name: String },
    #[error("finding the group {name:?} in the image's /etc/group")]
    NoGroup { name: String },
    #[error("running as id {id}: the most is {}", UID_RANGE_LEN - 1)]
    TooLarge { id: u32 },
    #[error("reading the image's {path}")]
    Read { path: &'static str, source: io::Error },
}

/// Resolves `USER[:GROUP]` against the root file system; empty is user 0.
pub(crate) fn resolve(root: BorrowedFd<'_>, text: &str) -> Result<User, UserError> {
    let passwd = read(root, "/etc/passwd")?;
    let group = read(root, "/etc/group")?;
    find(text, &passwd, &group)
}

fn find(text: &str, passwd: &str, group: &str) -> Result<User, UserError> {
    let (user, wanted_group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let entry = passwd_entry(passwd, user);
    let (uid, primary) = match (&entry, user.parse()) {
        (Some(entry), _) => (entry.uid, entry.gid),
        (None, Ok(uid)) => (uid, 0),
        (None, Err(_)) => return Err(UserError::NoUser { name: shorten(user) }),
    };
    let gid = match wanted_group.filter(|group| !group.is_empty()) {
        None => primary,
        Some(name) => group_id(group, name).ok_or_else(|| UserError::NoGroup { name: shorten(name) })?,
    };
    // An explicit group replaces all others, as it does elsewhere.
    let groups = match (&entry, wanted_group) {
        (Some(entry), None) => groups_of(group, entry.name),
        (Some(_) | None, _) => Vec::new(),
    };
    for &id in [uid, gid].iter().chain(&groups) {
        if id >= UID_RANGE_LEN {
            return Err(UserError::TooLarge { id });
        }
    }
    Ok(User {
        uid,
        gid,
        groups,
        home: entry
            .map(|entry| entry.home.to_owned())
            .filter(|home| home.starts_with('/')),
    })
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// The first line of that name, or of that number.
fn passwd_entry<'a>(passwd: &'a str, user: &str) -> Option<Entry<'a>> {
    let number: Option<u32> = user.parse().ok();
    passwd
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            Some(Entry {
                name: fields.next()?,
                uid: fields.nth(1)?.parse().ok()?,
                gid: fields.next()?.parse().ok()?,
                home: fields.nth(1).unwrap_or_default(),
            })
        })
        .find(|entry| entry.name == user || Some(entry.uid) == number)
}

fn group_id(group: &str, name: &str) -> Option<u32> {
    let by_name = group.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    by_name.or_else(|| name.parse().ok())
}

fn groups_of(group: &str, user: &str) -> Vec<u32> {
    group
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':').skip(2);
            let gid = fields.next()?.parse().ok()?;
            fields.next()?.split(',').any(|member| member == user).then_some(gid)
        })
        .take(MAX_GROUPS)
        .collect()
}

fn shorten(name: &str) -> String {
    name.chars().take(40).collect()
}

/// The start of a regular file within the root; empty when there is none.
fn read(root: BorrowedFd<'_>, path: &'static str) -> Result<String, UserError> {
    let failed = |source| UserError::Read { path, source };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let fd = match openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        Err(errno) => return Err(failed(errno.into())),
    };
    let stat = fstat(&fd).map_err(|errno| failed(errno.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    File::from(fd).take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nnode:x:1000:1001::/home/node:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nnode:x:1001:\nvideo:x:44:node,other\nrender:x:105:node\n";

    #[test]
    fn numbers_names_and_both_are_understood() {
        let user = |text: &str| find(text, PASSWD, GROUP).map(|user| (user.uid, user.gid, user.groups));
        assert_eq!(user("").unwrap(), (0, 0, vec![]));
        assert_eq!(user("node").unwrap(), (1000, 1001, vec![44, 105]));
        assert_eq!(user("1000").unwrap(), (1000, 1001, vec![44, 105]));
        assert_eq!(user("node:video").unwrap(), (1000, 44, vec![]));
        assert_eq!(user("12345").unwrap(), (12345, 0, vec![]));
        assert_eq!(user("7:8").unwrap(), (7, 8, vec![]));
        assert_eq!(find("node", PASSWD, GROUP).unwrap().home.as_deref(), Some("/home/node"));
    }

    #[test]
    fn strangers_and_ids_outside_the_range_are_refused() {
        assert!(matches!(find("ghost", PASSWD, GROUP), Err(UserError::NoUser { .. })));
        assert!(matches!(find("0:ghost", PASSWD, GROUP), Err(UserError::NoGroup { .. })));
        assert!(matches!(
            find("65536", PASSWD, GROUP),
            Err(UserError::TooLarge { id: 65_536 })
        ));
        let hostile = "evil:x:4294967295:0::/:\n";
        assert!(matches!(find("evil", hostile, ""), Err(UserError::TooLarge { .. })));
    }

    #[test]
    fn a_passwd_file_that_is_a_link_to_the_host_is_read_within_the_root() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("../../../../../../etc/shadow", root.path().join("etc/passwd")).unwrap();
        let fd = File::open(root.path()).unwrap();
        assert_eq!(read(fd.as_fd(), "/etc/passwd").unwrap(), "");
    }
}

//! The OCI specification of a part: written by us alone, from the lease's record and the part's words.
//!
//! Pure. Invariant: nothing that the image says gets here except the user's numbers, the working folder and the words
//! of the process; mounts, namespaces, limits and paths are ours.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::user::User;
use crate::mounts::{UID_RANGE_LEN, UidRange};
use crate::runtime::PartSpec;

/// Open files that a part may have: the usual soft limit, and as hard limit what the shim itself was given.
const SOFT_FILES: u64 = 1024;

/// Search path of a part whose image names none; what `docker run` gives.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All but time: nothing of the host is shared.
const NAMESPACES: [&str; 7] = ["user", "pid", "network", "ipc", "uts", "mount", "cgroup"];

/// What a specification is made of.
pub(crate) struct SpecParts<'a> {
    pub(crate) hostname: &'a str,
    pub(crate) rootfs: &'a Path,
    pub(crate) cgroup: &'a Path,
    pub(crate) ids: UidRange,
    pub(crate) user: &'a User,
    pub(crate) cwd: &'a Path,
    pub(crate) argv: &'a [String],
    pub(crate) env: &'a [String],
    /// Shared memory may use as much as all memory.
    pub(crate) memory: u64,
    pub(crate) hard_files: u64,
    /// Writable folders of the part's own: source and target.
    pub(crate) folders: &'a [(PathBuf, &'static str)],
    /// Read-only inputs: where the shim has mounted them, and the target.
    pub(crate) inputs: &'a [(PathBuf, PathBuf)],
}

/// The specification as `config.json` holds it.
pub(crate) fn build(parts: &SpecParts<'_>) -> Value {
    let namespaces: Vec<Value> = NAMESPACES.iter().map(|kind| json!({ "type": kind })).collect();
    let ids = json!([{ "containerID": 0, "hostID": parts.ids.first, "size": UID_RANGE_LEN }]);
    json!({
        "ociVersion": "1.0.2",
        "hostname": parts.hostname,
        "root": { "path": parts.rootfs, "readonly": false },
        "process": process(parts),
        "mounts": mounts(parts),
        "linux": {
            "cgroupsPath": parts.cgroup,
            "uidMappings": ids,
            "gidMappings": ids,
            "namespaces": namespaces,
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
                "/sys/devices/virtual/powercap"
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

fn process(parts: &SpecParts<'_>) -> Value {
    let user = parts.user;
    json!({
        "terminal": false,
        "user": { "uid": user.uid, "gid": user.gid, "additionalGids": user.groups },
        "args": parts.argv,
        "env": parts.env,
        "cwd": parts.cwd,
        "noNewPrivileges": true,
        "capabilities": { "bounding": [], "effective": [], "inheritable": [], "permitted": [], "ambient": [] },
        "rlimits": [
            { "type": "RLIMIT_NOFILE", "soft": SOFT_FILES.min(parts.hard_files), "hard": parts.hard_files },
            { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
        ],
    })
}

fn mounts(parts: &SpecParts<'_>) -> Vec<Value> {
    let kernel = |kind: &str, target: &str, options: &[&str]| json!({ "type": kind, "source": kind, "destination": target, "options": options });
    let shm = format!("size={}", parts.memory);
    let mut mounts = vec![
        kernel("proc", "/proc", &["nosuid", "noexec", "nodev"]),
        kernel(
            "tmpfs",
            "/dev",
            &["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"],
        ),
        kernel(
            "devpts",
            "/dev/pts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        kernel("tmpfs", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777", &shm]),
        kernel("mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]),
        kernel("sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"]),
    ];
    let bind = |source: &Path, target: &Path, options: &[&str]| json!({ "type": "bind", "source": source, "destination": target, "options": options });
    mounts.extend(
        parts
            .folders
            .iter()
            .map(|(source, target)| bind(source, Path::new(target), &["bind", "nosuid", "nodev"])),
    );
    mounts.extend(
        parts
            .inputs
            .iter()
            .map(|(source, target)| bind(source, target, &["bind", "ro", "nosuid", "nodev"])),
    );
    mounts
}

/// Targets that a part's inputs must not hide.
const RESERVED: [&str; 5] = ["/proc", "/sys", "/dev", gpux_job::OUT, "/tmp"];

/// Why a path cannot be a mount target; `None` when it can.
pub(crate) fn bad_target(target: &Path) -> Option<&'static str> {
    use std::path::Component;
    let mut components = target.components();
    if components.next() != Some(Component::RootDir) {
        return Some("it is not absolute");
    }
    if target.parent().is_none() {
        return Some("it is the root");
    }
    if components.any(|component| !matches!(component, Component::Normal(_))) {
        return Some("it has a component that is not a plain name");
    }
    RESERVED
        .iter()
        .any(|reserved| target.starts_with(reserved) || Path::new(reserved).starts_with(target))
        .then_some("it hides a folder that every part has")
}

/// Whether a path cannot be a folder to start in: every step must go down from the root.
pub(crate) fn bad_folder(dir: &Path) -> bool {
    use std::path::Component;
    let mut components = dir.components();
    components.next() != Some(Component::RootDir)
        || components.any(|component| !matches!(component, Component::Normal(_)))
        || dir.as_os_str().as_encoded_bytes().contains(&0)
}

/// The environment of a part: the image's, then the part's own, later words replacing earlier ones of the same name.
pub(crate) fn environment(image: &[String], part: &[(String, String)], home: Option<&str>) -> Vec<String> {
    let mut words: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| match words.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => value.clone_into(old),
        None => words.push((name.to_owned(), value.to_owned())),
    };
    set("PATH", DEFAULT_PATH);
    set("HOME", home.unwrap_or("/tmp"));
    set("TMPDIR", "/tmp");
    for (name, value) in image.iter().filter_map(|word| word.split_once('=')) {
        set(name, value);
    }
    for (name, value) in part {
        set(name, value);
    }
    words
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// What of a part's words no process can have, in words.
pub(crate) fn check_part(part: &PartSpec) -> Result<(), String> {
    let has_zero = |word: &str| word.contains('\0');
    let words = part
        .argv
        .iter()
        .chain(part.env.iter().flat_map(|(name, value)| [name, value]));
    if let Some(word) = words.into_iter().find(|word| has_zero(word)) {
        return Err(format!("{word:?} with its zero byte"));
    }
    if let Some((name, _)) = part.env.iter().find(|(name, _)| name.is_empty() || name.contains('=')) {
        return Err(format!("the variable name {name:?}"));
    }
    match &part.working_dir {
        Some(dir) if bad_folder(dir) => Err(format!("the working folder {}", dir.display())),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_words_win_over_the_images_and_both_over_the_defaults() {
        let env = environment(
            &["PATH=/bin".into(), "A=1".into(), "B=2=3".into(), "rubbish".into()],
            &[("A".into(), "9".into()), ("C".into(), String::new())],
            Some("/home/node"),
        );
        assert_eq!(
            env,
            ["PATH=/bin", "HOME=/home/node", "TMPDIR=/tmp", "A=9", "B=2=3", "C="]
        );
        assert_eq!(
            environment(&[], &[], None),
            [format!("PATH={DEFAULT_PATH}"), "HOME=/tmp".into(), "TMPDIR=/tmp".into()]
        );
    }

    #[test]
    fn inputs_cannot_hide_what_every_part_has() {
        for good in ["/in/scene.blend", "/data", "/outside", "/tmpfs"] {
            assert_eq!(bad_target(Path::new(good)), None, "{good}");
        }
        for bad in [
            "in",
            "/",
            "/in/../etc",
            "/proc/self",
            "/out",
            "/out/x",
            "/dev/null",
            "/tmp/x",
            "/sys",
        ] {
            assert!(bad_target(Path::new(bad)).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_specification_is_what_the_container_library_reads() {
        let user = User::default();
        let value = build(&SpecParts {
            hostname: "lease",
            rootfs: Path::new("/run/gpux/r"),
            cgroup: Path::new("/gpux/l/0.0"),
            ids: UidRange { first: 0x7001_0000 },
            user: &user,
            cwd: Path::new("/"),
            argv: &["/bin/true".into()],
            env: &[],
            memory: 1 << 20,
            hard_files: 4096,
            folders: &[(PathBuf::from("/o"), "/out")],
            inputs: &[(PathBuf::from("/i"), PathBuf::from("/in/a"))],
        });
        let spec: libcontainer::oci_spec::runtime::Spec = serde_json::from_value(value).unwrap();
        let linux = spec.linux().as_ref().unwrap();
        assert_eq!(linux.namespaces().as_ref().unwrap().len(), 7);
        assert!(linux.resources().is_none(), "limits are the lease's, not the part's");
        assert_eq!(spec.process().as_ref().unwrap().no_new_privileges(), Some(true));
    }
}

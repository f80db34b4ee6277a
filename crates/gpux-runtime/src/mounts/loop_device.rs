//! Loop devices: a file as a block device that frees itself when its last user is gone.

#![expect(
    unsafe_code,
    reason = "the loop driver is spoken to by ioctl, which has no typed wrapper"
)]

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};
use rustix::ioctl::{Setter, ioctl};
use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

const CONTROL: &str = "/dev/loop-control";
const LOOP_CONFIGURE: Opcode = 0x4C0A;
const LOOP_CTL_GET_FREE: Opcode = 0x4C82;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// How often a free device is looked for again after another process took it first. Each loss means somebody else won, so a hundred
/// in a row means that devices vanish for another reason.
const ATTEMPTS: u32 = 100;

/// `struct loop_info64` of `linux/loop.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` of `linux/loop.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopInfo>() == 232 && size_of::<LoopConfig>() == 304);

/// A configured loop device. It clears itself when this is dropped and nothing mounts it any more.
#[derive(Debug)]
pub(super) struct LoopDevice {
    path: PathBuf,
    /// Keeps the device configured until it is mounted.
    _open: OwnedFd,
}

impl LoopDevice {
    /// Puts `file` behind a free loop device.
    pub(super) fn attach(file: &File) -> io::Result<Self> {
        let control = OpenOptions::new().read(true).write(true).open(CONTROL)?;
        for _ in 0..ATTEMPTS {
            // SAFETY: `GetFree` takes no argument and answers with a number, as the driver's header says.
            let number = unsafe { ioctl(&control, GetFree) }?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = OpenOptions::new().read(true).write(true).open(&path)?;
            match configure(&device, file) {
                Ok(()) => {
                    return Ok(Self {
                        path,
                        _open: device.into(),
                    });
                }
                Err(Errno::BUSY) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(Errno::BUSY.into())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn configure(device: &File, file: &File) -> rustix::io::Result<()> {
    let config = LoopConfig {
        fd: u32::try_from(file.as_raw_fd()).map_err(|_| Errno::BADF)?,
        block_size: 0,
        info: LoopInfo {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_AUTOCLEAR,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: `LOOP_CONFIGURE` reads one `struct loop_config`, whose layout `LoopConfig` repeats (size asserted above), and keeps no
    // pointer. The driver takes its own reference to the file behind `fd`, which is open for the length of the call.
    unsafe { ioctl(device, Setter::<LOOP_CONFIGURE, LoopConfig>::new(config)) }
}

/// `LOOP_CTL_GET_FREE`: the number of a free device is the return value of the call.
struct GetFree;

// SAFETY: the request takes no argument and writes nothing; its output is the plain return value.
unsafe impl Ioctl for GetFree {
    type Output = IoctlOutput;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        LOOP_CTL_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> rustix::io::Result<Self::Output> {
        Ok(output)
    }
}

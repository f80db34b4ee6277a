//! What this machine's disk is promised to: an account of reservations that have not become files yet.
//!
//! What is free is asked of the file system each time; what was promised and is not written yet is kept here. A lease
//! reserves before the first byte of its image is fetched, and its reservation is a value: however the lease ends, dropping
//! that value gives the space back.
//!
//! Invariant: nothing is reserved that does not fit into what is free beside all other promises.

use gpux_types::{ByteSize, LeaseId};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// What stays free for the machine itself, its logs and the daemon's database.
const KEPT_FREE: ByteSize = ByteSize(512 << 20);

/// More than fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("reserving {wanted} of disk for image, inputs and the lease's own disk: {free} is free and not promised")]
pub(crate) struct NoDisk {
    /// What was wanted.
    pub(crate) wanted: ByteSize,
    /// What could be promised.
    pub(crate) free: ByteSize,
}

/// What one lease needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    /// The disk that it rents.
    pub(crate) disk: ByteSize,
    /// What is still to be fetched and unpacked for it.
    pub(crate) preparation: ByteSize,
}

#[derive(Debug)]
struct Promise {
    wanted: Wanted,
    /// Bytes of the preparation that are files by now.
    fetched: Arc<AtomicU64>,
    /// Bytes of the lease's disk that are.
    used: u64,
}

impl Promise {
    /// What is promised and not written.
    fn outstanding(&self) -> u64 {
        let fetched = self.fetched.load(Ordering::Relaxed);
        let disk = self.wanted.disk.0.saturating_sub(self.used);
        disk.saturating_add(self.wanted.preparation.0.saturating_sub(fetched))
    }
}

/// The account. A cheap clone. A mutex rather than a task: every use is one look at a map.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    promises: Arc<Mutex<BTreeMap<LeaseId, Promise>>>,
}

/// Space of one lease, given back when dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    account: Disk,
    lease: LeaseId,
}

impl Disk {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<LeaseId, Promise>> {
        // Every use leaves the map whole.
        self.promises.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a lease that wants so much would fit now, of `free` bytes on the file system.
    pub(crate) fn check(&self, wanted: Wanted, free: ByteSize) -> Result<(), NoDisk> {
        fits(&self.lock(), None, wanted, free)
    }

    /// Promises the space to the lease, in the place of what was promised to it before; `fetched` counts what of its
    /// preparation has come.
    pub(crate) fn reserve(
        &self,
        lease: LeaseId,
        wanted: Wanted,
        fetched: Arc<AtomicU64>,
        free: ByteSize,
    ) -> Result<(), NoDisk> {
        let mut promises = self.lock();
        fits(&promises, Some(lease), wanted, free)?;
        promises.insert(
            lease,
            Promise {
                wanted,
                fetched,
                used: 0,
            },
        );
        Ok(())
    }

    /// What image and inputs of the lease may still take, of `free` bytes on the file system: all that is promised neither to others
    /// nor as the lease's own disk.
    pub(crate) fn room_of(&self, lease: LeaseId, free: ByteSize) -> ByteSize {
        let promises = self.lock();
        let own = promises.get(&lease).map_or(0, |promise| promise.wanted.disk.0);
        ByteSize(unpromised(&promises, Some(lease), free).0.saturating_sub(own))
    }

    /// What gives the space of the lease back, whether any is promised now or later.
    pub(crate) fn holder(&self, lease: LeaseId) -> Reserved {
        Reserved {
            account: self.clone(),
            lease,
        }
    }
}

impl Reserved {
    /// Counts the disk of a lease that an earlier daemon took on: its work is there, whether it fits or not.
    pub(crate) fn adopt(&self, disk: ByteSize) {
        let promise = Promise {
            wanted: Wanted {
                disk,
                preparation: ByteSize(0),
            },
            fetched: Arc::default(),
            used: 0,
        };
        self.account.lock().insert(self.lease, promise);
    }

    /// Image and inputs are there: only the lease's own disk stays promised.
    pub(crate) fn prepared(&self) {
        if let Some(promise) = self.account.lock().get_mut(&self.lease) {
            promise.wanted.preparation = ByteSize(0);
        }
    }

    /// The lease's disk takes so much of the machine's by now.
    pub(crate) fn uses(&self, used: ByteSize) {
        if let Some(promise) = self.account.lock().get_mut(&self.lease) {
            promise.used = used.0;
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.account.lock().remove(&self.lease);
    }
}

fn fits(
    promises: &BTreeMap<LeaseId, Promise>,
    of: Option<LeaseId>,
    wanted: Wanted,
    free: ByteSize,
) -> Result<(), NoDisk> {
    let free = unpromised(promises, of, free);
    let wanted = ByteSize(wanted.disk.0.saturating_add(wanted.preparation.0));
    if wanted > free {
        return Err(NoDisk { wanted, free });
    }
    Ok(())
}

/// What of `free` bytes is promised to no other lease and not kept free.
fn unpromised(promises: &BTreeMap<LeaseId, Promise>, of: Option<LeaseId>, free: ByteSize) -> ByteSize {
    let others = promises.iter().filter(|(lease, _)| Some(**lease) != of);
    let promised = others.fold(KEPT_FREE.0, |sum, (_, promise)| {
        sum.saturating_add(promise.outstanding())
    });
    ByteSize(free.0.saturating_sub(promised))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn lease(byte: u8) -> LeaseId {
        LeaseId([byte; 32])
    }

    fn wanted(disk: u64, preparation: u64) -> Wanted {
        Wanted {
            disk: ByteSize(disk * MIB),
            preparation: ByteSize(preparation * MIB),
        }
    }

    /// So much that `room` MiB can be promised.
    fn with_room(room: u64) -> ByteSize {
        ByteSize(KEPT_FREE.0 + room * MIB)
    }

    #[test]
    fn what_is_promised_and_not_written_is_not_promised_again() {
        let account = Disk::default();
        let fetched = Arc::new(AtomicU64::new(0));
        let first = account.holder(lease(1));
        account
            .reserve(lease(1), wanted(60, 30), fetched.clone(), with_room(100))
            .unwrap();
        let refused = account.check(wanted(11, 0), with_room(100)).unwrap_err();
        assert_eq!((refused.wanted, refused.free), (ByteSize(11 * MIB), ByteSize(10 * MIB)));
        // 20 MiB came: they are gone from what is free, and from what is outstanding.
        fetched.store(20 * MIB, Ordering::Relaxed);
        assert!(account.check(wanted(11, 0), with_room(80)).is_err());
        assert!(account.check(wanted(10, 0), with_room(80)).is_ok());
        first.prepared();
        first.uses(ByteSize(40 * MIB));
        assert!(account.check(wanted(10, 0), with_room(30)).is_ok());
        assert!(account.check(wanted(11, 0), with_room(30)).is_err());
    }

    #[test]
    fn what_a_lease_unpacks_takes_nothing_that_is_promised() {
        let account = Disk::default();
        for (number, promise) in [(1, wanted(30, 10)), (2, wanted(20, 5))] {
            let held = account.reserve(lease(number), promise, Arc::default(), with_room(100));
            held.unwrap();
        }
        assert_eq!(
            account.room_of(lease(1), with_room(100)),
            ByteSize((100 - 25 - 30) * MIB)
        );
        assert_eq!(
            account.room_of(lease(2), with_room(100)),
            ByteSize((100 - 40 - 20) * MIB)
        );
        assert_eq!(
            account.room_of(lease(2), with_room(50)),
            ByteSize(0),
            "never less than none"
        );
    }

    #[test]
    fn however_a_lease_ends_its_space_comes_back() {
        let account = Disk::default();
        let held = account.holder(lease(1));
        account
            .reserve(lease(1), wanted(90, 0), Arc::default(), with_room(100))
            .unwrap();
        assert!(account.check(wanted(20, 0), with_room(100)).is_err());
        let task = std::thread::spawn(move || {
            let _held = held;
            panic!("a bug in the lease's task, wanted by the test");
        });
        assert!(task.join().is_err());
        assert!(account.check(wanted(100, 0), with_room(100)).is_ok());
    }

    #[test]
    fn asking_again_for_the_same_lease_takes_nothing_more() {
        let account = Disk::default();
        let held = account.holder(lease(1));
        for _ in 0..2 {
            account
                .reserve(lease(1), wanted(80, 0), Arc::default(), with_room(100))
                .unwrap();
        }
        held.adopt(ByteSize(80 * MIB));
        assert!(account.check(wanted(20, 0), with_room(100)).is_ok());
        let huge = wanted(u64::MAX / MIB, u64::MAX / MIB);
        assert!(account.check(huge, with_room(100)).is_err(), "sums do not wrap");
    }
}

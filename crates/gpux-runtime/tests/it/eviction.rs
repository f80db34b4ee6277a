//! Which unpacked layers go from a real store, and that none goes which a hold or a lease of the real runtime uses.

use crate::embedded::Site;
use crate::layer_blobs::{LayerBlob, Tar};
use gpux_runtime::{
    Compression, Digest, EmbeddedRuntime, LayerStore, PartState, Runtime as _, UnpackError, UnpackLimits,
};
use gpux_testkit::runtime::{Ground, build_probe};
use gpux_types::ByteSize;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tar::EntryType;

const MIB: u64 = 1 << 20;

struct Bench {
    store: LayerStore,
    runtime: EmbeddedRuntime,
    site: Site,
}

impl Bench {
    fn new() -> Self {
        let site = Site::new();
        let root = site.host.join("layers");
        Self::open(site, &root)
    }

    fn open(site: Site, root: &Path) -> Self {
        let runtime = site.open();
        let store = runtime.open_layers(root).unwrap();
        Self { store, runtime, site }
    }

    /// The next daemon's view.
    fn again(self) -> Self {
        let Self { store, runtime, site } = self;
        drop((store, runtime));
        let root = site.host.join("layers");
        Self::open(site, &root)
    }

    fn blob(&self, content: &str) -> LayerBlob {
        let archive = Tar::new().file("a", content).finish();
        LayerBlob::write(&self.site.host, &archive, Compression::Gzip)
    }

    /// An unpacked layer that nobody holds any more.
    async fn layer(&self, content: &str) -> (Digest, PathBuf) {
        let blob = self.blob(content);
        (
            blob.layer.digest,
            self.unpack(&blob, UnpackLimits::default()).await.unwrap(),
        )
    }

    async fn unpack(&self, blob: &LayerBlob, limits: UnpackLimits) -> Result<PathBuf, UnpackError> {
        self.store
            .hold()
            .ensure_unpacked(&blob.path, &blob.layer, &limits)
            .await
    }

    async fn make_room(&self, wanted: u64) -> Vec<Digest> {
        self.store.make_room(ByteSize(wanted)).await.unwrap()
    }

    async fn removable(&self) -> u64 {
        self.store.removable().await.unwrap().0
    }
}

/// A layer with the probe in it, as an image's only one.
fn probe_layer(dir: &Path) -> LayerBlob {
    let probe = build_probe(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("the probe compiles");
    let bytes = fs::read(probe).unwrap();
    let size = u64::try_from(bytes.len()).unwrap();
    let archive = Tar::new()
        .entry(EntryType::Regular, (b"probe", b""), size, &bytes)
        .finish();
    LayerBlob::write(dir, &archive, Compression::Gzip)
}

#[tokio::test]
async fn a_layer_stays_while_a_hold_or_a_lease_uses_it_also_after_a_restart_and_goes_when_the_work_is_gone() {
    let bench = Bench::new();
    let blob = probe_layer(&bench.site.host);
    let digest = blob.layer.digest;
    let mut hold = bench.store.hold();
    let files = hold
        .ensure_unpacked(&blob.path, &blob.layer, &UnpackLimits::default())
        .await
        .unwrap();
    assert_eq!(bench.removable().await, 0, "it is held");
    let (stranger, _) = bench.layer("nobody's").await;
    assert_eq!(bench.make_room(1).await, [stranger], "only what nobody holds");

    let ground = Ground {
        runtime: Arc::new(bench.site.open()),
        layers: vec![files.clone()],
        host: bench.site.host.clone(),
        keep: Box::new(()),
    };
    let lease = ground.lease(ground.spec()).await;
    drop(hold);
    let own = BTreeSet::from([digest]);
    assert_eq!(bench.removable().await, 0, "the lease's record says that it is used");
    assert_eq!(bench.store.remove_unpaid(own.clone()).await.unwrap(), []);
    let bench = bench.again();
    assert_eq!(bench.runtime.adopt().await.unwrap().len(), 1);
    assert_eq!(bench.removable().await, 0);
    assert_eq!(bench.store.remove_unpaid(own.clone()).await.unwrap(), []);
    let ended = ground.run(lease, 0, &["print", "still here"]).await;
    assert!(matches!(ended, PartState::Exited { code: 0, .. }), "{ended:?}");

    bench.runtime.destroy_lease(lease).await.unwrap();
    assert!(bench.removable().await > 0, "over, and not forgotten yet");
    assert_eq!(bench.store.remove_unpaid(own).await.unwrap(), [digest]);
    assert!(!files.exists());
    bench.runtime.forget_lease(lease).await.unwrap();
}

#[tokio::test]
async fn a_lease_whose_record_cannot_be_read_may_use_any_layer() {
    let bench = Bench::new();
    let (digest, files) = bench.layer("somebody's").await;
    let strange = bench.site.host.parent().unwrap().join("state/leases/ff");
    fs::create_dir(&strange).unwrap();
    fs::write(strange.join("lease.json"), r#"{"version":2,"record":{}}"#).unwrap();
    assert!(bench.store.removable().await.is_err());
    assert!(bench.store.make_room(ByteSize(1)).await.is_err());
    let told = bench.store.remove_unpaid(BTreeSet::from([digest])).await;
    assert!(told.is_err() && files.exists());
    fs::remove_dir_all(strange).unwrap();
    assert_eq!(bench.make_room(1).await, [digest]);
}

#[tokio::test]
async fn what_paid_work_used_stays_when_an_unpaid_lease_ends_and_the_rest_of_that_goes() {
    let bench = Bench::new();
    let (base, _) = bench.layer("everybody's base").await;
    bench.store.note_earned(BTreeSet::from([base])).await.unwrap();
    let (own, _) = bench.layer("a stranger's").await;
    let (other, _) = bench.layer("another stranger's").await;
    let bench = bench.again();
    let unpaid = BTreeSet::from([base, own]);
    assert_eq!(bench.store.remove_unpaid(unpaid).await.unwrap(), [own]);
    // The base was asked for before, and stays longer all the same.
    assert_eq!(bench.make_room(1).await, [other]);
    assert_eq!(bench.make_room(1).await, [base]);
    bench.store.note_earned(BTreeSet::from([base])).await.unwrap();
    let left: Vec<_> = fs::read_dir(bench.site.host.join("layers")).unwrap().collect();
    assert_eq!(left.len(), 2, "only the store's own: {left:?}");
}

#[tokio::test]
async fn a_layer_that_is_given_up_while_it_is_unpacked_is_gone_with_its_lease() {
    let bench = Bench::new();
    let noise = vec![7; 48 << 20];
    let size = u64::try_from(noise.len()).unwrap();
    let archive = Tar::new()
        .entry(EntryType::Regular, (b"noise", b""), size, &noise)
        .finish();
    let blob = LayerBlob::write(&bench.site.host, &archive, Compression::None);
    let partial = bench.site.host.join("layers/.partial");
    let unpacking = bench.unpack(&blob, UnpackLimits::default());
    tokio::select! {
        done = unpacking => panic!("{done:?}"),
        () = async {
            while fs::read_dir(&partial).unwrap().next().is_none() {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    bench
        .store
        .remove_unpaid(BTreeSet::from([blob.layer.digest]))
        .await
        .unwrap();
    assert_eq!(fs::read_dir(&partial).unwrap().count(), 0, "its thread was waited for");
    assert!(bench.store.hold().get(&blob.layer).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_layer_that_was_found_goes_before_its_hold_however_often_room_is_made() {
    const ROUNDS: usize = 60;

    let bench = Arc::new(Bench::new());
    let over = Arc::new(AtomicBool::new(false));
    let remover = tokio::spawn({
        let (bench, over) = (Arc::clone(&bench), Arc::clone(&over));
        async move {
            let mut removed = 0;
            while !over.load(Ordering::Relaxed) {
                removed += bench.make_room(1).await.len();
            }
            removed
        }
    });
    let blob = Arc::new(bench.blob("wanted by all"));
    let users = (0..3).map(|_| {
        let (bench, blob) = (Arc::clone(&bench), Arc::clone(&blob));
        tokio::spawn(async move {
            for _ in 0..ROUNDS {
                let mut hold = bench.store.hold();
                let files = match hold.get(&blob.layer) {
                    Some(files) => files,
                    None => {
                        let limits = UnpackLimits::default();
                        hold.ensure_unpacked(&blob.path, &blob.layer, &limits).await.unwrap()
                    }
                };
                for _ in 0..20 {
                    assert!(files.join("a").exists(), "it was found, and it is held");
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    for user in users.collect::<Vec<_>>() {
        user.await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    assert!(remover.await.unwrap() > 0, "the two met");
}

/// A file system of a test's own, in memory.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf, size: &str) -> Self {
        fs::create_dir(&at).unwrap();
        let small = Self(at);
        small.call("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "gpux-test"]);
        small
    }

    fn call(&self, program: &str, words: &[&str]) {
        let done = Command::new(program).args(words).arg(&self.0).status();
        assert!(done.unwrap().success(), "{program} {words:?}");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        self.call("umount", &[]);
    }
}

#[tokio::test]
async fn on_a_short_disk_the_layer_that_was_not_asked_for_the_longest_makes_room_for_a_new_one() {
    let site = Site::new();
    // Half a GiB is always kept free: there is room for two layers of 40 MiB, as much as may be unpacked being promised for each.
    let small = Small::mount(site.host.join("small"), "612M");
    let bench = Bench::open(site, &small.0.join("layers"));
    let limits = UnpackLimits {
        total: ByteSize(45 * MIB),
        ..UnpackLimits::default()
    };
    let blobs: Vec<LayerBlob> = (1..=4)
        .map(|byte: u8| {
            let size = 40 << 20;
            let content = vec![byte; size];
            let size = u64::try_from(size).unwrap();
            let archive = Tar::new()
                .entry(EntryType::Regular, (b"a", b""), size, &content)
                .finish();
            LayerBlob::write(&bench.site.host, &archive, Compression::Gzip)
        })
        .collect();
    let is_there = |blob: &LayerBlob| bench.store.hold().get(&blob.layer).is_some();
    for blob in &blobs[..2] {
        bench.unpack(blob, limits).await.unwrap();
    }
    assert!(is_there(&blobs[1]) && is_there(&blobs[0]), "asked for in this order");
    bench.unpack(&blobs[2], limits).await.unwrap();
    assert!(!is_there(&blobs[1]) && is_there(&blobs[0]) && is_there(&blobs[2]));

    let mut held = bench.store.hold();
    for blob in [&blobs[0], &blobs[2]] {
        assert!(held.get(&blob.layer).is_some());
    }
    let error = bench.unpack(&blobs[3], limits).await.unwrap_err();
    assert!(matches!(error, UnpackError::NoSpace { .. }), "{error:?}");
    assert!(is_there(&blobs[0]) && is_there(&blobs[2]), "both are used");
    drop((held, bench));
}

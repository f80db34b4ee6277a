//! How fast blobs travel on loopback, against a bare stream of the same library, and small files against one large one.
//!
//! Both ends are in this process, on one runtime. A round takes them one after the other, so that what else the machine does is
//! shared; medians are over rounds. The bare stream sends the same bytes from memory and drops them. A blob is read from a file,
//! hashed on the way out and on the way in, written to the store, and then (a line of its own) to a file as a provider does it. A
//! folder's packs come and are unpacked as a provider does it. `bench/run` calls this.
//!
//! ```text
//! blobs [--mib 1024] [--files 10000] [--file-kib 16] [--rounds 5] [--check] [--only raw|blob|folder]
//! ```

#![expect(clippy::panic, reason = "a measurement that fails must end at once")]

use futures_util::{
    StreamExt as _, TryStreamExt as _,
    future::{BoxFuture, FutureExt as _},
    stream,
};
use gpux_net::{
    AddMode, BlobRef, CallHandler, ExportMode, Givers, Keeper, Limits, LogSink, Net, NetConfig, add_folder,
    write_folder,
};
use gpux_proto::{ErrorCode, Folder, LogsRequest, PeerError, Request, Response};
use gpux_types::{LeaseId, NodeId};
use iroh::{
    Endpoint, EndpointAddr, SecretKey, TransportAddr,
    endpoint::{QuicTransportConfig, VarInt, presets},
};
use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio_util::bytes::Bytes;

const MIB: u64 = 1 << 20;
const LEASE: LeaseId = LeaseId([1; 32]);
const KEEPER: Keeper = Keeper::Lease(LEASE);
const ALPN: &[u8] = b"bare";

struct Nobody;

impl CallHandler for Nobody {
    fn call(&self, _: NodeId, _: Request) -> BoxFuture<'_, Response> {
        async { Response::Error(PeerError::new(ErrorCode::Unsupported, "a measurement")) }.boxed()
    }

    fn logs<'a>(&'a self, _: NodeId, _: LogsRequest, _: &'a mut LogSink) -> BoxFuture<'a, Result<(), PeerError>> {
        async { Ok(()) }.boxed()
    }
}

struct Node {
    net: Net,
    dir: TempDir,
}

async fn node(seed: u8) -> Node {
    let dir = tempfile::tempdir().expect("a folder");
    let config = NetConfig {
        secret: [seed; 32],
        data_dir: dir.path().join("blobs"),
        bind: vec![([127, 0, 0, 1], 0).into()],
        advertise: Vec::new(),
        relays: Vec::new(),
        relay_authority: None,
        topic: [1; 32],
        bootstrap: Vec::new(),
        limits: Limits::default(),
    };
    let net = Net::start(config, Arc::new(Nobody)).await.expect("an endpoint");
    Node { net, dir }
}

/// Bytes that nothing repeats.
fn noise(len: u64, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len).expect("fits")];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn rate(bytes: u64, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let bytes = bytes as f64;
    bytes / 1e6 / time.as_secs_f64()
}

async fn bare(transport: QuicTransportConfig) -> Endpoint {
    let bound = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::generate())
        .alpns(vec![ALPN.to_vec()])
        .transport_config(transport)
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0");
    bound.expect("an address").bind().await.expect("an endpoint")
}

/// The library's own windows, or those that blobs are fetched with.
fn windows(of_blobs: bool) -> QuicTransportConfig {
    let builder = QuicTransportConfig::builder();
    if !of_blobs {
        return builder.build();
    }
    builder
        .stream_receive_window(VarInt::from_u32(2 << 20))
        .receive_window(VarInt::from_u32(16 << 20))
        .send_window(8 << 20)
        .build()
}

/// Sends the bytes on one bare stream; how long until the last is there.
async fn raw(bytes: &Bytes, of_blobs: bool) -> Duration {
    let (giver, taker) = (bare(windows(of_blobs)).await, bare(windows(of_blobs)).await);
    let sockets = giver.bound_sockets().into_iter().map(TransportAddr::Ip);
    let address = EndpointAddr::from_parts(giver.id(), sockets);
    let bytes = bytes.clone();
    let sending = tokio::spawn(async move {
        let incoming = giver.accept().await.expect("a connection");
        let connection = incoming.await.expect("a connection");
        let (mut send, mut recv) = connection.accept_bi().await.expect("a stream");
        recv.read_to_end(16).await.expect("a request");
        let mut rest = bytes;
        while !rest.is_empty() {
            let chunk = rest.split_to(rest.len().min(64 << 10));
            send.write_chunk(chunk).await.expect("room");
        }
        send.finish().expect("an end");
        connection.closed().await;
    });
    let connection = taker.connect(address, ALPN).await.expect("a connection");
    let start = Instant::now();
    let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
    send.write_all(b"all of it").await.expect("room");
    send.finish().expect("an end");
    while recv.read_chunk(usize::MAX).await.expect("bytes").is_some() {}
    let time = start.elapsed();
    connection.close(VarInt::from_u32(0), b"done");
    sending.await.expect("sent");
    time
}

/// How long a blob takes into the store, and to a file from there.
async fn blob(giver: &Node, blob: BlobRef) -> (Duration, Duration) {
    let taker = node(2).await;
    taker.net.remember(giver.net.ticket());
    giver.net.allow(LEASE, taker.net.node_id(), [blob.hash]);
    let start = Instant::now();
    let fetched = taker
        .net
        .take(Givers::alone(giver.net.node_id()), blob, KEEPER, None)
        .await;
    fetched.expect("the blob");
    let there = start.elapsed();
    let target = taker.dir.path().join("input");
    let exported = taker.net.export(blob.hash, &target, ExportMode::Copy).await;
    exported.expect("the file");
    let all = start.elapsed();
    assert_eq!(fs::metadata(&target).expect("the file").len(), blob.size);
    taker.net.shutdown().await;
    (there, all)
}

/// How long a folder takes to its packs, and until it is written.
async fn folder(giver: &Node, (manifest, told): (BlobRef, gpux_proto::FolderSpec)) -> (Duration, Duration) {
    let (taker, from) = (node(2).await, giver.net.node_id());
    taker.net.remember(giver.net.ticket());
    let bytes = giver.net.read_bytes(manifest.hash, manifest.size).await.expect("it");
    let packs = Folder::read(&bytes, told).expect("a folder").packs;
    let blobs = packs.iter().map(|pack| pack.blob.hash).chain([manifest.hash]);
    giver.net.allow(LEASE, taker.net.node_id(), blobs);
    let start = Instant::now();
    let fetched = taker.net.take(Givers::alone(from), manifest, KEEPER, None).await;
    fetched.expect("the manifest");
    let bytes = taker.net.read_bytes(manifest.hash, manifest.size).await.expect("it");
    let folder = Folder::read(&bytes, told).expect("a folder");
    let packs = stream::iter(&folder.packs).map(|pack| {
        let (hash, size) = (pack.blob.hash, pack.blob.size.0);
        let net = &taker.net;
        async move {
            net.take(Givers::alone(from), BlobRef { hash, size }, KEEPER, None)
                .await
        }
    });
    // As many at a time as a provider does.
    let fetched = packs.buffer_unordered(4).try_collect::<()>().await;
    fetched.expect("the packs");
    let there = start.elapsed();
    let target = taker.dir.path().join("input");
    let written = write_folder(&taker.net, folder, &target).await;
    written.expect("the folder");
    let all = start.elapsed();
    taker.net.shutdown().await;
    (there, all)
}

fn make_folder(root: &Path, files: u64, bytes: &[u8]) {
    let each = bytes.len() / usize::try_from(files).expect("fits");
    for (number, file) in bytes.chunks_exact(each).enumerate() {
        let dir = root.join(format!("{:02}", number % 100));
        fs::create_dir_all(&dir).expect("a folder");
        fs::write(dir.join(number.to_string()), file).expect("a file");
    }
}

/// What is measured of one kind, printed as medians.
struct Times {
    name: &'static str,
    bytes: u64,
    all: Vec<Duration>,
}

impl Times {
    const fn new(name: &'static str, bytes: u64) -> Self {
        let all = Vec::new();
        Self { name, bytes, all }
    }

    /// The median of the ratio to what ran beside it, round by round.
    fn against(&self, other: &Self) -> f64 {
        let pairs = self.all.iter().zip(&other.all);
        let mut ratios: Vec<f64> = pairs
            .map(|(own, other)| rate(self.bytes, *own) / rate(self.bytes, *other))
            .collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied().unwrap_or_default()
    }

    fn print(&self) {
        let mut sorted = self.all.clone();
        sorted.sort_unstable();
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        let best = sorted.first().copied().unwrap_or_default();
        println!(
            "  {:<58} p50 {:>8.1} ms  {:>7.1} MB/s  best {:>7.1} MB/s",
            self.name,
            median.as_secs_f64() * 1e3,
            rate(self.bytes, median),
            rate(self.bytes, best)
        );
    }
}

struct Args {
    mib: u64,
    files: u64,
    file_kib: u64,
    rounds: u64,
    check: bool,
    only: Option<String>,
}

fn args() -> Args {
    let mut args = Args {
        mib: 1_024,
        files: 10_000,
        file_kib: 16,
        rounds: 5,
        check: false,
        only: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let word = words.next().unwrap_or_default();
            word.parse().unwrap_or_else(|_| panic!("not a number: {word}"))
        };
        match word.as_str() {
            "--mib" => args.mib = number(),
            "--files" => args.files = number(),
            "--file-kib" => args.file_kib = number(),
            "--rounds" => args.rounds = number(),
            "--check" => args.check = true,
            "--only" => args.only = words.next(),
            // What cargo adds.
            "--bench" => {}
            other => panic!("what is {other}?"),
        }
    }
    args
}

async fn large(args: &Args, giver: &Node) -> f64 {
    let size = args.mib * MIB;
    let bytes = Bytes::from(noise(size, 1));
    let file = giver.dir.path().join("large");
    fs::write(&file, &bytes).expect("a file");
    let added = giver.net.add_file(&file, AddMode::Reference, KEEPER).await;
    let added = added.expect("a blob");
    println!("{} MiB from one node to another", args.mib);
    let mut own = Times::new("a bare stream, the library's windows", size);
    let mut same = Times::new("a bare stream, the windows of blobs", size);
    let mut store = Times::new("a blob into the store", size);
    let mut disk = Times::new("a blob into the store and to a file", size);
    for _ in 0..args.rounds {
        if args.only.as_deref() != Some("blob") {
            own.all.push(raw(&bytes, false).await);
            same.all.push(raw(&bytes, true).await);
        }
        if args.only.as_deref() != Some("raw") {
            let (there, all) = blob(giver, added).await;
            store.all.push(there);
            disk.all.push(all);
        }
    }
    for times in [&own, &same, &store, &disk] {
        times.print();
    }
    let ratio = store.against(&same);
    println!(
        "  ratio of the blob to the bare stream with its windows {ratio:.2}, with the library's {:.2}, goal 0.8",
        store.against(&own)
    );
    ratio
}

async fn small(args: &Args, giver: &Node) -> f64 {
    let size = args.files * args.file_kib * 1_024;
    let bytes = noise(size, 2);
    let root = giver.dir.path().join("many");
    make_folder(&root, args.files, &bytes);
    let file = giver.dir.path().join("one");
    fs::write(&file, &bytes).expect("a file");
    let one = giver.net.add_file(&file, AddMode::Copy, KEEPER).await.expect("a blob");
    let start = Instant::now();
    let many = add_folder(&giver.net, &root, KEEPER).await.expect("a folder");
    println!(
        "{} files of {} KiB, and one file of {} MiB; the folder was taken in in {:.0} ms",
        args.files,
        args.file_kib,
        size / MIB,
        start.elapsed().as_secs_f64() * 1e3
    );
    let mut names = [
        Times::new("the one file, fetched", size),
        Times::new("the one file, fetched and written", size),
        Times::new("the folder, fetched", size),
        Times::new("the folder, fetched and unpacked", size),
    ];
    for _ in 0..args.rounds {
        let (one, many) = (blob(giver, one).await, folder(giver, many).await);
        for (times, time) in names.iter_mut().zip([one.0, one.1, many.0, many.1]) {
            times.all.push(time);
        }
    }
    for times in &names {
        times.print();
    }
    let [_, one, _, many] = &names;
    let ratio = many.against(one);
    println!("  ratio of the folder to the file, to the disk {ratio:.2}, goal 0.5");
    ratio
}

fn main() {
    let args = args();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let missed = runtime.expect("a runtime").block_on(async {
        let giver = node(1).await;
        let only = args.only.as_deref();
        let large = if only == Some("folder") {
            1.0
        } else {
            large(&args, &giver).await
        };
        let small = if matches!(only, None | Some("folder")) {
            small(&args, &giver).await
        } else {
            1.0
        };
        giver.net.shutdown().await;
        large < 0.8 || small < 0.5
    });
    assert!(!(args.check && missed), "a goal is missed");
}

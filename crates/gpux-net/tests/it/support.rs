//! Nodes for the tests: an endpoint in a folder of its own, a wallet, and a daemon that answers in set ways.

use alloy_primitives::{Address, Signature};
use futures_util::future::{BoxFuture, FutureExt};
use gpux_market::Offer;
use gpux_net::{CallHandler, Limits, LogSink, Net, NetConfig, PeerTicket};
use gpux_proto::{ErrorCode, LogsRequest, PeerError, Request, Response, SignedOffer};
use gpux_types::{ByteSize, Cpu, LeaseId, Millis, NodeId, PartIndex, Resources};
use iroh::{Endpoint, EndpointAddr, SecretKey, TransportAddr, endpoint::presets};
use k256::ecdsa::SigningKey;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub(crate) const TOPIC: [u8; 32] = [42; 32];

/// A running node.
pub(crate) struct TestNode {
    pub(crate) net: Net,
    pub(crate) dir: Arc<TempDir>,
    pub(crate) seed: u8,
}

/// Starts node `seed` that knows `bootstrap`.
pub(crate) async fn start(seed: u8, bootstrap: &[PeerTicket]) -> TestNode {
    start_with(
        seed,
        bootstrap,
        Limits::default(),
        Arc::new(tempfile::tempdir().unwrap()),
    )
    .await
}

pub(crate) async fn start_with(seed: u8, bootstrap: &[PeerTicket], limits: Limits, dir: Arc<TempDir>) -> TestNode {
    let config = NetConfig {
        secret: [seed; 32],
        data_dir: dir.path().to_owned(),
        bind: vec!["127.0.0.1:0".parse().unwrap()],
        advertise: Vec::new(),
        relays: Vec::new(),
        relay_authority: None,
        topic: TOPIC,
        bootstrap: bootstrap.to_vec(),
        limits,
    };
    let net = Net::start(config, Arc::new(Daemon)).await.unwrap();
    TestNode { net, dir, seed }
}

impl TestNode {
    pub(crate) fn id(&self) -> NodeId {
        self.net.node_id()
    }

    pub(crate) fn ticket(&self) -> PeerTicket {
        self.net.ticket()
    }

    /// An offer of this node, signed by its wallet.
    pub(crate) fn offer(&self, sequence: u64, ttl: Duration) -> SignedOffer {
        let wallet = SigningKey::from_slice(&[self.seed; 32]).unwrap();
        let offer = offer(self.id(), Address::from_private_key(&wallet), sequence, ttl);
        let digest = SignedOffer::digest(&offer);
        let signature: Signature = wallet.sign_prehash_recoverable(digest.as_slice()).unwrap().into();
        SignedOffer::new(&offer, signature)
    }

    /// The sequences of the live offers that this node knows, by node.
    pub(crate) fn knows(&self) -> Vec<(NodeId, u64)> {
        self.net
            .live_offers()
            .into_iter()
            .map(|heard| (heard.offer.node, heard.offer.sequence))
            .collect()
    }
}

fn offer(node: NodeId, wallet: Address, sequence: u64, ttl: Duration) -> Offer {
    let some = Resources {
        cpu: Cpu::cores(1),
        memory: ByteSize(1 << 30),
        disk: ByteSize(1 << 30),
    };
    Offer {
        node,
        wallet,
        provider: Address::repeat_byte(1),
        signer: Address::repeat_byte(2),
        sequence,
        ttl: ttl.into(),
        chain_id: 31_337,
        escrow: Address::repeat_byte(3),
        token: Address::repeat_byte(4),
        rates: gpux_market::Rates::default(),
        total: some,
        free: some,
        largest: some,
        cpu_model: "test".into(),
        cpu_score: 1_000,
        features: std::collections::BTreeSet::new(),
        region: None,
        lease_min: Millis::ZERO,
        lease_max: Millis::from_secs(3_600),
        grace_min_secs: 30,
        addresses: Vec::new(),
        relay: None,
    }
}

/// Answers by the first byte of the lease's id, or by the length of the reason.
struct Daemon;

/// Leases of these first bytes are answered in a way of their own.
pub(crate) const SLOW: u8 = 200;
pub(crate) const LARGE: u8 = 201;
pub(crate) const PANICS: u8 = 202;
pub(crate) const UNKNOWN: u8 = 203;
pub(crate) const WHO: u8 = 205;
/// Logs of this lease never end.
pub(crate) const ENDLESS: u8 = 204;

pub(crate) fn lease(first: u8) -> LeaseId {
    let mut id = [0; 32];
    id[0] = first;
    LeaseId(id)
}

impl CallHandler for Daemon {
    fn call(&self, from: NodeId, request: Request) -> BoxFuture<'_, Response> {
        async move {
            match request {
                Request::Status(lease) => answer(from, lease).await,
                _ => Response::Error(PeerError::new(ErrorCode::Unsupported, "not in this test")),
            }
        }
        .boxed()
    }

    fn logs<'a>(
        &'a self,
        _: NodeId,
        request: LogsRequest,
        sink: &'a mut LogSink,
    ) -> BoxFuture<'a, Result<(), PeerError>> {
        async move {
            match request.lease.0[0] {
                UNKNOWN => Err(PeerError::new(ErrorCode::NoSuchLease, "no such lease here")),
                ENDLESS => loop {
                    let sent = sink.send(&[b'x'; 1_000]).await;
                    sent.map_err(|_| PeerError::new(ErrorCode::Internal, "closed"))?;
                },
                _ => {
                    for line in request.offset..100_000 {
                        let sent = sink.send(format!("line {line}\n").as_bytes()).await;
                        sent.map_err(|_| PeerError::new(ErrorCode::Internal, "closed"))?;
                    }
                    Ok(())
                }
            }
        }
        .boxed()
    }
}

async fn answer(from: NodeId, lease: LeaseId) -> Response {
    match lease.0[0] {
        SLOW => std::future::pending().await,
        LARGE => Response::Error(PeerError {
            code: ErrorCode::Unsupported,
            message: "x".repeat(2 << 20),
        }),
        PANICS => panic!("a bug in the daemon, wanted by the test"),
        UNKNOWN => Response::Error(PeerError::new(ErrorCode::NoSuchLease, "no such lease here")),
        WHO => Response::Error(PeerError::new(ErrorCode::Unsupported, format!("asked by {from}"))),
        _ => Response::Accepted,
    }
}

/// Asks for a log of lease `first`.
pub(crate) fn log_of(first: u8, offset: u64) -> LogsRequest {
    LogsRequest {
        lease: lease(first),
        part: PartIndex(0),
        attempt: 0,
        offset,
        follow: false,
    }
}

/// Waits until `fact` holds; fails with `what` after ten seconds.
pub(crate) async fn eventually(what: &str, mut fact: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !fact() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "after ten seconds still not: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

/// A bare endpoint: a peer that speaks the protocols by hand, badly.
pub(crate) async fn bare_endpoint(seed: u8, alpns: &[&[u8]]) -> Endpoint {
    Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(&[seed; 32]))
        .alpns(alpns.iter().map(|alpn| alpn.to_vec()).collect())
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0")
        .unwrap()
        .bind()
        .await
        .unwrap()
}

/// How a bare endpoint reaches a node.
pub(crate) fn address_of(ticket: &PeerTicket) -> EndpointAddr {
    let id = iroh::EndpointId::from_bytes(ticket.node.as_bytes()).unwrap();
    EndpointAddr::from_parts(id, ticket.addresses.iter().copied().map(TransportAddr::Ip))
}

/// The ticket of a bare endpoint.
pub(crate) fn ticket_of(endpoint: &Endpoint) -> PeerTicket {
    PeerTicket {
        node: NodeId(*endpoint.id().as_bytes()),
        addresses: endpoint.bound_sockets(),
        relay: None,
    }
}

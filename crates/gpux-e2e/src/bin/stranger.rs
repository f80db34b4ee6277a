//! A stranger that keeps no rule of the market, started by tests beside honest nodes: `gpux-e2e-stranger DIR`, where DIR
//! has a daemon's configuration with a peer to start from.
//!
//! It is two nodes. One speaks gossip by hand and says what no honest node can: an offer that its wallet did not sign, an
//! offer in the name of the bootstrap peer, and one of another node; then, in the same way, a good one, so that a test knows
//! when the others were heard. The other node has the cheapest offer of all, and answers each request for a quote with one
//! that was made for another wallet. It must know nothing of the renter.
#![forbid(unsafe_code)]

use futures_util::future::{BoxFuture, FutureExt};
use gpux_chain::HotKey;
use gpux_market::{Offer, Rates};
use gpux_net::{CallHandler, Limits, LogSink, Net, NetConfig, PeerTicket};
use gpux_node::DaemonConfig;
use gpux_proto::{
    ErrorCode, LogsRequest, PeerError, Quote, QuoteRequest, Request, Response, SignedOffer, SignedQuote, decode, encode,
};
use gpux_types::{Address, Amount, ByteSize, Cpu, Millis, NodeId, PricePerHour, Resources};
use iroh::{
    Endpoint, EndpointAddr, EndpointId, SecretKey, TransportAddr,
    address_lookup::memory::MemoryLookup,
    endpoint::{Connection, presets},
    protocol::{AcceptError, ProtocolHandler, Router},
};
use iroh_gossip::{
    net::{GOSSIP_ALPN, Gossip},
    proto::TopicId,
};
use serde::Serialize;
use std::{
    collections::HashMap,
    error::Error,
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Keeps signatures of announcements apart from others (docs/spec/wire.md).
const DOMAIN: &[u8] = b"GPUX announcement v2\0";
/// The protocol of calls.
const CALLS_ALPN: &[u8] = b"gpux/calls/1";
/// The first byte of a stream that asks for details.
const ASK_DETAILS: u8 = 4;
/// What the two nodes sell: so little disk that a test can wish for more.
const SOLD: Resources = Resources {
    cpu: Cpu::cores(2),
    memory: ByteSize(4 << 30),
    disk: ByteSize(96 << 20),
};
/// Newer than any honest offer, whose numbers begin with the date.
const SEQUENCE: u64 = u64::MAX / 2;

type Fault = Box<dyn Error + Send + Sync>;

/// What a node floods, byte for byte as docs/spec/wire.md has it.
#[derive(Serialize)]
struct Statement {
    node: NodeId,
    order: (u64, u64),
    details: Option<[u8; 16]>,
}

/// What it is asked for then.
#[derive(Serialize)]
struct Details<'a> {
    offer: SignedOffer,
    addresses: &'a [SocketAddr],
    relay: Option<String>,
}

/// Answers whoever asks for details: one list of them, by their names.
#[derive(Debug, Clone, Default)]
struct Teller(Arc<Mutex<HashMap<[u8; 16], Vec<u8>>>>);

impl Teller {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 16], Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProtocolHandler for Teller {
    async fn accept(&self, connection: Connection) -> Result<(), AcceptError> {
        while let Ok((mut send, mut recv)) = connection.accept_bi().await {
            let asked = recv.read_to_end(1 << 20).await.unwrap_or_default();
            let request = asked.split_first().filter(|(kind, _)| **kind == ASK_DETAILS);
            let wanted: Vec<(NodeId, [u8; 16])> = request.and_then(|(_, bytes)| decode(bytes).ok()).unwrap_or_default();
            let details: Vec<Vec<u8>> = {
                let known = self.lock();
                wanted.iter().filter_map(|(_, hash)| known.get(hash).cloned()).collect()
            };
            if send.write_all(&encode(&details)).await.is_ok() {
                send.finish().ok();
            }
        }
        Ok(())
    }
}

/// A market, and the stranger's keys in it.
#[derive(Debug, Clone)]
struct Stranger {
    config: DaemonConfig,
    wallet: HotKey,
    signer: HotKey,
}

impl Stranger {
    fn topic(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("gpux/2 offers of one escrow");
        hasher.update(&self.config.chain.chain_id.to_be_bytes());
        hasher.update(self.config.chain.escrow.as_slice());
        *hasher.finalize().as_bytes()
    }

    fn bootstrap(&self) -> Result<&PeerTicket, Fault> {
        let first = self.config.network.bootstrap.first();
        first.ok_or_else(|| "the configuration names no peer to start from".into())
    }

    fn offer(&self, node: NodeId, units: u128, cpu_model: &str) -> Result<Offer, Fault> {
        let rate = PricePerHour(Amount::new(units)?);
        let chain = &self.config.chain;
        Ok(Offer {
            node,
            wallet: self.wallet.address(),
            provider: self.wallet.address(),
            signer: self.signer.address(),
            sequence: SEQUENCE,
            ttl: Millis::from_secs(60),
            chain_id: chain.chain_id,
            escrow: chain.escrow,
            token: chain.token,
            rates: Rates {
                cpu_core: rate,
                memory_gib: rate,
                disk_gib: rate,
            },
            total: SOLD,
            free: SOLD,
            largest: SOLD,
            cpu_model: cpu_model.into(),
            cpu_score: 1_000,
            features: Default::default(),
            region: None,
            lease_min: Millis::from_secs(30),
            lease_max: Millis::from_secs(24 * 3_600),
            grace_min_secs: chain.grace_secs,
            addresses: Vec::new(),
            relay: None,
        })
    }

    fn sign(&self, offer: &Offer) -> SignedOffer {
        SignedOffer::new(offer, self.wallet.sign_digest(SignedOffer::digest(offer)))
    }

    /// Sells at the cheapest price, with quotes for others than those who ask.
    async fn sell(&self, dir: &Path) -> Result<Net, Fault> {
        let config = NetConfig {
            secret: SecretKey::generate().to_bytes(),
            data_dir: dir.join("blobs"),
            bind: self.config.network.bind.clone(),
            advertise: Vec::new(),
            relays: Vec::new(),
            relay_authority: None,
            topic: self.topic(),
            bootstrap: self.config.network.bootstrap.clone(),
            limits: Limits::default(),
        };
        let net = Net::start(config, Arc::new(self.clone())).await?;
        let offer = self.offer(net.node_id(), 1_000, "quotes for another wallet")?;
        net.publish_offer(self.sign(&offer))?;
        Ok(net)
    }

    /// A quote for the request, had another wallet made it.
    fn quote(&self, request: &QuoteRequest) -> SignedQuote {
        let quote = Quote {
            nonce: [7; 16],
            provider: self.wallet.address(),
            provider_signer: self.signer.address(),
            resources: request.resources,
            price: PricePerHour::default(),
            job_hash: request.job_hash,
            max_preparation_bytes: request.preparation_bytes,
            max_preparation: Millis::from_secs(900),
            hold: Millis::from_secs(120),
            grace_secs: self.config.chain.grace_secs,
            holds_for: Millis::from_secs(30),
        };
        let other = QuoteRequest {
            renter: Address::repeat_byte(0x77),
            ..request.clone()
        };
        let lease = quote.terms(&other).lease_id(&other.escrow);
        let signature = self.signer.sign_digest(SignedQuote::digest(lease));
        SignedQuote { quote, signature }
    }

    /// Joins the gossip and says what nobody should believe, and then what everybody may.
    async fn forge(&self) -> Result<(Router, iroh_gossip::api::GossipSender), Fault> {
        let secret = SecretKey::generate();
        let teller = Teller::default();
        let (router, sender, addresses) = self.join(&secret, teller.clone()).await?;
        let (me, victim) = (node_of(&secret), self.bootstrap()?.node);
        let other = SecretKey::generate();
        let unsigned = self.offer(node_of(&other), 1, "its wallet did not sign it")?;
        let by_nobody = HotKey::generate().sign_digest(SignedOffer::digest(&unsigned));
        let unsigned = SignedOffer::new(&unsigned, by_nobody);
        let in_anothers_name = self.sign(&self.offer(victim, 1, "in another's name")?);
        let good = self.sign(&self.offer(me, 1_000_000_000_000_000_000_000, "a good one")?);
        let said = [
            (&other, node_of(&other), unsigned),
            (&secret, victim, in_anothers_name.clone()),
            (&secret, me, in_anothers_name),
            (&secret, me, good),
        ];
        for (beat, (secret, node, offer)) in (1..).zip(said) {
            let details = encode(&Details {
                offer,
                addresses: &addresses,
                relay: None,
            });
            let hash = blake3::hash(&details);
            let hash: [u8; 16] = *hash.as_bytes().first_chunk().ok_or("a hash has 32 bytes")?;
            teller.lock().insert(hash, details);
            let order = (SEQUENCE, beat);
            let details = Some(hash);
            let mut digest = encode(&Statement { node, order, details });
            let signature = secret.sign(&[DOMAIN, &self.topic(), &digest].concat());
            digest.extend_from_slice(&signature.to_bytes());
            sender.broadcast(digest.into()).await?;
        }
        Ok((router, sender))
    }

    async fn join(
        &self,
        secret: &SecretKey,
        teller: Teller,
    ) -> Result<(Router, iroh_gossip::api::GossipSender, Vec<SocketAddr>), Fault> {
        let peer = self.bootstrap()?;
        let id = EndpointId::from_bytes(peer.node.as_bytes())?;
        let endpoint = Endpoint::builder(presets::Minimal)
            .secret_key(secret.clone())
            .clear_ip_transports()
            .bind_addr("127.0.0.1:0")?
            .bind()
            .await?;
        let lookup = MemoryLookup::new();
        let addresses = peer.addresses.iter().copied().map(TransportAddr::Ip);
        lookup.add_endpoint_info(EndpointAddr::from_parts(id, addresses));
        endpoint.address_lookup()?.add(lookup);
        let gossip = Gossip::builder().spawn(endpoint.clone());
        let router = Router::builder(endpoint.clone())
            .accept(GOSSIP_ALPN, gossip.clone())
            .accept(CALLS_ALPN, teller)
            .spawn();
        let topic = TopicId::from_bytes(self.topic());
        let (sender, _) = gossip.subscribe_and_join(topic, vec![id]).await?.split();
        Ok((router, sender, endpoint.bound_sockets()))
    }
}

fn node_of(secret: &SecretKey) -> NodeId {
    NodeId(*secret.public().as_bytes())
}

impl CallHandler for Stranger {
    fn call(&self, _: NodeId, request: Request) -> BoxFuture<'_, Response> {
        async move {
            if let Request::Quote(signed) = request {
                return Response::Quote(Box::new(self.quote(&signed.request)));
            }
            Response::Error(PeerError::new(ErrorCode::Unsupported, "not understood"))
        }
        .boxed()
    }

    fn logs<'a>(&'a self, _: NodeId, _: LogsRequest, _: &'a mut LogSink) -> BoxFuture<'a, Result<(), PeerError>> {
        async { Err(PeerError::new(ErrorCode::Unsupported, "not understood")) }.boxed()
    }
}

async fn run(dir: &Path) -> Result<(), Fault> {
    let stranger = Stranger {
        config: DaemonConfig::load(&dir.join("config.toml"))?,
        wallet: HotKey::generate(),
        signer: HotKey::generate(),
    };
    let _selling = stranger.sell(dir).await?;
    let _forging = stranger.forge().await?;
    std::future::pending::<()>().await;
    Ok(())
}

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1) else {
        eprintln!("error: expected a folder with a daemon's configuration");
        return ExitCode::FAILURE;
    };
    gpux_node::install_tls();
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = threads
        .map_err(Fault::from)
        .and_then(|threads| threads.block_on(run(Path::new(&dir))));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", gpux_node::error_chain(&*error));
            ExitCode::FAILURE
        }
    }
}

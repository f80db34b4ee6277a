//! A node that trades with others over the real endpoint, started by tests inside of a network namespace:
//! `gpux-e2e-trader DIR RELAY AUTHORITY`.
//!
//! It prints its ticket once its relay carries it, and then reads lines: a ticket is a node to trade with. A trade is a signed
//! request and a signed quote, a call each way, and a blob from the other; it prints `traded NODE PATH MILLIS`, where PATH is how
//! the packets travelled in the end and MILLIS how long after the first word, or `failed NODE WHY`.
#![forbid(unsafe_code)]

use futures_util::future::{BoxFuture, FutureExt};
use gpux_chain::HotKey;
use gpux_lease::EscrowRef;
use gpux_net::{BlobRef, CallHandler, Keeper, Limits, LogSink, Net, NetConfig, PeerPath, PeerTicket};
use gpux_proto::{
    ErrorCode, LogsRequest, Needs, PeerError, Quote, QuoteRequest, Request, Response, SignedQuote, SignedQuoteRequest,
};
use gpux_types::{
    Address, Amount, BasisPoints, BlobHash, ByteSize, Cpu, JobId, LeaseId, Millis, NodeId, PricePerHour, Resources,
};
use iroh::SecretKey;
use std::{
    error::Error,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio::io::{AsyncBufReadExt, BufReader};

/// What is sent of each trade: long enough to go on after the path has changed.
const BLOB_BYTES: usize = 2 << 20;
/// Within this time a direct path counts.
const DIRECT_WITHIN: Duration = Duration::from_secs(10);
/// A node whose relay has not answered by then says so.
const READY_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EACH: Duration = Duration::from_millis(50);

type Fault = Box<dyn Error + Send + Sync>;

/// Sells and buys.
#[derive(Debug)]
struct Trader {
    wallet: HotKey,
    signer: HotKey,
    net: OnceLock<Net>,
    sold: OnceLock<BlobRef>,
}

/// The bytes that a node sells: everybody knows them, so that a buyer can ask by hash.
fn blob_of(node: NodeId) -> Vec<u8> {
    let mut bytes = vec![0; BLOB_BYTES];
    blake3::Hasher::new_keyed(node.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

fn lease_of(first: NodeId, second: NodeId) -> LeaseId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(first.as_bytes()).update(second.as_bytes());
    LeaseId(*hasher.finalize().as_bytes())
}

impl Trader {
    fn net(&self) -> Result<&Net, Fault> {
        self.net.get().ok_or_else(|| "not listening yet".into())
    }

    fn quote(&self, from: NodeId, signed: &SignedQuoteRequest) -> Result<SignedQuote, Fault> {
        let request = &signed.request;
        let net = self.net()?;
        let signer = signed.signature.recover_address_from_prehash(&request.digest())?;
        if signer != request.renter || request.renter_node != from || request.provider_node != net.node_id() {
            return Err("another's request".into());
        }
        net.allow(
            lease_of(from, net.node_id()),
            from,
            self.sold.get().map(|blob| blob.hash),
        );
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
            grace_secs: 86_400,
            holds_for: Millis::from_secs(30),
        };
        let lease = quote.terms(request).lease_id(&request.escrow);
        let signature = self.signer.sign_digest(SignedQuote::digest(lease));
        Ok(SignedQuote { quote, signature })
    }

    fn request(&self, provider: NodeId) -> Result<SignedQuoteRequest, Fault> {
        let request = QuoteRequest {
            escrow: EscrowRef {
                chain_id: 31_337,
                address: Address::repeat_byte(3),
            },
            token: Address::repeat_byte(4),
            renter: self.wallet.address(),
            receipt_key: self.signer.address(),
            renter_node: self.net()?.node_id(),
            provider_node: provider,
            resources: Resources {
                cpu: Cpu::cores(1),
                memory: ByteSize(1 << 30),
                disk: ByteSize(1 << 30),
            },
            deposit: Amount::new(1_000_000)?,
            builder: Address::ZERO,
            builder_share: BasisPoints::default(),
            job_hash: [9; 32],
            needs: Needs::default(),
            preparation_bytes: ByteSize(1 << 20),
        };
        let signature = self.wallet.sign_digest(request.digest());
        Ok(SignedQuoteRequest { request, signature })
    }

    /// Trades with a node, and gives how its packets travel then and how long that took.
    async fn trade(&self, ticket: PeerTicket) -> Result<(PeerPath, Duration), Fault> {
        let net = self.net()?;
        let node = ticket.node;
        let began = Instant::now();
        net.remember(ticket);
        let request = self.request(node)?;
        let Response::Quote(quote) = net.call(node, &Request::Quote(Box::new(request.clone()))).await? else {
            return Err("a quote was asked for, something else answered".into());
        };
        quote.verify(&request.request)?;
        // Answered only after the other one called back.
        let lease = lease_of(net.node_id(), node);
        if net.call(node, &Request::Status(lease)).await? != Response::Accepted {
            return Err("a call back was asked for, something else answered".into());
        }
        let bytes = blob_of(node);
        let blob = BlobRef {
            hash: BlobHash(*blake3::hash(&bytes).as_bytes()),
            size: u64::try_from(bytes.len())?,
        };
        net.fetch(&[node], blob, Keeper::Job(JobId([1; 16])), None).await?;
        if net.read_bytes(blob.hash, blob.size).await? != bytes {
            return Err("the blob has other bytes".into());
        }
        loop {
            let path = net.path(node).await;
            if matches!(path, Some(PeerPath::Direct(_))) || began.elapsed() > DIRECT_WITHIN {
                let path = path.ok_or("the connection is gone")?;
                return Ok((path, began.elapsed()));
            }
            tokio::time::sleep(LOOK_EACH).await;
        }
    }

    async fn call_back(&self, from: NodeId, lease: LeaseId) -> Result<Response, Fault> {
        Ok(self.net()?.call(from, &Request::WillClose(lease)).await?)
    }
}

fn told(error: &Fault) -> String {
    gpux_node::error_chain(&**error).replace('\n', " ")
}

impl CallHandler for Trader {
    fn call(&self, from: NodeId, request: Request) -> BoxFuture<'_, Response> {
        async move {
            let done = if let Request::Quote(signed) = request {
                self.quote(from, &signed).map(|quote| Response::Quote(Box::new(quote)))
            } else if let Request::Status(lease) = request {
                self.call_back(from, lease).await
            } else if let Request::WillClose(_) = request {
                Ok(Response::Accepted)
            } else {
                Err("not understood".into())
            };
            done.unwrap_or_else(|error| Response::Error(PeerError::new(ErrorCode::Unsupported, told(&error))))
        }
        .boxed()
    }

    fn logs<'a>(&'a self, _: NodeId, _: LogsRequest, _: &'a mut LogSink) -> BoxFuture<'a, Result<(), PeerError>> {
        async { Err(PeerError::new(ErrorCode::Unsupported, "not understood")) }.boxed()
    }
}

async fn start(dir: PathBuf, relay: String, authority: PathBuf) -> Result<Arc<Trader>, Fault> {
    let trader = Arc::new(Trader {
        wallet: HotKey::generate(),
        signer: HotKey::generate(),
        net: OnceLock::new(),
        sold: OnceLock::new(),
    });
    let config = NetConfig {
        secret: SecretKey::generate().to_bytes(),
        data_dir: dir,
        bind: vec!["0.0.0.0:0".parse()?],
        advertise: Vec::new(),
        relays: vec![relay],
        relay_authority: Some(authority),
        topic: [42; 32],
        bootstrap: Vec::new(),
        limits: Limits::default(),
    };
    let net = Net::start(config, trader.clone()).await?;
    let sold = net.add_bytes(blob_of(net.node_id()), Keeper::Cache).await?;
    // Set once, here.
    let _ = trader.sold.set(sold);
    let _ = trader.net.set(net);
    Ok(trader)
}

async fn run(dir: PathBuf, relay: String, authority: PathBuf) -> Result<(), Fault> {
    let trader = start(dir, relay, authority).await?;
    let began = Instant::now();
    while trader.net()?.ticket().relay.is_none() {
        if began.elapsed() > READY_WITHIN {
            return Err("the relay does not answer".into());
        }
        tokio::time::sleep(LOOK_EACH).await;
    }
    println!("ticket {}", trader.net()?.ticket());
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let ticket: PeerTicket = line.parse()?;
        let trader = trader.clone();
        tokio::spawn(async move {
            let node = ticket.node;
            match trader.trade(ticket).await {
                Ok((PeerPath::Direct(_), after)) => println!("traded {node} direct {}", after.as_millis()),
                Ok((PeerPath::Relayed(_), after)) => println!("traded {node} relayed {}", after.as_millis()),
                Err(error) => println!("failed {node} {}", told(&error)),
            }
        });
    }
    Ok(())
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [dir, relay, authority] = words.as_slice() else {
        eprintln!("error: expected a folder, a relay and its authority");
        return ExitCode::FAILURE;
    };
    gpux_node::install_tls();
    if let Ok(filter) = std::env::var("GPUX_LOG") {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .init();
    }
    let threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let ended = threads
        .map_err(Fault::from)
        .and_then(|threads| threads.block_on(run(dir.into(), relay.clone(), authority.into())));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

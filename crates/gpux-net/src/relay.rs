//! A relay of our own: it forwards sealed packets between nodes that cannot reach each other, and tells nodes the address
//! that the world sees them by, so that most of them soon need it no more.
//!
//! `gpux relay` runs one; nothing of the daemon does. A relay reads no packet: what passes is sealed between the two nodes,
//! whose ids it knows and no more. It must hold no more of strangers than the bounds of [`RelayConfig`].

use crate::{connections::Cause, ticket::node_id};
use gpux_types::NodeId;
use iroh::EndpointId;
use iroh_relay::server::{
    Access, AccessControl, AcmeConfig, CertConfig, ClientRateLimit, ClientRequest, ConnectionId, Limits, QuicConfig,
    RelayConfig as ServedRelay, Server, ServerConfig, TlsConfig, reloading_resolver,
};
use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Connections that one node may have at a time: the one that it uses, and one that its last address left behind.
const CONNECTIONS_OF_ONE: usize = 2;
/// Public keys that are kept decoded.
const KEY_CACHE: usize = 16_384;
/// How often certificate files are read again: whoever renews them needs no restart.
const RELOAD: Duration = Duration::from_secs(3_600);

/// What a relay is started with.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    /// The address to listen on.
    pub listen: IpAddr,
    /// The TCP port that nodes call: of TLS where there is a certificate, else of plain HTTP. 0: any free one.
    pub port: u16,
    /// The name in the relay's URL. Absent: the address that is listened on.
    pub host: Option<String>,
    /// Where the certificate comes from. Absent: plain HTTP, and nobody learns their address here.
    pub tls: Option<RelayTls>,
    /// The nodes that may use it. Empty: all.
    pub only: BTreeSet<NodeId>,
    /// Connections of all nodes at a time.
    pub clients: usize,
    /// Bytes a second that one connection may send in the long run.
    pub bytes_per_second: NonZeroU32,
}

/// A relay's certificate, and the ports that come with it.
#[derive(Debug, Clone)]
pub struct RelayTls {
    /// Where it comes from.
    pub certificate: RelayCertificate,
    /// The UDP port that tells nodes their address. Clients expect [`RelayTls::QUIC_PORT`].
    pub quic_port: u16,
    /// The TCP port of plain HTTP, where nothing but a sign of life is served.
    pub http_port: u16,
}

impl RelayTls {
    /// The UDP port at which every client looks for its address.
    pub const QUIC_PORT: u16 = iroh_relay::defaults::DEFAULT_RELAY_QUIC_PORT;
}

/// Where a relay's certificate comes from.
#[derive(Debug, Clone)]
pub enum RelayCertificate {
    /// PEM files that somebody else renews; they are read again each hour.
    Files {
        /// The chain, the relay's own certificate first.
        chain: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// An authority that speaks ACME, by TLS-ALPN-01: the relay must be reached at port 443 of its name.
    Acme {
        /// The authority's directory. Absent: Let's Encrypt.
        directory: Option<String>,
        /// An e-mail address that hears of trouble.
        contact: String,
        /// Keeps account and certificates from run to run.
        cache: PathBuf,
    },
}

/// A relay could not be started, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The files hold no certificate with its key.
    #[error("reading the certificate {chain} and its key {key}")]
    Certificate {
        /// The chain's file.
        chain: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: Cause,
    },
    /// An authority is asked for a name, and there is none.
    #[error("asking for a certificate: the relay has no name to certify")]
    NoName,
    /// No cipher of the provider can be used.
    #[error("choosing TLS versions")]
    Tls(#[source] Cause),
    /// A socket could not be had.
    #[error("listening on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: Cause,
    },
    /// It stopped though nobody told it to.
    #[error("relaying")]
    Ended(#[source] Cause),
}

/// A running relay. Dropped, it ends.
pub struct Relay {
    server: Server,
    url: String,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Relay {
    /// Listens, and relays from now on.
    ///
    /// # Errors
    /// When a socket or the certificate cannot be had.
    pub async fn start(config: RelayConfig) -> Result<Self, RelayError> {
        let address = SocketAddr::new(config.listen, config.port);
        let plain_port = config.tls.as_ref().map_or(config.port, |tls| tls.http_port);
        let mut served = ServedRelay::new(SocketAddr::new(config.listen, plain_port));
        let mut limits = Limits::default();
        let mut rate = ClientRateLimit::new(config.bytes_per_second);
        // Two seconds at once: a burst of a connection that was idle is no flood.
        rate.max_burst_bytes = Some(config.bytes_per_second.saturating_add(config.bytes_per_second.get()));
        limits.client_rx = Some(rate);
        served.limits = limits;
        served.key_cache_capacity = Some(KEY_CACHE);
        let mut server = ServerConfig::default();
        if let Some(tls) = &config.tls {
            served.tls = Some(TlsConfig::new(address, certificate(tls, config.host.as_deref()).await?));
            server.quic = Some(QuicConfig::new(SocketAddr::new(config.listen, tls.quic_port)));
        }
        served.access = Arc::new(Door {
            only: config.only,
            clients: config.clients,
            inside: Mutex::default(),
        });
        server.relay = Some(served);
        let spawned = Server::spawn(server).await;
        let server = spawned.map_err(|source| RelayError::Listen {
            address,
            source: source.into(),
        })?;
        let (scheme, bound) = match server.https_addr() {
            Some(bound) => ("https", bound),
            None => ("http", server.http_addr().unwrap_or(address)),
        };
        let url = url(scheme, config.host.as_deref(), bound);
        Ok(Self { server, url })
    }

    /// What nodes write into `relays` of their configuration.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until it ends by itself, which is a fault.
    pub async fn ended(&mut self) -> RelayError {
        let why: Cause = match self.server.join().await {
            Ok(Ok(())) => "it was shut down".into(),
            Ok(Err(error)) => error.into(),
            Err(error) => error.into(),
        };
        RelayError::Ended(why)
    }

    /// Closes all connections, and ends.
    ///
    /// # Errors
    /// When a task of it had failed.
    pub async fn shutdown(self) -> Result<(), RelayError> {
        let ended = self.server.shutdown().await;
        ended.map_err(|error| RelayError::Ended(error.into()))
    }
}

/// The URL that reaches `bound`, without a port where it is the scheme's own.
fn url(scheme: &str, host: Option<&str>, bound: SocketAddr) -> String {
    let host = host.map_or_else(
        || match bound.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        },
        str::to_owned,
    );
    match (scheme, bound.port()) {
        ("https", 443) | ("http", 80) => format!("{scheme}://{host}/"),
        (_, port) => format!("{scheme}://{host}:{port}/"),
    }
}

async fn certificate(tls: &RelayTls, host: Option<&str>) -> Result<CertConfig, RelayError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder
        .map_err(|error| RelayError::Tls(error.into()))?
        .with_no_client_auth();
    match &tls.certificate {
        RelayCertificate::Files { chain, key } => {
            let resolver = reloading_resolver(&provider, chain.clone(), key.clone(), RELOAD).await;
            let resolver = resolver.map_err(|source| RelayError::Certificate {
                chain: chain.clone(),
                key: key.clone(),
                source: source.into(),
            })?;
            Ok(CertConfig::Manual {
                server_config: builder.with_cert_resolver(resolver),
            })
        }
        RelayCertificate::Acme {
            directory,
            contact,
            cache,
        } => {
            let host = host.ok_or(RelayError::NoName)?;
            let authority = directory.clone().map(AcmeConfig::new);
            let acme_config = authority
                .unwrap_or_else(|| AcmeConfig::letsencrypt(true))
                .domains(vec![host.to_owned()])
                .contact(vec![format!("mailto:{contact}")])
                .cache_path(cache.clone());
            Ok(CertConfig::LetsEncrypt {
                acme_config,
                server_config_builder: builder,
            })
        }
    }
}

/// Who may come in, and how many are inside.
#[derive(Debug)]
struct Door {
    only: BTreeSet<NodeId>,
    clients: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    all: usize,
    of: HashMap<NodeId, usize>,
}

impl Door {
    fn enter(&self, node: NodeId) -> Result<(), &'static str> {
        if !self.only.is_empty() && !self.only.contains(&node) {
            return Err("this relay is for nodes that it names");
        }
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.all >= self.clients {
            return Err("this relay is full");
        }
        let of = inside.of.entry(node).or_default();
        if *of >= CONNECTIONS_OF_ONE {
            return Err("this node has enough connections here");
        }
        *of += 1;
        inside.all += 1;
        Ok(())
    }

    fn leave(&self, node: NodeId) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(of) = inside.of.get_mut(&node) else { return };
        *of -= 1;
        if *of == 0 {
            inside.of.remove(&node);
        }
        inside.all -= 1;
    }
}

impl AccessControl for Door {
    async fn on_connect(&self, request: &ClientRequest) -> Access {
        match self.enter(node_id(request.endpoint_id())) {
            Ok(()) => Access::Allow,
            Err(reason) => Access::Deny {
                reason: Some(reason.to_owned()),
            },
        }
    }

    fn on_disconnect(&self, endpoint_id: EndpointId, _: ConnectionId) {
        self.leave(node_id(endpoint_id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(only: &[u8], clients: usize) -> Door {
        Door {
            only: only.iter().map(|first| NodeId([*first; 32])).collect(),
            clients,
            inside: Mutex::default(),
        }
    }

    #[test]
    fn a_full_relay_lets_nobody_in_until_somebody_left() {
        let door = door(&[], 2);
        let [a, b, c] = [1, 2, 3].map(|first| NodeId([first; 32]));
        assert_eq!(door.enter(a), Ok(()));
        assert_eq!(door.enter(b), Ok(()));
        assert_eq!(door.enter(c), Err("this relay is full"));
        door.leave(a);
        assert_eq!(door.enter(c), Ok(()));
        assert_eq!(door.inside.lock().unwrap().of.len(), 2, "who left is forgotten");
    }

    #[test]
    fn one_node_cannot_take_every_place() {
        let door = door(&[], 100);
        let node = NodeId([1; 32]);
        for _ in 0..CONNECTIONS_OF_ONE {
            assert_eq!(door.enter(node), Ok(()));
        }
        assert_eq!(door.enter(node), Err("this node has enough connections here"));
        assert_eq!(door.enter(NodeId([2; 32])), Ok(()));
    }

    #[test]
    fn a_relay_for_named_nodes_lets_in_no_other() {
        let door = door(&[1], 100);
        assert_eq!(door.enter(NodeId([1; 32])), Ok(()));
        assert_eq!(
            door.enter(NodeId([2; 32])),
            Err("this relay is for nodes that it names")
        );
    }

    #[test]
    fn a_url_names_the_port_only_where_it_is_not_the_schemes_own() {
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        assert_eq!(url("https", Some("relay.example"), at(443)), "https://relay.example/");
        assert_eq!(url("http", None, at(80)), "http://192.0.2.1/");
        assert_eq!(url("https", None, at(80)), "https://192.0.2.1:80/");
        let six = SocketAddr::new("2001:db8::1".parse().unwrap(), 8443);
        assert_eq!(url("https", None, six), "https://[2001:db8::1]:8443/");
    }
}

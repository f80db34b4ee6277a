//! The endpoint itself: its sockets, its protocols and how much a connection may hold.

use crate::{config::NetConfig, connections::Cause, offers::GossipConnections, peers::Peers, wire::CALLS_ALPN};
use iroh::{
    Endpoint, NetReportConfig, RelayMode, RelayUrl, SecretKey,
    endpoint::{IdleTimeout, PortmapperConfig, QuicTransportConfig, VarInt, presets},
};
use iroh_gossip::net::GOSSIP_ALPN;
use iroh_relay::tls::CaTlsConfig;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// Streams that a peer may have open at a time on one connection. A blob fetch or a log takes one each.
const STREAMS: u32 = 32;
/// What a peer may send on one stream, and on one connection, before we have read it. Requests are small.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same on a stream that brings a blob. The library closes a connection with more than 1,024 gaps in one stream; two
/// packets of 1,200 bytes make a gap, so this window can hold only 873. A larger one dies of honest packet loss.
const FETCH_STREAM_WINDOW: u32 = 2 * 1024 * 1024;
pub(crate) const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// The same on connections that we fetch blobs over: eight streams that are all behind.
pub(crate) const FETCH_WINDOW: u32 = 16 * 1024 * 1024;
/// What may be on its way to a peer, unacknowledged, on one connection: 100 ms at 640 Mbit/s.
const SEND_WINDOW: u64 = 8 * 1024 * 1024;
/// A connection is dead after so long without a packet.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// The endpoint could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartNetError {
    /// The blob store could not be opened; another daemon may be using it.
    #[error("opening the blob store in {path}")]
    Store {
        /// Its folder.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// A relay's URL is none.
    #[error("reading the relay {url:?}")]
    Relay {
        /// The text.
        url: String,
        /// Why.
        source: Cause,
    },
    /// The relays' authority cannot be read.
    #[error("reading the relays' authority in {path}")]
    RelayAuthority {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// An address cannot be listened on.
    #[error("listening on {address}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: Cause,
    },
    /// The sockets could not be had.
    #[error("listening on {addresses:?}")]
    Bind {
        /// The addresses.
        addresses: Vec<SocketAddr>,
        /// Why.
        source: Cause,
    },
}

/// An endpoint that contacts nobody by itself: no public relay, no publishing, no address lookup but what peers told.
pub(crate) async fn bind(
    config: &NetConfig,
    peers: &Peers,
    gossip: GossipConnections,
) -> Result<Endpoint, StartNetError> {
    let mut relays = Vec::new();
    for url in &config.relays {
        let parsed: Result<RelayUrl, _> = url.parse();
        relays.push(parsed.map_err(|source| StartNetError::Relay {
            url: url.clone(),
            source: source.into(),
        })?);
    }
    let relays = if relays.is_empty() {
        RelayMode::Disabled
    } else {
        RelayMode::custom(relays)
    };
    // Asks the configured relays only; without one there is nobody to ask.
    let mut report = NetReportConfig::minimal();
    report.https_probes = !config.relays.is_empty();
    let mut builder = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(&config.secret))
        .alpns(vec![
            CALLS_ALPN.to_vec(),
            iroh_blobs::ALPN.to_vec(),
            GOSSIP_ALPN.to_vec(),
        ])
        .relay_mode(relays)
        .ca_tls_config(authorities(config.relay_authority.as_deref())?)
        .transport_config(transport(CONNECTION_WINDOW))
        .portmapper_config(PortmapperConfig::Disabled)
        .net_report_config(report)
        .address_lookup(peers.lookup())
        .hooks(gossip)
        .clear_ip_transports();
    for address in &config.bind {
        let bound = builder.bind_addr(*address);
        builder = bound.map_err(|source| StartNetError::Address {
            address: *address,
            source: source.into(),
        })?;
    }
    for address in &config.advertise {
        builder = builder.external_addr(*address);
    }
    let bound = builder.bind().await;
    bound.map_err(|source| StartNetError::Bind {
        addresses: config.bind.clone(),
        source: source.into(),
    })
}

/// Whose certificates relays may have: the world's authorities, and the one that the configuration names.
fn authorities(file: Option<&Path>) -> Result<CaTlsConfig, StartNetError> {
    let Some(path) = file else {
        return Ok(CaTlsConfig::embedded());
    };
    let refused = |source: Cause| StartNetError::RelayAuthority {
        path: path.to_owned(),
        source,
    };
    let found = CertificateDer::pem_file_iter(path).map_err(|error| refused(error.into()))?;
    let roots = found.collect::<Result<Vec<_>, _>>();
    let roots = roots.map_err(|error| refused(error.into()))?;
    if roots.is_empty() {
        return Err(refused("there is no certificate in it".into()));
    }
    Ok(CaTlsConfig::embedded().with_extra_roots(roots))
}

/// Transport settings with `window` for what a peer may send ahead on one connection.
pub(crate) fn transport(window: u32) -> QuicTransportConfig {
    let stream_window = if window > CONNECTION_WINDOW {
        FETCH_STREAM_WINDOW
    } else {
        STREAM_WINDOW
    };
    QuicTransportConfig::builder()
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .stream_receive_window(VarInt::from_u32(stream_window))
        .receive_window(VarInt::from_u32(window))
        .send_window(SEND_WINDOW)
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok())
        .build()
}

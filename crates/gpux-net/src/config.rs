//! What a peer endpoint is given at its start, and the bounds that it keeps.
//!
//! The daemon fills this in; nothing here reads files or the environment.

use crate::ticket::PeerTicket;
use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

/// Everything that [`Net::start`](crate::Net::start) needs.
#[derive(Clone)]
pub struct NetConfig {
    /// The endpoint's secret key (ed25519). Its public key is the node id.
    pub secret: [u8; 32],
    /// Where the blob store lives. Created when it is not there; one process at a time.
    pub data_dir: PathBuf,
    /// The sockets to listen on, at most one default route per address family; port 0 draws a free port.
    pub bind: Vec<SocketAddr>,
    /// Addresses to tell peers besides those found, such as a forwarded port of a router.
    pub advertise: Vec<SocketAddr>,
    /// Relays to be reachable through, as URLs. Empty: none. No server is ever contacted that is not named here.
    pub relays: Vec<String>,
    /// A PEM file with the authority that signed the relays' certificates, besides the world's. Absent: only those.
    pub relay_authority: Option<PathBuf>,
    /// The market: nodes hear the offers of their own topic only. A hash of chain and escrow.
    pub topic: [u8; 32],
    /// Peers to join the market through: tickets from people, the directory, or remembered from last time.
    pub bootstrap: Vec<PeerTicket>,
    /// How much peers may cost us.
    pub limits: Limits,
}

impl fmt::Debug for NetConfig {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetConfig")
            .field("data_dir", &self.data_dir)
            .field("bind", &self.bind)
            .field("relays", &self.relays)
            .field("bootstrap", &self.bootstrap)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Bounds on time and memory. The defaults suit a home machine; every one can be set.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most incoming connections at a time, of all protocols. One costs some tens of KiB.
    pub connections: usize,
    /// The most incoming connections of one node at a time. A peer needs one for each of gossip, calls and blobs, and a
    /// second of each while it replaces a broken one.
    pub connections_per_peer: usize,
    /// The most calls that are being answered at a time; above it callers hear "too many".
    pub calls: usize,
    /// Calls per second that one node may make in the long run, over all its connections; ten times that in a burst.
    pub calls_per_second: u32,
    /// How long a caller waits for an answer, dialling included.
    pub call_timeout: Duration,
    /// How long an answer may take before the caller is told of an internal error.
    pub answer_timeout: Duration,
    /// The most blob transfers to peers at a time; more wait in their streams.
    pub blob_uploads: usize,
    /// The most blob transfers from peers at a time; more wait.
    pub blob_downloads: usize,
    /// How long a transfer may bring nothing before it is given up and the next peer asked.
    pub blob_stall: Duration,
    /// How often blobs that nobody keeps are deleted.
    pub collect_interval: Duration,
    /// The most bytes that are kept of what nodes sent for their leases, for their next ones; with those that were let go and are
    /// not deleted yet. 0: nothing is kept.
    pub cache_bytes: u64,
    /// After how long without use it goes.
    pub cache_age: Duration,
    /// The most offers that are remembered; at about 2 KiB each. When there are more, one of a
    /// node that was never called gives way by lot.
    pub offers: usize,
    /// Offers that one node may announce per minute in the long run; a quarter of that in a burst.
    pub offers_per_minute: u32,
    /// Gossip messages per second that one neighbour may deliver in the long run; four times that in a burst. Bounds
    /// the time spent on checking signatures.
    pub gossip_per_second: u32,
    /// How often the gossip is asked for a sign of life, and how long it may take before its connections are made anew.
    pub gossip_probe: Duration,
    /// The most peers whose addresses are remembered, besides those with a live offer.
    pub peers: usize,
    /// How long a kept connection may be unused before it is closed.
    pub idle_connection: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            connections_per_peer: 8,
            calls: 256,
            calls_per_second: 50,
            call_timeout: Duration::from_secs(15),
            answer_timeout: Duration::from_secs(30),
            blob_uploads: 64,
            blob_downloads: 8,
            blob_stall: Duration::from_secs(20),
            collect_interval: Duration::from_secs(300),
            cache_bytes: 4 << 30,
            cache_age: Duration::from_secs(7 * 24 * 3_600),
            offers: 16_384,
            offers_per_minute: 30,
            gossip_per_second: 500,
            gossip_probe: Duration::from_secs(5),
            peers: 256,
            idle_connection: Duration::from_secs(120),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_never_prints_its_secret() {
        let config = NetConfig {
            secret: [0xab; 32],
            data_dir: "/nowhere".into(),
            bind: Vec::new(),
            advertise: Vec::new(),
            relays: Vec::new(),
            relay_authority: None,
            topic: [0; 32],
            bootstrap: Vec::new(),
            limits: Limits::default(),
        };
        let text = format!("{config:?}").to_lowercase();
        assert!(
            !text.contains("171") && !text.contains("abab") && !text.contains("secret"),
            "{text}"
        );
    }
}

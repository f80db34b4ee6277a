//! The peer adapter: everything that GPUX knows of the network between nodes.
//!
//! One endpoint (QUIC, a node id that is a key) carries three protocols: gossip for announcements of offers, calls with
//! bounded messages, and blobs. [`Net`] is the handle; the daemon gives a [`CallHandler`] and gets offers, answers, logs
//! and files. Only this crate knows the peer library; it knows nothing of leases' rules, of chains or of containers.
//!
//! ```text
//!  daemon ──Net──► offers task ──► gossip ───────────┐
//!                  calls client ─► kept connections ─┤ endpoint ◄──► peers
//!                  blob fetches ─► kept connections ─┤
//!  daemon ◄─CallHandler── calls server ◄─┐           │
//!                         blob server ◄──┴ accept ◄──┘
//! ```
//!
//! Invariants: a peer's bytes never panic here and never make us hold more than a stated bound; a peer that is refused
//! hears a code and a safe sentence; nobody but the configured peers and relays is ever contacted first.
#![forbid(unsafe_code)]

mod accept;
mod blobs;
mod bucket;
mod calls;
mod config;
mod connections;
mod endpoint;
mod net;
mod offers;
mod peers;
mod relay;
mod seam;
mod stats;
mod ticket;
mod wire;

pub use blobs::{
    AddInputError, AddMode, BlobRef, ExportMode, FetchError, Givers, Keeper, PeerFetchError, ScanError, ScannedFolder,
    StoreError, WriteFolderError, add_folder, add_steady_file, write_folder,
};
pub use calls::{CallError, CallHandler, LogSink, LogsClosed, Retry};
pub use config::{Limits, NetConfig};
pub use connections::PeerPath;
pub use endpoint::StartNetError;
pub use net::Net;
pub use offers::{HeardOffer, OfferEvent, OfferFeed, PublishOfferError};
pub use relay::{Relay, RelayCertificate, RelayConfig, RelayError, RelayTls};
pub use seam::{LogStream, PeerNet};
pub use stats::NetStats;
pub use ticket::{ParseTicketError, PeerTicket};

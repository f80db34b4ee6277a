//! A relay for nodes that cannot reach each other.

use clap::Args;
use gpux_types::{ByteSize, NodeId};
use std::{net::IpAddr, path::PathBuf};

#[derive(Debug, Args)]
pub(crate) struct RelayArgs {
    /// The address to listen on
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    pub(crate) listen: IpAddr,
    /// The TCP port that nodes call [default: 443 with a certificate, else 80]
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// The name that nodes reach it by [default: the address that is listened on]
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// A PEM file with the certificate and its chain; read again each hour
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// A PEM file with the certificate's key
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Get a certificate for the name from Let's Encrypt, with this e-mail address; needs port 443
    #[arg(long, value_name = "EMAIL", requires_all = ["host", "acme_dir"], conflicts_with = "cert")]
    pub(crate) acme: Option<String>,
    /// Where the account and the certificate are kept
    #[arg(long, value_name = "DIR", requires = "acme")]
    pub(crate) acme_dir: Option<PathBuf>,
    /// Another authority's ACME directory
    #[arg(long, value_name = "URL", requires = "acme")]
    pub(crate) acme_directory: Option<String>,
    /// The TCP port of plain HTTP beside a certificate
    #[arg(long, value_name = "PORT", default_value_t = 80)]
    pub(crate) http_port: u16,
    /// Only for this node; may be given again [default: for all]
    #[arg(long, value_name = "NODE")]
    pub(crate) only: Vec<NodeId>,
    /// Connections at a time, of all nodes
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    pub(crate) max_clients: usize,
    /// What one connection may send, a second
    #[arg(long, value_name = "SIZE", default_value = "4MiB", value_parser = rate)]
    pub(crate) rate: std::num::NonZeroU32,
    /// More of what happens in its log (-vv for all)
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

fn rate(text: &str) -> Result<std::num::NonZeroU32, String> {
    let size: ByteSize = text
        .parse()
        .map_err(|error: gpux_types::ParseResourceError| error.to_string())?;
    u32::try_from(size.0)
        .ok()
        .and_then(std::num::NonZeroU32::new)
        .ok_or_else(|| "expected a size from 1 byte to below 4GiB".to_owned())
}

pub(super) const RELAY: &str = "\
Examples:
  gpux relay --host relay.example --acme you@relay.example --acme-dir /var/lib/gpux-relay
  gpux relay --host relay.example --cert chain.pem --key key.pem
  gpux relay --listen 127.0.0.1 --port 8080    plain HTTP, for tests";

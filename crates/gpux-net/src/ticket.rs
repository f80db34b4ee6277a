//! Peer tickets: how to reach a node, in one line of text.
//!
//! Tickets travel between people (bootstrap), inside calls (a renter's ticket) and into the daemon's memory of peers.
//! Whoever reads one believes nothing but the node id: the handshake proves that, the addresses are only tried.

use gpux_proto::{MAX_NODE_ADDRESSES, MAX_NODE_RELAY_BYTES, NodeAddress};
use gpux_types::{NodeId, ParseIdError};
use iroh::{EndpointAddr, EndpointId, RelayUrl, TransportAddr};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// The most addresses in one ticket. A node has a few per network interface; more are cut when printed and refused when
/// read, because every address costs a dialler packets.
pub(crate) const MAX_ADDRESSES: usize = MAX_NODE_ADDRESSES;
/// The longest text of a relay's URL, in bytes.
const MAX_RELAY_BYTES: usize = MAX_NODE_RELAY_BYTES;
/// The longest text that is read as a ticket, in bytes: id, addresses and relay at their longest.
const MAX_TICKET_BYTES: usize = 1_500;

/// A node's id and where it may be reached.
///
/// As text: `<node id>@<address>,<address>,<relay URL>`, for example `8f…@192.0.2.7:4433,[2001:db8::7]:4433`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerTicket {
    /// The node: its endpoint's public key.
    pub node: NodeId,
    /// Socket addresses to try.
    pub addresses: Vec<SocketAddr>,
    /// A relay that forwards to the node, as a URL.
    pub relay: Option<String>,
}

/// A text that is not a peer ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTicketError {
    /// Longer than any ticket.
    #[error("reading a peer ticket of {got} bytes: the limit is {MAX_TICKET_BYTES}")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// The part before `@` is no node id.
    #[error("reading the node id of a peer ticket")]
    Node(#[from] ParseIdError),
    /// The node id is not a point of the curve, so no node can have it.
    #[error("reading a peer ticket: {0} is no public key")]
    NotAKey(NodeId),
    /// A part after `@` is neither a socket address nor a relay's URL.
    #[error("reading a peer ticket: {0:?} is neither an address such as 192.0.2.7:4433 nor a relay URL")]
    Address(String),
    /// Nothing in it can be dialled.
    #[error("reading how to reach {0}: there is no address to dial")]
    Nowhere(NodeId),
    /// More addresses than anybody should dial.
    #[error("reading a peer ticket with {got} addresses: the limit is {MAX_ADDRESSES}")]
    TooMany {
        /// How many.
        got: usize,
    },
}

impl PeerTicket {
    /// What the endpoint library needs to dial this node, or `None` when the node id is no public key.
    pub(crate) fn endpoint_addr(&self) -> Option<EndpointAddr> {
        let relay = self.relay.as_deref().and_then(|url| url.parse::<RelayUrl>().ok());
        let addresses = self
            .addresses
            .iter()
            .take(MAX_ADDRESSES)
            .copied()
            .map(TransportAddr::Ip);
        let parts = addresses.chain(relay.map(TransportAddr::Relay));
        Some(EndpointAddr::from_parts(endpoint_id(self.node)?, parts))
    }

    /// The ticket of a node by what somebody announced of it. Addresses that cannot be dialled are left out.
    ///
    /// # Errors
    /// When the node id is no public key, the relay no relay's URL, or nothing is left to dial.
    pub fn announced(node: NodeId, address: &NodeAddress) -> Result<Self, ParseTicketError> {
        endpoint_id(node).ok_or(ParseTicketError::NotAKey(node))?;
        if let Some(relay) = address.relay.as_deref().filter(|relay| !is_relay(relay)) {
            let shown = gpux_types::shown(relay, 80);
            return Err(ParseTicketError::Address(shown));
        }
        let addresses = address
            .addresses
            .iter()
            .filter(|addr| can_be_dialled(addr))
            .take(MAX_ADDRESSES);
        let ticket = Self {
            node,
            addresses: addresses.copied().collect(),
            relay: address.relay.clone(),
        };
        if ticket.addresses.is_empty() && ticket.relay.is_none() {
            return Err(ParseTicketError::Nowhere(node));
        }
        Ok(ticket)
    }

    /// What to announce so that strangers reach this node: every address that is the world's, and the relay; those of
    /// this machine and its own network only when there is nothing else.
    #[must_use]
    pub fn to_announce(&self) -> NodeAddress {
        let mut addresses: Vec<SocketAddr> = self.addresses.iter().copied().filter(is_public).collect();
        if addresses.is_empty() && self.relay.is_none() {
            addresses.clone_from(&self.addresses);
        }
        // In an order of their own: the same addresses are the same bytes.
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MAX_ADDRESSES);
        NodeAddress {
            addresses,
            relay: self.relay.clone(),
        }
    }

    /// The ticket of an endpoint's own address; bind addresses stand in while the endpoint has not looked around yet.
    pub(crate) fn of_endpoint(endpoint: &iroh::Endpoint) -> Self {
        let addr = endpoint.addr();
        let mut addresses: Vec<_> = addr.ip_addrs().copied().collect();
        if addresses.is_empty() {
            addresses = endpoint
                .bound_sockets()
                .into_iter()
                .filter(|a| !a.ip().is_unspecified())
                .collect();
        }
        addresses.truncate(MAX_ADDRESSES);
        Self {
            node: node_id(addr.id),
            addresses,
            relay: addr.relay_urls().next().map(ToString::to_string),
        }
    }
}

/// The library's form of a node id, or `None` when the bytes are no public key.
pub(crate) fn endpoint_id(node: NodeId) -> Option<EndpointId> {
    EndpointId::from_bytes(node.as_bytes()).ok()
}

/// Our form of the library's endpoint id.
pub(crate) fn node_id(id: EndpointId) -> NodeId {
    NodeId(*id.as_bytes())
}

impl fmt::Display for PeerTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.node)?;
        let addresses = self.addresses.iter().take(MAX_ADDRESSES).map(ToString::to_string);
        for (index, part) in addresses.chain(self.relay.clone()).enumerate() {
            write!(f, "{}{part}", if index == 0 { '@' } else { ',' })?;
        }
        Ok(())
    }
}

impl FromStr for PeerTicket {
    type Err = ParseTicketError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.len() > MAX_TICKET_BYTES {
            return Err(ParseTicketError::TooLong { got: text.len() });
        }
        let (node, parts) = text.split_once('@').unwrap_or((text, ""));
        let node: NodeId = node.parse()?;
        endpoint_id(node).ok_or(ParseTicketError::NotAKey(node))?;
        let mut ticket = Self {
            node,
            addresses: Vec::new(),
            relay: None,
        };
        for part in parts.split(',').filter(|part| !part.is_empty()) {
            if let Ok(address) = part.parse() {
                ticket.addresses.push(address);
            } else if ticket.relay.is_none() && is_relay(part) {
                ticket.relay = Some(part.to_owned());
            } else {
                return Err(ParseTicketError::Address(part.chars().take(80).collect()));
            }
        }
        if ticket.addresses.len() > MAX_ADDRESSES {
            return Err(ParseTicketError::TooMany {
                got: ticket.addresses.len(),
            });
        }
        Ok(ticket)
    }
}

/// Whether the address is one node's. What reaches many, or only neighbours on one cable, is no stranger's to name.
fn can_be_dialled(address: &SocketAddr) -> bool {
    let one_node = match address.ip().to_canonical() {
        IpAddr::V4(ip) => !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() || ip.is_link_local()),
        IpAddr::V6(ip) => !(ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local()),
    };
    one_node && address.port() > 0
}

/// Whether strangers may reach the address: not this machine's, nor its own network's. An IPv4 address in the clothes of IPv6
/// is judged as what it is.
fn is_public(address: &SocketAddr) -> bool {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            // 100.64.0.0/10 is shared behind carriers' NAT.
            let shared = ip.octets().first() == Some(&100) && ip.octets().get(1).is_some_and(|two| two & 0xc0 == 64);
            !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified() || shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified())
        }
    }
}

/// Whether `text` is a relay's URL that is short enough to pass on.
pub(crate) fn is_relay(text: &str) -> bool {
    let scheme = text.starts_with("https://") || text.starts_with("http://");
    scheme && text.len() <= MAX_RELAY_BYTES && text.parse::<RelayUrl>().is_ok()
}

impl serde::Serialize for PeerTicket {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for PeerTicket {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeId {
        node_id(iroh::SecretKey::from_bytes(&[7; 32]).public())
    }

    #[test]
    fn a_ticket_reads_back_what_it_printed() {
        let ticket = PeerTicket {
            node: node(),
            addresses: vec!["127.0.0.1:4433".parse().unwrap(), "[::1]:4433".parse().unwrap()],
            relay: Some("https://relay.example/".into()),
        };
        assert_eq!(ticket.to_string().parse::<PeerTicket>().unwrap(), ticket);
        let bare = PeerTicket {
            node: node(),
            addresses: Vec::new(),
            relay: None,
        };
        assert_eq!(bare.to_string().parse::<PeerTicket>().unwrap(), bare);
    }

    #[test]
    fn strangers_are_told_addresses_of_the_world_and_others_only_when_there_is_nothing_else() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let mut ticket = PeerTicket {
            node: node(),
            addresses: [
                "192.168.1.7:4433",
                "[2001:db8::7]:4433",
                "127.0.0.1:4433",
                "100.64.9.9:1",
                "8.8.8.8:4433",
                "[::ffff:10.0.0.7]:4433",
                "[fe80::7]:4433",
            ]
            .map(at)
            .to_vec(),
            relay: None,
        };
        let told = ticket.to_announce();
        assert_eq!(told.addresses, [at("8.8.8.8:4433"), at("[2001:db8::7]:4433")]);
        assert_eq!(PeerTicket::announced(node(), &told).unwrap().addresses, told.addresses);
        ticket.addresses = vec![at("192.168.1.7:4433"), at("127.0.0.1:4433")];
        assert_eq!(ticket.to_announce().addresses.len(), 2);
        ticket.relay = Some("https://relay.example/".into());
        assert!(ticket.to_announce().addresses.is_empty());
    }

    #[test]
    fn an_announced_address_that_nobody_can_dial_is_refused() {
        let address = |addresses: &[&str], relay: Option<&str>| NodeAddress {
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            relay: relay.map(str::to_owned),
        };
        let nowhere = address(
            &[
                "0.0.0.0:1",
                "224.0.0.1:5",
                "127.0.0.1:0",
                "255.255.255.255:1",
                "169.254.169.254:80",
                "[::ffff:169.254.169.254]:80",
                "[fe80::1]:1",
            ],
            None,
        );
        assert_eq!(
            PeerTicket::announced(node(), &nowhere),
            Err(ParseTicketError::Nowhere(node()))
        );
        let no_relay = address(&["127.0.0.1:1"], Some("ftp://\u{7}relay"));
        assert_eq!(
            PeerTicket::announced(node(), &no_relay),
            Err(ParseTicketError::Address("ftp://relay".into()))
        );
        let mut no_key = [0; 32];
        no_key[0] = 2;
        let no_key = NodeId(no_key);
        assert_eq!(
            PeerTicket::announced(no_key, &address(&["127.0.0.1:1"], None)),
            Err(ParseTicketError::NotAKey(no_key))
        );
    }

    #[test]
    fn a_wrong_ticket_is_refused_by_its_wrong_part() {
        let id = node().to_string();
        assert!(matches!(
            "zz@127.0.0.1:1".parse::<PeerTicket>(),
            Err(ParseTicketError::Node(_))
        ));
        assert!(
            matches!(format!("{id}@nowhere").parse::<PeerTicket>(), Err(ParseTicketError::Address(part)) if part == "nowhere")
        );
        let many = (1..=17)
            .map(|port| format!("127.0.0.1:{port}"))
            .collect::<Vec<_>>()
            .join(",");
        assert!(matches!(
            format!("{id}@{many}").parse::<PeerTicket>(),
            Err(ParseTicketError::TooMany { got: 17 })
        ));
        let no_key = format!("02{}", "0".repeat(62));
        assert!(matches!(
            no_key.parse::<PeerTicket>(),
            Err(ParseTicketError::NotAKey(_))
        ));
        assert!(matches!(
            "a".repeat(2_000).parse::<PeerTicket>(),
            Err(ParseTicketError::TooLong { got: 2_000 })
        ));
    }
}

//! A router that translates addresses, started by tests inside of a network namespace:
//! `gpux-e2e-nat KIND INSIDE OUTSIDE`, where INSIDE is the address of the one host behind it and OUTSIDE its own.
//!
//! It translates UDP over IPv4 in exactly one of the ways of RFC 4787 (4.1 and 5), which Linux's own translation cannot be told
//! to do: that one decides by free ports, and always filters by address and port. The kernel of the namespace must forward and
//! answer no UDP itself. No mapping ends while it runs (REQ-5 asks for two minutes at least), ports are not preserved, and
//! nothing is hairpinned: one host behind each router has nobody to call that way. Pieces of packets are dropped.
#![forbid(unsafe_code)]

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, eth, ipproto, recv, sendto, socket_with, sockopt,
};
use std::{
    collections::{HashMap, HashSet},
    error::Error,
    net::{Ipv4Addr, SocketAddrV4},
    process::ExitCode,
};

/// The bytes of a UDP header.
const UDP_HEADER: usize = 8;
/// The number of UDP in an IP header.
const UDP: u8 = 17;
/// Packets that wait while this process is not on a core.
const WAITING_BYTES: usize = 8 << 20;
/// The first port that is given out, and how many there are.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 40_000;
/// From one port to the next: a prime, so that all are used, and neighbours are far from each other as random ones.
const STRIDE: u16 = 7_919;

/// How a router translates: its mapping and its filtering, in the words of RFC 4787.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Endpoint-independent mapping, endpoint-independent filtering ("full cone").
    EndpointIndependent,
    /// Endpoint-independent mapping, address-dependent filtering ("restricted cone").
    AddressDependent,
    /// Endpoint-independent mapping, address-and-port-dependent filtering ("port restricted cone").
    AddressAndPortDependent,
    /// Address-and-port-dependent mapping, address-and-port-dependent filtering ("symmetric").
    Symmetric,
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "endpoint-independent" => Some(Self::EndpointIndependent),
            "address-dependent" => Some(Self::AddressDependent),
            "address-and-port-dependent" => Some(Self::AddressAndPortDependent),
            "symmetric" => Some(Self::Symmetric),
            _ => None,
        }
    }
}

/// An outside port, whose it is, and whom its owner has spoken to through it.
#[derive(Debug)]
struct Mapping {
    inside: SocketAddrV4,
    spoken_to: HashSet<SocketAddrV4>,
}

/// The state of a router: pure, so that its kinds can be tested.
#[derive(Debug)]
struct Nat {
    kind: Kind,
    /// By who speaks and, where mappings depend on it, to whom.
    ports: HashMap<(SocketAddrV4, Option<SocketAddrV4>), u16>,
    mappings: HashMap<u16, Mapping>,
    drawn: u16,
}

impl Nat {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            ports: HashMap::new(),
            mappings: HashMap::new(),
            drawn: 0,
        }
    }

    /// From which outside port a packet of `inside` to `to` leaves. `None` when all are taken.
    fn outward(&mut self, inside: SocketAddrV4, to: SocketAddrV4) -> Option<u16> {
        let key = (inside, (self.kind == Kind::Symmetric).then_some(to));
        let port = match self.ports.get(&key) {
            Some(port) => *port,
            None => {
                let port = self.draw()?;
                self.ports.insert(key, port);
                port
            }
        };
        let mapping = self.mappings.entry(port).or_insert_with(|| Mapping {
            inside,
            spoken_to: HashSet::new(),
        });
        mapping.spoken_to.insert(to);
        Some(port)
    }

    /// To whom a packet of `from` that came to the outside `port` goes. `None`: it is filtered.
    fn inward(&self, from: SocketAddrV4, port: u16) -> Option<SocketAddrV4> {
        let mapping = self.mappings.get(&port)?;
        let passes = match self.kind {
            Kind::EndpointIndependent => true,
            Kind::AddressDependent => mapping.spoken_to.iter().any(|to| to.ip() == from.ip()),
            Kind::AddressAndPortDependent | Kind::Symmetric => mapping.spoken_to.contains(&from),
        };
        passes.then_some(mapping.inside)
    }

    fn draw(&mut self) -> Option<u16> {
        for _ in 0..PORTS {
            self.drawn = u16::try_from((u32::from(self.drawn) + u32::from(STRIDE)) % u32::from(PORTS)).ok()?;
            let port = FIRST_PORT + self.drawn;
            if !self.mappings.contains_key(&port) {
                return Some(port);
            }
        }
        None
    }
}

/// A whole UDP packet and where its parts begin.
#[derive(Debug)]
struct Packet<'a> {
    bytes: &'a mut [u8],
    /// Where the UDP header begins.
    udp: usize,
}

impl<'a> Packet<'a> {
    /// `None`: not UDP over IPv4, a piece of a packet, or cut.
    fn read(bytes: &'a mut [u8]) -> Option<Self> {
        let first = *bytes.first()?;
        let udp = usize::from(first & 15) * 4;
        let total = usize::from(u16_at(bytes, 2)?);
        let is_piece = u16_at(bytes, 6)? & 0x3fff != 0;
        if first >> 4 != 4 || udp < 20 || total < udp + UDP_HEADER || is_piece || *bytes.get(9)? != UDP {
            return None;
        }
        // What comes behind is the link's padding.
        let bytes = bytes.get_mut(..total)?;
        Some(Self { bytes, udp })
    }

    fn from(&self) -> Option<SocketAddrV4> {
        Some(SocketAddrV4::new(ip_at(self.bytes, 12)?, u16_at(self.bytes, self.udp)?))
    }

    fn to(&self) -> Option<SocketAddrV4> {
        Some(SocketAddrV4::new(
            ip_at(self.bytes, 16)?,
            u16_at(self.bytes, self.udp + 2)?,
        ))
    }

    fn set_from(&mut self, from: SocketAddrV4) -> Option<()> {
        let udp = self.udp;
        self.put(12, &from.ip().octets())?;
        self.put(udp, &from.port().to_be_bytes())
    }

    fn set_to(&mut self, to: SocketAddrV4) -> Option<()> {
        let udp = self.udp;
        self.put(16, &to.ip().octets())?;
        self.put(udp + 2, &to.port().to_be_bytes())
    }

    /// One hop more, and a checksum that is whole: what a network card would have filled in is not there yet. The kernel fills
    /// in the header's own.
    fn finish(&mut self) -> Option<()> {
        let hops = self.bytes.get_mut(8)?;
        *hops = hops.checked_sub(1).filter(|hops| *hops > 0)?;
        let udp = self.udp;
        self.put(udp + 6, &[0, 0])?;
        let length = u32::try_from(self.bytes.len() - udp).ok()?;
        let sum = sum(self.bytes.get(12..20)?) + u32::from(UDP) + length + sum(self.bytes.get(udp..)?);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        let check = !u16::try_from(sum & 0xffff).ok()?;
        self.put(udp + 6, &if check == 0 { u16::MAX } else { check }.to_be_bytes())
    }

    fn put(&mut self, at: usize, value: &[u8]) -> Option<()> {
        self.bytes.get_mut(at..at + value.len())?.copy_from_slice(value);
        Some(())
    }
}

/// The sum of the 16-bit words. It cannot overflow: a packet has at most 32,768 of them.
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(u16::from_be_bytes([*high, 0])),
        _ => 0,
    });
    words.sum()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn ip_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(octets.into())
}

/// Rewrites the packet for its way on, and gives where it goes. `None`: it goes nowhere.
fn translate(nat: &mut Nat, inside: Ipv4Addr, outside: Ipv4Addr, packet: &mut Packet<'_>) -> Option<SocketAddrV4> {
    let (from, to) = (packet.from()?, packet.to()?);
    let to = if *from.ip() == inside && *to.ip() != outside {
        let port = nat.outward(from, to)?;
        packet.set_from(SocketAddrV4::new(outside, port))?;
        to
    } else if *to.ip() == outside {
        let host = nat.inward(from, to.port())?;
        packet.set_to(host)?;
        host
    } else {
        return None;
    };
    packet.finish()?;
    Some(to)
}

fn run(kind: Kind, inside: Ipv4Addr, outside: Ipv4Addr) -> Result<(), Box<dyn Error>> {
    // Sees each packet that comes in, before the kernel's own rules drop it, and none that goes out.
    let heard = socket_with(
        AddressFamily::PACKET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(eth::IP),
    )?;
    sockopt::set_socket_recv_buffer_size_force(&heard, WAITING_BYTES)?;
    let sent = socket_with(
        AddressFamily::INET,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(ipproto::RAW),
    )?;
    let mut nat = Nat::new(kind);
    let mut buffer = vec![0; 1 << 16];
    println!("translating");
    loop {
        let (length, _) = recv(&heard, buffer.as_mut_slice(), RecvFlags::empty())?;
        let Some(mut packet) = buffer.get_mut(..length).and_then(Packet::read) else {
            continue;
        };
        if let Some(to) = translate(&mut nat, inside, outside, &mut packet) {
            // A full queue or a host that is gone loses packets, as everywhere.
            let _ = sendto(&sent, packet.bytes, SendFlags::empty(), &SocketAddrV4::new(*to.ip(), 0));
        }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let parsed = match words.as_slice() {
        [kind, inside, outside] => Kind::parse(kind).zip(inside.parse().ok()).zip(outside.parse().ok()),
        _ => None,
    };
    let Some(((kind, inside), outside)) = parsed else {
        eprintln!("error: expected a kind, the address of the host behind, and the router's own");
        return ExitCode::FAILURE;
    };
    match run(kind, inside, outside) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: translating: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, last), port)
    }

    const HOST: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 20), 4_433);

    #[test]
    fn a_mapping_serves_all_destinations_but_of_a_symmetric_router() {
        for kind in [
            Kind::EndpointIndependent,
            Kind::AddressDependent,
            Kind::AddressAndPortDependent,
        ] {
            let mut nat = Nat::new(kind);
            let port = nat.outward(HOST, at(1, 1));
            assert_eq!(nat.outward(HOST, at(2, 1)), port, "{kind:?}");
        }
        let mut nat = Nat::new(Kind::Symmetric);
        let port = nat.outward(HOST, at(1, 1));
        assert_ne!(nat.outward(HOST, at(2, 1)), port);
        assert_ne!(nat.outward(HOST, at(1, 2)), port);
        assert_eq!(nat.outward(HOST, at(1, 1)), port);
    }

    #[test]
    fn each_kind_lets_in_whom_it_says() {
        for (kind, address, stranger) in [
            (Kind::EndpointIndependent, true, true),
            (Kind::AddressDependent, true, false),
            (Kind::AddressAndPortDependent, false, false),
            (Kind::Symmetric, false, false),
        ] {
            let mut nat = Nat::new(kind);
            assert_eq!(
                nat.inward(at(1, 1), FIRST_PORT + STRIDE),
                None,
                "nothing is open at first"
            );
            let port = nat.outward(HOST, at(1, 1)).unwrap();
            assert_eq!(nat.inward(at(1, 1), port), Some(HOST), "{kind:?}");
            assert_eq!(nat.inward(at(1, 2), port).is_some(), address, "{kind:?}");
            assert_eq!(nat.inward(at(2, 1), port).is_some(), stranger, "{kind:?}");
        }
    }

    #[test]
    fn a_translated_packet_has_a_right_checksum() {
        let payload = *b"odd";
        let mut bytes = vec![0x45, 0, 0, 31, 0, 0, 0x40, 0, 64, UDP, 0, 0];
        bytes.extend(HOST.ip().octets());
        bytes.extend(at(9, 0).ip().octets());
        bytes.extend(HOST.port().to_be_bytes());
        bytes.extend(53_u16.to_be_bytes());
        bytes.extend(11_u16.to_be_bytes());
        bytes.extend([0xab, 0xcd]);
        bytes.extend(payload);
        bytes.extend([0; 9]);
        let mut nat = Nat::new(Kind::Symmetric);
        let mut packet = Packet::read(&mut bytes).unwrap();
        let to = translate(&mut nat, *HOST.ip(), *at(7, 0).ip(), &mut packet);
        assert_eq!(to, Some(at(9, 53)));
        assert_eq!(packet.from().unwrap().ip(), at(7, 0).ip());
        assert_eq!(packet.bytes.len(), 31, "the padding is gone");
        // With its checksum in it, the sum of all words is all ones.
        let all = sum(&packet.bytes[12..20]) + u32::from(UDP) + 11 + sum(&packet.bytes[20..]);
        assert_eq!((all & 0xffff) + (all >> 16), 0xffff);
    }
}

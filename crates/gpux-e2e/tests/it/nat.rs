//! Nodes behind routers of every kind, and a relay of our own: everybody can trade with everybody, and most of it goes from
//! address to address in the end.
//!
//! Real packets in real network namespaces: an "internet" (a bridge with the relay on it), and for each node a namespace, behind a
//! namespace with a router (`src/bin/nat.rs`) that translates in one of the ways of RFC 4787. Five nodes, one of each kind, buy
//! from five others, one of each kind. Needs root, `ip` and `iptables`.

use crate::market::gpux;
use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

/// Every name begins with it, and with the number of the test's process.
const PREFIX: &str = "gpuxnat-";
/// The relay's address, on the bridge of the internet.
const RELAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The goal: the share that goes direct, of the pairs of which it is possible at all.
const DIRECT_SHARE: f64 = 0.85;
/// How long a program may take to say its first word.
const START_WITHIN: Duration = Duration::from_secs(40);
/// How long all trades may take together.
const TRADE_WITHIN: Duration = Duration::from_secs(60);

/// What a node has between itself and the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    None,
    EndpointIndependent,
    AddressDependent,
    AddressAndPortDependent,
    Symmetric,
}

const KINDS: [Kind; 5] = [
    Kind::None,
    Kind::EndpointIndependent,
    Kind::AddressDependent,
    Kind::AddressAndPortDependent,
    Kind::Symmetric,
];

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
            Self::Symmetric => "symmetric",
        }
    }

    /// Whether two such nodes can reach each other at all. Who is behind a symmetric router speaks to each address from a port that
    /// nobody can know beforehand: only who lets in every port of an address to which it spoke hears that.
    fn can_be_direct(self, other: Self) -> bool {
        let by_port = |kind| matches!(kind, Self::AddressAndPortDependent | Self::Symmetric);
        !(self == Self::Symmetric && by_port(other) || other == Self::Symmetric && by_port(self))
    }
}

/// Namespaces and processes that end with the test, however it ends.
struct Internet {
    dir: tempfile::TempDir,
    spaces: Vec<String>,
    programs: Vec<Child>,
}

impl Drop for Internet {
    fn drop(&mut self) {
        for program in &mut self.programs {
            // One that ended by itself is what was wanted.
            let _ = program.kill();
            let _ = program.wait();
        }
        for space in &self.spaces {
            let _ = Command::new("ip").args(["netns", "delete", space]).output();
        }
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Runs a command that must succeed.
fn must(line: &str) {
    let words = words(line);
    let ended = Command::new(words[0]).args(&words[1..]).output();
    let ended =
        ended.unwrap_or_else(|error| panic!("{line}: {error}: the test of routers needs root, ip and iptables"));
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(
        ended.status.success(),
        "{line}: {told}: is this root, with network namespaces?"
    );
}

/// Ends what an earlier run left behind that was killed before it could.
fn sweep() {
    let listed = Command::new("ip").args(["netns", "list"]).output().unwrap();
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = Command::new("ip").args(["netns", "delete", name]).output();
        }
    }
}

/// A program in a namespace, and the lines that it says.
struct Program {
    lines: Receiver<String>,
    stdin: Option<ChildStdin>,
}

impl Program {
    fn next(&self, within: Duration, who: &str) -> String {
        let line = self.lines.recv_timeout(within);
        line.unwrap_or_else(|_| panic!("{who} said nothing in {} s", within.as_secs()))
    }
}

/// A node of the matrix.
struct Node {
    kind: Kind,
    program: Program,
    ticket: String,
}

impl Node {
    fn id(&self) -> &str {
        self.ticket.split('@').next().unwrap()
    }
}

impl Internet {
    /// A bridge that everybody with a public address is on.
    fn new() -> Self {
        sweep();
        let mut internet = Self {
            dir: tempfile::tempdir().unwrap(),
            spaces: Vec::new(),
            programs: Vec::new(),
        };
        let world = internet.space("world");
        must(&format!("ip -n {world} link add name br0 type bridge"));
        must(&format!("ip -n {world} link set dev br0 up"));
        must(&format!("ip -n {world} address add {RELAY}/24 dev br0"));
        internet
    }

    fn named(name: &str) -> String {
        format!("{PREFIX}{}-{name}", std::process::id())
    }

    fn space(&mut self, name: &str) -> String {
        let space = Self::named(name);
        must(&format!("ip netns add {space}"));
        self.spaces.push(space.clone());
        must(&format!("ip -n {space} link set dev lo up"));
        space
    }

    /// A cable between two namespaces. Packets are cut to the size of the link where they enter it, as a network card would do:
    /// a router must see what really travels.
    fn cable(one: &str, its: &str, other: &str, others: &str) {
        must(&format!(
            "ip -n {one} link add name {its} type veth peer name {others} netns {other}"
        ));
        for (space, end) in [(one, its), (other, others)] {
            must(&format!("ip -n {space} link set dev {end} gso_max_segs 1 up"));
        }
    }

    /// The namespace of a node, with its router before it.
    fn host(&mut self, index: u8, kind: Kind) -> String {
        let world = Self::named("world");
        let outside = Ipv4Addr::new(203, 0, 113, 10 + index);
        let host = self.space(&format!("host{index}"));
        let port = format!("port{index}");
        if kind == Kind::None {
            Self::cable(&host, "wan", &world, &port);
            must(&format!("ip -n {world} link set dev {port} master br0"));
            must(&format!("ip -n {host} address add {outside}/24 dev wan"));
            return host;
        }
        let router = self.space(&format!("router{index}"));
        Self::cable(&router, "wan", &world, &port);
        must(&format!("ip -n {world} link set dev {port} master br0"));
        must(&format!("ip -n {router} address add {outside}/24 dev wan"));
        Self::cable(&host, "lan", &router, "lan");
        // Homes use the same few networks: an address of one's own network is not the other's.
        let inside = Ipv4Addr::new(192, 168, 1, 20 + index);
        must(&format!("ip -n {router} address add 192.168.1.1/24 dev lan"));
        must(&format!("ip -n {host} address add {inside}/24 dev lan"));
        must(&format!("ip -n {host} route add default via 192.168.1.1"));
        // TCP, by which nodes reach the relay, is the kernel's. UDP is the translator's alone.
        for rule in [
            "-A FORWARD -p udp -j DROP",
            "-A INPUT -p udp -j DROP",
            "-t nat -A POSTROUTING -o wan -p tcp -j MASQUERADE",
        ] {
            must(&format!("ip netns exec {router} iptables -w {rule}"));
        }
        must(&format!("ip netns exec {router} sysctl -q -w net.ipv4.ip_forward=1"));
        let translator = env!("CARGO_BIN_EXE_gpux-e2e-nat");
        let arguments = [kind.name(), &inside.to_string(), &outside.to_string()];
        let program = self.run(&router, Path::new(translator), &arguments);
        assert_eq!(program.next(START_WITHIN, "a router"), "translating");
        host
    }

    /// Starts a program in a namespace. What it says on standard error goes into a file of the folder.
    fn run(&mut self, space: &str, program: &Path, arguments: &[&str]) -> Program {
        let said = fs::File::create(self.dir.path().join(format!("{space}.log"))).unwrap();
        let started = Command::new("ip")
            .args(["netns", "exec", space])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(said)
            .spawn();
        let mut child = started.unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stdin = child.stdin.take();
        self.programs.push(child);
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Program { lines, stdin }
    }

    /// The relay on the bridge, with a certificate of its own: its URL, and the file that vouches for it.
    fn relay(&mut self) -> (String, PathBuf) {
        let made = rcgen::generate_simple_self_signed([RELAY.to_string()]).unwrap();
        let (chain, key) = (self.dir.path().join("chain.pem"), self.dir.path().join("key.pem"));
        fs::write(&chain, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let arguments = [
            "relay",
            "--listen",
            &RELAY.to_string(),
            "--cert",
            chain.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
        ];
        let relay = self.run(&Self::named("world"), &gpux(), &arguments);
        let url = relay.next(START_WITHIN, "the relay");
        assert_eq!(url, format!("https://{RELAY}/"));
        (url, chain)
    }

    fn trader(&mut self, index: u8, kind: Kind, relay: &(String, PathBuf)) -> (Kind, Program) {
        let host = self.host(index, kind);
        let dir = self.dir.path().join(&host);
        let trader = Path::new(env!("CARGO_BIN_EXE_gpux-e2e-trader"));
        let arguments = [dir.to_str().unwrap(), &relay.0, relay.1.to_str().unwrap()];
        (kind, self.run(&host, trader, &arguments))
    }

    /// One node of each kind, ready to trade.
    fn traders(&mut self, first: u8, relay: &(String, PathBuf)) -> Vec<Node> {
        let started: Vec<_> = (first..)
            .zip(KINDS)
            .map(|(index, kind)| self.trader(index, kind, relay))
            .collect();
        let ready = started.into_iter().map(|(kind, program)| {
            let line = program.next(START_WITHIN, kind.name());
            let ticket = line.strip_prefix("ticket ").unwrap().to_owned();
            Node { kind, program, ticket }
        });
        ready.collect()
    }
}

/// What became of a pair: how its packets travelled in the end, and after how many milliseconds that was known.
#[derive(Debug, Clone)]
struct Traded {
    direct: bool,
    millis: u64,
}

/// Everybody of `buyers` trades with everybody of `sellers`, all at once.
fn trade(buyers: &mut [Node], sellers: &[Node]) -> HashMap<(Kind, Kind), Traded> {
    let until = Instant::now() + TRADE_WITHIN;
    for buyer in buyers.iter_mut() {
        let stdin = buyer.program.stdin.as_mut().unwrap();
        for seller in sellers {
            writeln!(stdin, "{}", seller.ticket).unwrap();
        }
    }
    let mut done = HashMap::new();
    for buyer in buyers {
        for _ in sellers {
            let left = until.saturating_duration_since(Instant::now());
            let line = buyer.program.next(left, buyer.kind.name());
            let told = words(&line);
            let seller = sellers.iter().find(|seller| Some(seller.id()) == told.get(1).copied());
            let seller = seller.unwrap_or_else(|| panic!("{}: {line}", buyer.kind.name())).kind;
            assert_eq!(
                told[0],
                "traded",
                "{} with {}: {line}",
                buyer.kind.name(),
                seller.name()
            );
            let traded = Traded {
                direct: told[2] == "direct",
                millis: told[3].parse().unwrap(),
            };
            done.insert((buyer.kind, seller), traded);
        }
    }
    done
}

/// The table of bench/RESULTS.md.
fn table(done: &HashMap<(Kind, Kind), Traded>) -> String {
    let mut text = String::from("| calls \\ is called |");
    for kind in KINDS {
        text += &format!(" {} |", kind.name());
    }
    text += &format!("\n|---|{}", "---|".repeat(KINDS.len()));
    for buyer in KINDS {
        text += &format!("\n| {} |", buyer.name());
        for seller in KINDS {
            let traded = &done[&(buyer, seller)];
            let how = if traded.direct { "direct" } else { "relayed" };
            text += &format!(
                " {how}, {}.{:01} s |",
                traded.millis / 1_000,
                traded.millis % 1_000 / 100
            );
        }
    }
    text
}

#[test]
fn nodes_behind_every_kind_of_router_trade_and_most_of_them_directly() {
    let mut internet = Internet::new();
    let relay = internet.relay();
    let mut buyers = internet.traders(0, &relay);
    let sellers = internet.traders(5, &relay);
    let done = trade(&mut buyers, &sellers);
    let table = table(&done);
    println!("{table}");
    assert_eq!(done.len(), KINDS.len() * KINDS.len(), "every pair traded");
    let (possible, impossible): (Vec<_>, Vec<_>) = done
        .iter()
        .partition(|((buyer, seller), _)| buyer.can_be_direct(*seller));
    // Else the routers are not what they say, and the share says nothing.
    for (pair, traded) in impossible {
        assert!(!traded.direct, "{pair:?} cannot be direct\n{table}");
    }
    let direct = possible.iter().filter(|(_, traded)| traded.direct).count();
    println!(
        "{direct} of {} pairs of which it is possible went direct",
        possible.len()
    );
    let share = f64::from(u32::try_from(direct).unwrap()) / f64::from(u32::try_from(possible.len()).unwrap());
    assert!(share >= DIRECT_SHARE, "{share}\n{table}");
}

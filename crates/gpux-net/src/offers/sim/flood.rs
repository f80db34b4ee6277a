//! Nodes that flood: what they send, and how they answer who asks for it.
//!
//! They keep to the gossip library's protocol, so every node passes their bytes on, as it must before it can judge them.

use super::*;

/// The kinds of what a flooding node says, in turn.
const KINDS: usize = 5;
/// How many offers that are over a flooding node puts on each page of its digests.
const OVER_ON_A_PAGE: usize = 20;

/// What is flooded, and by whom.
#[derive(Debug, Default)]
pub(super) struct Flood {
    /// Messages a second of each flooding node.
    pub(super) rate: u32,
    pub(super) said: usize,
    /// How many keys were made up.
    keys: u32,
    /// The details of made-up nodes that the flooding nodes give to who asks.
    details: HashMap<DetailsHash, Vec<u8>>,
}

impl Flood {
    /// A new key that sells something, with details that hold all checks.
    fn make_up(&mut self) -> (Vec<u8>, Vec<u8>) {
        self.keys += 1;
        let node = Node::new(1_000_000 + self.keys);
        let (digest, details) = node.announce(1, Some(node.own(1, LIFE).signed), 1);
        self.details.insert(DetailsHash::of(&details), details.clone());
        (digest, details)
    }

    /// The next message of `node`: forged, too large, old, of a new key that has no offer, or of one that has one.
    fn next(&mut self, node: &Node) -> Vec<u8> {
        self.said += 1;
        match self.said % KINDS {
            0 => {
                let (mut digest, _) = self.make_up();
                *digest.last_mut().unwrap() ^= 1;
                digest
            }
            1 => self.make_up().1.repeat(6),
            // Another one each time, below any that its node has said.
            2 => node.says(0, u64::try_from(self.said).unwrap()).0,
            3 => {
                let (digest, details) = self.make_up();
                self.details.remove(&DetailsHash::of(&details));
                digest
            }
            _ => self.make_up().0,
        }
    }

    /// Offers that are over, for a page.
    fn over(&mut self) -> Vec<(Millis, Vec<u8>)> {
        let age: Millis = (LIFE + Duration::from_secs(1)).into();
        (0..OVER_ON_A_PAGE).map(|_| (age, self.make_up().0)).collect()
    }
}

impl World {
    /// These nodes flood from now on, `rate` messages a second each, until the rate is 0.
    pub(super) fn flood_from(&mut self, nodes: &[usize], rate: u32) {
        self.flood.rate = rate;
        for (turn, at) in nodes.iter().enumerate() {
            self.peers[*at].as_mut().unwrap().hostile = true;
            let offset = Duration::from_secs(1) * u32::try_from(turn).unwrap() / u32::try_from(nodes.len()).unwrap();
            self.at(self.time + offset / rate, *at, Step::Lie);
        }
    }

    pub(super) fn lie(&mut self, at: usize) {
        if self.flood.rate == 0 {
            return;
        }
        let said = self.flood.next(&self.peers[at].as_ref().unwrap().node);
        self.broadcast(at, said);
        self.at(self.time + Duration::from_secs(1) / self.flood.rate, at, Step::Lie);
    }

    /// The page of a node, with rubbish on it when that floods.
    pub(super) fn page_of(&mut self, at: usize, request: PageRequest) -> Vec<u8> {
        let now = self.now();
        let peer = self.peers[at].as_ref().unwrap();
        let bytes = answer_page(&peer.engine, now.at, request);
        if !peer.hostile || self.flood.rate == 0 {
            return bytes;
        }
        let mut page: Page = decode(&bytes).unwrap();
        page.items.extend(self.flood.over());
        encode(&page)
    }

    /// What a flooding node answers to who asks for what it made up.
    pub(super) fn made_up(&self, at: usize, request: &DetailsRequest) -> Option<Vec<Vec<u8>>> {
        if !self.peers[at].as_ref().unwrap().hostile {
            return None;
        }
        let told = request.wanted.iter();
        let told: Vec<_> = told
            .filter_map(|(_, hash)| self.flood.details.get(hash).cloned())
            .collect();
        (!told.is_empty()).then_some(told)
    }
}

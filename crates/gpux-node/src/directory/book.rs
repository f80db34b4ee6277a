//! What this node remembers of the directory: which blocks it has read, and where it was told that nodes are. Pure.
//!
//! Everything in it was written by strangers. Invariants: an announcer has one entry, the newest; there are at most
//! [`MAX_ENTRIES`]; an entry is proven only when the node itself has named the announcer as its wallet in an offer, and a
//! proven one is forgotten after all others.

use gpux_chain::{Announcement, Announcements};
use gpux_net::PeerTicket;
use gpux_proto::NodeAddress;
use gpux_types::{Address, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The layout of what is stored.
const VERSION: u16 = 1;
/// The most announcers that are remembered: enough to find a first peer, and about 300 KiB.
const MAX_ENTRIES: usize = 1_000;
/// How many nodes are tried at a time.
pub(super) const TRIED: usize = 16;
/// Blocks that may still be replaced are read again.
const REREAD: u64 = 64;
/// With so many nodes to try, older blocks are left alone.
const ENOUGH: usize = 100;

/// The directory as far as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Book {
    version: u16,
    chain_id: u64,
    directory: Address,
    /// The blocks that were read, the first and the last one.
    read: Option<(u64, u64)>,
    entries: BTreeMap<Address, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    node: NodeId,
    /// `None`: the announcer has gone, or told nothing that can be dialled.
    ticket: Option<PeerTicket>,
    block: u64,
    proven: bool,
}

impl Book {
    /// Nothing was read yet.
    pub(super) const fn new(chain_id: u64, directory: Address) -> Self {
        Self {
            version: VERSION,
            chain_id,
            directory,
            read: None,
            entries: BTreeMap::new(),
        }
    }

    /// Whether it was read from that contract, by this version.
    pub(super) fn is_of(&self, chain_id: u64, directory: Address) -> bool {
        (self.version, self.chain_id, self.directory) == (VERSION, chain_id, directory)
    }

    /// The blocks to read next: new ones first, then older ones down to block `first` while few nodes are known.
    pub(super) fn next_reading(&self, head: u64, first: u64) -> Option<(u64, u64)> {
        match self.read {
            None => Some((first, head)),
            Some((_, to)) if head > to => Some((to.saturating_sub(REREAD).max(first), head)),
            Some((from, _)) if from > first && self.reachable() < ENOUGH => Some((first, from - 1)),
            Some(_) => None,
        }
    }

    /// How many nodes are known to be what their entry says: what strangers announced of them does not stop the search.
    fn reachable(&self) -> usize {
        let good = |entry: &&Entry| entry.proven && entry.ticket.is_some();
        self.entries.values().filter(good).count()
    }

    /// A chain that is shorter than what was read of it is another one, or its node told a wrong head: it is read anew.
    pub(super) fn forget_above(&mut self, head: u64) {
        if self.read.is_some_and(|(_, to)| to > head.saturating_add(REREAD)) {
            *self = Self::new(self.chain_id, self.directory);
        }
    }

    /// Takes what was found in the blocks up to `to`.
    pub(super) fn take(&mut self, found: &Announcements, to: u64) {
        for heard in &found.heard {
            self.hear(heard);
        }
        self.read = Some(match self.read {
            // It reaches what was read before: from above, or from below.
            Some((from, known)) if found.from <= known.saturating_add(1) && to >= from.saturating_sub(1) => {
                (from.min(found.from), known.max(to))
            }
            // It does not: what lies in between is read before anything older.
            Some(_) | None => (found.from, to),
        });
        while self.entries.len() > MAX_ENTRIES {
            let least = self.entries.iter().min_by_key(|(_, entry)| (entry.proven, entry.block));
            let Some(announcer) = least.map(|(announcer, _)| *announcer) else {
                return;
            };
            self.entries.remove(&announcer);
        }
    }

    fn hear(&mut self, heard: &Announcement) {
        let before = self.entries.get(&heard.announcer);
        if before.is_some_and(|before| before.block > heard.block) {
            return;
        }
        let proven = before.is_some_and(|before| before.proven && before.node == heard.endpoint);
        let address = NodeAddress::read(&heard.addr).ok();
        let entry = Entry {
            node: heard.endpoint,
            ticket: address.and_then(|address| PeerTicket::announced(heard.endpoint, &address).ok()),
            block: heard.block,
            proven,
        };
        self.entries.insert(heard.announcer, entry);
    }

    /// Compares entries with what nodes say of themselves: `wallet_of` is the wallet that stands behind a node's own offer.
    /// One that names another wallet was announced by a stranger, and is not believed any more. True when that changed
    /// something.
    pub(super) fn bind(&mut self, wallet_of: impl Fn(&NodeId) -> Option<Address>) -> bool {
        let mut changed = false;
        for (announcer, entry) in &mut self.entries {
            let Some(wallet) = wallet_of(&entry.node) else { continue };
            let (proven, strange) = (wallet == *announcer, wallet != *announcer && entry.ticket.is_some());
            changed |= entry.proven != proven || strange;
            entry.proven = proven;
            if strange {
                entry.ticket = None;
            }
        }
        changed
    }

    /// Nodes to try but `me`: at most half of them proven ones, the newest first, and the rest drawn, so that no flood of
    /// entries hides an honest one for long. `draw` gives a number below the one that it gets.
    pub(super) fn choose(&self, me: NodeId, mut draw: impl FnMut(usize) -> usize) -> Vec<PeerTicket> {
        let with = |proven: bool| {
            let known = self
                .entries
                .values()
                .filter(move |entry| entry.proven == proven && entry.node != me);
            let mut known: Vec<&Entry> = known.filter(|entry| entry.ticket.is_some()).collect();
            known.sort_by_key(|entry| std::cmp::Reverse(entry.block));
            known
        };
        let (mut proven, mut others) = (with(true), with(false));
        let rest = proven.split_off(proven.len().min(TRIED / 2));
        others.extend(rest);
        let (mut chosen, mut nodes) = (Vec::new(), BTreeSet::new());
        while chosen.len() < TRIED {
            let entry = match proven.is_empty() {
                false => proven.remove(0),
                true if others.is_empty() => break,
                true => others.swap_remove(draw(others.len()).min(others.len() - 1)),
            };
            if let (true, Some(ticket)) = (nodes.insert(entry.node), entry.ticket.clone()) {
                chosen.push(ticket);
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Public keys that tickets may name.
    fn node(number: u8) -> NodeId {
        let keys = [
            "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c",
            "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394",
            "ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1",
        ];
        keys.get(usize::from(number)).unwrap().parse().unwrap()
    }

    fn wallet(byte: u8) -> Address {
        Address::repeat_byte(byte)
    }

    fn said(announcer: u8, number: u8, port: u16, block: u64) -> Announcement {
        let address = NodeAddress {
            addresses: vec![([127, 0, 0, 1], port).into()],
            relay: None,
        };
        Announcement {
            announcer: wallet(announcer),
            endpoint: node(number),
            addr: address.to_bytes(),
            block,
        }
    }

    fn heard(from: u64, heard: Vec<Announcement>) -> Announcements {
        Announcements { heard, from }
    }

    fn book() -> Book {
        Book::new(10, wallet(0xdd))
    }

    fn ports(book: &Book) -> Vec<u16> {
        let mut ports: Vec<u16> = book
            .choose(node(2), |_| 0)
            .iter()
            .flat_map(|ticket| ticket.addresses.iter().map(std::net::SocketAddr::port))
            .collect();
        ports.sort_unstable();
        ports
    }

    #[test]
    fn new_blocks_are_read_first_and_older_ones_until_the_first() {
        let mut book = book();
        assert_eq!(book.next_reading(1_000, 50), Some((50, 1_000)));
        book.take(&heard(600, Vec::new()), 1_000);
        assert_eq!(book.next_reading(1_000, 50), Some((50, 599)));
        assert_eq!(book.next_reading(1_010, 50), Some((1_000 - REREAD, 1_010)));
        book.take(&heard(936, Vec::new()), 1_010);
        book.take(&heard(50, Vec::new()), 599);
        assert_eq!(book.next_reading(1_010, 50), None);
        book.take(&heard(5_000, Vec::new()), 9_000);
        assert_eq!(
            book.next_reading(9_000, 50),
            Some((50, 4_999)),
            "the blocks in between are not skipped"
        );
    }

    #[test]
    fn the_oldest_block_is_reached_while_the_chain_goes_on() {
        let mut book = book();
        let mut head = 100_000;
        for _ in 0..100 {
            head += 15;
            for _ in 0..2 {
                let Some((from, to)) = book.next_reading(head, 50) else {
                    break;
                };
                book.take(&heard(from.max(to.saturating_sub(5_000)), Vec::new()), to);
            }
        }
        assert_eq!(book.next_reading(head, 50), None);
    }

    #[test]
    fn what_strangers_announce_does_not_stop_the_search() {
        let mut book = book();
        let many = (0..=ENOUGH as u64).map(|number| {
            let mut said = said(2, 1, 9, 900);
            said.announcer = Address::left_padding_from(&number.to_be_bytes());
            said
        });
        book.take(&heard(800, many.collect()), 1_000);
        assert_eq!(book.next_reading(1_000, 50), Some((50, 799)));
    }

    #[test]
    fn a_chain_that_is_shorter_than_what_was_read_is_read_anew() {
        let mut book = book();
        book.take(&heard(50, vec![said(1, 0, 7, 8)]), 1_000_000);
        book.forget_above(1_000_000 - REREAD);
        assert_eq!(ports(&book), [7], "a few blocks less are a reorganisation");
        book.forget_above(2_000);
        assert_eq!(book.next_reading(2_000, 50), Some((50, 2_000)));
        assert!(ports(&book).is_empty());
    }

    #[test]
    fn the_newest_word_of_an_announcer_counts_in_whatever_order_it_is_read() {
        let mut book = book();
        book.take(&heard(5, vec![said(1, 0, 7, 8)]), 9);
        book.take(&heard(0, vec![said(1, 0, 6, 2)]), 4);
        assert_eq!(ports(&book), [7]);
        let mut gone = said(1, 0, 0, 12);
        gone.addr = Vec::new();
        book.take(&heard(10, vec![gone]), 12);
        assert!(ports(&book).is_empty());
        book.take(&heard(0, vec![said(1, 0, 6, 2)]), 4);
        assert!(ports(&book).is_empty(), "an old word does not bring it back");
    }

    #[test]
    fn bytes_that_are_no_address_are_not_tried() {
        let mut book = book();
        let mut strange = said(1, 0, 7, 8);
        strange.addr = vec![0xff; 1_024];
        let mut no_key = said(2, 0, 7, 8);
        no_key.endpoint = NodeId([2; 32]);
        book.take(&heard(0, vec![strange, no_key]), 9);
        assert!(ports(&book).is_empty());
    }

    #[test]
    fn an_entry_is_proven_by_the_nodes_own_wallet_and_a_strangers_is_dropped() {
        let mut book = book();
        book.take(&heard(0, vec![said(1, 0, 7, 8), said(2, 0, 8, 9), said(3, 1, 9, 9)]), 9);
        let wallet_of = |of: &NodeId| (*of == node(0)).then(|| wallet(1));
        assert!(book.bind(wallet_of));
        assert!(!book.bind(wallet_of), "nothing new");
        assert_eq!(ports(&book), [7, 9], "the stranger's word about node 0 is not tried");
        book.take(&heard(0, vec![said(1, 1, 5, 20)]), 20);
        assert!(!book.entries[&wallet(1)].proven, "another node has to prove itself");
    }

    #[test]
    fn a_flood_is_bounded_and_leaves_what_was_proven() {
        let mut book = book();
        book.take(&heard(0, vec![said(1, 0, 7, 1)]), 1);
        book.bind(|of| (*of == node(0)).then(|| wallet(1)));
        let flood = (0..3_000u64).map(|number| {
            let mut said = said(2, 1, 9, 100 + number);
            said.announcer = Address::left_padding_from(&number.to_be_bytes());
            said
        });
        book.take(&heard(2, flood.collect()), 4_000);
        assert_eq!(book.entries.len(), MAX_ENTRIES);
        assert_eq!(ports(&book), [7, 9], "one try for each node, the proven one among them");
        let text = serde_json::to_string(&book).unwrap();
        assert_eq!(serde_json::from_str::<Book>(&text).unwrap(), book);
        assert!(text.len() < 512 << 10);
    }
}

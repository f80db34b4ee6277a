//! Books that peers made to be slow or large: a plan takes time with their size and no faster, a change of the book hardly
//! any more, and what the index keeps of an offer has a bound.

use crate::{
    market::{nodes, offer, price, request, shape, tags},
    naive,
};
use gpux_market::{Closeness, Known, Offer, OfferBook, Request, Topology, plan};
use gpux_types::{Address, Millis, NodeId};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// Sizes of a smaller and a larger book, eight times apart.
const SIZES: [u32; 2] = [4_000, 32_000];
/// What is more than a plan over the larger book may take, in times over the smaller one: with its size 8, with its square 64.
const PLAN: u32 = 24;
/// The same for a change of the book, which is to take time with the logarithm.
const UPDATE: u32 = 5;
/// How often times are taken until they are good enough; what else the machine does only adds to them.
const ROUNDS: u32 = 30;
/// Bytes for each offer that the index may take, whatever offers say.
const BYTES: usize = 4_096;

struct World {
    name: &'static str,
    offer: fn(u32) -> Offer,
    request: Request,
}

/// An offer of node `number`, whose id begins like every other.
fn plain(number: u32) -> Offer {
    let mut offer = offer(1);
    offer.node.0[28..].copy_from_slice(&number.to_be_bytes());
    offer
}

fn own_address(number: u32) -> Address {
    let mut address = Address::repeat_byte(0x77);
    address.0[..4].copy_from_slice(&number.to_be_bytes());
    address
}

/// As many features as an offer may have, each as long as one may be and nobody else's.
fn many_names(number: u32) -> Offer {
    let names = (0..32).map(|name| format!("name-{name:02}-{number:024}").parse().unwrap());
    Offer {
        features: names.collect(),
        ..plain(number)
    }
}

/// A market, a region and a site of its own for each.
fn many_labels(number: u32) -> Offer {
    let owner = own_address(number);
    let name = format!("{number:024}");
    Offer {
        escrow: owner,
        token: owner,
        wallet: owner,
        region: Some(name.parse().unwrap()),
        features: tags(&[&format!("site-{name}")]),
        ..plain(number)
    }
}

/// Half of the nodes is cheap and alone in its site. The others are two to a site, and their rates are beyond 64 bits, so that their
/// numbers in the index promise a lower price than they ask.
fn dear_pairs(number: u32) -> Offer {
    let mut offer = plain(number);
    let pair = number / 4;
    let site = if number.is_multiple_of(2) {
        number
    } else {
        offer.rates.cpu_core = price((1 << 70) + u128::from(pair.wrapping_mul(2_654_435_761)));
        1_000_000 + pair
    };
    offer.features = tags(&[&format!("site-{site}")]);
    offer
}

/// Many cores or much memory, by turns, where the leaves are cut by price.
fn one_or_the_other(number: u32) -> Offer {
    let mut offer = plain(number);
    let largest = if number.is_multiple_of(2) {
        shape(4, 2, 20)
    } else {
        shape(1, 8, 20)
    };
    offer.largest = largest;
    offer.rates.cpu_core = price(u128::from(number));
    offer
}

fn worlds() -> Vec<World> {
    let wanting = |change: fn(&mut Request)| {
        let mut request = request();
        change(&mut request);
        request
    };
    vec![
        World {
            name: "names of its own for each",
            offer: many_names,
            request: wanting(|request| request.features = tags(&["sgx"])),
        },
        World {
            name: "a market and a place of its own for each",
            offer: many_labels,
            request: request(),
        },
        World {
            name: "nothing but the last bytes of the id differs",
            offer: plain,
            request: wanting(|request| request.nodes = nodes(16)),
        },
        World {
            name: "pairs that promise more than they keep",
            offer: dear_pairs,
            request: wanting(|request| {
                request.nodes = nodes(2);
                request.topology = Topology {
                    closeness: Closeness::Site,
                    required: true,
                };
            }),
        },
        World {
            name: "cores or memory, never both",
            offer: one_or_the_other,
            request: wanting(|request| request.resources = shape(3, 4, 10)),
        },
    ]
}

fn filled(world: &World, count: u32) -> OfferBook {
    let mut book = OfferBook::new(40_000);
    for number in 0..count {
        book.insert((world.offer)(number), Millis::ZERO).unwrap();
    }
    book
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The shortest of many times over the small book and over the large one; stops once they are less than `most` apart.
fn apart(books: &mut [OfferBook; 2], most: u32, mut work: impl FnMut(&mut OfferBook)) -> Result<(), [Duration; 2]> {
    let mut shortest = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        for (book, shortest) in books.iter_mut().zip(&mut shortest) {
            *shortest = time(|| work(book)).min(*shortest);
        }
        let [small, large] = shortest;
        if large < small * most {
            return Ok(());
        }
    }
    Err(shortest)
}

#[test]
fn no_book_that_peers_can_make_is_slow_or_large() {
    for world in worlds() {
        let mut books = SIZES.map(|count| filled(&world, count));
        for book in &books {
            let each = book.index_bytes() / book.len();
            assert!(each <= BYTES, "{}: {each} bytes an offer", world.name);
        }
        let planned = apart(&mut books, PLAN, |book| {
            black_box(plan(&world.request, book, &Known::default()));
        });
        assert_eq!(planned, Ok(()), "plans where there are {}", world.name);
        let mut sequence = 1;
        let replaced = apart(&mut books, UPDATE, |book| {
            sequence += 1;
            for number in 0..100 {
                let offer = Offer {
                    sequence,
                    ..(world.offer)(number * 7)
                };
                book.insert(offer, Millis::ZERO).unwrap();
            }
        });
        assert_eq!(replaced, Ok(()), "changes where there are {}", world.name);
    }
}

#[test]
fn the_answer_is_that_of_every_offer_looked_at_all_the_same() {
    for world in worlds() {
        let offers: Vec<Offer> = (0..600).map(world.offer).collect();
        let book = filled(&world, 600);
        let alone = Request {
            nodes: nodes(1),
            topology: Topology::default(),
            ..world.request.clone()
        };
        let all: Vec<&Offer> = offers.iter().collect();
        let scanned = naive::matching(&alone, &all, &Known::default());
        let found = plan(&alone, &book, &Known::default());
        let found: Vec<NodeId> = found.taken().map(|candidate| candidate.offer.node).collect();
        let first: Vec<NodeId> = scanned.iter().take(1).map(|offer| offer.node).collect();
        assert_eq!(found, first, "{}", world.name);
    }
}

#[test]
fn the_cheapest_pair_is_found_among_many_that_promise_more_than_they_keep() {
    let world = &worlds()[3];
    let book = filled(world, 600);
    let dear = (0..600)
        .map(dear_pairs)
        .filter(|offer| offer.rates.cpu_core > price(1 << 64));
    let cheapest = dear.min_by_key(|offer| (offer.rates.cpu_core, offer.node)).unwrap();
    let taken = plan(&world.request, &book, &Known::default());
    assert_eq!(taken.closeness, Closeness::Site);
    assert_eq!(taken.chosen[0].offer.node, cheapest.node);
    assert_eq!(taken.chosen[1].offer.features, cheapest.features);
}

//! What goes in comes out; what is not a message of this version is refused and never a panic.

use crate::samples::{self, Draw};
use gpux_market::Offer;
use gpux_proto::{
    DecodeError, JobSpec, LeaseRequest, LogsRequest, MAX_MESSAGE_BYTES, MAX_NODE_ADDRESSES, MAX_NODE_RELAY_BYTES,
    NodeAddress, PeerError, ReadAddressError, Request, Response, SignedOffer, SignedQuote, VERSION, decode, encode,
};
use proptest::prelude::*;

/// Bytes that begin like a message more often than chance would have it.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    (any::<bool>(), prop::collection::vec(any::<u8>(), 0..512)).prop_map(|(versioned, mut bytes)| {
        if versioned {
            bytes.insert(0, VERSION);
        }
        bytes
    })
}

proptest! {
    #[test]
    fn every_message_reads_back_as_it_was_written(draw in Draw::any()) {
        for request in samples::requests(&draw) {
            prop_assert_eq!(decode::<Request>(&encode(&request)).unwrap(), request);
        }
        for response in samples::responses(&draw) {
            prop_assert_eq!(decode::<Response>(&encode(&response)).unwrap(), response);
        }
        let address = samples::node_address(&draw);
        prop_assert_eq!(NodeAddress::read(&address.to_bytes()).unwrap(), address);
        let (logs, offer) = (samples::logs(&draw), samples::offer(&draw));
        prop_assert_eq!(decode::<LogsRequest>(&encode(&logs)).unwrap(), logs);
        prop_assert_eq!(decode::<Offer>(&encode(&offer)).unwrap(), offer.clone());
        let signed = SignedOffer::new(&offer, draw.signature());
        prop_assert_eq!(decode::<SignedOffer>(&encode(&signed)).unwrap(), signed);
    }

    #[test]
    fn random_bytes_never_panic_and_what_decodes_encodes_again(bytes in hostile()) {
        if let Ok(request) = decode::<Request>(&bytes) {
            prop_assert_eq!(decode::<Request>(&encode(&request)).unwrap(), request);
        }
        decode::<Response>(&bytes).ok();
        decode::<LogsRequest>(&bytes).ok();
        decode::<Offer>(&bytes).ok();
        decode::<SignedQuote>(&bytes).ok();
        NodeAddress::read(&bytes).ok();
        if let Ok(offer) = decode::<SignedOffer>(&bytes) {
            offer.verify().unwrap_err();
        }
    }

    #[test]
    fn a_message_that_is_cut_or_changed_never_panics(draw in Draw::any(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for request in samples::requests(&draw) {
            let mut bytes = encode(&request);
            let at = cut.index(bytes.len());
            prop_assert!(decode::<Request>(&bytes[..at]).is_err(), "a beginning of a message is no message");
            bytes[at] = byte;
            decode::<Request>(&bytes).ok();
        }
    }
}

#[test]
fn another_version_is_refused_by_its_number() {
    let mut bytes = encode(&samples::logs(&Draw::fixed()));
    for other in [0, VERSION + 1, u8::MAX] {
        bytes[0] = other;
        assert_eq!(decode::<LogsRequest>(&bytes), Err(DecodeError::Version { got: other }));
    }
}

#[test]
fn the_largest_address_of_a_node_fits_the_directory_and_a_larger_one_is_refused() {
    let mut address = NodeAddress {
        addresses: vec!["[2001:db8::7]:65535".parse().unwrap(); MAX_NODE_ADDRESSES],
        relay: Some("x".repeat(MAX_NODE_RELAY_BYTES)),
    };
    assert!(address.to_bytes().len() <= 1_024, "the contract takes no more");
    assert_eq!(NodeAddress::read(&address.to_bytes()).unwrap(), address);
    address.relay = Some("x".repeat(MAX_NODE_RELAY_BYTES + 1));
    let got = MAX_NODE_RELAY_BYTES + 1;
    assert_eq!(
        NodeAddress::read(&address.to_bytes()),
        Err(ReadAddressError::Relay { got })
    );
    address.addresses.extend_from_within(..1);
    let got = MAX_NODE_ADDRESSES + 1;
    assert_eq!(
        NodeAddress::read(&address.to_bytes()),
        Err(ReadAddressError::TooMany { got })
    );
}

#[test]
fn nothing_is_no_message() {
    assert_eq!(decode::<Request>(&[]), Err(DecodeError::Empty));
}

#[test]
fn bytes_after_a_message_are_refused() {
    let mut bytes = encode(&Response::Accepted);
    bytes.extend([0, 0]);
    assert_eq!(decode::<Response>(&bytes), Err(DecodeError::Trailing(2)));
}

#[test]
fn a_message_over_the_limit_is_refused_unread() {
    let bytes = vec![VERSION; MAX_MESSAGE_BYTES + 1];
    assert_eq!(
        decode::<Request>(&bytes),
        Err(DecodeError::TooLarge {
            got: MAX_MESSAGE_BYTES + 1,
            limit: MAX_MESSAGE_BYTES,
        })
    );
    assert!(!matches!(
        decode::<Request>(&bytes[1..]),
        Err(DecodeError::TooLarge { .. })
    ));
}

#[test]
fn a_length_beyond_the_message_allocates_nothing() {
    // A reason of 2^63 bytes in a message of a few dozen.
    let mut bytes = encode(&Request::Status(Draw::fixed().lease()));
    bytes[1] = 3;
    bytes.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert!(matches!(decode::<Request>(&bytes), Err(DecodeError::Malformed(_))));
}

#[test]
fn what_a_watch_tower_keeps_of_a_lease_is_below_a_kibibyte() {
    let mut draw = Draw::fixed();
    (draw.amount, draw.large, draw.small) = (gpux_types::Amount::MAX.units(), u64::MAX, u32::MAX);
    let bytes = encode(&samples::handover(&draw)).len();
    assert!(bytes < 1_024, "{bytes}");
}

#[test]
fn the_largest_honest_message_is_a_tenth_of_the_limit_or_less() {
    let mut draw = Draw::fixed();
    draw.text = "/".repeat(64);
    let Request::Lease(lease) = samples::requests(&draw).swap_remove(1) else {
        panic!("the second sample is a lease")
    };
    let mut lease: LeaseRequest = *lease;
    lease.job = largest_job(lease.job);
    assert!(lease.job.within_limits());
    let bytes = encode(&Request::Lease(Box::new(lease))).len();
    assert!(bytes < MAX_MESSAGE_BYTES / 5, "{bytes}");
}

fn largest_job(mut job: JobSpec) -> JobSpec {
    job.image.layers = vec![job.image.layers[0].clone(); gpux_types::MAX_LAYERS];
    job.inputs = vec![job.inputs[0].clone(); gpux_types::MAX_INPUTS];
    job
}

#[test]
fn a_stop_of_work_that_is_done_is_told_by_its_very_words() {
    use gpux_lease::{Actor, End, EndReason};
    let lease = gpux_types::LeaseId([7; 32]);
    let stop = |reason, by| gpux_proto::StopRequest::new(lease, End::new(reason, by));
    let done = stop(EndReason::Completed, Actor::Renter);
    assert_eq!(done.reason, "the work is done (by the renter)");
    assert!(done.is_done());
    for (reason, by) in [
        (EndReason::Completed, Actor::Provider),
        (EndReason::Stopped, Actor::Renter),
    ] {
        assert!(!stop(reason, by).is_done(), "{reason}");
    }
}

#[test]
fn a_refusal_never_carries_control_characters_or_more_than_300() {
    let error = PeerError::new(
        gpux_proto::ErrorCode::Internal,
        format!("a\u{1b}[31m\n{}", "x".repeat(400)),
    );
    assert_eq!(error.message.chars().count(), 300);
    assert!(error.message.starts_with("a[31mx"));
}

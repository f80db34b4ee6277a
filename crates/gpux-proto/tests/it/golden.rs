//! The bytes of version 1, for ever. A change here is a new version, with a new name of the protocol.
//!
//! `docs/spec/vectors/wire-v1.txt` holds one message, or one digest, a line: its name, a space, its bytes in hexadecimal
//! digits. Other implementations read the same file.

use crate::samples::{self, Draw};
use alloy_primitives::hex;
use gpux_proto::{Request, Response, SignedOffer, SignedQuote, decode, encode};

const VECTORS: &str = include_str!("../../../../docs/spec/vectors/wire-v1.txt");

/// Every message of the sample values, and what is signed of them, by the name that the vectors give it.
fn messages() -> Vec<(String, Vec<u8>)> {
    let draw = Draw::fixed();
    let requests = samples::requests(&draw)
        .into_iter()
        .map(|request| (request_name(&request).to_owned(), encode(&request)));
    let mut all: Vec<_> = requests.collect();
    let responses = samples::responses(&draw);
    all.extend(
        responses
            .iter()
            .enumerate()
            .map(|(index, response)| (response_name(index, response), encode(response))),
    );
    all.push(("node-address".into(), samples::node_address(&draw).to_bytes()));
    all.push(("logs".into(), encode(&samples::logs(&draw))));
    all.push(("offer".into(), encode(&samples::offer(&draw))));
    all.push((
        "signed-offer".into(),
        encode(&SignedOffer::new(&samples::offer(&draw), draw.signature())),
    ));
    let digests = [
        ("digest-quote-request", samples::quote_request(&draw).digest().0),
        ("quote-id", samples::quote(&draw).id().0),
        ("digest-quote-for-lease", SignedQuote::digest(draw.lease()).0),
        ("digest-offer", SignedOffer::digest(&samples::offer(&draw)).0),
        ("job-hash", samples::job(&draw).hash()),
    ];
    all.extend(digests.map(|(name, digest)| (name.to_owned(), digest.to_vec())));
    all
}

const fn request_name(request: &Request) -> &'static str {
    use gpux_proto::PartReport;
    match request {
        Request::Quote(_) => "request-quote",
        Request::Lease(_) => "request-lease",
        Request::Part(..) => "request-part",
        Request::Stop(_) => "request-stop",
        Request::Status(_) => "request-status",
        Request::Meter(_) => "request-meter",
        Request::PartReport(PartReport::Started { .. }) => "request-part-started",
        Request::PartReport(PartReport::Ended { .. }) => "request-part-ended",
        Request::PartReport(PartReport::Failed { .. }) => "request-part-failed",
        Request::PartReport(PartReport::Standing { .. }) => "request-part-standing",
        Request::CancelPart(_) => "request-cancel-part",
        Request::WillClose(_) => "request-will-close",
        Request::Closing(_) => "request-closing",
        Request::Record(_) => "request-record",
        Request::Watch(_) => "request-watch",
        Request::Release(_) => "request-release",
        Request::Stand(..) => "request-stand",
        Request::Go(_) => "request-go",
    }
}

fn response_name(index: usize, response: &Response) -> String {
    let name = match response {
        Response::Quote(_) => "quote",
        Response::Accepted => "accepted",
        Response::Status(_) => "status",
        Response::Receipt { .. } => "receipt",
        Response::Error(_) => "error",
        Response::Record(_) => "record",
        Response::TooLate(_) => "too-late",
    };
    format!("response-{index}-{name}")
}

#[test]
fn the_bytes_of_version_1_do_not_change() {
    let lines: Vec<(&str, &str)> = VECTORS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .collect();
    let messages = messages();
    let now: String = messages
        .iter()
        .map(|(name, bytes)| format!("{name} {}\n", hex::encode(bytes)))
        .collect();
    assert_eq!(lines.len(), messages.len(), "the vectors should be:\n{now}");
    for ((name, bytes), (written, digits)) in messages.iter().zip(lines) {
        assert_eq!(
            (name.as_str(), hex::encode(bytes).as_str()),
            (written, digits),
            "the vectors should be:\n{now}"
        );
    }
}

#[test]
fn the_vectors_of_version_1_are_read() {
    for (name, digits) in VECTORS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
    {
        let bytes = hex::decode(digits).unwrap();
        if name.starts_with("request-") {
            decode::<Request>(&bytes).unwrap();
        } else if name.starts_with("response-") {
            decode::<Response>(&bytes).unwrap();
        }
    }
}

//! One value of every message, built from a few drawn values, so that a change of any of them changes the message.

use alloy_primitives::{Address, B256, Signature, U256};
use gpux_lease::{
    Actor, Amounts, End, EndReason, EscrowRef, ExitCount, Handover, LastLog, Move, MoveKind, SignedStatement,
    Statement, Work,
};
use gpux_market::GpuWish;
use gpux_market::{Offer, Rates, Tag};
use gpux_proto::{
    BlobSpec, CancelPart, ClosingOffer, Command, ErrorCode, FolderSpec, GoPart, ImageSpec, InputSpec, JobSpec,
    LayerSpec, LeaseReport, LeaseRequest, LogsRequest, MeterReport, Needs, NodeAddress, OutputSpec, PartReport,
    PartSpec, PeerError, Phase, Quote, QuoteRequest, Request, Response, SignedQuote, SignedQuoteRequest, StopRequest,
};
use gpux_types::{
    Amount, BasisPoints, BlobHash, ByteSize, Cpu, JobId, LeaseId, Millis, NodeId, PartIndex, PricePerHour, Resources,
    UnixSeconds,
};
use proptest::prelude::*;

/// Ways to change a message, each with its name.
pub(crate) type Changes<T> = [(&'static str, fn(&mut T))];

/// What everything in a sample is made of.
#[derive(Debug, Clone)]
pub(crate) struct Draw {
    pub(crate) byte: u8,
    pub(crate) small: u32,
    pub(crate) large: u64,
    pub(crate) amount: u128,
    pub(crate) text: String,
    pub(crate) flag: bool,
    pub(crate) count: usize,
}

impl Draw {
    /// The values of the golden bytes.
    pub(crate) fn fixed() -> Self {
        Self {
            byte: 0x11,
            small: 7,
            large: 300,
            amount: 1_000,
            text: "a b".into(),
            flag: true,
            count: 1,
        }
    }

    /// Anything that a message may hold.
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let scalars = (any::<u8>(), any::<u32>(), any::<u64>(), 0..=Amount::MAX.units());
        (scalars, "\\PC{0,40}", any::<bool>(), 0..5usize).prop_map(
            |((byte, small, large, amount), text, flag, count)| Self {
                byte,
                small,
                large,
                amount,
                text,
                flag,
                count,
            },
        )
    }

    pub(crate) fn amount(&self) -> Amount {
        Amount::new(self.amount).unwrap()
    }

    pub(crate) fn address(&self, shift: u8) -> Address {
        Address::repeat_byte(self.byte.wrapping_add(shift))
    }

    pub(crate) fn lease(&self) -> LeaseId {
        LeaseId([self.byte; 32])
    }

    pub(crate) fn signature(&self) -> Signature {
        Signature::new(U256::from(self.large), U256::from(self.amount), self.flag)
    }

    pub(crate) fn blob(&self) -> BlobSpec {
        BlobSpec {
            hash: BlobHash([self.byte; 32]),
            size: ByteSize(self.large),
        }
    }

    pub(crate) fn resources(&self) -> Resources {
        Resources {
            cpu: Cpu { millicores: self.small },
            memory: ByteSize(self.large),
            disk: ByteSize(self.large / 2),
        }
    }

    pub(crate) fn share(&self) -> BasisPoints {
        BasisPoints::new(u16::try_from(self.small % 1_001).unwrap()).unwrap()
    }

    fn repeat<T: Clone>(&self, item: T) -> Vec<T> {
        vec![item; self.count]
    }
}

pub(crate) fn job(draw: &Draw) -> JobSpec {
    let layer = LayerSpec {
        blob: draw.blob(),
        digest: [draw.byte; 32],
        diff_id: [!draw.byte; 32],
        media_type: draw.text.clone(),
    };
    JobSpec {
        job: JobId([draw.byte; 16]),
        name: draw.text.clone(),
        image: ImageSpec {
            manifest_digest: [draw.byte; 32],
            config: draw.blob(),
            layers: draw.repeat(layer),
        },
        inputs: draw.repeat(InputSpec {
            to: draw.text.clone(),
            blob: draw.blob(),
            folder: draw.flag.then_some(FolderSpec {
                content: ByteSize(draw.large),
                entries: draw.small,
            }),
        }),
        command: Command {
            argv: draw.repeat(draw.text.clone()),
            environment: draw.repeat((draw.text.clone(), draw.text.clone())),
        },
        collect: draw.text.clone(),
        part_limit: draw.flag.then_some(Millis(draw.large)),
    }
}

pub(crate) fn quote_request(draw: &Draw) -> QuoteRequest {
    QuoteRequest {
        escrow: EscrowRef {
            chain_id: draw.large,
            address: draw.address(0),
        },
        token: draw.address(1),
        renter: draw.address(2),
        receipt_key: draw.address(3),
        renter_node: NodeId([draw.byte; 32]),
        provider_node: NodeId([!draw.byte; 32]),
        resources: draw.resources(),
        deposit: draw.amount(),
        builder: draw.address(4),
        builder_share: draw.share(),
        job_hash: [draw.byte; 32],
        preparation_bytes: ByteSize(draw.large),
        needs: Needs {
            gpus: draw.flag.then(|| GpuWish {
                model: Some("h100-sxm".parse().unwrap()),
                count: std::num::NonZeroU32::new(8).unwrap(),
                memory: ByteSize(draw.large),
            }),
            features: ["cap-docker", "sgx"].map(|tag| tag.parse().unwrap()).into(),
            region: draw.flag.then(|| "eu-nl".parse().unwrap()),
        },
    }
}

pub(crate) fn quote(draw: &Draw) -> Quote {
    Quote {
        nonce: [draw.byte; 16],
        provider: draw.address(5),
        provider_signer: draw.address(6),
        resources: draw.resources(),
        price: PricePerHour(draw.amount()),
        job_hash: [draw.byte; 32],
        max_preparation_bytes: ByteSize(draw.large),
        max_preparation: Millis(draw.large),
        hold: Millis(draw.large),
        grace_secs: draw.small,
        holds_for: Millis(draw.large),
    }
}

pub(crate) fn offer(draw: &Draw) -> Offer {
    let tag: Tag = "eu-nl".parse().unwrap();
    Offer {
        node: NodeId([draw.byte; 32]),
        wallet: draw.address(0),
        provider: draw.address(1),
        signer: draw.address(2),
        sequence: draw.large,
        ttl: Millis(draw.large),
        chain_id: draw.large,
        escrow: draw.address(3),
        token: draw.address(4),
        rates: Rates {
            cpu_core: PricePerHour(draw.amount()),
            ..Rates::default()
        },
        total: draw.resources(),
        free: draw.resources(),
        largest: draw.resources(),
        cpu_model: draw.text.clone(),
        cpu_score: draw.small,
        features: draw.repeat(tag.clone()).into_iter().collect(),
        region: draw.flag.then_some(tag),
        lease_min: Millis(draw.large),
        lease_max: Millis(draw.large),
        grace_min_secs: draw.small,
        addresses: draw.repeat("192.0.2.7:4433".parse().unwrap()),
        relay: draw.flag.then(|| draw.text.clone()),
    }
}

/// Every request there is.
pub(crate) fn requests(draw: &Draw) -> Vec<Request> {
    let (lease, part, attempt) = (draw.lease(), PartIndex(draw.small), draw.small);
    let signed_quote = SignedQuote {
        quote: quote(draw),
        signature: draw.signature(),
    };
    let part_spec = PartSpec {
        part,
        attempt,
        environment: draw.repeat((draw.text.clone(), draw.text.clone())),
    };
    let output = OutputSpec {
        path: draw.text.clone(),
        blob: draw.blob(),
    };
    vec![
        Request::Quote(Box::new(SignedQuoteRequest {
            request: quote_request(draw),
            signature: draw.signature(),
        })),
        Request::Lease(Box::new(LeaseRequest {
            request: quote_request(draw),
            quote: signed_quote,
            transaction: B256::repeat_byte(draw.byte),
            expiry: UnixSeconds(draw.large),
            job: job(draw),
            renter_ticket: draw.text.clone(),
            others: vec![NodeId([draw.byte; 32]); 2],
        })),
        Request::Part(lease, part_spec),
        Request::Stop(StopRequest {
            lease,
            reason: draw.text.clone(),
        }),
        Request::Status(lease),
        Request::Meter(MeterReport {
            lease,
            asked: draw.amount(),
            metered: Millis(draw.large),
            work: Work::Frozen,
        }),
        Request::PartReport(PartReport::Started { lease, part, attempt }),
        Request::PartReport(PartReport::Ended {
            lease,
            part,
            attempt,
            exit_code: draw.small.cast_signed(),
            out_of_memory: draw.flag,
            outputs: draw.repeat(output),
        }),
        Request::PartReport(PartReport::Failed {
            lease,
            part,
            attempt,
            bad_program: draw.flag,
            message: draw.text.clone(),
        }),
    ]
    .into_iter()
    .chain(later_requests(draw))
    .collect()
}

/// Those that were added to version 1 later.
fn later_requests(draw: &Draw) -> Vec<Request> {
    let (lease, part, attempt) = (draw.lease(), PartIndex(draw.small), draw.small);
    vec![
        Request::CancelPart(CancelPart { lease, part, attempt }),
        Request::WillClose(lease),
        Request::Closing(closing(draw)),
        Request::Record(Box::new(signed_statement(draw))),
        Request::Watch(Box::new(handover(draw))),
        Request::Release(B256::repeat_byte(draw.byte)),
        Request::Stand(
            lease,
            PartSpec {
                part,
                attempt,
                environment: draw.repeat((draw.text.clone(), draw.text.clone())),
            },
        ),
        Request::Go(GoPart { lease, part, attempt }),
        Request::PartReport(PartReport::Standing { lease, part, attempt }),
    ]
}

/// A provider's closing amount.
fn closing(draw: &Draw) -> ClosingOffer {
    ClosingOffer {
        lease: draw.lease(),
        amount: draw.amount(),
        signature: draw.signature(),
        metered: Millis(draw.large),
        end: End::new(EndReason::Completed, Actor::Renter),
    }
}

/// What a watch-tower gets.
pub(crate) fn handover(draw: &Draw) -> Handover {
    Handover {
        terms: quote(draw).terms(&quote_request(draw)),
        payout: draw.address(7),
        amount: draw.amount(),
        cumulative: draw.amount(),
        receipt: draw.signature(),
        not_before: UnixSeconds(draw.large),
        reward: draw.amount(),
        signature: draw.signature(),
    }
}

/// What one side says of a lease's end.
fn signed_statement(draw: &Draw) -> SignedStatement {
    let (amount, hash) = (draw.amount(), B256::repeat_byte(draw.byte));
    let statement = Statement {
        lease: draw.lease(),
        end: End::new(EndReason::Completed, Actor::Renter),
        metered: Millis(draw.large),
        exits: draw.repeat(ExitCount {
            code: draw.small.cast_signed(),
            parts: draw.small,
        }),
        other_parts: draw.small,
        last_log: draw.flag.then_some(LastLog {
            part: PartIndex(draw.small),
            attempt: draw.small,
            length: draw.large,
            hash,
        }),
        signed: amount,
        amounts: Amounts {
            deposit: amount,
            topped_up: amount,
            earned: amount,
            builder: amount,
            refund: amount,
        },
        moves: draw.repeat(Move {
            kind: MoveKind::Settlement,
            transaction: hash,
            amount,
        }),
        moves_omitted: draw.small,
        date: UnixSeconds(draw.large),
    };
    SignedStatement {
        statement,
        signature: draw.signature(),
    }
}

/// Where a node is.
pub(crate) fn node_address(draw: &Draw) -> NodeAddress {
    NodeAddress {
        addresses: draw.repeat("192.0.2.7:4433".parse().unwrap()),
        relay: draw.flag.then(|| draw.text.clone()),
    }
}

/// Every response there is, every error code and every phase.
pub(crate) fn responses(draw: &Draw) -> Vec<Response> {
    let codes = [
        ErrorCode::BadRequest,
        ErrorCode::NotAuthorised,
        ErrorCode::NoSuchLease,
        ErrorCode::NoCapacity,
        ErrorCode::NotCovered,
        ErrorCode::Unsupported,
        ErrorCode::QuoteGone,
        ErrorCode::TooMany,
        ErrorCode::Internal,
    ];
    let phases = [
        Phase::Preparing {
            done: ByteSize(draw.large / 2),
            total: ByteSize(draw.large),
        },
        Phase::AwaitingDeposit,
        Phase::AwaitingReceipt,
        Phase::Running,
        Phase::Frozen,
        Phase::Stopping,
        Phase::Settling,
        Phase::Ended,
    ];
    let report = |phase| LeaseReport {
        lease: draw.lease(),
        phase,
        work: Work::Running,
        metered: Millis(draw.large),
        signed: draw.amount(),
        end: draw.flag.then_some(End::new(EndReason::Completed, Actor::Renter)),
    };
    let mut all = vec![
        Response::Quote(Box::new(SignedQuote {
            quote: quote(draw),
            signature: draw.signature(),
        })),
        Response::Accepted,
        Response::Receipt {
            cumulative: draw.amount(),
            signature: draw.signature(),
        },
    ];
    all.extend(phases.map(|phase| Response::Status(Box::new(report(phase)))));
    all.extend(codes.map(|code| {
        Response::Error(PeerError {
            code,
            message: draw.text.clone(),
        })
    }));
    all.push(Response::Record(Box::new(signed_statement(draw))));
    all.push(Response::TooLate(closing(draw)));
    all
}

/// Asks for a log.
pub(crate) fn logs(draw: &Draw) -> LogsRequest {
    LogsRequest {
        lease: draw.lease(),
        part: PartIndex(draw.small),
        attempt: draw.small,
        offset: draw.large,
        follow: draw.flag,
    }
}

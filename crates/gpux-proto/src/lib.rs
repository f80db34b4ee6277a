//! What nodes say to each other, in versioned bytes.
//!
//! Pure: this crate encodes, decodes, signs nothing and sends nothing. Every limit on a message stands beside its type.
//! The wire is described for other implementations in `docs/spec/wire.md`.
#![forbid(unsafe_code)]

mod address;
mod call;
mod codec;
mod folder;
mod job;
mod offer;
mod quote;

pub use address::{MAX_NODE_ADDRESSES, MAX_NODE_RELAY_BYTES, NodeAddress, ReadAddressError};
pub use call::{
    CancelPart, ClosingOffer, ErrorCode, GoPart, LeaseReport, LeaseRequest, LogsRequest, MAX_OTHERS, MeterReport,
    PartReport, PeerError, Phase, Request, Response, StopRequest,
};
pub use codec::{DecodeError, MAX_MESSAGE_BYTES, VERSION, decode, encode};
pub use folder::{
    BadFolder, Folder, FolderFile, FolderLink, FolderSpec, MAX_FOLDER_BYTES, MAX_FOLDER_ENTRIES, MAX_PACK_BYTES, Pack,
    packs_of,
};
pub use job::{
    BlobSpec, Command, ImageSpec, InputSpec, JobSpec, LayerSpec, MAX_JOB_BYTES, MAX_OUTPUTS, OutputSpec, PartSpec,
};
pub use offer::{MAX_OFFER_BYTES, SignedOffer, VerifyOfferError};
pub use quote::{Needs, Quote, QuoteRequest, SignedQuote, SignedQuoteRequest, VerifyQuoteError};

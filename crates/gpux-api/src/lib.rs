//! The types of the daemon's local HTTP API.
//!
//! Every document names its schema (`gpux.job/v1`); amounts are decimal texts in the token's smallest unit, never floats;
//! times are seconds since the epoch or whole milliseconds.
#![forbid(unsafe_code)]

mod contracts;
mod cost;
mod details;
mod devnet;
mod error;
mod job;
mod local;
mod market;
mod node;
mod openapi;
mod page;
mod rank;
mod receipts;
mod run_event;
mod schema;
mod send;
mod wallet;

pub use contracts::{ContractState, ContractView, ContractsView, FeeEstimateView, FeeView};
pub use cost::{CostView, LeaseCost, TransactionKind, TransactionView};
pub use details::{GpuModelView, GpuRegionView, GpusView, JobDetails, RetriedPart};
pub use devnet::{DevnetView, ProcessView};
pub use error::{ErrorBody, ErrorCode, ErrorDocument};
pub use job::{
    Actor, AtRiskView, AwayLease, AwayRequest, AwayView, ChecksView, EndView, JobList, JobState, JobView, LeaseState,
    LeaseView, LogLine, LogView, LogsQuery, OutputView, PartsView, RunRequest, StopJobRequest, TopUpReply,
    TopUpRequest,
};
pub use local::{ContextView, ContextsView, FilesView, MistakeView, ValidationView};
pub use market::{
    LeasePlan, OfferView, OffersView, PlanRequest, PlanView, PreflightFinding, PreflightView, RejectedOffer,
    RejectionCounts,
};
pub use node::{
    AskedView, DayEarnings, EarningsQuery, EarningsView, FeesView, IdleReason, NodeView, OpenEarnings, PricesRequest,
    PricesView, ProvidedLease, ProvidedState, RatesView, StandingView, Taking, TakingRequest,
};
pub use openapi::{Method, Operation, ROUTES, Route, openapi};
pub use page::{JobsQuery, MAX_PAGE, PageQuery, Paged};
pub use rank::{RankState, RankView};
pub use receipts::{
    ExitView, LastLogView, LeaseSide, MoveView, ReceiptView, ReceiptsView, RecordStanding, StatementView, TermsView,
};
pub use run_event::{RunEvent, RunEventKind};
pub use schema::document_schemas;
pub use send::{SendPlanView, SendRequest, SendState, SendView};
pub use wallet::{AddressView, DaemonView, DoctorCheck, DoctorView, WalletView};

/// Where every route of this version starts.
pub const API_PREFIX: &str = "/v1";

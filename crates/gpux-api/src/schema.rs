//! The JSON Schemas of all documents that commands print, generated from their types. Used by `examples/json_schemas.rs`,
//! which writes them below `docs/spec/json`, and by the test that compares them with what is committed there.

use crate::{
    AddressView, AwayView, ContextsView, ContractsView, CostView, DaemonView, DevnetView, DoctorView, EarningsView,
    ErrorDocument, FilesView, GpusView, JobDetails, JobList, JobView, LogView, NodeView, OffersView, PlanView,
    ReceiptsView, RunEvent, SendPlanView, SendView, TopUpReply, ValidationView, WalletView,
};
use schemars::{Schema, schema_for};

/// Each document's schema under the name that its `schema` field has, without prefix and version: `job` for `gpux.job/v1`.
#[must_use]
pub fn document_schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("address", schema_for!(AddressView)),
        ("away", schema_for!(AwayView)),
        ("contexts", schema_for!(ContextsView)),
        ("contracts", schema_for!(ContractsView)),
        ("cost", schema_for!(CostView)),
        ("daemon", schema_for!(DaemonView)),
        ("devnet", schema_for!(DevnetView)),
        ("doctor", schema_for!(DoctorView)),
        ("earnings", schema_for!(EarningsView)),
        ("error", schema_for!(ErrorDocument)),
        ("files", schema_for!(FilesView)),
        ("gpus", schema_for!(GpusView)),
        ("job", schema_for!(JobView)),
        ("job-details", schema_for!(JobDetails)),
        ("jobs", schema_for!(JobList)),
        ("log-line", schema_for!(LogView)),
        ("node", schema_for!(NodeView)),
        ("offers", schema_for!(OffersView)),
        ("plan", schema_for!(PlanView)),
        ("receipts", schema_for!(ReceiptsView)),
        ("run-event", schema_for!(RunEvent)),
        ("send", schema_for!(SendView)),
        ("send-plan", schema_for!(SendPlanView)),
        ("topup", schema_for!(TopUpReply)),
        ("validation", schema_for!(ValidationView)),
        ("wallet", schema_for!(WalletView)),
    ]
}

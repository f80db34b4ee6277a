//! What open jobs may still take out of the wallet by themselves. Asked before its owner sends money elsewhere.

use super::record::JobRecord;
use crate::{node::Node, store::StoreError};
use gpux_types::Amount;

/// What `--top-up-within` and `budget.at_zero` allow the jobs that are not over, and was not used yet.
pub(crate) fn set_aside(node: &Node) -> Result<Amount, StoreError> {
    let jobs = node.store.jobs::<JobRecord>()?;
    let open = jobs.readable.iter().filter(|job| !job.over);
    Ok(open.filter_map(|job| job.fund).fold(Amount::ZERO, |sum, fund| {
        sum.saturating_add(fund.limit.saturating_sub(fund.spent))
    }))
}

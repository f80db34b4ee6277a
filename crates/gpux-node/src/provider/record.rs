//! What the provider states of a lease that is over, for its closing record. Nothing is decided here.

use super::{lease::LeaseTask, parts::Parts};
use crate::{node::Node, records::Over};
use gpux_job::JobName;
use gpux_lease::{
    Actor, Amounts, End, EndReason, EscrowView, LOG_TAIL, LastLog, ProviderLease, Side, Statement, VerifiedReceipt,
    count_exits,
};
use gpux_proto::JobSpec;
use gpux_runtime::PartKey;
use gpux_types::{Amount, LeaseId, Millis};
use std::time::Duration;

/// How long the log of a lease's last part may take to be read. Without it the record says nothing of the log.
const LOG_PATIENCE: Duration = Duration::from_secs(10);

/// In how many blocks a quote surely ends, also where each transaction makes a block.
const SINCE_THE_QUOTE: u64 = 1_000;

/// A block before any transaction of a lease that is asked for now: its deposit is newer than its quote.
pub(super) fn from_block(node: &Node) -> Option<u64> {
    let head = node.watcher.newest()?;
    Some(head.number.saturating_sub(SINCE_THE_QUOTE))
}

impl LeaseTask {
    /// Drafts the closing record, unless the lease never held money and no work was done for it. False when it must be tried
    /// again.
    pub(super) async fn draft_record(&self) -> bool {
        let record = &self.record;
        let (machine, parts) = (&record.machine, &record.parts);
        let closed = matches!(machine.escrow(), EscrowView::Closed { .. });
        let Some(from_block) = record.from_block else {
            return true;
        };
        if !closed && machine.metered() == Millis::ZERO {
            return true;
        }
        let log = tokio::time::timeout(LOG_PATIENCE, last_log(&self.node, record.lease, parts.last_run())).await;
        let job = &record.request.job;
        let over = Over {
            side: Side::Provider,
            terms: record.terms.clone(),
            tariff: machine.config().tariff,
            job: job.job,
            name: name(job),
            node: record.request.request.renter_node,
            from_block,
            closed,
            draft: draft(&self.node, (record.lease, machine, parts), log.ok().flatten()),
        };
        let kept = self.node.records.draft(&self.node, over);
        kept.inspect_err(
            |error| tracing::error!(lease = %record.lease.short(), error = %crate::error_chain(error), "drafting a closing record"),
        )
        .is_ok()
    }
}

/// A stranger's name for its job where that is one, as a job file could give it; else the job's id.
fn name(job: &JobSpec) -> String {
    let name = job.name.parse::<JobName>();
    name.map_or_else(|_| job.job.to_string(), |name| name.to_string())
}

fn draft(
    node: &Node,
    (lease, machine, parts): (LeaseId, &ProviderLease, &Parts),
    last_log: Option<LastLog>,
) -> Statement {
    let (codes, otherwise) = parts.exits();
    let (exits, unlisted) = count_exits(codes);
    let unknown = End::new(EndReason::ClosedOnChain, Actor::Chain);
    Statement {
        lease,
        end: machine.end().unwrap_or(unknown),
        metered: machine.metered(),
        exits,
        other_parts: otherwise.saturating_add(unlisted),
        last_log,
        signed: machine.receipt().map_or(Amount::ZERO, VerifiedReceipt::cumulative),
        amounts: Amounts::default(),
        moves: Vec::new(),
        moves_omitted: 0,
        date: node.clock.date(),
    }
}

/// The end of the log of one try; nothing when it is gone.
async fn last_log(node: &Node, lease: LeaseId, key: Option<PartKey>) -> Option<LastLog> {
    let (local, key) = (node.local.as_ref()?, key?);
    let (mut tail, mut offset) = (Vec::new(), 0);
    loop {
        let chunk = local.runtime.logs(lease, key, offset).await.ok()?;
        let ended = chunk.ended || chunk.next <= offset;
        offset = chunk.next;
        tail.extend_from_slice(&chunk.bytes);
        tail.drain(..tail.len().saturating_sub(LOG_TAIL));
        if ended {
            return Some(LastLog::of(key.part, key.attempt, offset, &tail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_job_file_could_give_is_not_kept() {
        let named = |text: &str| {
            let job = JobSpec {
                job: gpux_types::JobId([0xab; 16]),
                name: text.into(),
                image: gpux_proto::ImageSpec {
                    manifest_digest: [0; 32],
                    config: gpux_proto::BlobSpec {
                        hash: gpux_types::BlobHash([0; 32]),
                        size: gpux_types::ByteSize(0),
                    },
                    layers: Vec::new(),
                },
                inputs: Vec::new(),
                command: gpux_proto::Command::default(),
                collect: String::new(),
                part_limit: None,
            };
            name(&job)
        };
        assert_eq!(named("shot-03"), "shot-03");
        for hostile in ["x;=cmd|' /C calc'!A0", "film\u{202e}", "", "a\nb", "Film"] {
            assert_eq!(named(hostile), "ab".repeat(16), "{hostile:?}");
        }
    }
}
